//! The first contact and its answer, which shows that a peer speaks part 2 (PROTOCOL, part 2, First contact).

/// The file string of a first contact: the content whose hash is all zeros. No file has that name or hash, so a base program
/// sends no hit.
pub(crate) const FIRST_CONTACT_TEXT: &[u8] = b"b3=0000000000000000000000000000000000000000000000000000000000000000";

/// The answer to a first contact, on the same connection.
pub(crate) const FIRST_CONTACT_ANSWER: &[u8] = b"p1\n";

/// Bytes of an answer's line.
pub(crate) const FIRST_CONTACT_ANSWER_BYTES_MAX: usize = 256;

/// Whether a line, without its end, is the answer to a first contact. After a tab, later versions may add to it.
pub(crate) fn says_p1(line: &[u8]) -> bool {
    line.strip_prefix(b"p1").is_some_and(|rest| matches!(rest.first(), None | Some(b'\t' | b'\r')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_p1_and_perhaps_more_behind_a_tab() {
        let answer = FIRST_CONTACT_ANSWER.strip_suffix(b"\n").unwrap();
        for line in [answer, b"p1\r", b"p1\tversion=2"] {
            assert!(says_p1(line), "{line:?}");
        }
        for line in [&b""[..], b"p", b"p10", b"p1 ", b" p1", b"HTTP/1.1 400"] {
            assert!(!says_p1(line), "{line:?}");
        }
    }
}

//! What comes on a connection where no response is due: thrown away, but for what a first contact is answered by.

use crate::wire::{FIRST_CONTACT_ANSWER_BYTES_MAX, says_p1};

/// Bytes that are read: who sends more is not listened to any longer.
const HEARD_BYTES_MAX: usize = 64 * 1024;

/// What came so far.
#[derive(Default)]
pub(super) struct Heard {
    /// The first line so far, if the peer may say what it speaks.
    line: Option<Vec<u8>>,
    bytes: usize,
}

impl Heard {
    /// A first contact was sent.
    pub(super) fn first_contact() -> Self {
        Self { line: Some(Vec::new()), bytes: 0 }
    }

    /// Takes what came. Whether the peer has said that it speaks part 2.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        self.bytes = self.bytes.saturating_add(bytes.len());
        let Some(line) = &mut self.line else { return false };
        let room = FIRST_CONTACT_ANSWER_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let end = line.iter().position(|&byte| byte == b'\n');
        end.is_some_and(|end| says_p1(&line[..end]))
    }

    /// Whether so much came that nothing more is read.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes > HEARD_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_may_come_in_pieces_and_only_where_it_is_asked_for() {
        let mut heard = Heard::first_contact();
        assert!(!heard.take(b"p") && !heard.take(b"1\tmore") && heard.take(b"\nrest"));
        assert!(!Heard::default().take(b"p1\n"));
        let mut heard = Heard::first_contact();
        assert!(!heard.take(b"song.ogg\n") && !heard.take(b"p1\n"), "only the first line counts");
    }

    #[test]
    fn what_is_kept_and_what_is_read_are_bounded() {
        let mut heard = Heard::first_contact();
        for _ in 0..64 {
            assert!(!heard.is_too_much());
            heard.take(&[b'x'; 1024]);
        }
        assert_eq!(heard.line.as_ref().unwrap().len(), FIRST_CONTACT_ANSWER_BYTES_MAX);
        heard.take(b"x");
        assert!(heard.is_too_much());
    }
}

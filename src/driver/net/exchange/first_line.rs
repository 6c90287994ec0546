//! Bytes received where no response is due: discarded, except the line that answers a first contact.

use crate::wire::{FIRST_CONTACT_ANSWER_BYTES_MAX, says_p1};

/// After this many bytes the connection is closed.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;

/// The bytes received so far, of which only a first line is kept.
#[derive(Default)]
pub(super) struct FirstLine {
    /// The first line so far, after a first contact.
    line: Option<Vec<u8>>,
    bytes: usize,
}

impl FirstLine {
    /// For a connection on which a first contact was sent.
    pub(super) fn first_contact() -> Self {
        Self { line: Some(Vec::new()), bytes: 0 }
    }

    /// Returns whether the first line says that the peer speaks part 2.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        self.bytes = self.bytes.saturating_add(bytes.len());
        let Some(line) = &mut self.line else { return false };
        let room = FIRST_CONTACT_ANSWER_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let end = line.iter().position(|&byte| byte == b'\n');
        end.is_some_and(|end| says_p1(&line[..end]))
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.bytes > DISCARDED_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_may_come_in_pieces_and_only_where_it_is_asked_for() {
        let mut received = FirstLine::first_contact();
        assert!(!received.take(b"p") && !received.take(b"1\tmore") && received.take(b"\nrest"));
        assert!(!FirstLine::default().take(b"p1\n"));
        let mut received = FirstLine::first_contact();
        assert!(!received.take(b"song.ogg\n") && !received.take(b"p1\n"), "only the first line counts");
    }

    #[test]
    fn the_kept_line_and_the_bytes_read_are_limited() {
        let mut received = FirstLine::first_contact();
        for _ in 0..64 {
            assert!(!received.is_too_much());
            received.take(&[b'x'; 1024]);
        }
        assert_eq!(received.line.as_ref().unwrap().len(), FIRST_CONTACT_ANSWER_BYTES_MAX);
        received.take(b"x");
        assert!(received.is_too_much());
    }
}

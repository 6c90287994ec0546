//! Lines of the control socket, whose length each side limits.

use crate::lines::{Lines, TooLong};

/// Longest line of a daemon, in bytes: it also drops a client for which so much waits unread.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Longest line of a client, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Collects the bytes of one direction of one connection and gives its lines.
#[derive(Debug)]
pub(crate) struct LineReader {
    lines: Lines,
    /// Length of the unfinished line at the end.
    tail: usize,
    bytes_max: usize,
}

impl LineReader {
    /// A reader of lines of at most `bytes_max` bytes, without their `\n`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { lines: Lines::default(), tail: 0, bytes_max }
    }

    /// Takes bytes as they were read. Take the lines out after each push: they are held until then.
    ///
    /// # Errors
    ///
    /// A line, finished or not, is longer than the reader takes. Nothing of this push is kept, and nothing that follows
    /// can be trusted: close the connection.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let mut tail = self.tail;
        for (at, piece) in bytes.split(|&byte| byte == b'\n').enumerate() {
            tail = if at == 0 { tail + piece.len() } else { piece.len() };
            if tail > self.bytes_max {
                return Err(TooLong { bytes_max: self.bytes_max });
            }
        }
        self.tail = tail;
        self.lines.push(bytes);
        Ok(())
    }

    /// The next whole line, without its `\n` or `\r\n`. Blank lines are skipped.
    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            // None is too long: `push` has refused those.
            let line = self.lines.next(self.bytes_max)?.unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some(line.to_vec());
            }
        }
    }

    /// Bytes that are not part of a line given yet. At the end of the stream: more than 0 means a line was cut off.
    pub(crate) fn pending(&self) -> usize {
        self.lines.rest().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reader: &mut LineReader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_line()).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_lines() {
        let stream = b"one\ntwo\r\n\n\r\nthree\nfo";
        for size in 1..=stream.len() {
            let mut reader = LineReader::new(5);
            let mut got = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece).unwrap();
                got.extend(lines(&mut reader));
            }
            assert_eq!(got, ["one", "two", "three"]);
            assert_eq!(reader.pending(), 2);
        }
    }

    #[test]
    fn lines_not_taken_out_survive_the_next_push() {
        let mut reader = LineReader::new(5);
        reader.push(b"a\nb\nc").unwrap();
        assert_eq!(reader.next_line().unwrap(), b"a");
        reader.push(b"d\ne\n").unwrap();
        assert_eq!(lines(&mut reader), ["b", "cd", "e"]);
        assert_eq!(reader.pending(), 0);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_beyond_does_not() {
        let mut reader = LineReader::new(4);
        reader.push(b"abcd").unwrap();
        reader.push(b"\nefgh\n").unwrap();
        assert_eq!(lines(&mut reader), ["abcd", "efgh"]);
        assert_eq!(reader.push(b"x\nabcde\ny"), Err(TooLong { bytes_max: 4 }));
        assert_eq!(reader.pending(), 0, "nothing of a refused push is kept");
        reader.push(b"abc").unwrap();
        assert!(reader.push(b"de").is_err());
    }
}

//! Lines out of a byte stream, whatever pieces it arrives in.

use thiserror::Error;

/// Longest line of a daemon, in bytes: it also drops a client for which so much waits unread.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Longest line of a client, in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A line is longer than its reader takes. Nothing after it can be trusted: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a line of more than {bytes_max} bytes")]
pub struct TooLong {
    /// The most that the reader takes.
    pub bytes_max: usize,
}

/// Collects the bytes of one direction of one connection and gives its lines.
#[derive(Debug)]
pub struct LineReader {
    bytes: Vec<u8>,
    /// Where the first line that was not given yet begins.
    start: usize,
    /// Everything before this is known to hold no `\n` that was not given yet.
    searched: usize,
    /// Length of the unfinished line at the end.
    tail: usize,
    bytes_max: usize,
}

impl LineReader {
    /// A reader of lines of at most `bytes_max` bytes, without their `\n`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, searched: 0, tail: 0, bytes_max }
    }

    /// Takes bytes as they were read. Take the lines out after each push: they are held until then.
    ///
    /// # Errors
    ///
    /// A line, finished or not, is longer than the reader takes; nothing of this push is kept.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let too_long = TooLong { bytes_max: self.bytes_max };
        let mut tail = self.tail;
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            if tail + at > self.bytes_max {
                return Err(too_long);
            }
            tail = 0;
            rest = &rest[at + 1..];
        }
        if tail + rest.len() > self.bytes_max {
            return Err(too_long);
        }
        self.tail = tail + rest.len();
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole line, without its `\n` or `\r\n`. Blank lines are skipped.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            let Some(at) = memchr::memchr(b'\n', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                return None;
            };
            let end = self.searched + at;
            let line = &self.bytes[self.start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            self.start = end + 1;
            self.searched = end + 1;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    /// Bytes that are not part of a line given yet. At the end of the stream: more than 0 means a line was cut off.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
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

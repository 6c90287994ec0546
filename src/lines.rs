//! Lines out of a byte stream, whatever pieces it arrives in.

use std::ops::Range;
use thiserror::Error;

/// A line is longer than its reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a line of more than {bytes_max} bytes")]
pub(crate) struct TooLong {
    /// The most that the reader takes.
    pub(crate) bytes_max: usize,
}

/// Collects bytes and gives the lines in them.
///
/// Holds what was pushed and not taken: take all lines after each push. Of a line that is too long, nothing is held then.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where the first line begins that was not taken yet.
    start: usize,
    /// Up to where there is no `\n`; never before `start`.
    searched: usize,
    /// The rest of a line that was too long is dropped as it arrives.
    skips: bool,
}

impl Lines {
    /// Adds bytes as they came in.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line without its `\n`. One that is longer than `bytes_max` is an error as soon as that shows; the next
    /// line follows it.
    pub(crate) fn next(&mut self, bytes_max: usize) -> Option<Result<&[u8], TooLong>> {
        Some(self.next_place(bytes_max)?.map(|place| &self.bytes[place]))
    }

    fn next_place(&mut self, bytes_max: usize) -> Option<Result<Range<usize>, TooLong>> {
        loop {
            let newline = memchr::memchr(b'\n', &self.bytes[self.searched..]).map(|at| self.searched + at);
            let end = newline.unwrap_or(self.bytes.len());
            let line = self.start..end;
            let is_too_long = line.len() > bytes_max;
            self.searched = end;
            if newline.is_some() {
                self.start = end + 1;
                self.searched = end + 1;
                if !std::mem::take(&mut self.skips) {
                    return Some(if is_too_long { Err(TooLong { bytes_max }) } else { Ok(line) });
                }
                continue;
            }
            if self.skips || is_too_long {
                self.start = end;
            }
            let is_news = is_too_long && !self.skips;
            self.skips |= is_too_long;
            return is_news.then_some(Err(TooLong { bytes_max }));
        }
    }

    /// As [`next`](Self::next), without blank lines, and without a `\r` at the end.
    pub(crate) fn next_filled(&mut self, bytes_max: usize) -> Option<Result<&[u8], TooLong>> {
        loop {
            // A line is taken by its place, since the borrow of one that is returned would last for the whole loop.
            let place = match self.next_place(bytes_max)? {
                Ok(place) => place,
                Err(too_long) => return Some(Err(too_long)),
            };
            let is_blank = matches!(&self.bytes[place.clone()], b"" | b"\r");
            if !is_blank {
                let line = &self.bytes[place];
                return Some(Ok(line.strip_suffix(b"\r").unwrap_or(line)));
            }
        }
    }

    /// What was pushed and not taken: once there is no line left, the beginning of the next.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether a line has begun that has not ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.skips || self.bytes.last().is_some_and(|&byte| byte != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of at most 4 bytes in these pieces; `None` for one that is too long.
    fn read(pieces: &[&[u8]]) -> Vec<Option<String>> {
        let (mut lines, mut got) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next(4) {
                got.push(line.ok().map(|line| String::from_utf8(line.to_vec()).unwrap()));
            }
            assert!(lines.rest().len() <= 4);
        }
        got
    }

    #[test]
    fn pieces_of_any_size_give_the_same_lines() {
        let stream = b"one\n\nfour\nmuch too long\nx\nfive5\ny\nfo";
        let lines = ["one", "", "four", "-", "x", "-", "y"];
        let lines = lines.map(|line| (line != "-").then(|| line.to_owned()));
        for size in 1..=stream.len() {
            assert_eq!(read(&stream.chunks(size).collect::<Vec<_>>()), lines, "{size}");
        }
    }

    #[test]
    fn what_has_begun_is_known_and_kept_until_it_ends() {
        let mut lines = Lines::default();
        assert!(!lines.has_begun());
        lines.push(b"a\nb");
        assert!(lines.has_begun());
        assert_eq!(lines.next(4), Some(Ok(&b"a"[..])));
        lines.push(b"c\nd\n");
        assert!(!lines.has_begun());
        assert_eq!(lines.next(4), Some(Ok(&b"bc"[..])));
        assert_eq!(lines.rest(), b"d\n");
        assert_eq!(lines.next(4), Some(Ok(&b"d"[..])));
        assert_eq!(lines.next(4), None);
        lines.push(b"12345");
        assert_eq!(lines.next(4), Some(Err(TooLong { bytes_max: 4 })), "before it ends");
        lines.push(b"");
        assert!(lines.has_begun() && lines.rest().is_empty());
        lines.push(b"6\n");
        assert_eq!(lines.next(4), None, "it was told already");
        assert!(!lines.has_begun());
        lines.push(b"1234");
        assert_eq!(lines.next(4), None, "its end may come next");
        lines.push(b"\n");
        assert_eq!(lines.next(4), Some(Ok(&b"1234"[..])), "exactly the limit");
    }

    #[test]
    fn pieces_of_any_size_give_the_same_filled_lines() {
        let stream = b"one\ntwo\r\n\n\r\nthree\nfo";
        for size in 1..=stream.len() {
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for piece in stream.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next_filled(5) {
                    got.push(String::from_utf8(line.unwrap().to_vec()).unwrap());
                }
            }
            assert_eq!(got, ["one", "two", "three"]);
            assert_eq!(lines.rest(), b"fo");
            lines.push(b"o bar");
            assert_eq!(lines.next_filled(5), Some(Err(TooLong { bytes_max: 5 })));
        }
    }
}

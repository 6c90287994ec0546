//! The line by which a node reports on a stream that it is done with a search (PROTOCOL, part 2, The end of a search).
//!
//! It is sent against the direction of the stream, where a node that does not know it drops it.

use super::decode::number;
use crate::id::{QUERY_ID_BYTES_MAX, QueryId};
use crate::lines::Lines;

/// Begins the line.
const DONE: &[u8] = b"done=";

/// Says that the search went no further than its TTL let it.
const CUT: &[u8] = b"cut=1";

/// Begins the highest TTL.
const TTL: &[u8] = b"ttl=";

/// Longest line that is read; of a longer one, nothing is taken.
const LINE_BYTES_MAX: usize = DONE.len() + QUERY_ID_BYTES_MAX + 256;

/// A node is done with a search: it and all to which it sent the search on have answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDone {
    pub id: QueryId,
    /// There may be peers that it did not reach: its TTL was used up, or a node did not report.
    pub cut: bool,
    /// The highest TTL with which the search reached the reporting node: that needs no copy with a lower one.
    pub ttl: Option<u8>,
}

impl SearchDone {
    /// The line, with its end.
    pub fn encode(&self) -> Vec<u8> {
        let mut line = DONE.to_vec();
        line.extend_from_slice(self.id.as_bytes());
        if self.cut {
            line.push(b'\t');
            line.extend_from_slice(CUT);
        }
        if let Some(ttl) = self.ttl {
            line.push(b'\t');
            line.extend_from_slice(TTL);
            line.extend_from_slice(ttl.to_string().as_bytes());
        }
        line.push(b'\n');
        line
    }

    /// Reads a line without its end. `None` for any other line, as later versions may send.
    fn decode(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut pieces = line.strip_prefix(DONE)?.split(|&byte| byte == b'\t');
        let id = QueryId::from_bytes(pieces.next()?)?;
        let mut done = Self { id, cut: false, ttl: None };
        for piece in pieces {
            done.cut |= piece == CUT;
            if let Some(digits) = piece.strip_prefix(TTL) {
                done.ttl = number(digits).and_then(|ttl| u8::try_from(ttl).ok());
            }
        }
        Some(done)
    }
}

/// Reads what comes against the direction of a stream.
#[derive(Debug, Default)]
pub struct DoneReader {
    lines: Lines,
}

impl DoneReader {
    /// Takes bytes that came in, and adds the reports in them to `said`.
    pub fn push(&mut self, bytes: &[u8], said: &mut Vec<SearchDone>) {
        self.lines.push(bytes);
        while let Some(line) = self.lines.next(LINE_BYTES_MAX) {
            said.extend(line.ok().and_then(SearchDone::decode));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(n: u64, cut: bool) -> SearchDone {
        SearchDone { id: QueryId::p1(n), cut, ttl: None }
    }

    fn read(pieces: &[&[u8]]) -> Vec<SearchDone> {
        let (mut reader, mut said) = (DoneReader::default(), Vec::new());
        pieces.iter().for_each(|piece| reader.push(piece, &mut said));
        assert!(reader.lines.rest().len() <= LINE_BYTES_MAX);
        said
    }

    #[test]
    fn what_is_said_is_read_however_it_is_cut() {
        let bytes = [done(1, false).encode(), done(2, true).encode()].concat();
        assert_eq!(bytes, b"done=p1-0000000000000001\ndone=p1-0000000000000002\tcut=1\n");
        let told = SearchDone { ttl: Some(5), ..done(2, true) };
        assert_eq!(told.encode(), b"done=p1-0000000000000002\tcut=1\tttl=5\n");
        assert_eq!(read(&[&told.encode()]), [told]);
        assert_eq!(read(&[b"done=p1-0000000000000001\tttl=999\n"]), [done(1, false)]);
        for at in 0..=bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]), [done(1, false), done(2, true)], "{at}");
        }
    }

    #[test]
    fn other_lines_and_keys_are_passed_over_and_long_ones_do_not_stay() {
        let long = vec![b'x'; 10_000];
        let known = done(3, false).encode();
        assert_eq!(read(&[b"p1\nseen=4\n\ndone=\n", &known]), [done(3, false)]);
        assert_eq!(read(&[b"done=p1-0000000000000003\tlater=1\r\n"]), [done(3, false)]);
        assert_eq!(read(&[b"done=", &long, b"\n", &known]), [done(3, false)]);
        assert_eq!(read(&[&long, &long, b"\ndone=a:b\n", &known]), [done(3, false)]);
    }
}

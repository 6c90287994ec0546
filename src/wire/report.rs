//! The lines by which a node reports on a stream how a search stands (PROTOCOL, part 2, The end of a search).
//!
//! They are sent against the direction of the stream, where a node that does not know them drops them.

use super::decode::number;
use crate::id::{QUERY_ID_BYTES_MAX, QueryId};
use crate::lines::Lines;

/// Begins the line of a node that is done.
const DONE: &[u8] = b"done=";

/// Begins the line of a node that is not done yet.
const WAITS: &[u8] = b"waits=";

/// Says that the search went no further than its TTL let it.
const CUT: &[u8] = b"cut=1";

/// Says that the node would have said [`WAITS`] if it had taken long.
const REPORTS: &[u8] = b"waits=1";

/// Begins the highest TTL.
const TTL: &[u8] = b"ttl=";

/// Longest line that is read; of a longer one, nothing is taken.
const LINE_BYTES_MAX: usize = WAITS.len() + QUERY_ID_BYTES_MAX + 256;

/// A node is done with a search: it and all to which it sent the search on have answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDone {
    pub id: QueryId,
    /// There may be peers that it did not reach: its TTL was used up, or a node did not report.
    pub cut: bool,
    /// The highest TTL with which the search reached the reporting node: that needs no copy with a lower one.
    pub ttl: Option<u8>,
    /// The reporting node also says when it waits for others. Earlier versions do not.
    pub reports: bool,
}

impl SearchDone {
    fn encode(&self) -> Vec<u8> {
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
        if self.reports {
            line.push(b'\t');
            line.extend_from_slice(REPORTS);
        }
        line.push(b'\n');
        line
    }

    /// Reads a line without its end.
    fn decode(line: &[u8]) -> Option<Self> {
        let mut pieces = line.strip_prefix(DONE)?.split(|&byte| byte == b'\t');
        let id = QueryId::from_bytes(pieces.next()?)?;
        let mut done = Self { id, cut: false, ttl: None, reports: false };
        for piece in pieces {
            done.cut |= piece == CUT;
            done.reports |= piece == REPORTS;
            if let Some(digits) = piece.strip_prefix(TTL) {
                done.ttl = number(digits).and_then(|ttl| u8::try_from(ttl).ok());
            }
        }
        Some(done)
    }
}

/// What a node reports of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchReport {
    /// It has the search, and waits for those to which it has sent it on.
    Waits(QueryId),
    Done(SearchDone),
}

impl SearchReport {
    /// The line, with its end.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Waits(id) => [WAITS, id.as_bytes(), b"\n"].concat(),
            Self::Done(done) => done.encode(),
        }
    }

    /// Reads a line without its end. `None` for any other line, as later versions may send.
    fn decode(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(pieces) = line.strip_prefix(WAITS) else { return SearchDone::decode(line).map(Self::Done) };
        let id = pieces.split(|&byte| byte == b'\t').next()?;
        QueryId::from_bytes(id).map(Self::Waits)
    }
}

/// Reads what comes against the direction of a stream.
#[derive(Debug, Default)]
pub struct ReportReader {
    lines: Lines,
}

impl ReportReader {
    /// Takes bytes that came in, and adds the reports in them to `said`.
    pub fn push(&mut self, bytes: &[u8], said: &mut Vec<SearchReport>) {
        self.lines.push(bytes);
        while let Some(line) = self.lines.next(LINE_BYTES_MAX) {
            said.extend(line.ok().and_then(SearchReport::decode));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(n: u64, cut: bool) -> SearchDone {
        SearchDone { id: QueryId::p1(n), cut, ttl: None, reports: false }
    }

    fn reports(pieces: &[&[u8]]) -> Vec<SearchReport> {
        let (mut reader, mut said) = (ReportReader::default(), Vec::new());
        pieces.iter().for_each(|piece| reader.push(piece, &mut said));
        assert!(reader.lines.rest().len() <= LINE_BYTES_MAX);
        said
    }

    fn read(pieces: &[&[u8]]) -> Vec<SearchDone> {
        let done = |report| match report {
            SearchReport::Done(done) => done,
            SearchReport::Waits(_) => panic!("{report:?}"),
        };
        reports(pieces).into_iter().map(done).collect()
    }

    #[test]
    fn a_node_that_waits_says_so_in_a_line_of_its_own() {
        let waits = SearchReport::Waits(QueryId::p1(1));
        assert_eq!(waits.encode(), b"waits=p1-0000000000000001\n");
        let both = [waits.clone(), SearchReport::Done(done(1, true))];
        assert_eq!(reports(&[&both[0].encode(), &both[1].encode()]), both);
        assert_eq!(reports(&[b"waits=\nwaits=a:b\nwaits=p1-0000000000000001\tlater=1\r\n"]), [waits]);
    }

    #[test]
    fn what_is_said_is_read_however_it_is_cut() {
        let bytes = [done(1, false).encode(), done(2, true).encode()].concat();
        assert_eq!(bytes, b"done=p1-0000000000000001\ndone=p1-0000000000000002\tcut=1\n");
        let told = SearchDone { ttl: Some(5), reports: true, ..done(2, true) };
        assert_eq!(told.encode(), b"done=p1-0000000000000002\tcut=1\tttl=5\twaits=1\n");
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

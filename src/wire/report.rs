//! Reports on the state of a search, lines that are sent back on the stream on which it came (PROTOCOL, part 2, The end of a
//! search). A node that does not know them ignores them.

use super::decode::number;
use crate::id::{QUERY_ID_BYTES_MAX, QueryId};
use crate::lines::Lines;

/// Begins the report of the end.
const DONE: &[u8] = b"done=";

/// Begins the report of a node that waits for others.
const WAITS: &[u8] = b"waits=";

const CUT: &[u8] = b"cut=1";

const REPORTS: &[u8] = b"waits=1";

const TTL: &[u8] = b"ttl=";

/// Longer lines are ignored.
const LINE_BYTES_MAX: usize = WAITS.len() + QUERY_ID_BYTES_MAX + 256;

/// The end of a search at a node: it and all to which it forwarded the search have answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDone {
    pub id: QueryId,
    /// Some peers may not have been reached: no TTL was left, or a node did not report.
    pub cut: bool,
    /// The highest TTL with which the search reached the reporting node: it needs no copy with a lower one.
    pub ttl: Option<u8>,
    /// The node also reports when it waits for others. Earlier versions do not.
    pub reports: bool,
}

impl SearchDone {
    fn encode(&self) -> Vec<u8> {
        let ttl = self.ttl.map(|ttl| [TTL, ttl.to_string().as_bytes()].concat());
        let attributes = [self.cut.then_some(CUT), ttl.as_deref(), self.reports.then_some(REPORTS)];
        let mut line = [DONE, self.id.as_bytes()].concat();
        for attribute in attributes.into_iter().flatten() {
            line.push(b'\t');
            line.extend_from_slice(attribute);
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchReport {
    /// The node waits for others to which it has forwarded the search.
    Waits(QueryId),
    Done(SearchDone),
}

impl SearchReport {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Waits(id) => [WAITS, id.as_bytes(), b"\n"].concat(),
            Self::Done(done) => done.encode(),
        }
    }

    /// Reads a line without its end. `None` for an unknown line, which a later version may send.
    fn decode(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(pieces) = line.strip_prefix(WAITS) else { return SearchDone::decode(line).map(Self::Done) };
        let id = pieces.split(|&byte| byte == b'\t').next()?;
        QueryId::from_bytes(id).map(Self::Waits)
    }
}

/// Reads the lines that are sent back on a stream.
#[derive(Debug, Default)]
pub struct ReportReader {
    lines: Lines,
}

impl ReportReader {
    /// Adds received bytes, and appends their reports to `reports`.
    pub fn push(&mut self, bytes: &[u8], reports: &mut Vec<SearchReport>) {
        self.lines.push(bytes);
        while let Some(line) = self.lines.next(LINE_BYTES_MAX) {
            reports.extend(line.ok().and_then(SearchReport::decode));
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
    fn a_node_that_waits_reports_it_in_a_line() {
        let waits = SearchReport::Waits(QueryId::p1(1));
        assert_eq!(waits.encode(), b"waits=p1-0000000000000001\n");
        let both = [waits.clone(), SearchReport::Done(done(1, true))];
        assert_eq!(reports(&[&both[0].encode(), &both[1].encode()]), both);
        assert_eq!(reports(&[b"waits=\nwaits=a:b\nwaits=p1-0000000000000001\tlater=1\r\n"]), [waits]);
    }

    #[test]
    fn reports_are_read_in_any_pieces() {
        let bytes = [done(1, false).encode(), done(2, true).encode()].concat();
        assert_eq!(bytes, b"done=p1-0000000000000001\ndone=p1-0000000000000002\tcut=1\n");
        let full = SearchDone { ttl: Some(5), reports: true, ..done(2, true) };
        assert_eq!(full.encode(), b"done=p1-0000000000000002\tcut=1\tttl=5\twaits=1\n");
        assert_eq!(read(&[&full.encode()]), [full]);
        assert_eq!(read(&[b"done=p1-0000000000000001\tttl=999\n"]), [done(1, false)]);
        for at in 0..=bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]), [done(1, false), done(2, true)], "{at}");
        }
    }

    #[test]
    fn unknown_lines_and_keys_are_ignored_and_long_ones_are_not_kept() {
        let long = vec![b'x'; 10_000];
        let known = done(3, false).encode();
        assert_eq!(read(&[b"p1\nseen=4\n\ndone=\n", &known]), [done(3, false)]);
        assert_eq!(read(&[b"done=p1-0000000000000003\tlater=1\r\n"]), [done(3, false)]);
        assert_eq!(read(&[b"done=", &long, b"\n", &known]), [done(3, false)]);
        assert_eq!(read(&[&long, &long, b"\ndone=a:b\n", &known]), [done(3, false)]);
    }
}

//! Shared files: a row of an answer, and all rows of a page as the daemon keeps them until they are sent. A listing of a million
//! files has two thousand pages.

use super::text::{Hex, RawText, RawTextRef};
use crate::audience::Audience;
use crate::id::ContentHash;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRow {
    /// Path relative to the share.
    pub name: RawText,
    pub size: Option<u64>,
    /// BLAKE3 in hex; `None` while unknown.
    pub b3: Option<String>,
    /// It is not shared yet, since it was changed a short time ago. Omitted if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub being_written: bool,
    /// For whom it is: `all`, or addresses and ranges. Omitted if everything is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<String>>,
}

/// Rows in few allocations, whose JSON is that of a list of [`FileRow`].
#[derive(Clone, PartialEq, Default)]
pub struct FileRows {
    names: Vec<u8>,
    rows: Vec<Entry>,
    /// Those of the rows, each once, and how they are shown.
    audiences: Vec<(Audience, Vec<String>)>,
}

#[derive(Clone, PartialEq)]
struct Entry {
    /// Where its name ends in the names; it begins at the end of the one before.
    end: usize,
    size: Option<u64>,
    b3: Option<ContentHash>,
    being_written: bool,
    /// Where its audience is, if it has one.
    audience: Option<usize>,
}

/// A row on its way into JSON: the fields of [`FileRow`].
#[derive(Serialize)]
struct RowRef<'a> {
    name: RawTextRef<'a>,
    size: Option<u64>,
    b3: Option<Hex>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    being_written: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'a [String]>,
}

impl FileRows {
    pub(crate) fn push(
        &mut self,
        name: &[u8],
        size: Option<u64>,
        b3: Option<ContentHash>,
        being_written: bool,
        audience: Option<&Audience>,
    ) {
        self.names.extend_from_slice(name);
        let audience = audience.map(|audience| self.place_of(audience));
        self.rows.push(Entry { end: self.names.len(), size, b3, being_written, audience });
    }

    fn place_of(&mut self, audience: &Audience) -> usize {
        let known = self.audiences.iter().rposition(|(known, _)| known == audience);
        known.unwrap_or_else(|| {
            self.audiences.push((audience.clone(), audience.shown()));
            self.audiences.len() - 1
        })
    }

    fn audience(&self, entry: &Entry) -> Option<&[String]> {
        entry.audience.map(|at| &*self.audiences[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = FileRow> {
        self.entries().map(|(name, entry)| FileRow {
            name: RawText::new(name),
            size: entry.size,
            b3: entry.b3.map(|b3| b3.to_string()),
            being_written: entry.being_written,
            audience: self.audience(entry).map(<[String]>::to_vec),
        })
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        let starts = [0].into_iter().chain(self.rows.iter().map(|entry| entry.end));
        self.rows.iter().zip(starts).map(|(entry, start)| (&self.names[start..entry.end], entry))
    }
}

impl fmt::Debug for FileRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for FileRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries().map(|(name, entry)| RowRef {
            name: RawTextRef(name),
            size: entry.size,
            b3: entry.b3.map(Hex),
            being_written: entry.being_written,
            audience: self.audience(entry),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_that_of_the_rows_one_by_one() {
        let mut rows = FileRows::default();
        assert_eq!(serde_json::to_string(&rows).unwrap(), "[]");
        rows.push(b"a \"name\"", Some(0), Some(ContentHash([0xab; 32])), false, Some(&Audience::all()));
        rows.push("caf\u{e9}".as_bytes(), Some(u64::MAX), None, false, None);
        let some = Audience::of(["192.0.2.1", "fd00::/8"]).unwrap();
        rows.push(b"caf\xe9", None, None, true, Some(&some));
        let one_by_one: Vec<FileRow> = rows.iter().collect();
        let names: Vec<&[u8]> = one_by_one.iter().map(|row| row.name.as_bytes()).collect();
        assert_eq!(names, [&b"a \"name\""[..], "caf\u{e9}".as_bytes(), b"caf\xe9"]);
        let of = |row: &FileRow| row.audience.as_ref().map(|audience| audience.join(" "));
        let audiences: Vec<_> = one_by_one.iter().map(of).collect();
        assert_eq!(audiences, [Some("all".to_owned()), None, Some("192.0.2.1 fd00::/8".to_owned())]);
        assert_eq!(serde_json::to_string(&rows).unwrap(), serde_json::to_string(&one_by_one).unwrap());
    }
}

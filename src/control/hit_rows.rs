//! Hits: a row of an answer, and all rows of a page as the daemon keeps them until they are sent.

use super::text::{Hex, RawText, RawTextRef};
use crate::id::ContentHash;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;

/// A hit: one name, or one content, and who offers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitRow {
    /// For `download`.
    pub id: u32,
    /// The name in the first source's share.
    pub name: RawText,
    /// All names that sources have for it, the first included.
    pub names: Vec<RawText>,
    /// Bytes; `None` if no source gave a size.
    pub size: Option<u64>,
    /// BLAKE3 in hex; `None` if no source gave it: then the row is one name, and a download of it is unverified.
    pub b3: Option<String>,
    pub sources: Vec<SocketAddr>,
    /// In answers to `hits`: its search found more than is remembered, or than peers sent. Omitted if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Of a directory, whose name ends in `/`: `size` and `b3` are `None`, and the first source is the one that a download asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<HitDirectory>,
    /// In answers to `hits`: the number of the search or list that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<u32>,
}

/// What is known of a directory by the hits beneath it. It may have more files than these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitDirectory {
    /// Hits of the first source that lie in it.
    pub files: u64,
    /// Their bytes, as far as sizes are known; `None` if none is.
    pub bytes: Option<u64>,
}

/// Rows whose JSON is that of a list of [`HitRow`]. Those of a peer's list are in few allocations.
#[derive(Clone, PartialEq, Default)]
pub struct HitRows {
    names: Vec<u8>,
    rows: Vec<Entry>,
}

#[derive(Clone, PartialEq)]
enum Entry {
    Hit(Box<HitRow>),
    Listed {
        id: u32,
        /// Where its name ends in the names; it begins at the end of the one before.
        end: usize,
        size: Option<u64>,
        b3: Option<ContentHash>,
        peer: SocketAddr,
        search: u32,
        truncated: bool,
    },
}

/// The fields of [`HitRow`], on the way into JSON.
#[derive(Serialize)]
struct RowRef<'a> {
    id: u32,
    name: RawTextRef<'a>,
    names: [RawTextRef<'a>; 1],
    size: Option<u64>,
    b3: Option<Hex>,
    sources: [SocketAddr; 1],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    search: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnyRow<'a> {
    Hit(&'a HitRow),
    Listed(RowRef<'a>),
}

impl HitRows {
    pub(crate) fn push(&mut self, row: HitRow) {
        self.rows.push(Entry::Hit(Box::new(row)));
    }

    /// Adds a file of a peer's list.
    pub(crate) fn push_listed(
        &mut self,
        id: u32,
        name: &[u8],
        (size, b3): (Option<u64>, Option<ContentHash>),
        peer: SocketAddr,
        (search, truncated): (u32, bool),
    ) {
        self.names.extend_from_slice(name);
        self.rows.push(Entry::Listed { id, end: self.names.len(), size, b3, peer, search, truncated });
    }

    pub fn iter(&self) -> impl Iterator<Item = HitRow> {
        self.any_rows().map(|row| match row {
            AnyRow::Hit(row) => row.clone(),
            AnyRow::Listed(RowRef { id, name: RawTextRef(name), size, b3, sources, truncated, search, .. }) => HitRow {
                id,
                name: RawText::new(name),
                names: vec![RawText::new(name)],
                size,
                b3: b3.map(|Hex(b3)| b3.to_string()),
                sources: sources.to_vec(),
                truncated,
                directory: None,
                search: Some(search),
            },
        })
    }

    fn any_rows(&self) -> impl Iterator<Item = AnyRow<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |entry| match *entry {
            Entry::Hit(ref row) => AnyRow::Hit(row),
            Entry::Listed { id, end, size, b3, peer, search, truncated } => {
                let name = || RawTextRef(&self.names[start..end]);
                let (name, names) = (name(), [name()]);
                start = end;
                AnyRow::Listed(RowRef { id, name, names, size, b3: b3.map(Hex), sources: [peer], truncated, search })
            }
        })
    }
}

impl fmt::Debug for HitRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for HitRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.any_rows())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_that_of_the_rows_one_by_one() {
        let peer: SocketAddr = "[2001:db8::1]:5".parse().unwrap();
        let mut rows = HitRows::default();
        assert_eq!(serde_json::to_string(&rows).unwrap(), "[]");
        rows.push_listed(1, b"a", (Some(7), Some(ContentHash([0xab; 32]))), peer, (4, false));
        let first = rows.iter().next().unwrap();
        rows.push(HitRow { id: 2, sources: vec![], truncated: true, search: None, ..first });
        rows.push_listed(3, b"caf\xe9", (None, None), peer, (5, true));
        let one_by_one: Vec<HitRow> = rows.iter().collect();
        let seen: Vec<_> =
            one_by_one.iter().map(|row| (row.id, row.name.as_bytes(), row.truncated, row.search)).collect();
        assert_eq!(seen, [(1, &b"a"[..], false, Some(4)), (2, b"a", true, None), (3, b"caf\xe9", true, Some(5))]);
        assert_eq!(serde_json::to_string(&rows).unwrap(), serde_json::to_string(&one_by_one).unwrap());
    }
}

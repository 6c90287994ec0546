//! Files: hits, which are contents or single names; the list of a peer; and what we share.

use super::{Show, addresses, hash, number};
use crate::control::{FileRow, HitRow, RawText};
use crate::ctl::table::{Columns, Look, Table, Tone};
use crate::ctl::text::{name, or_unknown, short_hash, size};
use serde::Serialize;

/// A file of a peer's list (pyratectl(1), OUTPUT).
#[derive(Debug, Serialize)]
pub(in crate::ctl) struct ListedRow {
    id: u32,
    name: RawText,
    size: Option<u64>,
    b3: Option<String>,
}

impl From<HitRow> for ListedRow {
    fn from(hit: HitRow) -> Self {
        Self { id: hit.id, name: hit.name, size: hit.size, b3: hit.b3 }
    }
}

impl ListedRow {
    /// Whether no source has given a hash.
    pub(in crate::ctl) fn is_unverified(&self) -> bool {
        self.b3.is_none()
    }
}

/// The columns of hits; their widths count where hits are shown as they come.
pub(in crate::ctl) const HIT_COLUMNS: Columns<5> =
    Columns { titles: [">ID", "~NAME", ">SIZE", ">SOURCES", "HASH"], widths: [5, 36, 10, 7, 10] };

/// A hit for people.
pub(in crate::ctl) fn hit_cells(hit: &HitRow, look: Look) -> [String; 5] {
    let more = hit.names.iter().filter(|other| **other != hit.name).count();
    let first = name(hit.name.as_bytes());
    let names = match more {
        0 => first,
        1 => format!("{first} (+1 name)"),
        _ => format!("{first} (+{more} names)"),
    };
    let sources = hit.sources.len().to_string();
    [hit.id.to_string(), names, or_unknown(hit.size, size), sources, vouched(hit.b3.as_ref(), look)]
}

/// The hash that a source gave, or `unverified`.
fn vouched(b3: Option<&String>, look: Look) -> String {
    b3.map_or_else(|| "unverified".into(), |b3| short_hash(b3, look))
}

fn tone(b3: Option<&String>) -> Tone {
    if b3.is_some() { Tone::Plain } else { Tone::Faint }
}

impl Show for [HitRow] {
    fn people(&self, look: Look) -> String {
        let mut table = Table::new(&HIT_COLUMNS.titles);
        self.iter().for_each(|hit| table.push(tone(hit.b3.as_ref()), hit_cells(hit, look)));
        table.aligned(look)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["id", "name", "size", "b3", "sources", "names"]);
        for hit in self {
            let id = hit.id.to_string();
            let bytes = name(hit.name.as_bytes());
            // A name holds no line feed, so that one between two of them is read back without doubt.
            let names = hit.names.iter().map(|other| name(other.as_bytes())).collect::<Vec<_>>().join("\\n");
            let cells = [id, bytes, number(hit.size), hash(&hit.b3), addresses(&hit.sources), names];
            table.push(Tone::Plain, cells);
        }
        table
    }
}

impl Show for [ListedRow] {
    fn people(&self, look: Look) -> String {
        let mut table = Table::new(&[">ID", "~NAME", ">SIZE", "HASH"]);
        for row in self {
            let (id, bytes) = (row.id.to_string(), name(row.name.as_bytes()));
            let cells = [id, bytes, or_unknown(row.size, size), vouched(row.b3.as_ref(), look)];
            table.push(tone(row.b3.as_ref()), cells);
        }
        table.aligned(look)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["id", "name", "size", "b3"]);
        for row in self {
            table.push(Tone::Plain, [row.id.to_string(), name(row.name.as_bytes()), number(row.size), hash(&row.b3)]);
        }
        table
    }
}

impl Show for [FileRow] {
    fn people(&self, look: Look) -> String {
        let mut table = Table::new(&["~NAME", ">SIZE", "HASH"]);
        for file in self {
            let b3 = match file.being_written {
                true => "being written".into(),
                false => or_unknown(file.b3.as_ref(), |b3| short_hash(b3, look)),
            };
            table.push(
                if file.being_written { Tone::Faint } else { Tone::Plain },
                [name(file.name.as_bytes()), or_unknown(file.size, size), b3],
            );
        }
        table.aligned(look)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["name", "size", "b3"]);
        for file in self {
            table.push(Tone::Plain, [name(file.name.as_bytes()), number(file.size), hash(&file.b3)]);
        }
        table
    }
}

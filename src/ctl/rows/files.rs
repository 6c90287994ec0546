//! Files: hits, which are contents or single names; the list of a peer; and what we share.

use super::{Column, Row, Show, addresses, hash, number, table_of};
use crate::control::{FileRow, HitRow, RawText};
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{UNKNOWN, count, name, or_unknown, short_hash, size};
use serde::{Deserialize, Serialize};

/// A file of a peer's list (pyratectl(1), OUTPUT): a hit without what says nothing there.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::ctl) struct ListedRow {
    id: u32,
    name: RawText,
    size: Option<u64>,
    b3: Option<String>,
}

/// A page of them, read from an answer to `hits`.
#[derive(Debug, Deserialize)]
pub(in crate::ctl) struct ListedPage {
    pub(in crate::ctl) hits: Vec<ListedRow>,
    pub(in crate::ctl) next: Option<u32>,
    #[serde(default)]
    pub(in crate::ctl) truncated: bool,
}

impl ListedRow {
    /// Whether no source has given a hash.
    pub(in crate::ctl) fn is_unverified(&self) -> bool {
        self.b3.is_none()
    }
}

/// How wide the columns of hits are where they are shown as they come.
pub(in crate::ctl) const HIT_WIDTHS: [usize; 5] = [5, 36, 10, 7, 10];

/// What nearly all ids, all sizes, and all that stands for a hash take.
const ID_WIDTH_MIN: usize = 6;
const SIZE_WIDTH_MIN: usize = "1023.9 KiB".len();
const HASH_WIDTH_MIN: usize = "being written".len();

impl Row for HitRow {
    const COLUMNS: &'static [Column<Self>] = &[
        (">ID", |hit, _| hit.id.to_string()),
        ("/NAME", |hit, _| {
            let first = name(hit.name.as_bytes());
            match hit.names.iter().filter(|other| **other != hit.name).count() {
                0 => first,
                1 => format!("{first} (+1 name)"),
                more => format!("{first} (+{more} names)"),
            }
        }),
        (">SIZE", |hit, _| or_unknown(bytes_of(hit), size)),
        (">SOURCES", |hit, _| hit.sources.len().to_string()),
        ("HASH", |hit, look| match hit.directory {
            Some(directory) => count(directory.files, "file"),
            None => vouched(&hit.b3, look),
        }),
    ];
    const LESSER: &'static [&'static str] = &["HASH"];
    const FIELDS: &'static [Column<Self>] = &[
        ("id", |hit, _| hit.id.to_string()),
        ("name", |hit, _| name(hit.name.as_bytes())),
        ("size", |hit, _| number(hit.size)),
        ("b3", |hit, _| hash(&hit.b3)),
        ("sources", |hit, _| addresses(&hit.sources)),
        // A name holds no line feed, so that one between two of them is read back without doubt.
        ("names", |hit, _| hit.names.iter().map(|other| name(other.as_bytes())).collect::<Vec<_>>().join("\\n")),
        ("files", |hit, _| number(hit.directory.map(|directory| directory.files))),
        ("bytes", |hit, _| number(hit.directory.and_then(|directory| directory.bytes))),
    ];

    fn tone(&self) -> Tone {
        if self.directory.is_some() { Tone::Plain } else { tone(&self.b3) }
    }
}

/// Hits of several searches: the same, with the number of the search that each belongs to.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::ctl) struct HitsOfAll(pub(in crate::ctl) Vec<HitRow>);

impl HitsOfAll {
    /// The column that hits of one search do without.
    const SEARCH: Column<HitRow> = (">SEARCH", |hit, _| or_unknown(hit.search, |search| search.to_string()));
    const SEARCH_FIELD: Column<HitRow> = ("search", Self::SEARCH.1);
}

impl Show for HitsOfAll {
    fn people(&self, look: Look) -> String {
        let columns = [HitRow::COLUMNS, &[Self::SEARCH]].concat();
        let mut table = table_of(&columns, &self.0, look).with_lesser(HitRow::LESSER);
        table.leave_out(&[Self::SEARCH.0], UNKNOWN);
        table.aligned(look)
    }

    fn table(&self) -> Table {
        table_of(&[HitRow::FIELDS, &[Self::SEARCH_FIELD]].concat(), &self.0, Look::default())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The size of a file, or what is known of that of a directory.
pub(in crate::ctl) fn bytes_of(hit: &HitRow) -> Option<u64> {
    hit.directory.map_or(hit.size, |directory| directory.bytes)
}

/// Whether a hit is a file whose hash no source has given.
pub(in crate::ctl) fn is_unverified(hit: &HitRow) -> bool {
    hit.b3.is_none() && hit.directory.is_none()
}

impl Row for ListedRow {
    const COLUMNS: &'static [Column<Self>] = &[
        (">ID", |row, _| row.id.to_string()),
        ("/NAME", |row, _| name(row.name.as_bytes())),
        (">SIZE", |row, _| or_unknown(row.size, size)),
        ("HASH", |row, look| vouched(&row.b3, look)),
    ];
    const WIDTHS_MIN: &'static [usize] = &[ID_WIDTH_MIN, 0, SIZE_WIDTH_MIN, HASH_WIDTH_MIN];
    const LESSER: &'static [&'static str] = &["HASH"];
    const FIELDS: &'static [Column<Self>] = &[
        ("id", |row, _| row.id.to_string()),
        ("name", |row, _| name(row.name.as_bytes())),
        ("size", |row, _| number(row.size)),
        ("b3", |row, _| hash(&row.b3)),
    ];

    fn tone(&self) -> Tone {
        tone(&self.b3)
    }
}

/// The hash that a source gave, or `unverified`.
fn vouched(b3: &Option<String>, look: Look) -> String {
    b3.as_ref().map_or_else(|| "unverified".into(), |b3| short_hash(b3, look))
}

fn tone(b3: &Option<String>) -> Tone {
    if b3.is_some() { Tone::Plain } else { Tone::Faint }
}

impl Row for FileRow {
    const COLUMNS: &'static [Column<Self>] = &[
        ("/NAME", |file, _| name(file.name.as_bytes())),
        (">SIZE", |file, _| or_unknown(file.size, size)),
        ("HASH", |file, look| match file.being_written {
            true => "being written".into(),
            false => or_unknown(file.b3.as_ref(), |b3| short_hash(b3, look)),
        }),
        ("~AUDIENCE", |file, _| or_unknown(file.audience.as_ref(), |audience| name(audience.join(" ").as_bytes()))),
    ];
    const ALL_OR_NONE: &'static [&'static str] = &["~AUDIENCE"];
    const WIDTHS_MIN: &'static [usize] = &[0, SIZE_WIDTH_MIN, HASH_WIDTH_MIN];
    const LESSER: &'static [&'static str] = &["HASH", "~AUDIENCE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("name", |file, _| name(file.name.as_bytes())),
        ("size", |file, _| number(file.size)),
        ("b3", |file, _| hash(&file.b3)),
    ];

    fn tone(&self) -> Tone {
        if self.being_written { Tone::Faint } else { Tone::Plain }
    }
}

//! The searches and lists that are remembered.

use super::{Column, Row};
use crate::control::SearchRow;
use crate::ctl::table::Tone;
use crate::ctl::text::{UNKNOWN, name, or_unknown, span};

impl Row for SearchRow {
    const COLUMNS: &'static [Column<Self>] = &[
        (">ID", |row, _| row.id.to_string()),
        (">HITS", |row, _| format!("{}{}", row.hits, if row.truncated { "+" } else { "" })),
        (">DROPPED", |row, _| if row.filtered == 0 { UNKNOWN.into() } else { row.filtered.to_string() }),
        ("AGE", |row, _| format!("{} ago", span(row.age_s))),
        ("STATE", |row, _| if row.running { "running" } else { "over" }.into()),
        ("~SEARCH", |row, _| what(row)),
    ];
    const SPARSE: &'static [&'static str] = &[">DROPPED"];
    const LESSER: &'static [&'static str] = &[">DROPPED", "AGE", "STATE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("id", |row, _| row.id.to_string()),
        ("text", |row, _| or_unknown(row.text.as_ref(), |text| name(text.as_bytes()))),
        ("peer", |row, _| or_unknown(row.peer, |peer| peer.to_string())),
        ("hits", |row, _| row.hits.to_string()),
        ("age_s", |row, _| row.age_s.to_string()),
        ("running", |row, _| row.running.to_string()),
        ("truncated", |row, _| row.truncated.to_string()),
        ("filtered", |row, _| row.filtered.to_string()),
    ];

    fn tone(&self) -> Tone {
        if self.hits == 0 { Tone::Faint } else { Tone::Plain }
    }
}

/// What was searched for, or whose list it is.
pub(in crate::ctl) fn what(row: &SearchRow) -> String {
    match (&row.text, row.peer) {
        (Some(text), _) => name(text.as_bytes()),
        (None, Some(peer)) => format!("list of {peer}"),
        (None, None) => UNKNOWN.into(),
    }
}

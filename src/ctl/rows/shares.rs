//! The shares, and what was found in each.

use super::{Column, Row, number};
use crate::control::{ShareRow, ShareState};
use crate::ctl::table::Tone;
use crate::ctl::text::{name, or_unknown, size};

impl Row for ShareRow {
    const COLUMNS: &'static [Column<Self>] = &[
        ("NAME", |row, _| {
            or_unknown(Some(&row.name).filter(|text| !text.as_bytes().is_empty()), |text| name(text.as_bytes()))
        }),
        (">FILES", |row, _| number(row.files)),
        (">SIZE", |row, _| or_unknown(row.bytes, size)),
        ("STATE", |row, _| row.state.to_string()),
        ("/PATH", |row, _| path(row)),
        ("~AUDIENCE", |row, _| audience(row)),
    ];
    const LESSER: &'static [&'static str] = &["~AUDIENCE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("name", |row, _| name(row.name.as_bytes())),
        ("path", |row, _| path(row)),
        ("audience", |row, _| audience(row)),
        ("state", |row, _| row.state.to_string()),
        ("files", |row, _| number(row.files)),
        ("bytes", |row, _| number(row.bytes)),
        ("error", |row, _| or_unknown(row.error.as_ref(), |error| name(error.message.as_bytes()))),
    ];

    fn tone(&self) -> Tone {
        match self.state {
            ShareState::Unreadable => Tone::Bad,
            ShareState::Waiting | ShareState::Scanning => Tone::Faint,
            ShareState::Shared => Tone::Plain,
        }
    }
}

fn audience(row: &ShareRow) -> String {
    or_unknown(Some(&row.audience).filter(|ranges| !ranges.is_empty()), |ranges| name(ranges.join(" ").as_bytes()))
}

fn path(row: &ShareRow) -> String {
    or_unknown(row.path.as_ref(), |path| name(path.as_bytes()))
}

//! Wishes: searches that repeat.

use super::{Column, Row, Show, number};
use crate::control::{UnwishedReply, WishRow};
use crate::ctl::clock::epoch_s;
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{age, name, or_unknown, ranges, span};

impl Row for WishRow {
    const COLUMNS: &'static [Column<Self>] = &[
        (">ID", |row, _| row.id.to_string()),
        ("STATE", |row, _| row.state.to_string()),
        (">FOUND", |row, _| row.found.to_string()),
        (">BEGUN", |row, _| or_unknown(row.download.then_some(row.begun), |begun| begun.to_string())),
        (">DONE", |row, _| or_unknown(row.download.then_some(row.done), |done| done.to_string())),
        ("ASKED", |row, _| or_unknown(row.last_asked, |at| age(at, epoch_s()))),
        ("NEXT", |row, _| or_unknown(row.next_ask, |at| format!("in {}", span(at.saturating_sub(epoch_s()))))),
        ("~WISH", |row, _| what(row)),
    ];
    const SPARSE: &'static [&'static str] = &[">BEGUN", ">DONE"];
    const LESSER: &'static [&'static str] = &["NEXT", "ASKED", ">BEGUN", ">DONE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("id", |row, _| row.id.to_string()),
        ("text", |row, _| name(row.text.as_bytes())),
        ("state", |row, _| row.state.to_string()),
        ("since", |row, _| row.since.to_string()),
        ("last_asked", |row, _| number(row.last_asked)),
        ("next_ask", |row, _| number(row.next_ask)),
        ("found", |row, _| row.found.to_string()),
        ("begun", |row, _| row.begun.to_string()),
        ("download", |row, _| row.download.to_string()),
        ("limit", |row, _| number(row.limit.map(u64::from))),
        ("error", |row, _| or_unknown(row.error.as_ref(), |error| error.message.clone())),
        ("done", |row, _| row.done.to_string()),
        ("failed", |row, _| row.failed.to_string()),
    ];

    fn tone(&self) -> Tone {
        if self.found == 0 { Tone::Faint } else { Tone::Plain }
    }
}

/// What is wished for, and what is wrong with the wish.
fn what(row: &WishRow) -> String {
    let error = row.error.as_ref().map(|error| format!(" ({})", error.message));
    name(row.text.as_bytes()) + &error.unwrap_or_default()
}

/// A wish that was made.
impl Show for WishRow {
    fn people(&self, _look: Look) -> String {
        format!("wish {}: {}\n", self.id, what(self))
    }

    fn table(&self) -> Table {
        super::table_of(Self::FIELDS, std::slice::from_ref(self), Look::default())
    }
}

impl Show for UnwishedReply {
    fn people(&self, _look: Look) -> String {
        match self.unwished[..] {
            [] => String::new(),
            _ => format!("unwished: {}\n", ranges(self.unwished.iter().copied())),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["unwished"]);
        self.unwished.iter().for_each(|id| table.push(Tone::Plain, vec![id.to_string()]));
        table
    }
}

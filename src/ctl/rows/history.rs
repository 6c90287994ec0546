//! Downloads that are over, as the event log has them.

use super::{Column, Row, addresses, hash, number};
use crate::control::{CallError, EventKind, RawText};
use crate::ctl::table::Tone;
use crate::ctl::text::{UNKNOWN, date, name, or_unknown, short_hash, size};
use serde::Serialize;
use std::net::SocketAddr;

/// The end of a download.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::ctl) struct HistoryRow {
    pub(in crate::ctl) download: Option<u32>,
    /// The name at its source.
    pub(in crate::ctl) name: RawText,
    /// Where it was saved, or was to be.
    pub(in crate::ctl) path: Option<RawText>,
    pub(in crate::ctl) size: Option<u64>,
    pub(in crate::ctl) b3: Option<String>,
    pub(in crate::ctl) verified: bool,
    pub(in crate::ctl) result: EventKind,
    /// Epoch seconds; `None` if the event of its beginning is not kept any more.
    pub(in crate::ctl) begun: Option<u64>,
    pub(in crate::ctl) finished: u64,
    /// Bytes a second in all that time, of one that is done.
    pub(in crate::ctl) rate: Option<u64>,
    /// The peers that sent its bytes, most first.
    pub(in crate::ctl) peers: Vec<SocketAddr>,
    pub(in crate::ctl) error: Option<CallError>,
    /// The file of the own share of which it is a copy; then no peer sent anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::ctl) copied_from: Option<RawText>,
}

impl Row for HistoryRow {
    const COLUMNS: &'static [Column<Self>] = &[
        (">ID", |row, _| or_unknown(row.download, |id| id.to_string())),
        ("FINISHED", |row, _| date(row.finished)),
        ("RESULT", |row, _| row.result.to_string()),
        (">SIZE", |row, _| or_unknown(row.size, size)),
        (">RATE", |row, _| or_unknown(row.rate, |rate| size(rate) + "/s")),
        ("FROM", |row, _| from(&row.peers)),
        ("HASH", |row, look| or_unknown(row.b3.as_ref(), |b3| short_hash(b3, look))),
        ("/FILE", |row, _| file(row)),
        ("~REMARK", |row, _| remark(row)),
    ];
    const SPARSE: &'static [&'static str] = &["~REMARK"];
    const LESSER: &'static [&'static str] = &["HASH", ">RATE", "FROM", ">SIZE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("download", |row, _| or_unknown(row.download, |id| id.to_string())),
        ("name", |row, _| name(row.name.as_bytes())),
        ("path", |row, _| or_unknown(row.path.as_ref(), |path| name(path.as_bytes()))),
        ("size", |row, _| number(row.size)),
        ("b3", |row, _| hash(&row.b3)),
        ("verified", |row, _| row.verified.to_string()),
        ("result", |row, _| row.result.to_string()),
        ("begun", |row, _| number(row.begun)),
        ("finished", |row, _| row.finished.to_string()),
        ("rate", |row, _| number(row.rate)),
        ("peers", |row, _| addresses(&row.peers)),
        ("error", |row, _| or_unknown(row.error.as_ref(), |error| name(error.message.as_bytes()))),
        ("copied_from", |row, _| or_unknown(row.copied_from.as_ref(), |from| name(from.as_bytes()))),
    ];

    fn tone(&self) -> Tone {
        match self.result {
            EventKind::Failed => Tone::Bad,
            EventKind::Cancelled => Tone::Faint,
            EventKind::Done | EventKind::Begun | EventKind::Wish => Tone::Plain,
        }
    }
}

fn from(peers: &[SocketAddr]) -> String {
    match peers {
        [] => UNKNOWN.into(),
        [one] => one.to_string(),
        [first, more @ ..] => format!("{first} (+{})", more.len()),
    }
}

/// Nothing is at the path of one that is not done.
fn file(row: &HistoryRow) -> String {
    let saved = row.path.as_ref().filter(|_| row.result == EventKind::Done);
    name(saved.unwrap_or(&row.name).as_bytes())
}

/// Why it failed, or what it is a copy of.
fn remark(row: &HistoryRow) -> String {
    match (&row.error, &row.copied_from) {
        (Some(error), _) => name(error.message.as_bytes()),
        (None, Some(from)) => format!("copied from {}", name(from.as_bytes())),
        (None, None) => UNKNOWN.into(),
    }
}

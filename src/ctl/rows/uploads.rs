//! Uploads in progress.

use super::{Column, Row, number};
use crate::control::{UploadRow, UploadState};
use crate::ctl::clock::epoch_s;
use crate::ctl::table::Tone;
use crate::ctl::text::{name, or_unknown, size, span, word};

impl Row for UploadRow {
    const COLUMNS: &'static [Column<Self>] = &[
        ("TO", |row, _| row.to.to_string()),
        ("/NAME", |row, _| name(row.name.as_bytes())),
        ("STATE", |row, _| word(&row.state)),
        (">SENT", |row, _| size(row.bytes_sent)),
        (">SIZE", |row, _| or_unknown(row.size, size)),
        (">RATE", |row, _| or_unknown(row.rate, |rate| size(rate) + "/s")),
        (">TIME", |row, _| span(epoch_s().saturating_sub(row.since))),
    ];
    // Where nothing is sent, there is no rate.
    const SPARSE: &'static [&'static str] = &[">RATE"];
    const LESSER: &'static [&'static str] = &[">SIZE", ">TIME", ">SENT", "STATE", ">RATE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("to", |row, _| row.to.to_string()),
        ("name", |row, _| name(row.name.as_bytes())),
        ("state", |row, _| word(&row.state)),
        ("connections", |row, _| row.connections.to_string()),
        ("bytes_sent", |row, _| row.bytes_sent.to_string()),
        ("size", |row, _| number(row.size)),
        ("rate", |row, _| number(row.rate)),
        ("since", |row, _| row.since.to_string()),
        ("range", |row, _| or_unknown(row.range, |range| format!("{}+{}", range.offset, range.length))),
    ];

    fn tone(&self) -> Tone {
        match self.state {
            UploadState::Sending => Tone::Plain,
            UploadState::Connecting | UploadState::Idle | UploadState::Waiting => Tone::Faint,
        }
    }
}

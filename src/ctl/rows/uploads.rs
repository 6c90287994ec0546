//! Uploads in progress.

use super::{Column, Row, number};
use crate::control::{UploadRow, UploadState};
use crate::ctl::clock::epoch_s;
use crate::ctl::table::Tone;
use crate::ctl::text::{name, or_unknown, size, span, word};

impl Row for UploadRow {
    const COLUMNS: &'static [Column<Self>] = &[
        ("TO", |row, _| peer(row)),
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
        ("peer", |row, _| or_unknown(row.peer, |peer| peer.to_string())),
    ];

    fn tone(&self) -> Tone {
        match self.state {
            UploadState::Sending => Tone::Plain,
            UploadState::Connecting | UploadState::Idle | UploadState::Waiting => Tone::Faint,
        }
    }
}

/// The peer as `peers` has it. The port of a connection that the peer has made names nothing.
fn peer(row: &UploadRow) -> String {
    match (row.peer, row.state) {
        (Some(peer), _) => peer.to_string(),
        (None, UploadState::Connecting) => row.to.to_string(),
        (None, _) => row.to.ip().to_canonical().to_string(),
    }
}

//! Events that outlive the daemon that made them, and the answer that lists them (pyratectl(1), EVENTS).

use super::{CallError, DownloadState, RawText};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A download was accepted.
    Begun,
    Done,
    Failed,
    Cancelled,
    /// A wish has found a content.
    Wish,
}

impl fmt::Display for EventKind {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Wish => "wish",
        })
    }
}

/// An event of the log, as it was when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    pub event: EventKind,
    /// Greater than that of every earlier event of the log. No other event has it.
    pub id: u64,
    /// The log that the id is from. Only a daemon that lost its state directory begins another log.
    pub log: String,
    /// When it happened, epoch seconds.
    pub time: u64,
    pub download: Option<u32>,
    /// The name in the source's share.
    pub name: RawText,
    /// The final path, once it is known.
    pub path: Option<RawText>,
    /// Bytes in all; `None` if no source gave a size.
    pub size: Option<u64>,
    /// BLAKE3 in hex; `None` if no source gave it.
    pub b3: Option<String>,
    /// The content equals a hash that was given for this download before its bytes came.
    pub verified: bool,
    /// The state of the download; `None` of a wish.
    pub state: Option<DownloadState>,
    /// Why it failed.
    pub error: Option<CallError>,
    /// The peers that sent its bytes, most first, in the event of an end; or the peer that offers what a wish has found.
    #[serde(default)]
    pub peers: Vec<SocketAddr>,
    /// The wish that has found it. Omitted if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<u32>,
    /// The file of the own share of which the download is a copy. Omitted if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<RawText>,
}

impl EventRow {
    /// An event of which nothing but this is known.
    pub(crate) fn blank(event: EventKind, id: u64, log: String, time: u64) -> Self {
        Self {
            event,
            id,
            log,
            time,
            download: None,
            name: RawText::new([]),
            path: None,
            size: None,
            b3: None,
            verified: false,
            state: None,
            error: None,
            peers: Vec::new(),
            wish: None,
            copied_from: None,
        }
    }
}

/// One page of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLogReply {
    /// As in each event.
    pub log: String,
    /// By id.
    pub events: Vec<EventRow>,
    /// Ids that were asked for and are not kept any more.
    pub gone: Option<IdSpan>,
    /// Ask for events since this one to go on; `None` at the end: later events come as notices.
    pub next: Option<u64>,
    /// The id of the newest event; 0 without any.
    pub last: u64,
}

/// Ids from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdSpan {
    pub first: u64,
    pub last: u64,
}

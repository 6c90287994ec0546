//! Uploads in progress: what peers fetch from us.

use super::RawText;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One page of the uploads in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadsReply {
    /// By address and name.
    pub uploads: Vec<UploadRow>,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<UploadKey>,
}

/// Names a row of [`UploadsReply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadKey {
    pub to: SocketAddr,
    pub name: RawText,
}

/// A file that a peer fetches, on one connection or on several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadRow {
    /// As in the events `upload_started` and `upload_ended`.
    pub to: SocketAddr,
    /// The peer as others know it: where it listens. `None` if none or several are known at that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    pub name: RawText,
    pub state: UploadState,
    /// Connections that send it now.
    pub connections: u64,
    /// What was sent so far. A peer that asks for a range twice is sent its bytes twice.
    pub bytes_sent: u64,
    /// Bytes of the file; `None` if it is not shared any more.
    pub size: Option<u64>,
    /// Bytes per second over the last seconds; `None` while nothing is sent.
    pub rate: Option<u64>,
    /// When it began, or began to wait, epoch seconds.
    pub since: u64,
    /// The range that was asked for last; `None` if the whole file was.
    pub range: Option<RangeRow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRow {
    pub offset: u64,
    pub length: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    Sending,
    /// A peer of the base protocol that closed its connection is called back.
    Connecting,
    /// The last range was sent, and the peer may ask for another.
    Idle,
    /// For its turn under `upload_limit`, or for a worker.
    Waiting,
}

//! The shares: what each is, and what the last scan has found there.

use super::{CallError, RawText};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRow {
    /// What the names of its files begin with; empty for `local_directory`, whose files have no name before theirs.
    pub name: RawText,
    /// Its directory; `None` if it waits for the next start.
    pub path: Option<RawText>,
    /// For whom it is: addresses and ranges of addresses, or `all` alone. Empty if it waits.
    pub audience: Vec<String>,
    pub state: ShareState,
    /// Files that the last scan that could read it has found; `None` if none could since the daemon started.
    pub files: Option<u64>,
    /// Bytes in these files.
    pub bytes: Option<u64>,
    /// Why the last scan could not read it; its files of before stay shared.
    pub error: Option<CallError>,
}

/// The state of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareState {
    Shared,
    /// The first scan of it has not ended.
    Scanning,
    Unreadable,
    /// It is shared from the next start on.
    Waiting,
}

impl fmt::Display for ShareState {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Scanning => "scanning",
            Self::Unreadable => "unreadable",
            Self::Waiting => "waiting",
        })
    }
}

/// One page of the shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharesReply {
    /// By name: `local_directory` first.
    pub shares: Vec<ShareRow>,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<RawText>,
}

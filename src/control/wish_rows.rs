//! Wishes: searches that repeat. Their rows, and the answers to `wishes` and `unwish`.

use super::{CallError, RawText, WholeNames};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WishRow {
    /// For `unwish`. No download has it.
    pub id: u32,
    pub text: RawText,
    pub state: WishState,
    /// When it was made, epoch seconds.
    pub since: u64,
    /// When a peer was asked last, epoch seconds; `None` if none was since the daemon started.
    pub last_asked: Option<u64>,
    /// When a peer is asked next, epoch seconds, about; `None` if none will be.
    pub next_ask: Option<u64>,
    /// Contents found.
    pub found: u64,
    /// Of these, contents whose download was begun.
    pub begun: u64,
    /// Of these, contents whose download is done.
    #[serde(default)]
    pub done: u64,
    /// Of those begun, contents whose download has failed or was cancelled: they do not count towards the limit.
    #[serde(default)]
    pub failed: u64,
    /// What it finds is downloaded.
    pub download: bool,
    /// So many contents fulfil it, or so many downloads that are done; `None` for no limit.
    pub limit: Option<u32>,
    /// Why it is not on the disk as it is, or a download of it cannot begin.
    pub error: Option<CallError>,
    /// Set if it finds files of exactly this name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_names: Option<WholeNames>,
}

/// Whether a wish is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishState {
    Looking,
    /// As many downloads as were wished for are in progress or done: nobody is asked unless one of them fails.
    Downloading,
    /// It has found as much as was wished for, and the downloads of that are done.
    Fulfilled,
    /// It has found as much as is remembered of one wish.
    Full,
}

impl fmt::Display for WishState {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Looking => "looking",
            Self::Downloading => "downloading",
            Self::Fulfilled => "fulfilled",
            Self::Full => "full",
        })
    }
}

/// One page of the wishes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WishesReply {
    /// By id.
    pub wishes: Vec<WishRow>,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<u32>,
}

/// The wishes that were ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnwishedReply {
    /// Their ids, ascending.
    pub unwished: Vec<u32>,
}

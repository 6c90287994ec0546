//! Searches and lists: a row of an answer to `searches`.

use super::RawText;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A search, or the list of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRow {
    /// For [`Request::Hits`](super::Request::Hits).
    pub id: u32,
    /// What was searched for; `None` of a list.
    pub text: Option<RawText>,
    /// Whose list it is; `None` of a search.
    pub peer: Option<SocketAddr>,
    /// Rows that are remembered.
    pub hits: u64,
    /// Seconds since it was begun.
    pub age_s: u64,
    /// It is not over yet.
    pub running: bool,
    /// It found more than is remembered, or than peers sent.
    pub truncated: bool,
    /// Hits that the filters of the search have dropped. Peers that filter themselves send one at most.
    pub filtered: u64,
}

/// One page of the searches and lists remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchesReply {
    /// By id.
    pub searches: Vec<SearchRow>,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<u32>,
}

//! What is in the shared directory and not shared.

use super::{CallError, RawText};
use crate::left_out::LeftOutReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many there are for each reason; only those of which there are some.
pub type LeftOutCounts = BTreeMap<LeftOutReason, u64>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRow {
    /// Path relative to the share; any bytes.
    pub name: RawText,
    pub reason: LeftOutReason,
}

/// One page of what is not shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOutReply {
    /// By name.
    pub left_out: Vec<LeftOutRow>,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<RawText>,
    /// Those that are on no page, since the daemon remembers the first names alone.
    #[serde(default)]
    pub unnamed: LeftOutCounts,
    /// As [`StatusReply::share_error`](super::StatusReply::share_error).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_error: Option<CallError>,
}

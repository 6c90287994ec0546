//! The rate limits in force.

use serde::{Deserialize, Serialize};

/// The answer to `limit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReply {
    /// Of all downloads together.
    pub down: LimitRow,
    /// Of all uploads together.
    pub up: LimitRow,
}

/// Rates in bytes a second; 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    pub in_force: u64,
    /// What the configuration says for now, which is in force after a restart.
    pub configured: u64,
    /// It was ordered by a client, and is not what is configured, now or at another time of the week.
    pub until_restart: bool,
    /// The time of the week to which `configured` belongs, as in the configuration; `None` where it is for all times.
    #[serde(default)]
    pub when: Option<String>,
    /// When `configured` changes next, in seconds since the epoch; `None` if it does not.
    #[serde(default)]
    pub until: Option<u64>,
    /// What it is from then on.
    #[serde(default)]
    pub then: Option<u64>,
}

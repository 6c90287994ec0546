//! The rate limits in force.

use serde::{Deserialize, Serialize};

/// The answer to `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReply {
    /// Of all downloads together.
    pub down: LimitRow,
    /// Of all uploads together.
    pub up: LimitRow,
}

/// Rates in bytes a second; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    pub in_force: u64,
    /// As the configuration says, which is in force after a restart.
    pub configured: u64,
    /// It was ordered by a client, and is not what is configured.
    pub until_restart: bool,
}

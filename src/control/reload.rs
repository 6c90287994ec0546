//! The answer to `reload`: which values are in force, and which wait for a restart.

use super::RawText;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a reload did. Values have the types of the configuration file; `null` is a key without a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadReply {
    /// The configuration file that was read; `None` if there is none.
    pub file: Option<RawText>,
    /// Keys whose new values are in force from now on.
    pub changed: Vec<ChangedKey>,
    /// Keys of which the next start would use another value than the one in force.
    pub waiting: Vec<WaitingKey>,
    /// What the user ought to know of the configuration, a sentence each.
    pub remarks: Vec<String>,
}

/// A key whose new value is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedKey {
    /// As in the configuration file.
    pub key: String,
    pub was: Value,
    pub in_force: Value,
}

/// A key whose configured value waits for a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingKey {
    /// As in the configuration file.
    pub key: String,
    /// What the daemon runs with.
    pub in_force: Value,
    /// What it will run with after a restart.
    pub next_start: Value,
}

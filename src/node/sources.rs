//! Who offers what a download wants.

use super::Node;
use crate::id::TransferId;
use crate::time::Instant;
use crate::wire::Listed;
use std::net::SocketAddr;

impl Node {
    /// A search for further sources of a download found a file.
    pub(super) fn on_source_found(&mut self, _now: Instant, _download: TransferId, _peer: SocketAddr, _file: &Listed) {}
}

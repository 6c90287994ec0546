//! Streams to `p1` peers by address: at most one for each.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Streams open at once; for another one, the longest idle one is closed.
pub(super) const STREAMS_MAX: usize = 64;

/// The key of each stream. Iteration uses `opened`, since the order of a hash map is random.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_peer: HashMap<SocketAddr, usize>,
    opened: VecDeque<SocketAddr>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub(super) fn get(&self, peer: SocketAddr) -> Option<usize> {
        self.by_peer.get(&peer).copied()
    }

    /// All streams in the order in which they were opened.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (SocketAddr, usize)> {
        self.opened.iter().filter_map(|peer| Some((*peer, self.get(*peer)?)))
    }

    pub(super) fn insert(&mut self, peer: SocketAddr, key: usize) {
        self.by_peer.insert(peer, key);
        self.opened.push_back(peer);
    }

    pub(super) fn remove(&mut self, peer: SocketAddr) {
        self.by_peer.remove(&peer);
        self.opened.retain(|opened| *opened != peer);
    }
}

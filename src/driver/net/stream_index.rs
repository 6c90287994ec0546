//! Where the streams to `p1` peers are: one for each, found by its address.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Streams open at once; for one more, the one that has been idle longest gives way.
pub(super) const STREAMS_MAX: usize = 64;

/// Where each stream is. Only ever asked for one address; the order in which they were opened stands beside it.
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

    /// All, in the order in which they were opened.
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

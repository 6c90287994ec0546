//! A bounded set of endpoints that strangers can fill: where it is full, the oldest one of the network that has most gives
//! way to a newcomer.

use crate::network::Network;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The endpoints, each with its place in the order in which they came.
pub(super) struct FairSet {
    len_max: usize,
    numbers: BTreeMap<SocketAddr, u64>,
    networks: BTreeMap<Network, BTreeSet<(u64, SocketAddr)>>,
    /// The networks by their number of endpoints; of as many, the one with the oldest comes last.
    sizes: BTreeSet<(usize, Reverse<u64>, Network)>,
    added: u64,
}

impl FairSet {
    /// An empty set for so many.
    pub(super) fn new(len_max: usize) -> Self {
        let (numbers, networks, sizes) = Default::default();
        Self { len_max, numbers, networks, sizes, added: 0 }
    }

    pub(super) fn contains(&self, addr: SocketAddr) -> bool {
        self.numbers.contains_key(&addr)
    }

    /// Adds an endpoint, or makes it the newest; the one that gave way to it.
    pub(super) fn insert(&mut self, addr: SocketAddr) -> Option<SocketAddr> {
        self.remove(addr);
        self.added += 1;
        let number = self.added;
        self.numbers.insert(addr, number);
        self.change(Network::of(addr.ip()), |endpoints| {
            endpoints.insert((number, addr));
        });
        if self.numbers.len() <= self.len_max {
            return None;
        }
        let network = self.sizes.last().map(|(.., network)| *network)?;
        let oldest = self.networks.get(&network)?.first().map(|(_, addr)| *addr)?;
        self.remove(oldest);
        Some(oldest)
    }

    pub(super) fn remove(&mut self, addr: SocketAddr) {
        if let Some(number) = self.numbers.remove(&addr) {
            self.change(Network::of(addr.ip()), |endpoints| {
                endpoints.remove(&(number, addr));
            });
        }
    }

    /// Changes the endpoints of a network, and keeps its place among the sizes.
    fn change(&mut self, network: Network, change: impl FnOnce(&mut BTreeSet<(u64, SocketAddr)>)) {
        let size = |endpoints: &BTreeSet<(u64, SocketAddr)>| {
            let (oldest, _) = *endpoints.first()?;
            Some((endpoints.len(), Reverse(oldest), network))
        };
        let mut endpoints = self.networks.remove(&network).unwrap_or_default();
        if let Some(old) = size(&endpoints) {
            self.sizes.remove(&old);
        }
        change(&mut endpoints);
        if let Some(new) = size(&endpoints) {
            self.sizes.insert(new);
            self.networks.insert(network, endpoints);
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.numbers.len() <= self.len_max, "a set of endpoints is bounded");
        let sizes: usize = self.sizes.iter().map(|(size, ..)| size).sum();
        assert_eq!((self.sizes.len(), sizes), (self.networks.len(), self.numbers.len()), "each endpoint counts once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(network: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, network], port))
    }

    #[test]
    fn the_oldest_one_of_the_network_that_has_most_gives_way() {
        let mut set = FairSet::new(6);
        for (network, port) in [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)] {
            assert_eq!(set.insert(addr(network, port)), None);
        }
        assert_eq!(set.insert(addr(4, 1)), Some(addr(2, 1)));
        assert_eq!(set.insert(addr(5, 1)), Some(addr(2, 2)), "of two networks that have as many, the older one");
        set.check_invariants();
        set.remove(addr(3, 1));
        set.remove(addr(3, 1));
        assert!(!set.contains(addr(3, 1)) && set.contains(addr(3, 2)));
        set.check_invariants();
    }

    #[test]
    fn however_many_one_network_adds_those_of_others_stay() {
        let mut set = FairSet::new(100);
        (1..=10).for_each(|n| _ = set.insert(addr(n, 1)));
        (0..10_000).for_each(|port| _ = set.insert(addr(66, port)));
        assert!((1..=10).all(|n| set.contains(addr(n, 1))));
        assert!(set.contains(addr(66, 9_999)) && !set.contains(addr(66, 9_000)));
        set.check_invariants();
    }

    #[test]
    fn among_single_endpoints_the_oldest_gives_way_and_one_that_comes_again_is_new() {
        let mut set = FairSet::new(3);
        (1..=3).for_each(|n| _ = set.insert(addr(n, 1)));
        assert_eq!(set.insert(addr(1, 1)), None);
        assert_eq!(set.insert(addr(4, 1)), Some(addr(2, 1)));
    }
}

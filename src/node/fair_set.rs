//! A bounded set that strangers can fill: where it is full, the oldest one of the network that has most gives way to a
//! newcomer.

use crate::network::Network;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The members, each of a network and with its place in the order in which they came.
pub(super) struct FairSet<K> {
    len_max: usize,
    numbers: BTreeMap<K, u64>,
    /// In the order in which they came.
    members: BTreeMap<u64, (Network, K)>,
    networks: BTreeMap<Network, BTreeSet<u64>>,
    /// The networks by their number of members; of as many, the one with the oldest comes last.
    sizes: BTreeSet<(usize, Reverse<u64>, Network)>,
    added: u64,
    /// Members that gave way to newcomers.
    displaced: u64,
}

impl<K: Clone + Ord> FairSet<K> {
    /// An empty set for so many.
    pub(super) fn new(len_max: usize) -> Self {
        let (numbers, members, networks, sizes) = Default::default();
        Self { len_max, numbers, members, networks, sizes, added: 0, displaced: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// How many members gave way to newcomers since the start.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.numbers.contains_key(key)
    }

    /// The one that came first.
    pub(super) fn oldest(&self) -> Option<&K> {
        self.members.values().next().map(|(_, key)| key)
    }

    /// Adds one of this network, or makes it the newest; the one that gave way to it.
    pub(super) fn insert(&mut self, network: Network, key: K) -> Option<K> {
        self.remove(&key);
        self.added += 1;
        let number = self.added;
        self.numbers.insert(key.clone(), number);
        self.members.insert(number, (network, key));
        self.change(network, |members| {
            members.insert(number);
        });
        if self.numbers.len() <= self.len_max {
            return None;
        }
        let (_, Reverse(oldest), _) = self.sizes.last()?;
        let (_, oldest) = self.members.get(oldest)?.clone();
        self.remove(&oldest);
        self.displaced += 1;
        Some(oldest)
    }

    pub(super) fn remove(&mut self, key: &K) {
        let Some(number) = self.numbers.remove(key) else { return };
        let Some((network, _)) = self.members.remove(&number) else { return };
        self.change(network, |members| {
            members.remove(&number);
        });
    }

    /// Changes the members of a network, and keeps its place among the sizes.
    fn change(&mut self, network: Network, change: impl FnOnce(&mut BTreeSet<u64>)) {
        let size = |members: &BTreeSet<u64>| Some((members.len(), Reverse(*members.first()?), network));
        let members = self.networks.entry(network).or_default();
        if let Some(old) = size(members) {
            self.sizes.remove(&old);
        }
        change(members);
        match size(members) {
            Some(new) => drop(self.sizes.insert(new)),
            None => drop(self.networks.remove(&network)),
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.numbers.len() <= self.len_max, "the set is bounded");
        let sizes: usize = self.sizes.iter().map(|(size, ..)| size).sum();
        assert_eq!((self.sizes.len(), sizes), (self.networks.len(), self.numbers.len()), "each member counts once");
        assert_eq!(self.members.len(), self.numbers.len(), "and has its place in the order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn insert(set: &mut FairSet<SocketAddr>, addr: SocketAddr) -> Option<SocketAddr> {
        set.insert(Network::of(addr.ip()), addr)
    }

    fn addr(network: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, network], port))
    }

    #[test]
    fn the_oldest_one_of_the_network_that_has_most_gives_way() {
        let mut set = FairSet::new(6);
        for (network, port) in [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)] {
            assert_eq!(insert(&mut set, addr(network, port)), None);
        }
        assert_eq!(insert(&mut set, addr(4, 1)), Some(addr(2, 1)));
        assert_eq!(insert(&mut set, addr(5, 1)), Some(addr(2, 2)), "of two networks that have as many, the older one");
        set.check_invariants();
        set.remove(&addr(3, 1));
        set.remove(&addr(3, 1));
        assert!(!set.contains(&addr(3, 1)) && set.contains(&addr(3, 2)));
        set.check_invariants();
    }

    #[test]
    fn however_many_one_network_adds_those_of_others_stay() {
        let mut set = FairSet::new(100);
        (1..=10).for_each(|n| _ = insert(&mut set, addr(n, 1)));
        (0..10_000).for_each(|port| _ = insert(&mut set, addr(66, port)));
        assert_eq!(set.displaced(), 10_010 - 100);
        assert!((1..=10).all(|n| set.contains(&addr(n, 1))));
        assert!(set.contains(&addr(66, 9_999)) && !set.contains(&addr(66, 9_000)));
        set.check_invariants();
    }

    #[test]
    fn among_single_endpoints_the_oldest_gives_way_and_one_that_comes_again_is_new() {
        let mut set = FairSet::new(3);
        (1..=3).for_each(|n| _ = insert(&mut set, addr(n, 1)));
        assert_eq!(insert(&mut set, addr(1, 1)), None);
        assert_eq!(insert(&mut set, addr(4, 1)), Some(addr(2, 1)));
    }
}

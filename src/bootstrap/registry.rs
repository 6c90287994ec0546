//! Who is registered: a dense vector to draw from, an index to find by, and through both a list in the order in which
//! leases end.

use super::{BootstrapRefusal, Lease, REGISTRY_PEERS_MAX, REGISTRY_PEERS_PER_ADDRESS_MAX};
use crate::time::Instant;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// No entry: the end of the list.
const NIL: usize = usize::MAX;

/// Registrations with their leases.
///
/// Every lease is equally long, so that a renewed one goes to the end of the list without a search. The maps are only
/// looked things up in: their order shows nowhere.
#[derive(Debug)]
pub(super) struct Registry {
    entries: Vec<Entry>,
    index: HashMap<SocketAddr, usize>,
    per_network: HashMap<IpAddr, u32>,
    /// The entry whose lease ends first.
    first: usize,
    /// The entry whose lease ends last.
    last: usize,
    revision: u64,
}

/// A registration, with its neighbours in the list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    peer: SocketAddr,
    ends: Instant,
    p1: bool,
    previous: usize,
    next: usize,
}

impl Entry {
    fn lease(&self) -> Lease {
        Lease { peer: self.peer, ends: self.ends, p1: self.p1 }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: HashMap::new(),
            per_network: HashMap::new(),
            first: NIL,
            last: NIL,
            revision: 0,
        }
    }
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Changes with every registration, renewal and removal.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The registration at a position below [`len`](Self::len).
    pub(super) fn lease(&self, position: usize) -> Option<Lease> {
        self.entries.get(position).map(Entry::lease)
    }

    /// When a peer's lease ends, if it is registered.
    pub(super) fn lease_end(&self, peer: SocketAddr) -> Option<Instant> {
        self.index.get(&peer).map(|&at| self.entries[at].ends)
    }

    /// When the first lease ends.
    pub(super) fn earliest_end(&self) -> Option<Instant> {
        self.entries.get(self.first).map(|entry| entry.ends)
    }

    /// All leases, the earliest end first.
    pub(super) fn leases(&self) -> impl Iterator<Item = Lease> {
        let first = self.entries.get(self.first);
        std::iter::successors(first, |entry| self.entries.get(entry.next)).map(Entry::lease)
    }

    /// The first `rows_max` leases by address after `after`, and whether there are more.
    pub(super) fn page(&self, after: Option<SocketAddr>, rows_max: usize) -> (Vec<(SocketAddr, Instant)>, bool) {
        // A heap of the smallest seen so far: one more than asked for tells whether there are more.
        let mut smallest = BinaryHeap::new();
        for entry in self.entries.iter().filter(|entry| after.is_none_or(|after| entry.peer > after)) {
            if smallest.len() <= rows_max {
                smallest.push((entry.peer, entry.ends));
            } else if smallest.peek().is_some_and(|&(largest, _)| entry.peer < largest) {
                smallest.pop();
                smallest.push((entry.peer, entry.ends));
            }
        }
        let mut rows = smallest.into_sorted_vec();
        let more = rows.len() > rows_max;
        rows.truncate(rows_max);
        (rows, more)
    }

    /// Registers a peer, or puts this lease in the place of the one that it has. O(1) when no lease ends later.
    ///
    /// # Errors
    ///
    /// Names the limit that keeps a new peer out. A registered one can always renew.
    pub(super) fn renew(&mut self, lease: Lease) -> Result<(), BootstrapRefusal> {
        let Lease { peer, ends, p1 } = lease;
        let at = match self.index.get(&peer) {
            Some(&at) => {
                self.unlink(at);
                at
            }
            None => self.add(peer)?,
        };
        (self.entries[at].ends, self.entries[at].p1) = (ends, p1);
        self.link(at);
        self.revision += 1;
        Ok(())
    }

    /// Takes a peer out, if it is registered. O(1).
    pub(super) fn remove(&mut self, peer: SocketAddr) {
        if let Some(&at) = self.index.get(&peer) {
            self.remove_at(at);
        }
    }

    /// Takes out the peer whose lease ends first.
    pub(super) fn remove_earliest(&mut self) {
        if self.first != NIL {
            self.remove_at(self.first);
        }
    }

    /// Appends an entry that is not linked yet.
    fn add(&mut self, peer: SocketAddr) -> Result<usize, BootstrapRefusal> {
        if self.entries.len() >= REGISTRY_PEERS_MAX {
            return Err(BootstrapRefusal::RegistryFull);
        }
        let in_network = self.per_network.entry(network(peer.ip())).or_default();
        if *in_network >= REGISTRY_PEERS_PER_ADDRESS_MAX {
            return Err(BootstrapRefusal::AddressFull);
        }
        *in_network += 1;
        let at = self.entries.len();
        self.index.insert(peer, at);
        self.entries.push(Entry { peer, ends: Instant::default(), p1: false, previous: NIL, next: NIL });
        Ok(at)
    }

    fn remove_at(&mut self, at: usize) {
        self.unlink(at);
        let Entry { peer, .. } = self.entries.swap_remove(at);
        self.index.remove(&peer);
        let network = network(peer.ip());
        if let Some(in_network) = self.per_network.get_mut(&network) {
            *in_network -= 1;
            if *in_network == 0 {
                self.per_network.remove(&network);
            }
        }
        // The entry that was the vector's last has moved into the gap.
        if let Some(&moved) = self.entries.get(at) {
            self.index.insert(moved.peer, at);
            self.set_next(moved.previous, at);
            self.set_previous(moved.next, at);
        }
        self.revision += 1;
    }

    /// Links an entry behind all whose leases do not end later.
    fn link(&mut self, at: usize) {
        let ends = self.entries[at].ends;
        let mut previous = self.last;
        while let Some(entry) = self.entries.get(previous).filter(|entry| entry.ends > ends) {
            previous = entry.previous;
        }
        let next = self.entries.get(previous).map_or(self.first, |entry| entry.next);
        (self.entries[at].previous, self.entries[at].next) = (previous, next);
        self.set_next(previous, at);
        self.set_previous(next, at);
    }

    fn unlink(&mut self, at: usize) {
        let Entry { previous, next, .. } = self.entries[at];
        self.set_next(previous, next);
        self.set_previous(next, previous);
    }

    /// Says what follows an entry, or what comes first.
    fn set_next(&mut self, at: usize, next: usize) {
        match self.entries.get_mut(at) {
            Some(entry) => entry.next = next,
            None => self.first = next,
        }
    }

    /// Says what precedes an entry, or what comes last.
    fn set_previous(&mut self, at: usize, previous: usize) {
        match self.entries.get_mut(at) {
            Some(entry) => entry.previous = previous,
            None => self.last = previous,
        }
    }
}

/// What the limit per address counts: an IPv4 address, or the upper 64 bits of an IPv6 address.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

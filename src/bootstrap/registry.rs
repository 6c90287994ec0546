//! The registrations: a vector, an index by address, two pools to draw from, and a linked list in the order in which leases
//! end.

use super::checks::{ANSWER_LASTS, SILENCE_LASTS_MAX, SILENCE_LASTS_MIN};
use super::pool::{self, Pool, Wanted};
use super::sample::Shuffle;
use super::{BootstrapRefusal, Lease, REGISTRY_PEERS_MAX, REGISTRY_PEERS_PER_NETWORK_MAX, REGISTRY_PEERS_SPARED};
use crate::network::{Network, WideNetwork};
use crate::time::Instant;
use rand_chacha::rand_core::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// No entry: the end of the list.
const NIL: usize = usize::MAX;

/// Every lease is equally long, so a renewed one is appended to the list without a search. The hash maps are never iterated.
#[derive(Debug)]
pub(super) struct Registry {
    entries: Vec<Entry>,
    index: HashMap<SocketAddr, usize>,
    /// Registrations that have not answered a dial, and those that have.
    pools: [Pool; 2],
    /// Registrations by network, of both pools.
    by_network: HashMap<Network, usize>,
    /// Networks by wide network, of both pools.
    by_wide: HashMap<WideNetwork, usize>,
    first: usize,
    last: usize,
    /// Changes with every registration, renewal and removal.
    pub(super) revision: u64,
}

/// A registration, with its neighbours in the list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    peer: SocketAddr,
    since: Instant,
    ends: Instant,
    p1: bool,
    reach: Reach,
    previous: usize,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
enum Reach {
    Unknown,
    /// Answered the last dial, at this time.
    Answered(Instant),
    /// Did not answer the last dial, and is not dialled again for this long.
    Silent(Instant, Duration),
}

impl Entry {
    fn pool(&self) -> usize {
        usize::from(matches!(self.reach, Reach::Answered(_)))
    }

    fn lease(&self) -> Lease {
        let answered = match self.reach {
            Reach::Answered(at) => Some(at),
            Reach::Unknown | Reach::Silent(..) => None,
        };
        Lease { peer: self.peer, since: self.since, ends: self.ends, p1: self.p1, answered }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: HashMap::new(),
            pools: Default::default(),
            by_network: HashMap::new(),
            by_wide: HashMap::new(),
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

    pub(super) fn lease(&self, peer: SocketAddr) -> Option<Lease> {
        self.index.get(&peer).map(|&at| self.entries[at].lease())
    }

    pub(super) fn earliest_end(&self) -> Option<Instant> {
        self.entries.get(self.first).map(|entry| entry.ends)
    }

    /// In the order in which they end.
    pub(super) fn leases(&self) -> impl Iterator<Item = Lease> {
        let first = self.entries.get(self.first);
        std::iter::successors(first, |entry| self.entries.get(entry.next)).map(Entry::lease)
    }

    /// The first `rows_max` leases by address after `after`, and whether there are more.
    pub(super) fn page(&self, after: Option<SocketAddr>, rows_max: usize) -> (Vec<(SocketAddr, Instant)>, bool) {
        // A heap of the smallest so far: one more than `rows_max` shows whether there are more.
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

    /// Draws up to `wanted` different registrations, of as many wide networks and networks as possible: many ports of one
    /// network, or many networks of a wide one, do not raise the chance to be drawn, except in the requester's own wide network.
    /// Those that answered a dial come first. Remaining rows are for the requester's own network, so that a requester that is
    /// missing from a list that is not full knows that it is not registered. O(`wanted`).
    pub(super) fn draw(&self, random: &mut impl Rng, wanted: usize, asker: IpAddr) -> Vec<Lease> {
        let (network, home) = (Network::of(asker), WideNetwork::of(asker));
        let at_home = self.by_wide.get(&home).copied();
        let units = self.by_wide.len() - usize::from(at_home.is_some()) + at_home.unwrap_or(0);
        let share = |holders: usize| wanted.div_ceil(holders.max(1));
        let (of_network, of_unit) = (share(self.by_network.len()), share(units));
        let [unanswered, answered] = &self.pools;
        let mut chosen = pool::draw([answered, unanswered], random, Wanted { rows: wanted, home, of_network, of_unit });
        let listed: HashSet<SocketAddr> = chosen.iter().copied().collect();
        for pool in [answered, unanswered] {
            let room = wanted - chosen.len();
            let own: Vec<_> = pool.of_network(network).filter(|peer| !listed.contains(peer)).collect();
            let mut order = Shuffle::new(own.len());
            chosen.extend(std::iter::from_fn(|| order.draw(random)).take(room).map(|place| own[place]));
        }
        chosen.into_iter().filter_map(|peer| self.lease(peer)).collect()
    }

    /// When a registered peer may be dialled again.
    pub(super) fn check_at(&self, peer: SocketAddr) -> Option<Instant> {
        Some(match self.entries[*self.index.get(&peer)?].reach {
            Reach::Unknown => Instant::default(),
            Reach::Answered(at) => at + ANSWER_LASTS,
            Reach::Silent(at, lasts) => at + lasts,
        })
    }

    /// Whether a peer answered its last dial, if there was one.
    pub(super) fn answered(&self, peer: SocketAddr) -> Option<bool> {
        match self.entries[*self.index.get(&peer)?].reach {
            Reach::Unknown => None,
            Reach::Answered(_) => Some(true),
            Reach::Silent(..) => Some(false),
        }
    }

    /// How many registered peers answered their last dial, and how many did not. O(n).
    pub(super) fn answered_counts(&self) -> (usize, usize) {
        let count = |which: fn(&Entry) -> bool| self.entries.iter().filter(|entry| which(entry)).count();
        let silent = count(|entry| matches!(entry.reach, Reach::Silent(..)));
        (count(|entry| matches!(entry.reach, Reach::Answered(_))), silent)
    }

    pub(super) fn set_answered(&mut self, peer: SocketAddr, now: Instant, answered: bool) {
        let Some(&at) = self.index.get(&peer) else { return };
        self.pools[self.entries[at].pool()].remove(peer);
        self.revision += u64::from(answered || self.entries[at].pool() == 1);
        self.entries[at].reach = match self.entries[at].reach {
            _ if answered => Reach::Answered(now),
            Reach::Silent(_, lasts) => Reach::Silent(now, (lasts * 2).min(SILENCE_LASTS_MAX)),
            Reach::Unknown | Reach::Answered(_) => Reach::Silent(now, SILENCE_LASTS_MIN),
        };
        self.pools[self.entries[at].pool()].insert(peer);
    }

    /// Registers a peer, or renews its lease, whose `since` and `reach` stay. O(1) if no lease ends later, and there is room.
    /// Returns the displaced peer, if there is one.
    ///
    /// # Errors
    ///
    /// The limit that refuses a new peer. A registered one can always renew.
    pub(super) fn renew(&mut self, lease: Lease) -> Result<Option<SocketAddr>, BootstrapRefusal> {
        let mut displaced = None;
        let at = match self.index.get(&lease.peer) {
            Some(&at) => {
                self.unlink(at);
                at
            }
            None => {
                displaced = self.make_room(Network::of(lease.peer.ip()))?;
                self.add(lease)
            }
        };
        (self.entries[at].ends, self.entries[at].p1) = (lease.ends, lease.p1);
        self.link(at);
        self.revision += 1;
        Ok(displaced)
    }

    /// Removes a peer, if it is registered. O(1).
    pub(super) fn remove(&mut self, peer: SocketAddr) {
        if let Some(&at) = self.index.get(&peer) {
            self.remove_at(at);
        }
    }

    pub(super) fn remove_earliest(&mut self) {
        if self.first != NIL {
            self.remove_at(self.first);
        }
    }

    /// Makes room for one more registration of a network. Returns the displaced peer, if there is one.
    fn make_room(&mut self, network: Network) -> Result<Option<SocketAddr>, BootstrapRefusal> {
        if self.by_network.get(&network).is_some_and(|held| *held >= REGISTRY_PEERS_PER_NETWORK_MAX) {
            let displaced = self.least_of(network).ok_or(BootstrapRefusal::AddressFull)?;
            self.remove(displaced);
            return Ok(Some(displaced));
        }
        if self.entries.len() >= REGISTRY_PEERS_MAX {
            return Err(BootstrapRefusal::RegistryFull);
        }
        Ok(None)
    }

    /// The registration of a full network that is displaced by another: one that did not answer its dial, then the least recently
    /// renewed of those not dialled, except the [`REGISTRY_PEERS_SPARED`] oldest. Peers that answered are never displaced.
    fn least_of(&self, network: Network) -> Option<SocketAddr> {
        let peers = self.pools.iter().flat_map(|pool| pool.of_network(network));
        let mut entries: Vec<_> = peers.filter_map(|peer| self.index.get(&peer).map(|at| &self.entries[*at])).collect();
        entries.sort_unstable_by_key(|entry| (entry.since, entry.peer));
        let may_go = |(place, entry): &(usize, &Entry)| match entry.reach {
            Reach::Answered(_) => false,
            Reach::Silent(..) => true,
            Reach::Unknown => *place >= REGISTRY_PEERS_SPARED,
        };
        let may_go = entries.into_iter().enumerate().filter(may_go).map(|(_, entry)| entry);
        let least = may_go
            .max_by_key(|entry| (matches!(entry.reach, Reach::Silent(..)), Reverse(entry.ends), Reverse(entry.peer)));
        least.map(|entry| entry.peer)
    }

    /// Appends an entry that is not linked yet.
    fn add(&mut self, lease: Lease) -> usize {
        let Lease { peer, since, answered, .. } = lease;
        let at = self.entries.len();
        let of_network = self.by_network.entry(Network::of(peer.ip())).or_default();
        if *of_network == 0 {
            *self.by_wide.entry(WideNetwork::of(peer.ip())).or_default() += 1;
        }
        *of_network += 1;
        self.index.insert(peer, at);
        self.entries.push(Entry {
            peer,
            since,
            ends: Instant::default(),
            p1: false,
            reach: answered.map_or(Reach::Unknown, Reach::Answered),
            previous: NIL,
            next: NIL,
        });
        self.pools[self.entries[at].pool()].insert(peer);
        at
    }

    fn remove_at(&mut self, at: usize) {
        self.unlink(at);
        let entry = self.entries.swap_remove(at);
        let peer = entry.peer;
        self.pools[entry.pool()].remove(peer);
        self.index.remove(&peer);
        let (network, wide) = (Network::of(peer.ip()), WideNetwork::of(peer.ip()));
        if take_one(&mut self.by_network, network) {
            take_one(&mut self.by_wide, wide);
        }
        // The last entry of the vector has moved to this index.
        if let Some(&moved) = self.entries.get(at) {
            self.index.insert(moved.peer, at);
            self.set_next(moved.previous, at);
            self.set_previous(moved.next, at);
        }
        self.revision += 1;
    }

    /// Links an entry after all whose leases do not end later.
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

    /// Sets the successor of an entry, or the first entry.
    fn set_next(&mut self, at: usize, next: usize) {
        match self.entries.get_mut(at) {
            Some(entry) => entry.next = next,
            None => self.first = next,
        }
    }

    /// Sets the predecessor of an entry, or the last entry.
    fn set_previous(&mut self, at: usize, previous: usize) {
        match self.entries.get_mut(at) {
            Some(entry) => entry.previous = previous,
            None => self.last = previous,
        }
    }
}

/// Decrements the count of a kind. Returns whether that was the last.
fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, kind: K) -> bool {
    let Some(count) = counts.get_mut(&kind) else { return false };
    *count -= 1;
    let was_last = *count == 0;
    if was_last {
        counts.remove(&kind);
    }
    was_last
}

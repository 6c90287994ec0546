//! Who is registered: a dense vector, an index to find by, a vector of networks to draw from, and through all of them a list
//! in the order in which leases end.

use super::checks::{ANSWER_LASTS, SILENCE_LASTS_MAX, SILENCE_LASTS_MIN};
use super::sample::without_repeats;
use super::{BootstrapRefusal, Lease, REGISTRY_PEERS_MAX, REGISTRY_PEERS_PER_NETWORK_MAX};
use crate::network::Network;
use crate::time::Instant;
use rand_chacha::rand_core::Rng;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

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
    /// The networks of the entries that have not answered a dial, and of those that have.
    pools: [Pool; 2],
    /// Registrations by network, of both pools.
    by_network: HashMap<Network, usize>,
    /// The entry whose lease ends first.
    first: usize,
    /// The entry whose lease ends last.
    last: usize,
    revision: u64,
}

/// Entries by network, in no order.
#[derive(Debug, Default)]
struct Pool {
    networks: Vec<Members>,
    index: HashMap<Network, usize>,
}

/// The entries of one network, in no order; at least one.
#[derive(Debug)]
struct Members {
    network: Network,
    entries: Vec<usize>,
}

/// A registration, with its neighbours in the list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    peer: SocketAddr,
    /// Its place among the networks of its pool, and among the members of its network.
    network: usize,
    member: usize,
    ends: Instant,
    p1: bool,
    reach: Reach,
    previous: usize,
    next: usize,
}

/// What is known of where a registrant listens.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// It was not dialled yet.
    Unknown,
    /// It answered when it was dialled last, which was then.
    Answered(Instant),
    /// It did not, and is not dialled again for so long.
    Silent(Instant, Duration),
}

impl Entry {
    /// Which of the pools it belongs to.
    fn pool(&self) -> usize {
        usize::from(matches!(self.reach, Reach::Answered(_)))
    }

    fn lease(&self) -> Lease {
        Lease { peer: self.peer, ends: self.ends, p1: self.p1 }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: HashMap::new(),
            pools: Default::default(),
            by_network: HashMap::new(),
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

    /// When a peer's lease ends, if it is registered.
    pub(super) fn lease_end(&self, peer: SocketAddr) -> Option<Instant> {
        self.index.get(&peer).map(|&at| self.entries[at].ends)
    }

    /// The lease of a peer, if it is registered.
    pub(super) fn lease(&self, peer: SocketAddr) -> Option<Lease> {
        self.index.get(&peer).map(|&at| self.entries[at].lease())
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

    /// Draws up to `wanted` different registrations, of as many networks as possible, and of none more than its share: who
    /// registers many ports of one network is drawn no more often by that. Those that answered a dial come first. What is left
    /// of the list is for the asker's own network, so that an asker which is missing from a list that is not full knows that it
    /// is not registered. O(`wanted`).
    pub(super) fn draw(&self, random: &mut impl Rng, wanted: usize, asker: Network) -> Vec<Lease> {
        let share = wanted.div_ceil(self.by_network.len().max(1));
        let mut chosen: Vec<usize> = Vec::new();
        let mut rows: HashMap<Network, usize> = HashMap::new();
        for pool in self.pools.iter().rev() {
            // Those that have their share already have nothing to add.
            let networks = without_repeats(random, pool.networks.len(), wanted - chosen.len() + rows.len());
            let mut draw_members = |network: usize| {
                let Members { network, entries } = &pool.networks[network];
                let room = share - rows.get(network).copied().unwrap_or(0);
                let drawn = without_repeats(random, entries.len(), room);
                drawn.into_iter().map(|member| entries[member]).collect::<Vec<_>>()
            };
            let drawn: Vec<_> = networks.into_iter().map(&mut draw_members).collect();
            let by_rounds =
                (0..share).flat_map(|round| drawn.iter().filter_map(move |entries| entries.get(round).copied()));
            let room = wanted - chosen.len();
            for at in by_rounds.take(room) {
                *rows.entry(Network::of(self.entries[at].peer.ip())).or_default() += 1;
                chosen.push(at);
            }
        }
        let listed: HashSet<usize> = chosen.iter().copied().collect();
        for pool in self.pools.iter().rev() {
            let room = wanted - chosen.len();
            if let Some(own) = pool.index.get(&asker).filter(|_| room > 0) {
                let entries = &pool.networks[*own].entries;
                let drawn = without_repeats(random, entries.len(), wanted).into_iter().map(|member| entries[member]);
                chosen.extend(drawn.filter(|at| !listed.contains(at)).take(room));
            }
        }
        chosen.into_iter().map(|at| self.entries[at].lease()).collect()
    }

    /// From when on a registered peer may be dialled, or dialled again.
    pub(super) fn check_at(&self, peer: SocketAddr) -> Option<Instant> {
        Some(match self.entries[*self.index.get(&peer)?].reach {
            Reach::Unknown => Instant::default(),
            Reach::Answered(at) => at + ANSWER_LASTS,
            Reach::Silent(at, lasts) => at + lasts,
        })
    }

    /// Whether a peer answered when it was dialled last, if it was.
    pub(super) fn answered(&self, peer: SocketAddr) -> Option<bool> {
        match self.entries[*self.index.get(&peer)?].reach {
            Reach::Unknown => None,
            Reach::Answered(_) => Some(true),
            Reach::Silent(..) => Some(false),
        }
    }

    /// How many registered peers answered when they were dialled last, and how many did not. O(n).
    pub(super) fn answered_counts(&self) -> (usize, usize) {
        let count = |which: fn(&Entry) -> bool| self.entries.iter().filter(|entry| which(entry)).count();
        let silent = count(|entry| matches!(entry.reach, Reach::Silent(..)));
        (count(|entry| matches!(entry.reach, Reach::Answered(_))), silent)
    }

    /// A peer was dialled, and answered or did not.
    pub(super) fn set_answered(&mut self, peer: SocketAddr, now: Instant, answered: bool) {
        let Some(&at) = self.index.get(&peer) else { return };
        self.leave_pool(at);
        self.entries[at].reach = match self.entries[at].reach {
            _ if answered => Reach::Answered(now),
            Reach::Silent(_, lasts) => Reach::Silent(now, (lasts * 2).min(SILENCE_LASTS_MAX)),
            Reach::Unknown | Reach::Answered(_) => Reach::Silent(now, SILENCE_LASTS_MIN),
        };
        self.join_pool(at);
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
        let at = self.entries.len();
        let of_network = self.by_network.entry(Network::of(peer.ip())).or_default();
        if *of_network >= REGISTRY_PEERS_PER_NETWORK_MAX {
            return Err(BootstrapRefusal::AddressFull);
        }
        *of_network += 1;
        self.index.insert(peer, at);
        self.entries.push(Entry {
            peer,
            network: NIL,
            member: NIL,
            ends: Instant::default(),
            p1: false,
            reach: Reach::Unknown,
            previous: NIL,
            next: NIL,
        });
        self.join_pool(at);
        Ok(at)
    }

    fn remove_at(&mut self, at: usize) {
        self.unlink(at);
        self.leave_pool(at);
        let Entry { peer, .. } = self.entries.swap_remove(at);
        self.index.remove(&peer);
        let network = Network::of(peer.ip());
        if let Some(of_network) = self.by_network.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                self.by_network.remove(&network);
            }
        }
        // The entry that was the vector's last has moved into the gap.
        if let Some(&moved) = self.entries.get(at) {
            self.index.insert(moved.peer, at);
            self.pools[moved.pool()].networks[moved.network].entries[moved.member] = at;
            self.set_next(moved.previous, at);
            self.set_previous(moved.next, at);
        }
        self.revision += 1;
    }

    /// Adds an entry to the pool that it belongs to.
    fn join_pool(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        let network = Network::of(entry.peer.ip());
        let pool = &mut self.pools[entry.pool()];
        let place = *pool.index.entry(network).or_insert_with(|| {
            pool.networks.push(Members { network, entries: Vec::new() });
            pool.networks.len() - 1
        });
        let members = &mut pool.networks[place].entries;
        (entry.network, entry.member) = (place, members.len());
        members.push(at);
    }

    /// Takes an entry out of its pool, and its network if it was the last of it there. O(members of one network).
    fn leave_pool(&mut self, at: usize) {
        let Entry { network, member, .. } = self.entries[at];
        let pool = &mut self.pools[self.entries[at].pool()];
        let members = &mut pool.networks[network];
        members.entries.swap_remove(member);
        if let Some(&moved) = members.entries.get(member) {
            self.entries[moved].member = member;
        }
        if !members.entries.is_empty() {
            return;
        }
        let gone = pool.networks.swap_remove(network);
        pool.index.remove(&gone.network);
        // The network that was the vector's last has moved into the gap.
        if let Some(moved) = pool.networks.get(network) {
            pool.index.insert(moved.network, network);
            moved.entries.iter().for_each(|entry| self.entries[*entry].network = network);
        }
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

//! The registrations: a map by address, a set in the order in which leases end, and two pools to draw from.

use super::checks::{ANSWER_LASTS, SILENCE_LASTS_MAX, SILENCE_LASTS_MIN};
use super::pool::{self, Pool, Wanted};
use super::sample::Shuffle;
use super::{BootstrapRefusal, Lease, REGISTRY_PEERS_MAX, REGISTRY_PEERS_PER_NETWORK_MAX, REGISTRY_PEERS_SPARED};
use crate::network::{Network, WideNetwork};
use crate::time::Instant;
use rand_chacha::rand_core::Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::time::Duration;

/// The hash maps are never iterated.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<SocketAddr, Entry>,
    /// All of them, in the order in which their leases end.
    ends: BTreeSet<(Instant, SocketAddr)>,
    /// Registrations that have not answered a dial, and those that have.
    pools: [Pool; 2],
    /// Registrations by network, of both pools.
    by_network: HashMap<Network, usize>,
    /// Networks by wide network, of both pools.
    by_wide: HashMap<WideNetwork, usize>,
    /// Changes with every registration, renewal and removal.
    pub(super) revision: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    since: Instant,
    ends: Instant,
    p1: bool,
    reach: Reach,
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
    fn lease(self, peer: SocketAddr) -> Lease {
        let Self { since, ends, p1, reach } = self;
        let answered = if let Reach::Answered(at) = reach { Some(at) } else { None };
        Lease { peer, since, ends, p1, answered }
    }
}

impl Reach {
    fn pool(self) -> usize {
        usize::from(matches!(self, Self::Answered(_)))
    }
}

impl Registry {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn lease(&self, peer: SocketAddr) -> Option<Lease> {
        self.entries.get(&peer).map(|entry| entry.lease(peer))
    }

    pub(super) fn earliest_end(&self) -> Option<Instant> {
        self.ends.first().map(|(ends, _)| *ends)
    }

    /// In the order in which they end.
    pub(super) fn leases(&self) -> impl Iterator<Item = Lease> {
        self.ends.iter().filter_map(|(_, peer)| self.lease(*peer))
    }

    /// The leases by address after `after`.
    pub(super) fn after(&self, after: Option<SocketAddr>) -> impl Iterator<Item = Lease> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((after, Bound::Unbounded)).map(|(peer, entry)| entry.lease(*peer))
    }

    /// Draws up to `wanted` different registrations, of as many wide networks and networks as possible: many ports of one
    /// network, or many networks of a wide one, do not raise the chance to be drawn, except in the requester's own wide network.
    /// Those that answered a dial come first. Remaining rows are for the requester's own network, so that a requester that is
    /// missing from a list that is not full knows that it is not registered. O(`wanted` log `wanted`).
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
        Some(match self.entries.get(&peer)?.reach {
            Reach::Unknown => Instant::default(),
            Reach::Answered(at) => at + ANSWER_LASTS,
            Reach::Silent(at, lasts) => at + lasts,
        })
    }

    /// Whether a peer answered its last dial, if there was one.
    pub(super) fn answered(&self, peer: SocketAddr) -> Option<bool> {
        match self.entries.get(&peer)?.reach {
            Reach::Unknown => None,
            Reach::Answered(_) => Some(true),
            Reach::Silent(..) => Some(false),
        }
    }

    /// How many registered peers answered their last dial, and how many did not. O(n).
    pub(super) fn answered_counts(&self) -> (usize, usize) {
        let count = |which: fn(&Entry) -> bool| self.entries.values().filter(|entry| which(entry)).count();
        let silent = count(|entry| matches!(entry.reach, Reach::Silent(..)));
        (count(|entry| matches!(entry.reach, Reach::Answered(_))), silent)
    }

    pub(super) fn set_answered(&mut self, peer: SocketAddr, now: Instant, answered: bool) {
        let Some(Entry { reach, .. }) = self.entries.get_mut(&peer) else { return };
        self.pools[reach.pool()].remove(peer);
        self.revision += u64::from(answered || reach.pool() == 1);
        *reach = match *reach {
            _ if answered => Reach::Answered(now),
            Reach::Silent(_, lasts) => Reach::Silent(now, (lasts * 2).min(SILENCE_LASTS_MAX)),
            Reach::Unknown | Reach::Answered(_) => Reach::Silent(now, SILENCE_LASTS_MIN),
        };
        self.pools[reach.pool()].insert(peer);
    }

    /// Registers a peer, or renews its lease, whose `since` and `reach` stay. Returns the displaced peer, if there is one.
    ///
    /// # Errors
    ///
    /// The limit that refuses a new peer. A registered one can always renew.
    pub(super) fn renew(&mut self, lease: Lease) -> Result<Option<SocketAddr>, BootstrapRefusal> {
        let Lease { peer, ends, p1, .. } = lease;
        let mut displaced = None;
        if let Some(entry) = self.entries.get_mut(&peer) {
            self.ends.remove(&(entry.ends, peer));
            (entry.ends, entry.p1) = (ends, p1);
        } else {
            displaced = self.make_room(Network::of(peer.ip()))?;
            self.add(lease);
        }
        self.ends.insert((ends, peer));
        self.revision += 1;
        Ok(displaced)
    }

    pub(super) fn remove_earliest(&mut self) {
        if let Some(&(_, peer)) = self.ends.first() {
            self.remove(peer);
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
        let mut entries: Vec<_> = peers.filter_map(|peer| Some((self.entries.get(&peer)?, peer))).collect();
        entries.sort_unstable_by_key(|(entry, peer)| (entry.since, *peer));
        let may_go = |(place, (entry, _)): &(usize, (&Entry, SocketAddr))| match entry.reach {
            Reach::Answered(_) => false,
            Reach::Silent(..) => true,
            Reach::Unknown => *place >= REGISTRY_PEERS_SPARED,
        };
        let may_go = entries.into_iter().enumerate().filter(may_go).map(|(_, entry)| entry);
        let least = may_go.max_by_key(|(entry, peer)| {
            (matches!(entry.reach, Reach::Silent(..)), Reverse(entry.ends), Reverse(*peer))
        });
        least.map(|(_, peer)| peer)
    }

    fn add(&mut self, lease: Lease) {
        let Lease { peer, since, ends, p1, answered } = lease;
        let of_network = self.by_network.entry(Network::of(peer.ip())).or_default();
        if *of_network == 0 {
            *self.by_wide.entry(WideNetwork::of(peer.ip())).or_default() += 1;
        }
        *of_network += 1;
        let reach = answered.map_or(Reach::Unknown, Reach::Answered);
        self.pools[reach.pool()].insert(peer);
        self.entries.insert(peer, Entry { since, ends, p1, reach });
    }

    /// Removes a peer, if it is registered.
    pub(super) fn remove(&mut self, peer: SocketAddr) {
        let Some(entry) = self.entries.remove(&peer) else { return };
        self.ends.remove(&(entry.ends, peer));
        self.pools[entry.reach.pool()].remove(peer);
        if take_one(&mut self.by_network, Network::of(peer.ip())) {
            take_one(&mut self.by_wide, WideNetwork::of(peer.ip()));
        }
        self.revision += 1;
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

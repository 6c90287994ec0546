//! Limits of connections to endpoints that only others name, which may be no peers.
//!
//! A search is sent in rings with different IDs and growing TTL. The answers to the rings of one search count as one connection.

use crate::network::Network;
use crate::node::fair_set::FairSet;
use crate::node::limits::{
    RING_TTLS, RINGS_SPAN, STRANGER_DIALS_PER_MINUTE, STRANGER_DIALS_PER_SENDER, STRANGER_HITS_KEPT, STRANGERS_MAX,
};
use crate::node::rate_limit::{Allowances, Tariff};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const RINGS_MAX: u32 = RING_TTLS.len() as u32 + 1;

pub(super) type TextHash = [u8; blake3::OUT_LEN];

/// What the rings of one search have in common: their sender, requester and text.
pub(super) type SearchOfRings = (Network, SocketAddr, TextHash);

/// The rings of a counted search that may still be answered.
#[derive(Debug, Clone, Copy)]
struct RingsLeft {
    until: Instant,
    count: u32,
    /// Of the last one.
    ttl: u8,
}

impl RingsLeft {
    /// Whether a search with this TTL may be the next ring.
    fn is_next(&self, now: Instant, ttl: u8) -> bool {
        now < self.until && self.count > 0 && ttl > self.ttl
    }
}

pub(super) struct StrangerDials {
    /// Connections to each.
    each: Allowances<SocketAddr>,
    /// Of these, those with hits for searches that came from one network.
    by_sender: Allowances<(Network, SocketAddr)>,
    rings: BTreeMap<SearchOfRings, RingsLeft>,
    rings_known: FairSet<SearchOfRings>,
}

impl Default for StrangerDials {
    fn default() -> Self {
        let allowed = |count| Tariff { per_minute: count, burst: count };
        Self {
            each: Allowances::new(allowed(STRANGER_DIALS_PER_MINUTE), STRANGERS_MAX),
            by_sender: Allowances::new(allowed(STRANGER_DIALS_PER_SENDER), STRANGERS_MAX),
            rings: BTreeMap::new(),
            rings_known: FairSet::new(STRANGERS_MAX),
        }
    }
}

impl StrangerDials {
    /// Whether to send hits to a stranger for a search that came from this network. Forged searches do not use up the limit for
    /// its own ones, which come from elsewhere.
    pub(super) fn may_answer(&mut self, now: Instant, search: SearchOfRings, ttl: u8) -> bool {
        let (sender, requester, _) = search;
        if let Some(left) = self.rings.get_mut(&search).filter(|left| left.is_next(now, ttl)) {
            *left = RingsLeft { count: left.count - 1, ttl, ..*left };
            return true;
        }
        let allowed = self.by_sender.allow(now, (sender, requester)) && self.each.allow(now, requester);
        if allowed {
            self.rings.insert(search, RingsLeft { until: now + RINGS_SPAN, count: RINGS_MAX - 1, ttl });
            if let Some(other) = self.rings_known.insert(sender, search) {
                self.rings.remove(&other);
            }
        }
        allowed
    }

    /// Whether to forward a search to a stranger: some connections are reserved for hits, which it has requested.
    pub(super) fn may_forward(&mut self, now: Instant, peer: SocketAddr) -> bool {
        self.each.allow_keeping(now, peer, STRANGER_HITS_KEPT)
    }

    pub(super) fn displaced(&self) -> u64 {
        self.rings_known.displaced()
    }

    pub(super) fn check_invariants(&self) {
        self.each.check_invariants();
        self.by_sender.check_invariants();
        self.rings_known.check_invariants();
        assert_eq!(self.rings.len(), self.rings_known.len(), "the searches whose rings are counted are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_ms(1_000);

    fn endpoint(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 5_000))
    }

    fn network(n: u8) -> Network {
        Network::of(endpoint(n).ip())
    }

    /// Search number `n`, as one network sends it on.
    fn search(n: u8) -> SearchOfRings {
        (network(1), endpoint(9), [n; 32])
    }

    #[test]
    fn the_rings_of_one_search_count_once() {
        let mut dials = StrangerDials::default();
        let rings = |n| [0, 1, 3, 6].map(|ttl| (n, ttl));
        let answered = (0..12).flat_map(rings).filter(|(n, ttl)| dials.may_answer(NOW, search(*n), *ttl)).count();
        assert_eq!(answered, 40, "one network causes ten a minute");
        dials.check_invariants();
    }

    #[test]
    fn more_than_the_rings_of_a_search_are_counted_again() {
        let mut dials = StrangerDials::default();
        assert_eq!((0..100).filter(|_| dials.may_answer(NOW, search(1), 3)).count(), 10, "none reaches further");
        let mut dials = StrangerDials::default();
        assert_eq!((0..100).filter(|ttl| dials.may_answer(NOW, search(1), *ttl)).count(), 40, "four for each");
        let later = NOW + RINGS_SPAN;
        let mut dials = StrangerDials::default();
        (0..10).for_each(|n| assert!(dials.may_answer(NOW, search(n), 0)));
        assert!(dials.may_answer(later, search(0), 1), "one is refilled");
        assert!(!dials.may_answer(later, search(1), 1), "its time is over");
        assert!(dials.may_answer(later, (network(2), endpoint(9), [1; 32]), 1), "another network has its own");
        dials.check_invariants();
    }
}

//! Searches for further sources of downloads: one ring each, as far as `max_ttl` reaches.
//!
//! Owns their query IDs. What answers them never becomes a hit that a user sees.

use super::Node;
use super::allowances::{Allowances, Tariff};
use super::dials::Purpose;
use super::limits::{LATE_HITS, SEEKS_MAX, SEEKS_STUCK_BURST, SEEKS_STUCK_PER_MINUTE};
use super::sending::SearchDial;
use crate::id::{QueryId, TransferId};
use crate::time::Instant;
use crate::wire::Search;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// The queries whose answers are still taken. The map is only ever asked for one key, or purged by a rule.
pub(super) struct Seeks {
    queries: HashMap<QueryId, TransferId>,
    /// Oldest first.
    order: VecDeque<(Instant, QueryId)>,
    /// Of the searches of downloads that cannot ask a source: all of them have one.
    stuck: Allowances<()>,
}

impl Default for Seeks {
    fn default() -> Self {
        let stuck = Tariff { per_minute: SEEKS_STUCK_PER_MINUTE, burst: SEEKS_STUCK_BURST };
        Self { queries: HashMap::new(), order: VecDeque::new(), stuck: Allowances::new(stuck, 1) }
    }
}

impl Seeks {
    /// Whether a query with this ID went out from here.
    pub(super) fn is_ours(&self, query: &QueryId) -> bool {
        self.queries.contains_key(query)
    }

    /// Whether one more download that cannot ask a source may search now.
    pub(super) fn allow_stuck(&mut self, now: Instant) -> bool {
        self.stuck.allow(now, ())
    }

    /// Forgets the queries whose time is up.
    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| *at + LATE_HITS <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, query)) = self.order.pop_front() {
            self.queries.remove(&query);
        }
    }

    fn insert(&mut self, now: Instant, query: QueryId, download: TransferId) {
        self.expire(now);
        while self.order.len() >= SEEKS_MAX {
            self.forget_oldest();
        }
        self.order.push_back((now, query.clone()));
        self.queries.insert(query, download);
    }

    /// The download that a query was for.
    fn download(&self, query: &QueryId) -> Option<TransferId> {
        self.queries.get(query).copied()
    }

    /// Forgets the queries of downloads that are not `wanted` any more.
    fn retain(&mut self, wanted: impl Fn(TransferId) -> bool) {
        self.queries.retain(|_, download| wanted(*download));
        self.order.retain(|(_, query)| self.queries.contains_key(query));
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.queries.len(), self.order.len(), "each query has its place in the order");
        assert!(self.order.len() <= SEEKS_MAX, "the queries are bounded");
    }
}

impl Node {
    /// Asks the network once, as far as `max_ttl` reaches, for further sources of a download: `b3=` and the hash, or a
    /// name. What comes is a [`Step::Found`](super::steps::Step), for some minutes. Says how many neighbours were asked.
    pub(super) fn seek_sources(&mut self, now: Instant, download: TransferId, text: Box<[u8]>) -> u32 {
        let Some(requester) = self.advertised() else { return 0 };
        let id = QueryId::p1(self.dice.number());
        let search = Search { id: id.clone(), text, requester, ttl: self.config.max_ttl };
        let mut asked = 0;
        // A peer that has just come may be nobody's neighbour yet.
        let peers: BTreeSet<_> = self.neighbours().into_iter().chain(self.peers.newcomers().iter().copied()).collect();
        for peer in peers {
            asked += u32::from(self.dial_search(now, peer, &search, Purpose::Seek) == SearchDial::Sent);
        }
        if asked > 0 {
            self.seeks.insert(now, id, download);
        }
        asked
    }

    /// The download that this query sought sources for.
    pub(super) fn sought_for(&mut self, now: Instant, query: &QueryId) -> Option<TransferId> {
        self.seeks.expire(now);
        self.seeks.download(query)
    }

    /// A download wants no sources any more.
    pub(super) fn end_seeks(&mut self, download: TransferId) {
        self.seeks.retain(|id| id != download);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn queries_are_forgotten_when_they_are_old_or_too_many() {
        let (mut seeks, start) = (Seeks::default(), Instant::from_ms(1_000));
        seeks.insert(start, QueryId::p1(1), TransferId(1));
        seeks.insert(start + Duration::from_secs(60), QueryId::p1(2), TransferId(2));
        seeks.expire(start + LATE_HITS);
        assert_eq!((seeks.download(&QueryId::p1(1)), seeks.download(&QueryId::p1(2))), (None, Some(TransferId(2))));
        for n in 0..=SEEKS_MAX as u64 {
            seeks.insert(start + LATE_HITS, QueryId::p1(n + 10), TransferId(3));
            seeks.check_invariants();
        }
        assert!(!seeks.is_ours(&QueryId::p1(2)) && !seeks.is_ours(&QueryId::p1(10)));
        assert!(seeks.is_ours(&QueryId::p1(11)));
        seeks.retain(|id| id != TransferId(3));
        assert!(seeks.order.is_empty());
        seeks.check_invariants();
    }
}

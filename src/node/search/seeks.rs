//! Searches for further sources of downloads: one ring each, as far as `max_ttl` reaches.
//!
//! Owns their query IDs. Their answers are not shown as hits.

use super::SearchMachine;
use super::sending::{SearchDial, dial_search};
use crate::id::{QueryId, TransferId};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::limits::{LATE_HITS, SEEKS_MAX};
use crate::node::network::Net;
use crate::time::Instant;
use crate::wire::Search;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// The queries whose answers are still accepted. The order of the hash map has no effect.
#[derive(Default)]
pub(super) struct Seeks {
    queries: HashMap<QueryId, TransferId>,
    /// Oldest first.
    order: VecDeque<(Instant, QueryId)>,
}

impl Seeks {
    pub(super) fn is_ours(&self, query: &QueryId) -> bool {
        self.queries.contains_key(query)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| *at + LATE_HITS <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, query)) = self.order.pop_front() {
            self.queries.remove(&query);
        }
    }

    pub(super) fn insert(&mut self, now: Instant, query: QueryId, download: TransferId) {
        self.expire(now);
        while self.order.len() >= SEEKS_MAX {
            self.forget_oldest();
        }
        self.order.push_back((now, query.clone()));
        self.queries.insert(query, download);
    }

    pub(super) fn download(&self, query: &QueryId) -> Option<TransferId> {
        self.queries.get(query).copied()
    }

    fn retain(&mut self, wanted: impl Fn(TransferId) -> bool) {
        self.queries.retain(|_, download| wanted(*download));
        self.order.retain(|(_, query)| self.queries.contains_key(query));
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.queries.len(), self.order.len(), "each query has its place in the order");
        assert!(self.order.len() <= SEEKS_MAX, "the queries are bounded");
    }
}

impl SearchMachine {
    /// Searches the network once, as far as `max_ttl` reaches, for further sources of a download: `b3=` and the hash, or a name.
    /// Answers become a [`Step::Found`](crate::node::cx::Step), for some minutes. Returns the number of peers asked.
    pub(in crate::node) fn seek_sources(&mut self, net: &mut Net, download: TransferId, text: Box<[u8]>) -> u32 {
        let Some(requester) = net.advertised() else { return 0 };
        let id = QueryId::p1(net.cx.rng.number());
        let search = Search { id: id.clone(), text, requester, ttl: net.cx.config.max_ttl };
        let mut asked = 0;
        // A newcomer may be nobody's neighbour yet.
        let peers: BTreeSet<_> = net.neighbours().into_iter().chain(net.peers().newcomers().iter().copied()).collect();
        for peer in peers {
            asked += u32::from(dial_search(net, peer, &search, Purpose::Seek) == SearchDial::Sent);
        }
        if asked > 0 {
            self.seeks.insert(net.cx.now, id, download);
        }
        asked
    }

    pub(super) fn sought_for(&mut self, cx: &Cx, query: &QueryId) -> Option<TransferId> {
        self.seeks.expire(cx.now);
        self.seeks.download(query)
    }

    /// A download needs no sources any more.
    pub(in crate::node) fn end_seeks(&mut self, download: TransferId) {
        self.seeks.retain(|id| id != download);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn old_and_surplus_queries_are_dropped() {
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

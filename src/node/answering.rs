//! The searches of others: known ones dropped, new ones answered from the library and sent on to the neighbours
//! (PROTOCOL, Searching and Matching).
//!
//! Refuses to be turned against a third party: hits go to plausible endpoints only, on one connection for each search
//! and requester, and only a few a minute to a requester that is not a peer we know. Refuses more searches of one sender
//! than a busy peer passes on.

use super::Node;
use super::allowances::{Allowances, Tariff};
use super::contract::Expect;
use super::dials::Purpose;
use super::endpoints::canonical;
use super::limits::{
    ANSWER_ENTRIES_PER_SLICE, ANSWER_HITS_MAX, ANSWERS_PENDING_MAX, ANSWERS_PENDING_PER_SENDER_MAX, REQUESTER_PORT_MIN,
    SEEN_AGE_MAX, SEEN_MAX, SENDER_SEARCHES_BURST, SENDER_SEARCHES_PER_SECOND, SENDERS_MAX, STRANGER_DIALS_PER_MINUTE,
    STRANGERS_MAX,
};
use super::speech::Speech;
use crate::control::PeerSource;
use crate::id::QueryId;
use crate::library::{Query, SearchCursor, Shared};
use crate::name::FileName;
use crate::network::Network;
use crate::time::Instant;
use crate::wire::{Attributes, Listed, Message, Search, SearchResponse};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// What makes two messages the same search.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SearchKey {
    id: QueryId,
    requester: SocketAddr,
}

/// How a search relates to those seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    First,
    /// Seen, but it reaches further now.
    Wider,
    Repeated,
}

/// The searches seen lately, each with its highest TTL. The map is only ever asked for one key.
#[derive(Default)]
struct Seen {
    ttls: HashMap<Rc<SearchKey>, u8>,
    /// Oldest first.
    order: VecDeque<(Instant, Rc<SearchKey>)>,
}

impl Seen {
    fn see(&mut self, now: Instant, key: SearchKey, ttl: u8) -> Sight {
        while let Some((at, _)) = self.order.front() {
            if *at + SEEN_AGE_MAX > now && self.order.len() < SEEN_MAX {
                break;
            }
            if let Some((_, old)) = self.order.pop_front() {
                self.ttls.remove(&old);
            }
        }
        match self.ttls.get_mut(&key) {
            None => {
                let key = Rc::new(key);
                self.ttls.insert(Rc::clone(&key), ttl);
                self.order.push_back((now, key));
                Sight::First
            }
            Some(highest) if ttl > *highest => {
                *highest = ttl;
                Sight::Wider
            }
            Some(_) => Sight::Repeated,
        }
    }
}

/// A search whose answer is being looked for.
struct Pending {
    /// The network of who passed the search on to us, or made it.
    from: Network,
    id: QueryId,
    requester: SocketAddr,
    /// The requester takes part 2.
    p1: bool,
    /// It came from the requester's own address, so that the answer cannot be aimed at a third party.
    direct: bool,
    cursor: SearchCursor,
}

/// Everything kept about the searches of others.
pub(super) struct Answering {
    seen: Seen,
    /// Searches that each network may send.
    senders: Allowances<Network>,
    /// Connections to each endpoint that is not surely a peer.
    strangers: Allowances<SocketAddr>,
    pending: VecDeque<Pending>,
}

impl Default for Answering {
    fn default() -> Self {
        let senders =
            Tariff { per_minute: SENDER_SEARCHES_PER_SECOND * 60, burst: SENDER_SEARCHES_BURST, rows_max: SENDERS_MAX };
        let strangers =
            Tariff { per_minute: STRANGER_DIALS_PER_MINUTE, burst: STRANGER_DIALS_PER_MINUTE, rows_max: STRANGERS_MAX };
        Self {
            seen: Seen::default(),
            senders: Allowances::new(senders),
            strangers: Allowances::new(strangers),
            pending: VecDeque::new(),
        }
    }
}

impl Answering {
    pub(super) fn has_work(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Ends all answering.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.seen.ttls.len(), self.seen.order.len(), "each search seen has its place in the order");
        assert!(self.seen.order.len() <= SEEN_MAX, "the searches seen are bounded");
        self.senders.check_invariants();
        self.strangers.check_invariants();
        assert!(self.pending.len() <= ANSWERS_PENDING_MAX, "the answers pending are bounded");
    }
}

impl Node {
    /// Code 6.
    pub(super) fn on_search(&mut self, now: Instant, from: SocketAddr, search: Search) {
        if !self.answering.senders.allow(now, Network::of(from.ip())) {
            self.counters.limited.searches_refused += 1;
            return;
        }
        let requester = canonical(search.requester);
        let ours = self.searches.is_ours(&search.id) || self.seeks.is_ours(&search.id);
        if ours || self.is_ourselves(requester) {
            self.counters.limited.searches_dropped += 1;
            return;
        }
        if !self.is_plausible(requester, from.ip()) || requester.port() < REQUESTER_PORT_MIN {
            log::debug!("a search names {requester} for its hits, which is not where a peer can be");
            self.counters.refused += 1;
            return;
        }
        let ttl = search.ttl.min(self.config.max_ttl);
        let key = SearchKey { id: search.id.clone(), requester };
        match self.answering.seen.see(now, key, ttl) {
            Sight::First => {
                self.learn_peer(now, requester, PeerSource::Search);
                self.note_query(now, from, requester, &search.id);
                self.begin_answer(from.ip().to_canonical(), &search, requester);
            }
            Sight::Wider => {}
            Sight::Repeated => {
                self.counters.limited.searches_dropped += 1;
                return;
            }
        }
        if ttl > 0 {
            self.forward_search(now, Search { ttl: ttl - 1, ..search }, requester);
        }
    }

    fn forward_search(&mut self, now: Instant, search: Search, requester: SocketAddr) {
        for neighbour in self.neighbours() {
            if neighbour == requester {
                continue;
            }
            // An endpoint that is only claimed to be a peer may be anybody's.
            let allowed = self.peers.is_known(neighbour) || self.answering.strangers.allow(now, neighbour);
            if !allowed || !self.may_forward_to(neighbour) {
                self.counters.limited.forwards_dropped += 1;
                continue;
            }
            let messages = vec![Message::Search(search.clone())];
            if self.dial_peer(now, neighbour, messages, Expect::Nothing, Purpose::Forward).is_err() {
                self.counters.limited.forwards_dropped += 1;
            }
        }
    }

    fn begin_answer(&mut self, from: IpAddr, search: &Search, requester: SocketAddr) {
        if self.library.is_empty() {
            return;
        }
        let direct = from == requester.ip();
        let from = Network::of(from);
        let of_sender = self.answering.pending.iter().filter(|pending| pending.from == from).count();
        if self.answering.pending.len() >= ANSWERS_PENDING_MAX || of_sender >= ANSWERS_PENDING_PER_SENDER_MAX {
            self.counters.limited.answers_dropped += 1;
            return;
        }
        // Whoever forges a search may give any peer an ID like ours.
        let p1 =
            search.id.is_p1() && (self.peers.speech(requester) != Speech::Base || self.peers.is_listed_p1(requester));
        let hits_max = if p1 { ANSWER_HITS_MAX } else { 1 };
        let cursor = self.library.search_begin(Query::parse(&search.text), hits_max);
        self.answering.pending.push_back(Pending { from, id: search.id.clone(), requester, p1, direct, cursor });
    }

    /// One slice of the search whose turn it is.
    pub(super) fn work_on_answers(&mut self, now: Instant) {
        let Some(mut pending) = self.answering.pending.pop_front() else { return };
        if self.library.search_step(&mut pending.cursor, ANSWER_ENTRIES_PER_SLICE) {
            self.answering.pending.push_back(pending);
        } else {
            self.send_search_response(now, pending);
        }
    }

    /// Code 7: all hits of one search to its requester, on one connection; with attributes if it takes part 2.
    fn send_search_response(&mut self, now: Instant, pending: Pending) {
        let Pending { id, requester, p1, direct, cursor, .. } = pending;
        let hits = cursor.into_hits();
        let Some(responder) = self.advertised() else { return };
        if hits.is_empty() {
            return;
        }
        if !direct && !self.peers.is_known(requester) && !self.answering.strangers.allow(now, requester) {
            self.counters.limited.answers_dropped += 1;
            return;
        }
        let message = |(name, file): (FileName, Shared)| {
            let attributes = p1.then_some(Attributes { size: Some(file.meta.size), b3: file.b3 });
            let file = Listed { name, attributes };
            Message::SearchResponse(SearchResponse { id: id.clone(), responder, file })
        };
        let messages = hits.into_iter().map(message).collect();
        if self.dial_peer(now, requester, messages, Expect::Nothing, Purpose::Hits).is_err() {
            self.counters.limited.answers_dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: u32) -> SocketAddr {
        SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 5_000)
    }

    fn key(n: u64) -> SearchKey {
        SearchKey { id: QueryId::p1(n), requester: endpoint(1) }
    }

    #[test]
    fn a_search_is_new_again_only_wider_or_after_ten_minutes() {
        let mut seen = Seen::default();
        let start = Instant::from_ms(0);
        assert_eq!(seen.see(start, key(1), 3), Sight::First);
        assert_eq!(seen.see(start, key(1), 3), Sight::Repeated);
        assert_eq!(seen.see(start, key(1), 2), Sight::Repeated);
        assert_eq!(seen.see(start, key(1), 5), Sight::Wider);
        assert_eq!(seen.see(start, key(1), 4), Sight::Repeated);
        let other = SearchKey { requester: endpoint(2), ..key(1) };
        assert_eq!(seen.see(start, other, 3), Sight::First, "the same ID of another requester is another search");
        assert_eq!(seen.see(start + SEEN_AGE_MAX, key(1), 1), Sight::First);
    }

    #[test]
    fn a_flood_of_searches_makes_room_by_forgetting_the_oldest() {
        let mut seen = Seen::default();
        let start = Instant::from_ms(0);
        for n in 0..=SEEN_MAX as u64 {
            assert_eq!(seen.see(start, key(n), 0), Sight::First);
        }
        assert_eq!(seen.order.len(), SEEN_MAX);
        assert_eq!(seen.ttls.len(), SEEN_MAX);
        assert_eq!(seen.see(start, key(2), 0), Sight::Repeated);
        assert_eq!(seen.see(start, key(0), 0), Sight::First);
    }
}

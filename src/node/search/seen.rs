//! Recent searches of others: a repeated copy is neither answered nor forwarded.

use crate::id::QueryId;
use crate::network::Network;
use crate::node::fair_set::FairSet;
use crate::node::limits::{SEEN_AGE_MAX, SEEN_MAX};
use crate::time::Instant;
use crate::wire::Search;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// Messages with the same key are the same search. It includes the text: otherwise a forged search with the same ID, sent ahead,
/// would make the real one a repetition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SearchKey {
    id: QueryId,
    requester: SocketAddr,
    /// A hash, since the text may be long.
    text: TextHash,
}

pub(super) type TextHash = [u8; blake3::OUT_LEN];

pub(super) fn hash_of_text(text: &[u8]) -> TextHash {
    *blake3::hash(text).as_bytes()
}

impl SearchKey {
    pub(super) fn of(search: &Search, requester: SocketAddr, text: &[u8]) -> Self {
        Self { id: search.id.clone(), requester, text: hash_of_text(text) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    First,
    /// Seen, but with a lower TTL.
    Wider,
    Repeated,
}

/// When a search was seen first, and its highest TTL.
#[derive(Debug, Clone, Copy)]
struct Record {
    at: Instant,
    ttl: u8,
}

/// Recent searches. The hash map is never iterated.
pub(super) struct Seen {
    rows: HashMap<Rc<SearchKey>, Record>,
    /// By first sender: a network that sends many displaces its own.
    order: FairSet<Rc<SearchKey>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { rows: HashMap::new(), order: FairSet::new(SEEN_MAX) }
    }
}

impl Seen {
    /// The highest TTL of a search, if it was seen with at least this one.
    pub(super) fn covers(&self, now: Instant, key: &SearchKey, ttl: u8) -> Option<u8> {
        let record = self.rows.get(key)?;
        (ttl <= record.ttl && record.at + SEEN_AGE_MAX > now).then_some(record.ttl)
    }

    pub(super) fn see(&mut self, now: Instant, sender: Network, key: SearchKey, ttl: u8) -> Sight {
        while let Some(oldest) = self.order.oldest().cloned()
            && self.rows.get(&oldest).is_none_or(|record| record.at + SEEN_AGE_MAX <= now)
        {
            self.rows.remove(&oldest);
            self.order.remove(&oldest);
        }
        match self.rows.get_mut(&key) {
            None => {
                let key = Rc::new(key);
                self.rows.insert(Rc::clone(&key), Record { at: now, ttl });
                if let Some(other) = self.order.insert(sender, key) {
                    self.rows.remove(&other);
                }
                Sight::First
            }
            Some(record) if ttl > record.ttl => {
                record.ttl = ttl;
                Sight::Wider
            }
            Some(_) => Sight::Repeated,
        }
    }

    pub(super) fn displaced(&self) -> u64 {
        self.order.displaced()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.rows.len(), self.order.len(), "each search seen has its place in the order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u32) -> Network {
        Network::of(endpoint(n).ip())
    }

    fn endpoint(n: u32) -> SocketAddr {
        SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 5_000)
    }

    fn key(n: u64) -> SearchKey {
        SearchKey { id: QueryId::p1(n), requester: endpoint(1), text: hash_of_text(b"song") }
    }

    #[test]
    fn a_search_is_new_again_only_wider_or_after_ten_minutes() {
        let mut seen = Seen::default();
        let start = Instant::from_ms(0);
        assert_eq!(seen.see(start, network(1), key(1), 3), Sight::First);
        assert_eq!(seen.see(start, network(1), key(1), 3), Sight::Repeated);
        assert_eq!(seen.see(start, network(1), key(1), 2), Sight::Repeated);
        assert_eq!(seen.see(start, network(1), key(1), 5), Sight::Wider);
        assert_eq!(seen.see(start, network(1), key(1), 4), Sight::Repeated);
        let other = SearchKey { requester: endpoint(2), ..key(1) };
        assert_eq!(
            seen.see(start, network(1), other, 3),
            Sight::First,
            "the same ID of another requester is another search"
        );
        let other = SearchKey { text: hash_of_text(b"sung"), ..key(1) };
        assert_eq!(seen.see(start, network(1), other, 3), Sight::First, "and so is one for another text");
        assert_eq!(seen.see(start + SEEN_AGE_MAX, network(1), key(1), 1), Sight::First);
    }

    #[test]
    fn a_flood_of_searches_displaces_the_oldest() {
        let mut seen = Seen::default();
        let start = Instant::from_ms(0);
        for n in 0..=SEEN_MAX as u64 {
            assert_eq!(seen.see(start, network(1), key(n), 0), Sight::First);
        }
        assert_eq!(seen.order.len(), SEEN_MAX);
        assert_eq!(seen.rows.len(), SEEN_MAX);
        assert_eq!(seen.see(start, network(1), key(2), 0), Sight::Repeated);
        assert_eq!(seen.see(start, network(1), key(0), 0), Sight::First);
    }

    #[test]
    fn a_network_that_sends_many_searches_displaces_only_its_own() {
        let mut seen = Seen::default();
        let (start, other) = (Instant::from_ms(0), network(2));
        assert_eq!(seen.see(start, other, key(0), 0), Sight::First);
        for n in 1..=2 * SEEN_MAX as u64 {
            seen.see(start, network(1), key(n), 0);
        }
        assert_eq!(seen.rows.len(), SEEN_MAX);
        assert_eq!(seen.see(start, other, key(0), 0), Sight::Repeated);
        assert_eq!(seen.see(start, network(1), key(1), 0), Sight::First, "only its own are forgotten");
    }
}

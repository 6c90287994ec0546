//! The searches of others: known ones are dropped, new ones answered from the library and forwarded to the neighbours
//! (PROTOCOL, Searching and Matching).
//!
//! Limits what a third party can be sent: hits go to plausible endpoints only, on one connection for each search and
//! requester, and only a few a minute to an unknown requester. Limits the searches of one network to those that a busy peer
//! forwards, and the cost of their answers; its own searches and those that it forwards have separate allowances.

use super::SearchMachine;
use super::forwarding::dial_for;
use super::stranger_dials::{StrangerDials, TextHash};
use crate::audience::Requester;
use crate::control::PeerSource;
use crate::id::{ExchangeId, QueryId};
use crate::library::{Query, SearchCursor, Shared};
use crate::name::FileName;
use crate::network::Network;
use crate::node::cx::Subject;
use crate::node::cx::exchanges::Purpose;
use crate::node::fair_queue::{Origin, Sender};
use crate::node::fair_rows::FairRows;
use crate::node::fair_set::FairSet;
use crate::node::ids::OpenId;
use crate::node::limits::{
    ANSWER_ENTRIES_PER_SLICE, ANSWER_HITS_MAX, ANSWER_HITS_NAMED_MAX, ANSWER_UNIT_ENTRIES, ANSWER_UNIT_HITS,
    ANSWER_UNITS_BURST, ANSWER_UNITS_PER_SECOND, ANSWERS_PENDING_MAX, ANSWERS_PENDING_PER_NETWORK_MAX,
    LONG_ANSWERS_BESIDE_MAX, REQUESTER_PORT_MIN, SEEN_AGE_MAX, SEEN_MAX, SENDER_SEARCHES_BURST,
    SENDER_SEARCHES_PER_SECOND, SENDERS_MAX,
};
use crate::node::network::Net;
use crate::node::network::canonical;
use crate::node::rate_limit::{Allowances, Tariff};
use crate::node::share::ShareMachine;
use crate::node::speech::Speech;
use crate::time::Instant;
use crate::wire::{Attributes, Listed, Message, Search, SearchResponse};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// Messages with the same key are the same search. It includes the text: otherwise a forged search with the same ID, sent ahead,
/// would make the real one a repetition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct SearchKey {
    id: QueryId,
    requester: SocketAddr,
    /// A hash, since the text may be long.
    text: TextHash,
}

fn hash_of_text(text: &[u8]) -> TextHash {
    *blake3::hash(text).as_bytes()
}

impl SearchKey {
    fn of(search: &Search, requester: SocketAddr, text: &[u8]) -> Self {
        Self { id: search.id.clone(), requester, text: hash_of_text(text) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
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
struct Seen {
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
    fn covers(&self, now: Instant, key: &SearchKey, ttl: u8) -> Option<u8> {
        let record = self.rows.get(key)?;
        (ttl <= record.ttl && record.at + SEEN_AGE_MAX > now).then_some(record.ttl)
    }

    fn see(&mut self, now: Instant, sender: Network, key: SearchKey, ttl: u8) -> Sight {
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

    fn displaced(&self) -> u64 {
        self.order.displaced()
    }

    fn check_invariants(&self) {
        assert_eq!(self.rows.len(), self.order.len(), "each search seen has its place in the order");
    }
}

struct Pending {
    id: QueryId,
    requester: SocketAddr,
    /// Who sees the hits.
    seen_by: Requester,
    text: TextHash,
    ttl: u8,
    p1: bool,
    /// Hits to send; the cursor looks for one more, to know whether there are more.
    hits_max: usize,
    cursor: SearchCursor,
    /// Slices of work so far.
    slices: usize,
    /// The open search, if its sender waits for our report of the end.
    open: Option<OpenId>,
}

/// Whose allowance a search uses: a network has one for its own searches, and one for those that it forwards.
type Payer = (Network, Origin);

fn payer(sender: Sender) -> Payer {
    (sender.network(), sender.origin())
}

/// How many hits a `p1` requester gets: as many as it names, if the search came from its own address. So a forged search
/// cannot flood another peer.
fn hits_max(sender: Sender, id: &QueryId) -> usize {
    let named = id.hits_max().filter(|_| sender.origin() == Origin::Own);
    let named = named.and_then(|named| usize::try_from(named).ok()).unwrap_or(0);
    named.clamp(ANSWER_HITS_MAX, ANSWER_HITS_NAMED_MAX)
}

/// Who sees the hits of a search that came from this address: the requester that it names, and nobody else. Anybody can name a port of
/// this machine, where whatever listens there is in an audience by our own address. So an endpoint there sees what is for all, unless the
/// search came from its address, or it is known to be a peer.
fn reader_of_hits(net: &Net, requester: SocketAddr, from: IpAddr) -> Requester {
    let ip = requester.ip();
    let is_local = net.cx.config.local_addrs.iter().any(|local| local.to_canonical() == ip) && !ip.is_loopback();
    match is_local && from.to_canonical() != ip && !net.peers().is_known(requester) {
        true => Requester::Anybody,
        false => requester.into(),
    }
}

pub(super) struct Answering {
    seen: Seen,
    senders: Allowances<Payer>,
    /// The cost of answers that each network may cause.
    costs: Allowances<Payer>,
    strangers: StrangerDials,
    /// By who forwarded the search to us, or made it.
    pending: FairRows<Pending>,
}

impl Default for Answering {
    fn default() -> Self {
        let senders = Tariff::per_second(SENDER_SEARCHES_PER_SECOND, SENDER_SEARCHES_BURST);
        let costs = Tariff::per_second(ANSWER_UNITS_PER_SECOND, ANSWER_UNITS_BURST);
        Self {
            seen: Seen::default(),
            senders: Allowances::new(senders, SENDERS_MAX),
            costs: Allowances::new(costs, SENDERS_MAX),
            strangers: StrangerDials::default(),
            pending: FairRows::default(),
        }
    }
}

impl Answering {
    pub(super) fn has_work(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.pending = FairRows::default();
    }

    pub(super) fn displaced(&self) -> u64 {
        self.seen.displaced() + self.strangers.displaced()
    }

    pub(super) fn check_invariants(&self) {
        self.seen.check_invariants();
        self.senders.check_invariants();
        self.costs.check_invariants();
        self.strangers.check_invariants();
        assert!(self.pending.len() <= ANSWERS_PENDING_MAX, "the answers pending are bounded");
        self.pending.check_invariants();
    }
}

impl SearchMachine {
    pub(in crate::node) fn on_search(
        &mut self,
        net: &mut Net,
        share: &ShareMachine,
        exchange: ExchangeId,
        from: SocketAddr,
        search: Search,
    ) {
        let requester = canonical(search.requester);
        let sender = Sender::of_search(from, requester);
        if !self.answering.senders.allow(net.cx.now, payer(sender)) {
            net.cx.counters.limited.searches_refused += 1;
            return self.report_done(net.cx, exchange, &search.id, true, None);
        }
        let ours = self.is_ours(&search.id);
        if ours || net.network.is_ourselves(net.cx, requester) {
            net.cx.counters.limited.searches_dropped += 1;
            self.report_done(net.cx, exchange, &search.id, false, Some(u8::MAX));
            return;
        }
        if !net.is_plausible(requester, from.ip()) || requester.port() < REQUESTER_PORT_MIN {
            if net.cx.may_log(Subject::BadEndpoint, from.ip(), 0) {
                log::debug!(peer:% = from, requester:%; "a search wants its hits sent to what cannot be a peer");
            }
            net.cx.counters.refused += 1;
            return;
        }
        let ttl = search.ttl.min(net.cx.config.max_ttl);
        // The plain form may have come before, over a base peer: it finds everything that this one finds, but for filters, which
        // choose among more than one answer holds. The reverse does not hold: added exclusions must not suppress the search itself.
        let plain = Query::plain_form(&search.text);
        let key = SearchKey::of(&search, requester, &search.text);
        let has_filters = plain.is_some() && Query::parse(&search.text).has_filters();
        let of_plain = plain.as_ref().filter(|_| !has_filters).map(|text| SearchKey::of(&search, requester, text));
        let covers = |key| self.answering.seen.covers(net.cx.now, key, ttl);
        if let Some(highest) = of_plain.iter().chain([&key]).find_map(covers) {
            net.cx.counters.limited.searches_dropped += 1;
            return self.on_repeated(net, exchange, &search.id, (ttl, highest));
        }
        let sight = self.answering.seen.see(net.cx.now, sender.network(), key, ttl);
        if sight == Sight::First {
            net.network.learn_peer(net.cx, requester, PeerSource::Search);
            net.network.note_query(net.cx, from, requester, &search.id);
            net.network.note_search_from(from.ip());
            self.telling.tell(net, from, requester, &search);
            if sender.origin() == Origin::PassedOn {
                self.newcomers.announcements.note_search_received(net.cx.now);
            }
        }
        let search = Search { requester, ..search };
        if sight == Sight::Wider && self.on_wider(net, exchange, &search, ttl) {
            return;
        }
        let open = self.open_relayed(net, exchange, sender, &search, ttl);
        if sight == Sight::First {
            // The time of the end would tell the sender whether there are hits for a requester that sees more than the sender, and
            // that it may only name. These hits may come after the end.
            let audiences = &net.cx.config.audiences;
            let awaited_by = open.filter(|_| !audiences.shows_more(requester.ip(), from.ip()));
            let seen_by = reader_of_hits(net, requester, from.ip());
            self.begin_answer(net, share, (sender, seen_by), &search, awaited_by);
        }
        if ttl > 0 {
            self.forward_search(net, sender, Search { ttl: ttl - 1, ..search }, plain, open);
        }
        open.inspect(|open| self.all_are_asked(net, *open));
    }

    /// Whether a search of others may be forwarded to an endpoint. One that is only claimed to be a peer is dialled a few times a
    /// minute, some of which are reserved for hits, which it has requested.
    pub(super) fn may_forward_to(&mut self, net: &Net, peer: SocketAddr) -> bool {
        net.peers().is_known(peer) || self.answering.strangers.may_forward(net.cx.now, peer)
    }

    fn begin_answer(
        &mut self,
        net: &mut Net,
        share: &ShareMachine,
        (sender, seen_by): (Sender, Requester),
        search: &Search,
        open: Option<OpenId>,
    ) {
        let requester = search.requester;
        if share.library().seen_by(seen_by).is_empty() {
            return;
        }
        if !self.answering.costs.allow(net.cx.now, payer(sender)) {
            net.cx.counters.limited.answers_refused += 1;
            return;
        }
        // A forged search may name any peer with a `p1` ID.
        let p1 =
            search.id.is_p1() && (net.peers().speech(requester) != Speech::Base || net.peers().is_listed_p1(requester));
        let hits_max = if p1 { hits_max(sender, &search.id) } else { 1 };
        let cursor = SearchCursor::new(Query::parse(&search.text), hits_max + usize::from(p1));
        let (id, text, ttl) = (search.id.clone(), hash_of_text(&search.text), search.ttl);
        let pending = Pending { id, requester, seen_by, text, ttl, p1, hits_max, cursor, slices: 0, open };
        open.inspect(|open| self.on_answer_begun(*open));
        let (max, of_network_max) = (ANSWERS_PENDING_MAX, ANSWERS_PENDING_PER_NETWORK_MAX);
        if let Some(dropped) = self.answering.pending.push(sender, pending, max, of_network_max) {
            net.cx.counters.limited.answers_dropped += 1;
            self.on_answer_ended(net, dropped.open);
        }
    }

    pub(in crate::node) fn work_on_answers(&mut self, net: &mut Net, share: &ShareMachine) {
        let Some((ticket, pending)) = self.answering.pending.serve() else { return };
        pending.slices += 1;
        let view = share.library().seen_by(pending.seen_by);
        if !view.search_step(&mut pending.cursor, ANSWER_ENTRIES_PER_SLICE)
            && let Some((sender, pending)) = self.answering.pending.remove(ticket)
        {
            self.send_search_response(net, sender, pending);
        }
    }

    /// Code 7: all hits of one search to its requester, on one connection; with attributes if it speaks part 2.
    fn send_search_response(&mut self, net: &mut Net, sender: Sender, pending: Pending) {
        let Pending { id, requester, text, ttl, p1, hits_max, cursor, slices, open, .. } = pending;
        let mut hits = cursor.into_hits();
        let found = hits.len();
        hits.truncate(hits_max);
        let hit_dials = || net.cx.exchanges.dials().filter(|dial| matches!(dial.purpose, Purpose::Hits(_))).count();
        if hits.len() > ANSWER_HITS_MAX && hit_dials() >= LONG_ANSWERS_BESIDE_MAX {
            hits.truncate(ANSWER_HITS_MAX);
            net.cx.counters.limited.answers_cut += 1;
        }
        let used = slices * ANSWER_ENTRIES_PER_SLICE / ANSWER_UNIT_ENTRIES + hits.len() / ANSWER_UNIT_HITS;
        self.answering.costs.charge(net.cx.now, payer(sender), u32::try_from(used).unwrap_or(u32::MAX));
        let Some(responder) = net.advertised().filter(|_| !hits.is_empty()) else {
            return self.on_answer_ended(net, open);
        };
        // A search from the requester's own address cannot be aimed at a third party.
        let at_stranger = sender.origin() == Origin::PassedOn && !net.peers().is_known(requester);
        if at_stranger && !self.answering.strangers.may_answer(net.cx.now, (sender.network(), requester, text), ttl) {
            net.cx.counters.limited.answers_dropped += 1;
            return self.on_answer_ended(net, open);
        }
        let (sent, is_cut) = (hits.len(), found > hits.len());
        let message = |(at, (name, file)): (usize, (FileName, Shared))| {
            let more = is_cut && at + 1 == sent;
            let attributes = p1.then_some(Attributes { size: Some(file.meta.size), b3: file.b3, more });
            let file = Listed { name, attributes };
            Message::SearchResponse(SearchResponse { id: id.clone(), responder, file })
        };
        let messages = hits.into_iter().enumerate().map(message).collect();
        // `dial_for` counts it if there is no room.
        if dial_for(net, sender, requester, messages, Purpose::Hits(open)).is_err() {
            self.on_answer_ended(net, open);
        }
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

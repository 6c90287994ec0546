//! Our own searches, in rings of growing TTL, and listings: begun by a call, over after the last ring or line.
//!
//! Owns the query IDs that are ours. Refuses hits that answer none of them, or that name an endpoint which cannot be a
//! peer.

use super::contract::{Action, DialOutcome, Dialled, Expect, Response};
use super::dials::{Dial, Purpose, SearchDial};
use super::endpoints::canonical;
use super::hit::{Answer, Grouping};
use super::hits::{Hits, NotTaken, Taken};
use super::limits::{
    LAST_RING_WAIT, LATE_HITS, LISTING_FILES_MAX, LISTING_INTERVAL, RING_ROWS_ENOUGH, RING_TTLS, RING_WAIT,
    SEARCH_ROWS_DEFAULT, SEARCH_ROWS_MAX, SEARCHES_MAX,
};
use super::names::Teller;
use super::speech::Evidence;
use super::subscriptions::Topic;
use super::{Node, NodeTimer};
use crate::control::{CallError, ExitCode, Notice, PeerSource, SearchStarted, WholeNames};
use crate::fault::DialFault;
use crate::id::{ClientId, ExchangeId, QueryId, SearchId};
use crate::library::{Query, Reach};
use crate::name::{FILE_NAME_BYTES_MAX, is_control};
use crate::time::Instant;
use crate::wire::{Listed, Message, Search as SearchMessage, SearchResponse};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// One search or listing of ours.
struct Search {
    stage: Stage,
    /// The IDs of its rings.
    queries: Vec<QueryId>,
    /// What is searched for; `None` of a listing.
    query: Option<Query>,
    rows_max: u64,
    truncated: bool,
}

/// Where it stands.
enum Stage {
    /// Rings go out one by one.
    Ringing(Rings),
    /// A peer's list comes in.
    Listing { exchange: ExchangeId, peer: SocketAddr, told: Option<Instant> },
    /// Nothing more is sent; late hits are taken.
    Over,
}

/// The rings of a search.
struct Rings {
    requester: SocketAddr,
    /// TTLs of the rings still to come.
    ahead: VecDeque<u8>,
    asked: u32,
    delivered: u32,
    lists: Lists,
}

/// Whether a search that finds no neighbour has asked the bootstrap nodes for some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    NotAsked,
    Awaited,
    Asked,
}

/// All searches and listings remembered. The map of IDs is only ever asked for one.
#[derive(Default)]
pub(super) struct Searches {
    rows: BTreeMap<SearchId, Search>,
    queries: HashMap<QueryId, SearchId>,
    begun: u32,
}

impl Searches {
    /// Whether a query with this ID went out from here.
    pub(super) fn is_ours(&self, query: &QueryId) -> bool {
        self.queries.contains_key(query)
    }

    pub(super) fn check_invariants(&self, hits: &Hits) {
        assert!(self.rows.len() <= SEARCHES_MAX, "the searches are bounded");
        let queries: usize = self.rows.values().map(|search| search.queries.len()).sum();
        assert_eq!(queries, self.queries.len(), "each query belongs to one search");
        hits.check_invariants();
    }
}

impl Node {
    /// Begins a search for the user.
    pub(super) fn call_search(
        &mut self,
        now: Instant,
        client: ClientId,
        text: &[u8],
        rows_max: Option<u32>,
        ttl: Option<u8>,
    ) -> Result<SearchStarted, CallError> {
        if text.is_empty() || text.len() > FILE_NAME_BYTES_MAX || text.iter().copied().any(is_control) {
            let message = format!("a search takes 1 to {FILE_NAME_BYTES_MAX} bytes of text without control bytes");
            return Err(CallError::new(ExitCode::Usage, message));
        }
        let query = Query::parse(text);
        if query.plain().is_some_and(<[u8]>::is_empty) {
            let message = "a search needs a word that the names have; exclusions and patterns only narrow it";
            return Err(CallError::new(ExitCode::Usage, message));
        }
        let whole_names = match query.reach() {
            Reach::Parts => None,
            Reach::TooShort => Some(WholeNames::TooShort),
            Reach::TooLong => Some(WholeNames::TooLong),
        };
        let rows_max = rows_max.unwrap_or(SEARCH_ROWS_DEFAULT).clamp(1, SEARCH_ROWS_MAX);
        let widest = ttl.unwrap_or(self.config.max_ttl).min(self.config.max_ttl);
        let mut ahead: VecDeque<u8> = RING_TTLS.into_iter().filter(|ring| *ring < widest).collect();
        ahead.push_back(widest);
        let Some(requester) = self.advertised() else {
            let message =
                "this node knows no address of its own yet; set `advertise_addr`, or see `pyratectl bootstrap`";
            return Err(CallError::new(ExitCode::Network, message));
        };
        let rings = Rings { requester, ahead, asked: 0, delivered: 0, lists: Lists::NotAsked };
        let id = self.begin_search(Stage::Ringing(rings), Some(query), u64::from(rows_max))?;
        self.subscriptions.subscribe(Topic::Search(id), client);
        self.look_for_newcomers(now);
        self.send_ring(now, id);
        Ok(SearchStarted { search: id.0, whole_names })
    }

    /// Asks a peer for its list, for the user.
    pub(super) fn call_list(
        &mut self,
        now: Instant,
        client: ClientId,
        peer: SocketAddr,
    ) -> Result<SearchStarted, CallError> {
        let peer = self.peer_of_user(peer)?;
        self.learn_peer(now, peer, PeerSource::User);
        // Base programs ignore what follows `5:`, and this is how we learn that a peer speaks more.
        let messages = vec![Message::ListFiles { p1: true }];
        let id = self.begin_search(Stage::Over, None, LISTING_FILES_MAX)?;
        let Ok(exchange) = self.dial_peer(now, peer, messages, Expect::FileList, Purpose::List(id)) else {
            self.forget_search(id);
            return Err(CallError::new(ExitCode::NoSource, "too many commands wait for a worker; try again later"));
        };
        if let Some(search) = self.searches.rows.get_mut(&id) {
            search.stage = Stage::Listing { exchange, peer, told: None };
        }
        self.subscriptions.subscribe(Topic::Search(id), client);
        Ok(SearchStarted { search: id.0, whole_names: None })
    }

    /// The search or listing that was begun last.
    pub(super) fn last_search(&self) -> SearchId {
        SearchId(self.searches.begun)
    }

    /// Makes room for one more search, if need be by forgetting the oldest that is over.
    fn begin_search(&mut self, stage: Stage, query: Option<Query>, rows_max: u64) -> Result<SearchId, CallError> {
        if self.searches.rows.len() >= SEARCHES_MAX {
            let over = |(_, search): &(&SearchId, &Search)| matches!(search.stage, Stage::Over);
            let oldest = self.searches.rows.iter().find(over).map(|(id, _)| *id);
            let Some(oldest) = oldest else {
                let message = format!("{SEARCHES_MAX} searches are in progress; try again when one is done");
                return Err(CallError::new(ExitCode::Other, message));
            };
            self.forget_search(oldest);
        }
        self.searches.begun += 1;
        let id = SearchId(self.searches.begun);
        self.searches.rows.insert(id, Search { stage, queries: Vec::new(), query, rows_max, truncated: false });
        Ok(id)
    }

    /// Nobody is there to be asked: a list may name those that came since the last look. Says whether one is awaited.
    fn await_peer_lists(&mut self, now: Instant, id: SearchId) -> bool {
        let alone = self.neighbours().is_empty();
        let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) else { return false };
        if !alone || rings.lists != Lists::NotAsked {
            return false;
        }
        rings.lists = Lists::Awaited;
        if !self.awaits_peer_list() {
            return false;
        }
        self.wheel.insert(now + RING_WAIT, NodeTimer::Ring(id));
        true
    }

    /// Code 6: the next ring, under an ID of its own, to every neighbour.
    fn send_ring(&mut self, now: Instant, id: SearchId) {
        if self.await_peer_lists(now, id) {
            return;
        }
        let number = self.dice.number();
        let row = self.searches.rows.get_mut(&id);
        let Some(Search { stage: Stage::Ringing(rings), queries, rows_max, query: Some(wanted), .. }) = row else {
            return;
        };
        let Some(ttl) = rings.ahead.pop_front() else { return };
        let hits_max = u32::try_from(*rows_max).unwrap_or(u32::MAX);
        let query = QueryId::p1(QueryId::naming_hits_max(number, hits_max));
        let wait = if rings.ahead.is_empty() { LAST_RING_WAIT } else { RING_WAIT };
        let search = SearchMessage { id: query.clone(), text: wanted.text().into(), requester: rings.requester, ttl };
        queries.push(query.clone());
        self.searches.queries.insert(query, id);
        let (mut asked, mut awaited) = (0, 0);
        let neighbours = self.neighbours();
        self.newcomers.note_ring(id, search.clone(), neighbours.iter().copied().collect());
        for neighbour in neighbours {
            match self.dial_search(now, neighbour, &search, Purpose::Ring(id)) {
                SearchDial::Sent => asked += 1,
                SearchDial::Awaited => awaited += 1,
                SearchDial::NoRoom => {}
            }
        }
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.asked += asked + awaited;
        }
        self.notify(Topic::Search(id), || Notice::Ring { search: id.0, ttl, peers: asked });
        // Without neighbours there is nothing to wait for; the call is answered first all the same.
        let wait = if asked + awaited == 0 { Duration::ZERO } else { wait };
        self.wheel.insert(now + wait, NodeTimer::Ring(id));
        self.extend_searches(now);
    }

    /// Further peers were sent the ring that is listened to.
    pub(super) fn note_asked(&mut self, id: SearchId, asked: u32) {
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.asked += asked;
        }
    }

    /// A ring was listened to: go on, unless enough has come.
    pub(super) fn on_ring_timer(&mut self, now: Instant, id: SearchId) {
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id)
            && rings.lists == Lists::Awaited
        {
            rings.lists = Lists::Asked;
            return self.send_ring(now, id);
        }
        let Some(Search { stage: Stage::Ringing(rings), rows_max, .. }) = self.searches.rows.get(&id) else {
            return;
        };
        let rows = self.hits.count(id);
        // Rows that give way to others are not enough: one peer may have sent them all.
        let is_enough =
            self.hits.count_in_shares(id) >= *rows_max || self.hits.are_enough(id, RING_ROWS_ENOUGH.min(*rows_max));
        if !is_enough && !rings.ahead.is_empty() && rings.asked > 0 {
            return self.send_ring(now, id);
        }
        let (asked, delivered) = (rings.asked, rings.delivered);
        let error = if rows > 0 { None } else { self.why_nothing_was_found(asked, delivered) };
        self.finish_search(now, id, error);
    }

    pub(super) fn on_ring_dial_ended(&mut self, id: SearchId, outcome: &DialOutcome) {
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.delivered += u32::from(outcome.is_ok());
        }
    }

    fn finish_search(&mut self, now: Instant, id: SearchId, error: Option<CallError>) {
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        search.stage = Stage::Over;
        self.newcomers.end_search(id);
        let (hits, truncated) = (self.hits.count(id), search.truncated || self.hits.is_cut(id));
        self.wheel.insert(now + LATE_HITS, NodeTimer::ForgetSearch(id));
        self.notify(Topic::Search(id), || Notice::SearchDone { search: id.0, hits, truncated, error });
    }

    /// Takes no more hits for a search. Its rows stay.
    pub(super) fn forget_search(&mut self, id: SearchId) {
        let Some(search) = self.searches.rows.remove(&id) else { return };
        self.newcomers.end_search(id);
        for query in &search.queries {
            self.searches.queries.remove(query);
        }
        self.subscriptions.close(Topic::Search(id));
        self.hits.close(id);
    }

    /// Whether a search or listing found more than is remembered of it.
    pub(super) fn is_truncated(&self, id: SearchId) -> bool {
        self.hits.is_cut(id) || self.searches.rows.get(&id).is_some_and(|search| search.truncated)
    }

    /// Code 7.
    pub(super) fn on_search_response(&mut self, now: Instant, from: SocketAddr, response: SearchResponse) {
        let searched = self.searches.queries.get(&response.id).copied();
        let sought = self.sought_for(now, &response.id);
        if searched.is_none() && sought.is_none() {
            self.counters.limited.hits_unasked += 1;
            return;
        }
        let responder = canonical(response.responder);
        if !self.is_plausible(responder, from.ip()) {
            log::debug!("a hit names {responder}, which cannot be a peer");
            self.counters.refused += 1;
            return;
        }
        self.learn_peer(now, responder, PeerSource::Hit);
        let teller = Teller::of(from, responder);
        if teller == Teller::Source {
            let attributes = response.file.attributes.is_some();
            self.note_evidence(now, responder, if attributes { Evidence::Attributes } else { Evidence::PlainHit });
        }
        self.on_content_found(now, responder, &response.file, teller);
        if let Some(search) = searched.and_then(|id| self.searches.rows.get_mut(&id)) {
            search.truncated |= response.file.attributes.is_some_and(|attributes| attributes.more);
        }
        match (searched, sought) {
            (Some(id), _) => self.take_hit(now, id, Answer { file: response.file, responder, from }),
            (None, Some(download)) => self.on_source_found(now, download, responder, &response.file, teller),
            (None, None) => {}
        }
    }

    /// Makes what was found a row, or a part of one, of its search or listing.
    fn remember_answer(&mut self, now: Instant, id: SearchId, grouping: Grouping, answer: Answer) -> Option<Taken> {
        let search = self.searches.rows.get_mut(&id)?;
        let taken = self.hits.take(now, id, grouping, answer, search.rows_max);
        search.truncated |= taken.is_err();
        let limited = &mut self.counters.limited;
        match taken {
            Ok(_) | Err(NotTaken::Enough) => {}
            Err(NotTaken::OverShare) => limited.hits_over_share += 1,
            Err(NotTaken::NoRoom) => limited.hits_dropped += 1,
        }
        taken.ok()
    }

    fn take_hit(&mut self, now: Instant, id: SearchId, answer: Answer) {
        let query = self.searches.rows.get(&id).and_then(|search| search.query.as_ref());
        if query.is_some_and(|query| !query.admits(answer.file.name.as_bytes())) {
            return;
        }
        let taken = self.remember_answer(now, id, Grouping::Content, answer);
        for hit in taken.into_iter().flat_map(Taken::rows) {
            if let Some(row) = self.hits.get(hit).map(|row| row.row(hit)) {
                self.notify(Topic::Search(id), || Notice::Hit { search: id.0, hit: row });
            }
        }
    }

    pub(super) fn on_list_batch(&mut self, now: Instant, exchange: ExchangeId, files: Vec<Listed>) {
        let Some(Dial { purpose: Purpose::List(id), .. }) = self.dials.get(&exchange) else { return };
        let id = *id;
        let Some(search) = self.searches.rows.get(&id) else { return };
        let Stage::Listing { peer, .. } = &search.stage else { return };
        let (peer, was_truncated) = (*peer, search.truncated);
        let mut p1 = false;
        files.iter().for_each(|file| self.on_content_found(now, peer, file, Teller::Source));
        for file in files {
            p1 |= file.attributes.is_some();
            let _ = self.remember_answer(now, id, Grouping::Name, Answer { file, responder: peer, from: peer });
        }
        let files = self.hits.count(id);
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        let Stage::Listing { told, .. } = &mut search.stage else { return };
        let due = told.is_none_or(|at| now.saturating_since(at) >= LISTING_INTERVAL);
        if due {
            *told = Some(now);
        }
        let truncated = search.truncated;
        if files > 0 {
            self.note_evidence(now, peer, if p1 { Evidence::Attributes } else { Evidence::PlainList });
        }
        if truncated && !was_truncated {
            self.actions.push_back(Action::Abort { exchange });
        }
        if due {
            self.notify(Topic::Search(id), || Notice::Listing { search: id.0, files });
        }
    }

    pub(super) fn on_list_ended(
        &mut self,
        now: Instant,
        id: SearchId,
        exchange: ExchangeId,
        peer: SocketAddr,
        outcome: DialOutcome,
    ) {
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        if !matches!(search.stage, Stage::Listing { exchange: ours, .. } if ours == exchange) {
            return;
        }
        let error = match outcome {
            Ok(Dialled { response: Response::FileList { truncated }, .. }) => {
                search.truncated |= truncated;
                None
            }
            Ok(_) => None,
            Err(DialFault::Aborted) if search.truncated => None,
            Err(fault) => {
                let message = format!("cannot list {peer}: {fault}; `pyratectl peers` shows the peers known");
                Some(CallError::new(ExitCode::from(fault), message))
            }
        };
        self.finish_search(now, id, error);
    }
}

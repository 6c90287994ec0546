//! Our own searches, in rings of growing TTL, and listings.
//!
//! Owns their query IDs. Refuses hits that answer none of them, or that name an endpoint that cannot be a peer.

mod rings;

use self::rings::Rings;
use super::SearchMachine;
use super::hit::{Hit, NotTaken};
use super::hits::Hits;
use super::open::Found;
use super::remembered::{Wanted, query_of_user, whole_names_of};
use super::row_shares::senders;
use crate::control::{Notice, PeerSource, Problem, RawText, SearchStarted};
use crate::fault::DialFault;
use crate::id::{ClientId, ContentHash, ExchangeId, HitId, QueryId, SearchId, TransferId};
use crate::library::{Fit, Query};
use crate::name::{FILE_NAME_BYTES_MAX, FileName, has_control};
use crate::node::answer::{Answer, Teller};
use crate::node::contract::{Action, DialOutcome, Dialled, Expect, Response};
use crate::node::cx::exchanges::{Dial, Purpose};
use crate::node::cx::{Cx, NodeTimer, Step, Subject, Topic};
use crate::node::limits::{
    EXACT_SOURCES_ENOUGH, FORGET_INTERVAL, LATE_HITS, LISTING_FILES_MAX, LISTING_INTERVAL, SEARCH_ROWS_DEFAULT,
    SEARCH_ROWS_MAX, SEARCHES_MAX,
};
use crate::node::network::Net;
use crate::node::network::canonical;
use crate::node::speech::Evidence;
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::{Listed, Message, SearchResponse};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

struct Search {
    stage: Stage,
    queries: Vec<QueryId>,
    /// `None` for a listing.
    query: Option<Query>,
    rows_max: u64,
    truncated: bool,
}

enum Stage {
    /// Rings are sent one by one.
    Ringing(Rings),
    Listing {
        exchange: ExchangeId,
        peer: SocketAddr,
        notified_at: Option<Instant>,
    },
    /// Late hits are accepted until then.
    Over {
        until: Instant,
    },
}

impl Search {
    fn note_taken<T>(&mut self, cx: &mut Cx, taken: &Result<T, NotTaken>) {
        self.truncated |= taken.is_err();
        let limited = &mut cx.counters.limited;
        match taken {
            Ok(_) | Err(NotTaken::Enough) => {}
            Err(NotTaken::OverShare) => limited.hits_over_share += 1,
            Err(NotTaken::NoRoom) => limited.hits_dropped += 1,
        }
    }
}

/// Whether a hit has the hash or exactly the name that was searched for, and enough sources.
fn is_found_exactly(hit: &Hit, text: &[u8]) -> bool {
    let Some(b3) = hit.b3() else { return false };
    let is_named = |name: &FileName| name.as_bytes() == text || name.last_component() == text;
    let wanted = text.strip_prefix(b"b3=").and_then(ContentHash::from_hex);
    let fits = wanted.map_or_else(|| hit.offers().any(|(_, name, _)| is_named(name)), |wanted| wanted == b3);
    fits && senders(hit.backings()) >= EXACT_SOURCES_ENOUGH
}

/// All searches and listings remembered. The map of IDs is only ever asked for one.
#[derive(Default)]
pub(super) struct Searches {
    rows: BTreeMap<SearchId, Search>,
    queries: HashMap<QueryId, SearchId>,
    begun: u32,
    /// For the search that ended first.
    forget_timer: Option<TimerId>,
}

impl Searches {
    pub(super) fn is_ours(&self, query: &QueryId) -> bool {
        self.queries.contains_key(query)
    }

    pub(super) fn next_id(&mut self) -> SearchId {
        self.begun += 1;
        SearchId(self.begun)
    }

    /// Whether a search or listing is not over yet.
    pub(super) fn is_running(&self, id: SearchId) -> bool {
        self.rows.get(&id).is_some_and(|search| !matches!(search.stage, Stage::Over { .. }))
    }

    fn rings(&mut self, id: SearchId) -> Option<&mut Rings> {
        match &mut self.rows.get_mut(&id)?.stage {
            Stage::Ringing(rings) => Some(rings),
            Stage::Listing { .. } | Stage::Over { .. } => None,
        }
    }

    pub(super) fn check_invariants(&self, hits: &Hits) {
        assert!(self.rows.len() <= SEARCHES_MAX, "the searches are bounded");
        let queries: usize = self.rows.values().map(|search| search.queries.len()).sum();
        assert_eq!(queries, self.queries.len(), "each query belongs to one search");
        hits.check_invariants();
    }
}

impl SearchMachine {
    pub(in crate::node) fn call_search(
        &mut self,
        net: &mut Net,
        client: ClientId,
        text: &[u8],
        rows_max: Option<u32>,
        ttl: Option<u8>,
    ) -> Result<SearchStarted, Problem> {
        if text.trim_ascii().is_empty() || text.len() > FILE_NAME_BYTES_MAX || has_control(text) {
            return Err(Problem::NotSearchable);
        }
        let query = query_of_user(text)?;
        if query.sent().len() > FILE_NAME_BYTES_MAX {
            return Err(Problem::NotSearchable);
        }
        if query.plain().is_some_and(<[u8]>::is_empty) {
            return Err(Problem::NoWordToSearch);
        }
        if query.finds_nothing() {
            return Err(Problem::TooShortForType);
        }
        let whole_names = whole_names_of(&query);
        let rows_max = rows_max.unwrap_or(SEARCH_ROWS_DEFAULT).clamp(1, SEARCH_ROWS_MAX);
        let widest = ttl.unwrap_or(net.cx.config.max_ttl).min(net.cx.config.max_ttl);
        if net.advertised().is_none() && !net.network.is_registering() {
            return Err(Problem::NoAddress);
        }
        let id = self.begin_search(net.cx, Stage::Ringing(Rings::up_to(widest)), Some(query), u64::from(rows_max))?;
        self.remembered.insert(net.cx.now, id, Wanted::Text(RawText::new(text)));
        net.cx.subscriptions.subscribe(Topic::Search(id), client);
        self.look_for_newcomers(net);
        self.send_ring(net, id);
        Ok(SearchStarted { search: id.0, whole_names })
    }

    pub(in crate::node) fn call_list(
        &mut self,
        net: &mut Net,
        client: ClientId,
        peer: SocketAddr,
    ) -> Result<SearchStarted, Problem> {
        let peer = net.network.peer_of_user(net.cx, peer)?;
        net.network.learn_peer(net.cx, peer, PeerSource::User);
        // Base programs ignore what follows `5:`; the answer shows whether a peer speaks `p1`.
        let messages = vec![Message::ListFiles { p1: true }];
        let id = self.begin_search(net.cx, Stage::Over { until: net.cx.now }, None, LISTING_FILES_MAX)?;
        let Ok(exchange) = net.cx.dial_peer(peer, messages, Expect::FileList, Purpose::List(id)) else {
            self.forget_search(net.cx, id);
            return Err(Problem::NoWorker);
        };
        if let Some(search) = self.searches.rows.get_mut(&id) {
            search.stage = Stage::Listing { exchange, peer, notified_at: None };
        }
        self.remembered.insert(net.cx.now, id, Wanted::ListOf(peer));
        net.cx.subscriptions.subscribe(Topic::Search(id), client);
        Ok(SearchStarted { search: id.0, whole_names: None })
    }

    pub(in crate::node) fn last_search(&self) -> SearchId {
        SearchId(self.searches.begun)
    }

    /// Adds a search; if there are too many, drops the oldest that is over.
    fn begin_search(
        &mut self,
        cx: &mut Cx,
        stage: Stage,
        query: Option<Query>,
        rows_max: u64,
    ) -> Result<SearchId, Problem> {
        if self.searches.rows.len() >= SEARCHES_MAX {
            let over = |(_, search): &(&SearchId, &Search)| matches!(search.stage, Stage::Over { .. });
            let oldest = self.searches.rows.iter().find(over).map(|(id, _)| *id);
            self.forget_search(cx, oldest.ok_or(Problem::TooManySearches(SEARCHES_MAX))?);
        }
        let id = self.searches.next_id();
        self.searches.rows.insert(id, Search { stage, queries: Vec::new(), query, rows_max, truncated: false });
        Ok(id)
    }

    fn finish_search(&mut self, cx: &mut Cx, id: SearchId, problem: Option<Problem>) {
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        self.newcomers.end_search(id);
        let (hits, truncated) = (self.hits.count(id), search.truncated || self.hits.is_cut(id));
        let stage = std::mem::replace(&mut search.stage, Stage::Over { until: cx.now + LATE_HITS });
        self.end_stage(cx, stage);
        self.plan_to_forget(cx, cx.now + LATE_HITS);
        let error = problem.map(Into::into);
        cx.notify(Topic::Search(id), || Notice::SearchDone { search: id.0, hits, truncated, error });
    }

    fn end_stage(&mut self, cx: &mut Cx, stage: Stage) {
        match stage {
            Stage::Ringing(rings) => {
                self.close_ring(cx, rings.open);
                cx.cancel_timer(rings.timer);
            }
            Stage::Listing { .. } | Stage::Over { .. } => {}
        }
    }

    /// One timer serves all searches that are over.
    fn plan_to_forget(&mut self, cx: &mut Cx, at: Instant) {
        if self.searches.forget_timer.is_none() {
            self.searches.forget_timer = Some(cx.wheel.insert(at, NodeTimer::ForgetSearches));
        }
    }

    /// Drops searches that ended long ago. The next check is at least a minute later, so that not each of them wakes the node.
    pub(in crate::node) fn on_forget_timer(&mut self, cx: &mut Cx) {
        self.searches.forget_timer = None;
        let ends = |(id, search): (&SearchId, &Search)| match search.stage {
            Stage::Over { until } => Some((until, *id)),
            _ => None,
        };
        let ends: Vec<_> = self.searches.rows.iter().filter_map(ends).collect();
        let now = cx.now;
        for (_, id) in ends.iter().filter(|(until, _)| *until <= now) {
            self.forget_search(cx, *id);
        }
        if let Some(next) = ends.iter().map(|(until, _)| *until).filter(|until| *until > cx.now).min() {
            self.plan_to_forget(cx, next.max(cx.now + FORGET_INTERVAL));
        }
    }

    /// Drops a search. Its rows stay.
    pub(super) fn forget_search(&mut self, cx: &mut Cx, id: SearchId) {
        let Some(search) = self.searches.rows.remove(&id) else { return };
        self.newcomers.end_search(id);
        self.end_stage(cx, search.stage);
        for query in &search.queries {
            self.searches.queries.remove(query);
        }
        cx.subscriptions.close(Topic::Search(id));
        self.hits.close(id, search.truncated);
    }

    /// Whether a search or listing found more than its rows.
    pub(in crate::node) fn is_truncated(&self, id: SearchId) -> bool {
        self.hits.is_cut(id) || self.searches.rows.get(&id).is_some_and(|search| search.truncated)
    }

    pub(in crate::node) fn on_search_response(&mut self, net: &mut Net, from: SocketAddr, response: SearchResponse) {
        let searched = self.searches.queries.get(&response.id).copied();
        let sought = self.sought_for(net.cx, &response.id);
        let wished = self.wished_for(net.cx, &response.id);
        if searched.is_none() && sought.is_none() && wished.is_none() {
            net.cx.counters.limited.hits_unasked += 1;
            return;
        }
        let responder = canonical(response.responder);
        if !net.is_plausible(responder, from.ip()) {
            if net.cx.may_log(Subject::BadEndpoint, from.ip(), 0) {
                log::debug!(peer:% = from, responder:%; "a hit names what cannot be a peer");
            }
            net.cx.counters.refused += 1;
            return;
        }
        net.network.learn_peer(net.cx, responder, PeerSource::Hit);
        let teller = Teller::of(from, responder);
        if teller == Teller::Source {
            let attributes = response.file.attributes.is_some();
            net.network.note_evidence(
                net.cx,
                responder,
                if attributes { Evidence::Attributes } else { Evidence::PlainHit },
            );
        }
        let sought = sought.filter(|_| searched.is_none());
        let answer = Answer { file: response.file, responder, from };
        self.report_found(net.cx, &answer, sought);
        if let Some(wish) = wished {
            return net.cx.out.then(Step::WishAnswered { wish, found: answer });
        }
        let Some(id) = searched else { return };
        if let Some(search) = self.searches.rows.get_mut(&id) {
            search.truncated |= answer.file.attributes.is_some_and(|attributes| attributes.more);
        }
        self.take_hit(net, id, answer);
    }

    /// Reports an offer to the downloads of its content, and to the one that searched for it.
    fn report_found(&mut self, cx: &mut Cx, found: &Answer, sought: Option<TransferId>) {
        if sought.is_some() || found.b3().is_some() {
            cx.out.then(Step::Found { found: found.clone(), sought });
        }
    }

    /// Takes a hit. Returns the rows that have changed.
    fn add_answer(&mut self, cx: &mut Cx, id: SearchId, answer: Answer) -> Vec<HitId> {
        let Some(search) = self.searches.rows.get_mut(&id) else { return Vec::new() };
        let name = answer.file.name.as_bytes();
        let directory = search.query.as_ref().and_then(|query| query.directory_of(name));
        let directory = directory.and_then(|end| FileName::from_bytes(&name[..end]));
        let taken = self.hits.take_found(cx.now, id, (answer, directory), search.rows_max);
        search.note_taken(cx, &taken);
        taken.map_or_else(|_| Vec::new(), |(file, directory)| file.rows().chain(directory).collect())
    }

    fn add_listed(&mut self, cx: &mut Cx, id: SearchId, answer: &Answer) {
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        let taken = self.hits.take_listed(cx.now, id, answer, search.rows_max);
        search.note_taken(cx, &taken);
    }

    fn take_hit(&mut self, net: &mut Net, id: SearchId, answer: Answer) {
        let query = self.searches.rows.get(&id).and_then(|search| search.query.as_ref());
        let size = answer.file.attributes.and_then(|attributes| attributes.size);
        match query.map_or(Fit::Fits, |query| query.fit(answer.file.name.as_bytes(), size)) {
            Fit::Fits => {}
            Fit::Filtered => return self.remembered.note_filtered(id, answer),
            Fit::Other => return,
        }
        let rows = self.add_answer(net.cx, id, answer);
        for hit in &rows {
            if let Some(row) = self.hits.get(*hit).map(|row| self.hits.row_of(*hit, &row)) {
                net.cx.notify(Topic::Search(id), || Notice::Hit { search: id.0, hit: row });
            }
        }
        let row = self.searches.rows.get(&id);
        let Some(Search { stage: Stage::Ringing(rings), query: Some(query), .. }) = row else { return };
        let is_found = |hit: &HitId| self.hits.get(*hit).is_some_and(|row| is_found_exactly(&row, query.text()));
        let found = match rows.iter().any(is_found) {
            true => Found::Exactly,
            false if self.has_enough(id, 1) => Found::Enough,
            false => Found::Little,
        };
        match (rings.open, found) {
            (None, Found::Exactly) => self.finish_search(net.cx, id, None),
            (None, _) => {}
            (Some(open), _) => self.on_ring_hit(net, open, found),
        }
    }

    pub(in crate::node) fn on_list_batch(&mut self, net: &mut Net, exchange: ExchangeId, files: Vec<Listed>) {
        let Some(Dial { purpose: Purpose::List(id), .. }) = net.cx.exchanges.dial(exchange) else { return };
        let id = *id;
        let Some(search) = self.searches.rows.get(&id) else { return };
        let Stage::Listing { peer, .. } = &search.stage else { return };
        let (peer, was_truncated) = (*peer, search.truncated);
        let mut p1 = false;
        for file in files {
            p1 |= file.attributes.is_some();
            let answer = Answer { file, responder: peer, from: peer };
            self.add_listed(net.cx, id, &answer);
            if answer.b3().is_some() {
                net.cx.out.then(Step::Found { found: answer, sought: None });
            }
        }
        let files = self.hits.count(id);
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        let Stage::Listing { notified_at, .. } = &mut search.stage else { return };
        let due = notified_at.is_none_or(|at| net.cx.now.saturating_since(at) >= LISTING_INTERVAL);
        if due {
            *notified_at = Some(net.cx.now);
        }
        let truncated = search.truncated;
        if files > 0 {
            net.network.note_evidence(net.cx, peer, if p1 { Evidence::Attributes } else { Evidence::PlainList });
        }
        if truncated && !was_truncated {
            net.cx.out.act(Action::Abort { exchange });
        }
        if due {
            net.cx.notify(Topic::Search(id), || Notice::Listing { search: id.0, files });
        }
    }

    pub(in crate::node) fn on_list_ended(
        &mut self,
        cx: &mut Cx,
        id: SearchId,
        exchange: ExchangeId,
        peer: SocketAddr,
        outcome: DialOutcome,
    ) {
        let Some(search) = self.searches.rows.get_mut(&id) else { return };
        if !matches!(search.stage, Stage::Listing { exchange: ours, .. } if ours == exchange) {
            return;
        }
        let problem = match outcome {
            Ok(Dialled { response: Response::FileList { truncated }, .. }) => {
                search.truncated |= truncated;
                None
            }
            Ok(_) => None,
            Err(DialFault::Aborted) if search.truncated => None,
            Err(fault) => Some(Problem::CannotList { peer, fault }),
        };
        self.finish_search(cx, id, problem);
    }
}

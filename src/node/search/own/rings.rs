//! The rings of a search: which one goes out, to whom, and whether another follows.

use super::{Search, Stage};
use crate::control::{Notice, Problem};
use crate::id::{QueryId, SearchId};
use crate::node::contract::DialOutcome;
use crate::node::cx::exchanges::Purpose;
use crate::node::cx::{Cx, NodeTimer, Topic};
use crate::node::ids::OpenId;
use crate::node::limits::{
    LAST_RING_WAIT, REGISTRATION_WAIT_MAX, RING_ROWS_ENOUGH, RING_TTLS, RING_WAIT, RINGS_SKIPPED_BELOW,
};
use crate::node::network::NetworkMachine;
use crate::node::search::SearchMachine;
use crate::node::search::open::wait_for_ttl;
use crate::node::search::sending::{SearchDial, dial_search};
use crate::node::speech::Speech;
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::Search as SearchMessage;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The rings of a search.
pub(super) struct Rings {
    /// TTLs of the rings still to come.
    ahead: VecDeque<u8>,
    asked: u32,
    answered: u32,
    awaits: Awaits,
    /// The ring that is out.
    pub(super) open: Option<OpenId>,
    /// While no ring is out: when it goes on.
    pub(super) timer: Option<TimerId>,
}

/// What a search waits for that finds no neighbour: first a registration that is under way, then the lists of the bootstrap
/// nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaits {
    Nothing,
    Registration,
    NothingMore,
    Lists,
    Over,
}

impl Rings {
    /// Up to a TTL.
    pub(super) fn up_to(widest: u8) -> Self {
        let mut ahead: VecDeque<u8> = RING_TTLS.into_iter().filter(|ring| *ring < widest).collect();
        ahead.push_back(widest);
        Self { ahead, asked: 0, answered: 0, awaits: Awaits::Nothing, open: None, timer: None }
    }
}

impl SearchMachine {
    /// There is no neighbour, or no address of ours is known: a registration that is under way may bring both. Says whether one is
    /// awaited.
    fn await_registration(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: SearchId) -> bool {
        let is_wanted = network.advertised(cx).is_none() || network.neighbours(cx).is_empty();
        if !is_wanted || network.is_registered() || !network.is_registering() {
            return false;
        }
        let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) else { return false };
        if rings.awaits != Awaits::Nothing {
            return false;
        }
        rings.awaits = Awaits::Registration;
        self.go_on_at(cx, cx.now + REGISTRATION_WAIT_MAX, id);
        true
    }

    /// A registration has ended: the searches go on that wait for it.
    pub(in crate::node) fn go_on_after_registration(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        if network.is_registered() || !network.is_registering() {
            self.go_on_from(cx, network, Awaits::Registration);
        }
    }

    /// There is no neighbour: a peer list that is on its way may name some. Says whether one is awaited.
    fn await_peer_lists(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: SearchId) -> bool {
        let Some(until) = self.lists_awaited_until(cx, network).filter(|_| network.neighbours(cx).is_empty()) else {
            return false;
        };
        let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) else { return false };
        if rings.awaits >= Awaits::Lists {
            return false;
        }
        rings.awaits = Awaits::Lists;
        self.go_on_at(cx, until, id);
        true
    }

    /// The lists have come that searches without any neighbour wait for, or will not.
    pub(in crate::node) fn go_on_without_lists(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        self.go_on_from(cx, network, Awaits::Lists);
    }

    /// Goes on with the searches that wait for this.
    fn go_on_from(&mut self, cx: &mut Cx, network: &mut NetworkMachine, over: Awaits) {
        let waits = |search: &Search| matches!(&search.stage, Stage::Ringing(rings) if rings.awaits == over);
        let waiting: Vec<_> =
            self.searches.rows.iter().filter(|(_, search)| waits(search)).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) else { continue };
            let timer = rings.timer.take();
            cx.cancel_timer(timer);
            self.on_ring_timer(cx, network, id);
        }
    }

    /// Goes on with the rings of a search at this time.
    fn go_on_at(&mut self, cx: &mut Cx, at: Instant, id: SearchId) {
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.timer = Some(cx.wheel.insert(at, NodeTimer::Ring(id)));
        }
    }

    /// Code 6: the next ring, under an ID of its own, to every neighbour.
    pub(super) fn send_ring(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: SearchId) {
        if self.await_registration(cx, network, id) || self.await_peer_lists(cx, network, id) {
            return;
        }
        let Some(requester) = network.advertised(cx) else {
            return self.finish_search(cx, id, Some(Problem::NoAddress));
        };
        let neighbours = network.neighbours(cx);
        let number = cx.rng.number();
        let row = self.searches.rows.get_mut(&id);
        let Some(Search { stage: Stage::Ringing(rings), queries, rows_max, query: Some(wanted), .. }) = row else {
            return;
        };
        if neighbours.is_empty() {
            // There is no neighbour. The search ends by a timer, so that the call is answered first.
            rings.ahead.clear();
            return self.go_on_at(cx, cx.now, id);
        }
        let Some(ttl) = rings.ahead.pop_front() else { return };
        let hits_max = u32::try_from(*rows_max).unwrap_or(u32::MAX);
        let query = QueryId::p1_ending(QueryId::naming_hits_max(number, hits_max));
        let wait = if rings.ahead.is_empty() { LAST_RING_WAIT } else { RING_WAIT.max(wait_for_ttl(ttl)) };
        let search = SearchMessage { id: query.clone(), text: wanted.text().into(), requester, ttl };
        queries.push(query.clone());
        self.searches.queries.insert(query.clone(), id);
        let open = self.open_ring(cx, network, id, query, wait);
        let (mut asked, mut awaited) = (0, 0);
        self.newcomers.note_ring(id, search.clone(), neighbours.iter().copied().collect());
        for neighbour in neighbours {
            match dial_search(cx, network, neighbour, &search, Purpose::Ring(id, open)) {
                SearchDial::Sent => {
                    asked += 1;
                    self.await_ring(cx, network, open, neighbour, ttl);
                }
                SearchDial::Awaited => {
                    awaited += 1;
                    self.drop_part(cx, network, open, neighbour);
                }
                SearchDial::NoRoom => self.drop_part(cx, network, open, neighbour),
            }
        }
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.asked += asked + awaited;
            rings.open = Some(open);
        }
        cx.notify(Topic::Search(id), || Notice::Ring { search: id.0, ttl, peers: asked });
        self.extend_searches(cx, network);
        if !self.is_anybody_asked(open) {
            // No neighbour was sent the ring.
            self.close_ring(cx, Some(open));
            return self.go_on_at(cx, cx.now, id);
        }
        self.all_are_asked(cx, network, open);
    }

    /// Further peers were sent the ring that is listened to.
    pub(in crate::node) fn note_asked(&mut self, id: SearchId, asked: u32) {
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.asked += asked;
        }
    }

    /// What is awaited has come or had its time, or nobody could be asked: goes on.
    pub(in crate::node) fn on_ring_timer(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: SearchId) {
        let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) else { return };
        rings.timer = None;
        match rings.awaits {
            Awaits::Registration => rings.awaits = Awaits::NothingMore,
            Awaits::Lists => rings.awaits = Awaits::Over,
            Awaits::Nothing | Awaits::NothingMore | Awaits::Over => return self.on_ring_over(cx, network, id, true),
        }
        self.send_ring(cx, network, id);
    }

    /// A ring is over: goes on, unless enough has come, or there is nobody whom it did not reach. `cut`: there may be.
    pub(in crate::node) fn on_ring_over(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: SearchId, cut: bool) {
        let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) else { return };
        rings.open = None;
        let rows = self.hits.count(id);
        let (asked, answered, is_last) = (rings.asked, rings.answered, rings.ahead.is_empty());
        if cut && !is_last && asked > 0 && !self.has_enough(id, 1) {
            // Where almost nothing was found nearby, all have to be asked.
            if !self.has_enough(id, RINGS_SKIPPED_BELOW)
                && let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id)
            {
                rings.ahead.drain(..rings.ahead.len() - 1);
            }
            return self.send_ring(cx, network, id);
        }
        let error = if rows > 0 { None } else { self.why_nothing_was_found(network, asked, answered) };
        self.finish_search(cx, id, error);
    }

    /// Why there is no hit; `None` if peers were asked, and have none. `asked`: copies of the search that were sent;
    /// `answered`: of these, copies of which a peer has shown that it took them.
    fn why_nothing_was_found(&self, network: &NetworkMachine, asked: u32, answered: u32) -> Option<Problem> {
        if answered > 0 {
            return None;
        }
        let (known, alive) = (network.peers().len(), network.peers().count());
        Some(match (known, alive) {
            (0, _) => Problem::NoPeers { registered: network.is_registered() },
            (known, 0) => Problem::AllPeersSilent(known),
            (_, alive) if asked > 0 => Problem::NoPeerAnswered(alive),
            _ => Problem::NoWorker,
        })
    }

    /// Whether the last ring follows the one that is out if that did not reach all: almost nothing was found nearby.
    pub(in crate::node) fn is_ring_followed(&self, id: SearchId) -> bool {
        let row = self.searches.rows.get(&id);
        let is_last = !row.is_some_and(|row| matches!(&row.stage, Stage::Ringing(rings) if !rings.ahead.is_empty()));
        !is_last && !self.has_enough(id, RINGS_SKIPPED_BELOW)
    }

    /// A copy reached a neighbour, or did not. A base peer says no more than that; one that speaks `p1` says when it is done.
    pub(in crate::node) fn on_ring_dial_ended(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        (id, open): (SearchId, OpenId),
        neighbour: SocketAddr,
        outcome: &DialOutcome,
    ) {
        if outcome.is_ok() && network.peers().speech(neighbour) != Speech::P1 {
            self.note_ring_answered(id);
        }
        self.on_part_dialled(cx, network, Some(open), neighbour, outcome);
    }

    /// Somebody who was asked has taken a search.
    pub(in crate::node) fn note_ring_answered(&mut self, id: SearchId) {
        if let Some(Search { stage: Stage::Ringing(rings), .. }) = self.searches.rows.get_mut(&id) {
            rings.answered += 1;
        }
    }

    /// Whether a search has one in `part` of the rows after which no further ring goes out. Rows that give way to others do not
    /// count: one peer may have sent them all.
    pub(in crate::node) fn has_enough(&self, id: SearchId, part: u64) -> bool {
        let Some(Search { rows_max, .. }) = self.searches.rows.get(&id) else { return false };
        let wanted = RING_ROWS_ENOUGH.min(*rows_max).div_ceil(part);
        self.hits.count_in_shares(id) >= *rows_max || self.hits.are_enough(id, wanted)
    }
}

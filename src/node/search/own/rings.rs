//! The rings of a search: sending them, and whether another follows.

use super::{Search, Stage};
use crate::control::{Notice, Problem};
use crate::id::{QueryId, SearchId};
use crate::node::contract::DialOutcome;
use crate::node::cx::exchanges::Purpose;
use crate::node::cx::{Cx, NodeTimer, Topic};
use crate::node::ids::OpenId;
use crate::node::limits::{
    LAST_RING_WAIT, REGISTRATION_WAIT_MAX, RING_GRACE_IN_ALL_MAX, RING_GRACE_MIN, RING_ROWS_ENOUGH, RING_TTLS,
    RING_WAIT, RINGS_SKIPPED_BELOW,
};
use crate::node::network::Net;
use crate::node::network::NetworkMachine;
use crate::node::search::SearchMachine;
use crate::node::search::open::{Found, RingStage, Role, wait_for_ttl};
use crate::node::search::sending::{SearchDial, dial_search};
use crate::node::speech::Speech;
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::Search as SearchMessage;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) struct Rings {
    ahead: VecDeque<u8>,
    asked: u32,
    answered: u32,
    awaits: Awaits,
    pub(super) open: Option<OpenId>,
    /// Without a current ring: when the search continues.
    pub(super) timer: Option<TimerId>,
}

/// What a search without neighbours waits for: first a registration in progress, then the lists of the bootstrap nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaits {
    Nothing,
    Registration,
    NothingMore,
    Lists,
    Over,
}

impl Rings {
    pub(super) fn up_to(widest: u8) -> Self {
        let mut ahead: VecDeque<u8> = RING_TTLS.into_iter().filter(|ring| *ring < widest).collect();
        ahead.push_back(widest);
        Self { ahead, asked: 0, answered: 0, awaits: Awaits::Nothing, open: None, timer: None }
    }
}

impl SearchMachine {
    /// Without a neighbour or an address of ours, waits for a registration in progress, which may bring both. Returns whether it
    /// waits.
    fn await_registration(&mut self, net: &mut Net, id: SearchId) -> bool {
        let is_wanted = net.advertised().is_none() || net.neighbours().is_empty();
        if !is_wanted || net.network.is_registered() || !net.network.is_registering() {
            return false;
        }
        self.wait_for(net.cx, id, Awaits::Registration, net.cx.now + REGISTRATION_WAIT_MAX)
    }

    /// Makes a search wait, unless it has waited for this before. Returns whether it waits.
    fn wait_for(&mut self, cx: &mut Cx, id: SearchId, awaits: Awaits, until: Instant) -> bool {
        let Some(rings) = self.searches.rings(id).filter(|rings| rings.awaits < awaits) else { return false };
        rings.awaits = awaits;
        self.continue_at(cx, until, id);
        true
    }

    /// Without a neighbour, waits for requested peer lists, which may name some. Returns whether it waits.
    fn await_peer_lists(&mut self, net: &mut Net, id: SearchId) -> bool {
        let Some(until) = self.lists_awaited_until(net).filter(|_| net.neighbours().is_empty()) else {
            return false;
        };
        self.wait_for(net.cx, id, Awaits::Lists, until)
    }

    fn end_wait(&mut self, net: &mut Net, over: Awaits) {
        let waits = |search: &Search| matches!(&search.stage, Stage::Ringing(rings) if rings.awaits == over);
        let waiting: Vec<_> =
            self.searches.rows.iter().filter(|(_, search)| waits(search)).map(|(id, _)| *id).collect();
        for id in waiting {
            let timer = self.searches.rings(id).and_then(|rings| rings.timer.take());
            net.cx.cancel_timer(timer);
            self.on_ring_timer(net, id);
        }
    }

    /// Continues the rings of a search at this time.
    fn continue_at(&mut self, cx: &mut Cx, at: Instant, id: SearchId) {
        if let Some(rings) = self.searches.rings(id) {
            rings.timer = Some(cx.wheel.insert(at, NodeTimer::Ring(id)));
        }
    }

    /// Code 6: the next ring, with its own ID, to every neighbour.
    pub(super) fn send_ring(&mut self, net: &mut Net, id: SearchId) {
        if self.await_registration(net, id) || self.await_peer_lists(net, id) {
            return;
        }
        let Some(requester) = net.advertised() else {
            return self.finish_search(net.cx, id, Some(Problem::NoAddress));
        };
        let neighbours = net.neighbours();
        let number = net.cx.rng.number();
        let row = self.searches.rows.get_mut(&id);
        let Some(Search { stage: Stage::Ringing(rings), queries, rows_max, query: Some(wanted), .. }) = row else {
            return;
        };
        if neighbours.is_empty() {
            // The search ends by a timer, so that the call is answered first.
            rings.ahead.clear();
            return self.continue_at(net.cx, net.cx.now, id);
        }
        let Some(ttl) = rings.ahead.pop_front() else { return };
        let hits_max = u32::try_from(*rows_max).unwrap_or(u32::MAX);
        let query = QueryId::p1_ending(QueryId::naming_hits_max(number, hits_max));
        let wait = if rings.ahead.is_empty() { LAST_RING_WAIT } else { RING_WAIT.max(wait_for_ttl(ttl)) };
        let search = SearchMessage { id: query.clone(), text: wanted.sent().into(), requester, ttl };
        queries.push(query.clone());
        self.searches.queries.insert(query.clone(), id);
        let open = self.open_ring(net, id, query, wait);
        self.newcomers.note_ring(id, search.clone(), open, neighbours.iter().copied().collect());
        let sent = self.dial_ring(net, (id, open), &search, neighbours);
        if let Some(rings) = self.searches.rings(id) {
            rings.open = Some(open);
        }
        net.cx.notify(Topic::Search(id), || Notice::Ring { search: id.0, ttl, peers: sent });
        self.extend_searches(net);
        if !self.is_anybody_asked(open) {
            self.close_ring(net.cx, Some(open));
            return self.continue_at(net.cx, net.cx.now, id);
        }
        self.all_are_asked(net, open);
    }

    /// Sends a ring to these peers. Returns the number of those to which it is being sent.
    pub(in crate::node) fn dial_ring(
        &mut self,
        net: &mut Net,
        (id, open): (SearchId, OpenId),
        ring: &SearchMessage,
        peers: Vec<SocketAddr>,
    ) -> u32 {
        let (mut sent, mut awaited) = (0, 0);
        for peer in peers {
            let dialled = dial_search(net, peer, ring, Purpose::Ring(id, open));
            if dialled == SearchDial::Sent {
                sent += 1;
                self.await_part(net, open, peer, ring.ttl);
                self.on_part_ordered(net, open, peer);
            } else {
                awaited += u32::from(dialled == SearchDial::Awaited);
                self.drop_part(net, open, peer);
            }
        }
        if let Some(rings) = self.searches.rings(id) {
            rings.asked += sent + awaited;
        }
        sent
    }

    /// Continues a search after a wait, or if no peer could be asked.
    pub(in crate::node) fn on_ring_timer(&mut self, net: &mut Net, id: SearchId) {
        let Some(rings) = self.searches.rings(id) else { return };
        rings.timer = None;
        match rings.awaits {
            Awaits::Registration => rings.awaits = Awaits::NothingMore,
            Awaits::Lists => rings.awaits = Awaits::Over,
            Awaits::Nothing | Awaits::NothingMore | Awaits::Over => return self.on_ring_over(net, id, true),
        }
        self.send_ring(net, id);
    }

    /// A ring is over: sends the next one, unless enough was found or all peers were reached. `cut`: some may not have been.
    pub(in crate::node) fn on_ring_over(&mut self, net: &mut Net, id: SearchId, cut: bool) {
        let Some(rings) = self.searches.rings(id) else { return };
        rings.open = None;
        let (asked, answered, is_last) = (rings.asked, rings.answered, rings.ahead.is_empty());
        let rows = self.hits.count(id);
        if cut && !is_last && asked > 0 && !self.has_enough(id, 1) {
            // If almost nothing was found nearby, the last ring follows at once.
            if !self.has_enough(id, RINGS_SKIPPED_BELOW)
                && let Some(rings) = self.searches.rings(id)
            {
                rings.ahead.drain(..rings.ahead.len() - 1);
            }
            return self.send_ring(net, id);
        }
        let error = if rows > 0 { None } else { self.why_nothing_was_found(net.network, asked, answered) };
        self.finish_search(net.cx, id, error);
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

    /// Sending a ring to a neighbour has ended. A base peer reports no more than that; a `p1` peer reports the end.
    pub(in crate::node) fn on_ring_dial_ended(
        &mut self,
        net: &mut Net,
        (id, open): (SearchId, OpenId),
        neighbour: SocketAddr,
        outcome: &DialOutcome,
    ) {
        if outcome.is_ok() && net.peers().speech(neighbour) != Speech::P1 {
            self.note_ring_answered(id);
        }
        self.on_part_dialled(net, Some(open), neighbour, outcome);
    }

    /// A peer has shown that it received the ring.
    pub(in crate::node) fn note_ring_answered(&mut self, id: SearchId) {
        if let Some(rings) = self.searches.rings(id) {
            rings.answered += 1;
        }
    }

    /// Whether a search has a fraction (1 / `part`) of the rows after which no further ring is sent. Surplus rows do not count:
    /// one peer may have sent them all.
    pub(in crate::node) fn has_enough(&self, id: SearchId, part: u64) -> bool {
        let Some(Search { rows_max, .. }) = self.searches.rows.get(&id) else { return false };
        let wanted = RING_ROWS_ENOUGH.min(*rows_max).div_ceil(part);
        self.hits.count_in_shares(id) >= *rows_max || self.hits.are_enough(id, wanted)
    }

    pub(in crate::node) fn open_ring(&mut self, net: &Net, search: SearchId, query: QueryId, wait: Duration) -> OpenId {
        let role = Role::Ring { search, began: net.cx.now, stage: RingStage::Asking };
        let id = self.open_searches.insert(query, role, net.cx.now + wait);
        let lists_until = self.lists_awaited_until(net);
        self.open_searches.rows.entry(id).and_modify(|open| open.lists_until = lists_until);
        id
    }

    /// Whether a ring is open and has not found exactly the file that was searched for.
    pub(in crate::node) fn is_ring_wanting(&self, id: OpenId) -> bool {
        self.open_searches.rows.get(&id).is_some_and(|open| !open.is_found)
    }

    fn is_anybody_asked(&self, id: OpenId) -> bool {
        self.open_searches.rows.get(&id).is_some_and(|open| !open.parts.is_empty())
    }

    /// A ring was sent to further peers.
    pub(in crate::node) fn review_ring(&mut self, net: &mut Net, id: OpenId) {
        self.change_open(net, id, |open| {
            if let Role::Ring { stage, .. } = &mut open.role
                && !open.parts.is_empty()
            {
                *stage = RingStage::Asking;
            }
        });
    }

    /// A request to a bootstrap node has ended: if no peer list is expected any more, no search waits for one.
    pub(in crate::node) fn on_link_task_ended(&mut self, net: &mut Net) {
        if net.network.is_registered() || !net.network.is_registering() {
            self.end_wait(net, Awaits::Registration);
        }
        if self.lists_awaited_until(net).is_some() {
            return;
        }
        self.end_wait(net, Awaits::Lists);
        let waiting = self.open_searches.rows.iter().filter(|(_, open)| open.lists_until.is_some());
        let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.change_open(net, id, |open| open.lists_until = None));
    }

    /// A hit came for our ring: others may follow.
    pub(in crate::node::search) fn on_ring_hit(&mut self, net: &mut Net, id: OpenId, found: Found) {
        let now = net.cx.now;
        self.change_open(net, id, |open| {
            if found != Found::Little {
                open.lists_until = None;
            }
            if found == Found::Exactly {
                open.parts.clear();
                open.is_found = true;
            }
            if let Role::Ring { stage: RingStage::Grace { since, until }, .. } = &mut open.role {
                *until = (*until).max(now + RING_GRACE_MIN).min(*since + RING_GRACE_IN_ALL_MAX);
            }
        });
    }

    pub(in crate::node) fn close_ring(&mut self, cx: &mut Cx, id: Option<OpenId>) {
        if let Some(open) = id.and_then(|id| self.open_searches.remove(id)) {
            cx.cancel_timer(open.timer);
        }
    }
}

//! When a search is over: who was asked, and who has said that it is done (PROTOCOL, part 2, The end of a search).
//!
//! The form of Dijkstra and Scholten: a node that gets a search for the first time sends it on, and says that it is done when
//! all to whom it did so have said it, and its own hits are sent. A copy that comes again is done at once, unless its TTL is
//! as high as that of the first: such a copy comes from nobody for whom we wait, and its sender waits as the first does. So
//! no two nodes wait for each other, and nobody is done early because a liar's copy came first.
//!
//! Owns the rules of that; the table is in [`open_searches`](crate::node::search::open). What a neighbour says, or leaves unsaid,
//! counts for its own part alone. Each part has its time, which is shorter the less TTL is left: a node always gives up before
//! those that wait for it.

use super::SearchMachine;
use super::open::{Found, Open, OpenId, Part, RingStage, Role, wait_for_ttl};
use crate::id::{ExchangeId, QueryId, SearchId};
use crate::library::Query;
use crate::node::NodeTimer;
use crate::node::contract::{Action, DialOutcome};
use crate::node::cx::Cx;
use crate::node::fair_queue::{Origin, Room, Sender};
use crate::node::limits::{
    BASE_WAIT_MIN, DONE_MARGIN, DONE_STEP, HABITS_KEPT_MAX, LEAF_WAIT_MIN, OPEN_ASKERS_MAX, OPEN_SEARCHES_MAX,
    OPEN_SEARCHES_PER_NETWORK_MAX, PART_WAIT_FLOOR, PART_WAIT_MIN, RING_GRACE_IN_ALL_MAX, RING_GRACE_MIN, RING_WAIT,
    UNPROVEN_PART_WAIT, WIDEN_BY_ONE_BELOW, WIDEN_DELAY,
};
use crate::node::network::NetworkMachine;
use crate::node::network::Speech;
use crate::wire::{Search, SearchDone};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Whether a search that went out with one TTL is sent on again with a higher one that came since. Where some hops are left, one
/// more reaches hardly anybody, and the first copy has often come by a path that is one hop longer than the shortest.
fn is_worth_widening(reached: u8, ttl: u8) -> bool {
    ttl > reached && (reached < WIDEN_BY_ONE_BELOW || ttl - reached > 1)
}

impl SearchMachine {
    /// How long a neighbour is awaited that is sent a copy with this TTL.
    fn part_wait(&self, network: &NetworkMachine, neighbour: SocketAddr, ttl: u8) -> Duration {
        let full = wait_for_ttl(ttl);
        if !network.peers().is_proven(neighbour) {
            return UNPROVEN_PART_WAIT;
        }
        let habit = self.open_searches.habits.get(&neighbour).cloned().unwrap_or_default();
        let speaks_p1 = network.peers().speech(neighbour) == Speech::P1;
        let wait = match (habit.quickest, habit.longest) {
            (Some(quickest), _) if speaks_p1 && ttl == 0 => (quickest * 4).clamp(LEAF_WAIT_MIN, full),
            (_, Some(longest)) if speaks_p1 => (longest * 4).max(PART_WAIT_FLOOR).min(full),
            _ => full.min(RING_WAIT),
        };
        (wait / 2_u32.saturating_pow(habit.misses)).max(PART_WAIT_MIN)
    }

    /// Opens a ring of ours.
    pub(super) fn open_ring(
        &mut self,
        cx: &Cx,
        network: &NetworkMachine,
        search: SearchId,
        query: QueryId,
        wait: Duration,
    ) -> OpenId {
        let role = Role::Ring { search, began: cx.now, stage: RingStage::Asking };
        let id = self.open_searches.insert(query, role, cx.now + wait);
        let lists_until = self.lists_awaited_until(cx, network);
        self.open_searches.rows.entry(id).and_modify(|open| open.lists_until = lists_until);
        id
    }

    /// The ring of ours that is open under this ID.
    pub(super) fn open_ring_of(&self, query: &QueryId) -> Option<OpenId> {
        self.open_searches.by_query.get(query).copied()
    }

    /// Whether a ring has found the very file that was searched for.
    pub(super) fn is_ring_satisfied(&self, id: OpenId) -> bool {
        self.open_searches.rows.get(&id).is_some_and(|open| open.is_found)
    }

    /// Whether a neighbour is awaited.
    pub(super) fn is_anybody_asked(&self, id: OpenId) -> bool {
        self.open_searches.rows.get(&id).is_some_and(|open| !open.parts.is_empty())
    }

    /// Further peers were sent a ring.
    pub(super) fn review_ring(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| {
            if let Role::Ring { stage, .. } = &mut open.role
                && !open.parts.is_empty()
            {
                *stage = RingStage::Asking;
            }
        });
    }

    /// A peer list came, or did not: where none is awaited any more, no search waits for one.
    pub(in crate::node) fn on_errand_ended(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        self.go_on_after_registration(cx, network);
        if self.lists_awaited_until(cx, network).is_some() {
            return;
        }
        self.go_on_without_lists(cx, network);
        let waiting = self.open_searches.rows.iter().filter(|(_, open)| open.lists_until.is_some());
        let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.change_open(cx, network, id, |open| open.lists_until = None));
    }

    /// Somebody else's search came for the first time, or further than before. Says which one is open for it, if any.
    pub(super) fn open_relayed(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        exchange: ExchangeId,
        sender: Sender,
        search: &Search,
        ttl: u8,
    ) -> Option<OpenId> {
        if !search.id.asks_for_end() {
            return None;
        }
        let is_cut = ttl == 0 && network.neighbours(cx).iter().any(|neighbour| *neighbour != search.requester);
        if let Some(id) = self.open_searches.by_query.get(&search.id).copied() {
            return self.join_relayed(cx, id, exchange, &search.id, ttl, is_cut);
        }
        match self.open_searches.queue.room_for(sender, OPEN_SEARCHES_MAX, OPEN_SEARCHES_PER_NETWORK_MAX) {
            Room::Free => {}
            Room::InPlaceOf(other) => {
                cx.counters.limited.searches_ended_early += 1;
                self.conclude(cx, network, OpenId(other), true);
            }
            Room::None => {
                self.turn_away(cx, exchange, &search.id);
                return None;
            }
        }
        let is_leaf = is_cut && sender.origin() == Origin::PassedOn;
        let wait = if is_leaf { DONE_STEP } else { wait_for_ttl(ttl) - DONE_MARGIN };
        let search = Search { ttl, ..search.clone() };
        let (askers, query) = (vec![exchange], search.id.clone());
        let (widen_at, known) = (None, BTreeMap::new());
        let role = Role::Relayed { askers, sender, search, reached: ttl, widen_at, known, answers: 0, is_leaf };
        let id = self.open_searches.insert(query, role, cx.now + wait);
        self.open_searches.rows.entry(id).and_modify(|open| open.cut = is_cut);
        Some(id)
    }

    /// A search with another text comes under an ID that is open. Neighbours do not tell the two apart when they say that they are
    /// done: both are awaited, as long as either may take.
    fn join_relayed(
        &mut self,
        cx: &mut Cx,
        id: OpenId,
        exchange: ExchangeId,
        query: &QueryId,
        ttl: u8,
        is_cut: bool,
    ) -> Option<OpenId> {
        let open = self.open_searches.rows.get_mut(&id)?;
        let Role::Relayed { askers, is_leaf, .. } = &mut open.role else { return None };
        *is_leaf = false;
        open.cut |= is_cut;
        open.deadline = open.deadline.max(cx.now + (wait_for_ttl(ttl) - DONE_MARGIN));
        open.is_asking = true;
        if askers.len() < OPEN_ASKERS_MAX {
            askers.push(exchange);
        } else {
            self.turn_away(cx, exchange, query);
        }
        Some(id)
    }

    /// Too many wait for the end of a search: one of them is told that there may be peers which it has not reached.
    fn turn_away(&mut self, cx: &mut Cx, exchange: ExchangeId, query: &QueryId) {
        cx.counters.limited.searches_ended_early += 1;
        self.say_done(cx, exchange, query, true, None);
    }

    /// A copy came with a higher TTL than before. Its sender waits in the place of those that waited, who are told that the search
    /// is done here: so a node waits only for nodes that got a lower TTL, and no two for each other. It is sent on a moment later, when still
    /// wider copies may have come, and to those that did not say meanwhile that it came to them with as high a TTL. Says whether
    /// it is open, and so is taken care of.
    pub(super) fn on_wider(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        exchange: ExchangeId,
        wider: &Search,
        ttl: u8,
    ) -> bool {
        let Some(id) = self.open_searches.by_query.get(&wider.id).copied() else { return false };
        let Some(Open { role, cut, deadline, .. }) = self.open_searches.rows.get_mut(&id) else { return false };
        let Role::Relayed { askers, search, reached, widen_at, is_leaf, .. } = role else { return false };
        if search.text != wider.text || search.requester != wider.requester {
            return false;
        }
        search.ttl = ttl;
        let at = if *reached == 0 { cx.now } else { cx.now + WIDEN_DELAY };
        // What the TTL has cut off is reached now.
        *cut &= *reached != 0;
        *is_leaf = false;
        if is_worth_widening(*reached, ttl) {
            *widen_at = Some(widen_at.map_or(at, |earlier| earlier.min(at)));
        }
        *deadline = (*deadline).max(cx.now + (wait_for_ttl(ttl) - DONE_MARGIN));
        let done = std::mem::replace(askers, vec![exchange]);
        done.into_iter().for_each(|asker| self.say_done(cx, asker, &wider.id, false, Some(ttl)));
        self.change_open(cx, network, id, |_| {});
        true
    }

    /// A copy came again, and `highest` is the highest TTL of the copies so far.
    pub(super) fn on_repeated(&mut self, cx: &mut Cx, exchange: ExchangeId, query: &QueryId, ttl: u8, highest: u8) {
        let id = self.open_searches.by_query.get(query);
        if let Some(Open { role, .. }) = id.and_then(|id| self.open_searches.rows.get_mut(id))
            && let Role::Relayed { askers, search, .. } = role
            && ttl >= search.ttl
        {
            if askers.len() < OPEN_ASKERS_MAX {
                return askers.push(exchange);
            }
            return self.turn_away(cx, exchange, query);
        }
        self.say_done(cx, exchange, query, false, Some(highest));
    }

    /// Says that we are done with a search, and the highest TTL with which it came.
    pub(super) fn say_done(&mut self, cx: &mut Cx, exchange: ExchangeId, query: &QueryId, cut: bool, ttl: Option<u8>) {
        if query.asks_for_end() {
            let done = SearchDone { id: query.clone(), cut, ttl };
            cx.out.act(Action::SayDone { exchange, done });
        }
    }

    /// Whether a search has come to a neighbour with this TTL or a higher one, as it said.
    pub(super) fn has_reached(&self, id: OpenId, neighbour: SocketAddr, ttl: u8) -> bool {
        let Some(Open { role: Role::Relayed { known, .. }, .. }) = self.open_searches.rows.get(&id) else {
            return false;
        };
        known.get(&neighbour).is_some_and(|highest| *highest >= ttl)
    }

    /// A neighbour is to be sent a copy.
    pub(super) fn await_part(&mut self, cx: &Cx, network: &NetworkMachine, id: OpenId, neighbour: SocketAddr, ttl: u8) {
        let until = cx.now + self.part_wait(network, neighbour, ttl);
        // Nobody says what lies behind a base peer.
        let is_silent = network.peers().speech(neighbour) != Speech::P1;
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.cut |= is_silent;
        let new = || Part { copies: 0, sent: 0, ttl, asked_at: cx.now, until };
        let part = open.parts.entry(neighbour).or_insert_with(new);
        part.copies += 1;
        part.ttl = part.ttl.max(ttl);
        part.until = part.until.max(until);
    }

    /// A neighbour is not sent a copy, or not asked at all: what lies behind it is not reached.
    pub(super) fn drop_part(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, neighbour: SocketAddr) {
        self.change_open(cx, network, id, |open| {
            open.cut = true;
            open.end_copies(neighbour, 1);
        });
    }

    /// A copy reached a neighbour, or did not.
    pub(in crate::node) fn on_part_dialled(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: Option<OpenId>,
        neighbour: SocketAddr,
        outcome: &DialOutcome,
    ) {
        let Some(id) = id else { return };
        let (now, says_done) = (cx.now, network.peers().speech(neighbour) == Speech::P1);
        self.change_open(cx, network, id, |open| {
            if outcome.is_err() {
                return open.end_copies(neighbour, 1);
            }
            open.was_taken = true;
            let Some(part) = open.parts.get_mut(&neighbour) else { return };
            part.sent = part.copies.min(part.sent + 1);
            let took = now.saturating_since(part.asked_at);
            if !says_done {
                // It has closed the connection. Its neighbours take about as long each.
                let wait = (took * (u32::from(part.ttl) + 2)).clamp(BASE_WAIT_MIN, RING_WAIT);
                part.until = now + wait;
            } else if matches!(open.role, Role::Ring { .. }) {
                // Connecting took its time. Those that wait for us do not know of that.
                part.until = part.until + took;
            }
        });
    }

    /// A neighbour says that it is done with a search. It counts for nobody else, and only for copies that it was sent.
    pub(in crate::node) fn on_search_done(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        peer: SocketAddr,
        done: &SearchDone,
    ) {
        let id = self.open_searches.by_query.get(&done.id).copied();
        let part = id.and_then(|id| self.open_searches.rows.get(&id)?.parts.get(&peer));
        let part = part.filter(|part| part.sent > 0).map(|part| (part.asked_at, part.ttl));
        self.open_searches.note_done(cx.now, peer, &done.id, part.map(|(asked_at, _)| asked_at));
        self.bound_habits(cx, network);
        if let (Some(id), Some((_, sent_ttl))) = (id, part) {
            if let Some(Open { role: Role::Ring { search, .. }, .. }) = self.open_searches.rows.get(&id) {
                self.note_ring_answered(*search);
            }
            self.change_open(cx, network, id, |open| {
                // No copy of our own ring has a higher TTL than those that we sent. Whoever forges one has the neighbour say that
                // it is done before it is.
                let is_overtaken = matches!(open.role, Role::Ring { .. }) && done.ttl.is_some_and(|ttl| ttl > sent_ttl);
                open.cut |= done.cut || is_overtaken;
                open.end_copies(peer, 1);
                if let (Role::Relayed { known, .. }, Some(ttl)) = (&mut open.role, done.ttl) {
                    known.insert(peer, ttl);
                }
            });
        }
    }

    /// A stream is over: who was asked on it says nothing more.
    pub(in crate::node) fn on_stream_ended(&mut self, cx: &mut Cx, network: &mut NetworkMachine, peer: SocketAddr) {
        let waits = |open: &Open| open.parts.get(&peer).is_some_and(|part| part.sent > 0);
        let ids: Vec<_> = self.open_searches.rows.iter().filter(|(_, open)| waits(open)).map(|(id, _)| *id).collect();
        for id in ids {
            self.change_open(cx, network, id, |open| {
                open.cut = true;
                let sent = open.parts.get(&peer).map_or(0, |part| part.sent);
                open.end_copies(peer, sent);
            });
        }
    }

    /// Our library is searched for an answer.
    pub(super) fn on_answer_begun(&mut self, id: OpenId) {
        if let Some(Open { role: Role::Relayed { answers, .. }, .. }) = self.open_searches.rows.get_mut(&id) {
            *answers += 1;
        }
    }

    /// Our hits for a search are sent, or there are none.
    pub(in crate::node) fn on_answer_ended(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: Option<OpenId>) {
        let Some(id) = id else { return };
        self.change_open(cx, network, id, |open| {
            if let Role::Relayed { answers, .. } = &mut open.role {
                *answers = answers.saturating_sub(1);
            }
        });
    }

    /// A hit came for a ring of ours: others may follow it.
    pub(super) fn on_ring_hit(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, found: Found) {
        let now = cx.now;
        self.change_open(cx, network, id, |open| {
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

    /// All neighbours that are to be asked have been.
    pub(super) fn all_are_asked(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| open.is_asking = false);
    }

    /// Changes an open search, and sees what follows from that.
    fn change_open(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        change(open);
        if open.is_asking {
            return;
        }
        self.give_up_the_late(cx, network, id);
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.enter_grace(cx.now);
        let (due, timer) = (open.due(cx.now), open.timer.take());
        cx.cancel_timer(timer);
        match due {
            Some(at) => {
                let timer = cx.wheel.insert(at, NodeTimer::SearchPart(id));
                self.open_searches.rows.entry(id).and_modify(|open| open.timer = Some(timer));
            }
            None if self.reach_further(cx, network, id) => {}
            None => self.conclude(cx, network, id, false),
        }
    }

    /// Awaits those no more that did not say in time that they are done.
    fn give_up_the_late(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.lists_until = open.lists_until.filter(|at| *at > cx.now && *at < open.deadline);
        let is_ring = matches!(open.role, Role::Ring { .. });
        let ends_all = cx.now >= open.deadline;
        let parts = std::mem::take(&mut open.parts).into_iter();
        let (late, awaited): (BTreeMap<_, _>, _) = parts.partition(|(_, part)| part.until <= cx.now || ends_all);
        open.parts = awaited;
        open.cut |= !late.is_empty();
        let query = open.query.clone();
        for (neighbour, part) in late {
            let is_missed = match network.peers().speech(neighbour) {
                // Where the TTL is used up, silence is the rule.
                Speech::P1 => part.until <= cx.now && (is_ring || part.ttl > 0),
                Speech::Base | Speech::Unheard => part.sent == 0,
            };
            if is_missed {
                self.open_searches.note_missed(neighbour, &query, part.asked_at);
                self.bound_habits(cx, network);
            }
        }
    }

    /// Sends a search on that has come with a higher TTL since. Says whether it does.
    fn reach_further(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) -> bool {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return false };
        let Role::Relayed { sender, search, reached, widen_at, .. } = &mut open.role else { return false };
        if widen_at.take().is_none() || *reached >= search.ttl || open.deadline <= cx.now {
            return false;
        }
        *reached = search.ttl;
        open.is_asking = true;
        let (sender, onward) = (*sender, Search { ttl: search.ttl - 1, ..search.clone() });
        let plain = Query::plain_form(&onward.text);
        self.forward_search(cx, network, sender, onward, plain, Some(id));
        self.all_are_asked(cx, network, id);
        true
    }

    /// The time of somebody who is awaited is up.
    pub(in crate::node) fn on_part_timer(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| open.timer = None);
    }

    /// Ends a search, and tells those that wait for it. `is_early`: because there is no room for it.
    fn conclude(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, is_early: bool) {
        let Some(Open { query, role, cut, is_found, timer, .. }) = self.open_searches.remove(id) else { return };
        cx.cancel_timer(timer);
        match role {
            Role::Ring { search, .. } => self.on_ring_over(cx, network, search, cut && !is_found),
            Role::Relayed { is_leaf: true, .. } => {}
            Role::Relayed { askers, sender, search, reached, .. } => {
                let ttl = Some(search.ttl);
                askers.into_iter().for_each(|asker| self.say_done(cx, asker, &query, cut || is_early, ttl));
                if is_worth_widening(reached, search.ttl) {
                    let plain = Query::plain_form(&search.text);
                    self.forward_search(cx, network, sender, Search { ttl: search.ttl - 1, ..search }, plain, None);
                }
            }
        }
    }

    /// A ring of ours is of no interest any more.
    pub(super) fn close_ring(&mut self, cx: &mut Cx, id: Option<OpenId>) {
        if let Some(open) = id.and_then(|id| self.open_searches.remove(id)) {
            cx.cancel_timer(open.timer);
        }
    }

    /// Forgets what those took that are no neighbours any more, if that are many.
    fn bound_habits(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        if self.open_searches.habits.len() > HABITS_KEPT_MAX {
            let neighbours = network.neighbours(cx);
            self.open_searches.habits.retain(|peer, _| neighbours.contains(peer));
        }
    }
}

//! When a search is over: who was asked, and who has said that it is done (PROTOCOL, part 2, The end of a search).
//!
//! The form of Dijkstra and Scholten: a node that gets a search for the first time sends it on, and says that it is done when
//! all to whom it did so have said it, and its own hits are sent. A copy that comes again is done at once, unless its TTL is
//! as high as that of the first: such a copy comes from nobody for whom we wait, and its sender waits as the first does. So
//! no two nodes wait for each other, and nobody is done early because a liar's copy came first.
//!
//! Owns the rules of that; the table is in [`open`](crate::node::search::open). What a neighbour says, or leaves unsaid,
//! counts for its own part alone. Each part has its time, which is shorter the less TTL is left: a node always gives up before
//! those that wait for it. Whoever waits says so ([`report_waiting`](SearchMachine::report_waiting)): one of whom nothing is heard
//! hangs, and has far less time.

use super::SearchMachine;
use super::open::{Found, Habit, Open, Part, RingStage, Role, wait_for_ttl};
use super::relayed::is_worth_widening;
use crate::id::{QueryId, SearchId};
use crate::library::Query;
use crate::node::contract::DialOutcome;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::ids::OpenId;
use crate::node::limits::{
    BASE_WAIT_MIN, HABITS_KEPT_MAX, LEAF_WAIT_MIN, PART_WAIT_FLOOR, PART_WAIT_MIN, RING_GRACE_IN_ALL_MAX,
    RING_GRACE_MIN, RING_WAIT, UNPROVEN_PART_WAIT, WORD_WAIT_FIRST, WORD_WAIT_MIN,
};
use crate::node::network::NetworkMachine;
use crate::node::speech::Speech;
use crate::wire::{Search, SearchDone, SearchReport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

impl SearchMachine {
    /// How long a neighbour is awaited that says nothing; `None`: as long as one that says that it waits. `took`: how long it took to
    /// take the copy, once it has, which tells how far away one is that has said nothing of any search yet.
    fn word_wait(&self, neighbour: SocketAddr, took: Option<Duration>) -> Option<Duration> {
        let habit = self.open_searches.habits.get(&neighbour);
        let misses = habit.map_or(0, |habit| habit.misses);
        let (wait, halvings) = match habit.and_then(|habit| Some((habit.word?, habit.reports))) {
            None => (WORD_WAIT_FIRST + took? * 3, misses),
            // One search may have met it in a bad moment.
            Some((word, true)) => ((word * 4).max(WORD_WAIT_MIN), misses.saturating_sub(1)),
            Some((_, false)) => return None,
        };
        Some((wait / 2_u32.saturating_pow(halvings)).max(PART_WAIT_MIN))
    }

    /// How long a neighbour is awaited, until it is done, that is sent a copy with this TTL.
    fn part_wait(&self, network: &NetworkMachine, neighbour: SocketAddr, ttl: u8) -> Duration {
        let full = wait_for_ttl(ttl);
        if !network.peers().is_proven(neighbour) {
            return UNPROVEN_PART_WAIT;
        }
        let none = Habit::default();
        let habit = self.open_searches.habits.get(&neighbour).unwrap_or(&none);
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

    /// A neighbour is to be sent a copy.
    pub(super) fn await_part(&mut self, cx: &Cx, network: &NetworkMachine, id: OpenId, neighbour: SocketAddr, ttl: u8) {
        let until = cx.now + self.part_wait(network, neighbour, ttl);
        // Nobody says what lies behind a base peer.
        let is_silent = network.peers().speech(neighbour) != Speech::P1;
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.cut |= is_silent;
        let new = || Part { copies: 0, sent: 0, heard: false, ttl, asked_at: cx.now, until, done_by: until };
        let part = open.parts.entry(neighbour).or_insert_with(new);
        part.copies += 1;
        part.ttl = part.ttl.max(ttl);
        part.done_by = part.done_by.max(until);
        part.until = part.done_by;
    }

    /// A neighbour is being sent a ring of ours.
    pub(super) fn await_ring(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: OpenId,
        neighbour: SocketAddr,
        ttl: u8,
    ) {
        self.await_part(cx, network, id, neighbour, ttl);
        self.on_part_ordered(cx, network, id, neighbour);
    }

    /// A neighbour is being sent a copy. One whose time for its first word is known has no more than that to be reached: its machine may
    /// be off, and nobody says so.
    pub(super) fn on_part_ordered(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: OpenId,
        neighbour: SocketAddr,
    ) {
        let Some(wait) = self.word_wait(neighbour, None) else { return };
        let now = cx.now;
        self.change_open(cx, network, id, |open| {
            if let Some(part) = open.parts.get_mut(&neighbour).filter(|part| part.sent == 0 && !part.heard) {
                part.until = part.done_by.min(now + wait);
            }
        });
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
        let (now, speaks_p1) = (cx.now, network.peers().speech(neighbour) == Speech::P1);
        let part = self.open_searches.rows.get(&id).and_then(|open| open.parts.get(&neighbour));
        let took = part.map_or(Duration::ZERO, |part| now.saturating_since(part.asked_at));
        let word_wait = self.word_wait(neighbour, Some(took));
        self.change_open(cx, network, id, |open| {
            if outcome.is_err() {
                return open.end_copies(neighbour, 1);
            }
            open.was_taken = true;
            let Some(part) = open.parts.get_mut(&neighbour) else { return };
            part.sent = part.copies.min(part.sent + 1);
            if !speaks_p1 {
                // It has closed the connection. Its neighbours take about as long each.
                let wait = (took * (u32::from(part.ttl) + 2)).clamp(BASE_WAIT_MIN, RING_WAIT);
                part.until = now + wait;
                return;
            }
            if matches!(open.role, Role::Ring { .. }) {
                // Connecting took its time. Those that wait for us do not know of that.
                part.done_by = part.done_by + took;
            }
            part.until = word_wait.filter(|_| !part.heard).map_or(part.done_by, |wait| part.done_by.min(now + wait));
        });
    }

    /// A neighbour says how a search stands. It counts for nobody else, and only for copies that it was sent.
    pub(in crate::node) fn on_report(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        peer: SocketAddr,
        report: &SearchReport,
    ) {
        let (SearchReport::Waits(query) | SearchReport::Done(SearchDone { id: query, .. })) = report;
        let id = self.open_searches.by_query.get(query).copied();
        let part = id.and_then(|id| self.open_searches.rows.get(&id)?.parts.get(&peer));
        let part = part.filter(|part| part.sent > 0).map(|part| (part.asked_at, part.ttl, part.heard));
        let asked_at = part.map(|(asked_at, ..)| asked_at);
        let is_first = part.is_none_or(|(.., heard)| !heard);
        let is_word = is_first && self.open_searches.note_word(cx.now, peer, query, asked_at);
        match report {
            SearchReport::Waits(_) => self.open_searches.note_reports(peer, true),
            SearchReport::Done(done) => {
                self.open_searches.note_reports(peer, done.reports);
                self.open_searches.note_done(cx.now, peer, query, asked_at);
            }
        }
        if part.is_none() && is_word {
            self.await_the_late(cx, network, peer);
        }
        self.bound_habits(cx, network);
        let (Some(id), Some((_, ttl, heard))) = (id, part) else { return };
        if let Some(Open { role: Role::Ring { search, .. }, .. }) = self.open_searches.rows.get(&id)
            && !heard
        {
            self.note_ring_answered(*search);
        }
        self.change_open(cx, network, id, |open| match report {
            SearchReport::Waits(_) => open.note_waits(peer),
            SearchReport::Done(done) => open.note_done(peer, done, ttl),
        });
    }

    /// A neighbour says something of a search for which it was given up, so it does not hang: for those that came after, it has as much
    /// time as if it had said that it waits.
    fn await_the_late(&mut self, cx: &mut Cx, network: &mut NetworkMachine, peer: SocketAddr) {
        let waits = |open: &Open| open.parts.get(&peer).is_some_and(|part| part.sent > 0 && !part.heard);
        let ids: Vec<_> = self.open_searches.rows.iter().filter(|(_, open)| waits(open)).map(|(id, _)| *id).collect();
        for id in ids {
            self.change_open(cx, network, id, |open| open.give_time(peer));
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
    pub(super) fn change_open(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: OpenId,
        change: impl FnOnce(&mut Open),
    ) {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        change(open);
        if open.is_asking {
            return;
        }
        self.give_up_the_late(cx, network, id);
        self.enter_grace(cx, id);
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        let (due, timer) = (open.due(cx.now), open.timer.take());
        cx.cancel_timer(timer);
        match due {
            Some(at) => {
                let at = self.report_waiting(cx, id).map_or(at, |report_at| at.min(report_at));
                let timer = cx.wheel.insert(at, NodeTimer::SearchPart(id));
                self.open_searches.rows.entry(id).and_modify(|open| open.timer = Some(timer));
            }
            None if self.reach_further(cx, network, id) => {}
            None => self.conclude(cx, network, id, false),
        }
    }

    /// A ring whose neighbours have all ended waits a little longer, for hits that they have sent before; not if it has found so
    /// little that the next one follows.
    fn enter_grace(&mut self, cx: &Cx, id: OpenId) {
        let Some(search) = self.open_searches.rows.get(&id).and_then(Open::ended_ring_of) else { return };
        let is_followed = self.is_ring_followed(search);
        if let Some(open) = self.open_searches.rows.get_mut(&id) {
            open.enter_grace(cx.now, is_followed && open.cut && !open.is_found);
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
                self.open_searches.note_missed(neighbour, &query, &part);
                self.bound_habits(cx, network);
            }
        }
    }

    /// The time of somebody who is awaited is up.
    pub(in crate::node) fn on_part_timer(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| open.timer = None);
    }

    /// Ends a search, and tells those that wait for it. `is_early`: because there is no room for it.
    pub(super) fn conclude(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, is_early: bool) {
        let Some(Open { query, role, cut, is_found, timer, .. }) = self.open_searches.remove(id) else { return };
        cx.cancel_timer(timer);
        match role {
            Role::Ring { search, .. } => self.on_ring_over(cx, network, search, cut && !is_found),
            Role::Relayed { is_leaf: true, .. } => {}
            Role::Relayed { askers, sender, search, reached, .. } => {
                let ttl = Some(search.ttl);
                askers.into_all().into_iter().for_each(|asker| self.say_done(cx, asker, &query, cut || is_early, ttl));
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

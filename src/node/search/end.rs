//! The end of a search: who was asked, and who has reported the end (PROTOCOL, part 2, The end of a search).
//!
//! The algorithm of Dijkstra and Scholten: a node that receives a search for the first time forwards it, and reports the end
//! when all to whom it forwarded have reported it and its own hits are sent. The end of a repeated copy is reported at once,
//! unless its TTL is as high as that of the first and its sender is none of those that we wait for: then that sender waits
//! like the first. So no two nodes wait for each other, and a forged first copy causes no early end.
//!
//! Owns these rules; the table is in [`open`](crate::node::search::open). A report, or its absence, counts only for the
//! neighbour's own part. Each part has a deadline, earlier with less TTL left: a node gives up before those that wait for
//! it. A node that waits reports this ([`report_waiting`](SearchMachine::report_waiting)): one that reports nothing hangs,
//! and gets far less time.

use super::SearchMachine;
use super::open::{Found, Habit, Open, Part, RingStage, Role, wait_for_ttl};
use super::relayed::is_worth_widening;
use crate::id::{QueryId, SearchId};
use crate::library::Query;
use crate::node::contract::DialOutcome;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::ids::OpenId;
use crate::node::limits::{
    BASE_WAIT_MIN, FIRST_REPORT_WAIT_MIN, FIRST_REPORT_WAIT_UNKNOWN, HABITS_KEPT_MAX, LEAF_WAIT_MIN, PART_WAIT_FLOOR,
    PART_WAIT_MIN, RING_GRACE_IN_ALL_MAX, RING_GRACE_MIN, RING_WAIT, UNPROVEN_PART_WAIT,
};
use crate::node::network::NetworkMachine;
use crate::node::speech::Speech;
use crate::wire::{Search, SearchDone, SearchReport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

impl SearchMachine {
    /// How long we wait for the first report of a neighbour; `None`: as long as for one that waits for others. `took`: how long
    /// delivering the copy took, which estimates the distance of a neighbour that has never reported.
    fn first_report_wait(&self, neighbour: SocketAddr, took: Option<Duration>) -> Option<Duration> {
        let habit = self.open_searches.habits.get(&neighbour);
        let misses = habit.map_or(0, |habit| habit.misses);
        let (wait, halvings) = match habit.and_then(|habit| Some((habit.first_report?, habit.reports))) {
            None => (FIRST_REPORT_WAIT_UNKNOWN + took? * 3, misses),
            // A single miss does not count.
            Some((first, true)) => ((first * 4).max(FIRST_REPORT_WAIT_MIN), misses.saturating_sub(1)),
            Some((_, false)) => return None,
        };
        Some((wait / 2_u32.saturating_pow(halvings)).max(PART_WAIT_MIN))
    }

    /// How long we wait for the end at a neighbour that is sent a copy with this TTL.
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

    pub(super) fn open_ring_of(&self, query: &QueryId) -> Option<OpenId> {
        self.open_searches.by_query.get(query).copied()
    }

    /// Whether a ring has found exactly the file that was searched for.
    pub(super) fn is_ring_satisfied(&self, id: OpenId) -> bool {
        self.open_searches.rows.get(&id).is_some_and(|open| open.is_found)
    }

    pub(super) fn is_anybody_asked(&self, id: OpenId) -> bool {
        self.open_searches.rows.get(&id).is_some_and(|open| !open.parts.is_empty())
    }

    /// A ring was sent to further peers.
    pub(super) fn review_ring(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| {
            if let Role::Ring { stage, .. } = &mut open.role
                && !open.parts.is_empty()
            {
                *stage = RingStage::Asking;
            }
        });
    }

    /// A request to a bootstrap node has ended: if no peer list is expected any more, no search waits for one.
    pub(in crate::node) fn on_link_task_ended(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        self.continue_after_registration(cx, network);
        if self.lists_awaited_until(cx, network).is_some() {
            return;
        }
        self.continue_without_lists(cx, network);
        let waiting = self.open_searches.rows.iter().filter(|(_, open)| open.lists_until.is_some());
        let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.change_open(cx, network, id, |open| open.lists_until = None));
    }

    /// A copy is to be sent to a neighbour.
    pub(super) fn await_part(&mut self, cx: &Cx, network: &NetworkMachine, id: OpenId, neighbour: SocketAddr, ttl: u8) {
        let until = cx.now + self.part_wait(network, neighbour, ttl);
        // A base peer reports nothing of the peers behind it.
        let is_silent = network.peers().speech(neighbour) != Speech::P1;
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.cut |= is_silent;
        let new = || Part { copies: 0, sent: 0, has_reported: false, ttl, asked_at: cx.now, until, done_by: until };
        let part = open.parts.entry(neighbour).or_insert_with(new);
        part.copies += 1;
        part.ttl = part.ttl.max(ttl);
        part.done_by = part.done_by.max(until);
        part.until = part.done_by;
    }

    /// Our ring is being sent to a neighbour.
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

    /// A copy is being sent to a neighbour. If the time of its first report is known, this also limits connecting: its machine may
    /// be off.
    pub(super) fn on_part_ordered(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: OpenId,
        neighbour: SocketAddr,
    ) {
        let Some(wait) = self.first_report_wait(neighbour, None) else { return };
        let now = cx.now;
        self.change_open(cx, network, id, |open| {
            if let Some(part) = open.parts.get_mut(&neighbour).filter(|part| part.sent == 0 && !part.has_reported) {
                part.until = part.done_by.min(now + wait);
            }
        });
    }

    /// A copy is not sent to a neighbour: peers behind it are not reached.
    pub(super) fn drop_part(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, neighbour: SocketAddr) {
        self.change_open(cx, network, id, |open| {
            open.cut = true;
            open.end_copies(neighbour, 1);
        });
    }

    /// Sending a copy to a neighbour has ended.
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
        let first_report_wait = self.first_report_wait(neighbour, Some(took));
        self.change_open(cx, network, id, |open| {
            if outcome.is_err() {
                return open.end_copies(neighbour, 1);
            }
            open.was_taken = true;
            let Some(part) = open.parts.get_mut(&neighbour) else { return };
            part.sent = part.copies.min(part.sent + 1);
            if !speaks_p1 {
                // It has closed the connection. Each further hop takes about as long.
                let wait = (took * (u32::from(part.ttl) + 2)).clamp(BASE_WAIT_MIN, RING_WAIT);
                part.until = now + wait;
                return;
            }
            if matches!(open.role, Role::Ring { .. }) {
                // For relayed searches the time for connecting is not added, since the waiting senders do not know it.
                part.done_by = part.done_by + took;
            }
            part.until = first_report_wait
                .filter(|_| !part.has_reported)
                .map_or(part.done_by, |wait| part.done_by.min(now + wait));
        });
    }

    /// A neighbour reports on a search. This counts only for copies that were sent to it.
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
        let part = part.filter(|part| part.sent > 0).map(|part| (part.asked_at, part.ttl, part.has_reported));
        let asked_at = part.map(|(asked_at, ..)| asked_at);
        let is_first = part.is_none_or(|(.., has_reported)| !has_reported);
        let is_first_report = is_first && self.open_searches.note_first_report(cx.now, peer, query, asked_at);
        match report {
            SearchReport::Waits(_) => self.open_searches.note_reports(peer, true),
            SearchReport::Done(done) => {
                self.open_searches.note_reports(peer, done.reports);
                self.open_searches.note_done(cx.now, peer, query, asked_at);
            }
        }
        if part.is_none() && is_first_report {
            self.extend_late(cx, network, peer);
        }
        self.bound_habits(cx, network);
        let (Some(id), Some((_, ttl, has_reported))) = (id, part) else { return };
        if let Some(Open { role: Role::Ring { search, .. }, .. }) = self.open_searches.rows.get(&id)
            && !has_reported
        {
            self.note_ring_answered(*search);
        }
        self.change_open(cx, network, id, |open| match report {
            SearchReport::Waits(_) => open.note_waits(peer),
            SearchReport::Done(done) => open.note_done(peer, done, ttl),
        });
    }

    /// A neighbour reports on a search for which it was given up, so it does not hang: for later searches it gets as much time as
    /// if it had reported that it waits.
    fn extend_late(&mut self, cx: &mut Cx, network: &mut NetworkMachine, peer: SocketAddr) {
        for id in self.open_searches.sent_to(peer, |part| !part.has_reported) {
            self.change_open(cx, network, id, |open| open.give_time(peer));
        }
    }

    /// A stream has ended: its peer reports nothing more.
    pub(in crate::node) fn on_stream_ended(&mut self, cx: &mut Cx, network: &mut NetworkMachine, peer: SocketAddr) {
        for id in self.open_searches.sent_to(peer, |_| true) {
            self.change_open(cx, network, id, |open| {
                open.cut = true;
                let sent = open.parts.get(&peer).map_or(0, |part| part.sent);
                open.end_copies(peer, sent);
            });
        }
    }

    /// We search our library for an answer.
    pub(super) fn on_answer_begun(&mut self, id: OpenId) {
        if let Some(Open { role: Role::Relayed { answers, .. }, .. }) = self.open_searches.rows.get_mut(&id) {
            *answers += 1;
        }
    }

    /// Our hits for a search are sent, or dropped, or there are none.
    pub(in crate::node) fn on_answer_ended(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: Option<OpenId>) {
        let Some(id) = id else { return };
        self.change_open(cx, network, id, |open| {
            if let Role::Relayed { answers, .. } = &mut open.role {
                *answers = answers.saturating_sub(1);
            }
        });
    }

    /// A hit came for our ring: others may follow.
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

    pub(super) fn all_are_asked(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| open.is_asking = false);
    }

    /// Changes an open search, then continues or ends it.
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
        self.give_up_late(cx, network, id);
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

    /// A ring that waits for no neighbour any more waits a little longer for hits in flight; not if it has found so little that the
    /// next one follows.
    fn enter_grace(&mut self, cx: &Cx, id: OpenId) {
        let Some(search) = self.open_searches.rows.get(&id).and_then(Open::ended_ring_of) else { return };
        let is_followed = self.is_ring_followed(search);
        if let Some(open) = self.open_searches.rows.get_mut(&id) {
            open.enter_grace(cx.now, is_followed && open.cut && !open.is_found);
        }
    }

    /// Gives up neighbours that did not report the end in time.
    fn give_up_late(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
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
                // Without TTL left, a neighbour reports nothing.
                Speech::P1 => part.until <= cx.now && (is_ring || part.ttl > 0),
                Speech::Base | Speech::Unheard => part.sent == 0,
            };
            if is_missed {
                self.open_searches.note_missed(neighbour, &query, &part);
                self.bound_habits(cx, network);
            }
        }
    }

    pub(in crate::node) fn on_part_timer(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) {
        self.change_open(cx, network, id, |open| open.timer = None);
    }

    /// Ends a search, and reports this to its senders. `is_early`: because there is no room for it.
    pub(super) fn conclude(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId, is_early: bool) {
        let Some(Open { query, role, cut, is_found, timer, .. }) = self.open_searches.remove(id) else { return };
        cx.cancel_timer(timer);
        match role {
            Role::Ring { search, .. } => self.on_ring_over(cx, network, search, cut && !is_found),
            Role::Relayed { is_leaf: true, .. } => {}
            Role::Relayed { askers, sender, search, reached, .. } => {
                let ttl = Some(search.ttl);
                askers
                    .into_all()
                    .into_iter()
                    .for_each(|asker| self.report_done(cx, asker, &query, cut || is_early, ttl));
                if is_worth_widening(reached, search.ttl) {
                    let plain = Query::plain_form(&search.text);
                    self.forward_search(cx, network, sender, Search { ttl: search.ttl - 1, ..search }, plain, None);
                }
            }
        }
    }

    pub(super) fn close_ring(&mut self, cx: &mut Cx, id: Option<OpenId>) {
        if let Some(open) = id.and_then(|id| self.open_searches.remove(id)) {
            cx.cancel_timer(open.timer);
        }
    }

    /// If there are too many records, drops those of past neighbours.
    fn bound_habits(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        if self.open_searches.habits.len() > HABITS_KEPT_MAX {
            let neighbours = network.neighbours(cx);
            self.open_searches.habits.retain(|peer, _| neighbours.contains(peer));
        }
    }
}

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
use super::open::{Askers, Open, Part, Role, wait_for_ttl};
use crate::id::{ExchangeId, QueryId};
use crate::library::Query;
use crate::node::contract::{Action, DialOutcome};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::fair_queue::{Origin, Room, Sender};
use crate::node::ids::OpenId;
use crate::node::limits::{
    BASE_WAIT_MIN, DONE_MARGIN, DONE_STEP, HABITS_KEPT_MAX, OPEN_SEARCHES_MAX, OPEN_SEARCHES_PER_NETWORK_MAX,
    RING_WAIT, UNPROVEN_PART_WAIT, WIDEN_BY_ONE_BELOW, WIDEN_DELAY,
};
use crate::node::network::Net;
use crate::node::speech::Speech;
use crate::time::Instant;
use crate::wire::{Search, SearchDone, SearchReport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Whether a search that was forwarded with one TTL is forwarded again with a higher one. If some hops are left, one more hop
/// reaches few peers, and the first copy often comes by a path that is one hop longer than the shortest.
fn is_worth_widening(reached: u8, ttl: u8) -> bool {
    ttl > reached && (reached < WIDEN_BY_ONE_BELOW || ttl - reached > 1)
}

impl SearchMachine {
    /// A copy is to be sent to a neighbour.
    pub(super) fn await_part(&mut self, net: &Net, id: OpenId, neighbour: SocketAddr, ttl: u8) {
        let peers = net.peers();
        // A base peer reports nothing of the peers behind it.
        let is_silent = peers.speech(neighbour) != Speech::P1;
        let wait = match peers.is_proven(neighbour) {
            true => self.open_searches.part_wait(neighbour, !is_silent, ttl),
            false => UNPROVEN_PART_WAIT,
        };
        let until = net.cx.now + wait;
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.cut |= is_silent;
        let new = || Part { copies: 0, sent: 0, has_reported: false, ttl, asked_at: net.cx.now, until, done_by: until };
        let part = open.parts.entry(neighbour).or_insert_with(new);
        part.copies += 1;
        part.ttl = part.ttl.max(ttl);
        part.done_by = part.done_by.max(until);
        part.until = part.done_by;
    }

    /// A copy is being sent to a neighbour. If the time of its first report is known, this also limits connecting: its machine may
    /// be off.
    pub(super) fn on_part_ordered(&mut self, net: &mut Net, id: OpenId, neighbour: SocketAddr) {
        let Some(wait) = self.open_searches.first_report_wait(neighbour, None) else { return };
        let now = net.cx.now;
        self.change_open(net, id, |open| {
            if let Some(part) = open.parts.get_mut(&neighbour).filter(|part| part.sent == 0 && !part.has_reported) {
                part.until = part.done_by.min(now + wait);
            }
        });
    }

    /// A copy is not sent to a neighbour: peers behind it are not reached.
    pub(super) fn drop_part(&mut self, net: &mut Net, id: OpenId, neighbour: SocketAddr) {
        self.change_open(net, id, |open| {
            open.cut = true;
            open.end_copies(neighbour, 1);
        });
    }

    /// Sending a copy to a neighbour has ended.
    pub(in crate::node) fn on_part_dialled(
        &mut self,
        net: &mut Net,
        id: Option<OpenId>,
        neighbour: SocketAddr,
        outcome: &DialOutcome,
    ) {
        let Some(id) = id else { return };
        let (now, speaks_p1) = (net.cx.now, net.peers().speech(neighbour) == Speech::P1);
        let part = self.open_searches.rows.get(&id).and_then(|open| open.parts.get(&neighbour));
        let took = part.map_or(Duration::ZERO, |part| now.saturating_since(part.asked_at));
        let first_report_wait = self.open_searches.first_report_wait(neighbour, Some(took));
        self.change_open(net, id, |open| {
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
    pub(in crate::node) fn on_report(&mut self, net: &mut Net, peer: SocketAddr, report: &SearchReport) {
        let (SearchReport::Waits(query) | SearchReport::Done(SearchDone { id: query, .. })) = report;
        let id = self.open_searches.by_query.get(query).copied();
        let part = id.and_then(|id| self.open_searches.rows.get(&id)?.parts.get(&peer));
        let part = part.filter(|part| part.sent > 0).map(|part| (part.asked_at, part.ttl, part.has_reported));
        let asked_at = part.map(|(asked_at, ..)| asked_at);
        let is_first = part.is_none_or(|(.., has_reported)| !has_reported);
        let is_first_report = is_first && self.open_searches.note_first_report(net.cx.now, peer, query, asked_at);
        match report {
            SearchReport::Waits(_) => self.open_searches.note_reports(peer, true),
            SearchReport::Done(done) => {
                self.open_searches.note_reports(peer, done.reports);
                self.open_searches.note_done(net.cx.now, peer, query, asked_at);
            }
        }
        if part.is_none() && is_first_report {
            self.extend_late(net, peer);
        }
        self.bound_habits(net);
        let (Some(id), Some((_, ttl, has_reported))) = (id, part) else { return };
        if let Some(Open { role: Role::Ring { search, .. }, .. }) = self.open_searches.rows.get(&id)
            && !has_reported
        {
            self.note_ring_answered(*search);
        }
        self.change_open(net, id, |open| match report {
            SearchReport::Waits(_) => open.note_waits(peer),
            SearchReport::Done(done) => open.note_done(peer, done, ttl),
        });
    }

    /// A neighbour reports on a search for which it was given up, so it does not hang: for later searches it gets as much time as
    /// if it had reported that it waits.
    fn extend_late(&mut self, net: &mut Net, peer: SocketAddr) {
        for id in self.open_searches.sent_to(peer, |part| !part.has_reported) {
            self.change_open(net, id, |open| open.give_time(peer));
        }
    }

    /// A stream has ended: its peer reports nothing more.
    pub(in crate::node) fn on_stream_ended(&mut self, net: &mut Net, peer: SocketAddr) {
        for id in self.open_searches.sent_to(peer, |_| true) {
            self.change_open(net, id, |open| {
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
    pub(in crate::node) fn on_answer_ended(&mut self, net: &mut Net, id: Option<OpenId>) {
        let Some(id) = id else { return };
        self.change_open(net, id, |open| {
            if let Role::Relayed { answers, .. } = &mut open.role {
                *answers = answers.saturating_sub(1);
            }
        });
    }

    pub(super) fn all_are_asked(&mut self, net: &mut Net, id: OpenId) {
        self.change_open(net, id, |open| open.is_asking = false);
    }

    /// Changes an open search, then continues or ends it.
    pub(super) fn change_open(&mut self, net: &mut Net, id: OpenId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        change(open);
        if open.is_asking {
            return;
        }
        self.give_up_late(net, id);
        self.enter_grace(net.cx, id);
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        let (due, timer) = (open.due(net.cx.now), open.timer.take());
        net.cx.cancel_timer(timer);
        match due {
            Some(at) => {
                let at = self.report_waiting(net.cx, id).map_or(at, |report_at| at.min(report_at));
                let timer = net.cx.wheel.insert(at, NodeTimer::SearchPart(id));
                self.open_searches.rows.entry(id).and_modify(|open| open.timer = Some(timer));
            }
            None if self.reach_further(net, id) => {}
            None => self.conclude(net, id, false),
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
    fn give_up_late(&mut self, net: &mut Net, id: OpenId) {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return };
        open.lists_until = open.lists_until.filter(|at| *at > net.cx.now && *at < open.deadline);
        let is_ring = matches!(open.role, Role::Ring { .. });
        let ends_all = net.cx.now >= open.deadline;
        let parts = std::mem::take(&mut open.parts).into_iter();
        let (late, awaited): (BTreeMap<_, _>, _) = parts.partition(|(_, part)| part.until <= net.cx.now || ends_all);
        open.parts = awaited;
        open.cut |= !late.is_empty();
        let query = open.query.clone();
        for (neighbour, part) in late {
            let is_missed = match net.peers().speech(neighbour) {
                // Without TTL left, a neighbour reports nothing.
                Speech::P1 => part.until <= net.cx.now && (is_ring || part.ttl > 0),
                Speech::Base | Speech::Unheard => part.sent == 0,
            };
            if is_missed {
                self.open_searches.note_missed(neighbour, &query, &part);
                self.bound_habits(net);
            }
        }
    }

    pub(in crate::node) fn on_part_timer(&mut self, net: &mut Net, id: OpenId) {
        self.change_open(net, id, |open| open.timer = None);
    }

    /// Ends a search, and reports this to its senders. `is_early`: because there is no room for it.
    pub(super) fn conclude(&mut self, net: &mut Net, id: OpenId, is_early: bool) {
        let Some(Open { query, role, cut, is_found, timer, .. }) = self.open_searches.remove(id) else { return };
        net.cx.cancel_timer(timer);
        match role {
            Role::Ring { search, .. } => self.on_ring_over(net, search, cut && !is_found),
            Role::Relayed { is_leaf: true, .. } => {}
            Role::Relayed { askers, sender, search, reached, .. } => {
                let ttl = Some(search.ttl);
                askers
                    .into_all()
                    .into_iter()
                    .for_each(|asker| self.report_done(net.cx, asker, &query, cut || is_early, ttl));
                if is_worth_widening(reached, search.ttl) {
                    let plain = Query::plain_form(&search.text);
                    self.forward_search(net, sender, Search { ttl: search.ttl - 1, ..search }, plain, None);
                }
            }
        }
    }

    /// If there are too many records, drops those of past neighbours.
    fn bound_habits(&mut self, net: &mut Net) {
        if self.open_searches.habits.len() > HABITS_KEPT_MAX {
            let neighbours = net.neighbours();
            self.open_searches.habits.retain(|peer, _| neighbours.contains(peer));
        }
    }

    /// A search of others came for the first time, or with a higher TTL. Returns its open search, if it has one.
    pub(super) fn open_relayed(
        &mut self,
        net: &mut Net,
        exchange: ExchangeId,
        sender: Sender,
        search: &Search,
        ttl: u8,
    ) -> Option<OpenId> {
        if !search.id.asks_for_end() {
            return None;
        }
        let is_cut = ttl == 0 && net.neighbours().iter().any(|neighbour| *neighbour != search.requester);
        if let Some(id) = self.open_searches.by_query.get(&search.id).copied() {
            return self.join_relayed(net.cx, id, exchange, &search.id, ttl, is_cut);
        }
        match self.open_searches.queue.room_for(sender, OPEN_SEARCHES_MAX, OPEN_SEARCHES_PER_NETWORK_MAX) {
            Room::Free => {}
            Room::InPlaceOf(other) => {
                net.cx.counters.limited.searches_ended_early += 1;
                self.conclude(net, OpenId(other), true);
            }
            Room::None => {
                self.report_early_end(net.cx, exchange, &search.id);
                return None;
            }
        }
        let is_leaf = is_cut && sender.origin() == Origin::PassedOn;
        let wait = if is_leaf { DONE_STEP } else { wait_for_ttl(ttl) - DONE_MARGIN };
        let search = Search { ttl, ..search.clone() };
        let (askers, query) = (Askers::new(exchange, net.cx.now), search.id.clone());
        let (widen_at, known) = (None, BTreeMap::new());
        let role = Role::Relayed { askers, sender, search, reached: ttl, widen_at, known, answers: 0, is_leaf };
        let id = self.open_searches.insert(query, role, net.cx.now + wait);
        self.open_searches.rows.entry(id).and_modify(|open| open.cut = is_cut);
        Some(id)
    }

    /// A search with another text came with an open ID. Reports of neighbours do not distinguish the two: we wait for both, as long
    /// as either may take.
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
        if !askers.push(exchange, cx.now) {
            self.report_early_end(cx, exchange, query);
        }
        Some(id)
    }

    /// Too many wait for the end of a search: reports to one of them that some peers may not have been reached.
    fn report_early_end(&mut self, cx: &mut Cx, exchange: ExchangeId, query: &QueryId) {
        cx.counters.limited.searches_ended_early += 1;
        self.report_done(cx, exchange, query, true, None);
    }

    /// A copy came with a higher TTL than before. Its sender replaces those that wait, to whom we report the end: so a node waits
    /// only for nodes that got a lower TTL, and no two wait for each other. It is forwarded after a delay, in which still wider
    /// copies may come, except to neighbours that meanwhile report as high a TTL. Returns whether the search is open.
    pub(super) fn on_wider(&mut self, net: &mut Net, exchange: ExchangeId, wider: &Search, ttl: u8) -> bool {
        let Some(id) = self.open_searches.by_query.get(&wider.id).copied() else { return false };
        let Some(Open { role, cut, deadline, .. }) = self.open_searches.rows.get_mut(&id) else { return false };
        let Role::Relayed { askers, search, reached, widen_at, is_leaf, .. } = role else { return false };
        if search.text != wider.text || search.requester != wider.requester {
            return false;
        }
        search.ttl = ttl;
        let at = if *reached == 0 { net.cx.now } else { net.cx.now + WIDEN_DELAY };
        // Peers beyond the earlier TTL are reached now.
        *cut &= *reached != 0;
        *is_leaf = false;
        if is_worth_widening(*reached, ttl) {
            *widen_at = Some(widen_at.map_or(at, |earlier| earlier.min(at)));
        }
        *deadline = (*deadline).max(net.cx.now + (wait_for_ttl(ttl) - DONE_MARGIN));
        let done = std::mem::replace(askers, Askers::new(exchange, net.cx.now));
        done.into_all().into_iter().for_each(|asker| self.report_done(net.cx, asker, &wider.id, false, Some(ttl)));
        self.change_open(net, id, |_| {});
        true
    }

    /// A repeated copy came. `highest`: the highest TTL so far.
    pub(super) fn on_repeated(
        &mut self,
        net: &mut Net,
        exchange: ExchangeId,
        query: &QueryId,
        (ttl, highest): (u8, u8),
    ) {
        if let Some(id) = self.open_searches.by_query.get(query).copied()
            && let Some(Open { role: Role::Relayed { askers, search, .. }, .. }) = self.open_searches.rows.get_mut(&id)
            && ttl >= search.ttl
        {
            if !askers.push(exchange, net.cx.now) {
                self.report_early_end(net.cx, exchange, query);
            }
            return self.change_open(net, id, |_| {});
        }
        self.report_done(net.cx, exchange, query, false, Some(highest));
    }

    /// Reports to senders that have waited for a while that the search is not over. Returns when the next report is due.
    pub(super) fn report_waiting(&mut self, cx: &mut Cx, id: OpenId) -> Option<Instant> {
        let Open { role, query, .. } = self.open_searches.rows.get_mut(&id)?;
        let Role::Relayed { askers, is_leaf: false, .. } = role else { return None };
        for exchange in askers.take_unnotified(cx.now) {
            cx.out.act(Action::Report { exchange: *exchange, report: SearchReport::Waits(query.clone()) });
        }
        askers.notify_at
    }

    /// Reports the end of a search, and the highest TTL with which it came.
    pub(super) fn report_done(
        &mut self,
        cx: &mut Cx,
        exchange: ExchangeId,
        query: &QueryId,
        cut: bool,
        ttl: Option<u8>,
    ) {
        if query.asks_for_end() {
            let report = SearchReport::Done(SearchDone { id: query.clone(), cut, ttl, reports: true });
            cx.out.act(Action::Report { exchange, report });
        }
    }

    /// Whether a search has come to a neighbour with at least this TTL, as it reported.
    pub(super) fn has_reached(&self, id: OpenId, neighbour: SocketAddr, ttl: u8) -> bool {
        let Some(Open { role: Role::Relayed { known, .. }, .. }) = self.open_searches.rows.get(&id) else {
            return false;
        };
        known.get(&neighbour).is_some_and(|highest| *highest >= ttl)
    }

    /// Forwards a search again that has come with a higher TTL. Returns whether it does.
    pub(super) fn reach_further(&mut self, net: &mut Net, id: OpenId) -> bool {
        let Some(open) = self.open_searches.rows.get_mut(&id) else { return false };
        let Role::Relayed { sender, search, reached, widen_at, .. } = &mut open.role else { return false };
        if widen_at.take().is_none() || *reached >= search.ttl || open.deadline <= net.cx.now {
            return false;
        }
        *reached = search.ttl;
        open.is_asking = true;
        let (sender, onward) = (*sender, Search { ttl: search.ttl - 1, ..search.clone() });
        let plain = Query::plain_form(&onward.text);
        self.forward_search(net, sender, onward, plain, Some(id));
        self.all_are_asked(net, id);
        true
    }
}

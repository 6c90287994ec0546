//! The open searches of others: reporting their end to the senders, and handling repeated copies ([`end`](super::end)).

use super::SearchMachine;
use super::open::{Askers, Open, Role, wait_for_ttl};
use crate::id::{ExchangeId, QueryId};
use crate::library::Query;
use crate::node::contract::Action;
use crate::node::cx::Cx;
use crate::node::fair_queue::{Origin, Room, Sender};
use crate::node::ids::OpenId;
use crate::node::limits::{
    DONE_MARGIN, DONE_STEP, OPEN_SEARCHES_MAX, OPEN_SEARCHES_PER_NETWORK_MAX, WIDEN_BY_ONE_BELOW, WIDEN_DELAY,
};
use crate::node::network::NetworkMachine;
use crate::time::Instant;
use crate::wire::{Search, SearchDone, SearchReport};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Whether a search that was forwarded with one TTL is forwarded again with a higher one. If some hops are left, one more hop
/// reaches few peers, and the first copy often comes by a path that is one hop longer than the shortest.
pub(super) fn is_worth_widening(reached: u8, ttl: u8) -> bool {
    ttl > reached && (reached < WIDEN_BY_ONE_BELOW || ttl - reached > 1)
}

impl SearchMachine {
    /// A search of others came for the first time, or with a higher TTL. Returns its open search, if it has one.
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
                self.report_early_end(cx, exchange, &search.id);
                return None;
            }
        }
        let is_leaf = is_cut && sender.origin() == Origin::PassedOn;
        let wait = if is_leaf { DONE_STEP } else { wait_for_ttl(ttl) - DONE_MARGIN };
        let search = Search { ttl, ..search.clone() };
        let (askers, query) = (Askers::new(exchange, cx.now), search.id.clone());
        let (widen_at, known) = (None, BTreeMap::new());
        let role = Role::Relayed { askers, sender, search, reached: ttl, widen_at, known, answers: 0, is_leaf };
        let id = self.open_searches.insert(query, role, cx.now + wait);
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
        // Peers beyond the earlier TTL are reached now.
        *cut &= *reached != 0;
        *is_leaf = false;
        if is_worth_widening(*reached, ttl) {
            *widen_at = Some(widen_at.map_or(at, |earlier| earlier.min(at)));
        }
        *deadline = (*deadline).max(cx.now + (wait_for_ttl(ttl) - DONE_MARGIN));
        let done = std::mem::replace(askers, Askers::new(exchange, cx.now));
        done.into_all().into_iter().for_each(|asker| self.report_done(cx, asker, &wider.id, false, Some(ttl)));
        self.change_open(cx, network, id, |_| {});
        true
    }

    /// A repeated copy came. `highest`: the highest TTL so far.
    pub(super) fn on_repeated(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        exchange: ExchangeId,
        query: &QueryId,
        (ttl, highest): (u8, u8),
    ) {
        if let Some(id) = self.open_searches.by_query.get(query).copied()
            && let Some(Open { role: Role::Relayed { askers, search, .. }, .. }) = self.open_searches.rows.get_mut(&id)
            && ttl >= search.ttl
        {
            if !askers.push(exchange, cx.now) {
                self.report_early_end(cx, exchange, query);
            }
            return self.change_open(cx, network, id, |_| {});
        }
        self.report_done(cx, exchange, query, false, Some(highest));
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
    pub(super) fn reach_further(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: OpenId) -> bool {
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
}

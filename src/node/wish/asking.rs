//! Which peer is asked for which wish, and when.
//!
//! Peers are numbered in the order in which they become known. A wish is sent to each number once, the lowest first; when there
//! is none left, a round over all numbers begins, at most one in [`WISH_ROUND_MIN`]. So a wish needs only two numbers, however
//! many peers there are. The wishes take turns, and one timer serves all: while the budget lasts, it is always somebody's turn.

use super::state::Wish;
use super::{Others, WishMachine};
use crate::id::TransferId;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{
    PEERS_MAX, WISH_ASK_JITTER, WISH_ASK_SPACING, WISH_ASKS_BURST, WISH_ASKS_PER_MINUTE, WISH_LOOK_AGAIN,
    WISH_ROUND_MIN,
};
use crate::node::network::{Net, Peers};
use crate::node::rate_limit::{Allowance, Tariff};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Duration;

/// What all wishes together may send.
const BUDGET: Tariff = Tariff { per_minute: WISH_ASKS_PER_MINUTE, burst: WISH_ASKS_BURST };

/// How long the budget takes for one message.
const ASK_INTERVAL: Duration = Duration::from_millis(60_000 / WISH_ASKS_PER_MINUTE as u64);

/// The hash map is only asked for one peer.
#[derive(Default)]
pub(super) struct Asking {
    /// Full until the first message.
    budget: Option<Allowance>,
    peers: BTreeMap<u64, SocketAddr>,
    numbers: HashMap<SocketAddr, u64>,
    given: u64,
    /// The wish that had the last turn.
    last: Option<TransferId>,
    timer: Option<(Instant, TimerId)>,
}

impl Asking {
    /// Numbers peers that have become known, and forgets those that are not any more.
    fn number_peers(&mut self, peers: &Peers) {
        self.peers.retain(|_, peer| peers.is_known(*peer) || peers.is_proven(*peer));
        let kept = &self.peers;
        self.numbers.retain(|_, number| kept.contains_key(number));
        for peer in peers.proven() {
            if !self.numbers.contains_key(&peer) {
                self.given += 1;
                self.numbers.insert(peer, self.given);
                self.peers.insert(self.given, peer);
            }
        }
    }

    /// The first peer after a number, up to another, that is worth a connection.
    fn next(&self, peers: &Peers, after: u64, up_to: u64) -> Option<(u64, SocketAddr)> {
        if after >= up_to {
            return None;
        }
        let numbers = self.peers.range((Bound::Excluded(after), Bound::Included(up_to)));
        numbers.map(|(number, peer)| (*number, *peer)).find(|(_, peer)| peers.is_proven(*peer))
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.peers.len(), self.numbers.len(), "each peer has one number");
        assert!(self.peers.len() <= PEERS_MAX, "the peers are bounded");
    }
}

impl WishMachine {
    /// Peers are to be asked soon: a wish is new, or some were recalled.
    pub(super) fn plan_asking(&mut self, cx: &mut Cx) {
        let due = match &self.asking.budget {
            Some(budget) => budget.next_at(BUDGET, cx.now),
            None => cx.now,
        };
        self.plan_at(cx, due.max(cx.now + WISH_ASK_SPACING));
    }

    pub(super) fn plan_at(&mut self, cx: &mut Cx, at: Instant) {
        if let Some((planned, timer)) = self.asking.timer {
            if planned <= at {
                return;
            }
            cx.wheel.cancel(timer);
        }
        self.asking.timer = Some((at, cx.wheel.insert(at, NodeTimer::WishAsk)));
    }

    /// Peers may have become known: a wish that has nobody to ask looks again.
    pub(in crate::node) fn on_peers_listed(&mut self, cx: &mut Cx) {
        if self.wishes.values().any(Wish::is_looking) {
            self.plan_asking(cx);
        }
    }

    /// It may be the turn of a wish.
    pub(in crate::node) fn on_ask_timer(&mut self, others: &mut Others) {
        self.asking.timer = None;
        self.begin_wanted(others);
        if !self.wishes.values().any(|wish| wish.is_looking()) {
            return;
        }
        let now = others.cx.now;
        self.asking.number_peers(others.network.peers());
        let turn = if others.net().advertised().is_some() { self.next_turn(now, others.network.peers()) } else { None };
        let Some((wish, peer)) = turn else {
            let rounds = self.wishes.values().filter(|wish| wish.is_looking()).map(|wish| wish.next_round_at);
            let at =
                rounds.filter(|at| *at > now).min().map_or(now + WISH_LOOK_AGAIN, |at| at.min(now + WISH_LOOK_AGAIN));
            return self.plan_at(others.cx, at.max(now + WISH_ASK_SPACING));
        };
        if self.asking.budget.get_or_insert_with(|| Allowance::new(BUDGET, now)).take(BUDGET, now) {
            self.ask(others, wish, peer);
        }
        let spent = self.asking.budget.as_ref().map_or(now, |budget| budget.next_at(BUDGET, now));
        let at = match spent > now + WISH_ASK_SPACING {
            true => spent + others.cx.rng.up_to(WISH_ASK_JITTER),
            false => now + WISH_ASK_SPACING,
        };
        self.plan_at(others.cx, at);
    }

    /// Whose turn it is, and which peer is asked.
    fn next_turn(&mut self, now: Instant, peers: &Peers) -> Option<(TransferId, SocketAddr)> {
        let last = self.asking.last.unwrap_or(TransferId(0));
        let looking = |(id, _): &(&TransferId, _)| **id;
        let after = self.wishes.range((Bound::Excluded(last), Bound::Unbounded)).map(|it| looking(&it));
        let ids: Vec<TransferId> = after.chain(self.wishes.range(..=last).map(|it| looking(&it))).collect();
        ids.into_iter().find_map(|id| Some((id, self.next_peer(now, peers, id)?)))
    }

    /// The peer that is next for a wish.
    fn next_peer(&mut self, now: Instant, peers: &Peers, id: TransferId) -> Option<SocketAddr> {
        let asking = &self.asking;
        let wish = self.wishes.get_mut(&id).filter(|wish| wish.is_looking())?;
        if let Some((number, peer)) = asking.next(peers, wish.asked_up_to, asking.given) {
            if wish.asked_up_to == 0 {
                // To be asked by all for the first time is a round, too.
                wish.next_round_at = now + WISH_ROUND_MIN;
            }
            wish.asked_up_to = number;
            return Some(peer);
        }
        if wish.round.is_none() && wish.next_round_at <= now {
            (wish.round, wish.next_round_at) = (Some(0), now + WISH_ROUND_MIN);
        }
        match asking.next(peers, wish.round?, wish.asked_up_to) {
            Some((number, peer)) => {
                wish.round = Some(number);
                Some(peer)
            }
            None => {
                wish.round = None;
                None
            }
        }
    }

    fn ask(&mut self, others: &mut Others, id: TransferId, peer: SocketAddr) {
        self.asking.last = Some(id);
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        let mut net = Net { cx: others.cx, network: others.network };
        if others.search.ask_for_wish(&mut net, id, &wish.query, peer) {
            wish.asked_at = Some(net.cx.now);
        }
    }

    /// When each wish has its next turn, about: by their ids.
    pub(super) fn next_asks(&self, now: Instant) -> BTreeMap<TransferId, Instant> {
        let Some((first, _)) = self.asking.timer else { return BTreeMap::new() };
        let last = self.asking.last.unwrap_or(TransferId(0));
        let after = self.wishes.range((Bound::Excluded(last), Bound::Unbounded));
        let looking = after.chain(self.wishes.range(..=last)).filter(|(_, wish)| wish.is_looking());
        let has_peer = |asked_up_to: u64| self.asking.peers.range(asked_up_to + 1..).next().is_some();
        let (mut asks, mut turn) = (BTreeMap::new(), first.max(now));
        for (id, wish) in looking {
            let rests = wish.round.is_none() && !has_peer(wish.asked_up_to);
            asks.insert(*id, if rests { turn.max(wish.next_round_at) } else { turn });
            turn = turn + ASK_INTERVAL;
        }
        asks
    }
}

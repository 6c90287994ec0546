//! Which peer is asked for which wish, and when.
//!
//! Peers are numbered in the order in which they become known. A wish is sent to each number once, the lowest first; when there
//! is none left, a round over all numbers begins, at most one in [`WISH_ROUND_MIN`]. So a wish needs only two numbers, however
//! many peers there are. The wishes take turns, and one timer serves all: each time it fires, one wish is sent to one peer.

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

/// Peers by their numbers.
type Numbered = BTreeMap<u64, SocketAddr>;

/// Whose turn it is, and which peer is asked.
struct Turn {
    wish: TransferId,
    peer: SocketAddr,
    place: Place,
}

/// How far a wish has come once this peer is asked.
enum Place {
    AskedUpTo(u64),
    InRound(u64),
}

/// The first peer after a number, up to another.
fn next_of(peers: &Numbered, after: u64, up_to: u64) -> Option<(u64, SocketAddr)> {
    if after >= up_to {
        return None;
    }
    let mut numbers = peers.range((Bound::Excluded(after), Bound::Included(up_to)));
    numbers.next().map(|(number, peer)| (*number, *peer))
}

/// The hash map is only asked for one peer.
#[derive(Default)]
pub(super) struct Asking {
    /// Full until the first message.
    budget: Option<Allowance>,
    peers: Numbered,
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

    /// The peers that are worth a connection, by their numbers.
    fn worth_asking(&self, peers: &Peers) -> Numbered {
        let numbers = self.peers.iter().map(|(number, peer)| (*number, *peer));
        numbers.filter(|(_, peer)| peers.is_proven(*peer)).collect()
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
        let peers = match others.net().advertised() {
            Some(_) => self.asking.worth_asking(others.network.peers()),
            None => Numbered::new(),
        };
        let Some(turn) = self.next_turn(now, &peers) else {
            let rounds = self.wishes.values().filter(|wish| wish.is_looking()).map(|wish| wish.next_round_at);
            let at =
                rounds.filter(|at| *at > now).min().map_or(now + WISH_LOOK_AGAIN, |at| at.min(now + WISH_LOOK_AGAIN));
            return self.plan_at(others.cx, at.max(now + WISH_ASK_SPACING));
        };
        if self.asking.budget.get_or_insert_with(|| Allowance::new(BUDGET, now)).take(BUDGET, now) {
            self.ask(others, turn);
        }
        let spent = self.asking.budget.as_ref().map_or(now, |budget| budget.next_at(BUDGET, now));
        let at = match spent > now + WISH_ASK_SPACING {
            true => spent + others.cx.rng.up_to(WISH_ASK_JITTER),
            false => now + WISH_ASK_SPACING,
        };
        self.plan_at(others.cx, at);
    }

    fn next_turn(&mut self, now: Instant, peers: &Numbered) -> Option<Turn> {
        if peers.is_empty() {
            return None;
        }
        let last = self.asking.last.unwrap_or(TransferId(0));
        let looking = |(id, _): &(&TransferId, _)| **id;
        let after = self.wishes.range((Bound::Excluded(last), Bound::Unbounded)).map(|it| looking(&it));
        let ids: Vec<TransferId> = after.chain(self.wishes.range(..=last).map(|it| looking(&it))).collect();
        ids.into_iter().find_map(|wish| {
            let (peer, place) = self.next_peer(now, peers, wish)?;
            Some(Turn { wish, peer, place })
        })
    }

    /// The peer that is next for a wish.
    fn next_peer(&mut self, now: Instant, peers: &Numbered, id: TransferId) -> Option<(SocketAddr, Place)> {
        let wish = self.wishes.get_mut(&id).filter(|wish| wish.is_looking())?;
        if let Some((number, peer)) = next_of(peers, wish.asked_up_to, self.asking.given) {
            return Some((peer, Place::AskedUpTo(number)));
        }
        if wish.round.is_none() && wish.next_round_at <= now {
            (wish.round, wish.next_round_at) = (Some(0), now + WISH_ROUND_MIN);
        }
        let next = next_of(peers, wish.round?, wish.asked_up_to);
        if next.is_none() {
            wish.round = None;
        }
        next.map(|(number, peer)| (peer, Place::InRound(number)))
    }

    /// Asks a peer. One that takes no further message now is asked when the wish has its next turn.
    fn ask(&mut self, others: &mut Others, turn: Turn) {
        let Turn { wish: id, peer, place } = turn;
        self.asking.last = Some(id);
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        let mut net = Net { cx: others.cx, network: others.network };
        if !others.search.ask_for_wish(&mut net, id, &wish.query, peer) {
            return;
        }
        wish.asked_at = Some(net.cx.now);
        match place {
            Place::AskedUpTo(number) => {
                if wish.asked_up_to == 0 {
                    // To be asked by all for the first time is a round, too.
                    wish.next_round_at = net.cx.now + WISH_ROUND_MIN;
                }
                wish.asked_up_to = number;
            }
            Place::InRound(number) => wish.round = Some(number),
        }
    }

    /// The estimated time at which each wish is sent next, by id.
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

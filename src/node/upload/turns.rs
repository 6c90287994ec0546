//! Turns of uploads under `upload_limit`: at most as many are sent at once as get a rate at which a peer does not consider them
//! stalled. The others wait for their turn, and are refused as busy when they have waited too long.
//!
//! Owns which uploads have a turn: the network with the fewest is next ([`FairQueue`]). An upload with a turn still waits for a
//! worker. A call-back is an upload too; [`call_backs`](crate::node::upload::call_backs) limits how long it waits.

use super::UploadMachine;
use super::accounting::Wanted;
use crate::id::ExchangeId;
use crate::node::contract::{RESPONSE_IDLE_MAX, Refusal};
use crate::node::cx::exchanges::{Command, Flow, Kind, Rank, Shares};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::fair_queue::{FairQueue, Room, Sender};
use crate::node::limits::{COMMAND_WAIT_MAX, REQUESTS_QUEUED_MAX, REQUESTS_QUEUED_PER_NETWORK_MAX, UPLOAD_RATE_MIN};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;

const _: () = assert!(RESPONSE_IDLE_MAX.as_secs() < COMMAND_WAIT_MAX.as_secs(), "those that wait are served");

struct Waiting {
    exchange: ExchangeId,
    sender: Sender,
    since: Instant,
    /// After this a request is refused as busy; `None` for call-backs.
    timer: Option<TimerId>,
}

#[derive(Default)]
pub(super) struct UploadTurns {
    active: BTreeMap<ExchangeId, Sender>,
    /// By ticket.
    waiting: BTreeMap<u64, Waiting>,
    tickets_given: u64,
    queue: FairQueue,
}

impl UploadTurns {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// `flow`: how fast an upload moves.
    pub(super) fn shares(&self, now: Instant, flow: impl Fn(ExchangeId) -> Option<Flow>) -> Shares {
        let since = |ticket: u64| self.waiting.get(&ticket).map(|waiting| waiting.since);
        let active = self.active.iter().map(|(exchange, sender)| (sender.network(), *exchange, flow(*exchange)));
        Shares::new(now, &self.queue, since, active)
    }

    fn push(&mut self, waiting: Waiting) {
        self.tickets_given += 1;
        self.queue.push(waiting.sender, self.tickets_given);
        self.waiting.insert(self.tickets_given, waiting);
    }

    fn remove(&mut self, ticket: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        self.queue.remove(waiting.sender, ticket);
        Some(waiting)
    }

    fn give(&mut self, exchange: ExchangeId, sender: Sender) {
        self.active.insert(exchange, sender);
        self.queue.start(sender);
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.waiting.len() <= REQUESTS_QUEUED_MAX, "the uploads that wait are bounded");
        let waiting = self.waiting.iter().map(|(ticket, waiting)| (waiting.sender, *ticket)).collect();
        self.queue.check_invariants(&waiting, self.active.values().copied());
        for waiting in self.waiting.values() {
            assert!(!self.active.contains_key(&waiting.exchange), "{:?} waits and has a turn", waiting.exchange);
        }
    }
}

impl UploadMachine {
    /// The number of uploads that may be sent at once.
    fn upload_turns_max(&self, cx: &Cx) -> usize {
        match cx.config.upload_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit / UPLOAD_RATE_MIN).unwrap_or(usize::MAX).max(1),
        }
    }

    /// Begins an upload, or makes it wait for its turn.
    pub(super) fn submit_upload(&mut self, cx: &mut Cx, exchange: ExchangeId, sender: Sender, wanted: Wanted) {
        self.uploads.wanted.insert(exchange, (cx.now, wanted));
        if self.turns.waiting.is_empty() && self.turns.active.len() < self.upload_turns_max(cx) {
            return self.begin_turn(cx, exchange, sender);
        }
        match self.turns.queue.room_for(sender, REQUESTS_QUEUED_MAX, REQUESTS_QUEUED_PER_NETWORK_MAX) {
            Room::Free => {}
            Room::None => return self.drop_request(cx, exchange),
            Room::InPlaceOf(ticket) => {
                if let Some(other) = self.turns.remove(ticket) {
                    cx.cancel_timer(other.timer);
                    self.drop_request(cx, other.exchange);
                }
            }
        }
        let inbound = matches!(exchange, ExchangeId::Inbound(_));
        let timer = inbound.then(|| cx.wheel.insert(cx.now + COMMAND_WAIT_MAX, NodeTimer::TurnWaited { exchange }));
        self.turns.push(Waiting { exchange, sender, since: cx.now, timer });
        cx.await_displacing();
    }

    fn begin_turn(&mut self, cx: &mut Cx, exchange: ExchangeId, sender: Sender) {
        self.turns.give(exchange, sender);
        if cx.submit(exchange, Command::Respond, Rank::For(Kind::Request, sender)).is_err() {
            self.drop_request(cx, exchange);
        }
    }

    /// There is no room for a request, or another displaced it.
    pub(in crate::node) fn drop_request(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        cx.counters.limited.requests_dropped += 1;
        self.turn_down(cx, exchange, Refusal::Busy);
    }

    /// An upload is not sent: refuses the request, or drops the call-back.
    pub(super) fn turn_down(&mut self, cx: &mut Cx, exchange: ExchangeId, reason: Refusal) {
        match exchange {
            ExchangeId::Inbound(_) => self.refuse(cx, exchange, reason),
            ExchangeId::Outbound(_) => self.drop_call_back(cx, exchange),
        }
    }

    pub(in crate::node) fn give_turns(&mut self, cx: &mut Cx) {
        while self.turns.active.len() < self.upload_turns_max(cx) {
            let next = self.turns.queue.next(usize::MAX);
            let Some(waiting) = next.and_then(|ticket| self.turns.remove(ticket)) else { return };
            cx.cancel_timer(waiting.timer);
            self.begin_turn(cx, waiting.exchange, waiting.sender);
        }
    }

    /// Frees the turn of an upload, if it has one. [`give_turns`](Self::give_turns) gives it to another.
    pub(super) fn end_turn(&mut self, exchange: ExchangeId) {
        if let Some(sender) = self.turns.active.remove(&exchange) {
            self.turns.queue.end(sender);
        }
    }

    /// Removes an upload that waits for its turn. Returns whether it did.
    pub(super) fn withdraw_from_turns(&mut self, cx: &mut Cx, exchange: ExchangeId) -> bool {
        let ticket = self.turns.waiting.iter().find(|(_, waiting)| waiting.exchange == exchange).map(|(at, _)| *at);
        let Some(waiting) = ticket.and_then(|ticket| self.turns.remove(ticket)) else { return false };
        cx.cancel_timer(waiting.timer);
        true
    }

    /// A request has waited too long: refuses it before its peer considers us stalled.
    pub(in crate::node) fn on_turn_waited(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        if self.withdraw_from_turns(cx, exchange) {
            self.refuse(cx, exchange, Refusal::Busy);
        }
    }

    /// Refuses all waiting uploads, because the node shuts down.
    pub(in crate::node) fn refuse_turns(&mut self, cx: &mut Cx) {
        let waiting: Vec<ExchangeId> = self.turns.waiting.values().map(|waiting| waiting.exchange).collect();
        for exchange in waiting {
            self.withdraw_from_turns(cx, exchange);
            self.turn_down(cx, exchange, Refusal::Leaving);
        }
    }
}

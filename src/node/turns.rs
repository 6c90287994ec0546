//! Turns of uploads under `upload_limit`: no more are sent at once than each can get a rate at which the other side does
//! not take it for stalled. The others wait for their turn, and are told that we are busy when they have waited too long.
//!
//! Owns which uploads have a turn. An upload that has one still waits for a worker. An attempt to call a requester back is
//! an upload too; [`call_backs`](super::call_backs) bounds how long it waits.

use super::contract::Refusal;
use super::limits::{COMMAND_WAIT_MAX, COMMANDS_QUEUED_MAX, REQUESTS_QUEUED_PER_ADDRESS_MAX, UPLOAD_RATE_MIN};
use super::workers::{Command, Rank};
use super::{Node, NodeTimer};
use crate::id::ExchangeId;
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An upload that waits for its turn.
struct Waiting {
    exchange: ExchangeId,
    address: IpAddr,
    command: Command,
    /// When the other side is told that we are busy; only for requests.
    timer: Option<TimerId>,
}

/// Who has a turn, and who waits for one.
#[derive(Default)]
pub(super) struct UploadTurns {
    active: BTreeMap<ExchangeId, IpAddr>,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    taken: u64,
    /// When an address that waits or has a turn was given one last, counted in turns.
    served: BTreeMap<IpAddr, u64>,
    turns_given: u64,
}

impl UploadTurns {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn active_of(&self, address: IpAddr) -> usize {
        self.active.values().filter(|of| **of == address).count()
    }

    /// Of the address that has the fewest turns and had none for the longest time, the upload that waits longest.
    fn next(&self) -> Option<u64> {
        let place = |(number, waiting): (&u64, &Waiting)| {
            let served = self.served.get(&waiting.address).copied().unwrap_or(0);
            (self.active_of(waiting.address), served, *number)
        };
        self.waiting.iter().map(place).min().map(|(_, _, number)| number)
    }

    fn give(&mut self, exchange: ExchangeId, address: IpAddr) {
        self.turns_given += 1;
        self.active.insert(exchange, address);
        self.served.insert(address, self.turns_given);
    }

    /// Forgets when addresses were served that have nothing to do with us any more.
    fn tidy(&mut self, address: IpAddr) {
        let waits = self.waiting.values().any(|waiting| waiting.address == address);
        if !waits && self.active_of(address) == 0 {
            self.served.remove(&address);
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.waiting.len() <= COMMANDS_QUEUED_MAX, "the uploads that wait are bounded");
        assert!(self.served.len() <= self.waiting.len() + self.active.len(), "and so is what is known of addresses");
        for waiting in self.waiting.values() {
            assert!(!self.active.contains_key(&waiting.exchange), "{:?} waits and has a turn", waiting.exchange);
        }
    }
}

impl Node {
    /// Uploads that may be sent at once under the limit.
    fn upload_turns_max(&self) -> usize {
        match self.config.upload_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit / UPLOAD_RATE_MIN).unwrap_or(usize::MAX).max(1),
        }
    }

    /// An upload was asked for: it is sent now, or waits for its turn.
    pub(super) fn submit_upload(&mut self, now: Instant, exchange: ExchangeId, address: IpAddr, command: Command) {
        if self.turns.waiting.is_empty() && self.turns.active.len() < self.upload_turns_max() {
            return self.begin_turn(now, exchange, address, command);
        }
        let of_address = self.turns.waiting.values().filter(|waiting| waiting.address == address).count();
        if self.turns.waiting.len() >= COMMANDS_QUEUED_MAX || of_address >= REQUESTS_QUEUED_PER_ADDRESS_MAX {
            return self.turn_down(exchange, Refusal::Busy);
        }
        let inbound = matches!(exchange, ExchangeId::Inbound(_));
        let timer = inbound.then(|| self.wheel.insert(now + COMMAND_WAIT_MAX, NodeTimer::TurnWaited { exchange }));
        self.turns.taken += 1;
        self.turns.waiting.insert(self.turns.taken, Waiting { exchange, address, command, timer });
    }

    fn begin_turn(&mut self, now: Instant, exchange: ExchangeId, address: IpAddr, command: Command) {
        self.turns.give(exchange, address);
        if self.submit(now, exchange, command, Rank::Asked(address)).is_err() {
            self.turn_down(exchange, Refusal::Busy);
        }
    }

    /// An upload is not sent: its requester is told, or is not called back.
    fn turn_down(&mut self, exchange: ExchangeId, reason: Refusal) {
        match exchange {
            ExchangeId::Inbound(_) => self.refuse(exchange, reason),
            ExchangeId::Outbound(_) => self.drop_call_back(exchange),
        }
    }

    /// Gives turns to those that wait, as far as there are any.
    pub(super) fn give_turns(&mut self, now: Instant) {
        while self.turns.active.len() < self.upload_turns_max() {
            let Some(waiting) = self.turns.next().and_then(|number| self.turns.waiting.remove(&number)) else { return };
            self.cancel_timer(waiting.timer);
            self.begin_turn(now, waiting.exchange, waiting.address, waiting.command);
        }
    }

    /// An upload is over, or is not sent at all: its turn, if it has one, is free. [`Node::give_turns`] gives it to another.
    pub(super) fn end_turn(&mut self, exchange: ExchangeId) {
        if let Some(address) = self.turns.active.remove(&exchange) {
            self.turns.tidy(address);
        }
    }

    /// Takes an upload back that waits for its turn.
    pub(super) fn withdraw_from_turns(&mut self, exchange: ExchangeId) -> bool {
        let number = self.turns.waiting.iter().find(|(_, waiting)| waiting.exchange == exchange).map(|(at, _)| *at);
        let Some(waiting) = number.and_then(|number| self.turns.waiting.remove(&number)) else { return false };
        self.cancel_timer(waiting.timer);
        self.turns.tidy(waiting.address);
        true
    }

    /// An upload has waited long enough: the other side is told before it takes us for stalled.
    pub(super) fn on_turn_waited(&mut self, exchange: ExchangeId) {
        if self.withdraw_from_turns(exchange) {
            self.refuse(exchange, Refusal::Busy);
        }
    }

    /// Refuses all that wait, because the node leaves.
    pub(super) fn refuse_turns(&mut self) {
        let waiting: Vec<ExchangeId> = self.turns.waiting.values().map(|waiting| waiting.exchange).collect();
        for exchange in waiting {
            self.withdraw_from_turns(exchange);
            self.turn_down(exchange, Refusal::Leaving);
        }
    }
}

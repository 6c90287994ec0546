//! The gate that keeps the commands in progress within `max_workers`: the rest wait in the order they came.
//!
//! A command is an upload, a list sent, a fetch, or a dialled exchange with a peer. The exchanges with bootstrap nodes
//! pass by: there are at most a few, and a node that is busy must not lose its registration. Refuses work beyond
//! [`COMMANDS_QUEUED_MAX`].

use super::contract::{Action, Expect, FetchForm, Refusal};
use super::limits::{COMMAND_WAIT_MAX, COMMANDS_QUEUED_MAX, FORWARDS_QUEUED_MAX};
use super::{Node, NodeTimer};
use crate::id::{ExchangeId, TransferId};
use crate::name::FileName;
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Something that takes a worker from its start to the end of its exchange.
#[derive(Debug)]
pub(super) enum Command {
    SendFile { from: SocketAddr, name: FileName },
    SendList { attributes: bool },
    Dial { to: SocketAddr, messages: Vec<Message>, expect: Expect },
    Fetch { download: TransferId, to: SocketAddr, name: FileName, form: FetchForm, size_max: Option<u64> },
    CallBack { to: SocketAddr, name: FileName },
}

/// Where a command stands when the queue grows long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Bounded elsewhere: always taken.
    Always,
    /// Asked for, here or by a peer that waits: taken while there is room.
    Asked,
    /// Work for others that nobody waits for: leaves room for the rest.
    Forward,
}

/// The queue is full: the command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull;

struct Waiting {
    exchange: ExchangeId,
    command: Command,
    rank: Rank,
    /// When to give up; only for requests from the network.
    timer: Option<TimerId>,
}

/// The gate.
#[derive(Default)]
pub(super) struct Workers {
    active: BTreeSet<ExchangeId>,
    queue: BTreeMap<u64, Waiting>,
    tickets: BTreeMap<ExchangeId, u64>,
    tickets_given: u64,
    forwards: usize,
}

impl Workers {
    /// Whether this exchange has a worker.
    pub(super) fn is_active(&self, exchange: ExchangeId) -> bool {
        self.active.contains(&exchange)
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether this exchange waits for a worker.
    pub(super) fn is_queued(&self, exchange: ExchangeId) -> bool {
        self.tickets.contains_key(&exchange)
    }

    fn has_room(&self, rank: Rank) -> bool {
        match rank {
            Rank::Always => true,
            Rank::Asked => self.queue.len() < COMMANDS_QUEUED_MAX,
            Rank::Forward => self.queue.len() < COMMANDS_QUEUED_MAX && self.forwards < FORWARDS_QUEUED_MAX,
        }
    }

    fn push(&mut self, waiting: Waiting) {
        self.tickets_given += 1;
        self.forwards += usize::from(waiting.rank == Rank::Forward);
        self.tickets.insert(waiting.exchange, self.tickets_given);
        self.queue.insert(self.tickets_given, waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let (_, waiting) = self.queue.pop_first()?;
        self.tickets.remove(&waiting.exchange);
        self.forwards -= usize::from(waiting.rank == Rank::Forward);
        Some(waiting)
    }

    fn take(&mut self, exchange: ExchangeId) -> Option<Waiting> {
        let waiting = self.queue.remove(&self.tickets.remove(&exchange)?)?;
        self.forwards -= usize::from(waiting.rank == Rank::Forward);
        Some(waiting)
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.queue.len(), self.tickets.len(), "every waiting command has one ticket");
        let forwards = self.queue.values().filter(|waiting| waiting.rank == Rank::Forward).count();
        assert_eq!(forwards, self.forwards, "the forwards are counted");
        assert!(self.forwards <= FORWARDS_QUEUED_MAX, "forwards leave room for others");
        for exchange in self.tickets.keys() {
            assert!(!self.active.contains(exchange), "{exchange:?} waits and works at once");
        }
    }
}

impl Node {
    /// Starts a command, or lets it wait for its turn.
    pub(super) fn submit(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        command: Command,
        rank: Rank,
    ) -> Result<(), QueueFull> {
        if self.workers.queue.is_empty() && self.workers.active.len() < self.config.max_workers {
            self.start_command(exchange, command);
            return Ok(());
        }
        if !self.workers.has_room(rank) {
            return Err(QueueFull);
        }
        let inbound = matches!(exchange, ExchangeId::Inbound(_));
        let timer = inbound.then(|| self.wheel.insert(now + COMMAND_WAIT_MAX, NodeTimer::CommandWaited { exchange }));
        self.workers.push(Waiting { exchange, command, rank, timer });
        Ok(())
    }

    /// A command's exchange is over: its worker takes the next one. Does nothing for exchanges that passed by the gate.
    pub(super) fn free_worker(&mut self, exchange: ExchangeId) {
        if self.workers.active.remove(&exchange) {
            self.start_queued();
        }
    }

    /// Starts what waits, as far as there are workers.
    pub(super) fn start_queued(&mut self) {
        while self.workers.active.len() < self.config.max_workers {
            let Some(waiting) = self.workers.pop() else { return };
            self.cancel_timer(waiting.timer);
            self.start_command(waiting.exchange, waiting.command);
        }
    }

    /// Takes a command back that has not been started; says whether there was one.
    pub(super) fn withdraw(&mut self, exchange: ExchangeId) -> bool {
        let Some(waiting) = self.workers.take(exchange) else { return false };
        self.cancel_timer(waiting.timer);
        true
    }

    /// A request from the network has waited long enough.
    pub(super) fn on_command_waited(&mut self, exchange: ExchangeId) {
        if self.workers.take(exchange).is_some() {
            self.refuse(exchange, Refusal::Busy);
        }
    }

    /// Refuses every request of the network that waits, because the node leaves.
    pub(super) fn refuse_queued(&mut self) {
        while let Some(waiting) = self.workers.pop() {
            self.cancel_timer(waiting.timer);
            match waiting.exchange {
                ExchangeId::Inbound(_) => self.refuse(waiting.exchange, Refusal::Leaving),
                ExchangeId::Outbound(_) => drop(self.dials.remove(&waiting.exchange)),
            }
        }
    }

    fn start_command(&mut self, exchange: ExchangeId, command: Command) {
        let action = match command {
            Command::SendFile { from, name } => {
                // It may have left the library while it waited.
                if self.library.get(name.as_bytes()).is_none() {
                    return self.refuse(exchange, Refusal::NoSuchFile);
                }
                self.note_upload_started(exchange, from, &name);
                Action::SendFile { exchange, name }
            }
            Command::SendList { attributes } => Action::SendList { exchange, attributes },
            Command::Dial { to, messages, expect } => Action::Dial { exchange, to, messages, expect },
            Command::Fetch { download, to, name, form, size_max } => {
                Action::Fetch { exchange, download, to, name, form, size_max }
            }
            Command::CallBack { to, name } => Action::CallBack { exchange, to, name },
        };
        self.workers.active.insert(exchange);
        self.actions.push_back(action);
    }
}

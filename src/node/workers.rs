//! The gate that keeps the commands in progress within `max_workers`: the rest wait.
//!
//! A command is an upload, a list sent, a fetch, or a dialled exchange with a peer. What our own user waits for goes
//! first, then what peers ask of us, then what we only pass on; within each, the order is that in which they came, but
//! that of the addresses that ask of us, the one with the fewest workers has the next: who asks for a thousand files at
//! once waits for itself. The exchanges with bootstrap nodes pass by: there are at most a few, and a node that is busy
//! must not lose its registration. Refuses work beyond [`COMMANDS_QUEUED_MAX`].

use super::contract::{Action, Expect, Portion, Refusal};
use super::limits::{
    COMMAND_WAIT_MAX, COMMANDS_QUEUED_MAX, FORWARDS_QUEUED_MAX, REQUESTS_QUEUED_PER_ADDRESS_MAX, WORKERS_KEPT_OF,
};
use super::speech::Speech;
use super::{Node, NodeTimer};
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Something that takes a worker from its start to the end of its exchange.
#[derive(Debug)]
pub(super) enum Command {
    SendFile { from: SocketAddr, name: FileName },
    SendRange { from: SocketAddr, name: FileName, offset: u64, length: u64 },
    SendMetadata { name: FileName },
    SendList { attributes: bool },
    Dial { to: SocketAddr, messages: Vec<Message>, expect: Expect },
    Fetch { download: TransferId, to: SocketAddr, name: FileName, may_call_back: bool, portion: Portion },
    FetchMetadata { download: TransferId, to: SocketAddr, name: FileName, b3: Option<ContentHash> },
    CallBack { to: SocketAddr, name: FileName },
}

/// Whose a command is; the first go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Our user's, bounded elsewhere: always taken.
    Fetch,
    /// Our user's.
    Own,
    /// A peer waits for it.
    Asked(IpAddr),
    /// Work for others that nobody waits for: may be dropped.
    Forward,
}

impl Rank {
    /// The place among the ranks, apart from whose address it is.
    fn place(self) -> u8 {
        match self {
            Self::Fetch | Self::Own => 0,
            Self::Asked(_) => 1,
            Self::Forward => 2,
        }
    }
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

/// Where a waiting command stands: by the place of its rank, then by its ticket.
type Ticket = (u8, u64);

/// What is passed on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Load {
    active: usize,
    queued: usize,
}

/// The requests of one address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    active: usize,
    /// When it had a worker last, counted in starts.
    served: u64,
    /// Numbers of the tickets of those that wait.
    waiting: BTreeSet<u64>,
}

/// An address that waits: by the workers it has, then by when it had one last, then by its oldest ticket. The least has
/// the next worker.
type Place = (usize, u64, u64, IpAddr);

impl Line {
    fn place(&self, address: IpAddr) -> Option<Place> {
        self.waiting.first().map(|ticket| (self.active, self.served, *ticket, address))
    }
}

/// The gate.
#[derive(Default)]
pub(super) struct Workers {
    active: BTreeMap<ExchangeId, Rank>,
    /// Of these, those that are not for our user.
    active_for_others: usize,
    queue: BTreeMap<Ticket, Waiting>,
    tickets: BTreeMap<ExchangeId, Ticket>,
    tickets_given: u64,
    starts: u64,
    /// Requests, by address.
    lines: BTreeMap<IpAddr, Line>,
    /// Of every address that waits.
    places: BTreeSet<Place>,
    forwards: Load,
}

impl Workers {
    /// Whether this exchange has a worker.
    pub(super) fn is_active(&self, exchange: ExchangeId) -> bool {
        self.active.contains_key(&exchange)
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether this exchange waits for a worker.
    pub(super) fn is_queued(&self, exchange: ExchangeId) -> bool {
        self.tickets.contains_key(&exchange)
    }

    fn has_room(&self, rank: Rank) -> bool {
        let in_all = self.queue.len() < COMMANDS_QUEUED_MAX;
        match rank {
            Rank::Fetch => true,
            Rank::Own => in_all,
            Rank::Asked(address) => {
                let queued = self.lines.get(&address).map_or(0, |line| line.waiting.len());
                in_all && queued < REQUESTS_QUEUED_PER_ADDRESS_MAX
            }
            Rank::Forward => in_all && self.forwards.queued < FORWARDS_QUEUED_MAX,
        }
    }

    /// Changes what is known of an address, and with it its place.
    fn change_line(&mut self, address: IpAddr, change: impl FnOnce(&mut Line)) {
        let line = self.lines.entry(address).or_default();
        if let Some(place) = line.place(address) {
            self.places.remove(&place);
        }
        change(line);
        self.places.extend(line.place(address));
        if line.active == 0 && line.waiting.is_empty() {
            self.lines.remove(&address);
        }
    }

    fn push(&mut self, waiting: Waiting) {
        self.tickets_given += 1;
        let number = self.tickets_given;
        match waiting.rank {
            Rank::Fetch | Rank::Own => {}
            Rank::Asked(address) => self.change_line(address, |line| {
                line.waiting.insert(number);
            }),
            Rank::Forward => self.forwards.queued += 1,
        }
        let ticket = (waiting.rank.place(), number);
        self.tickets.insert(waiting.exchange, ticket);
        self.queue.insert(ticket, waiting);
    }

    fn take(&mut self, exchange: ExchangeId) -> Option<Waiting> {
        let ticket = self.tickets.remove(&exchange)?;
        let waiting = self.queue.remove(&ticket)?;
        match waiting.rank {
            Rank::Fetch | Rank::Own => {}
            Rank::Asked(address) => self.change_line(address, |line| {
                line.waiting.remove(&ticket.1);
            }),
            Rank::Forward => self.forwards.queued -= 1,
        }
        Some(waiting)
    }

    fn start(&mut self, exchange: ExchangeId, rank: Rank) {
        match rank {
            Rank::Fetch | Rank::Own => {}
            Rank::Asked(address) => {
                self.starts += 1;
                let served = self.starts;
                self.change_line(address, |line| (line.active, line.served) = (line.active + 1, served));
            }
            Rank::Forward => self.forwards.active += 1,
        }
        self.active_for_others += usize::from(rank.place() > 0);
        self.active.insert(exchange, rank);
    }

    fn end(&mut self, exchange: ExchangeId) -> bool {
        let Some(rank) = self.active.remove(&exchange) else { return false };
        match rank {
            Rank::Fetch | Rank::Own => {}
            Rank::Asked(address) => self.change_line(address, |line| line.active -= 1),
            Rank::Forward => self.forwards.active -= 1,
        }
        self.active_for_others -= usize::from(rank.place() > 0);
        true
    }

    /// Whether a command of this rank may start now. Some workers are kept for our user, and work that is passed on
    /// gets at most half.
    fn may_start(&self, rank: Rank, workers_max: usize) -> bool {
        let others = self.active_for_others < workers_max - workers_max / WORKERS_KEPT_OF;
        self.active.len() < workers_max
            && match rank {
                Rank::Fetch | Rank::Own => true,
                Rank::Asked(_) => others,
                Rank::Forward => others && self.forwards.active < workers_max.div_ceil(2),
            }
    }

    /// The command whose turn it is.
    fn next(&self, workers_max: usize) -> Option<ExchangeId> {
        let (_, first) = self.queue.first_key_value()?;
        let turn = match (first.rank, self.places.first()) {
            (Rank::Asked(_), Some((_, _, number, _))) => self.queue.get(&(first.rank.place(), *number))?,
            _ => first,
        };
        self.may_start(turn.rank, workers_max).then_some(turn.exchange)
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.queue.len(), self.tickets.len(), "every waiting command has one ticket");
        let of = |rank: &Rank| *rank == Rank::Forward;
        let queued = self.queue.values().filter(|waiting| of(&waiting.rank)).count();
        let active = self.active.values().filter(|rank| of(rank)).count();
        assert_eq!(self.forwards, Load { active, queued }, "what is passed on is counted");
        assert!(queued <= FORWARDS_QUEUED_MAX, "what is passed on leaves room for others");
        let for_others = self.active.values().filter(|rank| rank.place() > 0).count();
        assert_eq!(self.active_for_others, for_others, "what is done for others is counted");
        self.check_lines();
        for exchange in self.tickets.keys() {
            assert!(!self.active.contains_key(exchange), "{exchange:?} waits and works at once");
        }
    }

    fn check_lines(&self) {
        let mut lines: BTreeMap<IpAddr, Line> = BTreeMap::new();
        for rank in self.active.values() {
            if let Rank::Asked(address) = rank {
                lines.entry(*address).or_default().active += 1;
            }
        }
        for ((_, number), waiting) in &self.queue {
            if let Rank::Asked(address) = waiting.rank {
                lines.entry(address).or_default().waiting.insert(*number);
            }
        }
        for (address, line) in &mut lines {
            line.served = self.lines.get(address).map_or(0, |line| line.served);
        }
        assert_eq!(self.lines, lines, "requests are counted by address");
        let places: BTreeSet<_> = lines.iter().filter_map(|(address, line)| line.place(*address)).collect();
        assert_eq!(self.places, places, "every address that waits has its place");
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
        if self.workers.queue.is_empty() && self.workers.may_start(rank, self.config.max_workers) {
            self.start_command(exchange, command, rank);
            return Ok(());
        }
        if !self.workers.has_room(rank) {
            return Err(QueueFull);
        }
        let inbound = matches!(exchange, ExchangeId::Inbound(_));
        let timer = inbound.then(|| self.wheel.insert(now + COMMAND_WAIT_MAX, NodeTimer::CommandWaited { exchange }));
        self.workers.push(Waiting { exchange, command, rank, timer });
        // What waits already may wait for a limit that does not concern this one.
        self.start_queued();
        Ok(())
    }

    /// A command's exchange is over: its worker takes the next one. Does nothing for exchanges that passed by the gate.
    pub(super) fn free_worker(&mut self, exchange: ExchangeId) {
        if self.workers.end(exchange) {
            self.start_queued();
        }
    }

    /// Starts what waits, as far as there are workers.
    pub(super) fn start_queued(&mut self) {
        while let Some(exchange) = self.workers.next(self.config.max_workers) {
            let Some(waiting) = self.workers.take(exchange) else { return };
            self.cancel_timer(waiting.timer);
            self.start_command(exchange, waiting.command, waiting.rank);
        }
    }

    /// Takes a command back that has not been started; says whether there was one.
    pub(super) fn withdraw(&mut self, exchange: ExchangeId) -> bool {
        let Some(waiting) = self.workers.take(exchange) else { return false };
        self.cancel_timer(waiting.timer);
        true
    }

    /// Lets a fetch of groups that still waits for a worker end before this group; says whether it waits.
    pub(super) fn trim_waiting(&mut self, exchange: ExchangeId, groups_end: u64) -> bool {
        let Some(ticket) = self.workers.tickets.get(&exchange) else { return false };
        let waiting = self.workers.queue.get_mut(ticket);
        if let Some(Waiting { command: Command::Fetch { portion: Portion::Groups(groups), .. }, .. }) = waiting {
            groups.end = groups.end.min(groups_end);
        }
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
        while let Some(exchange) = self.workers.queue.values().next().map(|waiting| waiting.exchange) {
            self.withdraw(exchange);
            match exchange {
                ExchangeId::Inbound(_) => self.refuse(exchange, Refusal::Leaving),
                ExchangeId::Outbound(_) => drop(self.forget_dial(exchange)),
            }
        }
    }

    fn start_command(&mut self, exchange: ExchangeId, command: Command, rank: Rank) {
        let action = match command {
            // What is sent may have left the library, or be another file, since it was asked for.
            Command::SendFile { from, name } => match self.find_file(&name) {
                Ok(_) => {
                    self.note_upload_started(exchange, from, &name);
                    Action::SendFile { exchange, name }
                }
                Err(reason) => return self.refuse(exchange, reason),
            },
            Command::SendRange { from, name, offset, length } => match self.find_range(&name, offset, length) {
                Ok(file) => {
                    self.note_range_started(exchange, from, &file.name);
                    Action::SendRange { exchange, file, offset, length }
                }
                Err(reason) => return self.refuse(exchange, reason),
            },
            Command::SendMetadata { name } => match self.find_hashed(&name) {
                Ok((file, b3)) => {
                    self.note_metadata_started(exchange);
                    Action::SendMetadata { exchange, file, b3 }
                }
                Err(reason) => return self.refuse(exchange, reason),
            },
            Command::SendList { attributes } => Action::SendList { exchange, attributes },
            // Whom we speak to so was heard to speak so: on a new connection a base program would not look for a second
            // message.
            Command::Dial { to, messages, expect: Expect::Nothing } if self.peers.speech(to) == Speech::P1 => {
                Action::Stream { exchange, to, messages }
            }
            Command::Dial { to, messages, expect } => Action::Dial { exchange, to, messages, expect },
            Command::Fetch { download, to, name, may_call_back, portion } => {
                Action::Fetch { exchange, download, to, name, may_call_back, portion }
            }
            Command::FetchMetadata { download, to, name, b3 } => {
                Action::FetchMetadata { exchange, download, to, name, b3 }
            }
            Command::CallBack { to, name } => match self.find_file(&name) {
                Ok(_) => Action::CallBack { exchange, to, name },
                Err(_) => return self.drop_call_back(exchange),
            },
        };
        self.workers.start(exchange, rank);
        self.actions.push_back(action);
    }
}

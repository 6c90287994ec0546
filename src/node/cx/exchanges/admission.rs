//! Limits the commands in progress to `max_workers`; the others wait.
//!
//! A command is an upload, a list sent, a fetch, or a dialled exchange with a peer. Commands of our own user come first, then
//! requests of peers, then those for which no connection waits: hits, and forwarded searches. Each of these kinds has a queue,
//! shared fairly by network and address ([`FairQueue`]), and limits on its commands in progress, in total and for one network.
//! So a kind at its limit does not block others. If a queue is full, the sender with most commands gives way. The
//! exchanges with bootstrap nodes, one at a time for each, are exempt, since a busy node must not lose its registration.

use super::commands::{Command, Kind, QueueFull, Rank};
use super::displacing::{Flow, Shares};
use super::outbound::{Dial, Purpose};
use crate::id::ExchangeId;
use crate::node::contract::{Action, Portion};
use crate::node::cx::{Cx, NodeTimer, Step};
use crate::node::fair_queue::{FairQueue, Room};
use crate::node::limits::{COMMAND_WAIT_MAX, FORWARDS_QUEUED_MAX, OWN_QUEUED_MAX, WORKERS_KEPT_OF};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet};

struct Waiting {
    exchange: ExchangeId,
    command: Command,
    rank: Rank,
    since: Instant,
    /// Only for requests of peers.
    timer: Option<TimerId>,
}

struct Active {
    rank: Rank,
    flow: Flow,
}

/// By kind.
#[derive(Debug, Default)]
struct Queues([FairQueue; Kind::ALL.len()]);

impl Queues {
    fn of(&self, kind: Kind) -> &FairQueue {
        &self.0[kind as usize]
    }

    fn of_mut(&mut self, kind: Kind) -> &mut FairQueue {
        &mut self.0[kind as usize]
    }

    fn active(&self) -> usize {
        self.0.iter().map(FairQueue::active).sum()
    }
}

#[derive(Default)]
pub(in crate::node) struct Workers {
    active: BTreeMap<ExchangeId, Active>,
    /// By ticket.
    queue: BTreeMap<u64, Waiting>,
    tickets: BTreeMap<ExchangeId, u64>,
    tickets_given: u64,
    /// Tickets of our user's commands.
    own: BTreeSet<u64>,
    others: Queues,
}

impl Workers {
    pub(in crate::node) fn is_active(&self, exchange: ExchangeId) -> bool {
        self.active.contains_key(&exchange)
    }

    pub(in crate::node) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(in crate::node) fn is_queued(&self, exchange: ExchangeId) -> bool {
        self.tickets.contains_key(&exchange)
    }

    fn room_for(&self, rank: Rank) -> Room {
        match rank {
            Rank::Fetch => Room::Free,
            Rank::Own if self.own.len() < OWN_QUEUED_MAX => Room::Free,
            Rank::Own => Room::None,
            // The links order these.
            Rank::For(Kind::Forward, _) if self.others.of(Kind::Forward).waiting() < FORWARDS_QUEUED_MAX => Room::Free,
            Rank::For(Kind::Forward, _) => Room::None,
            Rank::For(kind, sender) => {
                let (total, of_network) = kind.queued_max();
                self.others.of(kind).room_for(sender, total, of_network)
            }
        }
    }

    fn push(&mut self, waiting: Waiting) {
        self.tickets_given += 1;
        let ticket = self.tickets_given;
        match waiting.rank {
            Rank::Fetch | Rank::Own => {
                self.own.insert(ticket);
            }
            Rank::For(kind, sender) => self.others.of_mut(kind).push(sender, ticket),
        }
        self.tickets.insert(waiting.exchange, ticket);
        self.queue.insert(ticket, waiting);
    }

    fn take(&mut self, exchange: ExchangeId) -> Option<Waiting> {
        self.take_by_ticket(*self.tickets.get(&exchange)?)
    }

    fn take_by_ticket(&mut self, ticket: u64) -> Option<Waiting> {
        let waiting = self.queue.remove(&ticket)?;
        self.tickets.remove(&waiting.exchange);
        match waiting.rank {
            Rank::Fetch | Rank::Own => {
                self.own.remove(&ticket);
            }
            Rank::For(kind, sender) => self.others.of_mut(kind).remove(sender, ticket),
        }
        Some(waiting)
    }

    fn start(&mut self, now: Instant, exchange: ExchangeId, rank: Rank) {
        if let Rank::For(kind, sender) = rank {
            self.others.of_mut(kind).start(sender);
        }
        self.active.insert(exchange, Active { rank, flow: Flow::begin(now) });
    }

    fn end(&mut self, exchange: ExchangeId) -> bool {
        let Some(Active { rank, .. }) = self.active.remove(&exchange) else { return false };
        if let Rank::For(kind, sender) = rank {
            self.others.of_mut(kind).end(sender);
        }
        true
    }

    /// Whether a command of this kind may start now, apart from the limit of its network. Some workers are reserved for our
    /// user, and commands for which no connection waits get at most half.
    fn may_start(&self, kind: Kind, workers_max: usize) -> bool {
        let (active, unasked) = (self.others.active(), self.others.active() - self.others.of(Kind::Request).active());
        self.active.len() < workers_max
            && active < workers_max - workers_max / WORKERS_KEPT_OF
            && self.others.of(kind).active() < kind.workers_max(workers_max)
            && (kind == Kind::Request || unasked < workers_max.div_ceil(2))
    }

    fn may_start_at_once(&self, rank: Rank, workers_max: usize) -> bool {
        let Rank::For(kind, sender) = rank else { return self.active.len() < workers_max };
        let queue = self.others.of(kind);
        queue.waiting() == 0
            && self.may_start(kind, workers_max)
            && queue.active_of(sender.network()) < kind.workers_of_network_max(workers_max)
    }

    fn next(&self, workers_max: usize) -> Option<ExchangeId> {
        if self.active.len() >= workers_max {
            return None;
        }
        let for_others = |kind: Kind| {
            let next = || self.others.of(kind).next(kind.workers_of_network_max(workers_max));
            self.may_start(kind, workers_max).then(next).flatten()
        };
        let ticket = self.own.first().copied().or_else(|| Kind::ALL.into_iter().find_map(for_others))?;
        self.queue.get(&ticket).map(|waiting| waiting.exchange)
    }

    pub(super) fn note_progress(&mut self, now: Instant, exchange: ExchangeId, bytes: u64, held: bool) {
        if let Some(active) = self.active.get_mut(&exchange) {
            active.flow.advance(now, bytes, held);
        }
    }

    pub(in crate::node) fn flow(&self, exchange: ExchangeId) -> Option<Flow> {
        self.active.get(&exchange).map(|active| active.flow)
    }

    pub(super) fn displace(&mut self, exchange: ExchangeId) {
        if let Some(active) = self.active.get_mut(&exchange) {
            active.flow = Flow::Displaced;
        }
    }

    pub(super) fn requests_waiting(&self) -> usize {
        self.others.of(Kind::Request).waiting()
    }

    pub(super) fn shares(&self, now: Instant) -> Shares {
        let since = |ticket: u64| self.queue.get(&ticket).map(|waiting| waiting.since);
        let active = self.active.iter().filter_map(|(exchange, active)| match active.rank {
            Rank::For(Kind::Request, sender) => Some((sender.network(), *exchange, Some(active.flow))),
            _ => None,
        });
        Shares::new(now, self.others.of(Kind::Request), since, active)
    }

    pub(in crate::node) fn check_invariants(&self) {
        assert_eq!(self.queue.len(), self.tickets.len(), "every waiting command has one ticket");
        let is_own = |waiting: &Waiting| !matches!(waiting.rank, Rank::For(..));
        let own: BTreeSet<_> = self.queue.iter().filter(|(_, row)| is_own(row)).map(|(ticket, _)| *ticket).collect();
        assert_eq!(self.own, own, "what waits for our user is known");
        for kind in Kind::ALL {
            let of = |rank: &Rank| match rank {
                Rank::For(other, sender) if *other == kind => Some(*sender),
                _ => None,
            };
            let ticket = |(ticket, row): (&u64, &Waiting)| Some((of(&row.rank)?, *ticket));
            let waiting: BTreeSet<_> = self.queue.iter().filter_map(ticket).collect();
            assert!(waiting.len() <= kind.queued_max().0, "what waits of one kind leaves room for the others");
            self.others.of(kind).check_invariants(&waiting, self.active.values().filter_map(|active| of(&active.rank)));
        }
        for exchange in self.tickets.keys() {
            assert!(!self.active.contains_key(exchange), "{exchange:?} waits and works at once");
        }
    }
}

impl Cx {
    pub(in crate::node) fn submit(
        &mut self,
        exchange: ExchangeId,
        command: Command,
        rank: Rank,
    ) -> Result<(), QueueFull> {
        if self.exchanges.workers.may_start_at_once(rank, self.config.max_workers) {
            self.start_command(exchange, command, rank);
            return Ok(());
        }
        match self.exchanges.workers.room_for(rank) {
            Room::Free => {}
            Room::InPlaceOf(ticket) => self.displace(ticket),
            Room::None => return Err(QueueFull),
        }
        let inbound = matches!(exchange, ExchangeId::Inbound(_));
        let timer =
            inbound.then(|| self.wheel.insert(self.now + COMMAND_WAIT_MAX, NodeTimer::CommandWaited { exchange }));
        self.exchanges.workers.push(Waiting { exchange, command, rank, since: self.now, timer });
        if self.exchanges.workers.requests_waiting() > 0 {
            self.await_displacing();
        }
        // Earlier commands may wait for limits that do not apply to this one.
        self.start_queued();
        Ok(())
    }

    /// Drops a queued command for one of a sender that has fewer.
    fn displace(&mut self, ticket: u64) {
        let Some(waiting) = self.exchanges.workers.take_by_ticket(ticket) else { return };
        let Waiting { exchange, rank: Rank::For(kind, _), timer, .. } = waiting else { return };
        self.cancel_timer(timer);
        match kind {
            Kind::Request => self.out.then(Step::RequestDropped { exchange }),
            kind => {
                self.count_dropped(kind);
                if let Some(Dial { purpose: Purpose::Hits(open), .. }) = self.forget_dial(exchange) {
                    self.out.then(Step::HitsDropped { open });
                }
            }
        }
    }

    pub(in crate::node) fn count_dropped(&mut self, kind: Kind) {
        let limited = &mut self.counters.limited;
        match kind {
            Kind::Request => limited.requests_dropped += 1,
            Kind::Hits => limited.answers_dropped += 1,
            Kind::StrangerHits => limited.stranger_answers_dropped += 1,
            Kind::Forward => limited.forwards_dropped += 1,
        }
    }

    /// The exchange of a command has ended: its worker takes the next command. No effect on exempt exchanges.
    pub(in crate::node) fn free_worker(&mut self, exchange: ExchangeId) {
        if self.exchanges.workers.end(exchange) {
            self.start_queued();
        }
    }

    /// Starts queued commands, as far as there are workers.
    pub(in crate::node) fn start_queued(&mut self) {
        while let Some(exchange) = self.exchanges.workers.next(self.config.max_workers) {
            let Some(waiting) = self.exchanges.workers.take(exchange) else { return };
            self.cancel_timer(waiting.timer);
            self.start_command(exchange, waiting.command, waiting.rank);
        }
    }

    /// Removes a queued command. Returns whether there was one.
    pub(in crate::node) fn withdraw(&mut self, exchange: ExchangeId) -> bool {
        let Some(waiting) = self.exchanges.workers.take(exchange) else { return false };
        self.cancel_timer(waiting.timer);
        true
    }

    /// Makes a queued fetch of groups end before this group. Returns whether it is queued.
    pub(in crate::node) fn trim_waiting(&mut self, exchange: ExchangeId, groups_end: u64) -> bool {
        let Some(ticket) = self.exchanges.workers.tickets.get(&exchange) else { return false };
        let waiting = self.exchanges.workers.queue.get_mut(ticket);
        if let Some(Waiting { command, .. }) = waiting
            && let Command::Begin(Action::Fetch { portion: Portion::Groups(groups), .. }) = command
        {
            groups.end = groups.end.min(groups_end);
        }
        true
    }

    /// Removes all queued commands, because the node shuts down. Returns the requests among them.
    pub(in crate::node) fn withdraw_all(&mut self) -> Vec<ExchangeId> {
        let exchanges: Vec<_> = self.exchanges.workers.queue.values().map(|waiting| waiting.exchange).collect();
        for exchange in &exchanges {
            self.withdraw(*exchange);
            self.forget_dial(*exchange);
        }
        exchanges.into_iter().filter(|exchange| matches!(exchange, ExchangeId::Inbound(_))).collect()
    }

    fn start_command(&mut self, exchange: ExchangeId, command: Command, rank: Rank) {
        self.exchanges.workers.start(self.now, exchange, rank);
        match command {
            Command::Begin(action) => self.out.act(action),
            Command::Send { to, messages, connect_max } => {
                self.out.then(Step::Send { exchange, to, messages, connect_max });
            }
            Command::Respond => self.out.then(Step::Granted { exchange }),
        }
    }
}

//! Connections: sockets and their readiness, descriptors, deadlines, rate limits.
//!
//! Owns every socket but those of control clients. Decides nothing: it executes orders and reports their outcome.
//!
//! | file | what others may call |
//! |---|---|
//! | here | waiting for readiness, and what it was; rate limits; who asked for a file |
//! | `displacing` | taking descriptors, also from connections that give way; ending surplus streams |
//! | `accepting` | letting connections in |
//! | `responding` | orders for a request that a peer has made |
//! | `streams` | orders for a stream to a peer |
//! | `port_checks` | seeing whether a registrant listens |
//! | `dialling` | orders to ask a peer, and breaking an exchange off |
//! | `stepping` | giving a connection its step or its deadline |
//!
//! Each calls only those above it. Beneath them are `table` (connections), `budget` (descriptors), `eviction` (who gives way),
//! `pace` (rate limits), `listener` and `exchange` (what happens on a connection).

mod accepting;
mod budget;
mod dialling;
mod displacing;
mod eviction;
mod exchange;
mod listener;
mod pace;
mod port_checks;
mod responding;
mod stepping;
mod stream_index;
mod streams;
mod table;

pub(crate) use budget::Permit;
pub(crate) use exchange::{CALL_BACK_DESCRIPTORS, Lent, Outgoing, Part, STEP_BYTES_MAX, Service, Task};
pub(crate) use listener::Listener;
pub(crate) use listener::check_listen;
pub(crate) use pace::RateLimits;
pub(crate) use table::Requester;

use super::cx::Cx;
use super::refusals::Refusals;
use super::socket::Direction;
use super::tokens::LISTENERS;
use crate::id::ExchangeId;
use crate::time::Instant;
use mio::event::Event;
use mio::{Events, Poll, Registry};
use pace::Pace;
use std::io;
use std::time::Duration;
use stream_index::Streams;
use table::{Connection, Table};

pub(crate) struct Net {
    poll: Poll,
    table: Table,
    listeners: Vec<Listener>,
    /// When listeners that found no descriptor try again, should nothing have closed meanwhile.
    accept_again_at: Option<Instant>,
    streams: Streams,
    pace: Pace,
    refusals: Refusals,
    accepted: u64,
    ports_checked: u64,
}

impl Net {
    pub(crate) fn new(poll: Poll, listeners: Vec<Listener>, limits: RateLimits, now: Instant) -> Self {
        Self {
            poll,
            table: Table::new(now),
            listeners,
            accept_again_at: None,
            streams: Streams::default(),
            pace: Pace::new(limits, now),
            refusals: Refusals::default(),
            accepted: 0,
            ports_checked: 0,
        }
    }

    /// Waits for readiness.
    /// Errors: Only if epoll itself fails, or is interrupted.
    pub(crate) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(events, timeout)
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    pub(crate) fn has_work(&self) -> bool {
        self.table.ready_len() > 0 || self.listeners.iter().any(Listener::may_accept)
    }

    /// When a deadline comes, or listeners and transfers are to go on.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.table.next_deadline(), self.accept_again_at, self.pace.next_wake()].into_iter().flatten().min()
    }

    /// Notes an event of a listener or a connection, for later.
    pub(crate) fn note(&mut self, event: &Event) {
        let token = event.token();
        if let Some(listener) = token.0.checked_sub(LISTENERS.0).and_then(|index| self.listeners.get_mut(index)) {
            return listener.on_ready();
        }
        let Some(key) = Table::key_of(token) else { return };
        let (readable, writable, gone) = directions(event);
        match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => inbound.socket_mut().on_ready(readable, writable),
            Some(Connection::Outbound(outbound)) => outbound.on_ready(readable, writable),
            Some(Connection::Stream(link)) => link.on_ready(readable, writable),
            Some(Connection::Check(check)) => check.on_ready(readable, writable),
            None => return,
        }
        if gone || !self.table.is_paced(key) {
            self.table.make_ready(key);
        }
    }

    /// Resumes listeners and transfers that are due.
    pub(crate) fn wake(&mut self, now: Instant) {
        if self.accept_again_at.take_if(|at| *at <= now).is_some() {
            self.feed_listeners();
        }
        for direction in [Direction::Up, Direction::Down] {
            if self.pace.bucket(direction).is_due(now) {
                self.wake_paced(direction);
            }
        }
    }

    pub(crate) fn set_limits(&mut self, limits: RateLimits, now: Instant) {
        self.pace.set(limits, now);
        [Direction::Up, Direction::Down].into_iter().for_each(|direction| self.wake_paced(direction));
    }

    /// The peer that made a request, for a file that it is to get.
    pub(crate) fn requester(&self, exchange: ExchangeId) -> Option<Requester> {
        self.table.requester(exchange)
    }

    /// Notes the state of a connection, for its deadline and for when others need its place.
    pub(crate) fn settle(&mut self, key: usize) {
        self.table.arm(key);
    }

    /// Closes a connection and lets those in that waited for its descriptor.
    fn close(&mut self, key: usize) -> Option<Connection> {
        let closed = self.table.remove(key);
        if self.table.budget.has_room() {
            self.feed_listeners();
        }
        closed
    }

    fn feed_listeners(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.set_starved(false));
    }

    /// There are tokens: all that wait share them.
    fn wake_paced(&mut self, direction: Direction) {
        let woken = self.table.wake_paced(direction);
        self.pace.bucket(direction).share_among(woken);
    }

    fn refuse(
        &mut self,
        cx: &Cx,
        reason: &'static str,
        from: Option<std::net::SocketAddr>,
        detail: &dyn std::fmt::Display,
    ) {
        self.refusals.refused(cx.now, reason, from, detail);
    }
}

/// Which directions an event is about, and whether the connection is gone: an error or a hang-up shows in both.
pub(crate) fn directions(event: &Event) -> (bool, bool, bool) {
    let gone = event.is_error() || (event.is_read_closed() && event.is_write_closed());
    let readable = event.is_readable() || event.is_read_closed() || gone;
    let writable = event.is_writable() || event.is_write_closed() || gone;
    (readable, writable, gone)
}

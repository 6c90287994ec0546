//! Connections: sockets and their readiness, descriptors, deadlines, rate limits.
//!
//! Owns every socket but those of control clients. It executes orders and reports their outcome; the node decides.
//!
//! | file | what others may call |
//! |---|---|
//! | here | polling and readiness; rate limits; who asked for a file |
//! | `displacing` | taking descriptors, if need be from other connections; ending surplus streams |
//! | `accepting` | accepting connections |
//! | `responding` | orders for a request that a peer has made |
//! | `streams` | orders for a stream to a peer |
//! | `port_checks` | checking whether a registrant listens |
//! | `connections` | orders to connect to a peer and to abort an exchange; advancing a connection, also at its deadline |
//!
//! Each calls only those above it. Beneath them are `table` (connections), `budget` (descriptors), `eviction` (which is closed first),
//! `pace` (rate limits), `listener` and `exchange` (what happens on a connection).

mod accepting;
mod budget;
mod connections;
mod displacing;
mod eviction;
mod exchange;
mod keeping;
mod listener;
mod pace;
mod port_checks;
mod responding;
mod stream_index;
mod streams;
mod table;

pub(crate) use budget::{Permit, shares_at_work_max};
pub(crate) use exchange::{CALL_BACK_DESCRIPTORS, Lent, Outgoing, Part, STEP_BYTES_MAX, Service, Task};
pub(crate) use keeping::Taken;
pub(crate) use listener::Listener;
pub(crate) use listener::check_listen;
pub(crate) use pace::RateLimits;
pub(crate) use table::Requester;

use super::cx::Cx;
use super::interface::Interface;
use super::open_parts::Written;
use super::refusals::Refusals;
use super::socket::Direction;
use super::tokens::LISTENERS;
use crate::id::ExchangeId;
use crate::node::contract::ResponseFault;
use crate::time::Instant;
use mio::event::Event;
use mio::{Events, Poll, Registry, Token};
use pace::Pace;
use std::io;
use std::time::Duration;
use stream_index::Streams;
use table::{Connection, Table};

/// How long the loop sleeps at most if there is a deadline. epoll_wait(2) counts its timeout by CLOCK_MONOTONIC, which stands
/// still in a suspended machine, but deadlines are counted by CLOCK_BOOTTIME: this is the latest that the loop notices after
/// a suspension what has become due meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// A connection that has taken a step, and may wait now though epoll does not watch it yet.
#[must_use = "it is to be settled"]
pub(crate) struct Stepped(usize);

pub(crate) struct Net {
    poll: Poll,
    /// What all sockets are bound to.
    interface: Interface,
    table: Table,
    listeners: Vec<Listener>,
    /// When listeners that found no descriptor try again, even if no connection has closed.
    accept_again_at: Option<Instant>,
    /// Files are about to give their descriptors back.
    expects_descriptors: bool,
    streams: Streams,
    pace: Pace,
    refusals: Refusals,
    accepted: u64,
    ports_checked: u64,
}

impl Net {
    pub(crate) fn new(
        poll: Poll,
        interface: Interface,
        listeners: Vec<Listener>,
        limits: RateLimits,
        now: Instant,
    ) -> Self {
        Self {
            poll,
            interface,
            table: Table::new(now),
            listeners,
            accept_again_at: None,
            expects_descriptors: false,
            streams: Streams::default(),
            pace: Pace::new(limits, now),
            refusals: Refusals::default(),
            accepted: 0,
            ports_checked: 0,
        }
    }

    /// Makes those listeners again that are not at the interface any more.
    /// Errors: the first; the others are tried all the same.
    pub(crate) fn listen_again(&mut self) -> io::Result<()> {
        let mut first = Ok(());
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = Token(LISTENERS.0 + index);
            first = first.and(listener.stay_at(&self.interface, self.poll.registry(), token));
        }
        first
    }

    /// Errors: Only if epoll itself fails, or is interrupted.
    pub(crate) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        debug_assert!(self.table.has_all_watched(), "a connection waits that epoll does not watch");
        self.poll.poll(events, timeout.map(|timeout| timeout.min(SLEEP_MAX)))
    }

    pub(crate) fn interface(&self) -> &Interface {
        &self.interface
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    pub(crate) fn has_work(&self) -> bool {
        self.table.ready_len() > 0 || self.listeners.iter().any(Listener::may_accept)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let refusals = self.refusals.next_deadline();
        [self.table.next_deadline(), self.accept_again_at, self.pace.next_wake(), refusals].into_iter().flatten().min()
    }

    /// Records the readiness of a listener or a connection.
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

    pub(crate) fn wake(&mut self, now: Instant) {
        self.refusals.report(now);
        if self.accept_again_at.take_if(|at| *at <= now).is_some() {
            self.resume_listeners();
        }
        for direction in [Direction::Up, Direction::Down] {
            if self.pace.bucket(direction).is_due(now) {
                self.wake_paced(direction, now);
            }
        }
    }

    pub(crate) fn set_limits(&mut self, limits: RateLimits, now: Instant) {
        self.pace.set(limits, now);
        [Direction::Up, Direction::Down].into_iter().for_each(|direction| self.wake_paced(direction, now));
    }

    /// The result of something that an exchange had to write. Returns whether the exchange is still there.
    pub(crate) fn on_written(&mut self, exchange: ExchangeId, written: &Written) -> bool {
        let Some(key) = self.table.key(exchange) else { return false };
        if let Some(Connection::Outbound(outbound)) = self.table.get_mut(key) {
            outbound.on_written(written);
            // One that waits for tokens is woken by them.
            if !self.table.is_paced(key) {
                self.table.make_ready(key);
            }
        }
        true
    }

    /// How often something was refused since start, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.counts()
    }

    pub(crate) fn connections(&self) -> usize {
        self.table.len()
    }

    /// Descriptors in use for connections and files, and how many may be.
    pub(crate) fn descriptors(&self) -> (usize, usize) {
        self.table.budget.in_use()
    }

    /// Who sent the request of an exchange.
    pub(crate) fn requester(&self, exchange: ExchangeId) -> Option<Requester> {
        self.table.requester(exchange)
    }

    /// After a step: has epoll watch a connection that waits now, and updates its timer and its place in the order of eviction.
    pub(crate) fn settle(&mut self, Stepped(key): Stepped, cx: &mut Cx) {
        match self.table.ensure_watched(key, self.poll.registry()) {
            Ok(()) => self.table.arm(key),
            Err(error) => self.end_unregistered(key, &error, cx),
        }
    }

    /// Ends an accepted connection that epoll has no memory to watch; in RST, unless its response is sent or it owes none.
    fn end_unregistered(&mut self, key: usize, error: &io::Error, cx: &mut Cx) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let (from, progress) = (inbound.from, inbound.progress());
        let ended = inbound.broken_off(ResponseFault::NoMemory);
        cx.out.extend(progress.into_iter().chain(ended));
        self.close(key);
        self.refuse(cx, "register", Some(from), error);
    }

    /// Closes a connection; its descriptor may let a listener accept again.
    fn close(&mut self, key: usize) -> Option<Connection> {
        let closed = self.table.remove(key);
        if self.table.budget.has_room() {
            self.resume_listeners();
        }
        closed
    }

    /// Accepts what waited for the first scan.
    pub(crate) fn release_listeners(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.hold(false));
    }

    fn resume_listeners(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.set_starved(false));
    }

    /// There are tokens: all transfers that wait share them.
    fn wake_paced(&mut self, direction: Direction, now: Instant) {
        let woken = self.table.wake_paced(direction);
        self.pace.bucket(direction).share_among(now, woken);
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

/// Whether an event makes a connection readable, writable, or broken. A broken one is ready in both directions.
pub(crate) fn directions(event: &Event) -> (bool, bool, bool) {
    let gone = event.is_error() || (event.is_read_closed() && event.is_write_closed());
    let readable = event.is_readable() || event.is_read_closed() || gone;
    let writable = event.is_writable() || event.is_write_closed() || gone;
    (readable, writable, gone)
}

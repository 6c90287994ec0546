//! The loop itself: what happens in one turn, and in which order.

use super::signals::Asked;
use super::start::{CONTROL, LISTENERS, SIGNALS, WAKER};
use super::{Driver, Phase};
use crate::driver::front::control::ClientStep;
use crate::driver::net::exchange::{Context, Service, Step};
use crate::driver::net::pace::Direction;
use crate::driver::net::table::{Connection, Table};
use crate::driver::net::timers::Timer;
use crate::node::Event;
use crate::time::Instant;
use crate::wire::{Message, WireError};
use log::{debug, info};
use mio::{Events, Token};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Readiness events taken at once.
const EVENTS_MAX: usize = 256;

/// After this long a turn gives way to the next, so that no event waits for much longer.
const TURN_MAX: Duration = Duration::from_millis(5);

/// A turn beyond this is logged: the budget of its connections, and a slice of each kind of work.
const TURN_SLOW: Duration = Duration::from_millis(10);

/// How long leaving may take: TERM is to be over in 5 s.
const LEAVE_MAX: Duration = Duration::from_millis(4200);

impl Driver {
    /// Runs until it is told to leave and has left.
    ///
    /// # Errors
    /// Only if epoll itself fails.
    pub fn run(mut self) -> io::Result<()> {
        // Here too: the loop of a program that embeds it writes in this thread, and in helpers that it starts.
        crate::driver::survive_file_size_limit()?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.host.ready(&self.facts);
        self.note_new_places();
        self.search_orphans();
        self.carry_out();
        while self.phase != Phase::Over {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            self.now = self.clock.now();
            for event in &events {
                self.note(event);
            }
            self.turn();
        }
        Ok(())
    }

    /// How long the loop may sleep: not at all while there is work, else until the next deadline.
    fn timeout(&self) -> Option<Duration> {
        let is_busy = self.table.ready_len() > 0
            || self.listeners.iter().any(|listener| listener.is_ready && !listener.is_starved)
            || (self.control_is_ready && self.may_accept_clients())
            || self.node.has_work()
            || self.scanner.is_some()
            || self.hashing.has_work()
            || self.desk.has_work()
            || !self.inbox.is_empty();
        if is_busy {
            return Some(Duration::ZERO);
        }
        let bootstrap = self.bootstrap.as_ref().and_then(|bootstrap| bootstrap.next_deadline());
        let deadlines = [self.timers.next_deadline(), self.node.next_deadline(), bootstrap];
        let now = self.clock.now();
        deadlines.into_iter().flatten().min().map(|at| at.saturating_since(now))
    }

    /// Takes note of a readiness event; nothing is done yet.
    fn note(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => {}
            SIGNALS => self.signals.iter_mut().for_each(|signals| signals.is_ready = true),
            CONTROL => self.control_is_ready = true,
            Token(index) if index < LISTENERS.0 + self.listeners.len() => {
                self.listeners[index - LISTENERS.0].is_ready = true;
            }
            token => {
                let Some(key) = Table::key_of(token) else { return };
                // An error or a hang-up shows in both directions.
                let gone = event.is_error() || (event.is_read_closed() && event.is_write_closed());
                let readable = event.is_readable() || event.is_read_closed() || gone;
                let writable = event.is_writable() || event.is_write_closed() || gone;
                match self.table.get_mut(key) {
                    Some(Connection::Inbound(inbound)) => inbound.socket_mut().on_ready(readable, writable),
                    Some(Connection::Outbound(outbound)) => outbound.on_ready(readable, writable),
                    Some(Connection::Stream(link)) => link.on_ready(readable, writable),
                    Some(Connection::Check(check)) => check.on_ready(readable, writable),
                    Some(Connection::Client(client)) => client.on_ready(readable, writable),
                    None => return,
                }
                if gone || !self.table.is_paced(key) {
                    self.table.make_ready(key);
                }
            }
        }
    }

    fn turn(&mut self) {
        let began = self.clock.fine();
        self.hear_handle_and_signals();
        self.hear_helpers();
        self.accept_clients();
        self.accept_connections();
        // Those that are ready now have one step each; what they make ready waits for the next turn.
        for _ in 0..self.table.ready_len() {
            let Some(key) = self.table.pop_ready() else { break };
            self.step(key);
            if !self.clock.within(began, TURN_MAX) {
                break;
            }
        }
        self.fire_timers();
        self.work();
        self.carry_out();
        self.end_surplus_streams();
        self.leave_if_done();
        if !self.clock.within(began, TURN_SLOW) {
            debug!("a turn took {:?}", self.clock.fine().saturating_sub(began));
        }
    }

    /// One slice each of the scanner's and the node's background work.
    fn work(&mut self) {
        self.scan_slice();
        if self.hashing.has_work() {
            self.hash_slice();
        }
        self.check_slice();
        self.sync_parts();
        if self.node.has_work() {
            self.node.work(self.now);
        }
    }

    fn hear_handle_and_signals(&mut self) {
        if self.handle.quit.load(Ordering::Acquire) {
            self.leave("asked by its owner");
        }
        while let Some(asked) = self.signals.as_mut().and_then(|signals| signals.poll()) {
            match asked {
                Asked::Leave => self.leave("signal"),
                Asked::Reload => self.begin_reload(None),
            }
        }
    }

    /// Gives a connection its step and follows what it says.
    fn step(&mut self, key: usize) {
        let mut cx = Context {
            now: self.now,
            scratch: &mut self.scratch,
            library: self.node.library(),
            parts: &mut self.desk.open,
            pace: &mut self.pace,
        };
        match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => {
                let step = inbound.advance(&mut cx);
                self.follow(key, step);
            }
            Some(Connection::Outbound(outbound)) => {
                let step = outbound.advance(&mut cx, self.poll.registry());
                self.follow(key, step);
            }
            Some(Connection::Stream(link)) => {
                let flushed = link.advance(&mut self.scratch, self.now);
                self.follow_stream(key, flushed);
            }
            Some(Connection::Check(check)) => {
                let checked = check.advance(&mut self.scratch);
                self.follow_check(key, checked);
            }
            Some(Connection::Client(client)) => {
                let step = client.advance(&mut self.scratch, self.now);
                self.follow_client(key, step);
            }
            None => {}
        }
    }

    /// Does what the step of an exchange asks for.
    fn follow(&mut self, key: usize, step: Step) {
        match step {
            Step::Wait => {}
            Step::Again => self.table.make_ready(key),
            Step::Paced(direction) => self.wait_for_tokens(key, direction),
            Step::Message(message) => self.on_message(key, message),
            Step::Report(event) => {
                if let Event::GroupVerified { group, .. } = event {
                    self.on_group_verified(key, group);
                }
                self.node.handle(self.now, event);
                self.table.make_ready(key);
            }
            Step::Answered(event) => {
                self.table.forget_exchange(key);
                self.node.handle(self.now, event);
                self.table.make_ready(key);
                if let Some(surplus) = self.table.surplus_watched() {
                    self.close(surplus);
                }
            }
            Step::End(event) => {
                // What went out counts also when the rest does not follow.
                let progress = self.table.get_mut(key).and_then(|connection| connection.progress());
                self.close(key);
                for event in progress.into_iter().chain(event) {
                    self.node.handle(self.now, event);
                }
            }
            Step::Refused(error) => self.refuse(key, &error),
        }
        self.carry_out();
        self.table.arm(key, &mut self.timers);
    }

    /// A group was written: what is kept of it is of no use, and it is synced some time.
    fn on_group_verified(&mut self, key: usize, group: u64) {
        if let Some(Connection::Outbound(outbound)) = self.table.get_mut(key)
            && let Some(download) = outbound.checked_download()
        {
            self.desk.discard_partial(download, group);
        }
        self.arm_sync();
    }

    fn on_message(&mut self, key: usize, message: Message) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let (exchange, from) = (inbound.id(), inbound.from());
        match (inbound.service(), self.bootstrap.as_mut()) {
            (Service::Peer, _) => self.node.handle(self.now, Event::Request { exchange, from, message }),
            (Service::Bootstrap, Some(bootstrap)) => {
                bootstrap.handle(self.now, exchange, from, message);
                let (limited, counted) = (self.node.limited_mut(), bootstrap.limited());
                (limited.registrations_displaced, limited.registrations_refused) = (counted.displaced, counted.refused);
            }
            (Service::Bootstrap, None) => {}
        }
    }

    /// Ends a connection on which something came that is not the protocol.
    fn refuse(&mut self, key: usize, error: &WireError) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let from = inbound.from();
        inbound.socket_mut().end_in_reset();
        self.node.note_refused();
        self.logbook.refused(self.now, error.reason(), Some(from), error);
        self.close(key);
    }

    /// Closes a connection and lets those in that waited for its descriptor.
    pub(super) fn close(&mut self, key: usize) {
        if let Some(Connection::Outbound(outbound)) = self.table.remove(key, &mut self.timers) {
            self.desk.take_remains(outbound.into_remains());
        }
        if self.table.has_room() {
            for listener in &mut self.listeners {
                listener.is_starved = false;
            }
        }
    }

    fn follow_client(&mut self, key: usize, step: ClientStep) {
        let Some(Connection::Client(client)) = self.table.get_mut(key) else { return };
        let id = client.id();
        match step {
            ClientStep::Wait => self.table.arm(key, &mut self.timers),
            ClientStep::Again => {
                self.table.arm(key, &mut self.timers);
                self.table.make_ready(key);
            }
            ClientStep::Calls(calls) => {
                for (call, request) in calls {
                    self.on_call(id, call, request);
                }
                self.carry_out();
                self.table.make_ready(key);
            }
            ClientStep::End(why) => {
                if let Some(why) = why {
                    self.logbook.refused(self.now, "control_client", None, &why);
                }
                self.drop_client(key);
            }
        }
    }

    /// Hangs up on a control client.
    pub(super) fn drop_client(&mut self, key: usize) {
        if let Some(Connection::Client(client)) = self.table.remove(key, &mut self.timers) {
            self.inbox.push_back(Event::ClientGone { client: client.id() });
        }
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.expire(self.now) {
            match timer {
                Timer::Connection(key) => self.on_deadline(key),
                Timer::AcceptAgain => {
                    self.accept_timer_armed = false;
                    self.listeners.iter_mut().for_each(|listener| listener.is_starved = false);
                    self.control_is_ready = true;
                }
                Timer::SaveRegistry => self.save_registry(),
                Timer::Pace(direction) => self.wake_paced(direction),
                Timer::Sync => self.sync_state(),
                Timer::Records => self.retry_records(),
                Timer::StateFiles => self.retry_state_files(),
                Timer::Removals => self.retry_removals(),
                Timer::Orphans => self.search_orphans_again(),
                Timer::LeaveAnyway => self.phase = Phase::Over,
            }
        }
        if is_due(self.node.next_deadline(), self.now) {
            self.node.advance(self.now);
        }
        if let Some(bootstrap) = &mut self.bootstrap
            && is_due(bootstrap.next_deadline(), self.now)
        {
            bootstrap.advance(self.now);
        }
    }

    /// Lets a connection wait until the rate limit gives it something to move.
    fn wait_for_tokens(&mut self, key: usize, direction: Direction) {
        if self.table.wait_for_tokens(key, direction) {
            let at = self.pace.bucket(direction).next(self.now, 1);
            self.timers.insert(at, Timer::Pace(direction));
        }
    }

    /// There are tokens: all that wait share them.
    pub(super) fn wake_paced(&mut self, direction: Direction) {
        let woken = self.table.wake_paced(direction);
        self.pace.bucket(direction).share_among(woken);
    }

    fn on_deadline(&mut self, key: usize) {
        self.table.disarm(key);
        let mut cx = Context {
            now: self.now,
            scratch: &mut self.scratch,
            library: self.node.library(),
            parts: &mut self.desk.open,
            pace: &mut self.pace,
        };
        let step = match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => inbound.on_deadline(&mut cx),
            Some(Connection::Outbound(outbound)) => outbound.on_deadline(&mut cx),
            Some(Connection::Stream(link)) => {
                let flushed = link.on_deadline();
                return self.follow_stream(key, flushed);
            }
            Some(Connection::Check(check)) => {
                let checked = check.on_deadline();
                return self.follow_check(key, checked);
            }
            Some(Connection::Client(_)) => {
                return self.follow_client(key, ClientStep::End(Some("it sends no whole call")));
            }
            None => return,
        };
        self.follow(key, step);
    }

    /// Begins to leave, once.
    pub(super) fn leave(&mut self, why: &str) {
        if self.phase != Phase::Running {
            return;
        }
        info!("leaving ({why})");
        self.phase = Phase::Leaving;
        self.host.leaving();
        self.timers.insert(self.now + LEAVE_MAX, Timer::LeaveAnyway);
        self.save_registry();
        self.retry_state_files();
        self.sync_state();
        self.node.handle(self.now, Event::Leave);
    }

    /// The node has said goodbye.
    pub(super) fn on_left(&mut self) {
        if self.phase == Phase::Leaving {
            self.phase = Phase::Flushing;
        }
    }

    fn leave_if_done(&mut self) {
        if self.phase == Phase::Flushing && !self.helpers.is_syncing() && self.table.clients_are_flushed() {
            self.phase = Phase::Over;
        }
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}

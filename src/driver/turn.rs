//! The loop itself: what happens in one turn, and in which order.

use super::Driver;
use super::cx::{Cx, Phase};
use super::interface_watch::Watch;
use super::net::{Lent, Net, Stepped, directions};
use super::signals::{Asked, Signals};
use super::supervision::Supervision;
use super::tokens::{CLIENTS, CONNECTIONS, CONTROL, METRICS, SCRAPES, SIGNALS, WAKER, WATCH};
use log::debug;
use mio::{Events, Token};
use std::io;
use std::time::Duration;

const EVENTS_MAX: usize = 256;

/// After this long a turn gives way to the next, so that no event waits for much longer.
const TURN_MAX: Duration = Duration::from_millis(5);

/// After this long control clients give way to other connections.
const CLIENTS_MAX: Duration = Duration::from_millis(2);

/// After this long the copying of the registry gives way to the rest of the turn.
const REGISTRY_MAX: Duration = Duration::from_millis(1);

/// A turn beyond this is logged: the budget of its connections, and a slice of each kind of work.
const TURN_SLOW: Duration = Duration::from_millis(10);

impl Driver {
    /// Runs until it is told to leave and has left.
    /// Errors: Only if epoll itself fails.
    pub(crate) fn run(mut self: Box<Self>) -> io::Result<()> {
        // Here too: the loop of a program that embeds it writes in this thread, and in helpers that it starts.
        super::survive_file_size_limit()?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.front.host().ready(&self.facts);
        self.supervision = self.front.host().supervised().map(|supervised| Supervision::new(supervised, self.cx.now));
        self.disk.look_at_directories(self.node.config(), &self.cx);
        self.carry_out();
        self.report_to_host();
        self.release_held();
        while self.cx.phase != Phase::Over {
            let timeout = self.timeout();
            match self.net.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            self.cx.now = self.clock.now();
            for event in &events {
                self.note(event);
            }
            self.turn();
        }
        self.end();
        Ok(())
    }

    /// How long the loop may sleep: not at all while there is work, else until the next deadline.
    fn timeout(&self) -> Option<Duration> {
        let is_busy = self.net.has_work()
            || self.front.has_work()
            || self.disk.has_work()
            || self.node.has_work()
            || self.interface.as_ref().is_some_and(Watch::has_work)
            || !self.cx.out.is_empty();
        if is_busy {
            return Some(Duration::ZERO);
        }
        let bootstrap = self.bootstrap.as_ref().and_then(|bootstrap| bootstrap.next_deadline());
        let leaving = match self.cx.phase {
            Phase::Leaving(until) | Phase::Flushing(until) => Some(until),
            Phase::Running | Phase::Over => None,
        };
        let parts = [
            self.net.next_deadline(),
            self.disk.next_deadline(),
            self.front.next_deadline(),
            self.awaiting_file.look_at,
            self.held_until,
            self.interface.as_ref().map(Watch::next_deadline),
            self.supervision.as_ref().and_then(Supervision::next_deadline),
        ];
        let deadlines = parts.into_iter().chain([self.node.next_deadline(), bootstrap, leaving]);
        let now = self.clock.now();
        let limits = self.rate_orders.next_deadline(now, || self.clock.wall());
        deadlines.chain([limits]).flatten().min().map(|at| at.saturating_since(now))
    }

    /// Notes a readiness event, for later.
    fn note(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => {}
            SIGNALS => self.signals.iter_mut().for_each(Signals::on_ready),
            CONTROL => self.front.on_listener_ready(),
            WATCH => self.disk.on_watch_ready(self.net.registry(), WATCH, self.cx.now),
            METRICS => self.front.on_metrics_ready(),
            Token(token) if (CLIENTS.0..CONNECTIONS.0).contains(&token) => {
                let (readable, writable, _) = directions(event);
                match token.checked_sub(SCRAPES.0) {
                    Some(slot) => self.front.on_scrape_ready(slot, readable, writable),
                    None => self.front.on_client_ready(token - CLIENTS.0, readable, writable),
                }
            }
            _ => self.net.note(event),
        }
    }

    fn turn(&mut self) {
        let began = self.clock.fine();
        // Events are dated.
        let wall = self.clock.wall();
        self.node.set_wall_clock(wall);
        self.follow_limit_times(wall);
        self.hear_handle_and_signals();
        self.disk.receive(&mut self.net, &mut self.cx);
        self.net.note_hung(self.disk.descriptors_of_hung());
        self.net.expect_descriptors(self.disk.gives_descriptors_back(self.cx.now));
        self.carry_out();
        self.front.accept(self.net.registry(), &mut self.cx);
        self.net.accept(&mut self.cx);
        self.front.serve_metrics(self.net.registry(), &mut self.cx);
        self.carry_out();
        // Those that are ready now have one step each; what they make ready waits for the next turn.
        for _ in 0..self.front.ready_len() {
            if !self.front.step(&mut self.cx) {
                break;
            }
            self.carry_out();
            if !self.clock.within(began, CLIENTS_MAX) {
                break;
            }
        }
        // Control clients do not take the time of the other connections, however long one step of theirs took.
        let net_began = self.clock.fine();
        for _ in 0..self.net.ready_len() {
            let Some(key) = self.net.pop_ready() else { break };
            self.advance(key, Net::step);
            if !self.clock.within(net_began, TURN_MAX - CLIENTS_MAX) && !self.clock.within(began, TURN_MAX) {
                break;
            }
        }
        self.pass_time();
        self.work();
        self.carry_out();
        self.net.end_surplus_streams(&mut self.cx);
        self.disk.tend_shared(self.net.has_ample_descriptors(), self.cx.now);
        self.net.expect_descriptors(self.disk.gives_descriptors_back(self.cx.now));
        self.respond_to_waiting();
        self.carry_out();
        self.report_to_host();
        self.release_held();
        self.leave_if_done();
        let took = self.clock.fine().saturating_sub(began);
        self.turns.record(took);
        if took >= TURN_SLOW {
            debug!(duration_ms = took.as_millis() as u64; "a turn of the loop was slow");
        }
    }

    /// A step of a connection. What comes of it is carried out before the connection may be found to wait.
    fn advance(&mut self, key: usize, step: fn(&mut Net, usize, Lent<'_>, &mut Cx) -> Stepped) {
        let lent = Lent { library: self.node.library(), parts: self.disk.open_parts() };
        let stepped = step(&mut self.net, key, lent, &mut self.cx);
        self.carry_out();
        self.net.settle(stepped, &mut self.cx);
    }

    fn hear_handle_and_signals(&mut self) {
        if self.handle.has_quit() {
            self.leave("asked by its owner");
        }
        self.handle.take_guests().into_iter().for_each(|guest| self.front.admit(guest));
        while let Some(asked) = self.signals.as_mut().and_then(|signals| signals.poll()) {
            match asked {
                Asked::Leave => self.leave("signal"),
                Asked::Reload => self.begin_reload(None),
            }
        }
    }

    fn pass_time(&mut self) {
        let now = self.cx.now;
        self.look_at_interface();
        self.net.wake(now);
        while let Some(key) = self.net.pop_due(now) {
            self.advance(key, Net::on_deadline);
        }
        self.front.expire(&mut self.cx);
        self.disk.advance(self.node.config(), &mut self.cx);
        if self.node.next_deadline().is_some_and(|at| at <= now) {
            self.node.advance(now);
        }
        if let Some(bootstrap) = &mut self.bootstrap
            && bootstrap.next_deadline().is_some_and(|at| at <= now)
        {
            bootstrap.advance(now);
        }
    }

    fn work(&mut self) {
        self.disk.scan_slice(&mut self.cx);
        self.disk.sync_parts(false);
        if let Some(bootstrap) = &self.bootstrap {
            let (began, wall) = (self.clock.fine(), self.clock.wall());
            while self.disk.save_registry(bootstrap, wall, self.cx.now) && self.clock.within(began, REGISTRY_MAX) {}
        }
        if self.node.has_work() {
            self.node.work(self.cx.now);
        }
    }
}

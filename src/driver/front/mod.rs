//! The control socket, its clients, those that read the metrics, and the program that runs the loop.
//!
//! Passes calls on, and holds replies until they are read. The node and the loop execute calls.

mod client;
mod clients;
mod listener;
mod reloads;
mod scrapes;

pub(crate) use listener::check_control_socket;
pub(crate) use listener::{BindFault, ControlListener};
pub(crate) use reloads::Caller;
pub(crate) use scrapes::MetricsListener;

use super::cx::{Cx, Output};
use super::host::{Host, ReloadJob};
use super::interface::Interface;
use super::passed::KEPT_METRICS;
use super::refusals::Refusals;
use super::socket::{Readiness, Step};
use crate::control::{CallError, CallId, Problem, Reply, encode_reply};
use crate::id::ClientId;
use crate::node::Event;
use crate::time::Instant;
use client::ControlClient;
use clients::Clients;
use listener::turn_away;
use log::warn;
use mio::Registry;
use mio::net::UnixStream;
use nix::errno::Errno;
use reloads::Reloads;
use scrapes::Scrapes;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// How soon accepting is tried again after a failure.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Front {
    listener: Option<ControlListener>,
    accepting: Readiness,
    /// Clients of the program that embeds the loop, which have no slot yet.
    guests: VecDeque<UnixStream>,
    full_since: Option<Instant>,
    retry_at: Option<Instant>,
    clients: Clients,
    reloads: Reloads,
    scrapes: Scrapes,
    refusals: Refusals,
    host: Box<dyn Host>,
}

impl Front {
    pub(crate) fn new(
        listener: Option<ControlListener>,
        metrics: Option<MetricsListener>,
        host: Box<dyn Host>,
    ) -> Self {
        Self {
            listener,
            accepting: Readiness::none(),
            guests: VecDeque::new(),
            full_since: None,
            retry_at: None,
            clients: Clients::default(),
            reloads: Reloads::default(),
            scrapes: Scrapes::new(metrics),
            refusals: Refusals::default(),
            host,
        }
    }

    pub(crate) fn host(&mut self) -> &mut dyn Host {
        &mut *self.host
    }

    /// Leaves the control socket and the listener of the metrics to the next run, with those who wait there. Those that were
    /// accepted are served to the end.
    pub(crate) fn hand_over_listeners(&mut self, registry: &Registry) {
        if let Some(listener) = self.listener.take() {
            // Fails where the service manager does not listen: then ours goes on until the end.
            if self.host.hand_over(&listener.kept_name(), &[listener.as_fd()], true) {
                listener.leave(registry);
            } else {
                self.listener = Some(listener);
            }
        }
        let host = &mut self.host;
        self.scrapes.hand_over_listener(registry, |listener| host.hand_over(KEPT_METRICS, &[listener], true));
    }

    pub(crate) fn on_listener_ready(&mut self) {
        self.accepting.note(true);
    }

    pub(crate) fn on_client_ready(&mut self, slot: usize, readable: bool, writable: bool) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.on_ready(readable, writable);
            self.clients.make_ready(slot);
        }
    }

    /// Listens for those that read the metrics again if the interface was made again.
    pub(crate) fn listen_again(&mut self, interface: &Interface, registry: &Registry) -> io::Result<()> {
        self.scrapes.listen_again(interface, registry)
    }

    pub(crate) fn on_metrics_ready(&mut self) {
        self.scrapes.on_listener_ready();
    }

    pub(crate) fn on_scrape_ready(&mut self, slot: usize, readable: bool, writable: bool) {
        self.scrapes.on_ready(slot, readable, writable);
    }

    /// Accepts and advances those that read the metrics.
    pub(crate) fn serve_metrics(&mut self, registry: &Registry, cx: &mut Cx) {
        self.scrapes.advance(registry, cx);
    }

    /// Answers one that asked for the metrics.
    pub(crate) fn answer_scrape(&mut self, slot: usize, text: &str) {
        self.scrapes.answer(slot, text);
    }

    /// How often something was refused since start, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.counts()
    }

    pub(crate) fn has_work(&self) -> bool {
        let may_accept = self.full_since.is_none() || !self.clients.is_full();
        let someone_waits = (self.accepting.is_ready() && self.listener.is_some()) || !self.guests.is_empty();
        self.clients.ready_len() > 0 || (someone_waits && may_accept) || self.scrapes.has_work()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let parts = [self.clients.next_deadline(), self.scrapes.next_deadline(), self.refusals.next_deadline()];
        parts.into_iter().chain([self.retry_at]).flatten().min()
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.are_flushed() && self.scrapes.are_flushed()
    }

    /// Accepts waiting clients, as far as there are slots for them.
    pub(crate) fn accept(&mut self, registry: &Registry, cx: &mut Cx) {
        if !self.clients.is_full() {
            self.full_since = None;
        }
        if !self.seat_guests(registry, cx) {
            return;
        }
        while self.accepting.is_ready() {
            let is_full = self.clients.is_full();
            let idlest = if is_full { self.clients.idlest(cx.now) } else { None };
            if is_full && idlest.is_none() && !self.stays_full(cx.now) {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match self.accepting.attempt(|| listener.accept()) {
                Ok(Ok(Ok(stream))) => self.seat(stream, (is_full, idlest), registry, cx),
                Ok(Ok(Err(why))) => self.refuse(cx.now, "control_credentials", &why),
                Ok(Err(_)) => return,
                Err(error) => {
                    if is_out_of_descriptors(&error)
                        && let Some(slot) = self.clients.idlest(cx.now)
                    {
                        let detail = &"no descriptor is free: the client that was idle for longest is closed";
                        self.close_idle(slot, detail, cx);
                        continue;
                    }
                    // It still waits, and epoll does not report it again.
                    self.refuse(cx.now, "control_accept", &error);
                    self.accepting.give_up();
                    self.accept_later(cx.now);
                }
            }
        }
    }

    /// Takes a client of the program that embeds the loop, as soon as there is a slot for it.
    pub(crate) fn admit(&mut self, guest: std::os::unix::net::UnixStream) {
        self.guests.push_back(UnixStream::from_std(guest));
    }

    /// Gives slots to guests. False if one waits for a slot.
    fn seat_guests(&mut self, registry: &Registry, cx: &mut Cx) -> bool {
        while let Some(guest) = self.guests.pop_front() {
            let is_full = self.clients.is_full();
            let idlest = if is_full { self.clients.idlest(cx.now) } else { None };
            if is_full && idlest.is_none() && !self.stays_full(cx.now) {
                self.guests.push_front(guest);
                return false;
            }
            self.seat(guest, (is_full, idlest), registry, cx);
        }
        true
    }

    /// Gives a client a slot, that of the one that was idle for longest if all are taken, or turns it away.
    fn seat(&mut self, stream: UnixStream, (is_full, idlest): (bool, Option<usize>), registry: &Registry, cx: &mut Cx) {
        if is_full && idlest.is_none() {
            turn_away(stream, Problem::TooManyClients);
            return self.refuse(cx.now, "control_clients", &"as many as there may be are connected");
        }
        let detail = &"too many control clients: the one that was idle for longest is closed";
        idlest.into_iter().for_each(|slot| self.close_idle(slot, detail, cx));
        if let Err(error) = self.clients.admit(stream, registry, cx.now) {
            warn!("cannot serve a control client: {error}");
        }
    }

    /// Advances the next ready client. False if there is none.
    pub(crate) fn step(&mut self, cx: &mut Cx) -> bool {
        let Some(slot) = self.clients.pop_ready() else { return false };
        let Some(client) = self.clients.get_mut(slot) else { return true };
        let id = client.id;
        match client.advance(&mut cx.scratch, cx.now) {
            Step::Wait(_) | Step::Idle | Step::Reading(_) | Step::Paced(_) => {}
            Step::Again => self.clients.make_ready(slot),
            Step::Report(calls) => {
                calls.into_iter().for_each(|(call, request)| cx.out.push(Output::Call(id, call, request)));
                self.clients.make_ready(slot);
            }
            Step::End(why) => self.close(slot, why, cx),
        }
        true
    }

    /// At least the number of clients that are ready.
    pub(crate) fn ready_len(&self) -> usize {
        self.clients.ready_len()
    }

    /// Closes clients whose deadline has passed, and tries again to accept.
    pub(crate) fn expire(&mut self, cx: &mut Cx) {
        self.refusals.report(cx.now);
        if self.retry_at.take_if(|at| *at <= cx.now).is_some() {
            self.accepting.note(true);
        }
        while let Some(slot) = self.clients.overdue(cx.now) {
            self.close(slot, Some("it sends no whole call"), cx);
        }
    }

    pub(crate) fn reply(
        &mut self,
        (client, call): (ClientId, &CallId),
        outcome: &Result<Reply, CallError>,
        cx: &mut Cx,
    ) {
        self.push_by(client, cx, |connection| connection.push_reply(&encode_reply(call, outcome)));
    }

    /// Queues a line for a client; closes one that does not read.
    pub(crate) fn push_line(&mut self, client: ClientId, line: &[u8], cx: &mut Cx) {
        self.push_by(client, cx, |connection| connection.push(line));
    }

    /// Begins a reload, or queues one behind the running one. Returns the job that reads the configuration, if it is to run now.
    /// Errors: for the caller if too many wait.
    pub(crate) fn begin_reload(&mut self, caller: Option<Caller>) -> Result<Option<ReloadJob>, (Caller, CallError)> {
        match self.reloads.begin(caller) {
            Ok(begins) => Ok(begins.then(|| self.host.reload())),
            Err((caller, waiting)) => Err((caller, Problem::TooManyReloads(waiting).into())),
        }
    }

    /// Replies to the callers of the reload. Returns the job of the next one, if there is one.
    pub(crate) fn end_reload(&mut self, outcome: &Result<Reply, CallError>, cx: &mut Cx) -> Option<ReloadJob> {
        let (callers, another) = self.reloads.end();
        for (client, call) in callers {
            self.reply((client, &call), outcome, cx);
        }
        another.then(|| self.host.reload())
    }

    fn push_by(&mut self, client: ClientId, cx: &mut Cx, push: impl FnOnce(&mut ControlClient) -> bool) {
        let Some(slot) = self.clients.slot_of(client) else { return };
        let Some(connection) = self.clients.get_mut(slot) else { return };
        if push(connection) {
            self.clients.make_ready(slot);
        } else {
            self.close(slot, Some("it does not read"), cx);
        }
    }

    fn close_idle(&mut self, slot: usize, detail: &dyn std::fmt::Display, cx: &mut Cx) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.give_way();
        }
        self.refuse(cx.now, "control_clients", detail);
        self.close(slot, None, cx);
    }

    /// Closes a client. `why`: for the log.
    fn close(&mut self, slot: usize, why: Option<&'static str>, cx: &mut Cx) {
        if let Some(why) = why {
            self.refuse(cx.now, "control_client", &why);
        }
        cx.out.extend(self.clients.remove(slot).map(|client| Event::ClientGone { client: client.id }));
    }

    /// Whether the slots have been taken for so long that further clients are rejected.
    fn stays_full(&mut self, now: Instant) -> bool {
        let since = *self.full_since.get_or_insert(now);
        self.accept_later(now);
        now.saturating_since(since) >= ACCEPT_AGAIN
    }

    fn accept_later(&mut self, now: Instant) {
        self.retry_at.get_or_insert(now + ACCEPT_AGAIN);
    }

    fn refuse(&mut self, now: Instant, reason: &'static str, detail: &dyn std::fmt::Display) {
        self.refusals.refused(now, reason, None, detail);
    }
}

/// Whether closing a client makes room for another. Of the table of the whole system (ENFILE) any process may take the place.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMFILE as i32)
}

//! The control socket, its clients, and the program that runs the loop.
//!
//! Owns what a client or the program asks of the loop until it is reported, and the replies until they are read. What a call
//! means is for the node and the loop to say.

mod client;
mod clients;
mod listener;
mod reloads;

pub(crate) use listener::check_control_socket;
pub(crate) use listener::{BindFault, ControlListener};
pub(crate) use reloads::Caller;

use super::cx::{Cx, Output};
use super::host::{Host, ReloadJob};
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
use reloads::Reloads;
use std::time::Duration;

/// How soon a listener that cannot accept tries again.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// The control socket and the program behind the loop.
pub(crate) struct Front {
    listener: Option<ControlListener>,
    /// Whether the listener may have clients to accept.
    accepting: Readiness,
    /// Since when there is no place for another client.
    full_since: Option<Instant>,
    /// When the listener is looked at again.
    retry_at: Option<Instant>,
    clients: Clients,
    reloads: Reloads,
    refusals: Refusals,
    host: Box<dyn Host>,
}

impl Front {
    pub(crate) fn new(listener: Option<ControlListener>, host: Box<dyn Host>) -> Self {
        Self {
            listener,
            accepting: Readiness::none(),
            full_since: None,
            retry_at: None,
            clients: Clients::default(),
            reloads: Reloads::default(),
            refusals: Refusals::default(),
            host,
        }
    }

    pub(crate) fn host(&mut self) -> &mut dyn Host {
        &mut *self.host
    }

    pub(crate) fn on_listener_ready(&mut self) {
        self.accepting.note(true);
    }

    pub(crate) fn on_client_ready(&mut self, place: usize, readable: bool, writable: bool) {
        if let Some(client) = self.clients.get_mut(place) {
            client.on_ready(readable, writable);
            self.clients.make_ready(place);
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        let may_accept = self.full_since.is_none() || !self.clients.is_full();
        self.clients.ready_len() > 0 || (self.accepting.is_ready() && may_accept)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.clients.next_deadline()).min()
    }

    /// Whether every client has read what was for it.
    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.are_flushed()
    }

    /// Takes the clients that wait, as far as there are places for them.
    pub(crate) fn accept(&mut self, registry: &Registry, cx: &mut Cx) {
        if !self.clients.is_full() {
            self.full_since = None;
        }
        while self.accepting.is_ready() {
            let is_full = self.clients.is_full();
            let idlest = if is_full { self.clients.idlest(cx.now) } else { None };
            if is_full && idlest.is_none() && !self.stays_full(cx.now) {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match self.accepting.attempt(|| listener.accept()) {
                Ok(Ok(Ok(stream))) if is_full && idlest.is_none() => {
                    turn_away(stream, Problem::TooManyClients);
                    self.refuse(cx.now, "control_clients", &"as many as there may be are connected");
                }
                Ok(Ok(Ok(stream))) => {
                    idlest.into_iter().for_each(|place| self.dismiss_idle(place, cx));
                    if let Err(error) = self.clients.admit(stream, registry, cx.now) {
                        warn!("cannot serve a control client: {error}");
                    }
                }
                Ok(Ok(Err(why))) => self.refuse(cx.now, "control_credentials", &why),
                Ok(Err(_)) => return,
                Err(error) => {
                    // It still waits, and nothing will tell of it again.
                    self.refuse(cx.now, "control_accept", &error);
                    self.accepting.give_up();
                    self.accept_later(cx.now);
                }
            }
        }
    }

    /// Gives the client whose turn it is one step. False if there is none.
    pub(crate) fn step(&mut self, cx: &mut Cx) -> bool {
        let Some(place) = self.clients.pop_ready() else { return false };
        let Some(client) = self.clients.get_mut(place) else { return true };
        let id = client.id();
        match client.advance(&mut cx.scratch, cx.now) {
            Step::Wait(_) | Step::Idle | Step::Paced(_) => {}
            Step::Again => self.clients.make_ready(place),
            Step::Report(calls) => {
                calls.into_iter().for_each(|(call, request)| cx.out.push(Output::Call(id, call, request)));
                self.clients.make_ready(place);
            }
            Step::End(why) => self.hang_up(place, why, cx),
        }
        true
    }

    /// How many clients wait for their turn, at most.
    pub(crate) fn ready_len(&self) -> usize {
        self.clients.ready_len()
    }

    /// Hangs up on clients that send no whole call, and looks again for new ones.
    pub(crate) fn expire(&mut self, cx: &mut Cx) {
        if self.retry_at.take_if(|at| *at <= cx.now).is_some() {
            self.accepting.note(true);
        }
        while let Some(place) = self.clients.overdue(cx.now) {
            self.hang_up(place, Some("it sends no whole call"), cx);
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

    /// Queues a line for a client; one that does not read is hung up on.
    pub(crate) fn push_line(&mut self, client: ClientId, line: &[u8], cx: &mut Cx) {
        self.push_by(client, cx, |connection| connection.push(line));
    }

    /// Begins a reload, or has one follow that which runs: the job that reads the configuration, if it is to run now.
    /// Errors: for the caller when too many wait.
    pub(crate) fn begin_reload(&mut self, caller: Option<Caller>) -> Result<Option<ReloadJob>, (Caller, CallError)> {
        match self.reloads.begin(caller) {
            Ok(begins) => Ok(begins.then(|| self.host.reload())),
            Err((caller, waiting)) => Err((caller, Problem::TooManyReloads(waiting).into())),
        }
    }

    /// Answers those who waited for the reload. The job of the next one, if one follows.
    pub(crate) fn end_reload(&mut self, outcome: &Result<Reply, CallError>, cx: &mut Cx) -> Option<ReloadJob> {
        let (callers, another) = self.reloads.end();
        for (client, call) in callers {
            self.reply((client, &call), outcome, cx);
        }
        another.then(|| self.host.reload())
    }

    fn push_by(&mut self, client: ClientId, cx: &mut Cx, push: impl FnOnce(&mut ControlClient) -> bool) {
        let Some(place) = self.clients.place_of(client) else { return };
        let Some(connection) = self.clients.get_mut(place) else { return };
        if push(connection) {
            self.clients.make_ready(place);
        } else {
            self.hang_up(place, Some("it does not read"), cx);
        }
    }

    /// An idle client gives way to another.
    fn dismiss_idle(&mut self, place: usize, cx: &mut Cx) {
        if let Some(client) = self.clients.get_mut(place) {
            client.give_way();
        }
        self.refuse(
            cx.now,
            "control_clients",
            &"too many control clients: the one that was idle for longest is closed",
        );
        self.hang_up(place, None, cx);
    }

    /// Hangs up on a client, for a reason that is worth a line in the log or not.
    fn hang_up(&mut self, place: usize, why: Option<&'static str>, cx: &mut Cx) {
        if let Some(why) = why {
            self.refuse(cx.now, "control_client", &why);
        }
        cx.out.extend(self.clients.remove(place).map(|client| Event::ClientGone { client: client.id() }));
    }

    /// Whether the places have been taken for so long that others need not wait for one.
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

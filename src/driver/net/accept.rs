//! Letting connections and control clients in, within the descriptors and places that there are.

use crate::driver::Driver;
use crate::driver::front::control::{CONTROL_CLIENTS_MAX, ControlClient, turn_away};
use crate::driver::net::budget::{Exhausted, Use};
use crate::driver::net::exchange::Inbound;
use crate::driver::net::listener::Accepted;
use crate::driver::net::socket::Socket;
use crate::driver::net::table::{Connection, Requester};
use crate::driver::net::timers::Timer;
use crate::id::ExchangeId;
use crate::network::Network;
use crate::node::contract::ResponseFault;
use log::warn;
use mio::net::TcpStream;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections accepted by one listener in one turn.
const ACCEPTS_PER_TURN_MAX: usize = 64;

/// How soon a starved listener tries again if no connection of ours closes.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

impl Driver {
    /// Takes the control clients that wait, as far as there are places for them.
    pub(in crate::driver) fn accept_clients(&mut self) {
        if self.table.clients() < CONTROL_CLIENTS_MAX {
            self.control_full_since = None;
        }
        while self.control_is_ready {
            let is_full = self.table.clients() >= CONTROL_CLIENTS_MAX;
            let idlest = if is_full { self.table.idlest_client(self.now) } else { None };
            if is_full && idlest.is_none() && !self.control_stays_full() {
                return;
            }
            let Some(control) = &self.control else { return };
            match control.accept() {
                Ok(Ok(stream)) if is_full && idlest.is_none() => {
                    turn_away(stream);
                    self.logbook.refused(self.now, "control_clients", None, &"as many as there may be are connected");
                }
                Ok(Ok(stream)) => {
                    idlest.into_iter().for_each(|key| self.dismiss_idle(key));
                    let id = self.next_client();
                    let token = self.table.next_token();
                    match ControlClient::register(id, stream, self.poll.registry(), token, self.now) {
                        Ok(client) => {
                            let key = self.table.insert(Connection::Client(client), None, 0);
                            self.table.arm(key, &mut self.timers);
                        }
                        Err(error) => warn!("cannot serve a control client: {error}"),
                    }
                }
                Ok(Err(why)) => self.logbook.refused(self.now, "control_credentials", None, &why),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.control_is_ready = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // It still waits, and nothing will tell of it again.
                    self.logbook.refused(self.now, "control_accept", None, &error);
                    self.control_is_ready = false;
                    self.accept_later();
                }
            }
        }
    }

    /// An idle control client gives way to another.
    fn dismiss_idle(&mut self, key: usize) {
        if let Some(Connection::Client(client)) = self.table.get_mut(key) {
            client.give_way();
        }
        self.logbook.refused(
            self.now,
            "control_clients",
            None,
            &"too many control clients: the one that was idle for longest is closed",
        );
        self.drop_client(key);
    }

    /// Whether it is worth looking for a control client now.
    pub(in crate::driver) fn may_accept_clients(&self) -> bool {
        self.table.clients() < CONTROL_CLIENTS_MAX || self.control_full_since.is_none()
    }

    /// Whether the places for control clients have been taken for so long that others need not wait for one.
    fn control_stays_full(&mut self) -> bool {
        let since = *self.control_full_since.get_or_insert(self.now);
        self.accept_later();
        self.now.saturating_since(since) >= ACCEPT_AGAIN
    }

    /// Takes the connections that wait, as far as there are descriptors for them.
    pub(in crate::driver) fn accept_connections(&mut self) {
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN_MAX {
                let listener = &mut self.listeners[index];
                if !listener.is_ready || listener.is_starved {
                    break;
                }
                if !self.table.has_room() && self.table.evictions().victim(None, None, self.now).is_none() {
                    self.starve(index);
                    break;
                }
                match listener.accept() {
                    Accepted::Connection(stream, from) => self.admit(stream, from, index),
                    Accepted::Nobody => break,
                    Accepted::Starved => self.starve(index),
                }
            }
        }
    }

    /// No descriptor is free for this listener: it waits until one is.
    fn starve(&mut self, index: usize) {
        self.listeners[index].is_starved = true;
        self.logbook.refused(self.now, "no_descriptor", None, &"connections wait until another one closes");
        self.accept_later();
    }

    fn accept_later(&mut self) {
        if !std::mem::replace(&mut self.accept_timer_armed, true) {
            self.timers.insert(self.now + ACCEPT_AGAIN, Timer::AcceptAgain);
        }
    }

    /// Takes a descriptor. If there is none, an inbound connection gives up its own.
    pub(in crate::driver) fn take_displacing(&mut self, by: Use) -> Result<(), Exhausted> {
        let Err(exhausted) = self.table.take(by) else { return Ok(()) };
        let victim = match (by, exhausted) {
            (Use::Inbound(address), Exhausted::ForNetwork) => self.table.evictions().victim_of(Network::of(address)),
            (Use::Inbound(address), Exhausted::InAll) => {
                self.table.evictions().victim(Some(Network::of(address)), None, self.now)
            }
            (Use::Own | Use::File, _) => self.table.evictions().idle_victim(self.now),
        };
        self.displace(victim.ok_or(exhausted)?);
        self.table.take(by)
    }

    /// The same for a file that a peer asked for.
    pub(in crate::driver) fn take_for_file(&mut self, requester: Requester) -> Result<(), Exhausted> {
        let Err(exhausted) = self.table.take(Use::File) else { return Ok(()) };
        let victim = self.table.evictions().victim(Some(Network::of(requester.addr.ip())), requester.key, self.now);
        self.displace(victim.ok_or(exhausted)?);
        self.table.take(Use::File)
    }

    /// Closes a connection whose descriptor others need, and tells the node what that ends.
    fn displace(&mut self, key: usize) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let (from, progress, ended) =
            (inbound.from(), inbound.progress(), inbound.broken_off(ResponseFault::Displaced));
        self.inbox.extend(progress.into_iter().chain(ended));
        self.close(key);
        self.node.limited_mut().connections_displaced += 1;
        self.logbook.refused(self.now, "displaced", Some(from), &"others need the descriptor of this connection");
    }

    /// Ends idle streams of networks that have too many of them.
    pub(in crate::driver) fn end_surplus_streams(&mut self) {
        while let Some(key) = self.table.next_surplus_stream() {
            let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
            inbound.end_stream(self.now);
            self.table.arm(key, &mut self.timers);
            self.node.limited_mut().streams_displaced += 1;
        }
    }

    fn admit(&mut self, stream: TcpStream, from: SocketAddr, index: usize) {
        let by = Use::Inbound(from.ip());
        if self.take_displacing(by).is_err() {
            // It is gone before it was here; a reset says so at once and leaves no state behind.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            self.node.limited_mut().connections_refused += 1;
            let detail = &"its network holds its share of the connections, and all of them are at work";
            return self.logbook.refused(self.now, "network_share", Some(from), detail);
        }
        let service = self.listeners[index].service;
        match Socket::register(stream, self.poll.registry(), self.table.next_token()) {
            Ok(socket) => {
                self.exchanges_accepted += 1;
                let id = ExchangeId::Inbound(self.exchanges_accepted);
                let inbound = Inbound::new(id, from, service, socket, self.now);
                self.table.insert(Connection::Inbound(inbound), Some(by), 0);
            }
            Err(error) => {
                self.table.give_back(by);
                self.logbook.refused(self.now, "register", Some(from), &error);
            }
        }
    }
}

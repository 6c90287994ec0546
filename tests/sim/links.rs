//! Connections between hosts: how they arrive, carry messages, and end. Keeps the contract's promise of
//! exactly one ending event for each side that is owed one.

use crate::addresses::is_silent;
use crate::conn::{Conn, ConnId, Side, Want};
use crate::host::{HostId, Program};
use crate::rogue::Sending;
use crate::world::{Occurrence, Sent, World};
use pyrate::fault::DialFault;
use pyrate::id::ExchangeId;
use pyrate::node::contract::{Dialled, Event, Response, ResponseFault};
use pyrate::wire::{Message, decode};
use std::net::SocketAddr;

impl World {
    /// Begins a connection.
    pub(crate) fn dial(
        &mut self,
        host: HostId,
        exchange: ExchangeId,
        to: SocketAddr,
        messages: Vec<Message>,
        want: Want,
    ) -> ConnId {
        let is_node = matches!(self.hosts[host.0].program, Program::Node(_));
        let to_bootstrap = self.by_addr.get(&to).is_some_and(|id| self.hosts[id.0].is_bootstrap());
        let command = is_node && !to_bootstrap;
        self.hosts[host.0].commands += usize::from(command);
        if is_node {
            self.watch_dial(host, to, to_bootstrap, &messages, &want);
        }
        self.record(host, &messages);
        let id = self.connect(host, exchange, to, messages, want);
        if let Some(side) = self.conns.get_mut(&id).and_then(|conn| conn.dialer.as_mut()) {
            side.command = command;
        }
        if self.exchanges.insert((host, exchange), id).is_some() {
            self.violation(host, "an exchange was numbered twice");
        }
        id
    }

    /// Notes messages for scenarios that look at the traffic.
    pub(crate) fn record(&mut self, host: HostId, messages: &[Message]) {
        if self.record {
            let sent = |message: &Message| Sent { from: host, message: message.clone() };
            self.traffic.extend(messages.iter().map(sent));
        }
    }

    /// A connection on its way.
    pub(crate) fn connect(
        &mut self,
        host: HostId,
        exchange: ExchangeId,
        to: SocketAddr,
        messages: Vec<Message>,
        want: Want,
    ) -> ConnId {
        self.conns_made += 1;
        let id = ConnId(self.conns_made);
        let port = 32_768 + u16::try_from(self.conns_made % 28_000).unwrap();
        let conn = Conn {
            dialer: Some(Side { host, exchange, command: false }),
            server: None,
            local: SocketAddr::new(self.hosts[host.0].ip(), port),
            to,
            want,
            messages: messages.into(),
            asked: None,
            owed: 0,
            responding: None,
            uploading: false,
            waiting: Vec::new(),
            delivering: true,
            said_until: self.now,
            aborted: false,
            stopped: false,
            closed: false,
            brings: None,
            frozen: false,
            progress: self.now,
        };
        self.conns.insert(id, conn);
        let latency = self.latency();
        self.plan(latency, Occurrence::Arrive(id));
        self.plan_idle(id);
        id
    }

    /// A rogue's connection, of whose end nobody is told.
    pub(crate) fn send_all(&mut self, host: HostId, sendings: Vec<Sending>) {
        for (to, messages) in sendings {
            self.hosts[host.0].dialled += 1;
            let exchange = ExchangeId::Outbound(self.hosts[host.0].dialled);
            self.dial(host, exchange, to, messages, Want::Nothing);
        }
    }

    pub(crate) fn latency(&mut self) -> u64 {
        let range = self.net.latency_ms.clone();
        self.random.within(&range)
    }

    fn plan_idle(&mut self, id: ConnId) {
        let at = self.conns[&id].progress + self.conns[&id].want.idle_max();
        self.plan(at.saturating_since(self.now).as_millis() as u64, Occurrence::Idle(id));
    }

    pub(crate) fn arrive(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.frozen) else { return };
        let Some(dialer) = conn.dialer else { return };
        let to = conn.to;
        if self.callers.contains_key(&to) {
            return self.arrive_at_caller(id, dialer, to);
        }
        if is_silent(to.ip()) {
            return self.freeze(id);
        }
        let server = self.by_addr.get(&to).copied();
        let latency = self.latency();
        let Some(server) = server.filter(|server| self.hosts[server.0].up) else {
            let fault = if server.is_some() { DialFault::Refused } else { DialFault::Unreachable };
            return self.plan(latency, Occurrence::DialerEnds(id, Err(fault)));
        };
        if self.hosts[server.0].side != self.hosts[dialer.host.0].side {
            // Nothing comes back; the dialer gives up in its time.
            return self.freeze(id);
        }
        let lost = self.net.lost_per_mille;
        if self.random.chance(lost) {
            return self.plan(latency, Occurrence::DialerEnds(id, Err(DialFault::Reset)));
        }
        let host = &mut self.hosts[server.0];
        host.accepted += 1;
        let exchange = ExchangeId::Inbound(host.accepted);
        self.exchanges.insert((server, exchange), id);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.server = Some(Side { host: server, exchange, command: false });
        }
        self.stream_opened(id);
        self.deliver_message(id);
    }

    /// The next message reaches the server, as bytes would: written and read.
    pub(crate) fn deliver_message(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.frozen) else { return };
        let Some(side) = conn.server else { return };
        conn.delivering = conn.messages.len() > 1;
        let Some(sent) = conn.messages.pop_front() else { return };
        conn.progress = now;
        conn.owed += 1;
        conn.asked = Some(sent.clone());
        let (from, to, more) = (conn.local, conn.to, conn.delivering);
        let message = match decode(&sent.encode()) {
            Ok(message) if message == sent => message,
            other => self.violation(side.host, &format!("{sent:?} was read as {other:?}")),
        };
        if more {
            let pause = 1 + self.random.below(5);
            self.plan(pause, Occurrence::Deliver(id));
        }
        match &mut self.hosts[side.host.0].program {
            Program::Node(_) => {
                self.watch_request(side.host, from, &message);
                self.deliver(side.host, Event::Request { exchange: side.exchange, from, message });
            }
            Program::Bootstrap(bootstrap) => {
                if let Some(bootstrap) = bootstrap {
                    bootstrap.handle(now, side.exchange, from, message);
                }
                self.settle(side.host);
            }
            Program::Rogue(rogue) => {
                let (answer, sendings) = rogue.on_request(to, &message);
                self.hosts[side.host.0].received.push((now, from, message));
                self.send_all(side.host, sendings);
                self.answer_of_rogue(id, side, answer);
            }
        }
    }

    /// The server has answered in full; it hears no more of this connection.
    pub(crate) fn server_done(&mut self, id: ConnId) {
        let Some(side) = self.conns.get_mut(&id).and_then(|conn| conn.server.take()) else { return };
        self.exchanges.remove(&(side.host, side.exchange));
        self.hosts[side.host.0].commands -= usize::from(side.command);
        if let Some(conn) = self.conns.get_mut(&id)
            && std::mem::take(&mut conn.uploading)
        {
            self.hosts[side.host.0].uploads -= 1;
        }
        self.forget_if_over(id);
    }

    /// A response of the server ended, and a node is told.
    pub(crate) fn server_ended(&mut self, id: ConnId, outcome: Result<u64, ResponseFault>) {
        let Some(side) = self.conns.get(&id).and_then(|conn| conn.server) else { return };
        self.server_done(id);
        if matches!(self.hosts[side.host.0].program, Program::Node(_)) {
            self.deliver(side.host, Event::ResponseEnded { exchange: side.exchange, outcome });
        }
    }

    /// The other side is gone: a server that owes an answer, or is sending one, hears of it.
    pub(crate) fn server_loses(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let Some(side) = conn.server else { return };
        if conn.responding.is_some() {
            let fault = if conn.stopped { ResponseFault::Aborted } else { ResponseFault::Gone };
            return self.server_ended(id, Err(fault));
        }
        let owed = conn.owed > 0;
        self.server_done(id);
        if owed && matches!(self.hosts[side.host.0].program, Program::Node(_)) {
            self.deliver(side.host, Event::RequestGone { exchange: side.exchange });
        }
    }

    pub(crate) fn end_in_order(&mut self, id: ConnId, response: Response) {
        let Some(local) = self.conns.get(&id).map(|conn| conn.local) else { return };
        let latency = self.latency();
        self.plan(latency, Occurrence::DialerEnds(id, Ok(Dialled { local, response })));
    }

    pub(crate) fn break_off(&mut self, id: ConnId) {
        let latency = self.latency();
        self.plan(latency, Occurrence::DialerEnds(id, Err(DialFault::Reset)));
    }

    /// The side that dialled learns how it ended; the first end counts.
    pub(crate) fn dialer_ends(&mut self, id: ConnId, outcome: Result<Dialled, DialFault>) {
        self.fetch_progress(id, outcome.is_err());
        self.watch_refusal(id, &outcome);
        self.watch_first_contact(id, &outcome);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(side) = conn.dialer.take() else { return };
        let outcome = if conn.aborted { Err(DialFault::Aborted) } else { outcome };
        let (download, is_stream, has_server) =
            (conn.want.download(), conn.want == Want::Stream, conn.server.is_some());
        if has_server {
            let latency = self.latency();
            self.plan(latency, Occurrence::ServerLoses(id));
        }
        if is_stream {
            return self.stream_ended(id, side.host, outcome);
        }
        self.exchanges.remove(&(side.host, side.exchange));
        self.hosts[side.host.0].commands -= usize::from(side.command);
        self.forget_if_over(id);
        if let Some(download) = download {
            self.writes_no_more(side.host, download, id);
        }
        if matches!(self.hosts[side.host.0].program, Program::Node(_)) {
            self.deliver(side.host, Event::DialEnded { exchange: side.exchange, outcome });
        }
    }

    /// Breaks an exchange off on a node's order.
    pub(crate) fn abort(&mut self, host: HostId, exchange: ExchangeId) {
        let found = self.exchanges.get(&(host, exchange)).copied();
        let Some(id) = found else { self.violation(host, &format!("{exchange:?} is aborted, and does not exist")) };
        let Some(conn) = self.conns.get(&id) else { return };
        if conn.want == Want::Stream && matches!(exchange, ExchangeId::Outbound(_)) {
            return self.abort_stream(id, host, exchange);
        }
        let is_dialer = conn.dialer.is_some_and(|side| side.host == host && side.exchange == exchange);
        if is_dialer {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.aborted = true;
                if let Some(download) = conn.want.download() {
                    self.writes_no_more(host, download, id);
                }
            }
            self.plan(0, Occurrence::DialerEnds(id, Err(DialFault::Aborted)));
        } else if self.conns[&id].responding.is_some() {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.stopped = true;
            }
            self.break_off(id);
            // The event must not come before the action is done.
            self.plan(0, Occurrence::ServerLoses(id));
        } else {
            self.server_done(id);
            self.break_off(id);
        }
    }

    /// No progress for long: the side that dialled gives up.
    pub(crate) fn idle(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if conn.progress + conn.want.idle_max() > self.now {
            return self.plan_idle(id);
        }
        let no_answer = matches!(conn.want, Want::Nothing | Want::Stream | Want::FirstContact);
        let delivered = no_answer && conn.server.is_some() && conn.messages.is_empty();
        let outcome = match delivered && !conn.frozen {
            true => Ok(Dialled { local: conn.local, response: Response::Delivered }),
            false => Err(DialFault::TimedOut),
        };
        self.dialer_ends(id, outcome);
        self.server_loses(id);
    }

    fn freeze(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.frozen = true;
        }
    }

    /// Freezes the connections between hosts that no longer reach each other.
    pub(crate) fn freeze_crossing(&mut self) {
        let side = |side: Option<Side>| side.map(|side| self.hosts[side.host.0].side);
        let crossing = |conn: &Conn| {
            let sides = side(conn.dialer).zip(side(conn.server));
            sides.is_some_and(|(dialer, server)| dialer != server)
        };
        let ids: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| crossing(conn)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.freeze(id));
    }

    /// A program ended: its connections end for the others.
    pub(crate) fn drop_conns_of(&mut self, host: HostId) {
        // The next run numbers its exchanges from the beginning.
        self.exchanges.retain(|(owner, _), _| *owner != host);
        let here = |side: Option<Side>| side.is_some_and(|side| side.host == host);
        let is_its = |conn: &Conn| here(conn.dialer) || here(conn.server);
        let ids: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| is_its(conn)).map(|(id, _)| *id).collect();
        for id in ids {
            let latency = self.latency();
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            if conn.dialer.is_some_and(|side| side.host == host) {
                conn.dialer = None;
                conn.waiting.clear();
                self.plan(latency, Occurrence::ServerLoses(id));
            } else if conn.server.take().is_some() {
                conn.uploading = false;
                self.plan(latency, Occurrence::DialerEnds(id, Err(DialFault::Reset)));
            }
            self.forget_if_over(id);
        }
    }

    pub(crate) fn forget_if_over(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|conn| conn.dialer.is_none() && conn.server.is_none()) {
            self.conns.remove(&id);
        }
    }
}

//! Streams: connections on which messages without a response follow one another as they come up (PROTOCOL, Streams).
//!
//! What is sent on an open stream counts as delivered when the system has taken it; if the other side is gone by then,
//! it is lost without a word, as it is in a socket's buffer.

use crate::host::HostId;
use crate::links::{ConnId, Want};
use crate::world::{Occurrence, World};
use pyrate::fault::DialFault;
use pyrate::id::ExchangeId;
use pyrate::node::contract::{DialOutcome, Dialled, Event, Response};
use pyrate::wire::Message;
use std::net::SocketAddr;

impl World {
    /// Sends messages on the stream to a peer, which is opened if there is none.
    pub(crate) fn stream(&mut self, host: HostId, exchange: ExchangeId, to: SocketAddr, messages: Vec<Message>) {
        self.watch_dial(host, to, false, &messages, &Want::Stream);
        self.watch_stream(host, to, &messages);
        self.record(host, &messages);
        self.hosts[host.0].commands += 1;
        let open = self.streams.get(&(host, to)).copied();
        let id = match open.filter(|id| self.conns.get(id).is_some_and(|conn| conn.dialer.is_some())) {
            Some(id) => id,
            None => {
                // The connection outlives its messages: it goes by a number of its own.
                let own = ExchangeId::Outbound(u64::MAX - self.conns_made);
                let id = self.connect(host, own, to, Vec::new(), Want::Stream);
                self.streams.insert((host, to), id);
                self.streams_opened += 1;
                id
            }
        };
        if self.exchanges.insert((host, exchange), id).is_some() {
            self.violation(host, "an exchange was numbered twice");
        }
        let latency = self.latency();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.messages.extend(messages);
        conn.waiting.push(exchange);
        if conn.server.is_some() {
            conn.progress = self.now;
            let begin = !std::mem::replace(&mut conn.delivering, true);
            if begin {
                self.plan(latency, Occurrence::Deliver(id));
            }
            self.stream_opened(id);
        }
    }

    /// The system takes what waited for the connection.
    pub(crate) fn stream_opened(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.want == Want::Stream) else { return };
        let (Some(dialer), local) = (conn.dialer, conn.local) else { return };
        let epoch = self.hosts[dialer.host.0].epoch;
        for exchange in std::mem::take(&mut conn.waiting) {
            let outcome = Ok(Dialled { local, response: Response::Delivered });
            self.plan(1, Occurrence::StreamTaken(dialer.host, epoch, exchange, outcome));
        }
    }

    /// The end of one exchange on a stream.
    pub(crate) fn stream_taken(&mut self, host: HostId, exchange: ExchangeId, outcome: DialOutcome) {
        self.exchanges.remove(&(host, exchange));
        self.hosts[host.0].commands -= 1;
        self.deliver(host, Event::DialEnded { exchange, outcome });
    }

    /// The connection is over, whatever waited for it.
    pub(crate) fn stream_ended(&mut self, id: ConnId, host: HostId, outcome: DialOutcome) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (to, epoch) = (conn.to, self.hosts[host.0].epoch);
        if self.streams.get(&(host, to)) == Some(&id) {
            self.streams.remove(&(host, to));
        }
        for exchange in std::mem::take(&mut conn.waiting) {
            let outcome = Err(outcome.as_ref().err().copied().unwrap_or(DialFault::Reset));
            self.plan(0, Occurrence::StreamTaken(host, epoch, exchange, outcome));
        }
        self.forget_if_over(id);
    }

    /// Breaks one exchange off; the stream stays. What the system has taken is delivered.
    pub(crate) fn abort_stream(&mut self, id: ConnId, host: HostId, exchange: ExchangeId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let before = conn.waiting.len();
        conn.waiting.retain(|waiting| *waiting != exchange);
        if conn.waiting.len() < before {
            let epoch = self.hosts[host.0].epoch;
            self.plan(0, Occurrence::StreamTaken(host, epoch, exchange, Err(DialFault::Aborted)));
        }
    }
}

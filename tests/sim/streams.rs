//! Streams: connections on which messages without a response follow one another as they come up (PROTOCOL, Streams).
//!
//! What is sent on an open stream counts as delivered when the system has taken it; if the other side is gone by then,
//! it is lost without a word, as it is in a socket's buffer.

use crate::conn::{ConnId, Want};
use crate::host::{HostId, Program};
use crate::world::{Occurrence, World};
use pyrate::fault::DialFault;
use pyrate::id::ExchangeId;
use pyrate::node::contract::{DialOutcome, Dialled, Event, Response};
use pyrate::wire::{Message, ReportReader, SearchReport};
use std::net::SocketAddr;
use std::time::Duration;

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

    /// A node says against the direction of a stream how a search stands.
    pub(crate) fn report(&mut self, host: HostId, exchange: ExchangeId, report: SearchReport) {
        let Some(id) = self.exchanges.get(&(host, exchange)).copied() else { return };
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.want == Want::Stream && !conn.frozen) else { return };
        if conn.server.is_none_or(|side| side.host != host) || conn.dialer.is_none() {
            return;
        }
        match report {
            SearchReport::Done(_) => self.dones += 1,
            SearchReport::Waits(_) => self.waits += 1,
        }
        // What is said on one connection arrives in order.
        let latency = self.latency();
        let at =
            self.conns.get(&id).map_or(self.now, |conn| conn.said_until).max(self.now + Duration::from_millis(latency));
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.said_until = at;
        }
        self.plan(at.saturating_since(self.now).as_millis() as u64, Occurrence::Said(id, report));
    }

    /// What was said reaches the side that dialled, as bytes would: written and read.
    pub(crate) fn hear_report(&mut self, id: ConnId, report: &SearchReport) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.frozen) else { return };
        let (Some(dialer), peer) = (conn.dialer, conn.to) else { return };
        let mut said = Vec::new();
        ReportReader::default().push(&report.encode(), &mut said);
        if said != [report.clone()] {
            self.violation(dialer.host, &format!("{report:?} was read as {said:?}"));
        }
        self.deliver(dialer.host, Event::SearchReport { peer, report: report.clone() });
    }

    /// The end of one exchange on a stream.
    pub(crate) fn stream_taken(&mut self, host: HostId, exchange: ExchangeId, outcome: DialOutcome) {
        self.exchanges.remove(&(host, exchange));
        self.hosts[host.0].commands -= 1;
        self.deliver(host, Event::DialEnded { exchange, outcome });
    }

    /// The connection is over, whatever waited for it.
    pub(crate) fn stream_ended(&mut self, id: ConnId, host: HostId, outcome: DialOutcome) {
        let Some(to) = self.conns.get(&id).map(|conn| conn.to) else { return };
        let epoch = self.hosts[host.0].epoch;
        if self.streams.get(&(host, to)) == Some(&id) {
            self.streams.remove(&(host, to));
        }
        if matches!(self.hosts[host.0].program, Program::Node(Some(_))) {
            self.deliver(host, Event::StreamEnded { peer: to });
        }
        let waiting = self.conns.get_mut(&id).map(|conn| std::mem::take(&mut conn.waiting)).unwrap_or_default();
        for exchange in waiting {
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

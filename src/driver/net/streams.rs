//! The streams that are open to `p1` peers: one for each, found by its address.

use crate::driver::Driver;
use crate::driver::net::budget::Use;
use crate::driver::net::exchange::{Flushed, Queued, STREAM_STUCK_MAX, StreamLink};
use crate::driver::net::table::Connection;
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::node::Event;
use crate::node::contract::{Dialled, Response};
use crate::wire::Message;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Streams open at once; for one more, the one that has been idle longest gives way.
const STREAMS_MAX: usize = 64;

/// Where each stream is. Only ever asked for one address; the order in which they were opened stands beside it.
#[derive(Debug, Default)]
pub(in crate::driver) struct Streams {
    by_peer: HashMap<SocketAddr, usize>,
    opened: VecDeque<SocketAddr>,
}

impl Streams {
    fn insert(&mut self, peer: SocketAddr, key: usize) {
        self.by_peer.insert(peer, key);
        self.opened.push_back(peer);
    }

    fn remove(&mut self, peer: SocketAddr) {
        self.by_peer.remove(&peer);
        self.opened.retain(|opened| *opened != peer);
    }
}

impl Driver {
    /// Sends messages on the stream to a peer, which is opened if there is none.
    pub(in crate::driver) fn stream(
        &mut self,
        exchange: ExchangeId,
        to: SocketAddr,
        messages: &[Message],
        connect_max: Duration,
    ) {
        let queued = Queued::new(exchange, messages, self.now);
        let Some(&key) = self.streams.by_peer.get(&to) else {
            return self.open_stream(to, VecDeque::from([queued]), connect_max);
        };
        if let Some(Connection::Stream(link)) = self.table.get_mut(key) {
            match link.push(queued) {
                Ok(()) => {
                    self.table.make_ready(key);
                    self.table.arm(key, &mut self.timers);
                }
                Err(queued) => self.stream_failed([queued].into(), DialFault::TimedOut),
            }
        }
    }

    fn open_stream(&mut self, to: SocketAddr, queue: VecDeque<Queued>, connect_max: Duration) {
        if self.streams.by_peer.len() >= STREAMS_MAX {
            self.close_idle_stream();
        }
        if self.streams.by_peer.len() >= STREAMS_MAX || self.take_displacing(Use::Own).is_err() {
            return self.stream_failed(queue, DialFault::NoDescriptor);
        }
        let token = self.table.next_token();
        match StreamLink::dial(to, queue, connect_max, self.poll.registry(), token, self.now) {
            Ok(link) => {
                let key = self.table.insert(Connection::Stream(Box::new(link)), Some(Use::Own), 0);
                self.streams.insert(to, key);
                self.table.arm(key, &mut self.timers);
            }
            Err((queue, fault)) => {
                self.table.give_back(Use::Own);
                self.stream_failed(queue, fault);
            }
        }
    }

    fn close_idle_stream(&mut self) {
        let idle = self.streams.opened.iter().copied().filter_map(|peer| {
            let key = *self.streams.by_peer.get(&peer)?;
            match self.table.get_mut(key) {
                Some(Connection::Stream(link)) => Some((link.idle_since()?, peer, key)),
                _ => None,
            }
        });
        // On one that was used a moment ago the other side may have something to say still.
        if let Some((_, peer, key)) = idle.min_by_key(|(since, ..)| *since) {
            self.streams.remove(peer);
            self.close(key);
            self.inbox.push_back(Event::StreamEnded { peer });
        }
    }

    /// Takes messages back that wait on a stream; says whether they were there.
    pub(in crate::driver) fn withdraw_from_streams(&mut self, exchange: ExchangeId) -> bool {
        let table = &mut self.table;
        let withdrawn = self.streams.by_peer.values().any(|key| match table.get_mut(*key) {
            Some(Connection::Stream(link)) => link.withdraw(exchange),
            _ => false,
        });
        if withdrawn {
            self.inbox.push_back(Event::DialEnded { exchange, outcome: Err(DialFault::Aborted) });
        }
        withdrawn
    }

    /// Follows what a step of a stream brought.
    pub(in crate::driver) fn follow_stream(&mut self, key: usize, flushed: Flushed) {
        let Some(Connection::Stream(link)) = self.table.get_mut(key) else { return };
        let (to, local, was_used) = (link.to(), link.local(), link.was_used());
        let (done_lines, has_unread) = (link.take_done_lines(), link.has_unread());
        for done in done_lines {
            self.node.handle(self.now, Event::SearchDone { peer: to, done });
        }
        match flushed {
            Flushed::Wait => {
                if local.is_some() && has_unread {
                    self.table.make_ready(key);
                }
                self.carry_out();
                self.table.arm(key, &mut self.timers);
            }
            Flushed::Sent(exchanges) => {
                let local = local.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
                for exchange in exchanges {
                    let outcome = Ok(Dialled { local, response: Response::Delivered });
                    self.node.handle(self.now, Event::DialEnded { exchange, outcome });
                }
                self.table.make_ready(key);
                self.carry_out();
                self.table.arm(key, &mut self.timers);
            }
            Flushed::Over(unsent, fault) => {
                self.streams.remove(to);
                self.close(key);
                self.inbox.push_back(Event::StreamEnded { peer: to });
                match fault {
                    // The peer closed while the stream was idle, and we find out now: it may well be there.
                    Some(DialFault::Reset) if was_used && !unsent.is_empty() => {
                        self.open_stream(to, unsent, STREAM_STUCK_MAX);
                    }
                    fault => self.stream_failed(unsent, fault.unwrap_or(DialFault::Aborted)),
                }
                self.carry_out();
            }
        }
    }

    fn stream_failed(&mut self, unsent: VecDeque<Queued>, fault: DialFault) {
        for queued in unsent {
            self.inbox.push_back(Event::DialEnded { exchange: queued.exchange(), outcome: Err(fault) });
        }
    }
}

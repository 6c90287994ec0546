//! Orders for a stream to a `p1` peer, which stays open for further messages.

use super::Net;
use super::budget::Use;
use super::exchange::{Queued, STREAM_STUCK_MAX, StreamLink};
use super::stream_index::STREAMS_MAX;
use super::table::Connection;
use crate::driver::cx::Cx;
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::node::Event;
use crate::node::contract::{Dialled, Response};
use crate::wire::Message;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

impl Net {
    /// Sends messages on the stream to a peer; opens one if there is none.
    pub(crate) fn stream(
        &mut self,
        exchange: ExchangeId,
        to: SocketAddr,
        messages: &[Message],
        connect_max: Duration,
        cx: &mut Cx,
    ) {
        let queued = Queued::new(exchange, messages, cx.now);
        let Some(key) = self.streams.get(to) else {
            return self.open_stream(to, VecDeque::from([queued]), connect_max, cx);
        };
        if let Some(Connection::Stream(link)) = self.table.get_mut(key) {
            match link.push(queued) {
                Ok(()) => self.table.resume(key),
                Err(queued) => fail([queued].into(), DialFault::TimedOut, cx),
            }
        }
    }

    fn open_stream(&mut self, to: SocketAddr, queue: VecDeque<Queued>, connect_max: Duration, cx: &mut Cx) {
        if self.streams.len() >= STREAMS_MAX {
            self.close_idle_stream(cx);
        }
        let has_room = self.streams.len() < STREAMS_MAX;
        let permit = if has_room { self.take_displacing(Use::Own, cx).ok() } else { None };
        let Some(permit) = permit else { return fail(queue, DialFault::NoDescriptor, cx) };
        let token = self.table.next_token();
        match StreamLink::dial(to, queue, connect_max, &self.interface, self.poll.registry(), token, cx.now) {
            Ok(link) => {
                let key = self.table.insert(Connection::Stream(link), permit);
                self.streams.insert(to, key);
            }
            Err((queue, fault)) => fail(queue, fault, cx),
        }
    }

    fn close_idle_stream(&mut self, cx: &mut Cx) {
        let idle = self.streams.in_order().filter_map(|(peer, key)| match self.table.get(key) {
            Some(Connection::Stream(link)) => Some((link.idle_since()?, peer, key)),
            _ => None,
        });
        // The peer may still answer on a stream that was used recently.
        if let Some((_, peer, key)) = idle.min_by_key(|(since, ..)| *since) {
            self.close_stream(peer, key, cx);
        }
    }

    fn close_stream(&mut self, peer: SocketAddr, key: usize, cx: &mut Cx) {
        self.streams.remove(peer);
        self.close(key);
        cx.out.event(Event::StreamEnded { peer });
    }

    pub(super) fn withdraw(&mut self, exchange: ExchangeId, cx: &mut Cx) {
        let table = &mut self.table;
        let withdrawn = self.streams.in_order().any(|(_, key)| match table.get_mut(key) {
            Some(Connection::Stream(link)) => link.withdraw(exchange),
            _ => false,
        });
        if withdrawn {
            cx.out.event(Event::DialEnded { exchange, outcome: Err(DialFault::Aborted) });
        }
    }

    /// The messages of these exchanges are written to the socket.
    pub(super) fn on_stream_sent(&mut self, key: usize, exchanges: Vec<ExchangeId>, cx: &mut Cx) {
        let Some(Connection::Stream(link)) = self.table.get_mut(key) else { return };
        let local = link.local().unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
        let dialled = Dialled { local, response: Response::Delivered };
        let ended = |exchange| Event::DialEnded { exchange, outcome: Ok(dialled.clone()) };
        cx.out.extend(exchanges.into_iter().map(ended));
    }

    pub(super) fn on_stream_over(
        &mut self,
        key: usize,
        unsent: VecDeque<Queued>,
        fault: Option<DialFault>,
        cx: &mut Cx,
    ) {
        let Some(Connection::Stream(link)) = self.table.get_mut(key) else { return };
        let (to, was_used) = (link.to, link.was_used());
        self.close_stream(to, key, cx);
        match fault {
            // The peer closed the idle stream: it may still accept another.
            Some(DialFault::Reset) if was_used && !unsent.is_empty() => {
                self.open_stream(to, unsent, STREAM_STUCK_MAX, cx);
            }
            fault => fail(unsent, fault.unwrap_or(DialFault::Aborted), cx),
        }
    }
}

fn fail(unsent: VecDeque<Queued>, fault: DialFault, cx: &mut Cx) {
    let ended = |queued: Queued| Event::DialEnded { exchange: queued.exchange, outcome: Err(fault) };
    cx.out.extend(unsent.into_iter().map(ended));
}

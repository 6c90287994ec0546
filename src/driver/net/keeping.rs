//! Sockets that outlive this process: listeners, and connections on which a file is sent.

use super::Net;
use super::budget::Use;
use super::exchange::{Inbound, Service};
use super::table::Connection;
use crate::driver::cx::Cx;
use crate::driver::socket::Socket;
use crate::id::ExchangeId;
use crate::library::FileMeta;
use crate::name::FileName;
use crate::node::contract::ResponseFault;
use crate::wire::Message;
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// A connection that is not ours any more, on which a file was being sent, or was to be sent.
pub(crate) struct Taken {
    pub(crate) stream: TcpStream,
    /// What would bring the rest.
    pub(crate) request: Message,
    /// The file that was opened, or that the library had.
    pub(crate) meta: FileMeta,
}

impl Net {
    pub(crate) fn listener(&self, service: Service) -> Option<BorrowedFd<'_>> {
        self.listeners.iter().find(|listener| listener.service == service).map(|listener| listener.as_fd())
    }

    /// Accepts nobody there any more. The others keep their places, which are their tokens.
    pub(crate) fn close_listener(&mut self, service: Service) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.service == service) {
            listener.hold(true);
        }
    }

    /// Takes the connection of an upload away, as if it had been broken off; `None` for all else.
    pub(crate) fn take_upload(&mut self, exchange: ExchangeId, cx: &mut Cx) -> Option<Taken> {
        let (key, inbound) = self.table.inbound(exchange)?;
        let (request, meta) = inbound.rest()?;
        cx.out.extend(inbound.progress().into_iter().chain(inbound.broken_off(ResponseFault::Aborted)));
        Some(Taken { stream: self.take_stream(key)?, request, meta })
    }

    /// The file that a request is for, if it is for one and is not answered yet.
    pub(crate) fn asked_file(&mut self, exchange: ExchangeId) -> Option<FileName> {
        self.table.inbound(exchange)?.1.asked()?.file().cloned()
    }

    /// Takes the connection of such a request away, as if it had been refused. `meta`: of that file.
    pub(crate) fn take_request(&mut self, exchange: ExchangeId, meta: FileMeta) -> Option<Taken> {
        let (key, inbound) = self.table.inbound(exchange)?;
        let request = inbound.asked()?;
        Some(Taken { stream: self.take_stream(key)?, request, meta })
    }

    fn take_stream(&mut self, key: usize) -> Option<TcpStream> {
        let Some(Connection::Inbound(inbound)) = self.close(key) else { return None };
        inbound.into_stream(self.registry()).ok()
    }

    /// The state of the file that an earlier run had, if it has left this connection.
    pub(crate) fn begun_of(&self, exchange: ExchangeId) -> Option<FileMeta> {
        self.table.inbound_ref(exchange)?.begun_of()
    }

    /// Goes on with a connection of an earlier run, as if this request for a file had just come.
    pub(crate) fn resume(
        &mut self,
        socket: socket2::Socket,
        from: SocketAddr,
        rest: (&Message, FileMeta),
        cx: &mut Cx,
    ) {
        // Without a descriptor, or if it is broken, it ends in RST, which it was set to when the response began. Who gives way
        // leaves a place in the table: the token is known after that.
        let Ok(permit) = self.take_displacing(Use::Inbound(from.ip()), cx) else { return };
        let registered = socket.set_nonblocking(true).and_then(|()| {
            let stream = TcpStream::from_std(socket.into());
            Socket::register(stream, self.poll.registry(), self.table.next_token())
        });
        let Ok(socket) = registered else { return };
        self.accepted += 1;
        let id = ExchangeId::Inbound(self.accepted);
        let inbound = Inbound::resumed(id, from, socket, rest, cx.now);
        self.table.insert(Connection::Inbound(Box::new(inbound)), permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::RateLimits;
    use crate::driver::cx::Phase;
    use crate::driver::interface::Interface;
    use crate::driver::net::budget::Budget;
    use crate::driver::net::table::Table;
    use crate::time::Instant;
    use mio::{Events, Poll};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_resumed_connection_that_displaces_another_is_the_one_of_its_token() {
        let mut net = Net::new(
            Poll::new().unwrap(),
            Interface::default(),
            Vec::new(),
            RateLimits::default(),
            Instant::from_ms(0),
        );
        net.table.budget = Budget::new(0);
        let (now, phase, scratch) = (Instant::from_ms(0), Phase::Running, Default::default());
        let mut cx = Cx { now, phase, scratch, reads: Default::default(), out: Default::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let request = Message::DownloadRequest { name: FileName::from_bytes(b"a").unwrap() };
        let mut peers = Vec::new();
        // The eighth part of the descriptors is for others, and one network has half.
        for _ in 0..5 {
            peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (socket, from) = listener.accept().unwrap();
            net.resume(socket.into(), from, (&request, FileMeta::default()), &mut cx);
        }
        assert_eq!(net.table.len(), 4, "one is displaced");
        let mut events = Events::with_capacity(16);
        let poll = |net: &mut Net, events: &mut Events| net.poll(events, Some(std::time::Duration::from_secs(10)));
        // All can be written to.
        poll(&mut net, &mut events).unwrap();
        peers[4].write_all(b"5:\n").unwrap();
        poll(&mut net, &mut events).unwrap();
        let told = events.iter().filter(|event| event.is_readable()).filter_map(|event| Table::key_of(event.token()));
        let told: Vec<usize> = told.collect();
        assert_eq!(told, [net.table.key(ExchangeId::Inbound(5)).unwrap()]);
    }
}

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

    /// The file of which an earlier run has sent the beginning on this connection.
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
        self.table.insert(Connection::Inbound(inbound), permit);
    }
}

//! A response that another process goes on with.

use super::{Inbound, Service, State};
use crate::driver::socket::Socket;
use crate::id::ExchangeId;
use crate::library::FileMeta;
use crate::time::Instant;
use crate::wire::Message;
use mio::Registry;
use mio::net::TcpStream;
use std::io;
use std::net::SocketAddr;

impl Inbound {
    /// The request that would bring what is not written yet of a file, and the file that was opened. `None` if none is being sent.
    pub(crate) fn rest(&self) -> Option<(Message, FileMeta)> {
        let State::Sending { outgoing, name: whole, .. } = &self.state else { return None };
        let (offset, length, meta) = outgoing.rest()?;
        let name = self.requested_file.clone()?;
        let request = match whole {
            // Its requester may still want to be called back.
            Some(_) if offset == 0 => Message::DownloadRequest { name },
            _ => Message::RangeRequest { offset, length, name },
        };
        Some((request, meta))
    }

    /// The request for a file that the node has not answered yet.
    pub(crate) fn asked(&self) -> Option<Message> {
        let State::Asked { .. } = self.state else { return None };
        let name = self.requested_file.clone().filter(|_| !self.takes_reason)?;
        Some(match self.requested_range {
            Some((offset, length)) => Message::RangeRequest { offset, length, name },
            None => Message::DownloadRequest { name },
        })
    }

    /// Gives the connection away as it is.
    pub(crate) fn into_stream(self, registry: &Registry) -> io::Result<TcpStream> {
        self.socket.into_stream(registry)
    }

    /// The state of the file that an earlier run had: the response comes from this one, or not at all.
    pub(crate) fn begun_of(&self) -> Option<FileMeta> {
        self.begun_of
    }

    /// A connection of an earlier run that was asked for a file, with the request for the rest of it. `meta`: of that file.
    pub(crate) fn resumed(
        id: ExchangeId,
        from: SocketAddr,
        socket: Socket,
        (request, meta): (&Message, FileMeta),
        now: Instant,
    ) -> Self {
        let mut inbound = Self::new(id, from, Service::Peer, socket, now);
        // Whatever the run before has set.
        inbound.socket.end_in_reset();
        inbound.framer.push(&request.encode());
        if let Message::RangeRequest { .. } = request {
            inbound.begun_of = Some(meta);
            // What the peer may have sent after its own request is no part of the name.
            inbound.framer.push(b"\n");
        }
        inbound
    }
}

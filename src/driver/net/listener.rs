//! The listening TCP sockets.

use super::exchange::Service;
use crate::driver::socket::Readiness;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// A listening socket.
///
/// Edge-triggered epoll tells of new connections once. A listener that could not accept for want of a descriptor is
/// therefore remembered as starved until one is free, and not polled meanwhile.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    service: Service,
    accepting: Readiness,
    /// There are connections to accept, but no descriptor is free.
    is_starved: bool,
}

pub(super) enum Accepted {
    Connection(TcpStream, SocketAddr),
    /// Nothing more until the next readiness.
    Nobody,
    /// No descriptor is free.
    Starved,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, service: Service, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut listener = TcpListener::bind(addr)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, service, accepting: Readiness::none(), is_starved: false })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn service(&self) -> Service {
        self.service
    }

    pub(super) fn on_ready(&mut self) {
        self.accepting.note(true);
    }

    /// Whether accepting is worth an attempt.
    pub(super) fn may_accept(&self) -> bool {
        self.accepting.is_ready() && !self.is_starved
    }

    /// Whether no descriptor is free for its connections.
    pub(super) fn set_starved(&mut self, is_starved: bool) {
        self.is_starved = is_starved;
    }

    pub(super) fn accept(&mut self) -> Accepted {
        loop {
            match self.accepting.attempt(|| self.listener.accept()) {
                Ok(Ok((stream, from))) => return Accepted::Connection(stream, from),
                Ok(Err(_)) => return Accepted::Nobody,
                Err(error) if is_shortage(&error) => return Accepted::Starved,
                // A connection that died in the queue, or an error that was waiting on it (accept(2)).
                Err(_) => {}
            }
        }
    }
}

/// Whether this machine can listen at an address, which may be in use.
pub(crate) fn check_listen(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // So that a program that binds the address at this moment is not disturbed.
    socket.set_reuse_address(true)?;
    match socket.bind(&addr.into()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        outcome => outcome,
    }
}

/// Whether the system could not give what an accepted connection takes.
fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

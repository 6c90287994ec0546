//! The listening TCP sockets.

use crate::driver::net::exchange::Service;
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
pub(in crate::driver) struct Listener {
    listener: TcpListener,
    pub(in crate::driver) service: Service,
    /// There may be connections to accept.
    pub(in crate::driver) is_ready: bool,
    /// There are, but no descriptor is free.
    pub(in crate::driver) is_starved: bool,
}

/// What accepting brought.
pub(in crate::driver) enum Accepted {
    /// A connection.
    Connection(TcpStream, SocketAddr),
    /// Nothing more until the next readiness.
    Nobody,
    /// No descriptor is free.
    Starved,
}

impl Listener {
    pub(in crate::driver) fn bind(
        addr: SocketAddr,
        service: Service,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut listener = TcpListener::bind(addr)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, service, is_ready: false, is_starved: false })
    }

    pub(in crate::driver) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts one connection.
    pub(in crate::driver) fn accept(&mut self) -> Accepted {
        loop {
            match self.listener.accept() {
                Ok((stream, from)) => return Accepted::Connection(stream, from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_ready = false;
                    return Accepted::Nobody;
                }
                Err(error) if is_shortage(&error) => return Accepted::Starved,
                // A connection that died in the queue, or an error that was waiting on it (accept(2)).
                Err(_) => {}
            }
        }
    }
}

/// Whether this machine can listen at an address. Somebody may do so already.
///
/// # Errors
/// As the system reports them.
pub fn check_listen(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // So that nobody who binds the address at this moment is disturbed.
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

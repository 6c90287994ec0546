//! The listening TCP sockets.

use super::exchange::Service;
use crate::driver::interface::Interface;
use crate::driver::socket::Readiness;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A listening socket.
///
/// Edge-triggered epoll tells of new connections once. A listener that could not accept, for want of a descriptor or because
/// the system refuses, is therefore remembered as starved until a later attempt, and not asked meanwhile.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    pub(super) service: Service,
    accepting: Readiness,
    /// All connections that wait were made since the listener has SO_LINGER.
    all_inherit: bool,
    /// There are connections to accept, but they cannot be accepted now.
    is_starved: bool,
    /// The connections wait for something of ours.
    is_held: bool,
}

pub(super) enum Accepted {
    Connection(TcpStream, SocketAddr),
    /// One has failed in the queue; others may wait.
    Lost,
    /// Nothing more until the next readiness.
    None,
    /// The system has no descriptor or no memory for it.
    Starved,
    /// The system refuses, and will refuse again: the connection still waits.
    Refused(io::Error),
}

impl Listener {
    pub(crate) fn bind(
        addr: SocketAddr,
        interface: &Interface,
        service: Service,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        Self::adopt(Self::listening(addr, interface)?, service, registry, token)
    }

    /// A socket that listens there.
    pub(crate) fn listening(addr: SocketAddr, interface: &Interface) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        interface.bind(&socket)?;
        // A daemon that starts again does not wait for connections of its last run to be forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        // As many connections may wait as the system lets wait.
        socket.listen(i32::MAX)?;
        Ok(socket)
    }

    /// Listens at the same address again if the interface was made again under its name.
    pub(super) fn stay_at(&mut self, interface: &Interface, registry: &Registry, token: Token) -> io::Result<()> {
        if interface.has(&SockRef::from(&self.listener)) {
            return Ok(());
        }
        // Both sockets are bound to different interfaces, so the old one is not in the way.
        let again = Self::bind(self.local_addr()?, interface, self.service, registry, token)?;
        let is_held = self.is_held;
        *self = Self { is_held, ..again };
        Ok(())
    }

    /// Takes a socket that listens. Its connections inherit from now on that they end in RST and not in FIN.
    pub(crate) fn adopt(socket: Socket, service: Service, registry: &Registry, token: Token) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
        let mut listener = TcpListener::from_std(socket.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        let accepting = Readiness::none();
        Ok(Self { listener, service, accepting, all_inherit: false, is_starved: false, is_held: false })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn on_ready(&mut self) {
        self.accepting.note(true);
    }

    pub(super) fn may_accept(&self) -> bool {
        self.accepting.is_ready() && !self.is_starved && !self.is_held
    }

    /// Has its connections wait, or ends that.
    pub(crate) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether its connections cannot be accepted now.
    pub(super) fn set_starved(&mut self, is_starved: bool) {
        self.is_starved = is_starved;
    }

    /// Accepts a connection that ends in RST, also by the death of the process.
    pub(super) fn accept(&mut self) -> Accepted {
        match self.accepting.attempt(|| self.listener.accept()) {
            Ok(Ok((stream, from))) => {
                if !self.all_inherit {
                    // Fails only on a connection that is reset already.
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                Accepted::Connection(stream, from)
            }
            Ok(Err(_)) => {
                // Those that waited before it was adopted have been accepted.
                self.all_inherit = true;
                Accepted::None
            }
            Err(error) if was_of_connection(&error) => Accepted::Lost,
            Err(error) if is_shortage(&error) => Accepted::Starved,
            Err(error) => Accepted::Refused(error),
        }
    }
}

/// Checks that this machine can listen at an address. An address in use is no error.
pub(crate) fn check_listen(addr: SocketAddr, interface: &Interface) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    interface.bind(&socket)?;
    // This allows another program to bind the address meanwhile.
    socket.set_reuse_address(true)?;
    match socket.bind(&addr.into()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        outcome => outcome,
    }
}

/// Whether a connection has died in the queue or had an error waiting (accept(2)): it has left the queue.
fn was_of_connection(error: &io::Error) -> bool {
    use nix::libc;
    let network = [libc::ENETDOWN, libc::ENETUNREACH, libc::EHOSTDOWN, libc::EHOSTUNREACH, libc::ENONET];
    let connection =
        [libc::ECONNABORTED, libc::EPROTO, libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::ECONNRESET, libc::ETIMEDOUT];
    error.raw_os_error().is_some_and(|code| network.contains(&code) || connection.contains(&code))
}

/// Whether the system could not give what an accepted connection takes.
fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream as StdStream;

    /// Connects, and waits until the connection can be accepted.
    fn connect(to: SocketAddr) -> StdStream {
        StdStream::connect(to).unwrap()
    }

    #[test]
    fn all_connections_end_in_a_reset_also_those_that_waited_before_the_listener_was_adopted() {
        let (poll, any) = (mio::Poll::new().unwrap(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let socket = Listener::listening(any, &Interface::default()).unwrap();
        let to = socket.local_addr().unwrap().as_socket().unwrap();
        let before = connect(to);
        let mut listener = Listener::adopt(socket, Service::Peer, poll.registry(), Token(0)).unwrap();
        let after = connect(to);
        let drain = |listener: &mut Listener| {
            listener.on_ready();
            while let Accepted::Connection(stream, _) = listener.accept() {
                drop(stream);
            }
        };
        drain(&mut listener);
        let later = connect(to);
        drain(&mut listener);
        for (mut peer, when) in [(before, "before"), (after, "after"), (later, "later")] {
            let ended = peer.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(ended, Err(io::ErrorKind::ConnectionReset), "{when}");
        }
        assert!(listener.all_inherit);
    }
}

//! The two ways in which a peer of the base protocol answers a download request: on the connection that asked, or on one
//! that it makes to the port from which it was asked (PROTOCOL, "Old peers answer `4` by calling back").
//!
//! Owns the connection that asks, the listener on its port, and one connection that came in there. The one that brings
//! the first byte is the answer, and the others are closed. Does not read that byte.

use super::dial_fault;
use crate::driver::socket::{Blocked, ReadStep, Readiness, Socket};
use crate::fault::DialFault;
use crate::time::Instant;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long we wait to be called back after the peer has closed the connection that asked.
const CALL_BACK_MAX: Duration = Duration::from_secs(5);

/// Connections taken from the listener in one step.
const ACCEPTS_MAX: usize = 16;

/// Connections that the system keeps for us until we take them.
const BACKLOG: i32 = 16;

/// Descriptors that an exchange takes beside that of its connection: the listener, and a connection that came in.
pub(crate) const CALL_BACK_DESCRIPTORS: usize = 2;

/// A request whose answer may come on two ways.
pub(super) struct Answer {
    /// The connection that asked; `None` once the peer has closed it.
    asking: Option<Socket>,
    closed_at: Option<Instant>,
    listener: TcpListener,
    /// Whether there may be connections to accept.
    accepting: Readiness,
    called: Option<Socket>,
    token: Token,
}

pub(super) enum Answered {
    /// Neither way has brought a byte.
    NotYet(Blocked),
    /// The same, and there is more to look at.
    Again,
    /// This connection has bytes to read.
    On(Socket),
}

impl Answer {
    /// Listens on a free port, and then begins a connection from that same port. Both have the one token.
    pub(super) fn dial(to: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let listener = bound(to, 0)?;
        let port = listener.local_addr()?.as_socket().map_or(0, |address| address.port());
        listener.listen(BACKLOG)?;
        let stream = bound(to, port)?;
        match stream.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let mut listener = TcpListener::from_std(listener.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        let asking = Socket::register(TcpStream::from_std(stream.into()), registry, token)?;
        let accepting = Readiness::none();
        Ok(Self { asking: Some(asking), closed_at: None, listener, accepting, called: None, token })
    }

    pub(super) fn asking(&mut self) -> Option<&mut Socket> {
        self.asking.as_mut()
    }

    pub(super) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.accepting.note(readable);
        for socket in self.asking.iter_mut().chain(&mut self.called) {
            socket.on_ready(readable, writable);
        }
    }

    /// When it is too late for the first byte; `idle` is when an exchange that is silent ends.
    pub(super) fn deadline(&self, idle: Instant) -> Instant {
        match (self.closed_at, &self.called) {
            (Some(at), None) => idle.min(at + CALL_BACK_MAX),
            _ => idle,
        }
    }

    /// Whether the peer closed the connection that asked, and no other has come in.
    pub(super) fn is_refused(&self) -> bool {
        self.asking.is_none() && self.called.is_none()
    }

    /// Looks for the first byte. A reset of the connection that asked is a refusal, unless the peer has called back.
    pub(super) fn advance(&mut self, to: SocketAddr, registry: &Registry, now: Instant) -> Result<Answered, DialFault> {
        let mut blocked = None;
        for _ in 0..ACCEPTS_MAX {
            if self.called.is_none() {
                blocked = self.accept(to, registry)?;
            }
            match self.called.take() {
                None => break,
                Some(mut called) => match called.peek(&mut [0]) {
                    Ok(ReadStep::Bytes(_)) => return Ok(Answered::On(called)),
                    Ok(ReadStep::Blocked(nothing)) => {
                        self.called = Some(called);
                        blocked = Some(nothing);
                        break;
                    }
                    // It said nothing, as a program that opens the file too late does. Another may have come in behind it.
                    Ok(ReadStep::Fin) | Err(_) => {}
                },
            }
        }
        if let Some(mut asking) = self.asking.take() {
            let reset = match asking.peek(&mut [0]) {
                Ok(ReadStep::Bytes(_)) => return Ok(Answered::On(asking)),
                Ok(ReadStep::Blocked(_)) => {
                    self.asking = Some(asking);
                    return Ok(blocked.map_or(Answered::Again, Answered::NotYet));
                }
                Ok(ReadStep::Fin) => None,
                Err(error) => Some(error),
            };
            // What came in before the reset may not be reported yet.
            self.accepting.note(reset.is_some());
            if self.called.is_none() {
                self.accept(to, registry)?;
            }
            if let (Some(error), None) = (reset, &self.called) {
                return Err(dial_fault(&error));
            }
            self.closed_at = Some(now);
            return Ok(Answered::Again);
        }
        Ok(blocked.map_or(Answered::Again, Answered::NotYet))
    }

    /// Takes a connection that comes from the peer's address; closes those of others. Reports when no connection waits.
    fn accept(&mut self, to: SocketAddr, registry: &Registry) -> Result<Option<Blocked>, DialFault> {
        for _ in 0..ACCEPTS_MAX {
            match self.accepting.attempt(|| self.listener.accept()) {
                Ok(Ok((stream, from))) if from.ip().to_canonical() == to.ip().to_canonical() => {
                    let called = Socket::register(stream, registry, self.token).map_err(|error| dial_fault(&error))?;
                    self.called = Some(called);
                    return Ok(None);
                }
                Ok(Ok((_, from))) => log::debug!("{from} came in where {to} was to call back, and is closed"),
                Ok(Err(blocked)) => return Ok(Some(blocked)),
                Err(error) if dial_fault(&error) == DialFault::NoDescriptor => return Err(DialFault::NoDescriptor),
                // A connection that died in the queue (accept(2)).
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

fn bound(to: SocketAddr, port: u16) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::new(unspecified(to), port).into())?;
    Ok(socket)
}

/// The unspecified address of the other side's family.
pub(super) fn unspecified(to: SocketAddr) -> IpAddr {
    if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

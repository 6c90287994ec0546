//! A base peer answers a download request on the same connection, or on one that it makes to the port from which the request
//! came (PROTOCOL, "Old peers answer `4` by calling back").
//!
//! Owns the connection of the request, the listener on its port, and one connection accepted there. The one that brings
//! the first byte is the answer, and the others are closed. Does not read that byte.

use super::dial_fault;
use crate::driver::interface::{Interface, begin_connecting};
use crate::driver::socket::{Blocked, ReadStep, Readiness, Socket};
use crate::fault::DialFault;
use crate::time::Instant;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long we wait for a call-back after the peer has closed the connection of the request.
const CALL_BACK_MAX: Duration = Duration::from_secs(5);

/// Connections accepted in one step.
const ACCEPTS_MAX: usize = 16;

const BACKLOG: i32 = 16;

/// Descriptors beside that of the connection: the listener, and an accepted connection.
pub(crate) const CALL_BACK_DESCRIPTORS: usize = 2;

/// A request whose answer may come on either connection.
pub(super) struct Answer {
    /// The connection of the request; `None` once the peer has closed it.
    request: Option<Socket>,
    closed_at: Option<Instant>,
    listener: TcpListener,
    accepting: Readiness,
    accepted: Option<Socket>,
    /// Somebody else has connected, which is logged once.
    has_met_another: bool,
    token: Token,
}

pub(super) enum Answered {
    /// Neither connection has brought a byte.
    NotYet(Blocked),
    /// The same, but call again.
    Again,
    /// This connection has bytes to read.
    On(Socket),
}

impl Answer {
    /// Listens on a free port, and begins a connection from that port. Both sockets have the same token.
    pub(super) fn dial(to: SocketAddr, interface: &Interface, registry: &Registry, token: Token) -> io::Result<Self> {
        let listener = bound(to, 0, interface)?;
        let port = listener.local_addr()?.as_socket().map_or(0, |address| address.port());
        listener.listen(BACKLOG)?;
        let stream = bound(to, port, interface)?;
        begin_connecting(&stream, to)?;
        let mut listener = TcpListener::from_std(listener.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        let request = Socket::register(TcpStream::from_std(stream.into()), registry, token)?;
        let accepting = Readiness::none();
        Ok(Self {
            request: Some(request),
            closed_at: None,
            listener,
            accepting,
            accepted: None,
            has_met_another: false,
            token,
        })
    }

    pub(super) fn request_socket(&mut self) -> Option<&mut Socket> {
        self.request.as_mut()
    }

    pub(super) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.accepting.note(readable);
        for socket in self.request.iter_mut().chain(&mut self.accepted) {
            socket.on_ready(readable, writable);
        }
    }

    /// The deadline of the first byte; at `idle` an exchange without progress ends.
    pub(super) fn deadline(&self, idle: Instant) -> Instant {
        match (self.closed_at, &self.accepted) {
            (Some(at), None) => idle.min(at + CALL_BACK_MAX),
            _ => idle,
        }
    }

    /// Whether the peer closed the connection of the request, and made no other.
    pub(super) fn is_refused(&self) -> bool {
        self.request.is_none() && self.accepted.is_none()
    }

    /// Looks for the first byte. A reset of the connection of the request is a refusal, unless the peer has called back.
    pub(super) fn advance(&mut self, to: SocketAddr, registry: &Registry, now: Instant) -> Result<Answered, DialFault> {
        let mut blocked = None;
        for _ in 0..ACCEPTS_MAX {
            if self.accepted.is_none() {
                blocked = self.accept(to, registry)?;
            }
            match self.accepted.take() {
                None => break,
                Some(mut socket) => match socket.peek(&mut [0]) {
                    Ok(ReadStep::Bytes(_)) => return Ok(Answered::On(socket)),
                    Ok(ReadStep::Blocked(nothing)) => {
                        self.accepted = Some(socket);
                        blocked = Some(nothing);
                        break;
                    }
                    // Closed without a byte, by a program that opens the file late. It may call again.
                    Ok(ReadStep::Fin) | Err(_) => {}
                },
            }
        }
        if let Some(mut request) = self.request.take() {
            let reset = match request.peek(&mut [0]) {
                Ok(ReadStep::Bytes(_)) => return Ok(Answered::On(request)),
                Ok(ReadStep::Blocked(_)) => {
                    self.request = Some(request);
                    return Ok(blocked.map_or(Answered::Again, Answered::NotYet));
                }
                Ok(ReadStep::Fin) => None,
                Err(error) => Some(error),
            };
            // A connection made before the reset may not be reported yet.
            self.accepting.note(reset.is_some());
            if self.accepted.is_none() {
                self.accept(to, registry)?;
            }
            if let (Some(error), None) = (reset, &self.accepted) {
                return Err(dial_fault(&error));
            }
            self.closed_at = Some(now);
            return Ok(Answered::Again);
        }
        Ok(blocked.map_or(Answered::Again, Answered::NotYet))
    }

    /// Accepts a connection from the peer's address; closes others. Returns `Blocked` if no connection waits.
    fn accept(&mut self, to: SocketAddr, registry: &Registry) -> Result<Option<Blocked>, DialFault> {
        for _ in 0..ACCEPTS_MAX {
            match self.accepting.attempt(|| self.listener.accept()) {
                Ok(Ok((stream, from))) if from.ip().to_canonical() == to.ip().to_canonical() => {
                    let socket = Socket::register(stream, registry, self.token).map_err(|error| dial_fault(&error))?;
                    self.accepted = Some(socket);
                    return Ok(None);
                }
                Ok(Ok((_, from))) => {
                    if !std::mem::replace(&mut self.has_met_another, true) {
                        log::debug!(peer:% = from, expected:% = to; "closed a connection where another peer is to call back");
                    }
                }
                Ok(Err(blocked)) => return Ok(Some(blocked)),
                Err(error) if dial_fault(&error) == DialFault::NoDescriptor => return Err(DialFault::NoDescriptor),
                // An error of a connection in the queue (accept(2)).
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

fn bound(to: SocketAddr, port: u16, interface: &Interface) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    interface.bind(&socket)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::new(unspecified(to), port).into())?;
    Ok(socket)
}

pub(super) fn unspecified(to: SocketAddr) -> IpAddr {
    if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

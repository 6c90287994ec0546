//! A nonblocking TCP connection under edge-triggered readiness.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::driver) enum ReadStep {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The other side sent FIN.
    Fin,
    /// Nothing more until the next readiness.
    Blocked,
}

/// A connection, and what epoll last said of it.
///
/// Edge-triggered epoll tells of a change once: a direction counts as ready until a call on it would have blocked.
#[derive(Debug)]
pub(in crate::driver) struct Socket {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// A write found the send buffer full.
    filled: bool,
    /// A write succeeded after the buffer had been full, so the other side has acknowledged something.
    acknowledged: bool,
}

impl Socket {
    /// Registers a connection for both directions.
    pub(in crate::driver) fn register(mut stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, readable: true, writable: true, filled: false, acknowledged: false })
    }

    /// Takes note of an event.
    pub(in crate::driver) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Reads what is there.
    pub(in crate::driver) fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadStep> {
        self.receiving(|stream| stream.read(buffer))
    }

    /// What [`Socket::read`] would bring; it stays there to be read.
    pub(in crate::driver) fn peek(&mut self, buffer: &mut [u8]) -> io::Result<ReadStep> {
        self.receiving(|stream| stream.peek(buffer))
    }

    fn receiving(&mut self, mut call: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> io::Result<ReadStep> {
        if !self.readable {
            return Ok(ReadStep::Blocked);
        }
        loop {
            match call(&mut self.stream) {
                Ok(0) => return Ok(ReadStep::Fin),
                Ok(n) => return Ok(ReadStep::Bytes(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(ReadStep::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes from `bytes`; `None` until the next readiness.
    pub(in crate::driver) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        self.sending(|stream| (&*stream).write(bytes))
    }

    /// Whether a read may bring something: `false` until the next readiness.
    pub(in crate::driver) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether a write may succeed: `false` until the next readiness.
    pub(in crate::driver) fn is_writable(&self) -> bool {
        self.writable
    }

    fn sending(&mut self, mut call: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<Option<usize>> {
        if !self.writable {
            return Ok(None);
        }
        loop {
            match call(&self.stream) {
                Ok(n) => {
                    self.acknowledged |= self.filled;
                    return Ok(Some(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.filled = true;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the other side is known to have acknowledged a byte of ours. `false` proves nothing.
    pub(in crate::driver) fn has_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Whether a connection that was being made stands now: `Ok(false)` means not yet.
    pub(in crate::driver) fn connected(&mut self) -> io::Result<bool> {
        if !self.writable {
            return Ok(false);
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.writable = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The error that broke the connection, if one did.
    pub(in crate::driver) fn take_error(&self) -> Option<io::Error> {
        self.stream.take_error().unwrap_or_else(Some)
    }

    /// Our address on this connection.
    pub(in crate::driver) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Sends FIN after what was written.
    pub(in crate::driver) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Has the kernel hold no more than so many bytes that are not on their way (tcp(7), TCP_NOTSENT_LOWAT). What a reader
    /// takes then shows in what the socket takes, so that a slow reader is told from a stalled one; and a slow one costs little
    /// memory.
    pub(in crate::driver) fn keep_unsent(&self, bytes: u32) {
        // A kernel that lacks it only sees slow readers less sharply.
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes);
    }

    /// Breaks the connection when what was sent stays unacknowledged for so long (tcp(7), TCP_USER_TIMEOUT).
    pub(in crate::driver) fn give_up_unacknowledged(&self, after: Duration) {
        let _ = SockRef::from(&self.stream).set_tcp_user_timeout(Some(after));
    }

    /// From now on the end of this socket, also by the death of the process, is an RST and not a FIN.
    pub(in crate::driver) fn end_in_reset(&self) {
        // Fails only on a connection that is reset already.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Takes [`Socket::end_in_reset`] back: what was written is delivered, then FIN.
    pub(in crate::driver) fn end_in_order(&self) {
        let _ = SockRef::from(&self.stream).set_linger(None);
    }
}

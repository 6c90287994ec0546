//! Nonblocking sockets under edge-triggered readiness, and the one contract of every connection: whoever waits has seen a
//! call block, and epoll watches its socket.

use super::shared_files::AwaitsRead;
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Proof that a call would have blocked, so that epoll tells when it is worth another attempt. Good for one wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blocked(());

/// What follows a step of a connection. `R` is what it reports, `E` how it ends.
#[derive(Debug)]
pub(super) enum Step<R, E> {
    /// Nothing to do until readiness or the deadline.
    Wait(Blocked),
    /// Nothing to do until a read has ended, or the deadline: of its socket, only the end matters.
    Reading(AwaitsRead),
    /// Nothing to do until an order or the deadline: of its socket, only the end matters.
    Idle,
    /// The budget is used up; go on in the next turn.
    Again,
    /// The rate limit is used up; go on when there are tokens again.
    Paced(Direction),
    /// Tell this, then go on.
    Report(R),
    /// It is over.
    End(E),
}

/// What epoll last said of one direction of a socket.
///
/// Edge-triggered epoll tells of a change once: a direction counts as ready until a call on it would have blocked.
#[derive(Debug)]
pub(super) struct Readiness(bool);

impl Readiness {
    /// As after registering: the first call finds out.
    pub(super) fn unknown() -> Self {
        Self(true)
    }

    /// Until the first event no call is worth an attempt.
    pub(super) fn none() -> Self {
        Self(false)
    }

    pub(super) fn note(&mut self, is_ready: bool) {
        self.0 |= is_ready;
    }

    /// No call is worth an attempt until this is told otherwise: the last one failed.
    pub(super) fn give_up(&mut self) {
        self.0 = false;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0
    }

    /// Makes a call, unless it is known that it would block.
    pub(super) fn attempt<T>(&mut self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<Result<T, Blocked>> {
        while self.0 {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0 = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map(Ok),
            }
        }
        Ok(Err(Blocked(())))
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadStep {
    /// Bytes read, at least one.
    Bytes(usize),
    /// The other side sent FIN.
    Fin,
    /// Nothing more until the next readiness.
    Blocked(Blocked),
}

impl ReadStep {
    fn of(read: Result<usize, Blocked>) -> Self {
        match read {
            Ok(0) => Self::Fin,
            Ok(n) => Self::Bytes(n),
            Err(blocked) => Self::Blocked(blocked),
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket<S = TcpStream> {
    stream: S,
    /// epoll watches it.
    is_registered: bool,
    reading: Readiness,
    writing: Readiness,
    /// A write found the send buffer full.
    filled: bool,
    /// A write succeeded after the buffer had been full, so the other side has acknowledged something.
    acknowledged: bool,
}

impl<S: Source> Socket<S>
where
    for<'a> &'a S: Read + Write,
{
    /// Registers a connection for both directions.
    pub(super) fn register(stream: S, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = Self::unregistered(stream);
        socket.ensure_registered(registry, token)?;
        Ok(socket)
    }

    /// A connection that may be over before it waits for anything. It is to be registered after the step in which it begins to wait
    /// (`Net::settle`).
    pub(super) fn unregistered(stream: S) -> Self {
        let (reading, writing) = (Readiness::unknown(), Readiness::unknown());
        Self { stream, is_registered: false, reading, writing, filled: false, acknowledged: false }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.is_registered
    }

    /// Registers it for both directions, unless it is. epoll then also tells what it is ready for already (`tests/linux`): of what
    /// has become ready since a call blocked nothing is missed.
    pub(super) fn ensure_registered(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if !self.is_registered {
            registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.is_registered = true;
        }
        Ok(())
    }

    /// Whether a call on it would block, as far as is known: only epoll tells when that is over.
    pub(super) fn has_blocked(&self) -> bool {
        !(self.reading.is_ready() && self.writing.is_ready())
    }

    pub(super) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.reading.note(readable);
        self.writing.note(writable);
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadStep> {
        let mut stream = &self.stream;
        self.reading.attempt(|| stream.read(buffer)).map(ReadStep::of)
    }

    /// Writes from `bytes`: how many the system has taken. Where these are not all, the buffer is full, and epoll tells when it is not
    /// (epoll(7)): the next call is not made to find that out.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Result<usize, Blocked>> {
        let mut stream = &self.stream;
        let wrote = self.writing.attempt(|| stream.write(bytes))?;
        self.acknowledged |= self.filled && wrote.is_ok();
        if wrote.as_ref().map_or(true, |count| *count < bytes.len()) {
            self.filled = true;
            self.writing.give_up();
        }
        Ok(wrote)
    }

    /// Whether it is known that a write would block.
    pub(super) fn blocks_writing(&self) -> Option<Blocked> {
        (!self.writing.is_ready()).then_some(Blocked(()))
    }
}

impl Socket<TcpStream> {
    /// What [`Socket::read`] would bring; it stays there to be read.
    pub(super) fn peek(&mut self, buffer: &mut [u8]) -> io::Result<ReadStep> {
        self.reading.attempt(|| self.stream.peek(buffer)).map(ReadStep::of)
    }

    /// Ends that epoll watches it, and gives it away.
    pub(super) fn into_stream(mut self, registry: &Registry) -> io::Result<TcpStream> {
        if self.is_registered {
            registry.deregister(&mut self.stream)?;
        }
        Ok(self.stream)
    }

    /// Whether the other side is known to have acknowledged a byte of ours. `false` means unknown.
    pub(super) fn has_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Whether a connection that was being made stands now.
    pub(super) fn connected(&mut self) -> io::Result<Result<(), Blocked>> {
        let stream = &self.stream;
        self.writing.attempt(|| {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
                outcome => outcome.map(drop),
            }
        })
    }

    /// The error that broke the connection, if one did.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.stream.take_error().unwrap_or_else(Some)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Sends FIN after what was written.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Limits the bytes in the kernel that are not sent yet (tcp(7), TCP_NOTSENT_LOWAT). What a reader takes then shows
    /// in what the socket takes, so that a slow reader is told from a stalled one; and a slow one costs little memory.
    pub(super) fn keep_unsent(&self, bytes: u32) {
        // A kernel that lacks it only sees slow readers less sharply.
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes);
    }

    /// Breaks the connection when what was sent stays unacknowledged for so long (tcp(7), TCP_USER_TIMEOUT).
    pub(super) fn give_up_unacknowledged(&self, after: Duration) {
        let _ = SockRef::from(&self.stream).set_tcp_user_timeout(Some(after));
    }

    /// From now on the end of this socket, also by the death of the process, is an RST and not a FIN.
    pub(super) fn end_in_reset(&self) {
        // Fails only on a connection that is reset already.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Takes [`Socket::end_in_reset`] back: what was written is delivered, then FIN.
    pub(super) fn end_in_order(&self) {
        let _ = SockRef::from(&self.stream).set_linger(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::net::TcpListener;

    #[test]
    fn a_write_that_is_taken_in_part_waits_until_epoll_tells_of_room() {
        let (mut poll, listener) = (Poll::new().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut socket = Socket::register(TcpStream::from_std(stream), poll.registry(), Token(0)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, None).unwrap();
        socket.keep_unsent(16 << 10);
        // More than any buffer has room for.
        let bytes = vec![7; 64 << 20];
        let mut written = socket.write(&bytes).unwrap().unwrap();
        assert!(written < bytes.len() && socket.blocks_writing().is_some());
        assert!(!socket.has_acknowledged(), "the peer has read nothing");
        let mut received = vec![0; 1 << 20];
        for _ in 0..3 {
            let mut read = 0;
            while socket.blocks_writing().is_some() {
                if read < written {
                    read += peer.read(&mut received).unwrap();
                }
                poll.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
                events.iter().for_each(|event| socket.on_ready(event.is_readable(), event.is_writable()));
            }
            written = written - read + socket.write(&bytes).unwrap().unwrap();
            assert!(socket.has_acknowledged() && socket.blocks_writing().is_some());
        }
    }
}

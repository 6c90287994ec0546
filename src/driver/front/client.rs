//! A client of the control socket. `control` defines the messages.

use crate::control::{
    CallError, CallId, Problem, REQUEST_BYTES_MAX, Reply, Request, decode_request, encode_error_without_id,
    encode_reply,
};
use crate::driver::socket::{Blocked, ReadStep, Socket, Step};
use crate::id::ClientId;
use crate::lines::Lines;
use crate::time::Instant;
use mio::net::UnixStream;
use mio::{Registry, Token};
use std::io;
use std::time::Duration;

/// Bytes that may wait for a client before it is dropped.
const CLIENT_BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// The time for the first call of a client, and for each line that has begun.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Lines of one client in one step, valid or not.
const LINES_PER_STEP_MAX: usize = 8;

const READ_BYTES: usize = 16 * 1024;

/// Reads in one step: blank lines do not count as lines.
const READS_PER_STEP_MAX: usize = 4;

/// A client that has been idle for this long is closed for another one, if there are too many.
const IDLE_MIN: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct ControlClient {
    pub(super) id: ClientId,
    socket: Socket<UnixStream>,
    received: Lines,
    out: Vec<u8>,
    out_at: usize,
    fin: bool,
    /// Since when we wait for a whole line: the first, or one that has begun.
    awaited_since: Option<Instant>,
    /// When the last line was received, or the last bytes were sent.
    active_at: Instant,
    unanswered: usize,
}

/// Reports calls, in order; ends with a reason for the log, if there is one.
type ClientStep = Step<Vec<(CallId, Request)>, Option<&'static str>>;

impl ControlClient {
    pub(super) fn register(
        id: ClientId,
        stream: UnixStream,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<Self> {
        Ok(Self {
            id,
            socket: Socket::register(stream, registry, token)?,
            received: Lines::default(),
            out: Vec::new(),
            out_at: 0,
            fin: false,
            awaited_since: Some(now),
            active_at: now,
            unanswered: 0,
        })
    }

    /// When a client is closed that sends no whole line. Between lines it may stay as long as it likes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.awaited_since.map(|since| since + CALL_MAX)
    }

    /// Since when it has been idle, if it may be closed for another client.
    pub(super) fn idle_since(&self, now: Instant) -> Option<Instant> {
        let is_idle = self.unanswered == 0 && now.saturating_since(self.active_at) >= IDLE_MIN;
        is_idle.then_some(self.active_at)
    }

    /// Sends the reason why it is closed for another client, as far as its socket takes that at once.
    pub(super) fn give_way(&mut self) {
        let _ = self.push(&encode_error_without_id(&Problem::IdleForLongest.into())) && self.flush().is_ok();
    }

    /// Queues the reply to a call. `false` if the client does not read and must be closed.
    pub(super) fn push_reply(&mut self, line: &[u8]) -> bool {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.push(line)
    }

    pub(super) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.socket.on_ready(readable, writable);
    }

    /// Queues a line. `false` if the client does not read and must be closed.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        if self.out_at > 0 && self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
        }
        if self.out.len() - self.out_at + line.len() > CLIENT_BACKLOG_BYTES_MAX {
            return false;
        }
        if self.out_at >= READ_BYTES {
            self.out.drain(..self.out_at);
            self.out_at = 0;
        }
        self.out.extend_from_slice(line);
        true
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.out_at == self.out.len()
    }

    pub(super) fn advance(&mut self, scratch: &mut [u8], now: Instant) -> ClientStep {
        self.try_advance(scratch, now).unwrap_or(Step::End(None))
    }

    fn try_advance(&mut self, scratch: &mut [u8], now: Instant) -> io::Result<ClientStep> {
        let waiting = self.out.len() - self.out_at;
        self.flush()?;
        if self.out.len() - self.out_at < waiting {
            self.active_at = now;
        }
        let (mut calls, mut lines, mut reads) = (Vec::new(), 0, 0);
        let mut next = Step::Again;
        while lines < LINES_PER_STEP_MAX && reads < READS_PER_STEP_MAX {
            if let Some(line) = self.received.next_filled(REQUEST_BYTES_MAX) {
                let Ok(line) = line else { return Ok(Step::End(Some("a line is too long"))) };
                lines += 1;
                (self.awaited_since, self.active_at) = (None, now);
                match decode_request(line) {
                    Ok(call) => calls.push(call),
                    Err((call, error)) => {
                        if !self.refuse(call, error) {
                            return Ok(Step::End(Some("it does not read")));
                        }
                    }
                }
                continue;
            }
            if self.fin {
                next = Step::End(None);
                break;
            }
            reads += 1;
            match self.socket.read(&mut scratch[..READ_BYTES])? {
                ReadStep::Fin => self.fin = true,
                ReadStep::Bytes(n) => self.received.push(&scratch[..n]),
                ReadStep::Blocked(blocked) => {
                    next = Step::Wait(blocked);
                    break;
                }
            }
        }
        if !calls.is_empty() {
            self.unanswered += calls.len();
            return Ok(Step::Report(calls));
        }
        if !self.received.rest().is_empty() && self.awaited_since.is_none() {
            self.awaited_since = Some(now);
        }
        Ok(match (self.flush()?, next) {
            // Queued lines are sent before it is closed.
            (Some(blocked), Step::End(None)) => Step::Wait(blocked),
            (_, next) => next,
        })
    }

    /// Replies to an invalid line. `false` if the client does not read.
    fn refuse(&mut self, call: Option<CallId>, error: CallError) -> bool {
        let line = match call {
            Some(call) => encode_reply(&call, &Err::<Reply, CallError>(error)),
            None => encode_error_without_id(&error),
        };
        self.push(&line)
    }

    /// Writes queued bytes. Returns `Blocked` if the socket takes no more.
    fn flush(&mut self) -> io::Result<Option<Blocked>> {
        while self.out_at < self.out.len() {
            match self.socket.write(&self.out[self.out_at..])? {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.out_at += n,
                Err(blocked) => return Ok(Some(blocked)),
            }
        }
        Ok(None)
    }
}

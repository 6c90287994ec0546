//! Exchanges: one connection, one request and perhaps its response, each a nonblocking state machine.
//!
//! `inbound` was accepted, `outbound` was dialled on the node's order, `stream` stays open for messages to a `p1` peer;
//! `outgoing` and `incoming` are the two directions of payload, `checked` is what of it is verified, `port_check` sees whether a registrant listens, `said` has the lines that a node sends back on a stream that
//! it did not open, and `answer` finds the connection on which an old peer sends a file. A step does a bounded amount of work
//! and says what comes next: nothing in here decides what a request deserves.

mod answer;
mod checked;
mod first_line;
mod inbound;
mod incoming;
mod outbound;
mod outgoing;
mod port_check;
mod said;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use answer::CALL_BACK_DESCRIPTORS;
pub(crate) use checked::Part;
pub(crate) use inbound::{Inbound, Service};
pub(crate) use outbound::{Outbound, Task};
pub(crate) use outgoing::Outgoing;
pub(crate) use port_check::{PortCheck, Proof};
pub(crate) use stream::{Queued, STREAM_STUCK_MAX, StreamLink};

use super::pace::Pace;
use crate::driver::open_parts::{OpenParts, Parts};
use crate::driver::socket::Step;
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::library::Library;
use crate::node::Event;
use crate::time::Instant;
use crate::wire::{Message, WireError, named_file};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// Bytes that one step may move before the next connection has its turn.
pub(crate) const STEP_BYTES_MAX: usize = 256 * 1024;

/// Time without progress after which a transfer is broken off.
pub(crate) const TRANSFER_IDLE_MAX: Duration = Duration::from_secs(60);

/// What a reader must take in [`TRANSFER_IDLE_MAX`] for it to be progress, in bytes: a reader of a byte a minute would
/// hold a worker for ever.
const TRANSFER_BYTES_MIN: u64 = 16 * 1024;

/// Least time between two reports of progress.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
struct Progress {
    at: Instant,
    /// Bytes moved by then.
    bytes: u64,
}

impl Progress {
    /// Of a transfer that begins, or may begin, now.
    fn start(now: Instant) -> Self {
        Self { at: now, bytes: 0 }
    }

    /// The number of bytes moved in all. The first ones count, and from then on [`TRANSFER_BYTES_MIN`] at a time.
    fn note(&mut self, now: Instant, bytes: u64) {
        if (self.bytes == 0 && bytes > 0) || bytes - self.bytes >= TRANSFER_BYTES_MIN {
            *self = Self { at: now, bytes };
        }
    }

    /// The wait is ours (the rate limit), not the other side's.
    fn restart_idle_timer(&mut self, now: Instant) {
        self.at = now;
    }

    fn deadline(&self) -> Instant {
        self.at + TRANSFER_IDLE_MAX
    }
}

/// What connections use that belongs to others.
pub(crate) struct Lent<'a> {
    pub(crate) library: &'a Library,
    pub(crate) parts: &'a mut OpenParts,
}

pub(super) struct Context<'a> {
    pub(super) now: Instant,
    /// A buffer that all connections share, of [`STEP_BYTES_MAX`].
    pub(super) scratch: &'a mut [u8],
    pub(super) library: &'a Library,
    pub(super) parts: &'a mut Parts,
    pub(super) pace: &'a mut Pace,
}

#[derive(Debug)]
pub(super) enum Report {
    /// A message is complete, and the node owes an answer.
    Message(Message),
    Event(Event),
    /// For the node: its answer is sent. The exchange may not be named any more, though its connection lingers.
    Answered(Event),
    /// The system has taken the messages of these exchanges on a stream.
    Sent(Vec<ExchangeId>),
}

#[derive(Debug)]
pub(super) enum Over {
    /// Close, and tell the node if it is told.
    Ended(Option<Event>),
    /// What came is not the protocol, or not in time. Reset.
    Refused(RefusedMessage),
    /// A stream: what was not sent, and why; `None` if it simply was idle.
    Stream(VecDeque<Queued>, Option<DialFault>),
    /// A check: whether the registrant has answered.
    Checked(bool),
}

pub(super) type NetStep = Step<Report, Over>;

#[derive(Debug)]
pub(super) struct RefusedMessage {
    pub(super) error: WireError,
    /// The file that it names; its bytes may be no file name.
    pub(super) file: Option<Box<[u8]>>,
}

impl RefusedMessage {
    /// The message as far as its bytes are there.
    fn of(error: WireError, bytes: &[u8]) -> Self {
        Self { error, file: named_file(bytes).map(Into::into) }
    }
}

/// The fault that an I/O error on a dialled connection amounts to.
fn dial_fault(error: &io::Error) -> DialFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFault::Refused,
        io::ErrorKind::TimedOut => DialFault::TimedOut,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => DialFault::Reset,
        _ => match error.raw_os_error() {
            Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::EADDRNOTAVAIL) => DialFault::NoDescriptor,
            _ => DialFault::Unreachable,
        },
    }
}

/// A reset while connecting is a refusal to talk, as by a full backlog; everything else is as it stands.
fn connect_fault(error: &io::Error) -> DialFault {
    match dial_fault(error) {
        DialFault::Reset => DialFault::Refused,
        fault => fault,
    }
}

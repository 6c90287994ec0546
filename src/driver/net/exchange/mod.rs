//! Exchanges: one connection, one request and perhaps its response, each a nonblocking state machine.
//!
//! `inbound` was accepted, `outbound` was dialled on the node's order, `stream` stays open for messages to a `p1` peer;
//! `outgoing` and `incoming` are the two directions of payload, `checked` is what of it is verified, `partial` keeps what is
//! not whole yet, `port_check` sees whether a registrant listens, `said` has the lines that a node sends back on a stream that
//! it did not open, and `answer` finds the connection on which an old peer sends a file. A step does a bounded amount of work
//! and says what comes next: nothing in here decides what a request deserves.

mod answer;
mod checked;
mod first_line;
mod inbound;
mod incoming;
mod outbound;
mod outgoing;
mod partial;
mod port_check;
mod said;
mod stream;
#[cfg(test)]
mod tests;

pub(in crate::driver) use answer::CALL_BACK_DESCRIPTORS;
pub(in crate::driver) use inbound::{Inbound, Service};
pub(in crate::driver) use incoming::Part;
pub(in crate::driver) use outbound::{Outbound, Task};
pub(in crate::driver) use outgoing::Outgoing;
pub(in crate::driver) use partial::{PartialGroup, PartialGroups, Remains};
pub(in crate::driver) use port_check::{Checked, PortCheck, Proof};
pub(in crate::driver) use stream::{Flushed, Queued, STREAM_STUCK_MAX, StreamLink};

use super::pace::{Direction, Pace};
use crate::fault::DialFault;
use crate::id::TransferId;
use crate::library::Library;
use crate::node::Event;
use crate::store::PartFile;
use crate::time::Instant;
use crate::wire::{Message, WireError};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Part files that are open, by download. Bounded by `max_downloads`.
pub(in crate::driver) type Parts = BTreeMap<TransferId, PartFile>;

/// Bytes that one step may move before the next connection has its turn.
pub(in crate::driver) const STEP_BYTES_MAX: usize = 256 * 1024;

/// Time without progress after which a transfer is broken off.
pub(in crate::driver) const TRANSFER_IDLE_MAX: Duration = Duration::from_secs(60);

/// What a reader must take in [`TRANSFER_IDLE_MAX`] for it to be progress, in bytes: a reader of a byte a minute would
/// hold a worker for ever.
const TRANSFER_BYTES_MIN: u64 = 16 * 1024;

/// Least time between two reports of progress.
pub(in crate::driver) const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// How a transfer gets on.
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

    /// So many bytes have been moved in all. The first ones count, and from then on [`TRANSFER_BYTES_MIN`] at a time.
    fn note(&mut self, now: Instant, bytes: u64) {
        if (self.bytes == 0 && bytes > 0) || bytes - self.bytes >= TRANSFER_BYTES_MIN {
            *self = Self { at: now, bytes };
        }
    }

    /// The transfer waits because we make it wait.
    fn excuse(&mut self, now: Instant) {
        self.at = now;
    }

    /// When the transfer is broken off.
    fn deadline(&self) -> Instant {
        self.at + TRANSFER_IDLE_MAX
    }
}

/// What a step may use.
pub(in crate::driver) struct Context<'a> {
    /// The time of this turn.
    pub(in crate::driver) now: Instant,
    /// A buffer that all connections share, of [`STEP_BYTES_MAX`].
    pub(in crate::driver) scratch: &'a mut [u8],
    /// For lists.
    pub(in crate::driver) library: &'a Library,
    /// For downloads.
    pub(in crate::driver) parts: &'a mut Parts,
    /// Rate limits.
    pub(in crate::driver) pace: &'a mut Pace,
}

/// What follows a step of an exchange.
#[derive(Debug)]
pub(in crate::driver) enum Step {
    /// Nothing to do until readiness or the deadline.
    Wait,
    /// The budget is used up; go on in the next turn.
    Again,
    /// The rate limit is used up; go on when there are tokens again.
    Paced(Direction),
    /// A message is complete, and the node owes an answer.
    Message(Message),
    /// Tell the node, then go on.
    Report(Event),
    /// Tell the node: its answer is sent. The exchange may not be named any more, though its connection lingers.
    Answered(Event),
    /// The exchange is over: tell the node, if it is told, and close.
    End(Option<Event>),
    /// The exchange is over: what came is not the protocol, or not in time. Reset.
    Refused(WireError),
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

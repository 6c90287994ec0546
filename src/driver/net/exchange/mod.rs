//! Exchanges: one connection, one request and perhaps its response, each a nonblocking state machine.
//!
//! | file | |
//! |---|---|
//! | `inbound` | an accepted connection |
//! | `outbound` | a connection that the node ordered; `answer` finds the connection on which an old peer sends a file |
//! | `stream` | a stream to a `p1` peer; `report_queue` has the lines that are sent back on a stream of the peer |
//! | `outgoing`, `incoming` | the two directions of payload; `checked` and `streamed` are what a fetch has for its part file |
//! | `port_check` | checks whether a registrant listens |
//!
//! A step does a bounded amount of work and returns what comes next. The node decides how a request is answered.

mod answer;
mod checked;
mod first_line;
mod inbound;
mod incoming;
mod outbound;
mod outgoing;
mod port_check;
mod report_queue;
mod stream;
mod streamed;
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
use crate::driver::open_parts::OpenParts;
use crate::driver::shared_files::Reads;
use crate::driver::socket::Step;
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::library::Library;
use crate::node::Event;
use crate::node::contract::RESPONSE_IDLE_MAX;
use crate::time::Instant;
use crate::wire::{Message, WireError, named_file};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

pub(crate) const STEP_BYTES_MAX: usize = 256 * 1024;

/// A response that we receive without progress for this long is ended.
pub(crate) const TRANSFER_IDLE_MAX: Duration = Duration::from_secs(60);

/// This many bytes in [`TRANSFER_IDLE_MAX`] or [`RESPONSE_IDLE_MAX`] are progress: a reader of a byte a minute must not hold a worker.
const TRANSFER_BYTES_MIN: u64 = 16 * 1024;

/// Least time between two reports of progress.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// How often the node hears that our disk holds a response back.
const HELD_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Progress {
    at: Instant,
    /// Bytes moved by then.
    bytes: u64,
}

impl Progress {
    fn start(now: Instant) -> Self {
        Self { at: now, bytes: 0 }
    }

    /// `bytes`: moved in total. The first ones are progress, then each [`TRANSFER_BYTES_MIN`].
    fn note(&mut self, now: Instant, bytes: u64) {
        if (self.bytes == 0 && bytes > 0) || bytes - self.bytes >= TRANSFER_BYTES_MIN {
            *self = Self { at: now, bytes };
        }
    }

    /// The wait is ours (the rate limit, the disk), not the peer's.
    fn restart_idle_timer(&mut self, now: Instant) {
        self.at = now;
    }

    fn deadline(&self) -> Instant {
        self.at + TRANSFER_IDLE_MAX
    }

    /// When a response that we send is ended.
    fn end_sending(&self) -> Instant {
        self.at + RESPONSE_IDLE_MAX
    }

    /// When a response that we send is looked at. While it waits for our disk, the node is to hear that; and before the end it gives
    /// memory back.
    fn deadline_sending(&self, outgoing: &Outgoing) -> Instant {
        if outgoing.is_reading() {
            return self.at + HELD_INTERVAL;
        }
        outgoing.gives_back_at().into_iter().fold(self.end_sending(), Instant::min)
    }

    /// Whether a response goes on at that deadline.
    fn goes_on(&self, outgoing: &mut Outgoing, now: Instant) -> bool {
        outgoing.is_reading() || outgoing.give_back(now) && now < self.end_sending()
    }
}

/// State of other parts that connections use.
pub(crate) struct Lent<'a> {
    pub(crate) library: &'a Library,
    pub(crate) parts: &'a mut OpenParts,
}

pub(super) struct Context<'a> {
    pub(super) now: Instant,
    /// A buffer that all connections share, of [`STEP_BYTES_MAX`].
    pub(super) scratch: &'a mut [u8],
    pub(super) library: &'a Library,
    pub(super) parts: &'a mut OpenParts,
    pub(super) pace: &'a mut Pace,
    pub(super) reads: &'a mut Reads,
}

#[derive(Debug)]
pub(super) enum Report {
    Message(Message),
    Event(Event),
    /// The response is sent. The node must not use the id of the exchange again; the socket stays open to drain.
    Answered(Event),
    /// The messages of these exchanges are written to a stream.
    Sent(Vec<ExchangeId>),
}

#[derive(Debug)]
pub(super) enum Over {
    /// Close, and report this to the node.
    Ended(Option<Event>),
    /// The message is invalid or late. Reset.
    Refused(RefusedMessage),
    /// A stream: the messages not sent, and why; `None` if it was idle.
    Stream(VecDeque<Queued>, Option<DialFault>),
    /// A port check: whether the registrant has answered.
    Checked(bool),
}

pub(super) type NetStep = Step<Report, Over>;

#[derive(Debug)]
pub(super) struct RefusedMessage {
    pub(super) error: WireError,
    /// The file that it names; this may be no valid file name.
    pub(super) file: Option<Box<[u8]>>,
}

impl RefusedMessage {
    /// `bytes`: as much of the message as was received.
    fn of(error: WireError, bytes: &[u8]) -> Self {
        Self { error, file: named_file(bytes).map(Into::into) }
    }
}

/// The messages of a stream, each ended by a newline (PROTOCOL, "Streams").
fn encode_stream(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|message| message.encode().into_iter().chain([b'\n'])).collect()
}

/// The fault for an I/O error on a dialled connection.
fn dial_fault(error: &io::Error) -> DialFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFault::Refused,
        io::ErrorKind::TimedOut => DialFault::TimedOut,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => DialFault::Reset,
        _ => match error.raw_os_error() {
            Some(nix::libc::ENODEV) => DialFault::NoInterface,
            Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::EADDRNOTAVAIL) => DialFault::NoDescriptor,
            _ => DialFault::Unreachable,
        },
    }
}

/// While connecting, a reset is a refusal, as by a full backlog.
fn connect_fault(error: &io::Error) -> DialFault {
    match dial_fault(error) {
        DialFault::Reset => DialFault::Refused,
        fault => fault,
    }
}

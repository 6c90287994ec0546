//! A dialled connection.
//!
//! ```text
//! messages:   Connecting --> Sending --> Receiving --FIN--> end
//! fetch:      Connecting --> Sending --> Receiving --FIN, or all groups--> end
//!                                      +--something is being written--> Finishing --> end
//!   from a base peer:    Sending --> Awaiting --first byte, on either connection--> Receiving --FIN--> end
//! call-back:  Connecting --> Uploading --> Settling --> end
//! ```

mod stepping;
#[cfg(test)]
mod tests;

use super::answer::{Answer, unspecified};
use super::checked::Part;
use super::first_line::FirstLine;
use super::incoming::Incoming;
use super::{Outgoing, Progress, dial_fault};
use crate::driver::net::pace::HeldBack;
use crate::driver::open_parts::{OpenParts, Remains, Written};
use crate::driver::shared_files::{Ordered, ReadOutcome};
use crate::driver::socket::Socket;
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::{DialOutcome, Dialled, Expect, Portion, Response};
use crate::time::Instant;
use crate::wire::Message;
use mio::net::TcpStream;
use mio::{Registry, Token};
use std::net::SocketAddr;
use std::time::Duration;

/// Time for connecting and sending, and for receiving a short response.
const REQUEST_MAX: Duration = Duration::from_secs(10);

pub(crate) enum Task {
    /// Send messages, wait for a response.
    Messages {
        /// At least one.
        messages: Vec<Message>,
        expect: Expect,
        /// Time for connecting, if less than [`REQUEST_MAX`].
        connect_max: Duration,
    },
    Fetch {
        /// A download request or range request.
        request: Message,
        part: Part,
        /// The peer may send it on a connection that it makes.
        may_call_back: bool,
    },
    Metadata {
        request: Message,
        /// The download whose outline they become; its part file is open.
        download: TransferId,
        /// The hash that they must prove.
        wanted: Option<ContentHash>,
    },
    /// Send a file to a requester that had closed.
    CallBack(Outgoing),
}

pub(crate) struct Outbound {
    pub(crate) id: ExchangeId,
    to: SocketAddr,
    local: SocketAddr,
    link: Link,
    state: State,
    started: Instant,
    progress: Progress,
    received: u64,
    /// Whether our rate limit, or our disk, holds it back.
    held: HeldBack,
    /// What it received of a group, once it is over.
    remains: Remains,
    sent: u64,
    /// When it looks again at the disk for which it waits.
    disk_look: Option<Instant>,
}

enum Link {
    Connection(Socket),
    /// The connection of the request, and the port to which the peer may call back.
    EitherWay(Box<Answer>),
}

enum State {
    Connecting(Task),
    Sending {
        bytes: Vec<u8>,
        at: usize,
        then: After,
    },
    Receiving(Incoming),
    Uploading(Outgoing),
    /// Only FIN is expected, or the line of a `p1` peer.
    Settling {
        until: Instant,
        line: FirstLine,
    },
    /// The first byte of a file may come on either connection.
    Awaiting(Part),
    /// Nothing more is received: what was is on its way to the disk.
    Finishing {
        incoming: Incoming,
        outcome: Result<Response, DialFault>,
    },
    Over,
}

impl State {
    fn into_remains(self) -> Remains {
        match self {
            Self::Receiving(incoming) | Self::Finishing { incoming, .. } => incoming.into_remains(),
            Self::Connecting(Task::Fetch { part, .. })
            | Self::Sending { then: After::File(part), .. }
            | Self::Awaiting(part) => part.into_remains(),
            _ => Remains::Nothing,
        }
    }
}

/// What follows the last byte of a request.
enum After {
    Expect(Expect),
    File(Part),
    Metadata { download: TransferId, wanted: Option<ContentHash> },
}

impl Outbound {
    pub(crate) fn dial(
        id: ExchangeId,
        to: SocketAddr,
        task: Task,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> Result<Self, DialFault> {
        let link = match task {
            Task::Fetch { may_call_back: true, .. } => {
                Answer::dial(to, registry, token).map(|answer| Link::EitherWay(Box::new(answer)))
            }
            _ => TcpStream::connect(to)
                .and_then(|stream| Socket::register(stream, registry, token))
                .map(Link::Connection),
        };
        let link = link.map_err(|error| dial_fault(&error))?;
        let local = SocketAddr::new(unspecified(to), 0);
        Ok(Self {
            id,
            to,
            local,
            link,
            state: State::Connecting(task),
            started: now,
            progress: Progress::start(now),
            received: 0,
            held: HeldBack::default(),
            remains: Remains::Nothing,
            sent: 0,
            disk_look: None,
        })
    }

    pub(crate) fn progress(&self) -> Option<Event> {
        (self.sent > 0).then_some(Event::ResponseProgress { exchange: self.id, bytes: self.sent, held: false })
    }

    /// A read that it ordered has ended.
    pub(crate) fn take_read(&mut self, read: Ordered, outcome: ReadOutcome, now: Instant) {
        if let State::Uploading(outgoing) = &mut self.state
            && outgoing.take_read(read, outcome)
        {
            self.progress.restart_idle_timer(now);
        }
    }

    pub(crate) fn on_ready(&mut self, readable: bool, writable: bool) {
        match &mut self.link {
            Link::Connection(socket) => socket.on_ready(readable, writable),
            Link::EitherWay(answer) => answer.on_ready(readable, writable),
        }
    }

    /// Makes a fetch of groups end before this group. Its next step checks whether it is complete.
    pub(crate) fn trim(&mut self, groups_end: u64) {
        match &mut self.state {
            State::Receiving(incoming) => incoming.trim(groups_end),
            State::Connecting(Task::Fetch { part, .. }) | State::Sending { then: After::File(part), .. } => {
                // The peer sends all that is requested; groups from here on are ignored.
                if let Portion::Groups(groups) = &mut part.portion {
                    groups.end = groups.end.min(groups_end.max(groups.start));
                }
            }
            _ => {}
        }
    }

    pub(crate) fn ended(&self, outcome: Result<Response, DialFault>) -> Event {
        let outcome: DialOutcome = outcome.map(|response| Dialled { local: self.local, response });
        Event::DialEnded { exchange: self.id, outcome }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(match &self.state {
            State::Connecting(Task::Messages { connect_max, .. }) => self.started + REQUEST_MAX.min(*connect_max),
            State::Connecting(_)
            | State::Sending { .. }
            | State::Receiving(Incoming::Peers(_) | Incoming::FileInfo { .. }) => self.started + REQUEST_MAX,
            State::Receiving(incoming) => {
                let others = incoming.report_due().into_iter().chain(self.disk_look);
                others.fold(self.progress.deadline(), Instant::min)
            }
            State::Uploading(outgoing) => self.progress.deadline_sending(outgoing),
            State::Awaiting(_) => match &self.link {
                Link::EitherWay(answer) => answer.deadline(self.progress.deadline()),
                Link::Connection(_) => self.progress.deadline(),
            },
            State::Settling { until, .. } => *until,
            State::Finishing { .. } => return self.disk_look,
            State::Over => return None,
        })
    }

    pub(crate) fn checked_download(&self) -> Option<TransferId> {
        self.incoming().and_then(Incoming::checked_download)
    }

    /// The result of something that it had to write.
    pub(crate) fn on_written(&mut self, written: &Written) {
        if let State::Receiving(incoming) | State::Finishing { incoming, .. } = &mut self.state {
            incoming.on_written(written);
        }
    }

    /// Has all written that it received of a stream.
    pub(crate) fn flush(&mut self, parts: &mut OpenParts) {
        if let State::Receiving(incoming) = &mut self.state {
            incoming.flush(parts);
        }
    }

    fn incoming(&self) -> Option<&Incoming> {
        match &self.state {
            State::Receiving(incoming) | State::Finishing { incoming, .. } => Some(incoming),
            _ => None,
        }
    }

    /// What it received of a group.
    pub(crate) fn into_remains(self) -> Remains {
        if matches!(self.state, State::Over) { self.remains } else { self.state.into_remains() }
    }

    fn socket(&mut self) -> Result<&mut Socket, DialFault> {
        match &mut self.link {
            Link::Connection(socket) => Ok(socket),
            Link::EitherWay(answer) => answer.request_socket().ok_or(DialFault::Aborted),
        }
    }
}

//! A dialled connection.
//!
//! ```text
//! messages:   Connecting --> Sending --> Receiving --FIN--> end
//! fetch:      Connecting --> Sending --> Receiving --FIN, or all groups--> end
//!                                      +--something is being written--> Finishing --> end
//!   from a base peer:    Sending --> Awaiting --first byte, on either connection--> Receiving --FIN--> end
//! call-back:  Connecting --> Uploading --> Settling --> end
//! ```

mod deadlines;
#[cfg(test)]
mod tests;
mod uploading;

use super::answer::{Answer, Answered, unspecified};
use super::checked::Part;
use super::first_line::FirstLine;
use super::incoming::{Incoming, Taken};
use super::{Context, NetStep, Outgoing, Over, Progress, Report, connect_fault, dial_fault, encode_stream};
use crate::driver::interface::Interface;
use crate::driver::net::pace::{HELD_MIN, HeldBack};
use crate::driver::open_parts::{OpenParts, Remains, Written};
use crate::driver::socket::{Direction, ReadStep, Socket, Step};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::{DialOutcome, Dialled, Expect, Portion, Response, UNSENT_FIRST_BYTES};
use crate::time::Instant;
use crate::wire::{FileInfoReader, FileListReader, Message, PeerListReader};
use mio::{Registry, Token};
use std::net::SocketAddr;
use std::time::Duration;

/// How long we wait for FIN if no response is due: old programs close at once, or never.
const SETTLE_MAX: Duration = Duration::from_secs(2);

pub(crate) enum Task {
    /// Send messages, wait for a response.
    Messages {
        /// At least one.
        messages: Vec<Message>,
        expect: Expect,
        /// Time for connecting, if less than that for a request.
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
        interface: &Interface,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> Result<Self, DialFault> {
        let link = match task {
            Task::Fetch { may_call_back: true, .. } => {
                Answer::dial(to, interface, registry, token).map(|answer| Link::EitherWay(Box::new(answer)))
            }
            _ => {
                interface.connect(to).and_then(|stream| Socket::register(stream, registry, token)).map(Link::Connection)
            }
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

    pub(crate) fn advance(&mut self, cx: &mut Context<'_>, registry: &Registry) -> NetStep {
        let step = match &self.state {
            State::Connecting(_) => self.finish_connecting(cx),
            State::Sending { .. } => self.send(cx),
            State::Receiving(_) => self.receive(cx),
            State::Uploading(_) => self.upload(cx),
            State::Settling { .. } => self.settle(cx),
            State::Awaiting(_) => self.await_answer(cx, registry),
            State::Finishing { .. } => self.finish(cx),
            State::Over => Ok(Step::Idle),
        };
        step.unwrap_or_else(|fault| self.end(Err(fault), cx))
    }

    /// Ends the exchange, when what it received is written.
    fn end(&mut self, outcome: Result<Response, DialFault>, cx: &mut Context<'_>) -> NetStep {
        self.flush(cx.parts);
        if self.incoming().is_some_and(Incoming::is_writing)
            && let State::Receiving(incoming) = std::mem::replace(&mut self.state, State::Over)
        {
            self.state = State::Finishing { incoming, outcome };
            return Step::Again;
        }
        let event = self.ended(outcome);
        self.remains = std::mem::replace(&mut self.state, State::Over).into_remains();
        Step::End(Over::Ended(Some(event)))
    }

    /// Waits until all is written. What fails there counts before how the connection ended.
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
        let State::Finishing { incoming, outcome } = &mut self.state else { return Ok(Step::Idle) };
        let outcome = match incoming.poll(self.id, cx) {
            Ok(Taken::Report(event)) => return Ok(Step::Report(Report::Event(event))),
            _ if incoming.is_writing() => return Ok(self.wait_for_disk(cx)),
            Ok(_) => outcome.clone(),
            Err(fault) => Err(fault),
        };
        Ok(self.end(outcome, cx))
    }

    /// Until something is written. The node hears several times a second that our disk holds the fetch back, and not its source.
    fn wait_for_disk(&mut self, cx: &Context<'_>) -> NetStep {
        self.progress.restart_idle_timer(cx.now);
        self.disk_look = Some(cx.now + HELD_MIN);
        match self.held.on_spent(cx.now, 1) {
            true => Step::Report(Report::Event(Event::FetchHeld { exchange: self.id, by_disk: true })),
            false => Step::Idle,
        }
    }

    fn finish_connecting(&mut self, cx: &Context<'_>) -> Result<NetStep, DialFault> {
        let socket = self.socket()?;
        if let Err(blocked) = socket.connected().map_err(|error| connect_fault(&error))? {
            return Ok(Step::Wait(blocked));
        }
        self.local = socket.local_addr().map_err(|error| dial_fault(&error))?;
        self.progress = Progress::start(cx.now);
        let State::Connecting(task) = std::mem::replace(&mut self.state, State::Over) else { return Ok(Step::Idle) };
        self.state = match task {
            Task::Messages { messages, expect, .. } => {
                State::Sending { bytes: encode_all(&messages), at: 0, then: After::Expect(expect) }
            }
            Task::Fetch { request, part, .. } => {
                State::Sending { bytes: request.encode(), at: 0, then: After::File(part) }
            }
            Task::Metadata { request, download, wanted } => {
                State::Sending { bytes: request.encode(), at: 0, then: After::Metadata { download, wanted } }
            }
            Task::CallBack(outgoing) => {
                self.socket()?.end_in_reset();
                self.socket()?.keep_unsent(UNSENT_FIRST_BYTES);
                self.state = State::Uploading(outgoing);
                return Ok(Step::Report(Report::Event(Event::CallBackConnected { exchange: self.id })));
            }
        };
        Ok(Step::Again)
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
        let (socket, either_way) = match &mut self.link {
            Link::Connection(socket) => (socket, false),
            Link::EitherWay(answer) => (answer.request_socket().ok_or(DialFault::Aborted)?, true),
        };
        let State::Sending { bytes, at, then } = &mut self.state else { return Ok(Step::Idle) };
        while *at < bytes.len() {
            match socket.write(&bytes[*at..]).map_err(|error| dial_fault(&error))? {
                Ok(n) => *at += n,
                Err(blocked) => return Ok(Step::Wait(blocked)),
            }
        }
        self.progress = Progress::start(cx.now);
        let next = match then {
            After::Expect(Expect::Nothing) => {
                State::Settling { until: cx.now + SETTLE_MAX, line: FirstLine::default() }
            }
            After::Expect(Expect::FirstContact) => {
                State::Settling { until: cx.now + SETTLE_MAX, line: FirstLine::first_contact() }
            }
            After::Expect(Expect::PeerList) => State::Receiving(Incoming::Peers(PeerListReader::default())),
            After::Expect(Expect::FileList) => {
                State::Receiving(Incoming::Files { reader: FileListReader::default(), fin: false })
            }
            After::Expect(Expect::Manifest { b3, size }) => {
                State::Receiving(Incoming::Manifest { reader: Box::default(), b3: *b3, size: *size })
            }
            After::Expect(Expect::FileInfo) => {
                State::Receiving(Incoming::FileInfo { reader: FileInfoReader::default(), info: None })
            }
            After::File(part) if either_way => State::Awaiting(part.clone()),
            After::File(part) => State::Receiving(Incoming::file(self.id, part, cx.parts, cx.now)?),
            After::Metadata { download, wanted } => State::Receiving(Incoming::metadata(*download, *wanted, cx.now)),
        };
        // Fails if the peer has answered and closed already, which reading shows.
        let _ = socket.finish();
        self.state = next;
        Ok(Step::Again)
    }

    /// Continues on the connection that brings the first byte.
    fn await_answer(&mut self, cx: &mut Context<'_>, registry: &Registry) -> Result<NetStep, DialFault> {
        let (Link::EitherWay(answer), State::Awaiting(part)) = (&mut self.link, &self.state) else {
            return Err(DialFault::Aborted);
        };
        Ok(match answer.advance(self.to, registry, cx.now)? {
            Answered::NotYet(blocked) => Step::Wait(blocked),
            Answered::Again => Step::Again,
            Answered::On(socket) => {
                self.state = State::Receiving(Incoming::file(self.id, part, cx.parts, cx.now)?);
                self.link = Link::Connection(socket);
                self.progress = Progress::start(cx.now);
                Step::Again
            }
        })
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
        let id = self.id;
        let Link::Connection(socket) = &mut self.link else { return Err(DialFault::Aborted) };
        let State::Receiving(incoming) = &mut self.state else { return Ok(Step::Idle) };
        self.disk_look = None;
        let step_max = incoming.step_bytes_max();
        // What may be read in this step, and how much of it is left. One that waits for the disk takes no share of the rate limit.
        let mut budget = None;
        loop {
            let taken = incoming.poll(id, cx)?;
            if let (Taken::More, None) = (&taken, budget) {
                let granted = match incoming.is_paced() {
                    true => cx.pace.bucket(Direction::Down).grant(cx.now, step_max),
                    false => step_max,
                };
                budget = Some((granted, granted));
            }
            let (granted, left) = budget.unwrap_or_default();
            let taken = match taken {
                Taken::More if left == 0 && granted < step_max => {
                    self.progress.restart_idle_timer(cx.now);
                    if self.held.on_spent(cx.now, granted) {
                        return Ok(Step::Report(Report::Event(Event::FetchHeld { exchange: id, by_disk: false })));
                    }
                    return Ok(Step::Paced(Direction::Down));
                }
                Taken::More if left == 0 => return Ok(Step::Again),
                Taken::More => {
                    let room = incoming.room(cx.parts, cx.scratch);
                    let room_bytes = left.min(room.len());
                    match socket.read(&mut room[..room_bytes]).map_err(|error| dial_fault(&error))? {
                        ReadStep::Bytes(n) => {
                            if incoming.is_paced() {
                                cx.pace.bucket(Direction::Down).spend(n);
                            }
                            incoming.take(n, cx.scratch, cx.parts)?;
                            self.received += n as u64;
                            self.progress.note(cx.now, self.received);
                            budget = Some((granted, left - n));
                            continue;
                        }
                        ReadStep::Blocked(blocked) => {
                            self.held.on_drained();
                            return Ok(Step::Wait(blocked));
                        }
                        ReadStep::Fin => incoming.on_fin(id, cx)?,
                    }
                }
                taken => taken,
            };
            return Ok(match taken {
                Taken::More => Step::Again,
                Taken::WaitForDisk => self.wait_for_disk(cx),
                Taken::Report(event) => Step::Report(Report::Event(event)),
                Taken::Enough(response) => self.end(Ok(response), cx),
            });
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

/// One message ends without a newline; several are a stream.
fn encode_all(messages: &[Message]) -> Vec<u8> {
    if let [message] = messages { message.encode() } else { encode_stream(messages) }
}

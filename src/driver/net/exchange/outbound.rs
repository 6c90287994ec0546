//! A dialled connection.
//!
//! ```text
//! messages:   Connecting --> Sending --> Receiving --FIN--> end
//! fetch:      Connecting --> Sending --> Receiving --FIN, or all groups--> end
//!   of a base peer:      Sending --> Awaiting --first byte, on either connection--> Receiving --FIN--> end
//! call-back:  Connecting --> Uploading --> Settling --> end
//! ```

use super::answer::{Answer, Answered, unspecified};
use super::first_line::FirstLine;
use super::incoming::{Incoming, Part, Taken};
use super::outgoing::Pump;
use super::partial::Remains;
use super::{Context, Outgoing, Progress, Step, connect_fault, dial_fault};
use crate::driver::net::pace::{Direction, Held};
use crate::driver::net::socket::{ReadStep, Socket};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::{DialOutcome, Dialled, Expect, Portion, Response, UNSENT_FIRST_BYTES};
use crate::time::Instant;
use crate::wire::{FileInfoReader, FileListReader, Message, PeerListReader, other_program};
use mio::net::TcpStream;
use mio::{Registry, Token};
use std::net::SocketAddr;
use std::time::Duration;

/// Time for connecting, sending and, where the response is short, receiving: the absolute deadline of a request.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// How long we wait for FIN where no response is due: old programs close at once, or never.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Reads of one step on a connection from which nothing is expected.
const READS_MAX: usize = 16;

/// What a dialled connection is for.
pub(in crate::driver) enum Task {
    /// Send messages, wait for a response.
    Messages {
        /// At least one.
        messages: Vec<Message>,
        /// The response.
        expect: Expect,
        /// Time for connecting, if that is less than for the whole request.
        connect_max: Duration,
    },
    /// Ask for a file or a part of it.
    Fetch {
        /// A download request or range request.
        request: Message,
        /// Where it goes; the part file is open.
        part: Part,
        /// It may come on a connection that the peer makes.
        may_call_back: bool,
    },
    /// Ask for metadata.
    Metadata {
        /// A metadata request.
        request: Message,
        /// Whose outline they become; the part file is open.
        download: TransferId,
        /// The hash that they must prove.
        wanted: Option<ContentHash>,
    },
    /// Bring a file to a requester that had closed.
    CallBack(Outgoing),
}

/// A dialled connection.
pub(in crate::driver) struct Outbound {
    id: ExchangeId,
    to: SocketAddr,
    local: SocketAddr,
    link: Link,
    state: State,
    started: Instant,
    progress: Progress,
    /// Payload bytes received.
    received: u64,
    /// Whether our limit holds it back.
    held: Held,
    /// What it leaves, once it is over.
    remains: Remains,
    /// Payload bytes sent.
    sent: u64,
}

/// What the exchange waits on.
enum Link {
    /// The connection.
    Connection(Socket),
    /// The connection that asks, and the port to which the peer may call back.
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
    /// Nothing is expected but the end, or one line that says what the peer speaks.
    Settling {
        until: Instant,
        line: FirstLine,
    },
    /// The first byte of a file may come on either connection.
    Awaiting(Part),
    Over,
}

impl State {
    fn into_remains(self) -> Remains {
        match self {
            Self::Receiving(incoming) => incoming.into_remains(),
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
    /// Begins to connect. Fails with the fault that ends the exchange.
    pub(in crate::driver) fn dial(
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
            held: Held::default(),
            remains: Remains::Nothing,
            sent: 0,
        })
    }

    pub(in crate::driver) fn id(&self) -> ExchangeId {
        self.id
    }

    /// How far an upload is.
    pub(in crate::driver) fn progress(&self) -> Option<Event> {
        (self.sent > 0).then_some(Event::ResponseProgress { exchange: self.id, bytes: self.sent, held: false })
    }

    /// Takes note of an event.
    pub(in crate::driver) fn on_ready(&mut self, readable: bool, writable: bool) {
        match &mut self.link {
            Link::Connection(socket) => socket.on_ready(readable, writable),
            Link::EitherWay(answer) => answer.on_ready(readable, writable),
        }
    }

    /// Lets a fetch of groups end earlier. Its next step finds out whether that is now.
    pub(in crate::driver) fn trim(&mut self, groups_end: u64) {
        match &mut self.state {
            State::Receiving(incoming) => incoming.trim(groups_end),
            State::Connecting(Task::Fetch { part, .. }) | State::Sending { then: After::File(part), .. } => {
                // What was asked for comes; what is beyond is not taken.
                if let Portion::Groups(groups) = &mut part.portion {
                    groups.end = groups.end.min(groups_end.max(groups.start));
                }
            }
            _ => {}
        }
    }

    /// The event that ends the exchange.
    pub(in crate::driver) fn ended(&self, outcome: Result<Response, DialFault>) -> Event {
        let outcome: DialOutcome = outcome.map(|response| Dialled { local: self.local, response });
        Event::DialEnded { exchange: self.id, outcome }
    }

    /// When [`Outbound::on_deadline`] is due.
    pub(in crate::driver) fn deadline(&self) -> Option<Instant> {
        Some(match &self.state {
            State::Connecting(Task::Messages { connect_max, .. }) => self.started + REQUEST_MAX.min(*connect_max),
            State::Connecting(_)
            | State::Sending { .. }
            | State::Receiving(Incoming::Peers(_) | Incoming::FileInfo { .. }) => self.started + REQUEST_MAX,
            State::Receiving(incoming) => {
                let idle = self.progress.deadline();
                incoming.report_due().map_or(idle, |at| at.min(idle))
            }
            State::Uploading(_) => self.progress.deadline(),
            State::Awaiting(_) => match &self.link {
                Link::EitherWay(answer) => answer.deadline(self.progress.deadline()),
                Link::Connection(_) => self.progress.deadline(),
            },
            State::Settling { until, .. } => *until,
            State::Over => return None,
        })
    }

    /// The deadline has come.
    pub(in crate::driver) fn on_deadline(&mut self, cx: &mut Context<'_>) -> Step {
        match &mut self.state {
            State::Receiving(incoming) if cx.now < self.progress.deadline() => {
                match incoming.poll(self.id, cx) {
                    Ok(Taken::Report(event)) => Step::Report(event),
                    Ok(Taken::Enough(response)) => self.end(Ok(response)),
                    // A response that has an absolute deadline and no progress to tell.
                    Ok(Taken::More) => self.end(Err(DialFault::TimedOut)),
                    Err(fault) => self.end(Err(fault)),
                }
            }
            // The peer closed in order and sent nothing.
            State::Awaiting(_) if matches!(&self.link, Link::EitherWay(answer) if answer.is_refused()) => {
                self.end(Ok(Response::File { bytes: 0 }))
            }
            // Silence is consent where no response is due.
            State::Settling { .. } => self.end(Ok(Response::Delivered)),
            _ => self.end(Err(DialFault::TimedOut)),
        }
    }

    /// Does what can be done now.
    pub(in crate::driver) fn advance(&mut self, cx: &mut Context<'_>, registry: &Registry) -> Step {
        let step = match &self.state {
            State::Connecting(_) => self.finish_connecting(cx),
            State::Sending { .. } => self.send(cx),
            State::Receiving(_) => self.receive(cx),
            State::Uploading(_) => self.upload(cx),
            State::Settling { .. } => self.settle(cx),
            State::Awaiting(_) => self.await_answer(cx, registry),
            State::Over => Ok(Step::Wait),
        };
        step.unwrap_or_else(|fault| self.end(Err(fault)))
    }

    fn end(&mut self, outcome: Result<Response, DialFault>) -> Step {
        let event = self.ended(outcome);
        self.remains = std::mem::replace(&mut self.state, State::Over).into_remains();
        Step::End(Some(event))
    }

    /// The download whose groups come in.
    pub(in crate::driver) fn checked_download(&self) -> Option<TransferId> {
        if let State::Receiving(incoming) = &self.state { incoming.checked_download() } else { None }
    }

    /// What it leaves: it is over, or broken off.
    pub(in crate::driver) fn into_remains(self) -> Remains {
        if matches!(self.state, State::Over) { self.remains } else { self.state.into_remains() }
    }

    fn socket(&mut self) -> Result<&mut Socket, DialFault> {
        match &mut self.link {
            Link::Connection(socket) => Ok(socket),
            Link::EitherWay(answer) => answer.asking().ok_or(DialFault::Aborted),
        }
    }

    fn finish_connecting(&mut self, cx: &Context<'_>) -> Result<Step, DialFault> {
        let socket = self.socket()?;
        if !socket.connected().map_err(|error| connect_fault(&error))? {
            return Ok(Step::Wait);
        }
        self.local = socket.local_addr().map_err(|error| dial_fault(&error))?;
        self.progress = Progress::start(cx.now);
        let State::Connecting(task) = std::mem::replace(&mut self.state, State::Over) else { return Ok(Step::Wait) };
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
                return Ok(Step::Report(Event::CallBackStands { exchange: self.id }));
            }
        };
        Ok(Step::Again)
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<Step, DialFault> {
        let (socket, either_way) = match &mut self.link {
            Link::Connection(socket) => (socket, false),
            Link::EitherWay(answer) => (answer.asking().ok_or(DialFault::Aborted)?, true),
        };
        let State::Sending { bytes, at, then } = &mut self.state else { return Ok(Step::Wait) };
        while *at < bytes.len() {
            match socket.write(&bytes[*at..]).map_err(|error| dial_fault(&error))? {
                Some(n) => *at += n,
                None => return Ok(Step::Wait),
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
            After::Expect(Expect::FileInfo) => {
                State::Receiving(Incoming::FileInfo { reader: FileInfoReader::default(), said: None })
            }
            After::File(part) if either_way => State::Awaiting(part.clone()),
            After::File(part) => State::Receiving(Incoming::file(part, cx.parts, cx.now)?),
            After::Metadata { download, wanted } => State::Receiving(Incoming::metadata(*download, *wanted, cx.now)),
        };
        // A peer that has answered and closed already makes this fail: reading tells how it went.
        let _ = socket.finish();
        self.state = next;
        Ok(Step::Again)
    }

    /// Goes on with the connection that brings the first byte.
    fn await_answer(&mut self, cx: &mut Context<'_>, registry: &Registry) -> Result<Step, DialFault> {
        let (Link::EitherWay(answer), State::Awaiting(part)) = (&mut self.link, &self.state) else {
            return Err(DialFault::Aborted);
        };
        Ok(match answer.advance(self.to, registry, cx.now)? {
            Answered::NotYet => Step::Wait,
            Answered::Again => Step::Again,
            Answered::On(socket) => {
                self.state = State::Receiving(Incoming::file(part, cx.parts, cx.now)?);
                self.link = Link::Connection(socket);
                self.progress = Progress::start(cx.now);
                Step::Again
            }
        })
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Result<Step, DialFault> {
        let id = self.id;
        let Link::Connection(socket) = &mut self.link else { return Err(DialFault::Aborted) };
        let State::Receiving(incoming) = &mut self.state else { return Ok(Step::Wait) };
        let step_max = incoming.step_bytes_max();
        let granted = match incoming.is_paced() {
            true => cx.pace.bucket(Direction::Down).grant(cx.now, step_max),
            false => step_max,
        };
        let mut budget = granted;
        loop {
            let taken = match incoming.poll(id, cx)? {
                Taken::More if budget == 0 && granted < step_max => {
                    self.progress.excuse(cx.now);
                    if self.held.on_spent(cx.now, granted) {
                        return Ok(Step::Report(Event::FetchHeld { exchange: id }));
                    }
                    return Ok(Step::Paced(Direction::Down));
                }
                Taken::More if budget == 0 => return Ok(Step::Again),
                Taken::More => {
                    let room = budget.min(cx.scratch.len());
                    match socket.read(&mut cx.scratch[..room]).map_err(|error| dial_fault(&error))? {
                        ReadStep::Bytes(n) => {
                            if incoming.is_paced() {
                                cx.pace.bucket(Direction::Down).spend(n);
                            }
                            incoming.take(&cx.scratch[..n], cx.parts)?;
                            self.received += n as u64;
                            self.progress.note(cx.now, self.received);
                            budget -= n;
                            continue;
                        }
                        ReadStep::Blocked => {
                            self.held.on_drained();
                            return Ok(Step::Wait);
                        }
                        ReadStep::Fin => incoming.on_fin(id, cx)?,
                    }
                }
                taken => taken,
            };
            return Ok(match taken {
                Taken::More => Step::Again,
                Taken::Report(event) => Step::Report(event),
                Taken::Enough(response) => self.end(Ok(response)),
            });
        }
    }

    fn upload(&mut self, cx: &mut Context<'_>) -> Result<Step, DialFault> {
        let Link::Connection(socket) = &mut self.link else { return Err(DialFault::Aborted) };
        let State::Uploading(outgoing) = &mut self.state else { return Ok(Step::Wait) };
        let pump = outgoing.pump(socket, cx);
        self.sent = outgoing.sent();
        self.progress.note(cx.now, self.sent);
        match pump {
            Pump::Blocked => match socket.take_error() {
                Some(error) => Err(dial_fault(&error)),
                None => Ok(Step::Wait),
            },
            Pump::Again => Ok(Step::Again),
            Pump::Progress { bytes, held } => {
                Ok(Step::Report(Event::ResponseProgress { exchange: self.id, bytes, held }))
            }
            Pump::Paced => match socket.take_error() {
                Some(error) => Err(dial_fault(&error)),
                None => {
                    self.progress.excuse(cx.now);
                    Ok(Step::Paced(Direction::Up))
                }
            },
            Pump::Sent(bytes) => {
                socket.end_in_order();
                let _ = socket.finish();
                self.state = State::Settling { until: cx.now + SETTLE_MAX, line: FirstLine::default() };
                Ok(Step::Report(Event::ResponseProgress { exchange: self.id, bytes, held: false }))
            }
            Pump::Gone { .. } => Err(DialFault::Reset),
            Pump::Failed(fault) => Err(DialFault::Disk(fault)),
        }
    }

    /// Waits for the other side's FIN, or for a line that answers a first contact. A peer says nothing else, but a server of
    /// another kind shows by what it says what it is.
    fn settle(&mut self, cx: &mut Context<'_>) -> Result<Step, DialFault> {
        for _ in 0..READS_MAX {
            match self.socket()?.read(cx.scratch).map_err(|error| dial_fault(&error))? {
                ReadStep::Bytes(n) => {
                    let State::Settling { line, .. } = &mut self.state else { return Err(DialFault::Aborted) };
                    if line.take(&cx.scratch[..n]) {
                        return Ok(self.end(Ok(Response::SpeaksP1)));
                    }
                    let is_too_much = line.is_too_much();
                    let banner = cx.scratch[..n].split(|&byte| byte == b'\n').next().unwrap_or_default();
                    if let Some(program) = other_program(banner) {
                        return Err(DialFault::NotAPeer(program));
                    }
                    if is_too_much {
                        return Ok(self.end(Ok(Response::Delivered)));
                    }
                }
                ReadStep::Fin => return Ok(self.end(Ok(Response::Delivered))),
                ReadStep::Blocked => return Ok(Step::Wait),
            }
        }
        Ok(Step::Again)
    }
}

/// One message stands bare; several are a stream, each ended by a newline (PROTOCOL, "Streams").
fn encode_all(messages: &[Message]) -> Vec<u8> {
    if let [message] = messages {
        return message.encode();
    }
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(message.encode());
        bytes.push(b'\n');
    }
    bytes
}

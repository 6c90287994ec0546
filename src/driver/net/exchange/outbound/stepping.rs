//! The step of a dialled connection.

use super::{After, Link, Outbound, State, Task};
use crate::driver::net::exchange::answer::Answered;
use crate::driver::net::exchange::first_line::FirstLine;
use crate::driver::net::exchange::incoming::{Incoming, Taken};
use crate::driver::net::exchange::outgoing::Pump;
use crate::driver::net::exchange::{
    Context, NetStep, Over, Progress, Report, connect_fault, dial_fault, encode_stream,
};
use crate::driver::net::pace::HELD_MIN;
use crate::driver::socket::{Direction, ReadStep, Step};
use crate::fault::DialFault;
use crate::node::Event;
use crate::node::contract::{Expect, Response, UNSENT_FIRST_BYTES};
use crate::wire::{FileInfoReader, FileListReader, Message, PeerListReader, other_program};
use mio::Registry;
use std::time::Duration;

/// How long we wait for FIN if no response is due: old programs close at once, or never.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Reads of one step while no response is due.
const READS_MAX: usize = 16;

impl Outbound {
    pub(crate) fn on_deadline(&mut self, cx: &mut Context<'_>) -> NetStep {
        match &mut self.state {
            State::Receiving(incoming)
                if cx.now < self.progress.deadline() || incoming.is_unreported() || self.disk_look.is_some() =>
            {
                match incoming.poll(self.id, cx) {
                    Ok(Taken::Report(event)) => Step::Report(Report::Event(event)),
                    Ok(Taken::Enough(response)) => self.end(Ok(response), cx),
                    Ok(Taken::WaitForDisk) => self.wait_for_disk(cx),
                    // What it waited for is written, and its step comes later.
                    Ok(Taken::More) if self.disk_look.take().is_some() => {
                        self.progress.restart_idle_timer(cx.now);
                        Step::Again
                    }
                    // A short response: its deadline is absolute.
                    Ok(Taken::More) => self.end(Err(DialFault::TimedOut), cx),
                    Err(fault) => self.end(Err(fault), cx),
                }
            }
            State::Finishing { .. } => self.finish(cx).unwrap_or_else(|fault| self.end(Err(fault), cx)),
            // The peer sent FIN and no byte.
            State::Awaiting(_) if matches!(&self.link, Link::EitherWay(answer) if answer.is_refused()) => {
                self.end(Ok(Response::File { bytes: 0 }), cx)
            }
            State::Uploading(outgoing) if outgoing.is_reading() => {
                self.upload(cx).unwrap_or_else(|fault| self.end(Err(fault), cx))
            }
            // No response is due: silence means success.
            State::Settling { .. } => self.end(Ok(Response::Delivered), cx),
            _ => self.end(Err(DialFault::TimedOut), cx),
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
            true => Step::Report(Report::Event(Event::FetchHeld { exchange: self.id })),
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
                        return Ok(Step::Report(Report::Event(Event::FetchHeld { exchange: id })));
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

    fn upload(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
        let Link::Connection(socket) = &mut self.link else { return Err(DialFault::Aborted) };
        let State::Uploading(outgoing) = &mut self.state else { return Ok(Step::Idle) };
        let pump = outgoing.pump(socket, cx);
        self.sent = outgoing.sent;
        self.progress.note(cx.now, self.sent);
        match pump {
            Pump::Blocked(blocked) => match socket.take_error() {
                Some(error) => Err(dial_fault(&error)),
                None => Ok(Step::Wait(blocked)),
            },
            Pump::Again => Ok(Step::Again),
            Pump::Reading(read) => match socket.take_error() {
                Some(error) => Err(dial_fault(&error)),
                None => {
                    self.progress.restart_idle_timer(cx.now);
                    Ok(Step::Reading(read))
                }
            },
            Pump::Progress { bytes, held } => {
                Ok(Step::Report(Report::Event(Event::ResponseProgress { exchange: self.id, bytes, held })))
            }
            Pump::Paced => match socket.take_error() {
                Some(error) => Err(dial_fault(&error)),
                None => {
                    self.progress.restart_idle_timer(cx.now);
                    Ok(Step::Paced(Direction::Up))
                }
            },
            Pump::Sent(bytes) => {
                socket.end_in_order();
                let _ = socket.finish();
                self.state = State::Settling { until: cx.now + SETTLE_MAX, line: FirstLine::default() };
                Ok(Step::Report(Report::Event(Event::ResponseProgress { exchange: self.id, bytes, held: false })))
            }
            Pump::Gone { .. } => Err(DialFault::Reset),
            Pump::Failed(fault) => Err(DialFault::Disk(fault)),
        }
    }

    /// Waits for FIN, or for the line that answers a first contact. A peer sends nothing else; the first line of another kind of
    /// server tells which program it is.
    fn settle(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
        for _ in 0..READS_MAX {
            match self.socket()?.read(cx.scratch).map_err(|error| dial_fault(&error))? {
                ReadStep::Bytes(n) => {
                    let State::Settling { line, .. } = &mut self.state else { return Err(DialFault::Aborted) };
                    if line.take(&cx.scratch[..n]) {
                        return Ok(self.end(Ok(Response::SpeaksP1), cx));
                    }
                    let is_too_much = line.is_too_much();
                    let banner = cx.scratch[..n].split(|&byte| byte == b'\n').next().unwrap_or_default();
                    if let Some(program) = other_program(banner) {
                        return Err(DialFault::NotAPeer(program));
                    }
                    if is_too_much {
                        return Ok(self.end(Ok(Response::Delivered), cx));
                    }
                }
                ReadStep::Fin => return Ok(self.end(Ok(Response::Delivered), cx)),
                ReadStep::Blocked(blocked) => return Ok(Step::Wait(blocked)),
            }
        }
        Ok(Step::Again)
    }
}

/// One message ends without a newline; several are a stream.
fn encode_all(messages: &[Message]) -> Vec<u8> {
    if let [message] = messages { message.encode() } else { encode_stream(messages) }
}

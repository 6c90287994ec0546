//! An accepted connection: message, answer, orderly or abortive end.
//!
//! ```text
//! Reading --message--> Asked --send--> Sending --all sent--> Lingering --FIN, or time--> end
//!    |                   +--refuse, say why--> Refusing --^
//!    ^                   |                |                      |
//!    +------stream-------+                +------- reset --------+--> Deserted --> end, and a call-back
//! ```

use super::outgoing::{Pump, is_reset_after_fin};
use super::said::Said;
use super::{Context, Outgoing, Progress, Step};
use crate::driver::net::eviction::Standing;
use crate::driver::net::pace::Direction;
use crate::driver::net::socket::{ReadStep, Socket};
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::Event;
use crate::node::contract::{ResponseFault, UNSENT_FIRST_BYTES};
use crate::time::Instant;
use crate::wire::{
    End, Framer, MESSAGE_DEADLINE, Message, SILENCE, STREAM_IDLE_MAX, WireError, decode, encode_refusal,
};
use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

/// How long we wait for the other side's FIN after ours.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// How long we watch for the reset by which a 2013 client asks to be called back: it comes one round trip after the
/// first byte.
const CALL_BACK_WATCH: Duration = Duration::from_secs(1);

/// Bytes taken from the socket at once while a message is read, and thrown away while lingering.
const READ_BYTES: usize = 4096;

/// Reads of one step.
const READS_MAX: usize = 16;

/// Which of our listeners took the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) enum Service {
    /// The peer's.
    Peer,
    /// The bootstrap node's.
    Bootstrap,
}

/// An accepted connection.
#[derive(Debug)]
pub(in crate::driver) struct Inbound {
    id: ExchangeId,
    from: SocketAddr,
    service: Service,
    socket: Socket,
    framer: Framer,
    state: State,
    /// The other side has sent FIN.
    fin: bool,
    /// The message that has begun to come has a response (codes 1, 4, 5, 8 and 9).
    owes_response: bool,
    /// The message that came last is a metadata request: a refusal may say why.
    takes_reason: bool,
    /// The file that it asks for.
    asked_for: Option<FileName>,
    /// Silence ended the message: the FIN behind it may be late.
    ended_by_silence: bool,
    /// The stream gives its place up: our FIN is sent, and what the other side has sent before it saw that is read until
    /// then.
    stream_ends: Option<Instant>,
    /// What the other side is told of the searches on its stream.
    said: Said,
}

#[derive(Debug)]
enum State {
    /// A message is awaited since the connection opened or the message before it was answered; when the first byte of it
    /// came, if one did on a stream, and the last.
    Reading { since: Instant, begun: Instant, last_byte: Instant },
    /// The node owes an answer.
    Asked { since: Instant, may_stream: bool },
    /// A response is on its way. The name is that of a file.
    Sending { outgoing: Outgoing, name: Option<FileName>, progress: Progress },
    /// A line that says why the request is refused is on its way. The node has nothing to do with it.
    Refusing { outgoing: Outgoing, until: Instant },
    /// FIN is sent: for the other side's FIN, or for the reset that asks for a call-back.
    Lingering { until: Instant, call_back: Option<Unserved> },
    /// The requester had closed before our first byte: it is to be called back with this file.
    Deserted(Unserved),
}

impl State {
    /// A message is awaited from now on.
    fn reading(now: Instant) -> Self {
        Self::Reading { since: now, begun: now, last_byte: now }
    }
}

/// A file that its requester did not take.
#[derive(Debug, Clone)]
struct Unserved {
    name: FileName,
    /// Bytes of it that the node was told are sent.
    counted: u64,
}

impl Inbound {
    /// A connection just accepted.
    pub(in crate::driver) fn new(
        id: ExchangeId,
        from: SocketAddr,
        service: Service,
        socket: Socket,
        now: Instant,
    ) -> Self {
        Self {
            id,
            from,
            service,
            socket,
            framer: Framer::new(),
            state: State::reading(now),
            fin: false,
            owes_response: false,
            takes_reason: false,
            asked_for: None,
            ended_by_silence: false,
            stream_ends: None,
            said: Said::default(),
        }
    }

    pub(in crate::driver) fn id(&self) -> ExchangeId {
        self.id
    }

    pub(in crate::driver) fn from(&self) -> SocketAddr {
        self.from
    }

    /// The file that the message which came last asks for.
    pub(in crate::driver) fn asked_for(&self) -> Option<&FileName> {
        self.asked_for.as_ref()
    }

    pub(in crate::driver) fn service(&self) -> Service {
        self.service
    }

    pub(in crate::driver) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether the connection is only watched for a reset, and may be closed when others need its place.
    pub(in crate::driver) fn is_watched(&self) -> bool {
        self.fin && matches!(self.state, State::Lingering { call_back: Some(_), .. })
    }

    /// How busy it is, for when others need its place. `None` if it is over by the next step.
    pub(in crate::driver) fn standing(&self) -> Option<Standing> {
        Some(match &self.state {
            State::Reading { since, .. } => match self.stream_ends {
                Some(until) => Standing::Ending(until),
                None if self.is_idle_stream() => Standing::IdleStream(*since),
                None => Standing::NoMessage(*since),
            },
            State::Asked { since, .. } => Standing::Waiting(Reverse(*since)),
            State::Sending { progress, .. } => Standing::Sending(progress.at),
            State::Refusing { until, .. } | State::Lingering { until, .. } => Standing::Ending(*until),
            State::Deserted(_) => return None,
        })
    }

    /// Closing it now, for this reason, means this for the node.
    pub(in crate::driver) fn broken_off(&self, fault: ResponseFault) -> Option<Event> {
        let exchange = self.id;
        match self.state {
            State::Asked { .. } => Some(Event::RequestGone { exchange }),
            State::Sending { .. } => Some(Event::ResponseEnded { exchange, outcome: Err(fault) }),
            State::Reading { .. } | State::Refusing { .. } | State::Lingering { .. } | State::Deserted(_) => None,
        }
    }

    /// Others need the place of this idle stream: we end it in order, so that nothing is lost that is on its way.
    pub(in crate::driver) fn end_stream(&mut self, now: Instant) {
        // Fails only if the connection is reset already, which the next step sees.
        let _ = self.socket.finish();
        self.stream_ends = Some(now + LINGER_MAX);
    }

    /// Says a line against the direction of a stream. Nobody reads it on another connection, and behind our FIN nothing goes.
    pub(in crate::driver) fn say(&mut self, line: &[u8]) {
        let is_open = matches!(self.state, State::Reading { .. } | State::Asked { may_stream: true, .. });
        if is_open && self.framer.is_stream() && self.stream_ends.is_none() && !self.fin {
            self.said.push(line);
            // Fails only if the connection is reset, which the next step sees.
            let _ = self.said.flush(&mut self.socket);
        }
    }

    /// How far the response is that is on its way.
    pub(in crate::driver) fn progress(&self) -> Option<Event> {
        match &self.state {
            State::Sending { outgoing, .. } => {
                Some(Event::ResponseProgress { exchange: self.id, bytes: outgoing.sent(), held: false })
            }
            _ => None,
        }
    }

    /// The node answers nothing.
    pub(in crate::driver) fn close(&mut self, now: Instant) {
        let State::Asked { may_stream, .. } = self.state else { return };
        if may_stream && self.framer.is_stream() {
            self.state = State::reading(now);
        } else {
            self.linger(now, None);
        }
    }

    /// The node answers with a payload; the name is that of a file.
    pub(in crate::driver) fn send(&mut self, outgoing: Outgoing, name: Option<FileName>, now: Instant) {
        self.owe_response();
        self.state = State::Sending { outgoing, name, progress: Progress::start(now) };
    }

    /// The node refuses. Says whether the requester is told why; otherwise the connection is to be reset.
    pub(in crate::driver) fn refuse_with(&mut self, reason: RefusalReason, now: Instant) -> bool {
        if !self.takes_reason || !matches!(self.state, State::Asked { .. }) {
            return false;
        }
        self.owe_response();
        let outgoing = Outgoing::bytes(encode_refusal(reason), now);
        self.state = State::Refusing { outgoing, until: now + LINGER_MAX };
        true
    }

    /// Does what can be done now.
    pub(in crate::driver) fn advance(&mut self, cx: &mut Context<'_>) -> Step {
        match self.state {
            State::Reading { .. } => match self.said.flush(&mut self.socket) {
                Ok(()) => self.read_message(cx, End::More),
                Err(_) => Step::End(None),
            },
            State::Asked { .. } => match self.socket.take_error() {
                Some(_) => Step::End(Some(Event::RequestGone { exchange: self.id })),
                None => Step::Wait,
            },
            State::Sending { .. } => self.send_payload(cx),
            State::Refusing { .. } => self.send_reason(cx),
            State::Lingering { .. } => self.linger_on(cx),
            State::Deserted(_) => self.desert(),
        }
    }

    /// When [`Inbound::on_deadline`] is due.
    pub(in crate::driver) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Reading { since, begun, last_byte } => {
                let at = if self.is_idle_stream() {
                    *since + STREAM_IDLE_MAX
                } else if self.framer.silence_ends() {
                    (*last_byte + SILENCE).min(*begun + MESSAGE_DEADLINE)
                } else {
                    *begun + MESSAGE_DEADLINE
                };
                Some(self.stream_ends.map_or(at, |until| until.min(at)))
            }
            State::Asked { .. } | State::Deserted(_) => None,
            State::Sending { progress, .. } => Some(progress.deadline()),
            State::Refusing { until, .. } | State::Lingering { until, .. } => Some(*until),
        }
    }

    /// The deadline has come.
    pub(in crate::driver) fn on_deadline(&mut self, cx: &mut Context<'_>) -> Step {
        match &self.state {
            State::Reading { .. } => self.on_reading_deadline(cx),
            State::Asked { .. } | State::Deserted(_) => Step::Wait,
            State::Sending { .. } => {
                Step::End(Some(Event::ResponseEnded { exchange: self.id, outcome: Err(ResponseFault::Gone) }))
            }
            State::Refusing { .. } | State::Lingering { .. } => Step::End(None),
        }
    }

    /// From the first byte of a request to the last of its response, every end of the connection must be seen as a
    /// failure (PROTOCOL, "How a response ends"), even if the process is killed.
    fn owe_response(&mut self) {
        if !std::mem::replace(&mut self.owes_response, true) {
            self.socket.end_in_reset();
            self.socket.keep_unsent(UNSENT_FIRST_BYTES);
        }
    }

    fn is_idle_stream(&self) -> bool {
        self.framer.is_stream() && self.framer.pending() == 0
    }

    fn on_reading_deadline(&mut self, cx: &mut Context<'_>) -> Step {
        // A busy loop may come late: what has arrived meanwhile breaks the silence.
        let step = self.read_message(cx, End::More);
        if !matches!(step, Step::Wait) || self.deadline().is_none_or(|at| at > cx.now) {
            return step;
        }
        let State::Reading { begun, .. } = self.state else { return step };
        if self.is_idle_stream() || self.stream_ends.is_some_and(|until| until <= cx.now) {
            Step::End(None)
        } else if cx.now >= begun + MESSAGE_DEADLINE {
            Step::Refused(WireError::Incomplete)
        } else {
            self.ended_by_silence = true;
            self.read_message(cx, End::Silence)
        }
    }

    /// Reads until a message is complete. `end` is what is known beyond the bytes.
    fn read_message(&mut self, cx: &mut Context<'_>, mut end: End) -> Step {
        for _ in 0..READS_MAX {
            if self.fin {
                end = End::Fin;
            }
            match self.framer.next_frame(end) {
                Some(Ok(frame)) => return self.take_frame(&frame, cx.now),
                Some(Err(error)) => return Step::Refused(error),
                // The connection is simply over; nothing was promised.
                None if self.fin => return Step::End(None),
                None => {}
            }
            end = End::More;
            match self.socket.read(&mut cx.scratch[..READ_BYTES]) {
                Ok(ReadStep::Bytes(n)) => {
                    if self.framer.pending() == 0 && matches!(cx.scratch[0], b'1' | b'4' | b'5' | b'8' | b'9') {
                        self.owe_response();
                    }
                    let begins = self.is_idle_stream();
                    self.framer.push(&cx.scratch[..n]);
                    if let State::Reading { begun, last_byte, .. } = &mut self.state {
                        *last_byte = cx.now;
                        if begins {
                            *begun = cx.now;
                        }
                    }
                }
                Ok(ReadStep::Fin) => self.fin = true,
                Ok(ReadStep::Blocked) => return Step::Wait,
                Err(_) => return Step::End(None),
            }
        }
        Step::Again
    }

    fn take_frame(&mut self, frame: &[u8], now: Instant) -> Step {
        match decode(frame) {
            // Our FIN is sent: there can be no response.
            Ok(message) if self.stream_ends.is_some() && !message.may_stream() => Step::End(None),
            Ok(message) => {
                self.state = State::Asked { since: now, may_stream: message.may_stream() };
                self.takes_reason = matches!(message, Message::MetadataRequest { .. });
                self.asked_for = message.file().cloned();
                Step::Message(message)
            }
            Err(error) => Step::Refused(error),
        }
    }

    fn send_payload(&mut self, cx: &mut Context<'_>) -> Step {
        let State::Sending { outgoing, name, progress } = &mut self.state else { return Step::Wait };
        let pump = outgoing.pump(&mut self.socket, cx);
        progress.note(cx.now, outgoing.sent());
        let exchange = self.id;
        match pump {
            Pump::Blocked => match self.socket.take_error() {
                Some(error) => self.reader_gone(is_reset_after_fin(&error)),
                None => Step::Wait,
            },
            Pump::Again => Step::Again,
            Pump::Paced => match self.socket.take_error() {
                Some(error) => self.reader_gone(is_reset_after_fin(&error)),
                None => {
                    progress.excuse(cx.now);
                    Step::Paced(Direction::Up)
                }
            },
            Pump::Progress { bytes, held } => Step::Report(Event::ResponseProgress { exchange, bytes, held }),
            Pump::Sent(bytes) => {
                // The system has taken everything, and the requester has reset the connection meanwhile.
                if name.is_some()
                    && let Some(error) = self.socket.take_error()
                {
                    return self.reader_gone(is_reset_after_fin(&error));
                }
                let name = name.take().filter(|_| bytes > 0 && (self.ended_by_silence || self.fin_or_read()));
                self.socket.end_in_order();
                self.owes_response = false;
                let name = name.filter(|_| !self.socket.has_acknowledged());
                self.linger(cx.now, name.map(|name| Unserved { name, counted: bytes }));
                Step::Answered(Event::ResponseEnded { exchange, outcome: Ok(bytes) })
            }
            Pump::Gone { after_fin } => self.reader_gone(after_fin),
            Pump::Failed(fault) => {
                let outcome = Err(ResponseFault::Disk(fault));
                Step::End(Some(Event::ResponseEnded { exchange, outcome }))
            }
        }
    }

    fn send_reason(&mut self, cx: &mut Context<'_>) -> Step {
        let State::Refusing { outgoing, .. } = &mut self.state else { return Step::Wait };
        match outgoing.pump(&mut self.socket, cx) {
            Pump::Blocked | Pump::Paced => match self.socket.take_error() {
                Some(_) => Step::End(None),
                None => Step::Wait,
            },
            Pump::Again | Pump::Progress { .. } => Step::Again,
            Pump::Sent(_) => {
                self.socket.end_in_order();
                self.owes_response = false;
                self.linger(cx.now, None);
                Step::Again
            }
            Pump::Gone { .. } | Pump::Failed(_) => Step::End(None),
        }
    }

    /// Whether the requester has sent FIN, as the 2013 client does right behind its request; looks once at the socket
    /// if it is not known yet.
    fn fin_or_read(&mut self) -> bool {
        self.fin |= matches!(self.socket.read(&mut [0; 64]), Ok(ReadStep::Fin) | Err(_));
        self.fin
    }

    /// The connection was reset while the response was on its way. Reset before a byte was acknowledged, after its FIN or
    /// before one that is late, the requester waits to be called back.
    fn reader_gone(&mut self, after_fin: bool) -> Step {
        let (name, counted) = match &mut self.state {
            State::Sending { outgoing, name, .. } => (name.take(), outgoing.reported()),
            _ => (None, 0),
        };
        let call_back = name.filter(|_| (after_fin || self.ended_by_silence) && !self.socket.has_acknowledged());
        let ended = |fault| Event::ResponseEnded { exchange: self.id, outcome: Err(fault) };
        match call_back {
            None => Step::End(Some(ended(ResponseFault::Gone))),
            Some(name) => {
                self.state = State::Deserted(Unserved { name, counted });
                Step::Answered(ended(ResponseFault::Closed))
            }
        }
    }

    /// Sends FIN and waits for the other side's, so that unread bytes of it do not turn our FIN into a reset.
    fn linger(&mut self, now: Instant, call_back: Option<Unserved>) {
        let wait = if call_back.is_some() { CALL_BACK_WATCH } else { LINGER_MAX };
        // Fails only if the connection is reset already, which the next step sees.
        let _ = self.socket.finish();
        self.state = State::Lingering { until: now + wait, call_back };
    }

    fn linger_on(&mut self, cx: &mut Context<'_>) -> Step {
        for _ in 0..READS_MAX {
            let State::Lingering { call_back, .. } = &mut self.state else { return Step::Wait };
            if self.fin && call_back.is_none() {
                return Step::End(None);
            }
            let reset = self.socket.take_error().is_some();
            let read = if self.fin { Ok(ReadStep::Blocked) } else { self.socket.read(&mut cx.scratch[..READ_BYTES]) };
            match read {
                Ok(_) if reset => return self.reset_while_lingering(),
                Ok(ReadStep::Bytes(_)) => {}
                Ok(ReadStep::Fin) => self.fin = true,
                Ok(ReadStep::Blocked) => return Step::Wait,
                Err(_) => return self.reset_while_lingering(),
            }
        }
        Step::Again
    }

    fn reset_while_lingering(&mut self) -> Step {
        if let State::Lingering { call_back: Some(unserved), .. } = &self.state {
            self.state = State::Deserted(unserved.clone());
            return self.desert();
        }
        Step::End(None)
    }

    fn desert(&mut self) -> Step {
        let State::Deserted(Unserved { name, counted }) = &self.state else { return Step::Wait };
        let (name, counted) = (name.clone(), *counted);
        Step::End(Some(Event::RequesterClosed { requester: self.from, name, counted }))
    }
}

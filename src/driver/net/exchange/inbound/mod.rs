//! An accepted connection: message, response, FIN or reset.
//!
//! ```text
//! Reading --message--> Asked --send--> Sending --all sent--> Lingering --FIN, or time--> end
//!    |                   +--refuse, say why--> Refusing --^
//!    ^                   |                |                      |
//!    +------stream-------+                +------- reset --------+--> AwaitingCallback --> end, and a call-back
//! ```

mod keeping;
mod sending;

use super::report_queue::ReportQueue;
use super::{Context, NetStep, Outgoing, Over, Progress, RefusedMessage, Report};
use crate::driver::net::eviction::Activity;
use crate::driver::shared_files::{OpenedId, Ordered, ReadOutcome};
use crate::driver::socket::{ReadStep, Socket, Step};
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::library::FileMeta;
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

/// How long we wait for the peer's FIN after ours.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// How long we watch for the reset with which a 2013 client asks for a call-back, one round trip after the first byte.
const CALL_BACK_WATCH: Duration = Duration::from_secs(1);

/// Bytes of one read, of a message or to be discarded.
const READ_BYTES: usize = 4096;

const READS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Peer,
    Bootstrap,
}

#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) id: ExchangeId,
    pub(crate) from: SocketAddr,
    pub(crate) service: Service,
    socket: Socket,
    framer: Framer,
    state: State,
    fin: bool,
    /// Closing the socket resets it, also by the death of the process: as it was accepted, and until it is known that no response
    /// is owed.
    ends_in_reset: bool,
    /// The last message is a metadata request: a refusal may carry a reason.
    takes_reason: bool,
    requested_file: Option<FileName>,
    /// Offset and length, if the last message requests a range of that file.
    requested_range: Option<(u64, u64)>,
    /// The state of the file that an earlier run had, which may have sent the beginning: the response comes from no other.
    begun_of: Option<FileMeta>,
    /// Silence ended the message: the FIN behind it may be late.
    ended_by_silence: bool,
    /// We close this stream: our FIN is sent, and messages that the peer sent before it saw that are read until then.
    stream_ends: Option<Instant>,
    reports: ReportQueue,
}

#[derive(Debug)]
enum State {
    /// Waiting for a message since the connection opened or the last message was answered; when its first byte (on a
    /// stream) and its last byte were received.
    Reading { since: Instant, begun: Instant, last_byte: Instant },
    /// The node has the message.
    Asked { since: Instant, may_stream: bool },
    /// A response is being sent. `name`: of a whole file.
    Sending { outgoing: Outgoing, name: Option<FileName>, progress: Progress },
    /// The reason of a refusal is being sent. The node knows nothing of this.
    Refusing { outgoing: Outgoing, until: Instant },
    /// FIN is sent: waiting for the peer's FIN, or for the reset that asks for a call-back.
    Lingering { until: Instant, call_back: Option<Unserved> },
    /// The requester had closed before our first byte: it waits for a call-back with this file.
    AwaitingCallback(Unserved),
}

impl State {
    fn reading(now: Instant) -> Self {
        Self::Reading { since: now, begun: now, last_byte: now }
    }
}

/// A file that its requester did not receive.
#[derive(Debug, Clone)]
struct Unserved {
    name: FileName,
    /// Bytes of it that were reported as sent.
    counted: u64,
}

impl Inbound {
    pub(crate) fn new(id: ExchangeId, from: SocketAddr, service: Service, socket: Socket, now: Instant) -> Self {
        Self {
            id,
            from,
            service,
            socket,
            framer: Framer::new(),
            state: State::reading(now),
            fin: false,
            ends_in_reset: true,
            takes_reason: false,
            requested_file: None,
            requested_range: None,
            begun_of: None,
            ended_by_silence: false,
            stream_ends: None,
            reports: ReportQueue::default(),
        }
    }

    pub(crate) fn requested_file(&self) -> Option<&FileName> {
        self.requested_file.as_ref()
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether everything is sent, and only the peer's FIN is awaited.
    pub(crate) fn has_been_sent_all(&self) -> bool {
        matches!(self.state, State::Lingering { call_back: None, .. })
    }

    /// Whether the connection is only watched for a reset.
    pub(crate) fn is_watched(&self) -> bool {
        self.fin && matches!(self.state, State::Lingering { call_back: Some(_), .. })
    }

    /// `None` if it ends with its next step.
    pub(crate) fn activity(&self) -> Option<Activity> {
        Some(match &self.state {
            State::Reading { since, .. } => match self.stream_ends {
                Some(until) => Activity::Ending(until),
                None if self.is_idle_stream() => Activity::IdleStream(*since),
                None => Activity::NoMessage(*since),
            },
            State::Asked { since, .. } => Activity::Waiting(Reverse(*since)),
            State::Sending { progress, .. } => Activity::Sending(progress.at),
            State::Refusing { until, .. } | State::Lingering { until, .. } => Activity::Ending(*until),
            State::AwaitingCallback(_) => return None,
        })
    }

    /// The file that it holds open.
    pub(crate) fn file_id(&self) -> Option<OpenedId> {
        if let State::Sending { outgoing, .. } = &self.state { outgoing.file_id() } else { None }
    }

    /// A read that it ordered has ended.
    pub(crate) fn take_read(&mut self, read: Ordered, outcome: ReadOutcome, now: Instant) {
        if let State::Sending { outgoing, progress, .. } = &mut self.state
            && outgoing.take_read(read, outcome, now)
        {
            progress.restart_idle_timer(now);
        }
    }

    /// The event for the node if the connection is closed now for this reason.
    pub(crate) fn broken_off(&self, fault: ResponseFault) -> Option<Event> {
        let exchange = self.id;
        match self.state {
            State::Asked { .. } => Some(Event::RequestGone { exchange }),
            State::Sending { .. } => Some(Event::ResponseEnded { exchange, outcome: Err(fault) }),
            State::Reading { .. } | State::Refusing { .. } | State::Lingering { .. } | State::AwaitingCallback(_) => {
                None
            }
        }
    }

    /// Closes an idle stream whose descriptor is needed, without losing messages in flight.
    pub(crate) fn end_stream(&mut self, now: Instant) {
        // Fails only if the connection is reset already, which the next step sees.
        let _ = self.socket.finish();
        self.stream_ends = Some(now + LINGER_MAX);
    }

    /// Sends a line back on a stream. On other connections nothing reads it, and after our FIN nothing is sent.
    pub(crate) fn send_line(&mut self, line: &[u8]) {
        let is_open = matches!(self.state, State::Reading { .. } | State::Asked { may_stream: true, .. });
        if is_open && self.framer.is_stream() && self.stream_ends.is_none() && !self.fin {
            self.reports.push(line);
            // Fails only if the connection is reset, which the next step sees.
            let _ = self.reports.flush(&mut self.socket);
        }
    }

    pub(crate) fn progress(&self) -> Option<Event> {
        match &self.state {
            State::Sending { outgoing, .. } => {
                Some(Event::ResponseProgress { exchange: self.id, bytes: outgoing.sent, held: false })
            }
            _ => None,
        }
    }

    /// The message gets no response.
    pub(crate) fn close(&mut self, now: Instant) {
        let State::Asked { may_stream, .. } = self.state else { return };
        if may_stream && self.framer.is_stream() {
            self.state = State::reading(now);
        } else {
            self.linger(now, None);
        }
    }

    /// Sends a response. `name`: of a whole file.
    pub(crate) fn send(&mut self, outgoing: Outgoing, name: Option<FileName>, now: Instant) {
        self.end_in_reset();
        if outgoing.bytes_max() > u64::from(UNSENT_FIRST_BYTES) {
            self.socket.keep_unsent(UNSENT_FIRST_BYTES);
        }
        self.state = State::Sending { outgoing, name, progress: Progress::start(now) };
    }

    /// Refuses the request. Returns whether the reason is sent; otherwise the caller resets the connection.
    pub(crate) fn refuse_with(&mut self, reason: RefusalReason, now: Instant) -> bool {
        if !self.takes_reason || !matches!(self.state, State::Asked { .. }) {
            return false;
        }
        self.end_in_reset();
        let outgoing = Outgoing::bytes(encode_refusal(reason), now);
        self.state = State::Refusing { outgoing, until: now + LINGER_MAX };
        true
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
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
            State::Asked { .. } | State::AwaitingCallback(_) => None,
            State::Sending { outgoing, progress, .. } => Some(progress.deadline_sending(outgoing)),
            State::Refusing { until, .. } | State::Lingering { until, .. } => Some(*until),
        }
    }

    /// From the first byte of a request to the last of its response, every close must be a reset (PROTOCOL, "How a response
    /// ends"), even if the process is killed.
    fn end_in_reset(&mut self) {
        if !std::mem::replace(&mut self.ends_in_reset, true) {
            self.socket.end_in_reset();
        }
    }

    /// No response is owed, or it is written: closing sends FIN.
    fn end_in_order(&mut self) {
        if std::mem::take(&mut self.ends_in_reset) {
            self.socket.end_in_order();
        }
    }

    fn is_idle_stream(&self) -> bool {
        self.framer.is_stream() && self.framer.pending() == 0
    }

    /// Sends FIN and waits for the peer's, since closing with unread bytes would send a reset. If the peer has sent its own, and
    /// closing sends no reset, closing sends ours.
    fn linger(&mut self, now: Instant, call_back: Option<Unserved>) {
        let wait = if call_back.is_some() { CALL_BACK_WATCH } else { LINGER_MAX };
        if !self.fin || self.ends_in_reset || call_back.is_some() {
            // Fails only if the connection is reset already, which the next step sees.
            let _ = self.socket.finish();
        }
        self.state = State::Lingering { until: now + wait, call_back };
    }
}

impl Inbound {
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>) -> NetStep {
        match self.state {
            State::Reading { .. } => match self.reports.flush(&mut self.socket) {
                Ok(()) => self.read_message(cx, End::More),
                Err(_) => Step::End(Over::Ended(None)),
            },
            State::Asked { .. } => match self.socket.take_error() {
                Some(_) => Step::End(Over::Ended(Some(Event::RequestGone { exchange: self.id }))),
                None => Step::Idle,
            },
            State::Sending { .. } => self.send_payload(cx),
            State::Refusing { .. } => self.send_reason(cx),
            State::Lingering { .. } => self.linger_on(cx),
            State::AwaitingCallback(_) => self.end_for_call_back(),
        }
    }

    pub(crate) fn on_deadline(&mut self, cx: &mut Context<'_>) -> NetStep {
        match &mut self.state {
            State::Reading { .. } => self.on_reading_deadline(cx),
            State::Asked { .. } | State::AwaitingCallback(_) => Step::Idle,
            State::Sending { outgoing, progress, .. } => match progress.goes_on(outgoing, cx.now) {
                true => self.send_payload(cx),
                false => {
                    let outcome = Err(ResponseFault::Gone);
                    Step::End(Over::Ended(Some(Event::ResponseEnded { exchange: self.id, outcome })))
                }
            },
            State::Refusing { .. } | State::Lingering { .. } => Step::End(Over::Ended(None)),
        }
    }

    fn on_reading_deadline(&mut self, cx: &mut Context<'_>) -> NetStep {
        // The loop may be late: bytes that have arrived meanwhile end the silence.
        let step = self.read_message(cx, End::More);
        if !matches!(step, Step::Wait(_)) || self.deadline().is_none_or(|at| at > cx.now) {
            return step;
        }
        let State::Reading { begun, .. } = self.state else { return step };
        if self.is_idle_stream() || self.stream_ends.is_some_and(|until| until <= cx.now) {
            Step::End(Over::Ended(None))
        } else if cx.now >= begun + MESSAGE_DEADLINE {
            Step::End(Over::Refused(RefusedMessage::of(WireError::Incomplete, self.framer.begun())))
        } else {
            self.ended_by_silence = true;
            self.read_message(cx, End::Silence)
        }
    }

    /// Reads until a message is complete. `end`: whether it may be complete as it is.
    fn read_message(&mut self, cx: &mut Context<'_>, mut end: End) -> NetStep {
        for _ in 0..READS_MAX {
            if self.fin {
                end = End::Fin;
            }
            match self.framer.next_frame(end) {
                Some(Ok(frame)) => return self.take_frame(&frame, cx.now),
                Some(Err(error)) => return Step::End(Over::Refused(RefusedMessage::of(error, b""))),
                // The connection ended before a message began.
                None if self.fin => {
                    self.end_in_order();
                    return Step::End(Over::Ended(None));
                }
                None => {}
            }
            end = End::More;
            match self.socket.read(&mut cx.scratch[..READ_BYTES]) {
                Ok(ReadStep::Bytes(n)) => {
                    if self.framer.pending() == 0 {
                        match cx.scratch[0] {
                            // These have a response.
                            b'1' | b'4' | b'5' | b'8' | b'9' => self.end_in_reset(),
                            _ => self.end_in_order(),
                        }
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
                Ok(ReadStep::Blocked(blocked)) => return Step::Wait(blocked),
                Err(_) => return Step::End(Over::Ended(None)),
            }
        }
        Step::Again
    }

    fn take_frame(&mut self, frame: &[u8], now: Instant) -> NetStep {
        match decode(frame) {
            // Our FIN is sent: there can be no response.
            Ok(message) if self.stream_ends.is_some() && !message.may_stream() => Step::End(Over::Ended(None)),
            Ok(message) => {
                self.state = State::Asked { since: now, may_stream: message.may_stream() };
                self.takes_reason = matches!(message, Message::MetadataRequest { .. });
                self.requested_file = message.file().cloned();
                self.requested_range = match message {
                    Message::RangeRequest { offset, length, .. } => Some((offset, length)),
                    _ => None,
                };
                Step::Report(Report::Message(message))
            }
            Err(error) => Step::End(Over::Refused(RefusedMessage::of(error, frame))),
        }
    }
}

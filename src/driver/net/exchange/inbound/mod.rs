//! An accepted connection: message, answer, orderly or abortive end.
//!
//! ```text
//! Reading --message--> Asked --send--> Sending --all sent--> Lingering --FIN, or time--> end
//!    |                   +--refuse, say why--> Refusing --^
//!    ^                   |                |                      |
//!    +------stream-------+                +------- reset --------+--> Deserted --> end, and a call-back
//! ```

mod reading;
mod sending;

use super::said::Said;
use super::{Outgoing, Progress};
use crate::driver::net::eviction::Standing;
use crate::driver::socket::Socket;
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::Event;
use crate::node::contract::{ResponseFault, UNSENT_FIRST_BYTES};
use crate::time::Instant;
use crate::wire::{Framer, MESSAGE_DEADLINE, SILENCE, STREAM_IDLE_MAX, encode_refusal};
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

const READS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Peer,
    Bootstrap,
}

#[derive(Debug)]
pub(crate) struct Inbound {
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
    pub(crate) fn new(id: ExchangeId, from: SocketAddr, service: Service, socket: Socket, now: Instant) -> Self {
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

    pub(crate) fn id(&self) -> ExchangeId {
        self.id
    }

    pub(crate) fn from(&self) -> SocketAddr {
        self.from
    }

    /// The file that the message which came last asks for.
    pub(crate) fn asked_for(&self) -> Option<&FileName> {
        self.asked_for.as_ref()
    }

    pub(crate) fn service(&self) -> Service {
        self.service
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether the connection is only watched for a reset, and may be closed when others need its place.
    pub(crate) fn is_watched(&self) -> bool {
        self.fin && matches!(self.state, State::Lingering { call_back: Some(_), .. })
    }

    /// How busy it is, for when others need its place. `None` if it is over by the next step.
    pub(crate) fn standing(&self) -> Option<Standing> {
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
    pub(crate) fn broken_off(&self, fault: ResponseFault) -> Option<Event> {
        let exchange = self.id;
        match self.state {
            State::Asked { .. } => Some(Event::RequestGone { exchange }),
            State::Sending { .. } => Some(Event::ResponseEnded { exchange, outcome: Err(fault) }),
            State::Reading { .. } | State::Refusing { .. } | State::Lingering { .. } | State::Deserted(_) => None,
        }
    }

    /// Others need the place of this idle stream: we end it in order, so that nothing is lost that is on its way.
    pub(crate) fn end_stream(&mut self, now: Instant) {
        // Fails only if the connection is reset already, which the next step sees.
        let _ = self.socket.finish();
        self.stream_ends = Some(now + LINGER_MAX);
    }

    /// Sends a line against the direction of a stream. On other connections nothing reads it, and after our FIN nothing is sent.
    pub(crate) fn say(&mut self, line: &[u8]) {
        let is_open = matches!(self.state, State::Reading { .. } | State::Asked { may_stream: true, .. });
        if is_open && self.framer.is_stream() && self.stream_ends.is_none() && !self.fin {
            self.said.push(line);
            // Fails only if the connection is reset, which the next step sees.
            let _ = self.said.flush(&mut self.socket);
        }
    }

    /// How far the response is that is on its way.
    pub(crate) fn progress(&self) -> Option<Event> {
        match &self.state {
            State::Sending { outgoing, .. } => {
                Some(Event::ResponseProgress { exchange: self.id, bytes: outgoing.sent(), held: false })
            }
            _ => None,
        }
    }

    /// The node answers nothing.
    pub(crate) fn close(&mut self, now: Instant) {
        let State::Asked { may_stream, .. } = self.state else { return };
        if may_stream && self.framer.is_stream() {
            self.state = State::reading(now);
        } else {
            self.linger(now, None);
        }
    }

    /// The node answers with a payload; the name is that of a file.
    pub(crate) fn send(&mut self, outgoing: Outgoing, name: Option<FileName>, now: Instant) {
        self.owe_response();
        self.state = State::Sending { outgoing, name, progress: Progress::start(now) };
    }

    /// The node refuses. Says whether the requester is told why; otherwise the connection is to be reset.
    pub(crate) fn refuse_with(&mut self, reason: RefusalReason, now: Instant) -> bool {
        if !self.takes_reason || !matches!(self.state, State::Asked { .. }) {
            return false;
        }
        self.owe_response();
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
            State::Asked { .. } | State::Deserted(_) => None,
            State::Sending { progress, .. } => Some(progress.deadline()),
            State::Refusing { until, .. } | State::Lingering { until, .. } => Some(*until),
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

    /// Sends FIN and waits for the other side's, so that unread bytes of it do not turn our FIN into a reset.
    fn linger(&mut self, now: Instant, call_back: Option<Unserved>) {
        let wait = if call_back.is_some() { CALL_BACK_WATCH } else { LINGER_MAX };
        // Fails only if the connection is reset already, which the next step sees.
        let _ = self.socket.finish();
        self.state = State::Lingering { until: now + wait, call_back };
    }
}

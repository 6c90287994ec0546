//! The step of an accepted connection, and how it reads a message.

use super::{Inbound, READ_BYTES, READS_MAX, State};
use crate::driver::net::exchange::{Context, NetStep, Over, RefusedMessage, Report};
use crate::driver::socket::{ReadStep, Step};
use crate::node::Event;
use crate::node::contract::ResponseFault;
use crate::time::Instant;
use crate::wire::{End, MESSAGE_DEADLINE, Message, WireError, decode};

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
        match &self.state {
            State::Reading { .. } => self.on_reading_deadline(cx),
            State::Asked { .. } | State::AwaitingCallback(_) => Step::Idle,
            State::Sending { outgoing, .. } if outgoing.is_reading() => self.send_payload(cx),
            State::Sending { .. } => Step::End(Over::Ended(Some(Event::ResponseEnded {
                exchange: self.id,
                outcome: Err(ResponseFault::Gone),
            }))),
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
                None if self.fin => return Step::End(Over::Ended(None)),
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
                Step::Report(Report::Message(message))
            }
            Err(error) => Step::End(Over::Refused(RefusedMessage::of(error, frame))),
        }
    }
}

//! Sending a response, and ending the connection.

use super::{Inbound, READ_BYTES, READS_MAX, State, Unserved};
use crate::driver::net::exchange::outgoing::{Pump, is_reset_after_fin};
use crate::driver::net::exchange::{Context, NetStep, Over, Report};
use crate::driver::socket::{Direction, ReadStep, Step};
use crate::node::Event;
use crate::node::contract::ResponseFault;

impl Inbound {
    pub(super) fn send_payload(&mut self, cx: &mut Context<'_>) -> NetStep {
        let State::Sending { outgoing, name, progress } = &mut self.state else { return Step::Idle };
        let pump = outgoing.pump(&mut self.socket, cx);
        progress.note(cx.now, outgoing.sent);
        let exchange = self.id;
        match pump {
            Pump::Blocked(blocked) => match self.socket.take_error() {
                Some(error) => self.reader_gone(is_reset_after_fin(&error)),
                None => Step::Wait(blocked),
            },
            Pump::Again => Step::Again,
            Pump::Reading(read) => match self.socket.take_error() {
                Some(error) => self.reader_gone(is_reset_after_fin(&error)),
                None => {
                    progress.restart_idle_timer(cx.now);
                    Step::Reading(read)
                }
            },
            Pump::Paced => match self.socket.take_error() {
                Some(error) => self.reader_gone(is_reset_after_fin(&error)),
                None => {
                    progress.restart_idle_timer(cx.now);
                    Step::Paced(Direction::Up)
                }
            },
            Pump::Progress { bytes, held } => {
                Step::Report(Report::Event(Event::ResponseProgress { exchange, bytes, held }))
            }
            Pump::Sent(bytes) => {
                // Everything is written, and the requester has reset the connection meanwhile.
                if name.is_some()
                    && let Some(error) = self.socket.take_error()
                {
                    return self.reader_gone(is_reset_after_fin(&error));
                }
                let name = name.take().filter(|_| bytes > 0 && (self.ended_by_silence || self.fin_or_read()));
                self.end_in_order();
                let name = name.filter(|_| !self.socket.has_acknowledged());
                self.linger(cx.now, name.map(|name| Unserved { name, counted: bytes }));
                let ended = Event::ResponseEnded { exchange, outcome: Ok(bytes) };
                // With the peer's FIN there is nothing to wait for.
                if self.fin && self.has_been_sent_all() {
                    Step::End(Over::Ended(Some(ended)))
                } else {
                    Step::Report(Report::Answered(ended))
                }
            }
            Pump::Gone { after_fin } => self.reader_gone(after_fin),
            Pump::Failed(fault) => {
                let outcome = Err(ResponseFault::Disk(fault));
                Step::End(Over::Ended(Some(Event::ResponseEnded { exchange, outcome })))
            }
        }
    }

    pub(super) fn send_reason(&mut self, cx: &mut Context<'_>) -> NetStep {
        let State::Refusing { outgoing, .. } = &mut self.state else { return Step::Idle };
        match outgoing.pump(&mut self.socket, cx) {
            Pump::Blocked(blocked) => match self.socket.take_error() {
                Some(_) => Step::End(Over::Ended(None)),
                None => Step::Wait(blocked),
            },
            Pump::Paced => Step::Paced(Direction::Up),
            Pump::Reading(read) => Step::Reading(read),
            Pump::Again | Pump::Progress { .. } => Step::Again,
            Pump::Sent(_) => {
                self.end_in_order();
                self.linger(cx.now, None);
                Step::Again
            }
            Pump::Gone { .. } | Pump::Failed(_) => Step::End(Over::Ended(None)),
        }
    }

    /// Whether the requester has sent FIN, as the 2013 client does right after its request.
    fn fin_or_read(&mut self) -> bool {
        self.fin |= matches!(self.socket.read(&mut [0; 64]), Ok(ReadStep::Fin) | Err(_));
        self.fin
    }

    /// The connection was reset during the response. If no byte was acknowledged, and the peer had sent FIN or its FIN may be
    /// late, the requester waits for a call-back.
    fn reader_gone(&mut self, after_fin: bool) -> NetStep {
        let (name, counted) = match &mut self.state {
            State::Sending { outgoing, name, .. } => (name.take(), outgoing.reported),
            _ => (None, 0),
        };
        let call_back = name.filter(|_| (after_fin || self.ended_by_silence) && !self.socket.has_acknowledged());
        let ended = |fault| Event::ResponseEnded { exchange: self.id, outcome: Err(fault) };
        match call_back {
            None => Step::End(Over::Ended(Some(ended(ResponseFault::Gone)))),
            Some(name) => {
                self.state = State::AwaitingCallback(Unserved { name, counted });
                Step::Report(Report::Answered(ended(ResponseFault::Closed)))
            }
        }
    }

    pub(super) fn linger_on(&mut self, cx: &mut Context<'_>) -> NetStep {
        for _ in 0..READS_MAX {
            let State::Lingering { call_back, .. } = &mut self.state else { return Step::Idle };
            if self.fin && call_back.is_none() {
                return Step::End(Over::Ended(None));
            }
            let reset = self.socket.take_error().is_some();
            if self.fin {
                return if reset { self.reset_while_lingering() } else { Step::Idle };
            }
            match self.socket.read(&mut cx.scratch[..READ_BYTES]) {
                Ok(_) if reset => return self.reset_while_lingering(),
                Ok(ReadStep::Bytes(_)) => {}
                Ok(ReadStep::Fin) => self.fin = true,
                Ok(ReadStep::Blocked(blocked)) => return Step::Wait(blocked),
                Err(_) => return self.reset_while_lingering(),
            }
        }
        Step::Again
    }

    fn reset_while_lingering(&mut self) -> NetStep {
        if let State::Lingering { call_back: Some(unserved), .. } = &self.state {
            self.state = State::AwaitingCallback(unserved.clone());
            return self.end_for_call_back();
        }
        Step::End(Over::Ended(None))
    }

    pub(super) fn end_for_call_back(&mut self) -> NetStep {
        let State::AwaitingCallback(Unserved { name, counted }) = &self.state else { return Step::Idle };
        let (name, counted) = (name.clone(), *counted);
        Step::End(Over::Ended(Some(Event::RequesterClosed { requester: self.from, name, counted })))
    }
}

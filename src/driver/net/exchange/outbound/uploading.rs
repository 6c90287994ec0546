//! A dialled connection on which no response is due: a file that is sent to a requester, and the end of what was sent.

use super::{Link, Outbound, SETTLE_MAX, State};
use crate::driver::net::exchange::first_line::FirstLine;
use crate::driver::net::exchange::outgoing::Pump;
use crate::driver::net::exchange::{Context, NetStep, Report, dial_fault};
use crate::driver::shared_files::{Ordered, ReadOutcome};
use crate::driver::socket::{Direction, ReadStep, Step};
use crate::fault::DialFault;
use crate::node::Event;
use crate::node::contract::Response;
use crate::time::Instant;
use crate::wire::other_program;

/// Reads of one step while no response is due.
const READS_MAX: usize = 16;

impl Outbound {
    /// A read that it ordered has ended.
    pub(crate) fn take_read(&mut self, read: Ordered, outcome: ReadOutcome, now: Instant) {
        if let State::Uploading(outgoing) = &mut self.state
            && outgoing.take_read(read, outcome, now)
        {
            self.progress.restart_idle_timer(now);
        }
    }

    pub(super) fn upload(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
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
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) -> Result<NetStep, DialFault> {
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

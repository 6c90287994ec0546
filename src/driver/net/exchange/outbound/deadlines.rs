//! When a dialled connection is looked at although nothing is ready, and what is done then.

use super::{Link, Outbound, State, Task};
use crate::driver::net::exchange::incoming::{Incoming, Taken};
use crate::driver::net::exchange::{Context, NetStep, Report};
use crate::driver::socket::Step;
use crate::fault::DialFault;
use crate::node::contract::Response;
use crate::time::Instant;
use std::time::Duration;

/// Time for connecting and sending, and for receiving a short response.
const REQUEST_MAX: Duration = Duration::from_secs(10);

impl Outbound {
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
            State::Uploading(outgoing) => match self.progress.goes_on(outgoing, cx.now) {
                true => self.upload(cx).unwrap_or_else(|fault| self.end(Err(fault), cx)),
                false => self.end(Err(DialFault::TimedOut), cx),
            },
            // No response is due: silence means success.
            State::Settling { .. } => self.end(Ok(Response::Delivered), cx),
            _ => self.end(Err(DialFault::TimedOut), cx),
        }
    }
}

//! Advancing a connection, also at its deadline, and applying the result.

use super::Net;
use super::exchange::{Context, Lent, NetStep, Over, RefusedMessage, Report, Service};
use super::pace::Pace;
use super::table::Connection;
use crate::driver::cx::{Cx, Output};
use crate::driver::open_parts::OpenParts;
use crate::driver::socket::{Direction, Step};
use crate::library::Library;
use crate::node::Event;
use crate::time::Instant;
use crate::wire::Message;

impl Net {
    /// At least the number of connections that are ready.
    pub(crate) fn ready_len(&self) -> usize {
        self.table.ready_len()
    }

    pub(crate) fn pop_ready(&mut self) -> Option<usize> {
        self.table.pop_ready()
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        self.table.pop_due(now)
    }

    pub(crate) fn step(&mut self, key: usize, lent: Lent<'_>, cx: &mut Cx) {
        let Lent { library, parts } = lent;
        let mut context = context(library, parts, &mut self.pace, cx);
        let step = match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => inbound.advance(&mut context),
            Some(Connection::Outbound(outbound)) => outbound.advance(&mut context, self.poll.registry()),
            Some(Connection::Stream(link)) => {
                let step = link.advance(context.scratch, context.now);
                let (peer, reports) = (link.to, link.take_reports());
                cx.out.extend(reports.into_iter().map(|report| Event::SearchReport { peer, report }));
                step
            }
            Some(Connection::Check(check)) => check.advance(context.scratch),
            None => return,
        };
        self.apply(key, step, parts, cx);
    }

    pub(crate) fn on_deadline(&mut self, key: usize, lent: Lent<'_>, cx: &mut Cx) {
        let Lent { library, parts } = lent;
        let mut context = context(library, parts, &mut self.pace, cx);
        let step = match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => inbound.on_deadline(&mut context),
            Some(Connection::Outbound(outbound)) => outbound.on_deadline(&mut context),
            Some(Connection::Stream(link)) => link.on_deadline(),
            Some(Connection::Check(check)) => Step::End(Over::Checked(check.has_answered())),
            None => return,
        };
        self.apply(key, step, parts, cx);
    }

    fn apply(&mut self, key: usize, step: NetStep, parts: &mut OpenParts, cx: &mut Cx) {
        match step {
            Step::Wait(_) | Step::Reading(_) | Step::Idle => {}
            Step::Again => self.table.make_ready(key),
            Step::Paced(direction) => self.wait_for_tokens(key, direction, cx),
            Step::Report(report) => self.on_report(key, report, parts, cx),
            Step::End(Over::Ended(event)) => {
                // Bytes that were sent count even if the rest fails.
                let progress = self.table.get_mut(key).and_then(|connection| connection.progress());
                self.close_with_remains(key, parts);
                cx.out.extend(progress.into_iter().chain(event));
            }
            Step::End(Over::Refused(message)) => self.refuse_message(key, &message, cx),
            Step::End(Over::Stream(unsent, fault)) => self.on_stream_over(key, unsent, fault, cx),
            Step::End(Over::Checked(answered)) => {
                if let Some(Connection::Check(check)) = self.close(key) {
                    cx.out.push(Output::Checked(check.to, Some(answered)));
                }
            }
        }
    }

    fn on_report(&mut self, key: usize, report: Report, parts: &mut OpenParts, cx: &mut Cx) {
        match report {
            // The connection continues when the node has answered.
            Report::Message(message) => return self.on_message(key, message, cx),
            Report::Event(event) => {
                if let Event::GroupVerified { group, .. } = event
                    && let Some(Connection::Outbound(outbound)) = self.table.get_mut(key)
                    && let Some(download) = outbound.checked_download()
                {
                    parts.discard_partial(download, group);
                }
                cx.out.event(event);
            }
            Report::Answered(event) => {
                self.table.forget_exchange(key);
                cx.out.event(event);
                if let Some(surplus) = self.table.surplus_watched() {
                    self.close(surplus);
                }
            }
            Report::Sent(exchanges) => self.on_stream_sent(key, exchanges, cx),
        }
        self.table.make_ready(key);
    }

    fn on_message(&mut self, key: usize, message: Message, cx: &mut Cx) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let (exchange, from) = (inbound.id, inbound.from);
        cx.out.push(match inbound.service {
            Service::Peer => Output::Event(Event::Request { exchange, from, message }),
            Service::Bootstrap => Output::Registrar(exchange, from, message),
        });
    }

    /// Resets a connection that sent something invalid.
    fn refuse_message(&mut self, key: usize, RefusedMessage { error, file }: &RefusedMessage, cx: &mut Cx) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let from = inbound.from;
        inbound.socket_mut().end_in_reset();
        cx.out.push(Output::Refused);
        self.refusals.refused_file(cx.now, error.reason(), Some(from), file.as_deref(), error);
        self.close(key);
    }

    /// Suspends a connection until the rate limit allows more bytes.
    fn wait_for_tokens(&mut self, key: usize, direction: Direction, cx: &Cx) {
        if self.table.wait_for_tokens(key, direction) {
            self.pace.bucket(direction).wait(cx.now);
        }
    }
}

fn context<'a>(library: &'a Library, parts: &'a mut OpenParts, pace: &'a mut Pace, cx: &'a mut Cx) -> Context<'a> {
    let Cx { now, scratch, reads, .. } = cx;
    Context { now: *now, scratch, library, parts, pace, reads }
}

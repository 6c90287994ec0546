//! Giving a connection its step, or its deadline, and following what it says.

use super::Net;
use super::exchange::{Context, Lent, Over, Report, Service, Unsent};
use super::pace::Pace;
use super::table::Connection;
use crate::driver::cx::{Cx, Output};
use crate::driver::open_parts::OpenParts;
use crate::driver::socket::{Direction, Step};
use crate::id::ExchangeId;
use crate::library::Library;
use crate::node::Event;
use crate::time::Instant;
use crate::wire::{Message, WireError};

/// What the step of any connection reports.
enum AnyReport {
    Exchange(Report),
    Sent(Vec<ExchangeId>),
}

/// How any connection ends.
enum AnyOver {
    Exchange(Over),
    Stream(Unsent),
    Check(bool),
}

type AnyStep = Step<AnyReport, AnyOver>;

impl Net {
    /// How many connections wait for their turn, at most.
    pub(crate) fn ready_len(&self) -> usize {
        self.table.ready_len()
    }

    /// The connection whose turn it is.
    pub(crate) fn pop_ready(&mut self) -> Option<usize> {
        self.table.pop_ready()
    }

    /// A connection whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        self.table.pop_due(now)
    }

    /// Gives a connection its step.
    pub(crate) fn step(&mut self, key: usize, lent: Lent<'_>, cx: &mut Cx) {
        let Lent { library, parts } = lent;
        let mut context = context(library, parts, &mut self.pace, cx);
        let step: AnyStep = match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => {
                inbound.advance(&mut context).map(AnyReport::Exchange, AnyOver::Exchange)
            }
            Some(Connection::Outbound(outbound)) => {
                let step = outbound.advance(&mut context, self.poll.registry());
                step.map(AnyReport::Exchange, AnyOver::Exchange)
            }
            Some(Connection::Stream(link)) => {
                link.advance(context.scratch, context.now).map(AnyReport::Sent, AnyOver::Stream)
            }
            Some(Connection::Check(check)) => {
                check.advance(context.scratch).map(|never| match never {}, AnyOver::Check)
            }
            None => return,
        };
        self.follow(key, step, parts, cx);
    }

    /// The deadline of a connection has come.
    pub(crate) fn on_deadline(&mut self, key: usize, lent: Lent<'_>, cx: &mut Cx) {
        let Lent { library, parts } = lent;
        let mut context = context(library, parts, &mut self.pace, cx);
        let step: AnyStep = match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => {
                inbound.on_deadline(&mut context).map(AnyReport::Exchange, AnyOver::Exchange)
            }
            Some(Connection::Outbound(outbound)) => {
                outbound.on_deadline(&mut context).map(AnyReport::Exchange, AnyOver::Exchange)
            }
            Some(Connection::Stream(link)) => link.on_deadline().map(AnyReport::Sent, AnyOver::Stream),
            Some(Connection::Check(check)) => Step::End(AnyOver::Check(check.has_answered())),
            None => return,
        };
        self.follow(key, step, parts, cx);
    }

    /// Does what a step asks for.
    fn follow(&mut self, key: usize, step: AnyStep, parts: &mut OpenParts, cx: &mut Cx) {
        self.report_done_lines(key, cx);
        match step {
            Step::Wait(_) | Step::Idle => {}
            Step::Again => self.table.make_ready(key),
            Step::Paced(direction) => self.wait_for_tokens(key, direction, cx),
            Step::Report(report) => self.on_report(key, report, parts, cx),
            Step::End(AnyOver::Exchange(Over::Ended(event))) => {
                // What went out counts also when the rest does not follow.
                let progress = self.table.get_mut(key).and_then(|connection| connection.progress());
                self.close_with_remains(key, parts);
                cx.out.extend(progress.into_iter().chain(event));
            }
            Step::End(AnyOver::Exchange(Over::Refused(error))) => self.refuse_bytes(key, &error, cx),
            Step::End(AnyOver::Stream(unsent)) => self.on_stream_over(key, unsent, cx),
            Step::End(AnyOver::Check(answered)) => {
                if let Some(Connection::Check(check)) = self.close(key) {
                    cx.out.push(Output::Checked(check.to(), Some(answered)));
                }
            }
        }
    }

    fn on_report(&mut self, key: usize, report: AnyReport, parts: &mut OpenParts, cx: &mut Cx) {
        match report {
            // It goes on when the node has answered.
            AnyReport::Exchange(Report::Message(message)) => return self.on_message(key, message, cx),
            AnyReport::Exchange(Report::Event(event)) => {
                if let Event::GroupVerified { group, .. } = event
                    && let Some(Connection::Outbound(outbound)) = self.table.get_mut(key)
                    && let Some(download) = outbound.checked_download()
                {
                    parts.discard_partial(download, group);
                }
                cx.out.event(event);
            }
            AnyReport::Exchange(Report::Answered(event)) => {
                self.table.forget_exchange(key);
                cx.out.event(event);
                if let Some(surplus) = self.table.surplus_watched() {
                    self.close(surplus);
                }
            }
            AnyReport::Sent(exchanges) => self.on_stream_sent(key, exchanges, cx),
        }
        self.table.make_ready(key);
    }

    fn on_message(&mut self, key: usize, message: Message, cx: &mut Cx) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let (exchange, from) = (inbound.id(), inbound.from());
        cx.out.push(match inbound.service() {
            Service::Peer => Output::Event(Event::Request { exchange, from, message }),
            Service::Bootstrap => Output::Registrar(exchange, from, message),
        });
    }

    /// Ends a connection on which something came that is not the protocol.
    fn refuse_bytes(&mut self, key: usize, error: &WireError, cx: &mut Cx) {
        let Some(Connection::Inbound(inbound)) = self.table.get_mut(key) else { return };
        let from = inbound.from();
        inbound.socket_mut().end_in_reset();
        cx.out.push(Output::Refused);
        self.refuse(cx, error.reason(), Some(from), error);
        self.close(key);
    }

    /// Lets a connection wait until the rate limit gives it something to move.
    fn wait_for_tokens(&mut self, key: usize, direction: Direction, cx: &Cx) {
        if self.table.wait_for_tokens(key, direction) {
            self.pace.bucket(direction).wait(cx.now);
        }
    }
}

fn context<'a>(library: &'a Library, parts: &'a mut OpenParts, pace: &'a mut Pace, cx: &'a mut Cx) -> Context<'a> {
    Context { now: cx.now, scratch: &mut cx.scratch, library, parts: parts.files(), pace }
}

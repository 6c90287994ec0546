//! The life of a connection: orders to connect to a peer, steps, also at a deadline, and what comes of them; orders to abort.

use super::exchange::{Context, Lent, NetStep, Outbound, Over, Part, RefusedMessage, Report, Service, Task};
use super::pace::Pace;
use super::table::Connection;
use super::{CALL_BACK_DESCRIPTORS, Net, Stepped};
use crate::content::groups_span;
use crate::driver::cx::{Cx, Output};
use crate::driver::open_parts::{OpenParts, Remains};
use crate::driver::socket::{Direction, Step};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::library::Library;
use crate::name::FileName;
use crate::node::Event;
use crate::node::contract::{Portion, ResponseFault};
use crate::time::Instant;
use crate::wire::Message;
use std::net::SocketAddr;
use std::rc::Rc;

/// Places of the table that one turn looks at when the interface is gone.
const BROKEN_OFF_MAX: usize = 256;

impl Net {
    /// Begins an exchange. Returns false if it failed at once.
    pub(crate) fn dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task, cx: &mut Cx) -> bool {
        let fault = self.try_dial(exchange, to, task, cx).err();
        cx.out.extend(fault.map(|fault| Event::DialEnded { exchange, outcome: Err(fault) }));
        fault.is_none()
    }

    fn try_dial(&mut self, exchange: ExchangeId, to: SocketAddr, task: Task, cx: &mut Cx) -> Result<(), DialFault> {
        let more = match task {
            Task::Fetch { may_call_back: true, .. } => CALL_BACK_DESCRIPTORS,
            _ => 0,
        };
        let permit = self.take_own(1 + more, cx).ok_or(DialFault::NoDescriptor)?;
        let token = self.table.next_token();
        let outbound = Outbound::dial(exchange, to, task, &self.interface, self.poll.registry(), token, cx.now)?;
        self.table.insert(Connection::Outbound(Box::new(outbound)), permit);
        Ok(())
    }

    /// Requests a file, or groups of it; of the first group, only the bytes that are missing.
    pub(crate) fn fetch(
        &mut self,
        exchange: ExchangeId,
        name: FileName,
        may_call_back: bool,
        mut part: Part,
        parts: &mut OpenParts,
        cx: &mut Cx,
    ) {
        let Part { download, from, .. } = part;
        if let Portion::Groups(groups) = &part.portion {
            part.begun = parts.take_partial(download, groups.start, from).map(Rc::new);
        }
        let begun = part.begun.clone();
        let bytes = begun.as_ref().map_or(0, |begun| begun.len());
        let request = fetch_request(name, &part.portion, parts.size(download), bytes);
        if self.dial(exchange, from, Task::Fetch { request, may_call_back, part }, cx) {
            cx.out.extend((bytes > 0).then_some(Event::FetchResumed { exchange, bytes }));
        } else if let Some(begun) = begun {
            parts.take_remains(Remains::Partial(Rc::unwrap_or_clone(begun)));
        }
    }

    /// Makes a fetch of groups end before this group.
    pub(crate) fn trim(&mut self, exchange: ExchangeId, groups_end: u64) {
        let Some(key) = self.table.key(exchange) else { return };
        if let Some(Connection::Outbound(outbound)) = self.table.get_mut(key) {
            outbound.trim(groups_end);
            self.table.make_ready(key);
        }
    }

    pub(crate) fn abort(&mut self, exchange: ExchangeId, parts: &mut OpenParts, cx: &mut Cx) {
        match self.table.key(exchange) {
            Some(key) => self.break_off(key, (DialFault::Aborted, ResponseFault::Aborted), parts, cx),
            None => self.withdraw(exchange, cx),
        }
    }

    /// Breaks off connections because the interface is gone that they are bound to, up to [`BROKEN_OFF_MAX`] places of the table
    /// from this one on. Returns the next place, if there are more.
    pub(crate) fn lose_interface(&mut self, from: usize, parts: &mut OpenParts, cx: &mut Cx) -> Option<usize> {
        let next = from + BROKEN_OFF_MAX;
        for key in from..next.min(self.table.places()) {
            self.break_off(key, (DialFault::NoInterface, ResponseFault::NoInterface), parts, cx);
        }
        (next < self.table.places()).then_some(next)
    }

    fn break_off(
        &mut self,
        key: usize,
        (dial, response): (DialFault, ResponseFault),
        parts: &mut OpenParts,
        cx: &mut Cx,
    ) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let progress = connection.progress();
        let ended = match connection {
            Connection::Inbound(inbound) => {
                inbound.socket_mut().end_in_reset();
                inbound.broken_off(response)
            }
            Connection::Outbound(outbound) => Some(outbound.ended(Err(dial))),
            Connection::Stream(link) => {
                let unsent = link.take_unsent();
                return self.on_stream_over(key, unsent, Some(dial), cx);
            }
            Connection::Check(check) => {
                cx.out.push(Output::Checked(check.to, None));
                None
            }
        };
        cx.out.extend(progress.into_iter().chain(ended));
        self.close_with_remains(key, parts);
    }

    /// Closes a connection, and keeps the bytes of a group that it received in part.
    pub(super) fn close_with_remains(&mut self, key: usize, parts: &mut OpenParts) {
        if let Some(Connection::Outbound(mut outbound)) = self.close(key) {
            outbound.flush(parts);
            parts.take_remains(outbound.into_remains());
        }
    }

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

    pub(crate) fn step(&mut self, key: usize, lent: Lent<'_>, cx: &mut Cx) -> Stepped {
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
            None => return Stepped(key),
        };
        self.apply(key, step, parts, cx);
        Stepped(key)
    }

    pub(crate) fn on_deadline(&mut self, key: usize, lent: Lent<'_>, cx: &mut Cx) -> Stepped {
        let Lent { library, parts } = lent;
        let mut context = context(library, parts, &mut self.pace, cx);
        let step = match self.table.get_mut(key) {
            Some(Connection::Inbound(inbound)) => inbound.on_deadline(&mut context),
            Some(Connection::Outbound(outbound)) => outbound.on_deadline(&mut context),
            Some(Connection::Stream(link)) => link.on_deadline(),
            Some(Connection::Check(check)) => Step::End(Over::Checked(check.has_answered())),
            None => return Stepped(key),
        };
        self.apply(key, step, parts, cx);
        Stepped(key)
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

/// The message that requests a portion (PROTOCOL, the table of codes, and "Ranges and metadata").
/// `begun`: bytes of the first group that we have.
fn fetch_request(name: FileName, portion: &Portion, size: u64, begun: u64) -> Message {
    match portion {
        Portion::Stream { .. } | Portion::Whole => Message::DownloadRequest { name },
        Portion::Groups(groups) => {
            let span = groups_span(size, groups);
            let offset = span.start + begun;
            Message::RangeRequest { offset, length: span.end - offset, name }
        }
    }
}

fn context<'a>(library: &'a Library, parts: &'a mut OpenParts, pace: &'a mut Pace, cx: &'a mut Cx) -> Context<'a> {
    let Cx { now, scratch, reads, .. } = cx;
    Context { now: *now, scratch, library, parts, pace, reads }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::RateLimits;
    use crate::driver::cx::Phase;
    use crate::driver::interface::Interface;
    use crate::driver::net::budget::Budget;
    use crate::node::contract::Expect;
    use mio::Poll;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn when_the_interface_is_gone_all_connections_end_in_slices() {
        let at = Instant::from_ms(0);
        let mut net = Net::new(Poll::new().unwrap(), Interface::default(), Vec::new(), RateLimits::default(), at);
        net.table.budget = Budget::new(10_000);
        let mut cx = Cx {
            now: at,
            phase: Phase::Running,
            scratch: Default::default(),
            reads: Default::default(),
            out: Default::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let messages = [Message::Keepalive { port: 1, p1: true }];
        let count = BROKEN_OFF_MAX as u64 + 2;
        for n in 0..count {
            let connect_max = Duration::from_secs(9);
            let task = Task::Messages { messages: messages.to_vec(), expect: Expect::Nothing, connect_max };
            assert!(net.dial(ExchangeId::Outbound(n), to, task, &mut cx));
        }
        net.stream(ExchangeId::Outbound(count), to, &messages, Duration::from_secs(9), &mut cx);
        let mut parts = OpenParts::default();
        let next = net.lose_interface(0, &mut parts, &mut cx);
        assert_eq!((next, net.table.len()), (Some(BROKEN_OFF_MAX), 3), "one slice");
        assert_eq!(net.lose_interface(next.unwrap(), &mut parts, &mut cx), None);
        assert_eq!((net.table.len(), net.streams.len()), (0, 0));
    }
}

//! A connection to a `p1` peer that stays open: messages without a response follow one another on it, each ended by a
//! newline (PROTOCOL, "Streams").
//!
//! A message counts as delivered when it is written to the socket. A peer that vanishes without FIN or RST is noticed when
//! sent bytes stay unacknowledged; what it did not read is lost, as on any other connection.

use super::{NetStep, Over, Report, dial_fault, encode_stream};
use crate::driver::interface::Interface;
use crate::driver::socket::{ReadStep, Socket, Step};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::time::Instant;
use crate::wire::{Message, ReportReader, STREAM_IDLE_MAX, SearchReport};
use mio::{Registry, Token};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// We close an idle stream before the peer does, so that no message is sent into its closing.
const IDLE_MAX: Duration = STREAM_IDLE_MAX.saturating_sub(Duration::from_secs(15));

/// How long connecting, or writing a message, may last.
pub(crate) const STREAM_STUCK_MAX: Duration = Duration::from_secs(10);

/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// Exchanges that wait on one stream.
pub(crate) const STREAM_QUEUE_MAX: usize = 256;

/// Reads of one step, and their bytes: the peer sends a line for each search.
const READS_MAX: usize = 4;
const READ_BYTES: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) exchange: ExchangeId,
    bytes: Vec<u8>,
    since: Instant,
}

impl Queued {
    pub(crate) fn new(exchange: ExchangeId, messages: &[Message], now: Instant) -> Self {
        Self { exchange, bytes: encode_stream(messages), since: now }
    }

    /// Drops the messages of which nothing is sent. The one of whose bytes `at` ends the sent ones stays whole.
    fn keep_begun(&mut self, at: usize) {
        let line = self.bytes[at - 1..].iter().position(|byte| *byte == b'\n');
        self.bytes.truncate(line.map_or(self.bytes.len(), |length| at + length));
    }
}

#[derive(Debug)]
pub(crate) struct StreamLink {
    pub(crate) to: SocketAddr,
    socket: Socket,
    state: State,
    queue: VecDeque<Queued>,
    /// Bytes of the first in the queue that are written.
    at: usize,
    idle_since: Instant,
    reader: ReportReader,
    /// Reports of the peer on searches, until [`Self::take_reports`].
    reports: Vec<SearchReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting { until: Instant },
    Fresh { local: SocketAddr },
    Used { local: SocketAddr },
}

impl StreamLink {
    /// Begins to connect. Fails with the messages and the fault.
    pub(crate) fn dial(
        to: SocketAddr,
        queue: VecDeque<Queued>,
        connect_max: Duration,
        interface: &Interface,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> Result<Self, (VecDeque<Queued>, DialFault)> {
        let connected = interface.connect(to).and_then(|stream| Socket::register(stream, registry, token));
        match connected {
            Ok(socket) => {
                let state = State::Connecting { until: now + connect_max.min(STREAM_STUCK_MAX) };
                let (reader, reports) = (ReportReader::default(), Vec::new());
                Ok(Self { to, socket, state, queue, at: 0, idle_since: now, reader, reports })
            }
            Err(error) => Err((queue, dial_fault(&error))),
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self.state {
            State::Connecting { .. } => None,
            State::Fresh { local } | State::Used { local } => Some(local),
        }
    }

    /// Whether messages were delivered: the peer may then have closed an idle stream.
    pub(crate) fn was_used(&self) -> bool {
        matches!(self.state, State::Used { .. })
    }

    /// Since when the queue is empty; `None` if it is not.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.queue.is_empty().then_some(self.idle_since)
    }

    /// Reports of the peer on searches since the last call.
    pub(crate) fn take_reports(&mut self) -> Vec<SearchReport> {
        std::mem::take(&mut self.reports)
    }

    /// Takes the messages that are not written, of the first perhaps a part, when the stream ends.
    pub(crate) fn take_unsent(&mut self) -> VecDeque<Queued> {
        std::mem::take(&mut self.queue)
    }

    /// Adds messages; returns them if the queue is full.
    pub(crate) fn push(&mut self, queued: Queued) -> Result<(), Queued> {
        if self.queue.len() >= STREAM_QUEUE_MAX {
            return Err(queued);
        }
        self.queue.push_back(queued);
        Ok(())
    }

    /// Removes the messages of an exchange, but for those of which sending has begun. Returns whether it has removed all.
    pub(crate) fn withdraw(&mut self, exchange: ExchangeId) -> bool {
        let begun = usize::from(self.at > 0);
        if let Some(first) = self.queue.front_mut().filter(|first| begun > 0 && first.exchange == exchange) {
            first.keep_begun(self.at);
        }
        let place = self.queue.iter().skip(begun).position(|queued| queued.exchange == exchange);
        place.and_then(|place| self.queue.remove(place + begun)).is_some()
    }

    pub(crate) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.socket.on_ready(readable, writable);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(match (self.state, self.queue.front()) {
            (State::Connecting { until }, _) => until,
            (_, Some(first)) => first.since.max(self.idle_since) + STREAM_STUCK_MAX,
            (_, None) => self.idle_since + IDLE_MAX,
        })
    }

    pub(crate) fn on_deadline(&mut self) -> NetStep {
        let fault = (!self.queue.is_empty()).then_some(DialFault::TimedOut);
        Step::End(Over::Stream(self.give_up(), fault))
    }

    pub(crate) fn advance(&mut self, scratch: &mut [u8], now: Instant) -> NetStep {
        match self.try_advance(scratch, now) {
            Ok(step) => step,
            Err(fault) => Step::End(Over::Stream(self.give_up(), Some(fault))),
        }
    }

    /// The messages not sent whole. One may arrive twice: that does no harm.
    fn give_up(&mut self) -> VecDeque<Queued> {
        std::mem::take(&mut self.queue)
    }

    fn try_advance(&mut self, scratch: &mut [u8], now: Instant) -> Result<NetStep, DialFault> {
        if let State::Connecting { .. } = self.state {
            if let Err(blocked) = self.socket.connected().map_err(|error| dial_fault(&error))? {
                return Ok(Step::Wait(blocked));
            }
            self.socket.give_up_unacknowledged(UNACKNOWLEDGED_MAX);
            let local = self.socket.local_addr().map_err(|error| dial_fault(&error))?;
            self.state = State::Fresh { local };
        }
        let mut next = Step::Again;
        for _ in 0..READS_MAX {
            let read_max = scratch.len().min(READ_BYTES);
            match self.socket.read(&mut scratch[..read_max]).map_err(|error| dial_fault(&error))? {
                ReadStep::Bytes(n) => self.reader.push(&scratch[..n], &mut self.reports),
                ReadStep::Blocked(blocked) => {
                    next = Step::Wait(blocked);
                    break;
                }
                ReadStep::Fin => {
                    let fault = (!self.queue.is_empty()).then_some(DialFault::Reset);
                    return Ok(Step::End(Over::Stream(self.give_up(), fault)));
                }
            }
        }
        let mut sent = Vec::new();
        while let Some(first) = self.queue.front() {
            match self.socket.write(&first.bytes[self.at..]).map_err(|error| dial_fault(&error)) {
                Ok(Err(_)) => break,
                Ok(Ok(n)) if self.at + n < first.bytes.len() => self.at += n,
                Ok(Ok(_)) => {
                    sent.extend(self.queue.pop_front().map(|queued| queued.exchange));
                    self.at = 0;
                    self.idle_since = now;
                    if let State::Fresh { local } = self.state {
                        self.state = State::Used { local };
                    }
                }
                // The next step fails in the same way, and reports it.
                Err(_) if !sent.is_empty() => break,
                Err(fault) => return Err(fault),
            }
        }
        Ok(if sent.is_empty() { next } else { Step::Report(Report::Sent(sent)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Search;
    use mio::{Events, Poll};
    use std::io::Read;
    use std::net::{TcpListener, TcpStream as StdStream};

    const NOW: Instant = Instant::from_ms(1_000);

    struct Rig {
        poll: Poll,
        link: StreamLink,
        peer: StdStream,
    }

    fn queued(n: u64) -> Queued {
        let search = Search {
            id: crate::id::QueryId::p1(n),
            text: b"tune"[..].into(),
            requester: "192.0.2.1:5000".parse().unwrap(),
            ttl: 1,
        };
        Queued::new(ExchangeId::Outbound(n), &[Message::Search(search)], NOW)
    }

    fn line(n: u64) -> String {
        format!("6:p1-{n:016x}:tune:192.0.2.1:5000:1\n")
    }

    impl Rig {
        fn open() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let poll = Poll::new().unwrap();
            let to = listener.local_addr().unwrap();
            let any = Interface::default();
            let link = StreamLink::dial(to, [queued(1)].into(), STREAM_STUCK_MAX, &any, poll.registry(), Token(0), NOW)
                .unwrap();
            Self { poll, link, peer: listener.accept().unwrap().0 }
        }

        /// Advances the link until it reports or ends.
        fn next(&mut self) -> NetStep {
            let mut events = Events::with_capacity(8);
            loop {
                match self.link.advance(&mut [0; 512], NOW) {
                    Step::Wait(_) | Step::Again => {}
                    step => return step,
                }
                self.poll.poll(&mut events, None).unwrap();
                for event in &events {
                    self.link.on_ready(event.is_readable(), event.is_writable());
                }
            }
        }

        fn expect_received(&mut self, expected: &str) {
            let mut bytes = vec![0; expected.len()];
            self.peer.read_exact(&mut bytes).unwrap();
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn messages_follow_one_another_each_ended_by_a_newline() {
        let mut rig = Rig::open();
        assert!(matches!(rig.next(), Step::Report(Report::Sent(sent)) if sent == [ExchangeId::Outbound(1)]));
        assert!(rig.link.was_used() && rig.link.idle_since().is_some());
        rig.link.push(queued(2)).unwrap();
        rig.link.push(queued(3)).unwrap();
        assert!(rig.link.withdraw(ExchangeId::Outbound(3)));
        assert!(!rig.link.withdraw(ExchangeId::Outbound(3)));
        rig.link.push(queued(4)).unwrap();
        let sent = [ExchangeId::Outbound(2), ExchangeId::Outbound(4)];
        assert!(matches!(rig.next(), Step::Report(Report::Sent(reported)) if reported == sent));
        rig.expect_received(&[line(1), line(2), line(4)].concat());
    }

    #[test]
    fn of_withdrawn_messages_the_one_that_has_begun_is_sent_whole() {
        let search = |n| {
            let Queued { bytes, .. } = queued(n);
            bytes
        };
        for (sent, rest) in [(line(2).len() + 3, line(3)[3..].to_owned()), (line(2).len(), String::new())] {
            let mut rig = Rig::open();
            rig.next();
            rig.expect_received(&line(1));
            rig.link.push(Queued { bytes: [search(2), search(3), search(4)].concat(), ..queued(9) }).unwrap();
            rig.link.at = sent;
            assert!(!rig.link.withdraw(ExchangeId::Outbound(9)));
            rig.link.push(queued(5)).unwrap();
            let both = [ExchangeId::Outbound(9), ExchangeId::Outbound(5)];
            assert!(matches!(rig.next(), Step::Report(Report::Sent(reported)) if reported == both));
            rig.expect_received(&[rest, line(5)].concat());
        }
    }

    #[test]
    fn a_peer_that_closes_is_noticed_and_unsent_messages_are_returned() {
        let mut rig = Rig::open();
        rig.next();
        rig.expect_received(&line(1));
        drop(rig.peer.shutdown(std::net::Shutdown::Both));
        assert!(
            matches!(rig.next(), Step::End(Over::Stream(unsent, None)) if unsent.is_empty()),
            "idle: no message was lost"
        );

        let mut rig = Rig::open();
        rig.next();
        rig.expect_received(&line(1));
        rig.link.push(queued(2)).unwrap();
        drop(rig.peer.shutdown(std::net::Shutdown::Both));
        // The message or the FIN may be first; a loss is reported.
        match rig.next() {
            Step::End(Over::Stream(unsent, Some(DialFault::Reset))) => {
                assert_eq!(unsent[0].exchange, ExchangeId::Outbound(2))
            }
            Step::Report(Report::Sent(sent)) => assert_eq!(sent, [ExchangeId::Outbound(2)]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_idle_stream_ends_before_the_other_side_would_end_it() {
        let mut rig = Rig::open();
        rig.next();
        let deadline = rig.link.deadline().unwrap();
        assert_eq!(deadline, NOW + IDLE_MAX);
        assert!(deadline < NOW + STREAM_IDLE_MAX);
        assert!(matches!(rig.link.on_deadline(), Step::End(Over::Stream(unsent, None)) if unsent.is_empty()));
        rig.link.push(queued(2)).unwrap();
        assert_eq!(rig.link.deadline(), Some(NOW + STREAM_STUCK_MAX));
        assert!(
            matches!(rig.link.on_deadline(), Step::End(Over::Stream(unsent, Some(DialFault::TimedOut))) if unsent.len() == 1)
        );
    }

    #[test]
    fn too_many_messages_for_one_peer_are_returned() {
        let mut rig = Rig::open();
        for n in 2..=STREAM_QUEUE_MAX as u64 {
            rig.link.push(queued(n)).unwrap();
        }
        assert_eq!(rig.link.push(queued(0)).unwrap_err().exchange, ExchangeId::Outbound(0));
    }
}

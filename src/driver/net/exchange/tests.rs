//! Accepted connections, with a clock that the test sets.

use super::*;
use crate::driver::RateLimits;
use crate::driver::net::eviction::Activity;
use crate::driver::open_parts::OpenParts;
use crate::driver::socket::Socket;
use crate::id::ExchangeId;
use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as StdStream};

const SEARCH: &[u8] = b"6:id:text:127.0.0.1:5000:0\n";

fn at(s: u64) -> Instant {
    Instant::from_ms(1_000 * s)
}

struct Rig {
    poll: Poll,
    inbound: Inbound,
    peer: StdStream,
    library: Library,
    parts: OpenParts,
    pace: Pace,
    scratch: Vec<u8>,
}

impl Rig {
    /// A connection that was accepted at second 0.
    fn accept() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, from) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let poll = Poll::new().unwrap();
        let socket = Socket::register(TcpStream::from_std(stream), poll.registry(), Token(0)).unwrap();
        let inbound = Inbound::new(ExchangeId::Inbound(1), from, Service::Peer, socket, at(0));
        let pace = Pace::new(RateLimits::default(), at(0));
        Self {
            poll,
            inbound,
            peer,
            library: Library::default(),
            parts: OpenParts::default(),
            pace,
            scratch: vec![0; STEP_BYTES_MAX],
        }
    }

    /// A stream that has been idle since second 1.
    fn stream() -> Self {
        let mut rig = Self::accept();
        assert!(matches!(rig.hear(SEARCH, at(1)), Step::Report(Report::Message(_))));
        rig.inbound.close(at(1));
        assert!(matches!(rig.step(at(1)), Step::Wait(_)));
        rig
    }

    fn step(&mut self, now: Instant) -> NetStep {
        let Self { inbound, library, parts, pace, scratch, .. } = self;
        inbound.advance(&mut Context { now, scratch, library, parts, pace })
    }

    /// The peer sends this, and the connection reads it.
    fn hear(&mut self, bytes: &[u8], now: Instant) -> NetStep {
        self.peer.write_all(bytes).unwrap();
        let mut events = Events::with_capacity(8);
        loop {
            self.poll.poll(&mut events, None).unwrap();
            let readable = events.iter().any(mio::event::Event::is_readable);
            self.inbound.socket_mut().on_ready(readable, true);
            if readable {
                return self.step(now);
            }
        }
    }
}

#[test]
fn blank_lines_do_not_keep_a_stream_open() {
    let mut rig = Rig::stream();
    assert_eq!(rig.inbound.activity(), Some(Activity::IdleStream(at(1))));
    for second in [30, 50] {
        assert!(matches!(rig.hear(b"\n", at(second)), Step::Wait(_)));
        assert_eq!(rig.inbound.deadline(), Some(at(61)));
        assert_eq!(rig.inbound.activity(), Some(Activity::IdleStream(at(1))));
    }
    let Rig { inbound, library, parts, pace, scratch, .. } = &mut rig;
    let ended = inbound.on_deadline(&mut Context { now: at(61), scratch, library, parts, pace });
    assert!(matches!(ended, Step::End(Over::Ended(None))));
}

#[test]
fn a_message_that_has_begun_has_ten_seconds_and_its_stream_counts_as_idle_since_the_last_whole_one() {
    let mut rig = Rig::stream();
    assert!(matches!(rig.hear(b"6:id", at(30)), Step::Wait(_)));
    assert_eq!(rig.inbound.deadline(), Some(at(40)));
    assert!(matches!(rig.hear(b":", at(39)), Step::Wait(_)));
    assert_eq!(rig.inbound.deadline(), Some(at(40)));
    assert_eq!(rig.inbound.activity(), Some(Activity::NoMessage(at(1))));
}

#[test]
fn what_the_peer_sent_before_it_saw_that_its_stream_ends_is_read() {
    let mut rig = Rig::stream();
    rig.inbound.end_stream(at(20));
    assert_eq!(rig.inbound.activity(), Some(Activity::Ending(at(25))));
    assert!(matches!(rig.hear(SEARCH, at(21)), Step::Report(Report::Message(_))));
    rig.inbound.close(at(21));
    assert_eq!(rig.inbound.deadline(), Some(at(25)));
    assert_eq!(rig.peer.read(&mut [0]).unwrap(), 0, "the peer sees the end in order");
    assert!(matches!(rig.hear(b"4:file\n", at(22)), Step::End(Over::Ended(None))), "there is no answer behind our FIN");
}

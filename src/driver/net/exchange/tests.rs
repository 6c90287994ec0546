//! Accepted connections, with a clock that the test sets.

use super::*;
use crate::aligned::Aligned;
use crate::driver::RateLimits;
use crate::driver::net::eviction::Activity;
use crate::driver::open_parts::OpenParts;
use crate::driver::shared_files::{Left, LeftFiles, OpenedId, Reader};
use crate::driver::socket::Socket;
use crate::fault::DiskFault;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::contract::ResponseFault;
use crate::store::not_tested::not_tested;
use crate::store::{ShareRoot, SharedFile};
use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream as StdStream};
use std::sync::Arc;
use tempfile::TempDir;

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
    reads: Reads,
    scratch: Vec<u8>,
}

impl Rig {
    /// A connection that was accepted at second 0.
    fn accept() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, from) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        // As `Listener::accept` gives it.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
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
            reads: Reads::default(),
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
        let Self { inbound, library, parts, pace, reads, scratch, .. } = self;
        inbound.advance(&mut Context { now, scratch, library, parts, pace, reads })
    }

    /// The peer reads until there is room for more, and the connection goes on.
    fn hear_room(&mut self, now: Instant) -> NetStep {
        let mut events = Events::with_capacity(8);
        loop {
            let _ = self.peer.read(&mut [0; 65_536]).unwrap();
            self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            if events.iter().any(mio::event::Event::is_writable) {
                self.inbound.socket_mut().on_ready(true, true);
                return self.step(now);
            }
        }
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

/// How the peer sees the end of a connection after it has sent this and FIN, and nothing is answered.
fn end_after(message: &[u8]) -> Result<usize, ErrorKind> {
    let mut rig = Rig::accept();
    rig.peer.write_all(message).unwrap();
    rig.peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut step = rig.step(at(1));
    while let Step::Wait(_) = step {
        rig.inbound.socket_mut().on_ready(true, true);
        step = rig.step(at(1));
    }
    let Rig { inbound, mut peer, .. } = rig;
    drop(inbound);
    peer.read(&mut [0]).map_err(|error| error.kind())
}

#[test]
fn only_what_owes_a_response_ends_in_a_reset() {
    for message in ["", "3:4001", "6:id:text:127.0.0.1:5000:0", "7:id:127.0.0.1:5000:file"] {
        assert_eq!(end_after(message.as_bytes()), Ok(0), "{message}");
    }
    for message in ["1:3", "4:file", "5:", "8:0:1:file", "9:file"] {
        assert_eq!(end_after(message.as_bytes()), Err(ErrorKind::ConnectionReset), "{message}");
    }
    let rig = Rig::accept();
    let mut peer = rig.peer;
    drop(rig.inbound);
    let ended = peer.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset), "no message was read");
}

#[test]
fn a_response_ends_its_connection_with_its_last_byte_if_the_peer_has_closed() {
    let mut rig = Rig::accept();
    rig.peer.write_all(b"1:3").unwrap();
    rig.peer.shutdown(std::net::Shutdown::Write).unwrap();
    while !matches!(rig.step(at(1)), Step::Report(Report::Message(_))) {
        rig.inbound.socket_mut().on_ready(true, true);
    }
    rig.inbound.send(Outgoing::bytes(b"127.0.0.1,4001\n".to_vec(), at(1)), None, at(1));
    let step = rig.step(at(1));
    assert!(matches!(step, Step::End(Over::Ended(Some(Event::ResponseEnded { outcome: Ok(15), .. })))), "{step:?}");
    let Rig { inbound, mut peer, .. } = rig;
    drop(inbound);
    let mut response = String::new();
    peer.read_to_string(&mut response).unwrap();
    assert_eq!(response, "127.0.0.1,4001\n");
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
    let Rig { inbound, library, parts, pace, reads, scratch, .. } = &mut rig;
    let ended = inbound.on_deadline(&mut Context { now: at(61), scratch, library, parts, pace, reads });
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

/// A share with a file of this size, which is being sent since second 1.
struct Sent {
    scratch: TempDir,
    left: LeftFiles,
}

impl Sent {
    fn begin(rig: &mut Rig, size: usize, opened: fn(SharedFile) -> SharedFile) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("file"), vec![b'a'; size]).unwrap();
        let root = ShareRoot::open(scratch.path()).unwrap();
        let file = Arc::new(opened(root.open_file(&FileName::from_bytes(b"file").unwrap()).unwrap()));
        let left = LeftFiles::default();
        let used = Left { file: OpenedId(1), exchange: rig.inbound.id };
        rig.inbound.send(Outgoing::file(Reader::new(&file, used, &left), at(1)), None, at(1));
        Self { scratch, left }
    }

    /// Writes to the file, later than in the tick of the clock in which it was opened.
    fn change(&self) {
        let path = self.scratch.path().join("file");
        let changed = || std::fs::metadata(&path).and_then(|found| found.modified()).unwrap();
        let before = changed();
        while changed() == before {
            std::fs::write(&path, vec![b'b'; 1 << 20]).unwrap();
        }
    }
}

/// What a read brings.
fn five(byte: u8) -> Aligned {
    let mut bytes = Aligned::zeroed(5);
    bytes.fill(byte);
    bytes
}

/// Executes the read that a connection waits for. Returns how much is read.
fn carry_out(rig: &mut Rig, now: Instant) -> usize {
    let order = rig.reads.pop().unwrap();
    let (count, mut bytes) = (order.count, order.buffer);
    bytes.resize(count);
    let outcome = order.file.read(&mut bytes, order.at).map(|()| bytes);
    rig.inbound.take_read(order.ordered, outcome, now);
    count
}

#[test]
fn a_response_waits_for_its_read_as_long_as_the_disk_takes_and_its_reader_is_not_blamed() {
    let mut rig = Rig::accept();
    let sent = Sent::begin(&mut rig, 5, SharedFile::untold);
    assert!(matches!(rig.step(at(1)), Step::Reading(_)));
    let order = rig.reads.pop().unwrap();
    assert!(matches!(
        rig.step(at(2)),
        Step::Report(Report::Event(Event::ResponseProgress { held: true, bytes: 0, .. }))
    ));
    assert!(matches!(rig.step(at(2)), Step::Reading(_)) && rig.reads.pop().is_none(), "one read at a time");
    for second in [61, 120, 300] {
        let Rig { inbound, library, parts, pace, reads, scratch, .. } = &mut rig;
        assert!(inbound.deadline() <= Some(at(second)));
        let step = inbound.on_deadline(&mut Context { now: at(second), scratch, library, parts, pace, reads });
        assert!(matches!(step, Step::Report(Report::Event(Event::ResponseProgress { held: true, .. }))));
        assert!(matches!(rig.step(at(second)), Step::Reading(_)));
        assert!(rig.inbound.deadline() > Some(at(second)), "it does not spin");
    }
    rig.inbound.take_read(order.ordered, Ok(five(b'a')), at(301));
    let answered = rig.step(at(301));
    assert!(matches!(answered, Step::Report(Report::Answered(Event::ResponseEnded { outcome: Ok(5), .. }))));
    assert_eq!(sent.left.borrow().len(), 1, "the file is given back");
    let mut received = [0; 5];
    rig.peer.read_exact(&mut received).unwrap();
    assert_eq!(received, *b"aaaaa");
}

/// An attempt to read what is not in the page cache may hold the loop.
#[test]
fn after_one_read_that_had_to_wait_the_loop_reads_nothing_of_the_response_itself() {
    let mut rig = Rig::accept();
    let sent = Sent::begin(&mut rig, 4 << 20, SharedFile::uncached);
    let mut step = rig.step(at(1));
    if !matches!(step, Step::Reading(_)) {
        return not_tested("a file that leaves the page cache", "it stays there on this filesystem");
    }
    // All of it is there from now on.
    std::fs::read(sent.scratch.path().join("file")).unwrap();
    let mut reads = Vec::new();
    loop {
        match step {
            Step::Reading(_) => {
                reads.push(carry_out(&mut rig, at(1)) >> 10);
                step = rig.step(at(1));
            }
            Step::Wait(_) => step = rig.hear_room(at(1)),
            Step::Again | Step::Report(Report::Event(_)) => step = rig.step(at(1)),
            _ => break,
        }
    }
    assert!(matches!(step, Step::Report(Report::Answered(_))), "{step:?}");
    assert_eq!(reads[..3], [32, 64, 128], "it takes them fast");
    assert!(reads[3..reads.len() - 1].iter().all(|kib| *kib == 256), "{reads:?}");
}

#[test]
fn a_read_that_waits_for_the_disk_is_not_as_short_as_the_rate_limit_grants() {
    let mut rig = Rig::accept();
    rig.pace = Pace::new(RateLimits { upload: 20_000, download: 0 }, at(0));
    let _sent = Sent::begin(&mut rig, 30_000, SharedFile::untold);
    assert!(matches!(rig.step(at(1)), Step::Reading(_)));
    carry_out(&mut rig, at(1));
    for second in 1..60 {
        let step = rig.step(at(second));
        assert!(rig.reads.pop().is_none(), "all bytes are there");
        if matches!(step, Step::Report(Report::Answered(_))) {
            return;
        }
    }
    panic!("it was not sent");
}

/// Hundreds of readers that take little would hold a buffer each until their end.
#[test]
fn a_reader_that_takes_little_holds_little_memory() {
    let mut rig = Rig::accept();
    let _sent = Sent::begin(&mut rig, 64 << 20, SharedFile::untold);
    let mut reads = Vec::new();
    let mut step = rig.step(at(1));
    while !matches!(step, Step::Wait(_)) {
        if let Step::Reading(_) = step {
            reads.push(carry_out(&mut rig, at(1)) >> 10);
        }
        step = rig.step(at(1));
    }
    assert_eq!(reads.last(), Some(&128), "it took all at first");
    assert_eq!(rig.inbound.deadline(), Some(at(2)));
    let on_deadline = |rig: &mut Rig, now| {
        let Rig { inbound, library, parts, pace, reads, scratch, .. } = rig;
        inbound.on_deadline(&mut Context { now, scratch, library, parts, pace, reads })
    };
    assert!(matches!(on_deadline(&mut rig, at(2)), Step::Report(Report::Event(_))));
    assert!(matches!(rig.step(at(2)), Step::Wait(_)));
    assert_eq!(rig.inbound.deadline(), Some(at(46)), "there is nothing to be given back any more");
    let mut step = rig.hear_room(at(3));
    while !matches!(step, Step::Reading(_)) {
        step = if let Step::Wait(_) = step { rig.hear_room(at(3)) } else { rig.step(at(3)) };
    }
    assert_eq!(carry_out(&mut rig, at(3)) >> 10, 64);
    assert_eq!(rig.inbound.deadline(), Some(at(4)));
    // It has room, and has not taken the rest for another reason.
    let mut step = on_deadline(&mut rig, at(4));
    while !matches!(step, Step::Reading(_)) {
        step = rig.step(at(4));
    }
    assert_eq!(carry_out(&mut rig, at(4)) >> 10, 32);
    assert!(rig.inbound.deadline() > Some(at(45)), "so little may stay");
    assert!(matches!(on_deadline(&mut rig, at(200)), Step::End(_)), "one that takes nothing ends as before");
}

#[test]
fn the_result_of_another_read_changes_nothing() {
    let mut rig = Rig::accept();
    let _first = Sent::begin(&mut rig, 5, SharedFile::untold);
    assert!(matches!(rig.step(at(1)), Step::Reading(_)));
    let old = rig.reads.pop().unwrap();
    let _second = Sent::begin(&mut rig, 5, SharedFile::untold);
    assert!(matches!(rig.step(at(1)), Step::Reading(_)));
    rig.inbound.take_read(old.ordered, Ok(five(b'x')), at(2));
    assert!(matches!(rig.step(at(1)), Step::Reading(_)));
    carry_out(&mut rig, at(2));
    assert!(matches!(rig.step(at(2)), Step::Report(Report::Answered(_))));
    rig.inbound.take_read(old.ordered, Ok(five(b'x')), at(3));
    assert!(rig.inbound.has_been_sent_all());
}

#[test]
fn bytes_of_one_state_of_the_file_are_sent_wherever_they_are_read() {
    let changed = |step: NetStep| {
        let fault = Err(ResponseFault::Disk(DiskFault::Changed));
        matches!(step, Step::End(Over::Ended(Some(Event::ResponseEnded { outcome, .. }))) if outcome == fault)
    };
    // From the page cache, or where the filesystem does not tell, by a read.
    let mut rig = Rig::accept();
    let sent = Sent::begin(&mut rig, 1 << 20, |file| file);
    while let Step::Reading(_) = rig.step(at(1)) {
        carry_out(&mut rig, at(1));
    }
    sent.change();
    let mut ended = rig.hear_room(at(1));
    while let Step::Reading(_) = ended {
        carry_out(&mut rig, at(1));
        ended = rig.step(at(1));
    }
    assert!(changed(ended));
    // By reads: what the one before the change brought is sent, the one behind it ends the response.
    let mut rig = Rig::accept();
    let sent = Sent::begin(&mut rig, 1 << 20, SharedFile::untold);
    assert!(matches!(rig.step(at(1)), Step::Reading(_)));
    carry_out(&mut rig, at(1));
    sent.change();
    let mut step = rig.step(at(1));
    while let Step::Wait(_) = step {
        step = rig.hear_room(at(1));
    }
    assert!(matches!(step, Step::Reading(_)));
    carry_out(&mut rig, at(1));
    assert!(changed(rig.step(at(1))));
}

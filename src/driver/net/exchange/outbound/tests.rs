//! A fetch whose disk is slow.

use super::*;
use crate::content::{ContentHasher, GROUP_BYTES, Outline};
use crate::driver::RateLimits;
use crate::driver::net::exchange::{Context, Report, STEP_BYTES_MAX};
use crate::driver::net::pace::{HELD_MIN, Pace};
use crate::driver::open_parts::OpenPart;
use crate::driver::shared_files::Reads;
use crate::driver::socket::Step;
use crate::library::Library;
use crate::name::FileName;
use crate::part::{PartSpec, Target};
use crate::store::{PartOpened, PartRequest};
use mio::{Events, Poll};
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

#[test]
fn a_fetch_that_waits_for_our_disk_says_so_again_and_again_and_does_not_time_out() {
    const DOWNLOAD: TransferId = TransferId(1);
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![7; 5 * GROUP_BYTES as usize];
    let mut hasher = ContentHasher::default();
    hasher.update(&content);
    let (b3, chain) = hasher.finish();
    let name = FileName::from_bytes(b"a").unwrap();
    let target = Target::Suggested { directory: scratch.path().into(), name: name.clone() };
    let spec = PartSpec { target, token: 1, filesystem: None };
    let request = PartRequest { spec, b3: Some(b3), size: None, known: Default::default() };
    let PartOpened::Ready(mut part) = request.open().unwrap() else { panic!("nothing is there yet") };
    part.set_outline(Arc::new(Outline::new(b3, content.len() as u64, chain).unwrap())).unwrap();
    let mut parts = OpenParts::default();
    parts.files().insert(DOWNLOAD, OpenPart::new(part));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut poll = Poll::new().unwrap();
    let start = Instant::from_ms(1_000);
    let part = Part { download: DOWNLOAD, portion: Portion::Groups(0..5), from: to, begun: None };
    let request = Message::RangeRequest { offset: 0, length: content.len() as u64, name };
    let task = Task::Fetch { request, part, may_call_back: false };
    let mut outbound =
        Outbound::dial(ExchangeId::Outbound(1), to, task, &Interface::default(), poll.registry(), Token(0), start)
            .unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    // The rest waits in the sockets until the test ends.
    std::thread::spawn(move || peer.write_all(&content));

    let (library, mut pace, mut reads) =
        (Library::default(), Pace::new(RateLimits::default(), start), Reads::default());
    let mut scratch_bytes = vec![0; STEP_BYTES_MAX];
    let mut step = |outbound: &mut Outbound, poll: &Poll, now: Instant, is_due: bool| {
        let (library, pace, reads) = (&library, &mut pace, &mut reads);
        let mut cx = Context { now, scratch: &mut scratch_bytes, library, parts: &mut parts, pace, reads };
        if is_due { outbound.on_deadline(&mut cx) } else { outbound.advance(&mut cx, poll.registry()) }
    };
    let mut events = Events::with_capacity(4);
    loop {
        match step(&mut outbound, &poll, start, false) {
            Step::Idle => break,
            Step::Wait(_) => poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap(),
            Step::End(_) => panic!("it goes on"),
            _ => {}
        }
        outbound.on_ready(true, true);
    }
    // For longer than a peer may be idle.
    let (mut now, mut held) = (start, 0);
    for _ in 0..400 {
        now = now + HELD_MIN;
        assert!(outbound.deadline().is_some_and(|at| at <= now));
        let mut is_due = true;
        loop {
            match step(&mut outbound, &poll, now, std::mem::take(&mut is_due)) {
                Step::Report(Report::Event(Event::FetchHeld { .. })) => held += 1,
                Step::Report(Report::Event(Event::FetchProgress { .. })) => {}
                Step::Idle => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(held >= 399, "{held} reports");
}

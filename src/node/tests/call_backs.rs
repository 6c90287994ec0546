//! Requesters that closed their connection after the request and wait for a call-back.

use super::rig::*;
use crate::control::{Notice, RawText, Request};
use crate::fault::{DialFault, DiskFault};
use crate::id::ExchangeId;
use crate::node::contract::{Action, Event, NodeConfig, Refusal, ResponseFault};
use std::net::SocketAddr;
use std::time::Duration;

fn requester(n: u16) -> SocketAddr {
    SocketAddr::new(peer(1).ip(), 40_000 + n)
}

fn sharing(max_workers: usize) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers, ..config() });
    rig.scan(&[("a", 10)]);
    rig
}

/// The requester has closed the connection, and no bytes of the file were counted.
fn closed(rig: &mut Rig, n: u16) {
    rig.handle(Event::RequesterClosed { requester: requester(n), name: name("a"), counted: 0 });
}

/// The attempts ordered since the last call.
fn attempts(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr)> {
    rig.take(|order| match order {
        Action::CallBack { exchange, to, .. } => Some((*exchange, *to)),
        _ => None,
    })
}

fn attempt(rig: &mut Rig) -> ExchangeId {
    let ordered = attempts(rig);
    let [(exchange, _)] = ordered[..] else { panic!("{ordered:?}") };
    exchange
}

#[test]
fn a_refused_call_back_is_tried_again_for_five_seconds() {
    let mut rig = sharing(4);
    closed(&mut rig, 1);
    let mut waited = Duration::ZERO;
    for ms in [20, 100, 500, 1_000, 2_000] {
        let exchange = attempt(&mut rig);
        rig.fail(exchange, DialFault::Refused);
        rig.pass(Duration::from_millis(ms - 1));
        assert_eq!(attempts(&mut rig), [], "{ms} ms are not over");
        rig.pass(Duration::from_millis(1));
        waited += Duration::from_millis(ms);
    }
    assert!(waited < Duration::from_secs(5));
    let last = attempt(&mut rig);
    rig.fail(last, DialFault::Refused);
    rig.pass(Duration::from_secs(60));
    assert_eq!(attempts(&mut rig), []);
}

#[test]
fn a_connected_call_back_is_an_upload_and_the_last_attempt() {
    let mut rig = sharing(4);
    rig.call(Request::Events).unwrap();
    rig.notices();
    closed(&mut rig, 1);
    let first = attempt(&mut rig);
    rig.fail(first, DialFault::Refused);
    assert_eq!(rig.notices(), [], "nothing was sent");
    rig.pass(Duration::from_millis(20));
    let exchange = attempt(&mut rig);
    rig.handle(Event::CallBackConnected { exchange });
    rig.handle(Event::ResponseProgress { exchange, bytes: 4, held: false });
    rig.handle(Event::ResponseProgress { exchange, bytes: 10, held: false });
    rig.deliver(exchange);
    assert_eq!(rig.node.counters().bytes_up, 10);
    let (to, name) = (requester(1), RawText::new("a"));
    let ended = Notice::UploadEnded { to, name: name.clone(), bytes: 10, error: None };
    assert_eq!(rig.notices(), [Notice::UploadStarted { to, name }, ended]);

    // One that fails is reported as failed, and is not repeated.
    closed(&mut rig, 2);
    let exchange = attempt(&mut rig);
    rig.handle(Event::CallBackConnected { exchange });
    rig.handle(Event::ResponseProgress { exchange, bytes: 3, held: false });
    rig.fail(exchange, DialFault::Refused);
    rig.pass(Duration::from_secs(60));
    assert_eq!((attempts(&mut rig), rig.node.counters().bytes_up), (Vec::new(), 13));
    let [_, Notice::UploadEnded { bytes: 3, error: Some(error), .. }] = &rig.notices()[..] else {
        panic!("a broken upload")
    };
    assert_eq!(*error, ResponseFault::Gone.to_string(), "in the words of other uploads");
}

#[test]
fn a_call_back_that_a_leaving_node_breaks_off_is_reported_as_other_uploads_are() {
    let mut rig = sharing(4);
    rig.call(Request::Events).unwrap();
    closed(&mut rig, 1);
    let exchange = attempt(&mut rig);
    rig.handle(Event::CallBackConnected { exchange });
    rig.handle(Event::Leave);
    rig.fail(exchange, DialFault::Aborted);
    let notices = rig.notices();
    let error = notices.iter().find_map(|notice| match notice {
        Notice::UploadEnded { error, .. } => error.clone(),
        _ => None,
    });
    assert_eq!(error, Some(ResponseFault::Leaving.to_string()), "{notices:?}");
}

#[test]
fn a_file_that_changed_during_its_call_back_is_not_shared_before_it_is_examined() {
    let mut rig = sharing(4);
    rig.call(Request::Events).unwrap();
    closed(&mut rig, 1);
    let exchange = attempt(&mut rig);
    rig.handle(Event::CallBackConnected { exchange });
    rig.notices();
    rig.fail(exchange, DialFault::Disk(DiskFault::Changed));
    let [Notice::UploadEnded { error: Some(error), .. }] = &rig.notices()[..] else { panic!("a broken upload") };
    assert_eq!(*error, ResponseFault::Disk(DiskFault::Changed).to_string());
    rig.request(requester(2), crate::wire::Message::DownloadRequest { name: name("a") });
    let refused = rig.take(|order| match order {
        Action::Refuse { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(refused, [Refusal::BeingWritten]);
}

#[test]
fn only_a_refusal_is_followed_by_another_attempt() {
    for fault in [DialFault::Unreachable, DialFault::TimedOut, DialFault::NoDescriptor, DialFault::Reset] {
        let mut rig = sharing(4);
        closed(&mut rig, 1);
        let exchange = attempt(&mut rig);
        rig.fail(exchange, fault);
        rig.pass(Duration::from_secs(60));
        assert_eq!(attempts(&mut rig), [], "{fault:?}");
    }
}

#[test]
fn bytes_that_the_requester_did_not_receive_do_not_count() {
    let mut rig = sharing(4);
    let exchange = rig.request(requester(1), crate::wire::Message::DownloadRequest { name: name("a") });
    rig.handle(Event::ResponseEnded { exchange, outcome: Ok(10) });
    assert_eq!(rig.node.counters().bytes_up, 10);
    rig.handle(Event::RequesterClosed { requester: requester(1), name: name("a"), counted: 10 });
    let exchange = attempt(&mut rig);
    rig.handle(Event::CallBackConnected { exchange });
    rig.handle(Event::ResponseProgress { exchange, bytes: 10, held: false });
    rig.deliver(exchange);
    assert_eq!(rig.node.counters().bytes_up, 10, "the file went out once");
    assert_eq!(rig.node.counters().bytes_taken_back, 10, "for a sum that never goes down");
}

#[test]
fn call_backs_wait_for_workers_and_hold_none_between_attempts() {
    let mut rig = sharing(1);
    closed(&mut rig, 1);
    closed(&mut rig, 2);
    let first = attempt(&mut rig);
    rig.fail(first, DialFault::Refused);
    let ordered = attempts(&mut rig);
    assert_eq!(ordered.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [requester(2)], "its turn has come");
    rig.pass(Duration::from_millis(20));
    assert_eq!(attempts(&mut rig), [], "the worker is taken");
    rig.deliver(ordered[0].0);
    assert_eq!(attempts(&mut rig)[0].1, requester(1));
}

#[test]
fn a_file_removed_from_the_share_is_not_sent() {
    let mut rig = sharing(1);
    closed(&mut rig, 1);
    closed(&mut rig, 2);
    let first = attempt(&mut rig);
    rig.call(Request::Rescan).unwrap();
    rig.scan(&[]);
    rig.fail(first, DialFault::Refused);
    rig.pass(Duration::from_secs(60));
    assert_eq!(attempts(&mut rig), []);
}

#[test]
fn one_address_has_a_share_of_the_call_backs() {
    let mut rig = sharing(128);
    (0..70).for_each(|n| closed(&mut rig, n));
    assert_eq!((attempts(&mut rig).len(), rig.node.counters().refused), (64, 6));
}

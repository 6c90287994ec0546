//! Responses that the peer does not read, and requests that wait for their workers.

use super::rig::*;
use crate::control::LimitedReply;
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId};
use crate::node::contract::{Action, Event, HashedFile, NodeConfig, ResponseFault};
use crate::wire::Message;
use std::collections::BTreeSet;
use std::time::Duration;

fn limited(rig: &Rig) -> LimitedReply {
    rig.node.counters().limited
}

/// The responses that were aborted.
fn aborted(rig: &mut Rig) -> Vec<ExchangeId> {
    rig.take(|action| match action {
        Action::Abort { exchange } => Some(*exchange),
        _ => None,
    })
}

/// A node with 32 workers, 24 of them for requests; two networks use all of these and do not read.
fn held_by_two_networks() -> (Rig, Vec<ExchangeId>) {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers: 32, ..config() });
    rig.scan(&[("a", 1 << 20)]);
    for n in 0..50 {
        rig.ask_for_a(&format!("[2001:db8::{n}]"));
        rig.ask_for_a("192.0.2.2");
    }
    let held = rig.files_sent();
    assert_eq!(held.len(), 24);
    (rig, held)
}

/// Tells the node that the responses it aborted have ended.
fn end_aborted(rig: &mut Rig) -> usize {
    let aborted = aborted(rig);
    for exchange in &aborted {
        rig.handle(Event::ResponseEnded { exchange: *exchange, outcome: Err(ResponseFault::Aborted) });
    }
    aborted.len()
}

#[test]
fn readers_that_receive_nothing_are_displaced_by_each_waiting_network() {
    let (mut rig, _) = held_by_two_networks();
    rig.pass(Duration::from_secs(20));
    assert_eq!(end_aborted(&mut rig), 0, "nobody else waits");
    let others: Vec<_> = (1..=5).map(|n| rig.ask_for_a(&format!("198.51.100.{n}"))).collect();
    rig.pass(Duration::from_millis(2_900));
    assert_eq!((rig.files_sent(), end_aborted(&mut rig)), (Vec::new(), 0), "they may yet have their turn");
    rig.pass(Duration::from_millis(1_100));
    assert_eq!(end_aborted(&mut rig), 5);
    assert_eq!(rig.files_sent(), others);
    assert_eq!(limited(&rig).responses_displaced, 5);
    rig.pass(Duration::from_secs(20));
    assert_eq!(end_aborted(&mut rig), 0, "and those who have most do not give way to each other");
}

#[test]
fn responses_at_a_useful_rate_stay_and_the_longest_stalled_one_is_displaced() {
    let (mut rig, held) = held_by_two_networks();
    // One reads 2 KiB a second in steps of the socket's size, one less, one has read much and reads nothing now;
    // the others read something, but too little.
    let (useful, dripping, stalled) = (held[3], held[4], held[5]);
    let progress = |rig: &mut Rig, exchange: ExchangeId, bytes: u64| {
        rig.handle(Event::ResponseProgress { exchange, bytes, held: false });
    };
    progress(&mut rig, stalled, 255 << 10);
    for step in 1..=10u64 {
        rig.pass(Duration::from_secs(8));
        progress(&mut rig, useful, step * (16 << 10));
        progress(&mut rig, dripping, step * (12 << 10));
        for exchange in held.iter().filter(|exchange| ![useful, dripping, stalled].contains(exchange)) {
            progress(&mut rig, *exchange, step * (12 << 10));
        }
    }
    rig.pass(Duration::from_secs(7));
    let others: Vec<_> = (1..=30).map(|n| rig.ask_for_a(&format!("198.51.100.{n}"))).collect();
    rig.pass(Duration::from_secs(1));
    progress(&mut rig, useful, 11 * (16 << 10));
    rig.pass(Duration::from_secs(2));
    let gave_way = aborted(&mut rig);
    assert_eq!((gave_way.len(), gave_way.first()), (23, Some(&stalled)));
    assert!(!gave_way.contains(&useful), "{gave_way:?}");
    for exchange in &gave_way {
        rig.handle(Event::ResponseEnded { exchange: *exchange, outcome: Err(ResponseFault::Aborted) });
    }
    assert!(rig.files_sent().iter().all(|exchange| others.contains(exchange)));
}

#[test]
fn a_response_slowed_by_our_limit_stays_and_one_slowed_by_its_reader_frees_its_turn() {
    // Four turns of 546 bytes a second each.
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), upload_limit: 4 * 546, ..config() });
    rig.scan(&[("a", 1 << 20)]);
    let held: Vec<_> = (0..4).map(|_| rig.ask_for_a("192.0.2.2")).collect();
    assert_eq!(rig.files_sent(), held);
    let other = rig.ask_for_a("198.51.100.1");
    for step in 1..=40u64 {
        rig.pass(Duration::from_secs(1));
        for exchange in &held {
            rig.handle(Event::ResponseProgress { exchange: *exchange, bytes: step * 546, held: true });
        }
        assert_eq!(aborted(&mut rig), [], "after {step} s");
    }
    rig.pass(Duration::from_secs(9));
    assert_eq!(end_aborted(&mut rig), 1, "now nothing moves");
    assert_eq!(rig.files_sent(), [other]);
}

#[test]
fn lists_ranges_metadata_and_call_backs_are_displaced_as_well() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers: 4, ..config() });
    rig.scan(&[("a", 1 << 20)]);
    let hashed = HashedFile { file: scanned("a", 1 << 20), outcome: Ok(ContentHash([7; 32])) };
    rig.handle(Event::Hashed { files: vec![hashed] });
    let (from, requester) = (addr("192.0.2.2:40000"), addr("192.0.2.2:40001"));
    let list = rig.request(from, Message::ListFiles { p1: true });
    let range = rig.request(from, Message::RangeRequest { offset: 0, length: 100, name: name("a") });
    let metadata = rig.request(from, Message::MetadataRequest { name: name("a") });
    rig.handle(Event::RequesterClosed { requester, name: name("a"), counted: 0 });
    let called_back = rig.take(|action| match action {
        Action::CallBack { exchange, .. } => Some(*exchange),
        _ => None,
    })[0];
    rig.handle(Event::CallBackConnected { exchange: called_back });
    let others: Vec<_> = (1..=4).map(|n| rig.ask_for_a(&format!("198.51.100.{n}"))).collect();
    rig.pass(Duration::from_secs(8));
    let gave_way: BTreeSet<_> = aborted(&mut rig).into_iter().collect();
    assert_eq!(gave_way, BTreeSet::from([list, range, metadata, called_back]));
    rig.fail(called_back, DialFault::Aborted);
    for exchange in [list, range, metadata] {
        rig.handle(Event::ResponseEnded { exchange, outcome: Err(ResponseFault::Aborted) });
    }
    assert_eq!(rig.files_sent(), others);
    assert_eq!(limited(&rig).responses_displaced, 4);
}

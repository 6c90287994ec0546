//! Ranges and metadata sent.

use super::hashing::{b3_of, batches, hash_all};
use super::rig::*;
use crate::control::{Notice, RawText, Request};
use crate::fault::DiskFault;
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::node::contract::{Action, Event, NodeConfig, Refusal, ResponseFault};
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

fn from(requester: u8) -> SocketAddr {
    SocketAddr::new(peer(requester).ip(), 40_000)
}

fn sharing(max_workers: usize) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers, ..config() });
    rig.scan(&[("a", 100), ("empty", 0), ("huge", u64::MAX)]);
    rig
}

fn ask_range(rig: &mut Rig, requester: u8, file: &str, offset: u64, length: u64) -> ExchangeId {
    rig.request(from(requester), Message::RangeRequest { offset, length, name: name(file) })
}

fn ask_metadata(rig: &mut Rig, file: &str) -> ExchangeId {
    rig.request(from(1), Message::MetadataRequest { name: name(file) })
}

fn ranges(rig: &mut Rig) -> Vec<(ExchangeId, ScannedFile, u64, u64)> {
    rig.take(|order| match order {
        Action::SendRange { exchange, file, offset, length } => Some((*exchange, file.clone(), *offset, *length)),
        _ => None,
    })
}

fn metadata(rig: &mut Rig) -> Vec<(ExchangeId, ScannedFile, ContentHash)> {
    rig.take(|order| match order {
        Action::SendMetadata { exchange, file, b3 } => Some((*exchange, file.clone(), *b3)),
        _ => None,
    })
}

fn refused(rig: &mut Rig) -> Vec<(ExchangeId, Refusal)> {
    rig.take(|order| match order {
        Action::Refuse { exchange, reason } => Some((*exchange, *reason)),
        _ => None,
    })
}

fn end(rig: &mut Rig, exchange: ExchangeId, bytes: u64) {
    rig.handle(Event::ResponseEnded { exchange, outcome: Ok(bytes) });
}

#[test]
fn a_range_wholly_inside_a_file_is_sent_and_no_other() {
    let mut rig = sharing(16);
    for (file, size, offset, length) in [
        ("a", 100, 0, 100),
        ("a", 100, 99, 1),
        ("a", 100, 100, 0),
        ("a", 100, 0, 0),
        ("empty", 0, 0, 0),
        ("huge", u64::MAX, u64::MAX - 1, 1),
    ] {
        let exchange = ask_range(&mut rig, 1, file, offset, length);
        assert_eq!(ranges(&mut rig), [(exchange, scanned(file, size), offset, length)]);
        end(&mut rig, exchange, length);
    }
    for (file, offset, length, reason) in [
        ("a", 0, 101, Refusal::OutsideFile),
        ("a", 100, 1, Refusal::OutsideFile),
        ("a", 101, 0, Refusal::OutsideFile),
        ("a", u64::MAX, 2, Refusal::OutsideFile),
        ("a", 2, u64::MAX, Refusal::OutsideFile),
        ("huge", u64::MAX, 1, Refusal::OutsideFile),
        ("empty", 0, 1, Refusal::OutsideFile),
        ("no such", 0, 0, Refusal::NoSuchFile),
        ("../a", 0, 1, Refusal::NoSuchFile),
    ] {
        let exchange = ask_range(&mut rig, 1, file, offset, length);
        assert_eq!(refused(&mut rig), [(exchange, reason)]);
    }
    assert!(ranges(&mut rig).is_empty());
    assert_eq!(rig.node.counters().refused, 9);
}

#[test]
fn metadata_are_sent_when_the_hash_is_known_and_a_request_has_the_file_hashed() {
    let mut rig = sharing(4);
    let exchange = ask_metadata(&mut rig, "a");
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NotHashed)]);
    hash_all(&mut rig);
    let exchange = ask_metadata(&mut rig, "a");
    assert_eq!(metadata(&mut rig), [(exchange, scanned("a", 100), b3_of(&scanned("a", 100)))]);
    end(&mut rig, exchange, 80);
    assert_eq!(rig.node.counters().bytes_up, 80);
    let exchange = ask_metadata(&mut rig, "no such");
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)]);
    assert!(batches(&mut rig).is_empty());
}

#[test]
fn a_file_that_changed_while_its_request_waited_is_examined_again() {
    let mut rig = sharing(1);
    hash_all(&mut rig);
    let first = ask_range(&mut rig, 1, "a", 0, 100);
    let waiting =
        [ask_range(&mut rig, 1, "a", 50, 50), ask_metadata(&mut rig, "a"), ask_range(&mut rig, 1, "a", 0, 60)];
    let last = ask_range(&mut rig, 1, "huge", 0, 0);
    assert!(refused(&mut rig).is_empty());
    rig.call(Request::Rescan).unwrap();
    rig.scan(&[("a", 60)]);
    ranges(&mut rig);
    end(&mut rig, first, 100);
    assert_eq!(refused(&mut rig), [(waiting[0], Refusal::OutsideFile), (waiting[1], Refusal::NotHashed)]);
    assert_eq!(ranges(&mut rig), [(waiting[2], scanned("a", 60), 0, 60)]);
    end(&mut rig, waiting[2], 60);
    assert_eq!(refused(&mut rig), [(last, Refusal::NoSuchFile)]);
}

#[test]
fn ranges_wait_for_workers_as_files_do() {
    let mut rig = sharing(2);
    let asked: Vec<_> = (0..3).map(|n| ask_range(&mut rig, 1, "a", n, 1)).collect();
    assert_eq!(ranges(&mut rig).len(), 2);
    end(&mut rig, asked[1], 1);
    assert_eq!(ranges(&mut rig)[0].0, asked[2]);
    let late = ask_range(&mut rig, 1, "a", 3, 1);
    rig.pass(Duration::from_secs(50));
    assert_eq!(refused(&mut rig), [(late, Refusal::Busy)]);
}

#[test]
fn the_ranges_of_one_file_for_one_address_are_one_upload() {
    let mut rig = sharing(16);
    rig.call(Request::Events).unwrap();
    let started = |requester, file: &str| Notice::UploadStarted { to: from(requester), name: RawText::new(file) };
    let ended = |bytes, error| Notice::UploadEnded { to: from(1), name: RawText::new("a"), bytes, error };
    let first = ask_range(&mut rig, 1, "a", 0, 50);
    let second = ask_range(&mut rig, 1, "a", 50, 50);
    assert_eq!(rig.notices(), [started(1, "a")]);
    ask_range(&mut rig, 2, "a", 0, 100);
    ask_range(&mut rig, 1, "huge", 0, 100);
    assert_eq!(rig.notices(), [started(2, "a"), started(1, "huge")]);

    // A source that is faster took the rest of the first.
    rig.handle(Event::ResponseProgress { exchange: first, bytes: 20, held: false });
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Err(ResponseFault::Gone) });
    rig.pass(Duration::from_secs(120));
    assert!(rig.notices().is_empty(), "the second is still going on");
    end(&mut rig, second, 50);
    rig.pass(Duration::from_secs(29));
    let third = ask_range(&mut rig, 1, "a", 20, 29);
    end(&mut rig, third, 29);
    rig.pass(Duration::from_secs(29));
    assert!(rig.notices().is_empty());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.notices(), [ended(99, None)]);
    assert_eq!(rig.node.counters().bytes_up, 99);

    let halves = [0, 50].map(|offset| ask_range(&mut rig, 1, "a", offset, 50));
    end(&mut rig, halves[1], 50);
    assert_eq!(rig.notices(), [started(1, "a")]);
    end(&mut rig, halves[0], 50);
    assert_eq!(rig.notices(), [ended(100, None)], "there is no more of it to ask for");

    let again = ask_range(&mut rig, 1, "a", 0, 50);
    let fault = ResponseFault::Disk(DiskFault::Changed);
    rig.handle(Event::ResponseEnded { exchange: again, outcome: Err(fault) });
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.notices(), [started(1, "a"), ended(0, Some(fault.to_string()))]);
}

#[test]
fn requests_for_ranges_of_ever_more_files_do_not_fill_the_table() {
    let files: Vec<String> = (0..1_100).map(|n| format!("{n:04}")).collect();
    let files: Vec<(&str, u64)> = files.iter().map(|file| (file.as_str(), 2)).collect();
    let mut rig = Rig::among(Vec::new(), &files);
    rig.call(Request::Events).unwrap();
    for (file, _) in &files {
        let exchange = ask_range(&mut rig, 1, file, 0, 1);
        end(&mut rig, exchange, 1);
    }
    let ended = |notices: Vec<Notice>| {
        notices.into_iter().filter(|notice| matches!(notice, Notice::UploadEnded { .. })).count()
    };
    assert_eq!(ended(rig.notices()), 1_100 - 1_024);
    rig.pass(Duration::from_secs(30));
    assert_eq!(ended(rig.notices()), 1_024);
}

#[test]
fn ranges_of_many_files_for_one_network_do_not_end_the_upload_of_another() {
    let files: Vec<String> = (0..1_100).map(|n| format!("{n:04}")).collect();
    let files: Vec<(&str, u64)> = files.iter().map(|file| (file.as_str(), 2)).collect();
    let mut rig = Rig::among(Vec::new(), &files);
    rig.call(Request::Events).unwrap();
    let exchange = ask_range(&mut rig, 2, "0000", 0, 1);
    end(&mut rig, exchange, 1);
    for (file, _) in &files {
        let exchange = ask_range(&mut rig, 1, file, 0, 1);
        end(&mut rig, exchange, 1);
    }
    let of_two = |notice: &Notice| matches!(notice, Notice::UploadEnded { to, .. } if *to == from(2));
    assert!(!rig.notices().iter().any(of_two));
}

//! A directory of which the peer does not share all files yet.

use super::described::{all_there, asked, describe_with, entry, manifest};
use super::directories::{on_disk, restart};
use super::*;
use crate::content::Manifest;
use crate::control::DownloadRow;
use crate::fault::RefusalReason;
use crate::node::contract::RecordKind;
use crate::node::limits::PENDING_ASKS_MAX;
use std::collections::BTreeMap;

fn first() -> (Manifest, u64) {
    manifest(&[("a", entry(5, false))])
}

fn both() -> (Manifest, u64) {
    manifest(&[("a", entry(5, false)), ("b", entry(6, false))])
}

/// The node has asked the peer of the directory again, within a minute.
fn pass_until_asked(rig: &mut Rig) {
    for _ in 0..61 {
        if rig.orders.iter().any(|order| matches!(order, Action::Dial { .. })) {
            return;
        }
        rig.pass(Duration::from_secs(1));
    }
    panic!("the peer is not asked again");
}

fn pending(row: &DownloadRow) -> u64 {
    row.directory.as_ref().unwrap().files_pending
}

/// How many members the last record of the directory is to bring back, and how many files the peer did not share then.
fn recorded(rig: &Rig) -> (Option<u64>, u64) {
    let last = rig.orders.iter().rev().find_map(|order| match order {
        Action::RememberDownload { record, .. } => match record.kind {
            RecordKind::Directory { files, pending, .. } => Some((files, pending)),
            _ => None,
        },
        _ => None,
    });
    last.expect("a record")
}

#[test]
fn a_directory_is_done_when_the_peer_shares_what_it_was_still_writing() {
    let mut rig = asked(true);
    describe_with(&mut rig, first(), 1);
    assert_eq!(recorded(&rig), (Some(1), 1), "the next run asks again");
    all_there(&mut rig);
    let waits = row(&mut rig, 1);
    assert_eq!((waits.state, waits.bytes_done, pending(&waits)), (DownloadState::Retrying, 5, 1));
    let said = waits.error.unwrap().message;
    assert!(said.contains("still writing, or looking for, 1 other file; it is asked again"), "{said}");
    pass_until_asked(&mut rig);
    describe_with(&mut rig, both(), 0);
    assert_eq!(recorded(&rig), (Some(2), 0));
    all_there(&mut rig);
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.bytes_done, pending(&done)), (DownloadState::Done, 11, 0));
    assert!(done.verified && done.directory.unwrap().manifest.is_some());
}

#[test]
fn a_file_that_is_always_being_written_holds_a_directory_for_some_minutes_alone() {
    let mut rig = asked(true);
    describe_with(&mut rig, first(), 3);
    all_there(&mut rig);
    for _ in 0..PENDING_ASKS_MAX {
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
        pass_until_asked(&mut rig);
        describe_with(&mut rig, first(), 2);
    }
    let done = row(&mut rig, 1);
    assert_eq!((done.state, pending(&done)), (DownloadState::Done, 2), "it says what it lacks");
}

#[test]
fn a_peer_that_does_not_answer_any_more_holds_it_no_longer() {
    let mut rig = asked(true);
    describe_with(&mut rig, first(), 1);
    all_there(&mut rig);
    for _ in 0..PENDING_ASKS_MAX {
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
        pass_until_asked(&mut rig);
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, DialFault::Refused);
    }
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
}

#[test]
fn a_peer_that_had_no_manifest_yet_is_asked_for_it_again_after_its_list() {
    let list = |rig: &mut Rig, files: &[&str]| {
        let (exchange, _, message) = rig.dial();
        assert_eq!(message, Message::ListFiles { p1: true });
        let files = files.iter().map(|text| of_content(text, 5, ContentHash([5; 32]))).collect();
        rig.handle(Event::ListBatch { exchange, files });
        rig.succeed(exchange, Response::FileList { truncated: false });
    };
    for reason in [RefusalReason::NotHashed, RefusalReason::Changed, RefusalReason::Busy] {
        let mut rig = asked(true);
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, DialFault::Declined(reason));
        // All that is beneath it is still being written.
        list(&mut rig, &["a"]);
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "{reason}");
        pass_until_asked(&mut rig);
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, DialFault::Declined(reason));
        list(&mut rig, &["a", "x/d/a"]);
        all_there(&mut rig);
        let waits = row(&mut rig, 1);
        assert_eq!((waits.state, pending(&waits)), (DownloadState::Retrying, 1), "{reason}");
        pass_until_asked(&mut rig);
        describe_with(&mut rig, both(), 0);
        all_there(&mut rig);
        let done = row(&mut rig, 1);
        assert_eq!((done.state, done.bytes_done, pending(&done)), (DownloadState::Done, 11, 0), "{reason}");
    }
}

/// All that the peer shares is there, and it is asked again.
fn asked_again() -> Rig {
    let mut rig = asked(true);
    describe_with(&mut rig, first(), 1);
    all_there(&mut rig);
    pass_until_asked(&mut rig);
    rig
}

/// The peer says that its manifest is another one, of which nothing is pending.
fn tell_of_both(rig: &mut Rig) -> ExchangeId {
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::FileInfo { b3: both().0.b3, size: both().1, pending: 0 });
    rig.dial().0
}

#[test]
fn a_directory_is_not_done_before_what_the_peer_has_told_of_has_come() {
    let goes = |rig: &mut Rig| {
        let exchange = tell_of_both(rig);
        rig.fail(exchange, DialFault::TimedOut);
    };
    let pauses = |rig: &mut Rig| {
        tell_of_both(rig);
        order(rig, Request::Pause { ids: "1".into() });
        assert_eq!(state(rig, 1), DownloadState::Paused);
        order(rig, Request::Resume { ids: "1".into() });
    };
    let resets = |rig: &mut Rig| {
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, DialFault::Reset);
        let (exchange, ..) = rig.dial();
        rig.handle(Event::ListBatch { exchange, files: vec![of_content("x/d/a", 5, ContentHash([5; 32]))] });
        rig.succeed(exchange, Response::FileList { truncated: false });
    };
    for stop in [goes as fn(&mut Rig), pauses, resets] {
        let mut rig = asked_again();
        stop(&mut rig);
        let waits = row(&mut rig, 1);
        assert_eq!((waits.state, pending(&waits)), (DownloadState::Retrying, 1));
        pass_until_asked(&mut rig);
        describe_with(&mut rig, both(), 0);
        all_there(&mut rig);
        let done = row(&mut rig, 1);
        assert_eq!((done.state, done.bytes_done, pending(&done)), (DownloadState::Done, 11, 0));
    }
}

#[test]
fn a_restart_asks_again_a_few_times_and_is_done_without_the_peer() {
    for answers in [true, false] {
        let mut rig = asked(true);
        describe_with(&mut rig, first(), 1);
        let mut records = BTreeMap::new();
        on_disk(&mut rig, &mut records);
        let mut rig = restart(rig, &records);
        all_there(&mut rig);
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
        if answers {
            hear_of(&mut rig, 1);
            pass_until_asked(&mut rig);
            describe_with(&mut rig, both(), 0);
            all_there(&mut rig);
        } else {
            for _ in 0..PENDING_ASKS_MAX {
                pass_until_asked(&mut rig);
                let (exchange, ..) = rig.dial();
                rig.fail(exchange, DialFault::Refused);
            }
        }
        let done = row(&mut rig, 1);
        let expected = if answers { (DownloadState::Done, 11, 0) } else { (DownloadState::Done, 5, 1) };
        assert_eq!((done.state, done.bytes_done, pending(&done)), expected);
    }
}

#[test]
fn a_link_to_a_directory_means_the_files_of_its_manifest_alone() {
    let (manifest, size) = first();
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    rig.orders.clear();
    let link = format!("pyrate:b3={}&name=x%2Fd%2F&peer={}", manifest.b3, peer(1));
    download(&mut rig, vec![Selector::Link(link)]);
    describe_with(&mut rig, (manifest, size), 7);
    all_there(&mut rig);
    let done = row(&mut rig, 1);
    assert_eq!((done.state, pending(&done)), (DownloadState::Done, 0));
}

#[test]
fn a_link_to_a_directory_that_waited_for_its_manifest_is_done_when_its_files_are_there() {
    let (manifest, _) = first();
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    rig.orders.clear();
    let link = format!("pyrate:b3={}&name=x%2Fd%2F&peer={}", manifest.b3, peer(1));
    download(&mut rig, vec![Selector::Link(link)]);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Declined(RefusalReason::NotHashed));
    pass_until_asked(&mut rig);
    describe_with(&mut rig, first(), 0);
    all_there(&mut rig);
    let done = row(&mut rig, 1);
    assert_eq!((done.state, pending(&done)), (DownloadState::Done, 0));
}

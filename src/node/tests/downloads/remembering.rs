//! What is accepted is on the disk first; what cannot be written is told.

use super::*;
use crate::control::{CallError, CallId, Notice};
use crate::id::ClientId;
use crate::node::contract::{RecordState, SourceRecord};

/// A node of which the test says itself when a record is on the disk.
fn stalling(mut rig: Rig) -> Rig {
    rig.remembers = false;
    rig
}

/// Makes a call whose answer is not awaited.
fn call(rig: &mut Rig, number: u64, request: Request) {
    rig.handle(Event::Call { client: CLIENT, call: CallId::Number(number), request });
}

fn begin(rig: &mut Rig, number: u64, what: Vec<Selector>) {
    call(rig, number, Request::Download { what, output: None });
}

/// The answers given: the number of the call, and its rows or its failure.
fn answers(rig: &mut Rig) -> Vec<(u64, Result<Vec<DownloadRow>, CallError>)> {
    rig.take(|order| match order {
        Action::Reply { call: CallId::Number(number), outcome, .. } => Some((
            *number,
            match outcome {
                Ok(Reply::Downloads(reply)) => Ok(reply.downloads.clone()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.clone()),
            },
        )),
        _ => None,
    })
}

/// The records ordered: download, revision, state.
fn records(rig: &mut Rig) -> Vec<(u32, u64, RecordState)> {
    rig.take(|order| match order {
        Action::RememberDownload { record, revision } => Some((record.id.0, *revision, record.state)),
        _ => None,
    })
}

fn recorded(rig: &mut Rig, download: u32, revision: u64, outcome: Result<(), DiskFault>) {
    rig.handle(Event::Recorded { download: TransferId(download), revision, outcome });
}

#[test]
fn who_follows_one_that_is_not_accepted_after_all_is_told_that_it_has_failed() {
    let mut rig = stalling(with_content(4 * MIB, 2));
    begin(&mut rig, 77, hits("1"));
    let follower = ClientId(42);
    let follow = Request::Follow { ids: "1".to_owned() };
    rig.handle(Event::Call { client: follower, call: CallId::Number(78), request: follow });
    rig.orders.clear();
    recorded(&mut rig, 1, 1, Err(DiskFault::Full));
    let told = rig.take(|order| match order {
        Action::Notify { client, notice } if *client == follower => match &**notice {
            Notice::Download { download } => Some((download.id, download.state, download.error.is_some())),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(told, [(1, DownloadState::Failed, true)]);
}

#[test]
fn an_accepted_download_is_on_the_disk_before_the_answer_and_before_its_part_file() {
    let mut rig = stalling(with_content(4 * MIB, 2));
    begin(&mut rig, 77, hits("1"));
    let record = rig.take(|order| match order {
        Action::RememberDownload { record, .. } => Some(DownloadRecord::clone(record)),
        _ => None,
    });
    let [record] = &record[..] else { panic!("one record: {record:?}") };
    assert_eq!((record.b3, record.size, record.state), (Some(B3), Some(4 * MIB), RecordState::Waiting));
    let expected =
        [1, 2].map(|n| SourceRecord { addr: peer(n), names: vec![name("dir/a.txt")], p1: true, is_chosen: true });
    assert_eq!(record.sources, expected);
    assert!(answers(&mut rig).is_empty() && opened(&mut rig).is_empty());
    // Others ask for the same, and for other things, meanwhile.
    begin(&mut rig, 78, hits("1"));
    assert!(answers(&mut rig).is_empty(), "it is not accepted for them either");
    assert!(rig.call(Request::Status).is_ok(), "no other call waits");

    recorded(&mut rig, 1, 1, Ok(()));
    let order: Vec<_> = rig
        .orders
        .iter()
        .map(|order| match order {
            Action::Reply { .. } => "answer",
            Action::OpenPart { .. } => "part",
            Action::Notify { .. } => "notice",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, ["answer", "answer", "notice", "part"]);
    assert!(answers(&mut rig).iter().all(|(_, rows)| rows.as_ref().unwrap()[0].not_remembered.is_none()));
}

#[test]
fn a_download_that_cannot_be_saved_is_refused_and_leaves_nothing() {
    let mut rig = stalling(Rig::among(vec![peer(1)], &[]));
    begin(&mut rig, 5, vec![file(peer(1), "a"), file(peer(1), "b")]);
    begin(&mut rig, 6, vec![file(peer(1), "b"), file(peer(1), "c")]);
    begin(&mut rig, 7, vec![file(peer(1), "d")]);
    let ordered = records(&mut rig);
    assert_eq!(ordered.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    recorded(&mut rig, 1, ordered[0].1, Ok(()));
    recorded(&mut rig, 2, ordered[1].1, Err(DiskFault::Full));
    let told = answers(&mut rig);
    assert_eq!(told.iter().map(|(call, _)| *call).collect::<Vec<_>>(), [5, 6], "both wanted it");
    for (_, outcome) in told {
        let error = outcome.unwrap_err();
        assert_eq!(error.code, 9);
        assert!(error.message.contains("the disk is full (state directory)"), "{}", error.message);
    }
    // Of the first call, one was accepted by then and goes on; what the others began is gone.
    let Ok(Reply::Downloads(rows)) = rig.call(Request::Downloads { after: 0 }) else { panic!("rows") };
    assert_eq!(rows.downloads.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(forgotten(&mut rig), [TransferId(2), TransferId(3)]);
    assert_eq!(opened(&mut rig).len(), 1);
    recorded(&mut rig, 3, ordered[2].1, Ok(()));
    recorded(&mut rig, 4, ordered[3].1, Ok(()));
    assert_eq!(answers(&mut rig).len(), 1);
    // The same again, when there is room.
    begin(&mut rig, 8, vec![file(peer(1), "b")]);
    let again = records(&mut rig);
    recorded(&mut rig, again[0].0, again[0].1, Ok(()));
    assert_eq!(answers(&mut rig)[0].1.as_ref().unwrap()[0].state, DownloadState::Active);
}

#[test]
fn an_order_that_cannot_be_saved_is_carried_out_and_reported_until_it_is_saved() {
    for order in ["pause", "cancel"] {
        let mut rig = begun(4 * MIB, 1);
        rig.remembers = false;
        rig.orders.clear();
        let ids = String::from("1");
        call(&mut rig, 9, if order == "pause" { Request::Pause { ids } } else { Request::Cancel { ids } });
        let (_, revision, _) = *records(&mut rig).last().unwrap();
        assert!(answers(&mut rig).is_empty(), "{order}: not before it is known");
        recorded(&mut rig, 1, revision, Err(DiskFault::Full));
        let told = answers(&mut rig);
        let row = &told[0].1.as_ref().unwrap()[0];
        let trouble = row.not_remembered.as_ref().unwrap();
        assert_eq!((trouble.code, trouble.message.contains("a restart loses this change")), (9, true));
        assert!(matches!(row.state, DownloadState::Paused | DownloadState::Cancelled));
        recorded(&mut rig, 1, revision, Ok(()));
        assert_eq!(super::row(&mut rig, 1).not_remembered, None, "{order}");
    }
}

#[test]
fn an_answer_waits_for_the_disk_for_a_limited_time() {
    let mut rig = stalling(Rig::among(vec![peer(1)], &[]));
    begin(&mut rig, 5, vec![file(peer(1), "a")]);
    rig.pass(Duration::from_millis(4_900));
    assert!(answers(&mut rig).is_empty());
    rig.pass(Duration::from_millis(200));
    let told = answers(&mut rig);
    assert!(told[0].1.as_ref().unwrap()[0].not_remembered.is_some());
    assert!(opened(&mut rig).is_empty(), "nor does it begin");
    let revision = records(&mut rig)[0].1;
    recorded(&mut rig, 1, revision, Err(DiskFault::Full));
    assert_eq!(state(&mut rig, 1), DownloadState::Failed, "nobody is left to refuse it to");
    let failed = records(&mut rig);
    recorded(&mut rig, 1, failed.last().unwrap().1, Ok(()));
    assert!(row(&mut rig, 1).not_remembered.is_none() && opened(&mut rig).is_empty());
}

#[test]
fn a_download_is_accepted_though_its_client_has_disconnected() {
    let mut rig = stalling(Rig::among(vec![peer(1)], &[]));
    begin(&mut rig, 5, vec![file(peer(1), "a")]);
    rig.handle(Event::ClientGone { client: ClientId(1) });
    let revision = records(&mut rig)[0].1;
    recorded(&mut rig, 1, revision, Ok(()));
    assert_eq!(opened(&mut rig).len(), 1);
}

/// The disk says what it knows of the place of a directory before it is retried, or after that.
#[test]
fn a_directory_that_failed_while_its_place_was_asked_for_begins_when_it_is_retried() {
    for is_answered_first in [true, false] {
        let mut rig = stalling(Rig::among(vec![peer(1)], &[]));
        let output = Some(RawText::new(&b"/tmp/out"[..]));
        call(&mut rig, 5, Request::Download { what: vec![file(peer(1), "x/d/")], output });
        rig.pass(Duration::from_secs(10));
        let accepted = answers(&mut rig).remove(0).1.unwrap();
        assert!(accepted[0].not_remembered.is_some());
        let (id, revision, _) = records(&mut rig).pop().unwrap();
        recorded(&mut rig, id, revision, Err(DiskFault::Full));
        assert_eq!(state(&mut rig, 1), DownloadState::Failed);
        let answer = |rig: &mut Rig| {
            rig.handle(Event::TargetProbed { download: TransferId(1), outcome: Ok("/tmp/out/d".into()) });
        };
        if is_answered_first {
            answer(&mut rig);
            assert_eq!(state(&mut rig, 1), DownloadState::Failed);
        }
        call(&mut rig, 6, Request::Retry { ids: "1".into() });
        let (id, revision, _) = records(&mut rig).pop().unwrap();
        recorded(&mut rig, id, revision, Ok(()));
        if !is_answered_first {
            answer(&mut rig);
        }
        assert!(!rig.dials().is_empty(), "its peer is asked");
    }
}

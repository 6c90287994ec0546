//! Files that are complete: what is remembered of them before they get their final names, and what a crash around that leaves.

use super::recalling::{record, restarted};
use super::*;
use crate::control::ExitCode;
use crate::node::contract::{PartSpec, RecordKind, RecordState};

/// A file without a hash, of a peer of which nothing is known: all of it has come.
fn streamed(target: &str, bytes: u64) -> Rig {
    let mut rig = Rig::among(Vec::new(), &[]);
    download(&mut rig, vec![file(peer(1), target)]);
    open(&mut rig);
    let only = fetch(&mut rig);
    rig.orders.clear();
    send(&mut rig, &only, bytes);
    rig
}

fn opens(rig: &mut Rig) -> Vec<(Option<ContentHash>, Option<u64>)> {
    rig.take(|order| match order {
        Action::OpenPart { b3, size, .. } => Some((*b3, *size)),
        _ => None,
    })
}

#[test]
fn what_is_complete_is_remembered_before_it_gets_its_name() {
    let mut rig = streamed("a", 100);
    check(&mut rig, 100);
    let orders: Vec<_> = rig.take(|order| match order {
        Action::RememberDownload { record, .. } => Some(record.complete),
        Action::CommitPart { .. } => Some(None),
        _ => None,
    });
    assert_eq!(orders, [Some((B3, 100)), None]);
    // Of a content that was known there is nothing to add.
    let mut rig = begun(3 * MIB, 1);
    bring_everything(&mut rig);
    rig.orders.retain(|order| matches!(order, Action::CheckPart { .. }));
    check(&mut rig, 3 * MIB);
    assert!(remembered(&mut rig).is_empty());
    committing(&mut rig);
}

#[test]
fn a_file_that_has_its_name_since_before_a_crash_is_done() {
    let complete = Some((B3, 100));
    let wanted = [(None, None, false), (Some(B3), None, true)];
    for (b3, size, verified) in wanted {
        let left = DownloadRecord { complete, size, ..record(1, b3, RecordState::Waiting) };
        let mut rig = restarted(config(), vec![left], 1);
        assert_eq!(opens(&mut rig), [(Some(B3), Some(100))]);
        let path = PathBuf::from("/downloads/a");
        rig.handle(Event::PartOpened { download: TransferId(1), outcome: Ok(OpenedPart::AlreadyThere { path }) });
        let done = row(&mut rig, 1);
        assert_eq!((done.state, done.bytes_done, done.size), (DownloadState::Done, 100, Some(100)));
        assert_eq!((done.verified, done.already), (verified, false), "it was fetched by this download");
    }
}

#[test]
fn a_file_that_did_not_get_its_name_before_a_crash_is_fetched_again_whatever_it_is_now() {
    let left = DownloadRecord { complete: Some((B3, 100)), size: None, ..record(1, None, RecordState::Waiting) };
    let mut rig = restarted(config(), vec![left], 1);
    open(&mut rig);
    // Asked which content the name has, the source gives no answer.
    for _ in 0..4 {
        identifying(&mut rig).into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::Reset));
        metadata(&mut rig).into_iter().for_each(|(exchange, ..)| rig.fail(exchange, DialFault::Reset));
        contacts(&mut rig).into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::Reset));
        if let Some(only) = fetches(&mut rig).pop() {
            send(&mut rig, &only, 90);
            break;
        }
    }
    let other = ContentHash([9; 32]);
    check_as(&mut rig, other, 90, Vec::new());
    let last = remembered(&mut rig).pop().unwrap();
    assert_eq!((last.complete, last.b3), (Some((other, 90)), None));
    commit(&mut rig, "/downloads/a");
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
}

#[test]
fn a_file_of_a_directory_that_has_its_name_since_before_a_crash_is_done() {
    let within = |path: &str| PartSpec {
        target: Target::Within { directory: "/downloads".into(), path: name(path), executable: false },
        token: 7,
        filesystem: None,
    };
    let kind = RecordKind::Directory { files: Some(1) };
    let directory = record(1, None, RecordState::Waiting);
    let directory = DownloadRecord { spec: within("d"), name: name("x/d/"), kind, ..directory };
    let kind = RecordKind::Member { of: TransferId(1) };
    let member = DownloadRecord {
        spec: within("d/a"),
        name: name("x/d/a"),
        complete: Some((B3, 100)),
        kind,
        ..record(2, None, RecordState::Waiting)
    };
    let mut rig = restarted(config(), vec![directory, member], 2);
    assert_eq!(opens(&mut rig), [(Some(B3), Some(100))]);
    let outcome = Ok(OpenedPart::AlreadyThere { path: "/downloads/d/a".into() });
    rig.handle(Event::PartOpened { download: TransferId(2), outcome });
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.bytes_done, done.verified), (DownloadState::Done, 100, false));
    assert!(!done.already);
}

#[test]
fn a_commit_that_fails_gives_no_download_that_was_stopped_another_life() {
    for (request, state_after) in [
        (Request::Cancel { ids: "1".into() }, DownloadState::Cancelled),
        (Request::Pause { ids: "1".into() }, DownloadState::Paused),
    ] {
        for fault in [DiskFault::Full, DiskFault::Exists, DiskFault::NoDescriptor] {
            let mut rig = streamed("a", 100);
            check(&mut rig, 100);
            let download = committing(&mut rig);
            let asked = order(&mut rig, request.clone());
            assert_eq!(asked.downloads[0].state, DownloadState::Verifying, "it may be done by now");
            rig.handle(Event::PartCommitted { download, outcome: Err(fault) });
            assert_eq!(state(&mut rig, 1), state_after, "{fault}");
            let is_cancelled = state_after == DownloadState::Cancelled;
            assert_eq!((dropped(&mut rig), forgotten(&mut rig).len()), (is_cancelled.into(), is_cancelled.into()));
        }
    }
    let mut rig = streamed("a", 100);
    check(&mut rig, 100);
    let download = committing(&mut rig);
    rig.handle(Event::PartCommitted { download, outcome: Err(DiskFault::Exists) });
    assert_eq!(row(&mut rig, 1).error.unwrap().code, ExitCode::Exists as i32);
}

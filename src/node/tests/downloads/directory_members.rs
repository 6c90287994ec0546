//! The files of a directory: how many one step deals with, and how they end with it.

use super::recalling::{record, restarted};
use super::*;
use crate::control::{CallError, ExitCode};
use crate::node::contract::{Dialled, PartSpec, RecordKind, RecordState};
use crate::node::limits::ORDER_DOWNLOADS_PER_SLICE;

fn within(path: &str) -> PartSpec {
    let target = Target::Within { directory: "/downloads".into(), path: name(path), executable: false };
    PartSpec { target, token: 7, filesystem: None }
}

/// A directory of an earlier run, with so many files in this state.
fn recalled(files: u32, state: RecordState, error: Option<CallError>) -> Rig {
    let kind = RecordKind::Directory { files: Some(files.into()) };
    let directory = record(1, None, RecordState::Waiting);
    let mut records = vec![DownloadRecord { spec: within("d"), name: name("x/d/"), kind, ..directory }];
    let kind = RecordKind::Member { of: TransferId(1) };
    records.extend((0..files).map(|number| DownloadRecord {
        spec: within(&format!("d/{number}")),
        name: name(&format!("x/d/{number}")),
        error: error.clone(),
        kind,
        ..record(2 + number, None, state)
    }));
    restarted(config(), records, 1 + files)
}

/// Works until nothing is left; returns the most downloads that one step has changed.
fn work_in_steps(rig: &mut Rig) -> usize {
    let mut most = 0;
    loop {
        let mut changed = std::collections::BTreeSet::new();
        while let Some(order) = rig.node.poll_action() {
            if let Action::RememberDownload { record, .. } = &order {
                changed.insert(record.id);
            }
            rig.orders.push(order);
        }
        most = most.max(changed.len());
        if !rig.node.has_work() {
            return most;
        }
        rig.node.work(rig.now);
    }
}

#[test]
fn the_files_of_a_list_that_has_come_again_are_retried_in_slices() {
    let files = 1_000;
    let refused = CallError::new(ExitCode::NotFound, "refused");
    let mut rig = recalled(files, RecordState::Failed { keeps_part: false }, Some(refused));
    rig.handle(Event::ClientGone { client: crate::id::ClientId(99) });
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    let exchange = loop {
        rig.pass(Duration::from_secs(60));
        let asked = rig.take(|order| match order {
            Action::Dial { exchange, expect: Expect::FileList, .. } => Some(*exchange),
            _ => None,
        });
        if let [exchange] = asked[..] {
            break exchange;
        }
        contacts(&mut rig).into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::Reset));
    };
    let listed_again = (0..files).map(|number| listed(&format!("x/d/{number}"), None)).collect();
    rig.handle(Event::ListBatch { exchange, files: listed_again });
    rig.orders.clear();
    let response = Response::FileList { truncated: false };
    let outcome = Ok(Dialled { local: peer(9), response });
    rig.node.handle(rig.now, Event::DialEnded { exchange, outcome });
    let most = work_in_steps(&mut rig);
    assert!(most > 1 && most <= 2 * ORDER_DOWNLOADS_PER_SLICE, "{most} in one step");
    rig.settle();
    let now = row(&mut rig, 1);
    assert_eq!((now.state, now.directory.unwrap().files_missing), (DownloadState::Active, 0));
}

#[test]
fn a_file_whose_commit_fails_goes_with_the_directory_that_was_cancelled() {
    let mut rig = recalled(1, RecordState::Waiting, None);
    open(&mut rig);
    contacts(&mut rig).into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::Reset));
    identifying(&mut rig).into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::Reset));
    metadata(&mut rig).into_iter().for_each(|(exchange, ..)| rig.fail(exchange, DialFault::Reset));
    let only = fetch(&mut rig);
    send(&mut rig, &only, 4 * MIB);
    check(&mut rig, 4 * MIB);
    let download = committing(&mut rig);
    order(&mut rig, Request::Cancel { ids: "1".into() });
    rig.handle(Event::PartCommitted { download, outcome: Err(DiskFault::Full) });
    assert_eq!((state(&mut rig, 1), dropped(&mut rig)), (DownloadState::Cancelled, 1));
    let forgotten = forgotten(&mut rig);
    assert_eq!(forgotten, [TransferId(2), TransferId(1)], "nothing of it is left for the next run");
    let Ok(Reply::Downloads(files)) = rig.call(Request::DirectoryFiles { id: 1, after: 0 }) else { panic!("files") };
    assert_eq!(files.downloads, []);
}

#[test]
fn what_is_in_the_way_beneath_it_is_named_and_a_new_order_looks_whether_it_is_gone() {
    let mut rig = recalled(2, RecordState::Waiting, None);
    let [(first, _), (second, _)] = opened(&mut rig)[..] else { panic!("two files") };
    let there = || Ok(OpenedPart::AlreadyThere { path: "/".into() });
    rig.handle(Event::PartOpened { download: first, outcome: Err(DiskFault::NotDirectory) });
    rig.handle(Event::PartOpened { download: second, outcome: there() });
    let stopped = row(&mut rig, 1);
    assert_eq!(stopped.state, DownloadState::Paused);
    let told = stopped.error.unwrap().message;
    assert!(told.starts_with("/downloads/d/0: a part of the path is not a directory"), "{told}");
    let again = download(&mut rig, vec![file(peer(1), "x/d/")]);
    assert_eq!((again.ids, &again.downloads[0].error), (vec![1], &None));
    assert_eq!(again.downloads[0].state, DownloadState::Active, "the disk has not answered");
    let asked = opened(&mut rig);
    assert_eq!(asked.len(), 1, "{asked:?}");
    rig.handle(Event::PartOpened { download: first, outcome: Err(DiskFault::NotDirectory) });
    assert_eq!(state(&mut rig, 1), DownloadState::Paused);
    download(&mut rig, vec![file(peer(1), "x/d/")]);
    rig.handle(Event::PartOpened { download: first, outcome: there() });
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
}

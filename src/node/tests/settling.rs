//! Files that may still be written to.

use super::rig::*;
use crate::control::{FileRow, Notice, Reply, Request, ScanNotice};
use crate::fault::DiskFault;
use crate::library::{RecentFile, ScanReport, ScannedFile};
use crate::node::contract::{Action, Event, LookedAt, ResponseFault};
use crate::wire::Message;
use std::time::Duration;

/// A file of this size, unchanged for this time.
fn recent(text: &str, size: u64, quiet_ms: u64) -> RecentFile {
    RecentFile { file: scanned(text, size), quiet: Duration::from_millis(quiet_ms) }
}

/// Reports a scan that a user requested.
fn rescan(rig: &mut Rig, recent: Vec<RecentFile>, settled: Vec<ScannedFile>) {
    rig.call(Request::Rescan).unwrap();
    rig.handle(Event::RecentFiles { files: recent });
    rig.handle(Event::Scanned { files: settled });
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
}

/// The names that the node wants examined.
fn looks(rig: &mut Rig) -> Vec<String> {
    let orders = rig.take(|order| match order {
        Action::LookAt { names } => Some(names.iter().map(ToString::to_string).collect::<Vec<_>>()),
        _ => None,
    });
    orders.concat()
}

/// Advances time to the next examination, which must be soon, and reports this.
fn look(rig: &mut Rig, found: Vec<RecentFile>) {
    let mut ordered = Vec::new();
    for _ in 0..60 {
        rig.pass(Duration::from_millis(100));
        ordered = looks(rig);
        if !ordered.is_empty() {
            break;
        }
    }
    assert_eq!(ordered, found.iter().map(|recent| recent.file.name.to_string()).collect::<Vec<_>>());
    let files = found.into_iter().map(|recent| LookedAt { name: recent.file.name.clone(), found: Ok(recent) });
    rig.handle(Event::LookedAt { files: files.collect() });
}

fn rows(rig: &mut Rig) -> Vec<(String, bool)> {
    let Ok(Reply::Files(reply)) = rig.call(Request::Files { after: None }) else { panic!("no files") };
    let row = |row: FileRow| (String::from_utf8_lossy(row.name.as_bytes()).into_owned(), row.being_written);
    reply.files.iter().map(row).collect()
}

/// Files shared and files being written, if a scan has ended.
fn told(rig: &mut Rig) -> Option<(u64, u64)> {
    rig.notices().into_iter().find_map(|notice| match notice {
        Notice::Scan(ScanNotice { files, done: true, being_written, .. }) => Some((files, being_written)),
        _ => None,
    })
}

#[test]
fn a_scan_waits_until_recently_written_files_have_settled() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rescan(&mut rig, vec![recent("b", 5, 500)], vec![scanned("a", 1), scanned("c", 1)]);
    assert_eq!(rig.node.library().len(), 2);
    assert_eq!(told(&mut rig), None);
    assert_eq!(rows(&mut rig), [("a".into(), false), ("b".into(), true), ("c".into(), false)]);
    look(&mut rig, vec![recent("b", 5, 2_600)]);
    assert_eq!(told(&mut rig), Some((3, 0)));
    assert_eq!(rows(&mut rig)[1], ("b".into(), false));
    rig.pass(Duration::from_secs(30));
    assert!(looks(&mut rig).is_empty(), "nothing is left to be looked at");
}

#[test]
fn a_file_unchanged_for_long_enough_is_shared_at_once() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rescan(&mut rig, vec![recent("a", 5, 2_000)], Vec::new());
    assert_eq!(told(&mut rig), Some((1, 0)));
}

#[test]
fn a_file_that_grows_is_not_shared_and_is_reported_as_being_written() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rescan(&mut rig, vec![recent("a", 1, 10)], Vec::new());
    look(&mut rig, vec![recent("a", 2, 10)]);
    assert_eq!(told(&mut rig), Some((0, 1)));
    for size in 3..20 {
        look(&mut rig, vec![recent("a", size, 10)]);
        assert_eq!(rows(&mut rig), [("a".into(), true)]);
    }
    // A pause of some seconds is not the end.
    look(&mut rig, vec![recent("a", 20, 4_000)]);
    assert!(rig.node.library().is_empty());
    look(&mut rig, vec![recent("a", 20, 9_000)]);
    assert_eq!(rows(&mut rig), [("a".into(), false)]);
}

#[test]
fn where_the_filesystem_clock_is_unusable_two_equal_examinations_suffice() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rescan(&mut rig, vec![recent("a", 1, 0)], Vec::new());
    assert!(rig.node.library().is_empty());
    look(&mut rig, vec![recent("a", 1, 0)]);
    assert_eq!(told(&mut rig), Some((1, 0)));
}

#[test]
fn a_shared_file_stays_shared_while_it_is_unchanged() {
    let mut rig = Rig::among(Vec::new(), &[("a", 1), ("b", 1)]);
    rescan(&mut rig, vec![recent("a", 1, 0), recent("b", 2, 0)], Vec::new());
    assert_eq!(rows(&mut rig), [("a".into(), false), ("b".into(), true)]);
    assert_eq!(rig.node.library().len(), 1);
}

#[test]
fn a_removed_file_is_dropped_and_an_unreadable_one_is_not() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rescan(&mut rig, vec![recent("a", 1, 0), recent("b", 1, 0)], Vec::new());
    rig.pass(Duration::from_millis(2_200));
    assert_eq!(looks(&mut rig), ["a", "b"]);
    let found = [("a", DiskFault::Missing), ("b", DiskFault::Other(5))];
    let files = found.map(|(text, fault)| LookedAt { name: name(text), found: Err(fault) });
    rig.handle(Event::LookedAt { files: files.into() });
    assert_eq!(told(&mut rig), Some((0, 1)));
    assert_eq!(rows(&mut rig), [("b".into(), true)]);
}

#[test]
fn a_file_found_changed_by_a_request_is_shared_again_when_it_has_settled() {
    for fault in [DiskFault::Changed, DiskFault::Shrank] {
        let mut rig = Rig::among(Vec::new(), &[("a", 5)]);
        let whole = Message::DownloadRequest { name: name("a") };
        let range = Message::RangeRequest { offset: 0, length: 1, name: name("a") };
        let exchanges = [whole, range].map(|message| rig.request(peer(1), message));
        for exchange in exchanges {
            rig.handle(Event::ResponseEnded { exchange, outcome: Err(ResponseFault::Disk(fault)) });
            assert_eq!(rows(&mut rig), [("a".into(), true)]);
        }
        look(&mut rig, vec![recent("a", 7, 2_100)]);
        assert_eq!(rows(&mut rig), [("a".into(), false)]);
        assert_eq!(rig.node.library().bytes(), 7);
    }
}

#[test]
fn a_million_recently_written_files_are_bounded_and_scanned_again_soon() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rig.call(Request::Rescan).unwrap();
    for batch in 0..70 {
        let files = (0..1_000).map(|at| recent(&format!("{batch:02}/{at:03}"), 1, 0)).collect();
        rig.handle(Event::RecentFiles { files });
    }
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
    rig.pass(Duration::from_millis(2_200));
    while let Some(names) = rig
        .take(|order| match order {
            Action::LookAt { names } => Some(names.clone()),
            _ => None,
        })
        .pop()
    {
        let found = |name: crate::name::FileName| {
            let text = name.to_string();
            LookedAt { name, found: Ok(recent(&text, 1, 3_000)) }
        };
        rig.handle(Event::LookedAt { files: names.into_iter().map(found).collect() });
    }
    assert_eq!(told(&mut rig), Some((65_536, 70_000 - 65_536)));
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.take(|order| matches!(order, Action::StartScan).then_some(())).len(), 2, "the user's, and one soon");
}

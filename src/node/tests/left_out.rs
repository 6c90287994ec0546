//! What is in the shared directory and not shared.

use super::rig::*;
use crate::control::{LeftOutReply, Notice, RawText, Reply, Request, ScanNotice};
use crate::fault::DiskFault;
use crate::left_out::LeftOutReason::{self, BeingWritten, Hidden, Symlink};
use crate::library::{LeftOut, RecentFile, ScanReport};
use crate::node::contract::{Action, Event};
use std::time::Duration;

/// Reports the end of a scan that a user requested, with this left out.
fn rescan(rig: &mut Rig, names: &[(LeftOutReason, &str)], failed: Option<DiskFault>) {
    let mut left_out = LeftOut::default();
    names.iter().for_each(|(reason, name)| left_out.note(*reason, name.as_bytes()));
    rig.call(Request::Rescan).unwrap();
    rig.handle(Event::ScanEnded { report: ScanReport { left_out, failed, ..ScanReport::default() } });
}

fn page(rig: &mut Rig, after: Option<RawText>) -> LeftOutReply {
    match rig.call(Request::LeftOut { after }) {
        Ok(Reply::LeftOut(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

/// All rows, page by page.
fn rows(rig: &mut Rig) -> Vec<(String, LeftOutReason)> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let reply = page(rig, after);
        assert!(reply.left_out.len() <= 500);
        rows.extend(
            reply.left_out.iter().map(|row| (String::from_utf8_lossy(row.name.as_bytes()).into_owned(), row.reason)),
        );
        match reply.next {
            Some(next) => after = Some(next),
            None => return rows,
        }
    }
}

fn counts(rig: &mut Rig) -> Vec<(LeftOutReason, u64)> {
    match rig.call(Request::Status) {
        Ok(Reply::Status(status)) => status.left_out.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_out_is_named_with_files_that_are_being_written() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let file = |name| RecentFile { file: scanned(name, 1), quiet: Duration::ZERO };
    rig.call(Request::Rescan).unwrap();
    rig.handle(Event::RecentFiles { files: vec![file("b"), file("d")] });
    let mut left_out = LeftOut::default();
    for (reason, name) in [(Symlink, "c"), (Hidden, ".a"), (Symlink, "e\n")] {
        left_out.note(reason, name.as_bytes());
    }
    rig.handle(Event::ScanEnded { report: ScanReport { left_out, ..ScanReport::default() } });
    // The scan ends when the two were looked at once more.
    assert_eq!(rows(&mut rig), [("b".into(), BeingWritten), ("d".into(), BeingWritten)]);
    for _ in 0..60 {
        rig.pass(Duration::from_millis(100));
        if !rig.take(|order| matches!(order, Action::LookAt { .. }).then_some(())).is_empty() {
            rig.handle(Event::LookedAt { files: Vec::new() });
        }
    }
    let expected = [(".a", Hidden), ("b", BeingWritten), ("c", Symlink), ("d", BeingWritten), ("e\n", Symlink)];
    assert_eq!(rows(&mut rig), expected.map(|(name, reason)| (name.to_owned(), reason)));
    assert_eq!(counts(&mut rig), [(Symlink, 2), (Hidden, 1), (BeingWritten, 2)]);
    let told = rig.notices().into_iter().find_map(|notice| match notice {
        Notice::Scan(ScanNotice { done: true, left_out, being_written, .. }) => Some((left_out, being_written)),
        _ => None,
    });
    assert_eq!(told, Some((3, 2)), "whoever asked for the scan hears how many");
    let after = page(&mut rig, Some(RawText::new("c")));
    assert_eq!((after.left_out.len(), after.next), (2, None));
    let any_bytes = page(&mut rig, Some(RawText::new(vec![0xff, 0])));
    assert_eq!(any_bytes.left_out, []);
}

#[test]
fn names_come_in_pages_and_those_beyond_the_bound_are_counted() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let names: Vec<String> = (0..12).map(|n| format!(".{n:02}")).collect();
    let hidden: Vec<_> = names.iter().map(|name| (Hidden, name.as_str())).collect();
    rescan(&mut rig, &hidden, None);
    assert_eq!(rows(&mut rig).len(), 8);
    assert_eq!(page(&mut rig, None).unnamed.into_iter().collect::<Vec<_>>(), [(Hidden, 4)]);
    assert_eq!(counts(&mut rig), [(Hidden, 12)]);
}

#[test]
fn a_scan_that_could_not_read_the_share_changes_nothing() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rescan(&mut rig, &[(Symlink, "music")], None);
    rescan(&mut rig, &[], Some(DiskFault::Denied));
    assert_eq!(rows(&mut rig), [("music".into(), Symlink)]);
    assert!(page(&mut rig, None).share_error.is_some());
    rescan(&mut rig, &[], None);
    assert_eq!((rows(&mut rig), counts(&mut rig)), (vec![], vec![]));
}

//! A directory whose peer sends a manifest.

use super::*;
use crate::content::{EntryKind, Manifest, ManifestWriter};
use crate::control::ExitCode;
use crate::fault::RefusalReason;
use crate::name::FileName;
use crate::node::contract::{DiskOutcome, Expect, RecordKind};

pub(super) fn asked(knows_p1: bool) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    if knows_p1 {
        hear_of(&mut rig, 1);
    }
    rig.orders.clear();
    download(&mut rig, vec![file(peer(1), "x/d/")]);
    rig
}

pub(super) fn manifest(entries: &[(&str, EntryKind)]) -> (Manifest, u64) {
    let mut writer = ManifestWriter::default();
    entries.iter().for_each(|(path, kind)| writer.push(path.as_bytes(), *kind).unwrap());
    let text = writer.finish().text;
    (Manifest::parse(&text).unwrap(), text.len() as u64)
}

pub(super) fn entry(size: u64, executable: bool) -> EntryKind {
    EntryKind::File { size, b3: ContentHash([size as u8; 32]), executable }
}

fn tree() -> (Manifest, u64) {
    manifest(&[("a", entry(5, false)), ("e/f", EntryKind::EmptyDirectory), ("run", entry(6, true))])
}

/// Gives the peer's answers until the manifest has come.
fn describe(rig: &mut Rig, manifest: (Manifest, u64)) {
    describe_with(rig, manifest, 0);
}

/// The same; `pending` files are not in the manifest yet.
pub(super) fn describe_with(rig: &mut Rig, (manifest, size): (Manifest, u64), pending: u64) {
    let (exchange, _, message) = rig.dial();
    assert_eq!(message, Message::MetadataRequest { name: name("x/d/") });
    rig.succeed(exchange, Response::FileInfo { b3: manifest.b3, size, pending });
    let expects = rig.orders.iter().find_map(|order| match order {
        Action::Dial { expect, .. } => Some(*expect),
        _ => None,
    });
    assert_eq!(expects, Some(Expect::Manifest { b3: manifest.b3, size }));
    let (exchange, _, message) = rig.dial();
    assert_eq!(message, Message::RangeRequest { offset: 0, length: size, name: name("x/d/") });
    rig.succeed(exchange, Response::Manifest(Box::new(manifest)));
}

fn made(rig: &mut Rig) -> Vec<String> {
    let made = rig.take(|order| match order {
        Action::MakeDirectories { paths, .. } => Some(paths.clone()),
        _ => None,
    });
    made.into_iter().flatten().map(|path| path.to_string()).collect()
}

fn answer_made(rig: &mut Rig, outcome: DiskOutcome<Vec<FileName>>) {
    rig.handle(Event::DirectoriesMade { download: TransferId(1), outcome });
}

pub(super) fn all_there(rig: &mut Rig) {
    for (download, target) in opened(rig) {
        rig.handle(Event::PartOpened { download, outcome: Ok(OpenedPart::AlreadyThere { path: target.path() }) });
    }
}

fn executable(rig: &Rig) -> Vec<(String, bool)> {
    let records = rig.orders.iter().filter_map(|order| match order {
        Action::RememberDownload { record, .. } => Some(record),
        _ => None,
    });
    let members = records.filter_map(|record| match &record.spec.target {
        Target::Within { path, executable, .. } if record.kind != RecordKind::File => {
            Some((path.to_string(), *executable))
        }
        _ => None,
    });
    let mut members: Vec<_> = members.collect();
    members.sort();
    members.dedup();
    members
}

#[test]
fn the_manifest_says_what_is_fetched_and_made() {
    let mut rig = asked(true);
    describe(&mut rig, tree());
    assert_eq!(executable(&rig), [("d", false), ("d/a", false), ("d/run", true)].map(|(path, x)| (path.into(), x)));
    assert_eq!(made(&mut rig), ["d/e/f"]);
    let begun = row(&mut rig, 1);
    let part = begun.directory.clone().unwrap();
    assert_eq!((begun.size, part.files, part.manifest), (Some(11), 2, Some(tree().0.b3.to_string())));
    all_there(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Active, "a directory is not made yet");
    answer_made(&mut rig, Ok(vec![]));
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.bytes_done, done.size), (DownloadState::Done, 11, Some(11)));
    assert!(done.directory.unwrap().manifest.is_some() && done.verified);
}

#[test]
fn a_peer_of_unknown_version_is_asked_what_it_speaks() {
    let mut rig = asked(false);
    let (exchange, _, message) = rig.dial();
    assert!(matches!(message, Message::FirstContact { .. }), "{message:?}");
    rig.succeed(exchange, Response::SpeaksP1);
    describe(&mut rig, tree());
    answer_made(&mut rig, Ok(vec![]));
    all_there(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
    let mut rig = asked(false);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::Delivered);
    assert_eq!(rig.dial().2, Message::ListFiles { p1: true }, "code 9 goes to nobody who has not shown part 2");
}

#[test]
fn each_directory_that_is_ordered_while_a_peer_is_first_asked_has_its_manifest() {
    let mut rig = asked(false);
    download(&mut rig, vec![file(peer(1), "x/other/")]);
    let contacts = rig.dials();
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    for (exchange, _, messages) in contacts {
        assert!(matches!(messages[..], [Message::FirstContact { .. }]), "{messages:?}");
        rig.succeed(exchange, Response::SpeaksP1);
    }
    let asked_for: Vec<_> = rig.dials().into_iter().flat_map(|(_, _, messages)| messages).collect();
    assert_eq!(asked_for, ["x/d/", "x/other/"].map(|of| Message::MetadataRequest { name: name(of) }));
    // A peer that has not answered is not asked again.
    let mut rig = asked(false);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::Delivered);
    rig.dials();
    download(&mut rig, vec![file(peer(1), "x/other/")]);
    assert_eq!(rig.dial().2, Message::ListFiles { p1: true });
}

#[test]
fn a_peer_that_has_no_manifest_is_asked_for_its_list() {
    let faults = [
        DialFault::Declined(RefusalReason::NoSuchFile),
        DialFault::Declined(RefusalReason::NotHashed),
        DialFault::Declined(RefusalReason::TooLarge),
        DialFault::Reset,
        DialFault::Malformed,
    ];
    for fault in faults {
        let mut rig = asked(true);
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, fault);
        assert_eq!(rig.dial().2, Message::ListFiles { p1: true }, "{fault}");
    }
    // The bytes are others than the hash says, or more than a manifest may have.
    let mut rig = asked(true);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::FileInfo { b3: B3, size: 100, pending: 0 });
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Corrupt);
    assert_eq!(rig.dial().2, Message::ListFiles { p1: true });
    let mut rig = asked(true);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::FileInfo { b3: B3, size: u64::MAX, pending: 0 });
    assert_eq!(rig.dial().2, Message::ListFiles { p1: true });
    let mut rig = asked(true);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    rig.pass(Duration::from_secs(15));
    describe(&mut rig, tree());
}

#[test]
fn an_empty_directory_is_made_itself() {
    let mut rig = asked(true);
    describe(&mut rig, manifest(&[]));
    assert_eq!(made(&mut rig), ["d"]);
    answer_made(&mut rig, Ok(vec![]));
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.already, done.bytes_done), (DownloadState::Done, false, 0));
}

#[test]
fn what_is_in_the_way_of_a_directory_is_told_and_a_full_disk_is_waited_for() {
    let mut rig = asked(true);
    describe(&mut rig, tree());
    all_there(&mut rig);
    answer_made(&mut rig, Err(DiskFault::Full));
    let waits = row(&mut rig, 1);
    assert_eq!((waits.state, waits.error.unwrap().code), (DownloadState::Retrying, ExitCode::DiskFull as i32));
    rig.orders.clear();
    order(&mut rig, Request::Retry { ids: "1".into() });
    describe(&mut rig, tree());
    assert_eq!(made(&mut rig), ["d/e/f"]);
    answer_made(&mut rig, Ok(vec![name("d/e/f")]));
    let failed = row(&mut rig, 1);
    assert_eq!(failed.state, DownloadState::Failed);
    assert_eq!(failed.directory.unwrap().missing[0].name.as_bytes(), b"d/e/f");
}

#[test]
fn an_answer_for_an_order_before_a_pause_counts_for_no_later_one() {
    let mut rig = asked(true);
    describe(&mut rig, tree());
    assert_eq!(made(&mut rig), ["d/e/f"]);
    order(&mut rig, Request::Pause { ids: "1".into() });
    order(&mut rig, Request::Resume { ids: "1".into() });
    describe(&mut rig, tree());
    assert_eq!(made(&mut rig), ["d/e/f"]);
    all_there(&mut rig);
    answer_made(&mut rig, Ok(vec![]));
    assert_ne!(state(&mut rig, 1), DownloadState::Done, "the second order is not answered");
    answer_made(&mut rig, Ok(vec![]));
    all_there(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
}

#[test]
fn many_directories_are_made_in_turn() {
    let names: Vec<String> = (0..150).map(|n| format!("{n:03}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), EntryKind::EmptyDirectory)).collect();
    let mut rig = asked(true);
    describe(&mut rig, manifest(&entries));
    let mut all = Vec::new();
    for _ in 0..3 {
        let some = made(&mut rig);
        assert!(some.len() <= crate::node::limits::DIRECTORIES_MADE_AT_ONCE);
        all.extend(some);
        answer_made(&mut rig, Ok(vec![]));
    }
    all.sort();
    assert_eq!((all.len(), state(&mut rig, 1)), (150, DownloadState::Done));
}

#[test]
fn a_peer_that_has_shown_part_2_is_not_asked_again_what_it_speaks() {
    let mut rig = asked(false);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::SpeaksP1);
    describe(&mut rig, tree());
    rig.orders.clear();
    download(&mut rig, vec![file(peer(1), "x/other/")]);
    assert_eq!(rig.dial().2, Message::MetadataRequest { name: name("x/other/") });
}

#[test]
fn directories_that_are_described_again_are_made_once() {
    let names: Vec<String> = (0..150).map(|n| format!("{n:03}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), EntryKind::EmptyDirectory)).collect();
    let mut rig = asked(true);
    describe(&mut rig, manifest(&entries));
    made(&mut rig);
    answer_made(&mut rig, Err(DiskFault::Full));
    rig.orders.clear();
    order(&mut rig, Request::Retry { ids: "1".into() });
    describe(&mut rig, manifest(&entries));
    let mut all = Vec::new();
    while state(&mut rig, 1) == DownloadState::Active {
        all.extend(made(&mut rig));
        answer_made(&mut rig, Ok(vec![]));
    }
    assert_eq!((all.len(), state(&mut rig, 1)), (150, DownloadState::Done));
}

#[test]
fn a_manifest_that_is_not_what_will_be_there_is_not_named() {
    let before = [("a", entry(5, false)), ("b", entry(6, false)), ("e", EntryKind::EmptyDirectory)];
    let changed = [("a", entry(7, false)), before[1], before[2]];
    let grown = [before[0], before[1], ("c", entry(8, false)), before[2]];
    for (later, is_named) in [(&before[..], true), (&grown, true), (&changed, false), (&before[1..], false)] {
        let mut rig = asked(true);
        describe(&mut rig, manifest(&before));
        answer_made(&mut rig, Err(DiskFault::Full));
        rig.orders.clear();
        order(&mut rig, Request::Retry { ids: "1".into() });
        let later = manifest(later);
        describe(&mut rig, later.clone());
        let named = row(&mut rig, 1).directory.unwrap().manifest;
        assert_eq!(named, is_named.then(|| later.0.b3.to_string()));
    }
}

#[test]
fn a_list_that_comes_instead_of_the_manifest_of_before_is_what_is_done() {
    let before = [("a", entry(5, false)), ("b", entry(6, false)), ("e", EntryKind::EmptyDirectory)];
    let of_list = |text: &str, size: u64| of_content(text, size, ContentHash([size as u8; 32]));
    let mut rig = asked(true);
    describe(&mut rig, manifest(&before));
    all_there(&mut rig);
    answer_made(&mut rig, Err(DiskFault::Full));
    rig.orders.clear();
    order(&mut rig, Request::Retry { ids: "1".into() });
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Declined(RefusalReason::TooLarge));
    let (exchange, ..) = rig.dial();
    rig.handle(Event::ListBatch { exchange, files: vec![of_list("x/d/a", 5), of_list("x/d/b", 6)] });
    rig.succeed(exchange, Response::FileList { truncated: false });
    let done = row(&mut rig, 1);
    let part = done.directory.unwrap();
    assert_eq!((done.state, part.files_done, part.manifest), (DownloadState::Done, 2, None), "e is not made");
}

#[test]
fn what_has_too_long_a_name_with_that_of_the_directory_is_told() {
    let long = [vec!["y".repeat(255); 14].join("/"), "z".repeat(214)].join("/");
    for kind in [entry(5, false), EntryKind::EmptyDirectory] {
        let mut rig = asked(true);
        describe(&mut rig, manifest(&[("a", entry(5, false)), (&long, kind)]));
        all_there(&mut rig);
        let failed = row(&mut rig, 1);
        assert_eq!(failed.state, DownloadState::Failed);
        assert_eq!(failed.directory.unwrap().missing[0].name.as_bytes(), long.as_bytes());
    }
}

//! A directory is one download.

use super::*;
use crate::control::{ExitCode, Notice};
use crate::fault::RefusalReason;
use crate::id::ExchangeId;
use crate::node::Node;
use crate::node::contract::{RecordKind, RecordState};
use std::collections::BTreeMap;

/// Asks for a directory, whose peer has this list.
fn with_list(files: Vec<Listed>) -> Rig {
    let mut rig = asked();
    list(&mut rig, files);
    rig
}

fn asked() -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    rig.orders.clear();
    let reply = download(&mut rig, vec![file(peer(1), "x/d/")]);
    assert_eq!(reply.ids, [1]);
    rig
}

/// The one request for a list. A manifest is refused, as by earlier versions.
fn asked_for_list(rig: &mut Rig) -> ExchangeId {
    loop {
        let (exchange, to, message) = rig.dial();
        assert_eq!(to, peer(1));
        match message {
            Message::ListFiles { p1: true } => return exchange,
            Message::FirstContact { .. } => rig.succeed(exchange, Response::Delivered),
            Message::MetadataRequest { name } if name.as_bytes() == b"x/d/" => {
                rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Answers the one request for a list.
fn list(rig: &mut Rig, files: Vec<Listed>) {
    let exchange = asked_for_list(rig);
    rig.handle(Event::ListBatch { exchange, files });
    rig.succeed(exchange, Response::FileList { truncated: false });
}

fn hashed(text: &str) -> Listed {
    of_content(text, 5, ContentHash([text.len() as u8; 32]))
}

fn three() -> Vec<Listed> {
    ["a", "x/d/a", "x/d/bb/ccc", "x/d/dddddd"].map(hashed).into()
}

/// The files that are opened turn out to be there already.
fn find_there(rig: &mut Rig) -> usize {
    let opened = opened(rig);
    for (download, target) in &opened {
        let Target::Within { directory, path, .. } = target else { panic!("{target:?}") };
        let path = directory.join(path.to_string());
        rig.handle(Event::PartOpened { download: *download, outcome: Ok(OpenedPart::AlreadyThere { path }) });
    }
    opened.len()
}

fn members(rig: &mut Rig) -> Vec<DownloadRow> {
    match rig.call(Request::DirectoryFiles { id: 1, after: 0 }) {
        Ok(Reply::Downloads(reply)) => reply.downloads,
        other => panic!("{other:?}"),
    }
}

fn counts(row: &DownloadRow) -> (u64, u64, u64) {
    row.directory.as_ref().map(|part| (part.files, part.files_done, part.files_missing)).unwrap()
}

fn states_told(rig: &mut Rig) -> Vec<(u32, DownloadState)> {
    let told = rig.notices().into_iter().filter_map(|notice| match notice {
        Notice::Download { download } => Some((download.id, download.state)),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.dedup();
    told
}

/// The records as they are on the disk after all that was ordered.
pub(super) fn on_disk(rig: &mut Rig, records: &mut BTreeMap<TransferId, DownloadRecord>) {
    for order in rig.orders.drain(..) {
        match order {
            Action::RememberDownload { record, .. } => drop(records.insert(record.id, *record)),
            Action::ForgetDownload { download } => drop(records.remove(&download)),
            _ => {}
        }
    }
}

/// The daemon was killed, and starts again.
pub(super) fn restart(rig: Rig, records: &BTreeMap<TransferId, DownloadRecord>) -> Rig {
    let mut again = Rig::among(vec![peer(1)], &[]);
    let last = records.keys().map(|id| id.0).max().unwrap_or(0);
    let remembered = Remembered {
        peers: remembered_peers(vec![peer(1)]),
        downloads: records.values().cloned().collect(),
        download_last: last,
        ..Remembered::default()
    };
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    again.node = Node::new(rig.now, config, [5; 32], remembered);
    again.now = rig.now;
    again.orders.clear();
    again.handle(Event::ClientGone { client: crate::id::ClientId(99) });
    again
}

#[test]
fn a_directory_is_one_row_one_progress_and_one_end() {
    let mut rig = with_list(three());
    let now = row(&mut rig, 1);
    assert_eq!((now.name.as_bytes(), now.size, counts(&now)), (&b"x/d/"[..], Some(15), (3, 0, 0)));
    assert_eq!((now.state, now.path.unwrap().as_bytes()), (DownloadState::Active, &b"/downloads/d"[..]));
    let files = members(&mut rig);
    assert!(files.iter().all(|file| file.part_of == Some(1)));
    let Ok(Reply::Downloads(all)) = rig.call(Request::Downloads { after: 0 }) else { panic!("rows") };
    assert_eq!(all.downloads.len(), 1, "files of directories are no rows of their own");
    let member = files[0].id;
    let told = format!("{member} is a file of download 1, which is that of a directory");
    let ids = || member.to_string();
    for order in [Request::Pause { ids: ids() }, Request::Cancel { ids: ids() }, Request::Follow { ids: ids() }] {
        let error = rig.call(order).unwrap_err();
        assert!(error.code == ExitCode::NotFound as i32 && error.message.starts_with(&told), "{error}");
    }

    let mut paths: Vec<_> = opened(&mut rig).into_iter().map(|(_, target)| target.path()).collect();
    paths.sort();
    assert_eq!(paths, ["a", "bb/ccc", "dddddd"].map(|path| PathBuf::from(format!("/downloads/d/{path}"))));
    assert_eq!(states_told(&mut rig).last(), Some(&(1, DownloadState::Active)));
    for file in files {
        let path = "/downloads/d/it".into();
        let outcome = Ok(OpenedPart::AlreadyThere { path });
        rig.handle(Event::PartOpened { download: TransferId(file.id), outcome });
    }
    let told = states_told(&mut rig);
    assert_eq!(told.iter().filter(|(_, state)| *state == DownloadState::Done).count(), 1, "{told:?}");
    assert!(told.iter().all(|(id, _)| *id == 1), "{told:?}");
    let done = row(&mut rig, 1);
    assert_eq!((done.bytes_done, done.size, counts(&done)), (15, Some(15), (3, 3, 0)));
    assert!(done.verified && done.already);
    assert_eq!(members(&mut rig), []);
    let forgotten = forgotten(&mut rig);
    assert_eq!(forgotten, [1, 2, 3, 4].map(TransferId), "the directory is forgotten before its files");
}

#[test]
fn the_answer_waits_for_the_record_and_the_list_for_the_answer() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.remembers = false;
    let what = vec![file(peer(1), "x/d/")];
    let call = crate::control::CallId::Number(9);
    rig.handle(Event::Call { client: CLIENT, call, request: Request::Download { what, output: None } });
    let revisions = rig.take(|order| match order {
        Action::RememberDownload { record, revision } => Some((record.kind, *revision)),
        _ => None,
    });
    let [(RecordKind::Directory { files: None, is_given: false, pending: 0 }, revision)] = revisions[..] else {
        panic!("{revisions:?}")
    };
    assert!(rig.orders.is_empty(), "{:?}", rig.orders);
    rig.handle(Event::Recorded { download: TransferId(1), revision, outcome: Ok(()) });
    assert!(matches!(rig.orders.first(), Some(Action::Reply { .. })), "{:?}", rig.orders);
    rig.orders.remove(0);
    rig.dial();
}

#[test]
fn one_that_cannot_be_remembered_is_refused() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.remembers = false;
    let what = vec![file(peer(1), "x/d/")];
    let call = crate::control::CallId::Number(9);
    rig.handle(Event::Call { client: CLIENT, call, request: Request::Download { what, output: None } });
    rig.handle(Event::Recorded { download: TransferId(1), revision: 1, outcome: Err(DiskFault::Full) });
    let refused = rig.take(|order| match order {
        Action::Reply { outcome: Err(error), .. } => Some(error.code),
        _ => None,
    });
    assert_eq!(refused, [ExitCode::DiskFull as i32]);
    rig.remembers = true;
    assert_eq!(order(&mut rig, Request::Downloads { after: 0 }).downloads, []);
}

#[test]
fn asking_again_follows_it() {
    let mut rig = with_list(three());
    for name in ["x/d/", "x/d//"] {
        assert_eq!(download(&mut rig, vec![file(peer(1), name)]).ids, [1]);
    }
    let one = download(&mut rig, vec![file(peer(1), "x/d/a")]);
    assert_ne!(one.ids, [1], "a file alone is a download of its own, with a place of its own");
    assert_eq!(one.downloads[0].part_of, None);
}

#[test]
fn what_the_peer_does_not_have_fails() {
    for listed in [vec![], vec![hashed("a"), hashed("x/dd"), hashed("x/d")]] {
        let mut rig = with_list(listed);
        let failed = row(&mut rig, 1);
        assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, 3));
    }
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for name in ["/", "//"] {
        let what = vec![file(peer(1), name)];
        let refused = rig.call(Request::Download { what, output: None });
        assert_eq!(refused.unwrap_err().code, ExitCode::Usage as i32);
    }
}

#[test]
fn a_peer_out_of_reach_is_asked_again() {
    let mut rig = asked();
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    let waits = row(&mut rig, 1);
    assert_eq!((waits.state, waits.error.unwrap().code), (DownloadState::Retrying, ExitCode::Network as i32));
    assert!(waits.retry_in_s.is_some());
    rig.pass(Duration::from_secs(15));
    list(&mut rig, three());
    assert_eq!(counts(&row(&mut rig, 1)).0, 3);
}

#[test]
fn a_list_with_too_many_files_is_broken_off() {
    let mut rig = asked();
    let exchange = asked_for_list(&mut rig);
    for batch in 0..=10 {
        let files = (0..1_000).map(|n| listed(&format!("x/d/{batch}/{n}"), Some(1))).collect();
        rig.handle(Event::ListBatch { exchange, files });
    }
    assert!(aborted(&mut rig).contains(&exchange));
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, ExitCode::Other as i32));
}

#[test]
fn names_that_lead_elsewhere_are_left_out_and_told() {
    let names = ["x/d/a", "x/d/../../etc/passwd", "x/d/a/b"];
    let mut rig = with_list(names.map(hashed).into());
    let recorded = remembered(&mut rig).into_iter().rfind(|record| record.id == TransferId(1)).unwrap();
    assert_eq!(
        recorded.kind,
        RecordKind::Directory { files: None, is_given: false, pending: 0 },
        "a restart asks for the list again"
    );
    assert_eq!(find_there(&mut rig), 1);
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.error.as_ref().unwrap().code), (DownloadState::Failed, ExitCode::FileIo as i32));
    assert_eq!(counts(&failed), (3, 1, 2));
    let missing: Vec<_> = failed.directory.unwrap().missing.iter().map(|file| file.name.as_bytes().to_vec()).collect();
    assert_eq!(missing, [names[1].as_bytes(), names[2].as_bytes()]);
}

#[test]
fn the_row_of_a_directory_with_many_long_names_stays_small() {
    let names = (0..100).map(|n| format!("x/d//{n}{}", "a".repeat(3_000)));
    let mut rig = with_list(names.map(|name| hashed(&name)).chain([hashed("x/d/a")]).collect());
    let told = row(&mut rig, 1);
    assert_eq!(counts(&told), (101, 0, 100));
    let shown: usize = told.directory.unwrap().missing.iter().map(|file| file.name.as_bytes().len()).sum();
    assert!(shown > 3_000 && shown <= 16 << 10, "{shown}");
}

#[test]
fn orders_are_for_all_of_it() {
    let mut rig = with_list(three());
    let paused = order(&mut rig, Request::Pause { ids: "all".into() });
    assert_eq!((paused.ids, paused.downloads[0].state), (vec![1], DownloadState::Paused));
    assert!(members(&mut rig).iter().all(|file| file.state == DownloadState::Paused));
    find_there(&mut rig);
    let resumed = order(&mut rig, Request::Resume { ids: "1".into() });
    assert_ne!(resumed.downloads[0].state, DownloadState::Paused);
    let cancelled = order(&mut rig, Request::Cancel { ids: "1".into() });
    assert_eq!(cancelled.downloads[0].state, DownloadState::Cancelled);
    // The answers to what was ordered of the part files.
    find_there(&mut rig);
    let ids: Vec<_> = [1, 2, 3, 4].map(TransferId).into();
    let mut records =
        BTreeMap::from_iter(ids.iter().map(|id| (*id, super::recalling::record(id.0, None, RecordState::Waiting))));
    on_disk(&mut rig, &mut records);
    assert!(records.is_empty(), "{records:?}");
    assert_eq!(members(&mut rig), []);
    rig.handle(Event::Recorded { download: TransferId(1), revision: 0, outcome: Ok(()) });
    assert_eq!(forgotten(&mut rig), [], "that the record is gone orders nothing more");
}

#[test]
fn a_kill_forgets_neither_what_is_there_nor_what_is_not() {
    let mut records = BTreeMap::new();
    let mut rig = asked();
    on_disk(&mut rig, &mut records);
    // Before the list has come.
    let mut rig = restart(rig, &records);
    list(&mut rig, three());
    on_disk(&mut rig, &mut records);
    assert_eq!(records.len(), 4);
    // All are members, and the first is there.
    let mut rig = restart(rig, &records);
    assert_eq!(rig.dials().len(), 0, "the list is known");
    let first = opened(&mut rig).remove(0).0;
    rig.handle(Event::PartOpened { download: first, outcome: Ok(OpenedPart::AlreadyThere { path: "/".into() }) });
    on_disk(&mut rig, &mut records);
    assert!(matches!(records[&first].state, RecordState::Done { verified: true }), "{:?}", records[&first]);
    let mut rig = restart(rig, &records);
    assert_eq!(counts(&row(&mut rig, 1)), (3, 1, 0));
    assert_eq!(row(&mut rig, 1).bytes_done, 5);
    assert_eq!(find_there(&mut rig), 2);
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
    on_disk(&mut rig, &mut records);
    assert!(records.is_empty(), "{records:?}");
}

#[test]
fn a_kill_while_members_are_added_has_the_list_asked_for_again() {
    let mut records = BTreeMap::new();
    let mut rig = with_list(three());
    on_disk(&mut rig, &mut records);
    records.remove(&TransferId(4));
    for files in [None, Some(3)] {
        let of_directory = RecordKind::Directory { files, is_given: false, pending: 0 };
        let mut records = records.clone();
        records.entry(TransferId(1)).and_modify(|record| record.kind = of_directory);
        let mut rig = restart(with_list(three()), &records);
        list(&mut rig, three());
        let names: Vec<_> = members(&mut rig).iter().map(|file| file.name.as_bytes().to_vec()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        while find_there(&mut rig) > 0 {}
        assert_eq!(state(&mut rig, 1), DownloadState::Done);
    }
}

#[test]
fn what_was_ordered_of_a_directory_holds_for_its_files_after_a_kill() {
    let mut records = BTreeMap::new();
    let mut rig = with_list(three());
    on_disk(&mut rig, &mut records);
    let mut of_directory = records.clone();
    // Killed when the order was on the disk, and nothing of its files was.
    of_directory.entry(TransferId(1)).and_modify(|record| record.state = RecordState::Paused);
    let mut paused = restart(with_list(three()), &of_directory);
    assert_eq!(opened(&mut paused), []);
    assert_eq!(state(&mut paused, 1), DownloadState::Paused);
    let resumed = order(&mut paused, Request::Resume { ids: "1".into() });
    assert_eq!(resumed.downloads[0].state, DownloadState::Active);
    while find_there(&mut paused) > 0 {}
    assert_eq!(state(&mut paused, 1), DownloadState::Done);

    of_directory.entry(TransferId(1)).and_modify(|record| record.state = RecordState::Dropped);
    let mut cancelled = restart(with_list(three()), &of_directory);
    assert_eq!(opened(&mut cancelled), []);
    on_disk(&mut cancelled, &mut of_directory);
    assert!(of_directory.is_empty(), "{of_directory:?}");
}

#[test]
fn files_that_are_refused_are_asked_for_again() {
    let mut rig = with_list(vec![listed("x/d/a", None), hashed("x/d/b")]);
    let [(first, _), (second, _)] = opened(&mut rig)[..] else { panic!("two files") };
    rig.handle(Event::PartOpened { download: second, outcome: Ok(OpenedPart::AlreadyThere { path: "/".into() }) });
    rig.handle(Event::PartOpened { download: first, outcome: ready("/downloads/d/a") });
    for _ in 0..8 {
        let asked = metadata(&mut rig);
        asked.into_iter().for_each(|(exchange, ..)| rig.fail(exchange, DialFault::Reset));
        identifying(&mut rig).into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::Reset));
        fetches(&mut rig).into_iter().for_each(|fetch| rig.fail(fetch.exchange, DialFault::Reset));
        wait_for_the_search(&mut rig);
    }
    let waits = row(&mut rig, 1);
    assert_eq!((waits.state, counts(&waits)), (DownloadState::Retrying, (2, 1, 1)));
    assert_eq!(waits.error.unwrap().code, ExitCode::NotFound as i32);
    let missing = waits.directory.unwrap().missing;
    assert_eq!((missing.len(), missing[0].name.as_bytes()), (1, &b"x/d/a"[..]));
    rig.orders.clear();
    rig.pass(Duration::from_secs(100));
    let exchange = asked_for_list(&mut rig);
    rig.succeed(exchange, Response::FileList { truncated: true });
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "a list that was cut ends no directory that has files");
    rig.orders.clear();
    // The peer has it again, and one more.
    rig.pass(Duration::from_secs(300));
    list(&mut rig, vec![listed("x/d/a", None), hashed("x/d/b"), hashed("x/d/c")]);
    let found = find_there(&mut rig);
    assert_eq!(found, 2);
    assert_eq!((state(&mut rig, 1), counts(&row(&mut rig, 1))), (DownloadState::Done, (3, 3, 0)));
}

#[test]
fn a_file_in_the_way_fails_it_when_all_others_are_there() {
    let mut rig = with_list(three());
    let [(first, _), ..] = opened(&mut rig)[..] else { panic!("files") };
    rig.handle(Event::PartOpened { download: first, outcome: Err(DiskFault::Exists) });
    assert_eq!(counts(&row(&mut rig, 1)), (3, 0, 1));
    for file in members(&mut rig).into_iter().filter(|file| file.id != first.0) {
        let outcome = Ok(OpenedPart::AlreadyThere { path: "/".into() });
        rig.handle(Event::PartOpened { download: TransferId(file.id), outcome });
    }
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, ExitCode::Exists as i32));
    order(&mut rig, Request::Retry { ids: "1".into() });
    list(&mut rig, three());
    assert_eq!(find_there(&mut rig), 1);
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
}

#[test]
fn a_bad_place_fails_it_before_the_peer_is_asked() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let what = vec![file(peer(1), "x/d/")];
    let output = Some(RawText::new(&b"/tmp/out"[..]));
    let begun = order(&mut rig, Request::Download { what, output });
    assert_eq!(begun.downloads[0].path, None);
    let probed = rig.take(|order| match order {
        Action::ProbeTarget { spec, .. } => Some(spec.target.path()),
        _ => None,
    });
    assert_eq!(probed, [PathBuf::from("/tmp/out/d")]);
    assert_eq!(rig.dials().len(), 0);
    rig.handle(Event::TargetProbed { download: TransferId(1), outcome: Err(DiskFault::NotDirectory) });
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, ExitCode::FileIo as i32));
    order(&mut rig, Request::Retry { ids: "1".into() });
    rig.handle(Event::TargetProbed { download: TransferId(1), outcome: Ok("/tmp/out/d".into()) });
    list(&mut rig, three());
    assert_eq!(row(&mut rig, 1).path.unwrap().as_bytes(), b"/tmp/out/d");
}

#[test]
fn a_directory_of_which_nothing_is_known_is_not_verified_when_it_is_cancelled() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    download(&mut rig, vec![file(peer(1), "x/")]);
    let cancelled = order(&mut rig, Request::Cancel { ids: "1".into() });
    assert_eq!((cancelled.downloads[0].state, cancelled.downloads[0].verified), (DownloadState::Cancelled, false));
}

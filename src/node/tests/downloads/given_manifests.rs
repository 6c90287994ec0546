//! Directories by a manifest that the user has given, without a peer.

use super::recalling::restarted;
use super::*;
use crate::content::{EntryKind, Manifest, ManifestText, ManifestWriter};
use crate::control::{ExitCode, SourceState};
use crate::fault::RefusalReason;
use crate::node::contract::{ManifestOrder, PartSpec, RecordKind, RecordState};
use std::collections::BTreeSet;

/// One of files of these sizes, named after them; each has a hash of its own.
pub(super) fn manifest(sizes: &[u64]) -> ManifestText {
    let mut names: Vec<(String, u64)> = sizes.iter().map(|size| (format!("in/{size}"), *size)).collect();
    names.sort();
    let mut writer = ManifestWriter::default();
    for (path, size) in names {
        let kind = EntryKind::File { size, b3: content(size), executable: false };
        writer.push(path.as_bytes(), kind).unwrap();
    }
    ManifestText::check(writer.finish().text.to_vec()).unwrap()
}

pub(super) fn content(size: u64) -> ContentHash {
    ContentHash(*blake3::hash(&size.to_le_bytes()).as_bytes())
}

pub(super) fn give(rig: &mut Rig, manifest: &ManifestText) -> Selector {
    for (number, part) in manifest.text.chunks(100).enumerate() {
        let request = Request::GiveManifest { after: number as u64 * 100, text: RawText::new(part) };
        assert_eq!(rig.call(request), Ok(Reply::Done {}));
    }
    Selector::Manifest { b3: manifest.b3.to_string(), name: RawText::new("d") }
}

pub(super) fn order_directory(rig: &mut Rig, manifest: &ManifestText) {
    let what = vec![give(rig, manifest)];
    rig.begin_call(Request::Download { what, output: None });
}

pub(super) fn kept(rig: &mut Rig) -> Vec<(TransferId, Vec<u8>)> {
    rig.take(|order| match order {
        Action::Manifest { order: ManifestOrder::Keep { download, text }, .. } => Some((*download, text.clone())),
        _ => None,
    })
}

pub(super) fn read(rig: &mut Rig) -> Vec<(TransferId, ContentHash)> {
    rig.take(|order| match order {
        Action::Manifest { b3, order: ManifestOrder::Read { download } } => Some((*download, *b3)),
        _ => None,
    })
}

pub(super) fn manifests_dropped(rig: &mut Rig) -> Vec<ContentHash> {
    rig.take(|order| match order {
        Action::Manifest { b3, order: ManifestOrder::Drop } => Some(*b3),
        _ => None,
    })
}

pub(super) fn answers(rig: &mut Rig) -> Vec<Result<DownloadsReply, i32>> {
    rig.take(|order| match order {
        Action::Reply { outcome: Ok(Reply::Downloads(reply)), .. } => Some(Ok(reply.clone())),
        Action::Reply { outcome: Err(error), .. } => Some(Err(error.code)),
        _ => None,
    })
}

/// The directory is ordered as download 1, and its files are members.
pub(super) fn begun_by(manifest: &ManifestText, peers: &[u8]) -> Rig {
    let mut rig = Rig::among(peers.iter().map(|n| peer(*n)).collect(), &[]);
    peers.iter().for_each(|n| hear_of(&mut rig, *n));
    rig.orders.clear();
    begin_by(&mut rig, manifest);
    take_up(&mut rig, manifest);
    rig
}

/// The directory is ordered as download 1, and its manifest is kept.
pub(super) fn begin_by(rig: &mut Rig, manifest: &ManifestText) {
    order_directory(rig, manifest);
    assert_eq!(kept(rig), [(TransferId(1), manifest.text.clone())]);
    rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Ok(()) });
    assert_eq!(answers(rig).len(), 1);
}

/// The manifest is read from where it was kept.
pub(super) fn take_up(rig: &mut Rig, manifest: &ManifestText) {
    assert_eq!(read(rig), [(TransferId(1), manifest.b3)]);
    let outcome = Ok(Box::new(Manifest::parse(&manifest.text).unwrap()));
    rig.handle(Event::ManifestRead { download: TransferId(1), outcome });
    rig.pass(Duration::from_millis(10));
}

/// The searches ordered: each with its text.
pub(super) fn searches(rig: &mut Rig) -> Vec<(QueryId, String)> {
    let mut found = Vec::new();
    for (exchange, _, messages) in rig.dials() {
        for message in messages {
            let Message::Search(search) = message else { panic!("{message:?}") };
            found.push((search.id, String::from_utf8_lossy(&search.text).into_owned()));
        }
        rig.deliver(exchange);
    }
    found
}

/// The rows of the files of directory 1.
pub(super) fn files(rig: &mut Rig) -> Vec<DownloadRow> {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::DirectoryFiles { id: 1, after: 0 }) else { panic!("files") };
    reply.downloads
}

pub(super) fn search_for(size: u64) -> String {
    format!("b3={}", content(size))
}

#[test]
fn a_manifest_is_on_the_disk_before_its_order_is_answered() {
    let (mut rig, manifest) = (Rig::among(vec![peer(1)], &[]), manifest(&[5, 6]));
    order_directory(&mut rig, &manifest);
    assert!(remembered(&mut rig).is_empty() && answers(&mut rig).is_empty());
    assert_eq!(kept(&mut rig).len(), 1);
    rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Ok(()) });
    let record = remembered(&mut rig).remove(0);
    assert_eq!(
        (record.kind, record.b3, record.sources.len()),
        (RecordKind::Directory { files: None, is_given: true, pending: 0 }, Some(manifest.b3), 0)
    );
    let begun = answers(&mut rig).remove(0).unwrap().downloads.remove(0);
    let part = begun.directory.unwrap();
    assert_eq!((part.files, begun.size, part.manifest), (2, Some(11), Some(manifest.b3.to_string())));
    assert_eq!((begun.name, begun.path), (RawText::new("d/"), Some(RawText::new("/downloads/d"))));
    take_up(&mut rig, &manifest);
    let found: Vec<String> = searches(&mut rig).into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, [search_for(5), search_for(6)]);
    let row = row(&mut rig, 1);
    assert_eq!(row.state, DownloadState::Retrying);
    assert!(row.error.unwrap().message.contains("asked 1 neighbour"));
    let missing: Vec<RawText> = row.directory.unwrap().missing.into_iter().map(|row| row.name).collect();
    assert_eq!(missing, [RawText::new("d/in/5"), RawText::new("d/in/6")]);
    // The same again is the same download.
    order_directory(&mut rig, &manifest);
    assert_eq!(answers(&mut rig).remove(0).unwrap().downloads[0].id, 1);
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert!(manifests_dropped(&mut rig).contains(&manifest.b3));
}

#[test]
fn a_manifest_that_cannot_be_kept_begins_nothing() {
    let (mut rig, manifest) = (Rig::among(vec![peer(1)], &[]), manifest(&[5]));
    order_directory(&mut rig, &manifest);
    rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Err(DiskFault::Full) });
    assert_eq!(answers(&mut rig), [Err(ExitCode::DiskFull as i32)]);
    assert_eq!(manifests_dropped(&mut rig), [manifest.b3]);
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
    assert!(reply.downloads.is_empty());
    // It was given for one order.
    let what = vec![Selector::Manifest { b3: manifest.b3.to_string(), name: RawText::new("d") }];
    let error = rig.call(Request::Download { what, output: None }).unwrap_err();
    assert!(error.message.contains("has given no such manifest"), "{error}");
}

#[test]
fn no_record_is_written_while_a_manifest_is() {
    let ids = || "1".to_owned();
    for (request, expected) in
        [(Request::Pause { ids: ids() }, RecordState::Paused), (Request::Cancel { ids: ids() }, RecordState::Dropped)]
    {
        let (mut rig, manifest) = (Rig::among(vec![peer(1)], &[]), manifest(&[5]));
        order_directory(&mut rig, &manifest);
        rig.begin_call(request.clone());
        assert!(remembered(&mut rig).is_empty() && answers(&mut rig).is_empty(), "{request:?}");
        rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Ok(()) });
        let states: Vec<RecordState> = remembered(&mut rig).into_iter().map(|record| record.state).collect();
        assert_eq!((states, answers(&mut rig).len()), (vec![expected], 2));
        let is_dropped = !manifests_dropped(&mut rig).is_empty() && !forgotten(&mut rig).is_empty();
        assert_eq!(is_dropped, expected == RecordState::Dropped);

        let mut rig = Rig::among(vec![peer(1)], &[]);
        order_directory(&mut rig, &manifest);
        rig.begin_call(request);
        rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Err(DiskFault::Full) });
        assert!(remembered(&mut rig).is_empty());
        assert_eq!(answers(&mut rig).len(), 2);
    }
}

#[test]
fn a_manifest_is_kept_as_long_as_a_directory_needs_it() {
    let (mut rig, manifest) = (begun_by(&manifest(&[5]), &[1]), manifest(&[5]));
    let what = vec![give(&mut rig, &manifest)];
    rig.begin_call(Request::Download { what, output: Some(RawText::new("/elsewhere")) });
    let other = kept(&mut rig)[0].0;
    rig.handle(Event::ManifestKept { download: other, outcome: Ok(()) });
    answers(&mut rig);
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(manifests_dropped(&mut rig), [], "the other directory has the same");
    rig.call(Request::Cancel { ids: other.0.to_string() }).unwrap();
    assert!(manifests_dropped(&mut rig).contains(&manifest.b3));
}

#[test]
fn however_many_files_there_are_so_many_searches_go_out_in_a_minute() {
    let sizes: Vec<u64> = (1..=300).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    let first: Vec<_> = searches(&mut rig);
    assert_eq!(first.len(), 8, "a few at once");
    let mut texts: Vec<String> = first.into_iter().map(|(_, text)| text).collect();
    for minute in 1..=5 {
        let before = texts.len();
        for _ in 0..60 {
            rig.pass(Duration::from_secs(1));
            texts.extend(searches(&mut rig).into_iter().map(|(_, text)| text));
        }
        let sent = texts.len() - before;
        assert!((55..=61).contains(&sent), "{sent} in minute {minute}");
    }
    let different: BTreeSet<&String> = texts.iter().collect();
    assert!(different.len() > 290, "each has its turn before any has two: {} of {}", different.len(), texts.len());
}

#[test]
fn directories_are_searched_for_in_turn() {
    let sizes: Vec<u64> = (1..=100).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    searches(&mut rig);
    let small = manifest(&[1_000]);
    order_directory(&mut rig, &small);
    let id = kept(&mut rig)[0].0;
    rig.handle(Event::ManifestKept { download: id, outcome: Ok(()) });
    // The same name, and another directory.
    rig.handle(Event::ManifestRead { download: id, outcome: Ok(Box::new(Manifest::parse(&small.text).unwrap())) });
    rig.pass(Duration::from_secs(3));
    let found: Vec<String> = searches(&mut rig).into_iter().map(|(_, text)| text).collect();
    assert!(found.contains(&search_for(1_000)), "{found:?}");
}

#[test]
fn who_has_one_file_is_asked_for_those_beside_it() {
    let sizes: Vec<u64> = (1..=40).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    let (query, text) = searches(&mut rig).remove(0);
    assert_eq!(text, search_for(1));
    rig.hit(&query, peer(2), of_content("x/y/in/1", 1, content(1)));
    rig.settle();
    let sourced = |rig: &mut Rig| {
        let may_ask = |row: &DownloadRow| row.shares.iter().any(|share| share.state != SourceState::Refused);
        files(rig).iter().filter(|row| row.sources == [peer(2)] && may_ask(row)).count()
    };
    assert_eq!(sourced(&mut rig), 9, "some at first");
    open(&mut rig);
    let asked: Vec<_> = metadata(&mut rig);
    assert!(!asked.is_empty());
    // One that it does not have is searched for again.
    let (exchange, to, b3) = asked[0];
    assert_eq!(to, peer(2));
    rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
    assert_eq!(sourced(&mut rig), 8, "nobody can be asked for {b3:?}");
    assert_eq!(row(&mut rig, 1).state, DownloadState::Active);
}

#[test]
fn files_that_come_from_a_peer_let_it_be_asked_for_more() {
    let sizes: Vec<u64> = (1..=40).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    let (query, _) = searches(&mut rig).remove(0);
    rig.hit(&query, peer(2), of_content("in/1", 1, content(1)));
    let mut done = 0;
    while row(&mut rig, 1).state != DownloadState::Done {
        open(&mut rig);
        for (exchange, _, b3) in metadata(&mut rig) {
            let size = (1..=40).find(|size| Some(content(*size)) == b3).unwrap();
            rig.succeed(exchange, Response::Metadata { b3: content(size), size });
        }
        for fetch in fetches(&mut rig) {
            rig.pass(Duration::from_millis(1));
            group(&mut rig, &fetch, 0);
            send(&mut rig, &fetch, 1);
        }
        let checked = rig.take(|order| match order {
            Action::CheckPart { download, .. } => Some(*download),
            _ => None,
        });
        for download in checked {
            let row = rig.node.download.row(&rig.node.cx, download).unwrap();
            let (b3, size) = (ContentHash::from_hex(row.b3.unwrap().as_bytes()).unwrap(), row.size.unwrap());
            rig.handle(Event::PartChecked { download, outcome: Ok(CheckedPart { b3, size, bad: Vec::new() }) });
        }
        let committed = rig.take(|order| match order {
            Action::CommitPart { download } => Some(*download),
            _ => None,
        });
        for download in committed {
            let outcome = Ok(CommittedPart { path: "/downloads/d/x".into(), already: false });
            rig.handle(Event::PartCommitted { download, outcome });
        }
        done += 1;
        assert!(done < 200, "{:?}", row(&mut rig, 1));
    }
    assert!(searches(&mut rig).len() < 40, "not each was searched for");
    let row = row(&mut rig, 1);
    assert!(row.verified && row.directory.unwrap().files_done == 40);
}

/// What the next run finds of a directory.
pub(super) fn record(manifest: &ManifestText, files: Option<u64>) -> DownloadRecord {
    let target = Target::Within { directory: "/downloads".into(), path: name("d"), executable: false };
    let of_file = super::recalling::record(1, Some(manifest.b3), RecordState::Waiting);
    DownloadRecord {
        spec: PartSpec { target, token: 0, filesystem: None },
        name: name("d/"),
        size: Some(manifest.bytes),
        sources: Vec::new(),
        kind: RecordKind::Directory { files, is_given: true, pending: 0 },
        ..of_file
    }
}

#[test]
fn a_restart_reads_the_manifest_that_was_kept() {
    let (config, manifest) = (NodeConfig { bootstraps: Vec::new(), ..config() }, manifest(&[5, 6]));
    let mut rig = restarted(config.clone(), vec![record(&manifest, None)], 1);
    take_up(&mut rig, &manifest);
    assert_eq!(row(&mut rig, 1).directory.unwrap().files, 2);

    let mut rig = restarted(config, vec![record(&manifest, Some(2))], 1);
    assert_eq!(read(&mut rig).len(), 1, "no member has come back");
    rig.handle(Event::ManifestRead { download: TransferId(1), outcome: Err(DiskFault::Missing) });
    let failed = row(&mut rig, 1);
    let error = failed.error.unwrap();
    assert_eq!((failed.state, error.code), (DownloadState::Failed, ExitCode::FileIo as i32));
    assert!(error.message.contains("give it again with `pyratectl download --manifest FILE`"), "{error}");
    rig.call(Request::ForgetDownloads { ids: "1".into() }).unwrap();
    assert_eq!(manifests_dropped(&mut rig), [manifest.b3]);
}

#[test]
fn a_manifest_in_the_watched_directory_begins_once() {
    let (mut rig, manifest) = (Rig::among(vec![peer(1)], &[]), manifest(&[5]));
    for count in [1, 1] {
        rig.handle(Event::ManifestGiven { client: CLIENT, manifest: Box::new(manifest.clone()) });
        let what = Selector::NewManifest { b3: manifest.b3.to_string(), name: RawText::new("d"), since: 0 };
        rig.begin_call(Request::Download { what: vec![what], output: None });
        rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Ok(()) });
        let answered = answers(&mut rig);
        assert!(answered.len() == 1 && answered[0].is_ok());
        let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
        assert_eq!(reply.downloads.len(), count);
    }
    assert_eq!(kept(&mut rig).len(), 1);
}

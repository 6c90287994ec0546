//! Hits that are directories: downloads and links of them.

use super::recalling::{record, restarted};
use super::*;
use crate::content::{EntryKind, Manifest, ManifestWriter};
use crate::control::{HitDirectory, HitRow, Linkable, Notice};
use crate::fault::RefusalReason;
use crate::node::contract::{PartSpec, RecordKind, RecordState, SourceRecord};
use crate::node::limits::DIRECTORY_LIST_BYTES_MAX;

/// A search that has found two files in a directory of each of these peers, as the rows 1 and 2, and 3 for the directory.
fn found(peers: &[u8]) -> Rig {
    let mut rig = Rig::among(peers.iter().map(|n| peer(*n)).collect(), &[]);
    peers.iter().for_each(|n| hear_of(&mut rig, *n));
    rig.orders.clear();
    rig.search("live");
    let dials = rig.dials();
    let Some((_, _, messages)) = dials.first() else { panic!("no search is sent") };
    let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
    let id = search.id.clone();
    dials.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    for n in peers {
        for (name, content) in [("music/live/a", 1), ("music/live/b", 2)] {
            rig.hit(&id, peer(*n), of_content(name, 5, ContentHash([content; 32])));
        }
    }
    rig
}

fn shown(rig: &mut Rig, ids: &str) -> Vec<(String, bool)> {
    let reply = download(rig, vec![Selector::Hits(ids.into())]);
    let rows = reply.downloads.iter();
    rows.map(|row| (String::from_utf8_lossy(row.name.as_bytes()).into_owned(), row.directory.is_some())).collect()
}

#[test]
fn a_directory_is_reported_when_its_second_file_comes_and_with_each_that_follows() {
    let mut rig = found(&[1, 2]);
    let told: Vec<HitRow> = rig
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Hit { hit, .. } => Some(hit),
            _ => None,
        })
        .collect();
    let ids: Vec<(u32, usize)> = told.iter().map(|hit| (hit.id, hit.sources.len())).collect();
    assert_eq!(ids, [(1, 1), (2, 1), (3, 1), (1, 2), (3, 1), (2, 2), (3, 2)]);
    let row = rig.hits(None).pop().unwrap();
    assert_eq!((row.id, row.name.as_bytes(), row.size, row.b3), (3, &b"music/live/"[..], None, None));
    assert_eq!(row.directory, Some(HitDirectory { files: 2, bytes: Some(10) }));
    assert_eq!(row.sources, [peer(1), peer(2)]);
}

#[test]
fn its_id_begins_one_download_and_all_and_ranges_stand_for_the_files() {
    let directory = || vec![("music/live/".to_owned(), true)];
    let files = ["music/live/a", "music/live/b"].map(|name| (name.to_owned(), false));
    let mut rig = found(&[1]);
    assert_eq!(shown(&mut rig, "3"), directory());
    let dialled: Vec<SocketAddr> = rig.dials().into_iter().map(|(_, to, _)| to).collect();
    assert_eq!(dialled, [peer(1)], "the peer is asked what is beneath it");
    assert_eq!(shown(&mut rig, "3"), directory(), "the one that is there");
    assert_eq!(shown(&mut found(&[1]), "all"), files);
    assert_eq!(shown(&mut found(&[1]), "1-3"), files);
    assert_eq!(shown(&mut found(&[1]), "2-3,3").len(), 2);
    let request = Request::Download { what: vec![Selector::Hits("3-9".into())], output: None };
    let refused = rig.call(request).unwrap_err();
    assert_eq!(refused.code, crate::control::ExitCode::Usage as i32, "{refused:?}");
}

#[test]
fn a_link_to_it_is_that_to_the_directory_of_its_first_peer() {
    for (named, asked) in [(None, 1), (Some(peer(2)), 2), (Some(peer(9)), 1)] {
        let mut rig = found(&[1, 2]);
        rig.orders.clear();
        rig.begin_call(Request::Link { what: Linkable::Hit { id: 3, peer: named } });
        let (exchange, to, message) = rig.dial();
        assert_eq!(to, peer(asked));
        let exchange = match message {
            Message::FirstContact { .. } => {
                rig.succeed(exchange, Response::Delivered);
                rig.dial().0
            }
            _ => exchange,
        };
        rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
        let refused = rig.take(|order| match order {
            Action::Reply { outcome: Err(error), .. } => Some(error.message.clone()),
            _ => None,
        });
        assert!(refused[0].contains("music/live/"), "{refused:?}");
    }
}

/// The manifest of so many files.
fn tree(files: u8) -> (Manifest, u64) {
    let mut writer = ManifestWriter::default();
    for n in 0..files {
        let kind = EntryKind::File { size: 5, b3: ContentHash([n; 32]), executable: false };
        writer.push(format!("{n:03}").as_bytes(), kind).unwrap();
    }
    let text = writer.finish().text;
    (Manifest::parse(&text).unwrap(), text.len() as u64)
}

/// Answers who is asked for the manifest; which peer that is.
fn describe(rig: &mut Rig, (manifest, size): (Manifest, u64)) -> SocketAddr {
    let (exchange, to, message) = rig.dial();
    assert_eq!(message, Message::MetadataRequest { name: name("music/live/") });
    rig.succeed(exchange, Response::FileInfo { b3: manifest.b3, size, pending: 0 });
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::Manifest(Box::new(manifest)));
    to
}

/// How many of the files have this peer as a source.
fn offered(rig: &mut Rig, n: u8) -> usize {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::DirectoryFiles { id: 1, after: 0 }) else { panic!("files") };
    reply.downloads.iter().filter(|row| row.sources.contains(&peer(n))).count()
}

/// What is asked of this peer comes. The others cannot be reached, or do not answer yet.
fn fetch_from(rig: &mut Rig, from: SocketAddr, others_fail: bool) {
    open(rig);
    for (exchange, to, b3) in metadata(rig) {
        match b3 {
            Some(b3) if to == from => rig.succeed(exchange, Response::Metadata { b3, size: 5 }),
            _ if others_fail => rig.fail(exchange, DialFault::Refused),
            _ => {}
        }
    }
    for asked in fetches(rig) {
        if asked.to == from {
            group(rig, &asked, 0);
            send(rig, &asked, 5);
        } else if others_fail {
            rig.fail(asked.exchange, DialFault::Refused);
        }
    }
    let checked = rig.take(|order| match order {
        Action::CheckPart { download, .. } => Some(*download),
        _ => None,
    });
    for download in checked {
        let row = rig.node.download.row(&rig.node.cx, download).unwrap();
        let b3 = ContentHash::from_hex(row.b3.unwrap().as_bytes()).unwrap();
        rig.handle(Event::PartChecked { download, outcome: Ok(CheckedPart { b3, size: 5, bad: Vec::new() }) });
    }
    let committed = rig.take(|order| match order {
        Action::CommitPart { download } => Some(*download),
        _ => None,
    });
    for download in committed {
        let outcome = Ok(CommittedPart { path: "/downloads/live/x".into(), already: false });
        rig.handle(Event::PartCommitted { download, outcome });
    }
}

#[test]
fn who_was_not_asked_for_a_file_is_offered_for_another() {
    let mut rig = found(&[1, 2]);
    shown(&mut rig, "3");
    describe(&mut rig, tree(60));
    for _ in 0..10 {
        fetch_from(&mut rig, peer(1), false);
    }
    let Ok(Reply::Downloads(reply)) = rig.call(Request::DirectoryFiles { id: 1, after: 0 }) else { panic!("files") };
    let of_second = reply.downloads.iter().filter(|row| row.sources.contains(&peer(2)));
    let (done, left): (Vec<&DownloadRow>, Vec<_>) = of_second.partition(|row| row.state == DownloadState::Done);
    assert!(!done.is_empty() && left.len() == 8, "{} are done, {} are left", done.len(), left.len());
}

#[test]
fn who_is_found_for_one_file_is_offered_for_the_others() {
    let mut rig = found(&[1]);
    shown(&mut rig, "3");
    describe(&mut rig, tree(60));
    let found =
        Answer { file: of_content("elsewhere/000", 5, ContentHash([0; 32])), responder: peer(2), from: peer(2) };
    rig.on_source_found(TransferId(2), &found);
    rig.settle();
    assert_eq!(offered(&mut rig, 2), 9);
}

#[test]
fn a_list_without_hashes_is_fetched_from_its_peer_alone() {
    for hashed in [false, true] {
        let mut rig = found(&[1, 2]);
        shown(&mut rig, "3");
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
        let (exchange, ..) = rig.dial();
        let file = |n: u8| match hashed {
            false => listed(&format!("music/live/{n}"), Some(5)),
            true => of_content(&format!("music/live/{n}"), 5, ContentHash([n; 32])),
        };
        rig.handle(Event::ListBatch { exchange, files: vec![file(1), file(2)] });
        rig.succeed(exchange, Response::FileList { truncated: false });
        assert_eq!(offered(&mut rig, 2), if hashed { 2 } else { 0 });
    }
}

#[test]
fn a_file_whose_hash_is_learnt_is_offered_to_its_other_peers() {
    let mut rig = found(&[1, 2]);
    shown(&mut rig, "3");
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
    let (exchange, ..) = rig.dial();
    let files = [1, 2].map(|n| listed(&format!("music/live/{n}"), Some(5)));
    rig.handle(Event::ListBatch { exchange, files: files.into() });
    rig.succeed(exchange, Response::FileList { truncated: false });
    open(&mut rig);
    for (known, (exchange, to, b3)) in (1..).zip(metadata(&mut rig)) {
        assert_eq!((to, b3, offered(&mut rig, 2)), (peer(1), None, known - 1));
        rig.succeed(exchange, Response::Metadata { b3: ContentHash([known as u8; 32]), size: 5 });
        rig.settle();
        assert_eq!(offered(&mut rig, 2), known);
    }
    assert_eq!(offered(&mut rig, 2), 2);
}

#[test]
fn its_other_peers_are_offered_as_sources_of_its_files() {
    let mut rig = found(&[1, 2, 3]);
    shown(&mut rig, "3");
    assert_eq!(describe(&mut rig, tree(60)), peer(1));
    rig.settle();
    assert_eq!([1, 2, 3].map(|n| offered(&mut rig, n)), [60, 8, 8], "a few at first");
    // The first peer is gone: all come from the second.
    for _ in 0..200 {
        fetch_from(&mut rig, peer(2), true);
        rig.pass(Duration::from_secs(5));
        rig.dials().iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    }
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.directory.unwrap().files_done), (DownloadState::Done, 60));
}

#[test]
fn the_next_of_its_peers_is_asked_what_is_beneath_it_until_there_are_files() {
    let gone = |rig: &mut Rig, exchange| rig.fail(exchange, DialFault::Refused);
    let cut = |rig: &mut Rig, exchange| rig.succeed(exchange, Response::FileList { truncated: true });
    let long = vec!["x".repeat(250); 14].join("/");
    let too_long = |rig: &mut Rig, exchange| {
        let name = |at: usize| of_content(&format!("music/live/{at:05}/{long}"), 5, ContentHash([5; 32]));
        let files = (0..=DIRECTORY_LIST_BYTES_MAX / long.len()).map(name).collect();
        rig.handle(Event::ListBatch { exchange, files });
    };
    // The first one is gone; or it has no manifest, and then it is gone, or its list is useless.
    type Answer<'a> = Option<&'a dyn Fn(&mut Rig, ExchangeId)>;
    let lists: [Answer; 4] = [None, Some(&gone), Some(&cut), Some(&too_long)];
    for list in lists {
        let mut rig = found(&[1, 2]);
        shown(&mut rig, "3");
        let (exchange, to, _) = rig.dial();
        assert_eq!(to, peer(1));
        match list {
            None => rig.fail(exchange, DialFault::Refused),
            Some(answer) => {
                rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
                let (exchange, to, message) = rig.dial();
                assert_eq!((to, message), (peer(1), Message::ListFiles { p1: true }));
                answer(&mut rig, exchange);
            }
        }
        assert_eq!(describe(&mut rig, tree(3)), peer(2));
        // The hit may have its peers in another order by now.
        assert_eq!(shown(&mut rig, "3").len(), 1);
        let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
        assert_eq!(reply.downloads.len(), 1);
    }
}

#[test]
fn a_link_to_it_names_the_peer_that_has_told_its_manifest() {
    let mut rig = found(&[1, 2]);
    shown(&mut rig, "3");
    describe(&mut rig, tree(3));
    let Ok(Reply::Link(link)) = rig.call(Request::Link { what: Linkable::Download { id: 1 } }) else { panic!("link") };
    assert_eq!(link.peers, [peer(1)]);
}

/// What the next run finds of a directory of two peers with two files, of which it had so many.
fn recalled(files: u64, state: RecordState) -> Rig {
    let of_file = record(1, Some(ContentHash([9; 32])), state);
    let within = |path: &str| Target::Within { directory: "/downloads".into(), path: name(path), executable: false };
    let spec = |path: &str| PartSpec { target: within(path), token: 1, filesystem: None };
    let source = |n| SourceRecord { addr: peer(n), names: vec![name("music/live/")], p1: true, is_chosen: true };
    let directory = DownloadRecord {
        spec: spec("live"),
        name: name("music/live/"),
        learnt_from: Some(peer(1)),
        sources: vec![source(1), source(2)],
        kind: RecordKind::Directory { files: Some(files), is_given: false, pending: 0 },
        ..of_file.clone()
    };
    let member = |n: u32| DownloadRecord {
        id: TransferId(n + 1),
        spec: spec(&format!("live/{n}")),
        name: name(&format!("music/live/{n}")),
        size: Some(5),
        b3: Some(ContentHash([n as u8; 32])),
        sources: vec![SourceRecord { names: vec![name(&format!("music/live/{n}"))], ..source(1) }],
        kind: RecordKind::Member { of: TransferId(1) },
        ..of_file.clone()
    };
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config, vec![member(1), member(2), directory], 3);
    [1, 2].iter().for_each(|n| hear_of(&mut rig, *n));
    rig
}

#[test]
fn its_other_peers_are_offered_after_a_restart_and_do_not_add_files_to_those_of_the_first() {
    let mut rig = recalled(2, RecordState::Waiting);
    rig.settle();
    assert_eq!([1, 2].map(|n| offered(&mut rig, n)), [2, 2]);
    // Not all files were there: the first peer alone is asked for the others.
    let mut rig = recalled(3, RecordState::Waiting);
    rig.pass(Duration::from_millis(10));
    let asked = |rig: &mut Rig| rig.dials().into_iter().map(|(exchange, to, _)| (exchange, to)).collect::<Vec<_>>();
    let first = asked(&mut rig);
    assert!(first.iter().any(|(_, to)| *to == peer(1)), "{first:?}");
    first.iter().for_each(|(exchange, _)| rig.fail(*exchange, DialFault::Refused));
    assert!(asked(&mut rig).iter().all(|(_, to)| *to != peer(2)));
}

#[test]
fn its_other_peers_are_offered_while_it_waits_for_the_first() {
    let mut rig = recalled(3, RecordState::Waiting);
    rig.pass(Duration::from_millis(10));
    for (exchange, to, _) in rig.dials() {
        assert_eq!((to, offered(&mut rig, 2)), (peer(1), 0));
        rig.fail(exchange, DialFault::Refused);
    }
    rig.settle();
    let waits = row(&mut rig, 1);
    assert!(waits.error.is_some(), "the directory waits: {waits:?}");
    assert_eq!(offered(&mut rig, 2), 2);
}

#[test]
fn its_other_peers_are_offered_when_it_is_resumed_after_a_restart() {
    let mut rig = recalled(2, RecordState::Paused);
    rig.settle();
    assert_eq!((state(&mut rig, 1), offered(&mut rig, 2)), (DownloadState::Paused, 0));
    rig.call(Request::Resume { ids: "1".into() }).unwrap();
    rig.settle();
    assert_eq!([1, 2].map(|n| offered(&mut rig, n)), [2, 2]);
}

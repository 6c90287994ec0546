//! Which unfinished download a request is for, where that is saved, and when it counts as verified.

use super::*;
use crate::control::ExitCode;

/// Another content under the same name.
const OTHER: ContentHash = ContentHash([8; 32]);

fn content(b3: ContentHash) -> Vec<Selector> {
    vec![Selector::Content(b3.to_string())]
}

/// The id of the one download that a request is answered with.
fn wanted(rig: &mut Rig, what: Vec<Selector>) -> u32 {
    let reply = download(rig, what);
    assert_eq!(reply.downloads.len(), 1);
    reply.downloads[0].id
}

/// Asks for a place; the id, or the code and the message of the refusal.
fn save(rig: &mut Rig, what: Vec<Selector>, path: &str) -> Result<u32, (i32, String)> {
    match rig.call(Request::Download { what, output: Some(RawText::new(path)) }) {
        Ok(Reply::Downloads(reply)) => Ok(reply.downloads[0].id),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err((error.code, error.message)),
    }
}

/// Asserts that a place is refused, by the message of which download.
fn refused(outcome: Result<u32, (i32, String)>, parts: [&str; 2]) {
    let (code, message) = outcome.expect_err("the place is refused");
    assert_eq!(code, ExitCode::Exists as i32, "{message}");
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

/// Hit 1: `a` of peer 1, 3 MiB, hash `B3`. Hit 2: the same name of the same peer, 12 bytes, hash `OTHER`.
fn with_changed_file() -> Rig {
    let mut rig = with_hits(&[(1, of_content("a", 3 * MIB, B3)), (1, of_content("a", 12, OTHER))]);
    assert_eq!(rig.hits(None).len(), 2);
    rig
}

#[test]
fn the_same_name_with_another_hash_is_another_download() {
    let mut rig = with_changed_file();
    assert_eq!(wanted(&mut rig, hits("1")), 1);
    assert_eq!(wanted(&mut rig, hits("2")), 2, "another hash is another download");
    assert_eq!((wanted(&mut rig, content(B3)), wanted(&mut rig, content(OTHER))), (1, 2));
    assert_eq!(row(&mut rig, 2).b3, Some(OTHER.to_string()));
    assert_eq!(row(&mut rig, 1).sources, [peer(1)]);
    // When one of them ends, the other is still found.
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(wanted(&mut rig, hits("2")), 2);
    assert_eq!(wanted(&mut rig, hits("1")), 3);
}

#[test]
fn a_request_with_a_hash_is_not_for_a_download_that_knows_none() {
    for learnt in [B3, OTHER] {
        let mut rig = with_hits(&[(1, of_content("a", 3 * MIB, B3))]);
        assert_eq!(wanted(&mut rig, vec![file(peer(1), "a")]), 1);
        assert_eq!((row(&mut rig, 1).b3, wanted(&mut rig, hits("1"))), (None, 2));
        // The first one gets the hash of the name from its source.
        for (download, _) in opened(&mut rig) {
            rig.handle(Event::PartOpened { download, outcome: ready("/downloads/a") });
        }
        let asked = metadata(&mut rig);
        let (exchange, _, _) = asked.iter().find(|(_, _, b3)| b3.is_none()).copied().unwrap();
        rig.succeed(exchange, Response::Metadata { b3: learnt, size: 3 * MIB });
        assert_eq!(row(&mut rig, 1).b3, Some(learnt.to_string()));
        assert_eq!(wanted(&mut rig, content(B3)), if learnt == B3 { 1 } else { 2 });
        // Both want the content now: the end of one does not hide the other.
        rig.call(Request::Cancel { ids: "1".into() }).unwrap();
        assert_eq!(wanted(&mut rig, content(B3)), 2);
    }
}

#[test]
fn a_request_without_a_hash_is_for_the_download_of_that_name_unless_the_sizes_differ() {
    let mut rig = with_hits(&[(1, listed("a", Some(100))), (1, listed("a", Some(200))), (1, listed("a", None))]);
    assert_eq!(wanted(&mut rig, hits("1")), 1);
    assert_eq!(wanted(&mut rig, hits("2")), 2, "the sizes are known and differ");
    assert_eq!(wanted(&mut rig, hits("3")), 2, "no size is known: the newest of that name");
    assert_eq!(wanted(&mut rig, hits("1")), 1);
    assert_eq!(wanted(&mut rig, vec![file(peer(1), "a")]), 2);

    // A request by name is for a download by hash that has this name, of several for the newest.
    let mut rig = with_changed_file();
    download(&mut rig, hits("1,2"));
    assert_eq!(wanted(&mut rig, vec![file(peer(1), "a")]), 2);
}

/// The peer has said that what it has under the name is not what the download by hash waits for.
#[test]
fn a_request_by_name_is_not_for_a_content_that_the_peer_no_longer_has_under_it() {
    let mut rig = with_content(3 * MIB, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let asked = metadata(&mut rig);
    rig.fail(asked[0].0, DialFault::Corrupt);
    identify_as(&mut rig, OTHER);
    assert_eq!(wanted(&mut rig, vec![file(peer(1), "dir/a.txt")]), 2);
}

#[test]
fn a_content_in_progress_is_not_saved_to_a_second_place() {
    let mut rig = with_changed_file();
    assert_eq!(save(&mut rig, hits("1"), "/tmp/first"), Ok(1));
    let holds = ["download 1 ", "'/tmp/first'"];
    refused(save(&mut rig, hits("1"), "/tmp/second"), holds);
    refused(save(&mut rig, content(B3), "/tmp/second"), holds);
    refused(save(&mut rig, vec![file(peer(1), "a")], "/tmp/second"), holds);
    refused(save(&mut rig, [hits("1"), hits("2")].concat(), "/tmp/several"), holds);
    assert_eq!(rig.node.download.downloads.ids().collect::<Vec<_>>(), [1], "of that call nothing is begun");
    refused(save(&mut rig, hits("2"), "/tmp/first"), ["download 1 ", "another file"]);
    // A request with the same path, or without one, is for the download in progress.
    assert_eq!(save(&mut rig, hits("1"), "/tmp/first"), Ok(1));
    assert_eq!(save(&mut rig, content(B3), "/tmp/first"), Ok(1));
    assert_eq!(wanted(&mut rig, hits("1")), 1);
    assert_eq!(save(&mut rig, hits("2"), "/tmp/second"), Ok(2));
    // A download that is over does not occupy its path.
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(save(&mut rig, hits("1"), "/tmp/third"), Ok(3));
}

#[test]
fn naming_the_directory_that_a_download_saves_to_is_the_same_request() {
    let mut rig = with_changed_file();
    assert_eq!(wanted(&mut rig, hits("1")), 1);
    assert_eq!(save(&mut rig, hits("1"), "/downloads"), Ok(1), "its final name is not known yet");
    refused(save(&mut rig, hits("1"), "/elsewhere"), ["download 1 ", "'/downloads/a'"]);
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: ready("/downloads/a (1)") });
    for same in ["/downloads", "/downloads/", "/downloads/a (1)"] {
        assert_eq!(save(&mut rig, hits("1"), same), Ok(1), "{same}");
    }
    refused(save(&mut rig, hits("1"), "/downloads/a"), ["download 1 ", "'/downloads/a (1)'"]);
    refused(save(&mut rig, hits("2"), "/downloads/a (1)"), ["download 1 ", "another file"]);
    // Several files into the directory that the first one has already.
    let reply = rig.call(Request::Download { what: hits("1,2"), output: Some(RawText::new("/downloads")) });
    let Ok(Reply::Downloads(reply)) = reply else { panic!("{reply:?}") };
    assert_eq!(reply.downloads.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
    refused(save(&mut rig, hits("1,2"), "/elsewhere"), ["download 1 ", "'/downloads/a (1)'"]);
}

#[test]
fn a_stream_is_not_verified_by_a_hash_sent_for_another_file() {
    let mut rig = with_hits(&[(1, of_content("elsewhere/b", 9, B3)), (2, listed("a", None))]);
    download(&mut rig, hits("2"));
    open(&mut rig);
    let stream = fetch(&mut rig);
    assert_eq!((stream.to, &stream.portion), (peer(2), &Portion::Stream { size_max: None }));
    send(&mut rig, &stream, 9);
    check(&mut rig, 9);
    commit(&mut rig, "/downloads/a");
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.verified), (DownloadState::Done, false));
    assert_eq!((done.size, done.b3), (Some(9), Some(B3.to_string())), "what it is, is told all the same");
}

#[test]
fn a_stream_is_verified_by_the_hash_that_its_source_sent_before() {
    let mut rig = Rig::among(Vec::new(), &[]);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    outline(&mut rig, 2 * MIB);
    bring_everything(&mut rig);
    check(&mut rig, 2 * MIB);
    commit(&mut rig, "/downloads/a");
    assert!(row(&mut rig, 1).verified);
}

/// The places that are to be looked at.
fn probed(rig: &mut Rig) -> Vec<TransferId> {
    rig.take(|order| match order {
        Action::ProbeTarget { download, .. } => Some(*download),
        _ => None,
    })
}

fn probe_gives(rig: &mut Rig, id: u32, outcome: Result<&str, DiskFault>) {
    let outcome = outcome.map(PathBuf::from);
    rig.handle(Event::TargetProbed { download: TransferId(id), outcome });
}

#[test]
fn a_bad_output_path_fails_a_download_that_is_still_queued() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() });
    for (n, fault, code) in [
        (1, DiskFault::Missing, ExitCode::FileIo),
        (2, DiskFault::NotDirectory, ExitCode::FileIo),
        (3, DiskFault::Denied, ExitCode::FileIo),
        (4, DiskFault::ReadOnly, ExitCode::FileIo),
        (5, DiskFault::Exists, ExitCode::Exists),
    ] {
        let path = format!("/tmp/place {n}");
        assert_eq!(save(&mut rig, vec![file(peer(1), &n.to_string())], &path), Ok(n));
        assert_eq!(probed(&mut rig), [TransferId(n)]);
        probe_gives(&mut rig, n, Err(fault));
        let failed = row(&mut rig, n);
        let error = failed.error.unwrap();
        assert_eq!((failed.state, error.code), (DownloadState::Failed, code as i32));
        let told =
            if fault == DiskFault::Missing { "the directory '/tmp' is missing".into() } else { fault.to_string() };
        assert!(error.message.contains(&format!("'{path}'")) && error.message.contains(&told), "{error}");
    }
    // The part file of the first one is ordered already; its result changes nothing.
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: Err(DiskFault::Missing) });
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    order(&mut rig, Request::Retry { ids: "1".into() });
    assert_eq!(probed(&mut rig), [TransferId(1)], "the user may have made the place good");
    probe_gives(&mut rig, 1, Ok("/tmp/place 1"));
    assert_eq!(row(&mut rig, 1).path, Some(RawText::new("/tmp/place 1")));
}

#[test]
fn what_is_found_of_an_output_path_counts_though_the_download_has_failed_meanwhile() {
    let mut rig = Rig::among(Vec::new(), &[]);
    save(&mut rig, vec![file(peer(1), "a")], "/tmp/place").unwrap();
    assert_eq!(probed(&mut rig), [TransferId(1)]);
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: Err(DiskFault::Exists) });
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    probe_gives(&mut rig, 1, Err(DiskFault::Missing));
    order(&mut rig, Request::Retry { ids: "1".into() });
    assert_eq!(probed(&mut rig), [TransferId(1)]);
}

#[test]
fn an_output_path_that_could_not_be_checked_is_left_to_the_part_file() {
    let mut rig = Rig::among(Vec::new(), &[]);
    save(&mut rig, vec![file(peer(1), "a")], "/tmp/place").unwrap();
    for fault in [DiskFault::Other(5), DiskFault::NoDescriptor, DiskFault::Full] {
        probe_gives(&mut rig, 1, Err(fault));
        assert_eq!(state(&mut rig, 1), DownloadState::Active);
    }
    open(&mut rig);
    probe_gives(&mut rig, 1, Err(DiskFault::Missing));
    assert_eq!(state(&mut rig, 1), DownloadState::Active, "there is one answer");
    // Without a path from the user the directory is that of the configuration, which may come back.
    download(&mut rig, vec![file(peer(1), "b")]);
    assert_eq!(probed(&mut rig), [TransferId(1)]);
}

#[test]
fn many_ports_of_one_address_do_not_displace_other_sources_of_a_content() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    for port in 0..64 {
        rig.hit(&query, addr(&format!("192.0.2.66:{}", 2_000 + port)), of_content("a", 12, B3));
    }
    // Those that have answered are searched as well by now.
    rig.search_within("a", Some(0));
    let mut ids = rig.dials().into_iter().filter_map(|(_, to, mut messages)| match messages.pop() {
        Some(Message::Search(query)) if to == peer(1) => Some(query.id),
        _ => None,
    });
    let query = ids.next_back().expect("the second search");
    (1..=3).for_each(|n| rig.hit(&query, peer(n), of_content("b", 12, B3)));
    let id = wanted(&mut rig, content(B3));
    let sources = row(&mut rig, id).sources;
    assert_eq!(sources.len(), 64);
    assert!((1..=3).all(|n| sources.contains(&peer(n))), "{sources:?}");
    assert_eq!(rig.node.counters().limited.sources_displaced, 3);
}

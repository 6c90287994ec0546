//! Files that become another content while they are fetched by name.

use super::names::{name_asked, names_asked};
use super::*;
use crate::control::SourceState;
use crate::node::contract::{PartSpec, RecordKind, RecordState, SourceRecord};

/// A download of `PEER/NAME` from a peer that speaks `p1` and has sent the hash and the last group.
fn named(size: u64) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    outline(&mut rig, size);
    let proof = fetch(&mut rig);
    bring(&mut rig, &proof);
    rig
}

const OTHER: ContentHash = ContentHash([8; 32]);

#[test]
fn a_name_that_becomes_another_content_is_fetched_as_that_one() {
    let mut rig = named(8 * MIB);
    assert_eq!(remembered(&mut rig).last().unwrap().learnt_from, Some(peer(1)));
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    assert_eq!(identify_as(&mut rig, OTHER), peer(1));
    assert_eq!(dropped(&mut rig), 1, "nothing of the old content is kept");
    open(&mut rig);
    let [(exchange, _, None)] = metadata(&mut rig)[..] else { panic!("it is asked again, with nothing to prove") };
    rig.succeed(exchange, Response::Metadata { b3: OTHER, size: 100 });
    let only = fetch(&mut rig);
    group(&mut rig, &only, 0);
    send(&mut rig, &only, 100);
    check_as(&mut rig, OTHER, 100, Vec::new());
    commit(&mut rig, "/downloads/a");
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.size, done.b3), (DownloadState::Done, Some(100), Some(OTHER.to_string())));
}

/// The file was moved, and later overwritten at its new name: the user wants what is under the first name.
#[test]
fn other_names_of_a_content_are_not_requested_once_the_name_has_another_content() {
    let mut rig = named(8 * MIB);
    found(&mut rig, 1, &of_content("moved", 8 * MIB, B3));
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "a");
    rig.fail(running, DialFault::Corrupt);
    identify_as(&mut rig, OTHER);
    open(&mut rig);
    let (exchange, under) = name_asked(&mut rig);
    assert_eq!(under, "a");
    assert_eq!(remembered(&mut rig).last().unwrap().sources[0].names, [name("a")]);
    rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
    assert!(names_asked(&mut rig).is_empty(), "nor when the name is gone");
}

/// The source that said which content the name has lied: sources of that content have nothing to do with the name.
#[test]
fn sources_of_a_content_named_by_a_liar_are_not_asked_for_the_name() {
    let mut rig = Rig::among(vec![peer(1), peer(2)], &[]);
    hear_of(&mut rig, 1);
    hear_of(&mut rig, 2);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    outline(&mut rig, 8 * MIB);
    found(&mut rig, 2, &of_content("b", 8 * MIB, B3));
    let asked = names_asked(&mut rig);
    assert_eq!(asked[0].1, "a");
    lie(&mut rig, asked[0].0);
    open(&mut rig);
    assert!(names_asked(&mut rig).is_empty());
    assert_eq!(row(&mut rig, 1).sources, [peer(1)]);
}

/// The file may be shorter than the range that is asked for: then the peer refuses instead of sending other bytes.
#[test]
fn a_refusal_shows_another_content_as_wrong_bytes_do() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Reset);
    identify_as(&mut rig, OTHER);
    open(&mut rig);
    assert!(matches!(metadata(&mut rig)[..], [(_, _, None)]));
}

#[test]
fn a_source_that_has_not_hashed_its_file_yet_is_asked_again_and_is_no_liar() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    for _ in 0..3 {
        let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
        rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NotHashed));
        let waiting = row(&mut rig, 1);
        assert_eq!((waiting.state, waiting.shares[0].state), (DownloadState::Retrying, SourceState::Waiting));
        rig.pass(Duration::from_secs(91));
        open_resumed(&mut rig, 8 * MIB, [7]);
        assert!(names_asked(&mut rig).is_empty());
    }
    identify_as(&mut rig, OTHER);
    open(&mut rig);
    assert!(matches!(metadata(&mut rig)[..], [(_, _, None)]));
}

/// The file was overwritten, sent, and deleted before the source could say what it was.
#[test]
fn a_source_that_has_no_such_file_any_more_is_asked_under_the_other_names() {
    let mut rig = begun(8 * MIB, 1);
    found(&mut rig, 1, &of_content("copy", 8 * MIB, B3));
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "dir/a.txt");
    rig.fail(running, DialFault::Corrupt);
    let gone = DialFault::Declined(crate::fault::RefusalReason::NoSuchFile);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, gone);
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "copy");
    // The other copy is overwritten and deleted too: it is refused until a search finds it elsewhere.
    rig.fail(running, DialFault::Corrupt);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, gone);
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Refused, "it is no liar");
    found(&mut rig, 1, &of_content("where it is now", 8 * MIB, B3));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(name_asked(&mut rig).1, "where it is now");
}

#[test]
fn a_content_requested_by_its_hash_stays_wanted_when_a_source_has_another() {
    let mut rig = begun(8 * MIB, 1);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    identify_as(&mut rig, OTHER);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.b3), (DownloadState::Retrying, Some(B3.to_string())));
    assert_eq!(waiting.shares[0].state, SourceState::Refused, "it is no liar");
    found(&mut rig, 1, &of_content("where it is now", 8 * MIB, B3));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(name_asked(&mut rig).1, "where it is now");
}

#[test]
fn a_peer_that_names_another_content_each_time_is_left_out() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    for n in 10..30 {
        for (exchange, _) in identifying(&mut rig) {
            rig.succeed(exchange, Response::FileInfo { b3: ContentHash([n; 32]), size: 1, pending: 0 });
        }
        rig.pass(Duration::from_secs(91));
        open(&mut rig);
        for (exchange, ..) in metadata(&mut rig) {
            rig.succeed(exchange, Response::Metadata { b3: ContentHash([n + 100; 32]), size: 8 * MIB });
        }
        for fetch in fetches(&mut rig) {
            rig.fail(fetch.exchange, DialFault::Corrupt);
        }
    }
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Corrupt);
}

fn recalled(learnt_from: Option<SocketAddr>) -> Rig {
    let target = Target::Suggested { directory: "/downloads".into(), name: name("a") };
    let sources = vec![SourceRecord { addr: peer(1), names: vec![name("b"), name("a")], p1: true, is_chosen: true }];
    let record = DownloadRecord {
        id: TransferId(1),
        spec: PartSpec { target, token: 7, filesystem: None },
        name: name("a"),
        size: Some(8 * MIB),
        b3: Some(B3),
        learnt_from,
        state: RecordState::Waiting,
        error: None,
        place: 1,
        bytes_done: 7 * MIB,
        sources,
        events: Vec::new(),
        kind: RecordKind::File,
    };
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let remembered = Remembered {
        peers: remembered_peers(vec![peer(1)]),
        downloads: vec![record],
        download_last: 1,
        ..Remembered::default()
    };
    let mut rig = Rig::new(config.clone());
    rig.node = crate::node::Node::new(rig.now, config, [5; 32], remembered);
    rig.orders.clear();
    rig.handle(Event::ClientGone { client: crate::id::ClientId(99) });
    open_resumed(&mut rig, 8 * MIB, [7]);
    rig
}

#[test]
fn names_and_the_peer_that_named_a_content_survive_a_restart() {
    for (learnt_from, starts_again) in [(Some(peer(1)), true), (None, false)] {
        let mut rig = recalled(learnt_from);
        let (first, under) = name_asked(&mut rig);
        assert_eq!(under, "b");
        rig.fail(first, DialFault::Reset);
        let (second, under) = name_asked(&mut rig);
        assert_eq!(under, "a");
        rig.fail(second, DialFault::Corrupt);
        identify_as(&mut rig, OTHER);
        assert_eq!(dropped(&mut rig) == 1, starts_again);
    }
}

/// The name held another content for a while, in which a range was sent, and holds the old one again.
#[test]
fn a_source_that_has_sent_another_content_twice_is_left_out() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    lie(&mut rig, running.exchange);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.shares[0].state), (DownloadState::Retrying, SourceState::Waiting));
    assert!((5..=60).contains(&waiting.retry_in_s.unwrap()), "{waiting:?}");
    rig.pass(Duration::from_secs(60));
    open_resumed(&mut rig, 8 * MIB, [7]);
    let running = fetch(&mut rig);
    group(&mut rig, &running, 0);
    lie(&mut rig, running.exchange);
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Corrupt);
    rig.pass(Duration::from_secs(600));
    assert_eq!((names_asked(&mut rig).len(), identifying(&mut rig).len()), (0, 0), "it has lied");
}

/// A learnt content whose name is gone from its peer, which a search finds there again.
fn gone() -> Rig {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Refused);
    rig.pass(Duration::from_secs(61));
    rig
}

#[test]
fn a_name_that_comes_back_as_another_content_is_fetched_as_that_one() {
    let mut rig = gone();
    // What another peer has under that name says nothing.
    found(&mut rig, 2, &of_content("a", 100, OTHER));
    found(&mut rig, 1, &of_content("b", 100, OTHER));
    assert!(opened(&mut rig).is_empty());
    found(&mut rig, 1, &of_content("a", 100, OTHER));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(identify_as(&mut rig, OTHER), peer(1));
    assert_eq!(dropped(&mut rig), 1);
    open(&mut rig);
    assert!(matches!(metadata(&mut rig)[..], [(_, _, None)]));
}

#[test]
fn a_forged_hit_for_another_content_causes_one_request_only() {
    let mut rig = gone();
    let forged = of_content("a", 100, OTHER);
    found(&mut rig, 1, &forged);
    open_resumed(&mut rig, 8 * MIB, [7]);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
    found(&mut rig, 1, &forged);
    assert!(opened(&mut rig).is_empty(), "once after each search");
    assert_eq!((dropped(&mut rig), row(&mut rig, 1).b3), (0, Some(B3.to_string())));
    let mut rig = gone();
    found(&mut rig, 1, &forged);
    open_resumed(&mut rig, 8 * MIB, [7]);
    identify_as(&mut rig, B3);
    assert_eq!(name_asked(&mut rig).1, "a", "it has the content after all");
    assert_eq!(dropped(&mut rig), 0);
}

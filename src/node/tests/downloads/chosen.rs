//! Sources that the user chose, and those that were found by the name alone: what these may be asked for, and when.

use super::*;
use crate::control::SourceState;
use crate::fault::RefusalReason;
use crate::node::contract::{PartSpec, RecordKind, RecordState, SourceRecord};

const OTHER: ContentHash = ContentHash([8; 32]);

/// `PEER/NAME` of a peer that speaks `p1`; its metadata were asked for.
fn asked() -> (Rig, ExchangeId) {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    let [(exchange, to, None)] = metadata(&mut rig)[..] else { panic!("metadata") };
    assert_eq!(to, peer(1));
    (rig, exchange)
}

/// Another peer has another content under the same name.
fn find_another(rig: &mut Rig) {
    hear_of(rig, 2);
    found(rig, 2, &of_content("a", 9 * MIB, OTHER));
}

fn stream_of(rig: &mut Rig, n: u8) -> Fetch {
    let stream = fetch(rig);
    assert_eq!((stream.to, &stream.portion), (peer(n), &Portion::Stream { size_max: Some(9 * MIB) }));
    stream
}

fn assert_done_unverified(rig: &mut Rig, stream: &Fetch) {
    send(rig, stream, 9 * MIB);
    check_as(rig, OTHER, 9 * MIB, Vec::new());
    commit(rig, "/downloads/a");
    let done = row(rig, 1);
    assert_eq!((done.state, done.verified), (DownloadState::Done, false), "nobody whom the user chose vouches for it");
    let senders: Vec<_> = done.shares.iter().filter(|share| share.bytes > 0).map(|share| share.addr).collect();
    assert_eq!(senders, [stream.to], "the row says whose it is");
}

#[test]
fn a_source_found_by_the_name_alone_does_not_teach_which_content_it_has() {
    let (mut rig, exchange) = asked();
    rig.fail(exchange, DialFault::Declined(RefusalReason::Changed));
    find_another(&mut rig);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.sources.len()), (DownloadState::Retrying, 2));
    assert_eq!(waiting.shares[1].state, SourceState::Waiting);
    let chosen: Vec<_> = remembered(&mut rig).pop().unwrap().sources.iter().map(|source| source.is_chosen).collect();
    assert_eq!(chosen, [true, false]);
    rig.pass(Duration::from_secs(60));
    open(&mut rig);
    assert!(fetches(&mut rig).is_empty());
    assert_eq!(outline(&mut rig, 8 * MIB), peer(1));
    assert_eq!(row(&mut rig, 1).sources, [peer(1)], "who has that content is found by its hash");
}

#[test]
fn a_source_found_by_the_name_stands_in_when_the_chosen_source_was_out_of_reach_for_long() {
    let (mut rig, mut exchange) = asked();
    find_another(&mut rig);
    for _ in 0..4 {
        rig.fail(exchange, DialFault::TimedOut);
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
        rig.pass(Duration::from_secs(60));
        open(&mut rig);
        assert!(fetches(&mut rig).is_empty());
        let [(again, to, None)] = metadata(&mut rig)[..] else { panic!("metadata") };
        assert_eq!(to, peer(1));
        exchange = again;
    }
    rig.fail(exchange, DialFault::TimedOut);
    let stream = stream_of(&mut rig, 2);
    // It breaks off, and the chosen one is asked first again.
    rig.fail(stream.exchange, DialFault::TimedOut);
    rig.pass(Duration::from_secs(60));
    open(&mut rig);
    let [(exchange, to, None)] = metadata(&mut rig)[..] else { panic!("metadata") };
    assert_eq!(to, peer(1));
    assert!(fetches(&mut rig).is_empty());
    rig.fail(exchange, DialFault::TimedOut);
    let stream = stream_of(&mut rig, 2);
    assert_done_unverified(&mut rig, &stream);
}

#[test]
fn a_chosen_source_that_is_busy_for_long_is_waited_for() {
    let (mut rig, mut exchange) = asked();
    find_another(&mut rig);
    for _ in 0..20 {
        rig.fail(exchange, DialFault::Declined(RefusalReason::Busy));
        rig.pass(Duration::from_secs(60));
        open(&mut rig);
        assert!(fetches(&mut rig).is_empty());
        exchange = metadata(&mut rig)[0].0;
    }
}

#[test]
fn a_source_found_by_the_name_stands_in_when_the_chosen_source_has_the_file_no_more() {
    let (mut rig, exchange) = asked();
    find_another(&mut rig);
    rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
    let stream = stream_of(&mut rig, 2);
    assert_done_unverified(&mut rig, &stream);
}

#[test]
fn all_sources_that_the_user_chose_stay_when_a_name_has_another_content() {
    let mut rig = with_hit(Some(8 * MIB), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert_eq!(outline(&mut rig, 8 * MIB), peer(1));
    let proof = fetch(&mut rig);
    hear_of(&mut rig, 3);
    found(&mut rig, 3, &of_content("elsewhere", 8 * MIB, B3));
    rig.fail(proof.exchange, DialFault::Corrupt);
    assert_eq!(identify_as(&mut rig, OTHER), peer(1));
    assert_eq!(row(&mut rig, 1).sources, [peer(1), peer(2)]);
    open(&mut rig);
    let asked = metadata(&mut rig);
    assert!(matches!(asked[..], [(_, _, None)]), "{asked:?}");
}

#[test]
fn a_request_for_the_same_name_of_a_source_that_was_only_found_is_another_download() {
    let (mut rig, _) = asked();
    find_another(&mut rig);
    assert_eq!(row(&mut rig, 1).sources, [peer(1), peer(2)]);
    let of = |reply: DownloadsReply| reply.downloads[0].id;
    assert_eq!(of(download(&mut rig, vec![file(peer(2), "a")])), 2);
    assert_eq!(of(download(&mut rig, vec![file(peer(1), "a")])), 1);
}

#[test]
fn which_sources_were_chosen_is_known_after_a_restart() {
    for first_is_chosen in [true, false] {
        let source = |n, is_chosen| SourceRecord { addr: peer(n), names: vec![name("a")], p1: true, is_chosen };
        let target = Target::Suggested { directory: "/downloads".into(), name: name("a") };
        let record = DownloadRecord {
            id: TransferId(1),
            spec: PartSpec { target, token: 7, filesystem: None },
            name: name("a"),
            size: None,
            b3: None,
            learnt_from: None,
            state: RecordState::Waiting,
            error: None,
            place: 1,
            bytes_done: 0,
            sources: vec![source(1, first_is_chosen), source(2, !first_is_chosen)],
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
        open(&mut rig);
        assert_eq!(outline(&mut rig, MIB), peer(if first_is_chosen { 1 } else { 2 }));
    }
}

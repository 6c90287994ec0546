//! More sources than places: useless ones are displaced, so that an honest one is asked.

use super::*;
use crate::control::{SourceState, StatusReply};
use crate::wire::Attributes;

/// As many sources as one download may have.
const PLACES: u8 = 64;

fn offer(size: u64) -> Listed {
    of_content("b", size, B3)
}

fn status(rig: &mut Rig) -> StatusReply {
    match rig.call(Request::Status) {
        Ok(Reply::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

/// So many seconds pass in which each request for metadata fails so; all say that they have the content.
fn fail_all(rig: &mut Rig, seconds: u32, fault: DialFault) {
    for _ in 0..seconds {
        open(rig);
        loop {
            let asked = metadata(rig);
            let inquiries = identifying(rig);
            if asked.is_empty() && inquiries.is_empty() {
                break;
            }
            asked.into_iter().for_each(|(exchange, ..)| rig.fail(exchange, fault));
            let says = Response::FileInfo { b3: B3, size: 4 * MIB, pending: 0 };
            inquiries.into_iter().for_each(|(exchange, _)| rig.succeed(exchange, says.clone()));
        }
        rig.pass(Duration::from_secs(1));
    }
}

#[test]
fn an_honest_source_is_asked_as_soon_as_a_search_finds_it_though_liars_have_all_places() {
    let mut rig = with_content(4 * MIB, PLACES);
    download(&mut rig, hits("1"));
    fail_all(&mut rig, 200, DialFault::Corrupt);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.sources.len()), (DownloadState::Retrying, usize::from(PLACES)));
    assert!(waiting.shares.iter().all(|share| share.state == SourceState::Corrupt));
    assert!(waiting.error.unwrap().message.contains("others are looked for"));
    hear_of(&mut rig, 100);
    found(&mut rig, 100, &offer(4 * MIB));
    open(&mut rig);
    assert_eq!(outline(&mut rig, 4 * MIB), peer(100));
    let proof = fetch(&mut rig);
    bring(&mut rig, &proof);
    // A liar that has lost its place does not come back as a new source.
    let missing: Vec<u8> = (1..=PLACES).filter(|n| !row(&mut rig, 1).sources.contains(&peer(*n))).collect();
    assert_eq!(missing.len(), 1);
    found(&mut rig, missing[0], &offer(4 * MIB));
    assert!(!row(&mut rig, 1).sources.contains(&peer(missing[0])));
    bring_everything(&mut rig);
    check(&mut rig, 4 * MIB);
    let limited = status(&mut rig).limited;
    assert_eq!((limited.sources_displaced, limited.sources_corrupt), (1, 2 * u64::from(PLACES)));
}

#[test]
fn sources_out_of_reach_give_way_to_one_that_was_not_asked_yet() {
    let mut rig = with_content(4 * MIB, PLACES);
    download(&mut rig, hits("1"));
    fail_all(&mut rig, 1, DialFault::Refused);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    hear_of(&mut rig, 100);
    found(&mut rig, 100, &offer(4 * MIB));
    open(&mut rig);
    assert_eq!(outline(&mut rig, 4 * MIB), peer(100));
}

#[test]
fn a_source_that_has_delivered_keeps_its_place_whatever_is_found() {
    let mut rig = begun(40 * MIB, 1);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::TimedOut);
    for n in 2..=250 {
        hear_of(&mut rig, n);
        found(&mut rig, n, &offer(40 * MIB));
    }
    assert!(row(&mut rig, 1).sources.contains(&peer(1)));
    assert_eq!(row(&mut rig, 1).sources.len(), usize::from(PLACES));
}

/// The n-th port of one host that is not a peer of this test otherwise.
fn port(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], 10_000 + n))
}

#[test]
fn one_network_does_not_keep_others_from_the_places() {
    let mut rig = begun(400 * MIB, 1);
    let offer_from = |rig: &mut Rig, from: SocketAddr| told_of(rig, from, from, &offer(1));
    (0..200).for_each(|n| offer_from(&mut rig, port(n)));
    assert_eq!(row(&mut rig, 1).sources.len(), usize::from(PLACES));
    (100..=140).for_each(|n| offer_from(&mut rig, peer(n)));
    let sources = row(&mut rig, 1).sources;
    let others = (100..=140).filter(|n| sources.contains(&peer(*n))).count();
    assert_eq!(others, 41, "each is of a network of its own");
    // The network that has most does not push out the others.
    (0..200).for_each(|n| offer_from(&mut rig, port(n)));
    let sources = row(&mut rig, 1).sources;
    assert!((100..=140).all(|n| sources.contains(&peer(n))) && sources.contains(&peer(1)));
}

#[test]
fn a_source_that_the_user_names_gets_a_place() {
    let mut rig = begun(400 * MIB, PLACES);
    rig.dials();
    rig.search_within("c", Some(0));
    let Message::Search(query) = rig.dials().remove(0).2.remove(0) else { panic!("a search") };
    rig.hit(&query.id, peer(200), of_content("c", 400 * MIB, B3));
    let hit = rig.hits(None).last().unwrap().id;
    let reply = download(&mut rig, hits(&hit.to_string()));
    assert_eq!(reply.ids, [1]);
    let sources = row(&mut rig, 1).sources;
    assert!(sources.contains(&peer(200)) && sources.len() == usize::from(PLACES), "{sources:?}");
}

#[test]
fn searches_for_a_name_continue_while_only_liars_are_known() {
    let mut rig = with_hit(Some(4 * MIB), 3);
    download(&mut rig, hits("1"));
    let mut searches = 0;
    for _ in 0..600 {
        open(&mut rig);
        for (exchange, _, _) in metadata(&mut rig) {
            rig.succeed(exchange, Response::Metadata { b3: B3, size: 4 * MIB });
        }
        for fetch in fetches(&mut rig) {
            rig.fail(fetch.exchange, DialFault::Corrupt);
        }
        for (exchange, _) in identifying(&mut rig) {
            rig.succeed(exchange, Response::FileInfo { b3: B3, size: 4 * MIB, pending: 0 });
        }
        for (exchange, _, messages) in rig.dials() {
            searches += messages.iter().filter(|message| matches!(message, Message::Search(_))).count();
            rig.deliver(exchange);
        }
        rig.pass(Duration::from_secs(1));
        assert_ne!(state(&mut rig, 1), DownloadState::Failed, "{:?}", row(&mut rig, 1));
    }
    assert!((3..60).contains(&searches), "{searches} searches in ten minutes");
    let file =
        Listed { name: name("dir/a.txt"), attributes: Some(Attributes { size: Some(4 * MIB), b3: None, more: false }) };
    hear_of(&mut rig, 9);
    found(&mut rig, 9, &file);
    open(&mut rig);
    let honest = fetch(&mut rig);
    assert_eq!((honest.to, honest.portion), (peer(9), Portion::Stream { size_max: Some(4 * MIB) }));
}

/// A download whose peer 1 is asked for the metadata. The sources in the other places are known from relayed hits alone, and
/// do not answer.
fn among_black_holes() -> Rig {
    let mut rig = with_content(4 * MIB, 1);
    rig.resets_first_contacts = false;
    download(&mut rig, hits("1"));
    open(&mut rig);
    (2..=PLACES).for_each(|n| found(&mut rig, n, &offer(4 * MIB)));
    rig
}

#[test]
fn a_source_that_has_spoken_itself_takes_the_place_of_one_that_others_have_named() {
    let mut rig = among_black_holes();
    assert_eq!(row(&mut rig, 1).sources.len(), usize::from(PLACES));
    found(&mut rig, 99, &offer(4 * MIB));
    assert!(!row(&mut rig, 1).sources.contains(&peer(99)), "it is as unknown as they are");
    hear_of(&mut rig, 100);
    found(&mut rig, 100, &offer(4 * MIB));
    let sources = row(&mut rig, 1).sources;
    assert!(sources.contains(&peer(100)) && sources.contains(&peer(1)) && sources.len() == usize::from(PLACES));
    let asked = metadata(&mut rig);
    rig.fail(asked[0].0, DialFault::TimedOut);
    assert_eq!(outline(&mut rig, 4 * MIB), peer(100));
    // One network does not get more places in this way than each of the others has.
    for n in 0..200 {
        rig.learn_peer(port(n), crate::control::PeerSource::Hit);
        rig.note_evidence(port(n), crate::node::speech::Evidence::Attributes);
        told_of(&mut rig, port(n), port(n), &offer(4 * MIB));
    }
    let sources = row(&mut rig, 1).sources;
    assert_eq!(sources.iter().filter(|addr| addr.ip() == port(0).ip()).count(), 1);
}

#[test]
fn a_source_whose_connection_times_out_late_is_not_asked_for_the_file() {
    let mut rig = with_relayed_hit(Some(3_000), 6);
    rig.resets_first_contacts = false;
    download(&mut rig, hits("1"));
    open(&mut rig);
    let mut asked = contacts(&mut rig);
    rig.pass(Duration::from_millis(2_100));
    asked.extend(contacts(&mut rig));
    assert_eq!(asked.len(), 6);
    rig.pass(Duration::from_millis(2_100));
    let stream = fetch(&mut rig);
    assert_eq!(stream.to, peer(1));
    rig.pass(Duration::from_secs(6));
    asked.into_iter().for_each(|(exchange, _)| rig.fail(exchange, DialFault::TimedOut));
    let waiting = row(&mut rig, 1).shares.iter().filter(|share| share.state == SourceState::Waiting).count();
    assert_eq!(waiting, 5, "all but the one that is asked for the file");
    rig.fail(stream.exchange, DialFault::TimedOut);
    assert!(fetches(&mut rig).is_empty());
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
}

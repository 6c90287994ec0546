//! Which peers are known to speak `p1`: from lists, hits and queries, until they behave otherwise. Addresses that are no
//! peers.

use super::rig::*;
use crate::control::{Notice, PeerRow, PeerState, RawText, Reply, Request, Selector};
use crate::fault::{DialFault, OtherProgram};
use crate::node::contract::{Action, Event, Expect, NodeConfig, OpenedPart, Response};
use crate::node::speech::{Evidence, Speech};
use crate::wire::{ListedPeer, Message};
use std::net::SocketAddr;
use std::time::Duration;

fn row(rig: &mut Rig, peer: SocketAddr) -> Option<PeerRow> {
    match rig.call(Request::Peers) {
        Ok(Reply::Peers(rows)) => rows.into_iter().find(|row| row.addr == peer),
        other => panic!("{other:?}"),
    }
}

fn p1(rig: &mut Rig, peer: SocketAddr) -> Option<bool> {
    row(rig, peer).expect("it is known").p1
}

/// The next list of the bootstrap node: peers, and whether each is marked `p1`. We are always on it.
fn list(rig: &mut Rig, peers: &[(u8, bool)]) {
    let listed = |(n, p1): &(u8, bool)| ListedPeer { addr: peer(*n), p1: *p1 };
    let mut rows: Vec<_> = peers.iter().map(listed).collect();
    rows.push(ListedPeer { addr: us(), p1: true });
    let exchange = loop {
        let mut dials = rig.dials();
        match dials.iter().position(|(_, _, messages)| matches!(messages[0], Message::RequestPeerList { .. })) {
            Some(at) => break dials.swap_remove(at).0,
            None => dials.into_iter().for_each(|(exchange, ..)| rig.deliver(exchange)),
        }
        rig.jump();
    };
    rig.succeed(exchange, Response::PeerList(rows));
}

/// A node that has this list from its bootstrap node.
fn listed_rig(peers: &[(u8, bool)]) -> Rig {
    let mut rig = Rig::new(config());
    rig.scan(&[("song", 5)]);
    let (exchange, _, message) = rig.dial();
    assert_eq!(message, Message::Register { port: 63_339, p1: true });
    rig.deliver(exchange);
    list(&mut rig, peers);
    rig
}

/// Whether the first request of a new download to a peer is of part 2.
fn first_request_is_p1(rig: &mut Rig, peer: SocketAddr, file: &str) -> bool {
    let selector = Selector::File { peer, name: RawText::new(file) };
    rig.call(Request::Download { what: vec![selector], output: None }).unwrap();
    let asked = asked_in_an_open_part(rig);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, peer);
    asked[0].1
}

/// Opens the part file that a download waits for; the peer of its first request, and whether that is of part 2.
fn asked_in_an_open_part(rig: &mut Rig) -> Vec<(SocketAddr, bool)> {
    let opened = rig.take(|order| match order {
        Action::OpenPart { download, .. } => Some(*download),
        _ => None,
    });
    let outcome = Ok(OpenedPart::Ready { path: "/part".into(), resumed: None, filesystem: None });
    rig.handle(Event::PartOpened { download: opened[0], outcome });
    rig.take(|order| match order {
        Action::FetchMetadata { to, .. } => Some((*to, true)),
        Action::Fetch { to, .. } => Some((*to, false)),
        _ => None,
    })
}

/// The user lists a peer's files, and the first lines are these.
fn list_files(rig: &mut Rig, peer: SocketAddr, attributes: bool) {
    rig.call(Request::List { peer }).unwrap();
    let (exchange, ..) = rig.dials().into_iter().find(|(_, to, _)| *to == peer).expect("it is asked");
    rig.handle(Event::ListBatch { exchange, files: vec![listed("song", attributes.then_some(5))] });
    rig.succeed(exchange, Response::FileList { truncated: false });
}

#[test]
fn a_list_shows_which_peers_speak_p1_before_they_are_dialled() {
    let mut rig = listed_rig(&[(1, true), (2, false)]);
    assert_eq!((p1(&mut rig, peer(1)), p1(&mut rig, peer(2))), (Some(true), None), "nothing is known of the other");
    assert!(first_request_is_p1(&mut rig, peer(1), "a"));
    assert!(!first_request_is_p1(&mut rig, peer(2), "a"));
}

#[test]
fn a_plain_registration_revokes_p1_if_the_bootstrap_node_lists_p1() {
    let mut rig = listed_rig(&[(1, true), (2, false)]);
    list_files(&mut rig, peer(2), true);
    list(&mut rig, &[(1, false), (2, false)]);
    assert_eq!(p1(&mut rig, peer(1)), None);
    assert_eq!(p1(&mut rig, peer(2)), Some(true), "it registers plainly, and has shown it all the same");
    assert!(!first_request_is_p1(&mut rig, peer(1), "a"));
    list(&mut rig, &[(1, true)]);
    assert_eq!(p1(&mut rig, peer(1)), Some(true), "it registered again");

    // A bootstrap node that marks nobody shows nothing.
    let (exchange, ..) = loop {
        rig.jump();
        let list = rig.dials().into_iter().find(|(_, _, of)| matches!(of[0], Message::RequestPeerList { .. }));
        if let Some(list) = list {
            break list;
        }
    };
    rig.succeed(exchange, plain_list(vec![us(), peer(1)]));
    assert_eq!(p1(&mut rig, peer(1)), Some(true));
}

#[test]
fn a_base_response_to_a_part_2_request_revokes_p1_and_a_list_does_not_restore_it() {
    let mut rig = listed_rig(&[(1, true)]);
    list_files(&mut rig, peer(1), false);
    assert_eq!(p1(&mut rig, peer(1)), Some(false));
    // The lease of the earlier program at this address lasts for minutes.
    list(&mut rig, &[(1, true)]);
    assert_eq!(p1(&mut rig, peer(1)), Some(false));
    assert!(!first_request_is_p1(&mut rig, peer(1), "a"));
    list_files(&mut rig, peer(1), true);
    assert_eq!(p1(&mut rig, peer(1)), Some(true), "it shows it itself");
}

#[test]
fn a_peers_own_search_with_a_base_id_revokes_p1() {
    let mut rig = listed_rig(&[(1, true)]);
    let elsewhere = SocketAddr::new(peer(7).ip(), 40_000);
    rig.request(elsewhere, query(b"old 1", "nothing", peer(1), 0));
    assert_eq!(p1(&mut rig, peer(1)), Some(true), "anybody can name it");
    rig.request(SocketAddr::new(peer(1).ip(), 40_000), query(b"old 2", "nothing", peer(1), 0));
    assert_eq!(p1(&mut rig, peer(1)), None);
    assert!(!first_request_is_p1(&mut rig, peer(1), "a"));
}

#[test]
fn refusals_and_timeouts_do_not_revoke_p1() {
    let mut rig = listed_rig(&[(1, true)]);
    for fault in [DialFault::Reset, DialFault::TimedOut, DialFault::Refused] {
        rig.call(Request::List { peer: peer(1) }).unwrap();
        let (exchange, ..) = rig.dials().into_iter().find(|(_, to, _)| *to == peer(1)).expect("it is asked");
        rig.fail(exchange, fault);
        assert_eq!(p1(&mut rig, peer(1)), Some(true), "{fault}");
    }
}

#[test]
fn a_running_download_learns_that_p1_is_revoked() {
    let mut rig = listed_rig(&[(1, true)]);
    assert!(first_request_is_p1(&mut rig, peer(1), "a"));
    list_files(&mut rig, peer(1), false);
    let exchange = rig.node.cx.exchanges.open().find(|(_, dial)| dial.to == peer(1)).map(|(id, _)| id).unwrap();
    rig.fail(exchange, DialFault::TimedOut);
    rig.pass(Duration::from_secs(100));
    assert_eq!(asked_in_an_open_part(&mut rig), [(peer(1), false)]);
}

#[test]
fn p1_shown_by_a_hit_is_kept_whatever_strangers_send() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.handle(Event::Reconfigure(Box::new(NodeConfig { bootstraps: Vec::new(), ..config() })));
    rig.search_within("song", Some(0));
    let (exchange, _, Message::Search(ours)) = rig.dial() else { panic!("a search") };
    rig.deliver(exchange);
    // More claims than there is room for.
    for n in 0..300_u32 {
        let forged = SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0b00_0000 + n), 5_000));
        rig.request(addr("11.0.0.1:40000"), query(format!("q{n}").as_bytes(), "x", forged, 0));
    }
    rig.hit(&ours.id, peer(9), listed("song", Some(5)));
    assert_eq!(p1(&mut rig, peer(9)), Some(true));
    // One address shows more peers than are remembered.
    for port in 0..5_000 {
        rig.hit(&ours.id, SocketAddr::new(peer(66).ip(), 10_000 + port), listed("song", Some(5)));
    }
    assert_eq!(p1(&mut rig, peer(9)), Some(true));
    assert_eq!(rig.node.network.peers().speech(peer(9)), Speech::P1, "though it had no row");
    assert!(first_request_is_p1(&mut rig, peer(9), "song"));
}

#[test]
fn an_address_that_answers_as_another_program_is_no_peer() {
    let mut rig = listed_rig(&[(1, false), (2, false)]);
    rig.call(Request::List { peer: peer(1) }).unwrap();
    let asks = rig.take(|order| match order {
        Action::Dial { exchange, expect: Expect::FileList, .. } => Some(*exchange),
        _ => None,
    });
    rig.fail(asks[0], DialFault::NotAPeer(OtherProgram::Ssh));
    let notices = rig.notices();
    let said = notices.iter().find_map(|notice| match notice {
        Notice::SearchDone { error: Some(error), .. } => Some(error.message.clone()),
        _ => None,
    });
    assert!(said.as_ref().is_some_and(|text| text.contains("an SSH server")), "{notices:?}");
    let shown = row(&mut rig, peer(1)).expect("the list names it");
    assert_eq!((shown.state, shown.neighbour, shown.p1), (PeerState::Failing, false, None));
    rig.search_within("song", Some(0));
    let asked: Vec<_> = rig.dials().into_iter().map(|(_, to, _)| to).collect();
    assert_eq!(asked, [peer(2)], "it is not searched");

    // When it is no longer listed, nothing is left of it.
    list(&mut rig, &[(2, false)]);
    assert_eq!(row(&mut rig, peer(1)), None);
}

#[test]
fn a_peer_that_has_shown_p1_while_its_search_waited_for_a_worker_gets_it_on_a_stream() {
    let config = NodeConfig { bootstraps: Vec::new(), max_workers: 1, ..config() };
    let mut rig = Rig::remembering(config, vec![peer(1), peer(2)]);
    rig.call(Request::Search { text: RawText::new("song"), max: None, ttl: None }).unwrap();
    let (first, to, _) = rig.dial();
    let other = if to == peer(1) { peer(2) } else { peer(1) };
    rig.note_evidence(other, Evidence::Attributes);
    rig.deliver(first);
    let streams = rig.take(|order| match order {
        Action::Stream { to, .. } => Some(*to),
        _ => None,
    });
    assert_eq!(streams, [other]);
}

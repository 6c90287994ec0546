//! What clients of `events` are told of the searches of others.

use super::rig::*;
use crate::control::{Notice, RawText, Request};
use std::net::SocketAddr;
use std::time::Duration;

/// The address of a peer from which searches come.
fn of(n: u8) -> SocketAddr {
    SocketAddr::new(peer(n).ip(), 40_000)
}

/// Has a peer send so many searches, none of which was seen before; gives how many of them are told.
fn told(rig: &mut Rig, sender: u8, searches: usize, ids: &mut impl Iterator<Item = u64>) -> usize {
    for id in ids.take(searches) {
        rig.request(of(sender), query(id.to_string().as_bytes(), "song", peer(1), 0));
    }
    rig.notices().iter().filter(|notice| matches!(notice, Notice::PeerSearch { .. })).count()
}

#[test]
fn a_search_of_a_peer_is_told_once_with_the_beginning_of_its_text() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.request(of(9), query(b"before", "song", peer(1), 3));
    assert!(rig.notices().is_empty(), "nobody listens");
    rig.call(Request::Events).unwrap();
    rig.orders.clear();
    let text = format!("{}é", "t".repeat(255));
    rig.request(of(9), query(b"q", &text, peer(1), 3));
    rig.request(of(9), query(b"q", &text, peer(1), 3));
    let notice =
        Notice::PeerSearch { from: of(9), requester: peer(1), text: RawText::new(&text.as_bytes()[..255]), ttl: 3 };
    let told: Vec<_> = rig.notices().into_iter().filter(|it| matches!(it, Notice::PeerSearch { .. })).collect();
    assert_eq!(told, [notice]);
}

#[test]
fn a_flood_of_searches_hides_no_other_network_and_is_told_in_part() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(Request::Events).unwrap();
    rig.orders.clear();
    let mut ids = 1..;
    assert_eq!(told(&mut rig, 9, 100, &mut ids), 10, "of one network");
    assert_eq!(told(&mut rig, 10, 1, &mut ids), 1, "of another");
    rig.pass(Duration::from_secs(3));
    assert_eq!(told(&mut rig, 9, 100, &mut ids), 3);
    rig.pass(Duration::from_secs(60));
    assert_eq!((20..60).map(|sender| told(&mut rig, sender, 2, &mut ids)).sum::<usize>(), 50, "of all together");
}

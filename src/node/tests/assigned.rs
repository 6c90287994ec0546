//! Base peers that lists assign to this node: they are searched, and get no more than their share of places.

use super::membership::peers;
use super::rig::*;
use super::turnover::searches_for_itself;
use crate::node::contract::{NodeConfig, Response};
use crate::wire::ListedPeer;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// The n-th endpoint with this prefix, each in a wide network of its own.
fn apart(first: u8, n: u8) -> SocketAddr {
    SocketAddr::from(([first, n, 0, 1], 63_339))
}

/// The next list names these.
fn take_list(rig: &mut Rig, p1: &[SocketAddr], base: &[SocketAddr]) {
    let rows = |peers: &[SocketAddr], p1| peers.iter().map(|addr| ListedPeer { addr: *addr, p1 }).collect::<Vec<_>>();
    let list = [rows(p1, true), rows(base, false), rows(&[us()], true)].concat();
    rig.pass(Duration::from_secs(60));
    for (exchange, to, messages) in rig.dials() {
        match (to == bootstrap(), &messages[..]) {
            (true, [crate::wire::Message::RequestPeerList { .. }]) => {
                rig.succeed(exchange, Response::PeerList(list.clone()));
            }
            _ => rig.deliver(exchange),
        }
    }
}

fn neighbours(rig: &mut Rig) -> BTreeSet<SocketAddr> {
    peers(rig).into_iter().filter(|row| row.neighbour).map(|row| row.addr).collect()
}

/// A node whose neighbours speak `p1` and are all useful.
fn among_useful_ones(count: u8) -> (Rig, Vec<SocketAddr>) {
    let useful: Vec<_> = (1..=count).map(|n| apart(20, n)).collect();
    let mut rig = Rig::new(NodeConfig { max_peers: useful.len(), ..config() });
    rig.join(useful.clone());
    take_list(&mut rig, &useful, &[]);
    rig.search("anything");
    rig.dials().iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    useful.iter().for_each(|peer| searches_for_itself(&mut rig, *peer));
    (rig, useful)
}

#[test]
fn a_base_peer_that_registers_last_is_searched_although_all_places_are_taken() {
    let (mut rig, useful) = among_useful_ones(3);
    assert_eq!(neighbours(&mut rig).len(), 3);
    take_list(&mut rig, &useful, &[apart(30, 1)]);
    let chosen = neighbours(&mut rig);
    assert!(chosen.len() == 3 && chosen.contains(&apart(30, 1)), "{chosen:?}");
    take_list(&mut rig, &useful, &[]);
    assert_eq!(neighbours(&mut rig), useful.into_iter().collect(), "it is not listed any more");
}

/// An attacker registers base peers in many networks, others with each list, and all of them are remembered.
#[test]
fn base_peers_on_lists_get_one_place_of_eight() {
    let (mut rig, useful) = among_useful_ones(8);
    for turn in 0..9_u8 {
        let base: Vec<_> = (0..100).map(|n| apart(100 + turn, n)).collect();
        take_list(&mut rig, &useful, &base);
        rig.search("anything");
        rig.dials().iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
        let chosen = neighbours(&mut rig);
        let left = useful.iter().filter(|peer| chosen.contains(peer)).count();
        assert_eq!((left, chosen.len()), (7, 8), "with list {turn}");
    }
}

#[test]
fn an_assigned_base_peer_that_does_not_answer_gives_its_place_back() {
    let (mut rig, useful) = among_useful_ones(3);
    take_list(&mut rig, &useful, &[apart(30, 1)]);
    rig.search("anything");
    for (exchange, to, _) in rig.dials() {
        match to == apart(30, 1) {
            true => rig.fail(exchange, crate::fault::DialFault::TimedOut),
            false => rig.deliver(exchange),
        }
    }
    assert_eq!(neighbours(&mut rig), useful.iter().copied().collect());
    take_list(&mut rig, &useful, &[apart(30, 1)]);
    assert_eq!(neighbours(&mut rig), useful.into_iter().collect(), "it is left to others");
}

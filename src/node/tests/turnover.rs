//! Neighbours that accept connections and do nothing else: when they are replaced, and which stay.

use super::membership::{list_next, peers};
use super::rig::*;
use super::strangers::{crowd, neighbours_in, search_once, with_two_lists};
use crate::node::contract::{Action, NodeConfig, RememberedPeers};
use crate::wire::Message;
use std::net::SocketAddr;

/// A node whose neighbours, in networks that begin with 66, answer and have done nothing else.
fn among_silent_ones() -> Rig {
    let mut rig = Rig::new(config());
    rig.join(crowd(66, 8));
    search_once(&mut rig, None);
    assert_eq!(neighbours_in(&mut rig, 66), 8);
    rig
}

fn replaced(rig: &Rig) -> u64 {
    rig.node.counters().limited.neighbours_replaced
}

/// A list comes, and neighbours are chosen.
fn take_list(rig: &mut Rig, list: Vec<SocketAddr>) {
    list_next(rig, list);
    peers(rig);
}

/// A peer sends a search of its own: it is useful.
pub(super) fn searches_for_itself(rig: &mut Rig, peer: SocketAddr) {
    rig.request(SocketAddr::new(peer.ip(), 40_000), query(peer.ip().to_string().as_bytes(), "xyz", peer, 0));
}

/// The neighbours in networks with this prefix.
fn those_in(rig: &mut Rig, network: &str) -> Vec<SocketAddr> {
    let rows = peers(rig).into_iter().filter(|row| row.neighbour);
    rows.map(|row| row.addr).filter(|addr| addr.to_string().starts_with(network)).collect()
}

#[test]
fn silent_neighbours_are_replaced_one_with_each_list_until_a_quarter_are_useful() {
    let mut rig = among_silent_ones();
    for turn in 1..=4 {
        take_list(&mut rig, crowd(20, 20));
        assert_eq!(neighbours_in(&mut rig, 66), 8 - turn, "with list {turn}");
        // The next one is tried when this one has answered.
        take_list(&mut rig, crowd(20, 20));
        assert_eq!(neighbours_in(&mut rig, 66), 8 - turn, "on trial");
        search_once(&mut rig, None);
    }
    assert_eq!(replaced(&rig), 4);
    let useful = those_in(&mut rig, "20.");
    assert_eq!(useful.len(), 4);
    useful[..2].iter().for_each(|peer| searches_for_itself(&mut rig, *peer));
    for _ in 0..10 {
        take_list(&mut rig, crowd(20, 20));
        search_once(&mut rig, None);
    }
    assert_eq!((neighbours_in(&mut rig, 66), replaced(&rig)), (4, 4), "two of eight are of use");
    // No list has named the others for half an hour.
    for _ in 0..80 {
        take_list(&mut rig, crowd(20, 20));
        search_once(&mut rig, None);
    }
    assert_eq!((neighbours_in(&mut rig, 66), neighbours_in(&mut rig, 20), replaced(&rig)), (0, 8, 8));
}

#[test]
fn newcomers_on_the_latest_list_become_neighbours_although_all_neighbours_answer() {
    let mut rig = among_silent_ones();
    let newcomer = crowd(20, 1);
    take_list(&mut rig, newcomer.clone());
    assert_eq!(those_in(&mut rig, "20."), newcomer, "with the first list that names it");
}

/// Lists are samples: that one does not name a peer means little. A peer that shares unwanted files shows nothing.
#[test]
fn quiet_neighbours_stay_while_lists_name_them_at_times_or_name_nobody_else() {
    let mut rig = among_silent_ones();
    let (useful, quiet) = (those_in(&mut rig, "66.")[..2].to_vec(), those_in(&mut rig, "66.")[2..].to_vec());
    useful.iter().for_each(|peer| searches_for_itself(&mut rig, *peer));
    for turn in 0..200 {
        let list = if turn % 20 == 0 { crowd(66, 8) } else { crowd(20, 20) };
        take_list(&mut rig, list);
        search_once(&mut rig, None);
    }
    assert_eq!(those_in(&mut rig, "66."), [useful, quiet].concat(), "for over an hour");

    // A bootstrap node that has lost its registry, and lists nobody for a while.
    let mut rig = among_silent_ones();
    for _ in 0..200 {
        take_list(&mut rig, Vec::new());
        search_once(&mut rig, None);
    }
    assert_eq!((neighbours_in(&mut rig, 66), replaced(&rig)), (8, 0));
    for _ in 0..3 {
        take_list(&mut rig, crowd(66, 8));
    }
    assert_eq!((neighbours_in(&mut rig, 66), replaced(&rig)), (8, 0));
}

#[test]
fn a_neighbour_that_forwards_searches_or_sends_a_hit_is_useful() {
    for sends_hit in [false, true] {
        let mut rig = Rig::new(NodeConfig { max_peers: 2, ..config() });
        rig.join(crowd(66, 2));
        rig.search_within("song", Some(0));
        let ours = rig.dials();
        let (from, Message::Search(search)) = (ours[0].1, &ours[0].2[0]) else { panic!("a search") };
        if sends_hit {
            rig.hit(&search.id, from, listed("song", None));
        } else {
            rig.request(SocketAddr::new(from.ip(), 40_000), query(b"q", "xyz", peer(9), 0));
        }
        ours.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
        for _ in 0..100 {
            take_list(&mut rig, crowd(20, 20));
            search_once(&mut rig, None);
        }
        let left = those_in(&mut rig, "66.");
        assert_eq!(left, [from], "sends_hit: {sends_hit}");
    }
}

/// A newcomer that accepts no connection costs a place at most once.
#[test]
fn a_neighbour_that_fails_on_trial_loses_its_place() {
    let mut rig = among_silent_ones();
    for _ in 0..30 {
        take_list(&mut rig, crowd(20, 20));
        search_once(&mut rig, Some(20));
        assert!(neighbours_in(&mut rig, 66) >= 7);
    }
    assert_eq!(neighbours_in(&mut rig, 66), 8);
}

#[test]
fn useful_peers_are_saved_before_those_that_only_answered() {
    let mut rig = Rig::recalling(config(), RememberedPeers { proven: Vec::new(), others: crowd(66, 8) });
    rig.join(crowd(20, 2));
    search_once(&mut rig, None);
    let useful = those_in(&mut rig, "66.").pop().expect("a neighbour");
    searches_for_itself(&mut rig, useful);
    rig.handle(crate::node::contract::Event::Leave);
    let remembered = rig.take(|order| match order {
        Action::RememberPeers(peers) => Some(peers.proven.clone()),
        _ => None,
    });
    assert_eq!(remembered.last().expect("they are remembered")[0], useful);
}

/// One bootstrap node always names the same peers; those of the other are named at times, as in a sample.
#[test]
fn a_list_that_always_names_the_same_does_not_get_all_places() {
    let mut rig = with_two_lists();
    for _ in 0..20 {
        search_once(&mut rig, None);
    }
    assert_eq!((neighbours_in(&mut rig, 20), neighbours_in(&mut rig, 66)), (4, 4));
    for _ in 0..60 {
        let lists: Vec<_> = loop {
            let lists = rig.dials().into_iter().filter_map(|(exchange, to, messages)| match messages[..] {
                [Message::RequestPeerList { .. }] => Some((exchange, to)),
                _ => {
                    rig.deliver(exchange);
                    None
                }
            });
            let lists: Vec<_> = lists.collect();
            match lists.is_empty() {
                true => drop(rig.jump()),
                false => break lists,
            }
        };
        for (exchange, to) in lists {
            let rows = if to == bootstrap() { crowd(66, 150) } else { crowd(21, 1) };
            rig.succeed(exchange, plain_list([rows, vec![us()]].concat()));
        }
        search_once(&mut rig, None);
        assert!(neighbours_in(&mut rig, 66) <= 4);
    }
}

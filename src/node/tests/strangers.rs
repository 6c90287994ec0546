//! Tables that strangers can fill: which rows are displaced, and what proven peers keep.

use super::membership::{list_next, peers};
use super::rig::*;
use crate::control::PeerSource;
use crate::fault::DialFault;
use crate::node::contract::{BootstrapAddr, NodeConfig, RememberedPeers};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn forged_searches_do_not_flush_the_table_and_do_not_stay() {
    let listed: Vec<_> = (1..=20).map(peer).collect();
    let mut rig = Rig::new(config());
    rig.join(listed.clone());
    for n in 0..3_000_u32 {
        let forged = SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0b00_0000 + n), 5_000));
        rig.request(addr("11.0.0.1:40000"), query(format!("q{n}").as_bytes(), "x", forged, 0));
    }
    let rows = peers(&mut rig);
    assert_eq!(rows.len(), 20 + 250);
    for peer in &listed {
        assert!(rows.iter().any(|row| row.addr == *peer));
    }
    let neighbours: Vec<_> = rows.iter().filter(|row| row.neighbour).map(|row| row.addr).collect();
    assert!(neighbours.iter().all(|addr| listed.contains(addr)), "claims are the last choice: {neighbours:?}");
    rig.orders.clear();
    rig.pass(Duration::from_secs(31 * 60));
    assert!(peers(&mut rig).iter().all(|row| row.source != PeerSource::Search));
}

#[test]
fn a_claim_displaces_the_oldest_one_of_the_network_with_most() {
    let mut rig = Rig::new(config());
    rig.join((1..=20).map(peer).collect());
    let search = |rig: &mut Rig, n: u32, requester| {
        let sender = SocketAddr::from(([11, 0, 1, (n / 256) as u8], 40_000));
        rig.request(sender, query(format!("q{n}").as_bytes(), "x", requester, 0));
    };
    let honest: Vec<_> = (0..10).map(|n| SocketAddr::from(([10, 2, 0, n], 63_339))).collect();
    honest.iter().enumerate().for_each(|(n, addr)| search(&mut rig, n as u32, *addr));
    for n in 0..300_u16 {
        search(&mut rig, 100 + u32::from(n), SocketAddr::from(([11, 0, 0, 1], 5_000 + n)));
    }
    let known = |rig: &mut Rig, wanted: &[SocketAddr]| {
        let rows = peers(rig);
        wanted.iter().filter(|addr| rows.iter().any(|row| row.addr == **addr)).count()
    };
    assert_eq!(known(&mut rig, &honest), 10, "the forged ones are of one network");
    // An attacker that forges all networks displaces others, but keeps nobody out.
    for n in 0..300_u32 {
        search(&mut rig, 1_000 + n, SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0c00_0000 + n), 5_000)));
    }
    search(&mut rig, 2_000, peer(99));
    assert_eq!(known(&mut rig, &[peer(99)]), 1);
    assert_eq!(peers(&mut rig).len(), 20 + 250);
    assert_eq!(rig.node.counters().limited.peers_displaced, 10 + 300 + 300 + 1 - 250);
}

#[test]
fn among_equally_good_rows_those_of_the_network_with_most_are_displaced() {
    let mut rig = Rig::new(config());
    let single: Vec<_> = (1..=100).map(peer).collect();
    rig.join(single.clone());
    for turn in 0..6_u16 {
        list_next(&mut rig, (0..199).map(|n| SocketAddr::from(([192, 0, 2, 66], 1_000 + turn * 199 + n))).collect());
    }
    let rows = peers(&mut rig);
    let left = rows.iter().filter(|row| single.contains(&row.addr)).count();
    // Three that were neighbours and failed may be dropped.
    assert!(rows.len() == 1_000 && left >= 90, "{left} of 100 are left among {}", rows.len());
}

/// A bootstrap node was filled with endpoints that do not exist.
#[test]
fn a_newcomer_on_the_latest_list_is_searched_although_the_table_was_full_of_strangers() {
    let stranger = |n: u32| SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0b00_0000 + n), 5_000));
    let mut rig = Rig::new(config());
    rig.join((0..199).map(stranger).collect());
    for turn in 1..=6 {
        list_next(&mut rig, (turn * 199..(turn + 1) * 199).map(stranger).collect());
    }
    assert_eq!(peers(&mut rig).len(), 1_000);
    let newcomers: Vec<_> = (1..=3).map(peer).collect();
    list_next(&mut rig, newcomers.clone());
    let known = peers(&mut rig);
    assert!(newcomers.iter().all(|peer| known.iter().any(|row| row.addr == *peer)));
    // The earlier neighbours do not answer, and the newcomers replace them.
    rig.search_within("song", Some(0));
    for (exchange, to, _) in rig.dials() {
        if !newcomers.contains(&to) {
            rig.fail(exchange, DialFault::Refused);
        }
    }
    rig.search_within("song", Some(0));
    let searched: Vec<_> = rig.dials().into_iter().map(|(_, to, _)| to).collect();
    assert!(newcomers.iter().all(|peer| searched.contains(peer)), "{searched:?}");
}

#[test]
fn a_peer_no_longer_listed_that_does_not_answer_is_dropped() {
    let mut rig = Rig::new(config());
    rig.join((1..=40).map(peer).collect());
    list_next(&mut rig, vec![peer(41)]);
    assert_eq!(peers(&mut rig).len(), 41);
    for _ in 0..100 {
        list_next(&mut rig, vec![peer(41)]);
    }
    let known = peers(&mut rig);
    assert!(known.len() <= 9, "the neighbours, and the one that is listed: {}", known.len());
    assert!(known.iter().any(|row| row.addr == peer(41)));
}

/// Peers, each in a network of its own.
pub(super) fn crowd(network: u8, count: u8) -> Vec<SocketAddr> {
    (0..count).map(|n| SocketAddr::from(([network, 0, 0, n], 63_339))).collect()
}

/// How many of the neighbours are in networks with this prefix.
pub(super) fn neighbours_in(rig: &mut Rig, network: u8) -> usize {
    let rows = peers(rig);
    let begins_so = |addr: SocketAddr| matches!(addr.ip(), std::net::IpAddr::V4(ip) if ip.octets()[0] == network);
    rows.iter().filter(|row| row.neighbour && begins_so(row.addr)).count()
}

/// Searches once; the neighbours in networks with this prefix refuse, the others answer.
pub(super) fn search_once(rig: &mut Rig, refusing: Option<u8>) {
    rig.search_within("anything", Some(0));
    for (exchange, to, _) in rig.dials() {
        let refuses = matches!(to.ip(), std::net::IpAddr::V4(ip) if Some(ip.octets()[0]) == refusing);
        if refuses { rig.fail(exchange, DialFault::Refused) } else { rig.deliver(exchange) }
    }
}

#[test]
fn a_quarter_of_the_neighbours_are_proven_whatever_a_list_says() {
    let remembered = || RememberedPeers { proven: crowd(20, 8), others: crowd(30, 20) };
    let mut rig = Rig::recalling(config(), remembered());
    rig.join(crowd(66, 150));
    assert_eq!((neighbours_in(&mut rig, 20), neighbours_in(&mut rig, 66)), (2, 6));
    for _ in 0..10 {
        search_once(&mut rig, None);
    }
    assert_eq!((neighbours_in(&mut rig, 20), neighbours_in(&mut rig, 66)), (2, 6), "who answers stays");

    // Silent ones are tried one after the other, and lose their places in the end.
    let mut rig = Rig::recalling(config(), remembered());
    rig.join(crowd(66, 150));
    for _ in 0..3 {
        assert_eq!(neighbours_in(&mut rig, 20), 2);
        search_once(&mut rig, Some(20));
    }
    search_once(&mut rig, Some(20));
    assert_eq!((neighbours_in(&mut rig, 20), neighbours_in(&mut rig, 66)), (0, 8));
}

/// A node whose first bootstrap node lists only its own peers, and the second others; all places are taken by the first.
pub(super) fn with_two_lists() -> Rig {
    let other = BootstrapAddr { host: "10.0.0.9".into(), port: 21_168 };
    let mut rig = Rig::new(NodeConfig { bootstraps: [config().bootstraps, vec![other]].concat(), ..config() });
    let registrations = rig.dials();
    rig.deliver(registrations[0].0);
    rig.answer_peer_list(crowd(66, 150));
    search_once(&mut rig, None);
    assert_eq!(neighbours_in(&mut rig, 66), 8);
    rig.deliver(registrations[1].0);
    rig.answer_peer_list(crowd(20, 20));
    rig
}

#[test]
fn one_bootstrap_node_does_not_choose_all_neighbours() {
    let mut rig = with_two_lists();
    for _ in 0..8 {
        search_once(&mut rig, None);
    }
    assert_eq!((neighbours_in(&mut rig, 20), neighbours_in(&mut rig, 66)), (4, 4), "each has its share");
}

#[test]
fn a_list_of_strangers_replaces_one_neighbour_at_a_time() {
    let mut rig = with_two_lists();
    for _ in 0..40 {
        assert!(neighbours_in(&mut rig, 66) >= 7);
        search_once(&mut rig, Some(20));
    }
    assert_eq!(neighbours_in(&mut rig, 66), 8, "all of the others were tried");
}

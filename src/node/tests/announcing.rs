//! Nodes that receive no searches, and their announcements.

use super::newcomers::{announce, contacts, in_network, list_with_p1, node_that_registers, settled};
use super::rig::*;
use crate::id::QueryId;
use crate::node::contract::Response;
use crate::wire::{ListedPeer, Message};
use std::net::SocketAddr;
use std::time::Duration;

/// Lets 10 minutes pass in which lists name 40 peers, which answer first contacts if `answers`; calls `each` every second.
/// The seconds between the announcements that it lacks searches.
fn announcements_after(rig: &mut Rig, answers: bool, mut each: impl FnMut(&mut Rig)) -> Vec<u32> {
    let (mut gaps, mut gap) = (Vec::new(), 0);
    for _ in 0..600 {
        rig.pass(Duration::from_secs(1));
        each(rig);
        gap += 1;
        for (exchange, _, messages) in rig.dials() {
            match &messages[..] {
                [Message::FirstContact { id, .. }] => {
                    assert!(id.lacks_searches());
                    gaps.push(std::mem::take(&mut gap));
                    match answers {
                        true => rig.succeed(exchange, Response::SpeaksP1),
                        false => rig.deliver(exchange),
                    }
                }
                [Message::RequestPeerList { .. }] => {
                    let rows = (1..=40).map(in_network).chain([us()]).map(|addr| ListedPeer { addr, p1: true });
                    rig.succeed(exchange, Response::PeerList(rows.collect()));
                }
                _ => rig.deliver(exchange),
            }
        }
    }
    gaps
}

#[test]
fn a_node_that_receives_no_searches_announces_itself_to_further_peers_ever_less_often() {
    let mut rig = announced();
    let gaps = announcements_after(&mut rig, true, |_| {});
    assert!((4..=7).contains(&gaps.len()), "{gaps:?}");
    let (first, later) = (gaps[1], gaps[gaps.len() - 1]);
    assert!(gaps[0] >= 30 && first >= 60 && later >= 120, "{gaps:?}");
    let mut n = 0;
    let gaps = announcements_after(&mut rig, true, |rig| {
        n += 1;
        if n % 20 == 0 {
            rig.request(in_network(3), query(format!("q{n}").as_bytes(), "song", peer(200), 3));
        }
    });
    assert!(gaps.len() <= 1, "it is heard: {gaps:?}");
}

/// A node that has started, and whose announcements four peers of a list of 40 have accepted.
fn announced() -> Rig {
    let mut rig = node_that_registers();
    list_with_p1(&mut rig, (1..=40).map(in_network));
    let told = contacts(&mut rig);
    told.iter().for_each(|(exchange, _)| rig.succeed(*exchange, Response::SpeaksP1));
    rig
}

#[test]
fn a_node_that_receives_no_searches_announces_itself_to_one_peer_at_a_time_even_if_none_answers() {
    let gaps = announcements_after(&mut announced(), false, |_| {});
    assert!((4..=7).contains(&gaps.len()) && gaps.iter().all(|gap| *gap >= 30), "{gaps:?}");
}

#[test]
fn a_node_that_learns_of_peers_late_announces_itself_as_a_newcomer() {
    let mut rig = node_that_registers();
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, plain_list(vec![us()]));
    for _ in 0..300 {
        rig.pass(Duration::from_secs(1));
        for (exchange, _, messages) in rig.dials() {
            match &messages[..] {
                [Message::RequestPeerList { .. }] => rig.succeed(exchange, plain_list(vec![us()])),
                _ => rig.deliver(exchange),
            }
        }
    }
    let exchange = loop {
        rig.jump();
        let lists = |(exchange, _, messages): (_, _, Vec<Message>)| {
            matches!(messages[..], [Message::RequestPeerList { .. }]).then_some(exchange)
        };
        if let Some(exchange) = rig.dials().into_iter().find_map(lists) {
            break exchange;
        }
    };
    let rows = (1..=40).map(in_network).chain([us()]).map(|addr| ListedPeer { addr, p1: true });
    rig.succeed(exchange, Response::PeerList(rows.collect()));
    let is_marked = |(_, _, messages): (_, _, Vec<Message>)| match &messages[..] {
        [Message::FirstContact { id, .. }] => Some(id.lacks_searches()),
        _ => None,
    };
    assert_eq!(rig.dials().into_iter().filter_map(is_marked).collect::<Vec<_>>(), [false; 4]);
}

#[test]
fn a_peer_that_receives_no_searches_is_checked_only_by_nodes_that_receive_some() {
    let mut rig = settled(vec![in_network(1)]);
    let announced = |rig: &mut Rig, n: u8| {
        let from = SocketAddr::new(in_network(n).ip(), 50_000);
        let id = QueryId::p1(QueryId::lacking_searches(7));
        rig.request(from, Message::FirstContact { id, requester: in_network(n) });
        contacts(rig).len()
    };
    assert_eq!(announced(&mut rig, 20), 0, "nobody searches");
    rig.request(peer(200), query(b"q0", "song", peer(200), 0));
    assert_eq!(announced(&mut rig, 20), 0, "who searches itself may not have us as a neighbour");
    rig.request(peer(3), query(b"q1", "song", peer(200), 0));
    rig.pass(Duration::from_secs(20));
    assert_eq!(announced(&mut rig, 20), 1);
    rig.pass(Duration::from_secs(20));
    assert_eq!(announced(&mut rig, 21), 0, "nobody searches any more");
    announce(&mut rig, in_network(21), in_network(21));
    assert_eq!(contacts(&mut rig).len(), 1, "a newcomer is asked back in any case");
}

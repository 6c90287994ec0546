//! New peers: how they are found, and the limited effect of false announcements.

use super::membership::peers;
use super::rig::*;
use super::turnover::searches_for_itself;
use crate::control::Notice;
use crate::fault::DialFault;
use crate::id::{ExchangeId, QueryId};
use crate::node::contract::{Event, NodeConfig, Response};
use crate::node::speech::Evidence;
use crate::wire::{ListedPeer, Message, SearchDone, SearchReport};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A node that knows these peers from a list, and has requested its second list.
pub(super) fn settled(listed: Vec<SocketAddr>) -> Rig {
    let mut rig = Rig::new(config());
    rig.join(listed.clone());
    rig.pass(Duration::from_secs(5));
    rig.answer_peer_list(listed);
    rig
}

/// Answers first contacts; the peers that a search was sent to, and its TTL.
fn searched(rig: &mut Rig) -> Vec<(SocketAddr, u8)> {
    let mut to_whom = Vec::new();
    for (exchange, to, messages) in rig.dials() {
        let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
        to_whom.push((to, search.ttl));
        rig.deliver(exchange);
    }
    to_whom
}

fn neighbours(rig: &mut Rig) -> BTreeSet<SocketAddr> {
    peers(rig).into_iter().filter(|row| row.neighbour).map(|row| row.addr).collect()
}

/// A first contact comes in, on a connection from another port of `ip`.
pub(super) fn announce(rig: &mut Rig, from: SocketAddr, requester: SocketAddr) {
    let from = SocketAddr::new(from.ip(), 50_000);
    rig.request(from, Message::FirstContact { id: QueryId::p1(7), requester });
}

/// Takes the first contacts that are sent, with their destinations.
pub(super) fn contacts(rig: &mut Rig) -> Vec<(crate::id::ExchangeId, SocketAddr)> {
    let contact = |(exchange, to, messages): (_, _, Vec<Message>)| {
        matches!(messages[..], [Message::FirstContact { .. }]).then_some((exchange, to))
    };
    rig.dials().into_iter().filter_map(contact).collect()
}

pub(super) fn in_network(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, n, 1], 63_339))
}

#[test]
fn a_search_requests_a_list_and_is_sent_to_the_newcomers_on_it() {
    let mut rig = settled(vec![peer(1)]);
    rig.pass(Duration::from_secs(2));
    rig.search("song");
    let mut dials = rig.dials();
    let at = dials.iter().position(|(_, to, _)| *to == bootstrap()).expect("the list is asked for");
    let (list, ..) = dials.remove(at);
    assert_eq!(dials.iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [peer(1)], "the search does not wait for it");
    rig.succeed(list, plain_list(vec![us(), peer(1), peer(2), peer(3)]));
    let mut reached = searched(&mut rig);
    reached.sort();
    assert_eq!(reached, [(peer(2), 1), (peer(3), 1)]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(searched(&mut rig).len(), 3, "they get the further rings like others");
}

#[test]
fn a_newcomer_on_a_list_is_searched_although_all_places_are_taken() {
    let full: Vec<_> = (1..=8).map(in_network).collect();
    let mut rig = settled(full.clone());
    rig.search("anything");
    searched(&mut rig);
    rig.pass(Duration::from_secs(61));
    rig.dials();
    rig.search("song");
    let dials = rig.dials();
    assert_eq!(dials.iter().filter(|(_, to, _)| *to == bootstrap()).count(), 0, "the list is fresh");
    let mut rig = settled(full.clone());
    // None of these is replaced by the newcomer.
    full[..2].iter().for_each(|peer| searches_for_itself(&mut rig, *peer));
    rig.search("anything");
    searched(&mut rig);
    rig.pass(Duration::from_secs(12));
    rig.search("song");
    let mut dials = rig.dials();
    let at = dials.iter().position(|(_, to, _)| *to == bootstrap()).expect("the list is old");
    let (list, ..) = dials.remove(at);
    rig.succeed(list, plain_list([full, vec![us(), in_network(9)]].concat()));
    assert_eq!(searched(&mut rig), [(in_network(9), 1)]);
    rig.pass(Duration::from_secs(1));
    assert!(!searched(&mut rig).iter().any(|(to, _)| *to == in_network(9)), "once is enough");
}

/// Searches, lets the one neighbour report done at once, and takes the list request, if there is one.
fn search_quickly(rig: &mut Rig) -> Option<ExchangeId> {
    rig.search_within("song", Some(1));
    let mut list = None;
    for (exchange, to, messages) in rig.dials() {
        match &messages[..] {
            [Message::Search(search)] => {
                rig.deliver(exchange);
                let done = SearchDone { id: search.id.clone(), cut: false, ttl: None, reports: true };
                rig.handle(Event::SearchReport { peer: to, report: SearchReport::Done(done) });
            }
            _ => list = Some(exchange),
        }
    }
    list
}

#[test]
fn a_search_waits_for_the_list_it_requested_unless_the_last_one_was_late() {
    let span = |rig: &mut Rig| {
        let began = rig.now;
        while !rig.notices().iter().any(|notice| matches!(notice, Notice::SearchDone { .. })) {
            rig.jump();
        }
        rig.now.saturating_since(began).as_millis()
    };
    let mut rig = settled(vec![peer(1)]);
    rig.note_evidence(peer(1), Evidence::Attributes);
    let answer = |rig: &mut Rig, list| rig.succeed(list, plain_list(vec![us(), peer(1)]));
    let searched_later = |rig: &mut Rig| {
        rig.pass(Duration::from_secs(3));
        search_quickly(rig).expect("a list")
    };
    let list = searched_later(&mut rig);
    answer(&mut rig, list);
    assert_eq!(span(&mut rig), 50);
    let list = searched_later(&mut rig);
    rig.pass(Duration::from_millis(400));
    answer(&mut rig, list);
    assert_eq!(span(&mut rig), 100, "it went on when the list came");
    assert!(search_quickly(&mut rig).is_none(), "the list is fresh");
    assert_eq!(span(&mut rig), 50);
    let list = searched_later(&mut rig);
    assert!((800..=1_000).contains(&span(&mut rig)), "the bootstrap node is silent");
    assert!(search_quickly(&mut rig).is_none());
    assert_eq!(span(&mut rig), 50, "nobody waits for it any more");
    answer(&mut rig, list);
    let list = searched_later(&mut rig);
    assert_eq!(span(&mut rig), 50, "it was late before");
    answer(&mut rig, list);
    rig.pass(Duration::from_secs(10));
    searched_later(&mut rig);
    assert!(span(&mut rig) >= 800, "it was quick before");
}

#[test]
fn many_searches_in_a_row_request_few_lists() {
    let mut rig = settled(vec![peer(1)]);
    let mut lists = 0;
    for _ in 0..120 {
        rig.search_within("song", Some(0));
        for (exchange, to, _) in rig.dials() {
            match to == bootstrap() {
                true => {
                    lists += 1;
                    rig.succeed(exchange, plain_list(vec![us(), peer(1)]));
                }
                false => rig.deliver(exchange),
            }
        }
        rig.pass(Duration::from_millis(500));
    }
    assert!((3..=3 + 6 + 2).contains(&lists), "{lists} lists in a minute");
}

/// A list comes that names peers that speak `p1`, and one that does not.
pub(super) fn list_with_p1(rig: &mut Rig, p1: impl Iterator<Item = SocketAddr>) {
    let (exchange, ..) = rig.dial();
    let row = |addr, p1| ListedPeer { addr, p1 };
    let rows = p1.map(|addr| row(addr, true)).chain([row(in_network(200), false), row(us(), true)]);
    rig.succeed(exchange, Response::PeerList(rows.collect()));
}

pub(super) fn node_that_registers() -> Rig {
    let mut rig = Rig::new(config());
    rig.resets_first_contacts = false;
    let (register, ..) = rig.dial();
    rig.deliver(register);
    rig
}

#[test]
fn a_node_announces_itself_until_four_accept_it_that_are_no_neighbours() {
    let mut rig = node_that_registers();
    list_with_p1(&mut rig, (1..=40).map(in_network));
    let told = contacts(&mut rig);
    let neighbours = neighbours(&mut rig);
    assert_eq!(neighbours.len(), 8);
    assert!(
        told.len() == 4 && told.iter().all(|(_, to)| !neighbours.contains(to) && *to != in_network(200)),
        "{told:?}"
    );
    // Instead of one that is unreachable, and of one that does not answer, others get an announcement.
    rig.succeed(told[0].0, Response::SpeaksP1);
    rig.succeed(told[1].0, Response::SpeaksP1);
    rig.fail(told[2].0, DialFault::Refused);
    rig.deliver(told[3].0);
    let again = contacts(&mut rig);
    assert!(again.len() == 2 && again.iter().all(|(_, to)| told.iter().all(|(_, other)| other != to)), "{again:?}");
    again.iter().for_each(|(exchange, _)| rig.succeed(*exchange, Response::SpeaksP1));
    rig.pass(Duration::from_secs(5));
    list_with_p1(&mut rig, (1..=50).map(in_network));
    assert_eq!(contacts(&mut rig), [], "four know");
    // Accepting it does not prove them.
    let answered = peers(&mut rig).into_iter().filter(|row| row.last_seen.is_some()).count();
    assert_eq!(answered, 0);
}

#[test]
fn where_all_peers_are_neighbours_they_get_a_limited_number_of_announcements() {
    let mut rig = node_that_registers();
    list_with_p1(&mut rig, [in_network(1)].into_iter());
    let told = contacts(&mut rig);
    assert_eq!(told.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [in_network(1)]);
    rig.deliver(told[0].0);
    rig.pass(Duration::from_secs(5));
    list_with_p1(&mut rig, (1..=100).map(in_network));
    let mut all = BTreeSet::new();
    loop {
        let told = contacts(&mut rig);
        if told.is_empty() {
            break;
        }
        for (exchange, to) in told {
            assert!(all.insert(to), "{to} was told twice");
            rig.deliver(exchange);
        }
    }
    assert_eq!(all.len(), 15, "16 with the first one");
}

#[test]
fn a_newcomer_that_announces_itself_and_answers_gets_the_search_that_is_in_progress() {
    let mut rig = settled((1..=8).map(in_network).collect());
    rig.search("song");
    searched(&mut rig);
    assert_eq!(neighbours(&mut rig).len(), 8);
    announce(&mut rig, in_network(20), in_network(20));
    assert!(!neighbours(&mut rig).contains(&in_network(20)), "it only says so");
    let asked = contacts(&mut rig);
    assert_eq!(asked.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [in_network(20)]);
    announce(&mut rig, in_network(20), in_network(20));
    assert!(contacts(&mut rig).is_empty(), "it is being asked");
    rig.succeed(asked[0].0, Response::SpeaksP1);
    assert_eq!(searched(&mut rig), [(in_network(20), 1)]);
    let now = neighbours(&mut rig);
    assert!(now.len() == 8 && now.contains(&in_network(20)), "{now:?}");
    announce(&mut rig, in_network(20), in_network(20));
    assert!(contacts(&mut rig).is_empty(), "it is a neighbour");
}

#[test]
fn a_newcomer_that_does_not_answer_as_a_p1_node_gets_no_place() {
    let mut rig = settled(vec![in_network(1)]);
    announce(&mut rig, in_network(20), in_network(20));
    let asked = contacts(&mut rig);
    rig.deliver(asked[0].0);
    announce(&mut rig, in_network(21), in_network(21));
    let asked = contacts(&mut rig);
    rig.fail(asked[0].0, crate::fault::DialFault::Refused);
    assert_eq!(peers(&mut rig).len(), 1, "and no row");
}

/// An attacker causes no connections to others, and some to itself.
#[test]
fn answers_to_announcements_are_limited_and_go_only_to_their_sender() {
    let mut rig = settled(vec![in_network(1)]);
    announce(&mut rig, in_network(66), in_network(20));
    announce(&mut rig, in_network(66), SocketAddr::new(in_network(66).ip(), 22));
    announce(&mut rig, in_network(66), us());
    assert!(contacts(&mut rig).is_empty(), "another address, a port of the system, ourselves");
    let mut asked = 0;
    for n in 0..1_000 {
        announce(&mut rig, in_network(66), SocketAddr::new(in_network(66).ip(), 2_000 + n));
        for (exchange, _) in contacts(&mut rig) {
            asked += 1;
            rig.fail(exchange, crate::fault::DialFault::Refused);
        }
    }
    assert_eq!((asked, rig.node.counters().limited.announcements_refused), (10, 990));
    announce(&mut rig, in_network(20), in_network(20));
    assert_eq!(contacts(&mut rig).len(), 1, "another network is not held up");
}

#[test]
fn newcomers_have_an_eighth_of_the_places_however_many_come() {
    let proven: Vec<_> = (1..=8).map(in_network).collect();
    let mut rig = settled(proven.clone());
    rig.search_within("anything", Some(0));
    searched(&mut rig);
    for n in 100..150 {
        announce(&mut rig, in_network(n), in_network(n));
        for (exchange, _) in contacts(&mut rig) {
            rig.succeed(exchange, Response::SpeaksP1);
        }
    }
    let now = neighbours(&mut rig);
    let stayed = proven.iter().filter(|peer| now.contains(peer)).count();
    assert_eq!((now.len(), stayed), (8, 7), "{now:?}");
    assert!(now.contains(&in_network(149)), "the newest has it: {now:?}");
}

/// A search begins while the node registers.
#[test]
fn a_search_that_begins_before_registration_waits_for_it() {
    for local_addrs in [config().local_addrs, Vec::new()] {
        let mut rig = Rig::new(NodeConfig { local_addrs, ..config() });
        rig.search("song");
        rig.pass(Duration::from_millis(500));
        rig.join(vec![peer(1)]);
        let mut reached = searched(&mut rig);
        reached.dedup();
        assert_eq!(reached, [(peer(1), 1)]);
    }
    // And for a limited time.
    let mut rig = Rig::new(config());
    rig.search("song");
    rig.pass(Duration::from_secs(3));
    let ends = |notice: &Notice| matches!(notice, Notice::SearchDone { error: Some(_), .. });
    assert!(rig.notices().iter().any(ends));
    // Nor for one that has failed.
    let mut rig = Rig::new(config());
    rig.search("song");
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    rig.pass(Duration::from_millis(1));
    assert!(rig.notices().iter().any(ends));
}

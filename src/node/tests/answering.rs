//! The searches of others.

use super::hashing::{b3_of, hash_all};
use super::membership::peers;
use super::rig::*;
use crate::control::{Reply, Request};
use crate::id::QueryId;
use crate::node::contract::{NodeConfig, Response};
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// A p1 query ID.
const P1: &[u8] = b"p1-0123456789abcdef";

/// The source of searches: the address of the last peer that forwarded them.
fn from() -> SocketAddr {
    SocketAddr::new(peer(9).ip(), 40_000)
}

/// Hits sent: destinations and messages.
type Answer = (SocketAddr, Vec<Message>);

/// Takes the dials: hits sent, and searches forwarded with their TTL.
fn answers_and_forwards(rig: &mut Rig) -> (Vec<Answer>, Vec<(SocketAddr, u8)>) {
    let (mut answers, mut forwards) = (Vec::new(), Vec::new());
    for (exchange, to, messages) in rig.dials() {
        match &messages[..] {
            [Message::Search(search)] => forwards.push((to, search.ttl)),
            _ => answers.push((to, messages)),
        }
        rig.deliver(exchange);
    }
    (answers, forwards)
}

#[test]
fn a_search_is_answered_and_forwarded_once() {
    let mut rig = Rig::among(vec![peer(1), peer(2)], &[("music/Song.ogg", 5), ("b", 2)]);
    rig.request(from(), query(b"q", "Song.ogg", peer(1), 3));
    let (answers, forwards) = answers_and_forwards(&mut rig);
    assert_eq!(forwards, [(peer(2), 2)], "to the neighbours except the requester");
    let [(to, messages)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(*to, peer(1));
    let [Message::SearchResponse(hit)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((hit.id.as_bytes(), hit.responder), (&b"q"[..], us()));
    assert_eq!(hit.file, listed("music/Song.ogg", None), "no attributes towards a base requester");

    // Again, from elsewhere: dropped. With a higher TTL: forwarded, not answered.
    rig.request(from(), query(b"q", "Song.ogg", peer(1), 3));
    assert_eq!(answers_and_forwards(&mut rig), (vec![], vec![]));
    rig.request(from(), query(b"q", "Song.ogg", peer(1), 5));
    assert_eq!(answers_and_forwards(&mut rig), (vec![], vec![(peer(2), 4)]));
    // The same ID of another requester is another search.
    rig.request(from(), query(b"q", "Song.ogg", peer(2), 0));
    let (answers, forwards) = answers_and_forwards(&mut rig);
    assert_eq!((answers.len(), forwards.len()), (1, 0), "nothing is sent on with TTL 0");
    assert_eq!(rig.node.counters().limited.searches_dropped, 1);
}

#[test]
fn a_p1_requester_gets_up_to_fifty_hits_with_sizes_on_one_connection() {
    let names: Vec<String> = (0..60).map(|n| format!("song {n:02}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let mut rig = Rig::among(vec![peer(1)], &files);
    rig.request(from(), query(P1, "SONG", peer(1), 0));
    let (answers, _) = answers_and_forwards(&mut rig);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1.len(), 50);
    let Message::SearchResponse(first) = &answers[0].1[0] else { panic!("a hit") };
    assert_eq!(first.file, listed("song 00", Some(7)));
    rig.request(from(), query(b"base", "SONG", peer(1), 0));
    let (answers, _) = answers_and_forwards(&mut rig);
    assert_eq!(answers[0].1.len(), 1, "a base requester gets the best match alone");
}

#[test]
fn a_requester_gets_as_many_hits_as_it_names_and_is_told_that_there_are_more() {
    let names: Vec<String> = (0..2_000).map(|n| format!("song {n:04}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let mut rig = Rig::among(Vec::new(), &files);
    let mut asked = 0;
    let mut ask = |from: SocketAddr, hits_max| {
        asked += 1;
        let id = QueryId::p1(QueryId::naming_hits_max(asked, hits_max));
        rig.request(from, query(id.as_bytes(), "song", peer(1), 0));
        let (answers, _) = answers_and_forwards(&mut rig);
        let more = |message: &Message| match message {
            Message::SearchResponse(hit) => hit.file.attributes.is_some_and(|attributes| attributes.more),
            other => panic!("{other:?}"),
        };
        let hits = &answers[0].1;
        (hits.len(), hits.iter().position(more))
    };
    assert_eq!(ask(peer(1), 300), (300, Some(299)), "the last one says so");
    assert_eq!(ask(peer(1), 4_000), (1_000, Some(999)), "our own limit");
    assert_eq!(ask(peer(1), 3), (50, Some(49)), "rows may be fewer than hits");
    assert_eq!(ask(from(), 300), (50, Some(49)), "a search in the name of another");
    let mut rig = Rig::among(Vec::new(), &files[..50]);
    rig.request(peer(1), query(P1, "song", peer(1), 0));
    let (answers, _) = answers_and_forwards(&mut rig);
    let Some(Message::SearchResponse(last)) = answers[0].1.last() else { panic!("{answers:?}") };
    assert!(!last.file.attributes.unwrap().more, "50 are all");
}

#[test]
fn the_ttl_of_others_is_clamped() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.request(from(), query(b"q", "x", peer(5), 255));
    assert_eq!(answers_and_forwards(&mut rig).1, [(peer(1), 6)]);
    rig.request(from(), query(b"q", "x", peer(5), 8));
    assert_eq!(answers_and_forwards(&mut rig).1, [], "beyond the clamp nothing reaches further");
}

#[test]
fn our_own_searches_that_come_back_are_dropped() {
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    rig.search("song");
    let (_, _, message) = rig.dial();
    let Message::Search(ours) = message else { panic!("{message:?}") };
    rig.request(from(), Message::Search(ours.clone()));
    let forged = crate::wire::Search { requester: peer(3), ..ours };
    rig.request(from(), Message::Search(forged));
    rig.request(from(), query(b"other", "song", us(), 3));
    assert_eq!(answers_and_forwards(&mut rig), (vec![], vec![]));
    assert_eq!(rig.node.counters().limited.searches_dropped, 3);
}

#[test]
fn answers_are_not_sent_to_addresses_that_cannot_be_peers() {
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    for odd in ["192.0.2.1:80", "192.0.2.1:1023", "127.0.0.1:5000", "224.0.0.1:5000", "0.0.0.0:5000", "[::1]:5000"] {
        rig.request(from(), query(b"q", "song", addr(odd), 3));
    }
    assert_eq!(answers_and_forwards(&mut rig), (vec![], vec![]));
    assert_eq!(rig.node.counters().refused, 6);
    assert_eq!(peers(&mut rig).iter().map(|row| row.addr).collect::<Vec<_>>(), [peer(1)], "none is taken for a peer");
    // On one machine, peers are on loopback.
    rig.request(addr("127.0.0.1:40000"), query(b"q", "song", addr("127.0.0.1:5000"), 0));
    assert_eq!(answers_and_forwards(&mut rig).0.len(), 1);
}

#[test]
fn a_stranger_gets_ten_connections_a_minute_for_each_network_and_a_peer_as_many_as_it_asks_for() {
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    let victim = addr("192.0.2.1:8080");
    let mut asked = 0;
    let mut sent = |rig: &mut Rig, from: &str, requester| {
        let from = addr(from);
        let mut ask = || {
            asked += 1;
            rig.request(from, query(format!("q{asked}").as_bytes(), "song", requester, 0));
            answers_and_forwards(rig).0.len()
        };
        (0..50).map(|_| ask()).sum::<usize>()
    };
    assert_eq!(sent(&mut rig, "192.0.2.9:40000", victim), 10, "though the victim accepts connections");
    assert_eq!(rig.node.counters().limited.answers_dropped, 40);
    assert_eq!(sent(&mut rig, "192.0.2.10:40000", victim), 10, "its own searches come from elsewhere");
    assert_eq!(sent(&mut rig, "192.0.2.11:40000", victim), 0, "and there is a limit for all");
    rig.pass(Duration::from_secs(60));
    assert_eq!(sent(&mut rig, "192.0.2.9:40000", victim), 10);
    assert_eq!(sent(&mut rig, "192.0.2.9:40000", peer(1)), 50);
}

/// An attacker who sees a search can send another with its ID that arrives earlier.
#[test]
fn a_search_is_answered_although_another_had_its_id() {
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    rig.request(from(), query(b"q", "nothing like it", peer(1), 7));
    rig.request(from(), query(b"q", "song", peer(1), 3));
    assert_eq!(answers_and_forwards(&mut rig).0.len(), 1);
}

#[test]
fn a_flood_of_searches_loses_forwards_but_does_not_block_other_commands() {
    let mut rig =
        Rig::remembering(NodeConfig { bootstraps: Vec::new(), max_workers: 1, ..config() }, vec![peer(1), peer(2)]);
    rig.scan(&[("song", 1)]);
    for n in 0..3_000 {
        let from = SocketAddr::new(peer(10 + (n % 8) as u8).ip(), 40_000);
        rig.request(from, query(format!("q{n}").as_bytes(), "nothing like it", peer(1), 1));
    }
    // A neighbour gets a few at a time, because it may not answer. Some more wait.
    assert_eq!(rig.node.counters().limited.forwards_dropped, 3_000 - 16 - 64);
    let (first, ..) = rig.dials().remove(0);
    // Responses go before all of them, and the commands of our user before those.
    rig.request(from(), Message::ListFiles { p1: false });
    rig.call(Request::List { peer: peer(2) }).unwrap();
    rig.deliver(first);
    let (listing, _, message) = rig.dial();
    assert_eq!(message, Message::ListFiles { p1: true });
    rig.succeed(listing, Response::FileList { truncated: false });
    assert_eq!(rig.take(|order| matches!(order, super::Action::SendList { .. }).then_some(())).len(), 1);
}

#[test]
fn one_sender_may_forward_fifty_searches_a_second_and_five_hundred_at_once() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let flood = |rig: &mut Rig, sender: u8, n: u32| {
        let before = rig.node.counters().limited.searches_refused;
        for n in 0..n {
            let id = format!("{sender}/{n}/{}", rig.now.as_ms());
            rig.request(SocketAddr::new(peer(sender).ip(), 40_000), query(id.as_bytes(), "x", peer(5), 0));
        }
        let closed = rig.take(|order| matches!(order, super::Action::Close { .. }).then_some(()));
        assert_eq!(closed.len(), n as usize, "each is answered by a close");
        rig.node.counters().limited.searches_refused - before
    };
    assert_eq!(flood(&mut rig, 9, 600), 100);
    assert_eq!(flood(&mut rig, 8, 500), 0, "another sender has its own allowance");
    rig.pass(Duration::from_secs(2));
    assert_eq!(flood(&mut rig, 9, 150), 50);
    rig.pass(Duration::from_secs(10));
    assert_eq!(flood(&mut rig, 9, 500), 0);
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    assert_eq!(status.limited.searches_refused, 150, "and users see it");
}

/// The bytes sent to a requester for its search.
fn answer(rig: &mut Rig, id: &[u8], text: &str, requester: SocketAddr) -> Vec<String> {
    rig.request(from(), query(id, text, requester, 0));
    let (answers, _) = answers_and_forwards(rig);
    let messages = answers.into_iter().flat_map(|(_, messages)| messages);
    messages.map(|message| String::from_utf8(message.encode()).unwrap()).collect()
}

#[test]
fn a_p1_requester_gets_the_hash_and_a_base_requester_gets_no_attributes() {
    let mut rig = Rig::among(vec![peer(1)], &[("dir/song", 5)]);
    let b3 = b3_of(&scanned("dir/song", 5));
    let prefix = |id: &[u8]| format!("7:{}:10.0.0.2:63339:dir/song", std::str::from_utf8(id).unwrap());
    assert_eq!(answer(&mut rig, P1, "song", peer(5)), [format!("{}\tsize=5", prefix(P1))]);
    let text = format!("b3={b3}");
    assert_eq!(answer(&mut rig, b"p1-0000000000000001", &text, peer(5)), [""; 0]);
    hash_all(&mut rig);
    let second = b"p1-0000000000000002";
    assert_eq!(answer(&mut rig, second, "song", peer(5)), [format!("{}\tsize=5\tb3={b3}", prefix(second))]);
    let third = b"p1-0000000000000003";
    assert_eq!(answer(&mut rig, third, &text, peer(5)), [format!("{}\tsize=5\tb3={b3}", prefix(third))]);
    assert_eq!(answer(&mut rig, b"base", "song", peer(5)), [prefix(b"base")]);
    assert_eq!(answer(&mut rig, b"base too", &text, peer(5)), [prefix(b"base too")], "found by content all the same");
}

#[test]
fn a_p1_id_brings_no_attributes_to_a_known_base_peer() {
    let mut rig = Rig::among(vec![peer(1)], &[("song 1", 5), ("song 2", 5)]);
    rig.search_within("x", Some(0));
    let (_, _, Message::Search(ours)) = rig.dial() else { panic!("a search") };
    rig.hit(&ours.id, peer(1), listed("x", None));
    assert_eq!(answer(&mut rig, P1, "song", peer(1)).len(), 1);
    rig.hit(&ours.id, peer(1), listed("x", Some(1)));
    assert_eq!(answer(&mut rig, b"p1-0000000000000001", "song", peer(1)).len(), 2, "it has shown more since");
}

#[test]
fn an_endpoint_that_only_searched_is_not_flooded_with_the_searches_of_others() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    let victim = addr("192.0.2.1:8080");
    rig.request(from(), query(b"claim", "nothing like it", victim, 0));
    let mut sent = 0;
    for n in 0..100 {
        rig.request(from(), query(format!("q{n}").as_bytes(), "nothing like it", peer(1), 1));
        sent += answers_and_forwards(&mut rig).1.iter().filter(|(to, _)| *to == victim).count();
    }
    assert_eq!(sent, 5, "most are left for hits");
    rig.request(from(), query(b"last", "nothing like it", victim, 0));
    rig.scan(&[("song", 1)]);
    let answered = |n: u32| {
        rig.request(from(), query(format!("s{n}").as_bytes(), "song", victim, 0));
        answers_and_forwards(&mut rig).0.len()
    };
    assert_eq!((0..20).map(answered).sum::<usize>(), 10, "the others are for hits that it has asked for");
}

/// A search from the requester's own address cannot aim the answers at a third party.
#[test]
fn a_stranger_is_answered_for_each_own_search_and_ten_times_a_minute_for_those_of_others() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    rig.scan(&[("song", 5)]);
    let stranger = addr("192.0.2.1:8080");
    let mut answered = |sender: SocketAddr| {
        let answers = |n: u32| {
            rig.request(sender, query(format!("{}-{n}", sender.ip()).as_bytes(), "song", stranger, 0));
            answers_and_forwards(&mut rig).0.len()
        };
        (0..30).map(answers).sum::<usize>()
    };
    assert_eq!(answered(addr("192.0.2.1:40000")), 30);
    assert_eq!(answered(from()), 10);
}

#[test]
fn a_stranger_that_searches_in_rings_is_answered_as_often_as_one_that_does_not() {
    let names: Vec<String> = (0..8).map(|n| format!("song {n}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut rig = Rig::among(vec![peer(1)], &files);
    let stranger = addr("192.0.2.1:8080");
    let mut answered = 0;
    for n in 0..8 {
        for ttl in [0, 1, 3, 6] {
            rig.request(from(), query(format!("{n}-{ttl}").as_bytes(), &format!("song {n}"), stranger, ttl));
            answered += answers_and_forwards(&mut rig).0.len();
        }
    }
    assert_eq!(answered, 32, "eight searches of four rings");
}

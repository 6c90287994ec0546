//! Searches: how far they go, and who answers.

use super::helpers::{minutes, network, seconds};
use super::seeds;
use crate::content::{Content, fresh_content};
use crate::host::HostId;
use crate::rogue::{Ear, OldPeer, Tarpit};
use crate::world::World;
use pyrate::control::Request;
use pyrate::id::QueryId;
use pyrate::name::FileName;
use pyrate::wire::{Message, Search};
use std::collections::BTreeMap;

const FILE: Content = Content { id: 1, size: 5_000 };

#[test]
fn rings_find_a_rare_file_in_a_network_of_two_hundred_and_stop_early_for_a_common_one() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 200);
        for (n, &node) in nodes.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
            let content = fresh_content(&mut world.random);
            world.share(node, &format!("music/common song {n}.mp3"), content);
        }
        world.share(nodes[150], "papers/rare.pdf", FILE);
        world.let_them_meet();

        world.record = true;
        let (hits, rings) = world.search(nodes[3], "rare.pdf");
        assert!(rings == [1, 7] || rings == [1], "one hit is not enough to stop: {rings:?}");
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].size, Some(FILE.size));
        assert_eq!(hits[0].sources, [world.addr(nodes[150])]);
        // Copies that took a shorter way and more time reach further, and are sent on again.
        assert_flood_bounded(&world, 3 * 200 * 8);

        let (hits, rings) = world.search(nodes[5], "common song");
        assert!(hits.len() >= 25, "{}", hits.len());
        assert!(rings.len() <= 3, "{rings:?}");
        assert_flood_bounded(&world, 3 * 200 * 8);

        // Where every way takes the same time, the first copy is the one that reaches furthest.
        world.traffic.clear();
        world.net.latency_ms = 20..=20;
        let (hits, _) = world.search(nodes[7], "rare.pdf");
        assert_eq!(hits.len(), 1);
        assert_flood_bounded(&world, 200 * 8);
    }
}

/// No query costs more messages than this.
fn assert_flood_bounded(world: &World, messages_max: usize) {
    let mut copies: BTreeMap<QueryId, usize> = BTreeMap::new();
    for sent in &world.traffic {
        if let Message::Search(search) = &sent.message {
            *copies.entry(search.id.clone()).or_default() += 1;
        }
    }
    for (id, copies) in copies {
        assert!(copies <= messages_max, "{id:?}: {copies} copies, more than {messages_max}");
    }
}

#[test]
fn every_peer_in_a_small_network_answers_once() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 9);
        for &node in &nodes[1..] {
            world.share(node, "shared by all.txt", FILE);
        }
        world.let_them_meet();
        world.let_them_hash(&nodes[1..]);
        let (hits, _) = world.search(nodes[0], "shared by all.txt");
        assert_eq!(hits.len(), 1, "one name, size and hash is one row: {hits:?}");
        let mut sources = hits[0].sources.clone();
        sources.sort();
        let expected: Vec<_> = nodes[1..].iter().map(|&node| world.addr(node)).collect();
        assert_eq!(sources, expected);
    }
}

/// A node between two ears: it knows the first as a neighbour; the second asks.
fn between_two_ears(seed: u64) -> (World, HostId, HostId, HostId) {
    let mut world = World::new(seed);
    let (neighbour, asker) = (world.add_rogue(Ear), world.add_rogue(Ear));
    let node = world.add_node(&[]);
    let remembered = world.addr(neighbour);
    world.hosts[node.0].disk.peers.others = vec![remembered];
    world.hosts[node.0].disk.share("song.mp3", FILE);
    world.start(node);
    world.run_for(seconds(5));
    (world, neighbour, asker, node)
}

fn ask(world: &mut World, asker: HostId, node: HostId, id: &[u8], ttl: u8) {
    let requester = world.addr(asker);
    let id = QueryId::from_bytes(id).unwrap();
    world.send(asker, node, Message::Search(Search { id, text: b"song.mp3".as_slice().into(), requester, ttl }));
    world.run_for(seconds(5));
}

fn heard(world: &World, ear: HostId) -> Vec<Message> {
    world.hosts[ear.0].received.iter().map(|(_, _, message)| message.clone()).collect()
}

fn ttls_heard(world: &World, ear: HostId) -> Vec<u8> {
    let ttl = |message| if let Message::Search(search) = message { Some(search.ttl) } else { None };
    heard(world, ear).into_iter().filter_map(ttl).collect()
}

#[test]
fn a_repeated_search_is_dropped_and_a_wider_one_goes_on_without_a_second_answer() {
    for seed in seeds(&[1, 2]) {
        let (mut world, neighbour, asker, node) = between_two_ears(seed);
        for (ttl, forwarded) in [(3, vec![2]), (3, vec![2]), (2, vec![2]), (5, vec![2, 4]), (4, vec![2, 4])] {
            ask(&mut world, asker, node, b"query", ttl);
            assert_eq!(ttls_heard(&world, neighbour), forwarded, "after a TTL of {ttl}");
        }
        let hits = heard(&world, asker);
        assert_eq!(hits.len(), 1);
        let Message::SearchResponse(hit) = &hits[0] else { panic!("not a hit: {hits:?}") };
        assert_eq!((hit.file.name.as_bytes(), hit.file.attributes), (b"song.mp3".as_slice(), None));

        // Clamped to the node's own limit, and not sent on at 0.
        ask(&mut world, asker, node, b"far", 255);
        assert_eq!(ttls_heard(&world, neighbour).last(), Some(&6));
        ask(&mut world, asker, node, b"near", 0);
        assert_eq!(ttls_heard(&world, neighbour).len(), 3);

        // After ten minutes it is a new search.
        world.run_for(minutes(11));
        ask(&mut world, asker, node, b"query", 1);
        assert_eq!(ttls_heard(&world, neighbour).len(), 4);
    }
}

#[test]
fn a_requester_that_speaks_p1_is_told_sizes() {
    for seed in seeds(&[1]) {
        let (mut world, _, asker, node) = between_two_ears(seed);
        ask(&mut world, asker, node, b"p1-0123456789abcdef", 1);
        let hits = heard(&world, asker);
        let Some(Message::SearchResponse(hit)) = hits.first() else { panic!("not a hit: {hits:?}") };
        assert_eq!(hit.file.attributes.and_then(|attributes| attributes.size), Some(FILE.size));
    }
}

#[test]
fn a_stranger_is_not_flooded_with_answers() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, asker, node) = between_two_ears(seed);
        let victim = world.add_rogue(Ear);
        let requester = world.addr(victim);
        for n in 0..200 {
            let id = QueryId::p1(n);
            let search = Search { id, text: b"song.mp3".as_slice().into(), requester, ttl: 1 };
            world.send(asker, node, Message::Search(search));
        }
        world.run_for(seconds(30));
        let answers = heard(&world, victim).len();
        assert!((10..=16).contains(&answers), "{answers} answers within half a minute");
    }
}

#[test]
fn old_and_silent_neighbours_do_not_spoil_a_search() {
    for seed in seeds(&[1, 2]) {
        let (mut world, bootstrap, nodes) = network(seed, 3);
        let name = FileName::from_bytes(b"old song.mp3").unwrap();
        let next = world.now;
        let bootstrap = world.addr(bootstrap);
        let old = world.add_rogue(OldPeer { bootstrap, name, content: FILE, next });
        let tarpit = world.add_rogue(Tarpit);
        world.send_all(tarpit, vec![(bootstrap, vec![Message::Register { port: 63339, p1: false }])]);
        world.run_for(minutes(6));
        let (hits, _) = world.search(nodes[0], "old song.mp3");
        assert_eq!(hits.len(), 1);
        assert_eq!((hits[0].size, &hits[0].sources[..]), (None, &[world.addr(old)][..]));
        let (hits, _) = world.search(nodes[0], "old song");
        assert!(hits.is_empty(), "old peers compare whole names");
    }
}

#[test]
fn searches_between_p1_neighbours_share_a_connection_until_it_is_idle_or_lost() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 2);
        let (asker, answerer) = (nodes[0], nodes[1]);
        for n in 0..10 {
            world.hosts[answerer.0].disk.share(&format!("song {n}.mp3"), Content { id: n, size: 5_000 });
        }
        world.ask(answerer, Request::Rescan).unwrap();
        world.let_them_hash(&nodes);
        world.let_them_meet();
        // The first hit shows that its sender speaks part 2.
        assert_eq!(world.search(asker, "song 0.mp3").0.len(), 1);
        let before = world.streams_opened;
        for n in 1..10 {
            assert_eq!(world.search(asker, &format!("song {n}.mp3")).0.len(), 1, "song {n}");
        }
        assert!(world.streams_opened - before <= 2, "{} streams", world.streams_opened - before);
        // Idle, it is closed, and another is opened when it is needed.
        world.run_for(minutes(5));
        assert!(world.streams.is_empty());
        assert_eq!(world.search(asker, "song 3.mp3").0.len(), 1);
        assert!(!world.streams.is_empty());
        // What was sent towards a peer that has just died is lost; later searches go out again.
        world.crash(answerer);
        let search = world.begin_search(asker, "song 4.mp3");
        world.run_for(seconds(5));
        assert!(world.hits(asker, search).is_empty());
        world.start(answerer);
        world.let_them_hash(&nodes);
        world.let_them_meet();
        assert_eq!(world.search(asker, "song 5.mp3").0.len(), 1);
    }
}

//! Being on the lists, and knowing each other.

use super::helpers::{minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::world::Sent;
use crate::world::World;
use pyrate::control::{DownloadState, LinkState, Request};
use pyrate::node::contract::{BootstrapAddr, Event};
use pyrate::wire::Message;

const FILE: Content = Content { id: 1, size: 5_000 };

#[test]
fn nodes_stay_listed_for_hours_and_the_dead_lapse() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 6);
        for _ in 0..24 {
            world.run_for(minutes(5));
            assert_eq!(world.bootstrap(bootstrap).count(), 6);
        }
        world.crash(nodes[0]);
        world.run_for(minutes(4));
        assert_eq!(world.bootstrap(bootstrap).count(), 6, "its lease has not ended");
        world.run_for(minutes(7));
        assert_eq!(world.bootstrap(bootstrap).count(), 5);
        world.start(nodes[0]);
        world.run_for(seconds(30));
        assert_eq!(world.bootstrap(bootstrap).count(), 6);
    }
}

#[test]
fn a_bootstrap_node_that_was_away_for_an_hour_is_tried_ever_less_often_and_found_again() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 5);
        world.crash(bootstrap);
        world.wipe(bootstrap);
        world.run_for(minutes(15));
        for &node in &nodes {
            assert!(!world.links(node).contains(&LinkState::Registered));
        }
        world.record = true;
        world.run_for(minutes(60));
        for &node in &nodes {
            let attempts = world.traffic.iter().filter(|sent| sent.from == node).count();
            // Between 18 s and 54 s apart once the wait has grown to its limit.
            assert!((66..=200).contains(&attempts), "{attempts} attempts within an hour");
        }
        world.start(bootstrap);
        world.run_until("all are back", minutes(1), |world| world.bootstrap(bootstrap).count() == 5);
        world.run_for(seconds(5));
        for &node in &nodes {
            assert_eq!(world.links(node), [LinkState::Registered]);
        }
    }
}

#[test]
fn a_registry_that_was_lost_fills_again_within_a_minute() {
    for seed in seeds(&[4, 5, 6, 7]) {
        let (mut world, bootstrap, nodes) = network(seed, 40);
        world.run_for(minutes(7));
        for _ in 0..2 {
            world.crash(bootstrap);
            world.wipe(bootstrap);
            world.start(bootstrap);
            world.record = true;
            world.run_until("all are listed", minutes(1), |world| world.bootstrap(bootstrap).count() == 40);
            // Not all of them at once.
            world.record = false;
            let sent = std::mem::take(&mut world.traffic);
            for &node in &nodes {
                let again = |sent: &&Sent| sent.from == node && matches!(sent.message, Message::Register { .. });
                assert!(sent.iter().filter(again).count() <= 2, "one registration suffices");
            }
        }
    }
}

/// A network of one bootstrap node; a download from one source, which goes away and comes back at another endpoint.
#[test]
fn a_source_that_returns_elsewhere_is_used_within_a_minute_of_its_registration() {
    for (seed, peers) in seeds(&[1, 2, 3]).into_iter().zip([0, 5, 20]) {
        let (mut world, bootstrap, nodes) = network(seed, peers + 2);
        let film = Content { id: 9, size: 20_000_000 };
        world.hosts[nodes[1].0].rate = 100_000;
        world.share(nodes[1], "film.mkv", film);
        world.let_them_hash(&[nodes[1]]);
        world.let_them_meet();
        world.ask(nodes[0], Request::Events).unwrap();
        let (hits, _) = world.search(nodes[0], "film.mkv");
        let download = world.download_hit(nodes[0], hits[0].id);
        world.run_for(seconds(20));
        world.crash(nodes[1]);
        world.run_for(minutes(11));
        let moved = world.add_node(&[bootstrap]);
        world.hosts[moved.0].rate = 10_000_000;
        world.share(moved, "film.mkv", film);
        let before = world.bootstrap(bootstrap).count();
        world.start(moved);
        world.run_until("it is registered", seconds(30), |world| world.bootstrap(bootstrap).count() > before);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(1));
    }
}

#[test]
fn a_registry_that_was_saved_is_there_at_once() {
    for seed in seeds(&[6]) {
        let (mut world, bootstrap, _) = network(seed, 5);
        world.crash(bootstrap);
        world.start(bootstrap);
        assert_eq!(world.bootstrap(bootstrap).count(), 5);
    }
}

#[test]
fn peers_are_remembered_across_a_restart_while_the_bootstrap_node_is_down() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 8);
        world.share(nodes[7], "a rare file.txt", FILE);
        world.run_for(minutes(3));
        world.crash(bootstrap);
        world.crash(nodes[0]);
        world.run_for(minutes(1));
        world.start(nodes[0]);
        world.run_for(seconds(10));
        let (hits, _) = world.search(nodes[0], "rare file");
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].sources, [world.addr(nodes[7])]);
    }
}

#[test]
fn dead_neighbours_are_replaced() {
    for seed in seeds(&[1, 2, 3]) {
        let mut world = World::new(seed);
        let bootstrap = world.add_bootstrap();
        let nodes: Vec<_> = (0..30).map(|_| world.add_node(&[bootstrap])).collect();
        for &node in &nodes {
            world.config(node).max_peers = 4;
            world.start(node);
        }
        world.let_them_meet();
        let asker = nodes[0];
        let before = world.neighbours(asker);
        assert_eq!(before.len(), 4);
        for (addr, _) in before {
            let host = world.by_addr[&addr];
            world.crash(host);
        }
        // Searching is how a node finds that a neighbour is gone.
        for _ in 0..4 {
            world.search(asker, "anything");
            world.run_for(seconds(10));
        }
        let after = world.neighbours(asker);
        assert_eq!(after.len(), 4);
        assert!(after.iter().all(|(_, up)| *up), "{after:?}");
    }
}

#[test]
fn leaving_takes_the_node_off_every_list() {
    for seed in seeds(&[1, 2, 3]) {
        let mut world = World::new(seed);
        let bootstraps = [world.add_bootstrap(), world.add_bootstrap(), world.add_bootstrap()];
        let (stays, leaves) = (world.add_node(&bootstraps), world.add_node(&bootstraps));
        world.start(stays);
        world.start(leaves);
        let counts = move |world: &World| bootstraps.map(|bootstrap| world.bootstrap(bootstrap).count());
        world.run_until("both are on all lists", seconds(30), |world| counts(world) == [2, 2, 2]);
        world.deliver(leaves, Event::Leave);
        world.run_until("it has left", seconds(5), |world| world.hosts[leaves.0].left);
        assert_eq!(counts(&world), [1, 1, 1]);

        // With a bootstrap node that does not answer, leaving takes no longer.
        world.partition(&[bootstraps[1]], 1);
        world.crash(bootstraps[2]);
        world.deliver(stays, Event::Leave);
        world.run_until("it has left", seconds(5), |world| world.hosts[stays.0].left);
        assert_eq!(world.bootstrap(bootstraps[0]).count(), 0);
        assert_eq!(world.bootstrap(bootstraps[1]).count(), 1);
    }
}

#[test]
fn one_bootstrap_node_in_reach_suffices() {
    for seed in seeds(&[1, 2]) {
        let mut world = World::new(seed);
        let (up, down) = (world.add_bootstrap(), world.add_bootstrap());
        world.crash(down);
        let nodes: Vec<_> = (0..4).map(|_| world.add_node(&[down, up])).collect();
        nodes.iter().for_each(|&node| world.start(node));
        world.share(nodes[3], "file.txt", FILE);
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "file.txt");
        assert_eq!(hits.len(), 1);
        assert_eq!(world.links(nodes[0])[1], LinkState::Registered);
    }
}

#[test]
fn a_host_name_is_looked_up_again_until_it_is_known() {
    for seed in seeds(&[1, 2]) {
        let mut world = World::new(seed);
        let bootstrap = world.add_bootstrap();
        let node = world.add_node(&[]);
        let host = BootstrapAddr { host: "bootstrap.example".to_string(), port: 21168 };
        world.config(node).bootstraps = vec![host];
        world.start(node);
        world.run_for(minutes(2));
        assert_eq!(world.links(node).len(), 1);
        assert_ne!(world.links(node), [LinkState::Registered]);
        let ip = world.addr(bootstrap).ip();
        world.dns.insert("bootstrap.example".to_string(), vec![ip]);
        world.run_until("it is registered", minutes(10), |world| world.bootstrap(bootstrap).count() == 1);
    }
}

#[test]
fn an_idle_network_says_no_more_than_it_must() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 12);
        world.run_for(minutes(30));
        world.record = true;
        world.run_for(minutes(60));
        for &node in &nodes {
            let of = |wanted: fn(&Message) -> bool| {
                world.traffic.iter().filter(|sent| sent.from == node && wanted(&sent.message)).count()
            };
            assert!((11..=13).contains(&of(|message| matches!(message, Message::Keepalive { .. }))));
            // Every 30 to 45 s, and after each keepalive.
            assert!(of(|message| matches!(message, Message::RequestPeerList { .. })) <= 133);
            assert_eq!(of(|message| matches!(message, Message::Register { .. })), 0);
            assert_eq!(of(|message| matches!(message, Message::Search(_) | Message::SearchResponse(_))), 0);
        }
        assert!(world.ask(nodes[0], Request::Status).is_ok());
    }
}

#[test]
fn a_bootstrap_node_alone_searches_nothing_and_serves_no_peer() {
    for seed in seeds(&[1]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        let alone = world.add_node(&[bootstrap]);
        world.config(alone).peer = false;
        world.start(alone);
        world.record = true;
        world.run_for(minutes(60));
        assert!(world.traffic.iter().all(|sent| sent.from != alone));
        assert_eq!(world.bootstrap(bootstrap).count(), 2);
        assert!(world.ask(alone, Request::Status).is_ok());
        // Whoever asks it for files is refused, and so is a download from it.
        let download = world.download_from(nodes[0], alone, "anything");
        world.await_download(nodes[0], download, DownloadState::Failed, minutes(1));
    }
}

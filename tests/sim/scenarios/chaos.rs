//! Networks in which everything happens that can, watched by the invariants; and the proof that a seed is a history.

use super::helpers::{assert_clean, minutes, seconds};
use super::seeds;
use crate::content::{Content, fresh_content};
use crate::host::{Host, HostId};
use crate::rogue::{Breaker, Ear, OldPeer, Refuser, Tarpit, Vandal};
use crate::world::World;
use pyrate::control::{DownloadState, LinkState, Notice, RawText, Reply, Request, Selector};
use pyrate::fault::DiskFault;
use pyrate::name::FileName;
use pyrate::node::contract::Event;
use pyrate::wire::Message;
use std::time::Duration;

/// Names that files have in this world; few, so that they collide.
const WORDS: [&str; 6] = ["common", "rare", "music", "film", "paper", "photo"];

/// Peers and bootstrap nodes that come and go, with a handful of rogues among them.
struct Chaos {
    world: World,
    bootstraps: Vec<HostId>,
    nodes: Vec<HostId>,
    rogues: Vec<HostId>,
}

impl Chaos {
    fn new(seed: u64, peers: usize) -> Self {
        let mut world = World::new(seed);
        let bootstraps = vec![world.add_bootstrap(), world.add_bootstrap()];
        let nodes: Vec<HostId> = (0..peers).map(|_| world.add_node(&bootstraps)).collect();
        for &node in &nodes {
            let max_workers = *world.random.pick(&[1, 2, 8, 256]);
            let max_peers = *world.random.pick(&[2, 4, 8]);
            let config = world.config(node);
            (config.max_workers, config.max_peers) = (max_workers, max_peers);
            (0..4).for_each(|_| world.grow_tree(node));
            world.start(node);
        }
        let bootstrap = world.addr(bootstraps[0]);
        let name = FileName::from_bytes(b"music/common 1").unwrap();
        let (content, next) = (fresh_content(&mut world.random), world.now);
        let victims = nodes.iter().map(|&node| world.addr(node)).collect();
        let interval = seconds(60);
        let rogues = vec![
            world.add_rogue(OldPeer { bootstrap, name: name.clone(), content, next }),
            world.add_rogue(Vandal { bootstrap, victims, interval, next, sent: 0 }),
            world.add_rogue(Breaker { name, content }),
            world.add_rogue(Refuser),
            world.add_rogue(Tarpit),
            world.add_rogue(Ear),
        ];
        for &rogue in &rogues {
            world.send_all(rogue, vec![(bootstrap, vec![Message::Register { port: 63339, p1: false }])]);
        }
        Self { world, bootstraps, nodes, rogues }
    }

    /// One thing out of all that can happen.
    fn disturb(&mut self) {
        let world = &mut self.world;
        let node = *world.random.pick(&self.nodes);
        let up = world.hosts[node.0].up;
        match world.random.below(20) {
            0 if up && world.random.chance(500) => world.crash(node),
            0 if up => world.cut_power(node),
            1 if up => world.deliver(node, Event::Leave),
            0..=3 if !up => world.start(node),
            4 => {
                let bootstrap = *world.random.pick(&self.bootstraps);
                match world.hosts[bootstrap.0].up {
                    true => world.crash(bootstrap),
                    false => world.start(bootstrap),
                }
            }
            5 => {
                let side = world.random.below(3) as u8 / 2;
                world.partition(&[node], side);
            }
            6 if up => {
                let fault =
                    *world.random.pick(&[None, None, None, Some(DiskFault::Full), Some(DiskFault::NoDescriptor)]);
                world.set_disk_fault(node, fault);
            }
            7 => {
                world.net.lost_per_mille = *world.random.pick(&[0, 10, 100]);
                world.net.torn_per_mille = *world.random.pick(&[0, 10, 100]);
            }
            8 if world.random.chance(500) => world.grow_tree(node),
            8 | 9 => {
                let name = format!("{}/{}", world.word(), world.word());
                // Some contents are to be had from many, under several names.
                let content = match world.random.below(2) {
                    0 => fresh_content(&mut world.random),
                    _ => Content { id: world.random.below(8), size: 20_000_000 },
                };
                world.hosts[node.0].disk.share(&name, content);
            }
            10 => drop(world.hosts[node.0].disk.share.pop_first()),
            11 if up => {
                let mut config = world.config(node).clone();
                config.max_workers = *world.random.pick(&[8, 16, 256]);
                config.keepalive_refresh = minutes(1 + world.random.below(9));
                // More workers than now, or the commands in progress would be too many for a while.
                if world.hosts[node.0].commands <= config.max_workers {
                    *world.config(node) = config.clone();
                    world.deliver(node, Event::Reconfigure(Box::new(config)));
                }
            }
            _ if up => self.use_node(node),
            _ => {}
        }
    }

    /// What a user does. Refusals are answers too.
    fn use_node(&mut self, node: HostId) {
        let world = &mut self.world;
        let peer = *world.random.pick(&self.nodes);
        let peer = world.addr(peer);
        let ids = || "all".to_string();
        let request = match world.random.below(13) {
            0..=3 => Request::Search { text: RawText::new(world.word()), max: None, ttl: None },
            4 => Request::List { peer },
            5 | 6 => match world.ask(node, Request::Hits { search: None, after: 0 }) {
                Ok(Reply::Hits(page)) if page.hits.iter().next().is_some() => {
                    let hits: Vec<u32> = page.hits.iter().map(|hit| hit.id).collect();
                    let hit = world.random.pick(&hits).to_string();
                    Request::Download { what: vec![Selector::Hits(hit)], output: None }
                }
                _ => Request::Status,
            },
            7 => {
                let directory = format!("{}/", world.word());
                let name = match world.random.below(4) {
                    0 => directory,
                    1 => format!("{directory}set/"),
                    _ => format!("{directory}{}", world.word()),
                };
                let name = RawText::new(name);
                Request::Download { what: vec![Selector::File { peer, name }], output: None }
            }
            8 if world.random.chance(500) => Request::Cancel { ids: ids() },
            9 => Request::Pause { ids: ids() },
            10 => Request::Resume { ids: ids() },
            11 => Request::Retry { ids: ids() },
            _ => Request::Rescan,
        };
        // Whatever it is, it is answered; the world looks to that.
        let _ = world.ask(node, request);
    }

    /// So many disturbances, with some quiet after each; then everything calms down.
    fn run(&mut self, disturbances: usize) {
        for _ in 0..disturbances {
            self.disturb();
            for _ in 0..3 {
                let node = *self.world.random.pick(&self.nodes);
                if self.world.hosts[node.0].up {
                    self.use_node(node);
                }
            }
            let pause = self.world.random.below(60_000);
            self.world.run_for(Duration::from_millis(pause));
        }
    }

    /// The world is well again: whoever is down starts, and in time all is as it should be.
    fn recover(&mut self) {
        let world = &mut self.world;
        (world.net.lost_per_mille, world.net.torn_per_mille) = (0, 0);
        for id in self.bootstraps.iter().chain(&self.nodes).copied() {
            world.partition(&[id], 0);
            world.set_disk_fault(id, None);
        }
        // Those that are leaving have left by then.
        world.run_for(seconds(10));
        for id in self.bootstraps.iter().chain(&self.nodes).copied() {
            if !world.hosts[id.0].up {
                world.start(id);
            }
        }
        let nodes = &self.nodes;
        world.run_until("every node is on every list again", minutes(30), |world| {
            nodes.iter().all(|&node| world.links(node) == [LinkState::Registered; 2])
        });
        for &node in nodes {
            let _ = world.ask(node, Request::Cancel { ids: "all".to_string() });
            // What has failed keeps what it has until it is named.
            let Ok(Reply::Downloads(page)) = world.ask(node, Request::Downloads { after: 0 }) else { continue };
            for row in page.downloads.iter().filter(|row| row.state == DownloadState::Failed && row.directory.is_some())
            {
                let _ = world.ask(node, Request::Cancel { ids: row.id.to_string() });
            }
        }
        // Without those that flood and those that never answer, whatever was begun ends.
        self.rogues.iter().for_each(|&rogue| world.crash(rogue));
        world.run_until("all commands end", minutes(15), |world| {
            nodes.iter().all(|&node| world.hosts[node.0].commands == 0)
        });
        nodes.iter().for_each(|&node| assert_clean(world, node));
    }
}

impl World {
    /// A tree in a share gets another file, perhaps one that can be executed, or an empty directory; or a file of it changes.
    fn grow_tree(&mut self, node: HostId) {
        let (word, part) = (self.word(), *self.random.pick(&["", "a/", "a/b/", "c/"]));
        let (number, what) = (self.random.below(6), self.random.below(4));
        let content = Content { id: 100 + self.random.below(20), size: 3_000_000 };
        let disk = &mut self.hosts[node.0].disk;
        match what {
            0 => disk.share_directory(&format!("{word}/set/{part}empty {number}")),
            1 => disk.share_executable(&format!("{word}/set/{part}run {number}"), content),
            _ => disk.share(&format!("{word}/set/{part}track {number}"), content),
        }
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.random.below(WORDS.len() as u64) as usize]
    }
}

fn is_done_directory(notice: &Notice) -> bool {
    let Notice::Download { download } = notice else { return false };
    download.directory.is_some() && download.state == DownloadState::Done
}

#[test]
fn hours_of_chaos_break_no_invariant_and_heal() {
    for seed in seeds(&[1, 2, 3]) {
        let mut chaos = Chaos::new(seed, 25);
        let begin = chaos.world.now;
        chaos.run(400);
        chaos.recover();
        let hours = chaos.world.now.saturating_since(begin).as_secs() * 25 / 3600;
        println!("{hours} hours of nodes, {} connections", chaos.world.conns_made);
        // It was no quiet life.
        let of_all = |count: fn(&Host) -> usize| -> usize {
            chaos.nodes.iter().map(|&node| count(&chaos.world.hosts[node.0])).sum()
        };
        let finished = of_all(|host| host.disk.finished.len());
        let hits = of_all(|host| host.notices.iter().filter(|notice| matches!(***notice, Notice::Hit { .. })).count());
        let directories = of_all(|host| host.notices.iter().filter(|notice| is_done_directory(notice)).count());
        println!("{finished} files travelled, {directories} directories were done, {hits} hits came");
        assert!(finished > 5 && directories > 5 && hits > 100);
        for &node in &chaos.nodes {
            assert!(chaos.world.ask(node, Request::Status).is_ok());
        }
    }
}

#[test]
fn a_seed_is_a_history() {
    let trace = |seed| {
        let mut chaos = Chaos::new(seed, 12);
        chaos.run(80);
        chaos.world.trace()
    };
    for seed in seeds(&[11, 12]) {
        let first = trace(seed);
        assert_eq!(first, trace(seed), "the same seed, another history");
        assert_ne!(first, trace(seed + 1000));
    }
}

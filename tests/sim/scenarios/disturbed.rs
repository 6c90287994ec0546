//! No interleaving of failures makes a download finish with wrong content, or stay unfinished while one honest source is
//! within reach.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::sources::Vice;
use crate::world::World;
use pyrate::control::{DownloadState, Request};
use pyrate::fault::DiskFault;
use pyrate::node::contract::Event;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const NAME: &str = "films/film.mkv";

/// A download, those that have what it wants, and those that only say so.
struct DisturbedDownload {
    world: World,
    content: Content,
    /// Who downloads.
    node: HostId,
    /// Nodes that have the content.
    honest: Vec<HostId>,
    rogues: Vec<HostId>,
    download: u32,
    /// The hash was known from the beginning.
    known: bool,
    /// Disturbances that it has gone through.
    lived: u64,
}

impl DisturbedDownload {
    fn new(seed: u64, known: bool) -> Self {
        let (mut world, bootstrap, nodes) = network(seed, 4);
        let small = [0, 1, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB + 5];
        let large = [10 * MIB + 5, 40 * MIB - 1, 90 * MIB, 150 * MIB + 1];
        let sizes = if world.random.chance(300) { &small[..] } else { &large[..] };
        // A base peer cannot say that a file is empty.
        let size = (*world.random.pick(sizes)).max(u64::from(!known));
        let content = Content { id: world.random.number(), size };
        // The one who downloads has much room to do it, or little.
        world.config(nodes[0]).max_workers = *world.random.pick(&[1, 2, 4, 256]);
        world.crash(nodes[0]);
        world.start(nodes[0]);
        let honest = nodes[1..].to_vec();
        for &source in &honest {
            world.hosts[source.0].rate = *world.random.pick(&[100_000, 400_000, 2_000_000]);
            let name = if world.random.chance(700) { NAME } else { "another/film.mkv" };
            if known {
                world.share(source, name, content);
            }
        }
        let rogues = (0..world.random.below(6)).map(|_| add_rogue(&mut world, bootstrap, content, known)).collect();
        if !known {
            world.add_source(bootstrap, NAME, content, false, Vice::Honest);
        }
        world.let_them_hash(&nodes);
        world.let_them_meet();
        let node = nodes[0];
        world.ask(node, Request::Events).unwrap();
        let mut disturbed = Self { world, content, node, honest, rogues, download: 0, known, lived: 0 };
        disturbed.order();
        disturbed
    }

    /// Begins the download.
    fn order(&mut self) {
        let (world, node) = (&mut self.world, self.node);
        // Whichever row of this content: also one with a wrong size.
        let b3 = self.known.then(|| self.content.b3().to_string());
        let mut rows: Vec<u32> = Vec::new();
        while rows.is_empty() {
            let (hits, _) = world.search(node, "film.mkv");
            rows = hits.iter().filter(|hit| hit.b3 == b3).map(|hit| hit.id).collect();
            world.run_for(seconds(10));
        }
        self.download = if self.known && world.random.chance(300) {
            world.download_content(node, self.content)
        } else {
            let hit = *world.random.pick(&rows);
            world.download_hit(node, hit)
        };
    }

    fn is_finished(&self) -> bool {
        !self.world.hosts[self.node.0].disk.finished.is_empty()
    }

    /// One thing out of all that can happen to a download.
    fn disturb(&mut self) {
        let (world, node) = (&mut self.world, self.node);
        let up = world.hosts[node.0].up;
        let source = *world.random.pick(&self.honest);
        match world.random.below(22) {
            0 if up => world.crash(node),
            1 if up => world.cut_power(node),
            2 if up => world.deliver(node, Event::Leave),
            0..=5 if !up => world.start_watched(node),
            3..=5 if world.hosts[source.0].up => world.crash(source),
            6 | 7 if !world.hosts[source.0].up => world.start(source),
            8 if !self.rogues.is_empty() => {
                let rogue = *world.random.pick(&self.rogues);
                match world.hosts[rogue.0].up {
                    true => world.crash(rogue),
                    false => world.start(rogue),
                }
            }
            9 => {
                let host = *world.random.pick(&[node, source]);
                let side = world.random.below(2) as u8;
                world.partition(&[host], side);
            }
            10 | 11 => {
                let io = DiskFault::Other(5);
                let faults = [None, None, Some(DiskFault::Full), Some(DiskFault::ReadOnly), Some(io)];
                let fault = *world.random.pick(&faults);
                world.set_disk_fault(node, fault);
            }
            12 => {
                world.net.lost_per_mille = *world.random.pick(&[0, 50, 300]);
                world.net.torn_per_mille = *world.random.pick(&[0, 20, 200]);
            }
            13 => world.hosts[source.0].rate = *world.random.pick(&[20_000, 100_000, 400_000, 2_000_000]),
            14 if self.known => self.change_share(source),
            15..=20 if up => {
                let ids = "all".to_string();
                let request = match world.random.below(5) {
                    0 => Request::Pause { ids },
                    1 | 2 => Request::Resume { ids },
                    _ => Request::Retry { ids },
                };
                // There may be nothing to pause or resume; that too is an answer.
                let _ = world.ask(node, request);
            }
            _ => {}
        }
    }

    /// A source loses the file, gets it back, or has another under its name.
    fn change_share(&mut self, source: HostId) {
        let world = &mut self.world;
        let name = world.hosts[source.0].disk.share.keys().next().cloned();
        let other = Content { id: world.random.number(), ..self.content };
        match (world.random.below(3), name) {
            (0, Some(name)) => drop(world.hosts[source.0].disk.share.remove(&name)),
            // Who once sent other bytes is not asked again: one never does.
            (1, _) if source != self.honest[0] => world.hosts[source.0].disk.share(NAME, other),
            _ => world.hosts[source.0].disk.share(NAME, self.content),
        }
    }

    /// So many disturbances, or fewer if it ends before.
    fn run(&mut self, disturbances: usize) {
        for _ in 0..disturbances {
            if self.is_finished() {
                return;
            }
            self.disturb();
            let pause = *self.world.random.pick(&[10, 300, 3_000, 3_000, 20_000, 90_000]);
            let pause = 1 + self.world.random.below(pause);
            self.world.run_for(Duration::from_millis(pause));
            self.lived += 1;
        }
    }

    /// Everything is well again with the one who downloads, and with one honest source.
    fn heal(&mut self) {
        let (world, node) = (&mut self.world, self.node);
        (world.net.lost_per_mille, world.net.torn_per_mille) = (0, 0);
        world.set_disk_fault(node, None);
        // Who is leaving has left by then.
        world.run_for(seconds(10));
        let honest = self.honest[0];
        for id in [node, honest] {
            world.partition(&[id], 0);
            if !world.hosts[id.0].up {
                world.start(id);
            }
        }
        // Who sends little, but does send, is nobody to complain of.
        for id in &self.honest {
            world.hosts[id.0].rate = world.hosts[id.0].rate.max(200_000);
        }
        world.ask(node, Request::Events).unwrap();
        // Known by its name alone, the base peer that has it is always there.
        if self.known {
            world.share(honest, NAME, self.content);
            world.run_for(seconds(10));
        }
    }

    /// What the user does who sees that it waits for him, or that all sources refused.
    fn ask_for_it(&mut self) {
        let Some(row) = self.world.row(self.node, self.download) else {
            // What had failed when the node left is forgotten: he orders it again.
            return self.order();
        };
        let ids = self.download.to_string();
        match row.state {
            DownloadState::Paused => drop(self.world.ask(self.node, Request::Resume { ids })),
            DownloadState::Failed => drop(self.world.ask(self.node, Request::Retry { ids })),
            _ => {}
        }
    }

    fn await_the_end(&mut self) {
        let (node, download) = (self.node, self.download);
        if self.is_finished() {
            return;
        }
        for _ in 0..120 {
            self.ask_for_it();
            self.world.run_for(minutes(1));
            if self.is_finished() {
                return;
            }
        }
        let row =
            self.world.row(node, download).map(|row| (row.state, row.bytes_done, row.size, row.error, row.shares));
        let disk = &self.world.hosts[node.0].disk;
        let kept: Vec<_> = disk.files.values().map(|file| (file.outline, file.journal.len(), file.stream)).collect();
        let (seed, content) = (self.world.seed, self.content);
        panic!(
            "PYRATE_SIM_SEED={seed}: no {content:?} two hours later: {row:?}\nparts {:?}\nfiles {kept:?}",
            disk.parts
        );
    }
}

/// Somebody who says that he has it too.
fn add_rogue(world: &mut World, bootstrap: HostId, content: Content, known: bool) -> HostId {
    let other = Content { id: world.random.number(), size: content.size };
    let rate = 1 << world.random.below(16);
    let near = content.size.saturating_add(world.random.below(3)).saturating_sub(1);
    let p1 = known && world.random.chance(600);
    let deceits = [
        Vice::Lies(1 + world.random.below(20)),
        Vice::Truncates,
        Vice::Overdoes,
        Vice::ClaimsSize(near),
        Vice::Pretends(other),
        Vice::ForgesMetadata(other),
        Vice::Changes,
    ];
    let failures = [
        Vice::Honest,
        Vice::Dies,
        Vice::Stalls,
        Vice::Mute,
        Vice::RefusesRanges,
        Vice::RefusesMetadata,
        Vice::Trickles(rate),
        Vice::Fickle,
        Vice::NeverEnds,
    ];
    // What is wrong with bytes that nobody can check is nobody's fault.
    let vice =
        if known && world.random.chance(500) { *world.random.pick(&deceits) } else { *world.random.pick(&failures) };
    let source = world.add_source(bootstrap, NAME, content, p1, vice);
    world.hosts[source.0].rate = *world.random.pick(&[50_000, 400_000, 2_000_000]);
    source
}

#[test]
fn a_content_arrives_verified_whatever_happens_while_one_honest_source_is_left() {
    let everyday: Vec<u64> = (1..=120).collect();
    let mut lived = 0;
    for seed in seeds(&everyday) {
        let mut disturbed = DisturbedDownload::new(seed, true);
        disturbed.run(60);
        lived += disturbed.lived;
        disturbed.heal();
        disturbed.await_the_end();
        let DisturbedDownload { mut world, content, node, download, .. } = disturbed;
        let finished: Vec<_> = world.hosts[node.0].disk.finished.values().copied().collect();
        assert!(finished.len() == 1 && finished[0].same_as(content), "{finished:?}, not {content:?}");
        world.run_for(minutes(3));
        if let Some(row) = world.row(node, download) {
            assert!(row.state == DownloadState::Done && row.verified, "{row:?}");
        }
        assert_clean(&world, node);
    }
    println!("{lived} disturbances");
}

#[test]
fn a_name_of_base_peers_arrives_whatever_happens_while_one_honest_source_is_left() {
    let everyday: Vec<u64> = (1..=60).collect();
    for seed in seeds(&everyday) {
        let mut disturbed = DisturbedDownload::new(seed, false);
        disturbed.run(40);
        disturbed.heal();
        disturbed.await_the_end();
        let DisturbedDownload { mut world, content, node, .. } = disturbed;
        let finished: Vec<_> = world.hosts[node.0].disk.finished.values().copied().collect();
        assert!(finished.len() == 1 && finished[0].same_as(content), "{finished:?}, not {content:?}");
        world.run_for(minutes(3));
        assert_clean(&world, node);
    }
}

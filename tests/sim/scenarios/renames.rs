//! The users of the sources rename, move and delete copies of a file, write other contents over them and restart their
//! nodes, and the node that downloads restarts too: as long as a reachable source has the content under any name, a
//! download by hash ends verified and never fails, and a download by name never ends as a content that the name never had.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{DownloadRow, DownloadState, Notice, Request};
use pyrate::name::FileName;
use pyrate::node::contract::Event;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// The file that is downloaded by name, at the first source.
const NAME: &str = "films/film.mkv";

/// A rescan, hashing, a search and the wait between two attempts, at most.
const RECOVERY_MAX: Duration = minutes(4);

/// Bytes a second of the slowest source after the disturbances.
const RATE: u64 = 1_000_000;

struct Renames {
    world: World,
    content: Content,
    node: HostId,
    sources: Vec<HostId>,
    names_made: u32,
}

impl Renames {
    /// Some sources, each with one or two copies of one content, and with other files. `NAME` is at the first alone where a
    /// name is wanted: a peer out of reach would be replaced by others that have a file of that name.
    fn new(seed: u64, by_name: bool) -> Self {
        let sources = 1 + seed as usize % 3;
        let (mut world, _, nodes) = network(seed, sources + 1);
        let size = *world.random.pick(&[1, MIB, 3 * MIB + 1, 20 * MIB, 60 * MIB + 7, 60 * MIB + 7]);
        let content = Content { id: world.random.number(), size };
        let (node, sources) = (nodes[0], nodes[1..].to_vec());
        for &source in &sources {
            world.hosts[source.0].rate = *world.random.pick(&[20_000, 100_000, 300_000]);
            world.hosts[source.0].disk.share("other.bin", Content { id: world.random.number(), size });
            let is_named = !by_name || source == sources[0];
            if is_named {
                world.share(source, NAME, content);
            }
            if !is_named || world.random.chance(500) {
                world.share(source, "copy of film.mkv", content);
            }
        }
        world.let_them_hash(&nodes);
        world.let_them_meet();
        world.ask(node, Request::Events).unwrap();
        Self { world, content, node, sources, names_made: 0 }
    }

    /// Every copy of the content at a source.
    fn copies(&self) -> Vec<(HostId, FileName)> {
        let copies_of = |&source: &HostId| {
            let share = self.world.hosts[source.0].disk.share.iter();
            let copies = share.filter(|(_, content)| content.same_as(self.content));
            copies.map(|(name, _)| (source, name.clone())).collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(copies_of).collect()
    }

    fn fresh_name(&mut self) -> String {
        self.names_made += 1;
        let n = self.names_made;
        // As moved to another directory, or as renamed.
        if self.world.random.chance(500) { format!("moved {n}/film.mkv") } else { format!("film {n}.avi") }
    }

    fn other_content(&mut self) -> Content {
        let random = &mut self.world.random;
        let size = *random.pick(&[0, 12, MIB, self.content.size, self.content.size + 1]);
        Content { id: random.number(), size }
    }

    /// One thing that a user does to the files of a source, or to a node.
    fn disturb(&mut self) {
        let copies = self.copies();
        let (source, name) = self.world.random.pick(&copies).clone();
        let plain = String::from_utf8(name.as_bytes().to_vec()).unwrap();
        let is_last = copies.len() == 1;
        match self.world.random.below(14) {
            0..=2 => {
                let fresh = self.fresh_name();
                self.world.hosts[source.0].disk.share.remove(&name);
                self.world.hosts[source.0].disk.share(&fresh, self.content);
            }
            3 => {
                let fresh = self.fresh_name();
                self.world.hosts[source.0].disk.share(&fresh, self.content);
            }
            4 | 5 if !is_last => drop(self.world.hosts[source.0].disk.share.remove(&name)),
            6 if !is_last => {
                let other = self.other_content();
                self.world.hosts[source.0].disk.share(&plain, other);
            }
            7 => {
                let (fresh, other) = (self.fresh_name(), self.other_content());
                self.world.hosts[source.0].disk.share(&fresh, self.content);
                self.world.hosts[source.0].disk.share(&plain, other);
            }
            8 => self.remove_another(source),
            9 if self.world.hosts[source.0].up => self.world.deliver(source, Event::Leave),
            10 if self.world.hosts[source.0].up => self.world.crash(source),
            11 if self.world.hosts[self.node.0].up => match self.world.random.below(3) {
                0 => self.world.crash(self.node),
                1 => self.world.cut_power(self.node),
                _ => self.world.deliver(self.node, Event::Leave),
            },
            _ => {
                let rate = *self.world.random.pick(&[20_000, 100_000, 300_000]);
                self.world.hosts[source.0].rate = rate;
            }
        }
        if self.world.hosts[source.0].up && !self.world.hosts[source.0].left && self.world.random.chance(400) {
            // A scan may run already; that too is an answer.
            let _ = self.world.ask(source, Request::Rescan);
        }
    }

    /// A file goes that is no copy of the content.
    fn remove_another(&mut self, source: HostId) {
        let share = &mut self.world.hosts[source.0].disk.share;
        let others = share.iter().filter(|(_, content)| !content.same_as(self.content));
        let others: Vec<FileName> = others.map(|(name, _)| name.clone()).collect();
        if !others.is_empty() {
            share.remove(self.world.random.pick(&others));
        }
    }

    /// Who is down is started again.
    fn start_all(&mut self) {
        for host in self.sources.clone() {
            if !self.world.hosts[host.0].up {
                self.world.start(host);
            }
        }
        if !self.world.hosts[self.node.0].up {
            self.world.start_watched(self.node);
        }
    }

    /// Disturbs until it is done, or so many times; looks at each row that the node tells meanwhile.
    /// Says how often it did.
    fn run(&mut self, disturbances: u64, look: impl Fn(&Self, &DownloadRow)) -> u64 {
        let (mut looked_at, mut lived) = (0, 0);
        for _ in 0..disturbances {
            lived += 1;
            self.disturb();
            for _ in 0..2 {
                let pause = *self.world.random.pick(&[10, 500, 2_000, 10_000, 40_000]);
                let pause = 1 + self.world.random.below(pause);
                self.world.run_for(Duration::from_millis(pause));
                self.start_all();
            }
            let notices = self.world.hosts[self.node.0].notices[looked_at..].to_vec();
            looked_at += notices.len();
            for notice in notices {
                if let Notice::Download { download } = &*notice {
                    look(self, download);
                }
            }
            if !self.world.hosts[self.node.0].disk.finished.is_empty() {
                break;
            }
        }
        // Who is leaving has left by then.
        self.world.run_for(seconds(10));
        self.start_all();
        for source in self.sources.clone() {
            self.world.hosts[source.0].rate = RATE;
        }
        lived
    }

    fn end_within(&self) -> Duration {
        RECOVERY_MAX + Duration::from_millis(self.content.size * 1_000 / RATE * 2)
    }
}

#[test]
fn a_content_arrives_whatever_its_sources_call_it() {
    let everyday: Vec<u64> = (1..=60).collect();
    let mut lived = 0;
    for seed in seeds(&everyday) {
        let mut renames = Renames::new(seed, false);
        let node = renames.node;
        let download = if renames.world.random.chance(500) {
            renames.world.download_content(node, renames.content)
        } else {
            let (hits, _) = renames.world.search(node, "film.mkv");
            renames.world.download_hit(node, hits[0].id)
        };
        let may_not_fail = |renames: &Renames, row: &DownloadRow| {
            let failed = row.id == download && matches!(row.state, DownloadState::Failed | DownloadState::Paused);
            assert!(!failed, "PYRATE_SIM_SEED={}: {row:?}, with {:?}", renames.world.seed, renames.copies());
        };
        lived += renames.run(40, may_not_fail);
        let (within, begin) = (renames.end_within(), renames.world.now);
        let end = begin + within;
        while renames.world.hosts[node.0].disk.finished.is_empty() {
            if let Some(row) = renames.world.row(node, download) {
                may_not_fail(&renames, &row);
                let copies = renames.copies();
                assert!(renames.world.now < end, "PYRATE_SIM_SEED={seed}: {within:?} later: {row:?}, with {copies:?}");
            }
            renames.world.run_for(seconds(1));
        }
        println!("{:?} after the last disturbance", renames.world.now.saturating_since(begin));
        let finished: Vec<_> = renames.world.hosts[node.0].disk.finished.values().copied().collect();
        assert!(finished.len() == 1 && finished[0].same_as(renames.content), "{finished:?}");
        renames.world.run_for(minutes(3));
        if let Some(row) = renames.world.row(node, download) {
            assert!(row.state == DownloadState::Done && row.verified, "PYRATE_SIM_SEED={seed}: {row:?}");
        }
        assert_clean(&renames.world, node);
    }
    println!("{lived} disturbances");
}

#[test]
fn a_name_never_brings_a_content_that_it_never_had() {
    let everyday: Vec<u64> = (1..=60).collect();
    for seed in seeds(&everyday) {
        let mut renames = Renames::new(seed, true);
        let (node, source) = (renames.node, renames.sources[0]);
        let download = renames.world.download_from(node, source, NAME);
        renames.run(25, |_, _| {});
        // It has a content for good now, and the user says that it is to be tried again.
        let last = renames.other_content();
        renames.world.share(source, NAME, last);
        let end = renames.world.now + renames.end_within();
        while renames.world.hosts[node.0].disk.finished.is_empty() && renames.world.now < end {
            let _ = renames.world.ask(node, Request::Retry { ids: download.to_string() });
            renames.world.run_for(seconds(30));
        }
        let Some(&found) = renames.world.hosts[node.0].disk.finished.values().next() else {
            let row = renames.world.row(node, download);
            panic!("PYRATE_SIM_SEED={seed}: {last:?} is not there: {row:?}");
        };
        let name = FileName::from_bytes(NAME.as_bytes()).unwrap();
        let had: Vec<Content> = renames.world.hosts[source.0].disk.shared_as(&name).collect();
        assert!(had.iter().any(|content| content.same_as(found)), "PYRATE_SIM_SEED={seed}: {found:?}, of {had:?}");
        renames.world.run_for(minutes(3));
        if let Some(row) = renames.world.row(node, download) {
            let b3 = found.b3().to_string();
            assert!(row.state == DownloadState::Done, "PYRATE_SIM_SEED={seed}: {row:?}");
            assert!(!row.verified || row.b3 == Some(b3), "PYRATE_SIM_SEED={seed}: {row:?}, and it is {found:?}");
        }
        assert_clean(&renames.world, node);
    }
}

/// Two peers that have nothing to do with each other share other contents under one name; the user names the first.
struct Namesakes {
    world: World,
    node: HostId,
    chosen: HostId,
    other: HostId,
    download: u32,
}

impl Namesakes {
    /// The chosen one goes `before` it is asked for the first time, or soon after.
    fn new(seed: u64, before: bool) -> Self {
        let (mut world, _, nodes) = network(seed, 3);
        let [node, chosen, other] = nodes[..] else { unreachable!("as many as asked for") };
        for host in [chosen, other] {
            let content = Content { id: world.random.number(), size: 3 * MIB + world.random.below(20 * MIB) };
            world.hosts[host.0].rate = RATE;
            world.share(host, NAME, content);
        }
        world.let_them_hash(&nodes);
        world.let_them_meet();
        world.ask(node, Request::Events).unwrap();
        if before {
            world.crash(chosen);
        }
        let download = world.download_from(node, chosen, NAME);
        if !before {
            let pause = world.random.below(3_000);
            world.run_for(Duration::from_millis(pause));
            world.crash(chosen);
        }
        Self { world, node, chosen, other, download }
    }

    fn replace(&mut self, host: HostId) {
        let content = Content { id: self.world.random.number(), size: 3 * MIB + self.world.random.below(20 * MIB) };
        self.world.share(host, NAME, content);
    }

    /// The contents that a peer ever had under the name.
    fn had(&self, host: HostId) -> Vec<Content> {
        let name = FileName::from_bytes(NAME.as_bytes()).unwrap();
        self.world.hosts[host.0].disk.shared_as(&name).collect()
    }

    fn finish(&mut self, within: Duration) -> (Content, DownloadRow) {
        self.world.await_download(self.node, self.download, DownloadState::Done, within);
        let finished: Vec<_> = self.world.hosts[self.node.0].disk.finished.values().copied().collect();
        let row = self.world.row(self.node, self.download).unwrap();
        assert_eq!(finished.len(), 1, "{row:?}");
        (finished[0], row)
    }
}

#[test]
fn who_has_another_file_of_the_name_does_not_take_the_place_of_a_peer_that_is_away_for_a_moment() {
    let everyday: Vec<u64> = (1..=40).collect();
    for seed in seeds(&everyday) {
        let mut namesakes = Namesakes::new(seed, seed % 2 == 0);
        for _ in 0..3 {
            let pause = 500 + namesakes.world.random.below(4_000);
            namesakes.world.run_for(Duration::from_millis(pause));
            if namesakes.world.random.chance(300) {
                namesakes.replace(namesakes.other);
            }
        }
        namesakes.world.start(namesakes.chosen);
        if namesakes.world.random.chance(300) {
            namesakes.world.run_for(seconds(1));
            namesakes.replace(namesakes.chosen);
        }
        let (content, row) = namesakes.finish(minutes(6));
        let had = namesakes.had(namesakes.chosen);
        assert!(had.iter().any(|had| had.same_as(content)), "PYRATE_SIM_SEED={seed}: {content:?} of {had:?}: {row:?}");
        assert!(row.verified, "PYRATE_SIM_SEED={seed}: {row:?}");
    }
}

#[test]
fn what_another_peer_has_under_the_name_is_not_verified_and_the_row_says_whose_it_is() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        let mut namesakes = Namesakes::new(seed, true);
        let (content, row) = namesakes.finish(minutes(6));
        let had = namesakes.had(namesakes.other);
        assert!(had.iter().any(|had| had.same_as(content)), "PYRATE_SIM_SEED={seed}: {content:?} of {had:?}: {row:?}");
        assert!(!row.verified, "PYRATE_SIM_SEED={seed}: {row:?}");
        let senders: Vec<_> = row.shares.iter().filter(|share| share.bytes > 0).map(|share| share.addr).collect();
        assert_eq!(senders, [namesakes.world.addr(namesakes.other)], "PYRATE_SIM_SEED={seed}: {row:?}");
    }
}

//! Directories as one download: they arrive as their manifest says, or say what is missing, whatever happens on the way.

use super::events::read;
use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{DownloadState, EventKind, Linkable, RawText, Reply, Request, Selector};
use pyrate::fault::DiskFault;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Files of each kind: empty, within a group, of several groups, and one content under two names.
const FILES: [(&str, Content); 6] = [
    ("sets/album/01.ogg", Content { id: 11, size: 3 * MIB + 7 }),
    ("sets/album/02.ogg", Content { id: 12, size: 900 }),
    ("sets/album/cover/front.png", Content { id: 13, size: 2 * MIB }),
    ("sets/album/cover/same as 02.ogg", Content { id: 12, size: 900 }),
    ("sets/album/deep/er/still/notes.txt", Content { id: 0, size: 0 }),
    ("sets/album/zz.bin", Content { id: 15, size: 5 * MIB }),
];
const EXECUTABLE: [(&str, Content); 2] = [
    ("sets/album/run me", Content { id: 16, size: 77 }),
    ("sets/album/tools/encode", Content { id: 17, size: MIB + 1 }),
];
const EMPTY: [&str; 3] = ["sets/album/empty", "sets/album/deep/er/empty too", "sets/album/x/y/z"];
const NAME: &str = "sets/album/";

/// What lies where downloads go.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    files: BTreeMap<PathBuf, (Content, bool)>,
    directories: BTreeSet<PathBuf>,
}

impl Saved {
    fn on(world: &World, id: HostId) -> Self {
        let disk = &world.hosts[id.0].disk;
        let file = |(path, content): (&PathBuf, &Content)| {
            (path.clone(), (*content, disk.saved_tree.executable.contains(path)))
        };
        Self { files: disk.finished.iter().map(file).collect(), directories: disk.saved_tree.directories.clone() }
    }

    /// What the tree comes to beneath the directory of downloads.
    fn expected() -> Self {
        let at = |name: &str| Path::new("/downloads/album").join(name.strip_prefix(NAME).unwrap());
        let file = |executable: bool| move |(name, content): &(&str, Content)| (at(name), (*content, executable));
        let files: BTreeMap<PathBuf, (Content, bool)> =
            FILES.iter().map(file(false)).chain(EXECUTABLE.iter().map(file(true))).collect();
        let empty: Vec<PathBuf> = EMPTY.iter().map(|name| at(name)).collect();
        let above = files.keys().chain(&empty).flat_map(|path| path.ancestors().skip(1));
        let beneath = above.filter(|path| path.starts_with("/downloads/album")).map(Path::to_path_buf);
        let directories = beneath.chain(empty.iter().cloned()).collect();
        Self { files, directories }
    }
}

/// Two nodes share the tree; a third has nothing.
fn sharing(seed: u64, sources: usize) -> (World, Vec<HostId>) {
    let (mut world, _, nodes) = network(seed, 1 + sources);
    for &node in &nodes[1..] {
        world.hosts[node.0].rate = 2_000_000;
        world.share_tree(node, &FILES, &EXECUTABLE, &EMPTY);
    }
    world.let_them_hash(&nodes);
    world.let_them_meet();
    world.crash(nodes[0]);
    world.start_watched(nodes[0]);
    world.run_for(seconds(2));
    (world, nodes)
}

impl World {
    /// A link to a directory of a peer.
    fn link_to(&mut self, id: HostId, peer: HostId, name: &str) -> String {
        let what = Linkable::Directory { peer: self.addr(peer), name: RawText::new(name) };
        let call = self.call(id, Request::Link { what });
        self.run_until("the link is made", minutes(1), |world| world.answer(id, call).is_some());
        match self.answer(id, call) {
            Some(Ok(Reply::Link(row))) => row.link.clone(),
            other => self.violation(id, &format!("a link was answered with {other:?}")),
        }
    }
}

/// The directory is there as its manifest says, nothing else is, and one event tells that it has begun and one that it is done.
#[track_caller]
fn assert_whole(world: &mut World, id: HostId, download: u32) {
    world.run_for(seconds(10));
    assert_eq!(Saved::on(world, id), Saved::expected(), "PYRATE_SIM_SEED={}", world.seed);
    assert_clean(world, id);
    assert_eq!(kinds(world, id, download), [EventKind::Begun, EventKind::Done], "PYRATE_SIM_SEED={}", world.seed);
}

/// What the event log tells of a download. It tells of no other.
fn kinds(world: &mut World, id: HostId, download: u32) -> Vec<EventKind> {
    let mut seen = BTreeMap::new();
    read(world, id, &mut seen, 1);
    assert!(seen.values().all(|event| event.download == Some(download)), "{seen:?}");
    seen.values().map(|event| event.event).collect()
}

#[test]
fn a_directory_arrives_as_its_manifest_says() {
    for seed in seeds(&[1, 2, 3]) {
        for by_link in [false, true] {
            let (mut world, nodes) = sharing(seed, 1);
            let download = match by_link {
                false => world.download_from(nodes[0], nodes[1], NAME),
                true => {
                    let link = world.link_to(nodes[0], nodes[1], NAME);
                    world.begin_download(nodes[0], Selector::Link(link))
                }
            };
            world.await_download(nodes[0], download, DownloadState::Done, minutes(2));
            let row = world.download(nodes[0], download).unwrap();
            assert!(row.verified && row.directory.as_ref().unwrap().manifest.is_some(), "{row:?}");
            assert_whole(&mut world, nodes[0], download);
        }
    }
}

#[test]
fn a_hit_that_is_a_directory_arrives_as_a_whole() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, nodes) = sharing(seed, 2);
        let (hits, _) = world.search(nodes[0], "album");
        let hit = hits.iter().find(|hit| hit.directory.is_some()).expect("the directory is found");
        assert_eq!(hit.sources.len(), 2);
        let download = world.download_hit(nodes[0], hit.id);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(2));
        assert_whole(&mut world, nodes[0], download);
    }
}

#[test]
fn one_of_two_peers_of_a_hit_goes_for_good_and_the_directory_arrives_from_the_other() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        let (mut world, nodes) = sharing(seed, 2);
        let asker = nodes[0];
        let (hits, _) = world.search(asker, "album");
        let hit = hits.iter().find(|hit| hit.directory.is_some()).expect("the directory is found");
        let first = nodes.iter().copied().find(|node| world.addr(*node) == hit.sources[0]).unwrap();
        let download = world.download_hit(asker, hit.id);
        // At once, or in the middle.
        let span = if seed % 3 == 1 { 0 } else { world.random.below(3_000) };
        world.run_for(Duration::from_millis(span));
        world.crash(first);
        if world.random.chance(300) {
            world.crash(asker);
            world.start_watched(asker);
        }
        world.run_until("all is there", minutes(5), |world| world.hosts[asker.0].disk.downloads.is_empty());
        assert_whole(&mut world, asker, download);
    }
}

#[test]
fn a_directory_whose_peer_goes_for_good_arrives_from_another_that_has_its_contents() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, nodes) = sharing(seed, 2);
        let asker = nodes[0];
        let download = world.download_from(asker, nodes[1], NAME);
        world.run_until("it is described", minutes(1), |world| {
            let row = world.download(asker, download);
            row.and_then(|row| row.directory).is_some_and(|part| part.manifest.is_some() && part.files > 0)
        });
        let span = world.random.below(1_000);
        world.run_for(Duration::from_millis(span));
        world.crash(nodes[1]);
        world.run_until("all is there", minutes(5), |world| world.hosts[asker.0].disk.downloads.is_empty());
        assert_whole(&mut world, asker, download);
    }
}

#[test]
fn crashes_at_any_step_leave_a_directory_that_becomes_whole_and_is_done_once() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        let (mut world, nodes) = sharing(seed, 1);
        let asker = nodes[0];
        let download = world.download_from(asker, nodes[1], NAME);
        let mut crashes = 0;
        while !world.hosts[asker.0].disk.downloads.is_empty() {
            let span = match world.random.below(3) {
                0 => world.random.below(30),
                1 => world.random.below(300),
                _ => world.random.below(4_000),
            };
            world.run_for(Duration::from_millis(span));
            if world.random.chance(500) {
                world.crash(asker)
            } else {
                world.cut_power(asker)
            }
            crashes += 1;
            world.run_for(seconds(1));
            world.start_watched(asker);
        }
        println!("{crashes} crashes");
        assert_whole(&mut world, asker, download);
    }
}

#[test]
fn a_directory_without_its_source_says_what_is_missing_and_goes_on_when_that_returns() {
    for seed in seeds(&[1, 2, 3, 4]) {
        let (mut world, nodes) = sharing(seed, 1);
        let (asker, source) = (nodes[0], nodes[1]);
        let download = world.download_from(asker, source, NAME);
        for _ in 0..4 {
            let span = world.random.below(3_000);
            world.run_for(Duration::from_millis(span));
            if world.hosts[asker.0].disk.downloads.is_empty() {
                break;
            }
            world.crash(source);
            world.run_for(minutes(10));
            let row = world.row(asker, download).unwrap();
            assert_eq!(row.state, DownloadState::Retrying, "PYRATE_SIM_SEED={seed}: {row:?}");
            let part = row.directory.as_ref().unwrap();
            assert!(row.error.is_some() && row.retry_in_s.is_some(), "PYRATE_SIM_SEED={seed}: {row:?}");
            // Before its manifest came it has no files.
            let missing = part.files - part.files_done;
            assert_eq!(
                (part.files_missing, part.missing.len() as u64),
                (missing, missing),
                "PYRATE_SIM_SEED={seed}: {row:?}"
            );
            world.start(source);
            world.run_until("it goes on", minutes(10), |world| {
                let row = world.download(asker, download).unwrap();
                row.state != DownloadState::Retrying
            });
        }
        world.await_download(asker, download, DownloadState::Done, minutes(20));
        assert_whole(&mut world, asker, download);
    }
}

#[test]
fn a_full_disk_at_any_step_stops_a_directory_and_lets_it_go_on() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        let (mut world, nodes) = sharing(seed, 1);
        let asker = nodes[0];
        let download = world.download_from(asker, nodes[1], NAME);
        for _ in 0..12 {
            if world.hosts[asker.0].disk.downloads.is_empty() {
                break;
            }
            let (before, span) = (world.random.below(4_000), world.random.below(60_000));
            world.run_for(Duration::from_millis(before));
            world.set_disk_fault(asker, Some(DiskFault::Full));
            world.run_for(Duration::from_millis(span));
            if world.random.chance(300) {
                world.crash(asker);
                world.start_watched(asker);
                world.run_for(seconds(40));
            }
            let row = world.row(asker, download);
            if let Some(row) = row.filter(|row| row.state == DownloadState::Paused) {
                assert_eq!(row.error.as_ref().map(|error| error.code), Some(9), "PYRATE_SIM_SEED={seed}: {row:?}");
                assert!(!row.directory.as_ref().unwrap().missing.is_empty(), "PYRATE_SIM_SEED={seed}: {row:?}");
            }
            world.set_disk_fault(asker, None);
            if world.random.chance(300) {
                let _ = world.ask(asker, Request::Resume { ids: "all".into() });
            }
        }
        world.run_until("all is there", minutes(30), |world| world.hosts[asker.0].disk.downloads.is_empty());
        assert_whole(&mut world, asker, download);
    }
}

#[test]
fn a_directory_whose_files_change_after_the_manifest_has_what_it_says_that_it_has() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) {
        let (mut world, nodes) = sharing(seed, 1);
        let (asker, source) = (nodes[0], nodes[1]);
        let download = world.download_from(asker, source, NAME);
        let span = world.random.below(4_000);
        world.run_for(Duration::from_millis(span));
        // Another file of the same name, one that is gone, and one that is new.
        let (changes, goes) = (*world.random.pick(&FILES), *world.random.pick(&FILES));
        world.hosts[source.0].disk.share(changes.0, Content { id: 99, size: 4 * MIB });
        world.hosts[source.0].disk.share.retain(|name, _| name.as_bytes() != goes.0.as_bytes());
        world.share(source, "sets/album/new.txt", Content { id: 98, size: 10 });
        world.run_for(minutes(30));
        let row = world.row(asker, download).unwrap();
        let part = row.directory.unwrap();
        println!("{changes:?} {goes:?}: {:?}, manifest {:?}, {:?}", row.state, part.manifest, part.missing);
        if row.state != DownloadState::Done {
            let missing: Vec<_> = part.missing.iter().map(|row| row.name.as_bytes()).collect();
            assert_eq!(missing, [goes.0.as_bytes()], "PYRATE_SIM_SEED={seed}: what is gone is missing");
            // The old content comes back.
            world.share_tree(source, &FILES, &EXECUTABLE, &EMPTY);
            world.await_download(asker, download, DownloadState::Done, minutes(70));
            world.run_for(seconds(10));
        }
        assert_clean(&world, asker);
        assert_eq!(kinds(&mut world, asker, download), [EventKind::Begun, EventKind::Done], "PYRATE_SIM_SEED={seed}");
    }
}

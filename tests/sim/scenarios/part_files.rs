//! Part files: taken up after crashes and power cuts, kept while a download is paused, and what a failing disk does.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{DownloadState, Request};
use pyrate::fault::DiskFault;
use pyrate::node::contract::Event;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const FILM: Content = Content { id: 5, size: 60 * MIB + 5 };

/// A node that downloads, from two others at 2 MB/s each, what takes 15 s in all.
fn running(seed: u64) -> (World, Vec<HostId>, u32) {
    let (mut world, _, nodes) = network(seed, 3);
    for &node in &nodes[1..] {
        world.hosts[node.0].rate = 2_000_000;
        world.share(node, "film.mkv", FILM);
    }
    world.let_them_hash(&nodes);
    world.let_them_meet();
    let (hits, _) = world.search(nodes[0], "film.mkv");
    let download = world.download_hit(nodes[0], hits[0].id);
    (world, nodes, download)
}

/// Groups in the journals of all part files.
fn groups_kept(world: &World, id: HostId) -> usize {
    world.hosts[id.0].disk.files.values().map(|file| file.journal.len()).sum()
}

/// Bytes that all others sent so far, as far as their nodes say.
fn bytes_up(world: &World, nodes: &[HostId]) -> u64 {
    nodes.iter().map(|&id| world.node(id).counters().bytes_up).sum()
}

#[test]
fn a_crash_costs_at_most_the_groups_in_flight() {
    for seed in seeds(&[1, 2, 3, 4]) {
        let (mut world, nodes, download) = running(seed);
        let mut crashes = 0;
        while world.row(nodes[0], download).is_some_and(|row| row.state != DownloadState::Done) {
            let span = 500 + world.random.below(3_000);
            world.run_for(Duration::from_millis(span));
            if world.hosts[nodes[0].0].disk.has_finished(FILM) {
                break;
            }
            let kept = groups_kept(&world, nodes[0]);
            world.crash(nodes[0]);
            assert_eq!(groups_kept(&world, nodes[0]), kept);
            crashes += 1;
            world.run_for(seconds(2));
            world.start_watched(nodes[0]);
            let span = world.random.below(3_000);
            world.run_for(Duration::from_millis(span));
            let row = world.row(nodes[0], download).expect("a restart takes it up");
            assert!(row.bytes_done >= (kept as u64).saturating_sub(1) * MIB || row.path.is_none(), "{row:?}, {kept}");
        }
        println!("{crashes} crashes");
        assert!(crashes > 2);
        world.run_for(seconds(5));
        assert!(world.hosts[nodes[0].0].disk.has_finished(FILM));
        assert_clean(&world, nodes[0]);
        // Nothing that was verified was sent twice: each crash costs what was in flight from two sources.
        let sent = bytes_up(&world, &nodes[1..]);
        assert!(sent < FILM.size + crashes * 24 * MIB, "{sent} bytes for {crashes} crashes");
    }
}

#[test]
fn power_cuts_cost_what_was_not_synced_and_never_the_truth() {
    for seed in seeds(&[1, 2, 3, 4]) {
        let (mut world, nodes, _) = running(seed);
        for _ in 0..6 {
            let span = world.random.below(6_000);
            world.run_for(Duration::from_millis(span));
            world.cut_power(nodes[0]);
            world.run_for(seconds(1));
            world.start_watched(nodes[0]);
        }
        world.run_until("it is finished", minutes(2), |world| world.hosts[nodes[0].0].disk.has_finished(FILM));
        world.run_for(seconds(1));
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn leaving_in_order_keeps_what_is_there() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, nodes, download) = running(seed);
        world.run_for(seconds(8));
        let kept = groups_kept(&world, nodes[0]);
        assert!(kept > 10, "{kept}");
        world.deliver(nodes[0], Event::Leave);
        world.run_for(seconds(5));
        assert!(groups_kept(&world, nodes[0]) >= kept);
        world.start_watched(nodes[0]);
        world.await_download(nodes[0], download, DownloadState::Done, seconds(14));
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn a_paused_download_keeps_its_groups_and_asks_nobody() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, nodes, download) = running(seed);
        let ids = || download.to_string();
        world.run_for(seconds(6));
        world.ask(nodes[0], Request::Pause { ids: ids() }).unwrap();
        world.await_download(nodes[0], download, DownloadState::Paused, seconds(1));
        world.run_for(seconds(2));
        let kept = groups_kept(&world, nodes[0]);
        let (before, disk) = (bytes_up(&world, &nodes[1..]), &world.hosts[nodes[0].0].disk);
        assert!(kept > 5 && disk.parts.is_empty() && disk.files.len() == 1, "{kept} groups, {:?}", disk.parts);
        world.run_for(minutes(30));
        assert_eq!(bytes_up(&world, &nodes[1..]), before, "a paused download asks nobody");
        // It stays paused across a restart, and goes on where it was.
        world.crash(nodes[0]);
        world.start_watched(nodes[0]);
        world.run_for(minutes(2));
        assert_eq!(world.row(nodes[0], download).unwrap().state, DownloadState::Paused);
        assert_eq!(groups_kept(&world, nodes[0]), kept);
        world.ask(nodes[0], Request::Resume { ids: ids() }).unwrap();
        world.await_download(nodes[0], download, DownloadState::Done, seconds(30));
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn cancelling_removes_everything_in_any_state() {
    for seed in seeds(&[1, 2, 3]) {
        for state in 0..4 {
            let (mut world, nodes, download) = running(seed);
            let ids = || download.to_string();
            world.run_for(seconds(5));
            match state {
                0 => {}
                1 => drop(world.ask(nodes[0], Request::Pause { ids: ids() }).unwrap()),
                2 => {
                    nodes[1..].iter().for_each(|&node| world.crash(node));
                    world.await_download(nodes[0], download, DownloadState::Retrying, minutes(3));
                }
                _ => {
                    world.crash(nodes[0]);
                    world.start_watched(nodes[0]);
                    let span = world.random.below(3_000);
                    world.run_for(Duration::from_millis(span));
                }
            }
            world.ask(nodes[0], Request::Cancel { ids: ids() }).unwrap();
            world.run_for(minutes(3));
            assert_eq!(world.row(nodes[0], download).unwrap().state, DownloadState::Cancelled);
            assert!(world.hosts[nodes[0].0].disk.finished.is_empty());
            assert_clean(&world, nodes[0]);
            assert_eq!(world.hosts[nodes[0].0].commands, 0);
        }
    }
}

#[test]
fn a_full_disk_pauses_the_download_says_why_and_lets_it_go_on() {
    for seed in seeds(&[1, 2, 3]) {
        for (after_ms, fault, code) in
            [(0, DiskFault::Full, 9), (3_000, DiskFault::Full, 9), (4_000, DiskFault::ReadOnly, 17)]
        {
            let (mut world, nodes, download) = running(seed);
            world.run_for(Duration::from_millis(after_ms));
            world.set_disk_fault(nodes[0], Some(fault));
            world.await_download(nodes[0], download, DownloadState::Paused, minutes(1));
            let row = world.download(nodes[0], download).unwrap();
            assert_eq!(row.error.map(|error| error.code), Some(code));
            world.run_for(minutes(10));
            assert!(world.hosts[nodes[0].0].disk.finished.is_empty());
            let kept = groups_kept(&world, nodes[0]);
            world.set_disk_fault(nodes[0], None);
            if fault != DiskFault::Full {
                // What will not go away by itself waits for the user.
                world.ask(nodes[0], Request::Resume { ids: download.to_string() }).unwrap();
            }
            world.await_download(nodes[0], download, DownloadState::Done, minutes(5));
            assert!(kept as u64 * MIB < FILM.size);
            assert!(world.hosts[nodes[0].0].disk.has_finished(FILM));
            assert_clean(&world, nodes[0]);
        }
    }
}

#[test]
fn a_restart_takes_many_downloads_up_in_their_order() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        world.hosts[nodes[1].0].rate = 20_000_000;
        for n in 0..12 {
            world.hosts[nodes[1].0].disk.share(&format!("file {n}.bin"), Content { id: n, size: 20 * MIB + n });
        }
        world.ask(nodes[1], Request::Rescan).unwrap();
        world.let_them_hash(&nodes);
        world.config(nodes[0]).max_downloads = 2;
        world.crash(nodes[0]);
        world.start_watched(nodes[0]);
        let downloads: Vec<u32> =
            (0..12).map(|n| world.download_from(nodes[0], nodes[1], &format!("file {n}.bin"))).collect();
        world.run_for(seconds(4));
        world.crash(nodes[0]);
        world.run_for(seconds(10));
        world.hosts[nodes[0].0].notices.clear();
        world.start_watched(nodes[0]);
        world.run_until("all are finished", minutes(10), |world| world.hosts[nodes[0].0].disk.finished.len() == 12);
        world.run_for(seconds(5));
        assert_clean(&world, nodes[0]);
        // Another download gets a number of its own.
        let another = world.download_from(nodes[0], nodes[1], "file 3.bin");
        assert!(downloads.iter().all(|&id| id < another), "{another} after {downloads:?}");
    }
}

#[test]
fn groups_that_rot_on_the_disk_are_found_by_the_last_check_and_fetched_again() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, nodes, download) = running(seed);
        for _ in 0..3 {
            world.run_for(seconds(3));
            world.hosts[nodes[0].0].disk.rot();
        }
        world.await_download(nodes[0], download, DownloadState::Done, minutes(2));
        assert!(world.hosts[nodes[0].0].disk.has_finished(FILM));
        assert_clean(&world, nodes[0]);
    }
}

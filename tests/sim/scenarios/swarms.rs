//! Several sources at once: their rates add up, and the slow do not hold up the fast.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::sources::Vice;
use crate::world::World;
use pyrate::control::{DownloadState, SourceState};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A network in which the first node wants what all others share, and so many bytes of it.
fn swarm(seed: u64, rates: &[u64], size: u64) -> (World, Vec<HostId>, Content) {
    let (mut world, _, nodes) = network(seed, rates.len() + 1);
    let content = Content { id: world.random.number(), size };
    for (n, (&node, &rate)) in nodes[1..].iter().zip(rates).enumerate() {
        world.hosts[node.0].rate = rate;
        world.share(node, &format!("films/{n}/film.mkv"), content);
    }
    world.let_them_hash(&nodes);
    world.let_them_meet();
    (world, nodes, content)
}

/// Downloads the one content that there is, and says how long that took.
fn fetch(world: &mut World, node: HostId, content: Content) -> Duration {
    let (hits, _) = world.search(node, "film.mkv");
    let download = world.download_hit(node, hits[0].id);
    let begin = world.now;
    world.await_download(node, download, DownloadState::Done, minutes(60));
    let span = world.now.saturating_since(begin);
    assert!(world.download(node, download).unwrap().verified);
    assert!(world.hosts[node.0].disk.has_finished(content));
    assert_clean(world, node);
    span
}

/// Twice the bytes would have come in twice the time, but for so many hundredths.
#[track_caller]
fn assert_near(world: &World, span: Duration, ideal: Duration, hundredths: u32) {
    assert!(span * 100 <= ideal * (100 + hundredths), "PYRATE_SIM_SEED={}: {span:?}, not {ideal:?}", world.seed);
}

#[test]
fn the_rates_of_several_sources_add_up() {
    for seed in seeds(&[1, 2, 3]) {
        for sources in [1, 2, 4, 8] {
            let rate = 4_000_000;
            let size = 200 * MIB * sources;
            let rates = vec![rate; sources as usize];
            let (mut world, nodes, content) = swarm(seed, &rates, size);
            let (hits, _) = world.search(nodes[0], "film.mkv");
            assert_eq!((hits.len(), hits[0].sources.len() as u64), (1, sources), "one content is one row");
            let span = fetch(&mut world, nodes[0], content);
            assert_near(&world, span, Duration::from_millis(size * 1000 / rate / sources), 15);
        }
    }
}

#[test]
fn sources_of_different_rates_each_give_what_they_can() {
    for seed in seeds(&[1, 2, 3]) {
        let rates = [500_000, 1_000_000, 2_500_000, 6_000_000];
        let size = 400 * MIB;
        let (mut world, nodes, content) = swarm(seed, &rates, size);
        let span = fetch(&mut world, nodes[0], content);
        assert_near(&world, span, Duration::from_millis(size / 10_000), 15);
    }
}

#[test]
fn a_slow_source_does_not_hold_up_a_fast_one() {
    for seed in seeds(&[1, 2, 3, 4]) {
        // The smaller the file, the more one group of the slow source would cost: a minute and more.
        for (mib, slow) in [(200, 50_000), (40, 20_000), (12, 10_000)] {
            let size = mib * MIB;
            let (mut world, nodes, content) = swarm(seed, &[slow, 5_000_000], size);
            let span = fetch(&mut world, nodes[0], content);
            let ideal = Duration::from_millis(size / 5_000);
            assert!(span < ideal + ideal / 4 + seconds(3), "PYRATE_SIM_SEED={seed}: {mib} MiB took {span:?}");
        }
    }
}

#[test]
fn a_source_that_falls_silent_does_not_hold_up_the_others() {
    for seed in seeds(&[1, 2, 3, 4]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        let content = Content { id: 7, size: 100 * MIB };
        world.share(nodes[1], "film.mkv", content);
        world.hosts[nodes[1].0].rate = 5_000_000;
        let silent = world.add_source(bootstrap, "film.mkv", content, true, Vice::Stalls);
        world.hosts[silent.0].rate = 5_000_000;
        world.let_them_hash(&nodes);
        world.let_them_meet();
        let span = fetch(&mut world, nodes[0], content);
        assert!(span < seconds(40), "PYRATE_SIM_SEED={seed}: {span:?}");
    }
}

#[test]
fn more_sources_are_found_while_a_download_runs() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 6);
        let content = Content { id: 7, size: 300 * MIB };
        world.hosts[nodes[1].0].rate = 200_000;
        world.share(nodes[1], "film.mkv", content);
        world.let_them_hash(&nodes[..2]);
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "film.mkv");
        let download = world.download_hit(nodes[0], hits[0].id);
        world.run_for(seconds(20));
        assert_eq!(world.row(nodes[0], download).unwrap().sources.len(), 1);
        // Others come to have the same content, under names of their own.
        for (n, &node) in nodes[2..].iter().enumerate() {
            world.hosts[node.0].rate = 5_000_000;
            world.share(node, &format!("{n}.avi"), content);
        }
        let begin = world.now;
        world.await_download(nodes[0], download, DownloadState::Done, minutes(10));
        let (span, row) = (world.now.saturating_since(begin), world.download(nodes[0], download).unwrap());
        assert!(row.verified && row.sources.len() > 1, "{row:?}");
        println!("{span:?} with {} sources", row.sources.len());
    }
}

#[test]
fn what_each_source_brought_is_told_and_adds_up() {
    for seed in seeds(&[1, 2]) {
        let (mut world, nodes, content) = swarm(seed, &[1_000_000, 4_000_000], 100 * MIB);
        let (hits, _) = world.search(nodes[0], "film.mkv");
        let download = world.download_hit(nodes[0], hits[0].id);
        world.run_for(seconds(10));
        let row = world.row(nodes[0], download).unwrap();
        assert_eq!(row.state, DownloadState::Active);
        let rate = row.rate.unwrap();
        assert!((3_500_000..6_500_000).contains(&rate), "{rate} is not 5,000,000");
        let left = (content.size - row.bytes_done) / 5_000_000;
        assert!(row.eta_s.is_some_and(|eta| eta.abs_diff(left) <= 3 + left / 3), "{:?} is not {left}", row.eta_s);
        assert!(row.shares.iter().all(|share| share.state == SourceState::Active), "{:?}", row.shares);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(5));
        let row = world.download(nodes[0], download).unwrap();
        assert_eq!(row.shares.iter().map(|share| share.bytes).sum::<u64>(), content.size, "{:?}", row.shares);
        let of = |node: HostId| row.shares.iter().find(|share| share.addr == world.addr(node)).map_or(0, |it| it.bytes);
        assert!(of(nodes[2]) > 2 * of(nodes[1]), "{:?}", row.shares);
    }
}

//! Peers that have just registered are found at once, in small and large networks.

use super::helpers::{network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::world::World;
use std::time::Duration;

const FILE: Content = Content { id: 1, size: 5_000 };

/// How long after it was started a newcomer is looked for at the latest.
const FOUND_WITHIN: Duration = seconds(3);

/// A node that shares the file, not started yet.
fn newcomer(world: &mut World, bootstraps: &[HostId]) -> HostId {
    let node = world.add_node(bootstraps);
    world.hosts[node.0].disk.share("just come.txt", FILE);
    node
}

/// Searches until the file is found at this node, as a user does that misses it.
fn await_found(world: &mut World, asker: HostId, source: HostId) {
    let (addr, began, until) = (world.addr(source), world.now, world.now + FOUND_WITHIN);
    loop {
        let (rows, _) = world.search(asker, "just come");
        if rows.iter().any(|row| row.sources.contains(&addr)) {
            println!(
                "among {}: found {:?} after the first search",
                world.hosts.len(),
                world.now.saturating_since(began)
            );
            return;
        }
        let (seed, hosts) = (world.seed, world.hosts.len());
        assert!(world.now < until, "PYRATE_SIM_SEED={seed}: the newcomer is not found among {hosts}");
        world.run_for(Duration::from_millis(100));
    }
}

#[test]
fn a_newcomer_is_found_within_three_seconds_in_networks_of_two_to_three_hundred() {
    for (seed, peers) in seeds(&[1, 2]).into_iter().flat_map(|seed| [1, 3, 8, 40, 300].map(|peers| (seed, peers))) {
        let (mut world, bootstrap, nodes) = network(seed, peers);
        world.let_them_meet();
        for (n, asker) in [nodes[0], nodes[peers / 2], nodes[peers - 1]].into_iter().enumerate() {
            let come = newcomer(&mut world, &[bootstrap]);
            world.start(come);
            // The first asks a while later, the others while it registers.
            world.run_for(if n == 0 { seconds(1) } else { Duration::from_millis(20) });
            await_found(&mut world, asker, come);
        }
    }
}

#[test]
fn one_search_finds_who_registered_a_moment_before() {
    for seed in seeds(&[1, 2, 3, 4, 5]) {
        let (mut world, bootstrap, nodes) = network(seed, 3);
        world.let_them_meet();
        let (come, before) = (newcomer(&mut world, &[bootstrap]), world.bootstrap(bootstrap).count());
        world.start(come);
        world.run_until("it is registered", seconds(1), |world| world.bootstrap(bootstrap).count() > before);
        let (rows, _) = world.search(nodes[0], "just come");
        let addr = world.addr(come);
        assert!(rows.iter().any(|row| row.sources.contains(&addr)), "PYRATE_SIM_SEED={seed}: {rows:?}");
    }
}

#[test]
fn a_dead_bootstrap_node_does_not_hide_a_newcomer() {
    for seed in seeds(&[1, 2]) {
        let mut world = World::new(seed);
        let bootstraps = [world.add_bootstrap(), world.add_bootstrap()];
        let nodes: Vec<_> = (0..4).map(|_| world.add_node(&bootstraps)).collect();
        nodes.iter().for_each(|node| world.start(*node));
        world.let_them_meet();
        world.crash(bootstraps[0]);
        let come = newcomer(&mut world, &bootstraps);
        world.start(come);
        world.run_for(seconds(1));
        await_found(&mut world, nodes[2], come);
    }
}

/// `PYRATE_SIM_HUNT` has it run on a network of 2,000, which takes a minute.
#[test]
fn a_newcomer_is_found_in_a_network_larger_than_a_list() {
    let peers = if std::env::var_os("PYRATE_SIM_HUNT").is_some() { 2_000 } else { 500 };
    let (mut world, bootstrap, nodes) = network(5, peers);
    world.let_them_meet();
    for n in 0..5 {
        let come = newcomer(&mut world, &[bootstrap]);
        world.start(come);
        world.run_for(seconds(1));
        let asker = nodes[n * peers / 5];
        await_found(&mut world, asker, come);
    }
}

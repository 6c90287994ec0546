//! One download, and sources that each fail in a way of their own: as long as one is honest, it ends whole.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::sources::Vice;
use crate::world::World;
use pyrate::control::{DownloadState, SourceState};

const MIB: u64 = 1 << 20;
const FILM: Content = Content { id: 5, size: 24 * MIB + 99 };
const NAME: &str = "films/film.mkv";

/// A download from an honest node and these others; its row, and how long it took.
fn against(seed: u64, content: Content, others: &[(bool, Vice)]) -> (World, HostId, u32) {
    let (mut world, bootstrap, nodes) = network(seed, 2);
    // They do not pass searches on: all of them are to be neighbours.
    world.config(nodes[0]).max_peers = 64;
    world.crash(nodes[0]);
    world.start_watched(nodes[0]);
    world.hosts[nodes[1].0].rate = 2_000_000;
    world.share(nodes[1], NAME, content);
    for &(p1, vice) in others {
        let source = world.add_source(bootstrap, NAME, content, p1, vice);
        world.hosts[source.0].rate = 4_000_000;
    }
    world.let_them_hash(&nodes);
    world.let_them_meet();
    let (hits, _) = world.search(nodes[0], "film.mkv");
    let honest = world.addr(nodes[1]);
    let hit = hits.iter().find(|hit| hit.sources.contains(&honest)).expect("the honest node is found");
    let download = world.download_hit(nodes[0], hit.id);
    (world, nodes[0], download)
}

fn assert_verified(world: &mut World, node: HostId, download: u32, content: Content) {
    let row = world.download(node, download).unwrap();
    assert!(row.verified && world.hosts[node.0].disk.has_finished(content), "{row:?}");
    world.run_for(minutes(3));
    assert_clean(world, node);
    assert_eq!(world.hosts[node.0].commands, 0);
}

fn vices(content: Content) -> Vec<Vice> {
    let other = Content { id: 666, size: content.size };
    vec![
        Vice::Dies,
        Vice::Stalls,
        Vice::Mute,
        Vice::Lies(3),
        Vice::Lies(1),
        Vice::Truncates,
        Vice::Overdoes,
        Vice::RefusesRanges,
        Vice::RefusesMetadata,
        Vice::ClaimsSize(content.size + 1),
        Vice::ClaimsSize(content.size.saturating_sub(1)),
        Vice::Pretends(other),
        Vice::ForgesMetadata(other),
        Vice::Changes,
        Vice::Trickles(2_000),
        Vice::Fickle,
        Vice::NeverEnds,
    ]
}

#[test]
fn each_vice_of_a_source_is_survived() {
    for seed in seeds(&[1, 2, 3]) {
        for size in [1000, MIB, 2 * MIB + 1, FILM.size] {
            let content = Content { id: 5, size };
            for vice in vices(content) {
                for p1 in [true, false] {
                    println!("{vice:?} p1 {p1} of {size} bytes");
                    let (mut world, node, download) = against(seed, content, &[(p1, vice)]);
                    world.await_download(node, download, DownloadState::Done, seconds(90));
                    assert_verified(&mut world, node, download, content);
                }
            }
        }
    }
}

#[test]
fn all_vices_at_once_are_survived() {
    for seed in seeds(&[1, 2, 3, 4]) {
        let others: Vec<_> = vices(FILM).into_iter().flat_map(|vice| [(true, vice), (false, vice)]).collect();
        let (mut world, node, download) = against(seed, FILM, &others);
        world.await_download(node, download, DownloadState::Done, minutes(20));
        assert_verified(&mut world, node, download, FILM);
    }
}

#[test]
fn a_liar_is_named_and_left() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, node, download) = against(seed, FILM, &[(true, Vice::Lies(2))]);
        world.await_download(node, download, DownloadState::Done, minutes(2));
        let row = world.download(node, download).unwrap();
        let liar = row.shares.iter().filter(|share| share.state == SourceState::Corrupt).count();
        assert_eq!(liar, 1, "{:?}", row.shares);
        assert_verified(&mut world, node, download, FILM);
    }
}

#[test]
fn the_size_that_a_liar_claims_is_found_out_whoever_is_asked_first() {
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        for size in [700, 5 * MIB + 10] {
            let content = Content { id: 5, size };
            let (mut world, bootstrap, nodes) = network(seed, 2);
            world.hosts[nodes[1].0].rate = 2_000_000;
            world.share(nodes[1], NAME, content);
            for wrong in [size - 1, size + 1, size + 2] {
                world.add_source(bootstrap, NAME, content, true, Vice::ClaimsSize(wrong));
            }
            world.let_them_hash(&nodes);
            world.let_them_meet();
            let (hits, _) = world.search(nodes[0], "film.mkv");
            // Also who takes the row of a liar gets the content, as soon as a search finds who has it.
            let hit = world.random.pick(&hits).id;
            let download = world.download_hit(nodes[0], hit);
            world.await_download(nodes[0], download, DownloadState::Done, minutes(10));
            assert_verified(&mut world, nodes[0], download, content);
        }
    }
}

#[test]
fn base_sources_that_break_off_are_followed_by_the_next_and_nothing_is_verified() {
    for seed in seeds(&[1, 2, 3]) {
        for vices in [[Vice::Dies, Vice::Honest], [Vice::Stalls, Vice::Honest], [Vice::Mute, Vice::CallsBack]] {
            let (mut world, bootstrap, nodes) = network(seed, 1);
            for vice in vices {
                world.add_source(bootstrap, NAME, FILM, false, vice);
            }
            world.let_them_meet();
            let (hits, _) = world.search(nodes[0], "film.mkv");
            assert_eq!((hits.len(), hits[0].sources.len()), (1, 2));
            let download = world.download_hit(nodes[0], hits[0].id);
            world.await_download(nodes[0], download, DownloadState::Done, minutes(5));
            let row = world.download(nodes[0], download).unwrap();
            assert!(!row.verified && world.hosts[nodes[0].0].disk.has_finished(FILM), "{row:?}");
            world.run_for(seconds(90));
            assert_clean(&world, nodes[0]);
        }
    }
}

#[test]
fn a_stream_of_a_base_peer_that_is_the_content_counts_as_verified() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        // Somebody says what the content is, and then goes; who is left speaks the base protocol alone.
        world.share(nodes[1], NAME, FILM);
        world.let_them_hash(&nodes);
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "film.mkv");
        world.crash(nodes[1]);
        let download = world.download_hit(nodes[0], hits[0].id);
        world.await_download(nodes[0], download, DownloadState::Retrying, minutes(1));
        let pretender = Content { id: 9, size: FILM.size };
        world.add_source(bootstrap, NAME, pretender, false, Vice::Honest);
        world.add_source(bootstrap, NAME, FILM, false, Vice::Truncates);
        world.add_source(bootstrap, NAME, FILM, false, Vice::Honest);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(30));
        assert_verified(&mut world, nodes[0], download, FILM);
    }
}

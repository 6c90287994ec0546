//! Networks of nodes.

use super::rig::{bootstrap, peer};
use super::world::World;
use crate::control::{DownloadState, HitRow, HitsReply, Notice, RawText, Reply, Request, Selector, StatusReply};
use crate::node::contract::Event;
use std::time::Duration;

fn status(world: &mut World, place: usize) -> StatusReply {
    match world.call(place, Request::Status) {
        Ok(Reply::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

/// Searches until it is over; the hits.
fn search(world: &mut World, place: usize, text: &str) -> Vec<HitRow> {
    let request = Request::Search { text: RawText::new(text), max: None, ttl: None };
    let Ok(Reply::SearchStarted(started)) = world.call(place, request) else { panic!("a search") };
    let done = |notice: &Notice| matches!(notice, Notice::SearchDone { search, .. } if *search == started.search);
    while !world.places[place].notices.iter().any(done) {
        world.pass(Duration::from_millis(100));
    }
    match world.call(place, Request::Hits { search: Some(started.search), after: 0 }) {
        Ok(Reply::Hits(HitsReply { hits, .. })) => hits.iter().collect(),
        other => panic!("{other:?}"),
    }
}

/// A line of nodes, each of which knows only the next, without a bootstrap node.
fn line(world: &mut World, length: u8, file: &str) {
    world.registry = None;
    for n in 1..=length {
        let files = if n == length { vec![(file, 9)] } else { vec![] };
        let next = if n < length { vec![peer(n + 1)] } else { vec![] };
        world.start(&files, next, 1);
    }
}

#[test]
fn peers_that_start_together_find_each_other_and_transfer_files() {
    let mut world = World::new();
    for files in [&[("song.ogg", 40)][..], &[("song.ogg", 40), ("other", 1)], &[]] {
        world.start(files, Vec::new(), 8);
    }
    world.pass(Duration::from_secs(5));
    for place in 0..3 {
        assert_eq!(status(&mut world, place).peers, 2);
    }
    let hits = search(&mut world, 2, "SONG");
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].size, &hits[0].sources[..]), (Some(40), &[peer(1), peer(2)][..]));
    let what = vec![Selector::Hits(hits[0].id.to_string())];
    let Ok(Reply::Downloads(reply)) = world.call(2, Request::Download { what, output: None }) else { panic!("begun") };
    let Ok(Reply::Downloads(rows)) = world.call(2, Request::Downloads { after: 0 }) else { panic!("rows") };
    assert_eq!((rows.downloads[0].id, rows.downloads[0].state), (reply.downloads[0].id, DownloadState::Done));
    assert_eq!(world.places[2].saved.len(), 1);
    assert_eq!((status(&mut world, 2).bytes_down, status(&mut world, 0).bytes_up), (40, 40));

    let Ok(Reply::SearchStarted(listing)) = world.call(2, Request::List { peer: peer(2) }) else { panic!("a listing") };
    let Ok(Reply::Hits(listed)) = world.call(2, Request::Hits { search: Some(listing.search), after: 0 }) else {
        panic!("hits")
    };
    let sizes: Vec<_> = listed.hits.iter().map(|hit| (hit.name, hit.size)).collect();
    assert_eq!(sizes, [(RawText::new("other"), Some(1)), (RawText::new("song.ogg"), Some(40))]);

    world.tell(0, Event::Leave);
    assert!(!world.registry.as_ref().unwrap().contains(&peer(1)));
}

#[test]
fn a_search_reaches_as_far_as_its_ttl() {
    // With TTL 7 a search is forwarded by seven nodes, and answered by the ninth in the line.
    for (length, found) in [(2, true), (9, true), (10, false)] {
        let mut world = World::new();
        line(&mut world, length, "far away");
        let hits = search(&mut world, 0, "far away");
        assert_eq!(hits.len(), usize::from(found), "over {length} nodes");
    }
}

#[test]
fn a_search_in_a_tight_mesh_ends() {
    let mut world = World::new();
    for n in 0..12 {
        let name = format!("file {n}");
        world.start(&[(name.as_str(), n)], Vec::new(), 11);
    }
    world.pass(Duration::from_secs(10));
    let hits = search(&mut world, 0, "file");
    assert_eq!(hits.len(), 11, "everybody but ourselves");
    assert!(
        world.places.iter().any(|place| place.node.counters().limited.searches_dropped > 0),
        "repetitions are dropped"
    );
}

#[test]
fn saved_peers_suffice_without_a_bootstrap_node() {
    let mut world = World::new();
    world.registry = None;
    world.start(&[("song", 1)], Vec::new(), 8);
    let second = world.start(&[], vec![peer(1)], 8);
    assert_eq!(search(&mut world, second, "song").len(), 1);
    // The first learnt of the second by its search, and reaches it in turn.
    assert_eq!(status(&mut world, 0).peers, 1);
}

#[test]
fn a_bootstrap_node_that_returns_is_found_again() {
    let mut world = World::new();
    world.registry = None;
    for _ in 0..2 {
        world.start(&[("song", 1)], Vec::new(), 8);
    }
    world.pass(Duration::from_secs(60));
    assert_eq!(status(&mut world, 0).peers, 0);
    world.registry = Some(Default::default());
    world.pass(Duration::from_secs(450));
    assert_eq!(world.registry.as_ref().unwrap().len(), 2);
    assert_eq!(status(&mut world, 0).bootstraps[0].addr, bootstrap().to_string());
    assert_eq!(search(&mut world, 0, "song").len(), 1);
}

#[test]
fn a_neighbour_that_stops_answering_is_replaced_by_one_that_answers() {
    let mut world = World::new();
    for place in 0..4 {
        let files = [("song", 1), ("rare", 1)];
        world.start(if place == 1 { &files } else { &files[..1] }, Vec::new(), 2);
    }
    world.pass(Duration::from_secs(5));
    world.dark.insert(1);
    let hits = search(&mut world, 0, "song");
    assert_eq!(hits[0].sources.len(), 2, "the two others are reached: {hits:?}");
    // Of two downloads from the silent node, the one that others offer continues with them, and the other waits for it.
    let file = |text| Selector::File { peer: peer(2), name: RawText::new(text) };
    let what = vec![file("song"), file("rare")];
    world.call(0, Request::Download { what, output: None }).unwrap();
    let states = |world: &mut World| match world.call(0, Request::Downloads { after: 0 }) {
        Ok(Reply::Downloads(rows)) => rows.downloads.iter().map(|row| row.state).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    world.pass(Duration::from_secs(300));
    assert_eq!(states(&mut world), [DownloadState::Done, DownloadState::Retrying]);
    world.dark.remove(&1);
    world.pass(Duration::from_secs(90));
    assert_eq!(states(&mut world), [DownloadState::Done, DownloadState::Done]);
}

#[test]
fn a_run_is_a_function_of_its_seeds() {
    let run = || {
        let mut world = World::new();
        for n in 0..8 {
            world.start(&[(format!("file {n}").as_str(), n)], Vec::new(), 3);
        }
        world.pass(Duration::from_secs(30));
        let hits = search(&mut world, 0, "file");
        (hits, world.places.into_iter().flat_map(|place| place.notices).collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}

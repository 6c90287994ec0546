//! Downloads: whole or not at all, from whichever source has it.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::host::HostId;
use crate::rogue::{Breaker, OldPeer, Refuser, Tarpit};
use crate::world::World;
use pyrate::control::{DownloadState, Request};
use pyrate::name::FileName;
use pyrate::wire::Message;
use std::time::Duration;

const FILE: Content = Content { id: 1, size: 30_000_000 };

fn name(text: &str) -> FileName {
    FileName::from_bytes(text.as_bytes()).unwrap()
}

#[test]
fn a_file_travels_from_one_peer_to_another() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 5);
        world.share(nodes[4], "films/film.mkv", FILE);
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "film.mkv");
        let download = world.download_hit(nodes[0], hits[0].id);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(1));
        let row = world.download(nodes[0], download).unwrap();
        assert_eq!((row.bytes_done, row.size), (FILE.size, Some(FILE.size)));
        let finished: Vec<_> = world.hosts[nodes[0].0].disk.finished.iter().collect();
        assert_eq!(finished, [(&"/downloads/film.mkv".into(), &FILE)]);
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn a_download_fails_over_to_the_next_source() {
    for seed in seeds(&[1, 2, 3, 4]) {
        let (mut world, _, nodes) = network(seed, 7);
        for &node in &nodes[1..6] {
            world.share(node, "film.mkv", FILE);
        }
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "film.mkv");
        assert_eq!(hits[0].sources.len(), 5);
        // All sources but the last of the row are gone: one without a word, the others mid-way.
        let sources: Vec<HostId> = hits[0].sources.iter().map(|addr| world.by_addr[addr]).collect();
        world.crash(sources[0]);
        let download = world.download_hit(nodes[0], hits[0].id);
        for &source in &sources[1..4] {
            world.run_for(seconds(1));
            world.crash(source);
        }
        world.await_download(nodes[0], download, DownloadState::Done, minutes(3));
        assert!(world.hosts[nodes[0].0].disk.has_finished(FILE));
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn sources_that_break_off_refuse_or_call_back_leave_one_whole_file() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        let bootstrap = world.addr(bootstrap);
        let next = world.now;
        let breaker = Breaker { name: name("old film.avi"), content: Content { id: 9, size: FILE.size } };
        let breaker = world.add_rogue(breaker);
        world.add_rogue(OldPeer { bootstrap, name: name("old film.avi"), content: FILE, next });
        let register = Message::Register { port: 63339, p1: false };
        world.send_all(breaker, vec![(bootstrap, vec![register])]);
        world.run_for(minutes(6));
        let (hits, _) = world.search(nodes[0], "old film.avi");
        assert_eq!((hits.len(), hits[0].sources.len()), (1, 2));
        let download = world.download_hit(nodes[0], hits[0].id);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(3));
        let finished: Vec<_> = world.hosts[nodes[0].0].disk.finished.values().copied().collect();
        assert_eq!(finished, [FILE]);
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn a_refusal_by_every_source_ends_the_download_and_leaves_nothing() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        let refuser = world.add_rogue(Refuser);
        for (peer, name) in [(refuser, "anything"), (nodes[1], "not shared")] {
            let download = world.download_from(nodes[0], peer, name);
            world.await_download(nodes[0], download, DownloadState::Failed, minutes(1));
            let row = world.download(nodes[0], download).unwrap();
            assert_eq!(row.error.map(|error| error.code), Some(3));
        }
        assert!(world.hosts[nodes[0].0].disk.finished.is_empty());
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn a_source_that_is_down_is_tried_until_it_is_back() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 3);
        world.share(nodes[1], "film.mkv", FILE);
        world.run_for(seconds(5));
        world.crash(nodes[1]);
        let download = world.download_from(nodes[0], nodes[1], "film.mkv");
        world.await_download(nodes[0], download, DownloadState::Retrying, minutes(1));
        world.run_for(minutes(20));
        assert!(world.hosts[nodes[0].0].disk.finished.is_empty());
        world.start(nodes[1]);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(3));
        assert!(world.hosts[nodes[0].0].disk.has_finished(FILE));
    }
}

#[test]
fn a_silent_source_does_not_hold_a_download_for_ever() {
    for seed in seeds(&[1]) {
        let (mut world, _, nodes) = network(seed, 1);
        let tarpit = world.add_rogue(Tarpit);
        let download = world.download_from(nodes[0], tarpit, "film.mkv");
        world.await_download(nodes[0], download, DownloadState::Retrying, minutes(3));
    }
}

#[test]
fn the_same_name_twice_becomes_two_files() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 3);
        world.share(nodes[1], "a/film.mkv", FILE);
        world.share(nodes[2], "b/film.mkv", Content { id: 2, size: 7 });
        world.run_for(seconds(5));
        let first = world.download_from(nodes[0], nodes[1], "a/film.mkv");
        let second = world.download_from(nodes[0], nodes[2], "b/film.mkv");
        // A file that changed while it was hashed is hashed again by the next scan.
        for download in [first, second] {
            world.await_download(nodes[0], download, DownloadState::Done, minutes(3));
        }
        assert_eq!(world.hosts[nodes[0].0].disk.finished.len(), 2);
    }
}

#[test]
fn an_empty_file_is_a_file() {
    for seed in seeds(&[1]) {
        let (mut world, _, nodes) = network(seed, 2);
        let empty = Content { id: 3, size: 0 };
        world.share(nodes[1], "empty.txt", empty);
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "empty.txt");
        let download = world.download_hit(nodes[0], hits[0].id);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(1));
        assert!(world.hosts[nodes[0].0].disk.has_finished(empty));
    }
}

#[test]
fn cancelling_leaves_nothing_whenever_it_comes() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        world.share(nodes[1], "film.mkv", FILE);
        world.run_for(seconds(5));
        for after in [0, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 900, 1_200] {
            let download = world.download_from(nodes[0], nodes[1], "film.mkv");
            world.run_for(std::time::Duration::from_millis(after));
            let finished = world.hosts[nodes[0].0].disk.finished.len();
            let cancelled = world.ask(nodes[0], Request::Cancel { ids: download.to_string() });
            world.run_for(seconds(10));
            let row = world.download(nodes[0], download).unwrap();
            match row.state {
                DownloadState::Cancelled => assert_eq!(world.hosts[nodes[0].0].disk.finished.len(), finished),
                DownloadState::Done => {}
                other => panic!("after {after} ms: {other:?}, {cancelled:?}"),
            }
            assert_clean(&world, nodes[0]);
            assert_eq!(world.hosts[nodes[0].0].commands, 0);
        }
    }
}

#[test]
fn a_source_that_sends_more_than_it_promised_is_left_for_another() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 4);
        for &node in &nodes[1..] {
            world.share(node, "film.mkv", FILE);
        }
        world.let_them_meet();
        let (hits, _) = world.search(nodes[0], "film.mkv");
        // The file of the first source has grown since it answered.
        let first = world.by_addr[&hits[0].sources[0]];
        world.hosts[first.0].disk.share("film.mkv", Content { id: 4, size: 2 * FILE.size });
        let download = world.download_hit(nodes[0], hits[0].id);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(1));
        let finished: Vec<_> = world.hosts[nodes[0].0].disk.finished.values().copied().collect();
        assert_eq!(finished, [FILE]);
        assert_clean(&world, nodes[0]);
    }
}

/// The server of a 2013 client ends for good when its call back is refused: it must be there still, and serve again.
#[test]
fn an_old_client_that_is_asked_twice_is_there_still() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        let (bootstrap, next) = (world.addr(bootstrap), world.now);
        let old = world.add_rogue(OldPeer { bootstrap, name: name("old film.avi"), content: FILE, next });
        for _ in 0..2 {
            let download = world.download_from(nodes[0], old, "old film.avi");
            world.await_download(nodes[0], download, DownloadState::Done, minutes(3));
            assert!(world.hosts[old.0].up, "its call back was refused");
        }
        let requests = world.hosts[old.0].received.iter();
        let requests = requests.filter(|(_, _, message)| matches!(message, Message::DownloadRequest { .. }));
        assert_eq!(requests.count(), 2, "one request each");
        assert_clean(&world, nodes[0]);
    }
}

#[test]
fn a_file_that_an_old_client_does_not_send_is_no_empty_file() {
    for seed in seeds(&[1, 2]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        let (bootstrap, next) = (world.addr(bootstrap), world.now);
        let old = world.add_rogue(OldPeer { bootstrap, name: name("old film.avi"), content: FILE, next });
        let download = world.download_from(nodes[0], old, "another film.avi");
        world.await_download(nodes[0], download, DownloadState::Failed, minutes(1));
        let error = world.download(nodes[0], download).unwrap().error.unwrap();
        assert!(error.message.contains("sent nothing: refused, or the file is empty"), "{error}");
        assert!(world.hosts[nodes[0].0].disk.finished.is_empty());
    }
}

#[test]
fn an_old_client_is_called_back_when_it_listens() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 2);
        world.share(nodes[0], "film.mkv", FILE);
        world.let_them_meet();
        let bootstrap = world.addr(bootstrap);
        let old = world.add_rogue(OldPeer { bootstrap, name: name("x"), content: FILE, next: world.now });
        let ask = |world: &mut World, ms| world.ask_and_close(old, nodes[0], "film.mkv", Duration::from_millis(ms));
        let callers = [0, 1, 50, 700, 3_000].map(|ms| ask(&mut world, ms));
        let late = ask(&mut world, 20_000);
        world.run_for(minutes(1));
        for caller in callers {
            assert_eq!(world.callers[&caller].got, Some(FILE), "{:?}", world.callers[&caller]);
        }
        assert_eq!((world.callers[&late].got, world.callers[&late].refused), (None, 6));
        assert_eq!(world.node(nodes[0]).counters().bytes_up, callers.len() as u64 * FILE.size);
        assert_clean(&world, nodes[0]);
    }
}

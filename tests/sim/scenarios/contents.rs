//! Hashes on their way through the network, and what they are good for: hits by content, and downloads that are checked.

use super::helpers::{assert_clean, minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::sources::Vice;
use pyrate::audience::Requester;
use pyrate::control::{DownloadState, RawText, Reply, Request, Selector};
use pyrate::wire::Message;

const FILM: Content = Content { id: 5, size: 30_000_000 };

#[test]
fn hits_come_by_name_first_and_by_content_once_it_is_hashed() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 5);
        world.let_them_meet();
        let other = Content { id: 6, size: FILM.size };
        world.share(nodes[1], "a/film.mkv", FILM);
        world.share(nodes[2], "b/film.mkv", FILM);
        world.share(nodes[3], "b/film.mkv", other);
        world.let_them_hash(&nodes);
        let (mut hits, _) = world.search(nodes[0], "film.mkv");
        hits.sort_by_key(|hit| hit.sources.len());
        let told: Vec<_> =
            hits.iter().map(|hit| (hit.b3.clone().unwrap(), hit.sources.len(), hit.names.len())).collect();
        assert_eq!(told, [(other.b3().to_string(), 1, 1), (FILM.b3().to_string(), 2, 2)]);
    }
}

#[test]
fn a_node_that_starts_again_knows_its_hashes_without_reading() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        world.changed_per_mille = 0;
        for n in 0..700 {
            world.hosts[nodes[1].0].disk.share(&format!("{n}.bin"), Content { id: n, size: 1_000_000 + n });
        }
        world.ask(nodes[1], Request::Rescan).unwrap();
        world.let_them_hash(&nodes);
        world.crash(nodes[1]);
        world.start(nodes[1]);
        let begin = world.now;
        world.let_them_hash(&nodes);
        let span = world.now.saturating_since(begin);
        assert!(span < seconds(3), "{span:?}");
        let Ok(Reply::Files(page)) = world.ask(nodes[1], Request::Files { after: None }) else { panic!("no files") };
        assert!(page.files.iter().all(|file| file.b3.is_some()));
    }
}

#[test]
fn a_file_that_changes_gets_another_hash() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        world.let_them_meet();
        for id in [10, 11, 12] {
            let content = Content { id, size: 3_000_000 };
            world.share(nodes[1], "paper.pdf", content);
            world.run_until("the new hash is known", minutes(5), |world| {
                let file = world.node(nodes[1]).library().seen_by(Requester::Owner).get(b"paper.pdf");
                file.and_then(|file| file.b3) == Some(content.b3())
            });
            let (hits, _) = world.search(nodes[0], "paper.pdf");
            assert!(hits.iter().any(|hit| hit.b3 == Some(content.b3().to_string())), "{hits:?}");
        }
    }
}

#[test]
fn content_of_any_size_arrives_verified() {
    let mib = 1 << 20;
    for seed in seeds(&[1, 2]) {
        for size in [0, 1, mib - 1, mib, mib + 1, 2 * mib, 5 * mib - 7, 64 * mib + 1] {
            let (mut world, _, nodes) = network(seed, 3);
            let content = Content { id: 77, size };
            world.share(nodes[1], "thing.bin", content);
            world.share(nodes[2], "same thing.bin", content);
            world.let_them_hash(&nodes);
            world.let_them_meet();
            let (hits, _) = world.search(nodes[0], "thing.bin");
            assert_eq!(hits.len(), 1);
            let download = world.download_hit(nodes[0], hits[0].id);
            world.await_download(nodes[0], download, DownloadState::Done, minutes(2));
            let row = world.download(nodes[0], download).unwrap();
            assert!(row.verified, "{row:?}");
            assert_eq!((row.bytes_done, row.size), (size, Some(size)));
            assert!(world.hosts[nodes[0].0].disk.has_finished(content));
            world.run_for(seconds(90));
            assert_clean(&world, nodes[0]);
            assert_eq!(world.hosts[nodes[0].0].commands, 0);
        }
    }
}

#[test]
fn what_is_there_already_is_not_fetched_again() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        world.share(nodes[1], "film.mkv", FILM);
        world.let_them_hash(&nodes);
        world.let_them_meet();
        for already in [false, true] {
            let (hits, _) = world.search(nodes[0], "film.mkv");
            let download = world.download_hit(nodes[0], hits[0].id);
            world.await_download(nodes[0], download, DownloadState::Done, minutes(2));
            assert_eq!(world.download(nodes[0], download).unwrap().already, already);
            assert_clean(&world, nodes[0]);
        }
        assert_eq!(world.hosts[nodes[0].0].disk.finished.len(), 1);
    }
}

#[test]
fn a_content_among_the_hits_is_fetched_by_its_hash() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 4);
        for (n, &node) in nodes[1..].iter().enumerate() {
            world.share(node, &format!("{n}/film {n}.mkv"), FILM);
        }
        world.let_them_hash(&nodes);
        world.let_them_meet();
        let text = RawText::new("film");
        world.ask(nodes[0], Request::Search { text, max: None, ttl: None }).unwrap();
        world.run_for(seconds(5));
        let download = world.download_content(nodes[0], FILM);
        world.await_download(nodes[0], download, DownloadState::Done, minutes(2));
        assert!(world.hosts[nodes[0].0].disk.has_finished(FILM));
    }
}

#[test]
fn base_peers_never_hear_a_word_of_part_two() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, bootstrap, nodes) = network(seed, 3);
        world.share(nodes[1], "film.mkv", FILM);
        world.let_them_hash(&nodes);
        // They die of it. One is named by somebody else as if it spoke part 2.
        let base: Vec<_> = (0..3).map(|_| world.add_source(bootstrap, "film.mkv", FILM, false, Vice::Honest)).collect();
        let victim = world.addr(base[0]);
        world.add_source(bootstrap, "film.mkv", FILM, true, Vice::SpeaksFor(victim));
        world.let_them_meet();
        world.record = true;
        let (hits, _) = world.search(nodes[0], "film.mkv");
        let downloads: Vec<u32> = hits.iter().map(|hit| world.download_hit(nodes[0], hit.id)).collect();
        for &download in &downloads {
            world.await_download(nodes[0], download, DownloadState::Done, minutes(5));
        }
        let asked = |world: &crate::world::World| {
            let base_only = |message: &Message| matches!(message, Message::DownloadRequest { .. });
            world.traffic.iter().filter(|sent| sent.from == nodes[0] && base_only(&sent.message)).count()
        };
        println!("{} hits, {} files asked for as a whole", hits.len(), asked(&world));
        // By name from a peer that nothing is known of: the same.
        let name = RawText::new("film.mkv");
        let what = vec![Selector::File { peer: world.addr(base[1]), name }];
        world.ask(nodes[2], Request::Download { what, output: None }).unwrap();
        world.run_for(minutes(3));
        assert!(world.hosts[nodes[2].0].disk.has_finished(FILM));
    }
}

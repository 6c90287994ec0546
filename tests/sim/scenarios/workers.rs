//! The gate: commands in progress stay within `max_workers`, and the rest get their turn.

use super::helpers::{minutes, network, seconds};
use super::seeds;
use crate::content::Content;
use crate::world::World;
use pyrate::control::{DownloadState, Notice, Request};

#[test]
fn one_worker_finishes_everything_in_order() {
    for seed in seeds(&[1, 2, 3]) {
        let mut world = World::new(seed);
        let bootstrap = world.add_bootstrap();
        let busy = world.add_node(&[bootstrap]);
        let others = [world.add_node(&[bootstrap]), world.add_node(&[bootstrap])];
        (world.config(busy).max_workers, world.config(busy).max_downloads) = (1, 1);
        for (n, host) in [busy, others[0], others[1]].into_iter().enumerate() {
            for file in 0..10 {
                let content = Content { id: n as u64 * 100 + file, size: 3_000_000 };
                world.hosts[host.0].disk.share(&format!("host {n}/file {file}.bin"), content);
            }
            world.start(host);
        }
        world.let_them_meet();

        // Ten downloads out, ten in, and a search of each, all at once.
        let mine: Vec<u32> =
            (0..10).map(|file| world.download_from(busy, others[0], &format!("host 1/file {file}.bin"))).collect();
        let theirs: Vec<u32> =
            (0..10).map(|file| world.download_from(others[1], busy, &format!("host 0/file {file}.bin"))).collect();
        let (hits, _) = world.search(busy, "file 3.bin");
        assert_eq!(hits.len(), 2);
        for (&host, downloads) in [(&busy, &mine), (&others[1], &theirs)] {
            for &download in downloads {
                world.await_download(host, download, DownloadState::Done, minutes(10));
            }
        }
        let done = |notice: &Notice| match notice {
            Notice::Download { download } if download.state == DownloadState::Done => Some(download.id),
            _ => None,
        };
        // But for one whose file was not hashed yet: it is waited for.
        let waits = |notice: &Notice| match notice {
            Notice::Download { download } if download.state == DownloadState::Retrying => Some(download.id),
            _ => None,
        };
        let notices = &world.hosts[busy.0].notices;
        let waited: Vec<u32> = notices.iter().filter_map(|notice| waits(notice)).collect();
        let mut order: Vec<u32> = notices.iter().filter_map(|notice| done(notice)).collect();
        assert_eq!(order.len(), mine.len(), "each ends once");
        order.retain(|id| !waited.contains(id));
        let unhindered: Vec<u32> = mine.iter().copied().filter(|id| !waited.contains(id)).collect();
        assert_eq!(order, unhindered, "downloads end in the order in which they were begun");
        assert_eq!(world.hosts[busy.0].commands_peak, 1);
        let (hits, _) = world.search(others[1], "file 3.bin");
        assert_eq!(hits.len(), 2, "a node with one worker answers too");
    }
}

#[test]
fn downloads_at_once_stay_within_their_number() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 2);
        for file in 0..20 {
            let content = Content { id: file, size: 20_000_000 };
            world.hosts[nodes[1].0].disk.share(&format!("file {file}.bin"), content);
        }
        world.run_for(minutes(2));
        let downloads: Vec<u32> =
            (0..20).map(|file| world.download_from(nodes[0], nodes[1], &format!("file {file}.bin"))).collect();
        let mut most = 0;
        let finished = |world: &World| world.hosts[nodes[0].0].disk.finished.len();
        world.run_until("all are done", minutes(10), |world| {
            most = most.max(world.hosts[nodes[0].0].disk.parts.len());
            finished(world) == downloads.len()
        });
        assert_eq!(most, 5);
        world.run_for(seconds(5));
        assert_eq!(world.hosts[nodes[0].0].commands, 0);
    }
}

#[test]
fn downloads_that_wait_for_their_sources_let_others_have_their_turn() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 3);
        world.config(nodes[0]).max_downloads = 2;
        world.crash(nodes[0]);
        world.start_watched(nodes[0]);
        world.share(nodes[1], "here.bin", Content { id: 1, size: 20_000_000 });
        world.run_for(seconds(10));
        let away = world.addr(nodes[2]);
        world.crash(nodes[2]);
        for n in 0..6 {
            world.download_at(nodes[0], away, &format!("away {n}.bin"));
        }
        let here = world.download_from(nodes[0], nodes[1], "here.bin");
        world.await_download(nodes[0], here, DownloadState::Done, minutes(5));
    }
}

#[test]
fn a_paused_download_gives_its_place_away_and_gets_one_again() {
    for seed in seeds(&[1, 2, 3]) {
        let (mut world, _, nodes) = network(seed, 2);
        world.config(nodes[0]).max_downloads = 1;
        world.crash(nodes[0]);
        world.start_watched(nodes[0]);
        world.hosts[nodes[1].0].rate = 2_000_000;
        for n in 0..3 {
            world.hosts[nodes[1].0].disk.share(&format!("{n}.bin"), Content { id: n, size: 20_000_000 });
        }
        world.ask(nodes[1], Request::Rescan).unwrap();
        world.run_for(seconds(5));
        let ids: Vec<u32> = (0..3).map(|n| world.download_from(nodes[0], nodes[1], &format!("{n}.bin"))).collect();
        world.run_for(seconds(2));
        let states = |world: &mut World| -> Vec<DownloadState> {
            ids.iter().map(|&id| world.row(nodes[0], id).unwrap().state).collect()
        };
        assert_eq!(states(&mut world), [DownloadState::Active, DownloadState::Queued, DownloadState::Queued]);
        world.ask(nodes[0], Request::Pause { ids: ids[0].to_string() }).unwrap();
        world.run_for(seconds(2));
        assert_eq!(states(&mut world), [DownloadState::Paused, DownloadState::Active, DownloadState::Queued]);
        world.ask(nodes[0], Request::Resume { ids: ids[0].to_string() }).unwrap();
        world.run_for(seconds(1));
        let now = states(&mut world);
        assert_eq!(now.iter().filter(|state| **state == DownloadState::Active).count(), 1, "{now:?}");
        world.run_until("all are finished", minutes(2), |world| world.hosts[nodes[0].0].disk.finished.len() == 3);
    }
}

#[test]
fn who_asks_for_one_file_does_not_wait_for_who_asks_for_many() {
    for seed in seeds(&[1, 2, 3]) {
        let mut world = World::new(seed);
        let bootstrap = world.add_bootstrap();
        let nodes: Vec<_> = (0..3).map(|_| world.add_node(&[bootstrap])).collect();
        world.config(nodes[0]).max_workers = 2;
        world.config(nodes[1]).max_downloads = 20;
        nodes.iter().for_each(|&node| world.start(node));
        world.hosts[nodes[0].0].rate = 4_000_000;
        for n in 0..20 {
            world.hosts[nodes[0].0].disk.share(&format!("{n}.bin"), Content { id: n, size: 20_000_000 });
        }
        world.ask(nodes[0], Request::Rescan).unwrap();
        world.let_them_hash(&nodes[..1]);
        for n in 0..20 {
            world.download_from(nodes[1], nodes[0], &format!("{n}.bin"));
        }
        world.run_for(seconds(5));
        // A hundred seconds of work are before it; at half the rate its own take ten, and each range of it has its turn.
        let modest = world.download_from(nodes[2], nodes[0], "7.bin");
        world.await_download(nodes[2], modest, DownloadState::Done, seconds(60));
    }
}

//! Downloads that make next to no progress do not keep others waiting, and lose nothing.

use super::moving::{queue, shift};
use super::*;
use crate::control::MoveTo;
use std::collections::BTreeMap;

const DRIP: u64 = 300;

/// So many places, and downloads of so many sources that drip.
fn dripping(places: usize, downloads: u8, download_limit: u64) -> (Rig, Vec<Fetch>) {
    let config = NodeConfig { bootstraps: Vec::new(), max_downloads: places, download_limit, ..config() };
    let mut rig = Rig::new(config);
    download(&mut rig, (1..=downloads).map(|n| file(peer(n), "drip")).collect());
    open(&mut rig);
    let running = fetches(&mut rig);
    (rig, running)
}

/// So many seconds pass in which each fetch receives a little; new fetches do the same.
fn drip(rig: &mut Rig, running: &mut BTreeMap<ExchangeId, (Fetch, u64)>, seconds: u64, rate: u64) {
    for _ in 0..seconds {
        open(rig);
        running.extend(fetches(rig).into_iter().map(|fetch| (fetch.exchange, (fetch, 0))));
        for exchange in aborted(rig) {
            running.remove(&exchange);
        }
        rig.pass(Duration::from_secs(1));
        for (fetch, brought) in running.values_mut() {
            *brought += rate;
            progress(rig, fetch, *brought);
        }
    }
}

fn known(running: Vec<Fetch>) -> BTreeMap<ExchangeId, (Fetch, u64)> {
    running.into_iter().map(|fetch| (fetch.exchange, (fetch, 0))).collect()
}

#[test]
fn a_download_waits_at_most_a_minute_for_downloads_without_progress() {
    let (mut rig, running) = dripping(5, 5, 0);
    let mut running = known(running);
    assert_eq!(running.len(), 5);
    download(&mut rig, vec![file(peer(9), "small")]);
    drip(&mut rig, &mut running, 50, DRIP);
    assert_eq!(state(&mut rig, 6), DownloadState::Queued);
    drip(&mut rig, &mut running, 15, DRIP);
    assert_eq!(state(&mut rig, 6), DownloadState::Active);
    let small = running.values().find(|(fetch, _)| fetch.to == peer(9)).unwrap().0.clone();
    for id in 1..=5 {
        let row = row(&mut rig, id);
        assert_eq!((row.state, row.bytes_done > 60 * DRIP), (DownloadState::Active, true), "it goes on");
    }
    assert_eq!(rig.node.counters().limited.downloads_crawling, 5);
    send(&mut rig, &small, 1_000_000);
    check(&mut rig, 1_000_000);
    commit(&mut rig, "/downloads/small");
    assert_eq!(state(&mut rig, 6), DownloadState::Done);
}

/// However many make no progress: one that does is begun within some minutes, and at most twice as many are active.
#[test]
fn downloads_without_progress_are_bounded_and_take_turns() {
    let (mut rig, running) = dripping(3, 12, 0);
    let mut running = known(running);
    download(&mut rig, vec![file(peer(99), "small")]);
    let mut waited = 0;
    while state(&mut rig, 13) != DownloadState::Active {
        drip(&mut rig, &mut running, 10, DRIP);
        waited += 10;
        let active = (1..=13).filter(|id| state(&mut rig, *id) == DownloadState::Active).count();
        assert!(active <= 6, "{active}");
        assert!(waited <= 400, "{waited} s");
    }
    // All go on some time.
    let mut seen = [false; 12];
    for _ in 0..60 {
        drip(&mut rig, &mut running, 10, DRIP);
        (1..=12).for_each(|id| seen[id as usize - 1] |= state(&mut rig, id) == DownloadState::Active);
    }
    assert_eq!(seen, [true; 12]);
}

#[test]
fn only_downloads_without_progress_lose_their_places_and_only_while_others_wait() {
    let (mut rig, running) = dripping(2, 2, 0);
    let mut running = known(running);
    download(&mut rig, vec![file(peer(9), "small")]);
    drip(&mut rig, &mut running, 300, 5_000);
    assert_eq!(state(&mut rig, 3), DownloadState::Queued);
    rig.call(Request::Cancel { ids: "3".into() }).unwrap();
    drip(&mut rig, &mut running, 300, DRIP);
    assert!((1..=2).all(|id| state(&mut rig, id) == DownloadState::Active));
}

#[test]
fn a_download_slowed_by_our_own_limit_keeps_its_place() {
    let (mut rig, running) = dripping(2, 2, 2_000);
    let mut running = known(running);
    download(&mut rig, vec![file(peer(9), "small")]);
    for _ in 0..300 {
        for exchange in running.keys() {
            rig.handle(Event::FetchHeld { exchange: *exchange, by_disk: false });
        }
        drip(&mut rig, &mut running, 1, DRIP);
    }
    assert_eq!(state(&mut rig, 3), DownloadState::Queued);
}

/// One whose disk takes nothing has a source that is held back all the time.
#[test]
fn a_download_to_a_disk_that_hangs_keeps_no_other_waiting_for_longer_than_a_minute() {
    let (mut rig, running) = dripping(2, 2, 0);
    download(&mut rig, vec![file(peer(9), "small")]);
    for second in 0..65 {
        for fetch in &running {
            rig.handle(Event::FetchHeld { exchange: fetch.exchange, by_disk: true });
        }
        rig.pass(Duration::from_secs(1));
        assert!(second < 55 || state(&mut rig, 1) == DownloadState::Active, "it goes on");
    }
    assert_eq!(state(&mut rig, 3), DownloadState::Active);
    assert_eq!(rig.node.counters().limited.downloads_crawling, 2);
}

#[test]
fn a_download_whose_part_file_is_not_opened_keeps_no_other_waiting_for_longer_than_a_minute() {
    let config = NodeConfig { bootstraps: Vec::new(), max_downloads: 2, ..config() };
    let mut rig = Rig::new(config);
    download(&mut rig, (1..=6).map(|n| file(peer(n), "small")).collect());
    let active = |rig: &mut Rig| (1..=6).filter(|id| state(rig, *id) == DownloadState::Active).collect::<Vec<_>>();
    let all_opened = opened(&mut rig);
    assert_eq!(all_opened.len(), 2, "and no answer comes");
    assert!((0..50).all(|_| {
        rig.pass(Duration::from_secs(1));
        active(&mut rig) == [1, 2]
    }));
    rig.pass(Duration::from_secs(20));
    assert_eq!(active(&mut rig), [1, 2, 3, 4]);
    // Neither are these: the first two wait behind those that were never begun.
    rig.pass(Duration::from_secs(70));
    let now = active(&mut rig);
    assert!(now.len() <= 4 && now.contains(&5), "{now:?}");
}

/// All of it is there, and its disk does not say so.
#[test]
fn downloads_that_are_checked_on_a_disk_that_hangs_keep_no_place_from_those_that_wait() {
    let (mut rig, running) = dripping(2, 2, 0);
    running.iter().for_each(|fetch| send(&mut rig, fetch, 1_000_000));
    download(&mut rig, (3..=6).map(|n| file(peer(n), "drip")).collect());
    let mut running = known(Vec::new());
    drip(&mut rig, &mut running, 70, DRIP);
    assert_eq!(
        [3, 4, 5].map(|id| state(&mut rig, id)),
        [DownloadState::Active, DownloadState::Active, DownloadState::Queued]
    );
    drip(&mut rig, &mut running, 70, DRIP);
    assert_eq!(state(&mut rig, 5), DownloadState::Active);
    assert!([1, 2].iter().all(|id| state(&mut rig, *id) == DownloadState::Verifying), "what was read is kept");
}

#[test]
fn a_move_is_among_all_that_wait_however_often_they_have_stood_back() {
    let (mut rig, running) = dripping(3, 12, 0);
    drip(&mut rig, &mut known(running), 400, DRIP);
    let mut expected = queue(&mut rig);
    assert!(expected.len() > 4, "{expected:?}");
    for at in 1..expected.len() {
        shift(&mut rig, expected[at], MoveTo::Up);
        expected.swap(at - 1, at);
        assert_eq!(queue(&mut rig), expected);
    }
    for at in 1..expected.len() {
        shift(&mut rig, expected[at - 1], MoveTo::Down);
        expected.swap(at - 1, at);
        assert_eq!(queue(&mut rig), expected);
    }
    shift(&mut rig, expected[1], MoveTo::Bottom);
    let moved = expected.remove(1);
    expected.push(moved);
    assert_eq!(queue(&mut rig), expected);
    shift(&mut rig, expected[2], MoveTo::Top);
    let moved = expected.remove(2);
    expected.insert(0, moved);
    assert_eq!(queue(&mut rig), expected);
}

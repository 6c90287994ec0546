//! Several sources of unequal speed: which groups each is asked for, and which are asked of another instead.

use super::*;
use crate::control::SourceState;

/// Two sources at work on the last groups: `victim` is still to bring its groups, the other is idle and fast.
fn end_game(size: u64) -> (Rig, Fetch, Fetch) {
    let mut rig = begun(size, 2);
    let mut running = fetches(&mut rig);
    assert_eq!(running.len(), 2);
    let (victim, mut fast) = (running.remove(0), running.remove(0));
    rig.orders.clear();
    // The fast one brings all others, in a tenth of a second each; of the victim nothing comes but a few bytes.
    loop {
        for at in fast.groups() {
            rig.pass(Duration::from_millis(100));
            group(&mut rig, &fast, at);
        }
        progress(&mut rig, &victim, 100);
        let mut next = rig.orders.iter().filter(|order| matches!(order, Action::Trim { .. })).count();
        if next == 0 {
            send(&mut rig, &fast, (fast.groups().end - fast.groups().start) * MIB);
            next = rig.orders.iter().filter(|order| matches!(order, Action::Trim { .. })).count();
        }
        if next > 0 {
            return (rig, victim, fast);
        }
        fast = fetch(&mut rig);
    }
}

#[test]
fn an_idle_source_takes_the_last_groups_of_a_slow_one() {
    let (mut rig, victim, _) = end_game(12 * MIB);
    assert_eq!(victim.groups(), 0..2);
    let trims = rig.take(|order| match order {
        Action::Trim { exchange, groups_end } => Some((*exchange, *groups_end)),
        _ => None,
    });
    assert_eq!(trims, [(victim.exchange, 1)]);
    let stolen = fetch(&mut rig);
    assert_eq!((stolen.to, stolen.groups()), (peer(1), 1..2));
    // The last group of the slow one is fetched a second time; the first to bring it wins.
    rig.pass(Duration::from_millis(100));
    bring(&mut rig, &stolen);
    let twice = fetch(&mut rig);
    assert_eq!((twice.to, twice.groups()), (peer(1), 0..1));
    rig.orders.clear();
    group(&mut rig, &twice, 0);
    let stopped = aborted(&mut rig);
    assert!(stopped.contains(&victim.exchange), "{stopped:?}");
    check(&mut rig, 12 * MIB);
}

#[test]
fn of_two_fetches_of_a_group_the_slow_source_may_be_first() {
    let (mut rig, victim, _) = end_game(12 * MIB);
    let stolen = fetch(&mut rig);
    // It had passed the group already when it was ordered to stop before it.
    group(&mut rig, &victim, 0);
    group(&mut rig, &victim, 1);
    assert_eq!(aborted(&mut rig)[0], stolen.exchange);
    check(&mut rig, 12 * MIB);
    rig.succeed(victim.exchange, Response::File { bytes: 2 * MIB });
    rig.fail(stolen.exchange, DialFault::Aborted);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
}

#[test]
fn a_silent_source_loses_its_range_to_an_idle_one() {
    let mut rig = begun(3 * MIB, 2);
    let running = fetches(&mut rig);
    assert_eq!(running.iter().map(Fetch::groups).collect::<Vec<_>>(), [0..1, 1..2]);
    progress(&mut rig, &running[0], 500_000);
    rig.pass(Duration::from_millis(50));
    bring(&mut rig, &running[1]);
    rig.orders.clear();
    // It is fetched twice at first; the fetch that has been silent for ten seconds is aborted.
    rig.pass(Duration::from_secs(11));
    let twice = fetch(&mut rig);
    assert_eq!((twice.to, twice.groups()), (peer(1), 0..1));
    bring(&mut rig, &twice);
    check(&mut rig, 3 * MIB);
}

#[test]
fn another_source_is_asked_for_metadata_that_are_late() {
    let mut rig = with_content(3 * MIB, 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let [(silent, to, _)] = metadata(&mut rig)[..] else { panic!("one request") };
    assert_eq!(to, peer(1));
    rig.pass(Duration::from_millis(900));
    assert!(metadata(&mut rig).is_empty());
    // Another is asked beside it, and the first to answer counts.
    rig.pass(Duration::from_millis(1_100));
    let [(late, to, _)] = metadata(&mut rig)[..] else { panic!("one request") };
    assert_eq!(to, peer(2));
    rig.pass(Duration::from_secs(2));
    assert!(aborted(&mut rig).is_empty());
    rig.succeed(late, Response::Metadata { b3: B3, size: 3 * MIB });
    assert!(aborted(&mut rig).contains(&silent));
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Waiting);
}

#[test]
fn fast_sources_get_longer_ranges_and_all_finish_together() {
    let mut rig = begun(120 * MIB, 3);
    // Milliseconds for a group, by source.
    let pace = [50, 200, 800];
    let of = |to: SocketAddr| (1..=3).position(|n| peer(n) == to).unwrap();
    let mut running: Vec<(Fetch, u64, u64)> = Vec::new();
    let (mut brought, mut idle_ms) = ([0u64; 3], [0u64; 3]);
    let mut elapsed_ms = 0u64;
    while state(&mut rig, 1) == DownloadState::Active {
        for fetch in fetches(&mut rig) {
            let start = fetch.groups().start;
            running.push((fetch, start, 0));
        }
        let trims = rig.take(|order| match order {
            Action::Trim { exchange, groups_end } => Some((*exchange, *groups_end)),
            _ => None,
        });
        for (exchange, end) in trims {
            for (fetch, at, _) in &mut running {
                if fetch.exchange == exchange && *at < end {
                    fetch.portion = Portion::Groups(fetch.groups().start..end);
                }
            }
        }
        let gone = aborted(&mut rig);
        running.retain(|(fetch, ..)| !gone.contains(&fetch.exchange));
        (0..3).filter(|n| running.iter().all(|(fetch, ..)| of(fetch.to) != *n)).for_each(|n| idle_ms[n] += 50);
        rig.pass(Duration::from_millis(50));
        elapsed_ms += 50;
        assert!(elapsed_ms < 20_000, "it goes on for ever");
        for at in 0..running.len() {
            let Some((fetch, next, spent)) = running.get_mut(at) else { break };
            *spent += 50;
            if *spent < pace[of(fetch.to)] {
                let done = (*next - fetch.groups().start) * MIB;
                let bytes = done + MIB * *spent / pace[of(fetch.to)];
                let fetch = fetch.clone();
                progress(&mut rig, &fetch, bytes);
                continue;
            }
            *spent = 0;
            *next += 1;
            let (fetch, next) = (fetch.clone(), *next);
            brought[of(fetch.to)] += 1;
            group(&mut rig, &fetch, next - 1);
            if next == fetch.groups().end {
                running.remove(at);
                send(&mut rig, &fetch, (next - fetch.groups().start) * MIB);
                break;
            }
        }
    }
    // 20 + 5 + 1.25 groups a second: 120 take 4.6 s.
    assert!(elapsed_ms <= 5_500, "{elapsed_ms} ms, {brought:?}, idle {idle_ms:?}");
    assert!(brought[0] > 3 * brought[1] && brought[1] > 2 * brought[2], "{brought:?}");
    check(&mut rig, 120 * MIB);
}

//! Fetches that continue in the middle of a group, whose first bytes an earlier fetch has received.

use super::*;
use crate::control::{Notice, SourceState};

fn resumed(rig: &mut Rig, fetch: &Fetch, bytes: u64) {
    rig.handle(Event::FetchResumed { exchange: fetch.exchange, bytes });
}

#[test]
fn bytes_of_a_group_that_is_continued_count_once() {
    let mut rig = begun(2 * MIB, 1);
    let mut broken = fetch(&mut rig);
    let down = rig.node.counters().bytes_down;
    for part in 1..=4 {
        progress(&mut rig, &broken, 200_000);
        rig.fail(broken.exchange, DialFault::Reset);
        rig.pass(Duration::from_secs(61));
        open_resumed(&mut rig, 2 * MIB, [1]);
        broken = fetch(&mut rig);
        assert_eq!(broken.groups(), 0..1);
        resumed(&mut rig, &broken, part * 200_000);
        assert_eq!(row(&mut rig, 1).bytes_done, MIB, "what is shown is verified");
    }
    rig.pass(Duration::from_secs(1));
    let rest = MIB - 800_000;
    progress(&mut rig, &broken, 100_000);
    rig.pass(Duration::from_secs(1));
    let left = row(&mut rig, 1);
    let rate = left.rate.expect("bytes came");
    assert!(rate <= 200_000, "{left:?}");
    assert_eq!(left.eta_s, Some((MIB - 900_000).div_ceil(rate)), "but what is there has not to come any more");
    group(&mut rig, &broken, 0);
    send(&mut rig, &broken, rest);
    let done = row(&mut rig, 1);
    assert_eq!((done.bytes_done, rig.node.counters().bytes_down - down), (2 * MIB, MIB));
}

#[test]
fn a_source_that_refuses_the_rest_of_a_group_has_sent_nothing() {
    let mut rig = begun(3 * MIB, 1);
    let broken = fetch(&mut rig);
    progress(&mut rig, &broken, 200_000);
    rig.fail(broken.exchange, DialFault::Reset);
    rig.pass(Duration::from_secs(61));
    open_resumed(&mut rig, 3 * MIB, [2]);
    let refused = fetch(&mut rig);
    resumed(&mut rig, &refused, 200_000);
    rig.fail(refused.exchange, DialFault::Reset);
    assert_eq!(identifying(&mut rig).len(), 1, "it is asked what it has");
}

#[test]
fn no_source_is_blamed_for_a_wrong_group_that_several_sent() {
    let mut rig = begun(2 * MIB, 2);
    let mut asked = fetches(&mut rig);
    let broken = asked.remove(0);
    assert!(asked.is_empty());
    progress(&mut rig, &broken, 200_000);
    rig.fail(broken.exchange, DialFault::Reset);
    let second = fetch(&mut rig);
    assert_ne!(second.to, broken.to);
    resumed(&mut rig, &second, 200_000);
    progress(&mut rig, &second, MIB - 200_000);
    rig.fail(second.exchange, DialFault::CorruptParts);
    assert!(identifying(&mut rig).is_empty());
    let again = fetch(&mut rig);
    assert_eq!((again.to, again.groups()), (second.to, 0..1), "at once, and without a prefix");
    let row = row(&mut rig, 1);
    assert!(row.shares.iter().all(|share| share.state != SourceState::Corrupt), "{row:?}");
    // It is the only sender of this group, and therefore to blame.
    progress(&mut rig, &again, MIB);
    rig.orders.clear();
    lie(&mut rig, again.exchange);
    let blamed = |notice: &Notice| match notice {
        Notice::SourceLost { source, .. } => (source.state == SourceState::Corrupt).then_some(source.addr),
        _ => None,
    };
    assert_eq!(rig.notices().iter().filter_map(blamed).collect::<Vec<_>>(), [again.to]);
}

/// A source that sends next to nothing is asked again after longer and longer waits.
#[test]
fn a_source_that_sends_something_each_time_is_asked_again_after_the_shortest_wait() {
    for (bytes, longest) in [(100_000, 8), (1_000, 60)] {
        let mut rig = begun(3 * MIB, 1);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let broken = fetch(&mut rig);
            progress(&mut rig, &broken, bytes);
            rig.fail(broken.exchange, DialFault::Reset);
            waits.push(row(&mut rig, 1).retry_in_s.expect("it waits"));
            rig.pass(Duration::from_secs(61));
            open_resumed(&mut rig, 3 * MIB, [2]);
        }
        let most = waits.iter().max().copied().unwrap_or_default();
        assert!(most <= longest && (bytes > 64 << 10 || most > 15), "{bytes} bytes a time: {waits:?}");
    }
}

//! Sources that accept requests and send next to nothing cost some seconds together, not each.

use super::*;
use std::collections::BTreeMap;

/// Where a source begins to stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    Metadata,
    Ranges,
    /// Some bytes of each range now and then.
    Drip,
}

/// How many seconds a download takes of which one source is honest, the one that was found last, and all others stall.
fn seconds(size: u64, sources: u8, stall: Stall, resumed: bool) -> u64 {
    let (mut rig, honest, step) = (with_content(size, sources), peer(sources), Duration::from_millis(100));
    let begin = rig.now;
    download(&mut rig, hits("1"));
    let last = group_count(size) - 1;
    if resumed {
        open_resumed(&mut rig, size, [last])
    } else {
        open(&mut rig)
    };
    let mut running: BTreeMap<ExchangeId, (Fetch, u64)> = BTreeMap::new();
    while state(&mut rig, 1) != DownloadState::Verifying {
        let spent = rig.now.saturating_since(begin).as_secs();
        assert!(spent < 2_000, "{:?}", row(&mut rig, 1));
        open(&mut rig);
        for (exchange, to, _) in metadata(&mut rig) {
            if to == honest || stall != Stall::Metadata {
                rig.succeed(exchange, Response::Metadata { b3: B3, size });
            }
        }
        running.extend(fetches(&mut rig).into_iter().map(|fetch| (fetch.exchange, (fetch, 0))));
        for exchange in aborted(&mut rig) {
            running.remove(&exchange);
        }
        rig.pass(step);
        for (exchange, (fetch, brought)) in running.clone() {
            *running.get_mut(&exchange).map_or(&mut 0, |(_, brought)| brought) += 1;
            if fetch.to != honest {
                if stall == Stall::Drip {
                    progress(&mut rig, &fetch, 30 * (brought + 1));
                }
                continue;
            }
            let groups = fetch.groups();
            group(&mut rig, &fetch, groups.start + brought);
            if groups.start + brought + 1 >= groups.end {
                running.remove(&exchange);
                send(&mut rig, &fetch, (groups.end - groups.start) * MIB);
            }
        }
        rig.orders.retain(|order| !matches!(order, Action::Notify { .. }));
    }
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("a status") };
    assert!(sources < 63 || status.limited.sources_silent > 0, "they are counted");
    rig.now.saturating_since(begin).as_secs()
}

/// 40 groups at ten a second are four seconds.
#[test]
fn sources_that_stall_do_not_delay_an_honest_one() {
    for stall in [Stall::Metadata, Stall::Ranges, Stall::Drip] {
        for resumed in [false, true] {
            for (sources, limit) in [(8, 15), (32, 25), (63, 35)] {
                let took = seconds(40 * MIB, sources, stall, resumed);
                println!("{sources} sources, {stall:?}, resumed {resumed}: {took} s");
                assert!(took <= limit, "{sources} sources, {stall:?}, resumed {resumed}: {took} s");
            }
        }
    }
}

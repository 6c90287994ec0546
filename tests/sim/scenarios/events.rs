//! The event log over crashes.

use super::helpers::{minutes, network};
use super::seeds;
use crate::content::fresh_content;
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{EventKind, EventRow, Reply, Request};
use std::collections::BTreeMap;
use std::time::Duration;

const CRASHES: usize = 1_000;

/// Reads the log from an id on. No event may be missing, and one that was read before must be as it was.
pub(super) fn read(world: &mut World, node: HostId, seen: &mut BTreeMap<u64, EventRow>, since: u64) {
    let mut next = Some(since);
    while next.is_some() {
        let page = match world.ask(node, Request::EventLog { since: next }) {
            Ok(Reply::EventLog(page)) => page,
            other => world.violation(node, &format!("events since {next:?} were answered with {other:?}")),
        };
        assert_eq!(page.gone, None);
        for event in page.events {
            let before = seen.entry(event.id).or_insert_with(|| event.clone());
            assert_eq!(*before, event, "an id is that of one event");
        }
        next = page.next;
    }
}

#[test]
fn over_a_thousand_crashes_no_event_is_missing_and_none_has_two_ids() {
    for seed in seeds(&[1]) {
        let (mut world, _, nodes) = network(seed, 3);
        let asker = nodes[0];
        let (mut seen, mut begun): (BTreeMap<u64, EventRow>, BTreeMap<u32, String>) = Default::default();
        for crash in 0..CRASHES {
            if crash % 4 == 0 {
                let (name, source) = (format!("file {crash}"), nodes[1 + crash % 2]);
                let content = fresh_content(&mut world.random);
                world.share(source, &name, content);
                world.run_for(Duration::from_secs(3));
                begun.insert(world.download_from(asker, source, &name), name);
            }
            let span = Duration::from_millis(world.random.below(4_000));
            world.run_for(span);
            // Now and then a client looks that has all that came before, and now and then one that has nothing.
            let since = if world.random.chance(50) { 1 } else { seen.keys().last().copied().unwrap_or(0) + 1 };
            if world.random.chance(700) {
                read(&mut world, asker, &mut seen, since);
            }
            if world.random.chance(500) {
                world.crash(asker)
            } else {
                world.cut_power(asker)
            }
            world.start(asker);
        }
        world.run_until("all are done", minutes(60), |world| world.hosts[asker.0].disk.downloads.is_empty());
        let next = seen.keys().last().copied().unwrap_or(0) + 1;
        read(&mut world, asker, &mut seen, next);
        let mut all = BTreeMap::new();
        read(&mut world, asker, &mut all, 1);
        assert_eq!(all, seen, "whoever looked now and then has seen all");
        assert!(seen.keys().copied().eq(1..=2 * begun.len() as u64), "ids follow each other");
        for (download, name) in begun {
            let of_this = seen.values().filter(|event| event.download == Some(download));
            let told: Vec<_> = of_this.map(|event| (event.event, event.name.as_bytes())).collect();
            assert_eq!(told, [(EventKind::Begun, name.as_bytes()), (EventKind::Done, name.as_bytes())], "{download}");
        }
    }
}

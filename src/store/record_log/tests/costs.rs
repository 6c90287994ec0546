//! How often the file is synced.

use super::*;

#[test]
fn changes_are_synced_together_and_the_name_of_the_file_once() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    let mut syncs = |changes: std::ops::Range<u32>| {
        recorder::start();
        changes.for_each(|key| log.put(key, b"record").unwrap());
        maintain(&mut log);
        let ops = recorder::stop();
        let count = |is_it: fn(&Op) -> bool| ops.iter().filter(|op| is_it(op)).count();
        (count(|op| matches!(op, Op::Sync { .. })), count(|op| *op == Op::SyncDirectory))
    };
    assert_eq!((syncs(0..9), syncs(0..1)), ((1, 0), (1, 0)), "it has its name since it was opened");
    log.compact_bytes_min = 0;
    (0..20).for_each(|_| log.put(1, &[1; 400]).unwrap());
    recorder::start();
    assert!(maintain(&mut log) >= 2, "a new file takes the name");
    assert!(recorder::stop().contains(&Op::SyncDirectory));
    recorder::reset();
}

//! Streams that are synced and hashed while they are received.

use super::*;
use crate::id::ContentHash;
use crate::store::tests::recorder::{Call, fail_next};
use nix::libc::EIO;
use std::os::unix::fs::FileExt;

const BROKEN: DiskFault = DiskFault::Other(EIO);

/// As many bytes as are synced at once.
fn bytes(seed: u8) -> Vec<u8> {
    (0..16 << 20).map(|at: u32| (at % 251) as u8 ^ seed).collect()
}

fn hash(bytes: &[u8]) -> ContentHash {
    ContentHash(*blake3::hash(bytes).as_bytes())
}

#[test]
fn what_was_synced_is_not_read_again_at_the_end() {
    let (scratch, first, rest) = (scratch(), bytes(1), bytes(2));
    let mut part = suggested(scratch.path()).ready();
    part.append(&first[1..]).unwrap();
    assert!(part.sync_due() == SyncDue::Not && part.sync_job(true).is_none(), "a byte is missing");
    part.append(&first[..1]).unwrap();
    assert_eq!(part.sync_due(), SyncDue::Now);
    let job = part.sync_job(false).unwrap();
    part.append(&rest).unwrap();
    assert!(part.sync_due() == SyncDue::Not && part.sync_job(true).is_none(), "one is out");
    let synced = job.run().unwrap();
    // A byte that was synced changes, and one that came later.
    let file = fs::OpenOptions::new().write(true).open(part.part_path()).unwrap();
    file.write_all_at(b"?", 5).unwrap();
    file.write_all_at(b"?", first.len() as u64 + 5).unwrap();
    part.synced(synced).unwrap();
    assert_eq!(part.sync_due(), SyncDue::Now, "of what came meanwhile");
    let mut expected = [&first[1..], &first[..1], &rest].concat();
    expected[first.len() + 5] = b'?';
    let found = CheckedPart { b3: hash(&expected), size: expected.len() as u64, bad: Vec::new() };
    assert_eq!(part.check(), found);
    expected[5] = b'?';
    assert_eq!(part.check(), CheckedPart { b3: hash(&expected), ..found }, "another check reads all");
}

#[test]
fn a_stream_that_starts_again_is_hashed_from_its_start() {
    let (scratch, first, second) = (scratch(), bytes(1), bytes(2));
    let mut part = stream(suggested(scratch.path()), &first);
    let job = part.sync_job(true).unwrap();
    part.restart().unwrap();
    part.append(&second).unwrap();
    let synced = job.run().unwrap();
    part.synced(synced).unwrap();
    assert!(part.sync(), "the new one is synced too");
    part.append(&first).unwrap();
    assert_eq!(part.check().b3, hash(&[&second[..], &first].concat()));
}

#[test]
fn a_stream_of_which_a_sync_has_failed_gets_no_name() {
    let (scratch, first, content) = (scratch(), bytes(1), Content::of(3, 1));
    let mut part = stream(suggested(scratch.path()), &first);
    let job = part.sync_job(true).unwrap();
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    part.append(&first).unwrap();
    assert!(part.sync_due() == SyncDue::Not && part.sync_job(true).is_none(), "another sync would succeed");
    assert_eq!(part.check().size, 2 * first.len() as u64);
    assert_eq!(part.commit().run(), Err(BROKEN));
    assert!(fs::metadata(scratch.path().join("a.txt")).is_err());

    // Nor do its bytes count if an outline comes: they match, but perhaps in memory only.
    let mut part = stream(suggested(scratch.path()), &content.bytes);
    part.append(&first).unwrap();
    let job = part.sync_job(true).unwrap();
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    part.set_outline(content.outline.clone()).unwrap();
    assert_eq!(part.check().bad, [0, 1, 2]);
}

#[test]
fn the_end_of_a_stream_is_on_the_disk_before_it_gets_its_name() {
    let (scratch, first) = (scratch(), bytes(1));
    let mut part = stream(suggested(scratch.path()), &first);
    assert!(part.sync());
    part.append(b"the end").unwrap();
    part.check();
    fail_next(Call::Sync, EIO);
    assert_eq!(part.commit().run(), Err(BROKEN));
    assert!(fs::metadata(scratch.path().join("a.txt")).is_err());
}

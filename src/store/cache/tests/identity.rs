//! Real files that look like a known one.

use super::*;
use crate::store::Scanner;
use crate::store::not_tested::not_tested;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// The metadata of the one file of a directory, from a scan.
fn scanned(directory: &TempDir) -> FileMeta {
    Scanner::start(directory.path()).step(100, i64::MAX).files.remove(0).meta
}

/// Writes a file, whose modification time is the same each time.
fn write(path: &Path, bytes: &[u8]) {
    let mut file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

/// Waits until the clock of the filesystem has advanced, so that the next write has a later change time.
fn next_tick(directory: &TempDir) {
    let probe = tempfile::NamedTempFile::new_in(directory.path().parent().unwrap()).unwrap();
    let change_time = || probe.path().metadata().map(|found| (found.ctime(), found.ctime_nsec())).unwrap();
    let before = change_time();
    while change_time() == before {
        File::options().write(true).open(probe.path()).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
}

#[test]
fn a_file_that_takes_the_inode_size_and_time_of_a_removed_one_is_not_known() {
    let share = tempfile::tempdir().unwrap();
    let (mut cache, _) = HashCache::open(None).unwrap();
    write(&share.path().join("one.rom"), b"one");
    let one = scanned(&share);
    cache.put(one, hash(1), Vec::new());
    assert_eq!(cache.get(&scanned(&share)), Some(hash(1)));
    fs::remove_file(share.path().join("one.rom")).unwrap();
    next_tick(&share);
    write(&share.path().join("two.rom"), b"two");
    let two = scanned(&share);
    assert_eq!((one.size, one.mtime_ns), (two.size, two.mtime_ns));
    if one.inode != two.inode {
        not_tested("a new file with the inode of a removed one", "this filesystem gives it another");
    }
    assert_eq!(cache.get(&two), None);
}

#[test]
fn a_file_is_known_when_its_filesystem_is_mounted_under_another_device_number() {
    let share = tempfile::tempdir().unwrap();
    write(&share.path().join("file"), b"one");
    let (before, volume) = {
        let mut step = Scanner::start(share.path()).step(100, i64::MAX);
        (step.files.remove(0).meta, step.volumes.remove(0).1)
    };
    let place = Place::new();
    let mut cache = place.open();
    std::sync::Arc::make_mut(&mut cache.volumes).note(before.device, volume);
    cache.put(before, hash(1), Vec::new());
    let after = FileMeta { device: before.device + 1, ..before };
    for _ in 0..2 {
        assert_eq!(cache.get(&after), None, "another filesystem, as far as is known");
        flush(&mut cache);
    }
    drop(cache);
    let mut cache = place.open();
    std::sync::Arc::make_mut(&mut cache.volumes).note(after.device, volume);
    assert_eq!(cache.chain(&after), Some((hash(1), Vec::new())));
}

#[test]
fn a_file_written_in_place_whose_modification_time_was_restored_is_not_known() {
    let share = tempfile::tempdir().unwrap();
    let (mut cache, _) = HashCache::open(None).unwrap();
    write(&share.path().join("tagged"), b"one");
    let before = scanned(&share);
    cache.put(before, hash(1), Vec::new());
    next_tick(&share);
    write(&share.path().join("tagged"), b"two");
    let after = scanned(&share);
    let same = |meta: FileMeta| (meta.inode, meta.size, meta.mtime_ns);
    assert_eq!(same(before), same(after));
    assert_eq!(cache.get(&after), None);
}

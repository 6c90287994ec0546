//! Files that are foreign, incomplete or altered.

use super::*;
use rusqlite::Connection;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A pseudo-random number of this seed.
fn mix(seed: u64) -> u64 {
    u64::from_le_bytes(blake3::hash(&seed.to_le_bytes()).as_bytes()[..8].try_into().unwrap())
}

fn log_of(path: &Path) -> PathBuf {
    path.with_file_name("hashes-wal")
}

/// Opens an unusable file: there is an empty cache that works, and the old file beside it.
fn starts_again(place: &Place, reason: &str) {
    let (mut cache, note) = HashCache::open(Some(&place.path())).unwrap();
    let note = note.unwrap();
    assert!(note.contains(reason) && note.contains("hashes.damaged"), "{note}");
    assert!(fs::symlink_metadata(place.scratch.path().join("hashes.damaged")).is_ok());
    assert_eq!(cache.get(&file(1)), None);
    put(&mut cache, [1]);
    flush(&mut cache);
    drop(cache);
    assert_eq!(place.open().get(&file(1)), Some(hash(1)));
}

#[test]
fn a_cache_is_readable_by_its_owner_only() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, [1]);
    flush(&mut cache);
    for name in ["hashes", "hashes-wal", "hashes-shm"] {
        let mode = fs::metadata(place.scratch.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(cache);
    // The log is removed with the last connection; an empty file was never initialized.
    assert!(!log_of(&place.path()).exists());
    fs::write(place.path(), b"").unwrap();
    assert_eq!(place.open().get(&file(1)), None);
}

#[test]
fn a_file_that_is_no_cache_is_set_aside() {
    let place = Place::new();
    let path = place.path();
    fs::write(&path, "a text, and nothing like a database\n".repeat(1000)).unwrap();
    starts_again(&place, "not a database");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    starts_again(&place, "not a regular file");
    fs::remove_file(&path).unwrap();
    fs::write(place.scratch.path().join("target"), b"not ours").unwrap();
    symlink("target", &path).unwrap();
    starts_again(&place, "not a regular file");
    assert_eq!(fs::read(place.scratch.path().join("target")).unwrap(), b"not ours");

    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE file (device INTEGER)").unwrap();
    drop(other);
    starts_again(&place, "another program");
    fs::remove_file(&path).unwrap();
    fs::remove_file(place.scratch.path().join("hashes.damaged")).unwrap();
    fs::create_dir(&path).unwrap();
    starts_again(&place, "not a regular file");
}

#[test]
fn a_cache_of_another_version_or_without_its_tables_is_set_aside() {
    let place = Place::new();
    for (change, reason) in [
        ("PRAGMA user_version = 3", "unknown version 3"),
        ("DROP TABLE chain", "no such table: chain"),
        ("ALTER TABLE file DROP COLUMN run", "no such column"),
        ("DELETE FROM run", "no rows"),
        ("PRAGMA application_id = 7", "another program"),
    ] {
        drop(place.open());
        let other = Connection::open(place.path()).unwrap();
        other.execute_batch(change).unwrap();
        drop(other);
        starts_again(&place, reason);
    }
}

/// A cache of the previous version, with an entry for this file under its current key, size and time.
fn write_version_1(place: &Place, meta: &FileMeta, b3: ContentHash) {
    let old = Connection::open(place.path()).unwrap();
    old.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
        CREATE TABLE file (device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL, b3 BLOB NOT NULL, sum INTEGER NOT NULL, run INTEGER NOT NULL,
            PRIMARY KEY (device, inode)) STRICT, WITHOUT ROWID;
        CREATE TABLE chain (device INTEGER NOT NULL, inode INTEGER NOT NULL, sum INTEGER NOT NULL, vals BLOB NOT NULL,
            PRIMARY KEY (device, inode)) STRICT;
        CREATE TABLE run (number INTEGER NOT NULL) STRICT;
        INSERT INTO run VALUES (3);
        PRAGMA application_id = {}; PRAGMA user_version = 1;",
        0x5079_7248
    ))
    .unwrap();
    let mut hasher = blake3::Hasher::new();
    for field in [meta.device, meta.inode, meta.size, meta.mtime_ns.cast_unsigned()] {
        hasher.update(&field.to_le_bytes());
    }
    hasher.update(&b3.0);
    let sum = i64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().unwrap());
    let place = (meta.device.cast_signed(), meta.inode.cast_signed(), meta.size.cast_signed(), meta.mtime_ns);
    let row = (place.0, place.1, place.2, place.3, &b3.0[..], sum, 3);
    old.execute("INSERT INTO file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).unwrap();
}

#[test]
fn entries_without_a_change_time_are_not_trusted_and_the_cache_starts_again() {
    let place = Place::new();
    write_version_1(&place, &file(1), hash(1));
    let (mut cache, note) = HashCache::open(Some(&place.path())).unwrap();
    assert!(note.unwrap().contains("hashed once more"));
    assert_eq!(cache.get(&file(1)), None);
    put(&mut cache, [1]);
    flush(&mut cache);
    drop(cache);
    assert_eq!(place.open().get(&file(1)), Some(hash(1)));
    assert!(!place.scratch.path().join("hashes.damaged").exists(), "it was not damaged");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_and_stays() {
    let place = Place::new();
    let below = place.scratch.path().join("no such directory/hashes");
    assert!(matches!(HashCache::open(Some(&below)), Err(CacheFault::Io(_))));
    fs::write(place.scratch.path().join("plain"), b"").unwrap();
    let through = place.scratch.path().join("plain/hashes");
    assert!(matches!(HashCache::open(Some(&through)), Err(CacheFault::Io(_))));
}

#[test]
fn an_entry_that_was_altered_is_unknown_and_leaves_the_others_alone() {
    let place = Place::new();
    for (number, change) in [
        (1, "UPDATE file SET b3 = zeroblob(32) WHERE "),
        (2, "UPDATE file SET b3 = CAST(hex(b3) AS BLOB) WHERE "),
        (3, "UPDATE file SET sum = sum + 1 WHERE "),
        (7, "UPDATE chain SET vals = zeroblob(length(vals)) WHERE "),
        (57, "DELETE FROM chain WHERE "),
    ] {
        let mut cache = place.open();
        put(&mut cache, [1, 2, 3, 7, 57, 107]);
        flush(&mut cache);
        drop(cache);
        let (device, inode) = key(&place.open().kept(&file(number)));
        let (device, inode) = (device.cast_signed(), inode.cast_signed());
        let other = Connection::open(place.path()).unwrap();
        assert_eq!(other.execute(&format!("{change} device = {device} AND inode = {inode}"), ()).unwrap(), 1);
        drop(other);

        let mut cache = place.open();
        assert_eq!(cache.chain(&file(number)), None, "{change}");
        assert_eq!(cache.chain(&file(107)), Some(known(107)));
        // It is removed, so that the next run hashes the file again, unless it is known again before that.
        assert_eq!(cache.pending(), 1);
        flush(&mut cache);
        drop(cache);
        let mut cache = place.open();
        assert_eq!((cache.get(&file(number)), cache.pending()), (None, 0));
        put(&mut cache, [number]);
        flush(&mut cache);
        assert_eq!(cache.chain(&file(number)), Some(known(number)));
    }
    // An entry whose size was altered could match another file.
    let other = Connection::open(place.path()).unwrap();
    assert_eq!(other.execute("UPDATE file SET size = size + 1", ()).unwrap(), 6);
    drop(other);
    let altered = FileMeta { size: file(1).size + 1, ..file(1) };
    assert_eq!(place.open().get(&altered), None);
}

/// Every entry that the cache still returns is right; it stores entries again, at the latest after having set the
/// file aside.
fn never_wrong_and_soon_of_use(place: &Place, entries: u64, seed: u64) {
    let (mut cache, _) = HashCache::open(Some(&place.path())).unwrap();
    for number in 0..entries {
        let meta = file(number);
        assert!(cache.get(&meta).is_none_or(|found| found == hash(number)), "seed {seed}");
        assert!(cache.chain(&meta).is_none_or(|found| found == known(number)), "seed {seed}");
    }
    put(&mut cache, entries..entries + 500);
    let mut failures = 0;
    while let Some(job) = cache.flush_job() {
        match job.run() {
            Ok(flushed) => drop(cache.flushed(flushed)),
            Err(fault) => {
                assert!(matches!(fault, CacheFault::Damaged(_)), "seed {seed}: {fault}");
                cache.flush_failed(&fault);
                failures += 1;
            }
        }
        assert!(failures < 3, "seed {seed}: never of use again");
    }
    for number in entries..entries + 500 {
        let found = cache.chain(&file(number));
        assert!(found.is_none_or(|found| found == known(number)), "seed {seed}");
    }
}

#[test]
fn a_damaged_file_never_gives_a_wrong_hash() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, 0..2000);
    flush(&mut cache);
    drop(cache);
    let whole = fs::read(place.path()).unwrap();
    for seed in 0..60 {
        let mut bytes = whole.clone();
        let within = |n: u64| (mix(seed << 8 | n) % whole.len() as u64) as usize;
        match seed % 4 {
            0 => (1..20).for_each(|n| bytes[within(n)] ^= 1 << (n % 8)),
            1 => bytes[within(1) & !4095..][..4096].fill(0),
            2 => bytes.truncate(within(1)),
            _ => (1..60).for_each(|n| bytes[(within(0) & !4095) + within(n) % 4096] = n as u8),
        }
        fs::write(place.path(), bytes).unwrap();
        never_wrong_and_soon_of_use(&place, 2000, seed);
        for name in ["hashes", "hashes-wal", "hashes-shm"] {
            let _ = fs::remove_file(place.scratch.path().join(name));
        }
    }
}

#[test]
fn a_log_torn_by_power_loss_loses_at_most_its_entries() {
    // On the disk between two flushes: a database, and a log that is not yet merged into it.
    let source = Place::new();
    let mut cache = source.open();
    for batch in 0..8 {
        put(&mut cache, batch * 100..batch * 100 + 100);
        flush(&mut cache);
    }
    let (database, log) = (fs::read(source.path()).unwrap(), fs::read(log_of(&source.path())).unwrap());
    assert!(log.len() > 100_000);
    for seed in 0..40 {
        let place = Place::new();
        let mut torn = log.clone();
        let at = (mix(seed) % log.len() as u64) as usize;
        match seed % 3 {
            0 => torn.truncate(at),
            1 => torn[at..].fill(0),
            _ => torn[at] ^= 0x10,
        }
        fs::write(place.path(), &database).unwrap();
        fs::write(log_of(&place.path()), torn).unwrap();
        let cache = place.open();
        // Batches are there without a gap from the first on, each complete or absent.
        let there =
            |number: u64| cache.chain(&file(number)).inspect(|found| assert_eq!(*found, known(number))).is_some();
        let batches = (0..8).take_while(|batch| there(batch * 100)).count() as u64;
        for number in 0..800 {
            assert_eq!(there(number), number < batches * 100, "seed {seed}, {number} with {batches} batches");
        }
        assert!(batches < 8, "seed {seed}");
    }
}

#[test]
fn a_cache_found_damaged_while_running_is_set_aside_with_the_next_batch() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, 0..4000);
    flush(&mut cache);
    drop(cache);
    // All pages but the first: opening needs only that and the tables' first pages, which are small.
    let mut bytes = fs::read(place.path()).unwrap();
    bytes[16 * 4096..].fill(0xff);
    fs::write(place.path(), bytes).unwrap();
    let mut cache = place.open();
    let known_before = (0..4000).filter(|&number| cache.get(&file(number)).is_some()).count();
    assert!(known_before < 4000);
    assert!(cache.pending() > 0, "asks to be flushed");
    put(&mut cache, [5000]);
    let job = cache.flush_job().unwrap();
    assert_eq!((cache.get(&file(5000)), cache.get(&file(2))), (Some(hash(5000)), None));
    let flushed = job.run().unwrap();
    assert!(cache.flushed(flushed).unwrap().contains("hashes.damaged"));
    assert_eq!((cache.get(&file(5000)), cache.get(&file(2)), cache.pending()), (Some(hash(5000)), None, 0));
    put(&mut cache, [2]);
    flush(&mut cache);
    drop(cache);
    let cache = place.open();
    assert_eq!((cache.get(&file(5000)), cache.get(&file(2))), (Some(hash(5000)), Some(hash(2))));
}

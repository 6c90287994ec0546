use super::*;
use crate::content::{GROUP_BYTES, group_count};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tempfile::TempDir;

mod damage;
mod identity;

/// The metadata of a file, derived from its number.
fn file(number: u64) -> FileMeta {
    let large = if number % 50 == 7 { (1 + number % 9) * GROUP_BYTES } else { 0 };
    let mtime_ns = (number as i64 - 5) * 1_000_000_007;
    let ctime_ns = mtime_ns + 1;
    FileMeta {
        size: large + number % 1000,
        mtime_ns,
        ctime_ns,
        inode: number * 13 % 65_537 + (number << 40),
        device: number % 3,
    }
}

fn hash(number: u64) -> ContentHash {
    ContentHash(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn chain(number: u64) -> Vec<ChainingValue> {
    let groups = group_count(file(number).size);
    let groups = if groups > 1 { groups } else { 0 };
    (0..groups).map(|group| ChainingValue(hash(number << 20 | group).0)).collect()
}

fn known(number: u64) -> (ContentHash, Vec<ChainingValue>) {
    (hash(number), chain(number))
}

fn put(cache: &mut HashCache, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| cache.put(file(number), hash(number), chain(number)));
}

/// Writes all that is pending, as a driver would.
fn flush(cache: &mut HashCache) {
    while let Some(job) = cache.flush_job() {
        let flushed = std::thread::spawn(|| job.run()).join().unwrap().unwrap();
        assert_eq!(cache.flushed(flushed), None);
    }
    assert_eq!(cache.pending(), 0);
}

struct Place {
    scratch: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { scratch: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("hashes")
    }

    fn open(&self) -> HashCache {
        let (cache, note) = HashCache::open(Some(&self.path())).unwrap();
        assert_eq!(note, None);
        cache
    }

    /// A run of the daemon that looks up these files and writes at least one entry.
    fn run(&self, limits: Limits, own: u64, asked: impl IntoIterator<Item = u64>) {
        let mut cache = self.open();
        cache.limits = limits;
        put(&mut cache, [own]);
        for number in asked {
            assert_eq!(cache.get(&file(number)), Some(hash(number)));
        }
        flush(&mut cache);
    }
}

#[test]
fn twenty_thousand_files_are_known_after_a_restart() {
    let place = Place::new();
    let mut cache = place.open();
    for batch in 0..20 {
        put(&mut cache, batch * 1000..batch * 1000 + 1000);
        flush(&mut cache);
    }
    drop(cache);
    let cache = place.open();
    for number in 0..20_000 {
        assert_eq!(cache.get(&file(number)), Some(hash(number)));
        assert_eq!(cache.chain(&file(number)), Some(known(number)));
    }
    assert_eq!(cache.get(&file(20_000)), None);
    assert_eq!(cache.pending(), 0, "nothing was asked for that needs writing");
}

#[test]
fn a_file_that_differs_in_any_attribute_is_not_known() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, [7, 8]);
    for written in [false, true] {
        for number in [7, 8] {
            let meta = file(number);
            assert_eq!(cache.chain(&meta), Some(known(number)));
            let others = [
                FileMeta { size: meta.size + 1, ..meta },
                FileMeta { mtime_ns: meta.mtime_ns - 1, ..meta },
                FileMeta { ctime_ns: meta.ctime_ns + 1, ..meta },
                FileMeta { inode: meta.inode ^ 1 << 63, ..meta },
                FileMeta { device: meta.device + 1, ..meta },
            ];
            for other in others {
                assert_eq!((cache.get(&other), cache.chain(&other)), (None, None), "written: {written}");
            }
        }
        flush(&mut cache);
    }
}

#[test]
fn an_entry_is_known_while_it_waits_while_it_is_written_and_after() {
    let place = Place::new();
    let mut cache = place.open();
    assert!(cache.flush_job().is_none());
    put(&mut cache, [7, 8]);
    assert_eq!((cache.get(&file(7)), cache.pending()), (Some(hash(7)), 2));
    let job = cache.flush_job().unwrap();
    assert_eq!((cache.chain(&file(7)), cache.pending()), (Some(known(7)), 0));
    put(&mut cache, [9]);
    assert!(cache.flush_job().is_none(), "a batch is out");
    let flushed = job.run().unwrap();
    assert_eq!(cache.chain(&file(7)), Some(known(7)));
    assert_eq!(cache.flushed(flushed), None);
    assert_eq!((cache.chain(&file(7)), cache.get(&file(9))), (Some(known(7)), Some(hash(9))));
    assert!(cache.flush_job().is_some());
}

#[test]
fn the_earlier_entry_of_a_reused_inode_is_removed() {
    let place = Place::new();
    let mut cache = place.open();
    let (large, small) = (file(57), FileMeta { size: 3, ..file(57) });
    put(&mut cache, [57]);
    flush(&mut cache);
    assert_eq!(cache.chain(&large), Some(known(57)));
    cache.put(small, hash(1), Vec::new());
    for _ in 0..2 {
        assert_eq!((cache.get(&large), cache.chain(&small)), (None, Some((hash(1), Vec::new()))));
        flush(&mut cache);
    }
    // None of its chaining values is left.
    let Backend::Open { reader, .. } = &cache.backend else { panic!("not open") };
    let chains: i64 = reader.connection.query_row("SELECT count(*) FROM chain", (), |row| row.get(0)).unwrap();
    assert_eq!(chains, 0);
}

#[test]
fn a_batch_that_could_not_be_written_waits_again() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, 0..10);
    let job = cache.flush_job().unwrap();
    put(&mut cache, [3, 11]);
    let hidden = place.scratch.path().join("elsewhere");
    fs::rename(place.path(), &hidden).unwrap();
    let fault = job.run().unwrap_err();
    assert!(matches!(fault, CacheFault::Io(_)), "{fault}");
    cache.flush_failed(&fault);
    assert_eq!(cache.pending(), 11);
    fs::rename(&hidden, place.path()).unwrap();
    flush(&mut cache);
    drop(cache);
    let cache = place.open();
    assert!((0..10).chain([11]).all(|number| cache.chain(&file(number)) == Some(known(number))));
}

#[test]
fn a_cache_in_memory_keeps_the_newest_and_writes_nothing() {
    let (mut cache, note) = HashCache::open(None).unwrap();
    assert!(note.is_none());
    put(&mut cache, 0..70_000);
    assert!(cache.flush_job().is_none());
    assert_eq!(cache.pending(), 0);
    assert_eq!(cache.get(&file(0)), None);
    assert_eq!(cache.chain(&file(69_957)), Some(known(69_957)));
}

#[test]
fn the_loop_reads_while_a_helper_writes() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, 0..2000);
    flush(&mut cache);
    for batch in 1..6 {
        put(&mut cache, batch * 2000..batch * 2000 + 2000);
        let job = cache.flush_job().unwrap();
        let helper = std::thread::spawn(|| job.run());
        while !helper.is_finished() {
            for number in (0..batch * 2000 + 2000).step_by(37) {
                assert_eq!(cache.chain(&file(number)), Some(known(number)));
            }
        }
        cache.flushed(helper.join().unwrap().unwrap());
    }
}

#[test]
fn files_no_longer_looked_up_are_removed_once_the_cache_is_large() {
    let place = Place::new();
    let small = Limits { kept_bytes: 0, ..LIMITS };
    place.run(small, 1 << 20, [0u64; 0]);
    let mut cache = place.open();
    put(&mut cache, 0..10_000);
    flush(&mut cache);
    drop(cache);
    // One in a hundred still exists, and is looked up in each run.
    let living = || (0..10_000).step_by(100).chain([57]);
    for run in 0..RUNS_KEPT as u64 - 1 {
        place.run(small, (1 << 20) + run, living());
        assert_eq!(place.open().get(&file(33)), Some(hash(33)), "not yet after run {run}");
    }
    // While the cache is not large, nothing is removed.
    place.run(LIMITS, 1 << 21, living());
    place.run(LIMITS, 1 << 21, living());
    assert_eq!(place.open().get(&file(33)), Some(hash(33)));
    place.run(small, 1 << 21, living());
    let cache = place.open();
    for number in 0..10_000 {
        let expected = (number % 100 == 0 || number == 57).then(|| known(number));
        assert_eq!(cache.chain(&file(number)), expected, "{number}");
    }
    let Backend::Open { reader, .. } = &cache.backend else { panic!("not open") };
    let chains: i64 = reader.connection.query_row("SELECT count(*) FROM chain", (), |row| row.get(0)).unwrap();
    assert_eq!(chains, 1);
}

#[test]
fn removal_goes_on_in_the_next_batch_where_a_bounded_job_ended() {
    let place = Place::new();
    let small = Limits { kept_bytes: 0, ..LIMITS };
    let mut cache = place.open();
    // The removal takes more than one job.
    put(&mut cache, 0..60_000);
    flush(&mut cache);
    put(&mut cache, 60_000..70_000);
    flush(&mut cache);
    cache.run += RUNS_KEPT;
    cache.limits = small;
    for (own, left) in [(1 << 20, true), (1 << 21, false)] {
        put(&mut cache, [own]);
        let flushed = cache.flush_job().unwrap().run().unwrap();
        cache.flushed(flushed);
        let known = (0..70_000).filter(|&number| cache.get(&file(number)).is_some()).count();
        assert_eq!(known > 0, left, "{known}");
    }
    assert_eq!(cache.get(&file(1 << 20)), Some(hash(1 << 20)));
}

#[test]
fn a_full_cache_accepts_no_more() {
    let place = Place::new();
    let mut cache = place.open();
    put(&mut cache, [1]);
    flush(&mut cache);
    cache.limits.bytes_max = 0;
    put(&mut cache, [2]);
    flush(&mut cache);
    assert_eq!((cache.get(&file(1)), cache.get(&file(2))), (Some(hash(1)), None));
}

/// Names the file to the child of the next test.
const CHILD: &str = "PYRATE_TEST_HASH_CACHE";

/// The process that [`flushed_entries_survive_kill_9`] kills; no test of its own.
#[test]
fn child_that_flushes_for_ever() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let (mut cache, note) = HashCache::open(Some(Path::new(&path))).unwrap();
    assert_eq!(note, None);
    for batch in 0.. {
        put(&mut cache, batch * 100..batch * 100 + 100);
        let flushed = cache.flush_job().unwrap().run().unwrap();
        cache.flushed(flushed);
        println!("\nflushed {batch}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn flushed_entries_survive_kill_9() {
    let place = Place::new();
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::cache::tests::child_that_flushes_for_ever"])
            .env(CHILD, place.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut flushed = lines.filter_map(|line| line.strip_prefix("flushed ")?.parse::<u64>().ok());
        let last = flushed.by_ref().nth((round * 7 % 30) as usize).expect("the child has died by itself");
        // During a later batch, a little later in each round.
        (0..round * 20_000).for_each(|i| assert_eq!(std::hint::black_box(i), i));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = flushed.last().unwrap_or(last);

        let mut cache = place.open();
        for number in 0..last * 100 + 100 {
            assert_eq!(cache.chain(&file(number)), Some(known(number)), "round {round}");
        }
        put(&mut cache, [1 << 30]);
        flush(&mut cache);
    }
}

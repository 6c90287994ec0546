//! Stories of a log, and what crashes make of it.
//!
//! `PYRATE_STORE_SEED=n` runs one seed, `PYRATE_STORE_SEEDS=n` so many.

use super::super::part::tests::tape::{self, Call, Dice, Disk, Op};
use super::*;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

struct Scratch {
    _directory: TempDir,
    state: StateDirectory,
    path: PathBuf,
}

fn scratch() -> Scratch {
    let fast = std::path::Path::new("/dev/shm");
    let directory = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() }.unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let path = directory.path().join("log");
    Scratch { _directory: directory, state, path }
}

impl Scratch {
    fn open(&self) -> (RecordLog, Records) {
        RecordLog::open(&self.state, "log").unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Runs the jobs that are due. Says how many there were.
fn maintain(log: &mut RecordLog) -> usize {
    let mut jobs = 0;
    while let Some(job) = log.maintain() {
        let done = job.run().unwrap();
        log.done(done);
        jobs += 1;
        assert!(jobs < 10, "it never ends");
    }
    jobs
}

fn records<const N: usize>(records: [(u32, &[u8]); N]) -> Records {
    records.into_iter().map(|(key, record)| (key, record.to_vec())).collect()
}

#[test]
fn what_was_put_is_there_and_what_was_removed_is_not() {
    let scratch = scratch();
    let (mut log, found) = scratch.open();
    assert_eq!((found, log.highest()), (Records::new(), 0));
    log.put(3, b"three").unwrap();
    log.put(7, b"").unwrap();
    log.put(3, b"third").unwrap();
    log.put(9, b"nine").unwrap();
    log.remove(9).unwrap();
    log.remove(10).unwrap();
    drop(log);
    let (mut log, found) = scratch.open();
    assert_eq!((found, log.highest()), (records([(3, b"third"), (7, b"")]), 9));
    log.remove(3).unwrap();
    log.remove(7).unwrap();
    assert_eq!(maintain(&mut log), 1);
    assert_eq!(maintain(&mut log), 0);
    drop(log);
    let (log, found) = scratch.open();
    assert_eq!((found, log.highest()), (Records::new(), 9), "a key is not given twice");
    assert_eq!(scratch.names(), ["lock", "log"]);
}

#[test]
fn the_state_directory_stays_ours_as_long_as_a_log_is_open() {
    let Scratch { _directory, state, path } = scratch();
    let (mut log, _) = RecordLog::open(&state, "log").unwrap();
    drop(state);
    let directory = path.parent().unwrap();
    log.put(1, b"x").unwrap();
    let job = log.maintain().unwrap();
    drop(log);
    assert!(StateDirectory::open(directory).is_err());
    drop(job);
    let state = StateDirectory::open(directory).unwrap();
    for name in ["", "..", "a/b", "lock", ".hidden"] {
        assert_eq!(RecordLog::open(&state, name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_log_stays_short_however_often_it_is_written() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    let mut compactions = 0;
    for round in 0..2000_u32 {
        log.put(round % 3, &[round as u8; 500]).unwrap();
        let Some(job) = log.maintain() else { continue };
        assert!(log.maintain().is_none(), "one is out");
        compactions += usize::from(job.job.compacts);
        // While it is out, more is put, and some removed.
        log.put(3, &round.to_le_bytes()).unwrap();
        log.remove((round + 1) % 3).unwrap();
        let done = job.run().unwrap();
        log.done(done);
    }
    assert!(compactions > 5);
    assert!(fs::metadata(&scratch.path).unwrap().len() < 3 * COMPACT_BYTES_MIN);
    let live = log.content.live.keys().copied().collect::<Vec<_>>();
    drop(log);
    let (log, found) = scratch.open();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), live);
    assert_eq!(found[&3], 1999_u32.to_le_bytes());
    assert_eq!((found[&1].as_slice(), log.highest()), (&[1999_u32 as u8; 500][..], 3));
}

#[test]
fn a_write_that_failed_has_not_happened() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    log.put(1, b"one").unwrap();
    tape::fail_next(Call::Write, nix::libc::ENOSPC);
    assert_eq!(log.put(1, b"never").unwrap_err().kind(), io::ErrorKind::StorageFull);
    // Nor can the rest of it be cut off at once.
    tape::fail_next(Call::Write, nix::libc::ENOSPC);
    tape::fail_next(Call::SetLen, nix::libc::EIO);
    log.put(2, b"never").unwrap_err();
    fs::OpenOptions::new().append(true).open(&scratch.path).unwrap();
    tape::fail_next(Call::SetLen, nix::libc::EIO);
    assert_eq!(log.remove(1).unwrap_err().raw_os_error(), Some(nix::libc::EIO));
    log.put(2, b"two").unwrap();
    assert_eq!(log.put(3, &vec![0; RECORD_BYTES_MAX + 1]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    drop(log);
    assert_eq!(scratch.open().1, records([(1, b"one"), (2, b"two")]));
}

#[test]
fn a_log_that_is_full_says_so() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    let large = vec![1; RECORD_BYTES_MAX];
    let fault = (0..100).find_map(|key| log.put(key, &large).err()).unwrap();
    assert_eq!(fault.kind(), io::ErrorKind::FileTooLarge);
    let held = log.content.live.len();
    assert!(held > 60);
    // What is removed makes room when it is written anew.
    (0..held as u32).for_each(|key| drop(log.remove(key)));
    maintain(&mut log);
    log.put(0, &large).unwrap();
    drop(log);
    assert_eq!(scratch.open().1.get(&0), Some(&large));
}

#[test]
fn a_job_that_failed_is_made_again() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    log.put(1, b"one").unwrap();
    drop(log.maintain().unwrap());
    assert!(!log.maintain().unwrap().job.compacts);
    let job = log.maintain().unwrap();
    tape::fail_next(Call::Sync, nix::libc::EIO);
    job.run().unwrap_err();
    // What the file seems to hold may be in memory alone.
    let job = log.maintain().unwrap();
    assert!(job.job.compacts);
    log.put(2, b"two").unwrap();
    let done = job.run().unwrap();
    tape::fail_next(Call::Rename, nix::libc::EIO);
    log.done(done);
    assert_eq!(scratch.names(), ["lock", "log"]);
    let job = log.maintain().unwrap();
    tape::fail_next(Call::Write, nix::libc::ENOSPC);
    job.run().unwrap_err();
    log.put(3, b"three").unwrap();
    assert_eq!(maintain(&mut log), 2, "written anew, and the name synced");
    drop(log);
    assert_eq!(scratch.open().1, records([(1, b"one"), (2, b"two"), (3, b"three")]));
}

#[test]
fn what_is_no_log_is_set_aside() {
    let scratch = scratch();
    for bytes in [&b"not a log"[..], &[0; 100]] {
        fs::write(&scratch.path, bytes).unwrap();
        let (mut log, found) = scratch.open();
        assert!(found.is_empty() && log.has_set_aside());
        assert_eq!(fs::read(scratch.state.path().join("log.damaged")).unwrap(), bytes);
        log.put(1, b"one").unwrap();
        drop(log);
        let (log, found) = scratch.open();
        assert_eq!((found.len(), log.has_set_aside()), (1, false));
    }
    fs::write(&scratch.path, b"").unwrap();
    assert!(!scratch.open().0.has_set_aside(), "nothing is lost with an empty file");
    fs::remove_file(&scratch.path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &scratch.path).unwrap();
    assert!(scratch.open().0.has_set_aside());
    assert!(fs::symlink_metadata(&scratch.path).unwrap().is_file());
}

#[test]
fn no_flipped_bit_makes_a_record_that_was_not_put() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    let states = [
        records([]),
        records([(1, b"one")]),
        records([(1, b"one"), (2, b"two")]),
        records([(1, b"uno"), (2, b"two")]),
        records([(2, b"two")]),
    ];
    log.put(1, b"one").unwrap();
    log.put(2, b"two").unwrap();
    log.put(1, b"uno").unwrap();
    log.remove(1).unwrap();
    let bytes = fs::read(&scratch.path).unwrap();
    let file = || File::open(&scratch.path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = decode(file(), &flipped);
        assert!(found.is_none_or(|(content, records)| states.contains(&records) && content.is_torn), "bit {bit}");
    }
    for len in 0..=bytes.len() {
        let found = decode(file(), &bytes[..len]);
        assert!(found.is_none_or(|(_, records)| states.contains(&records)), "cut at {len}");
    }
    // A record that looks like a frame is none.
    let nonce = log.content.nonce;
    let inner = frame(&nonce, 0, Kind::Put, 5, b"inner");
    log.put(3, &[&inner[..], &inner].concat()).unwrap();
    let bytes = fs::read(&scratch.path).unwrap();
    for len in 0..bytes.len() {
        let found = decode(file(), &bytes[..len]);
        assert!(found.is_none_or(|(_, records)| !records.contains_key(&5)), "cut at {len}");
    }
}

/// What the log said at some place on the tape, and the last that was synced then.
#[derive(Debug, Clone)]
struct Fact {
    position: usize,
    records: Records,
    highest: u32,
    /// Facts before this one are outdated on the disk, too.
    synced: usize,
}

/// One life of a process.
fn run(scratch: &Scratch, dice: &mut Dice) -> Vec<Fact> {
    let (mut log, mut held) = scratch.open();
    // A log that is compacted without being long.
    log.compact_bytes_min = 0;
    let mut facts = vec![Fact { position: tape::position(), records: held.clone(), highest: log.highest(), synced: 0 }];
    let mut synced = 0;
    let mut job: Option<(LogJob, usize)> = None;
    for _ in 0..5 + dice.roll(25) {
        match dice.roll(6) {
            0..3 => {
                // Some of one length, so that one could stand where another was.
                let length = [5, 5, 5, 700][dice.roll(4) as usize];
                let (key, record) = (dice.roll(6) as u32, vec![dice.roll(256) as u8; length]);
                log.put(key, &record).unwrap();
                held.insert(key, record);
            }
            3 => {
                let key = dice.roll(6) as u32;
                log.remove(key).unwrap();
                held.remove(&key);
            }
            4 if job.is_none() => job = log.maintain().map(|job| (job, facts.len() - 1)),
            _ => {
                let Some((job, covers)) = job.take() else { continue };
                let syncs = !job.job.compacts;
                let done = job.run().unwrap();
                log.done(done);
                synced = if syncs { covers } else { synced };
                log.compact_bytes_min = 0;
            }
        }
        facts.push(Fact { position: tape::position(), records: held.clone(), highest: log.highest(), synced });
    }
    facts
}

fn assert_survives(scratch: &Scratch, disk: &Disk, facts: &[Fact], end: usize, power: bool, what: &str) {
    disk.lay_out(scratch.state.path());
    let (log, found) = scratch.open();
    assert!(!log.has_set_aside(), "{what}");
    let Some(before) = facts.iter().rposition(|fact| fact.position <= end) else { return };
    let after = facts[before..].iter().position(|fact| fact.position > end).map_or(before, |next| before + next);
    let oldest = if power { facts[before].synced } else { before };
    let may_be = facts[oldest..=after].iter().any(|fact| fact.records == found && fact.highest == log.highest());
    assert!(may_be, "{what}: {:?}, {} is none of {:?}", found.keys(), log.highest(), oldest..=after);
    drop(log);
    assert_eq!(scratch.open().1, found, "opened twice: {what}");
}

fn crash_everywhere(seed: u64) {
    let scratch = scratch();
    let mut dice = Dice::new(seed);
    let mut disk = Disk::default();
    for life in 0..3 {
        disk.lay_out(scratch.state.path());
        tape::start();
        let facts = run(&scratch, &mut dice);
        let ops: Vec<Op> = tape::stop();
        for end in 0..=ops.len() {
            let left = disk.after_kill(&ops, end, &mut dice);
            assert_survives(&scratch, &left, &facts, end, false, &format!("seed {seed}, life {life}, killed at {end}"));
            for _ in 0..4 {
                let left = disk.after_power_loss(&ops, end, &mut dice);
                let what = format!("seed {seed}, life {life}, power loss at {end}");
                assert_survives(&scratch, &left, &facts, end, true, &what);
            }
        }
        let end = dice.roll(ops.len() as u64 + 1) as usize;
        disk = disk.after_power_loss(&ops, end, &mut dice);
    }
    tape::reset();
}

#[test]
fn no_crash_loses_what_was_put_or_brings_back_what_was_removed() {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PYRATE_STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PYRATE_STORE_SEEDS").unwrap_or(10),
    };
    for seed in seeds {
        println!("seed {seed}");
        crash_everywhere(seed);
    }
}

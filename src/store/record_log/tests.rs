//! Tests of a log, and of its state after crashes.
//!
//! `PYRATE_STORE_SEED=n` runs one seed, `PYRATE_STORE_SEEDS=n` so many.

mod costs;

use super::frames::{Kind, decode, frame};
use super::*;
use crate::store::tests::recorder::{self, Call, Dice, Disk, Op};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

type Records = BTreeMap<u32, Vec<u8>>;

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

/// Runs the jobs that are due; how many there were.
fn maintain(log: &mut RecordLog) -> usize {
    let mut jobs = 0;
    while let Some(job) = log.maintain().unwrap() {
        let done = job.run().unwrap();
        log.done(done).unwrap();
        jobs += 1;
        assert!(jobs < 10, "it never ends");
    }
    jobs
}

fn records<const N: usize>(records: [(u32, &[u8]); N]) -> Records {
    records.into_iter().map(|(key, record)| (key, record.to_vec())).collect()
}

#[test]
fn records_that_were_put_are_read_and_removed_ones_are_not() {
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
fn an_open_log_keeps_the_state_directory_locked() {
    let Scratch { _directory, state, path } = scratch();
    let (mut log, _) = RecordLog::open(&state, "log").unwrap();
    drop(state);
    let directory = path.parent().unwrap();
    log.put(1, b"x").unwrap();
    let job = log.maintain().unwrap().unwrap();
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
        let Some(job) = log.maintain().unwrap() else { continue };
        assert!(log.maintain().unwrap().is_none(), "one is out");
        compactions += usize::from(job.job.compacts);
        // While it runs, records are put and removed.
        log.put(3, &round.to_le_bytes()).unwrap();
        log.remove((round + 1) % 3).unwrap();
        let done = job.run().unwrap();
        log.done(done).unwrap();
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
fn a_change_that_cannot_be_written_is_kept_until_it_can() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    log.put(1, b"one").unwrap();
    log.put(5, b"five").unwrap();
    maintain(&mut log);
    assert!(log.is_durable(1) && !log.has_changes());
    recorder::fail_next(Call::Write, nix::libc::ENOSPC);
    assert_eq!(log.put(1, b"uno").unwrap_err().kind(), io::ErrorKind::StorageFull);
    // Nor can the rest of it be truncated at once.
    recorder::fail_next(Call::Write, nix::libc::ENOSPC);
    recorder::fail_next(Call::SetLen, nix::libc::EIO);
    log.put(2, b"two").unwrap_err();
    fs::OpenOptions::new().append(true).open(&scratch.path).unwrap();
    recorder::fail_next(Call::SetLen, nix::libc::EIO);
    assert_eq!(log.remove(5).unwrap_err().raw_os_error(), Some(nix::libc::EIO));
    log.put(3, b"three").unwrap();
    assert_eq!(log.put(3, &vec![0; RECORD_BYTES_MAX + 1]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(maintain(&mut log), 1);
    assert_eq!([1, 2, 3, 5].map(|key| log.is_durable(key)), [false, false, true, false]);
    assert!(log.has_changes() && log.maintain().unwrap().is_none(), "what is not written takes no sync");
    // Records put in the meantime replace it, and removed ones need not be written any more.
    recorder::fail_next(Call::Write, nix::libc::ENOSPC);
    log.put(1, b"eins").unwrap_err();
    log.remove(2).unwrap();
    recorder::fail_next(Call::Write, nix::libc::ENOSPC);
    log.write_owed().unwrap_err();
    log.write_owed().unwrap();
    assert!(!log.is_durable(1), "it is not synced");
    assert_eq!(maintain(&mut log), 1);
    assert!([1, 2, 3, 5].into_iter().all(|key| log.is_durable(key)) && !log.has_changes());
    drop(log);
    assert_eq!(scratch.open().1, records([(1, b"eins"), (3, b"three")]));
}

#[test]
fn a_full_log_reports_it_and_writes_pending_changes_when_there_is_room() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    let large = vec![1; RECORD_BYTES_MAX];
    let fault = (0..100).find_map(|key| log.put(key, &large).err().map(|error| (key, error)));
    let (full, error) = fault.unwrap();
    assert_eq!((error.kind(), full > 60), (io::ErrorKind::FileTooLarge, true));
    maintain(&mut log);
    assert!(!log.is_durable(full) && log.is_durable(full - 1));
    // Removed records make room when the log is compacted.
    log.remove(0).unwrap();
    log.write_owed().unwrap_err();
    maintain(&mut log);
    assert!(log.is_durable(full) && log.is_durable(0));
    drop(log);
    let found = scratch.open().1;
    assert_eq!((found.get(&0), found.get(&full)), (None, Some(&large)));
}

#[test]
fn a_job_for_which_there_is_no_descriptor_is_an_error_and_is_made_later() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    log.put(1, b"one").unwrap();
    recorder::fail_next(Call::Duplicate, nix::libc::EMFILE);
    assert_eq!(log.maintain().err().and_then(|error| error.raw_os_error()), Some(nix::libc::EMFILE));
    assert!(log.has_changes() && !log.is_durable(1), "nothing of it is forgotten");
    assert_eq!(maintain(&mut log), 1);
    assert!(log.is_durable(1));
}

#[test]
fn a_failed_job_is_repeated() {
    let scratch = scratch();
    let (mut log, _) = scratch.open();
    log.put(1, b"one").unwrap();
    drop(log.maintain().unwrap().unwrap());
    assert!(!log.maintain().unwrap().unwrap().job.compacts);
    let job = log.maintain().unwrap().unwrap();
    recorder::fail_next(Call::Sync, nix::libc::EIO);
    job.run().unwrap_err();
    // The contents of the file may be in memory only.
    let job = log.maintain().unwrap().unwrap();
    assert!(job.job.compacts);
    log.put(2, b"two").unwrap();
    let done = job.run().unwrap();
    recorder::fail_next(Call::Rename, nix::libc::EIO);
    log.done(done).unwrap_err();
    assert_eq!(scratch.names(), ["lock", "log"]);
    let job = log.maintain().unwrap().unwrap();
    recorder::fail_next(Call::Write, nix::libc::ENOSPC);
    job.run().unwrap_err();
    log.put(3, b"three").unwrap();
    assert!(!log.is_durable(1) && !log.is_durable(3));
    assert_eq!(maintain(&mut log), 2, "written again, and the name synced");
    assert!(log.is_durable(1) && log.is_durable(3));
    drop(log);
    assert_eq!(scratch.open().1, records([(1, b"one"), (2, b"two"), (3, b"three")]));
}

#[test]
fn a_file_that_is_no_log_is_set_aside() {
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
fn no_flipped_bit_creates_a_record() {
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
    // A record whose bytes look like a frame is not read as one.
    let nonce = log.content.nonce;
    let inner = frame(&nonce, 0, Kind::Put, 5, b"inner");
    log.put(3, &[&inner[..], &inner].concat()).unwrap();
    let bytes = fs::read(&scratch.path).unwrap();
    for len in 0..bytes.len() {
        let found = decode(file(), &bytes[..len]);
        assert!(found.is_none_or(|(_, records)| !records.contains_key(&5)), "cut at {len}");
    }
}

/// The report of the log at some recorded call.
#[derive(Debug, Clone)]
struct Fact {
    position: usize,
    records: Records,
    /// Keys whose last change is in the file.
    written: BTreeSet<u32>,
    /// Keys whose last change is durable.
    durable: BTreeSet<u32>,
}

const KEYS: std::ops::Range<u32> = 0..6;

fn fact(log: &RecordLog, held: &Records) -> Fact {
    Fact {
        position: recorder::position(),
        records: held.clone(),
        written: KEYS.filter(|key| !log.owed.contains(key)).collect(),
        durable: KEYS.filter(|key| log.is_durable(*key)).collect(),
    }
}

/// Makes one of the next calls fail.
fn fail_some_call(dice: &mut Dice) {
    let calls = [Call::Write, Call::SetLen, Call::Sync, Call::SyncDirectory, Call::Rename];
    let call = calls[dice.roll(calls.len() as u64) as usize];
    let errno = [nix::libc::ENOSPC, nix::libc::EIO][dice.roll(2) as usize];
    recorder::fail_next(call, errno);
}

/// One run of a process, on a disk that fails at regular intervals.
fn run(scratch: &Scratch, dice: &mut Dice, faults: bool) -> Vec<Fact> {
    let (mut log, mut held) = scratch.open();
    // A log that is compacted although it is short.
    log.compact_bytes_min = 0;
    let mut facts = vec![fact(&log, &held)];
    let mut job: Option<LogJob> = None;
    for _ in 0..5 + dice.roll(25) {
        if faults && dice.chance(40) {
            fail_some_call(dice);
        }
        match dice.roll(7) {
            0..3 => {
                // Several of one length, so that one could replace another in place.
                let length = [5, 5, 5, 700][dice.roll(4) as usize];
                let (key, record) = (dice.roll(KEYS.end.into()) as u32, vec![dice.roll(256) as u8; length]);
                assert!(log.put(key, &record).is_ok() || faults);
                held.insert(key, record);
            }
            3 => {
                let key = dice.roll(KEYS.end.into()) as u32;
                assert!(log.remove(key).is_ok() || faults);
                held.remove(&key);
            }
            4 => assert!(log.write_owed().is_ok() || faults),
            5 if job.is_none() => job = log.maintain().unwrap(),
            _ => {
                let Some(job) = job.take() else { continue };
                let done = job.run().and_then(|done| log.done(done));
                assert!(done.is_ok() || faults);
                log.compact_bytes_min = 0;
            }
        }
        facts.push(fact(&log, &held));
    }
    recorder::mend();
    facts
}

/// Every key has its last durable record or a later one, and the log is the same when it is
/// opened again.
fn assert_survives(scratch: &Scratch, disk: &Disk, facts: &[Fact], end: usize, power: bool, what: &str) {
    disk.lay_out(scratch.state.path());
    let (log, found) = scratch.open();
    assert!(!log.has_set_aside(), "{what}");
    let Some(before) = facts.iter().rposition(|fact| fact.position <= end) else { return };
    let after = facts[before..].iter().position(|fact| fact.position > end).map_or(before, |next| before + next);
    for key in KEYS {
        let is_safe = |fact: &Fact| if power { &fact.durable } else { &fact.written }.contains(&key);
        let oldest = facts[..=before].iter().rposition(is_safe).unwrap_or(0);
        let may_be = facts[oldest..=after].iter().any(|fact| fact.records.get(&key) == found.get(&key));
        assert!(may_be, "{what}: {key} is {:?}, none of {oldest}..={after}", found.get(&key).map(|found| &found[..1]));
    }
    assert!(found.keys().all(|key| *key <= log.highest()), "{what}");
    drop(log);
    assert_eq!(scratch.open().1, found, "opened twice: {what}");
}

fn crash_everywhere(seed: u64, faults: bool) {
    let scratch = scratch();
    let mut dice = Dice::new(seed);
    let mut disk = Disk::default();
    for life in 0..3 {
        disk.lay_out(scratch.state.path());
        recorder::start();
        let facts = run(&scratch, &mut dice, faults);
        let ops: Vec<Op> = recorder::stop();
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
    recorder::reset();
}

fn seeds() -> std::ops::Range<u64> {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    match number("PYRATE_STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PYRATE_STORE_SEEDS").unwrap_or(10),
    }
}

#[test]
fn no_crash_loses_a_record_or_restores_a_removed_one() {
    for seed in seeds() {
        println!("seed {seed}");
        crash_everywhere(seed, false);
    }
}

#[test]
fn no_crash_after_failed_calls_loses_durable_records() {
    for seed in seeds() {
        println!("seed {seed}");
        crash_everywhere(seed, true);
    }
}

/// Whatever call fails, and however often, the log has the right records when calls succeed again.
#[test]
fn whatever_call_fails_the_log_is_repaired() {
    let calls = [Call::Write, Call::SetLen, Call::Sync, Call::SyncDirectory, Call::Rename];
    for (call, errno) in calls.into_iter().flat_map(|call| [(call, nix::libc::ENOSPC), (call, nix::libc::EIO)]) {
        for times in 1..6 {
            let scratch = scratch();
            let (mut log, _) = scratch.open();
            log.compact_bytes_min = 0;
            (0..times).for_each(|_| recorder::fail_next(call, errno));
            for round in 0..8_u8 {
                let _ = log.put(1, &[round; 400]);
                let _ = log.put(u32::from(round), b"x");
                let _ = log.remove(u32::from(round.saturating_sub(1)));
                let _ = log.write_owed();
                let job = log.maintain().unwrap().and_then(|job| job.run().ok());
                let _ = job.map(|done| log.done(done));
            }
            recorder::mend();
            log.write_owed().unwrap();
            maintain(&mut log);
            assert!(!log.has_changes(), "{call:?} {errno} {times}");
            let held = log.records.iter().map(|(key, record)| (*key, record.to_vec())).collect::<Records>();
            drop(log);
            assert_eq!(scratch.open().1, held, "{call:?} {errno} {times}");
            assert_eq!(held, records([(1, &[7; 400]), (7, b"x")]));
        }
    }
}

//! A small keyed log in the state directory.
//!
//! ```text
//! file     head frame, then a frame for each change
//! frame    check (8), length of the record (4), key (4), kind (1), record
//! ```
//!
//! The head has the highest key ever put, and a nonce; a frame's check covers the nonce, its offset in the file and the rest
//! of the frame. Reading stops at the first frame that does not match: so each change is read whole or not at all, and none
//! from an earlier file.
//!
//! The records are also kept in memory. A change that cannot be written is retried until it is written or a later change of
//! the same key replaces it. A written change is durable when a job has synced it. After a failed sync it is unknown what
//! is on the disk, even if a later sync succeeds (Linux may have dropped the failed pages): then the file is
//! rewritten from memory. The same is done when most of it is outdated.

mod frames;

use super::state::{STATE_FILE_BYTES_MAX, check_name};
use super::{StateDirectory, disk};
use frames::{Content, Place, file_bytes};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// A shorter file is never compacted.
const COMPACT_BYTES_MIN: u64 = 64 * 1024;

type Records = BTreeMap<u32, Arc<[u8]>>;

/// A log of records by key. Keeps the lock of the state directory.
#[derive(Debug)]
pub(crate) struct RecordLog {
    place: Arc<Place>,
    content: Content,
    records: Records,
    /// Changes made or written so far.
    changes: u64,
    /// Keys whose last change may not be durable, and the number of that change.
    unsynced: BTreeMap<u32, u64>,
    /// Of these, keys whose last change is not in the file.
    owed: BTreeSet<u32>,
    /// Length up to which the file is synced; 0 if its name is not.
    synced_bytes: u64,
    /// A sync has failed: the file has to be rewritten.
    is_suspect: bool,
    compact_bytes_min: u64,
    job: Option<RunningJob>,
    set_aside: bool,
}

#[derive(Debug)]
struct RunningJob {
    job: Job,
    /// Keys that were changed since a compaction began: the new file lacks these changes.
    since: BTreeSet<u32>,
}

impl RecordLog {
    /// Opens or creates a log. Returns its records. Waits for the disk.
    ///
    /// A file that is no log is renamed to end in `.damaged`, and the log begins empty; see [`RecordLog::has_set_aside`].
    /// Errors: as the system reports them; [`io::ErrorKind::InvalidInput`] for a name that is not one component.
    pub(crate) fn open(directory: &StateDirectory, file: &'static str) -> io::Result<(Self, BTreeMap<u32, Vec<u8>>)> {
        check_name(file)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let handle = open(directory.path(), flags, Mode::empty())?;
        let place = Place { directory: handle, name: file, _state: directory.share() };
        let (found, set_aside) = place.read()?;
        let (content, found) = match found {
            Some((content, records)) if !content.is_torn => (content, records),
            found => {
                // Bytes after the last valid frame must be removed durably before new frames are written.
                let (highest, records) = found.map(|(content, records)| (content.highest, records)).unwrap_or_default();
                let content = place.write_new(highest, records.iter().map(|(key, record)| (*key, &record[..])))?;
                disk::sync(&content.file)?;
                place.install()?;
                (content, records)
            }
        };
        disk::sync(&content.file)?;
        disk::sync_directory(place.directory.as_fd())?;
        let log = Self {
            place: Arc::new(place),
            synced_bytes: content.bytes,
            content,
            records: found.iter().map(|(key, record)| (*key, Arc::from(&record[..]))).collect(),
            changes: 0,
            unsynced: BTreeMap::new(),
            owed: BTreeSet::new(),
            is_suspect: false,
            compact_bytes_min: COMPACT_BYTES_MIN,
            job: None,
            set_aside,
        };
        Ok((log, found))
    }

    /// Whether a file was no log, and was set aside.
    pub(crate) fn has_set_aside(&self) -> bool {
        self.set_aside
    }

    /// The highest key ever put; 0 if none was.
    pub(crate) fn highest(&self) -> u32 {
        self.content.highest
    }

    /// The keys whose last change may not survive power loss.
    pub(crate) fn undurable(&self) -> BTreeSet<u32> {
        self.unsynced.keys().copied().collect()
    }

    #[cfg(test)]
    fn is_durable(&self, key: u32) -> bool {
        !self.unsynced.contains_key(&key)
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.unsynced.is_empty() || self.is_suspect || self.content.bytes != self.synced_bytes
    }

    /// Sets the record of a key. When this returns, the record survives a crash of the process; it survives power loss when it
    /// is not [undurable](RecordLog::undurable).
    /// Errors: as the system reports them, and [`io::ErrorKind::FileTooLarge`] if the log is full. Then the change is owed:
    /// [`RecordLog::write_owed`] and the jobs retry it. [`io::ErrorKind::InvalidInput`] for more than [`RECORD_BYTES_MAX`]:
    /// then nothing has changed.
    pub(crate) fn put(&mut self, key: u32, record: &[u8]) -> io::Result<()> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the record is too long"));
        }
        self.records.insert(key, Arc::from(record));
        self.change(key)
    }

    /// Errors: as [`RecordLog::put`].
    pub(crate) fn remove(&mut self, key: u32) -> io::Result<()> {
        if self.records.remove(&key).is_some() { self.change(key) } else { Ok(()) }
    }

    fn change(&mut self, key: u32) -> io::Result<()> {
        if let Some(running) = self.job.as_mut().filter(|running| running.job.compacts) {
            running.since.insert(key);
        }
        self.write(key)
    }

    fn write(&mut self, key: u32) -> io::Result<()> {
        self.changes += 1;
        self.unsynced.insert(key, self.changes);
        let written = write_to(&mut self.content, &self.records, key);
        if written.is_ok() {
            self.owed.remove(&key)
        } else {
            self.owed.insert(key)
        };
        written
    }

    /// Retries changes that could not be written.
    /// Errors: as [`RecordLog::put`]; the rest is still owed.
    pub(crate) fn write_owed(&mut self) -> io::Result<()> {
        for key in self.owed.clone() {
            self.write(key)?;
        }
        Ok(())
    }

    /// Returns a job if one is due and none runs: to sync changes, or to rewrite the file.
    /// Errors: if there is no descriptor for it.
    pub(crate) fn maintain(&mut self) -> io::Result<Option<LogJob>> {
        self.reap_job();
        if self.job.is_some() || !(self.has_changes() || self.is_stale()) {
            return Ok(None);
        }
        let compacts = self.is_suspect || self.is_stale() || self.makes_room();
        // Owed changes alone need no sync.
        if !compacts && self.content.bytes == self.synced_bytes && self.unsynced.len() == self.owed.len() {
            return Ok(None);
        }
        let job = Job { bytes: self.content.bytes, changes: self.changes, compacts, failed: Arc::default() };
        let work = match compacts {
            true => Work::Compact { highest: self.content.highest, records: self.records.clone() },
            // Of a file that is synced up to somewhere the name is, too.
            false => Work::Sync { file: disk::duplicate(&self.content.file)?, name: self.synced_bytes == 0 },
        };
        self.job = Some(RunningJob { job: job.clone(), since: BTreeSet::new() });
        Ok(Some(LogJob { place: Arc::clone(&self.place), work, job }))
    }

    /// Most of the file is outdated.
    fn is_stale(&self) -> bool {
        self.content.bytes >= self.compact_bytes_min && self.content.bytes / 2 > self.wanted_bytes()
    }

    /// Owed changes do not fit into this file, but into a compacted one.
    fn makes_room(&self) -> bool {
        let owed = self.owed.iter().filter_map(|key| self.records.get(key));
        let with_owed = self.content.bytes.saturating_add(file_bytes(owed.map(|record| &record[..])));
        !self.owed.is_empty() && with_owed > STATE_FILE_BYTES_MAX && self.wanted_bytes() <= STATE_FILE_BYTES_MAX
    }

    fn wanted_bytes(&self) -> u64 {
        file_bytes(self.records.values().map(|record| &record[..]))
    }

    /// Takes the result of a job.
    /// Errors: as the system reports them, if a rewritten file could not replace the present one. Then nothing has changed.
    pub(crate) fn done(&mut self, done: LogDone) -> io::Result<()> {
        let finished = |running: &mut RunningJob| Arc::ptr_eq(&running.job.failed, &done.job.failed);
        let Some(running) = self.job.take_if(finished) else { return Ok(()) };
        let Some(content) = done.content else {
            self.synced_bytes = running.job.bytes;
            self.unsynced.retain(|key, change| *change > running.job.changes || self.owed.contains(key));
            return Ok(());
        };
        self.replace(content, &running.since).inspect_err(|_| {
            self.place.discard();
            self.put_off();
        })
    }

    /// Installs a rewritten file, after adding all changes made meanwhile.
    fn replace(&mut self, mut content: Content, since: &BTreeSet<u32>) -> io::Result<()> {
        for &key in since {
            write_to(&mut content, &self.records, key)?;
        }
        self.place.install()?;
        self.content = content;
        self.owed.clear();
        // Its name is not synced.
        self.synced_bytes = 0;
        self.is_suspect = false;
        self.compact_bytes_min = COMPACT_BYTES_MIN;
        Ok(())
    }

    fn reap_job(&mut self) {
        let Some(running) = self.job.take_if(|running| Arc::strong_count(&running.job.failed) == 1) else { return };
        if running.job.compacts {
            self.put_off();
        } else if running.job.failed.load(Ordering::Acquire) {
            self.is_suspect = true;
        }
    }

    /// Compacts an outdated file only after it has grown to twice its length.
    fn put_off(&mut self) {
        self.compact_bytes_min = self.content.bytes.saturating_mul(2).max(COMPACT_BYTES_MIN);
    }
}

fn write_to(content: &mut Content, records: &Records, key: u32) -> io::Result<()> {
    match records.get(&key) {
        Some(record) => content.append(key, Some(record)),
        None if content.live.contains_key(&key) => content.append(key, None),
        None => Ok(()),
    }
}

/// Maintenance of a log. Waits for the disk. If it is dropped, the log makes another.
#[derive(Debug)]
pub(crate) struct LogJob {
    place: Arc<Place>,
    work: Work,
    job: Job,
}

#[derive(Debug)]
enum Work {
    /// `name`: that of the file is to be synced, too.
    Sync {
        file: File,
        name: bool,
    },
    Compact {
        highest: u32,
        records: Records,
    },
}

/// One job, shared by the log, the [`LogJob`] and its result.
#[derive(Debug, Clone)]
struct Job {
    bytes: u64,
    changes: u64,
    compacts: bool,
    failed: Arc<AtomicBool>,
}

impl LogJob {
    /// Syncs the file, and its name if that is new; or writes and syncs a new file.
    /// Errors: as the system reports them; then [`RecordLog::maintain`] makes another job.
    pub(crate) fn run(self) -> io::Result<LogDone> {
        let outcome = match &self.work {
            Work::Sync { file, name } => sync(&self.place, file, *name).map(|()| None),
            Work::Compact { highest, records } => compact(&self.place, *highest, records).map(Some),
        };
        match outcome {
            Ok(content) => Ok(LogDone { content, job: self.job }),
            Err(error) => {
                self.job.failed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }
}

fn sync(place: &Place, file: &File, name: bool) -> io::Result<()> {
    disk::sync(file)?;
    if name {
        disk::sync_directory(place.directory.as_fd())?;
    }
    Ok(())
}

fn compact(place: &Place, highest: u32, records: &Records) -> io::Result<Content> {
    let highest = records.last_key_value().map_or(highest, |(key, _)| highest.max(*key));
    let new = place.write_new(highest, records.iter().map(|(key, record)| (*key, &record[..])))?;
    disk::sync(&new.file)?;
    Ok(new)
}

/// The result of a [`LogJob`], for [`RecordLog::done`].
#[derive(Debug)]
pub(crate) struct LogDone {
    content: Option<Content>,
    job: Job,
}

#[cfg(test)]
mod tests;

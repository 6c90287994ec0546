//! Content hashes that are known already, by the identity of the file: neither a restart nor another device number has
//! anything hashed again.
//!
//! Owns the file of the cache, an SQLite database in the state directory with one entry for each inode. Refuses to
//! wait: the loop reads (some microseconds an entry), and all writing is a [`FlushJob`] for a helper thread. Refuses to
//! trust: each entry carries a checksum, and what does not match it counts as unknown. A file that is no cache of ours,
//! is damaged, or has entries without the time of change, is set aside, and an empty cache takes its place; a kill or a power
//! failure costs at most what was not flushed.
//!
//! Entries of files that are gone are found by the number of runs of the daemon since they were last looked up,
//! and removed once the database has outgrown a size that does no harm.
//!
//! | module | holds |
//! |---|---|
//! | `record` | an entry, its checksum, and runs of entries on their way to the disk |
//! | `recent` | entries that are not written yet |
//! | `database` | the SQLite file: opening, checking, setting aside, reading |
//! | `flush` | the writing of a batch |

mod database;
mod flush;
mod recent;
mod record;
#[cfg(test)]
mod tests;

use crate::content::ChainingValue;
use crate::id::ContentHash;
use crate::library::FileMeta;
use crate::store::volume::Volumes;
use database::{Database, Found};
pub(crate) use flush::{FlushJob, Flushed};
use recent::Recent;
use record::{Batch, Key, PendingFix, Record, key};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Entries that make a batch worth its commit: see [`HashCache::flush_job`].
pub(crate) const FLUSH_ENTRIES_USUAL: usize = 1024;

/// After how many runs without a question an entry may be removed.
const RUNS_KEPT: i64 = 8;

/// After how many runs the next question is noted: often enough to be in time, seldom enough that a restart over a
/// million files does not write a million entries.
const RUNS_NOTED: i64 = 4;

/// Times that the cache is opened at the start of a run before the run does without it.
const OPENINGS_MAX: u32 = 3;

/// Most entries whose fixes wait to be written; further ones are left for a later run.
const FIXES_MAX: usize = 65_536;

/// Why the hash cache could not be opened or written.
#[derive(Debug, Error)]
pub(crate) enum CacheFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is damaged, or another program's.
    #[error("{0}")]
    Damaged(String),
    /// Its entries are of an earlier layout, and say too little to be trusted.
    #[error("its entries do not record the times of change")]
    Outdated,
    /// Anything else that SQLite reported.
    #[error("{0}")]
    Database(String),
}

/// Sizes that the database keeps to.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Up to here nothing is removed, however old.
    kept_bytes: u64,
    /// From here on nothing is entered.
    bytes_max: u64,
}

/// About two million entries are kept without question. The most is what two hundred million would take.
const LIMITS: Limits = Limits { kept_bytes: 256 * 1024 * 1024, bytes_max: 32 * 1024 * 1024 * 1024 };

#[derive(Debug)]
enum Backend {
    /// Nowhere: the newest are kept in memory.
    Memory,
    /// In a database, which is open for reading.
    Open { path: PathBuf, reader: Database },
    /// In a database that has turned out to be damaged; the next batch begins a new one.
    Damaged { path: PathBuf },
}

#[derive(Debug)]
pub(crate) struct HashCache {
    backend: Backend,
    limits: Limits,
    run: i64,
    recent: Recent,
    /// What the batch holds that is being written.
    flushing: Option<Arc<Batch>>,
    /// Entries to be looked after with the next batch.
    fixes: RefCell<BTreeMap<Key, PendingFix>>,
    /// A read came upon damage.
    found_damage: Cell<bool>,
    /// The filesystems that files are on. Entries are kept under their numbers: device numbers change at each mount.
    pub(crate) volumes: Volumes,
}

impl HashCache {
    /// Opens the cache at a path, or makes it; `None` keeps the newest entries in memory. A file that is damaged or not
    /// ours is renamed, `.damaged` after its name, in the place of an earlier one; then a sentence tells so.
    /// Errors: [`CacheFault::Io`] and [`CacheFault::Database`] when the file cannot be opened, made, or set aside.
    pub(crate) fn open(path: Option<&Path>) -> Result<(HashCache, Option<String>), CacheFault> {
        let Some(path) = path else { return Ok((Self::new(Backend::Memory, 1), None)) };
        // One read that fails must not have all files hashed again.
        let mut opened = Self::open_at(path);
        for _ in 1..OPENINGS_MAX {
            if !matches!(opened, Err(CacheFault::Io(_) | CacheFault::Database(_))) {
                break;
            }
            opened = Self::open_at(path);
        }
        opened
    }

    fn open_at(path: &Path) -> Result<(HashCache, Option<String>), CacheFault> {
        let (reader, note) = match Database::open(path) {
            Err(CacheFault::Damaged(_)) => match database::open_again(path) {
                Err(CacheFault::Damaged(why)) => {
                    let note = database::set_aside(path, &why)?;
                    (Database::open(path)?, Some(note))
                }
                opened => (opened?, None),
            },
            Err(CacheFault::Outdated) => {
                let note = database::start_again(path)?;
                (Database::open(path)?, Some(note))
            }
            opened => (opened?, None),
        };
        let run = reader.run()?.saturating_add(1);
        Ok((Self::new(Backend::Open { path: path.to_owned(), reader }, run), note))
    }

    fn new(backend: Backend, run: i64) -> Self {
        Self {
            backend,
            limits: LIMITS,
            run,
            recent: Recent::default(),
            flushing: None,
            fixes: RefCell::default(),
            found_damage: Cell::new(false),
            volumes: Volumes::default(),
        }
    }

    /// The hash of a file, if it is known for exactly this size, these times, this inode and filesystem.
    ///
    /// Takes some microseconds. A database that cannot be read knows nothing.
    pub(crate) fn get(&self, file: &FileMeta) -> Option<ContentHash> {
        self.get_kept(&self.kept(file))
    }

    /// A file as it is kept: with the number of its filesystem in the place of its device number.
    fn kept(&self, file: &FileMeta) -> FileMeta {
        FileMeta { device: self.volumes.id(file), ..*file }
    }

    fn get_kept(&self, file: &FileMeta) -> Option<ContentHash> {
        if let Some(record) = self.unwritten(file) {
            return record.is_of(file).then_some(record.b3);
        }
        match self.look(|reader| reader.get(file))? {
            Found::Whole { b3, run } => {
                if run.saturating_add(RUNS_NOTED) <= self.run {
                    self.note_fix(file, PendingFix::Seen);
                }
                Some(b3)
            }
            Found::Doubtful => {
                self.note_fix(file, PendingFix::Remove);
                None
            }
            Found::Other => None,
        }
    }

    /// The hash of a file and the chaining values of its groups, if they are known; no values for a file of at most one
    /// group. Takes about a microsecond for 4 MiB of the file beyond what [`HashCache::get`] takes.
    pub(crate) fn chain(&self, file: &FileMeta) -> Option<(ContentHash, Vec<ChainingValue>)> {
        let file = &self.kept(file);
        if let Some(record) = self.unwritten(file) {
            return record.is_of(file).then(|| (record.b3, record.chain.clone()));
        }
        let b3 = self.get_kept(file)?;
        let chain = self.look(|reader| reader.chain(file, &b3))?;
        if chain.is_none() {
            self.note_fix(file, PendingFix::Remove);
        }
        Some((b3, chain?))
    }

    /// Enters a hash, in the place of what was known of the same inode: visible at once, written by the next
    /// [`FlushJob`]. The chaining values are those of [`ContentHasher`](crate::content::ContentHasher).
    ///
    /// While nothing can be written, the newest entries are kept in memory and older ones lost.
    pub(crate) fn put(&mut self, file: FileMeta, b3: ContentHash, chain: Vec<ChainingValue>) {
        let file = self.kept(&file);
        self.fixes.get_mut().remove(&key(&file));
        self.recent.put(Record { meta: file, b3, chain });
    }

    /// The next batch to be written, by a helper thread; `None` if nothing waits, or while a batch is out. Its end is
    /// told by [`HashCache::flushed`] or [`HashCache::flush_failed`].
    ///
    /// A batch is best asked for when [`HashCache::pending`] has reached [`FLUSH_ENTRIES_USUAL`], or some seconds after
    /// the first entry; after a failure not before some seconds have passed.
    pub(crate) fn flush_job(&mut self) -> Option<FlushJob> {
        if self.flushing.is_some() {
            return None;
        }
        if self.found_damage.take() {
            self.close_damaged();
        }
        let (path, start_again) = match &self.backend {
            Backend::Memory => return None,
            Backend::Open { .. } if self.pending() == 0 => return None,
            Backend::Open { path, .. } => (path.clone(), false),
            Backend::Damaged { path } => (path.clone(), true),
        };
        let batch = Arc::new(self.recent.take_batch(self.fixes.get_mut()));
        self.flushing = Some(Arc::clone(&batch));
        Some(FlushJob { path, start_again, run: self.run, limits: self.limits, batch })
    }

    /// A batch was written. Gives a sentence for the user when a damaged file was set aside for it.
    pub(crate) fn flushed(&mut self, flushed: Flushed) -> Option<String> {
        self.flushing = None;
        let (reader, note) = flushed.opened?;
        if let Backend::Damaged { path } = &self.backend {
            self.backend = Backend::Open { path: path.clone(), reader };
        }
        Some(note)
    }

    /// A batch could not be written: it waits again.
    pub(crate) fn flush_failed(&mut self, fault: &CacheFault) {
        let batch = self.flushing.take();
        if matches!(fault, CacheFault::Damaged(_)) {
            self.close_damaged();
        }
        if let Some(batch) = batch {
            self.recent.take_back(&batch);
            self.fixes.get_mut().extend(batch.fixes.iter().copied());
        }
    }

    /// Entries that wait to be written; 0 for a cache in memory. Bounded.
    pub(crate) fn pending(&self) -> usize {
        match self.backend {
            Backend::Memory => 0,
            _ => self.recent.len() + self.fixes.borrow().len() + usize::from(self.found_damage.get()),
        }
    }

    /// What is known of the inode and not in the database yet.
    fn unwritten(&self, file: &FileMeta) -> Option<&Record> {
        self.recent.get(&key(file)).or_else(|| self.flushing.as_ref()?.get(&key(file)))
    }

    /// Reads from the database, if there is one; an error is nothing found, and damage is remembered.
    fn look<T>(&self, read: impl FnOnce(&Database) -> Result<Option<T>, CacheFault>) -> Option<T> {
        let Backend::Open { reader, .. } = &self.backend else { return None };
        match read(reader) {
            Ok(found) => found,
            Err(fault) => {
                if matches!(fault, CacheFault::Damaged(_)) {
                    self.found_damage.set(true);
                }
                None
            }
        }
    }

    /// Notes what is to be done about an entry.
    fn note_fix(&self, file: &FileMeta, what: PendingFix) {
        let mut fixes = self.fixes.borrow_mut();
        if fixes.len() < FIXES_MAX {
            fixes.insert(key(file), what);
        }
    }

    /// Closes a database that is damaged. Nothing may read it when it is set aside.
    fn close_damaged(&mut self) {
        if let Backend::Open { path, .. } = &self.backend {
            self.backend = Backend::Damaged { path: path.clone() };
        }
        self.fixes.get_mut().clear();
    }
}

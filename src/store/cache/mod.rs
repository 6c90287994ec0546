//! Known content hashes by the identity of the file, so that neither a restart nor a new device number hashes files again.
//!
//! Owns the file of the cache, an SQLite database in the state directory with one entry for each inode. Looking an entry
//! up takes some microseconds; all writing is a [`FlushJob`]. Threads other than the loop use it, since both wait for the disk. Each entry has a checksum, and one that
//! does not match counts as unknown. A file that is not our cache, is damaged, or has entries without the time of change, is
//! set aside and replaced by an empty cache; a crash or power loss costs at most the entries that were not flushed.
//!
//! Entries not looked up during the last runs of the daemon are removed once the database exceeds a size.
//!
//! | module | holds |
//! |---|---|
//! | `record` | an entry, its checksum, and a batch of entries |
//! | `recent` | entries that are not written yet |
//! | `database` | the SQLite file: opening, checking, setting aside, reading |
//! | `flush` | writing a batch |

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

/// A batch of this size is worth a commit: see [`HashCache::flush_job`].
pub(crate) const FLUSH_ENTRIES_USUAL: usize = 1024;

/// Entries that were not looked up in so many runs may be removed.
const RUNS_KEPT: i64 = 8;

/// A lookup is recorded if the last one was this many runs ago: so a restart does not write every entry.
const RUNS_NOTED: i64 = 4;

/// Attempts to open the cache at the start.
const OPENINGS_MAX: u32 = 3;

/// Further fixes are left for a later run.
const FIXES_MAX: usize = 65_536;

/// Why the hash cache could not be opened or written.
#[derive(Debug, Error)]
pub(crate) enum CacheFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is damaged, or of another program.
    #[error("{0}")]
    Damaged(String),
    /// Its layout is of an earlier version, without the time of change.
    #[error("its entries do not record the times of change")]
    Outdated,
    /// Anything else that SQLite reported.
    #[error("{0}")]
    Database(String),
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Up to this size no entry is removed.
    kept_bytes: u64,
    /// From this size on none is added.
    bytes_max: u64,
}

/// About two million entries are kept in any case, and two hundred million at most.
const LIMITS: Limits = Limits { kept_bytes: 256 * 1024 * 1024, bytes_max: 32 * 1024 * 1024 * 1024 };

#[derive(Debug)]
enum Backend {
    /// No file: the newest entries are kept in memory.
    Memory,
    Open {
        path: PathBuf,
        reader: Database,
    },
    /// A damaged database; the next batch begins a new one.
    Damaged {
        path: PathBuf,
    },
}

#[derive(Debug)]
pub(crate) struct HashCache {
    backend: Backend,
    limits: Limits,
    run: i64,
    recent: Recent,
    flushing: Option<Arc<Batch>>,
    /// To be written with the next batch.
    fixes: RefCell<BTreeMap<Key, PendingFix>>,
    found_damage: Cell<bool>,
    /// Entries have these numbers of filesystems: device numbers change at each mount.
    pub(crate) volumes: Arc<Volumes>,
}

impl HashCache {
    /// Opens or creates the cache at a path; `None` keeps the newest entries in memory. A file that is damaged or not ours
    /// is renamed to end in `.damaged`; then a sentence for the log is returned.
    /// Errors: [`CacheFault::Io`] and [`CacheFault::Database`] if the file cannot be opened, created, or set aside.
    pub(crate) fn open(path: Option<&Path>) -> Result<(HashCache, Option<String>), CacheFault> {
        let Some(path) = path else { return Ok((Self::new(Backend::Memory, 1), None)) };
        // One failed read must not cause all files to be hashed again.
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
            volumes: Arc::default(),
        }
    }

    /// Closes the file; from now on the newest entries are kept in memory. Waits for the disk: SQLite moves what was written into
    /// its main file.
    pub(crate) fn close(&mut self) {
        *self = Self::new(Backend::Memory, self.run);
    }

    /// The hash of a file, if it is known for exactly this size, these times, this inode and filesystem. Takes some microseconds.
    pub(crate) fn get(&self, file: &FileMeta) -> Option<ContentHash> {
        self.get_kept(&self.kept(file))
    }

    /// With the number of the filesystem instead of the device number.
    fn kept(&self, file: &FileMeta) -> FileMeta {
        FileMeta { device: self.volumes.id(file), ..*file }
    }

    fn get_kept(&self, file: &FileMeta) -> Option<ContentHash> {
        if let Some(record) = self.unwritten(file) {
            return record.is_of(file).then_some(record.b3);
        }
        match self.read(|reader| reader.get(file))? {
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

    /// The hash of a file and the chaining values of its groups (none for a single group), if they are known. Takes about a
    /// microsecond for 4 MiB of the file more than [`HashCache::get`].
    pub(crate) fn chain(&self, file: &FileMeta) -> Option<(ContentHash, Vec<ChainingValue>)> {
        let file = &self.kept(file);
        if let Some(record) = self.unwritten(file) {
            return record.is_of(file).then(|| (record.b3, record.chain.clone()));
        }
        let b3 = self.get_kept(file)?;
        let chain = self.read(|reader| reader.chain(file, &b3))?;
        if chain.is_none() {
            self.note_fix(file, PendingFix::Remove);
        }
        Some((b3, chain?))
    }

    /// Adds a hash, replacing the entry of the same inode: visible at once, written by the next [`FlushJob`]. While nothing can
    /// be written, older entries are dropped.
    pub(crate) fn put(&mut self, file: FileMeta, b3: ContentHash, chain: Vec<ChainingValue>) {
        let file = self.kept(&file);
        self.fixes.get_mut().remove(&key(&file));
        self.recent.put(Record { meta: file, b3, chain });
    }

    /// The next batch to be written, by a worker thread; `None` if there is nothing to write, or a batch is being written. The
    /// caller reports its end with [`HashCache::flushed`] or [`HashCache::flush_failed`].
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

    /// A batch was written. Returns a sentence for the log if a damaged file was set aside.
    pub(crate) fn flushed(&mut self, flushed: Flushed) -> Option<String> {
        self.flushing = None;
        let (reader, note) = flushed.opened?;
        if let Backend::Damaged { path } = &self.backend {
            self.backend = Backend::Open { path: path.clone(), reader };
        }
        Some(note)
    }

    /// A batch could not be written: it is kept for the next attempt.
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

    /// Entries to be written; 0 for a cache in memory.
    pub(crate) fn pending(&self) -> usize {
        match self.backend {
            Backend::Memory => 0,
            _ => self.recent.len() + self.fixes.borrow().len() + usize::from(self.found_damage.get()),
        }
    }

    /// The entry of an inode that is not in the database yet.
    fn unwritten(&self, file: &FileMeta) -> Option<&Record> {
        self.recent.get(&key(file)).or_else(|| self.flushing.as_ref()?.get(&key(file)))
    }

    /// Reads from the database, if there is one. On an error returns `None`.
    fn read<T>(&self, read: impl FnOnce(&Database) -> Result<Option<T>, CacheFault>) -> Option<T> {
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

    fn note_fix(&self, file: &FileMeta, what: PendingFix) {
        let mut fixes = self.fixes.borrow_mut();
        if fixes.len() < FIXES_MAX {
            fixes.insert(key(file), what);
        }
    }

    /// Closes a damaged database: no connection may be open when it is set aside.
    fn close_damaged(&mut self) {
        if let Backend::Open { path, .. } = &self.backend {
            self.backend = Backend::Damaged { path: path.clone() };
        }
        self.fixes.get_mut().clear();
    }
}

//! The hashes of shared files, one batch of the node's at a time: from the cache, or by reading in slices.

use crate::content::ChainingValue;
use crate::driver::Driver;
use crate::driver::disk::jobs::Job;
use crate::driver::disk::share::SYNC_DELAY;
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::library::{FileMeta, ScannedFile};
use crate::node::Event;
use crate::node::contract::HashedFile;
use crate::store::{CacheFault, FLUSH_ENTRIES_USUAL, FileHasher, Flushed, HashCache, Volumes};
use log::warn;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that one slice reads and hashes: a fraction of a millisecond from memory.
const HASH_BYTES_PER_SLICE: usize = 256 * 1024;

/// Files looked up in the cache in one slice.
const LOOKUPS_PER_SLICE: usize = 64;

/// Files told of at once.
const HASHED_FILES_MAX: usize = 64;

/// A file beyond this gives way to all others.
const LARGE_BYTES: u64 = 1 << 30;

/// How soon a cache that could not be written is tried again.
const FLUSH_AGAIN: Duration = Duration::from_secs(30);

/// The batch under way, and the cache.
pub(in crate::driver) struct Hashing {
    cache: HashCache,
    files: VecDeque<ScannedFile>,
    current: Option<(ScannedFile, FileHasher)>,
    /// A large file, which is read only while there is nothing else to do.
    large: Option<(ScannedFile, FileHasher)>,
    done: Vec<HashedFile>,
    /// The last attempt to write the cache failed, and was told of.
    flush_failed: bool,
}

impl Hashing {
    pub(in crate::driver) fn new(cache: HashCache) -> Self {
        Self { cache, files: VecDeque::new(), current: None, large: None, done: Vec::new(), flush_failed: false }
    }

    /// Whether a slice waits.
    pub(in crate::driver) fn has_work(&self) -> bool {
        !self.files.is_empty() || self.current.is_some() || self.large.is_some() || !self.done.is_empty()
    }

    /// The filesystems that files are on.
    pub(in crate::driver) fn volumes(&self) -> &Volumes {
        self.cache.volumes()
    }

    /// The same, to take note of what a scan has met.
    pub(in crate::driver) fn volumes_mut(&mut self) -> &mut Volumes {
        self.cache.volumes_mut()
    }

    /// The chaining values of a file whose hash this is, if they are known.
    pub(in crate::driver) fn chain(&self, file: &FileMeta, b3: ContentHash) -> Option<Vec<ChainingValue>> {
        self.cache.chain(file).filter(|(known, _)| *known == b3).map(|(_, chain)| chain)
    }

    /// Whether hashes wait to be written.
    pub(in crate::driver) fn has_pending(&self) -> bool {
        self.cache.pending() > 0
    }
}

impl Driver {
    /// Takes a batch.
    pub(in crate::driver) fn hash_files(&mut self, files: Vec<ScannedFile>) {
        self.hashing.files.extend(files);
    }

    /// One slice: some files from the cache, or a piece of one from the disk.
    pub(in crate::driver) fn hash_slice(&mut self) {
        let hashing = &mut self.hashing;
        let large = if hashing.files.is_empty() { &mut hashing.large } else { &mut None };
        match hashing.current.take().or_else(|| large.take()) {
            Some((file, hasher)) => self.hash_piece(file, hasher),
            None => self.hash_next(),
        }
        let hashing = &mut self.hashing;
        let is_through = hashing.files.is_empty();
        if !hashing.done.is_empty() && (is_through || hashing.done.len() >= HASHED_FILES_MAX || hashing.is_reading()) {
            let files = std::mem::take(&mut hashing.done);
            self.node.handle(self.now, Event::Hashed { files });
        }
        if self.hashing.cache.pending() >= FLUSH_ENTRIES_USUAL && !self.hashing.flush_failed {
            self.flush_hashes();
        }
    }

    fn hash_next(&mut self) {
        for _ in 0..LOOKUPS_PER_SLICE {
            let Some(file) = self.hashing.files.pop_front() else { return };
            if let Some(b3) = self.hashing.cache.get(&file.meta) {
                self.hashing.done.push(HashedFile { file, outcome: Ok(b3) });
                continue;
            }
            let opened = match &self.share {
                Some(share) => FileHasher::open(share, &file),
                None => Err(DiskFault::Missing),
            };
            match opened {
                Ok(hasher) => return self.hashing.set_reading(file, hasher),
                Err(fault) => self.hashing.done.push(HashedFile { file, outcome: Err(fault) }),
            }
        }
    }

    fn hash_piece(&mut self, file: ScannedFile, mut hasher: FileHasher) {
        let outcome = match hasher.step(HASH_BYTES_PER_SLICE, &mut self.scratch) {
            Ok(None) => return self.hashing.set_reading(file, hasher),
            Ok(Some((b3, chain))) => {
                self.hashing.cache.put(file.meta, b3, chain);
                self.arm_sync();
                Ok(b3)
            }
            Err(fault) => Err(fault),
        };
        self.hashing.done.push(HashedFile { file, outcome });
    }

    /// Has new hashes written to the cache.
    pub(in crate::driver) fn flush_hashes(&mut self) {
        if let Some(job) = self.hashing.cache.flush_job() {
            self.helpers.submit(Job::FlushHashes(job));
        }
    }

    /// New hashes are in the cache, or cannot be written.
    pub(in crate::driver) fn on_hashes_flushed(&mut self, outcome: Result<Flushed, CacheFault>) {
        let failed = match outcome {
            Ok(flushed) => {
                if let Some(note) = self.hashing.cache.flushed(flushed) {
                    warn!("{note}");
                }
                false
            }
            Err(fault) => {
                self.hashing.cache.flush_failed(&fault);
                if !self.hashing.flush_failed {
                    warn!("cannot write the hash cache, files will be hashed again after a restart: {fault}");
                }
                true
            }
        };
        self.hashing.flush_failed = failed;
        if self.hashing.has_pending() {
            self.arm_sync_in(if failed { FLUSH_AGAIN } else { SYNC_DELAY });
        }
    }
}

impl Hashing {
    /// Whether a file is being read that takes more than a slice.
    fn is_reading(&self) -> bool {
        self.current.is_some() || self.large.is_some()
    }

    /// Goes on with a file in the next slice, or, if it is large, when there is nothing else to do.
    fn set_reading(&mut self, file: ScannedFile, hasher: FileHasher) {
        let is_large = file.meta.size > LARGE_BYTES && self.large.is_none();
        let place = if is_large { &mut self.large } else { &mut self.current };
        *place = Some((file, hasher));
    }
}

//! The hashes of shared files, for one batch of the node at a time: from the cache, or by reading in slices.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use crate::content::ChainingValue;
use crate::driver::cx::Cx;
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::library::{FileMeta, ScannedFile};
use crate::node::Event;
use crate::node::contract::HashedFile;
use crate::store::{CacheFault, FLUSH_ENTRIES_USUAL, FileHasher, Flushed, HashCache, ShareRoot, Volume, Volumes};
use crate::time::Instant;
use log::warn;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that one slice reads and hashes: a fraction of a millisecond from memory.
const HASH_BYTES_PER_SLICE: usize = 256 * 1024;

const LOOKUPS_PER_SLICE: usize = 64;

/// Files of one [`Event::Hashed`].
const HASHED_FILES_MAX: usize = 64;

/// A file larger than this is hashed after all others.
const LARGE_BYTES: u64 = 1 << 30;

/// How soon new hashes are written.
const FLUSH_DELAY: Duration = Duration::from_secs(2);

/// How soon a failed write of the cache is tried again.
const FLUSH_AGAIN: Duration = Duration::from_secs(30);

pub(super) struct Hashing {
    pub(super) cache: HashCache,
    files: VecDeque<ScannedFile>,
    current: Option<(ScannedFile, FileHasher)>,
    /// A large file, which is read only while there are no others.
    large: Option<(ScannedFile, FileHasher)>,
    done: Vec<HashedFile>,
    /// The last attempt to write the cache failed, and was logged.
    flush_failed: bool,
    pub(super) flush_at: Option<Instant>,
}

impl Hashing {
    pub(super) fn new(cache: HashCache) -> Self {
        Self {
            cache,
            files: VecDeque::new(),
            current: None,
            large: None,
            done: Vec::new(),
            flush_failed: false,
            flush_at: None,
        }
    }

    /// The filesystems that scans have entered.
    pub(super) fn volumes(&self) -> &Arc<Volumes> {
        &self.cache.volumes
    }

    pub(super) fn note_volume(&mut self, device: u64, volume: Volume) {
        Arc::make_mut(&mut self.cache.volumes).note(device, volume);
    }

    pub(super) fn has_work(&self) -> bool {
        !self.files.is_empty() || self.current.is_some() || self.large.is_some() || !self.done.is_empty()
    }

    /// The chaining values of a file with this hash, if the cache has them.
    pub(super) fn chain(&self, file: &FileMeta, b3: ContentHash) -> Option<Vec<ChainingValue>> {
        self.cache.chain(file).filter(|(known, _)| *known == b3).map(|(_, chain)| chain)
    }

    pub(super) fn take(&mut self, files: Vec<ScannedFile>) {
        self.files.extend(files);
    }

    /// One slice: some files from the cache, or a piece of one from the disk.
    pub(super) fn slice(&mut self, share: Option<&ShareRoot>, jobs: &mut Jobs, cx: &mut Cx) {
        let large = if self.files.is_empty() { &mut self.large } else { &mut None };
        match self.current.take().or_else(|| large.take()) {
            Some((file, hasher)) => self.hash_piece(file, hasher, cx),
            None => self.hash_next(share),
        }
        let is_reading = self.current.is_some() || self.large.is_some();
        if !self.done.is_empty() && (self.files.is_empty() || self.done.len() >= HASHED_FILES_MAX || is_reading) {
            cx.out.event(Event::Hashed { files: std::mem::take(&mut self.done) });
        }
        if self.cache.pending() >= FLUSH_ENTRIES_USUAL && !self.flush_failed {
            self.flush(jobs);
        }
    }

    fn hash_next(&mut self, share: Option<&ShareRoot>) {
        for _ in 0..LOOKUPS_PER_SLICE {
            let Some(file) = self.files.pop_front() else { return };
            if let Some(b3) = self.cache.get(&file.meta) {
                self.done.push(HashedFile { file, outcome: Ok(b3) });
                continue;
            }
            match share.ok_or(DiskFault::Missing).and_then(|share| FileHasher::open(share, &file)) {
                Ok(hasher) => return self.set_reading(file, hasher),
                Err(fault) => self.done.push(HashedFile { file, outcome: Err(fault) }),
            }
        }
    }

    fn hash_piece(&mut self, file: ScannedFile, mut hasher: FileHasher, cx: &mut Cx) {
        let outcome = match hasher.step(HASH_BYTES_PER_SLICE, &mut cx.scratch) {
            Ok(None) => return self.set_reading(file, hasher),
            Ok(Some((b3, chain))) => {
                self.cache.put(file.meta, b3, chain);
                self.flush_at.get_or_insert(cx.now + FLUSH_DELAY);
                Ok(b3)
            }
            Err(fault) => Err(fault),
        };
        self.done.push(HashedFile { file, outcome });
    }

    pub(super) fn flush(&mut self, jobs: &mut Jobs) {
        self.flush_at = None;
        if let Some(job) = self.cache.flush_job() {
            let lost = Err(CacheFault::Io(std::io::Error::other("the job was lost")));
            jobs.submit((Lane::State, Key::Hashes), Done::HashesFlushed, lost, || job.run());
        }
    }

    pub(super) fn on_flushed(&mut self, outcome: Result<Flushed, CacheFault>, now: Instant) {
        let failed = match outcome {
            Ok(flushed) => {
                if let Some(note) = self.cache.flushed(flushed) {
                    warn!("{note}");
                }
                false
            }
            Err(fault) => {
                self.cache.flush_failed(&fault);
                if !self.flush_failed {
                    warn!("cannot write the hash cache, files will be hashed again after a restart: {fault}");
                }
                true
            }
        };
        self.flush_failed = failed;
        if self.cache.pending() > 0 {
            self.flush_at.get_or_insert(now + if failed { FLUSH_AGAIN } else { FLUSH_DELAY });
        }
    }

    /// Continues a file in the next slice, or, if it is large, after all others.
    fn set_reading(&mut self, file: ScannedFile, hasher: FileHasher) {
        let is_large = file.meta.size > LARGE_BYTES && self.large.is_none();
        let place = if is_large { &mut self.large } else { &mut self.current };
        *place = Some((file, hasher));
    }
}

//! Hashing of shared files, as jobs carry it out: from the cache, or by reading.

use crate::aligned::Aligned;
use crate::audience::first_component;
use crate::driver::clock::Clock;
use crate::fault::DiskFault;
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::node::contract::HashedFile;
use crate::store::{CacheFault, FileHasher, HashCache, ShareRoot, Volumes};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that are read and hashed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// After this long a job gives way to one that scans.
const JOB_MAX: Duration = Duration::from_millis(20);

/// A file larger than this is hashed after all others.
const LARGE_BYTES: u64 = 1 << 30;

/// The cache of hashes. Only jobs lock it, and none while it reads a file of the share.
#[derive(Clone)]
pub(super) struct SharedCache(Arc<Mutex<HashCache>>);

impl SharedCache {
    pub(super) fn new(cache: HashCache) -> Self {
        Self(Arc::new(Mutex::new(cache)))
    }

    /// Waits for other jobs. `volumes`: the filesystems that are known by now.
    pub(super) fn lock(&self, volumes: &Arc<Volumes>) -> MutexGuard<'_, HashCache> {
        // A job that panicked has left no entry in part: each is put whole.
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.volumes = Arc::clone(volumes);
        cache
    }

    /// Writes a batch. Waits for the disk.
    pub(super) fn flush(&self, volumes: &Arc<Volumes>) -> FlushEnded {
        let mut cache = self.lock(volumes);
        // Takes back the batch of a job that panicked.
        cache.flush_failed(&lost());
        let Some(job) = cache.flush_job() else { return FlushEnded { outcome: Ok(None), pending: cache.pending() } };
        drop(cache);
        let written = job.run();
        let mut cache = self.lock(volumes);
        let outcome = match written {
            Ok(flushed) => Ok(cache.flushed(flushed)),
            Err(fault) => {
                cache.flush_failed(&fault);
                Err(fault)
            }
        };
        FlushEnded { outcome, pending: cache.pending() }
    }
}

pub(super) fn lost() -> CacheFault {
    CacheFault::Io(std::io::Error::other("the job was lost"))
}

/// Whether a file is in one of these shares.
pub(super) fn is_of(shares: &[FileName], file: &ScannedFile) -> bool {
    shares.iter().any(|share| share.as_bytes() == first_component(file.name.as_bytes()))
}

pub(super) fn missing(file: ScannedFile) -> HashedFile {
    HashedFile { file, outcome: Err(DiskFault::Missing) }
}

/// How a write of the cache ended.
pub(crate) struct FlushEnded {
    /// A sentence for the log, if there is something to say.
    pub(super) outcome: Result<Option<String>, CacheFault>,
    /// Entries to be written.
    pub(super) pending: usize,
}

/// What goes from job to job.
#[derive(Default)]
pub(crate) struct HashWork {
    pub(super) files: VecDeque<ScannedFile>,
    current: Option<(ScannedFile, Box<FileHasher>)>,
    /// A large file, which is read only while there are no others.
    large: Option<(ScannedFile, Box<FileHasher>)>,
    /// What is known since the job began.
    pub(super) done: Vec<HashedFile>,
    /// Entries of the cache to be written.
    pub(super) pending: usize,
}

impl HashWork {
    pub(super) fn has_work(&self) -> bool {
        !self.files.is_empty() || self.has_open_files()
    }

    pub(super) fn has_open_files(&self) -> bool {
        self.current.is_some() || self.large.is_some()
    }

    /// Gives up the files of shares that were replaced. Returns those that are open.
    pub(super) fn forget(&mut self, replaced: &[FileName]) -> Vec<FileHasher> {
        let is_gone = |file: &ScannedFile| is_of(replaced, file);
        let (gone, kept): (VecDeque<_>, _) = std::mem::take(&mut self.files).into_iter().partition(is_gone);
        self.files = kept;
        self.done.extend(gone.into_iter().map(missing));
        let mut open = Vec::new();
        for read in [&mut self.current, &mut self.large] {
            if let Some((file, hasher)) = read.take_if(|(file, _)| is_gone(file)) {
                self.done.push(missing(file));
                open.push(*hasher);
            }
        }
        open
    }

    /// Whose hashes are not known yet.
    pub(super) fn unknown(&self) -> Vec<ScannedFile> {
        let opened = [&self.current, &self.large].into_iter().flatten().map(|(file, _)| file);
        self.files.iter().chain(opened).cloned().collect()
    }

    /// Goes on until the hashes of all files are known, or its time is over. `others`: further files wait for the next job.
    pub(super) fn go_on(
        mut self: Box<Self>,
        share: &ShareRoot,
        (cache, volumes): (&SharedCache, &Arc<Volumes>),
        others: bool,
        clock: Clock,
    ) -> Box<Self> {
        let began = clock.fine();
        let mut scratch = Aligned::default();
        while clock.within(began, JOB_MAX) {
            if let Some((file, hasher)) = self.current.take() {
                self.hash_piece(file, hasher, (cache, volumes), &mut scratch);
            } else if let Some(file) = self.files.pop_front() {
                self.find(file, share, (cache, volumes));
            } else if !others && let Some((file, hasher)) = self.large.take() {
                self.hash_piece(file, hasher, (cache, volumes), &mut scratch);
            } else {
                break;
            }
        }
        self.pending = cache.lock(volumes).pending();
        self
    }

    fn find(&mut self, file: ScannedFile, share: &ShareRoot, (cache, volumes): (&SharedCache, &Arc<Volumes>)) {
        let known = cache.lock(volumes).get(&file.meta);
        if let Some(b3) = known {
            return self.done.push(HashedFile { file, outcome: Ok(b3) });
        }
        match FileHasher::open(share, &file) {
            Ok(hasher) => self.set_reading(file, Box::new(hasher)),
            Err(fault) => self.done.push(HashedFile { file, outcome: Err(fault) }),
        }
    }

    fn hash_piece(
        &mut self,
        file: ScannedFile,
        mut hasher: Box<FileHasher>,
        (cache, volumes): (&SharedCache, &Arc<Volumes>),
        scratch: &mut Aligned,
    ) {
        scratch.resize(PIECE_BYTES);
        let outcome = match hasher.step(PIECE_BYTES, scratch) {
            Ok(None) => return self.set_reading(file, hasher),
            Ok(Some((b3, chain))) => {
                cache.lock(volumes).put(file.meta, b3, chain);
                Ok(b3)
            }
            Err(fault) => Err(fault),
        };
        self.done.push(HashedFile { file, outcome });
    }

    /// Continues a file with the next piece, or, if it is large, after all others.
    fn set_reading(&mut self, file: ScannedFile, hasher: Box<FileHasher>) {
        let is_large = file.meta.size > LARGE_BYTES && self.large.is_none();
        let place = if is_large { &mut self.large } else { &mut self.current };
        *place = Some((file, hasher));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::FileMeta;

    #[test]
    fn files_of_a_share_that_was_replaced_are_given_up_at_whatever_stage_they_are() {
        let scratch = tempfile::tempdir().unwrap();
        let names = ["a", "music/large", "music/read", "music/waiting", "musical"];
        std::fs::create_dir(scratch.path().join("music")).unwrap();
        let share = ShareRoot::open(scratch.path()).unwrap();
        let [a, large, read, waiting, musical] = names.map(|name| {
            std::fs::write(scratch.path().join(name), name).unwrap();
            let name = FileName::from_bytes(name.as_bytes()).unwrap();
            let meta: FileMeta = *share.open_file(&name).unwrap().meta();
            ScannedFile { name, meta, executable: false }
        });
        let open = |file: &ScannedFile| Some((file.clone(), Box::new(FileHasher::open(&share, file).unwrap())));
        let mut work = HashWork {
            files: [a.clone(), waiting.clone(), musical.clone()].into(),
            current: open(&read),
            large: open(&large),
            ..HashWork::default()
        };
        assert_eq!(work.forget(&[FileName::from_bytes(b"music").unwrap()]).len(), 2);
        assert_eq!(work.unknown(), [a, musical]);
        let given_up: Vec<_> = work.done.iter().map(|done| (&done.file, &done.outcome)).collect();
        let missing = Err(DiskFault::Missing);
        assert_eq!(given_up, [(&waiting, &missing), (&read, &missing), (&large, &missing)]);
    }
}

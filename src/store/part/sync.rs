//! Syncing a part file, in a job that may run in another thread during further writes.

use crate::content::{Digest, GroupHasher, Outline, group_span};
use crate::fault::DiskFault;
use crate::store::disk::{self, BLOCK_BYTES, fault};
use crate::store::reserve::Room;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Bytes that are read and hashed at once: they stay in the cache of the processor, and are no mapping of the allocator's.
const READ_BYTES: usize = 64 << 10;

/// Whether space for the whole part file is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allocation {
    Wanted,
    Done,
    /// The filesystem cannot.
    Unsupported,
}

/// Whether a part file is to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncDue {
    /// Nothing is to be synced.
    Not,
    /// Few groups: together with the rest, when it is time.
    WithRest,
    Now,
}

/// Allocates space, syncs written groups, and hashes them again as the file has them. Waits for the disk. If it is dropped, the ledger makes another.
#[derive(Debug)]
pub(crate) struct SyncJob {
    pub(super) part: File,
    pub(super) journal: File,
    /// If the journal's name is to be synced too.
    pub(super) directory: Option<OwnedFd>,
    pub(super) allocate: Option<u64>,
    pub(super) outline: Arc<Outline>,
    /// What it syncs.
    pub(super) groups: Vec<u64>,
    pub(super) job: Job,
}

impl SyncJob {
    /// Allocates space if needed; then syncs the data, then the journal; then reads the data.
    /// Errors: as the system reports them; [`DiskFault::Full`] if there is no space above the reserve. Groups whose data were
    /// lost are unverified with the next call of the part file.
    pub(crate) fn run(self) -> Result<Synced, DiskFault> {
        let allocation = self.allocate.map(|len| self.allocate(len)).transpose()?;
        disk::sync(&self.part).inspect_err(|_| self.job.lose_data())?;
        disk::sync(&self.journal)?;
        if let Some(directory) = &self.directory {
            disk::sync_directory(directory.as_fd()).map_err(fault)?;
        }
        // One that is wrong, or cannot be read, is left to the check of the whole file.
        let right = |group: &u64| {
            group_digest(&self.part, &self.outline, *group)
                .is_ok_and(|found| Some(found) == self.outline.expected(*group))
        };
        let rechecked = self.groups.iter().copied().filter(right).collect();
        Ok(Synced { allocation, rechecked, job: self.job })
    }

    fn allocate(&self, len: u64) -> Result<Allocation, DiskFault> {
        // Other programs may have used the space since the outline was set.
        let taken = self.part.metadata()?.blocks().saturating_mul(BLOCK_BYTES);
        Room::of(&self.part)?.take(len.saturating_sub(taken))?;
        match disk::allocate(&self.part, len) {
            Ok(true) => Ok(Allocation::Done),
            Ok(false) => Ok(Allocation::Unsupported),
            Err(errno) => Err(fault(errno)),
        }
    }
}

/// The result of a [`SyncJob`], for the part file that made it.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(super) allocation: Option<Allocation>,
    /// Groups whose bytes in the file are right, as read after they were synced.
    pub(super) rechecked: Vec<u64>,
    pub(super) job: Job,
}

/// Hashes a group of a part file.
/// Errors: as the system reports them; `UnexpectedEof` if the file is shorter.
pub(super) fn group_digest(part: &File, outline: &Outline, group: u64) -> io::Result<Digest> {
    let span = group_span(outline.size(), group);
    let mut hasher = GroupHasher::new(outline.size(), group);
    let mut buffer = vec![0; usize::try_from(span.end - span.start).unwrap_or(READ_BYTES).min(READ_BYTES)];
    for at in span.clone().step_by(READ_BYTES) {
        let bytes = buffer.len().min(usize::try_from(span.end - at).unwrap_or(READ_BYTES));
        part.read_exact_at(&mut buffer[..bytes], at)?;
        hasher.update(&buffer[..bytes]);
    }
    Ok(hasher.finish())
}

/// One sync, shared by the ledger, the [`SyncJob`] and its result.
#[derive(Debug, Clone)]
pub(in crate::store) struct Job {
    /// The number of unsynced groups that it covers, from the first on.
    pub(super) covered: usize,
    /// Records of the journal whose groups are synced when it has ended.
    pub(super) records: u64,
    /// It syncs the present journal and its name: the journal was not replaced meanwhile.
    pub(super) is_for_journal: bool,
    lost_data: Arc<AtomicBool>,
}

impl Job {
    pub(super) fn new(covered: usize, records: u64) -> Self {
        Self { covered, records, is_for_journal: true, lost_data: Arc::default() }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lost_data, &other.lost_data)
    }

    /// True when the job and its result were dropped: it failed or never ran.
    pub(super) fn is_over(&self) -> bool {
        let is_over = Arc::strong_count(&self.lost_data) == 1;
        // What the job has said of its data before it was dropped is seen by whoever sees that it was dropped.
        fence(Ordering::Acquire);
        is_over
    }

    pub(in crate::store) fn has_lost_data(&self) -> bool {
        self.lost_data.load(Ordering::Acquire)
    }

    /// For a ledger of another content: it syncs none of its groups.
    pub(super) fn for_nothing(self) -> Self {
        Self { covered: 0, records: 0, is_for_journal: false, ..self }
    }

    pub(super) fn lose_data(&self) {
        self.lost_data.store(true, Ordering::Release);
    }
}

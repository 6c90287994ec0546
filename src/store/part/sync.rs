//! Bringing a part file to the disk, in a job that may run elsewhere while more is written.

use crate::fault::DiskFault;
use crate::store::disk::{self, BLOCK_BYTES, fault};
use crate::store::reserve::Room;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the disk has set aside what the part file is to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allocation {
    Wanted,
    Done,
    /// It does not know how: space is taken as it is written.
    Unsupported,
}

/// Has the filesystem set space aside and syncs what was written: it waits for the disk, so it may run in a helper
/// thread. Dropped instead of run, it is made again.
#[derive(Debug)]
pub(crate) struct SyncJob {
    pub(super) part: File,
    pub(super) journal: File,
    /// When the journal's name is to be synced too.
    pub(super) directory: Option<OwnedFd>,
    pub(super) allocate: Option<u64>,
    pub(super) job: Job,
}

impl SyncJob {
    /// Sets space aside if that was not done yet; then syncs the data, then the journal.
    ///
    /// # Errors
    /// As the system reports them; [`DiskFault::Full`] when there is no space above the reserve. Groups whose data were
    /// lost do not count from the next call on the part file on.
    pub(crate) fn run(self) -> Result<Synced, DiskFault> {
        let allocation = self.allocate.map(|len| self.allocate(len)).transpose()?;
        disk::sync(&self.part).inspect_err(|_| self.job.lose_data())?;
        disk::sync(&self.journal)?;
        if let Some(directory) = &self.directory {
            disk::sync_directory(directory.as_fd()).map_err(fault)?;
        }
        Ok(Synced { allocation, job: self.job })
    }

    fn allocate(&self, len: u64) -> Result<Allocation, DiskFault> {
        // Others may have taken the room since the outline was set.
        let taken = self.part.metadata()?.blocks().saturating_mul(BLOCK_BYTES);
        Room::of(&self.part)?.take(len.saturating_sub(taken))?;
        match disk::allocate(&self.part, len) {
            Ok(true) => Ok(Allocation::Done),
            Ok(false) => Ok(Allocation::Unsupported),
            Err(errno) => Err(fault(errno)),
        }
    }
}

/// What a [`SyncJob`] brought; to be given to the part file that made it.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(super) allocation: Option<Allocation>,
    pub(super) job: Job,
}

/// One job, as the ledger, the job and its outcome know it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Job {
    /// How many of the groups that are not synced it covers: the first.
    pub(super) covered: usize,
    /// So many records of the journal are of groups that are synced when it is through.
    pub(super) records: u64,
    /// It syncs the present journal and its name: no other has taken the place of that one.
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

    /// Whether nobody else knows of it any more: it failed, or was never run.
    pub(super) fn is_over(&self) -> bool {
        Arc::strong_count(&self.lost_data) == 1
    }

    /// Whether the system said that it could not write the data.
    pub(in crate::store) fn has_lost_data(&self) -> bool {
        self.lost_data.load(Ordering::Acquire)
    }

    fn lose_data(&self) {
        self.lost_data.store(true, Ordering::Release);
    }
}

//! Syncing a part file, in a job that may run in another thread during further writes.

use crate::aligned::Aligned;
use crate::content::{ContentHasher, Digest, GroupHasher, Outline, group_span};
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
    /// One group is written at once.
    Unneeded,
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

/// Syncs what is written, and hashes it as the file has it then. Waits for the disk. If it is dropped, the part file makes another.
#[derive(Debug)]
pub(crate) struct SyncJob {
    /// With a descriptor of its own: the lock of the part file ends while this is running.
    pub(super) part: File,
    pub(super) content: SyncContent,
    pub(super) job: Job,
}

/// What a [`SyncJob`] syncs.
#[derive(Debug)]
pub(super) enum SyncContent {
    Groups(GroupsSync),
    /// The beginning of a stream, up to `end`; its hash goes on, unless it was lost.
    Stream {
        hasher: Option<Box<ContentHasher>>,
        end: u64,
    },
}

#[derive(Debug)]
pub(super) struct GroupsSync {
    pub(super) journal: Arc<File>,
    /// If the journal's name is to be synced too.
    pub(super) directory: Option<Arc<OwnedFd>>,
    /// The space to be allocated.
    pub(super) allocate: Option<u64>,
    pub(super) outline: Arc<Outline>,
    /// What is synced.
    pub(super) groups: Vec<u64>,
}

impl SyncJob {
    /// Allocates space if needed; then syncs the data, then the journal; then reads the data.
    /// Errors: as the system reports them; [`DiskFault::Full`] if there is no space above the reserve. Groups whose data were
    /// lost are unverified with the next call of the part file.
    pub(crate) fn run(self) -> Result<Synced, DiskFault> {
        let Self { part, content, job } = self;
        let sync_data = || disk::sync(&part).inspect_err(|_| job.lose_data());
        match content {
            SyncContent::Groups(groups) => {
                let allocation = groups.allocate.map(|len| allocate(&part, len)).transpose()?;
                sync_data()?;
                groups.sync_journal()?;
                let rechecked = groups.recheck(&part);
                Ok(Synced { allocation, rechecked, hasher: None, job })
            }
            SyncContent::Stream { hasher, end } => {
                sync_data()?;
                let hasher = hasher.and_then(|hasher| hash_to(&part, hasher, end));
                Ok(Synced { allocation: None, rechecked: Vec::new(), hasher, job })
            }
        }
    }
}

impl GroupsSync {
    fn sync_journal(&self) -> Result<(), DiskFault> {
        disk::sync(&self.journal)?;
        match &self.directory {
            Some(directory) => disk::sync_directory(directory.as_fd()).map_err(fault),
            None => Ok(()),
        }
    }

    /// Those that the file has right. One that is wrong, or cannot be read, is left to the check of the whole file.
    fn recheck(&self, part: &File) -> Vec<u64> {
        let right = |group: &u64| {
            group_digest(part, &self.outline, *group).is_ok_and(|found| Some(found) == self.outline.expected(*group))
        };
        self.groups.iter().copied().filter(right).collect()
    }
}

/// What cannot be read is left to the check of the whole file.
fn hash_to(part: &File, mut hasher: Box<ContentHasher>, end: u64) -> Option<Box<ContentHasher>> {
    let mut buffer = Aligned::zeroed(READ_BYTES);
    read_on(part, &mut hasher, end, &mut buffer, usize::MAX).ok().map(|_| hasher)
}

/// Hashes about `bytes_max` bytes more of the first `size`. Returns whether that was all.
pub(super) fn read_on(
    part: &File,
    hasher: &mut ContentHasher,
    size: u64,
    buffer: &mut [u8],
    bytes_max: usize,
) -> Result<bool, DiskFault> {
    let mut left = bytes_max.max(1);
    while hasher.size() < size {
        if left == 0 {
            return Ok(false);
        }
        let rest = usize::try_from(size - hasher.size()).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left).min(rest);
        match part.read_at(&mut buffer[..wanted], hasher.size()) {
            Ok(0) => return Err(DiskFault::Shrank),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                left -= read;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn allocate(part: &File, len: u64) -> Result<Allocation, DiskFault> {
    // Other programs may have used the space since the outline was set.
    let taken = part.metadata()?.blocks().saturating_mul(BLOCK_BYTES);
    Room::of(part)?.take(len.saturating_sub(taken))?;
    match disk::allocate(part, len) {
        Ok(true) => Ok(Allocation::Done),
        Ok(false) => Ok(Allocation::Unsupported),
        Err(errno) => Err(fault(errno)),
    }
}

/// The result of a [`SyncJob`], for the part file that made it.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(super) allocation: Option<Allocation>,
    /// Groups whose bytes in the file are right, as read after they were synced.
    pub(super) rechecked: Vec<u64>,
    /// Of the stream that was synced.
    pub(super) hasher: Option<Box<ContentHasher>>,
    pub(super) job: Job,
}

/// Hashes a group of a part file.
/// Errors: as the system reports them; `UnexpectedEof` if the file is shorter.
pub(super) fn group_digest(part: &File, outline: &Outline, group: u64) -> io::Result<Digest> {
    let span = group_span(outline.size(), group);
    let mut hasher = GroupHasher::new(outline.size(), group);
    let mut buffer = Aligned::zeroed(usize::try_from(span.end - span.start).unwrap_or(READ_BYTES).min(READ_BYTES));
    for at in span.clone().step_by(READ_BYTES) {
        let bytes = buffer.len().min(usize::try_from(span.end - at).unwrap_or(READ_BYTES));
        part.read_exact_at(&mut buffer[..bytes], at)?;
        hasher.update(&buffer[..bytes]);
    }
    Ok(hasher.finish())
}

/// One sync, shared by the part file, the [`SyncJob`] and its result.
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

//! The end of a part file: the check of the whole of it, in slices, and its final name, without replacing an existing file.
//!
//! A file is complete and synced before it gets its name. Several that are ready at once are named together: one sync of a directory
//! makes the names of all in it durable.

use super::PartFile;
use super::sync::{Job, group_digest, read_on};
use crate::aligned::Aligned;
use crate::content::{ChainHasher, ContentHasher, Digest, GROUP_BYTES, Outline};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::part::{CheckedPart, CommittedPart};
use crate::store::claim::rename_without_replacing;
use crate::store::disk::{self, fault};
use crate::store::execution;
use crate::store::place::{Held, Place};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const READ_BYTES: usize = 128 * 1024;

const COMPARE_BYTES: usize = 128 * 1024;

/// A check in progress. Nothing may be written to the part file meanwhile.
///
/// What was read already after it had been synced is not read again.
#[derive(Debug)]
pub(crate) struct PartCheck {
    size: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// A stream. The hasher has the beginning already.
    Stream {
        hasher: Box<ContentHasher>,
        buffer: Aligned,
    },
    Groups {
        outline: Arc<Outline>,
        next: u64,
        bad: BTreeSet<u64>,
        found: Found,
    },
}

/// The hash of the bytes in the file.
#[derive(Debug)]
enum Found {
    /// Of a content of at most one group.
    Whole(ContentHash),
    Chain(Box<ChainHasher>),
}

impl PartCheck {
    pub(super) fn of_stream(size: u64, hasher: Box<ContentHasher>) -> Self {
        let bytes = usize::try_from(size).unwrap_or(READ_BYTES).min(READ_BYTES);
        Self { size, work: Work::Stream { hasher, buffer: Aligned::zeroed(bytes) } }
    }

    pub(super) fn of_groups(outline: &Arc<Outline>) -> Self {
        let found = match outline.group_count() {
            // An empty content has no group.
            0 | 1 => Found::Whole(outline.b3()),
            _ => Found::Chain(Box::default()),
        };
        let work = Work::Groups { outline: Arc::clone(outline), next: 0, bad: BTreeSet::new(), found };
        Self { size: outline.size(), work }
    }

    /// Reads about `bytes_max` further bytes, and a group at least. `None` until all are read.
    /// Errors: as the system reports them; [`DiskFault::Shrank`] if the file was truncated, [`DiskFault::Changed`] if it was
    /// given another outline meanwhile.
    pub(crate) fn step(&mut self, part: &mut PartFile, bytes_max: usize) -> Result<Option<CheckedPart>, DiskFault> {
        if part.len() != self.size {
            return Err(DiskFault::Changed);
        }
        let size = self.size;
        match &mut self.work {
            Work::Stream { hasher, buffer } => {
                if !read_on(&part.held, hasher, size, buffer, bytes_max)? {
                    return Ok(None);
                }
                let (b3, _) = std::mem::take(&mut **hasher).finish();
                Ok(Some(CheckedPart { b3, size, bad: Vec::new() }))
            }
            Work::Groups { outline, next, bad, found } => {
                let mut left = bytes_max.max(1) as u64;
                while *next < outline.group_count() {
                    if left == 0 {
                        return Ok(None);
                    }
                    let expected = outline.expected(*next);
                    let is_known = part.ledger().is_some_and(|ledger| ledger.is_rechecked(*next));
                    let digest = match expected {
                        Some(digest) if is_known => digest,
                        _ => {
                            left = left.saturating_sub(GROUP_BYTES);
                            group_digest(&part.held, outline, *next).map_err(read_fault)?
                        }
                    };
                    if Some(&digest) != expected.as_ref() {
                        bad.insert(*next);
                    }
                    match (&mut *found, digest) {
                        (Found::Whole(b3), Digest::Content(digest)) => *b3 = digest,
                        (Found::Chain(chain), Digest::Chaining(value)) => chain.push(value),
                        _ => {}
                    }
                    *next += 1;
                }
                let b3 = match found {
                    Found::Whole(b3) => *b3,
                    Found::Chain(chain) => std::mem::take(&mut **chain).finish().unwrap_or(outline.b3()),
                };
                let bad = part.record_check(bad)?;
                Ok(Some(CheckedPart { b3, size, bad }))
            }
        }
    }
}

fn read_fault(error: io::Error) -> DiskFault {
    if error.kind() == io::ErrorKind::UnexpectedEof { DiskFault::Shrank } else { error.into() }
}

/// The last step of a download. Dropped instead of run, it closes the part file.
#[derive(Debug)]
pub(crate) struct CommitJob {
    pub(super) place: Place,
    pub(super) held: Held,
    pub(super) len: u64,
    pub(super) complete: bool,
    pub(super) job: Option<Job>,
}

/// A file under its final name, which is not synced.
#[derive(Debug)]
struct Renamed {
    place: Place,
    /// Locked until the end.
    _held: Held,
    name: Vec<u8>,
    /// It had the content already, and the part file is removed.
    already: bool,
}

/// Directories that were synced, by device and inode, and whether that has failed.
type SyncedDirectories = BTreeMap<(u64, u64), Result<(), Errno>>;

/// Syncs part files and renames them; then syncs each directory once, and removes the journals. The results are in the order of the
/// jobs. Waits for the disk.
///
/// If a final name has a file of the same content already, the part file is removed instead.
/// Errors: [`DiskFault::Exists`] if all final names are taken by other content; [`DiskFault::Missing`] if another program
/// removed the part file or moved its directory; [`DiskFault::Changed`] if groups are missing; otherwise as the system
/// reports. Then no file of ours has a final name, and the next attempt finds part file and
/// journal as far as they were there.
pub(crate) fn commit_all(jobs: Vec<CommitJob>) -> Vec<Result<CommittedPart, DiskFault>> {
    // All are named before the first directory is synced.
    let renamed: Vec<_> = jobs.into_iter().map(CommitJob::rename).collect();
    let mut synced = SyncedDirectories::new();
    renamed.into_iter().map(|renamed| renamed?.end(&mut synced)).collect()
}

impl CommitJob {
    /// Commits this part file alone.
    #[cfg(test)]
    pub(crate) fn run(self) -> Result<CommittedPart, DiskFault> {
        commit_all(vec![self]).remove(0)
    }

    /// Syncs the file, and gives it its final name.
    fn rename(self) -> Result<Renamed, DiskFault> {
        if !self.complete {
            return Err(DiskFault::Changed);
        }
        // A failed write, or an earlier and longer stream, may have left bytes behind the end.
        if self.held.metadata()?.len() != self.len {
            disk::set_len(&self.held, self.len)?;
        }
        if self.place.executable {
            // Some filesystems have no such bit.
            let _ = execution::allow(&self.held);
        }
        disk::sync(&self.held)?;
        if self.job.as_ref().is_some_and(Job::has_lost_data) {
            // Linux reports a write error to one sync only: here to the earlier one.
            return Err(fault(Errno::EIO));
        }
        let part_name = self.place.part_name();
        if !self.place.holds_name(&part_name, &self.held)? || !self.place.is_at_its_path()? {
            return Err(DiskFault::Missing);
        }
        let (name, already) = self.take_name(&part_name)?;
        if already {
            disk::unlink(self.place.directory(), &part_name).map_err(fault)?;
        }
        Ok(Renamed { place: self.place, _held: self.held, name, already })
    }

    /// Renames the part file to the first free final name, unless one before it has the same content. Returns the name, and
    /// whether it has.
    fn take_name(&self, part_name: &[u8]) -> Result<(Vec<u8>, bool), DiskFault> {
        for name in self.place.final_names() {
            match rename_without_replacing(&self.place, part_name, &name) {
                Ok(()) => return Ok((name, false)),
                Err(Errno::EEXIST) if self.is_same(&name)? => return Ok((name, true)),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(fault(errno)),
            }
        }
        Err(DiskFault::Exists)
    }

    /// Whether a name is a regular file with our bytes; syncs it then.
    fn is_same(&self, name: &[u8]) -> Result<bool, DiskFault> {
        let Some(found) = self.place.open_regular(name, self.len)? else { return Ok(false) };
        let is_same = have_equal_bytes(&self.held, &found, self.len)?;
        if is_same {
            found.sync_all()?;
        }
        Ok(is_same)
    }
}

impl Renamed {
    /// Makes the name durable, or takes it back.
    fn end(self, synced: &mut SyncedDirectories) -> Result<CommittedPart, DiskFault> {
        let Self { place, name, already, .. } = &self;
        if let Err(errno) = sync_once(place, synced) {
            if !already {
                let _ = rename_without_replacing(place, name, &place.part_name());
            }
            return Err(fault(errno));
        }
        // Only now, since a restart after an earlier crash needs them. Left over after a crash now, they do no harm.
        if !matches!(place.remove_journals(), Ok(false)) {
            let _ = disk::sync_directory(place.directory());
        }
        Ok(CommittedPart { path: place.path_of(name), already: *already })
    }
}

/// Syncs the directory of a place, unless that was done.
fn sync_once(place: &Place, synced: &mut SyncedDirectories) -> Result<(), Errno> {
    let found = fstat(&place.directory)?;
    // The types differ between platforms.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "needed on other platforms")]
    let key = (found.st_dev as u64, found.st_ino as u64);
    *synced.entry(key).or_insert_with(|| disk::sync_directory(place.directory()))
}

/// Compares the first `len` bytes of two files. A second file that is shorter is different.
fn have_equal_bytes(ours: &File, theirs: &File, len: u64) -> io::Result<bool> {
    let (mut one, mut two) = (Aligned::zeroed(COMPARE_BYTES), Aligned::zeroed(COMPARE_BYTES));
    let mut at = 0;
    while at < len {
        let bytes = usize::try_from(len - at).unwrap_or(COMPARE_BYTES).min(COMPARE_BYTES);
        ours.read_exact_at(&mut one[..bytes], at)?;
        match theirs.read_exact_at(&mut two[..bytes], at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            outcome => outcome?,
        }
        if one[..bytes] != two[..bytes] {
            return Ok(false);
        }
        at += bytes as u64;
    }
    Ok(true)
}

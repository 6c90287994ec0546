//! Part files: what a download grows in, hidden beside the place where it is to end, and kept until it has got there.
//!
//! A part file is known by the name that it is to have and by a token, and belongs to whoever holds its lock. It grows
//! in one of two ways: as a *stream* from its start, of which nothing is known, or by *groups* of an outline, each
//! checked before it is written. Then a journal beside it says which groups hold the right bytes; whoever opens the
//! part file again, after a crash too, goes on from there. Whatever a crash takes, no group counts that holds other
//! bytes:
//!
//! 1. a group's data are written before its record, so a process that dies leaves every recorded group whole;
//! 2. records count by themselves only up to a mark, which follows the syncing of their data; groups recorded after it are
//!    hashed again when the part file is opened, since power loss may have taken their data;
//! 3. a journal names its part file by inode and size: of a file of another inode or size each group is hashed again; and
//!    before a part file takes data of another content, the journal of the old one is gone for good.
//!
//! A group that was verified stays verified whatever anybody claims of the same content: an outline that says something
//! else of it is refused.
//!
//! What waits for the disk is a job that may run in a helper thread. [`PartRequest::open`] and [`PartRequest::remove`]
//! may wait too.
//!
//! | module | holds |
//! |---|---|
//! | `journal` | the journal's format |
//! | `ledger` | the groups that count, in memory and in the journal |
//! | `sync` | bringing it to the disk |
//! | `probe` | looking whether a place is good
//! | `removal` | removing it |
//! | `check` | reading it from end to end |

mod check;
pub(super) mod journal;
mod ledger;
mod probe;
mod removal;
pub(super) mod sync;
#[cfg(test)]
pub(super) mod tests;

pub(crate) use check::PartCheck;
pub(crate) use sync::{SyncJob, Synced};

use super::claim;
use super::commit::CommitJob;
use super::disk::{self, BLOCK_BYTES, fault};
use super::mount::{DirectoryMount, KnownMounts, may_be_same};
use super::place::{Final, Held, JournalFile, Place};
use super::reserve::{Room, Watch};
use crate::content::{Groups, Outline};
use crate::fault::DiskFault;
use crate::id::{ContentHash, FilesystemId};
use crate::part::PartSpec;
use journal::Loaded;
use ledger::Ledger;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which part file, and what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartRequest {
    pub spec: PartSpec,
    /// The content wanted, if it is known: a part file of another content starts again.
    pub b3: Option<ContentHash>,
    /// Bytes, if known: they must leave the reserve free.
    pub size: Option<u64>,
    /// Directories that were in use.
    pub known: Arc<KnownMounts>,
}

/// Why a part file does not take an outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutlineRefused {
    /// It contradicts a verified group: the peer that sent it lies.
    Contradicted,
    Disk(DiskFault),
}

impl From<DiskFault> for OutlineRefused {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

impl From<io::Error> for OutlineRefused {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.into())
    }
}

#[derive(Debug)]
pub(crate) enum PartOpened {
    Ready(PartFile),
    /// A file of the hash and size wanted stands at the final name, or a numbered form of it. There is no part file.
    AlreadyThere(PathBuf),
}

impl PartRequest {
    /// Creates the part file, or resumes the one that is there from its journal. Waits for the disk: reads
    /// what stands at the final name if it has the size wanted, and the groups that a crash may have taken.
    /// Errors: [`DiskFault::Exists`] when the final name is taken, or that of the part file by something else;
    /// [`DiskFault::Missing`] when the directory is not there; [`DiskFault::NotMounted`] when the part file is gone,
    /// and the directory is on another filesystem than it was; [`DiskFault::EmptyMountPoint`] when the filesystem on
    /// which the directory was does not seem to be mounted; [`DiskFault::Full`] when the size would touch the reserve;
    /// `EBUSY` when another process holds the part file; otherwise as the system reports.
    pub(crate) fn open(self) -> Result<PartOpened, DiskFault> {
        let place = Place::open(&self.spec)?;
        let filesystem = place.filesystem()?;
        let directory = place.directory_path();
        if let Some(known) = self.known.get(directory)
            && known.is_missing_at(directory)?
        {
            return Err(DiskFault::EmptyMountPoint);
        }
        if self.spec.filesystem.is_some_and(|before| !may_be_same(before, filesystem)) && !place.has_part()? {
            return Err(DiskFault::NotMounted);
        }
        claim::resolve(&place)?;
        let final_path = match place.find_final(self.b3.zip(self.size))? {
            Final::Free(path) => path,
            Final::Same(path) => {
                // A crash may have left them. A process that holds them will remove them.
                let _ = removal::remove_at(&place);
                return Ok(PartOpened::AlreadyThere(path));
            }
        };
        let new_bytes = self.size.unwrap_or(0).saturating_sub(place.allocated_bytes()?);
        Room::of(place.directory())?.take(new_bytes)?;
        let held = place.claim()?;
        let state = match load(&place, &held, self.b3)? {
            Some(loaded) => State::Groups(Box::new(Ledger::resume(&place, &held, loaded)?)),
            None => {
                // Bytes of another content may come into the part file, so its journal may not come back.
                place.remove_journals()?;
                disk::sync_directory(place.directory()).map_err(fault)?;
                State::stream()
            }
        };
        // It is told for the next time. Where it cannot be, nothing is known then.
        let mount = DirectoryMount::of(place.directory_path()).ok();
        Ok(PartOpened::Ready(PartFile { place, held, final_path, filesystem, mount, state, watch: Watch::default() }))
    }
}

/// Reads the journal, if it is one of the content wanted. A part file of another inode may be another file, or the same on
/// a filesystem that numbers files again at every mount (FAT, exFAT, FUSE); one of another size was cut, or had another
/// outline when the power went: then each group is to be hashed.
fn load(place: &Place, part: &File, wanted: Option<ContentHash>) -> Result<Option<Loaded>, DiskFault> {
    let JournalFile::Regular(file) = place.open_journal()? else { return Ok(None) };
    let (inode, size) = (disk::inode(part)?, part.metadata()?.len());
    let is_wanted = |loaded: &Loaded| wanted.is_none_or(|b3| b3 == loaded.outline.b3());
    let mut loaded = journal::load(&file)?.filter(is_wanted);
    if let Some(loaded) = &mut loaded
        && (loaded.inode != inode || loaded.outline.size() != size)
    {
        loaded.inode = inode;
        loaded.unsynced = loaded.verified.iter().collect();
    }
    Ok(loaded)
}

/// A part file, exclusively ours until it is committed, closed or dropped. Dropping closes it.
#[derive(Debug)]
pub(crate) struct PartFile {
    place: Place,
    held: Held,
    final_path: PathBuf,
    filesystem: FilesystemId,
    mount: Option<DirectoryMount>,
    state: State,
    watch: Watch,
}

#[derive(Debug)]
enum State {
    /// From its start, so far.
    Stream { len: u64, no_groups: Groups },
    /// By groups of an outline.
    Groups(Box<Ledger>),
}

impl State {
    fn stream() -> Self {
        Self::Stream { len: 0, no_groups: Groups::default() }
    }
}

impl PartFile {
    /// The path it will have when it is committed, unless that is taken meanwhile.
    pub(crate) fn final_path(&self) -> &Path {
        &self.final_path
    }

    pub(crate) fn filesystem(&self) -> FilesystemId {
        self.filesystem
    }

    /// The directory that it lies in, and where the filesystem of that is mounted, if this is known.
    pub(crate) fn directory(&self) -> Option<(&Path, &DirectoryMount)> {
        Some((self.place.directory_path(), self.mount.as_ref()?))
    }

    /// What it is to hold, if that is known.
    pub(crate) fn outline(&self) -> Option<&Arc<Outline>> {
        self.ledger().map(Ledger::outline)
    }

    /// The groups that hold the right bytes; without an outline a set of none.
    pub(crate) fn verified(&self) -> &Groups {
        match &self.state {
            State::Stream { no_groups, .. } => no_groups,
            State::Groups(ledger) => ledger.verified(),
        }
    }

    /// Bytes: of the outline, or appended to the stream.
    pub(crate) fn len(&self) -> u64 {
        match &self.state {
            State::Stream { len, .. } => *len,
            State::Groups(ledger) => ledger.outline().size(),
        }
    }

    /// Says what it is to hold. Of the same content what is verified stays so; of another one its journal starts again,
    /// and nothing is verified. The bytes that are there stay; [`PartFile::begin_check`] finds out which of them are
    /// right.
    ///
    /// Waits for the disk only where an outline is replaced.
    /// Errors: [`OutlineRefused::Contradicted`] by a verified group. [`DiskFault::Full`] when the size would touch the
    /// reserve; otherwise as the system reports. Then an outline from before is still in force, or there is none; a
    /// stream has to start again.
    pub(crate) fn set_outline(&mut self, outline: Arc<Outline>) -> Result<(), OutlineRefused> {
        if self.outline() == Some(&outline) {
            return Ok(());
        }
        let is_same_content = self.outline().is_some_and(|before| before.b3() == outline.b3());
        if is_same_content && self.ledger().is_some_and(|ledger| ledger.contradicts(&outline)) {
            return Err(OutlineRefused::Contradicted);
        }
        Room::of(self.place.directory())?.take(outline.size().saturating_sub(self.allocated_bytes()?))?;
        if !is_same_content && self.ledger().is_some() {
            self.place.remove_journals()?;
            disk::sync_directory(self.place.directory()).map_err(fault)?;
            self.state = State::stream();
        }
        let set = match &mut self.state {
            State::Groups(ledger) => ledger.replace_outline(&self.place, &self.held, outline),
            State::Stream { .. } => Ledger::begin(&self.place, &self.held, outline)
                .map(|ledger| self.state = State::Groups(Box::new(ledger))),
        };
        set.inspect_err(|_| self.fall_back())?;
        self.watch = Watch::default();
        Ok(())
    }

    /// Makes good what an outline that could not be set may have done to the file's length.
    fn fall_back(&mut self) {
        match &mut self.state {
            State::Stream { len, .. } => *len = 0,
            // If this fails, the journal does not fit the part file any more, and a check restores it.
            State::Groups(ledger) => drop(disk::set_len(&self.held, ledger.outline().size())),
        }
    }

    /// Writes a group of the outline whose hash the caller has checked, and then enters it in the journal. False: it
    /// counts already, and nothing was written.
    /// Errors: as the system reports them: then it does not count. `EINVAL` without an outline, or for bytes that are
    /// not as many as the group has.
    pub(crate) fn write_group(&mut self, group: u64, bytes: &[u8]) -> Result<bool, DiskFault> {
        let State::Groups(ledger) = &mut self.state else { return Err(fault(Errno::EINVAL)) };
        if !ledger.is_allocated() && !ledger.verified().contains(group) {
            self.watch.before(&*self.held, bytes.len() as u64, bytes.len() as u64)?;
        }
        ledger.write_group(&self.place, &self.held, group, bytes)
    }

    /// Begins a stream at the start of the file. What an earlier one left there stays until it is written over.
    /// Errors: `EINVAL` with an outline: what comes unchecked is no part of it.
    pub(crate) fn restart(&mut self) -> Result<(), DiskFault> {
        let State::Stream { len, .. } = &mut self.state else { return Err(fault(Errno::EINVAL)) };
        *len = 0;
        Ok(())
    }

    /// Appends to the stream: all the bytes or, on an error, none as far as [`PartFile::len`] and the committed file
    /// go.
    /// Errors: [`DiskFault::Full`] when the reserve would be touched, which is looked at every 16 MiB, or no space is
    /// left; `EINVAL` with an outline; otherwise as the system reports.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), DiskFault> {
        let allocated = self.allocated_bytes()?;
        let State::Stream { len, .. } = &mut self.state else { return Err(fault(Errno::EINVAL)) };
        let count = bytes.len() as u64;
        let new = (*len + count).saturating_sub(allocated).min(count);
        self.watch.before(&*self.held, count, new)?;
        disk::write_at(&self.held, bytes, *len)?;
        *len += count;
        Ok(())
    }

    /// Makes a job that brings the part file to the disk, when one is due and none is out: until space is set aside for
    /// the outline, and whenever 16 groups are not synced; with `rest` also for a single group.
    pub(crate) fn sync_job(&mut self, rest: bool) -> Option<SyncJob> {
        let State::Groups(ledger) = &mut self.state else { return None };
        ledger.sync_job(&self.place, &self.held, rest)
    }

    /// Enters in the journal what a job has brought to the disk.
    /// Errors: as the system reports them; then the same groups are due again.
    pub(crate) fn synced(&mut self, synced: Synced) -> Result<(), DiskFault> {
        match &mut self.state {
            State::Stream { .. } => Ok(()),
            State::Groups(ledger) => ledger.synced(synced),
        }
    }

    /// Begins to read it from end to end.
    pub(crate) fn begin_check(&mut self) -> Result<PartCheck, DiskFault> {
        let size = self.len();
        // Another program may have cut it: the groups that are gone are found to be bad.
        if self.outline().is_some() && self.held.metadata()?.len() < size {
            disk::set_len(&self.held, size)?;
        }
        Ok(PartCheck::new(size))
    }

    /// Makes the job that gives the file its final name.
    pub(crate) fn commit(self) -> CommitJob {
        let len = self.len();
        let (complete, job) = match self.state {
            State::Stream { .. } => (true, None),
            State::Groups(mut ledger) => {
                ledger.reap_failed_sync(&self.place, &self.held);
                (ledger.verified().is_full(), ledger.job().cloned())
            }
        };
        CommitJob { place: self.place, held: self.held, len, complete, job }
    }

    /// Closes it. File and journal stay.
    pub(crate) fn close(mut self) {
        if let State::Groups(ledger) = &mut self.state {
            ledger.reap_failed_sync(&self.place, &self.held);
        }
    }

    /// Removes file and journal. A very large file takes its time.
    pub(crate) fn discard(self) {
        let name = self.place.part_name();
        let is_ours = self.place.holds_name(&name, &self.held).unwrap_or(false);
        if is_ours && disk::unlink(self.place.directory(), &name).is_ok() {
            // Without its part file it says nothing.
            let _ = self.place.remove_journals();
        }
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.held.metadata()?.blocks().saturating_mul(BLOCK_BYTES))
    }

    fn ledger(&self) -> Option<&Ledger> {
        match &self.state {
            State::Stream { .. } => None,
            State::Groups(ledger) => Some(ledger),
        }
    }

    /// Enters what a check has found, and returns the groups that do not count.
    fn enter_check(&mut self, bad: &BTreeSet<u64>) -> Result<Vec<u64>, DiskFault> {
        match &mut self.state {
            State::Stream { .. } => Ok(Vec::new()),
            State::Groups(ledger) => ledger.checked(&self.place, &self.held, bad),
        }
    }
}

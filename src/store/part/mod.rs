//! Part files: hidden files in the target directory that hold an unfinished download.
//!
//! A part file is identified by its final name and a token, and locked by its user. It is either a *stream* from its
//! start, unverified, or consists of *groups* of an outline, each verified before it is written. Then a journal beside
//! it records the verified groups, so that a later opening, also after a crash, resumes. After any crash, no group with
//! wrong bytes counts as verified:
//!
//! 1. a group's data are written before its record, so every recorded group is complete after a crash of the process;
//! 2. records count without a check only up to a mark, which follows the syncing of their data; groups recorded after it
//!    are hashed again when the part file is opened;
//! 3. a journal names its part file by inode and size: if these differ, each group is hashed again; and before a part
//!    file takes data of another content, the old journal is removed and the removal synced.
//!
//! A verified group stays verified: an outline of the same content that contradicts it is refused.
//!
//! | module | holds |
//! |---|---|
//! | `journal` | the journal's format |
//! | `ledger` | the verified groups, in memory and in the journal |
//! | `stream` | what there is of a stream, and how much of it is synced and hashed |
//! | `opening` | opening a part file |
//! | `sync` | syncing |
//! | `probe` | checking whether a file can be created at a target |
//! | `removal` | removing a part file |
//! | `copy` | a part file that becomes a copy of a shared file |
//! | `finish` | the check of a whole part file, and its final name |

mod copy;
mod directories;
mod finish;
pub(super) mod journal;
mod ledger;
mod opening;
mod probe;
mod removal;
mod stream;
mod sync;
#[cfg(test)]
pub(super) mod tests;

pub(crate) use copy::PartCopy;
pub(crate) use finish::{PartCheck, commit_all};
pub(crate) use sync::{SyncDue, SyncJob, Synced};

use super::disk::{self, BLOCK_BYTES, fault};
use super::mount::{DirectoryMount, KnownMounts};
use super::place::{Held, Place};
use super::reserve::{Room, Watch};
use crate::content::{Groups, Outline};
use crate::fault::DiskFault;
use crate::id::{ContentHash, FilesystemId};
use crate::part::PartSpec;
use finish::CommitJob;
use ledger::Ledger;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use stream::Stream;

/// Which part file, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartRequest {
    pub spec: PartSpec,
    /// The content wanted, if it is known: a part file of another content starts again.
    pub b3: Option<ContentHash>,
    /// In bytes, if known.
    pub size: Option<u64>,
    /// Directories that were in use.
    pub known: Arc<KnownMounts>,
}

/// Why a part file does not take an outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutlineRefused {
    /// It contradicts a verified group: the peer that sent it is wrong.
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
    /// A final name has a file of the wanted hash and size. There is no part file.
    AlreadyThere(PathBuf),
}

/// A locked part file. Dropping closes it.
#[derive(Debug)]
pub(crate) struct PartFile {
    place: Place,
    held: Held,
    final_path: PathBuf,
    pub(crate) filesystem: FilesystemId,
    mount: Option<DirectoryMount>,
    state: State,
    watch: Watch,
    /// Times that its state was looked at.
    looks: u64,
}

#[derive(Debug)]
enum State {
    Stream(Box<Stream>),
    Groups(Box<Ledger>),
}

impl PartFile {
    /// The path after the commit, unless that is taken meanwhile.
    pub(crate) fn final_path(&self) -> &Path {
        &self.final_path
    }

    /// The directory and its mount, if this is known.
    pub(crate) fn directory(&self) -> Option<(&Path, &DirectoryMount)> {
        Some((self.place.base_path(), self.mount.as_ref()?))
    }

    pub(crate) fn outline(&self) -> Option<&Arc<Outline>> {
        self.ledger().map(Ledger::outline)
    }

    /// The verified groups; none without an outline.
    pub(crate) fn verified(&self) -> &Groups {
        match &self.state {
            State::Stream(stream) => stream.no_groups(),
            State::Groups(ledger) => ledger.verified(),
        }
    }

    /// The size by the outline, or of the stream so far.
    pub(crate) fn len(&self) -> u64 {
        match &self.state {
            State::Stream(stream) => stream.len(),
            State::Groups(ledger) => ledger.outline().size(),
        }
    }

    /// Sets the outline. For the same content verified groups stay so; for another one the journal starts again without any.
    /// The bytes stay; [`PartFile::begin_check`] finds out which are right.
    ///
    /// Waits for the disk only if it replaces an outline.
    /// Errors: [`OutlineRefused::Contradicted`] by a verified group; [`DiskFault::Full`] if the size would use the reserve;
    /// otherwise as the system reports. Then the old outline stays, or there is none and a stream has to start again.
    pub(crate) fn set_outline(&mut self, outline: Arc<Outline>) -> Result<(), OutlineRefused> {
        if self.outline() == Some(&outline) {
            return Ok(());
        }
        let is_same_content = self.outline().is_some_and(|before| before.b3() == outline.b3());
        if is_same_content && self.ledger().is_some_and(|ledger| ledger.contradicts(&outline)) {
            return Err(OutlineRefused::Contradicted);
        }
        Room::of(self.place.directory())?.take(outline.size().saturating_sub(self.allocated_bytes()?))?;
        if !is_same_content && let State::Groups(ledger) = &mut self.state {
            self.place.remove_journals()?;
            disk::sync_directory(self.place.directory()).map_err(fault)?;
            self.state = State::Stream(Box::new(Stream::after(ledger.leave_job())));
        }
        let set = match &mut self.state {
            State::Groups(ledger) => ledger.replace_outline(&self.place, &self.held, outline),
            State::Stream(stream) => {
                let earlier = stream.job().cloned();
                Ledger::begin(&self.place, &self.held, outline)
                    .map(|ledger| self.state = State::Groups(Box::new(ledger.after(earlier))))
            }
        };
        set.inspect_err(|_| self.fall_back())?;
        self.watch = Watch::default();
        Ok(())
    }

    /// Restores the file's length after an outline could not be set.
    fn fall_back(&mut self) {
        match &mut self.state {
            State::Stream(stream) => stream.restart(),
            // If this fails, the journal does not match the part file, and a check repairs that.
            State::Groups(ledger) => drop(disk::set_len(&self.held, ledger.outline().size())),
        }
    }

    /// Writes a group whose hash the caller has verified, and records it in the journal. False if it was verified already:
    /// nothing is written then.
    /// Errors: as the system reports them: then it is not verified. `EINVAL` without an outline, or for a wrong length.
    pub(crate) fn write_group(&mut self, group: u64, bytes: &[u8]) -> Result<bool, DiskFault> {
        let State::Groups(ledger) = &mut self.state else { return Err(fault(Errno::EINVAL)) };
        if !ledger.is_allocated() && !ledger.verified().contains(group) {
            self.watch.before(&*self.held, bytes.len() as u64, bytes.len() as u64)?;
        }
        ledger.write_group(&self.place, &self.held, group, bytes)
    }

    /// Begins a stream at the start of the file.
    /// Errors: `EINVAL` with an outline, which a stream must not overwrite.
    pub(crate) fn restart(&mut self) -> Result<(), DiskFault> {
        let State::Stream(stream) = &mut self.state else { return Err(fault(Errno::EINVAL)) };
        stream.restart();
        Ok(())
    }

    /// Appends to the stream: all the bytes or, on an error, none.
    /// Errors: [`DiskFault::Full`] if the reserve would be used (checked every 16 MiB), or no space is left; `EINVAL` with an
    /// outline; otherwise as the system reports.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), DiskFault> {
        let allocated = self.allocated_bytes()?;
        let State::Stream(stream) = &mut self.state else { return Err(fault(Errno::EINVAL)) };
        let count = bytes.len() as u64;
        let new = (stream.len() + count).saturating_sub(allocated).min(count);
        self.watch.before(&*self.held, count, new)?;
        disk::write_at(&self.held, bytes, stream.len())?;
        stream.grow(count);
        Ok(())
    }

    /// A number that orders what is said of its state.
    pub(crate) fn count_look(&mut self) -> u64 {
        self.looks += 1;
        self.looks
    }

    /// Whether verified groups have ceased to be so since the last call.
    pub(crate) fn take_shrunk(&mut self) -> bool {
        match &mut self.state {
            State::Stream(_) => false,
            State::Groups(ledger) => ledger.take_shrunk(),
        }
    }

    pub(crate) fn sync_due(&self) -> SyncDue {
        match &self.state {
            State::Stream(stream) => stream.sync_due(),
            State::Groups(ledger) => ledger.sync_due(),
        }
    }

    /// Returns a sync job if one is due and none is running: if space is to be allocated, or 16 groups or as many bytes of a stream
    /// are unsynced; with `rest` also for a single group.
    pub(crate) fn sync_job(&mut self, rest: bool) -> Option<SyncJob> {
        match &mut self.state {
            State::Stream(stream) => stream.sync_job(&self.held),
            State::Groups(ledger) => ledger.sync_job(&self.place, &self.held, rest),
        }
    }

    /// Records the result of a sync job, of groups in the journal.
    /// Errors: as the system reports them; then the same groups are due again.
    pub(crate) fn synced(&mut self, synced: Synced) -> Result<(), DiskFault> {
        match &mut self.state {
            State::Stream(stream) => {
                stream.synced(synced);
                Ok(())
            }
            State::Groups(ledger) => ledger.synced(synced),
        }
    }

    pub(crate) fn begin_check(&mut self) -> Result<PartCheck, DiskFault> {
        match &mut self.state {
            State::Stream(stream) => Ok(PartCheck::of_stream(stream.len(), stream.take_hasher())),
            State::Groups(ledger) => {
                let outline = ledger.outline();
                // If another program truncated it, the check finds these groups to be bad.
                if self.held.metadata()?.len() < outline.size() {
                    disk::set_len(&self.held, outline.size())?;
                }
                Ok(PartCheck::of_groups(outline))
            }
        }
    }

    /// Returns the job that gives the file its final name, for [`commit_all`].
    pub(crate) fn commit(self) -> CommitJob {
        let len = self.len();
        let (complete, job) = match self.state {
            State::Stream(stream) => (true, stream.job().cloned()),
            State::Groups(mut ledger) => {
                ledger.reap_failed_sync(&self.place, &self.held);
                (ledger.verified().is_full(), ledger.job().cloned())
            }
        };
        CommitJob { place: self.place, held: self.held, len, complete, job }
    }

    /// File and journal stay.
    pub(crate) fn close(mut self) {
        if let State::Groups(ledger) = &mut self.state {
            ledger.reap_failed_sync(&self.place, &self.held);
        }
    }

    /// Removes file and journal. Slow for a very large file.
    /// Errors: as the system reports them; then it is unknown what is left.
    pub(crate) fn discard(self) -> Result<(), DiskFault> {
        let name = self.place.part_name();
        if !self.place.holds_name(&name, &self.held)? {
            return Ok(());
        }
        disk::unlink(self.place.directory(), &name).map_err(fault)?;
        self.place.remove_journals()?;
        // The part file that is created next has no journal, and relies on that.
        disk::sync_directory(self.place.directory()).map_err(fault)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.held.metadata()?.blocks().saturating_mul(BLOCK_BYTES))
    }

    fn ledger(&self) -> Option<&Ledger> {
        match &self.state {
            State::Stream(_) => None,
            State::Groups(ledger) => Some(ledger),
        }
    }

    /// Records the result of a check. Returns the groups that are not verified.
    fn record_check(&mut self, bad: &BTreeSet<u64>) -> Result<Vec<u64>, DiskFault> {
        match &mut self.state {
            State::Stream(_) => Ok(Vec::new()),
            State::Groups(ledger) => ledger.checked(&self.place, &self.held, bad),
        }
    }
}

//! Opening a part file: it is created, or resumed from its journal.

use super::journal::{self, Loaded};
use super::ledger::needs_journal;
use super::{Ledger, PartFile, PartOpened, PartRequest, State, removal};
use crate::content::Outline;
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::part::Target;
use crate::store::claim;
use crate::store::descent::Missing;
use crate::store::disk::{self, fault};
use crate::store::mount::{DirectoryMount, filesystem_of, may_be_same};
use crate::store::place::{Final, JournalFile, Place};
use crate::store::reserve::{Room, Watch};
use crate::store::usable::tell_sandbox;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// How often opening a part file is tried while directories on the way to it are removed.
const OPEN_TRIES_MAX: u32 = 4;

impl PartRequest {
    /// The directory of the part file, or one that exists above it.
    pub(crate) fn directory(&self) -> &Path {
        match &self.spec.target {
            Target::Suggested { directory, .. } | Target::Within { directory, .. } => directory,
            Target::Exact { path, .. } => path.parent().unwrap_or(path),
        }
    }

    /// Creates the part file, or resumes it from its journal. Waits for the disk: reads files at the final names if they have
    /// the wanted size, and groups that a crash may have lost.
    /// Errors: [`DiskFault::Exists`] if the final names are taken, unless the content is not known and the part file was open
    /// before, or if the part file's is taken by something else;
    /// [`DiskFault::Missing`] if there is no directory; [`DiskFault::NotMounted`] if there is no part file, and the directory
    /// is on another filesystem than before; [`DiskFault::EmptyMountPoint`] if the directory's filesystem seems not to
    /// be mounted; [`DiskFault::Full`] if the size would use the reserve; `EBUSY` if another process holds the part file;
    /// otherwise as the system reports.
    pub(crate) fn open(self) -> Result<PartOpened, DiskFault> {
        let mut opened = self.try_open();
        let mut tries = 1;
        while tries < OPEN_TRIES_MAX
            && matches!(opened, Err(DiskFault::Missing))
            && matches!(self.spec.target, Target::Within { .. })
        {
            // A directory on the way was empty, and was removed with what another download had there.
            opened = self.try_open();
            tries += 1;
        }
        opened.map_err(|fault| tell_sandbox(fault, Place::directory_of(&self.spec)))
    }

    fn try_open(&self) -> Result<PartOpened, DiskFault> {
        if let Target::Within { directory, path, .. } = &self.spec.target {
            // Before directories are created in it.
            self.check_mount(directory)?;
            let here = filesystem_of(File::open(directory)?)?;
            if self.spec.filesystem.is_some_and(|before| !may_be_same(before, here))
                && Place::within(directory, path.as_bytes(), Missing::Refused, 0).is_err()
            {
                return Err(DiskFault::NotMounted);
            }
        }
        let place = Place::open(&self.spec)?;
        let filesystem = place.filesystem()?;
        self.check_mount(place.base_path())?;
        if self.spec.filesystem.is_some_and(|before| !may_be_same(before, filesystem)) && !place.has_part()? {
            return Err(DiskFault::NotMounted);
        }
        claim::resolve(&place)?;
        let content = self.b3.zip(self.size);
        let final_path = match place.find_final(content) {
            // It may be this download's own file, which had got its name before a crash: the commit compares the bytes.
            Err(DiskFault::Exists) if content.is_none() && self.spec.filesystem.is_some() => {
                place.final_names().next().map_or_else(|| self.spec.target.path(), |name| place.path_of(&name))
            }
            Err(fault) => return Err(fault),
            Ok(Final::Free(path)) => path,
            Ok(Final::Same(path)) => {
                // Left by a crash. If another process holds it, that one removes it.
                let _ = removal::remove_at(&place);
                return Ok(PartOpened::AlreadyThere(path));
            }
        };
        // A download that has had a part file records its filesystem.
        let is_first = self.spec.filesystem.is_none() && !place.has_part()?;
        let new_bytes = self.size.unwrap_or(0).saturating_sub(place.allocated_bytes()?);
        Room::of(place.directory())?.take(new_bytes)?;
        let held = place.claim()?;
        let state = match load(&place, &held, self.b3)? {
            Some(loaded) => State::Groups(Box::new(Ledger::resume(&place, &held, loaded)?)),
            None => {
                // A crash must not restore a journal: bytes of another content may follow. Of a part file that was not there
                // before nothing can be restored.
                if place.remove_journals()? || !is_first {
                    disk::sync_directory(place.directory()).map_err(fault)?;
                }
                match if is_first { None } else { self.recover(&held)? } {
                    Some(ledger) => State::Groups(Box::new(ledger)),
                    None => State::Stream(Box::default()),
                }
            }
        };
        let mount = DirectoryMount::of(place.base_path()).ok();
        Ok(PartOpened::Ready(PartFile {
            place,
            held,
            final_path,
            filesystem,
            mount,
            state,
            watch: Watch::default(),
            looks: 0,
        }))
    }

    /// The content wanted, if it is of one group and the part file has it already: its hash says what a journal would.
    fn recover(&self, part: &File) -> Result<Option<Ledger>, DiskFault> {
        let Some((b3, size)) = self.b3.zip(self.size) else { return Ok(None) };
        let Ok(outline) = Outline::new(b3, size, Vec::new()) else { return Ok(None) };
        if needs_journal(&outline) || part.metadata()?.len() != size {
            return Ok(None);
        }
        Ok(Ledger::recover(part, Arc::new(outline))?)
    }

    pub(super) fn check_mount(&self, directory: &Path) -> Result<(), DiskFault> {
        match self.known.get(directory) {
            Some(known) if known.is_missing_at(directory)? => Err(DiskFault::EmptyMountPoint),
            _ => Ok(()),
        }
    }
}

/// Reads the journal, if it is of the wanted content. If the inode or size of the part file differs, each group is to be hashed:
/// it may be another file, or was given new numbers by a mount (FAT, exFAT, FUSE), or was truncated, or had another outline
/// at a power loss.
fn load(place: &Place, part: &File, wanted: Option<ContentHash>) -> Result<Option<Loaded>, DiskFault> {
    let JournalFile::Regular(file) = place.open_journal()? else { return Ok(None) };
    let (inode, size) = (disk::inode(part)?, part.metadata()?.len());
    // Earlier versions had one for one group, too.
    let is_wanted =
        |loaded: &Loaded| wanted.is_none_or(|b3| b3 == loaded.outline.b3()) && needs_journal(&loaded.outline);
    let mut loaded = journal::load(&file)?.filter(is_wanted);
    if let Some(loaded) = &mut loaded
        && (loaded.inode != inode || loaded.outline.size() != size)
    {
        loaded.inode = inode;
        loaded.unsynced = loaded.verified.iter().collect();
    }
    Ok(loaded)
}

//! Giving a finished part file its final name, without replacing an existing file.

use super::claim::rename_without_replacing;
use super::disk::{self, fault};
use super::part::sync::Job;
use super::place::{Held, Place};
use crate::fault::DiskFault;
use crate::part::CommittedPart;
use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const COMPARE_BYTES: usize = 128 * 1024;

/// The last step of a download. Waits for the disk. Dropped instead of run, it closes the part file.
#[derive(Debug)]
pub(crate) struct CommitJob {
    pub(super) place: Place,
    pub(super) held: Held,
    pub(super) len: u64,
    pub(super) complete: bool,
    pub(super) job: Option<Job>,
}

impl CommitJob {
    /// Syncs the file, renames it, syncs the directory and removes the journal.
    ///
    /// If a final name has a file of the same content already, the part file is removed instead.
    /// Errors: [`DiskFault::Exists`] if all final names are taken by other content; [`DiskFault::Missing`] if another program
    /// removed the part file or moved its directory; [`DiskFault::Changed`] if groups are missing; otherwise as the system
    /// reports. Then no file of ours has a final name, and the next attempt finds part file and
    /// journal as far as they were there.
    pub(crate) fn run(self) -> Result<CommittedPart, DiskFault> {
        if !self.complete {
            return Err(DiskFault::Changed);
        }
        // A failed write, or an earlier and longer stream, may have left bytes behind the end.
        if self.held.metadata()?.len() != self.len {
            disk::set_len(&self.held, self.len)?;
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
        let (name, already) = self.land(&part_name)?;
        if already {
            disk::unlink(self.place.directory(), &part_name).map_err(fault)?;
        } else if let Err(errno) = disk::sync_directory(self.place.directory()) {
            let _ = rename_without_replacing(&self.place, &name, &part_name);
            return Err(fault(errno));
        }
        // Only now, since a restart after an earlier crash needs them. Left over after a crash now, they do no harm.
        let _ = self.place.remove_journals();
        let _ = disk::sync_directory(self.place.directory());
        Ok(CommittedPart { path: self.place.path_of(&name), already })
    }

    /// Renames the part file to the first free final name, unless one before it has the same content. Returns the name, and
    /// whether it has.
    fn land(&self, part_name: &[u8]) -> Result<(Vec<u8>, bool), DiskFault> {
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

/// Compares the first `len` bytes of two files. A second file that is shorter is different.
fn have_equal_bytes(ours: &File, theirs: &File, len: u64) -> io::Result<bool> {
    let (mut one, mut two) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
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

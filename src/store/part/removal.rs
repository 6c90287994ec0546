//! Removing a part file that is not open.

use super::super::claim;
use super::super::mount::{filesystem_above, may_be_same};
use super::PartRequest;
use crate::fault::DiskFault;
use crate::part::Target;
use crate::store::disk::{self, fault};
use crate::store::place::Place;

impl PartRequest {
    /// Removes the part file and its journal, if they exist. Waits for the disk.
    /// Errors: `EBUSY` if another process holds the part file; [`DiskFault::NotMounted`] if there is none, and its directory is
    /// on another filesystem than before; otherwise as the system reports.
    pub(crate) fn remove(self) -> Result<(), DiskFault> {
        let mut was_there = false;
        for place in Place::open_all(&self.spec) {
            match place {
                Ok(place) => was_there |= remove_at(&place)?,
                Err(DiskFault::Missing | DiskFault::NotDirectory) => {}
                Err(fault) => return Err(fault),
            }
        }
        let (Target::Suggested { directory: at, .. }
        | Target::Within { directory: at, .. }
        | Target::Exact { path: at, .. }) = &self.spec.target;
        if let Target::Within { directory, path, .. } = &self.spec.target
            && was_there
        {
            Place::remove_empty(directory, path);
        }
        match self.spec.filesystem {
            Some(before) if !was_there && !may_be_same(before, filesystem_above(at)?) => Err(DiskFault::NotMounted),
            _ => Ok(()),
        }
    }
}

/// Returns whether there was a part file.
pub(super) fn remove_at(place: &Place) -> Result<bool, DiskFault> {
    claim::resolve(place)?;
    let was_there = match place.claim_existing() {
        // Locked until it is removed, so that no other process opens it meanwhile.
        Ok(Some(_held)) => disk::unlink(place.directory(), &place.part_name()).map_err(fault)?,
        // Not ours.
        Ok(None) | Err(DiskFault::Exists) => false,
        Err(fault) => return Err(fault),
    };
    match place.remove_journals() {
        Ok(_) | Err(DiskFault::Exists) => {}
        Err(fault) => return Err(fault),
    }
    // The record of the download is removed next: a part file that power loss restores would be an orphan.
    disk::sync_directory(place.directory()).map_err(fault)?;
    Ok(was_there)
}

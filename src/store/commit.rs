//! Giving a finished part file its final name, without ever replacing what stands there.

use super::part::{Part, fault, numbered};
use crate::fault::DiskFault;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The rest of a download: it waits for the disk, so it may run in a helper thread. Dropping it instead of running it
/// removes the part file.
#[derive(Debug)]
pub struct CommitJob {
    part: Part,
    len: u64,
}

impl CommitJob {
    pub(super) fn new(part: Part, len: u64) -> Self {
        Self { part, len }
    }

    /// Syncs the file, renames it and syncs the directory. Returns the final path.
    ///
    /// # Errors
    /// [`DiskFault::Exists`] when the name, or for a suggested name every numbered form of it, is taken;
    /// [`DiskFault::Missing`] when somebody removed the part file; otherwise as the system reports. Then nothing of
    /// ours stands under the final name, and the part file is gone.
    pub fn run(mut self) -> Result<PathBuf, DiskFault> {
        let part = &mut self.part;
        // An append that failed half-way may have left a tail.
        if part.file.metadata()?.len() != self.len {
            part.file.set_len(self.len)?;
        }
        part.file.sync_all()?;
        let part_name = part.standing.clone().unwrap_or_default();
        if !part.stands_at(&part_name) {
            return Err(DiskFault::Missing);
        }
        let name = land(part, &part_name).map_err(fault)?;
        // From here on it is the final name that an error removes.
        part.standing = Some(name.clone());
        sync_directory(part.place.directory.as_fd()).map_err(fault)?;
        part.standing = None;
        Ok(part.place.directory_path.join(OsStr::from_bytes(&name)))
    }
}

/// Renames the part file to the first name of its place that is free, which it returns.
fn land(part: &Part, part_name: &[u8]) -> Result<Vec<u8>, Errno> {
    let directory = part.place.directory.as_fd();
    for number in 0..=part.place.number_max {
        let name = numbered(&part.place.name, number);
        match rename_without_replacing(directory, part_name, &name) {
            Ok(()) => return Ok(name),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EEXIST)
}

/// Renames within a directory; `EEXIST` when the name is taken.
fn rename_without_replacing(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    match rename_noreplace(directory, from, to) {
        // The filesystem, the kernel or the C library does not know the flag.
        Err(Errno::EINVAL | Errno::ENOSYS) => link_and_unlink(directory, from, to),
        outcome => outcome,
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_noreplace(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    use nix::fcntl::{RenameFlags, renameat2};
    renameat2(directory, from, directory, to, RenameFlags::RENAME_NOREPLACE)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_noreplace(_: BorrowedFd<'_>, _: &[u8], _: &[u8]) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

/// A link never replaces anything either, it only takes two steps.
fn link_and_unlink(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    linkat(directory, from, directory, to, AtFlags::empty())?;
    unlinkat(directory, from, UnlinkatFlags::NoRemoveDir).inspect_err(|_| {
        // Of two names one must go, and the final one may not stand after an error.
        let _ = unlinkat(directory, to, UnlinkatFlags::NoRemoveDir);
    })
}

/// Makes a rename last. Some filesystems cannot sync a directory, and need not.
fn sync_directory(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    match fsync(directory) {
        Err(Errno::EINVAL | Errno::ENOTSUP | Errno::ENOSYS) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::fs;

    #[test]
    fn a_link_takes_the_place_of_a_rename_and_replaces_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = open(scratch.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        fs::write(scratch.path().join("part"), b"new").unwrap();
        fs::write(scratch.path().join("taken"), b"old").unwrap();
        for rename in [link_and_unlink, rename_without_replacing] {
            assert_eq!(rename(directory.as_fd(), b"part", b"taken"), Err(Errno::EEXIST));
            assert_eq!(rename(directory.as_fd(), b"missing", b"free"), Err(Errno::ENOENT));
        }
        assert_eq!(link_and_unlink(directory.as_fd(), b"part", b"free"), Ok(()));
        assert_eq!(rename_without_replacing(directory.as_fd(), b"free", b"last"), Ok(()));
        assert_eq!(fs::read(scratch.path().join("taken")).unwrap(), b"old");
        assert_eq!(fs::read(scratch.path().join("last")).unwrap(), b"new");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
    }
}

//! Renaming without replacing an existing file, as far as the filesystem can.
//!
//! Uses the first of these that the filesystem supports: a rename that replaces nothing; a hard link; or a *claim* (vboxsf,
//! exfat-fuse, s3fs): a file of ours records which name is being taken, the name is created exclusively as an empty file, and
//! the rename replaces that. After a crash in between, the claim shows at the next opening of the part file that the
//! empty file is ours, and [`resolve`] removes it.

use super::disk::{self, fault};
use super::place::Place;
use super::{file_type, stat_at};
use crate::fault::DiskFault;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

/// The longest file name.
const CLAIM_BYTES_MAX: u64 = 255;

/// Renames within the directory of a place.
/// Errors: as the system reports them, `EEXIST` if the name is taken. Then the file has its old name.
pub(super) fn rename_without_replacing(place: &Place, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    rename_at_once(place.directory(), from, to).unwrap_or_else(|| claim_and_rename(place, from, to))
}

/// The same within a directory, where the filesystem can do it by itself; else `None`.
pub(super) fn rename_at_once(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Option<Result<(), Errno>> {
    match rename_noreplace(directory, from, to) {
        // The filesystem, the kernel or the C library does not know the flag.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {}
        outcome => return Some(outcome),
    }
    match link_and_unlink(directory, from, to) {
        // There are no hard links, or none for us.
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL) => None,
        outcome => Some(outcome),
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_noreplace(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    use nix::fcntl::{RenameFlags, renameat2};
    #[cfg(test)]
    if super::tests::recorder::lacks_exclusive_names() {
        return Err(Errno::EINVAL);
    }
    renameat2(directory, from, directory, to, RenameFlags::RENAME_NOREPLACE)?;
    #[cfg(test)]
    super::tests::recorder::note_rename(from, to);
    Ok(())
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_noreplace(_: BorrowedFd<'_>, _: &[u8], _: &[u8]) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

/// A link replaces nothing either.
fn link_and_unlink(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    #[cfg(test)]
    if super::tests::recorder::lacks_exclusive_names() {
        return Err(Errno::EPERM);
    }
    linkat(directory, from, directory, to, AtFlags::empty())?;
    unlinkat(directory, from, UnlinkatFlags::NoRemoveDir).inspect_err(|_| {
        // After an error the final name must not exist.
        let _ = unlinkat(directory, to, UnlinkatFlags::NoRemoveDir);
    })
}

/// On success the claim stays: it may be removed only after the rename is synced.
fn claim_and_rename(place: &Place, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    match stat_at(place.directory(), to) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    write_claim(place, to)?;
    create_and_rename(place, from, to).inspect_err(|_| {
        let _ = disk::unlink(place.directory(), &place.claim_name());
    })
}

fn write_claim(place: &Place, to: &[u8]) -> Result<(), Errno> {
    let name = place.claim_name();
    disk::unlink(place.directory(), &name)?;
    let file = create(place, &name)?;
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    disk::write_at(&file, to, 0).map_err(errno)?;
    disk::sync(&file).map_err(errno)?;
    disk::sync_directory(place.directory())
}

fn create_and_rename(place: &Place, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    drop(create(place, to)?);
    disk::rename(place.directory(), from, to).inspect_err(|_| {
        if is_empty_file(place, to) == Ok(true) {
            let _ = disk::unlink(place.directory(), to);
        }
    })
}

fn create(place: &Place, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(place.directory(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    disk::named(name, &file);
    Ok(file)
}

/// Removes a claim, and the empty file that it has left.
/// Errors: as the system reports them: then the claim stays.
pub(super) fn resolve(place: &Place) -> Result<(), DiskFault> {
    let Some(claimed) = read_claim(place)? else { return Ok(()) };
    let part = place.part_name();
    let is_ours = claimed == part || place.final_names().any(|name| name == claimed);
    // Without a part file the rename was done, and the file is the download.
    if is_ours && place.has_part()? && is_empty_file(place, &claimed).map_err(fault)? {
        disk::unlink(place.directory(), &claimed).map_err(fault)?;
        disk::sync_directory(place.directory()).map_err(fault)?;
    }
    disk::unlink(place.directory(), &place.claim_name()).map_err(fault)?;
    Ok(())
}

fn read_claim(place: &Place) -> Result<Option<Vec<u8>>, DiskFault> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match openat(place.directory(), place.claim_name().as_slice(), flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        // None, or not ours.
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::EACCES) => return Ok(None),
        Err(errno) => return Err(fault(errno)),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut claimed = Vec::new();
    file.take(CLAIM_BYTES_MAX + 1).read_to_end(&mut claimed)?;
    Ok(Some(claimed))
}

fn is_empty_file(place: &Place, name: &[u8]) -> Result<bool, Errno> {
    match stat_at(place.directory(), name) {
        Ok(found) => Ok(file_type(&found) == SFlag::S_IFREG && found.st_size == 0),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::open;
    use std::fs;
    use std::os::fd::AsFd;

    #[test]
    fn a_link_works_as_a_rename_and_replaces_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = open(scratch.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        fs::write(scratch.path().join("part"), b"new").unwrap();
        fs::write(scratch.path().join("taken"), b"old").unwrap();
        for rename in [link_and_unlink, rename_noreplace] {
            assert_eq!(rename(directory.as_fd(), b"part", b"taken"), Err(Errno::EEXIST));
            assert_eq!(rename(directory.as_fd(), b"missing", b"free"), Err(Errno::ENOENT));
        }
        assert_eq!(link_and_unlink(directory.as_fd(), b"part", b"free"), Ok(()));
        assert_eq!(rename_noreplace(directory.as_fd(), b"free", b"last"), Ok(()));
        assert_eq!(fs::read(scratch.path().join("taken")).unwrap(), b"old");
        assert_eq!(fs::read(scratch.path().join("last")).unwrap(), b"new");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
    }
}

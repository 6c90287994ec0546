//! The system calls that change a part file, its journal or their directory. Their order decides what a crash can leave: tests
//! record them, and inject faults.

use crate::fault::DiskFault;
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

#[cfg(test)]
use super::tests::recorder;

/// The unit of allocated space (stat(2)).
pub(super) const BLOCK_BYTES: u64 = 512;

pub(super) fn fault(errno: Errno) -> DiskFault {
    io::Error::from(errno).into()
}

/// By which a journal identifies its part file. Unique as long as the file exists.
pub(super) fn inode(file: &File) -> io::Result<u64> {
    let found = file.metadata()?.ino();
    #[cfg(test)]
    let found = recorder::alias(found);
    Ok(found)
}

pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(test)]
    recorder::fault(recorder::Call::Write)?;
    file.write_all_at(bytes, at)?;
    #[cfg(test)]
    recorder::note_write(file, bytes, at);
    Ok(())
}

/// Truncates a file, or extends it by a hole.
pub(super) fn set_len(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    recorder::fault(recorder::Call::SetLen)?;
    file.set_len(len)?;
    #[cfg(test)]
    recorder::note_len(file, len);
    Ok(())
}

pub(super) fn duplicate(file: &File) -> io::Result<File> {
    #[cfg(test)]
    recorder::fault(recorder::Call::Duplicate)?;
    file.try_clone()
}

/// Waits for the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    recorder::fault(recorder::Call::Sync).inspect_err(|_| recorder::note_failed_sync(file))?;
    file.sync_all()?;
    #[cfg(test)]
    recorder::note_sync(file);
    Ok(())
}

/// Has the next reads of these bytes come from the disk, if they are synced. Does nothing where the system cannot.
pub(super) fn forget_cached(file: &File, bytes: Range<u64>) {
    let span = (i64::try_from(bytes.start), i64::try_from(bytes.end - bytes.start));
    if let (Ok(at), Ok(count)) = span {
        let _ = posix_fadvise(file, at, count, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
    #[cfg(test)]
    recorder::lose_forgotten(file, &bytes);
}

/// Fails in tests that have a read fail.
pub(super) fn readable() -> io::Result<()> {
    #[cfg(test)]
    recorder::fault(recorder::Call::Read)?;
    Ok(())
}

/// Waits for the disk. Some filesystems cannot sync a directory, and need not.
pub(super) fn sync_directory(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    #[cfg(test)]
    recorder::fault(recorder::Call::SyncDirectory).map_err(|_| Errno::EIO)?;
    match fsync(directory) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOTSUP | Errno::ENOSYS) => {}
        Err(errno) => return Err(errno),
    }
    #[cfg(test)]
    recorder::note_sync_directory();
    Ok(())
}

/// Records the name of a new file, in tests.
pub(super) fn named(name: &[u8], file: &File) {
    #[cfg(test)]
    recorder::note_name(name, file);
    #[cfg(not(test))]
    let _ = (name, file);
}

pub(super) fn rename(directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    #[cfg(test)]
    recorder::fault(recorder::Call::Rename).map_err(|_| Errno::EIO)?;
    nix::fcntl::renameat(directory, from, directory, to)?;
    #[cfg(test)]
    recorder::note_rename(from, to);
    Ok(())
}

/// Removes a name, unless it is a directory. Returns whether it existed.
pub(super) fn unlink(directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    #[cfg(test)]
    recorder::note_unlink(name);
    Ok(true)
}

/// Allocates blocks for a file of `len` bytes, without changing its size. False if the filesystem cannot.
pub(super) fn allocate(file: &File, len: u64) -> Result<bool, Errno> {
    #[cfg(test)]
    recorder::fault(recorder::Call::Allocate).map_err(|_| Errno::ENOSPC)?;
    let len = i64::try_from(len).map_err(|_| Errno::EFBIG)?;
    loop {
        match allocate_once(file.as_fd(), len) {
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => return Ok(false),
            outcome => return outcome.map(|()| true),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate_once(file: BorrowedFd<'_>, len: i64) -> Result<(), Errno> {
    use nix::fcntl::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate_once(_: BorrowedFd<'_>, _: i64) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

//! Replacing a file atomically: a new one is written beside it, synced, and renamed over it, and the directory is synced. A
//! caller that must not block on the disk takes the steps one by one.

use super::disk;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

/// How our own files are opened: no links, and without waiting for the other end of a FIFO.
pub(super) const OPEN_FLAGS: OFlag =
    OFlag::O_CLOEXEC.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

#[derive(Clone, Copy)]
pub(super) struct Replacing<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) new: &'a [u8],
    pub(super) name: &'a [u8],
}

impl Replacing<'_> {
    /// Takes all steps.
    /// Errors: as the system reports them. Then the old file is unchanged, unless only syncing the directory failed.
    pub(super) fn replace(self, bytes: &[u8]) -> io::Result<()> {
        let file = self.write(bytes)?;
        disk::sync(&file).inspect_err(|_| self.discard())?;
        self.install()?;
        Ok(disk::sync_directory(self.directory)?)
    }

    /// Writes the new file; replaces what a crash left of an earlier one.
    /// Errors: as the system reports them; then no new file is left.
    pub(super) fn write(self, bytes: &[u8]) -> io::Result<File> {
        disk::unlink(self.directory, self.new)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OPEN_FLAGS;
        let file = File::from(openat(self.directory, self.new, flags, Mode::from_bits_truncate(0o600))?);
        disk::named(self.new, &file);
        disk::write_at(&file, bytes, 0).inspect_err(|_| self.discard())?;
        Ok(file)
    }

    /// Renames the new file over the old one.
    /// Errors: as the system reports them; then the old one stays, and the new one is removed.
    pub(super) fn install(self) -> Result<(), Errno> {
        disk::rename(self.directory, self.new, self.name).inspect_err(|_| self.discard())
    }

    pub(super) fn discard(self) {
        let _ = disk::unlink(self.directory, self.new);
    }
}

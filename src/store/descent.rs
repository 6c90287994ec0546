//! Directories beneath a directory of downloads, on the way to a file of a directory that is downloaded: opened, created and
//! removed one by one, so that no symbolic link leads elsewhere.

use super::disk::{self, fault};
use crate::fault::DiskFault;
use crate::name::COMPONENT_BYTES_MAX;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What becomes of a directory that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Created,
    /// [`DiskFault::Missing`].
    Refused,
}

/// The directories and the name of a path beneath a directory.
/// Errors: [`DiskFault::NotDirectory`] for a path that is not made of plain components.
pub(super) fn split(path: &[u8]) -> Result<(&[u8], &[u8]), DiskFault> {
    let is_plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    if !path.split(|&byte| byte == b'/').all(is_plain) {
        return Err(DiskFault::NotDirectory);
    }
    let slash = path.iter().rposition(|&byte| byte == b'/');
    Ok(slash.map_or((&[][..], path), |at| (&path[..at], &path[at + 1..])))
}

/// Opens the directory at a path that [`split`] gave; an empty one is the base.
pub(super) fn descend(base: Arc<OwnedFd>, above: &[u8], missing: Missing) -> Result<Arc<OwnedFd>, DiskFault> {
    let mut directory = base;
    for part in components(above) {
        if part.len() > COMPONENT_BYTES_MAX {
            return Err(fault(Errno::ENAMETOOLONG));
        }
        let next = match open(&directory, part) {
            Err(Errno::ENOENT) if missing == Missing::Created => {
                // The umask applies, as for every directory of the user.
                match mkdirat(&directory, part, Mode::from_bits_truncate(0o777)) {
                    // Another download may have been faster.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(fault(errno)),
                }
                // A file that is synced in it must not be lost with it.
                disk::sync_directory(directory.as_fd()).map_err(fault)?;
                open(&directory, part).map_err(of_component)?
            }
            opened => opened.map_err(of_component)?,
        };
        directory = Arc::new(next);
    }
    Ok(directory)
}

/// Removes the directories at a path that [`split`] gave, the deepest first, as far as they are empty.
pub(super) fn remove_empty(base: &Arc<OwnedFd>, above: &[u8]) {
    let mut path = above;
    while !path.is_empty() {
        let (upper, name) =
            path.iter().rposition(|&byte| byte == b'/').map_or((&[][..], path), |at| (&path[..at], &path[at + 1..]));
        let Ok(directory) = descend(Arc::clone(base), upper, Missing::Refused) else { return };
        if unlinkat(&directory, name, UnlinkatFlags::RemoveDir).is_err() {
            return;
        }
        path = upper;
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
}

fn open(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// A symbolic link is reported as one (`ELOOP`) or as no directory, depending on the system.
fn of_component(errno: Errno) -> DiskFault {
    if errno == Errno::ELOOP { DiskFault::NotDirectory } else { fault(errno) }
}

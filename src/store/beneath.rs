//! Opening what stands at a path beneath a directory.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A path must not leave the directory.
const BENEATH: ResolveFlag = ResolveFlag::RESOLVE_BENEATH
    .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS)
    .union(ResolveFlag::RESOLVE_NO_XDEV);

/// How often a lookup is tried that the kernel aborts because the tree changes.
const LOOKUP_TRIES_MAX: u32 = 4;

/// Opens a path beneath a directory, on the same mount and without links.
pub(super) fn open_beneath(directory: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    open(directory, path, flags, BENEATH)
}

/// Opens what a name in a directory leads to, wherever that is. The links of /proc that are no paths are not followed.
pub(super) fn open_led_to(directory: BorrowedFd<'_>, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    open(directory, name, flags, ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn open(directory: BorrowedFd<'_>, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    let mut outcome = Err(Errno::EAGAIN);
    for _ in 0..LOOKUP_TRIES_MAX {
        outcome = openat2(directory, path, how);
        if !matches!(outcome, Err(Errno::EAGAIN | Errno::EINTR)) {
            break;
        }
    }
    outcome
}

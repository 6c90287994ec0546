//! Files on disk: what is shared is found and opened beneath a root, what is downloaded grows in a part file, and what
//! the daemon remembers lies in its state directory.
//!
//! Owns every path that is opened. Refuses to leave the share (no symbolic links, no other mount, no `..`), to open
//! anything but regular files, to replace a file by a download, and to wait: a scan advances by entries, and what has
//! to wait for the disk (`fsync`) is a job that the caller may run elsewhere.
//!
//! | room | holds |
//! |---|---|
//! | `share` | the share's root, and opening beneath it |
//! | `scan` | a scan in progress |
//! | `part` | part files: claiming, writing, dropping |
//! | `commit` | giving a finished part file its final name |
//! | `hasher` | the content hash of a shared file, in slices |
//! | `cache` | hashes that are known already, across restarts |
//! | `state` | the state directory: one owner, whole files |

mod cache;
mod commit;
mod hasher;
mod part;
mod scan;
mod share;
mod state;

pub use cache::{CacheFault, FLUSH_ENTRIES_USUAL, FlushJob, Flushed, HashCache};
pub use commit::CommitJob;
pub use hasher::FileHasher;
pub use part::{PartFile, is_part_name};
pub use scan::{ScanStep, Scanner};
pub use share::{ShareRoot, make_share};
pub use state::{STATE_FILE_BYTES_MAX, StateDirectory, StateFault, WriteJob};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstatat};
use std::os::fd::BorrowedFd;

/// What stands at a name in a directory, symbolic links not followed and nothing mounted for the question.
fn stat_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<FileStat, Errno> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_NO_AUTOMOUNT)
}

/// The type of what was asked about.
fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

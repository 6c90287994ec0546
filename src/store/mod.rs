//! Files on disk: what is shared is found and opened beneath a root, what is downloaded grows in a part file, and what
//! the daemon remembers is kept in its state directory.
//!
//! Owns every path that is opened. Refuses to leave the share (no symbolic links, no other mount, no `..`), to open
//! anything but regular files, to replace a file by a download, and to wait: a scan advances by entries, and what has
//! to wait for the disk (`fsync`) is a job that the caller may run elsewhere, or says that it waits.
//!
//! | module | holds |
//! |---|---|
//! | `share` | the share's root, and opening beneath it |
//! | `scan` | a scan in progress |
//! | `own` | what a scan leaves out because it is the daemon's own |
//! | `volume` | filesystems under numbers that stay the same |
//! | `part` | part files and their journals |
//! | `place`, `disk` | the directory and the names of a download; the calls that change something there |
//! | `commit` | giving a finished part file its final name |
//! | `claim` | taking a name that nobody has, on any filesystem |
//! | `mount` | which filesystem a directory was on |
//! | `orphans` | part files that no download names |
//! | `hasher` | the content hash of a shared file, in slices |
//! | `cache` | hashes that are known already, across restarts |
//! | `reserve` | the room that downloads leave free |
//! | `state` | the state directory: one owner, whole files |
//! | `record_log` | a log of records in the state directory |
//! | `durable` | replacing a file, whole or not at all |
//! | `usable` | whether a directory can be used, asked beforehand; making one |

mod cache;
mod claim;
mod commit;
mod disk;
mod durable;
mod hasher;
mod mount;
#[cfg(test)]
#[path = "../../tests/common/not_tested.rs"]
mod not_tested;
mod orphans;
mod own;
mod part;
mod place;
mod record_log;
mod reserve;
mod scan;
mod share;
mod state;
#[cfg(test)]
mod tests;
mod usable;
mod volume;

pub(crate) use cache::{CacheFault, FLUSH_ENTRIES_USUAL, Flushed, HashCache};
pub(crate) use hasher::FileHasher;
pub(crate) use mount::{DirectoryMount, KnownMounts};
pub(crate) use orphans::{Orphan, OrphanKind, OrphanSearch, OrphansFound};
pub(crate) use own::OwnFiles;
pub(crate) use part::{OutlineRefused, PartCheck, PartFile, PartOpened, PartRequest, Synced};
pub(crate) use record_log::{LogDone, RECORD_BYTES_MAX, RecordLog};
pub(crate) use scan::Scanner;
pub(crate) use share::{ShareRoot, SharedFile};
pub use state::StateFault;
pub(crate) use state::{RECORDS_FILE, StateDirectory};
pub(crate) use usable::{check_readable_directory, check_writable_directory};

use crate::library::FileMeta;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstatat};
use std::os::fd::BorrowedFd;

/// What stands at a name in a directory, symbolic links not followed and nothing mounted for the question.
fn stat_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<FileStat, Errno> {
    #[cfg(test)]
    tests::tape::fault(tests::tape::Call::Stat).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_NO_AUTOMOUNT)
}

fn meta(stat: &FileStat) -> FileMeta {
    FileMeta {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

//! Files on disk: shared files beneath a root, part files of downloads, and the state directory.
//!
//! Owns every path that is opened. Never leaves the share (no symbolic links, no other mount, no `..`), opens only regular
//! files, and never replaces a file by a download. Calls that block on the disk are jobs for another thread, or are documented
//! as such ("Waits for the disk").
//!
//! | module | holds |
//! |---|---|
//! | `share` | the share's root, and opening beneath it |
//! | `scan` | a scan in progress |
//! | `own` | the daemon's own files, which a scan skips |
//! | `volume` | stable numbers of filesystems |
//! | `part` | part files and their journals |
//! | `place`, `disk` | the directory and the names of a download; the system calls that change them |
//! | `descent` | the directories on the way to a file of a directory that is downloaded |
//! | `execution` | the permission to execute a file |
//! | `claim` | renaming without replacing, on any filesystem |
//! | `mount` | which filesystem a directory was on |
//! | `orphans` | part files that belong to no download |
//! | `hasher` | the content hash of a shared file, in slices |
//! | `cache` | known hashes, across restarts |
//! | `reserve` | the space that downloads leave free |
//! | `state` | the state directory: one owner, whole files |
//! | `record_log` | a log of records in the state directory |
//! | `durable` | replacing a file atomically |
//! | `dropped` | the watched directory, where users put links and manifests |
//! | `usable` | checking whether a directory can be used; creating one |

mod beneath;
mod cache;
mod claim;
mod descent;
mod disk;
mod dropped;
mod durable;
mod execution;
mod hasher;
mod links;
mod mount;
#[cfg(test)]
#[path = "../../tests/common/not_tested.rs"]
pub(crate) mod not_tested;
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

pub(crate) use cache::{CacheFault, FLUSH_ENTRIES_USUAL, HashCache};
pub(crate) use dropped::{DropContent, Dropped, Look, Looked, Seen, Verdict, is_dropped, rename as rename_dropped};
pub(crate) use hasher::FileHasher;
pub(crate) use links::FollowedLinks;
pub(crate) use mount::{DirectoryMount, KnownMounts};
pub(crate) use orphans::{Orphan, OrphanKind, OrphanSearch, OrphansFound};
pub(crate) use own::{OtherShare, OwnFiles};
pub(crate) use part::{OutlineRefused, PartCheck, PartCopy, PartFile, PartOpened, PartRequest, SyncDue, commit_all};
pub(crate) use record_log::{RECORD_BYTES_MAX, RecordLog};
pub(crate) use scan::{ScanStep, Scanner};
pub(crate) use share::{ShareRoot, SharedFile};
pub use state::StateFault;
pub(crate) use state::{RECORDS_FILE, StateDirectory};
pub(crate) use usable::{check_readable_directory, check_writable_directory, is_sandboxed, note_sandbox};
pub(crate) use volume::{Volume, Volumes};

use crate::library::{FileMeta, ScannedFile};
use crate::name::FileName;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use std::os::fd::BorrowedFd;

/// Stats a name in a directory, without following symbolic links and without automounting.
fn stat_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<FileStat, Errno> {
    #[cfg(test)]
    tests::recorder::fault(tests::recorder::Call::Stat)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
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

/// A file as a scan finds it.
fn scanned(name: FileName, stat: &FileStat) -> ScannedFile {
    let executable = Mode::from_bits_truncate(stat.st_mode).contains(Mode::S_IXUSR);
    ScannedFile { name, meta: meta(stat), executable }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

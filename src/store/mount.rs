//! The filesystem of a directory and its mount point, so that an empty mount point is not taken for a directory whose files
//! were removed.

use super::disk::fault;
use crate::fault::DiskFault;
use crate::id::FilesystemId;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::fstatvfs;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A directory with more entries counts as not empty.
const ENTRIES_MAX: usize = 4096;

/// Types of filesystems in memory (statfs(2)).
pub(super) const TMPFS_MAGIC: u64 = 0x0102_1994;
pub(super) const RAMFS_MAGIC: u64 = 0x8584_58f6;

const FLAGS: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The filesystem of a directory, and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectoryMount {
    pub filesystem: FilesystemId,
    /// The highest directory above it, or itself, that has the same device number.
    pub mount_point: PathBuf,
}

/// The directories that were in use, by their paths as configured or named.
pub(crate) type KnownMounts = BTreeMap<PathBuf, DirectoryMount>;

impl DirectoryMount {
    pub(crate) fn of(directory: &Path) -> Result<Self, DiskFault> {
        let mut mount_point = fs::canonicalize(directory)?;
        let handle = open(&mount_point, FLAGS, Mode::empty()).map_err(fault)?;
        let device = fstat(&handle).map_err(fault)?.st_dev;
        while let Some(parent) = mount_point.parent() {
            // A directory that cannot be examined counts as another filesystem.
            if !stat(parent).is_ok_and(|above| above.st_dev == device) {
                break;
            }
            mount_point.pop();
        }
        Ok(Self { filesystem: filesystem_of(&handle)?, mount_point })
    }

    /// Whether this filesystem of a directory seems not to be mounted: the directory is on another one, which is mounted above
    /// the old mount point, and contains only hidden files.
    /// Errors: as the system reports them: then this is unknown.
    pub(crate) fn is_missing_at(&self, directory: &Path) -> Result<bool, DiskFault> {
        let now = Self::of(directory)?;
        let is_above = self.mount_point != now.mount_point && self.mount_point.starts_with(&now.mount_point);
        Ok(self.filesystem != now.filesystem && is_above && is_empty(directory)?)
    }
}

/// The filesystem of an open directory. One without an identifier is identified by its device.
pub(super) fn filesystem_of(directory: impl AsFd) -> Result<FilesystemId, DiskFault> {
    let kind = fstatfs(&directory).map_err(fault)?.filesystem_type().0;
    let number = fstatvfs(&directory).map_err(fault)?.filesystem_id();
    let device = fstat(&directory).map_err(fault)?.st_dev;
    // The types differ between platforms.
    #[allow(clippy::unnecessary_cast, reason = "needed on other platforms")]
    Ok(FilesystemId {
        kind: kind as u64 & u64::from(u32::MAX),
        number: if number == 0 { device } else { number as u64 },
    })
}

/// The filesystem of a path, or of the first existing directory above it.
pub(super) fn filesystem_above(path: &Path) -> Result<FilesystemId, DiskFault> {
    filesystem_of(open_above(path)?)
}

fn open_above(path: &Path) -> Result<OwnedFd, DiskFault> {
    for directory in path.ancestors() {
        let at = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        match open(at, FLAGS, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            outcome => return outcome.map_err(fault),
        }
    }
    Err(DiskFault::Missing)
}

/// Whether two filesystems may be the same. One in memory has a new number at each mount, and its files are lost.
pub(super) fn may_be_same(before: FilesystemId, here: FilesystemId) -> bool {
    let in_memory = [TMPFS_MAGIC, RAMFS_MAGIC].contains(&here.kind);
    before == here || in_memory && before.kind == here.kind
}

/// Whether a directory contains only hidden files.
fn is_empty(directory: &Path) -> Result<bool, DiskFault> {
    let mut directory = Dir::open(directory, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fault)?;
    let mut entries = 0;
    for entry in directory.iter() {
        let is_hidden = entry.map_err(fault)?.file_name().to_bytes().starts_with(b".");
        entries += 1;
        if !is_hidden || entries > ENTRIES_MAX {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_where_the_device_changes() {
        let of = |path: &str| DirectoryMount::of(Path::new(path)).unwrap();
        assert_eq!(of("/").mount_point, Path::new("/"));
        assert_eq!(of("/proc/self/fd").mount_point, Path::new("/proc"));
        assert_ne!(of("/proc").filesystem, of("/").filesystem);
        assert_eq!(DirectoryMount::of(Path::new("/none at all")), Err(DiskFault::Missing));
    }

    #[test]
    fn only_an_empty_directory_elsewhere_is_taken_for_a_mount_point() {
        let scratch = tempfile::tempdir().unwrap();
        let here = DirectoryMount::of(scratch.path()).unwrap();
        let elsewhere = FilesystemId { kind: 1, number: 2 };
        let mounted_here = DirectoryMount { filesystem: elsewhere, mount_point: scratch.path().to_owned() };
        let other_disk = DirectoryMount { filesystem: elsewhere, ..here.clone() };
        fs::write(scratch.path().join(".hidden"), "").unwrap();
        assert_eq!(mounted_here.is_missing_at(scratch.path()), Ok(true));
        assert_eq!(here.is_missing_at(scratch.path()), Ok(false), "nothing has changed");
        assert_eq!(other_disk.is_missing_at(scratch.path()), Ok(false), "another disk is mounted at the same place");
        let mounted_above = DirectoryMount { filesystem: elsewhere, mount_point: "/".into() };
        let is_missing = mounted_above.is_missing_at(Path::new("/proc/self/map_files/.."));
        assert!(matches!(is_missing, Ok(false)), "a disk is mounted over it: {is_missing:?}");
        fs::write(scratch.path().join("file"), "").unwrap();
        assert_eq!(mounted_here.is_missing_at(scratch.path()), Ok(false), "it is in use");
    }

    #[test]
    fn a_missing_path_is_on_the_filesystem_of_its_parent() {
        let scratch = tempfile::tempdir().unwrap();
        let here = filesystem_above(scratch.path()).unwrap();
        assert_eq!(filesystem_above(&scratch.path().join("a/b")), Ok(here));
        fs::write(scratch.path().join("file"), "").unwrap();
        assert_eq!(filesystem_above(&scratch.path().join("file/b")), Ok(here));
        assert_ne!(filesystem_above(Path::new("/proc/none/at/all")).unwrap(), here);
    }
}

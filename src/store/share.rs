//! The root of the share, and opening files beneath it and behind the links that are followed.

use super::beneath::open_beneath;
use super::links::FollowedLinks;
use super::volume::Volumes;
use super::{file_type, meta, scanned};
use crate::fault::DiskFault;
use crate::library::{FileMeta, RecentFile, ScannedFile};
use crate::name::FileName;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::{Mode, SFlag, fstat};
use rustix::io::{ReadWriteFlags, preadv2};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The shared directory. It is opened for each file and closed at once, so that it can be unmounted while the daemon is idle.
#[derive(Debug)]
pub(crate) struct ShareRoot {
    path: Arc<Path>,
    /// Those of the share, if they are followed.
    links: Option<Arc<FollowedLinks>>,
    /// Other shares, by the first component of the names in them.
    named: Vec<(FileName, Arc<ShareRoot>)>,
}

impl ShareRoot {
    /// Checks that the share directory can be opened. Its own path may contain symbolic links. Waits for the disk.
    /// Errors: as the system reports them; [`io::ErrorKind::Unsupported`] without `openat2` (Linux 5.6), which alone guarantees
    /// to stay beneath the share.
    pub(crate) fn open(path: &Path) -> io::Result<ShareRoot> {
        let directory = open_root(path)?;
        open_beneath(directory.as_fd(), b".", OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(unsupported)?;
        Ok(ShareRoot::at(path))
    }

    /// A share that is opened with each file, and may not be there.
    pub(crate) fn at(path: &Path) -> Self {
        ShareRoot { path: path.into(), links: None, named: Vec::new() }
    }

    /// With other shares, which have the files whose names begin with theirs.
    pub(crate) fn with(self, named: Vec<(FileName, Arc<ShareRoot>)>) -> Self {
        ShareRoot { named, ..self }
    }

    /// The share that has a name, and its name there.
    fn find<'n>(&self, name: &'n [u8]) -> (&Self, &'n [u8]) {
        for (first, share) in &self.named {
            if let Some(rest) = name.strip_prefix(first.as_bytes()).and_then(|rest| rest.strip_prefix(b"/")) {
                return (share, rest);
            }
        }
        (self, name)
    }

    /// The directory of the share that a file is in.
    pub(crate) fn directory_of(&self, name: &FileName) -> &Arc<Path> {
        &self.find(name.as_bytes()).0.path
    }

    /// Follows these links.
    pub(crate) fn following(self, links: Option<Arc<FollowedLinks>>) -> Self {
        ShareRoot { links, ..self }
    }

    /// Opens a shared file for reading. Waits for the disk, but for nothing else, whatever the name stands for.
    /// Errors: [`DiskFault::NotRegular`] for anything but a regular file beneath the share, and for names that are no plain
    /// relative path; otherwise as the system reports.
    pub(crate) fn open_file(&self, name: &FileName) -> Result<SharedFile, DiskFault> {
        let file = self.open_plain(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        Ok(SharedFile { place: place_of(&file.file), ..file })
    }

    fn open_plain(&self, full_name: &FileName, flags: OFlag) -> Result<SharedFile, DiskFault> {
        let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        let (share, name) = self.find(full_name.as_bytes());
        if !name.split(|&byte| byte == b'/').all(is_plain) {
            return Err(DiskFault::NotRegular);
        }
        let directory = open_root(&share.path).map_err(io::Error::from)?;
        let is_behind_link = share.links.as_ref().is_some_and(|links| links.are_on(name));
        let opened = match &share.links {
            Some(links) => links.open(directory.as_fd(), name, flags),
            None => open_beneath(directory.as_fd(), name, flags),
        };
        let file = match opened {
            Ok(descriptor) => File::from(descriptor),
            // A symbolic link that is not followed, a mount, a socket or a device without driver.
            Err(Errno::ELOOP | Errno::EXDEV | Errno::ENXIO | Errno::ENODEV) => return Err(DiskFault::NotRegular),
            Err(Errno::ENOTDIR) => return Err(DiskFault::Missing),
            Err(errno) => return Err(io::Error::from(errno).into()),
        };
        let stat = fstat(&file).map_err(io::Error::from)?;
        match file_type(&stat) {
            SFlag::S_IFREG => {
                let ScannedFile { meta, executable, .. } = scanned(full_name.clone(), &stat);
                Ok(SharedFile { cached: Cached::of(&file), file, meta, executable, place: None, is_behind_link })
            }
            _ => Err(DiskFault::NotRegular),
        }
    }

    /// Opens a shared file for reading, if it is unchanged since its scan.
    /// Errors: [`DiskFault::Changed`] if its size, times, inode or device differ; otherwise as [`ShareRoot::open_file`].
    pub(crate) fn open_file_as(&self, name: &FileName, expected: &FileMeta) -> Result<SharedFile, DiskFault> {
        let file = self.open_file(name)?;
        if file.meta == *expected { Ok(file) } else { Err(DiskFault::Changed) }
    }

    /// Stats a file, and returns for how long it has not been changed. Waits for the disk.
    /// Errors: as [`ShareRoot::open_file`].
    pub(crate) fn look(&self, name: &FileName, volumes: &Volumes, wall_ns: i64) -> Result<RecentFile, DiskFault> {
        let found = self.open_plain(name, OFlag::O_PATH)?;
        let quiet = found.quiet(volumes, wall_ns);
        Ok(RecentFile {
            file: ScannedFile { name: name.clone(), meta: found.meta, executable: found.executable },
            quiet,
        })
    }
}

/// An open shared file, and its metadata when it was opened.
///
/// It is read by copying. sendfile(2) and mmap(2) use the pages of the file themselves: a later write would change bytes
/// that wait in a socket after they were checked; on the same machine even bytes that were acknowledged.
#[derive(Debug)]
pub(crate) struct SharedFile {
    file: File,
    meta: FileMeta,
    executable: bool,
    cached: Cached,
    /// Its path when it was opened, if the system tells.
    place: Option<OsString>,
    /// A link leads to it, which only another opening shows to be there still.
    is_behind_link: bool,
}

/// Whether the filesystem tells what can be read without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cached {
    Told,
    /// It does not know preadv2(2) with RWF_NOWAIT, as NFS and FUSE: fstat(2) may wait there as well.
    Untold,
}

impl Cached {
    /// Reads a byte: a call that reads none does not reach the filesystem.
    fn of(file: &File) -> Self {
        match read_cached(file, &mut [0], 0) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Self::Told,
            Err(_) => Self::Untold,
        }
    }
}

impl SharedFile {
    pub(crate) fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// For how long it has not been changed.
    pub(crate) fn quiet(&self, volumes: &Volumes, wall_ns: i64) -> Duration {
        volumes.of(&self.meta).quiet(&self.meta, wall_ns)
    }

    /// Whether it is known without waiting for the disk that this is an unchanged file with this identity, which its name still
    /// leads to: no directory above it was renamed or unmounted, and it is behind no link.
    pub(crate) fn is_still(&self, expected: &FileMeta) -> bool {
        !self.is_behind_link && self.is_unchanged_as(expected)
    }

    /// Whether another opening of its name has brought the same file, unchanged since this one.
    pub(crate) fn is_same(&self, other: &SharedFile) -> bool {
        self.is_unchanged_as(&other.meta) && self.place == other.place
    }

    fn is_unchanged_as(&self, expected: &FileMeta) -> bool {
        let is_unchanged = self.meta == *expected && self.cached == Cached::Told && self.check().is_ok();
        is_unchanged && place_of(&self.file) == self.place
    }

    /// Reads bytes from a position on that are in the page cache, of the unchanged file; fewer than the buffer has room for if
    /// only these are there. Does not wait for the bytes; returns `None` if [`SharedFile::read`] has to wait. Linux has begun to
    /// read them then, whatever advice posix_fadvise(2) was given, and may wait until the disk has room in its queue.
    /// Errors: as [`SharedFile::read`].
    pub(crate) fn read_cached(&self, into: &mut [u8], at: u64) -> Result<Option<usize>, DiskFault> {
        if self.cached == Cached::Untold {
            return Ok(None);
        }
        match read_cached(&self.file, into, at) {
            // `read` says why, as for any error.
            Ok(0) | Err(_) => Ok(None),
            Ok(count) => self.check().map(|()| Some(count)),
        }
    }

    /// Fills a buffer from a position on, with bytes of the unchanged file. Waits for the disk.
    /// Errors: [`DiskFault::Changed`] if the file has changed since it was opened, [`DiskFault::Shrank`] if it is shorter;
    /// otherwise as the system reports. The buffer may hold bytes then, which must not be sent.
    pub(crate) fn read(&self, into: &mut [u8], at: u64) -> Result<(), DiskFault> {
        let outcome = self.file.read_exact_at(into, at);
        self.check()?;
        Ok(outcome?)
    }

    /// Checks that the file is unchanged. A write changes the times of a file before its bytes: so the check follows the reading.
    fn check(&self) -> Result<(), DiskFault> {
        let found = identity(&self.file)?;
        match found {
            _ if found.size < self.meta.size => Err(DiskFault::Shrank),
            _ if found != self.meta => Err(DiskFault::Changed),
            _ => Ok(()),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Has the system drop the file from its page cache, where it can.
    #[cfg(test)]
    pub(crate) fn uncached(self) -> Self {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        self.file.sync_all().unwrap();
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        self
    }

    /// As on a filesystem that does not tell what is in the page cache.
    #[cfg(test)]
    pub(crate) fn untold(self) -> Self {
        Self { cached: Cached::Untold, ..self }
    }
}

fn read_cached(file: &File, into: &mut [u8], at: u64) -> rustix::io::Result<usize> {
    rustix::io::retry_on_intr(|| preadv2(file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT))
}

fn place_of(file: &File) -> Option<OsString> {
    readlink(format!("/proc/self/fd/{}", file.as_raw_fd()).as_str()).ok()
}

fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

pub(super) fn identity(file: &File) -> Result<FileMeta, DiskFault> {
    let stat = fstat(file).map_err(io::Error::from)?;
    Ok(meta(&stat))
}

/// The error if the kernel has no `openat2` or a filter forbids it.
fn unsupported(errno: Errno) -> io::Error {
    match errno {
        Errno::ENOSYS | Errno::EPERM => io::Error::new(
            io::ErrorKind::Unsupported,
            "this system does not offer openat2 (Linux 5.6, not filtered out), without which no share is safe",
        ),
        errno => errno.into(),
    }
}

#[cfg(test)]
mod tests;

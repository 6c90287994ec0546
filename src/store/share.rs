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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The shared directory. It is opened for each file and closed at once, so that it can be unmounted while the daemon is idle.
#[derive(Debug)]
pub(crate) struct ShareRoot {
    path: PathBuf,
    /// Those of the share, if they are followed.
    links: Option<Arc<FollowedLinks>>,
}

impl ShareRoot {
    /// Checks that the share directory can be opened. Its own path may contain symbolic links. Waits for the disk.
    /// Errors: as the system reports them; [`io::ErrorKind::Unsupported`] without `openat2` (Linux 5.6), which alone guarantees
    /// to stay beneath the share.
    pub(crate) fn open(path: &Path) -> io::Result<ShareRoot> {
        let directory = open_root(path)?;
        open_beneath(directory.as_fd(), b".", OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(unsupported)?;
        Ok(ShareRoot { path: path.to_owned(), links: None })
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

    fn open_plain(&self, name: &FileName, flags: OFlag) -> Result<SharedFile, DiskFault> {
        let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        if !name.as_bytes().split(|&byte| byte == b'/').all(is_plain) {
            return Err(DiskFault::NotRegular);
        }
        let directory = open_root(&self.path).map_err(io::Error::from)?;
        let is_behind_link = self.links.as_ref().is_some_and(|links| links.are_on(name.as_bytes()));
        let opened = match &self.links {
            Some(links) => links.open(directory.as_fd(), name.as_bytes(), flags),
            None => open_beneath(directory.as_fd(), name.as_bytes(), flags),
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
                let ScannedFile { meta, executable, .. } = scanned(name.clone(), &stat);
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
mod tests {
    use super::*;
    use crate::store::not_tested::not_tested;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn root() -> (TempDir, ShareRoot) {
        let scratch = tempfile::tempdir().unwrap();
        let share = scratch.path().join("share");
        fs::create_dir_all(share.join("sub")).unwrap();
        fs::write(share.join("sub/file"), b"inside").unwrap();
        fs::write(scratch.path().join("secret"), b"outside").unwrap();
        let root = ShareRoot::open(&share).unwrap();
        (scratch, root)
    }

    fn outcome(root: &ShareRoot, path: &str) -> Result<u64, DiskFault> {
        root.open_file(&FileName::from_bytes(path.as_bytes()).unwrap()).map(|file| file.meta.size)
    }

    #[test]
    fn names_that_lead_outside_the_share_are_refused() {
        let (scratch, root) = root();
        assert_eq!(outcome(&root, "sub/file"), Ok(6));
        let absolute = scratch.path().join("secret").to_str().unwrap().to_owned();
        for path in
            ["../secret", "sub/../../secret", "sub/../sub/file", "/sub/file", "./sub/file", "sub//file", "..", "/"]
                .into_iter()
                .chain([&*absolute])
        {
            assert_eq!(outcome(&root, path), Err(DiskFault::NotRegular), "{path}");
        }
        assert_eq!(outcome(&root, "sub"), Err(DiskFault::NotRegular));
        assert_eq!(outcome(&root, "sub/file/x"), Err(DiskFault::Missing));
        assert_eq!(outcome(&root, "nothing"), Err(DiskFault::Missing));
    }

    #[test]
    fn a_link_created_after_the_scan_is_not_followed() {
        let (scratch, root) = root();
        let share = scratch.path().join("share");
        assert_eq!(outcome(&root, "sub/file"), Ok(6));
        fs::remove_file(share.join("sub/file")).unwrap();
        symlink(scratch.path().join("secret"), share.join("sub/file")).unwrap();
        assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::NotRegular));

        fs::remove_dir_all(share.join("sub")).unwrap();
        fs::create_dir(scratch.path().join("elsewhere")).unwrap();
        fs::write(scratch.path().join("elsewhere/file"), b"outside").unwrap();
        symlink("../elsewhere", share.join("sub")).unwrap();
        assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::NotRegular));
    }

    #[test]
    fn a_file_is_opened_only_if_it_is_unchanged_since_the_scan() {
        let (scratch, root) = root();
        let name = FileName::from_bytes(b"sub/file").unwrap();
        let path = scratch.path().join("share/sub/file");
        let found = identity(&File::open(&path).unwrap()).unwrap();
        assert_eq!(root.open_file_as(&name, &found).unwrap().meta.size, 6);
        // Another file of the same size and time takes its place.
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(scratch.path().join("other"), b"INSIDE").unwrap();
        File::options().write(true).open(scratch.path().join("other")).unwrap().set_modified(mtime).unwrap();
        fs::rename(scratch.path().join("other"), &path).unwrap();
        assert_eq!(root.open_file_as(&name, &found).unwrap_err(), DiskFault::Changed);
        let now = identity(&File::open(&path).unwrap()).unwrap();
        assert_eq!((now.size, now.mtime_ns, now.device), (found.size, found.mtime_ns, found.device));
        assert!(root.open_file_as(&name, &now).is_ok());
        fs::remove_file(&path).unwrap();
        assert_eq!(root.open_file_as(&name, &now).unwrap_err(), DiskFault::Missing);
    }

    #[test]
    fn bytes_are_read_only_while_the_file_is_unchanged() {
        let (scratch, root) = root();
        let path = scratch.path().join("share/sub/file");
        let name = FileName::from_bytes(b"sub/file").unwrap();
        let write = |bytes: &[u8]| {
            let file = File::options().write(true).open(&path).unwrap();
            let before = identity(&file).unwrap();
            // Two changes in the same tick of the clock have the same time.
            while identity(&file).unwrap().ctime_ns == before.ctime_ns {
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            }
            file.write_all_at(bytes, 0).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        };
        let mut buffer = [0; 3];
        write(b"inside");
        let opened = root.open_file(&name).unwrap();
        assert_eq!((opened.read(&mut buffer, 3), &buffer), (Ok(()), b"ide"));
        assert_eq!(
            opened.read(&mut buffer, 4).unwrap_err(),
            DiskFault::from(io::Error::from(io::ErrorKind::UnexpectedEof))
        );
        write(b"INSIDE");
        assert_eq!(opened.meta.mtime_ns, identity(&opened.file).unwrap().mtime_ns);
        assert_eq!(opened.read(&mut buffer, 0), Err(DiskFault::Changed), "same size and modification time");
        let opened = root.open_file(&name).unwrap();
        assert_eq!((opened.read(&mut buffer, 0), &buffer), (Ok(()), b"INS"));
        File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
        assert_eq!(opened.read(&mut buffer, 0), Err(DiskFault::Shrank));
    }

    #[test]
    fn an_open_file_is_served_again_only_while_nothing_has_happened_to_it() {
        let (scratch, root) = root();
        let share = scratch.path().join("share");
        let name = FileName::from_bytes(b"sub/file").unwrap();
        let changes: [fn(&Path); 4] = [
            |path| fs::write(path, b"INSIDE").unwrap(),
            |path| fs::rename(path, path.with_file_name("moved")).unwrap(),
            |path| fs::remove_file(path).unwrap(),
            |path| {
                fs::write(path.with_file_name("other"), b"INSIDE").unwrap();
                fs::rename(path.with_file_name("other"), path).unwrap();
            },
        ];
        for (n, change) in changes.into_iter().enumerate() {
            fs::write(share.join("sub/file"), b"inside").unwrap();
            let opened = root.open_file(&name).unwrap();
            let meta = opened.meta;
            if opened.cached == Cached::Untold {
                return not_tested("open files that are used again", "preadv2(2) tells nothing of the page cache here");
            }
            assert!(opened.is_still(&meta));
            assert!(!opened.is_still(&FileMeta { ctime_ns: meta.ctime_ns - 1, ..meta }), "the library knows another");
            // Two changes in the same tick of the clock have the same time.
            let tick = share.join("tick");
            while fs::write(&tick, b"x").is_ok()
                && identity(&File::open(&tick).unwrap()).unwrap().ctime_ns <= meta.ctime_ns
            {}
            change(&share.join("sub/file"));
            assert!(!opened.is_still(&meta), "change {n}");
            assert_eq!(opened.read_cached(&mut [0; 6], 0), Err(DiskFault::Changed), "change {n}");
            assert!(!root.open_file(&name).is_ok_and(|file| file.untold().is_still(&meta)));
        }
        let opened = root.open_file(&name).unwrap();
        fs::rename(share.join("sub"), share.join("renamed")).unwrap();
        assert!(!opened.is_still(&opened.meta) && opened.check().is_ok(), "a directory above it was renamed");
    }

    #[test]
    fn what_is_not_told_to_be_in_the_page_cache_is_left_to_a_read_that_waits() {
        let (_scratch, root) = root();
        let name = FileName::from_bytes(b"sub/file").unwrap();
        let mut buffer = [0; 6];
        let opened = root.open_file(&name).unwrap().untold();
        assert_eq!(opened.read_cached(&mut buffer, 0), Ok(None));
        assert!(!opened.is_still(&opened.meta), "fstat(2) may wait there as well");
        let opened = root.open_file(&name).unwrap();
        assert_eq!(opened.read_cached(&mut buffer, 6), Ok(None), "the end of the file");
        assert!(matches!(opened.read_cached(&mut buffer, 3), Ok(None | Some(3))));
    }

    #[test]
    fn anything_but_a_regular_file_neither_blocks_nor_opens() {
        let (scratch, root) = root();
        let share = scratch.path().join("share");
        nix::unistd::mkfifo(&share.join("fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(outcome(&root, "fifo"), Err(DiskFault::NotRegular));
        let _listener = std::os::unix::net::UnixListener::bind(share.join("socket")).unwrap();
        assert_eq!(outcome(&root, "socket"), Err(DiskFault::NotRegular));
        // A device node takes privilege to make, and a filesystem that honours it to open.
        use nix::sys::stat::{SFlag, makedev, mknod};
        if mknod(&share.join("zero"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).is_ok() {
            assert!(matches!(outcome(&root, "zero"), Err(DiskFault::NotRegular | DiskFault::Denied)));
        }
    }

    #[test]
    fn another_mount_is_not_entered() {
        // /proc is a mount wherever these tests run, and its links to descriptors and to the root are magic ones.
        let root = ShareRoot::open(Path::new("/proc/self")).unwrap();
        assert_eq!(outcome(&root, "fd/0"), Err(DiskFault::NotRegular));
        assert_eq!(outcome(&root, "root/etc/passwd"), Err(DiskFault::NotRegular));
        let root = ShareRoot::open(Path::new("/")).unwrap();
        assert_eq!(outcome(&root, "proc/self/status"), Err(DiskFault::NotRegular));
    }

    #[test]
    fn the_directory_at_the_path_is_served_and_nothing_is_held_open() {
        let (scratch, root) = root();
        let share = scratch.path().join("share");
        assert_eq!(outcome(&root, "sub/file"), Ok(6));
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(&share)).count(), 0);
        fs::rename(&share, scratch.path().join("moved")).unwrap();
        assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::Missing));
        fs::create_dir(&share).unwrap();
        assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::Missing));
        fs::rename(scratch.path().join("moved"), &share).unwrap();
        assert_eq!(outcome(&root, "sub/file"), Ok(6));
    }

    #[test]
    fn a_kernel_without_openat2_is_named_as_the_cause() {
        for errno in [Errno::ENOSYS, Errno::EPERM] {
            assert_eq!(unsupported(errno).kind(), io::ErrorKind::Unsupported);
        }
        assert_eq!(unsupported(Errno::ENOENT).kind(), io::ErrorKind::NotFound);
    }
}

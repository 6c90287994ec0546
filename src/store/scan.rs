//! A scan of the share in progress: a walk without recursion, one directory open at a time, a number of entries a step.
//!
//! Directories that wait are remembered by their path and opened beneath the root when their turn comes, so a deep
//! tree takes no descriptors, and a directory that became a link meanwhile is not followed.

use super::own::{OwnFiles, identity};
use super::share::open_beneath;
use super::volume::Volume;
use super::{file_type, stat_at};
use crate::fault::DiskFault;
use crate::library::{FileMeta, RECENT_MAX, RecentFile, ScanReport, ScannedFile};
use crate::name::FileName;
use nix::dir::{Dir, OwningIter, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, faccessat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Most directories that wait to be read; more are counted as unreadable.
const SCAN_DIRECTORIES_MAX: usize = 1_000_000;

/// Most places that an error may hide; with more of them the scan has failed.
const HIDDEN_PLACES_MAX: usize = 64;

/// Most mounts that the report names; all are counted.
const MOUNTS_NAMED_MAX: usize = 16;

/// What one step of a scan brought.
#[derive(Debug, Default)]
pub struct ScanStep {
    /// Files found, in no order; at most as many as entries were allowed.
    pub files: Vec<ScannedFile>,
    /// Further files, which were changed less than [`RECENT_MAX`] ago.
    pub recent: Vec<RecentFile>,
    /// Filesystems that the scan has met, by their device numbers.
    pub volumes: Vec<(u64, Volume)>,
    /// How the scan went, when it is through.
    pub ended: Option<ScanReport>,
}

/// A scan in progress.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// Paths beneath the root of directories still to be read.
    waiting: Vec<Vec<u8>>,
    report: ScanReport,
    /// The share's path.
    path: PathBuf,
    own: OwnFiles,
    /// The device number of the last directory, and its filesystem.
    volume: Option<(u64, Volume)>,
}

#[derive(Debug)]
enum State {
    /// Directories wait.
    Between { root: OwnedFd },
    /// A directory is being read.
    Reading { root: OwnedFd, directory: Reading },
    /// Everything was seen, or the scan failed.
    Ended,
}

#[derive(Debug)]
struct Reading {
    /// Beneath the root; empty for the root itself.
    path: Vec<u8>,
    /// To ask about entries.
    handle: OwnedFd,
    stat: FileStat,
    entries: OwningIter,
}

/// What an entry of a directory turned out to be.
enum Found {
    File(FileStat),
    Directory,
    /// Neither, or gone.
    Nothing,
    Unreadable,
    /// An error of the system says nothing about what is there.
    Hidden(Errno),
}

impl Scanner {
    /// Opens the share directory, by its path as it is now. A failure is reported by the first step.
    pub fn start(root: &Path) -> Scanner {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = open(root, flags, Mode::empty());
        let failed = opened.as_ref().err().map(|&errno| fault(errno));
        let state = opened.map_or(State::Ended, |root| State::Between { root });
        // The empty path is the root's own.
        Scanner {
            state,
            waiting: vec![Vec::new()],
            report: ScanReport { failed, ..ScanReport::default() },
            path: root.to_owned(),
            own: OwnFiles::default(),
            volume: None,
        }
    }

    /// Leaves out these.
    pub fn without(self, own: OwnFiles) -> Scanner {
        Scanner { own, ..self }
    }

    /// Looks at up to `entries_max` entries of directories, when the wall clock shows `wall_ns`, in nanoseconds since the
    /// epoch. After the end every step says again how it went.
    pub fn step(&mut self, entries_max: usize, wall_ns: i64) -> ScanStep {
        let mut step = ScanStep::default();
        for _ in 0..entries_max.max(1) {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Between { root } => self.open_next(root, &mut step),
                State::Reading { root, directory } => self.read_entry(root, directory, wall_ns, &mut step),
                State::Ended => {
                    step.ended = Some(self.report.clone());
                    return step;
                }
            };
        }
        step
    }

    fn open_next(&mut self, root: OwnedFd, step: &mut ScanStep) -> State {
        let Some(path) = self.waiting.pop() else { return State::Ended };
        match Reading::open(&root, path) {
            Ok(directory) if self.own.holds_directory(&directory.stat) => State::Between { root },
            Ok(directory) => {
                self.meet(&directory, step);
                State::Reading { root, directory }
            }
            Err((path, errno)) => self.not_read(root, &path, errno),
        }
    }

    /// Learns on which filesystem a directory is, where that is not the one of the directory before.
    fn meet(&mut self, directory: &Reading, step: &mut ScanStep) {
        let device = directory.stat.st_dev;
        if self.volume.is_some_and(|(known, _)| known == device) {
            return;
        }
        // Without it the device number serves.
        self.volume =
            Volume::of(&directory.handle, device, &self.path, &directory.path).ok().map(|found| (device, found));
        step.volumes.extend(self.volume);
    }

    /// Decides what a directory that could not be read means for the scan.
    fn not_read(&mut self, root: OwnedFd, path: &[u8], errno: Errno) -> State {
        match errno {
            // These say something about us, not about the directory: its files may well be there.
            Errno::EMFILE | Errno::ENFILE => return self.fail(errno),
            _ if path.is_empty() => return self.fail(errno),
            // Gone, or no directory any more.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => {}
            Errno::EXDEV => self.note_mount(path),
            Errno::EACCES | Errno::EPERM => self.report.unreadable += 1,
            _ => return self.hide(root, path, errno),
        }
        State::Between { root }
    }

    /// Notes a place that an error hides: what is known there stays known.
    fn hide(&mut self, root: OwnedFd, path: &[u8], errno: Errno) -> State {
        self.report.unreadable += 1;
        match FileName::from_bytes(path) {
            Some(name) if self.report.hidden.len() < HIDDEN_PLACES_MAX => self.report.hidden.push(name),
            _ => return self.fail(errno),
        }
        State::Between { root }
    }

    fn note_mount(&mut self, path: &[u8]) {
        self.report.other_mounts += 1;
        if self.report.mounts.len() < MOUNTS_NAMED_MAX {
            self.report.mounts.extend(FileName::from_bytes(path));
        }
    }

    fn fail(&mut self, errno: Errno) -> State {
        self.report.failed = Some(fault(errno));
        self.waiting = Vec::new();
        State::Ended
    }

    fn read_entry(&mut self, root: OwnedFd, mut directory: Reading, wall_ns: i64, step: &mut ScanStep) -> State {
        let entry = match directory.entries.next() {
            None => return State::Between { root },
            Some(Err(errno)) => return self.not_read(root, &directory.path, errno),
            Some(Ok(entry)) => entry,
        };
        let name = entry.file_name().to_bytes();
        // Hidden files, part files, and the directory itself and its parent.
        if name.starts_with(b".") {
            return State::Reading { root, directory };
        }
        let found = directory.look_at(name, entry.file_type());
        let path = FileName::from_bytes(&directory.path_of(name));
        match (found, path) {
            (Found::Nothing, _) => {}
            (Found::Unreadable, _) => self.report.unreadable += 1,
            (Found::Hidden(errno), path) => {
                // A name that cannot be listed was never known.
                let Some(path) = path else { return State::Reading { root, directory } };
                return match self.hide(root, path.as_bytes(), errno) {
                    State::Between { root } => State::Reading { root, directory },
                    ended => ended,
                };
            }
            (_, None) => self.report.names_refused += 1,
            (Found::Directory, Some(_)) if self.waiting.len() >= SCAN_DIRECTORIES_MAX => self.report.unreadable += 1,
            (Found::Directory, Some(path)) => self.waiting.push(path.as_bytes().to_vec()),
            (Found::File(stat), Some(file)) if !self.own.holds_file(identity(&directory.stat), name, &stat) => {
                let file = ScannedFile { name: file, meta: meta(&stat) };
                match self.volume.map(|(_, volume)| volume.quiet(&file.meta, wall_ns)) {
                    Some(quiet) if quiet >= RECENT_MAX => step.files.push(file),
                    quiet => step.recent.push(RecentFile { file, quiet: quiet.unwrap_or_default() }),
                }
            }
            (Found::File(_), Some(_)) => {}
        }
        State::Reading { root, directory }
    }
}

impl Reading {
    fn open(root: &OwnedFd, path: Vec<u8>) -> Result<Reading, (Vec<u8>, Errno)> {
        let at = if path.is_empty() { b"." } else { path.as_slice() };
        let opened = open_beneath(root.as_fd(), at, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK);
        let entries = opened.and_then(|handle| {
            let to_read = handle.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
            let stat = fstat(&handle)?;
            Ok((handle, stat, Dir::from_fd(to_read)?.into_iter()))
        });
        match entries {
            Ok((handle, stat, entries)) => Ok(Reading { path, handle, stat, entries }),
            Err(errno) => Err((path, errno)),
        }
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        if !self.path.is_empty() {
            path.extend_from_slice(&self.path);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Asks about an entry only what the directory does not tell by itself.
    fn look_at(&self, name: &[u8], told: Option<Type>) -> Found {
        match told {
            Some(Type::Directory) => return Found::Directory,
            Some(Type::File) | None => {}
            Some(_) => return Found::Nothing,
        }
        let stat = match stat_at(self.handle.as_fd(), name) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Found::Nothing,
            Err(Errno::EACCES | Errno::EPERM) => return Found::Unreadable,
            Err(errno) => return Found::Hidden(errno),
        };
        match file_type(&stat) {
            SFlag::S_IFDIR => Found::Directory,
            SFlag::S_IFREG if self.may_read(name, &stat) => Found::File(stat),
            SFlag::S_IFREG => Found::Unreadable,
            _ => Found::Nothing,
        }
    }

    /// Whether the file could be opened. Those that everybody may read are not asked about one by one.
    fn may_read(&self, name: &[u8], stat: &FileStat) -> bool {
        let everybody = Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH;
        Mode::from_bits_truncate(stat.st_mode).contains(everybody)
            || faccessat(&self.handle, name, AccessFlags::R_OK, AtFlags::AT_EACCESS) != Err(Errno::EACCES)
    }
}

fn fault(errno: Errno) -> DiskFault {
    std::io::Error::from(errno).into()
}

/// Identity and size, as scans tell them.
pub(super) fn meta(stat: &FileStat) -> FileMeta {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use tempfile::TempDir;

    fn tree(files: &[&str]) -> TempDir {
        let scratch = tempfile::tempdir().unwrap();
        for path in files {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"content").unwrap();
        }
        scratch
    }

    /// Runs a scan to its end in steps of `slice`, none of which may bring more.
    fn scan(root: &Path, slice: usize) -> (BTreeMap<String, FileMeta>, ScanReport) {
        let mut scanner = Scanner::start(root);
        let mut found = BTreeMap::new();
        loop {
            let step = scanner.step(slice, i64::MAX);
            assert!(step.files.len() <= slice);
            for file in step.files {
                assert!(found.insert(file.name.to_string(), file.meta).is_none());
            }
            if let Some(report) = step.ended {
                assert_eq!(scanner.step(slice, i64::MAX).ended.as_ref(), Some(&report));
                return (found, report);
            }
        }
    }

    fn names(root: &Path) -> Vec<String> {
        scan(root, 2).0.into_keys().collect()
    }

    #[test]
    fn files_are_found_by_their_path_with_size_and_identity() {
        let scratch = tree(&["a", "d/b", "d/e/c", "é/ü ß"]);
        for slice in [1, 3, 1000] {
            let (found, report) = scan(scratch.path(), slice);
            assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "d/b", "d/e/c", "é/ü ß"]);
            assert_eq!(report, ScanReport::default());
            let real = fs::metadata(scratch.path().join("d/b")).unwrap();
            let mtime_ns = real.mtime() * 1_000_000_000 + real.mtime_nsec();
            let ctime_ns = real.ctime() * 1_000_000_000 + real.ctime_nsec();
            let (inode, device) = (real.ino(), real.dev());
            assert_eq!(found["d/b"], FileMeta { size: 7, mtime_ns, ctime_ns, inode, device });
        }
    }

    #[test]
    fn hidden_things_links_and_special_files_are_left_out() {
        let scratch = tree(&["a", ".hidden", ".dir/b", "d/.x.pyrate-part", "d/y"]);
        symlink("a", scratch.path().join("link")).unwrap();
        symlink("/etc", scratch.path().join("link-to-directory")).unwrap();
        symlink("nowhere", scratch.path().join("dangling")).unwrap();
        nix::unistd::mkfifo(&scratch.path().join("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(scratch.path().join("socket")).unwrap();
        assert_eq!(names(scratch.path()), ["a", "d/y"]);
        assert_eq!(scan(scratch.path(), 9).1, ScanReport::default());
    }

    #[test]
    fn names_that_cannot_travel_are_counted() {
        let scratch = tree(&["good", "new\nline", "es\x1bcape", "bad\ndirectory/inside"]);
        fs::write(scratch.path().join(std::ffi::OsStr::from_bytes(b"latin\xe9")), b"").unwrap();
        let (found, report) = scan(scratch.path(), 2);
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["good", "latin\\xe9"]);
        assert_eq!(report, ScanReport { names_refused: 3, ..ScanReport::default() });
    }

    #[test]
    fn a_deep_tree_ends_where_names_become_too_long_and_takes_no_descriptors() {
        let scratch = tempfile::tempdir().unwrap();
        let deepest = ["d"; 1500].join("/");
        fs::create_dir_all(scratch.path().join(&deepest)).unwrap();
        fs::write(scratch.path().join(&deepest).join("file"), b"").unwrap();
        let mut scanner = Scanner::start(scratch.path());
        assert!(scanner.step(1000, i64::MAX).ended.is_none());
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        assert!(open.filter(|path| path.starts_with(scratch.path())).count() <= 3);
        assert_eq!(names(scratch.path()), [format!("{deepest}/file")]);

        // Fifteen components of 250 bytes fit a message, the sixteenth does not.
        let long = "x".repeat(250);
        fs::create_dir(scratch.path().join("long")).unwrap();
        let mut directory = open_directory(&scratch.path().join("long"));
        for _ in 0..16 {
            nix::sys::stat::mkdirat(&directory, long.as_str(), Mode::S_IRWXU).unwrap();
            directory = nix::fcntl::openat(&directory, long.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(scan(&scratch.path().join("long"), 5).1.names_refused, 1);
    }

    fn open_directory(path: &Path) -> OwnedFd {
        open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn unreadable_places_are_counted_and_a_missing_share_fails_the_scan() {
        let scratch = tree(&["a", "closed/b", "secret"]);
        let missing = scan(&scratch.path().join("missing"), 5);
        assert!(missing.0.is_empty() && missing.1.failed == Some(DiskFault::Missing));
        assert_eq!(scan(&scratch.path().join("a"), 5).1.failed, Some(DiskFault::NotDirectory));
        if nix::unistd::geteuid().is_root() {
            return; // For root nothing is unreadable.
        }
        fs::set_permissions(scratch.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(scratch.path().join("secret"), fs::Permissions::from_mode(0o200)).unwrap();
        let (found, report) = scan(scratch.path(), 5);
        fs::set_permissions(scratch.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(report, ScanReport { unreadable: 2, ..ScanReport::default() });
    }

    #[test]
    fn a_directory_that_becomes_a_link_or_vanishes_during_the_scan_is_passed_over() {
        let scratch = tree(&["share/one/a", "share/two/b", "elsewhere/c"]);
        let share = scratch.path().join("share");
        let mut scanner = Scanner::start(&share);
        // The root is opened, its four entries and its end are read; both directories wait.
        for _ in 0..6 {
            assert!(scanner.step(1, i64::MAX).files.is_empty());
        }
        fs::remove_dir_all(share.join("one")).unwrap();
        symlink("../elsewhere", share.join("one")).unwrap();
        fs::remove_dir_all(share.join("two")).unwrap();
        let step = scanner.step(100, i64::MAX);
        assert!(step.files.is_empty());
        assert_eq!(step.ended, Some(ScanReport::default()));
    }

    #[test]
    fn other_mounts_are_not_entered() {
        // /proc is a mount wherever these tests run.
        let root = open_directory(Path::new("/"));
        assert_eq!(Reading::open(&root, b"proc".to_vec()).map(|_| ()).unwrap_err().1, Errno::EXDEV);
        let mut scanner = Scanner::start(Path::new("/"));
        scanner.waiting = vec![b"proc".to_vec()];
        scanner.state = State::Between { root };
        let step = scanner.step(10, i64::MAX);
        assert!(step.files.is_empty());
        let mounts = vec![FileName::from_bytes(b"proc").unwrap()];
        assert_eq!(step.ended, Some(ScanReport { other_mounts: 1, mounts, ..ScanReport::default() }));
    }

    #[test]
    fn an_error_hides_a_place_and_too_many_end_the_scan() {
        let scratch = tree(&["a"]);
        let mut scanner = Scanner::start(scratch.path());
        for at in 0..HIDDEN_PLACES_MAX {
            let root = open_directory(scratch.path());
            let state = scanner.not_read(root, format!("d{at}").as_bytes(), Errno::EIO);
            assert!(matches!(state, State::Between { .. }) && scanner.report.failed.is_none());
        }
        assert_eq!((scanner.report.hidden.len(), scanner.report.unreadable), (HIDDEN_PLACES_MAX, 64));
        let root = open_directory(scratch.path());
        assert!(matches!(scanner.not_read(root, b"more", Errno::EIO), State::Ended));
        assert_eq!(scanner.report.failed, Some(DiskFault::Other(Errno::EIO as i32)));
    }

    #[test]
    fn a_file_that_cannot_be_asked_about_is_hidden() {
        use crate::store::part::tests::tape::{Call, fail_next};
        let scratch = tree(&["a"]);
        fail_next(Call::Stat, nix::libc::EIO);
        let (found, report) = scan(scratch.path(), 5);
        assert!(found.is_empty());
        let hidden = vec![FileName::from_bytes(b"a").unwrap()];
        assert_eq!(report, ScanReport { unreadable: 1, hidden, ..ScanReport::default() });
    }

    #[test]
    fn what_may_not_be_read_or_is_gone_is_not_hidden() {
        let scratch = tree(&["a"]);
        let mut scanner = Scanner::start(scratch.path());
        for errno in [Errno::EACCES, Errno::EPERM, Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP] {
            let root = open_directory(scratch.path());
            assert!(matches!(scanner.not_read(root, b"d", errno), State::Between { .. }));
        }
        assert_eq!(scanner.report, ScanReport { unreadable: 2, ..ScanReport::default() });
    }

    #[test]
    fn a_scan_without_a_free_descriptor_concludes_nothing() {
        let scratch = tree(&["a"]);
        let root = open_directory(scratch.path());
        let mut scanner = Scanner::start(scratch.path());
        scanner.waiting.push(b"more".to_vec());
        assert!(matches!(scanner.not_read(root, b"some", Errno::EMFILE), State::Ended));
        assert_eq!(scanner.report.failed, Some(DiskFault::NoDescriptor));
        assert!(scanner.waiting.is_empty());
    }
}

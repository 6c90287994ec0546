//! A scan of the share: a walk without recursion, one directory open at a time, a number of entries in each step.
//!
//! A link is left out, or followed when all else was read (`following`). Waiting directories are kept as paths and opened beneath the root later, so a deep tree needs no descriptors, and a
//! directory that became a link meanwhile is not followed.

use super::orphans::is_of_download;
use super::own::{OwnFiles, identity};
mod following;

use self::following::Following;
use super::beneath::open_beneath;
use super::links::FollowedLinks;
use super::volume::Volume;
use super::{file_type, scanned, stat_at};
use crate::fault::DiskFault;
use crate::left_out::LeftOutReason;
use crate::library::{EMPTY_DIRECTORIES_MAX, RECENT_MAX, RecentFile, ScanReport, ScannedFile};
use crate::name::{FileName, has_control};
use nix::dir::{Dir, OwningIter, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, faccessat};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories waiting to be read; further ones are counted as unreadable.
const SCAN_DIRECTORIES_MAX: usize = 1_000_000;

/// Paths that could not be read because of an error; with more of them the scan has failed.
const HIDDEN_PLACES_MAX: usize = 64;

/// Mounts, refused names and unreadable paths that the report names, each; all are counted.
const NAMED_MAX: usize = 16;

/// Bytes of the names of empty directories that the report names.
const EMPTY_DIRECTORIES_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct ScanStep {
    /// In no order.
    pub files: Vec<ScannedFile>,
    /// Files changed less than [`RECENT_MAX`] ago; not in `files`.
    pub recent: Vec<RecentFile>,
    /// Filesystems that the scan has entered, by their device numbers.
    pub volumes: Vec<(u64, Volume)>,
    /// At the end of the scan.
    pub ended: Option<ScanReport>,
}

#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// Paths beneath the root of directories still to be read.
    waiting: Vec<Vec<u8>>,
    report: ScanReport,
    /// Of the names of empty directories.
    empty_bytes: usize,
    path: PathBuf,
    own: OwnFiles,
    /// The device number of the last directory, and its filesystem.
    volume: Option<(u64, Volume)>,
    /// All filesystems of this scan by their device numbers.
    volumes: BTreeMap<u64, Volume>,
    /// If links are followed.
    following: Option<Following>,
}

#[derive(Debug)]
enum State {
    Between { root: OwnedFd },
    Reading { root: OwnedFd, directory: Reading },
    Ended,
}

#[derive(Debug)]
struct Reading {
    /// Beneath the root; empty for the root itself.
    path: Vec<u8>,
    /// To stat entries.
    handle: OwnedFd,
    stat: FileStat,
    entries: OwningIter,
    /// No file and no directory was found in it so far.
    is_empty: bool,
}

enum Found {
    File(FileStat),
    Directory,
    /// Removed.
    Nothing,
    Link,
    /// Something else.
    Unfit(LeftOutReason),
    Unreadable,
    /// After an error that does not show what is there.
    Hidden(Errno),
}

impl ScanStep {
    fn note(&mut self, file: ScannedFile, volume: Option<Volume>, wall_ns: i64) {
        match volume.map(|volume| volume.quiet(&file.meta, wall_ns)) {
            Some(quiet) if quiet >= RECENT_MAX => self.files.push(file),
            quiet => self.recent.push(RecentFile { file, quiet: quiet.unwrap_or_default() }),
        }
    }
}

impl Scanner {
    /// Opens the share directory. A failure is reported by the first step.
    pub(crate) fn start(root: &Path) -> Scanner {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = open(root, flags, Mode::empty());
        let failed = opened.as_ref().err().map(|&errno| fault(errno));
        let state = opened.map_or(State::Ended, |root| State::Between { root });
        // The empty path is the root's own.
        Scanner {
            state,
            waiting: vec![Vec::new()],
            report: ScanReport { failed, ..ScanReport::default() },
            empty_bytes: 0,
            path: root.to_owned(),
            own: OwnFiles::default(),
            volume: None,
            volumes: BTreeMap::new(),
            following: None,
        }
    }

    pub(crate) fn without(self, own: OwnFiles) -> Scanner {
        Scanner { own, ..self }
    }

    /// Follows links, and notes in `links` what they lead to.
    pub(crate) fn following(self, links: Option<Arc<FollowedLinks>>) -> Scanner {
        Scanner { following: links.map(Following::new), ..self }
    }

    /// Examines up to `entries_max` entries of directories. `wall_ns`: the wall clock, in nanoseconds since the epoch. After
    /// the end every step returns the report again.
    #[cfg(test)]
    pub(crate) fn step(&mut self, entries_max: usize, wall_ns: i64) -> ScanStep {
        self.step_while(entries_max, wall_ns, || true)
    }

    /// Examines entries as [`Scanner::step`], but no more after `goes_on` has said no, which is asked before each but the first: one
    /// may take seconds.
    pub(crate) fn step_while(&mut self, entries_max: usize, wall_ns: i64, goes_on: impl Fn() -> bool) -> ScanStep {
        let mut step = ScanStep::default();
        for entry in 0..entries_max.max(1) {
            if entry > 0 && !goes_on() {
                break;
            }
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Between { root } => self.open_next(root, wall_ns, &mut step),
                State::Reading { root, directory } => self.read_entry(root, directory, wall_ns, &mut step),
                State::Ended => {
                    step.ended = Some(self.report());
                    return step;
                }
            };
        }
        step
    }

    /// What was left out so far.
    pub(crate) fn report(&mut self) -> ScanReport {
        self.report.empty.sort();
        self.report.clone()
    }

    /// Leaves out a file whose name is too long where it is shared.
    pub(crate) fn refuse(&mut self, file: &FileName) {
        self.note_refused(file.as_bytes().to_vec());
    }

    fn open_next(&mut self, root: OwnedFd, wall_ns: i64, step: &mut ScanStep) -> State {
        let Some(path) = self.waiting.pop() else { return self.next_link(root, wall_ns, step) };
        let links = self.following.as_ref().map(Following::table);
        match Reading::open(&root, links, path) {
            Ok(directory) => {
                let is_top = directory.path.is_empty();
                let found = &directory.stat;
                let own = if is_top { self.own.of_top(found) } else { self.own.of_directory(found) };
                if let Some(reason) = own {
                    if !is_top {
                        self.report.left_out.note(reason, &directory.path);
                    }
                    return State::Between { root };
                }
                let entered = self.following.as_mut().map_or(Ok(()), |following| following.enter(&directory.stat));
                if let Err(reason) = entered {
                    self.report.left_out.note(reason, &directory.path);
                    return State::Between { root };
                }
                self.enter_volume(&directory, step);
                State::Reading { root, directory }
            }
            Err((path, errno)) => self.not_read(root, &path, errno),
        }
    }

    /// Determines the filesystem of a directory, if it is not that of the last one.
    fn enter_volume(&mut self, directory: &Reading, step: &mut ScanStep) {
        let device = directory.stat.st_dev;
        if self.volume.is_some_and(|(known, _)| known == device) {
            return;
        }
        if let Some(known) = self.volumes.get(&device) {
            self.volume = Some((device, *known));
            return;
        }
        // On an error the device number is used.
        let found = Volume::of(&directory.handle, device, &self.path, &directory.path).ok();
        self.volume = found.map(|found| (device, found));
        self.volumes.extend(self.volume);
        step.volumes.extend(self.volume);
    }

    fn not_read(&mut self, root: OwnedFd, path: &[u8], errno: Errno) -> State {
        match errno {
            // Our own shortage: the files of the directory may exist.
            Errno::EMFILE | Errno::ENFILE => return self.fail(errno),
            _ if path.is_empty() => return self.fail(errno),
            // Removed, or no directory any more.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => {}
            Errno::EXDEV => self.note_mount(path),
            Errno::EACCES | Errno::EPERM => self.note_denied(path),
            _ => return self.hide(root, path, errno),
        }
        State::Between { root }
    }

    /// Reports a path that an error hides: files known there stay in the library.
    fn hide(&mut self, root: OwnedFd, path: &[u8], errno: Errno) -> State {
        let name = FileName::from_bytes(path);
        self.note_unreadable(path, name.clone());
        match name {
            Some(name) if self.report.hidden.len() < HIDDEN_PLACES_MAX => self.report.hidden.push(name),
            _ => return self.fail(errno),
        }
        State::Between { root }
    }

    fn note_unreadable(&mut self, path: &[u8], name: Option<FileName>) {
        self.report.left_out.note(LeftOutReason::Unreadable, path);
        self.report.unreadable += 1;
        if self.report.unread.len() < NAMED_MAX {
            self.report.unread.extend(name);
        }
    }

    /// All of a directory was read. The empty path is the root's own.
    fn note_if_empty(&mut self, directory: &Reading) {
        if directory.is_empty
            && self.report.empty.len() < EMPTY_DIRECTORIES_MAX
            && self.empty_bytes + directory.path.len() <= EMPTY_DIRECTORIES_BYTES_MAX
            && let Some(name) = FileName::from_bytes(&directory.path)
        {
            self.empty_bytes += directory.path.len();
            self.report.empty.push(name);
        }
    }

    fn note_refused(&mut self, path: Vec<u8>) {
        let has_control = has_control(&path);
        let reason = if has_control { LeftOutReason::ControlByte } else { LeftOutReason::TooLong };
        self.report.left_out.note(reason, &path);
        self.report.names_refused += 1;
        if self.report.refused.len() < NAMED_MAX {
            self.report.refused.push(path.into());
        }
    }

    fn note_mount(&mut self, path: &[u8]) {
        self.report.left_out.note(LeftOutReason::OtherMount, path);
        self.report.other_mounts += 1;
        if self.report.mounts.len() < NAMED_MAX {
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
            None => {
                self.note_if_empty(&directory);
                return State::Between { root };
            }
            Some(Err(errno)) => return self.not_read(root, &directory.path, errno),
            Some(Ok(entry)) => entry,
        };
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") {
            // The directory itself, its parent, and what `downloads` shows.
            if !matches!(name, b"." | b"..") && !is_of_download(name) {
                self.report.left_out.note(LeftOutReason::Hidden, &directory.path_of(name));
            }
            return State::Reading { root, directory };
        }
        if directory.path.is_empty() && self.own.holds_name(name) {
            self.report.left_out.note(LeftOutReason::NameTaken, name);
            return State::Reading { root, directory };
        }
        let found = directory.examine(name, entry.file_type());
        let bytes = directory.path_of(name);
        let path = FileName::from_bytes(&bytes);
        let may_be_shared = matches!(found, Found::File(_) | Found::Directory | Found::Hidden(_));
        directory.is_empty &= !may_be_shared || path.is_none();
        if let (Some(following), Found::Directory | Found::File(_)) = (&self.following, &found) {
            following.table().forget(&bytes);
        }
        match (found, path) {
            (Found::Nothing, _) => {}
            (Found::Link, Some(path)) => self.note_link(&path),
            (Found::Unfit(reason), _) => self.report.left_out.note(reason, &bytes),
            (Found::Unreadable, path) => self.note_unreadable(&bytes, path),
            (Found::Hidden(errno), path) => {
                // A name that cannot be listed was never in the library.
                let Some(path) = path else { return State::Reading { root, directory } };
                return match self.hide(root, path.as_bytes(), errno) {
                    State::Between { root } => State::Reading { root, directory },
                    ended => ended,
                };
            }
            (_, None) => self.note_refused(bytes),
            (Found::Directory, path) if self.waiting.len() >= SCAN_DIRECTORIES_MAX => {
                self.note_unreadable(&bytes, path);
            }
            (Found::Directory, Some(path)) => self.waiting.push(path.as_bytes().to_vec()),
            (Found::File(stat), Some(file)) if !self.own.holds_file(identity(&directory.stat), name, &stat) => {
                step.note(scanned(file, &stat), self.volume.map(|(_, volume)| volume), wall_ns);
            }
            (Found::File(_), Some(_)) => self.report.left_out.note(LeftOutReason::Own, &bytes),
        }
        State::Reading { root, directory }
    }
}

impl Reading {
    fn open(root: &OwnedFd, links: Option<&FollowedLinks>, path: Vec<u8>) -> Result<Reading, (Vec<u8>, Errno)> {
        let at = if path.is_empty() { b"." } else { path.as_slice() };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let opened = match links {
            Some(links) => links.open(root.as_fd(), at, flags),
            None => open_beneath(root.as_fd(), at, flags),
        };
        let entries = opened.and_then(|handle| {
            let to_read = handle.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
            let stat = fstat(&handle)?;
            Ok((handle, stat, Dir::from_fd(to_read)?.into_iter()))
        });
        match entries {
            Ok((handle, stat, entries)) => Ok(Reading { path, handle, stat, entries, is_empty: true }),
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

    /// Stats an entry, unless the directory gives its type already.
    fn examine(&self, name: &[u8], known: Option<Type>) -> Found {
        match known {
            Some(Type::Directory) => return Found::Directory,
            Some(Type::File) | None => {}
            Some(Type::Symlink) => return Found::Link,
            Some(_) => return Found::Unfit(LeftOutReason::NotRegular),
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
            SFlag::S_IFLNK => Found::Link,
            _ => Found::Unfit(LeftOutReason::NotRegular),
        }
    }

    /// Whether the file could be opened. Those that all users may read need no call.
    fn may_read(&self, name: &[u8], stat: &FileStat) -> bool {
        let everybody = Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH;
        Mode::from_bits_truncate(stat.st_mode).contains(everybody)
            || faccessat(&self.handle, name, AccessFlags::R_OK, AtFlags::AT_EACCESS) != Err(Errno::EACCES)
    }
}

fn fault(errno: Errno) -> DiskFault {
    std::io::Error::from(errno).into()
}

#[cfg(test)]
mod tests;

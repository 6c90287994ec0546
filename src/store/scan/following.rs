//! Following symbolic links. First all that the share has without them is read; then the links, by name, one after the other: so
//! that it does not depend on the order of a directory what is shared under which name.
//!
//! Each directory is read once: one that is in the share, or that an earlier link led to, is left out, and a loop ends there. Links
//! to files come last; a file that stands in a directory that was read, or that another link leads to, is left out.

use super::{ScanStep, Scanner, State};
use crate::left_out::LeftOutReason;
use crate::name::FileName;
use crate::store::links::{FollowedLinks, Targets};
use crate::store::own::{Identity, identity};
use crate::store::usable::is_sandboxed;
use crate::store::volume::Volume;
use crate::store::{file_type, scanned};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat, stat};
use nix::unistd::{AccessFlags, eaccess};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Links that one scan follows.
const LINKS_MAX: usize = if cfg!(test) { 16 } else { 16_384 };

/// Bytes of their paths.
const LINKS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Directories that one scan remembers to have read. If the share itself has more, no link is followed.
const DIRECTORIES_MAX: usize = if cfg!(test) { 16 } else { 1_000_000 };

#[derive(Debug)]
pub(super) struct Following {
    table: Arc<FollowedLinks>,
    /// Links that were not looked at yet.
    waiting: BTreeSet<Box<[u8]>>,
    /// Links to files.
    to_files: BTreeSet<Box<[u8]>>,
    /// All links of this scan, with the bytes of their paths.
    links: (usize, usize),
    /// The directories that were read.
    directories: HashSet<Identity>,
    /// The files that links lead to.
    files: HashSet<Identity>,
    followed: Targets,
}

/// A file that a link leads to: its name in the share, and its filesystem if that is known.
type Target = (FileName, FileStat, Option<Volume>);

/// What a link leads to, by the paths of the system.
struct Place {
    path: PathBuf,
    /// The directory of a file.
    directory: Identity,
}

impl Following {
    pub(super) fn new(table: Arc<FollowedLinks>) -> Self {
        Self {
            table,
            waiting: BTreeSet::new(),
            to_files: BTreeSet::new(),
            links: (0, 0),
            directories: HashSet::new(),
            files: HashSet::new(),
            followed: Targets::new(),
        }
    }

    pub(super) fn table(&self) -> &FollowedLinks {
        &self.table
    }

    /// Whether a directory is read now, and why not.
    pub(super) fn enter(&mut self, directory: &FileStat) -> Result<(), LeftOutReason> {
        if self.directories.contains(&identity(directory)) {
            return Err(LeftOutReason::SharedAlready);
        }
        if self.directories.len() < DIRECTORIES_MAX {
            self.directories.insert(identity(directory));
        } else if !self.followed.is_empty() {
            return Err(LeftOutReason::TooMany);
        }
        Ok(())
    }

    fn take(&mut self, path: &FileName) -> bool {
        let (count, bytes) = (self.links.0 + 1, self.links.1 + path.as_bytes().len());
        let has_room = count <= LINKS_MAX && bytes <= LINKS_BYTES_MAX;
        if has_room {
            self.links = (count, bytes);
            self.waiting.insert(path.as_bytes().into());
        }
        has_room
    }

    fn follow(&mut self, path: &[u8], target: Identity) {
        self.table.note(path, target);
        self.followed.insert(path.into(), target);
    }
}

impl Scanner {
    /// A link in a directory.
    pub(super) fn note_link(&mut self, path: &FileName) {
        let left_out = match &mut self.following {
            None => Some(LeftOutReason::Symlink),
            Some(following) => (!following.take(path)).then_some(LeftOutReason::TooMany),
        };
        if let Some(reason) = left_out {
            self.report.left_out.note(reason, path.as_bytes());
        }
    }

    /// All directories found so far were read: goes on with the next link.
    pub(super) fn next_link(&mut self, root: OwnedFd, wall_ns: i64, step: &mut ScanStep) -> State {
        let Some(following) = &mut self.following else { return State::Ended };
        if let Some(path) = following.waiting.pop_first() {
            return self.look_through(root, &path);
        }
        if let Some(path) = following.to_files.pop_first() {
            return self.share_target(root, &path, wall_ns, step);
        }
        // What is known at or beneath a path that an error hides stays shared.
        let hidden = &self.report.hidden;
        let is_hidden = |path: &[u8]| hidden.iter().any(|place| is_at_or_beneath(path, place.as_bytes()));
        following.table.replace(std::mem::take(&mut following.followed), is_hidden);
        State::Ended
    }

    fn look_through(&mut self, root: OwnedFd, path: &[u8]) -> State {
        let Some(following) = &self.following else { return State::Ended };
        let opened = following.table.open_now(root.as_fd(), path, OFlag::O_PATH);
        let found = match opened.and_then(|opened| fstat(&opened)) {
            Ok(found) => found,
            Err(errno) => return self.not_followed(root, path, errno),
        };
        let left_out = match file_type(&found) {
            SFlag::S_IFREG => None,
            SFlag::S_IFDIR => self.directory_left_out(path, &found),
            _ => Some(LeftOutReason::NotRegular),
        };
        match (left_out, &mut self.following) {
            (Some(reason), _) => self.report.left_out.note(reason, path),
            (None, Some(following)) if file_type(&found) == SFlag::S_IFDIR => {
                following.follow(path, identity(&found));
                self.waiting.push(path.to_vec());
            }
            (None, Some(following)) => drop(following.to_files.insert(path.into())),
            (None, None) => {}
        }
        State::Between { root }
    }

    fn directory_left_out(&self, path: &[u8], found: &FileStat) -> Option<LeftOutReason> {
        let following = self.following.as_ref()?;
        if following.directories.contains(&identity(found)) {
            return Some(LeftOutReason::SharedAlready);
        }
        if following.directories.len() >= DIRECTORIES_MAX {
            return Some(LeftOutReason::TooMany);
        }
        match self.place_of(path, identity(found)) {
            None => Some(LeftOutReason::Dangling),
            Some(place) => self.own.of_path(&place.path),
        }
    }

    fn not_followed(&mut self, root: OwnedFd, path: &[u8], errno: Errno) -> State {
        let reason = match errno {
            Errno::EMFILE | Errno::ENFILE => return self.fail(errno),
            // The links of /proc that are no paths end in the same error.
            Errno::ELOOP => LeftOutReason::Loop,
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => LeftOutReason::Dangling,
            Errno::EACCES | Errno::EPERM => {
                self.note_denied(path);
                return State::Between { root };
            }
            errno => return self.hide(root, path, errno),
        };
        self.report.left_out.note(reason, path);
        State::Between { root }
    }

    /// A file that a link leads to.
    fn share_target(&mut self, root: OwnedFd, path: &[u8], wall_ns: i64, step: &mut ScanStep) -> State {
        match self.open_target(&root, path) {
            Ok(Ok((name, found, volume))) => {
                if let Some(volume) = volume
                    && self.volumes.insert(found.st_dev, volume).is_none()
                {
                    step.volumes.push((found.st_dev, volume));
                }
                step.note(scanned(name, &found), volume, wall_ns);
            }
            Ok(Err(reason)) => self.report.left_out.note(reason, path),
            Err(errno) => return self.not_followed(root, path, errno),
        }
        State::Between { root }
    }

    /// The file and its filesystem, or why it is not shared. It is opened, since only that shows what the sandbox forbids.
    fn open_target(&mut self, root: &OwnedFd, path: &[u8]) -> Result<Result<Target, LeftOutReason>, Errno> {
        let (Some(following), Some(name)) = (&self.following, FileName::from_bytes(path)) else {
            return Ok(Err(LeftOutReason::Symlink));
        };
        let table = Arc::clone(&following.table);
        let there = fstat(table.open_now(root.as_fd(), path, OFlag::O_PATH)?)?;
        if let Some(reason) = self.target_left_out(path, &there) {
            return Ok(Err(reason));
        }
        let opened = table.open_now(root.as_fd(), path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        let found = fstat(&opened)?;
        if identity(&found) != identity(&there) {
            return Ok(Err(LeftOutReason::Dangling));
        }
        if let Some(following) = &mut self.following {
            following.files.insert(identity(&found));
            following.follow(path, identity(&found));
        }
        let known = self.volumes.get(&found.st_dev).copied();
        let volume = known.or_else(|| Volume::of(&opened, found.st_dev, &self.path, path).ok());
        Ok(Ok((name, found, volume)))
    }

    fn target_left_out(&self, path: &[u8], found: &FileStat) -> Option<LeftOutReason> {
        let following = self.following.as_ref()?;
        if file_type(found) != SFlag::S_IFREG {
            return Some(LeftOutReason::NotRegular);
        }
        let Some(place) = self.place_of(path, identity(found)) else { return Some(LeftOutReason::Dangling) };
        let last = place.path.file_name().unwrap_or_default().as_bytes();
        if let Some(reason) = self.own.of_path(&place.path) {
            return Some(reason);
        }
        if self.own.holds_file(place.directory, last, found) {
            return Some(LeftOutReason::Own);
        }
        // In a directory that was read it has a name already, unless that is left out.
        let has_name = !last.starts_with(b".") && FileName::from_bytes(last).is_some();
        let is_shared = has_name && following.directories.contains(&place.directory);
        (is_shared || following.files.contains(&identity(found))).then_some(LeftOutReason::SharedAlready)
    }

    /// Where a link leads by the paths of the system, if that is still this directory or file.
    fn place_of(&self, path: &[u8], target: Identity) -> Option<Place> {
        let path = std::fs::canonicalize(self.path.join(OsStr::from_bytes(path))).ok()?;
        let directory = identity(&stat(path.parent().unwrap_or(&path)).ok()?);
        let is_same = identity(&stat(&path).ok()?) == target;
        is_same.then_some(Place { path, directory })
    }

    /// What the permissions or the sandbox of this process forbid to read; access(2) knows nothing of the latter.
    pub(super) fn note_denied(&mut self, path: &[u8]) {
        let readable = || eaccess(&self.path.join(OsStr::from_bytes(path)), AccessFlags::R_OK).is_ok();
        if self.following.is_some() && is_sandboxed() && readable() {
            self.report.left_out.note(LeftOutReason::OutsideSandbox, path);
        } else {
            self.note_unreadable(path, FileName::from_bytes(path));
        }
    }
}

fn is_at_or_beneath(path: &[u8], place: &[u8]) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests;

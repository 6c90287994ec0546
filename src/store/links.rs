//! The symbolic links of the share that are followed, and what each led to when the share was scanned.
//!
//! A path is opened link by link: what a link leads to must be the directory or file that the scan found there, and what stands
//! between two links is opened without any other one. So a link that is changed after the scan leads nowhere until the next one.

use super::beneath::{open_beneath, open_led_to};
use super::own::{Identity, identity};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{PoisonError, RwLock};

/// The links by their paths in the share.
pub(super) type Targets = BTreeMap<Box<[u8]>, Identity>;

#[derive(Debug, Default)]
pub(crate) struct FollowedLinks(RwLock<Targets>);

impl FollowedLinks {
    /// From now on, the link is followed to this directory or file.
    pub(super) fn note(&self, path: &[u8], target: Identity) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(path.into(), target);
    }

    /// There is no link any more: a directory or a file has its path.
    pub(super) fn forget(&self, path: &[u8]) {
        let is_known = self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(path);
        if is_known {
            self.0.write().unwrap_or_else(PoisonError::into_inner).remove(path);
        }
    }

    /// Whether a path passes a link that is followed.
    pub(super) fn are_on(&self, path: &[u8]) -> bool {
        !self.on(path).is_empty()
    }

    /// Follows no other links any more, but for those that `keeps` names.
    pub(super) fn replace(&self, mut targets: Targets, keeps: impl Fn(&[u8]) -> bool) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let kept = known.iter().filter(|(path, _)| keeps(path) && !targets.contains_key(*path));
        let kept: Vec<_> = kept.map(|(path, target)| (path.clone(), *target)).collect();
        targets.extend(kept);
        *known = targets;
    }

    /// Opens a path beneath the share.
    /// Errors: `ELOOP` if a link on it is not followed, or leads elsewhere by now; otherwise as the system reports.
    pub(super) fn open(&self, root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        let links = self.on(path);
        let (mut last, mut from) = (None::<OwnedFd>, 0);
        for (end, target) in links {
            let base = last.as_ref().map_or(root, AsFd::as_fd);
            let used = if end == path.len() { flags } else { OFlag::O_PATH };
            last = Some(open_target(base, &path[from..end], target, used)?);
            from = end + 1;
        }
        match last {
            Some(target) if from > path.len() => Ok(target),
            last => open_beneath(last.as_ref().map_or(root, AsFd::as_fd), &path[from..], flags),
        }
    }

    /// Opens what a link in the share leads to now.
    pub(super) fn open_now(&self, root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        let (directory, name) = split(path);
        let directory = self.open(root, directory, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        open_led_to(directory.as_fd(), name, flags)
    }

    /// Those that a path passes: where the path of each ends, and what it leads to.
    fn on(&self, path: &[u8]) -> Vec<(usize, Identity)> {
        let targets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if targets.is_empty() {
            return Vec::new();
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        ends.filter_map(|end| Some((end, *targets.get(&path[..end])?))).collect()
    }
}

/// Opens what a link at a path beneath a directory leads to, if that is this directory or file.
fn open_target(base: BorrowedFd<'_>, path: &[u8], target: Identity, flags: OFlag) -> Result<OwnedFd, Errno> {
    let (directory, name) = split(path);
    let directory = open_beneath(base, directory, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let open = |flags| {
        let opened = open_led_to(directory.as_fd(), name, flags)?;
        if identity(&fstat(&opened)?) == target { Ok(opened) } else { Err(Errno::ELOOP) }
    };
    // Before it is opened for reading: that has an effect on some devices.
    let found = open(OFlag::O_PATH)?;
    if flags.contains(OFlag::O_PATH) { Ok(found) } else { open(flags) }
}

/// A path as directory, which may be `.`, and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b".", path),
    }
}

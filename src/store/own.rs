//! The daemon's own files, which are never shared: recognised by device and inode, also through symbolic links and bind mounts.
//!
//! Part files and journals are not listed here: their names begin with a dot, and such names are never shared.

use crate::left_out::LeftOutReason;
use crate::name::FileName;
use nix::sys::stat::{FileStat, fstat, stat};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Device and inode.
pub(super) type Identity = (u64, u64);

#[derive(Debug, Default)]
pub(crate) struct OwnFiles {
    /// With everything beneath them.
    directories: Vec<Identity>,
    files: Vec<Identity>,
    /// Other shares, with everything beneath them: they have names of their own.
    shares: Vec<Identity>,
    /// Their paths, without links where that is known: a share that cannot be examined now is recognised by it.
    share_paths: Vec<PathBuf>,
    /// What the names of files in other shares begin with.
    names: Vec<FileName>,
    /// The directory and the name of each log. Rotated logs have longer names in the same directory.
    logs: Vec<(Identity, Vec<u8>)>,
}

/// A share, as the scans of others recognise it.
#[derive(Debug, Clone)]
pub(crate) struct OtherShare {
    /// Without links where that is known.
    path: PathBuf,
    identity: Option<Identity>,
}

impl OtherShare {
    /// Looks at it. Waits for the disk.
    pub(crate) fn at(path: &Path) -> Self {
        let identity = stat(path).ok().map(|found| identity(&found));
        Self { path: path.canonicalize().unwrap_or_else(|_| path.to_owned()), identity }
    }

    /// One that cannot be examined now.
    pub(crate) fn unknown(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: None }
    }
}

impl OwnFiles {
    /// Excludes a directory, if it exists.
    pub(crate) fn directory(&mut self, path: &Path) {
        self.directories.extend(stat(path).ok().map(|found| identity(&found)));
    }

    /// Excludes another share.
    pub(crate) fn share(&mut self, other: &OtherShare) {
        self.share_paths.push(other.path.clone());
        self.shares.extend(other.identity);
    }

    /// Excludes what has a name at the top of the share that another share has.
    pub(crate) fn name(&mut self, name: &FileName) {
        self.names.push(name.clone());
    }

    /// Excludes a log file, and those of `logrotate`: its name followed by `.` or `-`.
    pub(crate) fn log(&mut self, path: &Path) {
        self.files.extend(stat(path).ok().map(|found| identity(&found)));
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let (Ok(found), Some(name)) = (stat(directory), path.file_name()) {
            self.logs.push((identity(&found), name.as_bytes().to_vec()));
        }
    }

    /// Excludes the files to which standard output and standard error are redirected.
    pub(crate) fn standard_streams(&mut self) {
        let streams = [fstat(std::io::stdout()), fstat(std::io::stderr())];
        self.files.extend(streams.into_iter().flatten().map(|found| identity(&found)));
    }

    /// Why a directory is left out, if it is.
    pub(super) fn of_directory(&self, found: &FileStat) -> Option<LeftOutReason> {
        let found = identity(found);
        let own = self.directories.contains(&found).then_some(LeftOutReason::Own);
        own.or_else(|| self.shares.contains(&found).then_some(LeftOutReason::SharedAlready))
    }

    /// Why a path, which has no links, is left out, if it leads into one of the directories, or to it.
    pub(super) fn of_path(&self, path: &Path) -> Option<LeftOutReason> {
        if self.directories.is_empty() && self.share_paths.is_empty() {
            return None;
        }
        if self.share_paths.iter().any(|share| path.starts_with(share)) {
            return Some(LeftOutReason::SharedAlready);
        }
        path.ancestors().find_map(|path| self.of_directory(&stat(path).ok()?))
    }

    /// Why the top directory of a share is left out, if it is. It may be that of another share by a bind mount.
    pub(super) fn of_top(&self, found: &FileStat) -> Option<LeftOutReason> {
        self.directories.contains(&identity(found)).then_some(LeftOutReason::Own)
    }

    /// Whether another share has this name, of what is at the top of the share.
    pub(super) fn holds_name(&self, name: &[u8]) -> bool {
        self.names.iter().any(|taken| taken.as_bytes() == name)
    }

    pub(super) fn holds_file(&self, directory: Identity, name: &[u8], found: &FileStat) -> bool {
        self.files.contains(&identity(found))
            || self.logs.iter().any(|(place, log)| *place == directory && is_of_log(name, log))
    }
}

fn is_of_log(name: &[u8], log: &[u8]) -> bool {
    name.strip_prefix(log).is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'-')))
}

pub(super) fn identity(found: &FileStat) -> Identity {
    (found.st_dev, found.st_ino)
}

//! The daemon's own files, which are never shared: recognised by device and inode, also through symbolic links and bind mounts.
//!
//! Part files and journals are not listed here: their names begin with a dot, and such names are never shared.

use nix::sys::stat::{FileStat, fstat, stat};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Device and inode.
pub(super) type Identity = (u64, u64);

#[derive(Debug, Default)]
pub(crate) struct OwnFiles {
    /// With everything beneath them.
    directories: Vec<Identity>,
    files: Vec<Identity>,
    /// The directory and the name of each log. Rotated logs have longer names in the same directory.
    logs: Vec<(Identity, Vec<u8>)>,
}

impl OwnFiles {
    /// Excludes a directory, if it exists.
    pub(crate) fn directory(&mut self, path: &Path) {
        self.directories.extend(stat(path).ok().map(|found| identity(&found)));
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

    pub(super) fn holds_directory(&self, found: &FileStat) -> bool {
        self.directories.contains(&identity(found))
    }

    /// Whether a path, which has no links, leads into one of the directories, or to it.
    pub(super) fn holds_path(&self, path: &Path) -> bool {
        let is_held = |path: &Path| stat(path).is_ok_and(|found| self.holds_directory(&found));
        !self.directories.is_empty() && path.ancestors().any(is_held)
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

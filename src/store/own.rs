//! The daemon's own files, which are never shared, wherever they lie: recognised by device and inode, so that a symbolic
//! link or a bind mount in the configuration changes nothing.
//!
//! Part files and journals are not listed here: their names begin with a dot, and no such name is shared.

use nix::sys::stat::{FileStat, fstat, stat};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

type Identity = (u64, u64);

#[derive(Debug, Default)]
pub(crate) struct OwnFiles {
    /// With all that is beneath them.
    directories: Vec<Identity>,
    files: Vec<Identity>,
    /// Of a log: its directory and its name. Rotated logs stand beside it under longer names.
    logs: Vec<(Identity, Vec<u8>)>,
}

impl OwnFiles {
    /// Leaves out a directory. One that is not there is passed over.
    pub(crate) fn directory(&mut self, path: &Path) {
        self.directories.extend(stat(path).ok().map(|found| identity(&found)));
    }

    /// Leaves out a log file, and what `logrotate` makes of it: names that go on with `.` or `-` after its own.
    pub(crate) fn log(&mut self, path: &Path) {
        self.files.extend(stat(path).ok().map(|found| identity(&found)));
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let (Ok(found), Some(name)) = (stat(directory), path.file_name()) {
            self.logs.push((identity(&found), name.as_bytes().to_vec()));
        }
    }

    /// Leaves out the files that standard output and standard error are redirected to.
    pub(crate) fn standard_streams(&mut self) {
        let streams = [fstat(std::io::stdout()), fstat(std::io::stderr())];
        self.files.extend(streams.into_iter().flatten().map(|found| identity(&found)));
    }

    /// Whether all of a directory is to be left out.
    pub(super) fn holds_directory(&self, found: &FileStat) -> bool {
        self.directories.contains(&identity(found))
    }

    /// Whether a file of this name in this directory is to be left out.
    pub(super) fn holds_file(&self, directory: Identity, name: &[u8], found: &FileStat) -> bool {
        self.files.contains(&identity(found))
            || self.logs.iter().any(|(place, log)| *place == directory && is_of_log(name, log))
    }
}

fn is_of_log(name: &[u8], log: &[u8]) -> bool {
    name.strip_prefix(log).is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'-')))
}

/// What tells a file or directory from all others.
pub(super) fn identity(found: &FileStat) -> Identity {
    (found.st_dev, found.st_ino)
}

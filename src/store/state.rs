//! The state directory: files that survive restarts, for one daemon at a time.

use super::durable::Replacing;
use super::usable::{check_file, check_writable_directory};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

pub(crate) const STATE_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The lock file of the daemon, which contains its process id.
const LOCK_FILE: &str = "lock";

/// The log of downloads, without which no daemon starts.
pub(crate) const RECORDS_FILE: &str = "downloads";

/// The name of a file while it is written.
pub(super) fn new_name(file: &str) -> String {
    format!(".{file}.new")
}

/// Why a state directory could not be opened.
#[derive(Debug, Error)]
pub enum StateFault {
    /// Another daemon uses it.
    #[error(
        "in use by another pyrated{}; stop that one, or name another directory for this one",
        if *pid == 0 { String::new() } else { format!(" (process {pid})") }
    )]
    InUse {
        /// Its process id; 0 if it has not written it yet.
        pid: u32,
    },
    /// The system reports an error.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A locked state directory. The lock is released when all handles are dropped.
#[derive(Debug)]
pub(crate) struct StateDirectory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Held for its lock.
    _lock: Flock<File>,
}

impl StateDirectory {
    /// Creates the directory if it is missing, for its owner only, and locks it.
    /// Errors: [`StateFault::InUse`] if another daemon uses it; [`StateFault::Io`] as the system reports.
    pub(crate) fn open(path: &Path) -> Result<StateDirectory, StateFault> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(nix::libc::O_NOFOLLOW).open(path.join(LOCK_FILE))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((file, Errno::EWOULDBLOCK)) => return Err(StateFault::InUse { pid: read_pid(file) }),
            Err((_, errno)) => return Err(StateFault::Io(errno.into())),
        };
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self(Arc::new(Shared { path: path.to_owned(), _lock: lock })))
    }

    /// Checks that [`StateDirectory::open`] can use the directory, apart from another daemon. Errors name the file.
    pub(crate) fn check(path: &Path) -> io::Result<()> {
        check_writable_directory(path)?;
        for file in [LOCK_FILE, RECORDS_FILE] {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("the file `{file}` in it: {error}"));
            check_file(&path.join(file)).map_err(named)?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Another handle, which also keeps the lock.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Reads a whole file; `None` if there is none.
    /// Errors: as the system reports them; [`io::ErrorKind::InvalidData`] for more than [`STATE_FILE_BYTES_MAX`], and for
    /// anything but a regular file; [`io::ErrorKind::InvalidInput`] for a name that is not one component.
    pub(crate) fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>> {
        check_name(file)?;
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let opened = match OpenOptions::new().read(true).custom_flags(flags).open(self.0.path.join(file)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !opened.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        let mut bytes = Vec::new();
        opened.take(STATE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > STATE_FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than a state file can be"));
        }
        Ok(Some(bytes))
    }

    /// Replaces a file atomically. Waits for the disk. Only one write of a file may run at a time.
    /// Errors: as the system reports them, and [`io::ErrorKind::InvalidInput`] for a name that is not one component. Then the
    /// old file is unchanged, unless only syncing the directory failed.
    pub(crate) fn write(&self, file: &str, bytes: &[u8]) -> io::Result<()> {
        check_name(file)?;
        let (directory, new) = (File::open(self.path())?, new_name(file));
        Replacing { directory: directory.as_fd(), new: new.as_bytes(), name: file.as_bytes() }.replace(bytes)
    }

    /// Removes a file, if it is there. Waits for the disk.
    /// Errors: as the system reports them.
    pub(crate) fn remove(&self, file: &str) -> io::Result<()> {
        check_name(file)?;
        match fs::remove_file(self.path().join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the files whose names begin so, but for those that are wanted; and what was left of writing such files. Waits for
    /// the disk.
    /// Errors: as the system reports them of the directory.
    pub(crate) fn retain(&self, beginning: &str, is_wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(self.path())? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_unfinished = name.starts_with('.') && name[1..].starts_with(beginning);
            if is_unfinished || name.starts_with(beginning) && !is_wanted(name) {
                let _ = fs::remove_file(self.path().join(name));
            }
        }
        Ok(())
    }
}

/// A state file's name is one plain component, and not that of the lock.
pub(super) fn check_name(file: &str) -> io::Result<()> {
    let good = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\0']) && file != LOCK_FILE;
    if good { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a state file")) }
}

/// The process id in the lock file of another process; 0 if none can be read.
fn read_pid(file: File) -> u32 {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::recorder;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn open() -> (tempfile::TempDir, StateDirectory) {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&scratch.path().join("state/pyrate")).unwrap();
        (scratch, state)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let (_scratch, state) = open();
        assert_eq!(state.read("peers").unwrap(), None);
        state.write("peers", b"old").unwrap();
        // A crash in the middle of a later write leaves this behind.
        fs::write(state.path().join(".peers.new"), b"a longer half of something").unwrap();
        assert_eq!(state.read("peers").unwrap().unwrap(), b"old");
        state.write("peers", b"new").unwrap();
        assert_eq!(state.read("peers").unwrap().unwrap(), b"new");
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 2);
        assert_eq!((mode(state.path()), mode(&state.path().join("peers"))), (0o700, 0o600));
    }

    #[test]
    fn a_second_daemon_learns_the_owner_until_the_last_job_has_ended() {
        let (_scratch, state) = open();
        let path = state.path().to_owned();
        let own = std::process::id();
        let is_in_use = || matches!(StateDirectory::open(&path), Err(StateFault::InUse { pid }) if pid == own);
        assert!(is_in_use());
        let of_job = state.share();
        drop(state);
        assert!(is_in_use());
        of_job.write("a", b"last words").unwrap();
        drop(of_job);
        assert_eq!(StateDirectory::open(&path).unwrap().read("a").unwrap().unwrap(), b"last words");
    }

    #[test]
    fn other_files_are_not_touched() {
        let (scratch, state) = open();
        for name in ["", ".", "..", "../x", "a/b", "lock", ".hidden", "a\0"] {
            assert_eq!(state.read(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(state.write(name, b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        fs::write(scratch.path().join("outside"), b"outside").unwrap();
        symlink("../../outside", state.path().join("link")).unwrap();
        assert!(state.read("link").is_err());
        nix::unistd::mkfifo(&state.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(state.read("fifo").unwrap_err().kind(), io::ErrorKind::InvalidData);
        let large = File::create(state.path().join("large")).unwrap();
        large.set_len(STATE_FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(state.read("large").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn files_of_a_kind_are_removed_but_for_those_that_are_wanted() {
        let (_scratch, state) = open();
        for name in ["m-1", "m-2", "peers"] {
            state.write(name, b"x").unwrap();
        }
        fs::write(state.path().join(".m-3.new"), b"half").unwrap();
        state.retain("m-", |name| name == "m-2").unwrap();
        let names = |state: &StateDirectory| {
            let mut names: Vec<_> =
                fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&state), ["lock", "m-2", "peers"]);
        state.remove("m-2").unwrap();
        state.remove("m-2").unwrap();
        assert_eq!(names(&state), ["lock", "peers"]);
        assert!(state.remove("lock").is_err());
    }

    #[test]
    fn a_file_whose_name_could_not_be_synced_is_not_saved() {
        let (_scratch, state) = open();
        recorder::fail_next(recorder::Call::SyncDirectory, nix::libc::EIO);
        assert!(state.write("a", b"x").is_err());
        state.write("a", b"x").unwrap();
        assert_eq!(state.read("a").unwrap().unwrap(), b"x");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_new() {
        let (_scratch, state) = open();
        fs::create_dir(state.path().join("a")).unwrap();
        fs::write(state.path().join("a/inside"), b"").unwrap();
        assert!(state.write("a", b"x").is_err());
        assert!(!state.path().join(".a.new").exists());
        assert!(state.path().join("a/inside").exists());
    }
}

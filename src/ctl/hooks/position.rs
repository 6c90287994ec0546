//! How far `events --exec` came: a file that is replaced whole, for one process at a time.

use super::super::clock::Deadline;
use super::super::wording::{BadPosition, Failure};
use crate::control::{CallError, paths};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file in the state directory of the user, or of the unit.
const FILE: &str = "hooks";

const LOCK_WAIT: Duration = Duration::from_secs(2);

const LOCK_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The log that the id is from.
    pub(super) log: String,
    /// The last event that was dealt with; 0 before the first.
    pub(super) done: u64,
}

pub(super) struct PositionFile {
    path: PathBuf,
    position: Option<Position>,
    /// Held for its lock.
    _lock: Flock<File>,
}

impl PositionFile {
    /// Opens the file named, or the usual one. The directory is created if it is missing.
    pub(super) fn open(named: Option<PathBuf>) -> Result<Self, CallError> {
        let path = named.or_else(usual).ok_or(Failure::NoPlaceForPosition)?;
        let failed = |why| Failure::Position { path: path.clone(), why };
        let io_failed = |error: io::Error| failed(BadPosition::Io(error.to_string()));
        let (Some(directory), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(failed(BadPosition::NoFile).into());
        };
        if !directory.as_os_str().is_empty() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_failed)?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(beside(&path, ".lock"));
        let lock = match lock(file.map_err(io_failed)?) {
            Ok(lock) => lock,
            Err(Errno::EWOULDBLOCK) => return Err(failed(BadPosition::InUse).into()),
            Err(errno) => return Err(io_failed(errno.into()).into()),
        };
        let position = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|_| failed(BadPosition::Content))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_failed(error).into()),
        };
        Ok(Self { path, position, _lock: lock })
    }

    pub(super) fn get(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Until the next save, which replaces what is in the file.
    pub(super) fn forget(&mut self) {
        self.position = None;
    }

    /// Errors: If it is not on the disk. Then the file has what was saved before, or this.
    pub(super) fn save(&mut self, position: Position) -> Result<(), CallError> {
        replace(&self.path, &position)
            .map_err(|error| Failure::Position { path: self.path.clone(), why: BadPosition::Io(error.to_string()) })?;
        self.position = Some(position);
        Ok(())
    }
}

/// Waits a little: a process that is being started for one that was killed holds the lock as well, until its program runs.
fn lock(mut file: File) -> Result<Flock<File>, Errno> {
    let until = Deadline::after(LOCK_WAIT);
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((again, Errno::EWOULDBLOCK)) if !until.has_passed() => file = again,
            Err((_, errno)) => return Err(errno),
            Ok(lock) => return Ok(lock),
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
}

fn replace(path: &Path, position: &Position) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(position)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn usual() -> Option<PathBuf> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    Some(paths::default_state_directory(env)?.join(FILE))
}

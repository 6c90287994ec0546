//! Finding the daemon, and what to tell a user when there is none.

use super::connection::Connection;
use crate::control::{CallError, ExitCode, paths};
use crate::name::Escaped;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connects to the socket that the user named, or to the first daemon that answers where daemons usually are.
///
/// # Errors
///
/// [`ExitCode::NoDaemon`], naming the sockets tried and what to do.
pub(super) fn connect(named: Option<&Path>, timeout: Duration) -> Result<Connection, CallError> {
    let tried = match named {
        Some(path) => vec![path.to_path_buf()],
        None => paths::default_sockets_for_client(|name| std::env::var_os(name)),
    };
    let mut failures: Vec<(&PathBuf, io::Error)> = Vec::new();
    for path in &tried {
        match Connection::open(path, timeout) {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push((path, error)),
        }
    }
    Err(explain(&failures))
}

/// Says the one failure that somebody can do something about: a daemon that we may not talk to, else a socket that is
/// there but does not answer, else that there is none.
fn explain(failures: &[(&PathBuf, io::Error)]) -> CallError {
    let find = |wanted: fn(io::ErrorKind) -> bool| failures.iter().find(|(_, error)| wanted(error.kind()));
    let message = if let Some((path, _)) = find(|kind| kind == io::ErrorKind::PermissionDenied) {
        denied(path)
    } else if let Some((path, _)) = find(|kind| matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)) {
        return CallError::new(ExitCode::TimedOut, format!("the daemon at {} accepts no connection", shown(path)));
    } else {
        let places: Vec<String> =
            failures.iter().map(|(path, error)| format!("{} ({})", shown(path), reason(error))).collect();
        let places = places.join(", ");
        format!("no daemon answers at {places}; start one with 'pyrated', or 'systemctl start pyrated'")
    };
    CallError::new(ExitCode::NoDaemon, message)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens".into(),
        _ => Escaped(error.to_string().as_bytes()).to_string(),
    }
}

/// Which group opens the door: that of the socket, or of the directory that hides it.
fn denied(path: &Path) -> String {
    let group = path.ancestors().find_map(|place| place.metadata().ok()).map(|found| found.gid());
    let advice = group.map(|gid| match nix::unistd::Group::from_gid(gid.into()) {
        Ok(Some(group)) => format!("; members of the group '{}' may: ask to be added, then log in again", group.name),
        _ => format!("; members of the group {gid} may"),
    });
    format!("not permitted to talk to the daemon at {}{}", shown(path), advice.unwrap_or_default())
}

fn shown(path: &Path) -> String {
    let path: &OsStr = path.as_ref();
    Escaped(path.as_encoded_bytes()).to_string()
}

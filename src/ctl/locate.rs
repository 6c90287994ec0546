//! Finding the daemon, and what to tell a user when there is none.

use super::connection::Connection;
use crate::control::{CallError, ExitCode, paths};
use crate::name::Escaped;
use nix::unistd::{Group, User};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Largest configuration file that is read, in bytes; a daemon refuses larger ones, too.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Connects to the socket that the user named, or to the first daemon that answers where the configuration says or
/// daemons usually are.
///
/// # Errors
///
/// [`ExitCode::NoDaemon`], naming the sockets tried and what to do.
pub(super) fn connect(named: Option<&Path>, timeout: Duration) -> Result<Connection, CallError> {
    let (tried, remarks) = match named {
        Some(path) => (vec![path.to_path_buf()], Vec::new()),
        None => places(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
    };
    let mut failures: Vec<(&PathBuf, io::Error)> = Vec::new();
    for path in &tried {
        match Connection::open(path, timeout) {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push((path, error)),
        }
    }
    Err(explain(&failures, &remarks))
}

/// The sockets to try, in this order, and remarks on the configuration files for the case that none answers.
fn places(env: impl Fn(&str) -> Option<OsString>) -> (Vec<PathBuf>, Vec<String>) {
    let (mut configured, mut remarks) = ([None, None], Vec::new());
    // The daemon does not use the key of its file then, either.
    if env(paths::SOCKET_VARIABLE).is_none() {
        let files = paths::configuration_files(&env);
        let there = files.iter().filter_map(|file| Some((file, configured_socket(&env, file)?)));
        for (place, (file, socket)) in configured.iter_mut().zip(there) {
            match socket {
                Ok(socket) => *place = socket,
                Err(why) => remarks.push(format!("{} is ignored: {why}", shown(file))),
            }
        }
    }
    (paths::sockets_for_client(&env, configured), remarks)
}

/// The socket that a configuration file names, if it names one; `None` if there is no such file. The error says why
/// nothing can be learned from it; with most such files a daemon would not have started.
fn configured_socket(env: impl Fn(&str) -> Option<OsString>, file: &Path) -> Option<Result<Option<PathBuf>, String>> {
    let told = |error: io::Error| Escaped(error.to_string().as_bytes()).to_string();
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => Some(Err("not a regular file".into())),
        Ok(found) if found.len() > FILE_BYTES_MAX => Some(Err(format!("longer than {FILE_BYTES_MAX} bytes"))),
        Ok(_) => Some(fs::read_to_string(file).map_err(told).and_then(|text| socket_in(env, &text))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => Some(Err(told(error))),
    }
}

/// The socket that the text of a configuration names.
fn socket_in(env: impl Fn(&str) -> Option<OsString>, text: &str) -> Result<Option<PathBuf>, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|&b| b == b'\n').count());
        format!("line {line}: {}", Escaped(error.message().trim_end().as_bytes()))
    })?;
    let Some(value) = table.get_ref().get("control_socket") else { return Ok(None) };
    let path = value.get_ref().as_str().ok_or("control_socket is not a string")?;
    if path.is_empty() {
        return Ok(None);
    }
    let path = paths::expanded(env, Path::new(path)).ok_or("control_socket begins with ~, and HOME is not set")?;
    // Only the daemon knows the directory that it is relative to.
    if path.is_relative() {
        return Err("control_socket is a relative path; --socket must tell where it is".into());
    }
    Ok(Some(path))
}

/// The most useful explanation: a daemon that we may not talk to, else a socket that does not accept, else that there is
/// none, with all places tried.
fn explain(failures: &[(&PathBuf, io::Error)], remarks: &[String]) -> CallError {
    let find = |wanted: fn(io::ErrorKind) -> bool| failures.iter().find(|(_, error)| wanted(error.kind()));
    let listed = |but: Option<&PathBuf>| {
        let others = failures.iter().filter(|(path, _)| Some(*path) != but);
        others.map(|(path, error)| format!("{} ({})", shown(path), reason(error))).collect::<Vec<_>>().join(", ")
    };
    let mut message = if let Some((path, _)) = find(|kind| kind == io::ErrorKind::PermissionDenied) {
        let others = listed(Some(path));
        let others = if others.is_empty() { others } else { format!("; no daemon answers at {others}") };
        denied(path) + &others
    } else if let Some((path, _)) = find(|kind| matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)) {
        return CallError::new(ExitCode::TimedOut, format!("the daemon at {} accepts no connection", shown(path)));
    } else {
        let places = listed(None);
        format!("no daemon answers at {places}; start one with 'pyrated', or 'systemctl start pyrated'")
    };
    remarks.iter().for_each(|remark| message.extend(["; ", remark]));
    CallError::new(ExitCode::NoDaemon, message)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".into(),
        io::ErrorKind::ConnectionRefused => "nothing listens".into(),
        _ => Escaped(error.to_string().as_bytes()).to_string(),
    }
}

/// Who may: the group, if the socket or the directory that hides it is open to one other than root's; else the owner.
fn denied(path: &Path) -> String {
    let found = path.ancestors().find_map(|place| Some((place.metadata().ok()?, place == path)));
    let advice = found.map(|(found, is_socket)| {
        let group_may = found.mode() & if is_socket { 0o020 } else { 0o010 } != 0;
        match (group_may && found.gid() != 0, found.uid()) {
            (true, _) => match Group::from_gid(found.gid().into()) {
                Ok(Some(group)) => {
                    format!("members of the group '{}' may: ask to be added, then log in again", group.name)
                }
                _ => format!("members of the group {} may", found.gid()),
            },
            (false, 0) => "run pyratectl as root".into(),
            (false, user) => match User::from_uid(user.into()) {
                Ok(Some(user)) => format!("it is the daemon of user '{0}': run pyratectl as '{0}'", user.name),
                _ => format!("it is the daemon of user {user}"),
            },
        }
    });
    format!(
        "not permitted to talk to the daemon at {}; {}",
        shown(path),
        advice.unwrap_or_else(|| "ask its owner".into())
    )
}

fn shown(path: &Path) -> String {
    let path: &OsStr = path.as_ref();
    Escaped(path.as_encoded_bytes()).to_string()
}

//! Finding the daemon, and what to tell a user when there is none.

use super::connection::Connection;
use super::wording::{Failure, Ignored, NoSetting, NoSocket, Permitted, Tried};
use crate::control::{CallError, paths};
use crate::name::Escaped;
use nix::unistd::{Group, User};
use std::ffi::OsString;
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
    let (places, ignored) = match named {
        Some(path) => (vec![path.to_path_buf()], Vec::new()),
        None => places(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
    };
    let mut failures: Vec<(PathBuf, io::Error)> = Vec::new();
    for path in places {
        match Connection::open(&path, timeout) {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push((path, error)),
        }
    }
    Err(explain(&failures, ignored).into())
}

/// The sockets to try, in this order, and the configuration files that were not understood, for the case that none answers.
fn places(env: impl Fn(&str) -> Option<OsString>) -> (Vec<PathBuf>, Vec<Ignored>) {
    let (mut configured, mut ignored) = ([None, None], Vec::new());
    // The daemon does not use the key of its file then, either.
    if env(paths::SOCKET_VARIABLE).is_none() {
        let files = paths::configuration_files(&env);
        let there = files.iter().filter_map(|file| Some((file, configured_socket(&env, file)?)));
        for (place, (file, socket)) in configured.iter_mut().zip(there) {
            match socket {
                Ok(socket) => *place = socket,
                Err(why) => ignored.push((file.clone(), why)),
            }
        }
    }
    (paths::sockets_for_client(&env, configured), ignored)
}

/// The socket that a configuration file names, if it names one; `None` if there is no such file. The error says why
/// nothing can be learned from it; with most such files a daemon would not have started.
fn configured_socket(
    env: impl Fn(&str) -> Option<OsString>,
    file: &Path,
) -> Option<Result<Option<PathBuf>, NoSetting>> {
    let told = |error: io::Error| NoSetting::Unreadable(Escaped(error.to_string().as_bytes()).to_string());
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => Some(Err(NoSetting::NotRegular)),
        Ok(found) if found.len() > FILE_BYTES_MAX => Some(Err(NoSetting::TooLong(FILE_BYTES_MAX))),
        Ok(_) => Some(fs::read_to_string(file).map_err(told).and_then(|text| socket_in(env, &text))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => Some(Err(told(error))),
    }
}

/// The socket that the text of a configuration names.
fn socket_in(env: impl Fn(&str) -> Option<OsString>, text: &str) -> Result<Option<PathBuf>, NoSetting> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|&b| b == b'\n').count());
        NoSetting::Syntax { line, error: Escaped(error.message().trim_end().as_bytes()).to_string() }
    })?;
    let Some(value) = table.get_ref().get("control_socket") else { return Ok(None) };
    let path = value.get_ref().as_str().ok_or(NoSetting::NotAString)?;
    if path.is_empty() {
        return Ok(None);
    }
    let path = paths::expanded(env, Path::new(path)).ok_or(NoSetting::NoHome)?;
    // Only the daemon knows the directory that it is relative to.
    if path.is_relative() {
        return Err(NoSetting::Relative);
    }
    Ok(Some(path))
}

/// The most useful explanation: a daemon that we may not talk to, else a socket that does not accept, else that there is
/// none, with all places tried.
fn explain(failures: &[(PathBuf, io::Error)], ignored: Vec<Ignored>) -> Failure {
    let find = |wanted: fn(io::ErrorKind) -> bool| {
        failures.iter().find(|(_, error)| wanted(error.kind())).map(|(path, _)| path.clone())
    };
    let tried = |but: Option<&PathBuf>| -> Vec<Tried> {
        let others = failures.iter().filter(|(path, _)| Some(path) != but);
        others.map(|(path, error)| (path.clone(), reason(error))).collect()
    };
    if let Some(path) = find(|kind| kind == io::ErrorKind::PermissionDenied) {
        Failure::NotPermitted { permitted: permitted(&path), others: tried(Some(&path)), path, ignored }
    } else if let Some(path) = find(|kind| matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)) {
        Failure::AcceptsNone { path }
    } else {
        Failure::NoneAnswers { tried: tried(None), ignored }
    }
}

fn reason(error: &io::Error) -> NoSocket {
    match error.kind() {
        io::ErrorKind::NotFound => NoSocket::Missing,
        io::ErrorKind::ConnectionRefused => NoSocket::Refused,
        _ => NoSocket::Other(Escaped(error.to_string().as_bytes()).to_string()),
    }
}

/// The group, if the socket or the directory that hides it is open to one other than root's; else the owner.
fn permitted(path: &Path) -> Permitted {
    let found = path.ancestors().find_map(|place| Some((place.metadata().ok()?, place == path)));
    let Some((found, is_socket)) = found else { return Permitted::Unknown };
    let group_may = found.mode() & if is_socket { 0o020 } else { 0o010 } != 0;
    match (group_may && found.gid() != 0, found.uid()) {
        (true, _) => match Group::from_gid(found.gid().into()) {
            Ok(Some(group)) => Permitted::Group(group.name),
            _ => Permitted::NamelessGroup(found.gid()),
        },
        (false, 0) => Permitted::Root,
        (false, user) => match User::from_uid(user.into()) {
            Ok(Some(user)) => Permitted::User(user.name),
            _ => Permitted::NamelessUser(user),
        },
    }
}

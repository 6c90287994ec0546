//! Whether a start will be able to use a directory: asked beforehand, changing nothing. And directories that are made.

use nix::unistd::{AccessFlags, eaccess};
use std::fs;
use std::io;
use std::path::Path;

/// Whether a directory can be written to, or made with those above it that are missing.
/// Errors: What would keep us from it.
pub(crate) fn check_writable_directory(path: &Path) -> io::Result<()> {
    let mut nearest = path;
    let found = loop {
        match (fs::metadata(nearest), nearest.parent()) {
            // A link to nothing is in the way.
            (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound && !nearest.is_symlink() => {
                nearest = above
            }
            (found, _) => break found?,
        }
    };
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(eaccess(nearest, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// Makes a directory, and those above it, if it is missing.
/// Errors: [`io::ErrorKind::NotADirectory`] when something else stands there; otherwise as the system reports.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}

/// Whether the files in a directory can be listed and opened.
/// Errors: What would keep us from it.
pub(crate) fn check_readable_directory(path: &Path) -> io::Result<()> {
    Ok(eaccess(path, AccessFlags::R_OK | AccessFlags::X_OK)?)
}

/// Whether a regular file, if one is there, can be read and written.
/// Errors: What would keep us from it.
pub(super) fn check_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(eaccess(path, AccessFlags::R_OK | AccessFlags::W_OK)?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

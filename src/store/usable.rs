//! Checking whether a directory can be used, without changing anything; and creating directories.

use nix::unistd::{AccessFlags, eaccess};
use std::fs;
use std::io;
use std::path::Path;

/// Checks that a directory can be written to, or can be created.
pub(crate) fn check_writable_directory(path: &Path) -> io::Result<()> {
    let mut nearest = path;
    let found = loop {
        match (fs::metadata(nearest), nearest.parent()) {
            // A dangling link prevents creating a directory.
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

/// Creates a directory, and those above it, if it is missing.
/// Errors: [`io::ErrorKind::NotADirectory`] if the path is something else; otherwise as the system reports.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}

/// Checks that the files in a directory can be listed and opened.
pub(crate) fn check_readable_directory(path: &Path) -> io::Result<()> {
    Ok(eaccess(path, AccessFlags::R_OK | AccessFlags::X_OK)?)
}

/// Checks that a regular file, if there is one, can be read and written.
pub(super) fn check_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(eaccess(path, AccessFlags::R_OK | AccessFlags::W_OK)?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! Checking whether a directory can be used, without changing anything; and creating directories.

use crate::fault::DiskFault;
use nix::unistd::{AccessFlags, eaccess};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Whether the process has restricted itself, which holds for all of it and for good.
static IS_SANDBOXED: AtomicBool = AtomicBool::new(false);

/// From now on a denial may be that of the sandbox of this process.
pub(crate) fn note_sandbox() {
    IS_SANDBOXED.store(true, Ordering::Relaxed);
}

/// Whether a denial may be that of the sandbox of this process.
pub(crate) fn is_sandboxed() -> bool {
    IS_SANDBOXED.load(Ordering::Relaxed)
}

/// In a sandbox: what has forbidden writing to a directory, its permissions or the sandbox, of which access(2) knows nothing.
pub(super) fn tell_sandbox(fault: DiskFault, directory: &Path) -> DiskFault {
    if is_sandboxed() { denial_of_sandbox(fault, directory) } else { fault }
}

fn denial_of_sandbox(fault: DiskFault, directory: &Path) -> DiskFault {
    match fault {
        DiskFault::Denied if is_usable_directory(directory) => DiskFault::Forbidden,
        fault => fault,
    }
}

/// Whether the permissions allow creating files in a directory, or creating the directory.
fn is_usable_directory(path: &Path) -> bool {
    let is_readable = match check_readable_directory(path) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(()) => true,
    };
    is_readable && check_writable_directory(path).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_that_the_permissions_do_not_explain_is_that_of_the_sandbox() {
        let scratch = tempfile::tempdir().unwrap();
        let told = |fault, path: &str| denial_of_sandbox(fault, &scratch.path().join(path));
        assert_eq!(told(DiskFault::Denied, ""), DiskFault::Forbidden);
        assert_eq!(told(DiskFault::Denied, "not/made/yet"), DiskFault::Forbidden);
        assert_eq!(told(DiskFault::Full, ""), DiskFault::Full);
        std::fs::write(scratch.path().join("file"), "").unwrap();
        assert_eq!(told(DiskFault::Denied, "file"), DiskFault::Denied);
    }
}

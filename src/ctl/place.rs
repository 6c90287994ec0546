//! The path after `-o`: where downloads are saved.

use super::wording::Failure;
use crate::control::{CallError, RawText};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The absolute path that the daemon is to save to: it does not know our working directory.
pub(super) fn absolute(path: &Path) -> Result<RawText, CallError> {
    let failed = |error: io::Error| Failure::NoWorkingDirectory { error: error.kind().to_string() };
    let path = std::path::absolute(path).map_err(failed)?;
    Ok(RawText::new(path.into_os_string().into_encoded_bytes()))
}

/// Whether a path is that of no directory, nor of one that is to be made. The daemon checks what we may not see.
pub(super) fn cannot_be_a_directory(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => !found.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound && !path.as_os_str().as_encoded_bytes().ends_with(b"/"),
    }
}

/// Why a path takes no directory and not several files.
pub(super) fn no_directory(path: &Path) -> Failure {
    // Without the slash at the end, which asks for a directory.
    let place: PathBuf = path.components().collect();
    let is_file = |place: &&Path| fs::metadata(place).is_ok_and(|found| !found.is_dir());
    match place.ancestors().find(is_file) {
        Some(file) => Failure::SeveralOntoFile { place: file.into() },
        None => Failure::SeveralToFile { place },
    }
}

//! `download -o -`: the content of a file on the standard output.
//!
//! The daemon saves and checks the file as in every download, and then it is copied: nothing is written of a download that
//! fails. If a hash is known and the copied bytes do not match it, the exit code is 32. The daemon may run as another user:
//! it keeps the file in its download directory, and a user who may not read it there gets code 17.

use super::output::{Output, Reader};
use super::text::name;
use super::wording::Failure;
use crate::aligned::Aligned;
use crate::control::{CallError, DownloadRow};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

/// Bytes copied at once.
const COPY_BYTES_MAX: usize = 128 << 10;

/// Copies the file of a finished download.
pub(super) fn copy(output: Output, row: &DownloadRow) -> Result<(), CallError> {
    let Some(path) = &row.path else {
        return Err(Failure::PlaceNotGiven.into());
    };
    let shown = name(path.as_bytes());
    let failed =
        |error: io::Error| Failure::CannotRead { path: shown.clone(), error: name(error.to_string().as_bytes()) };
    let mut file = File::open(OsStr::from_bytes(path.as_bytes())).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = Aligned::zeroed(COPY_BYTES_MAX);
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error).into()),
        };
        hasher.update(&piece[..count]);
        if output.write_bytes(&piece[..count])? == Reader::Gone {
            return Ok(());
        }
    }
    match &row.b3 {
        Some(b3) if *b3 != hasher.finalize().to_hex().as_str() => {
            Err(Failure::ChangedSince { path: shown, b3: b3.clone() }.into())
        }
        _ => Ok(()),
    }
}

//! Saved manifests, which are given to the daemon in parts: it may not be permitted to read the file.

use super::Session;
use super::text;
use super::wording::Failure;
use crate::content::{MANIFEST_BYTES_MAX, ManifestText};
use crate::control::{CallError, RawText, Request, Selector};
use crate::link::ContentLink;
use crate::name::FileName;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a part: as JSON it is shorter than the longest line that a daemon takes, whatever bytes it has.
const PART_BYTES: usize = 8 << 10;

/// Gives the manifest of a file. Returns what an order names it by.
pub(super) fn give(session: &mut Session, path: &Path) -> Result<Selector, CallError> {
    let (name, manifest) = read(path)?;
    for (number, part) in manifest.text.chunks(PART_BYTES).enumerate() {
        let after = (number * PART_BYTES) as u64;
        let _: serde::de::IgnoredAny = session.call(&Request::GiveManifest { after, text: RawText::new(part) })?;
    }
    Ok(Selector::Manifest { b3: manifest.b3.to_string(), name })
}

/// The name of the directory, which is that of the file without its extension, and the manifest, checked.
fn read(path: &Path) -> Result<(RawText, ManifestText), CallError> {
    let failed = |error: io::Error| Failure::CannotReadManifest {
        path: path.to_owned(),
        error: text::name(error.to_string().as_bytes()),
    };
    let mut bytes = Vec::new();
    // One byte more tells that it is too large.
    File::open(path)
        .and_then(|file| file.take(MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if ContentLink::is_meant(bytes.trim_ascii()) {
        return Err(Failure::LinkInPlaceOfManifest { path: path.to_owned() }.into());
    }
    let manifest =
        ManifestText::check(bytes).map_err(|fault| Failure::NotAManifest { path: path.to_owned(), fault })?;
    let name = path.file_stem().unwrap_or_default().as_bytes();
    if FileName::of_directory(name).is_none() {
        return Err(Failure::NoNameForDirectory { path: path.to_owned() }.into());
    }
    Ok((RawText::new(name), manifest))
}

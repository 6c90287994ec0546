//! The watched directory: files with links, and saved manifests of directories, that users put there. They are taken when they are
//! complete, and renamed when they were dealt with.
//!
//! What is there may have been put there by anyone who may write to the directory: nothing is followed, nothing is opened that may
//! wait, and everything has a bound.

use super::claim::rename_at_once;
use crate::content::{MANIFEST_BYTES_MAX, ManifestFault, ManifestText};
use crate::link::{ContentLink, LinkFault};
use crate::name::FileName;
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How the names of the files end.
const SUFFIXES: [&[u8]; 2] = [b".pyrate", b".manifest"];

/// What some editors begin a text with.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Largest file with links, in bytes.
const LINKS_BYTES_MAX: usize = 1 << 20;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = MANIFEST_BYTES_MAX as u64;

/// Most links of a file: what one order begins is answered by one page of rows.
const LINKS_MAX: usize = 400;

/// Most files that one look takes; the next one follows at once.
const FILES_PER_LOOK_MAX: usize = 32;

/// Most files that are remembered from one look to the next. Further ones wait until these are dealt with.
const FILES_SEEN_MAX: usize = 4096;

/// What tells a file from another one of its name, and from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// When it came, or was last changed, in epoch seconds.
    pub(crate) fn came(&self) -> u64 {
        u64::try_from(self.changed.0).unwrap_or(0)
    }

    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Files by their names, as they were when they were looked at.
pub(crate) type Seen = BTreeMap<OsString, Identity>;

/// A file that is complete.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) name: OsString,
    pub(crate) identity: Identity,
    /// What is to be downloaded, or why there is nothing that can be used.
    pub(crate) content: Result<DropContent, DropFault>,
}

/// What a file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DropContent {
    Links(Vec<String>),
    Manifest {
        /// Of the directory that it describes.
        name: Vec<u8>,
        manifest: Box<ManifestText>,
    },
}

/// Why a file is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum DropFault {
    #[error("larger than {0} bytes")] TooLarge(u64),
    #[error("cannot be read: {0}")] Unreadable(io::ErrorKind),
    #[error("line {line}: {fault}")] Line { line: usize, fault: LinkFault },
    #[error("line {0}: a link to a directory needs a peer")] NoPeer(usize),
    #[error("more than {LINKS_MAX} links")] TooMany,
    #[error("neither a link nor a manifest in it")] NoLink,
    #[error("a manifest of which the directory would have a name that no file can have")] Name,
    #[error("not a manifest that can be taken: {0}")] Manifest(ManifestFault),
}

/// A look at the directory.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) directory: PathBuf,
    /// Names of files that were closed, or moved here, since the last look.
    pub(crate) complete: BTreeSet<OsString>,
    /// What the last look has seen.
    pub(crate) seen: Seen,
    /// Files that were dealt with and could not be renamed.
    pub(crate) dealt_with: Seen,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) files: Vec<Dropped>,
    /// Those that may be incomplete.
    pub(crate) seen: Seen,
    /// Of those that were dealt with, those that are still there.
    pub(crate) dealt_with: Seen,
    /// Whether complete files were left for the next look.
    pub(crate) has_more: bool,
}

impl Look {
    /// Errors: as the system reports them of the directory.
    pub(crate) fn run(self) -> io::Result<Looked> {
        let mut looked = Looked::default();
        // Each file that is taken may become one that cannot be renamed.
        let room = FILES_PER_LOOK_MAX.min(FILES_SEEN_MAX.saturating_sub(self.dealt_with.len()));
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_dropped(&name) {
                continue;
            }
            // Of a link itself; one that is gone needs no look.
            let Some(found) = entry.metadata().ok().filter(Metadata::is_file) else { continue };
            let identity = Identity::of(&found);
            if self.dealt_with.get(&name) == Some(&identity) {
                looked.dealt_with.insert(name, identity);
                continue;
            }
            let is_endless = found.size() > FILE_BYTES_MAX;
            let is_complete = self.complete.contains(&name) || self.seen.get(&name) == Some(&identity) || is_endless;
            // Programs create a file before they write to it.
            let is_begun = found.size() == 0;
            if is_complete && looked.files.len() < room && !is_begun {
                if let Some(content) = read(&entry.path(), &found) {
                    looked.files.push(Dropped { name, identity, content });
                    continue;
                }
            } else {
                looked.has_more |= is_complete && !is_begun && room > 0;
            }
            if looked.seen.len() < FILES_SEEN_MAX {
                // Complete ones stay so.
                looked.seen.insert(name, identity);
            }
        }
        Ok(looked)
    }
}

/// Whether a file of this name is taken, if it is a regular one.
pub(crate) fn is_dropped(name: &OsStr) -> bool {
    let name = name.as_bytes();
    without_suffix(name).is_some() && !name.starts_with(b".")
}

fn without_suffix(name: &[u8]) -> Option<&[u8]> {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|rest| !rest.is_empty())
}

/// What a file has; `None` if it has changed since it was found.
fn read(path: &Path, found: &Metadata) -> Option<Result<DropContent, DropFault>> {
    if found.size() > FILE_BYTES_MAX {
        return Some(Err(DropFault::TooLarge(FILE_BYTES_MAX)));
    }
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let mut bytes = Vec::new();
    let outcome = OpenOptions::new().read(true).custom_flags(flags).open(path).and_then(|file| {
        let opened = file.metadata()?;
        if Identity::of(&opened) != Identity::of(found) {
            return Ok(false);
        }
        (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(Identity::of(&file.metadata()?) == Identity::of(found))
    });
    match outcome {
        Ok(true) if ManifestText::is_meant(&bytes) => {
            let mut name = path.file_name().unwrap_or_default().as_bytes();
            while let Some(rest) = without_suffix(name) {
                name = rest;
            }
            if FileName::of_directory(name).is_none() {
                return Some(Err(DropFault::Name));
            }
            let manifest = ManifestText::check(bytes).map(Box::new).map_err(DropFault::Manifest);
            Some(manifest.map(|manifest| DropContent::Manifest { name: name.to_owned(), manifest }))
        }
        Ok(true) => Some(links(&bytes).map(DropContent::Links)),
        Ok(false) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(DropFault::Unreadable(error.kind()))),
    }
}

/// One link a line. Blank lines, and those that begin with `#`, are passed over, and so is a byte order mark.
fn links(bytes: &[u8]) -> Result<Vec<String>, DropFault> {
    if bytes.len() > LINKS_BYTES_MAX {
        return Err(DropFault::TooLarge(LINKS_BYTES_MAX as u64));
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut links = Vec::new();
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let link = ContentLink::parse(text).map_err(|fault| DropFault::Line { line, fault })?;
        if link.lacks_peer() {
            return Err(DropFault::NoPeer(line));
        }
        if links.len() == LINKS_MAX {
            return Err(DropFault::TooMany);
        }
        // As it is printed: the text may have bytes that are no UTF-8.
        links.push(link.to_string());
    }
    if links.is_empty() { Err(DropFault::NoLink) } else { Ok(links) }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its downloads are recorded.
    Added,
    Failed,
}

/// Gives a file the name that says what became of it, unless it is another one by now. No file is replaced, but one that comes at
/// the same moment on a filesystem that knows neither such a rename nor hard links.
///
/// Errors: as the system reports them.
pub(crate) fn rename(directory: &Path, name: &OsStr, identity: Identity, verdict: Verdict) -> io::Result<()> {
    let from = directory.join(name);
    match fs::symlink_metadata(&from) {
        Ok(found) if Identity::of(&found) == identity => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let suffix = match verdict {
        Verdict::Added => "added",
        Verdict::Failed => "failed",
    };
    let opened = File::open(directory)?;
    for number in 1..=NAMES_TRIED_MAX {
        let mut to = name.to_owned();
        to.push(if number == 1 { format!(".{suffix}") } else { format!(".{suffix}.{number}") });
        match rename_at_once(opened.as_fd(), name.as_bytes(), to.as_bytes()) {
            Some(Err(Errno::EEXIST)) => {}
            Some(outcome) => return Ok(outcome?),
            None => match fs::symlink_metadata(directory.join(&to)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::rename(&from, directory.join(&to)),
                Err(error) => return Err(error),
            },
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Names that are tried, from the first on that is free.
const NAMES_TRIED_MAX: u32 = 1000;

#[cfg(test)]
mod tests;

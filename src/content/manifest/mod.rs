//! The manifest of a directory: which files are beneath it, with their sizes and hashes, and which empty directories
//! (PROTOCOL, part 2, Directories).
//!
//! It is a content of its own. One tree has one manifest, so that two peers which share the same tree name it by the same hash:
//!
//! ```text
//! pyrate-manifest 1
//! d empty
//! f 1048576 0123…cdef film.mkv
//! x 77 4567…89ab tools/run
//! end 3
//! ```
//!
//! | line | is |
//! |---|---|
//! | `f SIZE B3 PATH` | a file, with its bytes in decimal and its BLAKE3 hash in 64 hex digits |
//! | `x SIZE B3 PATH` | the same, and its owner may execute it |
//! | `d PATH` | a directory in which nothing is shared |
//! | `end COUNT` | the last line: so many lines stand between it and the first |
//!
//! Paths are relative to the directory, bytes as in a file name, and ascend byte by byte. Each line ends in `\n`.

mod order;
mod reader;
mod writer;

pub use reader::ManifestReader;
pub use writer::{ManifestWriter, WrittenManifest};

use crate::id::ContentHash;
use crate::name::{FILE_NAME_BYTES_MAX, FileName};
use thiserror::Error;

/// Bytes of a manifest; a directory that needs more has none.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Files and empty directories in one manifest.
pub const MANIFEST_ENTRIES_MAX: usize = 10_000;

/// Components of a path.
pub const MANIFEST_DEPTH_MAX: usize = 64;

/// The version that is written, and the only one that is read.
const VERSION: &[u8] = b"1";

const HEAD: &[u8] = b"pyrate-manifest ";

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Ascending by path.
    pub entries: Vec<ManifestEntry>,
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
    /// The hash of the manifest itself.
    pub b3: ContentHash,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Relative to the directory: plain components, none of them `.` or `..`.
    pub path: FileName,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File {
        size: u64,
        b3: ContentHash,
        executable: bool,
    },
    /// Nothing is shared in it.
    EmptyDirectory,
}

impl Manifest {
    /// Reads a whole manifest. Takes about 3 ms for the largest: a loop reads it in pieces, by a [`ManifestReader`].
    ///
    /// # Errors
    /// As [`ManifestReader`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestFault> {
        let mut reader = ManifestReader::default();
        reader.push(bytes)?;
        reader.finish()
    }
}

/// The text of a manifest, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestText {
    pub text: Vec<u8>,
    pub b3: ContentHash,
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
}

impl ManifestText {
    /// Reads a whole manifest, as [`Manifest::parse`].
    ///
    /// # Errors
    /// As [`ManifestReader`].
    pub fn check(text: Vec<u8>) -> Result<Self, ManifestFault> {
        let Manifest { files, bytes, b3, .. } = Manifest::parse(&text)?;
        Ok(Self { text, b3, files, bytes })
    }

    /// Whether bytes begin as those of a manifest of any version.
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.starts_with(HEAD)
    }
}

/// Why bytes are no manifest, or a directory has none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestFault {
    #[error("this is no manifest: its first line is not \"pyrate-manifest 1\"")]
    NoManifest,
    #[error("the manifest has version {0}, and this program reads version 1 alone: update it")]
    Version(FileName),
    #[error("more than {} MiB", MANIFEST_BYTES_MAX >> 20)]
    TooLarge,
    #[error("more than {MANIFEST_ENTRIES_MAX} files and empty directories")]
    TooManyEntries,
    #[error("its files have more bytes than fit a number of 64 bits")]
    TooManyBytes,
    #[error("line {line}: {fault}")]
    Line {
        /// From 1.
        line: usize,
        fault: LineFault,
    },
    #[error("the manifest ends before its last line, \"end\" with the number of entries: it was cut")]
    Cut,
}

/// What is wrong with a line of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineFault {
    #[error("neither a file (f, x) nor an empty directory (d) nor the end")]
    Form,
    #[error("the size is no decimal number of bytes")]
    Size,
    #[error("the hash does not have 64 hex digits in lower case")]
    Hash,
    #[error("the path is empty, has more than {FILE_NAME_BYTES_MAX} bytes, or holds a control byte")]
    Path,
    #[error(
        "the path is not plain and relative: it begins or ends in \"/\", or has a component that is empty, \".\" or \"..\""
    )]
    NotRelative,
    #[error("the path has more than {MANIFEST_DEPTH_MAX} components, or one of more than 255 bytes")]
    TooDeep,
    #[error("the path comes twice, or not in the order of bytes")]
    Order,
    #[error("a parent of this path is listed as a file or as an empty directory")]
    InTheWay,
    #[error("the line is longer than any can be")]
    TooLong,
    #[error("the last line does not give the number of entries above it")]
    Count,
    #[error("bytes follow the last line")]
    AfterEnd,
}

#[cfg(test)]
mod tests;

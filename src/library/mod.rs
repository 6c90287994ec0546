//! What this node shares: the names and sizes of files, kept up to date by scans, searched and listed in slices.
//!
//! Owns the index. Refuses to touch a disk: scans bring it [`ScannedFile`]s, and `store` opens what it names.

use crate::name::FileName;

/// What a scan found of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Path relative to the share.
    pub name: FileName,
    /// What stood there.
    pub meta: FileMeta,
}

/// Size and identity of a shared file at the last scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileMeta {
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

/// How a scan of the share went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanReport {
    /// Names left out because they hold control bytes or are too long for a message.
    pub names_refused: u64,
    /// Directories or files that could not be read.
    pub unreadable: u64,
    /// The share itself could not be opened: nothing was seen, and nothing may be concluded.
    pub failed: bool,
}

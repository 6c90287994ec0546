//! What a handle tells, as a program in Rust takes it.

use super::error::Error;
use crate::control::{
    DirectoryPart, DownloadRow, DownloadState, FileRow, HitRow, LinkState, RawText, Selector, StatusReply,
};
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A file that a search or a list has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hit {
    /// For [`What::Hit`].
    pub id: u32,
    /// The name in the first source's share.
    pub name: OsString,
    /// Bytes, if a source gave the size.
    pub size: Option<u64>,
    /// BLAKE3 in hex, if a source gave it; a download without it is not verified.
    pub b3: Option<String>,
    /// Peers that have it.
    pub sources: Vec<SocketAddr>,
}

impl From<HitRow> for Hit {
    fn from(row: HitRow) -> Self {
        Self { id: row.id, name: os(&row.name), size: row.size, b3: row.b3, sources: row.sources }
    }
}

/// A file that this node shares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedFile {
    /// Path relative to the share.
    pub name: OsString,
    /// Bytes.
    pub size: Option<u64>,
    /// BLAKE3 in hex; `None` until it is computed.
    pub b3: Option<String>,
    /// It is not shared yet, since it was changed a short time ago.
    pub being_written: bool,
    /// For whom it is: `all`, or addresses and ranges. `None` if everything is for all.
    pub audience: Option<Vec<String>>,
}

impl From<FileRow> for SharedFile {
    fn from(row: FileRow) -> Self {
        Self {
            name: os(&row.name),
            size: row.size,
            b3: row.b3,
            being_written: row.being_written,
            audience: row.audience,
        }
    }
}

/// What to download.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A hit of this node, by its id.
    Hit(u32),
    /// A file of a peer, by the name in the peer's share.
    File(SocketAddr, OsString),
    /// A directory of a peer with all that is beneath it, by the path in the peer's share; a `/` at its end may be left out. It is one
    /// download, saved as a directory of the last name of that path.
    Directory(SocketAddr, OsString),
    /// What a link stands for, which [`Handle::link`](super::Handle::link) or `pyratectl link` has given: a content, or a directory.
    Link(String),
    /// A content, by the 64 hex digits of its BLAKE3.
    Content(String),
}

impl From<&Hit> for What {
    fn from(hit: &Hit) -> Self {
        Self::Hit(hit.id)
    }
}

impl From<What> for Selector {
    fn from(what: What) -> Self {
        match what {
            What::Hit(id) => Self::Hits(id.to_string()),
            What::File(peer, name) => Self::File { peer, name: raw(&name) },
            What::Directory(peer, mut name) => {
                if !name.as_bytes().ends_with(b"/") {
                    name.push("/");
                }
                Self::File { peer, name: raw(&name) }
            }
            What::Link(link) => Self::Link(link),
            What::Content(b3) => Self::Content(b3),
        }
    }
}

/// A download as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of the download.
    pub id: u32,
    /// The name in the source's share; that of a directory ends in `/`.
    pub name: OsString,
    /// What it does.
    pub state: DownloadState,
    /// Where the file or directory is, or will be; `None` until it is known.
    pub path: Option<PathBuf>,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes in all, if a source gave the size.
    pub size: Option<u64>,
    /// Bytes per second over the last seconds, while it is active.
    pub rate: Option<u64>,
    /// The content equals a hash that was known before its bytes came.
    pub verified: bool,
    /// Peers that may be asked.
    pub sources: Vec<SocketAddr>,
    /// Why it failed or waits.
    pub error: Option<Error>,
    /// Of a directory: its files. The fields above are then of all of them together.
    pub directory: Option<DirectoryFiles>,
}

/// The files of a directory that is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryFiles {
    /// All; 0 until the peer has said how many there are.
    pub files: u64,
    /// Those that are there.
    pub done: u64,
    /// How many could not be had until now. The download goes on without them, and tries them again.
    pub missing: u64,
    /// The first 100 of these: the name in the peer's share, and why.
    pub missing_first: Vec<(OsString, Option<Error>)>,
    /// Files that the peer does not share yet, as far as it has said: it is still writing them, or has not looked for them. It is
    /// asked again for about five minutes; a directory is done without those that it does not share by then.
    pub pending: u64,
}

impl From<DirectoryPart> for DirectoryFiles {
    fn from(part: DirectoryPart) -> Self {
        let missing = part.missing.into_iter().map(|row| (os(&row.name), row.error.map(Error::of_download)));
        Self {
            files: part.files,
            done: part.files_done,
            missing: part.files_missing,
            missing_first: missing.collect(),
            pending: part.files_pending,
        }
    }
}

impl From<DownloadRow> for Progress {
    fn from(row: DownloadRow) -> Self {
        Self {
            id: row.id,
            name: os(&row.name),
            state: row.state,
            path: row.path.as_ref().map(|path| os(path).into()),
            bytes: row.bytes_done,
            size: row.size,
            rate: row.rate,
            verified: row.verified,
            sources: row.sources,
            error: row.error.map(|error| Error::of_download(*error)),
            directory: row.directory.map(|part| DirectoryFiles::from(*part)),
        }
    }
}

impl Progress {
    /// Whether nothing more comes: it is over, or waits for the user or for a disk.
    pub(super) fn is_settled(&self) -> bool {
        use DownloadState::{Cancelled, Done, Failed, Paused};
        matches!(self.state, Done | Failed | Cancelled | Paused)
    }

    /// The outcome of a download that is settled.
    pub(super) fn into_outcome(self) -> Result<Self, Error> {
        match (self.state, self.error) {
            (DownloadState::Done, error) => Ok(Self { error, ..self }),
            (DownloadState::Cancelled, _) => Err(Error::Cancelled),
            // By the disk; other errors are from before the user paused it.
            (DownloadState::Paused, Some(error @ (Error::DiskFull(_) | Error::Exists(_) | Error::Disk(_)))) => {
                Err(error)
            }
            (DownloadState::Paused, _) => Err(Error::Paused),
            (_, Some(error)) => Err(error),
            (_, None) => Err(Error::Other("the download has failed".to_owned())),
        }
    }
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Where other peers reach it, if that is known.
    pub advertise: Option<SocketAddr>,
    /// Bootstrap nodes with which it is registered.
    pub registered: usize,
    /// Known peers that have not failed.
    pub peers: u64,
    /// Files in its share.
    pub shared_files: u64,
    /// Their bytes.
    pub shared_bytes: u64,
    /// Of these files, those whose hash is not known yet.
    pub unhashed_files: u64,
    /// A scan of the share is running.
    pub scanning: bool,
    /// Why a share could not be read, `local_directory` before the others.
    pub share_error: Option<Error>,
    /// Downloads that are active.
    pub downloads_active: u64,
    /// Downloads that wait for their turn.
    pub downloads_queued: u64,
    /// Uploads that are active.
    pub uploads_active: u64,
    /// Bytes downloaded since the start, of files and of their hashes.
    pub bytes_down: u64,
    /// Bytes uploaded since the start, of files and of their hashes.
    pub bytes_up: u64,
}

impl From<StatusReply> for Status {
    fn from(reply: StatusReply) -> Self {
        Self {
            advertise: reply.advertise,
            registered: reply.bootstraps.iter().filter(|link| link.state == LinkState::Registered).count(),
            peers: reply.peers,
            shared_files: reply.shared_files,
            shared_bytes: reply.shared_bytes,
            unhashed_files: reply.unhashed_files,
            scanning: reply.scanning,
            share_error: reply.share_error.map(Error::from),
            downloads_active: reply.downloads_active,
            downloads_queued: reply.downloads_queued,
            uploads_active: reply.uploads_active,
            bytes_down: reply.bytes_down,
            bytes_up: reply.bytes_up,
        }
    }
}

fn os(text: &RawText) -> OsString {
    OsString::from_vec(text.as_bytes().to_vec())
}

pub(super) fn raw(text: impl AsRef<OsStr>) -> RawText {
    RawText::new(text.as_ref().as_bytes())
}

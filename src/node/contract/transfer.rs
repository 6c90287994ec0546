//! Part files, hashes, and records of downloads and peers, in actions and events.

use super::wish::WishRecord;
use crate::content::Groups;
use crate::control::{CallError, EventRow};
use crate::fault::DiskFault;
use crate::id::{ContentHash, FilesystemId, TransferId};
use crate::library::{RecentFile, ScannedFile};
use crate::name::FileName;
use crate::part::PartSpec;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedPart {
    Ready {
        /// The expected final path.
        path: PathBuf,
        /// Size and verified groups, if its journal has an outline of the wanted content.
        resumed: Option<(u64, Groups)>,
        filesystem: Option<FilesystemId>,
    },
    /// A final name has a file of the wanted content. There is no part file.
    AlreadyThere { path: PathBuf },
}

impl OpenedPart {
    /// Whether nothing is to be fetched.
    pub(in crate::node) fn is_there(&self) -> bool {
        matches!(self, Self::AlreadyThere { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedAt {
    pub name: FileName,
    /// The file, or why it could not be examined.
    pub found: Result<RecentFile, DiskFault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedFile {
    /// As ordered.
    pub file: ScannedFile,
    /// [`DiskFault::Changed`] if the file has changed.
    pub outcome: Result<ContentHash, DiskFault>,
}

/// Good peers, the best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RememberedPeers {
    /// Peers that have answered as neighbours. Some of them are tried first, independent of lists.
    pub proven: Vec<SocketAddr>,
    /// All others.
    pub others: Vec<SocketAddr>,
}

impl RememberedPeers {
    pub fn is_empty(&self) -> bool {
        self.proven.is_empty() && self.others.is_empty()
    }
}

/// The saved state of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    pub peers: RememberedPeers,
    /// Unfinished downloads, by id.
    pub downloads: Vec<DownloadRecord>,
    /// Events of downloads of which nothing else is remembered.
    pub events: Vec<(TransferId, Vec<Rc<EventRow>>)>,
    /// Events with smaller ids are forgotten, also those that records have.
    pub events_from: u64,
    /// Wishes, by id.
    pub wishes: Vec<WishRecord>,
    /// The highest id of any download or wish; 0 if there was none.
    pub download_last: u32,
    /// Shared files that are known before the first scan, which looks for them like for all others.
    pub files: Vec<ScannedFile>,
}

/// The record of a download that is unfinished, or has left a part file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadRecord {
    pub id: TransferId,
    pub spec: PartSpec,
    pub name: FileName,
    /// In bytes, if a source has reported it.
    pub size: Option<u64>,
    pub b3: Option<ContentHash>,
    /// The user requested a name: this source has reported the content of that name.
    pub learnt_from: Option<SocketAddr>,
    pub state: RecordState,
    pub error: Option<CallError>,
    /// Bytes on the disk, as last known.
    pub bytes_done: u64,
    /// Its place in the order of turns, among those of all downloads: its id, unless it was moved.
    pub place: i64,
    /// At most 64.
    pub sources: Vec<SourceRecord>,
    /// What the event log has of it.
    pub events: Vec<Rc<EventRow>>,
    pub kind: RecordKind,
}

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    File,
    /// A file of a directory.
    Member {
        of: TransferId,
    },
    /// A directory.
    Directory {
        /// So many members have records; `None` until all that the peer has listed have one.
        files: Option<u64>,
        /// The user has given the manifest: it is kept in the state directory, and the sources are not asked for it.
        is_given: bool,
        /// Files that the peer did not share yet.
        pending: u64,
    },
}

/// The state of a download for the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// It resumes automatically at the next start.
    Waiting,
    /// Stopped by the user.
    Paused,
    Failed {
        /// Its part file is kept; otherwise it is removed.
        keeps_part: bool,
    },
    /// A member is done, while its directory is not.
    Done {
        /// Its content is that of the hash that was known.
        verified: bool,
    },
    /// It is over, and only its part file is still to be removed.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    pub addr: SocketAddr,
    /// Its names for the file, the newest first: 1 to 8.
    pub names: Vec<FileName>,
    pub p1: bool,
    /// The user named it or its hit; otherwise a search for sources has found it.
    pub is_chosen: bool,
}

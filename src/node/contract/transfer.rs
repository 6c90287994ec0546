//! What node and loop say to each other about part files, hashes, and downloads that outlive a run.

use crate::content::Groups;
use crate::control::CallError;
use crate::fault::DiskFault;
use crate::id::{ContentHash, FilesystemId, TransferId};
use crate::library::{RecentFile, ScannedFile};
use crate::name::FileName;
use crate::part::PartSpec;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A part file that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedPart {
    /// It is open.
    Ready {
        /// The path it will have when it is finished, as far as it is known now.
        path: PathBuf,
        /// Size and verified groups, if it has an outline of the content wanted: what its journal proves.
        resumed: Option<(u64, Groups)>,
        /// The filesystem that it lies on.
        filesystem: Option<FilesystemId>,
    },
    /// A file of the content wanted stands at the final name already. There is no part file.
    AlreadyThere {
        /// That file.
        path: PathBuf,
    },
}

/// What stands at a name of the share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedAt {
    /// The name.
    pub name: FileName,
    /// The file there, or why it could not be seen.
    pub found: Result<RecentFile, DiskFault>,
}

/// The hash of a shared file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedFile {
    /// As it was asked for.
    pub file: ScannedFile,
    /// [`DiskFault::Changed`] if the file is another by now, or changed while it was read.
    pub outcome: Result<ContentHash, DiskFault>,
}

/// Good peers, the best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RememberedPeers {
    /// Those that have answered as neighbours. Some of them are tried first, whatever the lists of bootstrap nodes say.
    pub proven: Vec<SocketAddr>,
    /// All others.
    pub others: Vec<SocketAddr>,
}

impl RememberedPeers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.proven.is_empty() && self.others.is_empty()
    }
}

/// What a node knows of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Good peers.
    pub peers: RememberedPeers,
    /// Unfinished downloads, by id.
    pub downloads: Vec<DownloadRecord>,
    /// The highest id that a download has had; 0 if there was none.
    pub download_last: u32,
}

/// What is remembered of a download that is unfinished, or has left a part file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadRecord {
    /// As users know it.
    pub id: TransferId,
    /// Its part file.
    pub spec: PartSpec,
    /// The name under which it was asked for.
    pub name: FileName,
    /// Bytes, as far as somebody has said.
    pub size: Option<u64>,
    /// The content, if it is known.
    pub b3: Option<ContentHash>,
    /// The user asked for a name: the content is what this source said it has under that name.
    pub learnt_from: Option<SocketAddr>,
    /// Where it stands.
    pub state: RecordState,
    /// Why it has failed or waits.
    pub error: Option<CallError>,
    /// Bytes that are there, as last known.
    pub bytes_done: u64,
    /// Who offers it; at most 64.
    pub sources: Vec<SourceRecord>,
}

/// Where a download stands, as far as it matters to the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// It resumes automatically at the next start.
    Waiting,
    /// Stopped by the user.
    Paused,
    /// It has failed.
    Failed {
        /// Its part file is kept; otherwise it is to be removed.
        keeps_part: bool,
    },
    /// It is over, and only its part file is still to be removed.
    Dropped,
}

/// Somebody who offers a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// Where.
    pub addr: SocketAddr,
    /// What it calls the file, the newest name first: at least one, at most 8.
    pub names: Vec<FileName>,
    /// It has shown that it speaks `p1`.
    pub p1: bool,
    /// The user named it, or a hit that it offers; otherwise a search for sources has found it.
    pub is_chosen: bool,
}

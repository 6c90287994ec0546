//! What a job is: a call that Linux offers in no nonblocking form, its key, its lane and its result.

use super::hash_work::{FlushEnded, HashWork};
use super::state_content::StateContent;
use super::walk::{OfScan, Walk};
use crate::content::Manifest;
use crate::driver::open_parts::{View, Written};
use crate::driver::shared_files::{Left, Ordered, ReadOutcome};
use crate::fault::{DiskFault, ResolveFault};
use crate::id::{ContentHash, ExchangeId, FilesystemId, TransferId};
use crate::name::FileName;
use crate::node::contract::{BootstrapAddr, LookedAt};
use crate::part::{CheckedPart, CommittedPart};
use crate::store::{
    DirectoryMount, Looked, Orphan, OrphansFound, OtherShare, PartCheck, PartCopy, PartOpened, SharedFile, Verdict,
};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) struct Job {
    pub(super) key: Key,
    /// The share that it waits for.
    pub(super) on: Option<Device>,
    pub(super) work: Box<dyn FnOnce() -> Done + Send>,
    /// When it was submitted, by [`Clock::fine`].
    pub(super) submitted: Duration,
}

/// A job that has ended.
pub(super) struct Ended {
    pub(super) key: Key,
    /// `None` if the work panicked.
    pub(super) done: Option<Done>,
    /// How long it waited before it ran.
    pub(super) waited: Duration,
}

pub(crate) enum Done {
    Resolved(BootstrapAddr, Result<Vec<IpAddr>, ResolveFault>),
    TargetProbed(TransferId, Result<PathBuf, DiskFault>),
    DirectoriesMade(TransferId, Result<Vec<FileName>, DiskFault>),
    PartOpened(TransferId, Result<PartOpened, DiskFault>),
    PartRemoved(TransferId, Result<(), DiskFault>),
    /// Something was written to a part file.
    PartWritten(Written),
    /// A part file was allocated, and its verified groups synced.
    PartSynced(TransferId, Result<View, DiskFault>),
    /// A slice of a check.
    PartChecked(TransferId, Result<CheckStep, DiskFault>),
    PartClosed(TransferId),
    /// Finished downloads on a filesystem were synced and renamed.
    Committed(Committed),
    OrphansFound(OrphansFound),
    /// Orphans without data.
    OrphansRemoved(Vec<(Orphan, io::Result<()>)>),
    HashesClosed,
    /// The records of downloads were written.
    RecordsWritten(RecordsWritten),
    HashesFlushed(FlushEnded),
    /// Files of this share were hashed.
    HashStepped(Arc<Path>, Result<Box<HashWork>, DiskFault>),
    /// The metadata of a content, if the cache has them.
    MetadataRead(ContentHash, Option<Vec<u8>>),
    ManifestKept(TransferId, Result<(), DiskFault>),
    ManifestRead(TransferId, Result<Box<Manifest>, DiskFault>),
    ManifestsRemoved(io::Result<()>),
    /// A state file was written: its name and content.
    Written(&'static str, Arc<StateContent>, Result<(), DiskFault>),
    /// A directory in use, and its mount if it exists.
    MountFound(PathBuf, Option<DirectoryMount>),
    SharedOpened(FileName, Result<SharedFile, DiskFault>),
    /// A piece of a shared file was read.
    SharedRead(Left, Ordered, ReadOutcome),
    /// A read that was given up has ended.
    SharedLeft(Left),
    /// Files of this share were closed.
    SharedClosed(Arc<Path>),
    /// Files of one share were looked at, for this order.
    LookedAt(u64, Vec<LookedAt>),
    /// A scan has opened a share.
    ScanOpened(OfScan, OtherShare, Result<(), DiskFault>),
    /// A scan has walked through some of a share.
    ScanStepped(OfScan, Result<Box<Walk>, DiskFault>),
    /// The watched directory was looked at.
    WatchLooked(io::Result<Looked>),
    /// A file of it was renamed.
    WatchRenamed(Verdict, io::Result<()>),
    /// The configuration was read and checked; the host has the outcome.
    ConfigurationRead,
    /// Something that nobody wants was dropped.
    Dropped,
}

impl Done {
    /// Descriptors that a job with this result may hold without a permit. Those of one job of each kind are in the reserve, and
    /// of two syncs.
    pub(super) fn descriptors(&self) -> usize {
        match self {
            // The share, and a directory, which is opened twice.
            Self::ScanStepped(..) => 3,
            // A large file that waits, the share, and the next file.
            Self::HashStepped(..) => 3,
            // The share, and a file in it; the part file, and its journal if that is replaced meanwhile.
            Self::ScanOpened(..) | Self::LookedAt(..) | Self::SharedOpened(..) | Self::PartSynced(..) => 2,
            // What such jobs had.
            Self::Dropped => 3,
            Self::OrphansFound(_) | Self::WatchLooked(_) | Self::MountFound(..) | Self::ConfigurationRead => 1,
            _ => 0,
        }
    }

    /// What is to be heard of a job with this result that was given up, when it ends.
    pub(super) fn late(&self) -> Option<Self> {
        match self {
            Self::SharedRead(used, ..) => Some(Self::SharedLeft(*used)),
            _ => None,
        }
    }

    /// What a lost job that hangs has instead of the fault of one that panicked.
    pub(super) fn unanswered(self) -> Self {
        let fault = DiskFault::NoAnswer;
        match self {
            Self::HashStepped(share, Err(_)) => Self::HashStepped(share, Err(fault)),
            Self::LookedAt(order, files) => {
                let unanswered = |file: LookedAt| LookedAt { found: Err(fault), ..file };
                Self::LookedAt(order, files.into_iter().map(unanswered).collect())
            }
            Self::SharedOpened(name, Err(_)) => Self::SharedOpened(name, Err(fault)),
            Self::SharedRead(used, read, Err(_)) => Self::SharedRead(used, read, Err(fault)),
            Self::ScanOpened(of, other, Err(_)) => Self::ScanOpened(of, other, Err(fault)),
            Self::ScanStepped(of, Err(_)) => Self::ScanStepped(of, Err(fault)),
            other => other,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Host(BootstrapAddr),
    Part(TransferId),
    /// A write to a part file, by its number.
    Write(TransferId, u64),
    /// Part files on this filesystem get their final names.
    Commits(FilesystemId),
    /// A state file that is written whole.
    File(&'static str),
    KeepManifest(TransferId),
    ReadManifest(TransferId),
    DropManifest(ContentHash),
    /// Those that no record names.
    Manifests,
    Hashes,
    CloseHashes,
    /// Files of this share.
    Hash(Arc<Path>),
    Metadata(ContentHash),
    Log,
    Orphans,
    OrphansRemoved,
    /// A reload, by its number: the next one does not wait for one that hangs.
    Configuration(u64),
    Mount(PathBuf),
    OpenShared(FileName),
    ReadShared(ExchangeId),
    CloseShared(Arc<Path>),
    /// Files of this share.
    LookAt(Arc<Path>),
    /// This share.
    Scan(Arc<Path>),
    Watch,
    /// Something that nobody wants, by its number.
    Drop(u64),
}

impl Key {
    /// The download whose part file it is about.
    pub(super) fn download(&self) -> Option<TransferId> {
        match self {
            Self::Part(download) | Self::Write(download, _) => Some(*download),
            _ => None,
        }
    }

    /// The filesystem that it waits for, if it is about no single download.
    pub(super) fn device(&self) -> Option<Device> {
        if let Self::Commits(filesystem) = self { Some(Device::Filesystem(*filesystem)) } else { None }
    }

    /// Whether a job is given up that takes too long: its result is taken for lost then, and the real one is dropped. Something waits
    /// for it that goes on without it.
    pub(super) fn is_given_up(&self) -> bool {
        self.holds_open_files()
            || matches!(self, Self::OpenShared(_) | Self::ReadShared(_) | Self::LookAt(_))
            || matches!(self, Self::Mount(_) | Self::Configuration(_))
    }

    /// Whether a job holds open files of a share from the job before it.
    pub(super) fn holds_open_files(&self) -> bool {
        matches!(self, Self::Scan(_) | Self::Hash(_))
    }
}

/// What a job waits for. One that hangs holds up no other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Device {
    /// That of a part file.
    Filesystem(FilesystemId),
    /// A share, or the directory of a part file whose filesystem is not known.
    Directory(Arc<Path>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "look up {}", host.host),
            Self::Part(download) => write!(f, "part file of download {}", download.0),
            Self::Write(download, _) => write!(f, "write to the part file of download {}", download.0),
            Self::Commits(_) => f.write_str("give finished downloads their names"),
            Self::File(name) => write!(f, "write the state file {name}"),
            Self::KeepManifest(_) => f.write_str("write a manifest"),
            Self::ReadManifest(_) => f.write_str("read a manifest"),
            Self::DropManifest(_) | Self::Manifests => f.write_str("remove manifests"),
            Self::CloseHashes => f.write_str("close the hash cache"),
            Self::Hashes => f.write_str("write the hash cache"),
            Self::Hash(_) => f.write_str("hash shared files"),
            Self::Metadata(_) => f.write_str("read metadata from the hash cache"),
            Self::Log => f.write_str("write the records of downloads"),
            Self::Orphans => f.write_str("search for orphaned part files"),
            Self::OrphansRemoved => f.write_str("remove orphaned part files"),
            Self::Mount(path) => write!(f, "look at the directory {}", path.display()),
            Self::Configuration(_) => f.write_str("read the configuration"),
            Self::OpenShared(name) => write!(f, "open the shared file {name}"),
            Self::ReadShared(_) => f.write_str("read a shared file"),
            Self::LookAt(_) => f.write_str("look at shared files"),
            Self::Watch => f.write_str("look at the watched directory"),
            Self::Scan(_) => f.write_str("scan the share"),
            Self::Drop(_) => f.write_str("close files that are not needed"),
            Self::CloseShared(_) => f.write_str("close shared files"),
        }
    }
}

/// What has workers of its own, because it may hang for itself: the name servers, the disk of the share, that of the downloads, and
/// that of the state directory. Short jobs do not wait for long ones of the same disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Looking up host names.
    Names,
    /// Reading and checking a configuration, which looks at directories. Rotation of the log waits for it, and is not to wait for name
    /// servers.
    Reload,
    /// Directories of downloads: searching for orphans; and the watched directory. No transfer waits for that.
    Search,
    /// The share: opening and reading files for peers.
    Share,
    /// The share: scanning and hashing; and which mounts directories are on.
    Scan,
    /// Part files: writing what exchanges receive.
    Parts,
    /// Part files: opening and closing them.
    Open,
    /// Part files: syncing, checking, renaming, removing them.
    Sync,
    /// The state directory. Replies to users wait for it.
    State,
}

impl Lane {
    pub(super) const ALL: [Self; 9] = [
        Self::Names,
        Self::Reload,
        Self::Search,
        Self::Share,
        Self::Scan,
        Self::Parts,
        Self::Open,
        Self::Sync,
        Self::State,
    ];

    /// Two for host names: a name server that does not answer holds a worker for half a minute. Two for part files, one for the
    /// shares, and more if there are more of them; without those whose jobs hang.
    pub(super) fn workers(self) -> usize {
        if matches!(self, Self::Names | Self::Parts | Self::Open | Self::Sync) { 2 } else { 1 }
    }

    /// Whether each device has one worker at a time.
    pub(super) fn is_by_device(self) -> bool {
        matches!(self, Self::Share | Self::Scan | Self::Parts | Self::Open | Self::Sync)
    }

    pub(super) fn thread_name(self) -> &'static str {
        match self {
            Self::Names => "pyrate-names",
            Self::Reload => "pyrate-reload",
            Self::Search => "pyrate-search",
            Self::Share => "pyrate-share",
            Self::Scan => "pyrate-scan",
            Self::Parts => "pyrate-parts",
            Self::Open => "pyrate-open",
            Self::Sync => "pyrate-sync",
            Self::State => "pyrate-state",
        }
    }

    /// Whether others work in place of the threads whose jobs hang: those for other disks go on.
    pub(super) fn replaces_hung(self) -> bool {
        !matches!(self, Self::Names | Self::State)
    }

    /// Whether its jobs wait for shares.
    pub(super) fn is_of_shares(self) -> bool {
        matches!(self, Self::Share | Self::Scan)
    }

    /// Whether a stop waits for its jobs.
    pub(super) fn is_awaited(self) -> bool {
        matches!(self, Self::Parts | Self::Open | Self::Sync | Self::State)
    }
}

/// What became of changes to the records of downloads.
pub(crate) struct RecordsWritten {
    pub(super) outcome: io::Result<()>,
    /// Downloads whose last change is not on the disk; `None` after a job that panicked.
    pub(super) owed: Option<BTreeSet<u32>>,
}

/// What a job has made of the part files that it has taken.
pub(crate) struct Committed {
    pub(super) filesystem: FilesystemId,
    /// In the order of the outcomes.
    pub(super) taken: NamedParts,
    /// None at all if the job was lost.
    pub(super) outcomes: Vec<Outcome>,
}

/// The downloads of part files that a job gives their names.
pub(super) type NamedParts = Arc<Mutex<Vec<TransferId>>>;

pub(super) type Outcome = Result<CommittedPart, DiskFault>;

/// How far a check of a part file is.
#[derive(Debug)]
pub(crate) enum CheckStep {
    /// It is becoming a copy of a shared file.
    Copying(PartCopy),
    More(PartCheck),
    Over(CheckedPart, View),
}

//! What survives on a simulated host: its share, its finished downloads, the peers it remembers; and what does not: its
//! part files.

use crate::random::Random;
use pyrate::fault::DiskFault;
use pyrate::id::TransferId;
use pyrate::library::{FileMeta, ScannedFile};
use pyrate::name::FileName;
use pyrate::node::contract::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The content of a file, as far as this world looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// The same for the same bytes.
    pub(crate) id: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// What was written to a part file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Nothing,
    /// A fetch is going on, or has failed.
    Piece,
    /// A fetch that ended in FIN.
    Whole(Content),
}

/// How far a part file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Opening,
    Open,
    Committing,
    /// Dropped before its creation or its commit was through.
    Dropped,
}

/// A part file.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) target: Target,
    pub(crate) stage: Stage,
    pub(crate) written: Written,
    /// A fetch writes to it.
    pub(crate) fetching: bool,
}

/// The disk of one host.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) share: BTreeMap<FileName, Content>,
    /// Every name that was ever shared: an answer may be on its way while its file goes.
    pub(crate) shared_ever: BTreeSet<FileName>,
    pub(crate) finished: BTreeMap<PathBuf, Content>,
    pub(crate) parts: BTreeMap<TransferId, Part>,
    pub(crate) remembered: Vec<SocketAddr>,
    /// What each attempt to create or commit a part file meets.
    pub(crate) fault: Option<DiskFault>,
}

impl Disk {
    pub(crate) fn share(&mut self, name: &str, content: Content) {
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        self.shared_ever.insert(name.clone());
        self.share.insert(name, content);
    }

    /// What a scan finds.
    pub(crate) fn scanned(&self) -> Vec<ScannedFile> {
        let file = |(name, content): (&FileName, &Content)| ScannedFile {
            name: name.clone(),
            meta: FileMeta { size: content.size, mtime_ns: 1, inode: content.id, device: 1 },
        };
        self.share.iter().map(file).collect()
    }

    /// Whether a finished download has this content.
    pub(crate) fn has_finished(&self, content: Content) -> bool {
        self.finished.values().any(|&finished| finished == content)
    }

    /// The path that a target would have now.
    pub(crate) fn final_path(&self, target: &Target) -> Result<PathBuf, DiskFault> {
        match target {
            Target::Suggested { directory, name } => {
                let taken = |path: &Path| self.finished.contains_key(path);
                let plain = String::from_utf8_lossy(name.as_bytes()).into_owned();
                let numbered = (1..).map(|n| directory.join(format!("{plain} ({n})")));
                let mut candidates = std::iter::once(directory.join(&plain)).chain(numbered);
                candidates.find(|path| !taken(path)).ok_or(DiskFault::Exists)
            }
            Target::Exact { path, .. } if self.finished.contains_key(path) => Err(DiskFault::Exists),
            Target::Exact { path, .. } => Ok(path.clone()),
        }
    }

    /// The process is gone, and with it what was unfinished.
    pub(crate) fn crash(&mut self) {
        self.parts.clear();
    }
}

/// A content that no other file has.
pub(crate) fn fresh_content(random: &mut Random) -> Content {
    Content { id: random.number(), size: random.below(50_000_000) }
}

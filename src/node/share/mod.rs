//! What this node shares: the library, the scans that fill it, and the hashes of its files.
//!
//! | file | owns |
//! |---|---|
//! | `scanning` | rescans of the share |
//! | `settling` | files of the share that may be written to still |
//! | `hashing`, `hash_requests` | which files are hashed next; those that peers ask for |
//!
//! Others read [`library`](ShareMachine::library), and say which file a peer wants hashed, or has found changed. Calls no other
//! machine.

mod hash_requests;
mod hashing;
mod scanning;
mod settling;

use crate::library::{Library, ScanReport};
use crate::name::FileName;
use hashing::Hashing;
use scanning::ScanStage;
use settling::Settling;

/// What this node shares.
pub(super) struct ShareMachine {
    library: Library,
    scan: ScanStage,
    settling: Settling,
    hashing: Hashing,
    /// What the log last said of the share: the number of files, and how the scan went.
    scan_logged: Option<(u64, ScanReport)>,
}

impl Default for ShareMachine {
    fn default() -> Self {
        let (settling, hashing) = Default::default();
        Self { library: Library::new(), scan: ScanStage::Off, settling, hashing, scan_logged: None }
    }
}

impl ShareMachine {
    /// What is shared.
    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// What is not shared yet, because it may be written to still.
    pub(super) fn settling(&self) -> &Settling {
        &self.settling
    }

    /// Whether a scan is running.
    pub(super) fn is_scanning(&self) -> bool {
        self.scan.is_running()
    }

    /// Whether a slice of the scan waits.
    pub(super) fn has_scan_work(&self) -> bool {
        self.scan.has_work()
    }

    /// Whether a slice of hashing waits.
    pub(super) fn has_hash_work(&self) -> bool {
        self.hashing.has_work()
    }

    /// Whether a file is known not to be at rest.
    pub(super) fn is_being_written(&self, name: &FileName) -> bool {
        self.settling.holds(name)
    }

    /// Records that gave way to others since the start.
    pub(super) fn displaced(&self) -> u64 {
        self.hashing.displaced()
    }

    pub(super) fn check_invariants(&self) {
        self.hashing.check_invariants();
        self.settling.check_invariants();
    }
}

//! The shared files: the library, the scans that fill it, and hashing.
//!
//! Others read [`library`](ShareMachine::library), as the requester sees it, and report files to be hashed, and files that have changed. Calls no other
//! machine.

mod each;
mod hash_requests;
mod hashing;
mod left_out;
mod manifests;
mod scanning;
mod settling;

use crate::audience::{Audiences, Requester};
use crate::library::{LeftOut, Library, ScanReport, ScannedFile};
use crate::name::FileName;
use crate::node::contract::ShareChanges;
use crate::node::cx::Cx;
use each::EachShare;
use hashing::Hashing;
use manifests::Manifests;
use scanning::ScanStage;
use settling::Settling;

#[derive(Default)]
pub(super) struct ShareMachine {
    library: Library,
    scan: ScanStage,
    /// Another scan follows the running one, which may have missed what a user wants scanned.
    scan_again: bool,
    settling: Settling,
    manifests: Manifests,
    hashing: Hashing,
    /// The last log line of a scan: the number of files, and the report.
    scan_logged: Option<(u64, ScanReport)>,
    /// Of the last scan that could read the share.
    left_out: LeftOut,
    each: EachShare,
}

impl ShareMachine {
    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// Shares files of an earlier run until the first scan has looked for them.
    pub(super) fn recall_files(&mut self, files: Vec<ScannedFile>) {
        files.into_iter().for_each(|file| self.library.apply(file));
    }

    /// Files that are not shared yet, because they may not be complete yet.
    pub(super) fn settling(&self) -> &Settling {
        &self.settling
    }

    pub(super) fn is_scanning(&self) -> bool {
        self.scan.is_running()
    }

    pub(super) fn has_scan_work(&self) -> bool {
        self.scan.has_work()
    }

    pub(super) fn has_hash_work(&self) -> bool {
        self.hashing.has_work()
    }

    /// Whether a file is there that will be shared soon.
    pub(super) fn is_being_written(&self, requester: impl Into<Requester>, name: &FileName) -> bool {
        self.settling.holds(name) && self.library.seen_by(requester).admits(name.as_bytes())
    }

    /// For whom the shares are from now on.
    pub(super) fn set_audiences(&mut self, audiences: Audiences) {
        self.library.set_audiences(audiences);
    }

    /// Other directories are shared than before. Nothing of what is not shared any more is seen from now on.
    pub(super) fn on_shares_changed(&mut self, cx: &mut Cx, changes: &ShareChanges) {
        if changes.is_empty() {
            return;
        }
        changes.replaced.iter().for_each(|share| self.library.withdraw(share.as_bytes()));
        let is_replaced = |name: &[u8]| changes.replace(name);
        self.settling.forget(is_replaced);
        self.hashing.forget(is_replaced);
        self.manifests.forget_of(cx, is_replaced);
        self.left_out.forget(is_replaced);
        self.each.forget(is_replaced);
        self.scan_anew(cx);
    }

    pub(super) fn displaced(&self) -> u64 {
        self.hashing.displaced()
    }

    pub(super) fn check_invariants(&self) {
        self.hashing.check_invariants();
        self.manifests.check_invariants();
        self.settling.check_invariants();
    }
}

//! Serving requests of peers: files, ranges, metadata and lists.
//!
//! Reads `share`, and reports to it files to be hashed, and files that have changed.

mod accounting;
mod audience;
mod call_backs;
mod manifests;
mod requests;
mod shown;
mod turns;

pub(super) use accounting::Wanted;

use super::cx::Cx;
use super::cx::exchanges::Shares;
use crate::id::ExchangeId;
use accounting::Uploads;
use call_backs::CallBacks;
use manifests::ManifestRequests;
use turns::UploadTurns;

#[derive(Default)]
pub(super) struct UploadMachine {
    uploads: Uploads,
    call_backs: CallBacks,
    turns: UploadTurns,
    manifests: ManifestRequests,
}

impl UploadMachine {
    /// Connections that send something, ascending.
    pub(super) fn exchanges(&self) -> impl Iterator<Item = ExchangeId> {
        self.uploads.exchanges()
    }

    pub(super) fn active(&self) -> usize {
        self.uploads.len()
    }

    /// Uploads that wait for their turn under `upload_limit`.
    pub(super) fn waiting_for_turns(&self) -> usize {
        self.turns.waiting()
    }

    pub(super) fn shares_of_turns(&self, cx: &Cx) -> Shares {
        self.turns.shares(cx.now, |exchange| cx.exchanges.workers().flow(exchange))
    }

    pub(super) fn displaced(&self) -> u64 {
        self.uploads.displaced()
    }

    pub(super) fn check_invariants(&self, cx: &Cx) {
        self.uploads.check_invariants();
        self.call_backs.check_invariants();
        self.turns.check_invariants();
        for exchange in self.exchanges().chain(self.uploads.lists.keys().copied()) {
            assert!(cx.exchanges.workers().is_active(exchange), "{exchange:?} sends with a worker");
        }
    }
}

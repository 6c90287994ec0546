//! Hashing the shared files: choosing the next ones, ordering them in batches, and applying the results.
//!
//! After each scan the best files without a hash are gathered in slices of [`work`](super), newest and smallest first, as the
//! library ranks them. Files that peers requested come before them. One batch is in progress at a time, and beside it at
//! most one file that is too large for a batch, so that neither a million files nor a new small one wait for long.
//!
//! A file that could not be hashed is not read again before the next scan: otherwise requests for it, or writes to it, could
//! keep the disk busy.

use super::ShareMachine;
use super::hash_requests::HashRequests;
use crate::audience::Requester;
use crate::control::Notice;
use crate::fault::DiskFault;
use crate::library::{FileMeta, Gather, ScannedFile};
use crate::name::FileName;
use crate::node::contract::{Action, HashedFile};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{
    HASH_ASKED_FILES_MAX, HASH_BATCH_BYTES_MAX, HASH_BATCH_FILES_MAX, HASH_ENTRIES_PER_SLICE, HASH_FAILED_FILES_MAX,
    HASH_GATHER_FILES_MAX, HASH_RETRY,
};
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

#[derive(Debug, Default)]
enum Stage {
    /// The last search found none.
    #[default]
    Rest,
    /// The library is being searched.
    Gathering(Box<Gather>),
    /// These are next. Then the library is searched again, if any of them was ordered.
    Ready { files: VecDeque<ScannedFile>, ordered: bool },
}

#[derive(Debug, Default)]
pub(super) struct Hashing {
    stage: Stage,
    /// Requested by peers.
    asked: HashRequests,
    /// Ordered, without a result yet.
    under_way: BTreeSet<FileName>,
    /// The same for a file too large for a batch.
    large: Option<FileName>,
    /// Of these two, those whose share was replaced since they were ordered: their results are of other files.
    replaced: BTreeSet<FileName>,
    /// Not ordered again before the next scan, or longer.
    failed: BTreeMap<FileName, Failure>,
    /// Retries files after a system error.
    retry: Option<TimerId>,
    /// Files were hashed since the last notice that all are.
    unreported: bool,
}

/// Why a file could not be hashed, and its last known metadata.
#[derive(Debug)]
struct Failure {
    fault: DiskFault,
    meta: FileMeta,
}

impl Hashing {
    pub(super) fn has_work(&self) -> bool {
        match &self.stage {
            Stage::Gathering(_) => true,
            Stage::Ready { files, .. } => self.under_way.is_empty() && !self.waits_for_large(files.front()),
            Stage::Rest => self.under_way.is_empty() && !self.asked.is_empty(),
        }
    }

    fn waits_for_large(&self, file: Option<&ScannedFile>) -> bool {
        self.asked.is_empty() && self.large.is_some() && file.is_some_and(is_large)
    }

    /// Other files than before may have these names. What is ordered is still reported.
    pub(super) fn forget(&mut self, is_replaced: impl Fn(&[u8]) -> bool) {
        self.asked.forget(&is_replaced);
        let ordered = self.under_way.iter().chain(&self.large);
        self.replaced.extend(ordered.filter(|name| is_replaced(name.as_bytes())).cloned());
        self.failed.retain(|name, _| !is_replaced(name.as_bytes()));
    }

    pub(super) fn displaced(&self) -> u64 {
        self.asked.displaced
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.under_way.len() <= HASH_BATCH_FILES_MAX, "a batch is bounded");
        self.asked.check_invariants();
        let is_ordered = |name| self.is_ordered(name);
        assert!(self.replaced.iter().all(is_ordered), "a file that was replaced has a result to come");
        assert!(self.failed.len() <= HASH_FAILED_FILES_MAX, "the files that failed are bounded");
        let is_long = |files: &VecDeque<_>| files.len() > HASH_GATHER_FILES_MAX;
        assert!(!matches!(&self.stage, Stage::Ready { files, .. } if is_long(files)), "so is the choice");
    }
}

impl ShareMachine {
    /// After a scan: there may be new files, and failed ones may be retried. A file that changed while it was read is not hashed
    /// until two scans have found it unchanged: otherwise one that is always being written would be read without end.
    pub(super) fn hash_after_scan(&mut self, cx: &mut Cx) {
        let library = &self.library;
        self.hashing.failed.retain(|name, failure| {
            match (failure.fault, library.seen_by(Requester::Owner).get(name.as_bytes())) {
                (DiskFault::Changed, Some(file)) => std::mem::replace(&mut failure.meta, file.meta) != file.meta,
                _ => false,
            }
        });
        self.hash_new();
        self.notify_if_all_hashed(cx);
    }

    /// There may be files without a hash.
    pub(super) fn hash_new(&mut self) {
        if self.library.unhashed() > 0 {
            self.gather_unhashed();
        }
    }

    /// Retries files that could not be hashed because of a system error.
    pub(in crate::node) fn on_hash_again(&mut self, cx: &mut Cx) {
        let hashing = &mut self.hashing;
        hashing.retry = None;
        let failed = hashing.failed.iter().filter(|(_, failure)| !failure.fault.is_finding());
        let names: Vec<FileName> = failed.map(|(name, _)| name.clone()).collect();
        let places = HASH_ASKED_FILES_MAX.saturating_sub(hashing.asked.len());
        for name in names.iter().take(places) {
            hashing.failed.remove(name);
            hashing.asked.add_own(name.clone());
        }
        if names.len() > places {
            self.arm_hash_retry(cx);
        }
    }

    fn arm_hash_retry(&mut self, cx: &mut Cx) {
        if self.hashing.retry.is_none() {
            self.hashing.retry = Some(cx.wheel.insert(cx.now + HASH_RETRY, NodeTimer::HashAgain));
        }
    }

    fn gather_unhashed(&mut self) {
        self.hashing.stage = Stage::Gathering(Box::new(Gather::new(HASH_GATHER_FILES_MAX)));
    }

    /// A peer requested the metadata of a file without a hash: hashes it next.
    pub(in crate::node) fn hash_soon(&mut self, from: SocketAddr, name: FileName) {
        let hashing = &mut self.hashing;
        let is_ordered = hashing.is_ordered(&name);
        let failed = hashing.failed.contains_key(&name) || hashing.failed.len() >= HASH_FAILED_FILES_MAX;
        if !is_ordered && !failed {
            hashing.asked.add(from, name);
        }
    }

    /// One slice: orders a batch, or searches some of the library.
    pub(in crate::node) fn work_on_hashing(&mut self, cx: &mut Cx) {
        if self.hashing.under_way.is_empty() && !self.hashing.asked.is_empty() {
            return self.order_hashes(cx);
        }
        match &mut self.hashing.stage {
            Stage::Rest => {}
            Stage::Gathering(gather) => {
                if !self.library.gather_step(gather, HASH_ENTRIES_PER_SLICE)
                    && let Stage::Gathering(gather) = std::mem::take(&mut self.hashing.stage)
                {
                    let files = VecDeque::from(gather.into_files());
                    self.hashing.stage = Stage::Ready { files, ordered: false };
                }
            }
            Stage::Ready { files, ordered } if files.is_empty() => match ordered {
                true => self.gather_unhashed(),
                false => self.hashing.stage = Stage::Rest,
            },
            Stage::Ready { files, .. } if self.hashing.large.is_some() && files.front().is_some_and(is_large) => {}
            Stage::Ready { .. } => self.order_hashes(cx),
        }
    }

    /// Orders the next batch: requested files, then gathered ones.
    fn order_hashes(&mut self, cx: &mut Cx) {
        let mut batch: Vec<ScannedFile> = Vec::new();
        let mut bytes = 0u64;
        for _ in 0..HASH_ENTRIES_PER_SLICE {
            let Some(name) = self.hashing.next_name() else { break };
            let Some(file) = self.unhashed_file(name) else {
                self.hashing.skip();
                continue;
            };
            if is_large(&file) {
                // One at a time, in a batch of its own; a peer that requested another may do so again.
                if !batch.is_empty() || self.hashing.large.is_some() && self.hashing.asked.is_empty() {
                    break;
                }
                self.hashing.skip();
                if self.hashing.large.is_none() {
                    self.hashing.large = Some(file.name.clone());
                    batch.push(file);
                    break;
                }
                continue;
            }
            bytes = bytes.saturating_add(file.meta.size);
            if batch.len() >= HASH_BATCH_FILES_MAX || bytes > HASH_BATCH_BYTES_MAX {
                break;
            }
            self.hashing.skip();
            self.hashing.under_way.insert(file.name.clone());
            batch.push(file);
        }
        if !batch.is_empty() {
            self.hashing.unreported = true;
            if let Stage::Ready { ordered, .. } = &mut self.hashing.stage {
                *ordered = true;
            }
            cx.out.act(Action::HashFiles { files: batch });
        }
    }

    /// A file of the library, if it has no hash, was not ordered and has not failed.
    fn unhashed_file(&self, name: &FileName) -> Option<ScannedFile> {
        let file = self.library.seen_by(Requester::Owner).get(name.as_bytes()).filter(|file| file.b3.is_none())?;
        let is_ordered = self.hashing.is_ordered(name) || self.hashing.failed.contains_key(name);
        (!is_ordered).then(|| ScannedFile { name: name.clone(), meta: file.meta, executable: file.executable })
    }

    pub(in crate::node) fn on_hashed(&mut self, cx: &mut Cx, files: Vec<HashedFile>) {
        let mut is_any_replaced = false;
        for HashedFile { file, outcome } in files {
            self.hashing.under_way.remove(&file.name);
            self.hashing.large.take_if(|large| *large == file.name);
            if self.hashing.replaced.remove(&file.name) {
                is_any_replaced = true;
                continue;
            }
            match outcome {
                Ok(b3) => {
                    // If the file has changed, the next search finds it.
                    self.library.set_b3(&file, b3);
                }
                Err(fault) => {
                    log::debug!(name:% = file.name, error:% = fault; "a file cannot be hashed");
                    self.library.set_unhashable(&file);
                    if !fault.is_finding() {
                        self.arm_hash_retry(cx);
                    }
                    if self.hashing.failed.len() < HASH_FAILED_FILES_MAX {
                        self.hashing.failed.insert(file.name, Failure { fault, meta: file.meta });
                    }
                }
            }
        }
        if is_any_replaced {
            // Those that have their names by now were not chosen meanwhile.
            self.hash_new();
        }
        self.notify_if_all_hashed(cx);
    }

    fn notify_if_all_hashed(&mut self, cx: &mut Cx) {
        if !self.hashing.unreported || self.library.unhashed() > 0 {
            return;
        }
        self.hashing.unreported = false;
        let files = self.library.len();
        log::debug!(files; "the hashes of all files are known");
        cx.notify_events(|| Notice::Hashed { files });
    }
}

fn is_large(file: &ScannedFile) -> bool {
    file.meta.size > HASH_BATCH_BYTES_MAX
}

impl Hashing {
    fn is_ordered(&self, name: &FileName) -> bool {
        self.under_way.contains(name) || self.large.as_ref() == Some(name)
    }

    fn next_name(&self) -> Option<&FileName> {
        let gathered = || match &self.stage {
            Stage::Ready { files, .. } => files.front().map(|file| &file.name),
            _ => None,
        };
        self.asked.next().or_else(gathered)
    }

    fn skip(&mut self) {
        if self.asked.pop().is_none()
            && let Stage::Ready { files, .. } = &mut self.stage
        {
            files.pop_front();
        }
    }
}

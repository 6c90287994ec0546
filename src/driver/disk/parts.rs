//! Part files: opening, checking, syncing, committing and removing them, for the downloads that the node names.
//!
//! What may wait for the disk runs in a helper thread. While one does for a download, further orders for it wait in the
//! order in which they were given, so that a part file is never opened while it is being closed.

use crate::content::Outline;
use crate::driver::disk::jobs::Job;
use crate::driver::net::budget::Use;
use crate::driver::net::exchange::{PartialGroup, PartialGroups, Parts, Remains};
use crate::driver::{Driver, Phase};
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::node::Event;
use crate::node::contract::{CheckedPart, CommittedPart, OpenedPart, PartSpec, Target};
use crate::store::{
    Committed, OutlineRefused, PartCheck, PartFile, PartOpened, PartPlace, PartRequest, SyncJob, Synced,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a part file that one slice of a check reads.
const CHECK_BYTES_PER_SLICE: usize = 512 * 1024;

/// Descriptors that an open part file holds: itself, its journal, its directory.
const DESCRIPTORS_PER_PART: usize = 3;

/// Something to be done with a part file.
pub(in crate::driver) enum PartOrder {
    /// Look whether a file can be made at its target.
    Probe(PartRequest),
    /// Open it.
    Open(PartRequest),
    /// Read and hash it.
    Check,
    /// Give it its final name.
    Commit,
    /// Close and keep it.
    Close,
    /// Remove it.
    Drop(PartRequest),
    /// Remember its download no more: only when what was ordered before is done, so that nothing is left over that nobody
    /// knows of.
    Forget,
}

/// The part files, and what is under way with them.
#[derive(Default)]
pub(in crate::driver) struct Desk {
    /// Those that are open.
    pub(in crate::driver) open: Parts,
    /// Groups of which a fetch has brought the beginning.
    partials: PartialGroups,
    /// Downloads whose part files a helper thread is busy with, and the orders that wait for it.
    busy: BTreeMap<TransferId, VecDeque<PartOrder>>,
    /// Those that could not be synced lately: they are tried again by the timer.
    sync_failed: BTreeSet<TransferId>,
    /// Those that are being read, in turn.
    checks: VecDeque<(TransferId, PartCheck)>,
}

impl Desk {
    /// Bytes of the content that a download's part file has an outline of; 0 without one.
    pub(in crate::driver) fn size(&self, download: TransferId) -> u64 {
        self.open.get(&download).and_then(|part| part.outline()).map_or(0, |outline| outline.size())
    }

    /// Takes what is there of a group, for a peer that is to send the rest.
    pub(in crate::driver) fn take_partial(
        &mut self,
        download: TransferId,
        group: u64,
        by: SocketAddr,
    ) -> Option<PartialGroup> {
        let outline = self.open.get(&download)?.outline()?;
        self.partials.take(download, outline, group, by)
    }

    /// An exchange is over, and leaves this.
    pub(in crate::driver) fn take_remains(&mut self, remains: Remains) {
        match remains {
            Remains::Nothing => {}
            Remains::Partial(partial) => {
                let is_missing = |part: &PartFile| !part.verified().contains(partial.group());
                let is_wanted = |part: &&PartFile| {
                    is_missing(part) && part.outline().is_some_and(|outline| partial.is_of(partial.download(), outline))
                };
                if self.open.get(&partial.download()).filter(is_wanted).is_some() {
                    self.partials.keep(partial);
                }
            }
            Remains::Mismatch { download, senders } => self.partials.suspect(download, &senders),
        }
    }

    /// A group was verified.
    pub(in crate::driver) fn discard_partial(&mut self, download: TransferId, group: u64) {
        self.partials.discard(download, group);
    }

    /// Whether a helper thread is busy with the part file of a download.
    pub(in crate::driver) fn is_busy(&self, download: TransferId) -> bool {
        self.busy.contains_key(&download)
    }

    /// Whether a slice of a check waits.
    pub(in crate::driver) fn has_work(&self) -> bool {
        !self.checks.is_empty()
    }
}

impl Driver {
    /// Carries out an order now, or when the helper thread is through with the part file.
    pub(in crate::driver) fn order_part(&mut self, download: TransferId, order: PartOrder) {
        match self.desk.busy.get_mut(&download) {
            Some(waiting) => waiting.push_back(order),
            None => self.run_order(download, order),
        }
    }

    fn run_order(&mut self, download: TransferId, order: PartOrder) {
        match order {
            PartOrder::Probe(request) => self.probe_target(download, request),
            PartOrder::Open(request) => self.open_part(download, request),
            PartOrder::Check => self.begin_check(download),
            PartOrder::Commit => self.commit_part(download),
            PartOrder::Close => self.close_part(download),
            PartOrder::Drop(request) => self.drop_part(download, request),
            PartOrder::Forget if self.removals.delays_forgetting(download) => {}
            PartOrder::Forget => self.forget_download(download),
        }
    }

    fn probe_target(&mut self, download: TransferId, request: PartRequest) {
        match self.take_displacing(Use::Own) {
            Ok(()) => self.submit_part(download, Job::ProbeTarget(download, request)),
            Err(_) => {
                let outcome = Err(DiskFault::NoDescriptor);
                self.inbox.push_back(Event::TargetProbed { download, outcome });
            }
        }
    }

    /// A file can be made at the target of a download, or cannot.
    pub(in crate::driver) fn on_target_probed(&mut self, download: TransferId, outcome: Result<PathBuf, DiskFault>) {
        self.table.give_back(Use::Own);
        self.node.handle(self.now, Event::TargetProbed { download, outcome });
        self.on_part_idle(download);
    }

    fn open_part(&mut self, download: TransferId, request: PartRequest) {
        self.close_part(download);
        self.removals.call_off(download);
        for taken in 0..DESCRIPTORS_PER_PART {
            if self.take_displacing(Use::Own).is_err() {
                (0..taken).for_each(|_| self.table.give_back(Use::Own));
                let outcome = Err(DiskFault::NoDescriptor);
                return self.inbox.push_back(Event::PartOpened { download, outcome });
            }
        }
        self.submit_part(download, Job::OpenPart(download, request));
    }

    pub(in crate::driver) fn submit_part(&mut self, download: TransferId, job: Job) {
        self.desk.busy.entry(download).or_default();
        self.helpers.submit(job);
    }

    /// A part file stands ready, or cannot.
    pub(in crate::driver) fn on_part_opened(&mut self, download: TransferId, outcome: Result<PartOpened, DiskFault>) {
        let outcome = match outcome {
            Ok(PartOpened::Ready(part)) => {
                let path = part.final_path().to_owned();
                let resumed = part.outline().map(|outline| (outline.size(), part.verified().clone()));
                let filesystem = Some(part.filesystem());
                if let Some((directory, mount)) = part.directory() {
                    let (directory, mount) = (directory.to_owned(), mount.clone());
                    self.note_place(&directory, mount);
                }
                self.desk.open.insert(download, part);
                Ok(OpenedPart::Ready { path, resumed, filesystem })
            }
            Ok(PartOpened::AlreadyThere(path)) => {
                self.give_back_part();
                Ok(OpenedPart::AlreadyThere { path })
            }
            Err(fault) => {
                self.give_back_part();
                Err(fault)
            }
        };
        self.node.handle(self.now, Event::PartOpened { download, outcome });
        self.on_part_idle(download);
    }

    /// The helper thread is through with a part file: what waited for it follows.
    fn on_part_idle(&mut self, download: TransferId) {
        let Some(mut waiting) = self.desk.busy.remove(&download) else { return };
        while let Some(order) = waiting.pop_front() {
            self.run_order(download, order);
            if let Some(busy) = self.desk.busy.get_mut(&download) {
                busy.extend(waiting);
                return;
            }
        }
    }

    fn give_back_part(&mut self) {
        (0..DESCRIPTORS_PER_PART).for_each(|_| self.table.give_back(Use::Own));
    }

    /// Makes a small content the outline of a part file.
    pub(in crate::driver) fn set_outline(&mut self, download: TransferId, b3: ContentHash, size: u64) {
        let Some(part) = self.desk.open.get_mut(&download) else { return };
        let set = match Outline::new(b3, size, Vec::new()) {
            Ok(outline) => part.set_outline(Arc::new(outline)),
            Err(_) => Err(OutlineRefused::Contradicted),
        };
        let fault = match set {
            Ok(()) => return,
            Err(OutlineRefused::Disk(fault)) => fault,
            // The node sets none that the hash or a verified group contradicts: what it knows of the part file is wrong.
            Err(OutlineRefused::Contradicted) => DiskFault::Other(0),
        };
        self.inbox.push_back(Event::PartFailed { download, fault });
    }

    fn begin_check(&mut self, download: TransferId) {
        let begun = match self.desk.open.get_mut(&download) {
            Some(part) => part.begin_check(),
            None => Err(DiskFault::Missing),
        };
        match begun {
            Ok(check) => self.desk.checks.push_back((download, check)),
            Err(fault) => self.inbox.push_back(Event::PartChecked { download, outcome: Err(fault) }),
        }
    }

    /// One slice of the check whose turn it is.
    pub(in crate::driver) fn check_slice(&mut self) {
        let Some((download, mut check)) = self.desk.checks.pop_front() else { return };
        let step = match self.desk.open.get_mut(&download) {
            Some(part) => check.step(part, CHECK_BYTES_PER_SLICE),
            None => Err(DiskFault::Missing),
        };
        let outcome = match step {
            Ok(None) => return self.desk.checks.push_back((download, check)),
            Ok(Some(checked)) => Ok(CheckedPart { b3: checked.b3, size: checked.size, bad: checked.bad }),
            Err(fault) => Err(fault),
        };
        self.node.handle(self.now, Event::PartChecked { download, outcome });
    }

    fn commit_part(&mut self, download: TransferId) {
        self.desk.partials.forget(download);
        match self.desk.open.remove(&download) {
            Some(part) => self.submit_part(download, Job::Commit(download, part.commit())),
            None => {
                let outcome = Err(DiskFault::Missing);
                self.inbox.push_back(Event::PartCommitted { download, outcome });
            }
        }
    }

    /// A part file has its final name, or cannot get it.
    pub(in crate::driver) fn on_part_committed(&mut self, download: TransferId, outcome: Result<Committed, DiskFault>) {
        self.give_back_part();
        let outcome = outcome.map(|committed| CommittedPart { path: committed.path, already: committed.already });
        self.node.handle(self.now, Event::PartCommitted { download, outcome });
        self.on_part_idle(download);
    }

    fn close_part(&mut self, download: TransferId) {
        let Some(part) = self.desk.open.remove(&download) else { return };
        self.end_check(download);
        self.give_back_part();
        // Without a state directory nobody knows of the download after this run.
        if self.phase != Phase::Running && self.state.is_none() {
            part.discard();
        } else {
            part.close();
        }
    }

    fn drop_part(&mut self, download: TransferId, request: PartRequest) {
        self.close_part(download);
        self.desk.partials.forget(download);
        self.removals.begin(download, request.clone());
        // To give back the space of a large file takes its time.
        self.submit_part(download, Job::RemovePart(download, request));
    }

    /// A part file is removed, or cannot be.
    pub(in crate::driver) fn on_part_removed(&mut self, download: TransferId, outcome: Result<(), DiskFault>) {
        self.on_removal_ended(download, outcome);
        self.on_part_idle(download);
    }

    fn end_check(&mut self, download: TransferId) {
        let before = self.desk.checks.len();
        self.desk.checks.retain(|(checked, _)| *checked != download);
        if self.desk.checks.len() < before {
            self.inbox.push_back(Event::PartChecked { download, outcome: Err(DiskFault::Missing) });
        }
    }

    /// Has part files allocated that are not, and synced in which much was verified lately.
    pub(in crate::driver) fn sync_parts(&mut self) {
        self.submit_syncs(PartFile::sync_job);
    }

    /// Has all that was verified synced.
    pub(in crate::driver) fn sync_rest_of_parts(&mut self) {
        self.desk.sync_failed.clear();
        self.submit_syncs(PartFile::sync_rest_job);
    }

    fn submit_syncs(&mut self, job: fn(&mut PartFile) -> Option<SyncJob>) {
        for (download, part) in &mut self.desk.open {
            if !self.desk.busy.contains_key(download)
                && !self.desk.sync_failed.contains(download)
                && let Some(job) = job(part)
            {
                self.desk.busy.insert(*download, VecDeque::new());
                self.helpers.submit(Job::SyncPart(*download, job));
            }
        }
    }

    /// What was verified is on the disk.
    pub(in crate::driver) fn on_part_synced(&mut self, download: TransferId, outcome: Result<Synced, DiskFault>) {
        let marked = match (self.desk.open.get_mut(&download), outcome) {
            (Some(part), Ok(synced)) => part.synced(synced),
            (Some(_), Err(fault)) => Err(fault),
            (None, _) => Ok(()),
        };
        // Also for what was verified meanwhile.
        self.arm_sync();
        if let Err(fault) = marked {
            self.desk.sync_failed.insert(download);
            self.node.handle(self.now, Event::PartFailed { download, fault });
        }
        self.on_part_idle(download);
    }
}

impl Driver {
    /// What the store is asked for.
    pub(in crate::driver) fn part_request(
        &self,
        spec: PartSpec,
        b3: Option<ContentHash>,
        size: Option<u64>,
    ) -> PartRequest {
        let place = match spec.target {
            Target::Suggested { directory, name } => PartPlace::Suggested { directory, name },
            Target::Exact { path, name } => PartPlace::Exact { path, name },
        };
        PartRequest { place, token: spec.token, b3, size, filesystem: spec.filesystem, known: self.places.known() }
    }
}

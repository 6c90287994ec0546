//! The part files, and what is under way with them.

use super::jobs::{Done, Jobs, Key, Lane};
use super::removals::Removals;
use crate::driver::net::Permit;
use crate::driver::open_parts::OpenParts;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::store::{PartCheck, PartFile, PartRequest};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) enum PartOrder {
    /// Look whether a file can be made at its target.
    Probe(PartRequest),
    Open(PartRequest),
    Check,
    Commit,
    Close,
    Drop(PartRequest),
    /// Forget its download: only when what was ordered before is done, so that no part file is left without a record.
    Forget,
}

/// A job that works on the part file of a download.
#[derive(Default)]
pub(super) struct Busy {
    /// What was ordered meanwhile.
    pub(super) waiting: VecDeque<PartOrder>,
    /// What the job needs of the descriptors.
    pub(super) permit: Option<Permit>,
}

/// The part files, and what is under way with them.
#[derive(Default)]
pub(super) struct PartFiles {
    pub(super) open: OpenParts,
    /// The descriptors of those that are open.
    pub(super) permits: BTreeMap<TransferId, Permit>,
    busy: BTreeMap<TransferId, Busy>,
    /// Those that could not be synced lately: they are tried again by the timer.
    pub(super) sync_failed: BTreeSet<TransferId>,
    /// Those that are being read, in turn.
    pub(super) checks: VecDeque<(TransferId, PartCheck)>,
    /// Those that are to be removed.
    pub(super) removals: Removals,
}

impl PartFiles {
    /// Has an order wait for the job that is busy with the part file. Gives it back if none is.
    pub(super) fn queue(&mut self, download: TransferId, order: PartOrder) -> Option<PartOrder> {
        match self.busy.get_mut(&download) {
            Some(busy) => {
                busy.waiting.push_back(order);
                None
            }
            None => Some(order),
        }
    }

    /// Has other orders wait for a job that is busy by now. Gives them back if none is.
    pub(super) fn queue_all(&mut self, download: TransferId, orders: VecDeque<PartOrder>) -> VecDeque<PartOrder> {
        match self.busy.get_mut(&download) {
            Some(busy) => {
                busy.waiting.extend(orders);
                VecDeque::new()
            }
            None => orders,
        }
    }

    /// The part file that the job has opened is open: it keeps the descriptors of the job.
    pub(super) fn keep_permit(&mut self, download: TransferId) {
        let permit = self.busy.get_mut(&download).and_then(|busy| busy.permit.take());
        self.permits.extend(permit.map(|permit| (download, permit)));
    }

    /// Those that are open, that no job is busy with, and that could be synced the last time.
    pub(super) fn idle(&mut self) -> impl Iterator<Item = (TransferId, &mut PartFile)> {
        let Self { open, busy, sync_failed, .. } = self;
        let open = open.files().iter_mut().map(|(download, part)| (*download, part));
        open.filter(|(download, _)| !busy.contains_key(download) && !sync_failed.contains(download))
    }

    /// Ends a job: gives its descriptors, and the orders that waited for it.
    pub(super) fn end_job(&mut self, download: TransferId) -> Busy {
        self.busy.remove(&download).unwrap_or_default()
    }

    /// Has a job work on the part file of a download.
    pub(super) fn submit<T>(
        &mut self,
        (lane, download, permit): (Lane, TransferId, Option<Permit>),
        jobs: &mut Jobs,
        done: fn(TransferId, Result<T, DiskFault>) -> Done,
        work: impl FnOnce() -> Result<T, DiskFault> + Send + 'static,
    ) where
        T: 'static,
    {
        self.busy.insert(download, Busy { permit, ..Busy::default() });
        let lost = Err(DiskFault::Other(0));
        jobs.submit((lane, Key::Part(download)), move |outcome| done(download, outcome), lost, work);
    }

    /// Has the part files removed that could not be removed before, when it is time. None is while the loop leaves.
    pub(super) fn retry_removals(&mut self, is_running: bool, now: Instant, jobs: &mut Jobs) {
        let busy = &self.busy;
        for (download, request) in self.removals.due(now, |download| !is_running || busy.contains_key(&download)) {
            self.remove(download, request, jobs);
        }
    }

    /// Has a part file removed: to give back the space of a large file takes its time.
    pub(super) fn remove(&mut self, download: TransferId, request: PartRequest, jobs: &mut Jobs) {
        self.submit((Lane::Open, download, None), jobs, Done::PartRemoved, || request.remove());
    }
}

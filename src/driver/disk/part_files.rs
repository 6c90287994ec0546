//! The part files, and the jobs running on them.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use super::removals::Removals;
use crate::driver::net::Permit;
use crate::driver::open_parts::OpenParts;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::store::{PartCheck, PartFile, PartRequest};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) enum PartOrder {
    /// Check whether a file can be created at its target.
    Probe(PartRequest),
    Open(PartRequest),
    Check,
    Commit,
    Close,
    Drop(PartRequest),
    /// Forget its download, after all earlier orders, so that no part file is left without a record.
    Forget,
}

/// A job that works on the part file of a download.
#[derive(Default)]
pub(super) struct Busy {
    /// Orders given meanwhile.
    pub(super) waiting: Vec<PartOrder>,
    /// The descriptors of the job.
    pub(super) permit: Option<Permit>,
}

#[derive(Default)]
pub(super) struct PartFiles {
    pub(super) open: OpenParts,
    /// The descriptors of open part files.
    pub(super) permits: BTreeMap<TransferId, Permit>,
    busy: BTreeMap<TransferId, Busy>,
    /// Part files whose last sync failed: the timer tries them again.
    pub(super) sync_failed: BTreeSet<TransferId>,
    /// Part files being checked, in turn.
    pub(super) checks: VecDeque<(TransferId, PartCheck)>,
    pub(super) removals: Removals,
}

impl PartFiles {
    /// Queues an order behind the job that works on the part file. Returns the order if there is none.
    pub(super) fn queue(&mut self, download: TransferId, order: PartOrder) -> Option<PartOrder> {
        match self.busy.get_mut(&download) {
            Some(busy) => {
                busy.waiting.push(order);
                None
            }
            None => Some(order),
        }
    }

    /// The part file that the job has opened keeps the descriptors of the job.
    pub(super) fn keep_permit(&mut self, download: TransferId) {
        let permit = self.busy.get_mut(&download).and_then(|busy| busy.permit.take());
        self.permits.extend(permit.map(|permit| (download, permit)));
    }

    /// Open part files without a job whose last sync did not fail.
    pub(super) fn idle(&mut self) -> impl Iterator<Item = (TransferId, &mut PartFile)> {
        let Self { open, busy, sync_failed, .. } = self;
        let open = open.files().iter_mut().map(|(download, part)| (*download, part));
        open.filter(|(download, _)| !busy.contains_key(download) && !sync_failed.contains(download))
    }

    /// Ends a job. Returns its descriptors, and the orders that waited for it.
    pub(super) fn end_job(&mut self, download: TransferId) -> Busy {
        self.busy.remove(&download).unwrap_or_default()
    }

    /// Runs a job on the part file of a download.
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

    /// Tries again to remove part files; not while the loop shuts down.
    pub(super) fn retry_removals(&mut self, is_running: bool, now: Instant, jobs: &mut Jobs) {
        let busy = &self.busy;
        for (download, request) in self.removals.due(now, |download| !is_running || busy.contains_key(&download)) {
            self.remove(download, request, jobs);
        }
    }

    /// Removes a part file, in a job: freeing a large file takes long.
    pub(super) fn remove(&mut self, download: TransferId, request: PartRequest, jobs: &mut Jobs) {
        self.submit((Lane::Sync, download, None), jobs, Done::PartRemoved, || request.remove());
    }
}

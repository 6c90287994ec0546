//! The part files, and the jobs running on them.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use super::removals::Removals;
use crate::driver::net::Permit;
use crate::driver::open_parts::{OpenPart, OpenParts, Write};
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::store::{PartFile, PartRequest};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) enum PartOrder {
    /// Check whether a file can be created at its target.
    Probe(PartRequest),
    /// Create directories that have no file.
    MakeDirectories(PartRequest, Vec<FileName>),
    Open(PartRequest),
    /// With a file of the share: after the part file has become a copy of it.
    Check(Option<Box<ScannedFile>>),
    Commit,
    Close,
    Drop(PartRequest),
    /// Forget its download, after all earlier orders, so that no part file is left without a record.
    Forget,
}

#[derive(Default)]
pub(super) struct PartFiles {
    pub(super) open: OpenParts,
    /// The descriptors of open part files.
    permits: BTreeMap<TransferId, Permit>,
    /// The downloads with a job that works on their part file, and the descriptors of the job.
    busy: BTreeMap<TransferId, Option<Permit>>,
    /// Orders that wait for a job, or until all is written.
    waiting: BTreeMap<TransferId, VecDeque<PartOrder>>,
    /// Part files whose last sync failed: the timer tries them again.
    pub(super) sync_failed: BTreeSet<TransferId>,
    pub(super) removals: Removals,
    /// Writes so far.
    writes: u64,
}

impl PartFiles {
    pub(super) fn queue(&mut self, download: TransferId, order: PartOrder) {
        self.waiting.entry(download).or_default().push_back(order);
    }

    pub(super) fn queue_first(&mut self, download: TransferId, order: PartOrder) {
        self.waiting.entry(download).or_default().push_front(order);
    }

    /// The next order for a part file, unless something that works on it must end first. `is_unwritten`: its download is to be
    /// recorded, before anything of the part file is removed: whatever happens, what is cancelled does not come back.
    pub(super) fn next_order(&mut self, download: TransferId, is_unwritten: bool) -> Option<PartOrder> {
        let is_written = self.open.get(download).is_some_and(OpenPart::is_written);
        if is_written || self.busy.contains_key(&download) {
            return None;
        }
        let orders = self.waiting.get_mut(&download)?;
        if is_unwritten && matches!(orders.front(), Some(PartOrder::Drop(_))) {
            return None;
        }
        let order = orders.pop_front();
        if orders.is_empty() {
            self.waiting.remove(&download);
        }
        order
    }

    /// Whether an order waits that needs no check of the part file any more.
    pub(super) fn is_to_be_closed(&self, download: TransferId) -> bool {
        let mut waiting = self.waiting.get(&download).into_iter().flatten();
        waiting.any(|order| matches!(order, PartOrder::Open(_) | PartOrder::Close | PartOrder::Drop(_)))
    }

    /// The job has opened a part file, which keeps the descriptors of the job.
    pub(super) fn opened(&mut self, download: TransferId, part: OpenPart) {
        self.open.files().insert(download, part);
        let permit = self.take_permit(download);
        self.permits.extend(permit.map(|permit| (download, permit)));
    }

    /// Takes out an open part file, with its descriptors.
    pub(super) fn take(&mut self, download: TransferId) -> Option<(OpenPart, Option<Permit>)> {
        Some((self.open.files().remove(&download)?, self.permits.remove(&download)))
    }

    /// The open part files that are to be synced: those without a job whose last sync did not fail.
    pub(super) fn due_for_sync(&mut self, rest: bool) -> Vec<TransferId> {
        let Self { open, busy, sync_failed, .. } = self;
        let due = open.files().iter().filter(|(download, part)| {
            part.wants_sync(rest) && !busy.contains_key(download) && !sync_failed.contains(download)
        });
        due.map(|(download, _)| *download).collect()
    }

    /// The descriptors of the job that has ended, for the one that follows.
    pub(super) fn take_permit(&mut self, download: TransferId) -> Option<Permit> {
        self.busy.get_mut(&download).and_then(Option::take)
    }

    /// A job that others share works on a part file: it has the descriptors of this.
    pub(super) fn set_busy(&mut self, download: TransferId, permit: Option<Permit>) {
        self.busy.insert(download, permit);
    }

    /// Ends a job, and gives its descriptors back.
    pub(super) fn end_job(&mut self, download: TransferId) {
        self.busy.remove(&download);
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
        self.busy.insert(download, permit);
        let lost = Err(DiskFault::Internal);
        jobs.submit((lane, Key::Part(download)), move |outcome| done(download, outcome), lost, work);
    }

    /// Has a worker write to an open part file, after all earlier writes.
    pub(super) fn write(&mut self, write: Write, part_file: &OpenPart, jobs: &mut Jobs) {
        let (file, lost) = (part_file.file(), write.failed(DiskFault::Internal));
        self.writes += 1;
        let key = Key::Write(write.download, self.writes);
        jobs.submit((Lane::Parts, key), Done::PartWritten, lost, move || write.run(&file));
    }

    /// Tries again to remove part files; not while the loop shuts down.
    pub(super) fn retry_removals(&mut self, is_running: bool, now: Instant, jobs: &mut Jobs) {
        let busy = &self.busy;
        for (download, request) in self.removals.due(now, |download| !is_running || busy.contains_key(&download)) {
            self.remove(download, request, jobs);
        }
    }

    /// Removes a part file, in a job: freeing a large file takes long. Closes it before.
    pub(super) fn remove(&mut self, download: TransferId, request: PartRequest, jobs: &mut Jobs) {
        let (open, permit) = self.take(download).unzip();
        self.submit((Lane::Sync, download, permit.flatten()), jobs, Done::PartRemoved, move || {
            open.and_then(OpenPart::into_file).into_iter().for_each(PartFile::close);
            request.remove()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock::Clock;
    use mio::{Events, Poll, Token, Waker};
    use std::sync::Arc;

    const DOWNLOAD: TransferId = TransferId(1);

    #[test]
    fn a_job_that_panics_gives_its_descriptors_back_and_the_next_order_follows() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut jobs = Jobs::start(&waker, Clock::start(), (1, 8)).unwrap();
        let mut parts = PartFiles::default();
        let job = (Lane::Open, DOWNLOAD, Some(Permit::for_file()));
        parts.submit(job, &mut jobs, Done::PartOpened, || panic!("on purpose"));
        parts.queue(DOWNLOAD, PartOrder::Close);
        assert!(parts.next_order(DOWNLOAD, false).is_none(), "it waits for the job");
        let mut events = Events::with_capacity(4);
        let done = loop {
            match jobs.poll() {
                Some(done) => break done,
                None => poll.poll(&mut events, None).unwrap(),
            }
        };
        assert!(matches!(done, Done::PartOpened(DOWNLOAD, Err(DiskFault::Internal))));
        parts.end_job(DOWNLOAD);
        assert!(parts.busy.is_empty() && parts.permits.is_empty(), "nothing holds the descriptors");
        assert!(matches!(parts.next_order(DOWNLOAD, false), Some(PartOrder::Close)));
    }
}

//! Orders for part files: opening, checking, syncing, committing and removing them, for the downloads that the node names.
//!
//! Work that may block on the disk is a job. While one works on the part file of a download, further orders for it wait in the
//! order in which they were given, so that a part file is never opened while it is being closed.

use super::Disk;
use super::job::{Done, Lane};
use super::part_files::{Busy, PartOrder};
use crate::content::Outline;
use crate::driver::cx::{Cx, Phase};
use crate::driver::net::Net;
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::node::Event;
use crate::node::contract::OpenedPart;
use crate::part::PartSpec;
use crate::store::{OutlineRefused, PartFile, PartOpened, PartRequest, Synced};
use std::sync::Arc;

/// Bytes of a part file that one slice of a check reads.
const CHECK_BYTES_PER_SLICE: usize = 512 * 1024;

/// Descriptors that an open part file holds: itself, its journal, its directory.
const DESCRIPTORS_PER_PART: usize = 3;

impl Disk {
    /// Executes an order now, or when the job that works on the part file has ended. Takes descriptors from the net.
    pub(crate) fn order_part(&mut self, download: TransferId, order: PartOrder, net: &mut Net, cx: &mut Cx) {
        if let Some(order) = self.parts.queue(download, order) {
            self.run_order(download, order, net, cx);
        }
    }

    pub(crate) fn part_request(&self, spec: PartSpec, b3: Option<ContentHash>, size: Option<u64>) -> PartRequest {
        PartRequest { spec, b3, size, known: self.places.known() }
    }

    fn run_order(&mut self, download: TransferId, order: PartOrder, net: &mut Net, cx: &mut Cx) {
        match order {
            PartOrder::Probe(request) => match net.take_own(1, cx) {
                Some(permit) => {
                    self.parts.submit((Lane::Parts, download, Some(permit)), &mut self.jobs, Done::TargetProbed, || {
                        request.probe()
                    })
                }
                None => cx.out.event(Event::TargetProbed { download, outcome: Err(DiskFault::NoDescriptor) }),
            },
            PartOrder::Open(request) => self.open_part(download, request, net, cx),
            PartOrder::Check => self.begin_check(download, cx),
            PartOrder::Commit => self.commit_part(download, cx),
            PartOrder::Close => self.close_part(download, cx),
            PartOrder::Drop(request) => {
                self.close_part(download, cx);
                self.parts.open.forget_partials(download);
                self.parts.removals.begin(download, request.clone());
                self.parts.remove(download, request, &mut self.jobs);
            }
            PartOrder::Forget if self.parts.removals.delays_forgetting(download) => {}
            PartOrder::Forget => self.records.forget(download, cx),
        }
    }

    /// After a job on a part file: reports its result, releases its descriptors, and executes the orders that waited.
    pub(super) fn end_job(&mut self, download: TransferId, result: Option<Event>, net: &mut Net, cx: &mut Cx) {
        cx.out.extend(result);
        let Busy { waiting, permit } = self.parts.end_job(download);
        drop(permit);
        for order in waiting {
            self.order_part(download, order, net, cx);
        }
    }

    fn open_part(&mut self, download: TransferId, request: PartRequest, net: &mut Net, cx: &mut Cx) {
        self.close_part(download, cx);
        self.parts.removals.cancel(download);
        match net.take_own(DESCRIPTORS_PER_PART, cx) {
            Some(permit) => {
                self.parts
                    .submit((Lane::Parts, download, Some(permit)), &mut self.jobs, Done::PartOpened, || open(request));
            }
            None => cx.out.event(Event::PartOpened { download, outcome: Err(DiskFault::NoDescriptor) }),
        }
    }

    pub(super) fn on_part_opened(
        &mut self,
        download: TransferId,
        outcome: Result<PartOpened, DiskFault>,
        net: &mut Net,
        cx: &mut Cx,
    ) {
        let outcome = outcome.map(|opened| match opened {
            PartOpened::AlreadyThere(path) => OpenedPart::AlreadyThere { path },
            PartOpened::Ready(part) => {
                let path = part.final_path().to_owned();
                let resumed = part.outline().map(|outline| (outline.size(), part.verified().clone()));
                let filesystem = Some(part.filesystem);
                if let Some((directory, mount)) = part.directory() {
                    self.places.note(directory, mount.clone(), &mut self.state, &mut self.jobs);
                }
                self.parts.open.files().insert(download, part);
                self.parts.keep_permit(download);
                OpenedPart::Ready { path, resumed, filesystem }
            }
        });
        self.end_job(download, Some(Event::PartOpened { download, outcome }), net, cx);
    }

    /// Sets the outline of a content of one group, which consists of hash and size.
    pub(crate) fn set_outline(&mut self, download: TransferId, b3: ContentHash, size: u64, cx: &mut Cx) {
        let Some(part) = self.parts.open.files().get_mut(&download) else { return };
        let set = match Outline::new(b3, size, Vec::new()) {
            Ok(outline) => part.set_outline(Arc::new(outline)),
            Err(_) => Err(OutlineRefused::Contradicted),
        };
        let fault = match set {
            Ok(()) => return,
            Err(OutlineRefused::Disk(fault)) => fault,
            // The node checked the outline against what it knows: the part file has changed.
            Err(OutlineRefused::Contradicted) => DiskFault::Other(0),
        };
        cx.out.event(Event::PartFailed { download, fault });
    }

    fn begin_check(&mut self, download: TransferId, cx: &mut Cx) {
        let part = self.parts.open.files().get_mut(&download).ok_or(DiskFault::Missing);
        match part.and_then(PartFile::begin_check) {
            Ok(check) => self.parts.checks.push_back((download, check)),
            Err(fault) => cx.out.event(Event::PartChecked { download, outcome: Err(fault) }),
        }
    }

    /// One slice of the next check.
    pub(crate) fn check_slice(&mut self, cx: &mut Cx) {
        let Some((download, mut check)) = self.parts.checks.pop_front() else { return };
        let part = self.parts.open.files().get_mut(&download).ok_or(DiskFault::Missing);
        let step = part.and_then(|part| check.step(part, CHECK_BYTES_PER_SLICE));
        let Some(outcome) = step.transpose() else { return self.parts.checks.push_back((download, check)) };
        cx.out.event(Event::PartChecked { download, outcome });
    }

    fn commit_part(&mut self, download: TransferId, cx: &mut Cx) {
        self.parts.open.forget_partials(download);
        match (self.parts.open.files().remove(&download), self.parts.permits.remove(&download)) {
            (Some(part), Some(permit)) => {
                let job = part.commit();
                self.parts.submit((Lane::Sync, download, Some(permit)), &mut self.jobs, Done::Committed, || job.run());
            }
            _ => cx.out.event(Event::PartCommitted { download, outcome: Err(DiskFault::Missing) }),
        }
    }

    fn close_part(&mut self, download: TransferId, cx: &mut Cx) {
        let Some(part) = self.parts.open.files().remove(&download) else { return };
        self.end_check(download, cx);
        self.parts.permits.remove(&download);
        // Without a state directory the next run does not know the download.
        if cx.phase != Phase::Running && self.state.directory().is_none() {
            part.discard();
        } else {
            part.close();
        }
    }

    pub(super) fn on_part_removed(
        &mut self,
        download: TransferId,
        outcome: Result<(), DiskFault>,
        net: &mut Net,
        cx: &mut Cx,
    ) {
        if self.parts.removals.end(download, outcome, cx.now) {
            self.records.forget(download, cx);
        }
        self.end_job(download, None, net, cx);
    }

    fn end_check(&mut self, download: TransferId, cx: &mut Cx) {
        let before = self.parts.checks.len();
        self.parts.checks.retain(|(checked, _)| *checked != download);
        if self.parts.checks.len() < before {
            cx.out.event(Event::PartChecked { download, outcome: Err(DiskFault::Missing) });
        }
    }

    /// Allocates new part files, and syncs those with many new verified groups; with `rest`, all new verified groups.
    pub(crate) fn sync_parts(&mut self, rest: bool) {
        if rest {
            self.parts.sync_failed.clear();
        }
        let idle = self.parts.idle();
        for (download, job) in
            idle.filter_map(|(download, part)| Some((download, part.sync_job(rest)?))).collect::<Vec<_>>()
        {
            self.parts.submit((Lane::Sync, download, None), &mut self.jobs, Done::PartSynced, || job.run());
        }
    }

    pub(super) fn on_part_synced(
        &mut self,
        download: TransferId,
        outcome: Result<Synced, DiskFault>,
        net: &mut Net,
        cx: &mut Cx,
    ) {
        let part = self.parts.open.files().get_mut(&download);
        let fault = part.and_then(|part| outcome.and_then(|synced| part.synced(synced)).err());
        // For groups that were verified meanwhile.
        self.arm_sync(cx);
        if fault.is_some() {
            self.parts.sync_failed.insert(download);
        }
        self.end_job(download, fault.map(|fault| Event::PartFailed { download, fault }), net, cx);
    }
}

/// Opens a part file. If its journal has an outline that the download does not know, as when its record was lost, it starts
/// again.
fn open(request: PartRequest) -> Result<PartOpened, DiskFault> {
    match request.clone().open()? {
        PartOpened::Ready(part) if request.b3.is_none() && part.outline().is_some() => {
            part.discard();
            request.open()
        }
        opened => Ok(opened),
    }
}

//! Orders for part files: opening, checking, syncing, committing and removing them, for the downloads that the node names.
//!
//! Work that may block on the disk is a job. While one works on the part file of a download, further orders for it wait in the
//! order in which they were given, so that a part file is never opened while it is being closed.

use super::Disk;
use super::job::{CheckStep, Device, Done, Lane, RecordsWritten};
use super::part_files::PartOrder;
use crate::content::Outline;
use crate::driver::cx::{Cx, Output, Phase};
use crate::driver::net::Net;
use crate::driver::open_parts::{OpenPart, View, WriteFault, Written};
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::library::ScannedFile;
use crate::node::Event;
use crate::node::contract::OpenedPart;
use crate::part::PartSpec;
use crate::store::{PartFile, PartOpened, PartRequest};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of a part file that one job of a check reads.
const CHECK_BYTES_PER_JOB: usize = 16 << 20;

/// Descriptors that an open part file holds: itself, its journal, its directory.
const DESCRIPTORS_PER_PART: usize = 3;

impl Disk {
    /// Executes an order now, or when what works on the part file has ended. Takes descriptors from the net.
    pub(crate) fn order_part(&mut self, download: TransferId, order: PartOrder, net: &mut Net, cx: &mut Cx) {
        self.parts.queue(download, order);
        self.run_orders(download, net, cx);
    }

    pub(crate) fn part_request(&self, spec: PartSpec, b3: Option<ContentHash>, size: Option<u64>) -> PartRequest {
        PartRequest { spec, b3, size, known: self.places.known() }
    }

    fn run_orders(&mut self, download: TransferId, net: &mut Net, cx: &mut Cx) {
        // What exchanges received before an order is written before that is executed.
        self.write_parts(cx);
        while let Some(order) = self.parts.next_order(download, self.records.is_unwritten(download)) {
            self.run_order(download, order, net, cx);
        }
    }

    fn run_order(&mut self, download: TransferId, order: PartOrder, net: &mut Net, cx: &mut Cx) {
        if let PartOrder::Probe(request)
        | PartOrder::MakeDirectories(request, _)
        | PartOrder::Open(request)
        | PartOrder::Drop(request) = &order
        {
            self.jobs.set_device(download, Some(self.places.device_of(request.directory())));
        }
        match order {
            PartOrder::Probe(request) => match net.take_own(1, cx) {
                Some(permit) => {
                    let job = (Lane::Open, download, Some(permit));
                    self.parts.submit(job, &mut self.jobs, Done::TargetProbed, || request.probe());
                }
                None => cx.out.event(Event::TargetProbed { download, outcome: Err(DiskFault::NoDescriptor) }),
            },
            PartOrder::MakeDirectories(request, paths) => match net.take_own(DESCRIPTORS_PER_PART, cx) {
                Some(permit) => {
                    let job = (Lane::Open, download, Some(permit));
                    let work = move || request.make_directories(paths);
                    self.parts.submit(job, &mut self.jobs, Done::DirectoriesMade, work);
                }
                None => cx.out.event(Event::DirectoriesMade { download, outcome: Err(DiskFault::NoDescriptor) }),
            },
            PartOrder::Open(_) if self.parts.open.get(download).is_some() => {
                self.close_part(download, cx);
                self.parts.queue_first(download, order);
            }
            PartOrder::Open(request) => self.open_part(download, request, net, cx),
            PartOrder::Check(original) => self.begin_check(download, original, net, cx),
            PartOrder::Commit => self.commit_part(download, cx),
            PartOrder::Close => self.close_part(download, cx),
            PartOrder::Drop(request) => {
                self.parts.open.forget_partials(download);
                self.parts.removals.begin(download, request.clone());
                self.parts.remove(download, request, &mut self.jobs);
            }
            PartOrder::Forget if self.parts.removals.delays_forgetting(download) => {}
            PartOrder::Forget => {
                self.jobs.set_device(download, None);
                self.records.forget(download, cx);
            }
        }
    }

    /// Executes the orders that waited for what was to be recorded.
    pub(super) fn on_records_written(&mut self, written: RecordsWritten, net: &mut Net, cx: &mut Cx) {
        for download in self.records.on_written(written, cx) {
            self.run_orders(download, net, cx);
        }
    }

    /// After a job on a part file: reports its result, releases its descriptors, and executes the orders that waited.
    pub(super) fn end_job(&mut self, download: TransferId, result: Option<Event>, net: &mut Net, cx: &mut Cx) {
        cx.out.extend(result);
        self.parts.end_job(download);
        self.run_orders(download, net, cx);
    }

    fn open_part(&mut self, download: TransferId, request: PartRequest, net: &mut Net, cx: &mut Cx) {
        self.parts.removals.cancel(download);
        match net.take_own(DESCRIPTORS_PER_PART, cx) {
            Some(permit) => {
                let job = (Lane::Open, download, Some(permit));
                self.parts.submit(job, &mut self.jobs, Done::PartOpened, || open(request));
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
                // Known for certain now, also where the directory was not known before.
                self.jobs.set_device(download, Some(Device::Filesystem(part.filesystem)));
                self.parts.opened(download, OpenPart::new(part));
                OpenedPart::Ready { path, resumed, filesystem }
            }
        });
        self.end_job(download, Some(Event::PartOpened { download, outcome }), net, cx);
    }

    /// Sets the outline of a content of one group, which consists of hash and size.
    pub(crate) fn set_outline(&mut self, download: TransferId, b3: ContentHash, size: u64, cx: &mut Cx) {
        match Outline::new(b3, size, Vec::new()) {
            Ok(outline) => self.parts.open.set_outline(download, Arc::new(outline)),
            // The node checked the outline against what it knows: the part file has changed.
            Err(_) => cx.out.event(Event::PartFailed { download, fault: DiskFault::Other(0) }),
        }
    }

    /// Gives workers what exchanges have for part files.
    pub(crate) fn write_parts(&mut self, cx: &mut Cx) {
        for write in self.parts.open.take_writes() {
            let download = write.download;
            match self.parts.open.files().remove(&download) {
                Some(part) => {
                    self.parts.write(write, &part, &mut self.jobs);
                    self.parts.open.files().insert(download, part);
                }
                None => {
                    let mut written = write.failed(DiskFault::Missing);
                    self.parts.open.on_written(&mut written);
                    report_written(written, cx);
                }
            }
        }
    }

    pub(super) fn on_part_written(&mut self, mut written: Written, net: &mut Net, cx: &mut Cx) {
        let download = written.download;
        let is_last = self.parts.open.on_written(&mut written);
        // Also of groups whose exchange is over by now.
        self.arm_sync(cx);
        report_written(written, cx);
        if is_last {
            self.run_orders(download, net, cx);
        }
    }

    fn begin_check(&mut self, download: TransferId, original: Option<Box<ScannedFile>>, net: &mut Net, cx: &mut Cx) {
        let mut refuse = |fault| cx.out.event(Event::PartChecked { download, outcome: Err(fault) });
        let Some(file) = self.parts.open.get(download).map(OpenPart::file) else {
            return refuse(DiskFault::Missing);
        };
        let Some(original) = original else {
            let work = move || {
                let check = lock(&file)?.begin_check()?;
                check_slice(CheckStep::More(check), &file)
            };
            return self.parts.submit((Lane::Sync, download, None), &mut self.jobs, Done::PartChecked, work);
        };
        let share = Arc::clone(&self.share);
        let Some(permit) = net.take_own(1, cx) else {
            return cx.out.event(Event::PartChecked { download, outcome: Err(DiskFault::NoDescriptor) });
        };
        let work = move || {
            let original = share.open_file_as(&original.name, &original.meta)?;
            let copy = lock(&file)?.begin_copy(original)?;
            check_slice(CheckStep::Copying(copy), &file)
        };
        self.parts.submit((Lane::Sync, download, Some(permit)), &mut self.jobs, Done::PartChecked, work);
    }

    /// A slice of a check has ended: the next one follows, unless the part file is to be closed.
    pub(super) fn on_part_checked(
        &mut self,
        download: TransferId,
        step: Result<CheckStep, DiskFault>,
        net: &mut Net,
        cx: &mut Cx,
    ) {
        let is_to_be_closed = self.parts.is_to_be_closed(download);
        let outcome = match (step, self.parts.open.files().get_mut(&download)) {
            (Err(fault), _) => Err(fault),
            (_, None) => Err(DiskFault::Missing),
            // A stop does not wait for the rest.
            (Ok(CheckStep::Copying(_) | CheckStep::More(_)), _) if is_to_be_closed || cx.phase != Phase::Running => {
                Err(DiskFault::Missing)
            }
            (Ok(step @ (CheckStep::Copying(_) | CheckStep::More(_))), Some(part)) => {
                let file = part.file();
                let work = move || check_slice(step, &file);
                let job = (Lane::Sync, download, self.parts.take_permit(download));
                return self.parts.submit(job, &mut self.jobs, Done::PartChecked, work);
            }
            (Ok(CheckStep::Over(checked, view)), Some(part)) => {
                part.apply(view);
                Ok(checked)
            }
        };
        self.end_job(download, Some(Event::PartChecked { download, outcome }), net, cx);
    }

    fn close_part(&mut self, download: TransferId, cx: &Cx) {
        let Some((part, permit)) = self.parts.take(download) else { return };
        // Without a state directory the next run does not know the download.
        let discards = cx.phase != Phase::Running && self.state.directory().is_none();
        let done = |download, _: Result<(), DiskFault>| Done::PartClosed(download);
        self.parts.submit((Lane::Open, download, permit), &mut self.jobs, done, move || {
            match part.into_file() {
                Some(part) if discards => part.discard()?,
                Some(part) => part.close(),
                None => {}
            }
            Ok(())
        });
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

    /// Allocates new part files, and syncs those with many new verified groups; with `rest`, all new verified groups.
    pub(crate) fn sync_parts(&mut self, rest: bool) {
        if rest {
            self.parts.sync_failed.clear();
        }
        for download in self.parts.due_for_sync(rest) {
            let Some(part) = self.parts.open.files().get_mut(&download) else { continue };
            part.on_sync_begun();
            let file = part.file();
            self.parts.submit((Lane::Sync, download, None), &mut self.jobs, Done::PartSynced, move || sync(&file));
        }
    }

    pub(super) fn on_part_synced(
        &mut self,
        download: TransferId,
        outcome: Result<View, DiskFault>,
        net: &mut Net,
        cx: &mut Cx,
    ) {
        let part = self.parts.open.files().get_mut(&download);
        let fault = match (part, outcome) {
            (Some(part), Ok(view)) => {
                part.apply(view);
                None
            }
            (Some(part), Err(fault)) => {
                part.on_sync_failed();
                Some(fault)
            }
            (None, _) => None,
        };
        // For groups that were verified meanwhile.
        self.arm_sync(cx);
        if fault.is_some() {
            self.parts.sync_failed.insert(download);
        }
        self.end_job(download, fault.map(|fault| Event::PartFailed { download, fault }), net, cx);
    }
}

/// Tells the exchange, or the node, that something is written, or not.
fn report_written(written: Written, cx: &mut Cx) {
    let Written { download, exchange, outcome, .. } = written;
    match (exchange, outcome) {
        (Some(exchange), _) => cx.out.push(Output::Written(exchange, written)),
        (None, Ok(())) => {}
        (None, Err(WriteFault::Disk(fault))) => cx.out.event(Event::PartFailed { download, fault }),
        // The node checked the outline against what it knows: the part file has changed.
        (None, Err(WriteFault::Mismatch | WriteFault::Superseded)) => {
            cx.out.event(Event::PartFailed { download, fault: DiskFault::Other(0) })
        }
    }
}

/// Fails after a job that panicked: what it was doing to the part file is unknown.
fn lock(file: &Mutex<PartFile>) -> Result<MutexGuard<'_, PartFile>, DiskFault> {
    file.lock().map_err(|_| DiskFault::Other(0))
}

fn check_slice(step: CheckStep, file: &Mutex<PartFile>) -> Result<CheckStep, DiskFault> {
    let mut part = lock(file)?;
    Ok(match step {
        CheckStep::Copying(mut copy) => match copy.step(&mut part, CHECK_BYTES_PER_JOB)? {
            true => CheckStep::More(part.begin_check()?),
            false => CheckStep::Copying(copy),
        },
        CheckStep::More(mut check) => match check.step(&mut part, CHECK_BYTES_PER_JOB)? {
            None => CheckStep::More(check),
            Some(checked) => CheckStep::Over(checked, View::of(&mut part, true)),
        },
        over @ CheckStep::Over(..) => over,
    })
}

/// Syncs while others write: the part file is locked only before and after.
fn sync(file: &Mutex<PartFile>) -> Result<View, DiskFault> {
    let Some(job) = lock(file)?.sync_job(true) else {
        // There is nothing to sync, or no descriptor for it: the timer tries again.
        return Ok(View::of(&mut *lock(file)?, false).not_now());
    };
    let synced = job.run()?;
    let mut part = lock(file)?;
    part.synced(synced)?;
    Ok(View::of(&mut part, false))
}

/// Opens a part file. If its journal has an outline that the download does not know, as when its record was lost, it starts
/// again.
fn open(request: PartRequest) -> Result<PartOpened, DiskFault> {
    match request.clone().open()? {
        PartOpened::Ready(part) if request.b3.is_none() && part.outline().is_some() => {
            part.discard()?;
            request.open()
        }
        opened => Ok(opened),
    }
}

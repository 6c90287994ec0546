//! A scan of the shares: jobs walk through each of them, the loop reports what they find in slices. A share that hangs ends for this
//! scan when its job has been given up (`jobs`), as one that is not there.

use super::Disk;
use super::job::{Done, Key, Lane};
use super::walk::{self, OfScan, OwnPaths, Walk, WalkPlace};
use crate::driver::cx::Cx;
use crate::fault::DiskFault;
use crate::library::ScanReport;
use crate::node::Event;
use crate::store::{OtherShare, ScanStep};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) struct Scan {
    /// Scans so far. What a job of an earlier one brings is dropped.
    number: u64,
    running: Option<Running>,
    /// Shares that are walked through at once: each holds descriptors from its first job to its last.
    walks_max: usize,
}

struct Running {
    own: Arc<OwnPaths>,
    /// The one without a name is the first.
    shares: Vec<ShareScan>,
    /// Of the first shares that have ended, as far as they are merged.
    report: ScanReport,
    merged: usize,
    /// No share could be read, as is known when the first one is merged.
    all_failed: bool,
}

struct ShareScan {
    place: WalkPlace,
    /// How other shares recognise it.
    other: OtherShare,
    stage: Stage,
}

enum Stage {
    /// A job opens it.
    Opening,
    /// It is walked through when all that can be opened are, and not too many others are walked through.
    Opened,
    /// A job walks through it.
    Walking,
    /// What a job found is being reported.
    Reporting(VecDeque<ScanStep>, Box<Walk>),
    Ended(Box<ScanReport>),
}

impl ShareScan {
    fn new(place: WalkPlace) -> Self {
        let other = OtherShare::unknown(&place.path);
        Self { place, other, stage: Stage::Opening }
    }

    fn fail(&mut self, fault: DiskFault) {
        let shares = vec![(self.place.name.clone(), Err(fault))];
        self.stage = Stage::Ended(Box::new(ScanReport { failed: Some(fault), shares, ..ScanReport::default() }));
    }

    fn has_failed(&self) -> bool {
        matches!(&self.stage, Stage::Ended(report) if report.failed.is_some())
    }
}

impl Scan {
    pub(super) fn new(walks_max: usize) -> Self {
        Self { number: 0, running: None, walks_max }
    }

    /// The share that a job was for, unless its scan is over.
    fn share(&mut self, of: OfScan) -> Option<&mut ShareScan> {
        let running = self.running.as_mut().filter(|_| of.number == self.number)?;
        running.shares.get_mut(of.share)
    }
}

impl Running {
    fn have_ended(&self) -> bool {
        self.shares.iter().all(|share| matches!(share.stage, Stage::Ended(_)))
    }

    /// Merges the report of the next share. Returns that of the scan after the last one.
    fn merge_next(&mut self) -> Option<ScanReport> {
        if self.merged == 0 {
            self.all_failed = self.shares.iter().all(ShareScan::has_failed);
        }
        let next = self.shares.get_mut(self.merged)?;
        let Stage::Ended(report) = &mut next.stage else { return None };
        let report = std::mem::take(&mut **report);
        match &next.place.name {
            None => self.report = report,
            // If no share could be read, the scan reports the fault of the first one.
            Some(_) if self.all_failed => self.report.shares.extend(report.shares),
            Some(name) => self.report.add(name, report),
        }
        self.merged += 1;
        (self.merged == self.shares.len()).then(|| std::mem::take(&mut self.report))
    }
}

impl Disk {
    /// Begins a scan. One that is still going on has no end any more.
    pub(crate) fn start_scan(&mut self, log_files: &[PathBuf]) {
        self.end_walk();
        let state = self.state.directory().map(|state| state.path().to_owned());
        let own = Arc::new(OwnPaths { state, logs: log_files.to_vec() });
        let first = WalkPlace { name: None, path: Arc::clone(&self.share_path), links: self.links.clone() };
        let mut shares = vec![ShareScan::new(first)];
        // One without a path waits for the next start.
        let named = self.named.iter().filter_map(|share| {
            let (name, path) = (Some(share.name.clone()), share.path.as_deref()?.into());
            Some(ShareScan::new(WalkPlace { name, path, links: share.links.clone() }))
        });
        shares.extend(named);
        self.scan.number += 1;
        let number = self.scan.number;
        for (share, scan) in shares.iter().enumerate() {
            let (path, known, of) = (Arc::clone(&scan.place.path), self.places.known(), OfScan { number, share });
            let key = (Lane::Scan, Key::Scan(Arc::clone(&path)));
            let done = move |(other, opened)| Done::ScanOpened(of, other, opened);
            let work = move || walk::open(&path, &known);
            let lost = (scan.other.clone(), Err(DiskFault::Internal));
            self.jobs.submit_on(Some(&scan.place.path), key, done, lost, work);
        }
        self.scan.running = Some(Running { own, shares, report: ScanReport::default(), merged: 0, all_failed: false });
    }

    /// Ends a scan without a report.
    pub(super) fn end_walk(&mut self) {
        for share in self.scan.running.take().into_iter().flat_map(|running| running.shares) {
            if let Stage::Reporting(_, walk) = share.stage {
                self.jobs.drop_beside(&share.place.path, walk);
            }
        }
    }

    pub(super) fn on_scan_opened(&mut self, of: OfScan, other: OtherShare, opened: Result<(), DiskFault>) {
        let Some(scan) = self.scan.share(of) else { return };
        scan.other = other;
        match opened {
            Ok(()) => scan.stage = Stage::Opened,
            Err(fault) => scan.fail(fault),
        }
        self.begin_walks();
    }

    /// Walks through the next shares, once all that can be opened are, as far as there are descriptors for that. Nothing is shared twice: a
    /// walk leaves out what the other shares are.
    fn begin_walks(&mut self) {
        let Some(running) = &mut self.scan.running else { return };
        if running.shares.iter().any(|scan| matches!(scan.stage, Stage::Opening)) {
            return;
        }
        let is_walked = |scan: &&ShareScan| matches!(scan.stage, Stage::Walking | Stage::Reporting(..));
        let more = self.scan.walks_max.saturating_sub(running.shares.iter().filter(is_walked).count());
        let all: Arc<[OtherShare]> = running.shares.iter().map(|scan| scan.other.clone()).collect();
        let opened = running.shares.iter_mut().enumerate().filter(|(_, scan)| matches!(scan.stage, Stage::Opened));
        for (share, scan) in opened.take(more) {
            scan.stage = Stage::Walking;
            let (own, place, all) = (Arc::clone(&running.own), scan.place.clone(), Arc::clone(&all));
            let (named, clock) = (Arc::clone(&self.named), self.jobs.clock());
            let of = OfScan { number: self.scan.number, share };
            let key = (Lane::Scan, Key::Scan(Arc::clone(&place.path)));
            let done = move |walk| Done::ScanStepped(of, walk);
            self.jobs.submit_on(Some(&scan.place.path), key, done, Err(DiskFault::Internal), move || {
                let others = all.iter().enumerate().filter(|(other, _)| *other != share).map(|(_, other)| other);
                let names = if place.name.is_none() { &*named } else { &[] };
                let own = own.find(others, names);
                Ok(Walk::begin(place, own).go_on(clock))
            });
        }
    }

    pub(super) fn on_scan_stepped(&mut self, of: OfScan, walk: Result<Box<Walk>, DiskFault>) {
        match (self.scan.share(of), walk) {
            (Some(scan), Ok(mut walk)) => scan.stage = Stage::Reporting(walk.take_steps(), walk),
            (Some(scan), Err(fault)) => {
                scan.fail(fault);
                self.begin_walks();
            }
            (None, Ok(walk)) => self.jobs.drop_beside(&Arc::clone(walk.path()), walk),
            (None, Err(_)) => {}
        }
    }

    /// Whether something that a scan found is to be reported.
    pub(super) fn has_scanned(&self) -> bool {
        let is_reporting = |scan: &ShareScan| matches!(scan.stage, Stage::Reporting(..));
        let running = self.scan.running.as_ref();
        running.is_some_and(|running| running.have_ended() || running.shares.iter().any(is_reporting))
    }

    /// Reports what one step of a scan has found, or merges the report of one share.
    pub(crate) fn scan_slice(&mut self, cx: &mut Cx) {
        let Some(running) = &mut self.scan.running else { return };
        if running.have_ended() {
            if let Some(report) = running.merge_next() {
                self.scan.running = None;
                cx.out.event(Event::ScanEnded { report });
            }
            return;
        }
        let reporting = running.shares.iter_mut().enumerate().find_map(|(share, scan)| match &mut scan.stage {
            Stage::Reporting(steps, _) => Some((share, steps.pop_front().unwrap_or_default(), steps.is_empty())),
            _ => None,
        });
        let Some((share, step, is_last)) = reporting else { return };
        for (device, volume) in step.volumes {
            self.hashing.note_volume(device, volume);
        }
        if !step.recent.is_empty() {
            cx.out.event(Event::RecentFiles { files: step.recent });
        }
        if !step.files.is_empty() {
            cx.out.event(Event::Scanned { files: step.files });
        }
        if is_last {
            self.walk_on(share, step.ended);
        }
    }

    /// All that the last job has found in a share is reported. `ended`: that was all.
    fn walk_on(&mut self, share: usize, ended: Option<ScanReport>) {
        let Some(scan) = self.scan.running.as_mut().and_then(|running| running.shares.get_mut(share)) else { return };
        let Stage::Reporting(_, mut walk) = std::mem::replace(&mut scan.stage, Stage::Walking) else { return };
        if let Some(report) = ended {
            scan.stage = Stage::Ended(Box::new(report));
            let mount = walk.take_mount().into_iter();
            mount.for_each(|mount| self.places.note(&scan.place.path, mount, &mut self.state, &mut self.jobs));
            self.jobs.drop_beside(&scan.place.path, walk);
            return self.begin_walks();
        }
        let (of, clock) = (OfScan { number: self.scan.number, share }, self.jobs.clock());
        let key = (Lane::Scan, Key::Scan(Arc::clone(&scan.place.path)));
        let done = move |walk| Done::ScanStepped(of, walk);
        self.jobs.submit_on(Some(&scan.place.path), key, done, Err(DiskFault::Internal), move || Ok(walk.go_on(clock)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_a_job_of_an_earlier_scan_brings_is_for_no_share() {
        let place = |path: &str| WalkPlace { name: None, path: Path::new(path).into(), links: None };
        let shares = ["/a", "/b"].map(|path| ShareScan::new(place(path))).into();
        let (own, report) = (Arc::new(OwnPaths { state: None, logs: Vec::new() }), ScanReport::default());
        let running = Running { own, shares, report, merged: 0, all_failed: false };
        let mut scan = Scan { number: 2, running: Some(running), walks_max: 1 };
        let mut path_of =
            |number, share| scan.share(OfScan { number, share }).map(|scan| scan.place.path.to_path_buf());
        assert_eq!(path_of(2, 1), Some("/b".into()));
        assert_eq!([path_of(1, 1), path_of(3, 1), path_of(2, 2)], [None, None, None]);
        scan.running = None;
        assert!(scan.share(OfScan { number: 2, share: 1 }).is_none());
    }
}

//! A scan of the share: jobs walk it, the loop reports what they find in slices.

use super::Disk;
use super::job::{Done, Key, Lane};
use super::walk::{OwnPaths, Walk};
use crate::driver::cx::Cx;
use crate::fault::DiskFault;
use crate::library::ScanReport;
use crate::node::Event;
use crate::store::{ScanStep, ShareRoot};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Default)]
pub(super) enum Scan {
    #[default]
    Idle,
    /// A job walks the share. `again`: the log files of a scan that was ordered meanwhile. `is_over`: the shares have
    /// changed since it began, so that its result is dropped.
    Walking { again: Option<Vec<PathBuf>>, is_over: bool },
    /// What a job found is being reported.
    Reporting { steps: VecDeque<ScanStep>, walk: Box<Walk>, again: Option<Vec<PathBuf>> },
}

impl Disk {
    /// Begins a scan, or has it wait for the end of one that is still going on.
    pub(crate) fn start_scan(&mut self, log_files: &[PathBuf]) {
        match &mut self.scan {
            Scan::Idle => {
                let state = self.state.directory().map(|state| state.path().to_owned());
                let own = OwnPaths { state, logs: log_files.to_vec() };
                let (path, known, links) = (self.share_path.clone(), self.places.known(), self.links.clone());
                let named = Arc::clone(&self.named);
                self.scan = Scan::Walking { again: None, is_over: false };
                self.jobs.submit((Lane::Scan, Key::Scan), Done::ScanBegun, Err(Box::new(lost_scan())), move || {
                    Walk::begin((path, links), &named, own, &known)
                });
            }
            Scan::Walking { again, .. } | Scan::Reporting { again, .. } => *again = Some(log_files.to_vec()),
        }
    }

    pub(super) fn on_scan_begun(&mut self, outcome: Result<(ShareRoot, Box<Walk>), Box<ScanReport>>, cx: &mut Cx) {
        if self.is_walk_over() {
            return;
        }
        match outcome {
            Ok((root, walk)) => {
                self.share = Some(Arc::new(root));
                self.walk_on(walk);
            }
            Err(report) => {
                self.share = None;
                self.end_scan(*report, cx);
            }
        }
    }

    /// Ends a scan without a report, at the latest when its job has come back. One that is ordered from now on follows.
    pub(super) fn end_walk(&mut self) {
        match &mut self.scan {
            Scan::Idle => {}
            Scan::Walking { again, is_over } => (*again, *is_over) = (None, true),
            Scan::Reporting { .. } => self.scan = Scan::Idle,
        }
    }

    /// Whether the job that has come back is that of a scan that is over. Then another one begins, if it was ordered.
    fn is_walk_over(&mut self) -> bool {
        let Scan::Walking { again, is_over: true } = &mut self.scan else { return false };
        let again = again.take();
        self.scan = Scan::Idle;
        again.iter().for_each(|logs| self.start_scan(logs));
        true
    }

    fn walk_on(&mut self, walk: Box<Walk>) {
        let clock = self.jobs.clock();
        self.jobs.submit((Lane::Scan, Key::Scan), Done::ScanStepped, None, move || Some(walk.go_on(clock)));
    }

    /// `walk`: `None` if the job was lost.
    pub(super) fn on_scan_stepped(&mut self, walk: Option<Box<Walk>>, cx: &mut Cx) {
        if self.is_walk_over() {
            return;
        }
        let Some(mut walk) = walk else {
            return self.end_scan(lost_scan(), cx);
        };
        let Scan::Walking { again, .. } = &mut self.scan else { return };
        let (again, steps) = (again.take(), walk.take_steps());
        self.scan = Scan::Reporting { steps, walk, again };
    }

    /// Whether something that a scan found is to be reported.
    pub(super) fn has_scanned(&self) -> bool {
        matches!(self.scan, Scan::Reporting { .. })
    }

    /// Reports what one step of a scan has found.
    pub(crate) fn scan_slice(&mut self, cx: &mut Cx) {
        let Scan::Reporting { steps, .. } = &mut self.scan else { return };
        let step = steps.pop_front().unwrap_or_default();
        for (device, volume) in step.volumes {
            self.hashing.note_volume(device, volume);
        }
        if !step.recent.is_empty() {
            cx.out.event(Event::RecentFiles { files: step.recent });
        }
        if !step.files.is_empty() {
            cx.out.event(Event::Scanned { files: step.files });
        }
        let Scan::Reporting { steps, walk, .. } = &mut self.scan else { return };
        if let Some(report) = step.ended {
            for (path, mount) in walk.take_mounts() {
                self.places.note(&path, mount, &mut self.state, &mut self.jobs);
            }
            self.end_scan(report, cx);
        } else if steps.is_empty()
            && let Scan::Reporting { walk, again, .. } = std::mem::take(&mut self.scan)
        {
            self.scan = Scan::Walking { again, is_over: false };
            self.walk_on(walk);
        }
    }

    fn end_scan(&mut self, report: ScanReport, cx: &mut Cx) {
        cx.out.event(Event::ScanEnded { report });
        if let Scan::Walking { again: Some(logs), .. } | Scan::Reporting { again: Some(logs), .. } =
            std::mem::take(&mut self.scan)
        {
            self.start_scan(&logs);
        }
    }
}

/// The report of a scan whose job was lost.
fn lost_scan() -> ScanReport {
    ScanReport { failed: Some(DiskFault::Other(0)), ..ScanReport::default() }
}

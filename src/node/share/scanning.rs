//! The scans of the share: when they start, and adding the results to the library in slices.

use super::ShareMachine;
use crate::control::{Notice, RawText, ScanNotice};
use crate::id::ClientId;
use crate::library::{ScanReport, ScannedFile};
use crate::name::{Escaped, FileName};
use crate::node::contract::Action;
use crate::node::cx::{Cx, NodeTimer, Topic};
use crate::node::limits::{LISTING_INTERVAL, REST, SCAN_BATCHES_MAX, SWEEP_ENTRIES_PER_SLICE};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::VecDeque;

#[derive(Default)]
pub(super) enum ScanStage {
    #[default]
    Off,
    /// The library drops files that are not shared any more. The next scan follows.
    Dropping,
    /// The timer starts the next one.
    Waiting { timer: TimerId },
    /// One is running, or its results are not in the library yet.
    Running(Running),
    /// The library drops files that the scan did not find.
    Sweeping { report: ScanReport },
    /// Recently changed files are examined once more, in a round that begins at this time at the earliest.
    Settling { report: ScanReport, not_before: Instant },
}

pub(super) struct Running {
    /// Not in the library yet.
    batches: VecDeque<Vec<ScannedFile>>,
    ended: Option<ScanReport>,
    pub(super) files: u64,
    notified_at: Option<Instant>,
}

impl ScanStage {
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Dropping | Self::Running(_) | Self::Sweeping { .. } | Self::Settling { .. })
    }

    pub(super) fn has_work(&self) -> bool {
        match self {
            Self::Off | Self::Waiting { .. } | Self::Settling { .. } => false,
            Self::Running(running) => !running.batches.is_empty(),
            Self::Dropping | Self::Sweeping { .. } => true,
        }
    }
}

impl ShareMachine {
    pub(in crate::node) fn start_scan(&mut self, cx: &mut Cx) {
        let running = Running { batches: VecDeque::new(), ended: None, files: 0, notified_at: None };
        self.scan_again = false;
        if let ScanStage::Waiting { timer } = std::mem::replace(&mut self.scan, ScanStage::Running(running)) {
            cx.wheel.cancel(timer);
        }
        self.library.begin_scan();
        self.settling.begin_scan();
        cx.out.act(Action::StartScan);
    }

    /// A user requests a scan. A running one may have missed the change, so another one follows it.
    pub(in crate::node) fn call_rescan(&mut self, cx: &mut Cx, client: ClientId) {
        match &mut self.scan {
            ScanStage::Off => {}
            ScanStage::Waiting { .. } => {
                cx.subscriptions.subscribe(Topic::Scan, client);
                self.start_scan(cx);
            }
            ScanStage::Dropping => cx.subscriptions.subscribe(Topic::Scan, client),
            ScanStage::Running(_) | ScanStage::Sweeping { .. } | ScanStage::Settling { .. } => {
                self.scan_again = true;
                cx.subscriptions.subscribe(Topic::NextScan, client);
            }
        }
    }

    /// Other directories are shared than before. A scan that is running is over, and what it has found is not waited for.
    pub(super) fn scan_anew(&mut self, cx: &mut Cx) {
        match std::mem::replace(&mut self.scan, ScanStage::Dropping) {
            ScanStage::Off => self.scan = ScanStage::Off,
            ScanStage::Waiting { timer } => drop(cx.wheel.cancel(timer)),
            _ => cx.subscriptions.move_to(Topic::NextScan, Topic::Scan),
        }
    }

    pub(in crate::node) fn on_scanned(&mut self, cx: &mut Cx, files: Vec<ScannedFile>) {
        let ScanStage::Running(running) = &mut self.scan else { return };
        running.files += files.len() as u64;
        running.batches.push_back(files);
        let found = running.files;
        let due = running.notified_at.is_none_or(|at| cx.now.saturating_since(at) >= LISTING_INTERVAL);
        if due {
            running.notified_at = Some(cx.now);
        }
        let overfull = running.batches.len() > SCAN_BATCHES_MAX;
        if due {
            let notice = || Notice::Scan(ScanNotice { files: found, ..ScanNotice::default() });
            cx.notify(Topic::Scan, notice);
        }
        if overfull {
            self.work_on_scan(cx);
        }
    }

    pub(in crate::node) fn on_scan_ended(&mut self, cx: &mut Cx, report: ScanReport) {
        let ScanStage::Running(running) = &mut self.scan else { return };
        running.ended = Some(report);
        if running.batches.is_empty() {
            self.work_on_scan(cx);
        }
    }

    /// One slice: adds a batch to the library, or drops files that were not found.
    pub(in crate::node) fn work_on_scan(&mut self, cx: &mut Cx) {
        match &mut self.scan {
            ScanStage::Off | ScanStage::Waiting { .. } | ScanStage::Settling { .. } => {}
            ScanStage::Dropping => {
                if !self.library.drop_withdrawn(SWEEP_ENTRIES_PER_SLICE) {
                    self.start_scan(cx);
                }
            }
            ScanStage::Running(running) => {
                for file in running.batches.pop_front().into_iter().flatten() {
                    self.settling.note_settled(&file.name);
                    self.library.apply(file);
                }
                if running.batches.is_empty()
                    && let Some(mut report) = running.ended.take()
                {
                    self.library.end_scan(&mut report);
                    self.scan = ScanStage::Sweeping { report };
                }
            }
            ScanStage::Sweeping { report } => {
                if !self.library.sweep(SWEEP_ENTRIES_PER_SLICE) {
                    let report = std::mem::take(report);
                    self.hash_after_scan(cx);
                    if (report.failed.is_none() || report.others_read) && self.settle_after_scan(cx) {
                        self.scan = ScanStage::Settling { report, not_before: cx.now + REST };
                    } else {
                        self.finish_scan(cx, report);
                    }
                }
            }
        }
    }

    /// A round over unsettled files has ended.
    pub(super) fn settled_after_scan(&mut self, cx: &mut Cx, began: Instant) {
        if let ScanStage::Settling { report, not_before } = &mut self.scan {
            let not_before = *not_before;
            if began >= not_before {
                let report = std::mem::take(report);
                self.finish_scan(cx, report);
            } else {
                self.wait_to_look(cx, not_before.saturating_since(cx.now));
            }
        }
    }

    fn finish_scan(&mut self, cx: &mut Cx, mut report: ScanReport) {
        let wait = self.settling.scan_wait(cx.config.filemonitor_refresh);
        let timer = cx.wheel.insert(cx.now + wait, NodeTimer::Rescan);
        self.scan = ScanStage::Waiting { timer };
        let files = self.library.len();
        let left_out = std::mem::take(&mut report.left_out);
        let newly_unread = self.each.take(std::mem::take(&mut report.shares), report.failed);
        self.log_scan(files, &report);
        self.log_unread(cx, &newly_unread);
        if report.failed.is_none() {
            self.keep_left_out(left_out);
        }
        let ScanReport { names_refused, unreadable, other_mounts, mounts, .. } = report;
        let error = self.share_error(cx);
        let mounts = mounts.iter().map(|name| RawText::new(name.as_bytes())).collect();
        let being_written = self.settling.count();
        let left_out = self.left_out_by_scan();
        let notice = Notice::Scan(ScanNotice {
            files,
            done: true,
            names_refused,
            unreadable,
            other_mounts,
            mounts,
            error,
            being_written,
            left_out,
        });
        cx.notify(Topic::Scan, || notice);
        cx.subscriptions.close(Topic::Scan);
        if self.scan_again {
            cx.subscriptions.move_to(Topic::NextScan, Topic::Scan);
            self.start_scan(cx);
        }
    }

    /// Logs the result of a scan, if it differs from the last one.
    fn log_scan(&mut self, files: u64, report: &ScanReport) {
        let found = (files, report.clone());
        if self.scan_logged.as_ref() == Some(&found) {
            return;
        }
        let ScanReport { names_refused, unreadable, other_mounts, mounts, failed, .. } = report;
        if failed.is_none() {
            log::info!(files, names_refused, unreadable; "the share was scanned");
        }
        let before = self.scan_logged.as_ref().map(|(_, report)| report);
        if before.is_none_or(|before| before.refused != report.refused) && !report.refused.is_empty() {
            let names: Vec<String> = report.refused.iter().map(|path| Escaped(path).to_string()).collect();
            let names = first_of(names, *names_refused);
            log::warn!(count = names_refused, names; "left out for control characters or too many bytes in the name");
        }
        if before.is_none_or(|before| before.unread != report.unread) && !report.unread.is_empty() {
            let names = report.unread.iter().map(FileName::to_string).collect();
            let names = first_of(names, *unreadable);
            log::warn!(count = unreadable, names; "left out since they cannot be read");
        }
        if *other_mounts > 0 {
            let names = first_of(mounts.iter().map(FileName::to_string).collect(), *other_mounts);
            log::warn!(count = other_mounts, names; "other filesystems are mounted in the share and left out");
        }
        self.scan_logged = Some(found);
    }

    /// The configuration changed: restarts the wait for the next scan.
    pub(in crate::node) fn rearm_rescan(&mut self, cx: &mut Cx) {
        if let ScanStage::Waiting { timer } = &mut self.scan {
            cx.wheel.cancel(*timer);
            *timer = cx.wheel.insert(cx.now + cx.config.filemonitor_refresh, NodeTimer::Rescan);
        }
    }
}

/// Names in a line, which says so if there are more.
pub(super) fn first_of(names: Vec<String>, count: u64) -> String {
    let more = if count > names.len() as u64 { ", ..." } else { "" };
    names.join(", ") + more
}

//! A disk that fails stops one download and no other: it is paused, with its cause, and resumes automatically when its
//! part file can be opened again.
//!
//! A fault may be older than an order of the user, such as to try again because there is room now. So what is ordered while the
//! disk is to answer is done when it answers with a fault.

use super::DownloadMachine;
use super::part::AfterFault;
use super::state::{Download, Life};
use crate::control::Problem;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::node::contract::Target;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{PROBE_MAX, PROBE_MIN, SOURCE_REST_MAX, SOURCE_REST_MIN};

impl DownloadMachine {
    /// Notes what to do if the answer for which the part file waits is a fault.
    pub(super) fn note_order(&mut self, id: TransferId, order: AfterFault) {
        if let Some(download) = self.downloads.get_mut(id).filter(|row| row.part().is_to_be_answered()) {
            download.disk.order(order);
        }
    }

    /// The disk could not open, check or commit the part file of a download that is active, or waits for the disk. Nothing is
    /// under way any more.
    pub(super) fn on_part_fault(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        let ordered = self.downloads.get_mut(id).and_then(|row| row.disk.take_order());
        match ordered {
            Some(AfterFault::Pause) => self.pause_download(cx, id),
            Some(AfterFault::Cancel) => self.cancel_download(cx, id),
            Some(AfterFault::Retry | AfterFault::Resume) if cx.is_running() => {
                self.on_disk_fault(cx, id, fault);
                return self.probe_disk(cx, id);
            }
            _ => return self.on_disk_fault(cx, id, fault),
        }
        self.start_downloads(cx);
    }

    /// The disk does not do what this download needs.
    pub(super) fn on_disk_fault(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        match fault {
            DiskFault::Exists => {
                if let Some(place) = self.downloads.get(id).map(Download::place) {
                    self.fail_download(cx, id, Problem::CannotSave { place, fault });
                }
            }
            DiskFault::NoDescriptor => {
                let Some(download) = self.downloads.get_mut(id) else { return };
                download.disk.failures = download.disk.failures.saturating_add(1);
                let wait = cx.rng.back_off(download.disk.failures, SOURCE_REST_MIN, SOURCE_REST_MAX);
                self.set_waiting(cx, id, cx.now + wait, Problem::NoDescriptor);
                self.start_downloads(cx);
            }
            _ => self.pause_for_disk(cx, id, fault),
        }
    }

    fn pause_for_disk(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let (Target::Suggested { directory: at, .. }
        | Target::Within { directory: at, .. }
        | Target::Exact { path: at, .. }) = &download.spec.target;
        let why = Problem::DiskStopped { at: at.clone(), fault };
        let wait = PROBE_MIN.saturating_mul(1 << download.disk.failures.min(8)).min(PROBE_MAX);
        download.disk.failures = download.disk.failures.saturating_add(1);
        let timer = cx.wheel.insert(cx.now + wait, NodeTimer::Probe(id));
        self.set_life(cx, id, Life::Blocked { timer, fault, why });
        self.start_downloads(cx);
    }

    /// Tests whether a download that the disk has stopped can resume. It stays paused until that is known.
    pub(in crate::node) fn probe_disk(&mut self, cx: &mut Cx, id: TransferId) {
        if self.downloads.get(id).is_some_and(|row| matches!(row.life(), Life::Blocked { .. })) {
            self.open_part(cx, id);
        }
    }
}

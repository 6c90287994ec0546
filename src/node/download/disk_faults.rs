//! A disk that fails stops one download and no other: it is paused, with its cause, and resumes automatically when its
//! part file can be opened again.

use super::DownloadMachine;
use super::state::{Download, Life};
use crate::control::Problem;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::node::contract::Target;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{PROBE_MAX, PROBE_MIN, SOURCE_REST_MAX, SOURCE_REST_MIN};

impl DownloadMachine {
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
                download.disk_failures = download.disk_failures.saturating_add(1);
                let wait = cx.rng.back_off(download.disk_failures, SOURCE_REST_MIN, SOURCE_REST_MAX);
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
        let wait = PROBE_MIN.saturating_mul(1 << download.disk_failures.min(8)).min(PROBE_MAX);
        download.disk_failures = download.disk_failures.saturating_add(1);
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

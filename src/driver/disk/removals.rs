//! Part files that could not be removed: each is tried again, less and less often, until it is gone or its download opens it
//! again. Until then its record stays, so that the next start tries it as well.

use crate::driver::disk::jobs::Job;
use crate::driver::net::timers::Timer;
use crate::driver::{Driver, Phase};
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::store::PartRequest;
use crate::time::Instant;
use log::{info, warn};
use std::collections::BTreeMap;
use std::time::Duration;

/// How soon the first attempt is followed by another.
const RETRY_MIN: Duration = Duration::from_secs(5);

/// How long that wait may become.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Part files that are tried again at once; the others follow a second later.
const RETRIES_AT_ONCE_MAX: usize = 64;

/// How long the others wait.
const NEXT_BATCH: Duration = Duration::from_secs(1);

/// The part files that are to be removed and are not known to be.
#[derive(Default)]
pub(in crate::driver) struct Removals {
    pending: BTreeMap<TransferId, Removal>,
    is_armed: bool,
}

struct Removal {
    request: PartRequest,
    /// Attempts that failed.
    failures: u32,
    /// When it is tried again; `None` while an attempt is under way.
    due: Option<Instant>,
    /// The download is to be remembered no more when its part file is gone.
    forgets: bool,
}

impl Removals {
    /// An attempt begins.
    pub(in crate::driver) fn begin(&mut self, download: TransferId, request: PartRequest) {
        let removal = Removal { request, failures: 0, due: None, forgets: false };
        self.pending.insert(download, removal);
    }

    /// The download takes its part file up again.
    pub(in crate::driver) fn call_off(&mut self, download: TransferId) {
        self.pending.remove(&download);
    }

    /// The download is to be remembered no more. True if that has to wait for its part file.
    pub(in crate::driver) fn delays_forgetting(&mut self, download: TransferId) -> bool {
        let pending = self.pending.get_mut(&download);
        pending.map(|removal| removal.forgets = true).is_some()
    }
}

impl Driver {
    /// An attempt to remove a part file is over.
    pub(in crate::driver) fn on_removal_ended(&mut self, download: TransferId, outcome: Result<(), DiskFault>) {
        let Some(removal) = self.removals.pending.get_mut(&download) else { return };
        match outcome {
            Ok(()) => {
                let (failures, forgets) = (removal.failures, removal.forgets);
                self.removals.pending.remove(&download);
                if failures > 0 {
                    info!("the part file of download {} is removed", download.0);
                }
                if forgets {
                    self.forget_download(download);
                }
            }
            Err(fault) => {
                if removal.failures == 0 {
                    warn!("cannot remove the part file of download {}, trying again: {fault}", download.0);
                }
                let wait = RETRY_MIN.saturating_mul(1 << removal.failures.min(8)).min(RETRY_MAX);
                removal.failures = removal.failures.saturating_add(1);
                removal.due = Some(self.now + wait);
                self.arm_removals();
            }
        }
    }

    fn arm_removals(&mut self) {
        let first = self.removals.pending.values().filter_map(|removal| removal.due).min();
        if let Some(first) = first.filter(|_| !self.removals.is_armed) {
            self.removals.is_armed = true;
            self.timers.insert(first.max(self.now + NEXT_BATCH), Timer::Removals);
        }
    }

    /// Tries again to remove the part files whose time has come.
    pub(in crate::driver) fn retry_removals(&mut self) {
        self.removals.is_armed = false;
        if self.phase != Phase::Running {
            return;
        }
        let now = self.now;
        let desk = &self.desk;
        // One at a time: what a helper thread does with the part file ends first.
        let is_due = |(download, removal): &(&TransferId, &mut Removal)| {
            removal.due.is_some_and(|due| due <= now) && !desk.is_busy(**download)
        };
        let due = self.removals.pending.iter_mut().filter(is_due);
        let batch: Vec<(TransferId, PartRequest)> = due
            .take(RETRIES_AT_ONCE_MAX)
            .map(|(download, removal)| {
                removal.due = None;
                (*download, removal.request.clone())
            })
            .collect();
        for (download, request) in batch {
            self.submit_part(download, Job::RemovePart(download, request));
        }
        self.arm_removals();
    }
}

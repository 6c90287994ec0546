//! Part files that could not be removed. Each is retried with increasing delays until it is gone or its download opens it
//! again. Until then its record stays, so that the next start retries it too.

use super::state_files::back_off;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::store::PartRequest;
use crate::time::Instant;
use log::{info, warn};
use std::collections::BTreeMap;
use std::time::Duration;

/// The delay after the first failure.
const RETRY_MIN: Duration = Duration::from_secs(5);

/// Part files that are retried at once; the others follow after [`NEXT_BATCH`].
const RETRIES_AT_ONCE_MAX: usize = 64;

const NEXT_BATCH: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Removals {
    pending: BTreeMap<TransferId, Removal>,
    pub(super) retry_at: Option<Instant>,
}

struct Removal {
    request: PartRequest,
    failures: u32,
    /// When it is retried; `None` during an attempt.
    due: Option<Instant>,
    /// The download is forgotten when its part file is gone.
    forgets: bool,
}

impl Removals {
    pub(super) fn begin(&mut self, download: TransferId, request: PartRequest) {
        let removal = Removal { request, failures: 0, due: None, forgets: false };
        self.pending.insert(download, removal);
    }

    /// The download opens its part file again.
    pub(super) fn cancel(&mut self, download: TransferId) {
        self.pending.remove(&download);
    }

    /// The download is to be forgotten. Returns whether that waits for its part file.
    pub(super) fn delays_forgetting(&mut self, download: TransferId) -> bool {
        let pending = self.pending.get_mut(&download);
        pending.map(|removal| removal.forgets = true).is_some()
    }

    /// After an attempt. Returns whether the download is to be forgotten now.
    pub(super) fn end(&mut self, download: TransferId, outcome: Result<(), DiskFault>, now: Instant) -> bool {
        let Some(removal) = self.pending.get_mut(&download) else { return false };
        match outcome {
            Ok(()) => {
                let (failures, forgets) = (removal.failures, removal.forgets);
                self.pending.remove(&download);
                if failures > 0 {
                    info!(id = download.0; "the part file of a download is removed");
                }
                forgets
            }
            Err(fault) => {
                if removal.failures == 0 {
                    warn!(id = download.0, error:% = fault; "cannot remove the part file of a download, trying again");
                }
                removal.due = Some(now + back_off(RETRY_MIN, removal.failures));
                removal.failures = removal.failures.saturating_add(1);
                self.arm(now);
                false
            }
        }
    }

    fn arm(&mut self, now: Instant) {
        if let Some(first) = self.pending.values().filter_map(|removal| removal.due).min() {
            self.retry_at.get_or_insert(first.max(now + NEXT_BATCH));
        }
    }

    /// The part files to be retried now, except those that have a job.
    pub(super) fn due(&mut self, now: Instant, is_busy: impl Fn(TransferId) -> bool) -> Vec<(TransferId, PartRequest)> {
        if self.retry_at.take_if(|at| *at <= now).is_none() {
            return Vec::new();
        }
        let is_due = |(download, removal): &(&TransferId, &mut Removal)| {
            removal.due.is_some_and(|due| due <= now) && !is_busy(**download)
        };
        let due = self.pending.iter_mut().filter(is_due).take(RETRIES_AT_ONCE_MAX);
        let batch = due.map(|(download, removal)| {
            removal.due = None;
            (*download, removal.request.clone())
        });
        let batch = batch.collect();
        self.arm(now);
        batch
    }
}

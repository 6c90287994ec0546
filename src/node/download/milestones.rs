//! What is logged when a download changes its state.

use super::state::{Download, Life, Outgoing};
use crate::control::DownloadState;
use crate::id::TransferId;
use crate::name::Escaped;

impl Download {
    pub(super) fn log_state(&self, id: TransferId, before: DownloadState) {
        let now = self.state();
        if now != before {
            log::debug!(id = id.0, before:%, now:%; "a download has changed");
        }
    }

    /// Logs the states in which a download rests.
    pub(super) fn log_milestone(&self, id: TransferId, old: &Life) {
        let (id, name) = (id.0, &self.name);
        match self.life() {
            Life::Done { path, size, verified, .. } => {
                let (path, sources) = (Escaped::path(path), self.sources.len());
                log::info!(id, name:%, size, verified, sources, path:%; "download finished");
            }
            Life::Failed { why, .. } => {
                log::warn!(id, name:%, error:% = why; "download failed");
            }
            // It fails at once if there is nobody to ask.
            Life::Waiting { .. } if self.seek.outgoing == Outgoing::Last => {}
            Life::Waiting { why, .. } if !old.is_waiting() => {
                log::warn!(id, name:%, error:% = why; "download waits");
            }
            Life::Blocked { why, .. } if !matches!(old, Life::Paused | Life::Blocked { .. }) => {
                log::warn!(id, name:%, error:% = why; "download paused");
            }
            _ => {}
        }
    }
}

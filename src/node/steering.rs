//! What users order of downloads that are there: following, pausing, resuming, retrying and cancelling them.

use super::Node;
use super::download::{Download, Part, Pause, State};
use super::ordering::check_count;
use super::subscriptions::Topic;
use crate::control::{CallError, DownloadsReply, parse_ids};
use crate::id::{ClientId, TransferId};
use crate::time::Instant;

impl Node {
    /// Tells a client of downloads from now on.
    pub(super) fn call_follow(
        &mut self,
        now: Instant,
        client: ClientId,
        ids: &str,
    ) -> Result<DownloadsReply, CallError> {
        let ids = self.read_ids(ids, |state| !state.is_final())?;
        for &id in &ids {
            if self.downloads.get(id).is_some_and(|row| !row.state().is_final()) {
                self.subscriptions.subscribe(Topic::Download(id), client);
            }
        }
        Ok(self.downloads_reply(now, &ids))
    }

    /// Stops downloads and keeps what they have. One that is about to get its final name ends well.
    pub(super) fn call_pause(&mut self, now: Instant, ids: &str) -> Result<Vec<TransferId>, CallError> {
        let ids = self.read_ids(ids, |state| !state.is_final())?;
        for &id in &ids {
            let Some(download) = self.downloads.get_mut(id).filter(|row| !row.state().is_final()) else { continue };
            if download.part == Part::Committing || download.state() == State::Paused(Pause::User) {
                continue;
            }
            download.error = None;
            self.set_download_state(now, id, State::Paused(Pause::User));
        }
        self.start_downloads(now);
        Ok(ids)
    }

    /// Lets paused downloads go on.
    pub(super) fn call_resume(&mut self, now: Instant, ids: &str) -> Result<Vec<TransferId>, CallError> {
        let ids = self.read_ids(ids, |state| matches!(state, State::Paused(_)))?;
        for &id in &ids {
            match self.downloads.get(id).map(Download::state) {
                Some(State::Paused(Pause::User)) => self.set_download_state(now, id, State::Queued),
                Some(State::Paused(Pause::Disk { .. })) => self.probe_disk(id),
                _ => {}
            }
        }
        self.start_downloads(now);
        Ok(ids)
    }

    /// Has downloads try again at once that wait for their sources or for the disk, or have failed. Every source is asked
    /// anew, but for those that sent wrong bytes.
    pub(super) fn call_retry(&mut self, now: Instant, ids: &str) -> Result<Vec<TransferId>, CallError> {
        let waits = |state| matches!(state, State::Retrying { .. } | State::Failed | State::Paused(Pause::Disk { .. }));
        let ids = self.read_ids(ids, waits)?;
        for &id in &ids {
            let Some(download) = self.downloads.get_mut(id) else { continue };
            let state = download.state();
            if state == State::Fetching || waits(state) {
                download.sources.iter_mut().for_each(super::sources::Source::give_another_chance);
                download.checks_failed = 0;
            }
            match state {
                State::Retrying { .. } | State::Failed => {
                    // Whoever asks for another attempt wants others to be looked for as well.
                    download.seek.next = Some(now);
                    download.seek.sought_at = None;
                    download.seek.by_name = true;
                    download.error = None;
                    self.set_download_state(now, id, State::Queued);
                    self.probe_target_again(id);
                }
                State::Paused(Pause::Disk { .. }) => self.probe_disk(id),
                State::Fetching => self.downloads.touch(id),
                _ => {}
            }
        }
        self.start_downloads(now);
        Ok(ids)
    }

    /// Ends downloads and removes their part files. Those that are done stay as they are;
    /// and so does one that is about to get its final name.
    pub(super) fn call_cancel(&mut self, now: Instant, ids: &str) -> Result<Vec<TransferId>, CallError> {
        let ids = self.read_ids(ids, |state| !state.is_final())?;
        for &id in &ids {
            let Some(download) = self.downloads.get_mut(id) else { continue };
            let over = matches!(download.state(), State::Done | State::Cancelled);
            if over || download.part == Part::Committing {
                continue;
            }
            download.error = None;
            self.set_download_state(now, id, State::Cancelled);
        }
        self.start_downloads(now);
        Ok(ids)
    }

    /// Ids as users type them; `all` means those to which the order applies.
    fn read_ids(&self, ids: &str, applies: impl Fn(State) -> bool) -> Result<Vec<TransferId>, CallError> {
        let ids = if ids.trim() == "all" {
            parse_ids(ids, self.downloads.ids_of(applies))?
        } else {
            parse_ids(ids, self.downloads.ids())?
        };
        check_count(ids.len())?;
        Ok(ids.into_iter().map(TransferId).collect())
    }
}

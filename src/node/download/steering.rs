//! What users order of downloads that are there: following, pausing, resuming, retrying and cancelling them.

use super::DownloadMachine;
use super::life::Life;
use super::orders::{Order, Steering};
use super::state::Download;
use crate::control::{CallError, DownloadsReply, IdForm, parse_ids_with_all};
use crate::fault::DiskFault;
use crate::id::{ClientId, TransferId};
use crate::node::cx::{Cx, Topic};

impl DownloadMachine {
    /// Tells a client of downloads from now on.
    pub(in crate::node) fn call_follow(
        &mut self,
        cx: &mut Cx,
        client: ClientId,
        ids: &str,
    ) -> Result<DownloadsReply, CallError> {
        let ids = self.read_ids(ids, IdForm::Beginnings, |life| !life.is_over())?;
        self.follow_downloads(cx, client, &ids);
        Ok(self.downloads_reply(cx, &ids))
    }

    pub(in crate::node) fn call_pause(&self, ids: &str) -> Result<Order, CallError> {
        let ids = self.read_ids(ids, IdForm::Whole, |life| !life.is_over())?;
        Ok(Order::steer(Steering::Pause, ids))
    }

    pub(in crate::node) fn call_resume(&self, ids: &str) -> Result<Order, CallError> {
        let ids = self.read_ids(ids, IdForm::Whole, |life| matches!(life, Life::Paused | Life::Blocked { .. }))?;
        Ok(Order::steer(Steering::Resume, ids))
    }

    pub(in crate::node) fn call_retry(&self, ids: &str) -> Result<Order, CallError> {
        Ok(Order::steer(Steering::Retry, self.read_ids(ids, IdForm::Beginnings, Life::may_be_retried)?))
    }

    pub(in crate::node) fn call_cancel(&self, ids: &str) -> Result<Order, CallError> {
        let ids = self.read_ids(ids, IdForm::Whole, |life| !life.is_over())?;
        Ok(Order::steer(Steering::Cancel, ids))
    }

    /// Stops a download and keeps what it has. One that is about to get its final name ends well.
    pub(super) fn pause_download(&mut self, cx: &mut Cx, id: TransferId) {
        let may_stop =
            |row: &Download| !row.life().is_over() && !matches!(row.life(), Life::Paused) && !row.is_committing();
        if self.downloads.get(id).is_some_and(may_stop) {
            self.set_life(cx, id, Life::Paused);
        }
    }

    /// Lets a paused download go on.
    pub(super) fn resume_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        match download.life() {
            Life::Paused => self.set_life(cx, id, Life::Queued { waited: None }),
            Life::Blocked { fault, .. } => {
                if *fault == DiskFault::NotMounted {
                    // Another filesystem is in use there, and the user wants the download begun anew on it.
                    download.spec.filesystem = None;
                }
                self.probe_disk(cx, id);
            }
            _ => {}
        }
    }

    /// Has a download try again at once that waits for its sources or for the disk, or has failed. Every source is asked
    /// anew, but for those that sent wrong bytes.
    pub(super) fn retry_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_fetching = download.open().is_some();
        if is_fetching || download.life().may_be_retried() {
            download.sources.iter_mut().for_each(super::source::Source::give_another_chance);
            download.checks_failed = 0;
        }
        match download.life() {
            Life::Waiting { .. } | Life::Failed { .. } => {
                // Whoever asks for another attempt wants others to be looked for as well.
                download.seek.next = Some(cx.now);
                download.seek.sought_at = None;
                download.seek.by_name = true;
                self.set_life(cx, id, Life::Queued { waited: None });
                self.probe_target_again(cx, id);
            }
            Life::Blocked { .. } => self.probe_disk(cx, id),
            Life::Active if is_fetching => self.downloads.touch(id),
            _ => {}
        }
    }

    /// Ends a download and removes its part file. One that is done stays as it is, and so does one that is about to get its
    /// final name.
    pub(super) fn cancel_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        let is_over = matches!(download.life(), Life::Done { .. } | Life::Cancelled { .. });
        if !is_over && !download.is_committing() {
            self.end_download(cx, id, |shown| Life::Cancelled { shown });
        }
    }

    /// Ids as users type them; `all` means those to which the order applies. There may be none: then all that is wanted is so
    /// already.
    fn read_ids(&self, ids: &str, form: IdForm, applies: impl Fn(&Life) -> bool) -> Result<Vec<TransferId>, CallError> {
        let ids = parse_ids_with_all(ids, form, self.downloads.ids(), self.downloads.ids_of(applies))?;
        Ok(ids.into_iter().map(TransferId).collect())
    }

    /// Reports these downloads to a client from now on, as far as they are unfinished.
    pub(super) fn follow_downloads(&mut self, cx: &mut Cx, client: ClientId, ids: &[TransferId]) {
        for &id in ids {
            if self.downloads.get(id).is_some_and(|row| !row.life().is_over()) {
                cx.subscriptions.subscribe(Topic::Download(id), client);
            }
        }
    }
}

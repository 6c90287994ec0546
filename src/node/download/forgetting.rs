//! Forgetting downloads that are over: they leave the list, and no file is touched.
//!
//! The rows go when it is on the disk that the next run will not know them, and then the call is answered.

use super::DownloadMachine;
use super::orders::{Command, Order};
use super::part::PartFile;
use super::state::Download;
use crate::control::{ForgottenReply, IdForm, Problem};
use crate::id::TransferId;
use crate::node::contract::{Action, DownloadRecord, RecordState};
use crate::node::cx::Cx;
use std::collections::BTreeSet;

impl Download {
    /// It is over, and has left nothing on the disk but its file.
    fn may_be_forgotten(&self) -> bool {
        self.life().is_over() && matches!(self.part(), PartFile::Absent)
    }

    /// What has to happen before it may be forgotten.
    fn why_not_forgotten(&self, id: TransferId) -> Option<Problem> {
        let id = id.0;
        match self.part() {
            _ if !self.life().is_over() => Some(Problem::NotOver { id, state: self.state() }),
            PartFile::Absent => None,
            PartFile::Kept(_) => Some(Problem::KeepsData { id }),
            _ => Some(Problem::StillEnding { id }),
        }
    }
}

impl DownloadMachine {
    /// Either all that are named are forgotten or none; `all` means those that may be.
    pub(in crate::node) fn call_forget(&self, ids: &str) -> Result<Order, Problem> {
        let ids =
            self.read_ids(ids, IdForm::Whole, Download::may_be_forgotten, |id| self.directory_may_be_forgotten(id))?;
        let why = |id: &TransferId| match self.downloads.get(*id) {
            Some(row) => row.why_not_forgotten(*id),
            None => self.why_directory_stays(*id),
        };
        let refused = ids.iter().find_map(why);
        refused.map_or(Ok(Order::apply(Command::Forget, ids)), Err)
    }

    /// Has the next run not know a download, unless it was tried again since the order was given.
    pub(super) fn forget_download(&mut self, cx: &mut Cx, id: TransferId) {
        if self.downloads.get(id).is_some_and(Download::may_be_forgotten) {
            // Its revision tells when the removal of the record is on the disk. Until its part file is gone, that may wait: the
            // next run is to know that it is forgotten.
            self.remember_dropped(cx, id);
            cx.out.act(Action::ForgetDownload { download: id });
        }
    }

    /// Has the record say that nothing but its events is wanted of a download that is over.
    fn remember_dropped(&mut self, cx: &mut Cx, id: TransferId) {
        let revision = self.next_revision();
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.recorded.revision = revision;
        let record = download.record(id, cx.event_log.of(id));
        let record = Box::new(DownloadRecord { state: RecordState::Dropped, error: None, ..record });
        cx.event_log.on_record_ordered(id, revision);
        cx.out.act(Action::RememberDownload { record, revision });
    }

    /// Takes those of which no record is left out of the table. The problem is that of one whose record may be there.
    pub(super) fn remove_forgotten(&mut self, ids: &[TransferId]) -> Result<ForgottenReply, Problem> {
        let rows = ids.iter().filter_map(|id| Some((*id, self.downloads.get(*id)?)));
        let (gone, kept): (Vec<_>, Vec<_>) = rows
            .filter(|(_, row)| row.may_be_forgotten())
            .partition(|(_, row)| row.recorded.durable >= row.recorded.revision);
        let problem = kept.iter().find_map(|(_, row)| row.recorded.problem.clone());
        let mut gone: BTreeSet<TransferId> = gone.into_iter().map(|(id, _)| id).collect();
        self.downloads.remove_finished(&gone);
        let (directories, kept) = self.remove_forgotten_directories(ids);
        gone.extend(directories);
        let problem = problem.or(kept);
        match problem {
            Some(problem) => Err(problem),
            None => Ok(ForgottenReply { forgotten: gone.into_iter().map(|id| id.0).collect() }),
        }
    }
}

//! Downloads that the list does not have any more: how each ended, as the event log has it.
//!
//! A row leaves the list when a user has it forgotten, at the limit of the list, and at a restart if it is done or cancelled. Its id is
//! given to no other download.

use super::DownloadMachine;
use crate::control::{
    DownloadRow, DownloadState, DownloadsReply, EventKind, EventRow, IdForm, Problem, parse_ids_with_all,
};
use crate::id::{ClientId, TransferId};
use crate::node::cx::Cx;

impl DownloadMachine {
    /// Follows downloads; of those that are not in the list any more, the answer has the end that the event log has.
    pub(in crate::node) fn call_follow(
        &mut self,
        cx: &mut Cx,
        client: ClientId,
        ids: &str,
    ) -> Result<DownloadsReply, Problem> {
        let listed = self.downloads.ids().chain(self.directories.iter().map(|(id, _)| id.0));
        let known = listed.chain(cx.event_log.ended().map(|id| id.0)).collect();
        let unfinished = self.applying(|row| !row.life().is_over(), |id| !self.directories.is_over(id));
        let ids = parse_ids_with_all(ids, IdForm::Beginnings, &known, unfinished);
        let ids = ids.map_err(|problem| self.with_advice(problem))?;
        let ids: Vec<TransferId> = ids.into_iter().map(TransferId).collect();
        self.follow_downloads(cx, client, &ids);
        Ok(self.downloads_reply(cx, &ids))
    }

    /// The row of a download that is not in the list any more.
    pub(super) fn past_row(&self, cx: &Cx, id: TransferId) -> Option<DownloadRow> {
        cx.event_log.end_of(id).map(|end| row_of(id, end))
    }
}

/// What is known of a download by the event of its end.
fn row_of(id: TransferId, end: &EventRow) -> DownloadRow {
    let state = match end.event {
        EventKind::Done => DownloadState::Done,
        EventKind::Failed => DownloadState::Failed,
        _ => DownloadState::Cancelled,
    };
    DownloadRow {
        id: id.0,
        name: end.name.clone(),
        path: end.path.clone(),
        state,
        bytes_done: end.size.filter(|_| state == DownloadState::Done).unwrap_or_default(),
        size: end.size,
        rate: None,
        b3: end.b3.clone(),
        verified: end.verified,
        sources: Vec::new(),
        shares: Vec::new(),
        eta_s: None,
        already: false,
        copied_from: end.copied_from.clone().map(Box::new),
        error: end.error.clone().map(Box::new),
        retry_in_s: None,
        not_remembered: None,
        place: None,
        directory: None,
        part_of: None,
    }
}

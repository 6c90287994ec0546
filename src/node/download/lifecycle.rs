//! The life of a download: how it enters the queue, who is next, and the one place where its state changes.

use super::DownloadMachine;
use super::life::{Life, PartFile, Progress};
use super::state::{Download, Outgoing};
use crate::control::{Notice, Problem};
use crate::id::TransferId;
use crate::node::contract::{Action, DownloadRecord, RecordState};
use crate::node::cx::{Cx, NodeTimer, Step, Topic};
use crate::node::limits::DOWNLOADS_MAX;
use crate::node::network::NetworkMachine;
use crate::time::Instant;

impl DownloadMachine {
    /// Takes a new download into the queue, and remembers it; forgets a finished one if need be.
    pub(super) fn insert_download(
        &mut self,
        cx: &mut Cx,
        network: &NetworkMachine,
        download: Download,
    ) -> Option<TransferId> {
        while self.downloads.is_full() && self.forget_finished(cx) {}
        let id = self.downloads.next_id()?;
        self.downloads.insert(id, download);
        self.learn_speech(network, id);
        self.remember_download(cx, id);
        Some(id)
    }

    /// Takes up what an earlier run left, in the order of the ids.
    pub(in crate::node) fn recall_downloads(&mut self, cx: &mut Cx, records: Vec<DownloadRecord>, last: u32) {
        self.downloads.note_given(last);
        for record in records.into_iter().take(DOWNLOADS_MAX) {
            let id = record.id;
            self.downloads.note_given(id.0);
            if matches!(record.state, RecordState::Dropped | RecordState::Failed { keeps_part: false }) {
                cx.out.act(Action::DropPart { download: id, spec: record.spec.clone() });
            }
            if record.state == RecordState::Dropped {
                cx.out.act(Action::ForgetDownload { download: id });
                continue;
            }
            if self.downloads.get(id).is_none() {
                self.downloads.insert(id, Download::recalled(record));
            }
        }
    }

    /// Makes room by the download that was over first and owes nothing. What it has kept is not kept without it.
    fn forget_finished(&mut self, cx: &mut Cx) -> bool {
        let Some((id, download)) = self.downloads.take_finished() else { return false };
        if matches!(download.part(), PartFile::Kept(_)) {
            cx.out.act(Action::DropPart { download: id, spec: download.spec.clone() });
        }
        // The others are forgotten already.
        if matches!(download.life(), Life::Failed { .. }) {
            cx.out.act(Action::ForgetDownload { download: id });
        }
        true
    }

    /// The one place where a download moves: keeps the queue, the sets and the part file true, and tells who follows.
    pub(super) fn set_life(&mut self, cx: &mut Cx, id: TransferId, life: Life) {
        if !matches!(life, Life::Active) {
            self.stop_fetching(cx, id);
        }
        let is_over = life.is_over();
        let Some(old) = self.downloads.set_life(id, life) else { return };
        cx.cancel_timer(old.timer());
        let forgotten = self.settle_part(cx, id);
        if !forgotten && self.downloads.get(id).is_some_and(Download::has_news) {
            self.remember_download(cx, id);
        }
        self.tell_download(cx, id);
        if is_over {
            cx.subscriptions.close(Topic::Download(id));
            cx.out.then(Step::DownloadOver { id });
        }
    }

    /// Breaks off what a download does with its sources.
    pub(super) fn stop_fetching(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let look = download.open_mut().and_then(|open| open.look.take());
        let busy: Vec<_> = download.busy().map(|(at, _)| at).collect();
        cx.cancel_timer(look.map(|(_, timer)| timer));
        busy.into_iter().for_each(|at| self.break_off(cx, id, at));
    }

    /// Breaks off an exchange with a source, which is idle then.
    pub(super) fn break_off(&mut self, cx: &mut Cx, id: TransferId, at: usize) {
        if let Some(fetch) = self.downloads.end_fetch(cx.now, id, at) {
            cx.abort_dial(fetch.exchange);
        }
    }

    /// Tells who follows a download how it stands.
    pub(super) fn tell_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.seek.outgoing == Outgoing::Last && download.life().is_waiting() {
            return;
        }
        download.told = Some(cx.now);
        let Some(row) = self.downloads.row(id, cx.now) else { return };
        cx.notify(Topic::Download(id), || Notice::Download { download: row });
    }

    /// Gives the downloads that wait their turn, as far as there are places.
    pub(in crate::node) fn start_downloads(&mut self, cx: &mut Cx) {
        if !cx.is_running() {
            return;
        }
        self.search_unsourced(cx);
        while let Some(id) = self.next_in_queue() {
            if !self.downloads.has_place(cx.config.max_downloads) {
                return self.watch_pace(cx);
            }
            self.set_life(cx, id, Life::Active);
            self.open_part(cx, id);
        }
    }

    /// The next that waits for its turn and may have it.
    pub(super) fn next_in_queue(&self) -> Option<TransferId> {
        self.downloads.queue().find(|id| self.may_begin(*id))
    }

    /// Back into the queue, where its age gives a download its place.
    pub(super) fn requeue_download(&mut self, cx: &mut Cx, id: TransferId) {
        let waited = self.downloads.get(id).and_then(|row| row.life().problem().cloned());
        self.set_life(cx, id, Life::Queued { waited });
        self.start_downloads(cx);
    }

    /// Has a download wait until its sources can be asked again.
    pub(super) fn set_waiting(&mut self, cx: &mut Cx, id: TransferId, until: Instant, why: Problem) {
        let timer = cx.wheel.insert(until, NodeTimer::Retry(id));
        self.set_life(cx, id, Life::Waiting { until, timer, why });
    }

    /// A download has failed or is cancelled; `life` says so, and shows how far it had come.
    pub(super) fn end_download(&mut self, cx: &mut Cx, id: TransferId, life: impl FnOnce(Progress) -> Life) {
        self.stop_fetching(cx, id);
        if let Some(shown) = self.downloads.get(id).map(Download::progress) {
            self.set_life(cx, id, life(shown));
        }
    }
}

//! How a download moves: its turn, its part file, from opening to the final name, and its end.

use super::DownloadMachine;
use super::part::{Found, Known, Open, PartFile};
use super::state::{Download, Life, Outgoing, Progress, Want};
use crate::control::{Notice, Problem, SourceFault};
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::node::contract::{Action, CheckedPart, CommittedPart, DiskOutcome, OpenedPart};
use crate::node::cx::{Cx, NodeTimer, Step, Topic};
use crate::node::limits::CHECKS_FAILED_MAX;
use crate::time::Instant;
use std::net::SocketAddr;

/// What a check means for its download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// This is it, as far as can be known.
    Good { verified: bool },
    /// The disk has other groups than were written: they are fetched again, and nobody is blamed.
    Damaged,
    /// The outline is no outline of the content: who gave it lied.
    FalseOutline,
    /// The stream was of another content.
    Other,
}

impl DownloadMachine {
    /// Nothing else changes the life of a download. The queue, the sets and the part file change with it, and the clients that
    /// follow it are notified.
    pub(super) fn set_life(&mut self, cx: &mut Cx, id: TransferId, life: Life) {
        if !matches!(life, Life::Active) {
            self.stop_fetching(cx, id);
        }
        let is_over = life.is_over();
        let Some(old) = self.downloads.set_life(id, life) else { return };
        self.note_member_life(id, &old);
        cx.cancel_timer(old.timer());
        let ended = self.downloads.get(id).and_then(|row| row.life().logged_as());
        if let Some(kind) = ended.filter(|kind| old.logged_as() != Some(*kind)) {
            self.log_event(cx, id, kind);
        }
        let forgotten = self.settle_part(cx, id);
        let has_news = self.downloads.get(id).is_some_and(Download::has_news);
        if !forgotten && (has_news || cx.event_log.has_unrecorded(id)) {
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

    /// Notifies the clients that follow a download.
    pub(super) fn tell_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.seek.outgoing == Outgoing::Last && download.life().is_waiting() {
            return;
        }
        download.notified_at = Some(cx.now);
        if let Some(directory) = download.directory {
            // Once, at the end of the event.
            return self.directories.mark_dirty(directory);
        }
        let Some(row) = self.downloads.row(cx, id) else { return };
        cx.notify(Topic::Download(id), || Notice::Download { download: row });
    }

    /// Starts queued downloads, as far as there are places.
    pub(in crate::node) fn start_downloads(&mut self, cx: &mut Cx) {
        if !cx.is_running() {
            return;
        }
        self.search_unsourced(cx);
        while let Some(id) = self.next_in_queue() {
            if !self.downloads.has_place(cx) {
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

    /// Puts a download back into the queue, in which older ones come first.
    pub(super) fn requeue_download(&mut self, cx: &mut Cx, id: TransferId) {
        let waited = self.downloads.get(id).and_then(|row| row.life().awaited().cloned());
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

    /// Orders the part file, unless an earlier order is still under way: then its answer brings another.
    pub(super) fn open_part(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if !matches!(download.part(), PartFile::Absent | PartFile::Kept(_)) {
            return;
        }
        download.change_part(cx.now, id, |part| PartFile::Opening(part.into_held()));
        let (spec, b3, size) = (download.spec.clone(), download.want.b3(), download.size());
        cx.out.act(Action::OpenPart { download: id, spec, b3, size });
    }

    /// Closes or removes the part file of a download that has no use for it as it stands. Says whether the download is
    /// remembered no more.
    pub(super) fn settle_part(&mut self, cx: &mut Cx, id: TransferId) -> bool {
        let Some(download) = self.downloads.get_mut(id) else { return true };
        let keeps = match download.life() {
            Life::Active => return false,
            // Its directory counts it after a restart, too.
            Life::Done { .. } if download.directory.is_some() => return false,
            Life::Done { .. } | Life::Cancelled { .. } => false,
            Life::Failed { .. } => download.part().is_worth_keeping(),
            Life::Queued { .. } | Life::Waiting { .. } | Life::Paused | Life::Blocked { .. } => true,
        };
        let failed = matches!(download.life(), Life::Failed { .. });
        if !keeps && (!matches!(download.life(), Life::Done { .. }) || cx.event_log.has_unrecorded(id)) {
            // Before anything of it goes: whatever happens now, it does not come back, and nothing of it stays but its events.
            self.remember_download(cx, id);
        }
        let Some(download) = self.downloads.get_mut(id) else { return true };
        match download.part() {
            PartFile::Open(_) if keeps => {
                download.close(cx.now, id);
                cx.out.act(Action::ClosePart { download: id });
            }
            PartFile::Open(_) | PartFile::Kept(_) if !keeps => {
                download.change_part(cx.now, id, |_| PartFile::Absent);
                cx.out.act(Action::DropPart { download: id, spec: download.spec.clone() });
            }
            PartFile::Absent | PartFile::Kept(_) => {}
            // What is under way ends first.
            PartFile::Checking { .. } => {
                download.change_part(cx.now, id, |part| PartFile::Ending(part.into_known()));
                return !keeps;
            }
            _ => return !keeps,
        }
        // That it has failed, and why, is remembered until the user has it removed.
        if !keeps && !failed {
            cx.out.act(Action::ForgetDownload { download: id });
        }
        !keeps
    }

    pub(in crate::node) fn on_part_opened(&mut self, cx: &mut Cx, id: TransferId, outcome: DiskOutcome<OpenedPart>) {
        let has_place = self.downloads.has_place(cx);
        let Some(download) = self.downloads.get_mut(id) else { return };
        if !matches!(download.part(), PartFile::Opening(_)) {
            return;
        }
        let (received, is_named) = (download.received, download.want == Want::Name);
        download.change_part(cx.now, id, |part| match &outcome {
            // What was known of it before is replaced by what is there.
            Ok(OpenedPart::Ready { resumed, .. }) => {
                let streamed = part.known().map_or(0, Known::streamed);
                let resumed = resumed.clone().filter(|_| !is_named);
                let known = resumed.map_or(Known::Nothing { streamed }, |(size, groups)| Known::resumed(size, groups));
                PartFile::Open(Open::new(cx.now, received, known))
            }
            Ok(OpenedPart::AlreadyThere { .. }) => PartFile::Absent,
            Err(_) => PartFile::Kept(part.into_held()),
        });
        let probed = matches!(download.life(), Life::Blocked { .. });
        let awaits = probed || matches!(download.life(), Life::Active);
        match (download.life(), outcome) {
            (Life::Active, Ok(part)) => self.take_part(cx, id, part),
            // Nobody has proved the size for which there is no room, and others claim less.
            (_, Err(DiskFault::Full)) if awaits && download.doubts_size() => {
                download.claimed_size = None;
                self.open_part(cx, id);
            }
            (_, Err(fault)) if awaits => self.on_part_fault(cx, id, fault),
            (_, Ok(part)) if probed && (has_place || part.is_there()) => self.take_part(cx, id, part),
            // Its turn is over, or has not come.
            _ if probed => self.requeue_download(cx, id),
            _ => drop(self.settle_part(cx, id)),
        }
    }

    /// Begins with what is there, or resumes.
    fn take_part(&mut self, cx: &mut Cx, id: TransferId, part: OpenedPart) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        match part {
            OpenedPart::AlreadyThere { path } => {
                let size = download.size().unwrap_or_default();
                self.finish_download(cx, id, Life::Done { path, size, found: None, verified: true, already: true });
            }
            OpenedPart::Ready { path, filesystem, .. } => {
                download.path = Some(path);
                let moved = filesystem.is_some() && download.spec.filesystem != filesystem;
                if moved {
                    download.spec.filesystem = filesystem;
                }
                if let Some(content) = download.content() {
                    log::info!(id = id.0, bytes = content.bytes_verified(); "download resumed");
                    download.claimed_size = Some(content.size());
                }
                self.set_life(cx, id, Life::Active);
                self.downloads.mark_dirty(id);
                self.find_own(cx, id);
                if moved {
                    self.remember_download(cx, id);
                }
            }
        }
    }

    fn finish_download(&mut self, cx: &mut Cx, id: TransferId, done: Life) {
        self.set_life(cx, id, done);
        self.start_downloads(cx);
    }

    /// The outline of the part file is false, or of a content that is not wanted any more: a new part file takes its place.
    pub(super) fn restart_part(&mut self, cx: &mut Cx, id: TransferId) {
        self.stop_fetching(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.open().is_some() {
            download.change_part(cx.now, id, |_| PartFile::Absent);
            cx.out.act(Action::DropPart { download: id, spec: download.spec.clone() });
        }
        self.open_part(cx, id);
        self.tell_download(cx, id);
    }

    pub(in crate::node) fn on_part_failed(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        if let Some(open) = self.downloads.get_mut(id).and_then(Download::open_mut) {
            open.known = Known::default();
            self.on_disk_fault(cx, id, fault);
        }
    }

    /// Everything is there: it is checked before it counts. `streamer`: who sent it, if nothing but
    /// the end of a stream shows that it is everything.
    pub(super) fn check_part(&mut self, cx: &mut Cx, id: TransferId, streamer: Option<SocketAddr>) {
        self.stop_fetching(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.change_part(cx.now, id, |part| PartFile::Checking { known: part.into_known(), streamer });
        cx.out.act(Action::CheckPart { download: id, original: None });
        self.tell_download(cx, id);
    }

    pub(in crate::node) fn on_part_checked(&mut self, cx: &mut Cx, id: TransferId, outcome: DiskOutcome<CheckedPart>) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        match (download.part(), outcome) {
            (PartFile::Checking { streamer, .. }, Ok(checked)) => {
                let streamer = *streamer;
                self.weigh_check(cx, id, streamer, &checked);
            }
            (PartFile::Checking { .. }, Err(fault)) => {
                download.reopen(cx.now, id);
                if !self.give_up_copy(cx, id, Some(fault)) {
                    self.on_part_fault(cx, id, fault);
                }
            }
            (PartFile::Ending(_), _) => {
                download.reopen(cx.now, id);
                if matches!(download.life(), Life::Active) {
                    // It has its turn again: the part file is taken up as it is now.
                    download.close(cx.now, id);
                    cx.out.act(Action::ClosePart { download: id });
                    return self.open_part(cx, id);
                }
                self.settle_part(cx, id);
            }
            _ => {}
        }
    }

    fn weigh_check(&mut self, cx: &mut Cx, id: TransferId, streamer: Option<SocketAddr>, checked: &CheckedPart) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let finding = judge_check(download.want.b3(), download.content().is_some(), checked);
        if let Finding::Good { verified } = finding {
            let found = Found { b3: checked.b3, size: checked.size, verified };
            download.claimed_size = Some(checked.size);
            download.change_part(cx.now, id, |part| PartFile::Committing { known: part.into_known(), found });
            cx.out.act(Action::CommitPart { download: id });
            return self.tell_download(cx, id);
        }
        download.reopen(cx.now, id);
        let Some(open) = download.open_mut() else { return };
        match finding {
            Finding::Good { .. } => {}
            Finding::Damaged => {
                log::warn!(id = id.0, groups = checked.bad.len(); "groups of a download on the disk are not what was written");
                if let Some(content) = open.known.content_mut() {
                    for group in &checked.bad {
                        content.verified.remove(*group);
                    }
                }
                download.checks_failed += 1;
                if download.checks_failed > CHECKS_FAILED_MAX {
                    return self.on_disk_fault(cx, id, DiskFault::Other(0));
                }
                self.fetch_again(cx, id);
            }
            Finding::FalseOutline => {
                let giver = std::mem::take(&mut open.known).content().and_then(|content| content.giver);
                self.blame(cx, id, giver, SourceFault::FalseMetadata);
                self.restart_part(cx, id);
            }
            Finding::Other => {
                // Of the content wanted nothing is there.
                open.known = Known::default();
                let sent = download.sources.iter_mut().filter(|source| Some(source.addr) == streamer);
                sent.for_each(|source| source.bytes = 0);
                self.on_other_stream(cx, id, streamer);
                if !self.give_up_copy(cx, id, None) {
                    self.fetch_again(cx, id);
                }
            }
        }
    }

    pub(super) fn fetch_again(&mut self, cx: &mut Cx, id: TransferId) {
        self.tell_download(cx, id);
        self.downloads.mark_dirty(id);
    }

    pub(in crate::node) fn on_part_committed(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        outcome: DiskOutcome<CommittedPart>,
    ) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let PartFile::Committing { found, .. } = download.part() else { return };
        let Found { b3, size, verified } = *found;
        match outcome {
            Ok(CommittedPart { path, already }) => {
                download.change_part(cx.now, id, |_| PartFile::Absent);
                self.finish_download(cx, id, Life::Done { path, size, found: Some(b3), verified, already });
            }
            Err(fault) => {
                download.close(cx.now, id);
                self.on_part_fault(cx, id, fault);
            }
        }
    }

    pub(super) fn fail_download(&mut self, cx: &mut Cx, id: TransferId, why: Problem) {
        self.end_download(cx, id, |shown| Life::Failed { why, shown });
        self.start_downloads(cx);
    }

    /// Ends what is active because the node leaves: what is there is kept for the next run.
    pub(in crate::node) fn stop_downloads(&mut self, cx: &mut Cx) {
        debug_assert!(!cx.is_running(), "nothing begins again meanwhile");
        for id in self.downloads.active_ids() {
            // What is being checked and synced is whole, and ends well by itself.
            if self.downloads.get(id).is_some_and(|row| !row.is_verifying()) {
                self.set_life(cx, id, Life::Queued { waited: None });
                // With what it has by now.
                self.remember_download(cx, id);
            }
        }
    }
}

impl Download {
    /// What was ordered of its part file is done, or failed: it is open as before.
    fn reopen(&mut self, now: Instant, id: TransferId) {
        let received = self.received;
        self.change_part(now, id, |part| PartFile::Open(Open::new(now, received, part.into_known())));
    }

    /// Its part file is closed, or is to be.
    fn close(&mut self, now: Instant, id: TransferId) {
        self.change_part(now, id, |part| PartFile::Kept(part.into_held()));
    }
}

/// Only a hash that was given for this download before its bytes came makes it verified: by the user, by its hit, or by
/// a source in the metadata of the name. That a stream is the content of some other file proves nothing of this one.
fn judge_check(wanted: Option<ContentHash>, has_outline: bool, checked: &CheckedPart) -> Finding {
    match wanted {
        _ if has_outline && !checked.bad.is_empty() => Finding::Damaged,
        None => Finding::Good { verified: false },
        Some(wanted) if wanted == checked.b3 => Finding::Good { verified: true },
        Some(_) if has_outline => Finding::FalseOutline,
        Some(_) => Finding::Other,
    }
}

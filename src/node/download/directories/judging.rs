//! How a directory goes on when its members do something else, and what is reported of it.

use super::state::{Stage, Summary};
use super::tally::Doing;
use crate::control::{EventKind, Notice, Problem};
use crate::id::TransferId;
use crate::node::contract::Action;
use crate::node::cx::{Cx, NodeTimer, Topic};
use crate::node::download::DownloadMachine;
use crate::node::download::state::{Life, NamedPlace};
use crate::node::limits::{
    DIRECTORY_RETRY_MAX, DIRECTORY_RETRY_MIN, PROGRESS_INTERVAL, SOURCE_REST_MAX, SOURCE_REST_MIN,
};
use crate::node::network::Net;
use std::time::Duration;

impl DownloadMachine {
    /// Does what is next for downloads and directories.
    pub(in crate::node) fn drive_all(&mut self, net: &mut Net) {
        self.drive_downloads(net);
        while self.directories.has_dirty() {
            while let Some(id) = self.directories.next_dirty() {
                self.drive_directory(net, id);
            }
            self.drive_downloads(net);
        }
    }

    /// If this is a member of a directory, it does something else than before.
    pub(in crate::node::download) fn note_member_life(&mut self, member: TransferId, old: &Life) {
        let Some(row) = self.downloads.get(member) else { return };
        let Some(directory) = row.directory else { return };
        self.directories.on_member_life(directory, member, (old, row.life()));
        self.credit_trees(member);
    }

    fn drive_directory(&mut self, net: &mut Net, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        match directory.stage() {
            Stage::Queued => {
                let may = directory.recorded.accepted && directory.named_place == NamedPlace::Good;
                if may && net.cx.is_running() {
                    self.begin_attempt(net, id);
                }
            }
            Stage::Fetching | Stage::Waiting { .. } | Stage::Paused => self.judge(net.cx, id),
            Stage::Cancelled(_) if directory.members.is_empty() => {
                net.cx.out.act(Action::ForgetDownload { download: id });
                self.drop_kept_manifest(net.cx, id);
            }
            _ => {}
        }
        self.tell_directory_progress(net.cx, id);
    }

    /// Decides by what its members do.
    fn judge(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get(id).filter(|row| row.is_listed) else { return };
        let count = |doing| directory.tally.count(doing);
        let (files, done) = (directory.files(), count(Doing::Done));
        let (refused, unsavable) = (count(Doing::Refused), count(Doing::Unsavable));
        let stage = directory.stage();
        if directory.has_all() {
            if directory.awaits_more() {
                return self.wait_for_pending(cx, id);
            }
            let summary = self.summary(cx, id);
            return self.set_stage(cx, id, Stage::Done(summary));
        }
        if done + unsavable == files && !matches!(stage, Stage::Paused) {
            let why = if unsavable > 0 {
                self.unsavable_problem(id, unsavable, files)
            } else {
                Problem::NamesLeftOut { files: directory.left_out.count, example: directory.left_out.example() }
            };
            return self.set_stage(cx, id, Stage::Failed { why });
        }
        let is_at_rest = count(Doing::Queued) + count(Doing::Active) == 0;
        if matches!(stage, Stage::Fetching) && refused > 0 && is_at_rest {
            self.wait_for_refused(cx, id, refused, files, done);
        }
    }

    /// All files that the peer shares are there. It has others that it does not share yet: it is asked again, a few times.
    fn wait_for_pending(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        let waits_for_others = match directory.stage() {
            Stage::Fetching => true,
            Stage::Waiting { why, .. } => matches!(why, Problem::FilesMissing { .. }),
            _ => false,
        };
        let Some(peer) = directory.peer.filter(|_| waits_for_others) else { return };
        let why = Problem::MoreToCome { peer, files: directory.pending.lacking.files };
        let wait = cx.rng.back_off(directory.pending.asks + 1, SOURCE_REST_MIN, SOURCE_REST_MAX);
        self.set_directory_waiting(cx, id, wait, why);
    }

    /// Sources refuse some files: the peer is asked again after a while what it has.
    fn wait_for_refused(&mut self, cx: &mut Cx, id: TransferId, refused: u64, files: u64, done: u64) {
        let example = self.first_member(id, Doing::Refused);
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.waits = if done > directory.done_before { 1 } else { directory.waits.saturating_add(1) };
        directory.done_before = done;
        let wait = cx.rng.back_off(directory.waits, DIRECTORY_RETRY_MIN, DIRECTORY_RETRY_MAX);
        let (name, error) = example.unzip();
        let why = Problem::FilesMissing { missing: refused, files, name, error: error.map(Box::new) };
        self.set_directory_waiting(cx, id, wait, why);
    }

    fn unsavable_problem(&self, id: TransferId, unsavable: u64, files: u64) -> Problem {
        let (name, error) = self.first_member(id, Doing::Unsavable).unzip();
        Problem::FilesNotSaved { failed: unsavable, files, name, error: error.map(Box::new) }
    }

    pub(super) fn set_directory_waiting(&mut self, cx: &mut Cx, id: TransferId, wait: Duration, why: Problem) {
        let until = cx.now + wait;
        let timer = cx.wheel.insert(until, NodeTimer::Directory(id));
        self.set_stage(cx, id, Stage::Waiting { until, timer, why });
    }

    pub(in crate::node) fn on_directory_timer(&mut self, cx: &mut Cx, id: TransferId) {
        if self.directories.get(id).is_some_and(|row| matches!(row.stage(), Stage::Waiting { .. })) {
            self.set_stage(cx, id, Stage::Queued);
        }
    }

    /// Nothing else changes the stage of a directory. Its record changes with it, and the clients that follow it are notified.
    pub(super) fn set_stage(&mut self, cx: &mut Cx, id: TransferId, stage: Stage) {
        let (is_over, is_done) = (stage.is_over(), matches!(stage, Stage::Done(_)));
        let Some(directory) = self.directories.get_mut(id) else { return };
        match directory.replace_stage(stage) {
            Stage::Listing { exchange, .. } | Stage::Describing { exchange, .. } => cx.abort_dial(exchange),
            Stage::Waiting { timer, .. } => cx.cancel_timer(Some(timer)),
            _ => {}
        }
        let has_news = directory.has_news();
        let logged = match directory.stage() {
            Stage::Done(_) => Some(EventKind::Done),
            Stage::Failed { .. } => Some(EventKind::Failed),
            Stage::Cancelled(_) => Some(EventKind::Cancelled),
            _ => None,
        };
        if let Some(kind) = logged {
            self.log_event(cx, id, kind);
        }
        if is_done {
            // With the event of its end.
            self.remember_directory(cx, id);
            // Before those of its members: while it has one, these count.
            cx.out.act(Action::ForgetDownload { download: id });
            self.drop_kept_manifest(cx, id);
            self.directories.at_work.insert(id);
        } else if has_news {
            self.remember_directory(cx, id);
        }
        self.directories.resume_offers(id);
        self.directories.mark_dirty(id);
        self.log_directory(id);
        self.tell_directory(cx, id);
        if is_over {
            cx.subscriptions.close(Topic::Download(id));
        }
    }

    fn log_directory(&self, id: TransferId) {
        let Some(directory) = self.directories.get(id) else { return };
        let (id, name) = (id.0, &directory.name);
        match directory.stage() {
            Stage::Done(Summary { files, bytes_done: size, .. }) => {
                log::info!(id, name:%, files, size; "directory finished");
            }
            Stage::Failed { why } => {
                log::warn!(id, name:%, error:% = why; "directory failed");
            }
            Stage::Waiting { why, .. } => {
                log::warn!(id, name:%, error:% = why; "directory waits");
            }
            _ => {}
        }
    }

    pub(super) fn tell_directory(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.notified = Some((cx.now, directory.state()));
        let (now, cap) = (cx.now, self.downloads.rate_cap(cx));
        let Some(directory) = self.directories.get(id) else { return };
        cx.notify(Topic::Download(id), || Notice::Download {
            download: self.row_of_directory(id, directory, now, cap),
        });
    }

    /// A member made progress: at most a few times a second, and whenever the state is another.
    pub(in crate::node::download) fn tell_directory_progress(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get(id).filter(|row| !row.is_over()) else { return };
        let state = directory.state();
        let is_due = directory
            .notified
            .is_none_or(|(at, told)| told != state || cx.now.saturating_since(at) >= PROGRESS_INTERVAL);
        if is_due {
            self.tell_directory(cx, id);
        }
    }
}

//! Recently changed files of the share: they may not be complete yet, and are not shared before they are *settled*.
//!
//! A scan reports them separately. Only they are examined again, until they have not been changed for some seconds: by the
//! clock of their filesystem, or, if that is another clock or runs ahead, by two results that are the same. A scan counts as
//! running until its files were examined once, so that a user who waits for it finds complete files shared. None of these
//! files is in the library.

use super::ShareMachine;
use super::scanning::ScanStage;
use crate::audience::Requester;
use crate::fault::DiskFault;
use crate::library::{FileMeta, RecentFile};
use crate::name::FileName;
use crate::node::contract::{Action, LookedAt};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{
    LOOK_FILES_MAX, LOOK_WAIT, LOOK_WAIT_MAX, PENDING_COUNT_MAX, RESCAN_SOON, REST, REST_AFTER_CHANGE,
    UNSETTLED_FILES_MAX,
};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

#[derive(Debug)]
struct Unsettled {
    /// The last metadata; `None` for a shared file that was found to be changed, until it is examined.
    meta: Option<FileMeta>,
    /// Since when it has this metadata.
    since: Instant,
    /// It has changed meanwhile: it is being written, possibly with pauses.
    changes: bool,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// The timer starts the next round.
    Waiting(TimerId),
    /// A round is in progress. `last`: the last name of the ordered batch.
    Looking {
        began: Instant,
        last: FileName,
        /// What is found may be in a directory that is not shared any more.
        is_stale: bool,
    },
}

#[derive(Debug, Default)]
pub(in crate::node) struct Settling {
    files: BTreeMap<FileName, Unsettled>,
    stage: Stage,
    wait: Duration,
    /// Files of the last scan beyond [`UNSETTLED_FILES_MAX`].
    left_out: u64,
    settled: u64,
}

impl Settling {
    pub(super) fn count(&self) -> u64 {
        self.files.len() as u64 + self.left_out
    }

    pub(super) fn holds(&self, name: &FileName) -> bool {
        self.files.contains_key(name)
    }

    /// Those after `after`, by name, with their sizes.
    pub(in crate::node) fn after(&self, after: Option<&FileName>) -> impl Iterator<Item = (&FileName, Option<u64>)> {
        self.range(after).map(|(name, file)| (name, file.meta.map(|meta| meta.size)))
    }

    /// Those after a name, which may be any bytes.
    pub(super) fn names_after(&self, after: &[u8]) -> impl Iterator<Item = &FileName> {
        self.files.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded)).map(|(name, _)| name)
    }

    /// How many of them have names that begin so, counted up to [`PENDING_COUNT_MAX`].
    pub(super) fn count_beneath(&self, prefix: &[u8]) -> u64 {
        let beneath = self.names_after(prefix).take_while(|name| name.as_bytes().starts_with(prefix));
        beneath.take(PENDING_COUNT_MAX).count() as u64
    }

    /// Those of which no name is remembered.
    pub(super) fn beyond(&self) -> u64 {
        self.left_out
    }

    /// A scan found a file unchanged for long.
    pub(super) fn note_settled(&mut self, name: &FileName) {
        if !self.files.is_empty() {
            self.files.remove(name);
        }
    }

    pub(super) fn begin_scan(&mut self) {
        self.left_out = 0;
    }

    /// Other files than before may have these names.
    pub(super) fn forget(&mut self, is_replaced: impl Fn(&[u8]) -> bool) {
        self.files.retain(|name, _| !is_replaced(name.as_bytes()));
        if let Stage::Looking { is_stale, .. } = &mut self.stage {
            *is_stale = true;
        }
    }

    /// The wait before the next scan: shorter than usual if the last one found too many unsettled files.
    pub(super) fn scan_wait(&self, usual: Duration) -> Duration {
        if self.left_out > 0 { usual.min(RESCAN_SOON) } else { usual }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.files.len() <= UNSETTLED_FILES_MAX, "the files not at rest are bounded");
    }

    fn range(&self, after: Option<&FileName>) -> impl Iterator<Item = (&FileName, &Unsettled)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.files.range::<FileName, _>((from, Bound::Unbounded))
    }

    /// Adds a file that is not settled, if there is room.
    fn add(&mut self, now: Instant, name: &FileName, meta: Option<FileMeta>) -> bool {
        let has_room = self.files.len() < UNSETTLED_FILES_MAX;
        if has_room {
            self.wait = LOOK_WAIT;
            self.files.insert(name.clone(), Unsettled { meta, since: now, changes: false });
        }
        has_room
    }

    /// Returns whether a file is settled that has not been changed for `quiet`, and adds it if not.
    fn settles(&mut self, now: Instant, RecentFile { file, quiet }: &RecentFile) -> bool {
        let Some(known) = self.files.get_mut(&file.name) else {
            if *quiet >= REST {
                return true;
            }
            if !self.add(now, &file.name, Some(file.meta)) {
                self.left_out += 1;
            }
            return false;
        };
        if known.meta != Some(file.meta) {
            *known = Unsettled { meta: Some(file.meta), since: now, changes: known.meta.is_some() };
        }
        let rest = if known.changes { REST_AFTER_CHANGE } else { REST };
        let settles = now.saturating_since(known.since).max(*quiet) >= rest;
        if settles {
            self.files.remove(&file.name);
        }
        settles
    }
}

impl ShareMachine {
    /// A shared file was found to be changed when it was sent: it is shared again when it is settled.
    pub(in crate::node) fn on_shared_file_changed(&mut self, cx: &mut Cx, name: &FileName) {
        if self.library.remove(name.as_bytes()) {
            self.look_soon(cx, name);
        }
    }

    /// A download has saved a file in the share: it is shared when it is settled, before the next scan.
    pub(in crate::node) fn on_file_saved(&mut self, cx: &mut Cx, name: &FileName) {
        let is_known =
            self.settling.holds(name) || self.library.seen_by(Requester::Owner).get(name.as_bytes()).is_some();
        if !name.is_hidden() && !is_known {
            self.look_soon(cx, name);
        }
    }

    /// Has a file examined that is not settled. One for which there is no room is left to the next scan.
    fn look_soon(&mut self, cx: &mut Cx, name: &FileName) {
        if self.settling.add(cx.now, name, None) && matches!(self.settling.stage, Stage::Idle) {
            self.wait_to_look(cx, LOOK_WAIT);
        }
    }

    /// The running scan found recently changed files.
    pub(in crate::node) fn on_recent_files(&mut self, cx: &Cx, files: Vec<RecentFile>) {
        let ScanStage::Running(running) = &mut self.scan else { return };
        running.files += files.len() as u64;
        for file in files {
            self.share_if_settled(cx, file);
        }
    }

    /// Shares a file if it is settled, and removes it from the library if not.
    fn share_if_settled(&mut self, cx: &Cx, recent: RecentFile) {
        let name = recent.file.name.as_bytes();
        // An unchanged shared file was settled before.
        let is_shared =
            self.library.seen_by(Requester::Owner).get(name).is_some_and(|shared| shared.meta == recent.file.meta);
        if is_shared || self.settling.settles(cx.now, &recent) {
            self.settling.settled += u64::from(!is_shared);
            self.library.apply(recent.file);
        } else {
            self.library.remove(name);
        }
    }

    /// After a scan: whether its end waits for a round over unsettled files.
    pub(super) fn settle_after_scan(&mut self, cx: &mut Cx) -> bool {
        if self.settling.files.is_empty() {
            return false;
        }
        if !matches!(self.settling.stage, Stage::Looking { .. }) {
            self.wait_to_look(cx, LOOK_WAIT);
        }
        true
    }

    pub(super) fn wait_to_look(&mut self, cx: &mut Cx, wait: Duration) {
        if let Stage::Waiting(timer) = std::mem::take(&mut self.settling.stage) {
            cx.wheel.cancel(timer);
        }
        self.settling.stage = Stage::Waiting(cx.wheel.insert(cx.now + wait, NodeTimer::LookAtRecent));
    }

    pub(in crate::node) fn look_at_recent(&mut self, cx: &mut Cx) {
        self.settling.stage = Stage::Idle;
        self.settling.settled = 0;
        self.look_at_next_batch(cx, cx.now, None);
    }

    fn look_at_next_batch(&mut self, cx: &mut Cx, began: Instant, after: Option<FileName>) {
        let batch = self.settling.range(after.as_ref()).take(LOOK_FILES_MAX);
        let names: Vec<FileName> = batch.map(|(name, _)| name.clone()).collect();
        match names.last() {
            Some(last) => {
                self.settling.stage = Stage::Looking { began, last: last.clone(), is_stale: false };
                cx.out.act(Action::LookAt { names });
            }
            None => self.end_round(cx, began),
        }
    }

    pub(in crate::node) fn on_looked_at(&mut self, cx: &mut Cx, files: Vec<LookedAt>) {
        let Stage::Looking { began, last, is_stale } = std::mem::take(&mut self.settling.stage) else { return };
        let files = files.into_iter().filter(|_| !is_stale);
        for LookedAt { name, found } in files {
            match found {
                // A scan may have settled it meanwhile.
                Ok(recent) if self.settling.files.contains_key(&name) => self.share_if_settled(cx, recent),
                Err(DiskFault::Missing | DiskFault::NotRegular) => drop(self.settling.files.remove(&name)),
                // Unknown, or an error that shows nothing.
                Ok(_) | Err(_) => {}
            }
        }
        self.look_at_next_batch(cx, began, Some(last));
    }

    fn end_round(&mut self, cx: &mut Cx, began: Instant) {
        if self.settling.settled > 0 {
            self.hash_new();
        }
        let wait = self.settling.wait;
        self.settling.wait = (wait * 2).min(LOOK_WAIT_MAX);
        if !self.settling.files.is_empty() {
            self.wait_to_look(cx, wait.max(LOOK_WAIT));
        }
        self.settled_after_scan(cx, began);
    }
}

//! Files of the share that were changed a short time ago: they may be written to still, so that they are not shared
//! before they are at rest.
//!
//! A scan tells of them apart from the others. They are looked at again, they alone, until they have not been changed for
//! some seconds: by the clock of their filesystem, or, where that one is not ours or runs ahead, by two looks that
//! find the same. A scan counts as running until its files were looked at once, so that whoever waits for it finds
//! shared what is complete. Refuses to share what it holds: the library has none of these files.

use super::ShareMachine;
use super::scanning::ScanStage;
use crate::fault::DiskFault;
use crate::library::{FileMeta, RecentFile};
use crate::name::FileName;
use crate::node::contract::{Action, LookedAt};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{
    LOOK_FILES_MAX, LOOK_WAIT, LOOK_WAIT_MAX, RESCAN_SOON, REST, REST_AFTER_CHANGE, UNSETTLED_FILES_MAX,
};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// What is known of a file that is not at rest.
#[derive(Debug)]
struct Unsettled {
    /// What was found last; `None` before the first look at a file that was found to be another than it was.
    meta: Option<FileMeta>,
    /// Since when it was found so.
    since: Instant,
    /// It was seen to change: somebody writes to it, and may stop for a while before going on.
    changes: bool,
}

/// Where the looking stands.
#[derive(Debug, Default)]
enum Stage {
    /// No file waits.
    #[default]
    Idle,
    /// The next round starts by the timer.
    Waiting(TimerId),
    /// A round is under way: a batch of names is out, of which this is the last.
    Looking { began: Instant, last: FileName },
}

/// The files that are not at rest.
#[derive(Debug, Default)]
pub(in crate::node) struct Settling {
    files: BTreeMap<FileName, Unsettled>,
    stage: Stage,
    /// Between rounds.
    wait: Duration,
    /// Files of the last scan beyond [`UNSETTLED_FILES_MAX`].
    left_out: u64,
    /// Files that came to rest in the round under way.
    settled: u64,
}

impl Settling {
    /// Files that are not shared because they may be written to still.
    pub(super) fn count(&self) -> u64 {
        self.files.len() as u64 + self.left_out
    }

    /// Whether a file is known not to be at rest.
    pub(super) fn holds(&self, name: &FileName) -> bool {
        self.files.contains_key(name)
    }

    /// Up to `rows_max` of them in order of name, with their sizes.
    pub(in crate::node) fn after(
        &self,
        after: Option<&FileName>,
        rows_max: usize,
    ) -> impl Iterator<Item = (&FileName, Option<u64>)> {
        self.range(after).take(rows_max).map(|(name, file)| (name, file.meta.map(|meta| meta.size)))
    }

    /// A scan found that a file has not been changed in a long time.
    pub(super) fn is_at_rest(&mut self, name: &FileName) {
        if !self.files.is_empty() {
            self.files.remove(name);
        }
    }

    /// A scan begins.
    pub(super) fn begin_scan(&mut self) {
        self.left_out = 0;
    }

    /// How long the node waits for the next scan: not as long as usual, if the last one found more than can be held.
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

    /// Remembers a file that is not at rest, if there is room.
    fn remember(&mut self, now: Instant, name: &FileName, meta: Option<FileMeta>) -> bool {
        let has_room = self.files.len() < UNSETTLED_FILES_MAX;
        if has_room {
            self.wait = LOOK_WAIT;
            self.files.insert(name.clone(), Unsettled { meta, since: now, changes: false });
        }
        has_room
    }

    /// Decides whether a file is at rest that has not been changed for `quiet`, and remembers it if not.
    fn settles(&mut self, now: Instant, RecentFile { file, quiet }: &RecentFile) -> bool {
        let Some(known) = self.files.get_mut(&file.name) else {
            if *quiet >= REST {
                return true;
            }
            if !self.remember(now, &file.name, Some(file.meta)) {
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
    /// A file turned out to be another than the one that is shared, when a peer asked for it: it is shared again when it
    /// is at rest.
    pub(in crate::node) fn on_shared_file_changed(&mut self, cx: &mut Cx, name: &FileName) {
        let remembered = self.library.remove(name.as_bytes()) && self.settling.remember(cx.now, name, None);
        if remembered && matches!(self.settling.stage, Stage::Idle) {
            self.wait_to_look(cx, LOOK_WAIT);
        }
    }

    /// The running scan found files that were changed a short time ago.
    pub(in crate::node) fn on_recent_files(&mut self, cx: &Cx, files: Vec<RecentFile>) {
        let ScanStage::Running(running) = &mut self.scan else { return };
        running.count(files.len());
        for file in files {
            self.weigh(cx, file);
        }
    }

    /// Shares a file that is at rest, and shares no longer one that is not, or that is not what was shared.
    fn weigh(&mut self, cx: &Cx, recent: RecentFile) {
        let name = recent.file.name.as_bytes();
        // What is shared already was at rest, or its content is known.
        let is_shared = self.library.get(name).is_some_and(|shared| shared.meta == recent.file.meta);
        if is_shared || self.settling.settles(cx.now, &recent) {
            self.settling.settled += u64::from(!is_shared);
            self.library.apply(recent.file);
        } else {
            self.library.remove(name);
        }
    }

    /// A scan is through: whether its end waits for a round that begins when what was just changed can be at rest.
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

    /// A round begins.
    pub(in crate::node) fn look_at_recent(&mut self, cx: &mut Cx) {
        self.settling.stage = Stage::Idle;
        self.settling.settled = 0;
        self.look_on(cx, cx.now, None);
    }

    /// Orders the next batch, or ends the round.
    fn look_on(&mut self, cx: &mut Cx, began: Instant, after: Option<FileName>) {
        let batch = self.settling.range(after.as_ref()).take(LOOK_FILES_MAX);
        let names: Vec<FileName> = batch.map(|(name, _)| name.clone()).collect();
        match names.last() {
            Some(last) => {
                self.settling.stage = Stage::Looking { began, last: last.clone() };
                cx.out.act(Action::LookAt { names });
            }
            None => self.end_round(cx, began),
        }
    }

    /// What stands where some of the files were.
    pub(in crate::node) fn on_looked_at(&mut self, cx: &mut Cx, files: Vec<LookedAt>) {
        let Stage::Looking { began, last } = std::mem::take(&mut self.settling.stage) else { return };
        for LookedAt { name, found } in files {
            match found {
                // A scan may have passed it by meanwhile.
                Ok(recent) if self.settling.files.contains_key(&name) => self.weigh(cx, recent),
                Err(DiskFault::Missing | DiskFault::NotRegular) => drop(self.settling.files.remove(&name)),
                // That it cannot be seen now says nothing of it.
                Ok(_) | Err(_) => {}
            }
        }
        self.look_on(cx, began, Some(last));
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

//! The records of downloads and wishes, in a log in the state directory.
//!
//! A job writes and syncs all changes that were made since the last one, and the node is notified. A failed write is retried
//! with increasing delays until it succeeds or a later change replaces it.

use super::job::{Done, Key, Lane, RecordsWritten};
use super::jobs::Jobs;
use super::record_form::{EVENTS_FROM, Recalled, decode, encode, encode_events, encode_events_from};
use super::state_files::{RETRY_MIN, back_off};
use super::wish_form::encode_wish;
use crate::control::EventRow;
use crate::driver::cx::{Cx, Phase};
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::node::contract::{DownloadRecord, PartSpec, RecordKind, RecordState, Target, WishRecord};
use crate::node::{Event, Remembered};
use crate::store::{RECORDS_FILE, RecordLog, StateDirectory};
use crate::time::Instant;
use log::{info, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long changes wait for others of which nobody waits for one: they are synced together.
const TOGETHER_WAIT: Duration = Duration::from_millis(50);

/// The new record of a download, or none.
type Changes = BTreeMap<TransferId, Option<Vec<u8>>>;

/// The log, and the changes that the node waits for.
#[derive(Default)]
pub(crate) struct Records {
    /// Some are of another version: left out, and kept.
    has_unread: bool,
    /// `None` without a state directory. Workers alone lock it.
    log: Option<Arc<Mutex<RecordLog>>>,
    /// The tokens of all recorded downloads, and the directories of their part files.
    part_files: BTreeMap<TransferId, (u32, Vec<PathBuf>)>,
    /// The events of downloads. They stay when all else of a download is forgotten.
    events: BTreeMap<TransferId, Events>,
    /// Downloads whose last change may not be on the disk.
    pending: BTreeMap<TransferId, Pending>,
    /// Changes that no job has yet.
    changes: Changes,
    /// When they are to be written.
    due: Option<Instant>,
    /// The changes that the running job writes.
    running: Option<Arc<Changes>>,
    /// Changes of a job that panicked: it is unknown what was written. The next job writes them again.
    lost: Changes,
    /// Attempts in a row that failed.
    failures: u32,
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Events {
    kept: Vec<Rc<EventRow>>,
    /// The record has nothing else.
    alone: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    /// For the report.
    revision: u64,
    /// The node was notified that it could not be written.
    fault_reported: bool,
}

/// The token of a part file, and the directories that may contain it.
fn part_file(spec: &PartSpec) -> (u32, Vec<PathBuf>) {
    let directories = match &spec.target {
        Target::Suggested { directory, .. } => vec![directory.clone()],
        Target::Within { .. } => spec.target.path().parent().map(Path::to_owned).into_iter().collect(),
        Target::Exact { path, .. } => path.ancestors().take(2).map(Path::to_owned).collect(),
    };
    (spec.token, directories)
}

impl Records {
    /// Whether there are records of another version, which a later start may read.
    pub(super) fn has_unread(&self) -> bool {
        self.has_unread
    }

    pub(crate) fn part_files(&self) -> (BTreeSet<u32>, BTreeSet<PathBuf>) {
        let directories = self.part_files.values().flat_map(|(_, directories)| directories.iter().cloned());
        (self.part_files.values().map(|(token, _)| *token).collect(), directories.collect())
    }

    pub(super) fn remember(&mut self, record: &DownloadRecord, revision: u64, cx: &mut Cx) {
        let is_new = self.part_files.insert(record.id, part_file(&record.spec)).is_none();
        let is_settled = match record.state {
            // A content that is known is known again when it is found under its name; else the record tells whose that file is.
            RecordState::Waiting => record.b3.is_some() && record.size.is_some(),
            RecordState::Done { .. } => true,
            _ => false,
        };
        let may_wait = !is_new && matches!(record.kind, RecordKind::Member { .. }) && is_settled;
        if !record.events.is_empty() {
            self.events.insert(record.id, Events { kept: record.events.clone(), alone: false });
        }
        let wait = if may_wait && cx.phase == Phase::Running { TOGETHER_WAIT } else { Duration::ZERO };
        self.change_within(wait, (record.id, Some(revision)), cx, || Some(encode(record)));
    }

    /// `record`: `None` if nothing is to be left of a wish but its events.
    pub(super) fn remember_wish(&mut self, wish: TransferId, record: Option<&WishRecord>, revision: u64, cx: &mut Cx) {
        if let Some(record) = record.filter(|record| !record.events.is_empty()) {
            self.events.insert(wish, Events { kept: record.events.clone(), alone: false });
        }
        let bytes = record.map(encode_wish).or_else(|| self.events_alone(wish));
        self.change(wish, Some(revision), cx, || bytes);
    }

    /// The record of something of which nothing but its events is left.
    fn events_alone(&mut self, id: TransferId) -> Option<Vec<u8>> {
        let events = self.events.get_mut(&id)?;
        events.alone = true;
        Some(encode_events(&events.kept))
    }

    pub(super) fn forget(&mut self, download: TransferId, cx: &mut Cx) {
        self.part_files.remove(&download);
        let record = self.events_alone(download);
        self.change(download, None, cx, || record);
    }

    /// Events of a download up to this id are not kept any more. A record that has others is left as it is: the next run knows by
    /// [`Records::keep_events_from`] which are forgotten.
    pub(super) fn forget_events(&mut self, download: TransferId, up_to: u64, cx: &mut Cx) {
        let Some(events) = self.events.get_mut(&download) else { return };
        events.kept.retain(|event| event.id > up_to);
        if !events.kept.is_empty() {
            return;
        }
        if self.events.remove(&download).is_some_and(|events| events.alone) {
            self.change(download, None, cx, || None);
        }
    }

    /// Events with smaller ids are forgotten. Written with, or before, what removes any of them.
    pub(super) fn keep_events_from(&mut self, first: u64, now: Instant) {
        if self.log.is_some() {
            self.changes.insert(EVENTS_FROM, Some(encode_events_from(first)));
            self.set_due(now);
        }
    }

    fn change(
        &mut self,
        download: TransferId,
        revision: Option<u64>,
        cx: &mut Cx,
        record: impl FnOnce() -> Option<Vec<u8>>,
    ) {
        self.change_within(Duration::ZERO, (download, revision), cx, record);
    }

    /// A change that may wait so long to be written.
    fn change_within(
        &mut self,
        wait: Duration,
        (download, revision): (TransferId, Option<u64>),
        cx: &mut Cx,
        record: impl FnOnce() -> Option<Vec<u8>>,
    ) {
        let pending = self.pending.entry(download).or_default();
        *pending = Pending { revision: revision.unwrap_or(pending.revision), fault_reported: false };
        match self.log {
            Some(_) => {
                self.changes.insert(download, record());
                self.set_due(cx.now + wait);
            }
            // Without a state directory nothing is recorded: the user wants it so.
            None => self.report(&BTreeSet::new(), cx),
        }
    }

    fn set_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Has all changes written as soon as a job can.
    pub(super) fn write_now(&mut self) {
        self.due = self.due.map(|_| Instant::default());
    }

    /// Whether there are changes that a job is to write now.
    pub(super) fn has_changes(&self, now: Instant) -> bool {
        self.next_deadline().is_some_and(|due| due <= now)
    }

    /// When a job is to write what has changed.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.running.is_none())
    }

    /// Whether a change of this download is still to be written for the first time.
    pub(super) fn is_unwritten(&self, download: TransferId) -> bool {
        self.changes.contains_key(&download)
            || self.running.as_ref().is_some_and(|running| running.contains_key(&download))
    }

    /// Writes the changes, and tries again those that could not be written.
    pub(super) fn maintain(&mut self, jobs: &mut Jobs) {
        let Some(log) = self.log.as_ref().filter(|_| self.running.is_none()) else { return };
        if self.changes.is_empty() && self.failures == 0 {
            return;
        }
        let mut changes = std::mem::take(&mut self.lost);
        changes.append(&mut self.changes);
        self.due = None;
        let changes = Arc::new(changes);
        self.running = Some(Arc::clone(&changes));
        let lost = RecordsWritten { outcome: Err(io::Error::other("the job was lost")), owed: None };
        let log = Arc::clone(log);
        jobs.submit((Lane::State, Key::Log), Done::RecordsWritten, lost, move || write(&log, &changes));
    }

    /// The result of the job. Returns the downloads whose changes it had.
    pub(super) fn on_written(&mut self, written: RecordsWritten, cx: &mut Cx) -> BTreeSet<TransferId> {
        let RecordsWritten { outcome, owed } = written;
        let written = self.running.take().unwrap_or_default();
        let owed = owed.unwrap_or_else(|| {
            self.lost = (*written).clone();
            self.pending.keys().map(|download| download.0).collect()
        });
        self.report(&owed, cx);
        match outcome {
            Err(error) => self.failed(&error, &owed, cx),
            Ok(()) => {
                self.retry_at = None;
                if std::mem::take(&mut self.failures) > 0 {
                    info!("the state file {RECORDS_FILE} is written again");
                }
            }
        }
        written.keys().copied().collect()
    }

    /// A write or sync failed: schedules a retry, and reports the changes that wait for it to the node.
    fn failed(&mut self, error: &io::Error, owed: &BTreeSet<u32>, cx: &mut Cx) {
        if self.failures == 0 {
            warn!(
                "cannot write the state file {RECORDS_FILE}; until that is repaired a restart may forget downloads: {error}"
            );
        }
        if self.retry_at.is_none() {
            self.retry_at = Some(cx.now + back_off(RETRY_MIN, self.failures));
            self.failures = self.failures.saturating_add(1);
        }
        let outcome = Err(record_fault(error));
        for (&download, pending) in &mut self.pending {
            if owed.contains(&download.0)
                && !self.changes.contains_key(&download)
                && !std::mem::replace(&mut pending.fault_reported, true)
            {
                cx.out.event(Event::Recorded { download, revision: pending.revision, outcome });
            }
        }
    }

    pub(super) fn retry(&mut self, jobs: &mut Jobs, cx: &Cx) {
        if self.retry_at.take_if(|at| *at <= cx.now).is_some() {
            self.maintain(jobs);
        }
    }

    /// Reports the changes that are on the disk now: all that no job is to write, but those that are owed.
    fn report(&mut self, owed: &BTreeSet<u32>, cx: &mut Cx) {
        let changes = &self.changes;
        self.pending.retain(|&download, &mut Pending { revision, .. }| {
            let is_durable = !owed.contains(&download.0) && !changes.contains_key(&download);
            cx.out.extend(is_durable.then_some(Event::Recorded { download, revision, outcome: Ok(()) }));
            !is_durable
        });
    }
}

/// Writes changes to the log and syncs it, and rewrites it if most of it is outdated. Waits for the disk.
fn write(log: &Mutex<RecordLog>, changes: &Changes) -> RecordsWritten {
    // After a job that panicked, too: each frame of the log has its own check.
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let mut outcome = Ok(());
    for (download, record) in changes {
        let changed = match record {
            Some(record) => log.put(download.0, record),
            None => log.remove(download.0),
        };
        outcome = outcome.and(changed);
    }
    outcome = outcome.and(log.write_owed());
    // Changes that could not be written do not keep the others from being synced. A new file is synced by another job.
    let synced = loop {
        match log.maintain() {
            Ok(None) => break Ok(()),
            Ok(Some(job)) => match job.run().and_then(|done| log.done(done)) {
                Ok(()) => {}
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error),
        }
    };
    RecordsWritten { outcome: outcome.and(synced), owed: Some(log.undurable()) }
}

/// Opens the log. Returns the downloads and events in it, and the highest id of a download ever used.
pub(crate) fn open(state: Option<&StateDirectory>) -> io::Result<(Records, Remembered)> {
    let Some(state) = state else { return Ok((Records::default(), Remembered::default())) };
    let (log, records) = RecordLog::open(state, RECORDS_FILE)?;
    if log.has_set_aside() {
        warn!("the state file {RECORDS_FILE} was damaged and is set aside; downloads and events in it are forgotten");
    }
    let (mut opened, mut remembered) = (Records::default(), Remembered::default());
    remembered.download_last = log.highest();
    for (id, bytes) in &records {
        match decode(*id, bytes) {
            Some(Recalled::Download(record)) => {
                opened.part_files.insert(record.id, part_file(&record.spec));
                if !record.events.is_empty() {
                    opened.events.insert(record.id, Events { kept: record.events.clone(), alone: false });
                }
                remembered.downloads.push(*record);
            }
            Some(Recalled::Wish(record)) => {
                if !record.events.is_empty() {
                    opened.events.insert(record.id, Events { kept: record.events.clone(), alone: false });
                }
                remembered.wishes.push(*record);
            }
            Some(Recalled::Events(kept)) => {
                remembered.events.push((TransferId(*id), kept.clone()));
                opened.events.insert(TransferId(*id), Events { kept, alone: true });
            }
            Some(Recalled::EventsFrom(first)) => remembered.events_from = first,
            None => {
                opened.has_unread = true;
                warn!(id; "a download or wish was remembered in a form that this version cannot read; it is left out")
            }
        }
    }
    opened.log = Some(Arc::new(Mutex::new(log)));
    Ok((opened, remembered))
}

fn record_fault(error: &io::Error) -> DiskFault {
    match error.kind() {
        io::ErrorKind::FileTooLarge if error.raw_os_error().is_none() => DiskFault::LogFull,
        _ => DiskFault::from(error),
    }
}

#[cfg(test)]
mod tests;

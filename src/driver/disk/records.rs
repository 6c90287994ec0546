//! The records of downloads, in a log in the state directory.
//!
//! A job syncs every change at once, and the node is notified. A failed write is retried with increasing delays until it
//! succeeds or a later change replaces it.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use super::record_form::{decode, encode};
use super::state_files::{RETRY_MIN, back_off};
use crate::driver::cx::Cx;
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::node::Event;
use crate::node::contract::{DownloadRecord, PartSpec, Target};
use crate::store::{LogDone, RECORDS_FILE, RecordLog, StateDirectory};
use crate::time::Instant;
use log::{info, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The log, and the changes that the node waits for.
#[derive(Default)]
pub(crate) struct Records {
    /// `None` without a state directory.
    log: Option<RecordLog>,
    /// The tokens of all recorded downloads, and the directories of their part files.
    part_files: BTreeMap<TransferId, (u32, Vec<PathBuf>)>,
    /// Downloads whose last change may not be on the disk.
    pending: BTreeMap<TransferId, Pending>,
    /// There are changes since the last [`Self::maintain`].
    pub(super) is_changed: bool,
    /// Attempts in a row that failed.
    failures: u32,
    pub(super) retry_at: Option<Instant>,
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
        Target::Exact { path, .. } => path.ancestors().take(2).map(Path::to_owned).collect(),
    };
    (spec.token, directories)
}

impl Records {
    pub(crate) fn part_files(&self) -> (BTreeSet<u32>, BTreeSet<PathBuf>) {
        let directories = self.part_files.values().flat_map(|(_, directories)| directories.iter().cloned());
        (self.part_files.values().map(|(token, _)| *token).collect(), directories.collect())
    }

    pub(super) fn remember(&mut self, record: &DownloadRecord, revision: u64, cx: &mut Cx) {
        self.part_files.insert(record.id, part_file(&record.spec));
        self.change(record.id, Some(revision), cx, |log| log.put(record.id.0, &encode(record)));
    }

    pub(super) fn forget(&mut self, download: TransferId, cx: &mut Cx) {
        self.part_files.remove(&download);
        self.change(download, None, cx, |log| log.remove(download.0));
    }

    fn change(
        &mut self,
        download: TransferId,
        revision: Option<u64>,
        cx: &mut Cx,
        change: impl FnOnce(&mut RecordLog) -> io::Result<()>,
    ) {
        let pending = self.pending.entry(download).or_default();
        *pending = Pending { revision: revision.unwrap_or(pending.revision), fault_reported: false };
        // Without a state directory nothing is recorded: the user wants it so.
        let Some(log) = &mut self.log else { return self.report(cx) };
        self.is_changed = true;
        if let Err(error) = change(log) {
            self.failed(&error, cx);
        }
    }

    /// Syncs the log, or rewrites it if most of it is outdated.
    pub(super) fn maintain(&mut self, jobs: &mut Jobs, cx: &mut Cx) {
        self.is_changed = false;
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.write_owed() {
            self.failed(&error, cx);
        }
        match self.log.as_mut().map_or(Ok(None), RecordLog::maintain) {
            Ok(None) => {}
            Ok(Some(job)) => {
                let lost = Err(io::Error::other("the job was lost"));
                jobs.submit((Lane::State, Key::Log), Done::LogMaintained, lost, || job.run());
            }
            Err(error) => self.failed(&error, cx),
        }
        self.report(cx);
    }

    pub(super) fn on_maintained(&mut self, outcome: io::Result<LogDone>, jobs: &mut Jobs, cx: &mut Cx) {
        let Some(log) = &mut self.log else { return };
        match outcome.and_then(|done| log.done(done)) {
            Ok(()) => {
                // Changes made meanwhile, or the name of a new file, may still have to be synced.
                self.maintain(jobs, cx);
                if self.failures > 0 && self.log.as_ref().is_some_and(|log| !log.has_changes()) {
                    info!("the state file {RECORDS_FILE} is written again");
                    self.failures = 0;
                }
            }
            Err(error) => self.failed(&error, cx),
        }
    }

    /// A write or sync failed: schedules a retry, and reports the changes that wait for it to the node.
    fn failed(&mut self, error: &io::Error, cx: &mut Cx) {
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
        let Some(log) = &self.log else { return };
        for (&download, pending) in &mut self.pending {
            if !log.is_durable(download.0) && !std::mem::replace(&mut pending.fault_reported, true) {
                cx.out.event(Event::Recorded { download, revision: pending.revision, outcome });
            }
        }
    }

    pub(super) fn retry(&mut self, jobs: &mut Jobs, cx: &mut Cx) {
        if self.retry_at.take_if(|at| *at <= cx.now).is_some() {
            self.maintain(jobs, cx);
        }
    }

    /// Reports the changes that are on the disk now.
    fn report(&mut self, cx: &mut Cx) {
        let log = self.log.as_ref();
        self.pending.retain(|&download, &mut Pending { revision, .. }| {
            let is_durable = log.is_none_or(|log| log.is_durable(download.0));
            cx.out.extend(is_durable.then_some(Event::Recorded { download, revision, outcome: Ok(()) }));
            !is_durable
        });
    }
}

/// Opens the log. Returns the downloads in it, and the highest id ever used.
pub(crate) fn open(state: Option<&StateDirectory>) -> io::Result<(Records, Vec<DownloadRecord>, u32)> {
    let Some(state) = state else { return Ok((Records::default(), Vec::new(), 0)) };
    let (log, records) = RecordLog::open(state, RECORDS_FILE)?;
    if log.has_set_aside() {
        warn!("the state file {RECORDS_FILE} was damaged and is set aside; downloads in it are forgotten");
    }
    let mut downloads = Vec::new();
    for (id, bytes) in &records {
        match decode(*id, bytes) {
            Some(record) => downloads.push(record),
            None => warn!("download {id} was remembered in a form that this version cannot read; it is left out"),
        }
    }
    let last = log.highest();
    let part_files = downloads.iter().map(|record| (record.id, part_file(&record.spec))).collect();
    Ok((Records { log: Some(log), part_files, ..Records::default() }, downloads, last))
}

fn record_fault(error: &io::Error) -> DiskFault {
    match error.kind() {
        io::ErrorKind::FileTooLarge if error.raw_os_error().is_none() => DiskFault::LogFull,
        _ => DiskFault::from(error),
    }
}

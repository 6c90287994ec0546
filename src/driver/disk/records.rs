//! The downloads to remember, in the form in which the state directory keeps them: one JSON object each in a log.
//!
//! Every change is brought to the disk at once, by a helper thread; the node is told when it is there. What cannot be
//! written is tried again, less and less often, until it is written or a later change takes its place.

use crate::control::{CallError, RawText};
use crate::driver::Driver;
use crate::driver::disk::jobs::Job;
use crate::driver::disk::state::back_off;
use crate::driver::net::timers::Timer;
use crate::fault::DiskFault;
use crate::id::{ContentHash, FilesystemId, TransferId};
use crate::name::FileName;
use crate::node::Event;
use crate::node::contract::{DownloadRecord, PartSpec, RecordState, SourceRecord, Target};
use crate::store::{LogDone, RECORD_BYTES_MAX, RECORDS_FILE, RecordLog, StateDirectory};
use log::{info, warn};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most sources that are taken from a record.
const SOURCES_MAX: usize = 64;

/// The log, and what the node has not been told of it.
#[derive(Default)]
pub(in crate::driver) struct Records {
    /// `None` without a state directory.
    log: Option<RecordLog>,
    /// Tokens of the downloads that are remembered, and the directories of their part files.
    part_files: BTreeMap<TransferId, (u32, Vec<PathBuf>)>,
    /// Downloads whose last change is not known to be on the disk.
    pending: BTreeMap<TransferId, Pending>,
    /// Something was changed since the log was last brought to the disk.
    is_changed: bool,
    /// Attempts in a row that failed.
    failures: u32,
    retry_armed: bool,
}

/// A change that is not known to be on the disk.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    /// For the report.
    revision: u64,
    /// The node was told that it could not be written.
    fault_told: bool,
}

/// A [`DownloadRecord`] as it is written.
#[derive(Serialize, Deserialize)]
struct Form {
    token: u32,
    name: RawText,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b3: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learnt_from: Option<SocketAddr>,
    /// It rests over a restart, because the user stopped it or because it has failed.
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    dropped: bool,
    /// Of one that has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<FailedForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<CallError>,
    #[serde(default)]
    bytes_done: u64,
    /// The directory of a suggested place, or the path of an exact one.
    place: RawText,
    exact: bool,
    /// The name at the place.
    as_name: RawText,
    /// Of the part file; earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem: Option<String>,
    sources: Vec<SourceForm>,
}

#[derive(Serialize, Deserialize)]
struct FailedForm {
    keeps_part: bool,
}

#[derive(Serialize, Deserialize)]
struct SourceForm {
    addr: SocketAddr,
    /// The newest name. Versions that know one name for a source read this one alone.
    name: RawText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    older_names: Vec<RawText>,
    p1: bool,
    /// A search has found it. Versions that do not tell it have taken all sources as chosen by the user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    found: bool,
}

/// Sources for which a record has no room are left out: a search finds them again.
fn encode(record: &DownloadRecord) -> Vec<u8> {
    let text = |name: &FileName| RawText::new(name.as_bytes());
    let path = |path: &Path| RawText::new(path.as_os_str().as_bytes());
    let (place, exact, as_name) = match &record.spec.target {
        Target::Suggested { directory, name } => (path(directory), false, text(name)),
        Target::Exact { path: at, name } => (path(at), true, text(name)),
    };
    let source = |source: &SourceRecord| {
        let (name, older) = source.names.split_first()?;
        let older_names = older.iter().map(text).collect();
        Some(SourceForm { addr: source.addr, name: text(name), older_names, p1: source.p1, found: !source.is_chosen })
    };
    let mut form = Form {
        token: record.spec.token,
        name: text(&record.name),
        size: record.size,
        b3: record.b3.map(|b3| b3.to_string()),
        learnt_from: record.learnt_from,
        paused: matches!(record.state, RecordState::Paused | RecordState::Failed { .. }),
        dropped: record.state == RecordState::Dropped,
        failed: match record.state {
            RecordState::Failed { keeps_part } => Some(FailedForm { keeps_part }),
            _ => None,
        },
        error: record.error.clone(),
        bytes_done: record.bytes_done,
        place,
        exact,
        as_name,
        filesystem: record.spec.filesystem.map(|id| id.to_string()),
        sources: record.sources.iter().filter_map(source).collect(),
    };
    loop {
        // Plain data of known shape always has a JSON form.
        let bytes = serde_json::to_vec(&form).unwrap_or_default();
        if bytes.len() <= RECORD_BYTES_MAX || form.sources.pop().is_none() {
            return bytes;
        }
    }
}

/// `None` for a record that this version cannot read.
fn decode(id: u32, bytes: &[u8]) -> Option<DownloadRecord> {
    let form: Form = serde_json::from_slice(bytes).ok()?;
    let name = |text: &RawText| FileName::from_bytes(text.as_bytes());
    let at = PathBuf::from(OsStr::from_bytes(form.place.as_bytes()));
    let as_name = name(&form.as_name)?;
    let target = match form.exact {
        true => Target::Exact { path: at, name: as_name },
        false => Target::Suggested { directory: at, name: as_name },
    };
    let source = |source: &SourceForm| {
        let names: Vec<_> = std::iter::once(&source.name).chain(&source.older_names).filter_map(name).collect();
        (!names.is_empty()).then_some(SourceRecord {
            addr: source.addr,
            names,
            p1: source.p1,
            is_chosen: !source.found,
        })
    };
    Some(DownloadRecord {
        id: TransferId(id),
        spec: PartSpec {
            target,
            token: form.token,
            filesystem: form.filesystem.as_deref().and_then(FilesystemId::parse),
        },
        name: name(&form.name)?,
        size: form.size,
        b3: match &form.b3 {
            Some(hex) => Some(ContentHash::from_hex(hex.as_bytes())?),
            None => None,
        },
        learnt_from: form.learnt_from,
        state: match form.failed {
            _ if form.dropped => RecordState::Dropped,
            Some(FailedForm { keeps_part }) => RecordState::Failed { keeps_part },
            None if form.paused => RecordState::Paused,
            None => RecordState::Waiting,
        },
        error: form.error,
        bytes_done: form.bytes_done,
        sources: form.sources.iter().filter_map(source).take(SOURCES_MAX).collect(),
    })
}

/// The token of a part file, and the directories that it may lie in.
fn part_file(spec: &PartSpec) -> (u32, Vec<PathBuf>) {
    let directories = match &spec.target {
        Target::Suggested { directory, .. } => vec![directory.clone()],
        Target::Exact { path, .. } => path.ancestors().take(2).map(Path::to_owned).collect(),
    };
    (spec.token, directories)
}

impl Records {
    /// The tokens of all downloads that are remembered, and the directories of their part files.
    pub(in crate::driver) fn part_files(&self) -> (BTreeSet<u32>, BTreeSet<PathBuf>) {
        let directories = self.part_files.values().flat_map(|(_, directories)| directories.iter().cloned());
        (self.part_files.values().map(|(token, _)| *token).collect(), directories.collect())
    }
}

/// Opens the log: the downloads in it, and the highest id that one has had.
pub(in crate::driver) fn open(state: Option<&StateDirectory>) -> io::Result<(Records, Vec<DownloadRecord>, u32)> {
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

impl Driver {
    /// Remembers a download.
    pub(in crate::driver) fn remember_download(&mut self, record: &DownloadRecord, revision: u64) {
        self.records.part_files.insert(record.id, part_file(&record.spec));
        self.change_records(record.id, Some(revision), |log| log.put(record.id.0, &encode(record)));
    }

    /// Remembers a download no more.
    pub(in crate::driver) fn forget_download(&mut self, download: TransferId) {
        self.records.part_files.remove(&download);
        self.change_records(download, None, |log| log.remove(download.0));
    }

    fn change_records(
        &mut self,
        download: TransferId,
        revision: Option<u64>,
        change: impl FnOnce(&mut RecordLog) -> io::Result<()>,
    ) {
        let pending = self.records.pending.entry(download).or_default();
        *pending = Pending { revision: revision.unwrap_or(pending.revision), fault_told: false };
        // Without a state directory nobody expects anything to be remembered.
        let Some(log) = &mut self.records.log else { return self.report_recorded() };
        self.records.is_changed = true;
        if let Err(error) = change(log) {
            self.records_failed(&error);
        }
    }

    /// Has the log brought to the disk, or written anew when most of it is outdated.
    pub(in crate::driver) fn maintain_records(&mut self) {
        self.records.is_changed = false;
        let Some(log) = &mut self.records.log else { return };
        if let Err(error) = log.write_owed() {
            self.records_failed(&error);
        }
        let Some(log) = &mut self.records.log else { return };
        if let Some(job) = log.maintain() {
            self.helpers.submit(Job::MaintainLog(job));
        }
        self.report_recorded();
    }

    /// A change is to be brought to the disk.
    pub(in crate::driver) fn has_changed_records(&self) -> bool {
        self.records.is_changed
    }

    /// The log is on the disk, or cannot be brought there.
    pub(in crate::driver) fn on_records_maintained(&mut self, outcome: io::Result<LogDone>) {
        let Some(log) = &mut self.records.log else { return };
        match outcome.and_then(|done| log.done(done)) {
            Ok(()) => {
                // What changed meanwhile, or a new file's name, may be left to sync.
                self.maintain_records();
                if self.records.failures > 0 && self.records.log.as_ref().is_some_and(|log| !log.has_changes()) {
                    info!("the state file {RECORDS_FILE} is written again");
                    self.records.failures = 0;
                }
            }
            Err(error) => self.records_failed(&error),
        }
    }

    /// Something could not be written or synced: it is tried again later, and the node is told what waits for it.
    fn records_failed(&mut self, error: &io::Error) {
        if self.records.failures == 0 {
            warn!(
                "cannot write the state file {RECORDS_FILE}; until that is mended a restart may forget downloads: {error}"
            );
        }
        if !self.records.retry_armed {
            let wait = back_off(self.records.failures);
            self.records.failures = self.records.failures.saturating_add(1);
            self.records.retry_armed = true;
            self.timers.insert(self.now + wait, Timer::Records);
        }
        let outcome = Err(record_fault(error));
        let Some(log) = &self.records.log else { return };
        for (&download, pending) in &mut self.records.pending {
            if !log.is_durable(download.0) && !std::mem::replace(&mut pending.fault_told, true) {
                self.inbox.push_back(Event::Recorded { download, revision: pending.revision, outcome });
            }
        }
    }

    /// Tries again what failed.
    pub(in crate::driver) fn retry_records(&mut self) {
        self.records.retry_armed = false;
        self.maintain_records();
    }

    /// Tells the node which changes are on the disk by now.
    fn report_recorded(&mut self) {
        let log = self.records.log.as_ref();
        let is_durable = |download: TransferId| log.is_none_or(|log| log.is_durable(download.0));
        let durable: Vec<TransferId> = self.records.pending.keys().copied().filter(|id| is_durable(*id)).collect();
        for download in durable {
            if let Some(Pending { revision, .. }) = self.records.pending.remove(&download) {
                self.inbox.push_back(Event::Recorded { download, revision, outcome: Ok(()) });
            }
        }
    }
}

/// Why a record could not be written.
fn record_fault(error: &io::Error) -> DiskFault {
    match error.kind() {
        io::ErrorKind::FileTooLarge if error.raw_os_error().is_none() => DiskFault::LogFull,
        _ => DiskFault::from(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> FileName {
        FileName::from_bytes(bytes).unwrap()
    }

    #[test]
    fn a_record_reads_back_as_it_was_whatever_its_bytes() {
        let suggested = Target::Suggested { directory: "/a b/ü".into(), name: name(b"x\xff:y") };
        let exact = Target::Exact { path: OsStr::from_bytes(b"/\xfe").into(), name: name(b"z") };
        let error = CallError::new(crate::control::ExitCode::NotFound, "refused");
        let states = [
            (RecordState::Waiting, None),
            (RecordState::Paused, None),
            (RecordState::Failed { keeps_part: true }, Some(error.clone())),
            (RecordState::Failed { keeps_part: false }, Some(error)),
            (RecordState::Dropped, None),
        ];
        for (target, b3) in [(suggested, Some(ContentHash([7; 32]))), (exact, None)] {
            let addr = "[2001:db8::1]:9".parse().unwrap();
            let source = |names, is_chosen| SourceRecord { addr, names, p1: true, is_chosen };
            let several = vec![name(b"c"), name(b"b\xff"), name(b"a")];
            let sources = vec![source(vec![name(b"d/\xc3")], true), source(several, false)];
            for (state, error) in states.clone() {
                let record = DownloadRecord {
                    id: TransferId(9),
                    spec: PartSpec {
                        target: target.clone(),
                        token: u32::MAX,
                        filesystem: b3.map(|_| FilesystemId { kind: u64::MAX, number: 7 }),
                    },
                    name: name(b"d/x\xff:y"),
                    size: b3.map(|_| u64::MAX),
                    b3,
                    learnt_from: b3.map(|_| addr),
                    state,
                    error,
                    bytes_done: u64::MAX,
                    sources: sources.clone(),
                };
                assert_eq!(decode(9, &encode(&record)), Some(record));
            }
        }
    }

    #[test]
    fn a_record_with_one_name_for_each_source_is_read() {
        let bytes = br#"{"token":1,"name":"a","paused":false,"dropped":false,"place":"/","exact":false,"as_name":"a",
            "sources":[{"addr":"10.0.0.1:9","name":"d/a","p1":true}]}"#;
        let addr = "10.0.0.1:9".parse().unwrap();
        let record = decode(1, bytes).unwrap();
        assert_eq!(record.sources, [SourceRecord { addr, names: vec![name(b"d/a")], p1: true, is_chosen: true }]);
        assert_eq!(record.learnt_from, None);
    }

    #[test]
    fn a_record_of_before_reads_as_what_it_said() {
        for (told, state) in [
            ("", RecordState::Waiting),
            (r#""paused":true,"#, RecordState::Paused),
            (r#""paused":false,"dropped":true,"#, RecordState::Dropped),
        ] {
            let text = format!(
                r#"{{"token":7,"name":"d/a","size":5,{told}"place":"/d","exact":false,"as_name":"a","sources":[]}}"#
            );
            let record = decode(1, text.as_bytes()).unwrap();
            assert_eq!((record.state, record.error, record.bytes_done, record.size), (state, None, 0, Some(5)));
        }
    }

    #[test]
    fn a_record_with_too_many_long_names_keeps_as_many_sources_as_it_can() {
        let long = name(&[0xff; 3_800]);
        let source = |n| SourceRecord {
            addr: SocketAddr::from(([10, 0, 0, n], 9)),
            names: vec![long.clone()],
            p1: true,
            is_chosen: true,
        };
        let record = DownloadRecord {
            id: TransferId(1),
            spec: PartSpec {
                target: Target::Exact { path: "/a".into(), name: name(b"a") },
                token: 1,
                filesystem: None,
            },
            name: long.clone(),
            size: None,
            b3: None,
            learnt_from: None,
            state: RecordState::Waiting,
            error: None,
            bytes_done: 0,
            sources: (0..64).map(source).collect(),
        };
        let bytes = encode(&record);
        let kept = decode(1, &bytes).unwrap().sources;
        assert!(bytes.len() <= RECORD_BYTES_MAX && !kept.is_empty() && record.sources.starts_with(&kept));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for bytes in [
            &b""[..],
            b"{}",
            b"[1]",
            b"\xff",
            br#"{"token":1,"name":"","place":"/","exact":false,"as_name":"a","sources":[]}"#,
        ] {
            assert_eq!(decode(1, bytes), None);
        }
    }
}

//! The downloads to remember, in the form in which the state directory keeps them: one JSON object each in a log that
//! holds a record the moment it is accepted.

use super::Driver;
use super::helper::Job;
use crate::control::RawText;
use crate::id::{ContentHash, FilesystemId, TransferId};
use crate::name::FileName;
use crate::node::contract::{DownloadRecord, PartSpec, SourceRecord, Target};
use crate::store::{LogDone, RecordLog, StateDirectory};
use log::warn;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The log's file in the state directory.
const DOWNLOADS_FILE: &str = "downloads";

/// Most sources that are taken from a record.
const SOURCES_MAX: usize = 64;

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
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    dropped: bool,
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
struct SourceForm {
    addr: SocketAddr,
    /// The newest name. Versions that know one name for a source read this one alone.
    name: RawText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    older_names: Vec<RawText>,
    p1: bool,
}

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
        Some(SourceForm { addr: source.addr, name: text(name), older_names, p1: source.p1 })
    };
    let form = Form {
        token: record.spec.token,
        name: text(&record.name),
        size: record.size,
        b3: record.b3.map(|b3| b3.to_string()),
        learnt_from: record.learnt_from,
        paused: record.paused,
        dropped: record.dropped,
        place,
        exact,
        as_name,
        filesystem: record.spec.filesystem.map(|id| id.to_string()),
        sources: record.sources.iter().filter_map(source).collect(),
    };
    // Plain data of known shape always has a JSON form.
    serde_json::to_vec(&form).unwrap_or_default()
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
        (!names.is_empty()).then_some(SourceRecord { addr: source.addr, names, p1: source.p1 })
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
        paused: form.paused,
        dropped: form.dropped,
        sources: form.sources.iter().filter_map(source).take(SOURCES_MAX).collect(),
    })
}

/// Opens the log: the downloads in it, and the highest id that one has had.
pub(super) fn open(state: Option<&StateDirectory>) -> io::Result<(Option<RecordLog>, Vec<DownloadRecord>, u32)> {
    let Some(state) = state else { return Ok((None, Vec::new(), 0)) };
    let (log, records) = RecordLog::open(state, DOWNLOADS_FILE)?;
    if log.has_set_aside() {
        warn!("the state file {DOWNLOADS_FILE} was damaged and is set aside; downloads in it are forgotten");
    }
    let mut downloads = Vec::new();
    for (id, bytes) in &records {
        match decode(*id, bytes) {
            Some(record) => downloads.push(record),
            None => warn!("download {id} was remembered in a form that this version cannot read; it is left out"),
        }
    }
    let last = log.highest();
    Ok((Some(log), downloads, last))
}

impl Driver {
    /// Remembers a download.
    pub(super) fn remember_download(&mut self, record: &DownloadRecord) {
        let put = |log: &mut RecordLog| log.put(record.id.0, &encode(record));
        self.change_records(put);
    }

    /// Remembers a download no more.
    pub(super) fn forget_download(&mut self, download: TransferId) {
        self.change_records(|log| log.remove(download.0));
    }

    fn change_records(&mut self, change: impl FnOnce(&mut RecordLog) -> io::Result<()>) {
        let Some(log) = &mut self.records else { return };
        if let Err(error) = change(log) {
            warn!("cannot write the state file {DOWNLOADS_FILE}; a restart may forget downloads: {error}");
        }
        self.arm_sync();
    }

    /// Has the log synced, or written anew when most of it is outdated.
    pub(super) fn maintain_records(&mut self) {
        if let Some(job) = self.records.as_mut().and_then(RecordLog::maintain) {
            self.helpers.submit(Job::MaintainLog(job));
        }
    }

    /// The log is synced, or cannot be.
    pub(super) fn on_records_maintained(&mut self, outcome: io::Result<LogDone>) {
        match (outcome, &mut self.records) {
            (Ok(done), Some(log)) => {
                log.done(done);
                // What changed meanwhile, or a new file's name, may be left to sync.
                self.arm_sync();
            }
            (Err(error), _) => warn!("cannot sync the state file {DOWNLOADS_FILE}: {error}"),
            (Ok(_), None) => {}
        }
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
        for (target, b3) in [(suggested, Some(ContentHash([7; 32]))), (exact, None)] {
            let addr = "[2001:db8::1]:9".parse().unwrap();
            let source = |names| SourceRecord { addr, names, p1: true };
            let sources = vec![source(vec![name(b"d/\xc3")]), source(vec![name(b"c"), name(b"b\xff"), name(b"a")])];
            let record = DownloadRecord {
                id: TransferId(9),
                spec: PartSpec {
                    target,
                    token: u32::MAX,
                    filesystem: b3.map(|_| FilesystemId { kind: u64::MAX, number: 7 }),
                },
                name: name(b"d/x\xff:y"),
                size: b3.map(|_| u64::MAX),
                b3,
                learnt_from: b3.map(|_| addr),
                paused: b3.is_some(),
                dropped: b3.is_none(),
                sources,
            };
            assert_eq!(decode(9, &encode(&record)), Some(record));
        }
    }

    #[test]
    fn a_record_with_one_name_for_each_source_is_read() {
        let bytes = br#"{"token":1,"name":"a","paused":false,"dropped":false,"place":"/","exact":false,"as_name":"a",
            "sources":[{"addr":"10.0.0.1:9","name":"d/a","p1":true}]}"#;
        let addr = "10.0.0.1:9".parse().unwrap();
        let record = decode(1, bytes).unwrap();
        assert_eq!(record.sources, [SourceRecord { addr, names: vec![name(b"d/a")], p1: true }]);
        assert_eq!(record.learnt_from, None);
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

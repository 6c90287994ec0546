//! The saved form of a download: one JSON object.

use super::event_form::{event_values, read_events};
use super::wish_form::decode_wish;
use crate::control::{CallError, EventRow, RawText};
use crate::id::{ContentHash, FilesystemId, TransferId};
use crate::name::FileName;
use crate::node::contract::{DownloadRecord, PartSpec, RecordKind, RecordState, SourceRecord, Target, WishRecord};
use crate::store::RECORD_BYTES_MAX;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Sources read from a record; further ones are ignored.
const SOURCES_MAX: usize = 64;

/// The JSON form of a [`DownloadRecord`].
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
    /// It stays stopped after a restart: the user paused it, or it has failed.
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    dropped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<FailedForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<CallError>,
    #[serde(default)]
    bytes_done: u64,
    /// Its place in the order of turns, if that is not its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn: Option<i64>,
    /// The directory of a suggested place, or the path of an exact one.
    place: RawText,
    exact: bool,
    /// The name of the file there.
    as_name: RawText,
    /// `as_name` is a path beneath the directory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    within: bool,
    /// Of a file within a directory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<DirectoryForm>,
    /// Of a file of a directory: the id of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_of: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<DoneForm>,
    /// Of the part file; earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem: Option<String>,
    sources: Vec<SourceForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value>,
}

/// The record of a download of which only the events are left.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsForm {
    events: Vec<Value>,
}

/// The record that says which events are forgotten, though records of downloads and wishes have them. It has the key 0, which none
/// of these has, and is written before them.
pub(super) const EVENTS_FROM: TransferId = TransferId(0);

#[derive(Serialize, Deserialize)]
struct EventsFromForm {
    events_from: u64,
}

/// What a record is read as.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recalled {
    Download(Box<DownloadRecord>),
    Wish(Box<WishRecord>),
    Events(Vec<Rc<EventRow>>),
    /// Events with smaller ids are forgotten.
    EventsFrom(u64),
}

#[derive(Serialize, Deserialize)]
struct FailedForm {
    keeps_part: bool,
}

#[derive(Serialize, Deserialize)]
struct DoneForm {
    verified: bool,
}

#[derive(Serialize, Deserialize)]
struct DirectoryForm {
    /// Missing until all its files have records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    /// The manifest is that of the state directory. Earlier versions did not write this: it was so without any source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<bool>,
    /// Files that the peer did not share yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pending: u64,
}

#[derive(Serialize, Deserialize)]
struct SourceForm {
    addr: SocketAddr,
    /// The newest name. Earlier versions read only this one.
    name: RawText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    older_names: Vec<RawText>,
    p1: bool,
    /// A search has found it. Earlier versions did not write this: all their sources count as chosen by the user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    found: bool,
}

/// Omits sources that do not fit into a record: a search finds them again.
pub(super) fn encode(record: &DownloadRecord) -> Vec<u8> {
    let text = |name: &FileName| RawText::new(name.as_bytes());
    let path = |path: &Path| RawText::new(path.as_os_str().as_bytes());
    let (place, exact, as_name) = match &record.spec.target {
        Target::Suggested { directory, name } => (path(directory), false, text(name)),
        Target::Exact { path: at, name } => (path(at), true, text(name)),
        Target::Within { directory, path: name, .. } => (path(directory), false, text(name)),
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
        turn: (record.place != i64::from(record.id.0)).then_some(record.place),
        place,
        exact,
        as_name,
        within: matches!(record.spec.target, Target::Within { .. }),
        executable: matches!(record.spec.target, Target::Within { executable: true, .. }),
        directory: match record.kind {
            RecordKind::Directory { files, is_given, pending } => {
                Some(DirectoryForm { files, given: Some(is_given), pending })
            }
            RecordKind::File | RecordKind::Member { .. } => None,
        },
        member_of: match record.kind {
            RecordKind::Member { of } => Some(of.0),
            RecordKind::File | RecordKind::Directory { .. } => None,
        },
        done: match record.state {
            RecordState::Done { verified } => Some(DoneForm { verified }),
            _ => None,
        },
        filesystem: record.spec.filesystem.map(|id| id.to_string()),
        sources: record.sources.iter().filter_map(source).collect(),
        events: event_values(&record.events),
    };
    loop {
        // Plain data of known shape always has a JSON form.
        let bytes = serde_json::to_vec(&form).unwrap_or_default();
        if bytes.len() <= RECORD_BYTES_MAX || form.sources.pop().is_none() {
            return bytes;
        }
    }
}

/// The record of a download of which only these are left.
pub(super) fn encode_events(events: &[Rc<EventRow>]) -> Vec<u8> {
    serde_json::to_vec(&EventsForm { events: event_values(events) }).unwrap_or_default()
}

pub(super) fn encode_events_from(events_from: u64) -> Vec<u8> {
    serde_json::to_vec(&EventsFromForm { events_from }).unwrap_or_default()
}

/// `None` for a record that this version cannot read.
pub(super) fn decode(id: u32, bytes: &[u8]) -> Option<Recalled> {
    if id == EVENTS_FROM.0 {
        let form: EventsFromForm = serde_json::from_slice(bytes).ok()?;
        return Some(Recalled::EventsFrom(form.events_from));
    }
    if let Ok(form) = serde_json::from_slice::<EventsForm>(bytes) {
        return Some(Recalled::Events(read_events(form.events)));
    }
    let download = decode_download(id, bytes).map(|download| Recalled::Download(Box::new(download)));
    download.or_else(|| decode_wish(id, bytes).map(|wish| Recalled::Wish(Box::new(wish))))
}

fn decode_download(id: u32, bytes: &[u8]) -> Option<DownloadRecord> {
    let form: Form = serde_json::from_slice(bytes).ok()?;
    let name = |text: &RawText| FileName::from_bytes(text.as_bytes());
    let at = PathBuf::from(OsStr::from_bytes(form.place.as_bytes()));
    let as_name = name(&form.as_name)?;
    let target = match form.exact {
        true => Target::Exact { path: at, name: as_name },
        false if form.within => Target::Within { directory: at, path: as_name, executable: form.executable },
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
        kind: match (form.directory, form.member_of) {
            (Some(DirectoryForm { files, given, pending }), _) => {
                RecordKind::Directory { files, is_given: given.unwrap_or(form.sources.is_empty()), pending }
            }
            (None, Some(of)) => RecordKind::Member { of: TransferId(of) },
            (None, None) => RecordKind::File,
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
            _ if form.done.is_some() => RecordState::Done { verified: form.done.is_some_and(|done| done.verified) },
            Some(FailedForm { keeps_part }) => RecordState::Failed { keeps_part },
            None if form.paused => RecordState::Paused,
            None => RecordState::Waiting,
        },
        error: form.error,
        bytes_done: form.bytes_done,
        place: form.turn.unwrap_or(i64::from(id)),
        sources: form.sources.iter().filter_map(source).take(SOURCES_MAX).collect(),
        events: read_events(form.events),
    })
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::EventKind;

    fn name(bytes: &[u8]) -> FileName {
        FileName::from_bytes(bytes).unwrap()
    }

    fn event(id: u64) -> Rc<EventRow> {
        let row = EventRow::blank(EventKind::Done, id, "0123abcd".into(), 1_700_000_000);
        Rc::new(EventRow { name: RawText::new(&b"d/x\xff:y"[..]), path: Some(RawText::new(&b"/\xfe"[..])), ..row })
    }

    #[test]
    fn events_stay_when_all_else_of_a_download_is_forgotten() {
        let events = vec![event(7), event(9)];
        assert_eq!(decode(1, &encode_events(&events)), Some(Recalled::Events(events.clone())));
        let mut later: Value = serde_json::from_slice(&encode_events(&events)).unwrap();
        later["events"][0]["event"] = "of a later version".into();
        let read = decode(1, later.to_string().as_bytes());
        assert_eq!(read, Some(Recalled::Events(vec![event(9)])), "what is not known does not hide the rest");
        assert_eq!(decode(EVENTS_FROM.0, &encode_events_from(8)), Some(Recalled::EventsFrom(8)));
    }

    #[test]
    fn a_record_with_any_bytes_is_encoded_and_decoded() {
        let suggested = Target::Suggested { directory: "/a b/ü".into(), name: name(b"x\xff:y") };
        let exact = Target::Exact { path: OsStr::from_bytes(b"/\xfe").into(), name: name(b"z") };
        let error = CallError::new(crate::control::ExitCode::NotFound, "refused");
        let states = [
            (RecordState::Waiting, None),
            (RecordState::Paused, None),
            (RecordState::Failed { keeps_part: true }, Some(error.clone())),
            (RecordState::Failed { keeps_part: false }, Some(error)),
            (RecordState::Dropped, None),
            (RecordState::Done { verified: true }, None),
            (RecordState::Done { verified: false }, None),
        ];
        let within = Target::Within { directory: "/a".into(), path: name(b"d/\xfe/x"), executable: true };
        let member = RecordKind::Member { of: TransferId(3) };
        for (target, b3, kind) in [
            (suggested, Some(ContentHash([7; 32])), RecordKind::File),
            (exact, None, RecordKind::File),
            (within.clone(), None, RecordKind::Directory { files: None, is_given: false, pending: 0 }),
            (within.clone(), None, RecordKind::Directory { files: Some(7), is_given: true, pending: 9 }),
            (within, None, member),
        ] {
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
                    place: if b3.is_some() { 9 } else { -5 },
                    sources: sources.clone(),
                    events: b3.map(|_| event(7)).into_iter().collect(),
                    kind,
                };
                assert_eq!(decode(9, &encode(&record)), Some(Recalled::Download(Box::new(record))));
            }
        }
    }

    #[test]
    fn a_record_with_one_name_for_each_source_is_read() {
        let bytes = br#"{"token":1,"name":"a","paused":false,"dropped":false,"place":"/","exact":false,"as_name":"a",
            "sources":[{"addr":"10.0.0.1:9","name":"d/a","p1":true}]}"#;
        let addr = "10.0.0.1:9".parse().unwrap();
        let record = decode_download(1, bytes).unwrap();
        assert_eq!(record.sources, [SourceRecord { addr, names: vec![name(b"d/a")], p1: true, is_chosen: true }]);
        assert_eq!(record.learnt_from, None);
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        for (fields, state) in [
            ("", RecordState::Waiting),
            (r#""paused":true,"#, RecordState::Paused),
            (r#""paused":false,"dropped":true,"#, RecordState::Dropped),
        ] {
            let text = format!(
                r#"{{"token":7,"name":"d/a","size":5,{fields}"place":"/d","exact":false,"as_name":"a","sources":[]}}"#
            );
            let record = decode_download(1, text.as_bytes()).unwrap();
            assert_eq!((record.state, record.error, record.bytes_done, record.size), (state, None, 0, Some(5)));
            assert_eq!(record.place, 1, "its id");
        }
    }

    #[test]
    fn a_record_of_an_earlier_version_has_a_given_manifest_if_it_has_no_source() {
        for (sources, is_given) in [("", true), (r#"{"addr":"10.0.0.1:9","name":"d/","p1":true}"#, false)] {
            let text = format!(
                r#"{{"token":0,"name":"d/","b3":"{}","place":"/","exact":false,"as_name":"d","within":true,
                "directory":{{"files":3}},"sources":[{sources}]}}"#,
                ContentHash([7; 32])
            );
            let record = decode_download(1, text.as_bytes()).unwrap();
            assert_eq!(record.kind, RecordKind::Directory { files: Some(3), is_given, pending: 0 });
        }
    }

    #[test]
    fn a_record_with_too_many_long_names_keeps_as_many_sources_as_fit() {
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
            place: 1,
            sources: (0..64).map(source).collect(),
            events: Vec::new(),
            kind: RecordKind::File,
        };
        let bytes = encode(&record);
        let kept = decode_download(1, &bytes).unwrap().sources;
        assert!(bytes.len() <= RECORD_BYTES_MAX && !kept.is_empty() && record.sources.starts_with(&kept));
    }

    #[test]
    fn unreadable_records_are_ignored() {
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

//! The saved form of a wish: one JSON object, in the log of downloads.

use super::event_form::{event_values, read_events};
use crate::control::RawText;
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::contract::{FoundFile, FoundState, WishRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::SocketAddr;

#[derive(Serialize, Deserialize)]
struct Form {
    wish: RawText,
    since: u64,
    #[serde(default)]
    download: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    found: Vec<FoundForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct FoundForm {
    name: RawText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b3: Option<String>,
    peer: SocketAddr,
    /// Its download is still to begin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    wanted: bool,
    /// The id of its download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<u32>,
    /// How that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Done,
    Failed,
}

pub(super) fn encode_wish(record: &WishRecord) -> Vec<u8> {
    let found = |file: &FoundFile| FoundForm {
        name: RawText::new(file.name.as_bytes()),
        size: file.size,
        b3: file.b3.map(|b3| b3.to_string()),
        peer: file.peer,
        wanted: file.state == FoundState::Wanted,
        begun: match file.state {
            FoundState::Begun(id) | FoundState::Done(id) | FoundState::Failed(id) => Some(id.0),
            FoundState::Reported | FoundState::Wanted => None,
        },
        end: match file.state {
            FoundState::Done(_) => Some(End::Done),
            FoundState::Failed(_) => Some(End::Failed),
            _ => None,
        },
    };
    let form = Form {
        wish: record.text.clone(),
        since: record.since,
        download: record.download,
        limit: record.limit,
        found: record.found.iter().map(found).collect(),
        events: event_values(&record.events),
    };
    // Plain data of known shape always has a JSON form.
    serde_json::to_vec(&form).unwrap_or_default()
}

/// `None` for what is no wish.
pub(super) fn decode_wish(id: u32, bytes: &[u8]) -> Option<WishRecord> {
    let form: Form = serde_json::from_slice(bytes).ok()?;
    let found = |file: &FoundForm| {
        Some(FoundFile {
            name: FileName::from_bytes(file.name.as_bytes())?,
            size: file.size,
            b3: file.b3.as_deref().and_then(|hex| ContentHash::from_hex(hex.as_bytes())),
            peer: file.peer,
            state: match (file.begun.map(TransferId), &file.end) {
                (Some(id), Some(End::Done)) => FoundState::Done(id),
                (Some(id), Some(End::Failed)) => FoundState::Failed(id),
                (Some(id), None) => FoundState::Begun(id),
                (None, _) if file.wanted => FoundState::Wanted,
                (None, _) => FoundState::Reported,
            },
        })
    };
    Some(WishRecord {
        id: TransferId(id),
        text: form.wish,
        since: form.since,
        download: form.download,
        limit: form.limit,
        found: form.found.iter().filter_map(found).collect(),
        events: read_events(form.events),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{EventKind, EventRow};
    use std::rc::Rc;

    #[test]
    fn a_wish_with_any_bytes_is_encoded_and_decoded() {
        let id = TransferId(9);
        let begun = [FoundState::Begun(id), FoundState::Done(id), FoundState::Failed(id)];
        let states = [&[FoundState::Reported, FoundState::Wanted][..], &begun].concat();
        let found = |(n, state): (usize, &FoundState)| FoundFile {
            name: FileName::from_bytes(b"d/x\xff:y").unwrap(),
            size: (n > 0).then_some(u64::MAX),
            b3: (n > 0).then_some(ContentHash([7; 32])),
            peer: "[2001:db8::1]:9".parse().unwrap(),
            state: *state,
        };
        let row = EventRow::blank(EventKind::Wish, 7, "0123abcd".into(), 1_700_000_000);
        let event = EventRow { wish: Some(3), peers: vec!["10.0.0.1:9".parse().unwrap()], ..row };
        let record = WishRecord {
            id: TransferId(3),
            text: RawText::new(&b"caf\xe9 size:>1M"[..]),
            since: 1_700_000_000,
            download: true,
            limit: Some(5),
            found: states.iter().enumerate().map(found).collect(),
            events: vec![Rc::new(event)],
        };
        assert_eq!(decode_wish(3, &encode_wish(&record)).as_ref(), Some(&record));
        let bare = WishRecord { download: false, limit: None, found: Vec::new(), events: Vec::new(), ..record };
        assert_eq!(decode_wish(3, &encode_wish(&bare)), Some(bare));
    }
}

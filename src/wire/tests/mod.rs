//! The tables of the protocol as tests, and property tests.

mod codes;
mod framing;
mod lists;
mod metadata;

use super::error::Field;
use super::*;
use crate::id::{ContentHash, QueryId};
use crate::name::FileName;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) }
}

fn name(text: &str) -> FileName {
    FileName::from_bytes(text.as_bytes()).unwrap()
}

fn listed(text: &str) -> Listed {
    Listed { name: name(text), attributes: None }
}

/// Bytes without control bytes, of a length up to the limit of names, often with `:` and brackets in them.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b':'), Just(b'['), Just(b']'), Just(b' '), b'!'..=b'~', 0x80..=0xffu8];
    prop_oneof![prop::collection::vec(byte, 1..40), (3700..=SEARCH_TEXT_BYTES_MAX).prop_map(|n| vec![b':'; n])]
}

fn query_id() -> impl Strategy<Value = QueryId> {
    let byte = (0x20..=0xffu8).prop_filter("allowed", |&b| b != b':' && b != 0x7f);
    prop_oneof![
        any::<u64>().prop_map(QueryId::p1),
        prop::collection::vec(byte, 1..=128).prop_map(|bytes| QueryId::from_bytes(&bytes).unwrap()),
    ]
}

fn endpoint() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

fn file() -> impl Strategy<Value = Listed> {
    let b3 = prop::option::of(any::<[u8; 32]>().prop_map(ContentHash));
    let attributes = (prop::option::of(any::<u64>()), b3).prop_map(|(size, b3)| Attributes { size, b3, more: false });
    (text(), prop::option::of(attributes))
        .prop_map(|(name, attributes)| Listed { name: FileName::from_bytes(&name).unwrap(), attributes })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (1..=u16::MAX, any::<bool>()).prop_map(|(port, p1)| Message::Register { port, p1 }),
        any::<(u32, bool)>().prop_map(|(peers_max, p1)| Message::RequestPeerList { peers_max, p1 }),
        (1..=u16::MAX, any::<bool>()).prop_map(|(port, p1)| Message::Unregister { port, p1 }),
        (1..=u16::MAX, any::<bool>()).prop_map(|(port, p1)| Message::Keepalive { port, p1 }),
        text().prop_map(|bytes| Message::DownloadRequest { name: FileName::from_bytes(&bytes).unwrap() }),
        any::<bool>().prop_map(|p1| Message::ListFiles { p1 }),
        (query_id(), text(), endpoint(), any::<u8>()).prop_map(|(id, text, requester, ttl)| {
            Message::Search(Search { id, text: text.into(), requester, ttl })
        }),
        (query_id(), endpoint(), file()).prop_map(|(id, responder, file)| Message::SearchResponse(SearchResponse {
            id,
            responder,
            file
        })),
        (any::<u64>(), endpoint()).prop_map(|(id, requester)| Message::FirstContact { id: QueryId::p1(id), requester }),
        (any::<u64>(), any::<u64>(), text()).prop_map(|(offset, length, bytes)| Message::RangeRequest {
            offset,
            length: length.min(u64::MAX - offset),
            name: FileName::from_bytes(&bytes).unwrap()
        }),
        text().prop_map(|bytes| Message::MetadataRequest { name: FileName::from_bytes(&bytes).unwrap() }),
    ]
}

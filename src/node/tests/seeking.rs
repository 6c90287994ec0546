//! Further sources of downloads.

use super::rig::*;
use crate::control::{RawText, Reply, Request, Selector};
use crate::id::{QueryId, TransferId};
use crate::wire::{Message, Search};
use std::net::SocketAddr;
use std::time::Duration;

const TEXT: &[u8] = b"b3=0707070707070707070707070707070707070707070707070707070707070707";

/// A download of a file of a peer that is no neighbour's.
fn downloading(neighbours: u8) -> (Rig, TransferId) {
    let mut rig = Rig::among((1..=neighbours).map(peer).collect(), &[]);
    let what = vec![Selector::File { peer: peer(9), name: RawText::new("a") }];
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Download { what, output: None }) else { panic!("begun") };
    rig.dials();
    (rig, TransferId(reply.downloads[0].id))
}

/// Seeks once; the query, and its destinations.
fn seek(rig: &mut Rig, download: TransferId) -> (Search, Vec<SocketAddr>) {
    let asked = rig.seek_sources(download, TEXT.into());
    rig.call(Request::Status).unwrap();
    let (mut queries, mut to) = (Vec::new(), Vec::new());
    for (exchange, peer, messages) in rig.dials() {
        let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
        queries.push(search.clone());
        to.push(peer);
        rig.deliver(exchange);
    }
    queries.dedup();
    assert_eq!((queries.len(), to.len()), (1, asked as usize));
    (queries.remove(0), to)
}

/// How many of these answers were unsolicited.
fn unasked(rig: &mut Rig, queries: &[&QueryId]) -> u64 {
    let before = rig.node.counters().limited.hits_unasked;
    queries.iter().for_each(|id| rig.hit(id, peer(8), listed("b", Some(1))));
    rig.node.counters().limited.hits_unasked - before
}

#[test]
fn sources_are_searched_for_in_one_ring_with_the_largest_ttl() {
    let (mut rig, download) = downloading(3);
    let (search, to) = seek(&mut rig, download);
    assert_eq!((search.ttl, search.requester, &*search.text), (7, us(), TEXT));
    assert!(search.id.is_p1());
    assert!([peer(1), peer(2), peer(3)].iter().all(|neighbour| to.contains(neighbour)), "{to:?}");
    // Answers are no hits, but the responder is a peer, and shows what it speaks.
    assert_eq!(unasked(&mut rig, &[&search.id]), 0);
    assert_eq!(rig.hits(None), []);
    let Ok(Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
    assert!(rows.iter().any(|row| row.addr == peer(8) && row.p1 == Some(true)));
    // Our own query comes back, and is dropped.
    rig.request(SocketAddr::new(peer(1).ip(), 40_000), Message::Search(search));
    assert_eq!(rig.node.counters().limited.searches_dropped, 1);
}

#[test]
fn answers_are_accepted_for_five_minutes_and_while_the_download_runs() {
    let (mut rig, download) = downloading(1);
    let (first, _) = seek(&mut rig, download);
    rig.pass(Duration::from_secs(200));
    let (second, _) = seek(&mut rig, download);
    assert_ne!(first.id, second.id);
    assert_eq!(unasked(&mut rig, &[&first.id, &second.id]), 0);
    rig.pass(Duration::from_secs(100));
    assert_eq!(unasked(&mut rig, &[&first.id]), 1);
    assert_eq!(unasked(&mut rig, &[&second.id]), 0);
    rig.call(Request::Cancel { ids: download.0.to_string() }).unwrap();
    assert_eq!(unasked(&mut rig, &[&second.id]), 1);
    assert_eq!(unasked(&mut rig, &[&QueryId::p1(4)]), 1);
}

#[test]
fn without_a_neighbour_no_search_for_sources_is_sent() {
    let mut rig = Rig::among(Vec::new(), &[]);
    assert_eq!(rig.seek_sources(TransferId(1), TEXT.into()), 0);
}

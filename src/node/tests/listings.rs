//! Our own listings.

use super::rig::*;
use super::searching::done;
use crate::control::{ExitCode, Notice, RawText, Reply, Request, SearchStarted};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::node::contract::{Action, Event, Response};
use crate::wire::{Listed, Message};
use std::net::SocketAddr;

fn list(rig: &mut Rig, peer: SocketAddr) -> u32 {
    match rig.call(Request::List { peer }) {
        Ok(Reply::SearchStarted(SearchStarted { search, .. })) => search,
        other => panic!("{other:?}"),
    }
}
#[test]
fn a_listing_becomes_hits() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let search = list(&mut rig, peer(1));
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (peer(1), Message::ListFiles { p1: true }));
    rig.handle(Event::ListBatch { exchange, files: vec![listed("a", Some(1)), listed("b", Some(2))] });
    rig.handle(Event::ListBatch { exchange, files: vec![listed("c", Some(3))] });
    let notices = rig.notices();
    assert_eq!(notices, [Notice::Listing { search, files: 2 }], "progress is told a few times a second");
    rig.succeed(exchange, Response::FileList { truncated: false });
    assert_eq!(done(&rig.notices()), Some((3, false, None)));
    assert_eq!(rig.hits(Some(search)).len(), 3);
    let Ok(Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
    assert_eq!(rows[0].p1, Some(true));
}

#[test]
fn a_listing_without_end_is_aborted() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let search = list(&mut rig, peer(1));
    let (exchange, ..) = rig.dial();
    for batch in 0..=1_000 {
        let files: Vec<Listed> = (0..1_000).map(|n| listed(&format!("{batch:04}/{n:03}"), None)).collect();
        rig.handle(Event::ListBatch { exchange, files });
    }
    let aborts: Vec<ExchangeId> = rig.take(|order| match order {
        Action::Abort { exchange } => Some(*exchange),
        _ => None,
    });
    assert_eq!(aborts, [exchange]);
    rig.fail(exchange, DialFault::Aborted);
    assert_eq!(done(&rig.notices()), Some((1_000_000, true, None)));
    let Ok(Reply::Hits(page)) = rig.call(Request::Hits { search: Some(search), after: 0 }) else { panic!("hits") };
    assert_eq!((page.hits.iter().count(), page.truncated), (500, true), "each page says that there was more");
}

#[test]
fn of_a_listing_without_order_fewer_rows_are_remembered() {
    let mut rig = Rig::among(Vec::new(), &[]);
    list(&mut rig, peer(1));
    let (exchange, ..) = rig.dial();
    for batch in (0..=100).rev() {
        let files: Vec<Listed> = (0..1_000).rev().map(|n| listed(&format!("{batch:04}/{n:03}"), None)).collect();
        rig.handle(Event::ListBatch { exchange, files });
    }
    rig.fail(exchange, DialFault::Aborted);
    assert_eq!(done(&rig.notices()), Some((100_001, true, None)), "the first is in order");
}

#[test]
fn a_listing_that_finds_no_room_ends_and_is_counted() {
    const FILES: u64 = 40_000;
    let long = "n".repeat(3_700);
    let mut rig = Rig::among(Vec::new(), &[]);
    list(&mut rig, peer(1));
    let (exchange, ..) = rig.dial();
    for batch in 0..FILES / 1_000 {
        let files = (0..1_000).map(|n| listed(&format!("{batch:02}{n:03}{long}"), None)).collect();
        rig.handle(Event::ListBatch { exchange, files });
    }
    rig.fail(exchange, DialFault::Aborted);
    let (rows, truncated, error) = done(&rig.notices()).unwrap();
    assert!((30_000..38_000).contains(&rows) && truncated && error.is_none(), "{rows} rows, {error:?}");
    assert_eq!(rig.node.counters().limited.hits_dropped, 1, "of a listing that is cut, the first");
}

#[test]
fn pages_of_hits_miss_none_and_repeat_none_while_others_come() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let search = list(&mut rig, peer(1));
    let (exchange, ..) = rig.dial();
    let names: Vec<String> = (0..1_200).map(|n| format!("{n:04}")).collect();
    rig.handle(Event::ListBatch { exchange, files: names.iter().map(|name| listed(name, Some(1))).collect() });
    let (mut after, mut seen) = (0, Vec::new());
    for round in 0.. {
        let more = listed(&format!("later {round}"), Some(1));
        rig.handle(Event::ListBatch { exchange, files: vec![more] });
        let Ok(Reply::Hits(page)) = rig.call(Request::Hits { search: Some(search), after }) else { panic!("hits") };
        assert!((1..=500).contains(&page.hits.iter().count()));
        seen.extend(page.hits.iter().map(|row| (row.id, row.name)));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert!(seen.is_sorted_by(|(one, _), (next, _)| one < next), "each once");
    let expected = names.iter().map(|name| RawText::new(name.as_bytes()));
    assert!(seen.iter().map(|(_, name)| name.clone()).take(1_200).eq(expected));
}

#[test]
fn a_listing_that_fails_reports_the_cause() {
    let mut rig = Rig::among(Vec::new(), &[]);
    list(&mut rig, peer(1));
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    let error = done(&rig.notices()).unwrap().2.unwrap();
    assert_eq!(error.code, ExitCode::Network as i32);
    assert!(error.message.contains("10.0.1.1:63339: connection refused"), "{error}");
    for bad in [us(), addr("10.0.1.1:0")] {
        assert_eq!(rig.call(Request::List { peer: bad }).unwrap_err().code, ExitCode::Usage as i32);
    }
}

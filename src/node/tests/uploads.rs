//! The uploads in progress, as users see them.

use super::rig::*;
use crate::control::{RangeRow, Reply, Request, UploadKey, UploadRow, UploadState};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::node::contract::{Action, Event, NodeConfig};
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

const SIZE: u64 = 4_000;

fn sharing(upload_limit: u64, names: &[&str]) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), upload_limit, ..config() });
    rig.scan(&names.iter().map(|name| (*name, SIZE)).collect::<Vec<_>>());
    rig.orders.clear();
    rig
}

/// A port of the n-th requester.
fn taker(n: u8, port: u16) -> SocketAddr {
    addr(&format!("10.9.0.{n}:{port}"))
}

fn ask_file(rig: &mut Rig, from: SocketAddr) -> ExchangeId {
    rig.request(from, Message::DownloadRequest { name: name("a") })
}

fn ask_range(rig: &mut Rig, from: SocketAddr, offset: u64) -> ExchangeId {
    rig.request(from, Message::RangeRequest { offset, length: 100, name: name("a") })
}

fn progress(rig: &mut Rig, exchange: ExchangeId, bytes: u64) {
    rig.handle(Event::ResponseProgress { exchange, bytes, held: false });
}

fn page(rig: &mut Rig, after: Option<UploadKey>) -> (Vec<UploadRow>, Option<UploadKey>) {
    let Ok(Reply::Uploads(reply)) = rig.call(Request::Uploads { after }) else { panic!("uploads") };
    (reply.uploads, reply.next)
}

fn rows(rig: &mut Rig) -> Vec<UploadRow> {
    page(rig, None).0
}

#[test]
fn a_file_that_is_sent_shows_how_far_and_how_fast_and_one_that_waits_shows_that() {
    let mut rig = sharing(100, &["a"]);
    let sent = ask_file(&mut rig, taker(1, 5));
    ask_file(&mut rig, taker(2, 5));
    rig.pass(Duration::from_secs(2));
    progress(&mut rig, sent, 3_000);
    let shown = rows(&mut rig);
    assert_eq!(
        shown.iter().map(|row| (row.to, row.state)).collect::<Vec<_>>(),
        [(taker(1, 5), UploadState::Sending), (taker(2, 5), UploadState::Waiting)]
    );
    assert_eq!((shown[0].bytes_sent, shown[0].size, shown[0].rate), (3_000, Some(SIZE), Some(1_500)));
    assert_eq!((shown[0].connections, shown[0].range, shown[0].peer), (1, None, None));
    assert_eq!((shown[1].bytes_sent, shown[1].rate, shown[1].connections), (0, None, 0));
    assert!(shown.iter().all(|row| row.since == 1_700_000_000), "{shown:?}");
    rig.handle(Event::ResponseEnded { exchange: sent, outcome: Ok(SIZE) });
    let shown = rows(&mut rig);
    assert_eq!(shown.iter().map(|row| (row.to, row.state)).collect::<Vec<_>>(), [(taker(2, 5), UploadState::Sending)]);
    assert_eq!(shown[0].since, 1_700_000_002, "its turn has come");
}

#[test]
fn ranges_of_one_file_for_one_address_are_one_row_on_any_number_of_connections() {
    // Two at once have their turn.
    let mut rig = sharing(2 * 682, &["a"]);
    let [first, second] = [0, 100].map(|offset| ask_range(&mut rig, taker(1, 5 + offset as u16), offset));
    ask_range(&mut rig, taker(1, 900), 200);
    let others: Vec<_> = (0..2).map(|port| ask_range(&mut rig, taker(2, 5 + port), 300)).collect();
    rig.pass(Duration::from_secs(1));
    progress(&mut rig, first, 60);
    progress(&mut rig, second, 40);
    let shown = rows(&mut rig);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!((shown[0].to, shown[0].state, shown[0].connections), (taker(1, 5), UploadState::Sending, 2));
    assert_eq!((shown[0].bytes_sent, shown[0].rate), (100, Some(100)));
    assert_eq!(shown[0].range, Some(RangeRow { offset: 100, length: 100 }));
    assert_eq!((shown[1].to, shown[1].state), (taker(2, 5), UploadState::Waiting));
    assert_eq!(shown[1].range, Some(RangeRow { offset: 300, length: 100 }));
    for exchange in others {
        rig.handle(Event::RequestGone { exchange });
    }
    for exchange in [first, second] {
        rig.handle(Event::ResponseEnded { exchange, outcome: Ok(100) });
    }
    let third = rows(&mut rig);
    assert_eq!((third.len(), third[0].state, third[0].bytes_sent), (1, UploadState::Sending, 200), "{third:?}");
    rig.handle(Event::ResponseEnded { exchange: ExchangeId::Inbound(3), outcome: Ok(100) });
    let idle = rows(&mut rig);
    assert_eq!((idle[0].state, idle[0].bytes_sent, idle[0].rate), (UploadState::Idle, 300, None));
    // Others have all turns: the next range of an idle one waits.
    for n in [7, 8] {
        ask_file(&mut rig, taker(n, 5));
    }
    ask_range(&mut rig, taker(1, 901), 700);
    let waits = rows(&mut rig);
    assert_eq!((waits[0].state, waits[0].bytes_sent), (UploadState::Waiting, 300), "{waits:?}");
    assert_eq!(waits[0].range, Some(RangeRow { offset: 700, length: 100 }));
}

#[test]
fn a_requester_that_is_called_back_is_connected_to_first() {
    let mut rig = sharing(0, &["a"]);
    rig.handle(Event::RequesterClosed { requester: taker(1, 5), name: name("a"), counted: 0 });
    let exchange = rig.take(|order| match order {
        Action::CallBack { exchange, .. } => Some(*exchange),
        _ => None,
    })[0];
    assert_eq!(rows(&mut rig)[0].state, UploadState::Connecting);
    rig.fail(exchange, DialFault::Refused);
    assert_eq!(rows(&mut rig)[0].state, UploadState::Connecting, "it is tried again");
}

#[test]
fn many_uploads_come_in_pages_that_miss_none() {
    // Names so long that few rows are a page.
    let long = "n".repeat(3_000);
    let mut rig = sharing(100, &[&long]);
    for n in 0..40 {
        rig.request(taker(n, 5), Message::DownloadRequest { name: name(&long) });
    }
    let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let (rows, next) = page(&mut rig, after);
        all.extend(rows.into_iter().map(|row| row.to));
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((all.len(), pages), (40, 3));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 40);
}

#[test]
fn a_peer_that_fetches_is_shown_where_it_listens_if_one_alone_is_known_there() {
    let mut rig = sharing(100, &["a"]);
    ask_file(&mut rig, taker(1, 5));
    let listens = |port| SocketAddr::new(taker(1, 5).ip(), port);
    rig.call(Request::List { peer: listens(7) }).unwrap();
    assert_eq!(rows(&mut rig)[0].peer, Some(listens(7)));
    rig.call(Request::List { peer: listens(8) }).unwrap();
    assert_eq!(rows(&mut rig)[0].peer, None, "it may be either");
    rig.call(Request::List { peer: listens(5) }).unwrap();
    assert_eq!(rows(&mut rig)[0].peer, Some(listens(5)));
}

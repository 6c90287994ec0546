//! Sending files and lists, within the number of workers.

use super::rig::*;
use crate::control::{Notice, RawText, Reply, Request};
use crate::fault::DiskFault;
use crate::id::ExchangeId;
use crate::node::contract::{Action, Event, NodeConfig, Refusal, ResponseFault};
use crate::wire::Message;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

fn from() -> SocketAddr {
    SocketAddr::new(peer(1).ip(), 40_000)
}

fn sharing(max_workers: usize) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers, ..config() });
    rig.scan(&[("a", 10), ("dir/b", 20)]);
    rig
}

fn download(rig: &mut Rig, file: &str) -> ExchangeId {
    download_by(rig, 1, file)
}

fn download_by(rig: &mut Rig, requester: u8, file: &str) -> ExchangeId {
    rig.request(SocketAddr::new(peer(requester).ip(), 40_000), Message::DownloadRequest { name: name(file) })
}

fn sent(rig: &mut Rig) -> Vec<(ExchangeId, String)> {
    rig.take(|order| match order {
        Action::SendFile { exchange, name, .. } => Some((*exchange, name.to_string())),
        Action::SendList { exchange, attributes, .. } => Some((*exchange, format!("list, attributes: {attributes}"))),
        _ => None,
    })
}

fn refused(rig: &mut Rig) -> Vec<(ExchangeId, Refusal)> {
    rig.take(|order| match order {
        Action::Refuse { exchange, reason } => Some((*exchange, *reason)),
        _ => None,
    })
}

#[test]
fn files_and_lists_are_sent_and_counted() {
    let mut rig = sharing(4);
    rig.call(Request::Events).unwrap();
    let exchange = download(&mut rig, "dir/b");
    assert_eq!(sent(&mut rig), [(exchange, "dir/b".to_string())]);
    rig.handle(Event::ResponseProgress { exchange, bytes: 5, held: false });
    rig.handle(Event::ResponseProgress { exchange, bytes: 15, held: false });
    rig.handle(Event::ResponseEnded { exchange, outcome: Ok(20) });
    assert_eq!(rig.node.counters().bytes_up, 20);
    let broken = download(&mut rig, "a");
    rig.handle(Event::ResponseProgress { exchange: broken, bytes: 3, held: false });
    let outcome = Err(ResponseFault::Disk(DiskFault::Shrank));
    rig.handle(Event::ResponseEnded { exchange: broken, outcome });
    let (to, named) = (from(), |text: &str| RawText::new(text));
    assert_eq!(
        rig.notices(),
        [
            Notice::UploadStarted { to, name: named("dir/b") },
            Notice::UploadEnded { to, name: named("dir/b"), bytes: 20, error: None },
            Notice::UploadStarted { to, name: named("a") },
            Notice::UploadEnded { to, name: named("a"), bytes: 3, error: Some(DiskFault::Shrank.to_string()) },
        ]
    );
    for p1 in [false, true] {
        rig.orders.clear();
        let exchange = rig.request(from(), Message::ListFiles { p1 });
        assert_eq!(sent(&mut rig), [(exchange, format!("list, attributes: {p1}"))]);
    }
}

#[test]
fn messages_for_bootstrap_nodes_and_wrong_file_names_are_refused() {
    let mut rig = sharing(4);
    let port = 63_339;
    for message in [
        Message::Register { port, p1: false },
        Message::Unregister { port, p1: false },
        Message::Keepalive { port, p1: false },
        Message::RequestPeerList { peers_max: 1, p1: true },
    ] {
        let exchange = rig.request(from(), message);
        assert_eq!(refused(&mut rig), [(exchange, Refusal::WrongNode)]);
    }
    for file in ["no such", "/etc/passwd", "../a", "dir"] {
        let exchange = download(&mut rig, file);
        assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)]);
    }
    assert_eq!(rig.node.counters().refused, 8);
    rig.handle(Event::Leave);
    let exchange = download(&mut rig, "a");
    assert_eq!(refused(&mut rig), [(exchange, Refusal::Leaving)]);
}

#[test]
fn commands_beyond_the_workers_wait_in_their_order() {
    let mut rig = sharing(2);
    let asked: Vec<_> = ["a", "dir/b", "a", "dir/b"].map(|file| download(&mut rig, file)).to_vec();
    assert_eq!(sent(&mut rig).len(), 2);
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    assert_eq!((status.uploads_active, status.commands_queued), (2, 2));
    rig.handle(Event::ResponseEnded { exchange: asked[1], outcome: Ok(20) });
    assert_eq!(sent(&mut rig), [(asked[2], "a".to_string())]);
    // One that disconnects while queued frees its place.
    let last = download(&mut rig, "a");
    rig.handle(Event::RequestGone { exchange: asked[3] });
    rig.handle(Event::ResponseEnded { exchange: asked[0], outcome: Err(ResponseFault::Gone) });
    assert_eq!(sent(&mut rig), [(last, "a".to_string())]);
    assert!(refused(&mut rig).is_empty());
}

/// The loop may evict a connection while the order to answer it waits.
#[test]
fn a_requester_that_has_disconnected_frees_its_worker() {
    let mut rig = sharing(1);
    let gone = download(&mut rig, "a");
    rig.handle(Event::RequestGone { exchange: gone });
    let next = download(&mut rig, "a");
    assert_eq!(sent(&mut rig), [(gone, "a".to_string()), (next, "a".to_string())]);
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    assert_eq!((status.uploads_active, status.commands_queued), (1, 0));
}

#[test]
fn a_request_waits_at_most_fifty_seconds() {
    let mut rig = sharing(1);
    let first = download(&mut rig, "a");
    rig.pass(Duration::from_secs(1));
    let second = download(&mut rig, "a");
    rig.pass(Duration::from_millis(49_999));
    assert!(refused(&mut rig).is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(refused(&mut rig), [(second, Refusal::Busy)]);
    assert_eq!(sent(&mut rig)[0].0, first);
}

#[test]
fn a_full_queue_refuses_and_a_leaving_node_empties_it() {
    let mut rig = sharing(1);
    let asked: Vec<_> = (0..4_098u32).map(|n| download_by(&mut rig, (n % 8) as u8 + 1, "a")).collect();
    let busy = refused(&mut rig);
    assert!(busy == [(asked[4_097], Refusal::Busy)], "{} were refused", busy.len());
    rig.handle(Event::Leave);
    let leaving = refused(&mut rig);
    assert_eq!(leaving.len(), 4_096);
    assert!(leaving.iter().all(|(_, reason)| *reason == Refusal::Leaving));
    let aborted = rig.take(|order| match order {
        Action::Abort { exchange } => Some(*exchange),
        _ => None,
    });
    assert_eq!(aborted, [asked[0]]);
}

#[test]
fn an_upload_that_a_leaving_node_breaks_off_was_not_aborted_by_the_user() {
    let mut rig = sharing(2);
    rig.call(Request::Events).unwrap();
    let asked = download(&mut rig, "a");
    rig.handle(Event::ResponseProgress { exchange: asked, bytes: 3, held: false });
    rig.handle(Event::Leave);
    let ended = rig.notices().into_iter().find_map(|notice| match notice {
        Notice::UploadEnded { bytes, error, .. } => Some((bytes, error)),
        _ => None,
    });
    assert_eq!(ended, Some((3, Some("this daemon stops".to_owned()))));
}

#[test]
fn one_address_does_not_fill_the_queue_or_the_workers_while_others_wait() {
    let mut rig = sharing(4);
    let greedy: Vec<_> = (0..4 + 1_024 + 10).map(|_| download_by(&mut rig, 1, "a")).collect();
    assert_eq!(sent(&mut rig).len(), 4, "nobody else asks");
    assert_eq!(refused(&mut rig).len(), 10);
    let others: Vec<_> = (2..5).map(|requester| download_by(&mut rig, requester, "a")).collect();
    let mut end = |n: usize| {
        rig.handle(Event::ResponseEnded { exchange: greedy[n], outcome: Ok(10) });
        sent(&mut rig).remove(0).0
    };
    // Freed workers go to the others, who have none; then one to the first requester.
    assert_eq!([end(0), end(1), end(2), end(3)], [others[0], others[1], others[2], greedy[4]]);
}

#[test]
fn addresses_share_the_workers_equally_however_much_each_requests() {
    let mut rig = sharing(12);
    for (requester, requests) in [(1, 500), (2, 40), (3, 60)] {
        for _ in 0..requests {
            download_by(&mut rig, requester, "a");
        }
    }
    let mut active: VecDeque<ExchangeId> = sent(&mut rig).into_iter().map(|(exchange, _)| exchange).collect();
    let ExchangeId::Inbound(first) = active[0] else { panic!("a request") };
    let requester = |exchange: &ExchangeId| match exchange {
        ExchangeId::Inbound(n) => [500, 540, 600].iter().position(|end| n - first < *end).unwrap(),
        ExchangeId::Outbound(_) => panic!("a request"),
    };
    let mut served = [0; 3];
    for round in 0..600 {
        let exchange = active.pop_front().unwrap();
        served[requester(&exchange)] += 1;
        rig.handle(Event::ResponseEnded { exchange, outcome: Ok(10) });
        active.extend(sent(&mut rig).into_iter().map(|(exchange, _)| exchange));
        let loads = [0, 1, 2].map(|who| active.iter().filter(|exchange| requester(exchange) == who).count());
        // At first a single requester has all workers; when another has no more requests, its share is free.
        if (12..100).contains(&round) {
            assert_eq!(loads, [4, 4, 4], "after {round}");
        }
    }
    assert_eq!((served, active.len()), ([500, 40, 60], 0));
}

#[test]
fn a_withdrawn_request_costs_its_address_no_place() {
    let mut rig = sharing(1);
    let first = download_by(&mut rig, 1, "a");
    let gone = download_by(&mut rig, 2, "a");
    let last = download_by(&mut rig, 2, "dir/b");
    let other = download_by(&mut rig, 3, "a");
    rig.handle(Event::RequestGone { exchange: gone });
    sent(&mut rig);
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Ok(10) });
    assert_eq!(sent(&mut rig), [(last, "dir/b".to_string())]);
    rig.handle(Event::RequestGone { exchange: other });
    rig.handle(Event::ResponseEnded { exchange: last, outcome: Ok(20) });
    assert!(sent(&mut rig).is_empty());
}

#[test]
fn of_many_workers_some_are_kept_for_our_user() {
    let mut rig = sharing(32);
    for requester in 0..40 {
        download_by(&mut rig, requester + 1, "a");
    }
    assert_eq!(sent(&mut rig).len(), 24);
    rig.call(Request::List { peer: peer(99) }).unwrap();
    assert_eq!(rig.dials().len(), 1);
}

#[test]
fn a_file_that_vanished_while_its_request_waited_is_refused() {
    let mut rig = sharing(1);
    let first = download(&mut rig, "a");
    let second = download(&mut rig, "dir/b");
    let third = download(&mut rig, "a");
    rig.call(Request::Rescan).unwrap();
    rig.scan(&[("a", 10)]);
    sent(&mut rig);
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Ok(10) });
    assert_eq!(refused(&mut rig), [(second, Refusal::NoSuchFile)]);
    assert_eq!(sent(&mut rig), [(third, "a".to_string())], "its worker takes the next one");
}

#[test]
fn more_workers_start_waiting_requests() {
    let mut rig = sharing(1);
    for _ in 0..3 {
        download(&mut rig, "a");
    }
    assert_eq!(sent(&mut rig).len(), 1);
    rig.handle(Event::Reconfigure(Box::new(NodeConfig { bootstraps: Vec::new(), max_workers: 3, ..config() })));
    assert_eq!(sent(&mut rig).len(), 2);
}

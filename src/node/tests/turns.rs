//! How many uploads are sent at once under `upload_limit`.

use super::rig::*;
use crate::control::{Reply, Request};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::node::contract::{Action, Event, NodeConfig, Refusal};
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// A node that shares a file, with this upload limit.
fn limited(upload_limit: u64) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), upload_limit, ..config() });
    rig.scan(&[("a", 16 << 10)]);
    rig.orders.clear();
    rig
}

fn taker(n: u8) -> SocketAddr {
    addr(&format!("10.9.0.{n}:40000"))
}

/// A peer requests the file, by code 4 or by code 8.
fn ask(rig: &mut Rig, from: SocketAddr) -> ExchangeId {
    let message = match from.port().is_multiple_of(2) {
        true => Message::RangeRequest { offset: 0, length: 100, name: name("a") },
        false => Message::DownloadRequest { name: name("a") },
    };
    rig.request(from, message)
}

fn sent(rig: &mut Rig) -> Vec<ExchangeId> {
    rig.take(|action| match action {
        Action::SendFile { exchange, .. } | Action::SendRange { exchange, .. } => Some(*exchange),
        _ => None,
    })
}

fn refused(rig: &mut Rig) -> Vec<(ExchangeId, Refusal)> {
    rig.take(|action| match action {
        Action::Refuse { exchange, reason } => Some((*exchange, *reason)),
        _ => None,
    })
}

#[test]
fn no_more_uploads_run_at_once_than_reach_the_minimum_rate() {
    let mut rig = limited(2 << 10);
    let asked: Vec<_> = (1..=10).map(|n| ask(&mut rig, taker(n))).collect();
    // 682 bytes a second for each: 40 KiB a minute, where 16 are the minimum.
    assert_eq!(sent(&mut rig), asked[..3]);
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    assert_eq!((status.uploads_active, status.commands_queued), (3, 7));
    // A response that is not paced does not wait behind them.
    let list = rig.request(taker(11), Message::ListFiles { p1: true });
    assert_eq!(
        rig.take(|action| matches!(action, Action::SendList { exchange, .. } if *exchange == list).then_some(())).len(),
        1
    );
    rig.handle(Event::ResponseEnded { exchange: asked[1], outcome: Ok(16 << 10) });
    assert_eq!(sent(&mut rig), [asked[3]], "the next has its turn");
    rig.handle(Event::RequestGone { exchange: asked[4] });
    rig.pass(Duration::from_secs(51));
    let busy: Vec<_> = asked[5..].iter().map(|exchange| (*exchange, Refusal::Busy)).collect();
    assert_eq!(refused(&mut rig), busy, "told before they take us for stalled");
    for exchange in [asked[0], asked[2], asked[3]] {
        rig.handle(Event::ResponseEnded { exchange, outcome: Ok(16 << 10) });
    }
    let again = ask(&mut rig, taker(6));
    assert_eq!(sent(&mut rig), [again], "and served when they come again");
}

#[test]
fn a_small_limit_serves_one_and_no_limit_serves_all_and_a_change_takes_effect_at_once() {
    let mut rig = limited(100);
    let asked: Vec<_> = (1..=3).map(|n| ask(&mut rig, taker(n))).collect();
    assert_eq!(sent(&mut rig), asked[..1]);
    let config = NodeConfig { bootstraps: Vec::new(), upload_limit: 0, ..config() };
    rig.handle(Event::Reconfigure(Box::new(config)));
    assert_eq!(sent(&mut rig), asked[1..]);
}

#[test]
fn the_address_that_has_the_fewest_uploads_has_the_next_turn() {
    let mut rig = limited(1 << 10);
    let greedy: Vec<_> = (0..4).map(|_| ask(&mut rig, taker(1))).collect();
    let modest = ask(&mut rig, taker(2));
    assert_eq!(sent(&mut rig), greedy[..1]);
    rig.handle(Event::ResponseEnded { exchange: greedy[0], outcome: Ok(1) });
    assert_eq!(sent(&mut rig), [modest], "it had none before");
    rig.handle(Event::ResponseEnded { exchange: modest, outcome: Ok(1) });
    assert_eq!(sent(&mut rig), greedy[1..2]);
    // A node that shuts down refuses all of them.
    rig.handle(Event::Leave);
    let leaving: Vec<_> = greedy[2..].iter().map(|exchange| (*exchange, Refusal::Leaving)).collect();
    assert_eq!(refused(&mut rig), leaving);
}

/// A requester that closed its connection before the file was sent.
fn closed(rig: &mut Rig, requester: SocketAddr) {
    rig.handle(Event::RequesterClosed { requester, name: name("a"), counted: 0 });
}

fn call_backs(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr)> {
    rig.take(|action| match action {
        Action::CallBack { exchange, to, .. } => Some((*exchange, *to)),
        _ => None,
    })
}

#[test]
fn call_backs_take_turns_as_other_uploads_do() {
    let mut rig = limited(1 << 10);
    let first = ask(&mut rig, taker(1));
    closed(&mut rig, taker(2));
    let third = ask(&mut rig, taker(3));
    closed(&mut rig, taker(4));
    assert_eq!((sent(&mut rig), call_backs(&mut rig)), (vec![first], Vec::new()));
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Ok(1) });
    let [(attempt, to)] = call_backs(&mut rig)[..] else { panic!("one is called back") };
    assert_eq!((to, sent(&mut rig)), (taker(2), Vec::new()));
    // It does not listen yet: its turn goes to the next, and it waits for another.
    rig.fail(attempt, DialFault::Refused);
    assert_eq!((sent(&mut rig), call_backs(&mut rig)), (vec![third], Vec::new()));
    rig.pass(Duration::from_millis(20));
    assert_eq!(call_backs(&mut rig), []);
    rig.handle(Event::ResponseEnded { exchange: third, outcome: Ok(1) });
    let [(attempt, to)] = call_backs(&mut rig)[..] else { panic!("one is called back") };
    assert_eq!(to, taker(4), "in the order in which they came");
    rig.handle(Event::CallBackConnected { exchange: attempt });
    let fifth = ask(&mut rig, taker(5));
    assert_eq!((sent(&mut rig), call_backs(&mut rig)), (Vec::new(), Vec::new()), "a call back that sends has a turn");
    rig.deliver(attempt);
    let [(attempt, to)] = call_backs(&mut rig)[..] else { panic!("one is called back") };
    assert_eq!((to, sent(&mut rig)), (taker(2), Vec::new()));
    rig.handle(Event::CallBackConnected { exchange: attempt });
    rig.fail(attempt, DialFault::Reset);
    assert_eq!(sent(&mut rig), [fifth], "one that breaks off gives its turn back");
}

#[test]
fn a_call_back_waits_longer_for_its_turn_than_a_request_but_not_indefinitely() {
    let mut rig = limited(1 << 10);
    let first = ask(&mut rig, taker(1));
    closed(&mut rig, taker(2));
    rig.pass(Duration::from_secs(300));
    closed(&mut rig, taker(3));
    let queued = |rig: &mut Rig| match rig.call(Request::Status) {
        Ok(Reply::Status(status)) => status.commands_queued,
        other => panic!("{other:?}"),
    };
    assert_eq!((queued(&mut rig), rig.node.counters().refused), (2, 0));
    rig.pass(Duration::from_secs(300));
    assert_eq!((queued(&mut rig), rig.node.counters().refused), (1, 1), "the first has waited ten minutes");
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Ok(1) });
    let [(attempt, to)] = call_backs(&mut rig)[..] else { panic!("one is called back") };
    assert_eq!(to, taker(3));
    // Its time is over when its connection is made: that attempt is used, and is the last if it is refused.
    rig.pass(Duration::from_secs(300));
    rig.fail(attempt, DialFault::Refused);
    rig.pass(Duration::from_secs(60));
    assert_eq!(call_backs(&mut rig), []);
    // A node that shuts down makes no call-backs.
    let last = ask(&mut rig, taker(4));
    closed(&mut rig, taker(5));
    rig.handle(Event::Leave);
    rig.handle(Event::ResponseEnded { exchange: last, outcome: Ok(1) });
    assert_eq!((call_backs(&mut rig), queued(&mut rig)), (Vec::new(), 0));
}

#[test]
fn a_call_back_does_not_wait_indefinitely_for_a_worker() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers: 1, ..config() });
    rig.scan(&[("a", 16 << 10)]);
    let first = ask(&mut rig, taker(1));
    closed(&mut rig, taker(2));
    rig.pass(Duration::from_secs(600));
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Ok(1) });
    assert_eq!((call_backs(&mut rig), rig.node.counters().refused), (Vec::new(), 1));
}

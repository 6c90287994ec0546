//! Senders that use more than their share of a node, and the service that others still get.

use super::rig::*;
use crate::control::LimitedReply;
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::node::contract::{Action, Event, NodeConfig, Refusal};
use crate::wire::{Message, Search};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The source address of a sender's search.
fn from(address: [u8; 4]) -> SocketAddr {
    (address, 40_000).into()
}

/// An unknown endpoint that accepts no connection.
fn forged(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::from((0xc000_0200 + (n >> 8)).to_be_bytes()), 2_000 + (n & 255) as u16)
}

fn limited(rig: &Rig) -> LimitedReply {
    rig.node.counters().limited
}

/// A search that is not forwarded.
fn search(rig: &mut Rig, sender: SocketAddr, id: &str, text: &str, requester: SocketAddr) {
    rig.request(sender, query(id.as_bytes(), text, requester, 0));
}

/// Connections ordered for messages without a response: exchange, destination, and how long connecting may take.
fn connects(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr, Duration)> {
    rig.take(|action| match action {
        Action::Dial { exchange, to, connect_max, .. } | Action::Stream { exchange, to, connect_max, .. } => {
            Some((*exchange, *to, *connect_max))
        }
        _ => None,
    })
}

/// A network in which forged endpoints accept no connection, and all others do at once.
struct Surroundings {
    /// Connections that are not accepted, by the time when they fail.
    pending: VecDeque<(crate::time::Instant, ExchangeId)>,
    reached: BTreeMap<SocketAddr, usize>,
    pending_max: usize,
}

impl Surroundings {
    fn new() -> Self {
        Self { pending: VecDeque::new(), reached: BTreeMap::new(), pending_max: 0 }
    }

    fn settle(&mut self, rig: &mut Rig) {
        loop {
            let connects = connects(rig);
            if connects.is_empty() {
                self.pending_max = self.pending_max.max(self.pending.len());
                return;
            }
            for (exchange, to, connect_max) in connects {
                if to.ip().to_string().starts_with("192.0.") {
                    self.pending.push_back((rig.now + connect_max, exchange));
                } else {
                    *self.reached.entry(to).or_default() += 1;
                    rig.deliver(exchange);
                }
            }
        }
    }

    fn pass(&mut self, rig: &mut Rig, span: Duration) {
        rig.pass(span);
        while let Some((_, exchange)) = self.pending.front().copied().filter(|(until, _)| *until <= rig.now) {
            self.pending.pop_front();
            rig.fail(exchange, DialFault::TimedOut);
        }
        self.settle(rig);
    }
}

#[test]
fn forged_requesters_that_accept_no_connection_do_not_block_answers_to_others() {
    // The others are listed peers, strangers, and neighbours of the attacker's in one network.
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    let mut around = Surroundings::new();
    let others = [from([10, 0, 1, 1]), from([10, 0, 1, 2]), from([10, 0, 1, 3])].map(|sender| {
        let requester = SocketAddr::new(sender.ip(), 63_339);
        (sender, requester)
    });
    let (mut forgeries, mut asked) = (0, 0);
    for tick in 0..1_000u32 {
        // 45 a second for 20 s, from the start on.
        while forgeries * 1_000 < tick * 20 * 45 {
            forgeries += 1;
            search(&mut rig, from([10, 9, 9, 9]), &format!("forged{forgeries}"), "song", forged(forgeries));
        }
        if tick >= 500 && tick % 16 == 0 && asked < 30 {
            let (sender, requester) = others[asked % 3];
            search(&mut rig, sender, &format!("other{asked}"), "song", requester);
            asked += 1;
        }
        around.settle(&mut rig);
        around.pass(&mut rig, Duration::from_millis(20));
    }
    assert_eq!(around.reached.values().copied().collect::<Vec<_>>(), [10, 10, 10], "each is answered each time");
    assert_eq!(around.pending_max, 8, "of 16 places for strangers, one network has half");
    assert!(limited(&rig).stranger_answers_dropped > 700, "{:?}", limited(&rig));
    // More networks share all places, and an endpoint that accepted a connection before needs none.
    for sender in 1..=5 {
        for n in 0..20 {
            let id = format!("more{sender}/{n}");
            search(&mut rig, from([10, 8, sender, 1]), &id, "song", forged(1_000 + u32::from(sender) * 50 + n));
        }
    }
    around.settle(&mut rig);
    assert_eq!(around.pending.len(), 16);
    search(&mut rig, from([10, 8, 9, 1]), "known", "song", others[0].1);
    around.settle(&mut rig);
    assert_eq!(around.reached[&others[0].1], 11);
}

#[test]
fn connecting_to_an_unproven_requester_may_take_three_seconds_and_to_a_peer_longer() {
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    let mut wait = |requester: SocketAddr| {
        search(&mut rig, from([10, 9, 9, 9]), &format!("for {}", requester.ip()), "song", requester);
        connects(&mut rig).remove(0)
    };
    let (first, _, known) = wait(peer(1));
    assert_eq!((wait(peer(2)).2, known), (Duration::from_secs(3), Duration::from_secs(10)));
    rig.fail(first, DialFault::TimedOut);
    search(&mut rig, from([10, 9, 9, 9]), "again", "song", peer(1));
    assert_eq!(connects(&mut rig)[0].2, Duration::from_secs(3), "it does not answer any more");
}

#[test]
fn a_neighbour_gets_searches_of_others_within_its_budget_and_all_of_our_user() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let (mut passed, mut own, mut newcomer) = (0, 0, 0);
    let mut count = |rig: &mut Rig| {
        loop {
            let dials = rig.dials();
            if dials.is_empty() {
                return;
            }
            for (exchange, to, messages) in dials {
                let [Message::Search(Search { id, .. })] = &messages[..] else { panic!("{messages:?}") };
                rig.deliver(exchange);
                if to != peer(1) {
                    continue;
                }
                passed += usize::from(!id.is_p1());
                own += usize::from(id.is_p1());
                newcomer += usize::from(id.as_bytes().starts_with(b"new"));
            }
        }
    };
    // 17 users that send 680 a second in all.
    for tick in 0..20u32 {
        for n in 0..68u8 {
            let sender = from([10, 7, n % 17, 1]);
            rig.request(sender, query(format!("{tick}/{n}").as_bytes(), "x", peer(200), 3));
        }
        if tick >= 10 {
            rig.search_within("rare", Some(1));
            rig.request(from([10, 7, 99, 1]), query(format!("new{tick}").as_bytes(), "x", peer(201), 3));
        }
        count(&mut rig);
        for _ in 0..10 {
            rig.pass(Duration::from_millis(10));
            count(&mut rig);
        }
    }
    rig.pass(Duration::from_millis(100));
    count(&mut rig);
    assert_eq!((own, newcomer), (10, 10), "our own, and those of one who took little");
    assert!((460..=490).contains(&passed), "{passed} in 2 s, where 400 at once and 40 a second may be");
    assert!(limited(&rig).forwards_dropped > 800, "{:?}", limited(&rig));
}

#[test]
fn a_neighbour_that_fails_holds_few_workers() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let flood = |rig: &mut Rig, ids: std::ops::Range<u32>| {
        for n in ids {
            rig.request(from([10, 7, 1, 1]), query(format!("q{n}").as_bytes(), "x", peer(200), 1));
        }
        connects(rig)
    };
    let under_way = flood(&mut rig, 0..40);
    assert_eq!(under_way.len(), 16);
    for (exchange, ..) in under_way {
        rig.fail(exchange, DialFault::TimedOut);
    }
    assert_eq!(connects(&mut rig).len(), 2, "of those that wait");
    assert_eq!(flood(&mut rig, 40..80).len(), 0);
}

#[test]
fn a_peers_own_searches_are_accepted_when_it_forwards_too_many() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for n in 0..600 {
        search(&mut rig, from([10, 0, 1, 1]), &format!("passed{n}"), "x", peer(7));
    }
    assert_eq!(limited(&rig).searches_refused, 100);
    for n in 0..500 {
        search(&mut rig, from([10, 0, 1, 1]), &format!("own{n}"), "x", peer(1));
    }
    assert_eq!(limited(&rig).searches_refused, 100);
}

#[test]
fn costly_searches_are_answered_less_often() {
    let names: Vec<String> = (0..100).map(|n| format!("song {n:02}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let mut rig = Rig::among(vec![peer(1), peer(2)], &files);
    let answered = |rig: &mut Rig, text: &str, requester: SocketAddr| {
        let mut around = Surroundings::new();
        for n in 0..600 {
            let id = format!("p1-{:016x}", rig.now.as_ms() * 1_000 + n);
            search(rig, requester, &id, text, requester);
            around.settle(rig);
        }
        around.reached.get(&requester).copied().unwrap_or(0)
    };
    // 50 hits cost two more than the answer itself. The debt is paid off later.
    assert_eq!(answered(&mut rig, "song", peer(1)), 167);
    assert_eq!(limited(&rig).answers_refused, 333, "100 were no more taken as searches");
    assert_eq!(answered(&mut rig, "song 07", peer(2)), 500, "another has its own, and a narrow search is cheap");
    rig.pass(Duration::from_secs(10));
    assert_eq!(answered(&mut rig, "song 07", peer(1)), 499);
}

#[test]
fn a_walk_over_a_large_library_costs_more_than_one_over_a_small_one() {
    let names: Vec<String> = (0..45_000).map(|n| format!("file {n}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let mut rig = Rig::among(vec![peer(1)], &files);
    // Found without a walk.
    for n in 0..440 {
        search(&mut rig, peer(1), &format!("cheap{n}"), "file 7", peer(1));
    }
    for n in 0..30 {
        search(&mut rig, peer(1), &format!("dear{n}"), "nothing like it", peer(1));
    }
    assert_eq!(limited(&rig).answers_refused, 10, "60 are left, and each of these costs 3");
}

#[test]
fn long_searches_of_one_network_leave_every_other_slice_to_another() {
    let names: Vec<String> = (0..45_000).map(|n| format!("file {n}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let mut rig = Rig::among(vec![peer(1)], &files);
    // Not settled: nothing is looked for yet.
    let mut begin = |sender: SocketAddr, id: String, text: &str| {
        let (exchange, message) = (ExchangeId::Inbound(1), query(id.as_bytes(), text, peer(1), 0));
        rig.node.handle(rig.now, Event::Request { exchange, from: sender, message });
    };
    for n in 0..70 {
        begin(addr(&format!("[2001:db8::{n}]:40000")), format!("long{n}"), "nothing like it");
    }
    begin(from([10, 0, 1, 1]), "other".to_owned(), "file 44999");
    let mut slices = 0;
    while !std::iter::from_fn(|| rig.node.poll_action()).any(|action| matches!(action, Action::Dial { .. })) {
        rig.node.work(rig.now);
        slices += 1;
    }
    assert!(slices <= 2 * 24, "{slices}, of which 23 are its own");
    assert_eq!(limited(&rig).answers_dropped, 6, "one network has 64 places");
}

fn busy(rig: &mut Rig) -> Vec<ExchangeId> {
    rig.take(|action| match action {
        Action::Refuse { exchange, reason: Refusal::Busy } => Some(*exchange),
        _ => None,
    })
}

#[test]
fn nine_addresses_of_one_network_queue_as_one() {
    // One waits for a worker, the other for its turn under the upload limit.
    for (max_workers, upload_limit) in [(1, 0), (256, 100)] {
        let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers, upload_limit, ..config() });
        rig.scan(&[("a", 16 << 10)]);
        let many: Vec<_> = (1..=9).map(|n| rig.ask_for_a(&format!("[2001:db8::{n}]"))).collect();
        let other = [rig.ask_for_a("192.0.2.1"), rig.ask_for_a("192.0.2.1")];
        let mut order = rig.files_sent();
        while order.len() < 11 {
            let exchange = *order.last().unwrap();
            rig.handle(Event::ResponseEnded { exchange, outcome: Ok(16 << 10) });
            order.extend(rig.files_sent());
        }
        assert_eq!(order[..5], [many[0], other[0], many[1], other[1], many[2]], "networks take turns");
    }
}

#[test]
fn one_network_does_not_hold_all_workers() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers: 32, ..config() });
    rig.scan(&[("a", 10)]);
    for n in 0..50 {
        rig.ask_for_a(&format!("[2001:db8::{n}]"));
    }
    assert_eq!(rig.files_sent().len(), 16, "half");
    let other = rig.ask_for_a("192.0.2.1");
    assert_eq!(rig.files_sent(), [other]);
}

#[test]
fn requests_of_two_networks_leave_workers_for_hits_and_for_our_user() {
    let mut rig = Rig::remembering(NodeConfig { bootstraps: Vec::new(), max_workers: 32, ..config() }, vec![peer(1)]);
    rig.scan(&[("a", 10)]);
    for _ in 0..50 {
        rig.ask_for_a("192.0.2.1");
        rig.ask_for_a("192.0.2.2");
    }
    assert_eq!(rig.files_sent().len(), 24, "three quarters");
    search(&mut rig, peer(1), "heard", "a", peer(1));
    let mut around = Surroundings::new();
    around.settle(&mut rig);
    assert_eq!(around.reached.get(&peer(1)), Some(&1), "the hit goes out");
}

#[test]
fn a_full_queue_drops_the_newest_of_the_network_with_most() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_workers: 1, ..config() });
    rig.scan(&[("a", 10)]);
    rig.ask_for_a("192.0.2.99");
    for n in 0..4_096 {
        rig.ask_for_a(&format!("[2001:db8:{}::{n}]", n % 4));
    }
    assert_eq!(busy(&mut rig), []);
    let newcomer = rig.ask_for_a("192.0.2.1");
    let refused = busy(&mut rig);
    assert!(refused.len() == 1 && refused[0] != newcomer, "{refused:?}");
    // The same when only its network has no place left: another address of it is displaced.
    let newcomer = rig.ask_for_a("[2001:db8:1::ffff:1]");
    let refused = busy(&mut rig);
    assert!(refused.len() == 1 && refused[0] != newcomer, "{refused:?}");
    assert_eq!(limited(&rig).requests_dropped, 2);
}

#[test]
fn a_network_of_many_addresses_is_called_back_no_more_often_than_one_address() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    rig.scan(&[("a", 10)]);
    let close = |rig: &mut Rig, requester: SocketAddr| {
        rig.handle(Event::RequesterClosed { requester, name: name("a"), counted: 0 });
    };
    (0..70).for_each(|n| close(&mut rig, addr(&format!("[2001:db8::{n}]:40000"))));
    assert_eq!(limited(&rig).call_backs_dropped, 6);
    for network in 1..=15 {
        (0..64).for_each(|n| close(&mut rig, addr(&format!("[2001:db8:{network}::{n}]:40000"))));
    }
    assert_eq!(limited(&rig).call_backs_dropped, 6, "1,024 in all");
    close(&mut rig, addr("192.0.2.1:40000"));
    assert_eq!(limited(&rig).call_backs_dropped, 7);
}

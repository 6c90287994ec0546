//! Registering, staying listed, and the evaluation of listed peers.

use super::rig::*;
use crate::control::{LinkState, Notice, PeerRow, PeerSource, PeerState, Reply, Request};
use crate::fault::{DialFault, ResolveFault};
use crate::node::contract::{Action, BootstrapAddr, Event, NodeConfig, RememberedPeers, Response};
use crate::wire::{ListedPeer, Message};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn peers(rig: &mut Rig) -> Vec<PeerRow> {
    match rig.call(Request::Peers) {
        Ok(Reply::Peers(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

fn link_state(rig: &Rig) -> LinkState {
    rig.node.links(rig.now)[0].state
}

/// Sends a search so that every neighbour is dialled, and ends each dial as given.
fn probe(rig: &mut Rig, outcome: impl Fn(SocketAddr) -> Result<(), DialFault>) {
    rig.search_within("anything at all", Some(0));
    for (exchange, to, _) in rig.dials() {
        match outcome(to) {
            Ok(()) => rig.deliver(exchange),
            Err(fault) => rig.fail(exchange, fault),
        }
    }
}

#[test]
fn a_node_registers_keeps_alive_and_unregisters() {
    let mut rig = Rig::new(config());
    assert_eq!(link_state(&rig), LinkState::Registering);
    rig.join(vec![peer(1)]);
    assert_eq!(link_state(&rig), LinkState::Registered);
    let rows = peers(&mut rig);
    assert_eq!(rows.len(), 1, "we do not list ourselves: {rows:?}");
    assert_eq!((rows[0].addr, rows[0].source, rows[0].state), (peer(1), PeerSource::Bootstrap, PeerState::New));
    assert!(rows[0].neighbour);

    // A second list is requested soon, since peers often start together.
    rig.pass(Duration::from_secs(5));
    rig.answer_peer_list(vec![peer(1), peer(2)]);
    assert_eq!(peers(&mut rig).len(), 2);

    let started = rig.now;
    let keepalive = loop {
        rig.jump();
        match rig.dials().pop() {
            Some((exchange, to, messages)) if messages == [Message::Keepalive { port: 63_339, p1: true }] => {
                assert_eq!(to, bootstrap());
                break exchange;
            }
            Some((exchange, _, _)) => rig.succeed(exchange, plain_list(vec![us(), peer(1), peer(2)])),
            None => {}
        }
    };
    assert!(rig.now.saturating_since(started) <= Duration::from_secs(300));
    rig.deliver(keepalive);
    rig.answer_peer_list(vec![peer(1)]);

    rig.take(|order| matches!(order, Action::RememberPeers(_)).then_some(()));
    rig.handle(Event::Leave);
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (bootstrap(), Message::Unregister { port: 63_339, p1: true }));
    assert!(!rig.orders.iter().any(|order| matches!(order, Action::Left)));
    rig.deliver(exchange);
    assert_eq!(rig.take(|order| matches!(order, Action::Left).then_some(())).len(), 1);
    rig.orders.clear();
    rig.pass(Duration::from_secs(3_600));
    assert!(rig.orders.is_empty(), "nothing happens after the end: {:?}", rig.orders);
}

#[test]
fn a_lost_bootstrap_node_that_listed_us_is_unregistered_from_too() {
    let mut rig = Rig::new(config());
    let (exchange, ..) = rig.dial();
    rig.deliver(exchange);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::TimedOut);
    assert_eq!(link_state(&rig), LinkState::Waiting);
    rig.handle(Event::Leave);
    assert_eq!(rig.dial().2, Message::Unregister { port: 63_339, p1: true });

    // One that never accepted us gets no message.
    let mut rig = Rig::new(config());
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::TimedOut);
    rig.handle(Event::Leave);
    assert!(rig.dials().is_empty());
    assert!(rig.orders.iter().any(|order| matches!(order, Action::Left)));
}

#[test]
fn the_time_for_unregistering_is_limited() {
    let mut rig = Rig::new(config());
    rig.join(Vec::new());
    rig.handle(Event::Leave);
    rig.pass(Duration::from_millis(2_999));
    assert!(!rig.orders.iter().any(|order| matches!(order, Action::Left)));
    rig.pass(Duration::from_millis(1));
    assert!(rig.orders.iter().any(|order| matches!(order, Action::Left)));
}

#[test]
fn a_bootstrap_node_that_is_down_is_tried_less_and_less_often() {
    let mut rig = Rig::new(config());
    rig.call(Request::Events).unwrap();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let (exchange, _, message) = rig.dial();
        assert_eq!(message, Message::Register { port: 63_339, p1: true });
        rig.fail(exchange, DialFault::Refused);
        let row = &rig.node.links(rig.now)[0];
        assert_eq!((row.state, row.error.as_deref()), (LinkState::Waiting, Some("connection refused")));
        assert!(row.retry_in_s.is_some());
        let failed = rig.now;
        while link_state(&rig) == LinkState::Waiting {
            rig.jump();
        }
        waits.push(rig.now.saturating_since(failed));
    }
    assert!(waits[0] >= Duration::from_secs(1) && waits[0] <= Duration::from_secs(3), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(18) && waits[11] <= Duration::from_secs(54), "{waits:?}");
    let notices = rig.notices();
    let lost = |notice: &&Notice| matches!(notice, Notice::BootstrapLost { .. });
    assert_eq!(notices.iter().filter(lost).count(), 12);
    rig.join(Vec::new());
    assert_eq!(rig.notices(), [Notice::Registered { addr: "10.0.0.1:21168".into() }]);
}

#[test]
fn a_host_name_is_resolved_each_time_and_each_address_is_tried() {
    let host = BootstrapAddr { host: "bootstrap.example".into(), port: 21_168 };
    let mut rig = Rig::new(NodeConfig { bootstraps: vec![host.clone()], ..config() });
    let lookups = |rig: &mut Rig| {
        rig.take(|order| match order {
            Action::Resolve { host } => Some(host.clone()),
            _ => None,
        })
    };
    assert_eq!(lookups(&mut rig), std::slice::from_ref(&host));
    assert_eq!(link_state(&rig), LinkState::Resolving);
    rig.handle(Event::Resolved { host: host.clone(), outcome: Err(ResolveFault::Lookup("try again".into())) });
    rig.pass(Duration::from_secs(3));
    assert_eq!(lookups(&mut rig), std::slice::from_ref(&host));

    let ips = ["2001:db8::1", "192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap()).to_vec();
    rig.handle(Event::Resolved { host, outcome: Ok(ips) });
    // Our listener accepts IPv4 only, so that a registration over IPv6 would be useless while there is a choice.
    for to in ["192.0.2.1:21168", "192.0.2.2:21168", "[2001:db8::1]:21168"] {
        let (exchange, tried, _) = rig.dial();
        assert_eq!(tried, addr(to));
        rig.fail(exchange, DialFault::TimedOut);
    }
    assert_eq!(link_state(&rig), LinkState::Waiting);
}

#[test]
fn an_old_bootstrap_node_that_dropped_us_gets_limited_new_registrations() {
    let mut rig = Rig::new(NodeConfig { keepalive_refresh: Duration::from_secs(20), ..config() });
    rig.join(vec![peer(1)]);
    let mut registrations = 0;
    let end = rig.now + Duration::from_secs(100);
    while rig.now < end {
        rig.jump();
        while let Some((exchange, _, messages)) = rig.dials().pop() {
            match messages[0] {
                Message::RequestPeerList { .. } => rig.succeed(exchange, plain_list(vec![peer(1)])),
                Message::Register { .. } => {
                    registrations += 1;
                    rig.deliver(exchange);
                }
                _ => rig.deliver(exchange),
            }
        }
    }
    assert!((4..=6).contains(&registrations), "{registrations} registrations in five keepalives");
    assert_eq!(link_state(&rig), LinkState::Registered);
}

/// Lets time pass, with a bootstrap node that answers every list request with this list. When other messages were sent.
fn with_list(rig: &mut Rig, span: Duration, list: impl Fn() -> Response) -> Vec<(Duration, Message)> {
    let (start, mut sent) = (rig.now, Vec::new());
    while rig.now < start + span {
        while let Some((exchange, _, mut messages)) = rig.dials().pop() {
            let message = messages.remove(0);
            match message {
                Message::RequestPeerList { .. } => rig.succeed(exchange, list()),
                _ => rig.deliver(exchange),
            }
            sent.push((rig.now.saturating_since(start), message));
        }
        rig.jump();
    }
    sent
}

#[test]
fn a_peer_that_is_no_longer_listed_registers_again_within_a_minute() {
    let mut rig = Rig::new(config());
    rig.join(vec![peer(1)]);
    let registers = |sent: &[(Duration, Message)]| -> Vec<Duration> {
        sent.iter().filter(|(_, of)| matches!(of, Message::Register { .. })).map(|(at, _)| *at).collect()
    };
    let whole = || plain_list(vec![us(), peer(1)]);
    assert_eq!(registers(&with_list(&mut rig, Duration::from_secs(600), whole)), []);
    // Twice: once is no reason to wait the next time.
    for _ in 0..2 {
        let again = registers(&with_list(&mut rig, Duration::from_secs(60), || plain_list(Vec::new())));
        assert!(again.first().is_some_and(|at| *at <= Duration::from_secs(45)), "{again:?}");
        with_list(&mut rig, Duration::from_secs(60), whole);
    }
    // A bootstrap node that never lists us does not get registrations all the time.
    let again = registers(&with_list(&mut rig, Duration::from_secs(3_600), || plain_list(Vec::new())));
    assert!((10..=18).contains(&again.len()), "{again:?}");
}

#[test]
fn a_list_that_is_a_sample_is_requested_seldom_and_keepalives_keep_us_listed() {
    let mut rig = Rig::new(NodeConfig { max_peers: 2, ..config() });
    rig.join(Vec::new());
    let sample = || {
        let addr = |n: u16| SocketAddr::new(peer(1).ip(), 10_000 + n);
        Response::PeerList((0..200).map(|n| ListedPeer { addr: addr(n), p1: true }).collect())
    };
    let sent = with_list(&mut rig, Duration::from_secs(3_600), sample);
    let of =
        |wanted: fn(&Message) -> bool| sent.iter().filter(|(_, of)| wanted(of)).map(|(at, _)| *at).collect::<Vec<_>>();
    assert!(of(|of| matches!(of, Message::RequestPeerList { .. })).len() <= 16);
    let kept = of(|of| matches!(of, Message::Keepalive { .. }));
    assert!(kept.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_secs(50)), "{kept:?}");
    assert!(of(|of| matches!(of, Message::Register { .. })).is_empty());
}

#[test]
fn unusable_addresses_on_a_list_are_ignored() {
    let mut rig = Rig::new(config());
    let odd = ["0.0.0.0:5000", "224.0.0.1:5000", "255.255.255.255:5000", "10.0.1.1:0", "127.0.0.1:5000", "[::]:5000"];
    let mut list: Vec<_> = odd.map(addr).to_vec();
    list.extend([peer(1), peer(1), addr("[::ffff:10.0.1.1]:63339"), us()]);
    rig.join(list);
    let rows = peers(&mut rig);
    assert_eq!(rows.iter().map(|row| row.addr).collect::<Vec<_>>(), [peer(1)]);
}

#[test]
fn dead_neighbours_are_replaced_and_dropped_after_three_failures() {
    let mut rig = Rig::remembering(NodeConfig { max_peers: 2, ..config() }, (1..=3).map(peer).collect());
    rig.join(Vec::new());
    let neighbours =
        |rig: &mut Rig| -> Vec<_> { peers(rig).into_iter().filter(|row| row.neighbour).map(|row| row.addr).collect() };
    let first = neighbours(&mut rig);
    assert_eq!(first.len(), 2);
    let dead = first[0];
    let judge = |to| if to == dead { Err(DialFault::TimedOut) } else { Ok(()) };
    probe(&mut rig, judge);
    let second = neighbours(&mut rig);
    assert_eq!(second.len(), 2);
    assert!(!second.contains(&dead) && second.contains(&first[1]), "the one that answered stays: {second:?}");

    // Without better ones, failing peers are retried, and dropped in the end; many attempts at once are one failure.
    let nobody_but_bootstrap = |to| if to == bootstrap() { Ok(()) } else { Err(DialFault::Refused) };
    for _ in 0..10 {
        probe(&mut rig, nobody_but_bootstrap);
    }
    assert_eq!(peers(&mut rig).len(), 3);
    for _ in 0..10 {
        rig.pass(Duration::from_secs(30));
        probe(&mut rig, nobody_but_bootstrap);
    }
    assert_eq!(peers(&mut rig), []);
}

#[test]
fn while_no_bootstrap_node_answers_no_saved_peer_is_dropped() {
    let mut rig = Rig::remembering(config(), vec![peer(1)]);
    for _ in 0..10 {
        probe(&mut rig, |_| Err(DialFault::Unreachable));
        rig.pass(Duration::from_secs(30));
    }
    let rows = peers(&mut rig);
    assert_eq!((rows[0].addr, rows[0].state), (peer(1), PeerState::Failing));
}

#[test]
fn a_listed_peer_is_kept_although_it_fails() {
    let mut rig = Rig::new(config());
    rig.call(Request::Events).unwrap();
    rig.join(vec![peer(1)]);
    probe(&mut rig, |_| Ok(()));
    assert!(rig.notices().contains(&Notice::PeerUp { addr: peer(1) }));
    for _ in 0..5 {
        rig.pass(Duration::from_secs(30));
        probe(&mut rig, |to| if to == bootstrap() { Ok(()) } else { Err(DialFault::Refused) });
    }
    let down = rig.notices().into_iter().filter(|notice| matches!(notice, Notice::PeerDown { .. })).count();
    assert_eq!(down, 1, "a peer goes down once");
    assert_eq!(peers(&mut rig)[0].state, PeerState::Failing);
    // No longer listed, it is dropped.
    let list = loop {
        let dials = rig.dials();
        match dials.iter().find(|(_, _, messages)| matches!(messages[..], [Message::RequestPeerList { .. }])) {
            Some((exchange, ..)) => break *exchange,
            None => dials.into_iter().for_each(|(exchange, ..)| rig.deliver(exchange)),
        }
        rig.jump();
    };
    rig.succeed(list, plain_list(vec![us()]));
    assert_eq!(peers(&mut rig), []);
}

/// The next list of the bootstrap node; peers dialled meanwhile do not answer.
pub(super) fn list_next(rig: &mut Rig, peers: Vec<SocketAddr>) {
    let list = loop {
        let mut list = None;
        for (exchange, _, messages) in rig.dials() {
            match &messages[..] {
                [Message::RequestPeerList { .. }] => list = Some(exchange),
                [Message::Search(_)] => rig.fail(exchange, DialFault::Refused),
                _ => rig.deliver(exchange),
            }
        }
        match list {
            Some(list) => break list,
            None => drop(rig.jump()),
        }
    };
    rig.succeed(list, plain_list(peers.into_iter().chain([us()]).collect()));
}

#[test]
fn an_address_that_a_third_party_named_is_no_peer_until_it_answers_as_one() {
    let mut rig = Rig::among(vec![peer(1)], &[("song", 1)]);
    rig.handle(Event::Reconfigure(Box::new(NodeConfig { bootstraps: Vec::new(), max_peers: 1, ..config() })));
    let named = peer(5);
    rig.request(addr("11.0.0.1:40000"), query(b"q", "song", named, 0));
    let (exchange, to, _) = rig.dial();
    assert_eq!(to, named);
    rig.deliver(exchange);
    rig.pass(Duration::from_secs(70));
    let remembered = rig.take(|order| match order {
        Action::RememberPeers(peers) => Some(peers.clone()),
        _ => None,
    });
    assert_eq!(remembered, [remembered_peers(vec![peer(1)])]);
    let neighbour = |rig: &mut Rig| peers(rig).into_iter().find(|row| row.neighbour).map(|row| row.addr);
    assert_eq!(neighbour(&mut rig), Some(peer(1)), "though the other one answered");

    // A hit for our search from its own address shows that it is one.
    rig.search_within("song", Some(0));
    let (exchange, _, Message::Search(ours)) = rig.dial() else { panic!("a search") };
    rig.hit(&ours.id, named, listed("song", None));
    rig.fail(exchange, DialFault::TimedOut);
    assert_eq!(neighbour(&mut rig), Some(named));
}

#[test]
fn good_peers_are_remembered_at_most_once_a_minute() {
    let mut rig = Rig::new(config());
    rig.join(vec![peer(1)]);
    let remembered = |rig: &mut Rig| {
        rig.take(|order| match order {
            Action::RememberPeers(peers) => Some(peers.clone()),
            _ => None,
        })
    };
    rig.pass(Duration::from_secs(5));
    assert_eq!(remembered(&mut rig), [remembered_peers(vec![peer(1)])]);
    rig.answer_peer_list(vec![peer(1), peer(2)]);
    probe(&mut rig, |to| if to == peer(2) { Ok(()) } else { Err(DialFault::Reset) });
    rig.pass(Duration::from_secs(54));
    assert!(remembered(&mut rig).is_empty());
    rig.pass(Duration::from_secs(7));
    let expected = RememberedPeers { proven: vec![peer(2)], others: vec![peer(1)] };
    assert_eq!(remembered(&mut rig), [expected], "who answered is known as a proven neighbour");
}

#[test]
fn a_new_configuration_changes_only_the_links_it_concerns() {
    let second = BootstrapAddr { host: "10.0.0.9".into(), port: 7_000 };
    let mut rig = Rig::new(config());
    rig.join(vec![peer(1)]);
    let both = vec![config().bootstraps[0].clone(), second.clone()];
    rig.handle(Event::Reconfigure(Box::new(NodeConfig { bootstraps: both, ..config() })));
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (addr("10.0.0.9:7000"), Message::Register { port: 63_339, p1: true }));
    rig.deliver(exchange);
    rig.answer_peer_list(Vec::new());

    // The first is dropped while one of its tasks is under way.
    let only = NodeConfig { bootstraps: vec![second], listen: addr("0.0.0.0:1"), ..config() };
    rig.handle(Event::Reconfigure(Box::new(only)));
    let unregister = rig.dials().pop().unwrap();
    assert_eq!((unregister.1, &unregister.2[..]), (bootstrap(), &[Message::Unregister { port: 63_339, p1: true }][..]));
    rig.deliver(unregister.0);
    assert_eq!(rig.node.links(rig.now).len(), 1);
    assert_eq!(rig.node.links(rig.now)[0].addr, "10.0.0.9:7000");
}

#[test]
fn the_address_given_to_others_is_the_one_that_reaches_the_bootstrap_node() {
    let advertised = |rig: &mut Rig| match rig.call(Request::Status) {
        Ok(Reply::Status(status)) => status.advertise,
        other => panic!("{other:?}"),
    };
    let mut rig = Rig::new(NodeConfig { local_addrs: Vec::new(), ..config() });
    assert_eq!(advertised(&mut rig), None);
    rig.join(Vec::new());
    assert_eq!(advertised(&mut rig), Some(us()));
    let fixed = Some(addr("192.0.2.7:0").ip());
    let mut rig = Rig::new(NodeConfig { advertise_addr: fixed, ..config() });
    assert_eq!(advertised(&mut rig), Some(addr("192.0.2.7:63339")));
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    assert_eq!(advertised(&mut rig), Some(us()), "an address of this machine is the best guess, loopback the last");
}

#[test]
fn with_other_addresses_of_this_machine_each_link_registers_again_at_once() {
    let mut rig = Rig::new(config());
    rig.join(Vec::new());
    let elsewhere = || NodeConfig { local_addrs: vec![addr("192.0.2.9:0").ip()], ..config() };
    rig.handle(Event::Reconfigure(Box::new(elsewhere())));
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (bootstrap(), Message::Register { port: 63_339, p1: true }));
    rig.fail(exchange, DialFault::NoInterface);
    let row = rig.node.links(rig.now).remove(0);
    assert_eq!((row.state, row.error), (LinkState::Waiting, Some(DialFault::NoInterface.to_string())));

    // Not after its wait: that would be some seconds later.
    rig.handle(Event::Reconfigure(Box::new(config())));
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (bootstrap(), Message::Register { port: 63_339, p1: true }));
    rig.deliver(exchange);
    assert_eq!(rig.node.links(rig.now)[0].state, LinkState::Registered);
}

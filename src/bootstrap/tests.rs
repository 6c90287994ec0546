mod dials;
mod shares;

use super::*;
use crate::id::QueryId;
use crate::name::FileName;
use crate::time::WallClock;
use crate::wire::{Listed, Search, SearchResponse};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const START: Instant = Instant::from_ms(1_700_000_000_000);

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

fn endpoint_of(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A bootstrap node that numbers its exchanges, and whose every request must have exactly one answer.
struct World {
    node: Bootstrap,
    exchanges: u64,
}

impl World {
    fn new() -> Self {
        Self { node: Bootstrap::new(START, [7; 32]), exchanges: 0 }
    }

    fn ask(&mut self, now: Instant, from: &str, message: Message) -> BootstrapAction {
        self.exchanges += 1;
        let exchange = ExchangeId::Inbound(self.exchanges);
        self.node.handle(now, exchange, endpoint_of(from), message);
        let action = self.node.poll_action().expect("an answer");
        assert_eq!(self.node.poll_action(), None);
        let named = match &action {
            BootstrapAction::SendPeerList { exchange, .. }
            | BootstrapAction::Close { exchange }
            | BootstrapAction::Refuse { exchange, .. } => *exchange,
            BootstrapAction::Check { to, .. } => panic!("{to} is to be dialled"),
        };
        assert_eq!(named, exchange);
        action
    }

    fn register(&mut self, now: Instant, from: &str, port: u16) -> Result<(), BootstrapRefusal> {
        accepted(self.ask(now, from, Message::Register { port, p1: false }))
    }

    fn keepalive(&mut self, now: Instant, from: &str, port: u16) -> Result<(), BootstrapRefusal> {
        accepted(self.ask(now, from, Message::Keepalive { port, p1: false }))
    }

    fn list(&mut self, now: Instant, peers_max: u32) -> Vec<SocketAddr> {
        match self.ask(now, "192.0.2.200:50000", Message::RequestPeerList { peers_max, p1: false }) {
            BootstrapAction::SendPeerList { peers, .. } => peers.into_iter().map(|peer| peer.addr).collect(),
            other => panic!("no list: {other:?}"),
        }
    }

    fn sorted_list(&mut self, now: Instant) -> Vec<String> {
        let mut peers: Vec<_> = self.list(now, u32::MAX).iter().map(SocketAddr::to_string).collect();
        peers.sort();
        peers
    }
}

fn accepted(action: BootstrapAction) -> Result<(), BootstrapRefusal> {
    match action {
        BootstrapAction::Close { .. } => Ok(()),
        BootstrapAction::Refuse { reason, .. } => Err(reason),
        other => panic!("not an answer to this: {other:?}"),
    }
}

#[test]
fn a_peer_registers_renews_expires_registers_again_and_unregisters() {
    let mut world = World::new();
    assert_eq!(world.register(START, "10.0.0.1:40000", 63339), Ok(()));
    assert_eq!(world.sorted_list(START), ["10.0.0.1:63339"]);
    assert_eq!(world.node.next_deadline(), Some(START + minutes(10)));

    // A keepalive renews the lease, from any source port.
    assert_eq!(world.keepalive(START + minutes(6), "10.0.0.1:40001", 63339), Ok(()));
    assert_eq!(world.node.next_deadline(), Some(START + minutes(16)));
    assert_eq!(world.sorted_list(START + minutes(15)), ["10.0.0.1:63339"]);

    // Without a keepalive for ten minutes it is dropped, even if nobody called `advance`.
    assert_eq!(world.sorted_list(START + minutes(16)), [] as [&str; 0]);
    assert_eq!(world.node.next_deadline(), None);

    // The next keepalive lists it again.
    assert_eq!(world.keepalive(START + minutes(17), "10.0.0.1:40002", 63339), Ok(()));
    assert_eq!(world.sorted_list(START + minutes(17)), ["10.0.0.1:63339"]);

    let leave = |port| Message::Unregister { port, p1: false };
    assert_eq!(accepted(world.ask(START + minutes(18), "10.0.0.1:1", leave(1))), Ok(()));
    assert_eq!(world.node.count(), 1);
    assert_eq!(accepted(world.ask(START + minutes(18), "10.0.0.1:1", leave(63339))), Ok(()));
    assert_eq!(accepted(world.ask(START + minutes(18), "10.0.0.1:1", leave(63339))), Ok(()));
    assert_eq!(world.node.count(), 0);
}

#[test]
fn leases_end_in_the_order_of_their_last_renewal() {
    let mut world = World::new();
    for (second, port) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
        world.register(START + Duration::from_secs(second), "10.0.0.1:9", port).unwrap();
    }
    world.keepalive(START + Duration::from_secs(10), "10.0.0.1:9", 1).unwrap();
    world.ask(START + Duration::from_secs(10), "10.0.0.1:9", Message::Unregister { port: 3, p1: false });
    let order: Vec<u16> = world.node.snapshot().iter().map(|lease| lease.peer.port()).collect();
    assert_eq!(order, [2, 4, 1]);
    world.node.advance(START + LEASE + Duration::from_secs(3));
    assert_eq!(world.node.count(), 1);
}

#[test]
fn an_ipv4_peer_behind_a_dual_stack_listener_is_one_peer() {
    let mut world = World::new();
    world.register(START, "[::ffff:10.0.0.1]:9", 63339).unwrap();
    world.register(START, "10.0.0.1:9", 63339).unwrap();
    world.register(START, "[2001:db8::1]:9", 63339).unwrap();
    assert_eq!(world.sorted_list(START), ["10.0.0.1:63339", "[2001:db8::1]:63339"]);
}

#[test]
fn registrations_from_unusable_addresses_are_refused() {
    let mut world = World::new();
    let sources = ["0.0.0.0:9", "0.1.2.3:9", "224.0.0.1:9", "255.255.255.255:9", "[::]:9", "[ff02::1]:9"];
    for from in sources.into_iter().chain(["[::ffff:0.0.0.0]:9", "[::ffff:239.1.1.1]:9"]) {
        assert_eq!(world.register(START, from, 63339), Err(BootstrapRefusal::BadSource), "{from}");
        assert_eq!(world.keepalive(START, from, 63339), Err(BootstrapRefusal::BadSource), "{from}");
    }
    assert_eq!(world.register(START, "127.0.0.1:9", 63339), Ok(()));
}

#[test]
fn messages_for_peers_are_refused() {
    let mut world = World::new();
    let name = FileName::from_bytes(b"a").unwrap();
    let (id, requester) = (QueryId::p1(1), endpoint_of("10.0.0.1:1"));
    let file = Listed { name: name.clone(), attributes: None };
    for message in [
        Message::DownloadRequest { name },
        Message::ListFiles { p1: true },
        Message::Search(Search { id: id.clone(), text: b"a".as_slice().into(), requester, ttl: 1 }),
        Message::SearchResponse(SearchResponse { id, responder: requester, file }),
    ] {
        let answer = accepted(world.ask(START, "10.0.0.1:9", message));
        assert_eq!(answer, Err(BootstrapRefusal::WrongNode));
        assert_eq!(answer.unwrap_err().reason(), "wrong_node");
    }
}

#[test]
fn one_address_cannot_fill_the_registry() {
    let mut world = World::new();
    let limit = u16::try_from(REGISTRY_PEERS_PER_NETWORK_MAX).unwrap();
    for port in 1..=limit {
        world.register(START, "10.0.0.1:9", port).unwrap();
        world.register(START, &format!("[2001:db8::{port:x}]:9"), 63339).unwrap();
    }
    // A new one replaces another of the same address, and no others.
    assert_eq!(world.register(START, "10.0.0.1:9", limit + 1), Ok(()));
    assert_eq!(world.register(START, "[2001:db8::ffff:1]:9", 63339), Ok(()));
    assert_eq!(world.node.count(), 2 * REGISTRY_PEERS_PER_NETWORK_MAX);
    assert_eq!(world.node.limited(), Limited { displaced: 2, refused: 0 });
    // Members renew; a neighbour is admitted; a member that unregisters makes room.
    assert_eq!(world.keepalive(START, "10.0.0.1:9", limit + 1), Ok(()));
    assert_eq!(world.register(START, "10.0.0.2:9", 1), Ok(()));
    assert_eq!(world.register(START, "[2001:db8:0:1::1]:9", 63339), Ok(()));
    world.ask(START, "10.0.0.1:9", Message::Unregister { port: 1, p1: false });
    assert_eq!(world.register(START, "10.0.0.1:9", limit + 2), Ok(()));
    assert_eq!(world.node.limited().displaced, 2);
}

#[test]
fn a_full_registry_refuses_newcomers_and_keeps_its_members() {
    let mut world = World::new();
    let peers = (0..REGISTRY_PEERS_MAX as u32).map(|i| Lease {
        peer: SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + i).into(), 1),
        since: START,
        ends: START + minutes(5),
        p1: false,
        answered: None,
    });
    world.node.restore(START, peers.collect());
    assert_eq!(world.node.count(), REGISTRY_PEERS_MAX);
    assert_eq!(world.register(START, "192.0.2.1:9", 1), Err(BootstrapRefusal::RegistryFull));
    assert_eq!(world.keepalive(START, "10.0.0.1:9", 1), Ok(()));
    assert_eq!(world.list(START, u32::MAX).len(), PEER_LIST_MAX);
    world.node.advance(START + minutes(5));
    assert_eq!(world.node.count(), 1);
    assert_eq!(world.register(START + minutes(5), "192.0.2.1:9", 1), Ok(()));
}

#[test]
fn lists_are_uniform_and_without_repeats() {
    let mut world = World::new();
    for port in 1..=20 {
        world.register(START, "10.0.0.1:9", port).unwrap();
    }
    let mut times_listed = BTreeMap::new();
    let mut times_first = BTreeMap::new();
    for _ in 0..4_000 {
        let list = world.list(START, 5);
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), 5);
        list.iter().for_each(|peer| *times_listed.entry(peer.port()).or_insert(0) += 1);
        *times_first.entry(list[0].port()).or_insert(0) += 1;
    }
    // Expected 1000 and 200; the bounds are more than six standard deviations away.
    assert_eq!(times_listed.len(), 20);
    assert!(times_listed.values().all(|times| (820..1180).contains(times)), "{times_listed:?}");
    assert!(times_first.values().all(|times| (110..290).contains(times)), "{times_first:?}");

    assert_eq!(world.list(START, 0), []);
    assert_eq!(world.sorted_list(START).len(), 20);
}

#[test]
fn the_same_seed_draws_the_same_lists() {
    let lists = |seed| {
        let mut world = World { node: Bootstrap::new(START, seed), exchanges: 0 };
        (1..100).for_each(|port| world.register(START, "10.0.0.1:9", port).unwrap());
        (0..10).map(|_| world.list(START, 10)).collect::<Vec<_>>()
    };
    assert_eq!(lists([1; 32]), lists([1; 32]));
    assert_ne!(lists([1; 32]), lists([2; 32]));
}

#[test]
fn registrations_survive_a_restart() {
    let mut before = World::new();
    before.register(START, "10.0.0.1:9", 1).unwrap();
    before.register(START + minutes(3), "[2001:db8::1]:9", 2).unwrap();
    before.register(START + minutes(4), "10.0.0.3:9", 3).unwrap();
    let text = encode_snapshot(&before.node.snapshot(), WallClock::default());

    let mut after = World::new();
    after.register(START + minutes(12), "10.0.0.4:9", 4).unwrap();
    after.node.restore(START + minutes(12), decode_snapshot(&text));
    assert_eq!(after.sorted_list(START + minutes(12)), ["10.0.0.3:3", "10.0.0.4:4", "[2001:db8::1]:2"]);
    assert_eq!(after.node.next_deadline(), Some(START + minutes(13)));
    after.node.advance(START + minutes(14));
    assert_eq!(after.sorted_list(START + minutes(14)), ["10.0.0.4:4"]);
}

#[test]
fn a_lease_ends_no_sooner_and_no_later_because_the_wall_clock_was_set() {
    let hour = minutes(60);
    let set_forward = WallClock::showing((START + minutes(4) + hour).as_ms(), START + minutes(4));
    let mut before = World::new();
    before.register(START, "10.0.0.1:9", 1).unwrap();
    before.register(START + minutes(3), "10.0.0.2:9", 2).unwrap();
    let text = encode_snapshot(&before.node.snapshot(), set_forward);

    // The next run begins at the date that the wall clock shows, eight minutes later.
    let mut after = World::new();
    after.node.restore(START + minutes(12) + hour, decode_snapshot(&text));
    assert_eq!(after.sorted_list(START + minutes(12) + hour), ["10.0.0.2:2"]);
    assert_eq!(after.node.next_deadline(), Some(START + minutes(13) + hour));
}

/// The lines of the list that a requester gets, with or without `p1`.
fn lines_for(world: &mut World, p1: bool) -> Vec<String> {
    let peers = match world.ask(START, "192.0.2.200:50000", Message::RequestPeerList { peers_max: 10, p1 }) {
        BootstrapAction::SendPeerList { peers, .. } => peers,
        other => panic!("no list: {other:?}"),
    };
    let text = String::from_utf8(crate::wire::encode_peer_list(&peers)).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_p1_mark_follows_the_last_message_of_a_peer_and_is_listed_on_request() {
    let mut world = World::new();
    let says = |world: &mut World, port, p1| world.ask(START, "10.0.0.1:9", Message::Register { port, p1 });
    let keeps = |world: &mut World, port, p1| world.ask(START, "10.0.0.1:9", Message::Keepalive { port, p1 });
    says(&mut world, 1, true);
    says(&mut world, 2, false);
    keeps(&mut world, 3, true);
    assert_eq!(lines_for(&mut world, true), ["10.0.0.1,1,p1", "10.0.0.1,2", "10.0.0.1,3,p1"]);
    assert_eq!(lines_for(&mut world, false), ["10.0.0.1,1", "10.0.0.1,2", "10.0.0.1,3"]);

    // The snapshot keeps it.
    let mut after = World::new();
    after.node.restore(START, decode_snapshot(&encode_snapshot(&world.node.snapshot(), WallClock::default())));
    assert_eq!(lines_for(&mut after, true), ["10.0.0.1,1,p1", "10.0.0.1,2", "10.0.0.1,3,p1"]);

    // A later message of the endpoint replaces it.
    says(&mut world, 1, false);
    says(&mut world, 2, true);
    keeps(&mut world, 3, false);
    assert_eq!(lines_for(&mut world, true), ["10.0.0.1,1", "10.0.0.1,2,p1", "10.0.0.1,3"]);
}

#[test]
fn a_snapshot_of_an_earlier_version_is_read() {
    let text = b"# Pyrate registry: IP,Port,end of the lease in ms since the epoch\n10.0.0.1,1,1700000000001\n";
    let mut world = World::new();
    world.node.restore(START, decode_snapshot(text));
    assert_eq!(lines_for(&mut world, true), ["10.0.0.1,1"]);
}

#[test]
fn the_intact_lines_of_a_damaged_snapshot_are_read() {
    let lines: [&[u8]; 10] = [
        b"# anything",
        b"",
        b"10.0.0.1,1,5\r",
        b"10.0.0.2,2,1700000000001",
        b"10.0.0.3,0,9\n10.0.0.4,4",
        b"\xff",
        b"10.0.0.5,5,6,7",
        b"10.0.0.7,7,1700000000001,p1,",
        b"10.0.0.8,8,1700000000001,p2",
        b"10.0.0.6,6,17000",
    ];
    let whole = decode_snapshot(&lines.join(&b'\n'));
    let peers: Vec<u16> = whole.iter().map(|lease| lease.peer.port()).collect();
    assert_eq!(peers, [2, 6]);

    // Invalid leases that parse end within the usual time, and no unusable address is listed.
    let mut world = World::new();
    let far = Instant::from_ms(u64::MAX);
    let strange = ["10.0.0.1:1", "0.0.0.0:1", "224.0.0.1:1"].map(|peer| Lease {
        peer: endpoint_of(peer),
        since: far,
        ends: far,
        p1: false,
        answered: Some(far),
    });
    world.node.restore(START, [&strange[..], &whole].concat());
    assert_eq!(world.sorted_list(START), ["10.0.0.1:1", "10.0.0.2:2"]);
    world.node.advance(START + LEASE);
    assert_eq!(world.node.count(), 0);
}

#[test]
fn the_revision_changes_with_every_change_to_be_saved() {
    let mut world = World::new();
    let mut last = world.node.revision();
    let mut changed = |world: &World| std::mem::replace(&mut last, world.node.revision()) != world.node.revision();
    world.register(START, "10.0.0.1:9", 1).unwrap();
    assert!(changed(&world));
    world.list(START, 5);
    world.ask(START, "10.0.0.1:9", Message::Unregister { port: 2, p1: false });
    assert!(!changed(&world));
    world.keepalive(START + minutes(1), "10.0.0.1:9", 1).unwrap();
    assert!(changed(&world));
    world.node.advance(START + minutes(11));
    assert!(changed(&world));
}

#[test]
fn pages_list_the_registry_by_address() {
    let mut world = World::new();
    for port in [5, 3, 1, 4, 2] {
        world.register(START, "10.0.0.1:9", port).unwrap();
    }
    let now = START + minutes(4);
    let mut ports = Vec::new();
    let mut after = None;
    loop {
        let (rows, next) = world.node.page(now, after, 2);
        assert!(rows.iter().all(|&(_, left)| left == minutes(6)));
        ports.push(rows.iter().map(|(peer, _)| peer.port()).collect::<Vec<_>>());
        match next {
            Some(_) => after = next,
            None => break,
        }
    }
    assert_eq!(ports, [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(world.node.page(now, None, 5).1, None);
    assert_eq!(world.node.page(now, Some(endpoint_of("10.0.0.1:5")), 5), (vec![], None));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// The registry against a map from peer to the end of its lease.
    #[test]
    fn the_registry_is_a_map_of_leases(steps in prop::collection::vec((0..5u8, 1..8u16, 0..400u64), 0..80)) {
        let mut world = World::new();
        let mut model: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
        let mut now = START;
        for (kind, port, seconds) in steps {
            let from = format!("10.0.0.{}:9", port % 3 + 1);
            let peer = endpoint(endpoint_of(&from), port);
            match kind {
                0 => {
                    world.register(now, &from, port).unwrap();
                    model.insert(peer, now + LEASE);
                }
                1 => {
                    world.keepalive(now, &from, port).unwrap();
                    model.insert(peer, now + LEASE);
                }
                2 => {
                    world.ask(now, &from, Message::Unregister { port, p1: false });
                    model.remove(&peer);
                }
                3 => {
                    now = now + Duration::from_secs(seconds);
                    world.node.advance(now);
                }
                _ => {
                    let saved = decode_snapshot(&encode_snapshot(&world.node.snapshot(), WallClock::default()));
                    world.node = Bootstrap::new(now, [1; 32]);
                    world.node.restore(now, saved);
                }
            }
            model.retain(|_, ends| *ends > now);
            prop_assert_eq!(world.node.next_deadline(), model.values().min().copied());
            let snapshot = world.node.snapshot();
            prop_assert!(snapshot.is_sorted_by_key(|lease| lease.ends));
            prop_assert_eq!(snapshot.into_iter().map(|lease| (lease.peer, lease.ends)).collect::<BTreeMap<_, _>>(), model.clone());
            let listed: BTreeSet<_> = world.list(now, u32::MAX).into_iter().collect();
            prop_assert_eq!(listed, model.keys().copied().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn reading_any_snapshot_does_not_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        Bootstrap::new(START, [0; 32]).restore(START, decode_snapshot(&text));
    }
}

//! The shares of a network and of a wide network in a list and in the registry.

use super::*;

/// Whether an endpoint is registered.
fn is_registered(world: &World, peer: &str) -> bool {
    world.node.snapshot().iter().any(|lease| lease.peer == endpoint_of(peer))
}

/// A user behind the same NAT as an attacker who takes all places of its address, and renews them.
#[test]
fn nobody_is_kept_out_by_others_of_the_same_network() {
    let mut world = World::new();
    let limit = u16::try_from(REGISTRY_PEERS_PER_NETWORK_MAX).unwrap();
    world.register(START, "10.0.0.1:9", 50_000).unwrap();
    let mut now = START + minutes(1);
    for port in 1..=limit {
        world.register(now, "10.0.0.1:9", port).unwrap();
    }
    for round in 0..5 {
        now = now + minutes(1);
        (1..=limit).for_each(|port| world.keepalive(now, "10.0.0.1:9", port).unwrap());
        world.keepalive(now, "10.0.0.1:9", 60_000).unwrap();
        assert!(is_registered(&world, "10.0.0.1:60000"), "round {round}");
        // New ones replace those renewed longest ago, and so not the last one at once.
        for port in 0..100 {
            world.register(now + Duration::from_secs(1), "10.0.0.1:9", 10_000 + round * 100 + port).unwrap();
        }
        assert!(is_registered(&world, "10.0.0.1:60000"), "round {round}");
        // The first one stays, although it was renewed longest ago.
        assert!(is_registered(&world, "10.0.0.1:50000"), "round {round}");
    }
}

/// The rows of a list with this address.
fn rows_of(list: &[SocketAddr], address: &str) -> usize {
    list.iter().filter(|peer| peer.ip() == address.parse::<std::net::IpAddr>().unwrap()).count()
}

#[test]
fn a_network_gets_at_most_its_share_of_a_list_however_many_ports_it_registers() {
    let mut world = World::new();
    for port in 1..=256 {
        world.register(START, "192.0.2.66:9", port).unwrap();
    }
    for n in 1..=79 {
        world.register(START, &format!("10.0.{n}.1:9"), 63_339).unwrap();
    }
    let mut listed = 0;
    for _ in 0..100 {
        let list = world.list(START, 40);
        assert_eq!(list.len(), 40);
        listed += rows_of(&list, "192.0.2.66");
    }
    // One of 80 networks: half a row of each list on the average.
    assert!((20..=80).contains(&listed), "{listed} rows in 100 lists");
    let list = world.list(START, 400);
    assert_eq!((list.len(), rows_of(&list, "192.0.2.66")), (79 + 5, 5), "a share of 400 / 80");
}

#[test]
fn a_list_that_is_not_full_contains_all_of_the_requesters_network() {
    let mut world = World::new();
    for n in 0..20 {
        world.register(START, &format!("10.0.0.{n}:9"), 63_339).unwrap();
    }
    for port in 1..=30 {
        world.register(START, "192.0.2.7:9", port).unwrap();
    }
    let answer = |world: &mut World, from: &str| match world.ask(
        START,
        from,
        Message::RequestPeerList { peers_max: 100, p1: false },
    ) {
        BootstrapAction::SendPeerList { peers, .. } => peers.into_iter().map(|row| row.addr).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(rows_of(&answer(&mut world, "192.0.2.7:40000"), "192.0.2.7"), 30);
    assert_eq!(rows_of(&answer(&mut world, "10.0.0.1:40000"), "192.0.2.7"), 5);
}

#[test]
fn networks_that_register_and_unregister_do_not_affect_later_lists() {
    let mut world = World::new();
    for round in 0..50_u16 {
        for n in 0..20_u16 {
            let from = format!("10.0.{}.{}:9", n / 4, n % 4);
            world.register(START, &from, 1_000 + round).unwrap();
            if (n + round) % 3 == 0 {
                let port = 1_000 + round.saturating_sub(n % 5);
                world.ask(START, &from, Message::Unregister { port, p1: false });
            }
        }
        let mut all = world.node.snapshot().iter().map(|lease| lease.peer).collect::<Vec<_>>();
        let mut listed = world.list(START, u32::MAX);
        all.sort();
        listed.sort();
        assert_eq!(listed, all);
    }
}

/// The rows of a list whose addresses have this prefix.
fn rows_beginning(list: &[SocketAddr], address: &str) -> usize {
    list.iter().filter(|peer| peer.ip().to_string().starts_with(address)).count()
}

/// A list as a requester gets it.
fn list_for(world: &mut World, asker: &str, peers_max: u32) -> Vec<SocketAddr> {
    match world.ask(START, asker, Message::RequestPeerList { peers_max, p1: false }) {
        BootstrapAction::SendPeerList { peers, .. } => peers.into_iter().map(|row| row.addr).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_addresses_of_a_wide_network_do_not_keep_others_off_a_list() {
    let mut world = World::new();
    for n in 0..=255 {
        world.register(START, &format!("192.0.2.{n}:9"), 5_000).unwrap();
    }
    for n in 0..400 {
        world.register(START, &format!("[2001:db8:7:{n:x}::1]:9"), 5_000).unwrap();
    }
    for n in 0..20 {
        world.register(START, &format!("10.{n}.0.1:9"), 5_000).unwrap();
        world.register(START, &format!("[2001:db8:1{n:02}:1::1]:9"), 5_000).unwrap();
    }
    let list = list_for(&mut world, "10.99.0.1:40000", 84);
    let count = |address| rows_beginning(&list, address);
    assert_eq!((list.len(), count("10."), count("2001:db8:1")), (84, 20, 20), "each has its row");
    assert_eq!((count("192.0.2."), count("2001:db8:7:")), (22, 22), "what is left over is theirs, in equal parts");
    // In a short list they have as many as any other network.
    let mut theirs = 0;
    for _ in 0..200 {
        let list = list_for(&mut world, "10.99.0.1:40000", 10);
        theirs += rows_beginning(&list, "192.0.2.") + rows_beginning(&list, "2001:db8:7:");
    }
    assert!((40..=160).contains(&theirs), "2 of 42 wide networks, and {theirs} of 2,000 rows");
}

/// A university with many honest peers: others see some of them, as far as there is room; its own see each other as if there
/// were no wide networks.
#[test]
fn the_peers_of_a_wide_network_are_listed_to_each_other_and_fill_the_rest() {
    let mut world = World::new();
    for n in 0..100 {
        world.register(START, &format!("192.0.2.{n}:9"), 5_000).unwrap();
    }
    for n in 0..100 {
        world.register(START, &format!("10.{n}.0.1:9"), 5_000).unwrap();
    }
    let mut seen = |asker: &str, rows| {
        (0..50).map(|_| rows_beginning(&list_for(&mut world, asker, rows), "192.0.2.")).sum::<usize>()
    };
    assert_eq!(seen("10.0.0.1:40000", 200), 50 * 100, "a list with room for all shows all");
    assert_eq!(seen("10.0.0.1:40000", 150), 50 * 50);
    let (abroad, at_home) = (seen("10.0.0.1:40000", 40), seen("192.0.2.7:40000", 40));
    assert!(abroad <= 50 && (800..=1_200).contains(&at_home), "{abroad} and {at_home} of 2,000 rows");
}

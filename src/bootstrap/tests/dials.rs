//! Dialling registrants, and its effect on lists.

use super::*;
use crate::time::WallClock;

/// The dials ordered now, without the answers to requests.
fn checks(node: &mut Bootstrap) -> Vec<(SocketAddr, bool)> {
    let wanted = |action| match action {
        BootstrapAction::Check { to, p1 } => Some((to, p1)),
        _ => None,
    };
    std::iter::from_fn(|| node.poll_action()).filter_map(wanted).collect()
}

fn register(node: &mut Bootstrap, now: Instant, peer: &str, p1: bool) {
    let peer = endpoint_of(peer);
    let from = SocketAddr::new(peer.ip(), 40_000);
    node.handle(now, ExchangeId::Inbound(1), from, Message::Register { port: peer.port(), p1 });
}

#[test]
fn registrants_are_dialled_at_intervals() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    let peer = endpoint_of("10.0.0.1:5000");
    register(&mut node, START, "10.0.0.1:5000", true);
    assert_eq!(checks(&mut node), [(peer, true)], "at the source address of the registration");
    register(&mut node, START, "10.0.0.1:5000", true);
    assert_eq!(checks(&mut node), [], "once, while it is being dialled");
    node.on_checked(START, peer, Some(true));
    assert_eq!((node.answered(peer), node.answered_counts()), (Some(true), (1, 0)));
    for (after, dialled) in [(9, 0), (18, 0), (27, 0), (36, 1)] {
        register(&mut node, START + minutes(after), "10.0.0.1:5000", false);
        assert_eq!(checks(&mut node), vec![(peer, false); dialled], "after {after} minutes");
    }
    let silent = START + minutes(36);
    node.on_checked(silent, peer, Some(false));
    assert_eq!((node.answered(peer), node.answered_counts()), (Some(false), (0, 1)));
    register(&mut node, silent + minutes(1), "10.0.0.1:5000", false);
    assert_eq!(checks(&mut node).len(), 1, "after a minute");
    node.on_checked(silent + minutes(1), peer, None);
    assert_eq!(node.answered(peer), Some(false), "a dial that we could not make says nothing");
}

/// One that registers before it listens must not be listed last for long, and one that never listens must not be dialled often.
#[test]
fn silent_registrants_are_dialled_again_soon_then_less_often() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    let peer = endpoint_of("10.0.0.1:5000");
    register(&mut node, START, "10.0.0.1:5000", true);
    assert_eq!(checks(&mut node), [(peer, true)]);
    let mut now = START;
    for after in [1, 2, 4, 8, 10, 10] {
        node.on_checked(now, peer, Some(false));
        register(&mut node, now + minutes(after) / 2, "10.0.0.1:5000", true);
        register(&mut node, now + minutes(after).saturating_sub(Duration::from_millis(1)), "10.0.0.1:5000", true);
        assert_eq!(checks(&mut node), [], "less than {after} minutes after");
        now = now + minutes(after);
        assert_eq!(node.next_deadline(), Some(now), "without a keepalive");
        node.advance(now);
        assert_eq!(checks(&mut node), [(peer, true)], "{after} minutes after");
    }
    node.on_checked(now, peer, Some(true));
    node.on_checked(now, peer, Some(false));
    assert_eq!(node.next_deadline(), Some(now + minutes(1)), "an answer makes up for silence");
}

#[test]
fn silent_registrants_do_not_delay_others() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    for n in 0..300 {
        let peer = format!("10.{}.{}.1:5000", n / 200, n % 200);
        register(&mut node, START, &peer, true);
        node.on_checked(START, endpoint_of(&peer), Some(false));
    }
    for port in 1..=200 {
        let peer = format!("10.9.9.9:{port}");
        register(&mut node, START, &peer, true);
        node.on_checked(START, endpoint_of(&peer), Some(false));
    }
    let mut now = START;
    while let Some(next) = node.next_deadline().filter(|next| *next < START + Duration::from_secs(90)) {
        assert!(next > now || now == START, "the loop must not spin");
        now = next;
        node.advance(now);
        for (peer, _) in checks(&mut node) {
            node.on_checked(now, peer, Some(false));
        }
    }
    register(&mut node, now, "10.200.0.1:5000", true);
    node.advance(now + Duration::from_millis(250));
    assert_eq!(checks(&mut node), [(endpoint_of("10.200.0.1:5000"), true)]);
}

#[test]
fn dials_are_bounded_at_once_by_time_and_by_network() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    for port in 1..=256 {
        register(&mut node, START, &format!("10.0.0.1:{port}"), true);
    }
    let mut dialled = checks(&mut node).len();
    assert_eq!(dialled, 1);
    let mut now = START;
    while let Some(next) = node.next_deadline().filter(|next| *next < START + minutes(1)) {
        assert!(next > now, "the loop must not spin");
        now = next;
        node.advance(now);
        for (peer, _) in checks(&mut node) {
            dialled += 1;
            node.on_checked(now, peer, Some(false));
        }
    }
    assert_eq!(dialled, 1 + 4, "one network has four that wait, each six seconds after the other");

    let mut node = Bootstrap::new(START, [7; 32]).checking();
    for n in 0..=255 {
        register(&mut node, START, &format!("10.0.{n}.1:5000"), true);
    }
    let mut dialled = checks(&mut node).len();
    let mut now = START;
    while let Some(next) = node.next_deadline().filter(|next| *next < START + minutes(1)) {
        assert!(next > now, "the loop must not spin");
        now = next;
        node.advance(now);
        dialled += checks(&mut node).len();
    }
    assert_eq!(dialled, 16, "none of which is over");
    assert_eq!(now, START + Duration::from_millis(250) * 15);
    node.on_checked(now, endpoint_of("10.0.0.1:5000"), Some(true));
    assert_eq!(node.next_deadline(), Some(now + Duration::from_millis(250)));
}

#[test]
fn registrants_that_answered_are_listed_first_within_the_share_of_their_network() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    for n in 0..40 {
        register(&mut node, START, &format!("10.0.{n}.1:5000"), false);
    }
    for n in 0..10 {
        node.on_checked(START, endpoint_of(&format!("10.0.{n}.1:5000")), Some(true));
        node.on_checked(START, endpoint_of(&format!("10.0.{}.1:5000", n + 10)), Some(false));
    }
    for port in 1..=200 {
        let peer = format!("10.9.9.9:{port}");
        register(&mut node, START, &peer, false);
        node.on_checked(START, endpoint_of(&peer), (port <= 100).then_some(true));
    }
    checks(&mut node);
    let mut list = |wanted| {
        let asker = endpoint_of("192.0.2.200:50000");
        node.handle(START, ExchangeId::Inbound(1), asker, Message::RequestPeerList { peers_max: wanted, p1: false });
        match node.poll_action() {
            Some(BootstrapAction::SendPeerList { peers, .. }) => peers.iter().map(|peer| peer.addr).collect::<Vec<_>>(),
            other => panic!("no list: {other:?}"),
        }
    };
    let answered = |peer: &SocketAddr| match peer.ip() {
        IpAddr::V4(ip) if ip.octets()[1] == 9 => peer.port() <= 100,
        IpAddr::V4(ip) => ip.octets()[2] < 10,
        IpAddr::V6(_) => false,
    };
    let of_one = |peers: &[SocketAddr]| peers.iter().filter(|peer| peer.port() != 5000).count();
    let some = list(11);
    assert!(some.iter().all(answered) && of_one(&some) == 1, "{some:?}");
    let more = list(30);
    assert!(more[..11].iter().all(answered) && more.len() == 30 && of_one(&more) == 1, "{more:?}");
    let all = list(82);
    assert_eq!((all.len(), of_one(&all)), (42, 2), "two of each of the 41 networks at most");
}

#[test]
fn a_full_network_replaces_silent_registrants_and_keeps_those_that_answered() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    let limit = u16::try_from(REGISTRY_PEERS_PER_NETWORK_MAX).unwrap();
    let peer = |port: u16| format!("10.0.0.1:{port}");
    for port in 1..=limit {
        register(&mut node, START, &peer(port), true);
    }
    node.on_checked(START, endpoint_of(&peer(1)), Some(false));
    for port in 2..limit {
        node.on_checked(START, endpoint_of(&peer(port)), Some(true));
    }
    let is_registered =
        |node: &Bootstrap, port| node.snapshot().iter().any(|lease| lease.peer == endpoint_of(&peer(port)));
    // The first and the last have not answered: one was dialled and was silent, the other, the newest, was not dialled.
    register(&mut node, START + minutes(1), &peer(1_000), true);
    assert!(!is_registered(&node, 1) && is_registered(&node, limit));
    register(&mut node, START + minutes(2), &peer(1_001), true);
    assert!(!is_registered(&node, limit) && is_registered(&node, 1_000));
    // The newcomers answer, so all have answered.
    [1_000, 1_001]
        .into_iter()
        .for_each(|port| node.on_checked(START + minutes(2), endpoint_of(&peer(port)), Some(true)));
    checks(&mut node);
    register(&mut node, START + minutes(3), &peer(1_002), true);
    let refused = BootstrapAction::Refuse { exchange: ExchangeId::Inbound(1), reason: BootstrapRefusal::AddressFull };
    assert!(std::iter::from_fn(|| node.poll_action()).any(|action| action == refused));
    assert_eq!((node.limited(), node.count()), (Limited { displaced: 2, refused: 1 }, limit.into()));
}

#[test]
fn a_registrant_that_replaces_another_is_dialled() {
    let mut node = Bootstrap::new(START, [7; 32]).checking();
    for port in 1..=300 {
        register(&mut node, START, &format!("10.0.0.1:{port}"), true);
    }
    let mut now = START;
    let mut dialled = Vec::new();
    while let Some(next) = node.next_deadline().filter(|next| *next < START + minutes(1)) {
        now = next;
        node.advance(now);
        for (peer, _) in checks(&mut node) {
            dialled.push(peer);
            node.on_checked(now, peer, Some(true));
        }
    }
    register(&mut node, now, "10.0.0.1:60000", true);
    node.advance(now + Duration::from_secs(6));
    assert_eq!(checks(&mut node), [(endpoint_of("10.0.0.1:60000"), true)]);
}

#[test]
fn which_registrants_answered_survives_a_restart() {
    let mut before = Bootstrap::new(START, [7; 32]).checking();
    let (heard, silent) = (endpoint_of("10.0.0.1:5000"), endpoint_of("10.0.0.2:5000"));
    register(&mut before, START, "10.0.0.1:5000", true);
    register(&mut before, START, "10.0.0.2:5000", true);
    let saved = before.revision();
    before.on_checked(START + minutes(1), heard, Some(true));
    assert_ne!(before.revision(), saved, "it is worth saving");
    before.on_checked(START + minutes(1), silent, Some(false));
    let text = encode_snapshot(&before.snapshot(), WallClock::default());

    let restored = |node: Bootstrap| {
        let mut node = node;
        node.restore(START + minutes(5), decode_snapshot(&text));
        node
    };
    let mut after = restored(Bootstrap::new(START, [7; 32]).checking());
    assert_eq!((after.answered(heard), after.answered(silent)), (Some(true), None));
    assert_eq!(after.snapshot(), before.snapshot());
    register(&mut after, START + minutes(6), "10.0.0.1:5000", true);
    assert_eq!(checks(&mut after), [], "it is not dialled again before its time");
    register(&mut after, START + minutes(32), "10.0.0.1:5000", true);
    assert_eq!(checks(&mut after).len(), 1);
    // A node that does not dial cannot know how long that stays true.
    let unchecking = restored(Bootstrap::new(START, [7; 32]));
    assert_eq!((unchecking.answered(heard), unchecking.count()), (None, 2));
}

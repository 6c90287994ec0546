//! Peers that have just registered are found at once (PROTOCOL, part 2, First contact).

use crate::harness::{Daemon, Fake, Framing, LIMIT, OldBootstrap, Setup, Stopwatch, ask, free_port, pyratectl, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// How long after it has started a newcomer is found.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// Starts two that share a file, and searches once.
#[track_caller]
fn assert_two_newcomers_are_found(asker: &Daemon, bootstraps: &[SocketAddr]) {
    let newcomer = |n| Setup::peer().joins(bootstraps).shares("fresh.txt", format!("fresh {n}")).start();
    let newcomers = [newcomer(1), newcomer(2)];
    let watch = Stopwatch::start();
    asker.search_until("fresh", |rows| rows.len() == 2);
    assert!(watch.elapsed() < FOUND_WITHIN, "found after {:?}", watch.elapsed());
    let rows = pyratectl(asker, ["--json", "search", "fresh.txt"]).json();
    let sources: Vec<_> = rows.as_array().expect("rows").iter().map(|row| row["sources"][0].clone()).collect();
    assert!(newcomers.iter().all(|newcomer| sources.contains(&json!(newcomer.listen()))), "{rows}");
}

/// A peer that knows one other, and has asked for the list for the last time in half a minute.
fn settled_asker(bootstraps: &[SocketAddr]) -> [Daemon; 2] {
    let other = Setup::peer().joins(bootstraps).start();
    let asker = Setup::peer().joins(bootstraps).start();
    asker.await_neighbour(other.listen());
    [asker, other]
}

#[test]
fn newcomers_are_found_within_three_seconds_by_a_peer_that_knows_another() {
    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let [asker, other] = settled_asker(&at);
    assert_two_newcomers_are_found(&asker, &at);
    assert_two_newcomers_are_found(&other, &at);
}

#[test]
fn newcomers_are_found_beside_a_dead_bootstrap_node_and_through_one_of_2014() {
    let old = OldBootstrap::listing(&[]);
    let at = [SocketAddr::from(([127, 0, 0, 1], free_port())), old.addr()];
    let [asker, other] = settled_asker(&at);
    let lists = || old.fake.heard_beginning("1:").len();
    until("each has looked twice at the list", LIMIT, || lists() >= 4);
    assert_two_newcomers_are_found(&asker, &at);

    // A user who searches in a loop does not load the bootstrap node.
    let before = lists();
    let mut control = other.control();
    for _ in 0..100 {
        control.call("search", json!({ "text": "nothing like it", "ttl": 0 })).expect("it begins");
    }
    let asked = lists() - before;
    assert!(asked <= 8, "{asked} lists for 100 searches");
}

/// A claim of an endpoint makes a node open one connection to where the claim comes from, and a few of them at all.
#[test]
fn forged_announcements_cause_few_connections_and_crowd_nobody_out() {
    let bootstrap = Setup::bootstrap().start();
    let [asker, other] = settled_asker(&[bootstrap.bootstrap_addr()]);
    let ears: Vec<_> = (0..80).map(|_| Fake::ear()).collect();
    for ear in &ears {
        let zeros = "0".repeat(64);
        let claim = format!("6:p1-0123456789abcdef:b3={zeros}:127.0.0.1:{}:0", ear.addr.port());
        assert_eq!(ask(asker.listen(), claim.as_bytes(), Framing::Fin).bytes, b"p1\n");
    }
    let refused = || asker.status()["limited"]["announcements_refused"].as_u64().expect("a number");
    let asked = || ears.iter().filter(|ear| !ear.heard_beginning("6:").is_empty()).count() as u64;
    until("each was acted on or refused", LIMIT, || asked() + refused() >= 80);
    assert!(asked() <= 60, "{} were asked back", asked());
    let neighbours = asker.peers_that(|row| row["neighbour"] == Value::Bool(true));
    assert_eq!(neighbours, [other.listen()], "nobody who only claims is a neighbour");
}

//! Peers that have just registered are found at once (PROTOCOL, part 2, First contact).

use crate::harness::{Daemon, Setup, Stopwatch, pyratectl};
use serde_json::json;
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
    assert!(watch.ran() < FOUND_WITHIN, "found after {:?}", watch.ran());
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

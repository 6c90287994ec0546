//! A search ends when all that were asked are done (PROTOCOL, part 2, The end of a search).

use crate::harness::{
    Daemon, Fake, Framing, LIMIT, Reading, Setup, Stopwatch, ask, free_port, old_peer, pyratectl, until,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What the best of five searches takes at most, on a machine that is busy with other tests: rings that wait take seconds.
const WANTED: Duration = Duration::from_millis(300);

/// What one search takes at most beside a peer that says nothing: some 250 ms, and what other tests take. Where it is awaited as one
/// that waits for others, that is a second.
const WANTED_OF_FIRST: Duration = Duration::from_millis(700);

/// Five peers that know each other, of which each shares a file of its own and one that all have.
fn five_peers(bootstrap: SocketAddr) -> Vec<Daemon> {
    let start = |n: usize| Setup::peer().joins(&[bootstrap]).shares(format!("only {n}.txt"), format!("{n}")).start();
    let peers: Vec<_> = (0..5).map(start).collect();
    for peer in &peers {
        peers
            .iter()
            .filter(|other| other.listen() != peer.listen())
            .for_each(|other| peer.await_neighbour(other.listen()));
    }
    peers
}

/// How long `pyratectl search` takes at best of some, and what it finds.
fn search(peer: &Daemon, text: &str) -> (Duration, Vec<Value>) {
    let once = |_| {
        let watch = Stopwatch::start();
        let rows = pyratectl(peer, ["--json", "search", "--wait", "10s", text]).json();
        (watch.ran(), rows.as_array().cloned().unwrap_or_default())
    };
    let mut trials: Vec<_> = (0..5).map(once).collect();
    trials.sort_by_key(|(took, _)| *took);
    println!("search {text}: {:?}", trials.iter().map(|(took, _)| *took).collect::<Vec<_>>());
    assert!(trials.iter().all(|(_, rows)| rows.len() == trials[0].1.len()), "each finds the same: {trials:?}");
    trials.swap_remove(0)
}

#[track_caller]
fn assert_searches_are_quick(peer: &Daemon) {
    for (text, found) in [("only 3.txt", 1), ("nothing like it", 0)] {
        let (took, rows) = search(peer, text);
        assert_eq!(rows.len(), found);
        assert!(took < WANTED, "search {text}: {took:?}");
    }
}

#[test]
fn a_search_among_five_peers_takes_less_than_300_ms_also_beside_a_dead_one() {
    let bootstrap = Setup::bootstrap().start();
    let peers = five_peers(bootstrap.bootstrap_addr());
    assert_searches_are_quick(&peers[0]);
    let dead = free_port();
    ask(bootstrap.bootstrap_addr(), format!("0:{dead}:p1").as_bytes(), Framing::Fin);
    let is_known = || !peers[0].peers_that(|row| row["addr"] == format!("127.0.0.1:{dead}")).is_empty();
    until("the dead one is known", LIMIT, || {
        pyratectl(&peers[0], ["search", "look at the list"]);
        is_known()
    });
    assert_searches_are_quick(&peers[0]);
}

/// Its system takes the connection, and what is sent on it.
#[test]
fn a_peer_that_hangs_does_not_hold_searches_up() {
    let bootstrap = Setup::bootstrap().start();
    let peers = five_peers(bootstrap.bootstrap_addr());
    assert_searches_are_quick(&peers[0]);
    peers[4].signal(Signal::SIGSTOP);
    let watch = Stopwatch::start();
    let rows = pyratectl(&peers[0], ["--json", "search", "--wait", "10s", "only 3.txt"]).json();
    let took = watch.ran();
    println!("the first search takes {took:?}");
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    assert!(took < WANTED_OF_FIRST, "{took:?}");
    assert_searches_are_quick(&peers[0]);
    peers[4].signal(Signal::SIGCONT);
    until("who hung is found again", LIMIT, || {
        let rows = pyratectl(&peers[0], ["--json", "search", "only 4.txt"]).json();
        rows.as_array().is_some_and(|rows| rows.len() == 1)
    });
}

/// Whoever takes a search and never says that it is done.
#[test]
fn a_silent_peer_does_not_hold_searches_up_and_a_base_peer_hears_nothing_new() {
    let bootstrap = Setup::bootstrap().start();
    let peers = five_peers(bootstrap.bootstrap_addr());
    let base = old_peer(&[("old.txt", b"old")]);
    // What it hears counts when it comes: a stream stays open.
    let silent = Fake::serve(Reading::Once, |mut visit| drop(io::copy(&mut visit.stream, &mut io::sink())));
    ask(bootstrap.bootstrap_addr(), format!("0:{}", base.addr.port()).as_bytes(), Framing::Fin);
    ask(bootstrap.bootstrap_addr(), format!("0:{}:p1", silent.addr.port()).as_bytes(), Framing::Fin);
    until("both are asked", LIMIT, || {
        pyratectl(&peers[0], ["search", "look at the list"]);
        !base.heard_beginning("6:").is_empty() && !silent.heard_beginning("6:").is_empty()
    });
    let (took, rows) = search(&peers[0], "old.txt");
    assert_eq!(rows.len(), 1);
    assert!(took < WANTED, "{took:?}");
    let is_report = |message: &Vec<u8>| message.starts_with(b"done") || message.starts_with(b"waits");
    assert!(!base.heard().iter().any(is_report), "{:?}", base.heard());
    assert!(!base.has_ended());
}

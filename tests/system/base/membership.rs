//! A peer's place in the network: registering, keeping, remembering, returning (PROTOCOL, codes 0–3).

use crate::harness::{Daemon, Fake, LIMIT, OldBootstrap, Reading, Setup, THREADS, free_port, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

fn link_state(daemon: &Daemon, index: usize) -> Value {
    daemon.status()["bootstraps"][index]["state"].clone()
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn peers_are_remembered_when_no_bootstrap_node_is_left() {
    let mut bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let source = Setup::peer().joins(&[at]).shares("kept.txt", "kept").start();
    let mut asker = Setup::peer().joins(&[at]).start();
    asker.await_neighbour(source.listen());
    // It has spoken with the source, so it is worth remembering.
    asker.search_until("kept", |rows| !rows.is_empty());
    assert_eq!(asker.stop().code, Some(0));
    assert_eq!(bootstrap.stop().code, Some(0));
    asker.start_again();
    asker.await_neighbour(source.listen());
    let rows = asker.call("peers", Value::Null);
    assert_eq!(rows[0]["source"], "memory", "{rows}");
    let rows = asker.search_until("kept", |rows| !rows.is_empty());
    assert_eq!(rows[0]["sources"], serde_json::json!([source.listen()]));
    assert_eq!(link_state(&asker, 0), "waiting");
}

#[test]
fn an_advertised_address_is_what_others_are_given() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).set("advertise_addr", "'127.0.0.7'").start();
    peer.await_neighbour(ear.addr);
    let expected = format!("127.0.0.7:{}", peer.listen().port());
    assert_eq!(peer.status()["advertise"], expected);
    peer.call("search", serde_json::json!({ "text": "anything" }));
    until("the search goes out", LIMIT, || !ear.heard_beginning("6:").is_empty());
    assert!(ear.heard_beginning("6:")[0].contains(&format!(":{expected}:")), "{:?}", ear.heard_beginning("6:"));
}

#[test]
fn a_host_name_is_looked_up() {
    let bootstrap = OldBootstrap::listing(&[]);
    let addr = format!("'localhost:{}'", bootstrap.addr().port());
    let peer = Setup::peer().set("bootstraps", &format!("[{addr}]")).start();
    until("it is registered", LIMIT, || link_state(&peer, 0) == "registered");
    assert_eq!(peer.status()["bootstraps"][0]["addr"], addr.trim_matches('\''));
    assert_eq!(peer.proc_status("Threads"), THREADS);
}

#[test]
fn a_host_name_that_does_not_exist_is_told() {
    let peer = Setup::peer().set("bootstraps", "['no-such-host.invalid:21168']").start();
    until("the failure is told", LIMIT * 2, || {
        let link = peer.status()["bootstraps"][0].clone();
        link["state"] == "waiting" && link["error"].is_string()
    });
}

#[test]
fn leaving_unregisters_everywhere_within_five_seconds() {
    let (one, two) = (OldBootstrap::listing(&[]), OldBootstrap::listing(&[]));
    // The third takes connections and never answers.
    let mute = Fake::serve(Reading::Once, |_visit| crate::harness::pause(LIMIT));
    let down = here(free_port());
    let mut peer = Setup::peer().joins(&[mute.addr, down, one.addr(), two.addr()]).start();
    let port = peer.listen().port();
    until("it is on both lists", LIMIT, || one.peers().len() == 1 && two.peers().len() == 1);
    let ended = peer.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    for node in [&one, &two] {
        until("it is off the list", LIMIT, || node.peers().is_empty());
        assert_eq!(node.fake.heard_beginning("2:"), [format!("2:{port}:p1")]);
    }
}

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
fn it_registers_with_every_bootstrap_node() {
    let nodes = [OldBootstrap::listing(&[]), OldBootstrap::listing(&[]), OldBootstrap::listing(&[])];
    let peer = Setup::peer().joins(&nodes.each_ref().map(OldBootstrap::addr)).start();
    for (index, node) in nodes.iter().enumerate() {
        until("it is on the list", LIMIT, || node.peers() == [peer.listen()]);
        until("it knows", LIMIT, || link_state(&peer, index) == "registered");
    }
}

#[test]
fn one_bootstrap_node_of_several_suffices() {
    let (down, up) = (here(free_port()), OldBootstrap::listing(&[]));
    let other = Setup::peer().joins(&[up.addr()]).shares("file.txt", "x").start();
    until("the other is listed", LIMIT, || up.peers() == [other.listen()]);
    let peer = Setup::peer().joins(&[down, up.addr()]).start();
    peer.await_neighbour(other.listen());
    until("the dead one is waited for", LIMIT, || link_state(&peer, 0) == "waiting");
    let link = peer.status()["bootstraps"][0].clone();
    assert!(link["retry_in_s"].is_u64() && link["error"].is_string() && link["last_ok"].is_null(), "{link}");
    assert_eq!(link_state(&peer, 1), "registered");
}

#[test]
fn it_registers_when_the_bootstrap_node_comes_up() {
    let at = here(free_port());
    let peer = Setup::peer().joins(&[at]).start();
    until("it waits", LIMIT, || link_state(&peer, 0) == "waiting");
    let node = OldBootstrap::listing_at(at, &[]);
    until("it is on the list", LIMIT * 2, || node.peers() == [peer.listen()]);
    until("it knows", LIMIT, || link_state(&peer, 0) == "registered");
}

#[test]
fn it_returns_to_a_bootstrap_node_that_was_restarted() {
    let mut node = Setup::bootstrap().start();
    let at = node.bootstrap_addr();
    let peer = Setup::peer().joins(&[at]).set("keepalive_refresh", "'1s'").start();
    until("it is registered", LIMIT, || link_state(&peer, 0) == "registered");
    node.stop();
    until("the loss is noticed", LIMIT, || link_state(&peer, 0) == "waiting");
    // All memory is lost, too.
    std::fs::remove_dir_all(node.home().join("state")).expect("removed");
    std::fs::create_dir(node.home().join("state")).expect("a fresh directory");
    node.start_again();
    until("it is registered again", LIMIT * 2, || {
        node.call("bootstrap", Value::Null)["registry"]["peers"][0]["addr"] == peer.listen().to_string()
    });
}

/// With the keepalives as far apart as they are by default: the lists show that it is not on them.
#[test]
fn a_bootstrap_node_that_lost_its_memory_lists_everybody_again_within_a_minute() {
    let mut node = Setup::bootstrap().start();
    let at = node.bootstrap_addr();
    // One neighbour is enough for them, so that no list is asked for in want of others.
    let peers: Vec<Daemon> = (0..3).map(|_| Setup::peer().joins(&[at]).set("max_peers", "1").start()).collect();
    let count = |node: &Daemon| node.call("bootstrap", Value::Null)["registry"]["count"].clone();
    until("they have looked twice at the list", LIMIT, || {
        peers.iter().all(|peer| peer.peers_that(|_| true).len() == 2)
    });
    node.end_by(nix::sys::signal::Signal::SIGKILL);
    std::fs::remove_dir_all(node.home().join("state")).expect("removed");
    std::fs::create_dir(node.home().join("state")).expect("a fresh directory");
    node.start_again();
    until("all are registered again", Duration::from_secs(60), || count(&node) == 3);
    assert!(peers.iter().all(|peer| link_state(peer, 0) == "registered"));
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
fn some_neighbours_are_those_that_answered_in_an_earlier_run_whatever_the_list_says() {
    let ears = |count: usize| (0..count).map(|_| Fake::ear()).collect::<Vec<_>>();
    let addrs = |ears: &[Fake]| ears.iter().map(|ear| ear.addr).collect::<Vec<_>>();
    let (before, strangers) = (ears(4), ears(20));
    let bootstrap = OldBootstrap::listing(&addrs(&before));
    let mut peer = Setup::peer().joins(&[bootstrap.addr()]).start();
    let neighbours = |peer: &Daemon| peer.peers_that(|row| row["neighbour"] == true);
    until("it has neighbours", LIMIT, || neighbours(&peer).len() == 4);
    peer.control().call("search", serde_json::json!({ "text": "anything", "ttl": 1 })).expect("it begins");
    until("they have answered", LIMIT, || peer.peers_that(|row| row["state"] == "alive").len() == 4);
    assert_eq!(peer.stop().code, Some(0));
    bootstrap.list_instead(&addrs(&strangers));
    peer.start_again();
    until("it has neighbours again", LIMIT, || neighbours(&peer).len() == 8);
    let kept = neighbours(&peer).iter().filter(|addr| before.iter().any(|ear| ear.addr == **addr)).count();
    let known = peer.peers_that(|row| row["source"] == "bootstrap").len();
    assert!(kept >= 2, "{kept} of 8 neighbours have answered before; {known} are listed");
}

/// All neighbours take connections and do nothing else. Who is new on the list is searched all the same.
#[test]
fn neighbours_that_only_take_connections_give_way_to_who_is_listed() {
    let sinks: Vec<Fake> = (0..8).map(|_| Fake::ear()).collect();
    let bootstrap = OldBootstrap::listing(&sinks.iter().map(|sink| sink.addr).collect::<Vec<_>>());
    let newcomer = Setup::peer().shares("newcomer.txt", "found").start();
    let peer = Setup::peer().joins(&[bootstrap.addr()]).set("keepalive_refresh", "'1s'").start();
    until("it has neighbours", LIMIT, || peer.peers_that(|row| row["neighbour"] == true).len() == 8);
    peer.control().call("search", serde_json::json!({ "text": "anything", "ttl": 1 })).expect("it begins");
    until("they have answered", LIMIT, || peer.peers_that(|row| row["state"] == "alive").len() == 8);
    bootstrap.list_instead(&[newcomer.listen()]);
    peer.await_neighbour(newcomer.listen());
    let rows = peer.search_until("newcomer", |rows| !rows.is_empty());
    assert_eq!(rows[0]["sources"], serde_json::json!([newcomer.listen()]));
    assert_eq!(peer.status()["limited"]["neighbours_replaced"], 1);
    assert_eq!(peer.peers_that(|row| row["neighbour"] == true).len(), 8);
}

#[test]
fn it_never_lists_itself() {
    let port = free_port();
    let bootstrap = OldBootstrap::listing(&[here(port), here(port)]);
    let peer = Setup::peer().set("listen_port", &port.to_string()).joins(&[bootstrap.addr()]).start();
    until("it is registered", LIMIT, || link_state(&peer, 0) == "registered");
    until("it asked for the list", LIMIT, || !bootstrap.fake.heard_beginning("1:").is_empty());
    crate::harness::holds("it does not know itself", Duration::from_millis(300), || {
        peer.peers_that(|_| true).is_empty()
    });
}

#[test]
fn the_number_of_neighbours_is_bounded() {
    let ears: Vec<Fake> = (0..12).map(|_| Fake::ear()).collect();
    let bootstrap = OldBootstrap::listing(&ears.iter().map(|ear| ear.addr).collect::<Vec<_>>());
    let peer = Setup::peer().joins(&[bootstrap.addr()]).set("max_peers", "3").start();
    until("it has neighbours", LIMIT, || peer.peers_that(|row| row["neighbour"] == true).len() == 3);
    let mut control = peer.control();
    control.call("search", serde_json::json!({ "text": "anything", "ttl": 1 })).expect("it begins");
    control.notice("the search is over", |notice| (notice["event"] == "search_done").then_some(()));
    let asked = ears.iter().filter(|ear| !ear.heard_beginning("6:").is_empty()).count();
    assert!((1..=3).contains(&asked), "{asked} were asked");
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
fn bootstrap_addr_and_port_name_a_node_too() {
    let bootstrap = OldBootstrap::listing(&[]);
    let peer = Setup::peer()
        .set("bootstrap_addr", "'127.0.0.1'")
        .set("bootstrap_port", &bootstrap.addr().port().to_string())
        // The same one twice is one.
        .joins(&[bootstrap.addr()])
        .start();
    until("it is on the list", LIMIT, || bootstrap.peers() == [peer.listen()]);
    assert_eq!(peer.status()["bootstraps"].as_array().map(Vec::len), Some(1));
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

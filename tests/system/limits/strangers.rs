//! Addresses that are no peers: web, SSH and mail servers in the place of one, and one that accepts no connection.

use crate::harness::{
    Daemon, Fake, LIMIT, OldBootstrap, Reading, Setup, Stopwatch, Unaccepting, ask_from, holds, pyratectl, until,
};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;

/// A server of another kind: it says this to whoever connects, whatever is asked, and closes.
fn server(says: &'static [u8]) -> Fake {
    Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(says);
        let _ = visit.stream.shutdown(Shutdown::Write);
    })
}

fn peer_row(daemon: &Daemon, peer: SocketAddr) -> Option<Value> {
    let rows = daemon.call("peers", Value::Null);
    rows.as_array().expect("rows").iter().find(|row| row["addr"] == peer.to_string()).cloned()
}

/// What is known of whether a peer speaks `p1`.
fn p1(daemon: &Daemon, peer: SocketAddr) -> Value {
    peer_row(daemon, peer).map_or(Value::Null, |row| row["p1"].clone())
}

#[test]
fn a_host_that_answers_with_a_banner_or_a_page_is_no_peer() {
    let banners: [(&'static [u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "a web server"),
        (b"<!DOCTYPE HTML>\n<html lang=\"en\">\n<title>Error response</title>\n", "a web server"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "an SSH server"),
        (b"220 mail.example.com ESMTP\r\n", "a mail or FTP server"),
    ];
    let servers: Vec<(Fake, &str)> = banners.into_iter().map(|(says, kind)| (server(says), kind)).collect();
    let bootstrap = OldBootstrap::listing(&servers.iter().map(|(server, _)| server.addr).collect::<Vec<_>>());
    let node = Setup::peer().joins(&[bootstrap.addr()]).start();
    for (server, kind) in &servers {
        until("it is on the list", LIMIT, || peer_row(&node, server.addr).is_some());
        let outcome = pyratectl(&node, ["--json", "list", &server.addr.to_string()]);
        assert_eq!(outcome.code, 6, "{kind}");
        let message = outcome.json()["error"]["message"].to_string();
        assert!(message.contains(kind), "{message}");
        let row = peer_row(&node, server.addr).expect("the list names it");
        assert_eq!((&row["state"], &row["neighbour"], &row["p1"]), (&json!("failing"), &json!(false), &json!(null)));
    }
    node.call("search", json!({ "text": "anything at all" }));
    holds("none of them is searched", Duration::from_secs(1), || {
        servers.iter().all(|(server, _)| server.heard_beginning("6:").is_empty())
    });
}

/// One that nobody has listed shows itself when it is searched.
#[test]
fn a_neighbour_that_answers_a_search_with_a_banner_is_none_any_more() {
    let ssh = server(b"SSH-2.0-OpenSSH_9.6\r\n");
    let bootstrap = OldBootstrap::listing(&[ssh.addr]);
    let node = Setup::peer().joins(&[bootstrap.addr()]).start();
    node.await_neighbour(ssh.addr);
    node.call("search", json!({ "text": "anything at all" }));
    until("it is none", LIMIT, || {
        let row = peer_row(&node, ssh.addr).expect("the list names it");
        row["neighbour"] == false && row["state"] == "failing"
    });
}

#[test]
fn a_base_peer_may_share_files_whose_names_look_like_banners() {
    let old = server(b"220 Volt.mp3\nSSH-2.0-notes.txt\nHTTP/rfc2616.txt\n");
    let node = Setup::peer().start();
    let outcome = pyratectl(&node, ["--json", "list", &old.addr.to_string()]);
    assert_eq!((outcome.code, outcome.json().as_array().map(Vec::len)), (0, Some(3)));
    assert_eq!(p1(&node, old.addr), false, "it answered a question of part 2 plainly");
}

#[test]
fn a_bootstrap_node_that_is_a_web_server_is_said_to_be_one() {
    let web = server(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let node = Setup::peer().joins(&[web.addr]).start();
    until("it is said", LIMIT, || {
        let link = node.status()["bootstraps"][0].clone();
        link["state"] == "waiting" && link["error"].as_str().is_some_and(|text| text.contains("a web server"))
    });
}

/// No list names it, and it has not answered yet.
#[test]
fn connecting_to_an_unknown_requester_is_given_up_after_three_seconds() {
    let peer = Setup::peer().shares("song.txt", "la").start();
    let black_hole = Unaccepting::new();
    let requester = SocketAddr::from(([127, 1, 0, 1], black_hole.port()));
    let watch = Stopwatch::start();
    let search = format!("6:forged:song:{}:{}:0", requester.ip(), requester.port());
    ask_from(Ipv4Addr::new(127, 0, 66, 6), peer.listen(), search.as_bytes());
    until("it is given up", LIMIT, || peer.peers_that(|row| row["state"] == "failing").contains(&requester));
    assert!(watch.ran() < Duration::from_secs(6), "{:?}", watch.ran());
}

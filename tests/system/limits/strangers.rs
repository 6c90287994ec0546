//! Hosts that are no peers: web, SSH and mail servers in the place of one; and what peers are known to speak.

use crate::harness::{Daemon, Fake, LIMIT, Manners, OldBootstrap, P1Peer, Reading, Setup, holds, pyratectl, until};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
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

#[test]
fn who_speaks_p1_is_known_from_the_list_before_the_first_request() {
    let bootstrap = Setup::bootstrap().start();
    let other = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).shares("file.txt", "content").start();
    let node = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).start();
    node.await_neighbour(other.listen());
    assert_eq!(p1(&node, other.listen()), true);

    // A base peer registers plainly, and nothing is known of it.
    let old = Fake::ear();
    let registration = format!("0:{}", old.addr.port());
    crate::harness::ask(bootstrap.bootstrap_addr(), registration.as_bytes(), crate::harness::Framing::Fin);
    let third = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).start();
    third.await_neighbour(old.addr);
    third.await_neighbour(other.listen());
    assert_eq!((p1(&third, old.addr), p1(&third, other.listen())), (Value::Null, json!(true)));

    // Towards the old server the forms of part 2 change nothing, and it tells nothing.
    let server = OldBootstrap::listing(&[]);
    let one = Setup::peer().joins(&[server.addr()]).start();
    let two = Setup::peer().joins(&[server.addr()]).start();
    two.await_neighbour(one.listen());
    assert_eq!(p1(&two, one.listen()), Value::Null);
    assert!(server.fake.heard_beginning("0:").iter().all(|text| text.ends_with(":p1")));
}

#[test]
fn an_address_that_an_old_client_has_taken_over_is_not_asked_in_the_way_of_part_2() {
    let source = P1Peer::sharing("file.bin", b"what it shares", Manners::default());
    let node = Setup::peer().start();
    let list = |node: &Daemon| pyratectl(node, ["--json", "list", &source.addr.to_string()]);
    assert_eq!(list(&node).code, 0);
    assert_eq!(p1(&node, source.addr), true);
    source.change(|manners| manners.base = true);
    assert_eq!(list(&node).code, 0);
    assert_eq!(p1(&node, source.addr), false);
    let id = node.begin_download(source.addr, "file.bin");
    node.await_download(id, "done");
    assert!(source.asked("8:").is_empty() && source.asked("9:").is_empty());
}

//! The bootstrap node: register, unregister, keepalive, peer list (PROTOCOL, codes 0–3).

use crate::harness::{
    Daemon, End, Framing, LIMIT, Setup, ask, ask_from, connect_from, free_port, lines, not_tested, read_to_end, until,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Says a message that has no response; the node closes in order.
fn say(to: SocketAddr, message: &str, framing: Framing) {
    let answer = ask(to, message.as_bytes(), framing);
    assert_eq!((answer.bytes.as_slice(), answer.end), (&b""[..], End::Fin), "{message} in {framing:?}");
}

/// A peer list: its lines, which must be well-formed, in order and without repeats.
fn peer_list(to: SocketAddr, peers_max: &str, framing: Framing) -> Vec<SocketAddr> {
    let answer = ask(to, format!("1:{peers_max}").as_bytes(), framing);
    assert_eq!(answer.end, End::Fin, "the list is whole");
    let peers: Vec<SocketAddr> = lines(&answer.bytes).iter().map(|line| parse_line(line)).collect();
    assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), peers.len(), "no peer is repeated");
    peers
}

fn parse_line(line: &[u8]) -> SocketAddr {
    let text = std::str::from_utf8(line).expect("a line is text");
    let (ip, port) = text.rsplit_once(',').expect("IP,Port");
    SocketAddr::new(ip.parse().expect("a bare address"), port.parse().expect("a port"))
}

fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

fn registry_count(daemon: &Daemon) -> u64 {
    daemon.call("bootstrap", Value::Null)["registry"]["count"].as_u64().expect("it serves")
}

#[test]
fn every_message_in_every_framing() {
    let node = Setup::bootstrap().start();
    let to = node.bootstrap_addr();
    for (framing, port) in Framing::ALL.into_iter().zip(40_001..) {
        let peer = at(HERE, port);
        say(to, &format!("0:{port}"), framing);
        assert!(peer_list(to, "100", framing).contains(&peer), "registered in {framing:?}");
        say(to, &format!("3:{port}"), framing);
        assert!(peer_list(to, "100", framing).contains(&peer), "kept in {framing:?}");
        say(to, &format!("2:{port}"), framing);
        assert!(!peer_list(to, "100", framing).contains(&peer), "unregistered in {framing:?}");
        say(to, &format!("3:{port}"), framing);
        assert!(peer_list(to, "100", framing).contains(&peer), "a keepalive lists it again in {framing:?}");
    }
}

#[test]
fn only_silence_waits_for_silence() {
    let node = Setup::bootstrap().start();
    let answer = ask(node.bootstrap_addr(), b"1:5", Framing::Silence);
    assert!(
        answer.took >= Duration::from_millis(390),
        "a pause shorter than 400 ms ends no message: {:?}",
        answer.took
    );
    // A response that waited for silence could not be faster than that, however often it is tried.
    for framing in [Framing::Fin, Framing::Newline] {
        let fastest = (0..5).map(|_| ask(node.bootstrap_addr(), b"1:5", framing).took).min();
        assert!(fastest < Some(Duration::from_millis(350)), "{framing:?} is answered at once: {fastest:?}");
    }
}

#[test]
fn line_ends_of_every_kind_are_stripped() {
    let node = Setup::bootstrap().start();
    for (end, port) in ["\r\n", "\n", "\0", "\0\n", "\r\n\0"].into_iter().zip(40_101..) {
        say(node.bootstrap_addr(), &format!("0:{port}{end}"), Framing::Fin);
        assert!(peer_list(node.bootstrap_addr(), "100", Framing::Fin).contains(&at(HERE, port)), "{end:?}");
    }
}

#[test]
fn a_registrant_is_its_source_address() {
    let node = Setup::bootstrap().start();
    let to = node.bootstrap_addr();
    let (one, two) = (Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 1, 2));
    for ip in [one, two] {
        assert_eq!(ask_from(ip, to, b"0:42000").end, End::Fin);
    }
    // A peer can take off the list only itself, and only the port it names.
    assert_eq!(ask_from(one, to, b"2:42000").end, End::Fin);
    assert_eq!(ask_from(two, to, b"2:42001").end, End::Fin);
    assert_eq!(peer_list(to, "10", Framing::Fin), [at(two, 42_000)]);
}

/// Some who register listen at the port that they name, and some do not.
#[test]
fn those_who_answer_at_the_port_that_they_name_are_listed_first() {
    let node = Setup::bootstrap().set("bootstrap_verify", "true").start();
    let to = node.bootstrap_addr();
    let (silent, mute, base) = (Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 1, 2), Ipv4Addr::new(127, 0, 1, 3));
    let listen = |ip: Ipv4Addr| TcpListener::bind((ip, 0)).expect("a free port");
    let (mute_listener, base_listener) = (listen(mute), listen(base));
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    // One does not listen; one says that it speaks p1, and does not when it is asked; one takes the connection.
    let dead = free_port();
    assert_eq!(ask_from(silent, to, format!("0:{dead}").as_bytes()).end, End::Fin);
    assert_eq!(ask_from(mute, to, format!("0:{}:p1", port(&mute_listener)).as_bytes()).end, End::Fin);
    assert_eq!(ask_from(base, to, format!("0:{}", port(&base_listener)).as_bytes()).end, End::Fin);
    let asked = [mute_listener.accept(), base_listener.accept()].map(|dialled| {
        let (mut stream, from) = dialled.expect("a connection");
        assert_eq!(from.ip(), HERE);
        read_to_end(&mut stream).0
    });
    let query = format!(":b3={}:127.0.0.1:{}:0", "0".repeat(64), to.port());
    for bytes in asked {
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with("6:p1-") && text.ends_with(&query), "{text}");
    }
    let peer = Setup::peer().joins(&[to]).start();
    let checks = || node.call("bootstrap", Value::Null)["registry"]["checks"].clone();
    until("all were dialled", LIMIT, || checks() == json!({ "answered": 2, "silent": 2 }));
    for _ in 0..5 {
        let list = peer_list(to, "10", Framing::Fin);
        assert_eq!(
            list[..2].iter().collect::<BTreeSet<_>>(),
            [at(base, port(&base_listener)), peer.listen()].iter().collect()
        );
        assert_eq!(list.len(), 4, "the others follow");
        assert_eq!(peer_list(to, "2", Framing::Fin).iter().collect::<BTreeSet<_>>(), list[..2].iter().collect());
    }
}

#[test]
fn registrations_survive_a_restart() {
    let mut node = Setup::bootstrap().start();
    let to = node.bootstrap_addr();
    for port in [44_000, 44_001, 44_002] {
        say(to, &format!("0:{port}"), Framing::Fin);
    }
    say(to, "2:44001", Framing::Fin);
    assert_eq!(node.stop().code, Some(0));
    assert!(!node.home().join("state/hashes").exists(), "it shares nothing");
    node.start_again();
    let mut peers = peer_list(to, "10", Framing::Fin);
    peers.sort();
    assert_eq!(peers, [at(HERE, 44_000), at(HERE, 44_002)]);
}

#[test]
fn registrations_survive_a_crash() {
    let mut node = Setup::bootstrap().start();
    let to = node.bootstrap_addr();
    say(to, "0:44200", Framing::Fin);
    let state = node.home().join("state");
    until("the registry is saved", LIMIT, || {
        // While it is written, the file is hidden.
        let entries = std::fs::read_dir(&state).expect("the state directory").filter_map(Result::ok);
        let files = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        let texts = files.filter_map(|file| std::fs::read(file.path()).ok());
        texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).any(|text| text.contains("44200"))
    });
    assert_eq!(node.end_by(nix::sys::signal::Signal::SIGKILL).code, None);
    node.start_again();
    assert_eq!(peer_list(to, "10", Framing::Fin), [at(HERE, 44_200)]);
}

#[test]
fn a_damaged_snapshot_does_not_stop_the_node() {
    let mut node = Setup::bootstrap().start();
    say(node.bootstrap_addr(), "0:44100", Framing::Fin);
    node.stop();
    for entry in std::fs::read_dir(node.home().join("state")).expect("the state directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::write(path, b"\xff\0garbage\n\n127.0.0.1\n,,,\n").expect("it can be damaged");
        }
    }
    node.start_again();
    say(node.bootstrap_addr(), "0:44101", Framing::Fin);
    assert!(peer_list(node.bootstrap_addr(), "10", Framing::Fin).contains(&at(HERE, 44_101)));
}

#[test]
fn ipv6_peers_stand_bare_in_the_list() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        not_tested("IPv6 peers in a list", "this machine has no IPv6 loopback address");
        return;
    }
    let addr = SocketAddr::new("::1".parse().expect("an address"), free_port());
    let node = Setup::bootstrap().serves(addr).start();
    say(addr, "0:46000", Framing::Fin);
    let answer = ask(addr, b"1:10", Framing::Fin);
    assert_eq!(answer.bytes, b"::1,46000\n");
    assert_eq!(node.call("bootstrap", Value::Null)["registry"]["peers"][0]["addr"], "[::1]:46000");
}

#[test]
fn a_reader_that_leaves_early_harms_nobody() {
    let node = Setup::bootstrap().start();
    let to = node.bootstrap_addr();
    for turn in 0..50 {
        let mut stream = connect_from(HERE, to).expect("the node accepts");
        stream.write_all(b"1:1000").expect("it reads");
        if turn % 2 == 0 {
            let _ = stream.shutdown(Shutdown::Both);
        }
        crate::harness::reset(stream);
    }
    say(to, "0:47000", Framing::Fin);
    assert_eq!(peer_list(to, "10", Framing::Fin), [at(HERE, 47_000)]);
}

#[test]
fn a_daemon_can_be_peer_and_bootstrap_node_at_once() {
    let port = free_port();
    let node = Setup::peer().serves(at(HERE, port)).joins(&[at(HERE, port)]).shares("both.txt", "both").start();
    let own = node.listen();
    until("it registers with itself", LIMIT, || peer_list(at(HERE, port), "10", Framing::Fin) == [own]);
    assert_eq!(crate::harness::fetch(own, b"both.txt"), b"both");
    assert_eq!(ask(at(HERE, port), b"4:both.txt", Framing::Fin).end, End::Reset, "each listener has its own messages");
    assert!(node.peers_that(|_| true).is_empty(), "it never lists itself");
}

#[test]
fn two_messages_on_one_connection_are_one_message() {
    // One connection carries one message: what follows the newline is not taken.
    let node = Setup::bootstrap().start();
    let mut stream = connect_from(HERE, node.bootstrap_addr()).expect("the node accepts");
    stream.write_all(b"0:48000\n0:48001\n").expect("it reads");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let (bytes, _) = read_to_end(&mut stream);
    assert!(bytes.is_empty());
    until("the first is taken", LIMIT, || registry_count(&node) >= 1);
    assert_eq!(peer_list(node.bootstrap_addr(), "10", Framing::Fin), [at(HERE, 48_000)]);
}

//! The metrics, over HTTP and at the control socket.

use crate::harness::{
    Daemon, End, Framing, LIMIT, Setup, ask, clean_command, fetch, free_port, not_tested, pyratectl, read_to_end, until,
};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

/// A peer that serves its metrics, and where.
fn watched(setup: Setup) -> (Daemon, SocketAddr) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    // A port alone is one of this machine.
    (setup.set("metrics_listen", &addr.port().to_string()).start(), addr)
}

fn get(addr: SocketAddr, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    // In two segments.
    let (one, other) = head.split_at(head.len() / 2);
    stream.write_all(one.as_bytes()).expect("it reads");
    stream.write_all(other.as_bytes()).expect("it reads");
    let (bytes, end) = read_to_end(&mut stream);
    assert_eq!(end, End::Fin);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    assert!(body.is_empty() || length.parse() == Ok(body.len()), "{head}");
    (head.to_owned(), body.to_owned())
}

fn scrape(addr: SocketAddr) -> String {
    let (head, body) = get(addr, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    body
}

/// The samples of a text: what stands before the value, and the value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

#[test]
fn metrics_count_what_happens_and_are_the_same_over_http_and_at_the_control_socket() {
    let content = vec![7; 100_000];
    let (peer, addr) = watched(Setup::peer().shares("file.bin", &content));
    assert_eq!(fetch(peer.listen(), b"file.bin"), content);
    ask(peer.listen(), b"nonsense\n", Framing::Fin);
    until("both are counted", LIMIT, || {
        let counted = samples(&scrape(addr));
        counted["pyrate_transferred_bytes_total{direction=\"sent\"}"] == 100_000.0
            && counted["pyrate_messages_refused_total"] == 1.0
    });
    let counted = samples(&scrape(addr));
    assert_eq!(counted["pyrate_shared_files"], 1.0);
    let refusals = counted.iter().filter(|(name, _)| name.starts_with("pyrate_refusals_total"));
    assert_eq!(refusals.map(|(_, count)| count).sum::<f64>(), 1.0, "{counted:?}");
    let turns = counted["pyrate_turn_duration_seconds_count"];
    assert!(turns > 1.0 && counted["pyrate_turn_duration_seconds_bucket{le=\"+Inf\"}"] == turns, "{counted:?}");
    assert!(counted["process_resident_memory_bytes"] > 1e6 && counted["process_start_time_seconds"] > 1e9);

    let printed = pyratectl(&peer, ["metrics"]);
    let names = |text: &str| samples(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&printed.stdout), names(&scrape(addr)));
    let document = pyratectl(&peer, ["--json", "metrics"]).json();
    assert_eq!(document["status"]["bytes_up"], 100_000, "{document}");
    assert!(peer.log().contains(&format!("metrics at http://{addr}/metrics")));
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    let (peer, addr) = watched(Setup::peer());
    let mut command = clean_command("promtool", peer.home());
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        return not_tested("metrics, by promtool", "promtool is not installed");
    };
    promtool.stdin.take().expect("a pipe").write_all(scrape(addr).as_bytes()).expect("it reads");
    let done = promtool.wait_with_output().expect("it runs");
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
}

#[test]
fn what_is_no_request_for_metrics_is_told_so() {
    let (peer, addr) = watched(Setup::peer());
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: here\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: here\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let (head, body) = get(addr, request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && body.ends_with(".\n"), "{head} {body}");
    }
    let (head, body) = get(addr, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
    assert!(peer.status()["version"].is_string());
}

#[test]
fn those_that_ask_nothing_make_room_after_ten_seconds() {
    let (peer, addr) = watched(Setup::peer());
    let silent: Vec<TcpStream> = (0..6).map(|_| TcpStream::connect(addr).expect("it listens")).collect();
    // They have ten seconds; the last two wait until then to be accepted, and the next one behind them.
    assert!(scrape(addr).contains("pyrate_peers"));
    assert!(peer.status()["version"].is_string());
    drop(silent);
}

#[test]
fn a_bootstrap_node_tells_its_registrations_and_a_taken_address_ends_the_start() {
    let (node, addr) = watched(Setup::bootstrap());
    assert_eq!(samples(&scrape(addr))["pyrate_registry_peers"], 0.0);
    let started = Setup::peer().set("metrics_listen", &format!("'{addr}'")).command().output().expect("it runs");
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("metrics: address {addr} is in use")), "{said}");
    drop(node);
}

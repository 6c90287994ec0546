//! `interface`: nothing leaves or arrives over another one. In a network namespace with two links to another, which has peers.

use crate::harness::{LIMIT, Setup, fetch, free_port, holds, not_tested, pyratectl, run_pyrated, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set in the process that runs in a namespace.
const INSIDE: &str = "PYRATE_TEST_INSIDE";

/// Runs a test again in a network namespace of its own. Returns whether this is that run.
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let probe = "ip link add v type veth peer name w && nsenter -t $$ -n true";
    let possible = Command::new("unshare").args(["-rnm", "sh", "-c", probe]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        not_tested(name, "unshare(1) makes no network namespace here, or there is no ip(8), nsenter(1) or veth");
        return false;
    }
    let mut again = Command::new("unshare");
    again.args(["-rnm"]).arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture", name]).env(INSIDE, "1");
    let output = again.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    false
}

fn sh(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Another network namespace, as long as its process lives.
struct There(Child);

impl There {
    fn new() -> Self {
        let child = Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let there = Self(child.unwrap());
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = || std::fs::read_link(format!("/proc/{}/ns/net", there.0.id())).unwrap();
        until("it has a namespace of its own", LIMIT, || theirs() != ours);
        there
    }

    fn words(&self) -> [String; 4] {
        ["nsenter".into(), "-t".into(), self.0.id().to_string(), "-n".into()]
    }

    fn sh(&self, command: &str) -> bool {
        let words = self.words();
        Command::new(&words[0]).args(&words[1..]).args(["sh", "-ec", command]).status().unwrap().success()
    }

    /// Makes a link to it: `NAME` with 10.N.0.1 here, `NAME-far` with 10.N.0.2 there.
    fn link(&self, name: &str, n: u8) {
        self.link_without_address(name, n);
        sh(&format!("ip addr add 10.{n}.0.1/24 dev {name}"));
    }

    /// The same, without the address here.
    fn link_without_address(&self, name: &str, n: u8) {
        let id = self.0.id();
        sh(&format!(
            "ip link add {name} type veth peer name {name}-far && ip link set {name}-far netns {id} && \
             sysctl -q net.ipv6.conf.{name}.disable_ipv6=1 && ip link set {name} up"
        ));
        assert!(self.sh(&format!(
            "sysctl -q net.ipv6.conf.{name}-far.disable_ipv6=1 && ip addr add 10.{n}.0.2/24 dev {name}-far && \
             ip link set {name}-far up"
        )));
    }

    fn connects(&self, to: SocketAddr) -> bool {
        self.sh(&format!("timeout 2 bash -c '</dev/tcp/{}/{}' 2>/dev/null", to.ip(), to.port()))
    }
}

impl Drop for There {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Packets that an interface of this namespace has sent.
fn sent_over(interface: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:"))).unwrap();
    line.split_ascii_whitespace().nth(9).unwrap().parse().unwrap()
}

fn listen_of(status: &Value) -> SocketAddr {
    status["listen"].as_str().unwrap().parse().unwrap()
}

#[test]
fn everything_uses_the_interface_also_while_it_is_gone_and_after_it_is_back() {
    if !is_inside("base::interface::everything_uses_the_interface_also_while_it_is_gone_and_after_it_is_back") {
        return;
    }
    let there = There::new();
    sh("ip link set lo up");
    assert!(there.sh("ip link set lo up"));
    there.link("wg0", 9);
    there.link("eth0", 8);
    sh("ip route add default via 10.8.0.2");
    let port = free_port();
    let at = |n: u8| SocketAddr::from(([10, n, 0, 2], port));
    let words = there.words();
    let prelude: Vec<&str> = words.iter().map(String::as_str).collect();
    let source = Setup::peer().set("listen_addr", "'0.0.0.0'").serves(SocketAddr::from(([0, 0, 0, 0], port)));
    let source = source.set("advertise_addr", "'10.9.0.2'").shares("song.ogg", "la la la");
    let source = source.shares("long.ogg", vec![7; 6 << 20]).set("upload_limit", "'1MiB'").after(&prelude).start();
    let far = SocketAddr::from(([10, 9, 0, 2], listen_of(&source.status()).port()));

    let before = sent_over("eth0");
    let elsewhere = SocketAddr::from(([203, 0, 113, 7], port));
    let peer = Setup::peer().set("listen_addr", "'0.0.0.0'").set("interface", "'wg0'").shares("here.txt", "here");
    let peer = peer.joins(&[at(9), elsewhere]).start();
    let link = |n: usize| peer.status()["bootstraps"][n].clone();
    until("it is registered over the interface", LIMIT, || link(0)["state"] == "registered");
    let ours = format!("10.9.0.1:{}", listen_of(&peer.status()).port());
    let registered = source.call("bootstrap", Value::Null)["registry"].to_string();
    assert!(registered.contains(&ours) && !registered.contains("10.8.0.1"), "{registered}");
    until("what only the default route leads to is not reached", LIMIT, || link(1)["error"].is_string());
    let id = peer.begin_download(far, "song.ogg");
    peer.await_download(id, "done");
    let [over, beside] = [9, 8].map(|n| SocketAddr::from(([10, n, 0, 1], listen_of(&peer.status()).port())));
    assert!(there.connects(over));
    assert_eq!(sent_over("eth0"), before, "nothing has left over the other interface");

    let long = peer.begin_download(far, "long.ogg");
    until("bytes have come", LIMIT, || peer.download(long)["bytes_done"].as_u64() > Some(1 << 20));
    sh("ip link del wg0");
    peer.await_log("the interface is gone");
    until("a running download says so", LIMIT, || peer.download(long).to_string().contains("is gone"));
    until("and the bootstrap node", LIMIT, || link(0)["error"].to_string().contains("is gone"));
    assert_eq!(link(0)["state"], "waiting");
    let id = peer.begin_download(far, "song.ogg");
    until("a download says why it has no source", LIMIT, || peer.download(id).to_string().contains("is gone"));
    holds("nothing leaves over the other interface", Duration::from_secs(2), || sent_over("eth0") == before);
    assert!(pyratectl(&peer, ["status"]).code == 0, "the control socket needs no interface");

    there.link("wg0", 9);
    peer.await_log("the interface is back");
    until("it listens there again", LIMIT, || there.connects(over));
    until("it is registered again", LIMIT, || link(0)["state"] == "registered");
    peer.await_download(id, "done");
    peer.await_download(long, "done");
    assert_eq!(sent_over("eth0"), before);
    // The system answers such a connection, over the interface that it came by.
    assert!(!there.connects(beside), "only the interface takes connections");
}

#[test]
fn each_listener_comes_back_with_its_address_and_a_new_name_that_is_taken_back_changes_nothing() {
    if !is_inside(
        "base::interface::each_listener_comes_back_with_its_address_and_a_new_name_that_is_taken_back_changes_nothing",
    ) {
        return;
    }
    let there = There::new();
    sh("ip link set lo up");
    there.link("wg0", 9);
    let ports = std::iter::repeat_with(free_port);
    let addrs: Vec<SocketAddr> = ports.take(3).map(|port| SocketAddr::from(([10, 9, 0, 1], port))).collect();
    // The listener of the bootstrap node is the first, and needs no address.
    let peer = Setup::peer().serves(SocketAddr::from(([0, 0, 0, 0], addrs[0].port()))).set("interface", "'wg0'");
    let peer = peer.set("listen_addr", "'10.9.0.1'").set("listen_port", &addrs[1].port().to_string());
    let peer = peer.set("metrics_listen", &format!("'{}'", addrs[2])).start();
    let connects = || addrs.iter().all(|addr| there.connects(*addr));
    assert!(connects());
    let failures = || peer.log().matches("cannot listen at the interface yet").count();
    let returns = || peer.log().matches("the interface is back").count();

    sh("ip link set wg0 down && ip link set wg0 name other");
    peer.await_log("the interface is gone");
    sh("ip link set other name wg0 && ip link set wg0 up");
    until("it is back", LIMIT, || returns() == 1);
    until("all listen", LIMIT, connects);
    assert_eq!(failures(), 0, "{}", peer.log());

    sh("ip link del wg0");
    until("it is gone again", LIMIT, || peer.log().matches("the interface is gone").count() == 2);
    there.link_without_address("wg0", 9);
    until("two listeners lack their address", LIMIT, || failures() > 0);
    holds("that is said once", Duration::from_secs(5), || failures() == 1);
    sh("ip addr add 10.9.0.1/24 dev wg0");
    until("all listen again", LIMIT, connects);
    assert_eq!(failures(), 1);
}

#[test]
fn an_address_that_comes_after_the_interface_is_advertised() {
    if !is_inside("base::interface::an_address_that_comes_after_the_interface_is_advertised") {
        return;
    }
    let there = There::new();
    sh("ip link set lo up");
    there.link_without_address("wg0", 9);
    let peer = Setup::peer().set("listen_addr", "'0.0.0.0'").set("interface", "'wg0'");
    let peer = peer.joins(&[SocketAddr::from(([203, 0, 113, 7], 9))]).start();
    assert_eq!(peer.status()["advertise"], Value::Null);
    sh("ip addr add 10.9.0.1/24 dev wg0");
    until("it is advertised", LIMIT, || peer.status()["advertise"].to_string().contains("10.9.0.1:"));
}

/// Runs `pyrated` with this configuration: its exit code, and what it says.
fn start(setup: &Setup, more: &[&str]) -> (Option<i32>, String) {
    let config = setup.write_config().display().to_string();
    run_pyrated(["--config", &config].iter().chain(more))
}

#[test]
fn what_an_interface_rules_out_is_refused_by_a_check_and_a_start() {
    let join = SocketAddr::from(([192, 0, 2, 1], 9));
    for (setup, code, problem) in [
        (
            Setup::peer().set("interface", "'missing'"),
            78,
            ": interface: this machine has no network interface missing; ",
        ),
        (Setup::peer().set("interface", "'two words'"), 78, ": interface: expected the name of one network interface"),
        (
            Setup::peer().joins(&[join]).set("interface", "'lo'").set("bootstrap_addr", "'b.invalid'"),
            78,
            ": bootstrap_addr: b.invalid: cannot look up the host: with `interface`, a name must be in /etc/hosts",
        ),
        (
            Setup::peer().set("interface", "'lo'").set("bootstraps", "['b.invalid:7']"),
            78,
            ": bootstraps: b.invalid: cannot look up the host",
        ),
    ] {
        for more in [&["--check"][..], &[]] {
            let (ended, said) = start(&setup, more);
            assert!(ended == Some(code) && said.contains(problem), "{ended:?} {said}");
        }
    }
}

#[test]
fn over_the_loopback_interface_a_peer_serves_and_names_in_the_table_of_hosts_are_found() {
    let bootstrap = Setup::bootstrap().set("interface", "'lo'").start();
    let peer = Setup::peer().set("interface", "'lo'").shares("file.txt", "x");
    let peer = peer.set("bootstraps", &format!("['localhost:{}']", bootstrap.bootstrap_addr().port()));
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    if !hosts.lines().any(|line| line.starts_with("127.0.0.1") && line.contains("localhost")) {
        return not_tested("a name of /etc/hosts", "it does not name localhost");
    }
    let peer = peer.start();
    until("it is registered", LIMIT, || peer.status()["bootstraps"][0]["state"] == "registered");
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
}

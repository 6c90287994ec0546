//! SIGHUP and `reload`: new configuration, reopened log, no connection dropped (pyrated(8), SIGNALS).

use crate::harness::{Dice, End, LIMIT, OldBootstrap, Setup, Stopwatch, fetch, not_tested, read_to_end, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

#[test]
fn the_log_is_reopened_for_rotation() {
    let peer = Setup::peer().set("log_level", "'info'").start();
    let (log, rotated) = (peer.home().join("log"), peer.home().join("log.1"));
    std::fs::rename(&log, &rotated).expect("rotated");
    peer.signal(Signal::SIGHUP);
    until("a new log is there", LIMIT, || log.exists());
    let old_length = std::fs::metadata(&rotated).expect("the old log").len();
    peer.call("reload", Value::Null);
    until("it is written to", LIMIT, || std::fs::metadata(&log).is_ok_and(|log| log.len() > 0));
    assert_eq!(std::fs::metadata(&rotated).expect("the old log").len(), old_length, "the old one is let go");
}

#[test]
fn no_connection_is_dropped() {
    let mut dice = Dice::new();
    let content = dice.bytes(32 << 20);
    let bootstrap = OldBootstrap::listing(&[]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("long.bin", &content).start();
    let to = peer.listen();
    let mut upload = TcpStream::connect(to).expect("it accepts");
    upload.write_all(b"4:long.bin\n").expect("it reads");
    let mut got = vec![0; 10_000];
    upload.read_exact(&mut got).expect("it begins");
    let mut control = peer.control();
    let before = control.call("status", Value::Null).expect("an answer");
    peer.signal(Signal::SIGHUP);
    control.call("reload", Value::Null).expect("an answer on the same connection");
    let after = control.call("status", Value::Null).expect("an answer on the same connection");
    assert_eq!(before["listen"], after["listen"]);
    let (rest, end) = read_to_end(&mut upload);
    got.extend(rest);
    assert!(got == content && end == End::Fin);
    assert_eq!(fetch(to, b"long.bin").len(), content.len());
    until("it stays registered", LIMIT, || peer.status()["bootstraps"][0]["state"] == "registered");
    assert_eq!(bootstrap.peers(), [to]);
}

#[test]
fn new_bootstrap_nodes_are_registered_with_and_old_ones_left() {
    let (old, new) = (OldBootstrap::listing(&[]), OldBootstrap::listing(&[]));
    let mut peer = Setup::peer().joins(&[old.addr()]).start();
    until("it is on the old list", LIMIT, || old.peers() == [peer.listen()]);
    peer.reconfigure("bootstraps", &format!("['{}']", new.addr()));
    peer.signal(Signal::SIGHUP);
    until("it is on the new list", LIMIT, || new.peers() == [peer.listen()]);
    until("it is off the old one", LIMIT, || old.peers().is_empty());
    assert_eq!(peer.status()["bootstraps"][0]["addr"], new.addr().to_string());
    assert_eq!(peer.status()["bootstraps"].as_array().map(Vec::len), Some(1));
}

#[test]
fn new_limits_are_in_force() {
    let mut peer = Setup::peer().set("max_downloads", "1").start();
    let nobody = crate::harness::Fake::serve(crate::harness::Reading::Whole, |_visit| crate::harness::pause(LIMIT));
    for turn in 0..3 {
        peer.begin_download(nobody.addr, &format!("file {turn}"));
    }
    until("one is active", LIMIT, || peer.status()["downloads_active"] == 1);
    peer.reconfigure("max_downloads", "3");
    peer.call("reload", Value::Null);
    until("all are active", LIMIT, || peer.status()["downloads_active"] == 3);
}

#[test]
fn bad_configuration_changes_nothing() {
    let mut peer = Setup::peer().shares("file.txt", "x").start();
    peer.reconfigure("max_ttl", "'seven'");
    peer.signal(Signal::SIGHUP);
    until("the mistake is in the log", LIMIT, || peer.log().contains("max_ttl"));
    let failure = peer.control().call("reload", Value::Null).expect_err("the caller is told");
    assert!(failure.message.contains("max_ttl"), "{failure:?}");
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
    peer.reconfigure("max_ttl", "3");
    let reloaded = peer.call("reload", Value::Null);
    assert_eq!(reloaded["changed"], json!([{ "key": "max_ttl", "was": 7, "in_force": 3 }]));
    assert_eq!((&reloaded["waiting"], &reloaded["remarks"]), (&json!([]), &json!([])));
}

#[test]
fn many_signals_at_once_are_one_or_more_reloads() {
    let peer = Setup::peer().shares("file.txt", "x").start();
    for _ in 0..200 {
        peer.signal(Signal::SIGHUP);
    }
    let watch = Stopwatch::start();
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
    assert!(watch.ran() < LIMIT);
    // Signals that would end a careless program.
    peer.signal(Signal::SIGPIPE);
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
}

#[test]
fn a_supervisor_that_does_not_read_holds_nothing_up() {
    let setup = Setup::peer();
    let socket = setup.home().join("notify");
    let _unread = UnixDatagram::bind(&socket).expect("a fresh path");
    let most = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap_or_default();
    let Some(waiting_max) = most.trim().parse::<usize>().ok().filter(|&most| most <= 2_000) else {
        return not_tested("a supervisor that does not read", "net.unix.max_dgram_qlen of 2,000 at most");
    };
    let mut daemon = setup.after(&["env", &format!("NOTIFY_SOCKET={}", socket.display())]).start();
    // Each says two things.
    for turn in 0..waiting_max / 2 + 3 {
        assert!(daemon.control().call("reload", Value::Null).is_ok(), "reload {turn}");
    }
    daemon.await_log("cannot notify the service manager: Resource temporarily unavailable");
    let ended = daemon.stop();
    assert!(ended.code == Some(0) && ended.took < Duration::from_secs(5), "{ended:?}");
}

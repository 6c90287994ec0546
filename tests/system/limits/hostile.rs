//! What the network may not do to the log, nor to the daemon through it.

use crate::harness::{Daemon, End, Fake, Framing, LIMIT, OldBootstrap, Reading, Setup, ask, fetch, free_port, until};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;

/// Fails if the log holds a byte that a terminal would obey.
fn assert_harmless(log: &str) {
    let dangerous = |c: char| (c.is_control() && c != '\n' && c != '\t') || "\u{202e}\u{200b}\u{2028}".contains(c);
    for line in log.lines() {
        assert!(!line.contains(dangerous), "{line:?}");
    }
}

/// A base peer whose answers are poison, known to the daemon as a neighbour.
fn poisoner() -> Fake {
    Fake::serve(Reading::Once, |mut visit| {
        if visit.message.starts_with(b"5:") {
            let list = "fine.txt\nrev\u{202e}erse\nc1\u{9b}31m\n\u{1b}[2Jclear\na\tsize=5\tb3=zz\tx=\u{1b}]0;t\u{7}\n";
            let _ = visit.stream.write_all(list.as_bytes());
        }
    })
}

/// The log of a peer, in this format, to which names and messages were sent that are to do harm.
fn log_of_the_attacked(format: &str) -> String {
    let poisoner = poisoner();
    let bootstrap = OldBootstrap::listing(&[poisoner.addr]);
    let serve = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = Setup::peer().joins(&[bootstrap.addr()]).serves(serve).set("log_level", "'trace'");
    let setup = setup.set("log_format", &format!("'{format}'"));
    let mut peer = setup.shares("rev\u{202e}txt.exe", "x").shares("ctl\u{1b}name", "x").start();
    for message in [
        "4:\u{1b}[31mred",
        "4:rev\u{202e}txt.exe",
        "4:c1\u{9b}2J",
        "4:a\" peer=192.0.2.1:5 level=\"error",
        "4:a\\\",\"level\":\"error\",\"x\":\"",
        "\u{1b}]0;title\u{7}",
        "0:\u{1b}[2J",
        "5:\u{1b}[2J",
        "6:\u{1b}[1m:text:127.0.0.1:5000:1",
        "6:id\u{202e}:text\u{200b}x:127.0.0.1:5000:1",
        "7:i\u{2028}d:127.0.0.1:5000:na\u{9b}me",
        "6:id:text:\u{1b}[2J:5000:1",
        "9:\u{1b}[2J",
    ] {
        for to in [peer.listen(), serve] {
            ask(to, message.as_bytes(), Framing::Fin);
        }
    }
    let mut control = peer.control();
    control.call("list", json!({ "peer": poisoner.addr })).expect("it begins");
    control.notice("the listing is over", |notice| (notice["event"] == "search_done").then_some(()));
    let _ = control.call("search", json!({ "text": "te\u{202e}xt" }));
    let _ = control.call("\u{1b}[2J", Value::Null);
    let _ = control.call("log_level", json!({ "level": "\u{1b}[2J" }));
    let _ = control.call("cancel", json!({ "ids": "\u{1b}[2J" }));
    let id = peer.begin_download(poisoner.addr, "rev\u{202e}erse");
    until("the download was tried", LIMIT, || peer.download(id)["state"] != "queued");
    assert_eq!(fetch(peer.listen(), "rev\u{202e}txt.exe".as_bytes()), b"x");
    assert_eq!(peer.stop().code, Some(0));
    peer.log()
}

#[test]
fn nothing_from_the_network_reaches_the_log_unescaped() {
    let log = log_of_the_attacked("text");
    assert_harmless(&log);
    let sent = log.lines().find(|line| line.contains("upload finished")).expect("it is logged");
    assert!(sent.contains(" name=rev\\u{202e}txt.exe bytes=1 "), "{sent}");
    let forged = log.lines().find(|line| line.contains("192.0.2.1:5")).expect("it is logged");
    assert!(forged.ends_with(r#" name="a\" peer=192.0.2.1:5 level=\"error""#), "{forged}");
}

#[test]
fn each_line_of_a_json_log_is_one_object_whatever_the_network_sends() {
    let log = log_of_the_attacked("json");
    assert_harmless(&log);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.len() > 20, "{log}");
    for line in &lines {
        let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("{key}: {line}"));
        assert!(humantime::parse_rfc3339(text("time")).is_ok(), "{line}");
        assert!(["error", "warn", "info", "debug", "trace"].contains(&text("level")), "{line}");
        assert!(!text("target").is_empty() && !text("message").is_empty(), "{line}");
    }
    let named = |name: &str| lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {log}"));
    assert_eq!(named("rev\\u{202e}txt.exe")["bytes"], 1);
    let forged = named(r#"a\\","level":"error","x":""#);
    assert_eq!((&forged["level"], &forged["reason"]), (&json!("warn"), &json!("no_such_file")));
}

#[test]
fn errors_of_the_control_socket_are_escaped_too() {
    let peer = Setup::peer().start();
    let mut control = peer.control();
    for (method, params) in [
        ("\u{1b}[2J", Value::Null),
        ("cancel", json!({ "ids": "\u{1b}[2J" })),
        ("log_level", json!({ "level": "\u{202e}" })),
        ("list", json!({ "peer": "\u{1b}[2J" })),
    ] {
        let failure = control.call(method, params).expect_err("a mistake");
        assert!(!failure.message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{failure:?}");
    }
}

fn lines_of(daemon: &Daemon) -> usize {
    daemon.log().lines().count()
}

#[test]
fn a_flood_of_garbage_does_not_flood_the_log() {
    let peer = Setup::peer().set("log_level", "'info'").shares("file.txt", "x").start();
    let before = lines_of(&peer);
    for turn in 0..3000 {
        let answer = ask(peer.listen(), format!("garbage number {turn}").as_bytes(), Framing::Fin);
        assert_eq!(answer.end, End::Reset);
    }
    assert_eq!(peer.status()["refused"], 3000, "every one is counted");
    let grown = lines_of(&peer) - before;
    assert!((1..400).contains(&grown), "{grown} lines for 3,000 refusals");
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
}

#[test]
fn a_bootstrap_node_that_lies_is_survived() {
    // Endless lists, nonsense, addresses of nobody.
    let liar = Fake::serve(Reading::Once, |mut visit| {
        if visit.message.starts_with(b"1:") {
            let nonsense = b"0.0.0.0,0\n255.255.255.255,99999\n,\n\x1b[2J,5\n127.0.0.1,\n10.0.0.1\n::1,5\n0.0.0.0,80\n";
            let _ = visit.stream.write_all(nonsense);
            for number in 0..200_000u32 {
                let [_, b, c, d] = number.to_be_bytes();
                let line = format!("127.{b}.{c}.{d},{}\n", 1 + number % 3);
                if visit.stream.write_all(line.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let peer = Setup::peer().joins(&[liar.addr]).shares("file.txt", "x").start();
    until("it asked for the list", LIMIT, || !liar.heard_beginning("1:").is_empty());
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
    assert!(peer.peers_that(|_| true).len() <= 10_000);
    assert!(peer.proc_status("VmRSS") < 64 << 10);
    let bad = |addr: &SocketAddr| addr.port() == 0 || addr.ip().is_unspecified();
    assert!(!peer.peers_that(|_| true).iter().any(bad));
    assert_harmless(&peer.log());
}

//! What is in the log: a line for an event, with fields, and not more than a limit of those that others cause (pyrated(8), LOG).

use crate::harness::{Daemon, Dice, Framing, LIMIT, Setup, ask, fetch, read_to_end, reset, until, wait_for};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

/// Lines of one network about its uploads in a minute.
const LINES_OF_ONE: usize = 20;

fn lines_with(daemon: &Daemon, text: &str) -> Vec<String> {
    daemon.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// The number in a field of a line.
fn number(line: &str, key: &str) -> u64 {
    let (_, rest) = line.split_once(&format!(" {key}=")).unwrap_or_else(|| panic!("no {key}: {line}"));
    rest.split(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{key}: {line}"))
}

#[test]
fn who_fetched_what_is_logged_at_info() {
    let content = Dice::new().bytes(40 << 20);
    let setup = Setup::peer().set("log_level", "'info'").shares("two words.txt", "12345").shares("long", &content);
    let daemon = setup.start();
    let stream = TcpStream::connect(daemon.listen()).expect("it accepts");
    let from = stream.local_addr().expect("it is connected");
    let mut asking = stream;
    asking.write_all(b"4:two words.txt\n").expect("it reads");
    assert_eq!(read_to_end(&mut asking).0, b"12345");
    let sent = wait_for("it is logged", LIMIT, || lines_with(&daemon, "upload finished").pop());
    assert!(
        sent.contains(&format!(" info  node: upload finished peer={from} name=\"two words.txt\" bytes=5 ")),
        "{sent}"
    );
    assert!(number(&sent, "duration_ms") < LIMIT.as_millis() as u64);
    let mut breaking = TcpStream::connect(daemon.listen()).expect("it accepts");
    let from = breaking.local_addr().expect("it is connected");
    breaking.write_all(b"4:long\n").expect("it reads");
    breaking.read_exact(&mut [0; 1000]).expect("it begins");
    reset(breaking);
    let aborted = wait_for("it is logged", LIMIT, || lines_with(&daemon, "upload aborted").pop());
    assert!(aborted.contains(&format!(" peer={from} name=long bytes=")), "{aborted}");
    assert!(aborted.contains(" error=") && number(&aborted, "bytes") < content.len() as u64, "{aborted}");
}

#[test]
fn ranges_of_a_file_are_one_upload_also_when_the_daemon_stops_before_the_next_one() {
    let mut daemon = Setup::peer().set("log_level", "'info'").shares("file", [b'x'; 1000]).start();
    for at in 0..10 {
        let range = ask(daemon.listen(), format!("8:{}:100:file", at * 100).as_bytes(), Framing::Fin);
        assert_eq!(range.bytes.len(), 100);
    }
    assert_eq!(daemon.stop().code, Some(0));
    let sent = lines_with(&daemon, "upload ");
    assert!(sent.len() == 1 && number(&sent[0], "bytes") == 1000, "{sent:?}");
}

#[test]
fn thousands_of_tiny_requests_are_a_few_lines_and_a_count() {
    let mut daemon = Setup::peer().set("log_level", "'info'").shares("file", "x").start();
    let requests = 2_000;
    for _ in 0..requests {
        assert_eq!(fetch(daemon.listen(), b"file"), b"x");
    }
    assert_eq!(daemon.stop().code, Some(0));
    let mut told = 0;
    let minutes = lines_with(&daemon, "more events without a line of their own about=uploads peer=127.0.0.1 ");
    assert!(!minutes.is_empty(), "{}", daemon.log());
    for line in &minutes {
        assert_eq!(number(line, "count"), number(line, "bytes"), "each was of one byte: {line}");
        told += number(line, "count");
    }
    let lines = lines_with(&daemon, "upload finished").len();
    assert!(lines <= LINES_OF_ONE * minutes.len(), "{lines} lines in {} minutes", minutes.len());
    assert_eq!(lines as u64 + told, requests, "each is in the log, or counted there");
}

#[test]
fn a_start_that_fails_is_told_in_the_format_of_the_log() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let setup = Setup::peer().set("listen_port", &port).set("log_file", "'stderr'").set("log_format", "'json'");
    let output = setup.command().stderr(Stdio::piped()).output().expect("pyrated can be run");
    assert_eq!(output.status.code(), Some(75));
    let said = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = lines.last().expect("a line");
    assert_eq!(last["level"], "error");
    assert!(last["message"].as_str().is_some_and(|text| text.contains("in use")), "{last}");
}

#[test]
fn a_download_is_logged_from_its_beginning_to_its_end_without_a_type_of_the_program() {
    let source = Setup::peer().shares("two words.txt", "12345").start();
    let asker = Setup::peer().set("log_level", "'trace'").start();
    let id = asker.begin_download(source.listen(), "two words.txt");
    asker.await_download(id, "done");
    let done = wait_for("it is logged", LIMIT, || lines_with(&asker, "download finished").pop());
    assert!(done.contains(&format!(" id={id} name=\"two words.txt\" size=5 verified=true sources=1 path=")), "{done}");
    until("each change of state is logged", LIMIT, || {
        let changes = lines_with(&asker, "a download has changed");
        changes.iter().any(|line| line.ends_with(&format!(" id={id} before=active now=done")))
    });
    // As derived by Debug.
    let of_a_type = |line: &&str| line.contains(" { ") || line.contains("Some(") || line.contains("Id(");
    assert_eq!(asker.log().lines().find(of_a_type), None);
}

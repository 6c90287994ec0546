//! The control socket against careless and hostile clients.

use crate::harness::{Daemon, LIMIT, Setup, fetch, not_tested, until};
use serde_json::{Value, json};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

fn answers(daemon: &Daemon) -> bool {
    daemon.status()["version"].is_string()
}

#[test]
fn its_mode_is_0660_whatever_the_umask() {
    for umask in ["umask 000; exec \"$@\"", "umask 077; exec \"$@\""] {
        let peer = Setup::peer().after(&["sh", "-c", umask, "sh"]).start();
        let metadata = std::fs::metadata(peer.socket()).expect("it is there");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    }
}

/// What `pyratectl status` says at the socket of a daemon to nobody, with this primary and this supplementary group.
fn said_to_nobody(peer: &Daemon, primary: &str, group: &str) -> String {
    std::fs::set_permissions(peer.home(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = peer.home().join("pyratectl");
    // By another process: this one may be forking, and a program that is open for writing cannot be run.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_pyratectl")).arg(&program).status();
    assert!(copied.expect("cp runs").success());
    let mut command = crate::harness::clean_command("setpriv", peer.home());
    command.args(["--reuid=65534", "--regid", primary, "--groups", group]).arg(&program);
    let run = command.arg("--socket").arg(peer.socket()).args(["status", "--json"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(run.status.success(), said.contains("uptime_s"), "{run:?}");
    said
}

fn is_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        not_tested(what, "only root can become another user");
    }
    is_root
}

/// Whoever is let in by a careless mode is still asked who he is.
#[test]
fn a_stranger_is_turned_away_even_if_the_mode_lets_him_in() {
    if !is_root("a stranger at a socket that all may write to") {
        return;
    }
    let peer = Setup::peer().start();
    std::fs::set_permissions(peer.socket(), std::fs::Permissions::from_mode(0o666)).expect("it is ours");
    std::os::unix::fs::chown(peer.socket(), None, Some(54_321)).expect("it is ours");
    let said = said_to_nobody(&peer, "65534", "65534");
    assert!(said.contains("user 65534 may not use this daemon") && said.contains("\"code\":69"), "{said}");
    assert!(!said.contains("uptime_s"), "{said}");
    assert!(said_to_nobody(&peer, "54321", "65534").contains("uptime_s"), "the group may all the same");
    assert!(answers(&peer));
}

/// The daemon need not be told of new members, wherever their membership is written down.
#[test]
fn a_member_of_the_group_may_whenever_he_became_one() {
    if !is_root("a member of the group of the socket") {
        return;
    }
    let peer = Setup::peer().start();
    std::os::unix::fs::chown(peer.socket(), None, Some(54_321)).expect("it is ours");
    assert!(said_to_nobody(&peer, "65534", "54321").contains("uptime_s"));
    let stranger = said_to_nobody(&peer, "65534", "54322");
    assert!(stranger.contains("members of the group 54321 may"), "{stranger}");
}

#[test]
fn it_goes_when_the_daemon_goes() {
    let mut peer = Setup::peer().start();
    assert_eq!(peer.stop().code, Some(0));
    assert!(!peer.socket().exists());
}

#[test]
fn garbage_is_answered_with_an_error_and_a_null_id() {
    let peer = Setup::peer().start();
    for (line, code) in [
        ("garbage", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,", -32700),
        ("\u{fffd}\u{1b}[31m", -32700),
        ("[]", -32600),
        ("42", -32600),
        ("{}", -32600),
        ("\"status\"", -32600),
    ] {
        let mut control = peer.control();
        control.send_raw(format!("{line}\n").as_bytes());
        let answer = control.line().expect("an answer");
        assert_eq!(answer["jsonrpc"], "2.0");
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(code)), "{line}: {answer}");
        // A mistake of one line does not spoil the next.
        assert!(control.call("status", Value::Null).is_ok(), "after {line}");
    }
}

#[test]
fn brackets_without_end_are_garbage_too() {
    let peer = Setup::peer().start();
    for bracket in ["[", "{\"a\":"] {
        let mut control = peer.control();
        control.send_raw(format!("{}\n", bracket.repeat(10_000)).as_bytes());
        assert!(control.line().expect("an answer")["error"]["code"].is_i64());
        assert!(control.call("status", Value::Null).is_ok());
    }
}

#[test]
fn bytes_that_are_no_text_are_garbage_too() {
    let peer = Setup::peer().start();
    let mut control = peer.control();
    control.send_raw(b"\xff\xfe\0\x80\n");
    assert_eq!(control.line().expect("an answer")["error"]["code"], -32700);
    assert!(control.call("status", Value::Null).is_ok());
}

#[test]
fn a_huge_line_is_not_swallowed() {
    let peer = Setup::peer().start();
    let mut control = peer.control();
    let _ = control.try_send_raw(&vec![b'x'; 3 << 20]);
    let hung_up = loop {
        match control.line() {
            Ok(answer) => assert!(answer["error"]["code"].is_i64(), "nothing but an error: {answer}"),
            Err(error) => break error,
        }
    };
    let timed_out = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&hung_up.kind());
    assert!(!timed_out, "the client is hung up on, not left hanging");
    assert!(answers(&peer));
    assert!(peer.proc_status("VmRSS") < 64 << 10, "it was not gathered up");
}

#[test]
fn half_a_line_delays_nobody() {
    let peer = Setup::peer().start();
    let mut slow = peer.control();
    slow.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"met");
    assert!(answers(&peer));
    slow.send_raw(b"hod\":\"status\"}");
    assert!(answers(&peer));
    slow.send_raw(b"\n");
    let answer = slow.line().expect("an answer");
    assert_eq!((&answer["id"], answer["result"]["version"].is_string()), (&json!(7), true));
}

/// As `printf … | nc -U control.sock` does.
#[test]
fn a_client_that_half_closes_gets_its_answers() {
    let peer = Setup::peer().start();
    let mut control = peer.control();
    control.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n");
    control.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"peers\"}\n");
    control.half_close();
    assert_eq!(control.line().expect("an answer")["id"], 1);
    assert_eq!(control.line().expect("an answer")["id"], 2);
    assert!(answers(&peer));
}

#[test]
fn several_calls_in_one_write_are_all_answered() {
    let peer = Setup::peer().start();
    let mut control = peer.control();
    let calls: String =
        (0..200).map(|id| format!("{{\"jsonrpc\":\"2.0\",\"id\":\"call {id}\",\"method\":\"status\"}}\n")).collect();
    control.send_raw(calls.as_bytes());
    for id in 0..200 {
        let answer = control.line().expect("an answer");
        assert_eq!(answer["id"], format!("call {id}"));
        assert!(answer["result"]["version"].is_string());
    }
}

#[test]
fn many_clients_are_served_side_by_side() {
    let peer = Setup::peer().start();
    let mut clients: Vec<_> = (0..30).map(|_| peer.control()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert!(client.call("status", Value::Null).is_ok());
        }
    }
    drop(clients);
    assert!(answers(&peer));
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let peer = Setup::peer().shares("file.txt", "x").start();
    let before = peer.descriptors_for_others();
    for turn in 0..200 {
        let mut control = peer.control();
        if turn % 2 == 0 {
            control.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events\"}\n");
        } else {
            control.send_raw(b"{\"jsonrpc\":");
        }
    }
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
    until("their descriptors are closed", LIMIT, || peer.descriptors_for_others() <= before);
}

/// A client that asks for every event and reads none is dropped when 1 MiB waits for it, and delays nobody.
#[test]
fn a_client_that_never_reads_is_dropped() {
    // A long name makes large events: 3,500 bytes in components of 250.
    let component = "n".repeat(249);
    let name = vec![component; 14].join("/");
    let peer = Setup::peer().shares(&name, "x").start();
    let mut deaf = peer.control();
    deaf.call("events", Value::Null).expect("it listens");
    let before = peer.descriptors_for_others();
    let to = peer.listen();
    // Two events each: more than 2 MiB.
    for _ in 0..320 {
        assert_eq!(fetch(to, name.as_bytes()), b"x");
    }
    until("it is dropped", LIMIT, || peer.descriptors_for_others() < before);
    let waited = deaf.drain(LIMIT).expect("hung up on");
    assert!((50_000..2_000_000).contains(&waited), "{waited} bytes had been sent");
    assert!(answers(&peer));
}

/// The same for one who asks and asks without reading the answers.
#[test]
fn a_client_that_only_asks_gets_no_memory_of_ours() {
    let setup = (0..600).fold(Setup::peer(), |setup, turn| setup.shares(format!("{turn} {}", "x".repeat(200)), ""));
    let peer = setup.start();
    let mut greedy = peer.control();
    let call = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"files\"}\n";
    // Answers of 130 KiB each, as long as the daemon takes questions.
    let sender = std::thread::spawn(move || {
        for _ in 0..20_000 {
            if greedy.try_send_raw(call).is_err() {
                break;
            }
        }
        greedy
    });
    for _ in 0..50 {
        assert!(answers(&peer));
        assert!(peer.proc_status("VmRSS") < 96 << 10, "{} KiB", peer.proc_status("VmRSS"));
    }
    drop(sender.join());
    assert!(answers(&peer));
}

#[test]
fn a_daemon_that_is_stopped_with_a_full_backlog_keeps_its_socket_and_hangs_no_start() {
    let first = Setup::peer().start();
    first.signal(nix::sys::signal::Signal::SIGSTOP);
    let address = socket2::SockAddr::unix(first.socket()).expect("a short path");
    let connect = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM.nonblocking(), None)?;
        socket.connect(&address).map(|()| socket)
    };
    let backlog: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
    let second = Setup::peer().set("control_socket", &format!("'{}'", first.socket().display()));
    let config = second.write_config();
    let (code, stderr) = crate::harness::run_pyrated([std::ffi::OsStr::new("--config"), config.as_os_str()]);
    drop(backlog);
    first.signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(code, Some(75), "{stderr}");
    until("the first one answers", LIMIT, || answers(&first));
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let setup = Setup::peer();
    let precious = setup.home().join("control.sock");
    std::fs::write(&precious, "precious").expect("it can be written");
    let config = setup.write_config();
    let (code, stderr) = crate::harness::run_pyrated([std::ffi::OsStr::new("--config"), config.as_os_str()]);
    assert!(code.is_some() && code != Some(0), "{stderr}");
    assert_eq!(std::fs::read(&precious).expect("it is there"), b"precious");
}

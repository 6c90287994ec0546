//! What goes wrong, and how the user is told: no daemon, no answer, nonsense, and mistakes of the user.

use super::fake::{Fake, Run, finish, run, run_alone, wait_for};
use super::not_tested::not_tested;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn without_a_daemon_the_sockets_tried_and_the_remedy_are_named() {
    let alone = run_alone(&["--json", "status"]);
    alone.says(69, "/run/pyrate/control.sock (");
    alone.says(69, ".local/state/pyrate/control.sock (no such socket)");
    alone.says(69, "start one with `pyrated`");
    assert_eq!(alone.json()["error"]["code"], 69);

    let named = run_alone(&["--socket", "nowhere\n.sock"]);
    named.says(69, "nowhere\\n.sock (no such socket)");
    assert_eq!((named.out.as_str(), named.err.contains("/run/")), ("", false));
}

#[test]
fn a_host_name_that_is_not_found_is_no_mistake_in_the_command_line() {
    for arguments in [
        &["list", "no-such-host.invalid"][..],
        &["download", "no-such-host.invalid:5/a"],
        &["forget", "no-such-host.invalid"],
    ] {
        let failed = run_alone(&[&["--json"], arguments].concat());
        failed.says(6, "pyratectl: cannot look up 'no-such-host.invalid': ");
        assert!(failed.err.ends_with("; check the spelling, or name an IP address\n"), "{failed:?}");
        assert_eq!(failed.json()["error"]["code"], 6);
    }
}

#[test]
fn a_host_name_that_stands_for_a_peer_after_the_own_share_is_looked_up_like_others() {
    for command in ["link", "manifest"] {
        let failed = run(&[command, "no-such-host.invalid:5/a/"], |talk| {
            talk.expect(command);
            talk.fail(3, "not shared");
        });
        failed.says(6, "pyratectl: cannot look up 'no-such-host.invalid': ");
    }
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_told_apart() {
    let fake = Fake::new();
    drop(UnixListener::bind(fake.socket()).unwrap());
    finish(fake.command_here(&["peers"]).spawn().unwrap()).says(69, "control.sock (nothing listens)");
    let long = format!("/{}", "x".repeat(200));
    run_alone(&["--socket", &long]).says(69, &long);
}

#[test]
fn the_first_daemon_that_answers_is_taken() {
    let fake = Fake::new();
    let runtime = fake.directory().join("runtime/pyrate");
    std::fs::create_dir_all(&runtime).unwrap();
    // Never listens: a program that another test has just started may hold a copy of the socket for a while.
    let stale = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    stale.bind(&socket2::SockAddr::unix(runtime.join("control.sock")).unwrap()).unwrap();
    std::fs::create_dir_all(fake.directory().join("state")).unwrap();
    std::os::unix::fs::symlink(fake.directory(), fake.directory().join("state/pyrate")).unwrap();
    let mut command = fake.command(&["peers"]);
    command.env("XDG_RUNTIME_DIR", fake.directory().join("runtime"));
    command.env("XDG_STATE_HOME", fake.directory().join("state"));
    fake.run_command(command, |talk| drop(talk.answer("peers", json!([])))).gives(0, "");
}

#[test]
fn whoever_may_not_talk_to_the_daemon_is_told_so() {
    if nix::unistd::geteuid().is_root() {
        return refused(0o000, 0, 0).says(69, "not permitted to talk to the daemon at");
    }
    let fake = Fake::new();
    let _listener = UnixListener::bind(fake.socket()).unwrap();
    std::fs::set_permissions(fake.socket(), PermissionsExt::from_mode(0o000)).unwrap();
    run_at(&fake, Command::new(env!("CARGO_BIN_EXE_pyratectl"))).says(69, "not permitted to talk to the daemon at");
}

/// Runs a program at the socket of a daemon.
fn run_at(fake: &Fake, mut program: Command) -> Run {
    program.arg("--socket").arg(fake.socket()).env_clear().current_dir("/");
    program.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(program.spawn().unwrap())
}

/// Runs a copy of pyratectl, at a socket with this mode that belongs to this user and group, as nobody.
fn refused(mode: u32, owner: u32, group: u32) -> Run {
    let fake = Fake::new();
    let _listener = UnixListener::bind(fake.socket()).unwrap();
    std::os::unix::fs::chown(fake.socket(), Some(owner), Some(group)).unwrap();
    std::fs::set_permissions(fake.socket(), PermissionsExt::from_mode(mode)).unwrap();
    // A copy that another user can reach, wherever the build is. Written by another process: a program that a child
    // of this one, started meanwhile by another test, still holds open for writing could not be run.
    let program = fake.directory().join("pyratectl");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pyratectl")).arg(&program).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(fake.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.uid(65534).gid(65534);
    run_at(&fake, command)
}

#[test]
fn whoever_may_not_talk_to_the_daemon_is_told_who_may() {
    if !nix::unistd::geteuid().is_root() {
        not_tested("what another user is told", "only root can become one");
        return;
    }
    refused(0o660, 0, 54_321).says(69, "members of the group 54321 may");
    // Nobody is to be added to the group root, nor to one that may do nothing.
    refused(0o660, 0, 0).says(69, "run pyratectl as root");
    refused(0o600, 54_321, 54_321).says(69, "it is the daemon of user 54321");
    refused(0o660, 54_321, 0).says(69, "it is the daemon of user 54321");
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for_forever() {
    let run = run(&["--json", "status", "--timeout=150ms"], |talk| {
        talk.expect("status");
        talk.raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,");
        talk.until_hangup();
    });
    run.says(2, "did not answer within 150ms");
    assert_eq!(run.json()["error"]["code"], 2);
}

#[test]
fn a_daemon_that_accepts_nobody_is_not_waited_for_forever() {
    let fake = Fake::new();
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(fake.socket()).unwrap()).unwrap();
    listener.listen(0).unwrap();
    // Fill the queue, which has room for at least one.
    let mut waiting = Vec::new();
    loop {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&socket2::SockAddr::unix(fake.socket()).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
    }
    finish(fake.command_here(&["peers", "--timeout", "100ms"]).spawn().unwrap()).says(2, "accepts no connection");
}

#[test]
fn a_daemon_that_floods_instead_of_answering_is_given_up_in_time() {
    let fake = Fake::new();
    let daemon = fake.serve(|talk| {
        talk.expect("peers");
        talk.notices_until_hangup(&json!({"event": "peer_up", "addr": "[::1]:5"}));
    });
    let run = finish(fake.command_here(&["peers", "--timeout", "2s"]).spawn().unwrap());
    wait_for(daemon);
    assert!(run.code == 2 || run.code == 1 && run.err.contains("notices without end"), "{run:?}");
}

#[test]
fn control_characters_of_an_answer_that_nobody_understands_do_not_reach_the_terminal() {
    for answer in [json!([{"addr": "192.0.2.1:5", "state": "a\u{1b}[31mb"}]), json!({"a\u{1b}[31mb": 1})] {
        let run = run(&["peers"], |talk| drop(talk.answer("peers", answer)));
        run.says(1, "is no daemon of this version: unexpected answer: ");
        assert!(!run.err.contains('\u{1b}'), "{:?}", run.err);
    }
    let run = run(&["peers"], |talk| {
        talk.expect("peers");
        talk.raw(b"{\"\x1b[31m\": tru\n");
    });
    run.says(1, "is no daemon of this version");
    assert!(!run.err.contains('\u{1b}'), "{:?}", run.err);
}

#[test]
fn a_daemon_that_hangs_up_is_gone() {
    run(&["status"], |talk| drop(talk.expect("status"))).says(69, "hung up");
    run(&["status"], |talk| {
        talk.expect("status");
        talk.raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"ver");
    })
    .says(69, "hung up");
    run(&["search", "x", "--wait", "1h"], |talk| drop(talk.answer("search", json!({"search": 1})))).says(69, "hung up");
    run(&["list", "192.0.2.1:5"], |talk| drop(talk.answer("list", json!({"search": 1})))).says(69, "hung up");
    run(&["rescan"], |talk| drop(talk.answer("rescan", json!({})))).says(69, "hung up");
    run(&["events"], |talk| drop(talk.answer("events", json!({})))).says(69, "hung up");
    let run = run(&["download", "1", "--json"], |talk| {
        let row = super::fake::download(1, "a", "active", 0);
        talk.answer("download", json!({"downloads": [row], "next": null}));
    });
    run.says(69, "hung up");
    assert_eq!(run.json()[0]["id"], 1);
}

#[test]
fn what_is_no_daemon_is_not_believed() {
    for garbage in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x1b]0;owned\x07\n",
        b"[]\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"version\":3}}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[]}\n",
    ] {
        let run = run(&["status"], |talk| {
            talk.expect("status");
            talk.raw(garbage);
            talk.until_hangup();
        });
        run.says(1, "is no daemon of this version");
        assert!(!run.err.contains('\u{1b}') && run.out.is_empty(), "{run:?}");
    }
    run(&["status"], |talk| {
        talk.expect("status");
        talk.raw(&vec![b'x'; (1 << 20) + 1]);
        talk.until_gone();
    })
    .says(1, "a line of more than 1048576 bytes");
}

#[test]
fn answers_to_nothing_that_was_asked_are_passed_over() {
    run(&["peers"], |talk| {
        talk.expect("peers");
        talk.raw(
            b"\n{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":1}\n{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}\r\n",
        );
        talk.notice(json!({"event": "registered", "addr": "b:1"}));
        talk.reply(json!([]));
    })
    .gives(0, "");
}

#[test]
fn a_refusal_of_the_daemon_keeps_its_code_and_reads_on_one_line() {
    for (code, exit) in [(2, 2), (3, 3), (6, 6), (28, 28), (1, 1), (77, 1), (-32602, 28), (-32601, 1), (-32600, 1)] {
        let run = run(&["reload", "--json"], move |talk| {
            talk.expect("reload");
            talk.fail(code, "no\nway\u{1b}");
        });
        run.says(exit, "pyratectl: no\\nway\\x1b\n");
        assert_eq!(run.json(), json!({"error": {"code": code, "message": "no\\nway\\x1b"}}));
    }
    // A daemon that does not like who calls says so before it reads anything.
    run(&["reload"], |talk| {
        talk.raw(b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1,\"message\":\"not for you\"}}\n");
    })
    .says(1, "not for you");
}

#[test]
fn usage_errors_are_code_28_and_reach_no_daemon() {
    for arguments in [
        &["dance"][..],
        &["--frobnicate"],
        &["--json", "--terse", "status"],
        &["search"],
        &["search", "x", "--ttl", "256"],
        &["list"],
        &["list", "local host"],
        &["download"],
        &["download", "nonsense"],
        &["download", "1", "-o", ""],
        &["cancel"],
        &["log-level", "loud"],
        &["--timeout", "soon", "peers"],
        &["pause"],
        &["resume"],
        &["retry"],
        &["suspend", "1"],
    ] {
        let run = run_alone(arguments);
        run.says(28, "\nType `pyratectl ");
        if arguments[0] != "--json" {
            assert_eq!(run.out, "");
        }
    }
    let error: Value = run_alone(&["dance", "--json"]).json();
    assert_eq!(error["error"]["code"], 28);
    assert!(!error["error"]["message"].as_str().unwrap().contains('\n'));
}

#[test]
fn help_and_version_need_no_daemon() {
    for arguments in
        [&["--help"][..], &["-h"], &["help"], &["search", "--help"], &["help", "search"], &["--json", "help"]]
    {
        let run = run_alone(arguments);
        assert!(run.code == 0 && run.out.contains("Usage: pyratectl"), "{run:?}");
        assert_eq!(run.out.contains("--ttl"), arguments.contains(&"search"));
    }
    for version in ["--version", "-V"] {
        run_alone(&[version]).gives(0, &format!("pyratectl {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let fake = Fake::new();
    let mut command = fake.command_here(&["peers", "--terse"]);
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    fake.run_command(command, |talk| drop(talk.answer("peers", json!([])))).says(17, "cannot write the result");
}

#[test]
fn a_live_view_is_refused_where_nothing_can_be_drawn() {
    let run = run_alone(&["top"]);
    run.says(28, "top needs a terminal to draw on: the standard input is none; `pyratectl status`");
    for form in ["--json", "--terse"] {
        run_alone(&["top", form]).says(28, &format!("{form} asks for a form that programs read"));
    }
    assert_eq!(run_alone(&["--json", "top"]).json()["error"]["code"], 28);
}

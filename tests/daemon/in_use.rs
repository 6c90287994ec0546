//! Addresses, the control socket and the state directory of another daemon.

use super::*;

#[test]
fn a_second_daemon_on_the_same_state_is_told_so() {
    let home = Home::new();
    let first = home.start(&[]);
    let second =
        home.run(&["--peer", "false", "--bootstrap-serve", "127.0.0.1:0", "--control-socket", &home.word("x")]);
    assert_eq!(second.status.code(), Some(75));
    assert!(stderr(&second).contains(&format!("process {}", first.child.id())), "{}", stderr(&second));
    assert_eq!(first.leave(), Some(0));
}

#[test]
fn a_live_control_socket_is_left_alone_and_a_stale_one_is_replaced() {
    let home = Home::new();
    drop(UnixListener::bind(home.path("control")).unwrap());
    let first = home.start(&["--control-socket", &home.word("control")]);
    let state = home.word("other-state");
    let arguments = ["--peer", "false", "--bootstrap-serve", "127.0.0.1:0", "--state-directory", &state];
    let second = home.command(&arguments).args(["--control-socket", &home.word("control")]).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    assert!(stderr(&second).contains(&home.word("control")), "{}", stderr(&second));
    UnixStream::connect(home.path("control")).unwrap();
    assert_eq!(first.leave(), Some(0));
    assert!(!home.path("control").exists());
}

#[test]
fn an_address_in_use_is_named() {
    let home = Home::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let share = home.word("share");
    let port = taken.port().to_string();
    let peer = ["--listen-addr", "127.0.0.1", "--listen-port", &port, "--bootstraps", "127.0.0.1:9"];
    let output = home.command(&peer).args(["--local-directory", &share]).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains(&taken.to_string()), "{}", stderr(&output));
    assert!(stderr(&output).contains("--listen-port 0 picks a free port"), "{}", stderr(&output));
}

#[test]
fn a_bootstrap_node_is_told_who_may_hold_its_address() {
    let home = Home::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let output = home.run(&["--peer", "false", "--bootstrap-serve", &taken]);
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains("a pyrated without configuration"), "{}", stderr(&output));
}

//! Listeners that the service manager makes, and passes when it starts the daemon (sd_listen_fds(3)).

use super::{Home, stderr};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

impl Home {
    /// The command that starts the daemon with this socket, under a name.
    fn activated(&self, socket: impl Into<OwnedFd>, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 </dev/null", "sh", env!("CARGO_BIN_EXE_pyrated")]).args(arguments);
        command.env_clear().env("HOME", self.path("")).env("PYRATE_ALLOW_ROOT", "true");
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).stdin(Stdio::from(socket.into()));
        command
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

#[test]
fn a_peer_takes_the_listener_that_is_passed_with_who_waits_there() {
    let home = Home::new();
    // Until the first scan nothing is shared.
    std::fs::write(home.path("share/file"), "x").unwrap();
    let (listener, port) = listener();
    let mut early = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    early.write_all(b"5:\n").unwrap();
    let share = home.word("share");
    let peer = ["--listen-addr", "127.0.0.1", "--listen-port", &port, "--bootstraps", "127.0.0.1:9"];
    let daemon = home.start_by(home.activated(listener, "peer", &[&peer[..], &["--local-directory", &share]].concat()));
    let mut list = Vec::new();
    early.read_to_end(&mut list).unwrap();
    assert_eq!(String::from_utf8(list).unwrap(), "file\n");
    assert_eq!(daemon.leave(), Some(0));
    assert!(home.stderr().contains(&format!("peer on 127.0.0.1:{port}")), "{}", home.stderr());
}

#[test]
fn a_bootstrap_node_takes_its_listener() {
    let home = Home::new();
    let (listener, port) = listener();
    let at = format!("127.0.0.1:{port}");
    let node = home.start_by(home.activated(listener, "bootstrap", &["--peer", "false", "--bootstrap-serve", &at]));
    let mut peer = TcpStream::connect(&at).unwrap();
    peer.write_all(b"1:8\n").unwrap();
    let mut list = Vec::new();
    peer.read_to_end(&mut list).unwrap();
    assert_eq!(node.leave(), Some(0));
}

#[test]
fn a_socket_that_does_not_fit_is_a_bad_configuration() {
    let home = Home::new();
    let refused = |socket: OwnedFd, name: &str, arguments: &[&str]| {
        let output = home.activated(socket, name, arguments).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("pyrated: socket activation: "), "{said}");
        said
    };
    let (held, port) = listener();
    let share = home.word("share");
    let peer = [
        "--listen-addr",
        "127.0.0.1",
        "--listen-port",
        &port,
        "--local-directory",
        &share,
        "--bootstraps",
        "127.0.0.1:9",
    ];
    let alone = ["--peer", "false", "--bootstrap-serve", "127.0.0.1:0"];
    let another = listener().0;
    let bound = another.local_addr().unwrap();
    let said = refused(another.into(), "peer", &peer);
    assert!(said.contains(&format!("at {bound}, and listen_addr and listen_port say 127.0.0.1:{port}")), "{said}");
    let said = refused(TcpStream::connect(held.local_addr().unwrap()).unwrap().into(), "peer", &peer);
    assert!(said.contains("does not listen"), "{said}");
    let said = refused(UnixListener::bind(home.path("socket")).unwrap().into(), "peer", &peer);
    assert!(said.contains("none of TCP"), "{said}");
    let said = refused(listener().0.into(), "pyrated.socket", &peer);
    assert!(said.contains("`pyrated.socket`: FileDescriptorName= of its unit must be peer or bootstrap"), "{said}");
    let said = refused(listener().0.into(), "peer", &alone);
    assert!(said.contains("this configuration has no peer"), "{said}");
}

#[test]
fn a_socket_for_another_process_is_not_taken() {
    let home = Home::new();
    let mut command = home.activated(listener().0, "no name", &["--peer", "false", "--bootstrap-serve", "127.0.0.1:0"]);
    command.env("LISTEN_PID", "1");
    assert_eq!(home.start_by(command).leave(), Some(0));
}

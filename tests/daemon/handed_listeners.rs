//! A restart by a service manager that keeps sockets: those who call the daemon or read its metrics meanwhile wait for the next one.

use super::handing_over::{CONTROL, Peer, Store};
use super::{PATIENCE, stderr};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A peer with metrics, and where they are.
fn with_metrics() -> (Peer, String) {
    let mut peer = Peer::new();
    let at = free_address();
    peer.options = vec!["--metrics-listen".to_owned(), at.clone()];
    (peer, at)
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn control_path(peer: &Peer) -> PathBuf {
    peer.home.path(".local/state/pyrate/control.sock")
}

/// `pyratectl status` is run, and waits for its answer.
fn begin_status(socket: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyratectl"));
    command.args(["--timeout", "20s", "--socket"]).arg(socket).arg("status");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ask_for_metrics(at: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream
}

fn assert_metrics(mut stream: TcpStream) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\npyrate_"), "{answer}");
}

fn assert_answered(status: Child) {
    let output = status.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn who_calls_or_reads_the_metrics_meanwhile_waits_for_the_next_run() {
    let (peer, metrics) = with_metrics();
    let path = control_path(&peer);
    let mut running = peer.start();
    let made = inode(&path);
    // Twice: what was taken over is handed over again.
    for _ in 0..2 {
        let store = Store::of(running);
        assert_eq!(store.names(), ["kept-peer", CONTROL, "kept-metrics"]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (called, asked) = (begin_status(&path), ask_for_metrics(&metrics));
        let mut early = UnixStream::connect(&path).unwrap();
        early.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n").unwrap();
        let said;
        (running, said) = peer.start_again(store);
        for name in ["kept-control-", "kept-metrics\n"] {
            assert!(said.iter().any(|said| said.starts_with(&format!("FDSTOREREMOVE=1\nFDNAME={name}"))), "{said:?}");
        }
        assert_answered(called);
        assert_metrics(asked);
        early.read_exact(&mut [0; 10]).unwrap();
        // As one that is made anew, and it is seen who is behind it.
        assert_eq!((inode(&path), fs::metadata(&path).unwrap().mode() & 0o777), (made, 0o660));
        let behind = getsockopt(&UnixStream::connect(&path).unwrap(), PeerCredentials).unwrap().pid();
        assert_eq!(u32::try_from(behind).unwrap(), running.child.id());
        assert_metrics(ask_for_metrics(&metrics));
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn those_that_the_configuration_wants_elsewhere_are_given_up() {
    let (mut peer, metrics) = with_metrics();
    let path = control_path(&peer);
    let store = Store::of(peer.start());
    let (elsewhere, moved) = (peer.home.path("run/other.sock"), free_address());
    peer.options = vec!["--control-socket".to_owned(), elsewhere.to_str().unwrap().to_owned()];
    peer.options.extend(["--metrics-listen".to_owned(), moved.clone()]);
    let (running, _) = peer.start_again(store);
    assert!(!path.exists() && TcpStream::connect(&metrics).is_err());
    assert_answered(begin_status(&elsewhere));
    assert_metrics(ask_for_metrics(&moved));
    // Off, and none.
    let store = Store::of(running);
    peer.options = vec!["--sandbox".to_owned(), "false".to_owned()];
    let (_running, _) = peer.start_again(store);
    assert!(!elsewhere.exists() && TcpStream::connect(&moved).is_err());
    assert_answered(begin_status(&path));
}

#[test]
fn a_control_socket_whose_file_is_gone_is_made_anew() {
    let (peer, _) = with_metrics();
    let path = control_path(&peer);
    let store = Store::of(peer.start());
    fs::remove_file(&path).unwrap();
    let (_running, _) = peer.start_again(store);
    assert_answered(begin_status(&path));
}

//! Coming and going: configuration, a second instance, signals, exit codes (pyrated(8)).

use crate::harness::{LIMIT, Setup, clean_command, fetch, free_port, pyratectl, run_pyrated, until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Runs `pyrated --config FILE …` to its end; gives the exit code and all that it said, in the log or on stderr.
fn run_config(config: &Path, log: &Path, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [OsStr::new("--config"), config.as_os_str()].into_iter().chain(more.iter().map(OsStr::new));
    let (code, stderr) = run_pyrated(arguments);
    (code, stderr + &std::fs::read_to_string(log).unwrap_or_default())
}

fn run_setup(setup: &Setup, more: &[&str]) -> (Option<i32>, String) {
    run_config(&setup.write_config(), &setup.home().join("log"), more)
}

#[test]
fn the_state_directory_is_free_again_after_the_end() {
    let mut peer = Setup::peer().start();
    peer.end_by(Signal::SIGKILL);
    peer.start_again();
    assert_eq!(peer.stop().code, Some(0));
    peer.start_again();
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let (code, said) = run_setup(&Setup::peer().set("listen_port", &port), &[]);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains(&port), "the message names the port: {said}");
    let serve = SocketAddr::from(([127, 0, 0, 1], taken.local_addr().expect("bound").port()));
    let (code, said) = run_setup(&Setup::bootstrap().serves(serve), &[]);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains(&port), "{said}");
}

#[test]
fn bad_configuration_names_file_line_and_key() {
    for (key, value) in [
        ("no_such_key", "1"),
        ("listen_port", "65536"),
        ("listen_port", "-1"),
        ("listen_port", "'many'"),
        ("bootstrap_port", "0"),
        ("listen_addr", "'nowhere.'"),
        ("max_workers", "0"),
        ("max_ttl", "1000"),
        ("keepalive_refresh", "'soon'"),
        ("log_level", "'loud'"),
        ("peer", "'perhaps'"),
        ("bootstraps", "['host:0']"),
        ("bootstrap_serve", "'127.0.0.1:99999'"),
    ] {
        let setup = Setup::peer().set(key, value);
        let (code, said) = run_setup(&setup, &[]);
        assert_eq!(code, Some(78), "{key} = {value}: {said}");
        let text = std::fs::read_to_string(setup.write_config()).expect("the configuration");
        let line = 1 + text.lines().position(|line| line.starts_with(key)).expect("it is there");
        assert!(said.contains("pyrated.toml") && said.contains(key), "{key} = {value}: {said}");
        assert!(said.contains(&line.to_string()), "line {line} of {key} = {value}: {said}");
    }
    let (code, said) = run_setup(&Setup::peer().set("max_workers", "[[["), &[]);
    assert_eq!(code, Some(78), "{said}");
    let (code, said) = run_config(Path::new("/no/such/file.toml"), Path::new("/no/log"), &[]);
    assert_eq!(code, Some(78), "{said}");
}

#[test]
fn check_and_dump_config_start_nothing() {
    let setup = Setup::peer().set("max_peers", "3");
    let (code, said) = run_setup(&setup, &["--check"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, _) = run_setup(&Setup::peer().set("max_peers", "'x'"), &["--check"]);
    assert_eq!(code, Some(78));
    let dump = clean_command(env!("CARGO_BIN_EXE_pyrated"), Path::new("/nonexistent"))
        .args([OsStr::new("--config"), setup.write_config().as_os_str()])
        .args(["--max-ttl", "4", "--dump-config"])
        .env("PYRATE_MAX_PEERS", "5")
        .env("PYRATE_MAX_TTL", "6")
        .output()
        .expect("it runs");
    let text = String::from_utf8(dump.stdout).expect("text");
    assert_eq!(dump.status.code(), Some(0));
    // Option beats environment beats file.
    for line in ["max_ttl = 4 # option --max-ttl\n", "max_peers = 5 # environment variable PYRATE_MAX_PEERS\n"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!setup.home().join("control.sock").exists());
}

#[test]
fn term_and_int_end_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut peer = Setup::peer().start();
        let ended = peer.end_by(signal);
        assert_eq!(ended.code, Some(0), "{signal}");
        assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    }
}

/// Idle connections, stuck uploads, control clients: none of them keeps the daemon from leaving in time.
#[test]
fn nothing_keeps_it_from_leaving() {
    let mut peer = Setup::peer().shares("stuck.bin", vec![0; 32 << 20]).start();
    let to = peer.listen();
    let idle: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(to).expect("it accepts")).collect();
    let mut stuck = TcpStream::connect(to).expect("it accepts");
    stuck.write_all(b"4:stuck.bin\n").expect("it reads");
    stuck.read_exact(&mut [0; 100]).expect("it begins");
    let mut listener = peer.control();
    listener.call("events", serde_json::Value::Null).expect("it listens");
    let ended = peer.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    drop(idle);
}

#[test]
fn a_restart_on_the_same_port_works_at_once() {
    let mut peer = Setup::peer().set("listen_port", &free_port().to_string()).shares("file.txt", "x").start();
    for _ in 0..3 {
        // The daemon closes first, so that its side of the connection lingers in TIME_WAIT.
        assert_eq!(fetch(peer.listen(), b"file.txt"), b"x");
        assert_eq!(peer.stop().code, Some(0));
        peer.start_again();
        until("the share is scanned", LIMIT, || peer.status()["shared_files"] == 1);
    }
}

/// Every key is also an option and an environment variable.
#[test]
fn options_start_a_daemon_too() {
    let setup = Setup::peer().set("max_peers", "3");
    let other = setup.home().join("other share");
    std::fs::create_dir(&other).expect("a directory");
    std::fs::write(other.join("from option.txt"), "x").expect("it can be written");
    let config = setup.write_config();
    let mut child = clean_command(env!("CARGO_BIN_EXE_pyrated"), Path::new("/nonexistent"))
        .arg("--config")
        .arg(&config)
        .arg("--local-directory")
        .arg(&other)
        .env("PYRATE_DOWNLOAD_DIRECTORY", &other)
        .spawn()
        .expect("it runs");
    let socket = setup.home().join("control.sock");
    let shared = std::panic::catch_unwind(|| {
        until("the file named by the option is shared", LIMIT, || {
            let status = crate::harness::Control::connect(&socket).ok();
            status
                .and_then(|mut control| control.call("status", serde_json::Value::Null).ok())
                .is_some_and(|status| status["shared_files"] == 1)
        });
    });
    let _ = child.kill();
    let _ = child.wait();
    assert!(shared.is_ok());
}

/// Only the default directory is made: a typing mistake must not make an empty share. One that was in use is not mounted yet.
#[test]
fn a_share_that_was_in_use_is_waited_for_and_taken_up_when_it_appears() {
    let setup = Setup::peer();
    let missing = setup.home().join("not there");
    let setup = setup.set("local_directory", &format!("'{}'", missing.display())).set("filemonitor_refresh", "'1s'");
    std::fs::create_dir(&missing).expect("a fresh directory");
    let mut daemon = setup.start();
    until("it is remembered", LIMIT, || {
        std::fs::read_to_string(daemon.home().join("state/places")).is_ok_and(|places| places.contains("not there"))
    });
    daemon.stop();
    std::fs::remove_dir(&missing).expect("it is empty");
    let (code, said) = run_config(&daemon.home().join("pyrated.toml"), &daemon.home().join("log"), &["--check"]);
    assert!(code == Some(0) && said.contains("local_directory") && said.contains("not there"), "{code:?} {said}");
    daemon.start_again();
    let expected =
        format!("cannot read the share '{}': no such file or directory; nothing is shared", missing.display());
    until("the share is looked for", LIMIT, || daemon.status()["scanning"] == false);
    let error = daemon.status()["share_error"].clone();
    assert!(
        error["code"] == 17 && error["message"].as_str().is_some_and(|text| text.starts_with(&expected)),
        "{error}"
    );
    daemon.await_log(&expected);
    let run = pyratectl(&daemon, ["rescan"]);
    assert!(run.code == 17 && run.stderr.contains(&expected), "{run:?}");
    for command in ["status", "files"] {
        let run = pyratectl(&daemon, [command]);
        assert!(run.code == 0 && (run.stdout + &run.stderr).contains(&expected), "{command}");
    }
    assert!(!missing.exists());
    std::fs::create_dir(&missing).expect("a fresh directory");
    std::fs::write(missing.join("file"), "x").expect("a fresh file");
    until("it is taken up by itself", LIMIT, || daemon.status()["shared_files"] == 1);
    assert!(daemon.status()["share_error"].is_null());
}

/// Starts, checks and reloads with what cannot start: each is refused for the same reason.
#[test]
fn what_cannot_start_is_refused_by_a_check_a_start_and_a_reload() {
    let mut peer = Setup::peer().shares("file.txt", "x").start();
    let home = peer.home().to_owned();
    let at = |name: &str| format!("'{}'", home.join(name).display());
    std::fs::write(home.join("file"), "").expect("a fresh file");
    for (key, value, problem) in [
        ("local_directory", at("missing"), "no such directory; create it"),
        ("local_directory", at("file"), "not a directory"),
        ("download_directory", at("missing"), "no such directory; create it"),
        ("download_directory", at("file"), "not a directory"),
        ("control_socket", at(&"s".repeat(108)), "where the path of a socket may have 107"),
        ("control_socket", at("file"), "not a socket"),
        ("state_directory", at("file/state"), "Not a directory"),
        ("log_file", at("missing/log"), "No such file or directory"),
        ("listen_addr", "'192.0.2.1'".into(), "no address of this machine"),
    ] {
        let setup = Setup::peer().set(key, &value);
        for more in [&["--check"][..], &[]] {
            let (code, said) = run_setup(&setup, more);
            // An address may come with its interface: whoever supervises the start tries again.
            let expected = if key == "listen_addr" && more.is_empty() { 1 } else { 78 };
            assert_eq!(code, Some(expected), "{key} = {value}: {said}");
            let line = said.lines().find(|line| line.contains(problem)).unwrap_or_else(|| panic!("{problem}: {said}"));
            assert!(line.contains("pyrated.toml:") && line.contains(&format!(": {key}: ")), "{line}");
            assert!(line.contains(value.trim_matches('\'')), "{line}");
        }
        let before = std::fs::read_to_string(home.join("pyrated.toml")).expect("the configuration");
        let kept =
            before.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).expect("it is set").to_owned();
        peer.reconfigure(key, &value);
        let refused = pyratectl(&peer, ["reload"]);
        assert!(refused.code == 1 && refused.stderr.contains(problem), "{key} = {value}: {refused:?}");
        assert_eq!(fetch(peer.listen(), b"file.txt"), b"x", "it runs on");
        peer.reconfigure(key, &kept);
        let reloaded = pyratectl(&peer, ["--json", "reload"]).json();
        assert_eq!((&reloaded["changed"], &reloaded["waiting"]), (&json!([]), &json!([])));
    }
}

//! `pyrated` without any configuration: a useful node on this machine alone (pyrated(8)).
//!
//! It uses the usual ports, so it runs in a network namespace of its own; where none can be made, the test is skipped.

use crate::harness::{LIMIT, Stopwatch, clean_command, not_tested, until, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A shell in namespaces of its own that brings up the loopback device, then does as it is told.
fn in_own_network(home: &Path, script: &str) -> Command {
    let mut command = clean_command("unshare", home);
    command.args(["-rn", "sh", "-c", &format!("ip link set lo up && {script}")]);
    command
}

/// The daemon, which took the place of the shell that started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `pyratectl --json …`, which finds the socket by itself.
fn ctl(home: &Path, arguments: &[&str]) -> Option<Value> {
    let mut command = clean_command(env!("CARGO_BIN_EXE_pyratectl"), home);
    let output = command.arg("--json").args(arguments).output().expect("it runs");
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("one JSON document"))
}

#[test]
fn nothing_configured_gives_a_useful_node() {
    let scratch = tempfile::Builder::new().prefix("pyrate-").tempdir().expect("a scratch directory");
    let home = scratch.path();
    if !in_own_network(home, "true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        not_tested("a node without any configuration", "no network namespaces are made for us");
        return;
    }
    let log = home.join("stderr");
    let stderr = std::fs::File::create(&log).expect("a fresh file");
    let mut start = in_own_network(home, &format!("exec {}", env!("CARGO_BIN_EXE_pyrated")));
    let mut daemon = Running(start.stderr(stderr).spawn().expect("it runs"));
    let said = || std::fs::read_to_string(&log).expect("it is there");
    let status = wait_for("it answers where pyratectl looks", LIMIT, || ctl(home, &["status"]));
    assert_eq!(status["listen"], "127.0.0.1:63339", "{}", said());
    until("its registry has itself", LIMIT, || {
        ctl(home, &["status"]).is_some_and(|now| now["registry"] == json!({ "listen": "127.0.0.1:21168", "count": 1 }))
    });
    until("it registers with itself", LIMIT, || {
        ctl(home, &["bootstrap"]).is_some_and(|bootstrap| {
            bootstrap["registry"]["peers"][0]["addr"] == "127.0.0.1:63339"
                && bootstrap["links"][0]["addr"] == "127.0.0.1:21168"
        })
    });
    let share = home.join("pyrate-files");
    assert!(share.is_dir(), "the share is made");
    std::fs::write(share.join("first.txt"), "x").expect("it can be written");
    ctl(home, &["rescan"]).expect("it looks again");
    assert_eq!(ctl(home, &["files"]).expect("a list")[0]["name"], json!("first.txt"));
    let first: String = said().lines().take(3).collect::<Vec<_>>().join("\n");
    assert!(first.contains("63339") && first.contains("21168"), "where it is: {first}");
    assert!(first.contains("pyrate-files") && first.contains("pyratectl"), "what to type next: {first}");
    let watch = Stopwatch::start();
    kill(Pid::from_raw(daemon.0.id() as i32), Signal::SIGTERM).expect("our own child");
    let status = wait_for("it leaves", LIMIT, || daemon.0.try_wait().expect("our own child"));
    assert!(status.success() && watch.ran().as_secs() < 5, "{}", said());
}

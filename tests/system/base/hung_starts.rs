//! Starts and reloads with disks that do not answer: what can do without them goes on.

use super::hung_shares::{HANGS, is_hashed, scan_until_hashed, tables};
use crate::harness::{Daemon, Delaying, LIMIT, Setup, fetch, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::path::Path;

/// What looks at a directory. One that hangs answers none.
const LOOKS: &str = "statx,newfstatat,readlink,readlinkat,faccessat,faccessat2,openat,openat2,getdents64";

/// Has a path hang from the start on. `None` where there is no strace.
fn hanging(setup: Setup, path: &Path) -> Option<Setup> {
    let hangs = format!("{LOOKS}:delay_enter={}ms", HANGS.as_millis());
    setup.injecting("a disk that hangs at the start", Some(path), &[&hangs])
}

#[test]
fn a_further_share_that_hangs_at_the_start_is_shared_when_it_answers() {
    let setup = Setup::peer().shares("b", "main");
    let (shares, hung) = (tables(setup.home(), &["hangs", "works"]), setup.home().join("data/hangs"));
    let Some(setup) = hanging(setup.set("share", &shares), &hung) else { return };
    let peer = setup.start_scanning();
    peer.await_log(&format!(
        "{}: the disk does not answer; nothing new of it is shared until it is there",
        hung.display()
    ));
    until("the other shares are scanned", 2 * LIMIT, || is_hashed(&peer, "works/a") && is_hashed(&peer, "b"));
    assert_eq!(fetch(peer.listen(), b"works/a"), b"works");
    peer.end_injection();
    scan_until_hashed(&peer, "hangs/a");
}

/// A thread that looks at a disk that hangs takes no signal, which would end the process at once.
#[test]
fn a_daemon_that_started_without_a_share_that_hangs_hears_signals() {
    let setup = Setup::peer();
    let (shares, hung) = (tables(setup.home(), &["hangs"]), setup.home().join("data/hangs"));
    let Some(setup) = hanging(setup.set("share", &shares), &hung) else { return };
    let mut peer = setup.start_scanning();
    peer.stop_in_time(Daemon::end_injection);
}

#[test]
fn a_start_whose_local_directory_hangs_fails_and_says_so() {
    let setup = Setup::peer().shares("a", "a");
    let (share, stderr) = (setup.share(), setup.home().join("stderr"));
    let Some(setup) = hanging(setup, &share) else { return };
    let mut child = setup.command().stderr(File::create(&stderr).expect("a fresh file")).spawn().expect("it runs");
    let expected = format!(": local_directory: {}: the disk does not answer; wait until it does", share.display());
    let told = || std::fs::read_to_string(&stderr).is_ok_and(|told| told.contains(&expected));
    until("it says so", LIMIT, told);
    // The process ends when the thread that hangs has ended, which strace holds.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it is waited for");
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:\t")?.parse().ok()).expect("it is traced");
    kill(Pid::from_raw(tracer), Signal::SIGKILL).expect("it was started with the daemon");
    assert_eq!(child.wait().expect("our own child").code(), Some(1));
}

#[test]
fn a_reload_that_names_a_share_that_hangs_goes_on_without_it_and_so_does_the_next() {
    let mut peer = Setup::peer().shares("b", "main").start();
    let shares = tables(peer.home(), &["hangs", "works"]);
    let Some(delaying) = Delaying::calls_on(&peer, LOOKS, HANGS, [peer.home().join("data/hangs")]) else { return };
    peer.reconfigure("share", &shares);
    for _ in 0..2 {
        let reply = peer.call("reload", Value::Null);
        let remarks = reply["remarks"].as_array().expect("a list");
        let is_told = |remark: &Value| {
            remark.as_str().is_some_and(|text| text.contains("data/hangs: the disk does not answer; "))
        };
        assert!(remarks.iter().any(is_told), "{reply}");
    }
    assert!((1..=4).contains(&probes(&peer)), "the looks hold few threads");
    until("the other share is scanned", 2 * LIMIT, || is_hashed(&peer, "works/a"));
    drop(delaying);
    scan_until_hashed(&peer, "hangs/a");
}

/// Neither does it look at what is above the share, which hangs as well.
#[test]
fn a_reload_in_the_sandbox_waits_for_no_share_that_hangs() {
    let mut peer = Setup::peer().shares("b", "main").set("sandbox", "true").start();
    let hangs = peer.home().join("data/hangs");
    let below = hangs.join("music");
    std::fs::create_dir_all(&below).expect("it can be made");
    let Some(_delaying) = Delaying::calls_on(&peer, LOOKS, HANGS, [&hangs, &below]) else { return };
    peer.reconfigure("share", &format!("[{{ path = '{}', name = 'music' }}]", below.display()));
    let remarks = peer.call("reload", Value::Null)["remarks"].to_string();
    assert!(remarks.contains("data/hangs/music: the disk does not answer; "), "{remarks}");
    assert_eq!(fetch(peer.listen(), b"b"), b"main");
}

/// The threads that look at paths.
fn probes(peer: &Daemon) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", peer.pid())).expect("it runs");
    let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
    names.filter(|name| name.trim_end() == "pyrate-probe").count()
}

#[test]
fn a_reload_that_needs_a_disk_that_hangs_is_refused_and_the_next_one_is_not() {
    let mut peer = Setup::peer().shares("b", "main").start();
    let elsewhere = peer.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("it is not there");
    let before = peer.share();
    let Some(_delaying) = Delaying::calls_on(&peer, LOOKS, HANGS, [&elsewhere]) else { return };
    peer.reconfigure("local_directory", &format!("'{}'", elsewhere.display()));
    for _ in 0..2 {
        let refused = peer.control().call("reload", Value::Null).expect_err("it hangs");
        let expected = format!("local_directory: {}: the disk does not answer", elsewhere.display());
        assert!(format!("{refused:?}").contains(&expected), "{refused:?}");
    }
    peer.reconfigure("local_directory", &format!("'{}'", before.display()));
    peer.call("reload", Value::Null);
    assert_eq!(fetch(peer.listen(), b"b"), b"main");
}

//! What a supervisor hears of start, work, reload and end.

use super::Home;
use nix::sys::signal::Signal;
use std::fs;
use std::time::Duration;

#[test]
fn a_supervisor_hears_of_start_reload_and_end() {
    let home = Home::new();
    let daemon = home.start(&[]);
    daemon.signal(Signal::SIGHUP);
    let reloading = daemon.hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(daemon.hear().starts_with("READY=1\n"));
    assert_eq!(daemon.leave(), Some(0));
    let log = home.stderr();
    assert!(log.lines().all(|line| line.starts_with("<6>")), "{log}");
    assert!(log.contains("<6>daemon: bootstrap node on 127.0.0.1:"), "{log}");
}

#[test]
fn a_reload_that_fails_changes_nothing_and_is_told() {
    let home = Home::new();
    fs::write(home.path("c.toml"), "log_level = \"info\"\n").unwrap();
    let daemon = home.start(&["--config", &home.word("c.toml")]);
    fs::write(home.path("c.toml"), "log_level = \"loud\"\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    assert!(daemon.hear().starts_with("RELOADING=1\n"));
    assert!(daemon.hear().starts_with("READY=1\n"));
    assert_eq!(daemon.leave(), Some(0));
    assert!(home.stderr().contains(":1: log_level: "), "{}", home.stderr());
}

#[test]
fn a_peer_is_ready_when_its_share_has_been_scanned() {
    let home = Home::new();
    // A file that has just changed is scanned again, some time after the first look.
    fs::write(home.path("share/file"), "x").unwrap();
    let share = home.word("share");
    let peer = ["--listen-addr", "127.0.0.1", "--listen-port", "0", "--bootstraps", "127.0.0.1:9"];
    let daemon = home.start_any(&[&peer[..], &["--local-directory", &share, "--log-level", "debug"]].concat());
    // The log is written by another thread, in the order of what happens.
    assert_eq!(daemon.leave(), Some(0));
    let log = home.stderr();
    let [scanned, left] = ["the share was scanned files=1", "leaving"].map(|text| log.find(text).expect(&log));
    assert!(scanned < left, "{log}");
}

#[test]
fn a_watchdog_is_fed_by_the_loop() {
    let home = Home::new();
    let watchdog = [("WATCHDOG_USEC", "300000")];
    let alone = ["--peer", "false", "--bootstrap-serve", "127.0.0.1:0"];
    let daemon = home.start_watched(&alone, &watchdog);
    for _ in 0..3 {
        assert_eq!(daemon.hear(), "WATCHDOG=1\n");
    }
    // A loop that hangs says nothing, and would be ended.
    daemon.signal(Signal::SIGSTOP);
    while daemon.hears_within(Duration::from_millis(300)) {}
    daemon.signal(Signal::SIGCONT);
    assert_eq!(daemon.hear(), "WATCHDOG=1\n");
    // Meant for another process.
    drop(daemon);
    let other = [("WATCHDOG_USEC", "300000"), ("WATCHDOG_PID", "1")];
    let daemon = home.start_watched(&[&alone[..], &["--bootstrap-verify", "true"]].concat(), &other);
    assert!(!daemon.hears_within(Duration::from_millis(400)));
}

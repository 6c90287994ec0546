//! The files of the state directory that are written whole: one that could not be written is written again until it is on
//! the disk (pyrated(8), DOWNLOADS).

use crate::harness::{Framing, LIMIT, Setup, ask, await_hashed, free_port, side_by_side, until};
use std::path::Path;
use std::time::Duration;

/// Registrations are saved after 5 s, peers after as long, and another attempt follows after 1 s.
const PATIENCE: Duration = LIMIT.saturating_mul(3);

/// Each way in which writing the new file, or putting it in the place of the old one, can fail.
const FAULTS: [&str; 4] = ["openat:error=ENOSPC", "pwrite64:error=EIO", "fsync:error=EIO", "renameat:error=EROFS"];

fn holds(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|found| found.contains(text))
}

#[test]
fn registrations_that_could_not_be_saved_are_saved_later() {
    side_by_side(FAULTS, |fault| {
        let setup = Setup::bootstrap();
        let state = setup.home().join("state");
        let new = state.join(".registry.new");
        let Some(setup) = setup.injecting("registrations that cannot be saved", Some(&new), &[fault]) else { return };
        let mut node = setup.start();
        ask(node.bootstrap_addr(), b"0:43000", Framing::Fin);
        let told = "cannot write the state file registry, trying again";
        until("it is told", PATIENCE, || node.log().contains(told));
        until("it is tried again", PATIENCE, || node.injected() >= 2);
        assert!(!state.join("registry").exists(), "{fault}");
        node.end_injection();
        until("they are saved", PATIENCE, || node.log().contains("the state file registry is written again"));
        assert!(holds(&state.join("registry"), "127.0.0.1,43000,"), "{fault}");
        assert_eq!(node.log().matches(told).count(), 1, "it is told once");
        node.inject_nothing();
        node.end_by(nix::sys::signal::Signal::SIGKILL);
        node.start_again();
        assert_eq!(ask(node.bootstrap_addr(), b"1:5", Framing::Fin).bytes, b"127.0.0.1,43000\n", "{fault}");
    });
}

#[test]
fn peers_that_could_not_be_saved_are_saved_later() {
    let bootstrap = Setup::bootstrap().start();
    let other = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).start();
    side_by_side(FAULTS, |fault| {
        let setup = Setup::peer().joins(&[bootstrap.bootstrap_addr()]);
        let state = setup.home().join("state");
        let new = state.join(".peers.new");
        let Some(setup) = setup.injecting("peers that cannot be saved", Some(&new), &[fault]) else { return };
        let daemon = setup.start();
        daemon.await_neighbour(other.listen());
        daemon.list(other.listen());
        until("it is told", PATIENCE, || daemon.log().contains("cannot write the state file peers, trying again"));
        until("it is tried again", PATIENCE, || daemon.injected() >= 2);
        assert!(!state.join("peers").exists(), "{fault}");
        daemon.end_injection();
        until("they are saved", PATIENCE, || daemon.log().contains("the state file peers is written again"));
        assert!(holds(&state.join("peers"), &other.listen().to_string()), "{fault}");
    });
}

/// A read that fails while the hash cache is opened is made again: else all files would be hashed once more.
#[test]
fn one_failed_read_of_the_hash_cache_at_start_costs_nothing() {
    let mut daemon = Setup::peer().shares("file.bin", "content").start();
    await_hashed(&daemon);
    daemon.stop();
    let cache = daemon.home().join("state/hashes");
    if !daemon.inject("a hash cache that cannot be read once", Some(&cache), &["pread64:error=EIO:when=1"]) {
        return;
    }
    daemon.start_again();
    await_hashed(&daemon);
    assert!(daemon.injected() > 0, "the fault was met");
    assert!(!daemon.log().contains("cannot open the hash cache"), "{}", daemon.log());
}

#[test]
fn what_cannot_be_saved_for_long_is_saved_when_it_can() {
    let setup = Setup::bootstrap();
    let state = setup.home().join("state");
    // A directory in the way fails every attempt.
    std::fs::create_dir_all(state.join("registry/in the way")).expect("a fresh directory");
    let node = setup.start();
    ask(node.bootstrap_addr(), b"0:43000", Framing::Fin);
    let told = "cannot write the state file registry, trying again";
    until("it is told", PATIENCE, || node.log().contains(told));
    let spare = free_port();
    ask(node.bootstrap_addr(), format!("0:{spare}").as_bytes(), Framing::Fin);
    std::fs::remove_dir_all(state.join("registry")).expect("it is there");
    until("all are saved", PATIENCE, || {
        holds(&state.join("registry"), "127.0.0.1,43000,") && holds(&state.join("registry"), &format!(",{spare},"))
    });
    assert_eq!(node.log().matches(told).count(), 1, "it is told once");
}

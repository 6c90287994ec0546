//! The hashes of what is shared: computed once, beside everything else, and again only for what changed (pyrated(8),
//! FILES).

use crate::harness::{Daemon, Dice, LIMIT, Setup, Stopwatch, await_hashed, pause, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

const MIB: usize = 1 << 20;

fn b3(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// The hash of each file, as the daemon knows them.
fn hashes(daemon: &Daemon) -> BTreeMap<String, Value> {
    let rows = daemon.pages("files", "files").into_iter();
    rows.map(|row| (row["name"].as_str().expect("text").to_owned(), row["b3"].clone())).collect()
}

/// Bytes that the daemon has read, from files and sockets.
fn bytes_read(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/io", daemon.pid())).expect("it runs");
    let rchar = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a known key");
    rchar.parse().expect("a number")
}

#[test]
fn a_restart_hashes_nothing_again() {
    let mut dice = Dice::new();
    let large: Vec<Vec<u8>> = (0..24).map(|_| dice.bytes(2 * MIB)).collect();
    let mut setup = (0..3_000).fold(Setup::peer(), |setup, turn| {
        setup.shares(format!("d{}/small {turn}.txt", turn % 50), format!("the content of {turn}"))
    });
    for (turn, content) in large.iter().enumerate() {
        setup = setup.shares(format!("large {turn}.bin"), content);
    }
    let mut peer = setup.start();
    await_hashed(&peer);
    let before = hashes(&peer);
    assert_eq!(before.len(), 3_024);
    assert_eq!(before["large 3.bin"], b3(&large[3]));
    assert_eq!(before["d7/small 2957.txt"], b3(b"the content of 2957"));
    // Whatever is in the cache when it is killed may be a little less than all.
    for (end, most) in [(Signal::SIGTERM, 8 * MIB as u64), (Signal::SIGKILL, 8 * MIB as u64)] {
        peer.end_by(end);
        peer.start_again();
        until("it has scanned", LIMIT, || peer.status()["shared_files"] == 3_024);
        await_hashed(&peer);
        let read = bytes_read(&peer);
        assert!(read < most, "{read} bytes read after {end}: of the 48 MiB shared, none need be");
        assert_eq!(hashes(&peer), before);
    }
}

#[test]
fn a_changed_file_gets_another_hash_and_others_keep_theirs() {
    let mut peer = Setup::peer().shares("changed.txt", "before").shares("same.txt", "same").start();
    await_hashed(&peer);
    let before = hashes(&peer);
    assert_eq!(before["changed.txt"], b3(b"before"));
    // Of the same size, and at once.
    peer.add_file("changed.txt", "behind");
    peer.add_file("new.txt", "new");
    peer.rescan();
    until("it is hashed again", LIMIT, || hashes(&peer)["changed.txt"] == b3(b"behind"));
    await_hashed(&peer);
    let after = hashes(&peer);
    assert_eq!((&after["same.txt"], &after["new.txt"]), (&before["same.txt"], &b3(b"new").into()));
    // And while nobody looks.
    peer.stop();
    peer.add_file("same.txt", "semi");
    peer.start_again();
    await_hashed(&peer);
    until("that is seen, too", LIMIT, || hashes(&peer).get("same.txt") == Some(&b3(b"semi").into()));
    // The same bytes under another name are the same content.
    std::fs::rename(peer.share().join("new.txt"), peer.share().join("newer.txt")).expect("it is there");
    peer.rescan();
    await_hashed(&peer);
    assert_eq!(hashes(&peer)["newer.txt"], b3(b"new"));
}

#[test]
fn a_file_that_changes_while_it_is_hashed_gets_the_hash_of_what_it_is_in_the_end() {
    let peer = Setup::peer().start();
    let path = peer.share().join("growing.bin");
    let mut content = Dice::new().bytes(32 * MIB);
    std::fs::write(&path, &content).expect("it can be written");
    peer.rescan();
    let file = File::options().write(true).open(&path).expect("it can be written");
    for turn in 0..50u64 {
        file.write_all_at(&[turn as u8], turn * 1_000).expect("it can be written");
        content[turn as usize * 1_000] = turn as u8;
        pause(Duration::from_millis(2));
    }
    // A file that somebody writes to is not hashed until scans find it the same.
    until("the hash is that of the file", LIMIT, || {
        peer.rescan();
        hashes(&peer)["growing.bin"] == b3(&content)
    });
    await_hashed(&peer);
}

#[test]
fn the_node_answers_while_it_hashes_and_rests_afterwards() {
    let peer = Setup::peer().set("filemonitor_refresh", "'1h'").start();
    let file = File::create(peer.share().join("sparse.bin")).expect("a fresh file");
    file.set_len(1 << 30).expect("it can be sparse");
    peer.rescan();
    let mut control = peer.control();
    let mut took = Vec::new();
    let watch = Stopwatch::start();
    loop {
        let call = Stopwatch::start();
        let status = control.call("status", Value::Null).expect("an answer");
        took.push(call.ran());
        if status["unhashed_files"] == 0 {
            break;
        }
        assert!(watch.ran() < LIMIT * 2, "a gigabyte takes seconds: {status}");
    }
    took.sort_unstable();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{} calls: median {median:?}, at most {most:?}", took.len());
    assert!(took.len() >= 20, "there was time for calls: {took:?}");
    assert!(median < Duration::from_millis(50) && most < Duration::from_millis(1_500), "{median:?}, {most:?}");
    drop(control);
    // What is left to do, such as the cache's last batch, is soon done; then it sleeps until a timer is due.
    let switches = || peer.proc_status("voluntary_ctxt_switches");
    until("it is at rest for four seconds", LIMIT * 2, || {
        let (used, before) = (peer.cpu_time(), switches());
        pause(Duration::from_secs(4));
        switches() - before <= 8 && peer.cpu_time() - used <= Duration::from_millis(10)
    });
}

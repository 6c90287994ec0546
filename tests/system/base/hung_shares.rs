//! What a share that hangs may not delay: peers that want nothing of it.

use crate::harness::{
    Daemon, Delaying, End, FIRST_CONTACT, LIMIT, Setup, Stopwatch, ask_from, connect_from, fetch, free_port,
    read_to_end, reset, side_by_side, start_hashed, until,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Longer than any test.
pub(super) const HANGS: Duration = Duration::from_secs(600);

/// Each that asks for a file takes a descriptor for it, until it is gone.
#[test]
fn requesters_that_are_gone_leave_their_descriptors_to_others_while_the_share_hangs() {
    let bootstrap = (Ipv4Addr::LOCALHOST, free_port()).into();
    let names: Vec<String> = (0..210).map(|n| format!("{n}.txt")).collect();
    let setup = Setup::peer().descriptors_max(256).serves(bootstrap);
    let peer = start_hashed(names.iter().fold(setup, |setup, name| setup.shares(name, "a")));
    let Some(_delaying) = Delaying::calls(&peer, "openat2", HANGS) else { return };
    let request = |from: Ipv4Addr, name: &str| {
        let mut stream = connect_from(from, peer.listen()).expect("the backlog takes it");
        stream.write_all(format!("4:{name}\n").as_bytes()).expect("it waits in the buffer");
        stream.set_read_timeout(Some(LIMIT)).expect("not zero");
        stream
    };
    let are_active = |count: u64| until("they are known", LIMIT, || peer.status()["uploads_active"] == count);
    for (n, name) in (1..).zip(&names) {
        let gone = request(Ipv4Addr::new(127, 0, 8, n), name);
        are_active(1);
        reset(gone);
        are_active(0);
    }
    let _waits = request(Ipv4Addr::new(127, 0, 9, 1), "209.txt");
    are_active(1);
    let mut contact = connect_from(Ipv4Addr::new(127, 0, 9, 2), peer.listen()).expect("the backlog takes it");
    contact.set_read_timeout(Some(LIMIT)).expect("not zero");
    contact.write_all(FIRST_CONTACT).expect("it waits in the buffer");
    contact.read_exact(&mut [0]).expect("it is answered");
    ask_from(Ipv4Addr::new(127, 0, 9, 3), bootstrap, b"1:3");
    assert_eq!(peer.status()["limited"]["connections_displaced"], 0);
}

/// Further shares of these names, as a value of the configuration. Each has the file `a`.
pub(super) fn tables(home: &Path, names: &[&str]) -> String {
    let table = |name: &&str| {
        let path = home.join("data").join(name);
        std::fs::create_dir_all(&path).expect("it can be made");
        std::fs::write(path.join("a"), name).expect("it can be written");
        format!("{{ path = '{}', name = '{name}' }}", path.display())
    };
    let tables: Vec<String> = names.iter().map(table).collect();
    format!("[{}]", tables.join(", "))
}

/// A peer with further shares of these names.
fn start_with_shares(setup: Setup, names: &[&str]) -> Daemon {
    let tables = tables(setup.home(), names);
    start_hashed(setup.set("share", &tables))
}

/// Whether a file is shared, and its hash known.
pub(super) fn is_hashed(peer: &Daemon, name: &str) -> bool {
    peer.pages("files", "files").iter().any(|row| row["name"] == name && row["b3"].is_string())
}

/// Scans until a file is shared: a scan that begins before the job that hung has ended does without its share.
pub(super) fn scan_until_hashed(peer: &Daemon, name: &str) {
    until("what did not answer is scanned again", LIMIT, || {
        peer.call("rescan", Value::Null);
        is_hashed(peer, name)
    });
}

/// Has shares hang.
fn hang(peer: &Daemon, shares: &[&str]) -> Option<Delaying> {
    let paths = shares.iter().map(|name| peer.home().join("data").join(name));
    Delaying::calls_on(peer, "openat,openat2,statx,newfstatat,getdents64", HANGS, paths)
}

fn request(peer: &Daemon, from: u8, name: &str) -> TcpStream {
    let mut stream = connect_from(Ipv4Addr::new(127, 0, 9, from), peer.listen()).expect("the backlog takes it");
    stream.write_all(format!("4:{name}\n").as_bytes()).expect("it waits in the buffer");
    stream
}

#[test]
fn a_share_that_hangs_delays_no_file_of_another() {
    let peer = start_with_shares(Setup::peer().shares("b", "main").shares("c", "main"), &["hangs", "works"]);
    let Some(_delaying) = hang(&peer, &["hangs"]) else { return };
    let _waits = request(&peer, 1, "hangs/a");
    until("it is known", LIMIT, || peer.status()["uploads_active"] == 1);
    assert_eq!(fetch(peer.listen(), b"works/a"), b"works");
    assert_eq!(fetch(peer.listen(), b"b"), b"main");
    assert_eq!(peer.status()["uploads_active"], 1, "the first one still waits");
}

/// After 20 seconds: a disk that stood still has spun up by then.
#[test]
fn requests_for_a_share_that_hangs_give_up_their_places_for_others() {
    let setup = Setup::peer().set("max_workers", "2");
    let peer = start_with_shares(setup.shares("b", "main"), &["hangs", "works"]);
    let hung = [peer.home().join("data/hangs")];
    let Some(_delaying) = Delaying::calls_on(&peer, "openat,openat2", HANGS, hung) else { return };
    let hanging = [request(&peer, 1, "hangs/a"), request(&peer, 2, "hangs/a")];
    until("all places are taken", LIMIT, || peer.status()["uploads_active"] == 2);
    let mut waits = request(&peer, 4, "works/a");
    until("it waits for a place", LIMIT, || peer.status()["commands_queued"] == 1);
    waits.set_read_timeout(Some(2 * LIMIT)).expect("not zero");
    let mut content = Vec::new();
    waits.read_to_end(&mut content).expect("it has a place");
    assert_eq!(content, b"works");
    let ended = hanging.map(|mut stream| read_to_end(&mut stream));
    assert_eq!(ended, [(Vec::new(), End::Reset), (Vec::new(), End::Reset)]);
    peer.await_log("refused: the disk does not answer reason=file peer=127.0.9.1");
    let watch = Stopwatch::start();
    let mut told = connect_from(Ipv4Addr::new(127, 0, 9, 5), peer.listen()).expect("the backlog takes it");
    told.write_all(b"9:hangs/a\n").expect("it waits in the buffer");
    assert_eq!(read_to_end(&mut told), (b"refused=busy\n".to_vec(), End::Fin), "it may hang no more later");
    assert!(watch.ran() < Duration::from_secs(5), "{:?}", watch.ran());
    assert_eq!(fetch(peer.listen(), b"works/a"), b"works");
}

/// What a scan waits for is given up after 20 seconds.
#[test]
fn a_share_that_hangs_keeps_no_new_file_of_another_from_being_shared() {
    let peer = start_with_shares(Setup::peer().shares("b", "main"), &["hangs", "hangs too", "works"]);
    let Some(_delaying) = hang(&peer, &["hangs", "hangs too"]) else { return };
    std::fs::write(peer.home().join("data/works/new"), "new").expect("it can be written");
    peer.add_file("new", "new, too");
    let watch = Stopwatch::start();
    peer.call("rescan", Value::Null);
    until("the new files are shared", 2 * LIMIT, || is_hashed(&peer, "works/new") && is_hashed(&peer, "new"));
    println!("shared after {:?}", watch.ran());
    assert!(is_hashed(&peer, "hangs/a") && is_hashed(&peer, "hangs too/a"), "what is known of a share stays");
    assert_eq!(fetch(peer.listen(), b"works/new"), b"new");
}

/// What the job brings that was given up is dropped when the share answers, and harms no later scan.
#[test]
fn a_share_that_hangs_only_while_it_is_read_or_has_no_name_hangs_alone_and_comes_back() {
    const ALL_CALLS: &str = "openat,openat2,statx,newfstatat,getdents64";
    side_by_side([("data/hangs", "hangs/", "getdents64"), ("share", "", ALL_CALLS)], |(path, prefix, calls)| {
        let peer = start_with_shares(Setup::peer().shares("a", "main"), &["hangs", "works"]);
        let hangs = peer.home().join(path);
        let Some(delaying) = Delaying::calls_on(&peer, calls, HANGS, [&hangs]) else { return };
        std::fs::write(peer.home().join("data/works/new"), "new").expect("it can be written");
        peer.call("rescan", Value::Null);
        until("the new file is shared", 2 * LIMIT, || is_hashed(&peer, "works/new"));
        assert!(is_hashed(&peer, &format!("{prefix}a")), "what is known of a share stays");
        assert_eq!(fetch(peer.listen(), b"works/new"), b"new");
        drop(delaying);
        std::fs::write(hangs.join("late"), "late").expect("it can be written");
        scan_until_hashed(&peer, &format!("{prefix}late"));
        assert_eq!(fetch(peer.listen(), format!("{prefix}late").as_bytes()), b"late");
    });
}

/// The scan that was going on is over, and the next one does not wait for the job that hangs.
#[test]
fn a_reload_adds_a_share_while_another_one_hangs() {
    let mut peer = start_with_shares(Setup::peer(), &["hangs"]);
    let hangs = peer.home().join("data/hangs");
    let Some(_delaying) = Delaying::calls_on(&peer, "openat2,getdents64", HANGS, [hangs]) else { return };
    peer.call("rescan", Value::Null);
    until("it scans", LIMIT, || peer.status()["scanning"] == true);
    let tables = tables(peer.home(), &["hangs", "added"]);
    peer.reconfigure("share", &tables);
    peer.call("reload", Value::Null);
    until("what was added is shared", 2 * LIMIT, || is_hashed(&peer, "added/a"));
    assert_eq!(fetch(peer.listen(), b"added/a"), b"added");
    assert!(is_hashed(&peer, "hangs/a"));
}

/// A signal is not heard while something is waited for that comes before the first turn.
#[test]
fn a_daemon_whose_share_hangs_at_the_start_answers_and_ends_in_time() {
    let setup = Setup::peer().shares("a", "a");
    let share = setup.share();
    let hangs = format!("delay_enter={}ms", HANGS.as_millis());
    let faults = [format!("openat2:{hangs}"), format!("getdents64:{hangs}")];
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    let Some(setup) = setup.injecting("a share that hangs at the start", Some(&share), &faults) else { return };
    let mut peer = setup.start_scanning();
    assert_eq!(peer.status()["scanning"], true);
    peer.stop_in_time(Daemon::end_injection);
}

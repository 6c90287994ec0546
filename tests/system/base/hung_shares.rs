//! What a share that hangs may not delay: peers that want nothing of it.

use crate::harness::{
    Daemon, Delaying, End, FIRST_CONTACT, LIMIT, Setup, Stopwatch, ask_from, connect_from, fetch, free_port,
    read_to_end, reset, start_hashed, until,
};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Longer than any test.
const HANGS: Duration = Duration::from_secs(600);

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

/// A peer with further shares of these names, each with the file `a`.
fn start_with_shares(setup: Setup, names: &[&str]) -> Daemon {
    let setup = setup.further_shares(names.iter().copied());
    let write = |name: &&str| std::fs::write(setup.home().join("data").join(name).join("a"), name);
    names.iter().for_each(|name| write(name).expect("it can be written"));
    start_hashed(setup)
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
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    assert_eq!(fetch(peer.listen(), b"works/a"), b"works");
}

/// What a scan waits for is given up after 20 seconds.
#[test]
fn a_share_that_hangs_keeps_no_new_file_of_another_from_being_shared() {
    let peer = start_with_shares(Setup::peer().shares("b", "main"), &["hangs", "hangs too", "works"]);
    let Some(_delaying) = hang(&peer, &["hangs", "hangs too"]) else { return };
    std::fs::write(peer.home().join("data/works/new"), "new").expect("it can be written");
    peer.add_file("new", "new, too");
    let is_shared = |name: &str| {
        let rows = peer.pages("files", "files");
        rows.iter().any(|row| row["name"] == name && row["b3"].is_string())
    };
    let watch = Stopwatch::start();
    peer.control().call("rescan", serde_json::Value::Null).expect("it can be asked for");
    until("the new files are shared", 2 * LIMIT, || is_shared("works/new") && is_shared("new"));
    println!("shared after {:?}", watch.elapsed());
    assert!(is_shared("hangs/a") && is_shared("hangs too/a"), "what is known of a share stays");
    assert_eq!(fetch(peer.listen(), b"works/new"), b"new");
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
    let watch = Stopwatch::start();
    peer.signal(Signal::SIGTERM);
    peer.await_log("daemon: left");
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    peer.end_injection();
    assert_eq!(peer.wait_end(watch).code, Some(0));
}

//! Commands in progress are limited by `max_workers`; the rest queue in order.

use crate::harness::{
    Daemon, End, Framing, LIMIT, OldBootstrap, Setup, ask, await_queued, finish, has_begun, holds, read_to_end,
    request, reset, until,
};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

fn workers(count: u32) -> Daemon {
    Setup::peer().set("max_workers", &count.to_string()).shares_large().start()
}

fn ask_for(peer: &Daemon, name: &str) -> TcpStream {
    request(Ipv4Addr::LOCALHOST, peer, &format!("4:{name}"))
}

#[test]
fn who_leaves_the_queue_is_passed_over() {
    let peer = workers(1);
    let first = ask_for(&peer, "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    let second = ask_for(&peer, "large.bin");
    await_queued(&peer, 1);
    let mut third = ask_for(&peer, "small.txt");
    await_queued(&peer, 2);
    reset(second);
    await_queued(&peer, 1);
    finish(first);
    assert_eq!(read_to_end(&mut third), (b"small".to_vec(), End::Fin));
}

#[test]
fn a_reader_that_dies_frees_its_worker() {
    let peer = workers(1);
    let first = ask_for(&peer, "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    let mut second = ask_for(&peer, "small.txt");
    await_queued(&peer, 1);
    reset(first);
    assert_eq!(read_to_end(&mut second), (b"small".to_vec(), End::Fin));
}

/// What needs no worker is answered at once: refusals, hits that come in, the control socket.
#[test]
fn a_busy_daemon_still_answers() {
    let bootstrap = OldBootstrap::listing(&[]);
    let mut peer = Setup::peer().set("max_workers", "1").joins(&[bootstrap.addr()]).shares_large().start();
    until("it is registered", LIMIT, || bootstrap.peers() == [peer.listen()]);
    let first = ask_for(&peer, "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    assert_eq!(ask(peer.listen(), b"8:nonsense", Framing::Fin).end, End::Reset);
    holds("the control socket answers", Duration::from_millis(100), || peer.status()["uploads_active"] == 1);
    // And it can still say goodbye.
    let ended = peer.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5));
    until("it is off the list", LIMIT, || bootstrap.peers().is_empty());
}

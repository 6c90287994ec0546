//! Commands in progress are limited by `max_workers`; the rest queue in order.

use crate::harness::{Daemon, End, Framing, LIMIT, OldBootstrap, Setup, ask, holds, read_to_end, until};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Larger than all socket buffers between the two: who does not read holds the worker.
const LARGE: usize = 24 << 20;

fn one_worker() -> Daemon {
    let setup = Setup::peer().set("max_workers", "1").shares("small.txt", "small");
    let file = std::fs::File::create(setup.share().join("large.bin")).expect("a fresh file");
    file.set_len(LARGE as u64).expect("a sparse file");
    setup.start()
}

fn request(to: SocketAddr, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("it accepts");
    stream.write_all(format!("4:{name}\n").as_bytes()).expect("it reads");
    stream
}

/// Whether the first byte of a response has come.
fn has_begun(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it can be polled");
    let begun = match stream.peek(&mut [0]) {
        Ok(count) => count == 1,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).expect("it can block");
    begun
}

fn finish(mut stream: TcpStream) {
    let (bytes, end) = read_to_end(&mut stream);
    assert!(bytes.len() == LARGE && end == End::Fin);
}

#[test]
fn queued_uploads_are_served_in_order() {
    let peer = one_worker();
    let to = peer.listen();
    let first = request(to, "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    let mut waiting = Vec::new();
    for turn in 1..=4 {
        waiting.push(request(to, "large.bin"));
        until("it is queued", LIMIT, || peer.status()["commands_queued"] == turn);
    }
    assert_eq!(peer.status()["uploads_active"], 1);
    assert!(!waiting.iter().any(has_begun));
    finish(first);
    while !waiting.is_empty() {
        let next = waiting.remove(0);
        until("the next has the worker", LIMIT, || has_begun(&next));
        assert!(!waiting.iter().any(has_begun), "one at a time, in order");
        finish(next);
    }
    until("nothing is left", LIMIT, || peer.status()["uploads_active"] == 0);
}

#[test]
fn who_leaves_the_queue_is_passed_over() {
    let peer = one_worker();
    let first = request(peer.listen(), "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    let second = request(peer.listen(), "large.bin");
    until("one waits", LIMIT, || peer.status()["commands_queued"] == 1);
    let mut third = request(peer.listen(), "small.txt");
    until("two wait", LIMIT, || peer.status()["commands_queued"] == 2);
    crate::harness::reset(second);
    until("one waits", LIMIT, || peer.status()["commands_queued"] == 1);
    finish(first);
    assert_eq!(read_to_end(&mut third), (b"small".to_vec(), End::Fin));
}

#[test]
fn a_reader_that_dies_frees_its_worker() {
    let peer = one_worker();
    let first = request(peer.listen(), "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    let mut second = request(peer.listen(), "small.txt");
    until("one waits", LIMIT, || peer.status()["commands_queued"] == 1);
    crate::harness::reset(first);
    assert_eq!(read_to_end(&mut second), (b"small".to_vec(), End::Fin));
}

/// What needs no worker is answered at once: refusals, hits that come in, the control socket.
#[test]
fn a_busy_daemon_still_answers() {
    let bootstrap = OldBootstrap::listing(&[]);
    let setup = Setup::peer().set("max_workers", "1").joins(&[bootstrap.addr()]).shares("small.txt", "small");
    let file = std::fs::File::create(setup.share().join("large.bin")).expect("a fresh file");
    file.set_len(LARGE as u64).expect("a sparse file");
    let mut peer = setup.start();
    until("it is registered", LIMIT, || bootstrap.peers() == [peer.listen()]);
    let first = request(peer.listen(), "large.bin");
    until("the first has the worker", LIMIT, || has_begun(&first));
    assert_eq!(ask(peer.listen(), b"8:nonsense", Framing::Fin).end, End::Reset);
    holds("the control socket answers", Duration::from_millis(100), || peer.status()["uploads_active"] == 1);
    // And it can still say goodbye.
    let ended = peer.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5));
    until("it is off the list", LIMIT, || bootstrap.peers().is_empty());
}

#[test]
fn several_workers_serve_side_by_side() {
    let setup = Setup::peer().set("max_workers", "3");
    let file = std::fs::File::create(setup.share().join("large.bin")).expect("a fresh file");
    file.set_len(LARGE as u64).expect("a sparse file");
    let peer = setup.start();
    let mut streams: Vec<TcpStream> = (0..3).map(|_| request(peer.listen(), "large.bin")).collect();
    until("all three have a worker", LIMIT, || streams.iter().all(has_begun));
    let fourth = request(peer.listen(), "large.bin");
    until("the fourth waits", LIMIT, || peer.status()["commands_queued"] == 1);
    // A slow reader does not slow the others down.
    let mut part = vec![0; 1 << 20];
    streams[2].read_exact(&mut part).expect("it goes on");
    finish(streams.remove(0));
    until("the fourth has its turn", LIMIT, || has_begun(&fourth));
    finish(fourth);
}

//! At the limits, and at rest: descriptors, connections of one address, processor, memory.

use crate::harness::{
    Daemon, Fake, LIMIT, OldBootstrap, Reading, Setup, Stopwatch, ask, connect_from, fetch, pause, until,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Opens connections from many addresses that say nothing; those that the daemon did not want are left out.
fn flood(to: SocketAddr, addresses: u8, each: usize) -> Vec<TcpStream> {
    let from = (1..=addresses).map(|last| Ipv4Addr::new(127, 0, 9, last));
    let streams = from.flat_map(|from| (0..each).filter_map(move |_| connect_from(from, to).ok()));
    streams.collect()
}

/// Whether the other side still holds a connection.
fn is_held(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it can be polled");
    let mut stream = stream;
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count()
}

#[test]
fn a_flood_beyond_the_descriptors_is_survived() {
    let peer = Setup::peer().descriptors_max(48).shares("file.txt", "x").start();
    let to = peer.listen();
    let idle = flood(to, 12, 10);
    // Control keeps its reserve, and so do the share and the state.
    for _ in 0..20 {
        assert!(peer.status()["version"].is_string());
    }
    peer.add_file("new.txt", "fresh");
    peer.rescan();
    assert!(descriptors(&peer) <= 48);
    // Waiting for a free descriptor costs no processor.
    let before = peer.cpu_ticks();
    pause(Duration::from_secs(1));
    let used = peer.cpu_ticks() - before;
    assert!(used <= 20, "{used} ticks of a second's hundred: it spins");
    drop(idle);
    until("it accepts again", LIMIT, || {
        connect_from(Ipv4Addr::new(127, 0, 8, 1), to).is_ok_and(|stream| {
            drop(stream);
            ask(to, b"4:new.txt", crate::harness::Framing::Fin).bytes == b"fresh"
        })
    });
    assert_eq!(fetch(to, b"file.txt"), b"x");
}

#[test]
fn a_starved_listener_is_remembered() {
    // Nobody closes anything here but the daemon itself, at the deadline of ten seconds: those in the backlog then
    // have their turn without any further event on the listener.
    let peer = Setup::peer().descriptors_max(48).shares("file.txt", "x").start();
    let to = peer.listen();
    let idle = flood(to, 10, 3);
    let late = std::thread::spawn(move || {
        let watch = Stopwatch::start();
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 8, 2), to).expect("the backlog takes it");
        stream.write_all(b"4:file.txt\n").expect("it waits in the buffer");
        (crate::harness::read_to_end(&mut stream).0, watch.elapsed())
    });
    let (bytes, took) = late.join().expect("it ends");
    assert!(bytes == b"x" || bytes.is_empty(), "served, or told that there is no room");
    assert!(took < Duration::from_secs(18), "{took:?}");
    drop(idle);
    until("it accepts", LIMIT, || ask(to, b"4:file.txt", crate::harness::Framing::Fin).bytes == b"x");
}

#[test]
fn one_address_cannot_take_all_connections() {
    let peer = Setup::peer().descriptors_max(256).shares("file.txt", "x").start();
    let to = peer.listen();
    let greedy = Ipv4Addr::new(127, 0, 7, 7);
    let idle: Vec<TcpStream> = (0..400).filter_map(|_| connect_from(greedy, to).ok()).collect();
    let watch = Stopwatch::start();
    for last in 1..=10 {
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 6, last), to).expect("it accepts");
        stream.write_all(b"4:file.txt\n").expect("it reads");
        assert_eq!(crate::harness::read_to_end(&mut stream).0, b"x");
    }
    assert!(watch.elapsed() < Duration::from_secs(5), "before the idle ones meet their deadline");
    until("the greedy one is cut short", LIMIT, || idle.iter().filter(|stream| is_held(stream)).count() <= 128);
}

#[test]
fn connections_that_are_over_leave_no_descriptor() {
    let peer = Setup::peer().shares("file.txt", "x").start();
    let before = descriptors(&peer);
    for turn in 0..300 {
        let message: &[u8] = [&b"4:file.txt"[..], b"4:missing", b"5:", b"junk", b"6:id:x:127.0.0.1:1:0"][turn % 5];
        ask(peer.listen(), message, crate::harness::Framing::Fin);
    }
    until("all are closed", LIMIT, || descriptors(&peer) <= before);
}

/// Everything that can wait, waiting at once: a spinning loop would show.
#[test]
fn whoever_waits_costs_no_processor() {
    let mute = Fake::serve(Reading::Whole, |_visit| pause(LIMIT * 3));
    let bootstrap = OldBootstrap::listing(&[mute.addr]);
    let setup = Setup::peer().joins(&[bootstrap.addr()]).set("max_workers", "4");
    let file = std::fs::File::create(setup.share().join("large.bin")).expect("a fresh file");
    file.set_len(32 << 20).expect("a sparse file");
    let peer = setup.start();
    let to = peer.listen();
    peer.await_neighbour(mute.addr);
    // Uploads that nobody reads, some of whose readers half-closed, and as many that wait behind them.
    let mut stuck = Vec::new();
    for turn in 0..8 {
        let mut stream = TcpStream::connect(to).expect("it accepts");
        stream.write_all(b"4:large.bin\n").expect("it reads");
        if turn % 2 == 0 {
            stream.shutdown(Shutdown::Write).expect("a half-close");
        }
        stuck.push(stream);
    }
    until("the workers are taken", LIMIT, || peer.status()["commands_queued"].as_u64() >= Some(1));
    // A download that does not come, a search that nobody answers, a stream that stays open, control clients in between.
    peer.begin_download(mute.addr, "never.bin");
    peer.call("search", serde_json::json!({ "text": "nothing" }));
    let mut stream = TcpStream::connect(to).expect("it accepts");
    stream.write_all(b"6:id:text:127.0.0.1:5000:0\n").expect("it reads");
    let (mut half_closed, mut half_said) = (peer.control(), peer.control());
    half_closed.call("events", serde_json::Value::Null).expect("it listens");
    half_closed.half_close();
    half_said.send_raw(b"{\"jsonrpc\"");
    pause(Duration::from_millis(500));
    let before = peer.cpu_ticks();
    pause(Duration::from_secs(2));
    let used = peer.cpu_ticks() - before;
    assert!(used <= 10, "{used} ticks in two seconds: it spins");
    assert!(stuck.iter().all(|stream| stream.peer_addr().is_ok()));
}

#[test]
fn at_rest_it_takes_no_processor_and_little_memory() {
    let bootstrap = Setup::bootstrap().start();
    let peer = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).shares("file.txt", "x").start();
    until("it is registered", LIMIT, || peer.status()["bootstraps"][0]["state"] == "registered");
    // What follows the start (the list, the first scan) may still come in.
    pause(Duration::from_millis(1500));
    for daemon in [&bootstrap, &peer] {
        assert_eq!(daemon.proc_status("Threads"), 1);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").count();
        assert_eq!(tasks, 1, "one thread");
        let (ticks, wakes) = (daemon.cpu_ticks(), daemon.proc_status("voluntary_ctxt_switches"));
        pause(Duration::from_secs(2));
        let (ticks, wakes) = (daemon.cpu_ticks() - ticks, daemon.proc_status("voluntary_ctxt_switches") - wakes);
        assert!(ticks <= 1 && wakes <= 4, "{ticks} ticks and {wakes} wake-ups in two seconds");
        let kib = daemon.proc_status("VmRSS");
        println!("resident: {kib} KiB");
        assert!(cfg!(debug_assertions) || kib < 8 << 10, "{kib} KiB");
    }
}

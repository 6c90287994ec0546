//! At the limits, and at rest: descriptors, connections of one address, processor, memory.

use crate::harness::{
    Control, Daemon, End, Fake, LIMIT, OldBootstrap, Reading, Setup, Stopwatch, THREADS, ask, connect_from, fetch,
    not_tested, pause, read_to_end, reset, side_by_side, start_hashed, until,
};
use serde_json::Value;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
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
    let before = peer.cpu_time();
    pause(Duration::from_secs(2));
    let used = peer.cpu_time() - before;
    assert!(used <= Duration::from_millis(100), "{used:?} of two seconds: more than 5 %");
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
    // Requests that wait for the only worker, no two of one address: none gives way, since no address has more than its
    // share.
    let bootstrap = OldBootstrap::listing(&[]);
    let setup = Setup::peer().descriptors_max(48).set("max_workers", "1").joins(&[bootstrap.addr()]);
    let peer = large_file(setup).start();
    let to = peer.listen();
    let mut asking: Vec<TcpStream> = (1..=17).map(|last| request(Ipv4Addr::new(127, 0, 9, last), to)).collect();
    let mut late = connect_from(Ipv4Addr::new(127, 0, 8, 2), to).expect("the backlog takes it");
    late.write_all(&first_contact()).expect("it waits in the buffer");
    until("no descriptor is left", LIMIT, || peer.log().contains(" reason=no_descriptor"));
    assert!(asking.iter().filter(|stream| is_held(stream)).count() >= 16, "all but the one that is sent something");
    // Those in the backlog have their turn without any further event on the listener.
    asking.drain(8..12).for_each(reset);
    assert_eq!(read_to_end(&mut late), (b"p1\n".to_vec(), End::Fin));
}

/// Adds a file that is larger than what lies in buffers.
fn large_file(setup: Setup) -> Setup {
    let file = std::fs::File::create(setup.share().join("large.bin")).expect("a fresh file");
    file.set_len(32 << 20).expect("a sparse file");
    setup
}

/// Asks for the large file, and does not read it.
fn request(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let mut stream = connect_from(from, to).expect("it accepts");
    stream.write_all(b"4:large.bin\n").expect("it reads");
    stream
}

/// A search that every peer answers at once, on the same connection.
fn first_contact() -> Vec<u8> {
    format!("6:p1-{:016x}:b3={}:127.0.0.1:5000:0\n", 1, "0".repeat(64)).into_bytes()
}

/// What an attacker does with its connections.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// It says nothing.
    Silent,
    /// It sends a search, and then nothing.
    Stream,
    /// It asks for a file that it does not read.
    Unread,
}

/// Two addresses open as many connections as they can, and more while twenty others, all of one address, are served.
fn others_are_served_beside(peer: &Daemon, to: SocketAddr, held: Held, message: &[u8], answer: &[u8]) {
    let attack = |count: usize| -> Vec<TcpStream> {
        let from = [1, 2].map(|last| Ipv4Addr::new(127, 0, 7, last)).into_iter().cycle().take(count);
        let streams = from.filter_map(|from| {
            let mut stream = connect_from(from, to).ok()?;
            // Either is refused where it is turned away.
            let _ = match held {
                Held::Silent => Ok(()),
                Held::Stream => stream.write_all(b"6:id:nothing like it:127.0.0.1:5000:0\n"),
                Held::Unread => stream.write_all(b"4:large.bin\n"),
            };
            Some(stream)
        });
        streams.collect()
    };
    let idle = attack(200);
    let watch = Stopwatch::start();
    let connect = |_| (connect_from(Ipv4Addr::new(127, 0, 6, 1), to).expect("it accepts"), attack(3));
    let others: Vec<_> = (0..20).map(connect).collect();
    for (mut stream, attackers) in others {
        stream.write_all(message).expect("it reads");
        assert_eq!(read_to_end(&mut stream), (answer.to_vec(), End::Fin), "{held:?}");
        drop(attackers);
    }
    println!("{held:?}: {:?}", watch.ran());
    assert!(watch.ran() < Duration::from_secs(3), "{held:?}: {:?}", watch.ran());
    assert!(peer.status()["limited"]["connections_displaced"].as_u64() >= Some(60), "{}", peer.status()["limited"]);
    drop(idle);
}

#[test]
fn two_addresses_that_hold_all_connections_give_way_to_others() {
    for held in [Held::Silent, Held::Stream, Held::Unread] {
        let setup = Setup::peer().descriptors_max(128).shares("file.txt", "x");
        let peer = large_file(setup).start();
        others_are_served_beside(&peer, peer.listen(), held, b"4:file.txt\n", b"x");
        assert!(descriptors(&peer) <= 128);
    }
}

/// Where all workers are taken, so that the requests of the attackers wait.
#[test]
fn requests_that_wait_give_way_to_others() {
    let setup = Setup::peer().descriptors_max(128).set("max_workers", "1");
    let peer = large_file(setup).start();
    others_are_served_beside(&peer, peer.listen(), Held::Unread, &first_contact(), b"p1\n");
    until("the node has heard who is gone", LIMIT, || peer.status()["commands_queued"].as_u64() < Some(90));
}

#[test]
fn a_bootstrap_node_serves_others_beside_two_addresses_that_hold_all_connections() {
    let bootstrap = Setup::bootstrap().descriptors_max(128).start();
    let to = bootstrap.bootstrap_addr();
    assert_eq!(ask(to, b"0:5000", crate::harness::Framing::Fin).end, End::Fin);
    others_are_served_beside(&bootstrap, to, Held::Silent, b"1:5\n", b"127.0.0.1,5000\n");
}

#[test]
fn an_upload_that_moves_does_not_give_way_to_connections_of_an_address_that_has_more() {
    let setup = Setup::peer().descriptors_max(128);
    let peer = large_file(setup).start();
    let to = peer.listen();
    let mut moving = request(Ipv4Addr::new(127, 0, 6, 1), to);
    let mut part = vec![0; 1 << 20];
    moving.read_exact(&mut part).expect("it sends");
    let idle = flood(to, 2, 200);
    let (rest, end) = read_to_end(&mut moving);
    assert_eq!((rest.len(), end), (31 << 20, End::Fin));
    drop(idle);
}

#[test]
fn an_address_whose_connections_all_wait_for_its_own_reading_is_turned_away() {
    let long = "n".repeat(245);
    let setup =
        (0..12_000).fold(Setup::peer().descriptors_max(96), |setup, n| setup.shares(format!("{n:05}{long}"), ""));
    let peer = setup.start();
    let ask = |_: usize| {
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 6, 1), peer.listen()).ok()?;
        SockRef::from(&stream).set_recv_buffer_size(4096).expect("it can be small");
        // Fails where it is reset already.
        stream.write_all(b"5:\n").ok().map(|()| stream)
    };
    let unread: Vec<_> = (0..64).filter_map(ask).collect();
    until("some are reset", LIMIT, || peer.status()["limited"]["connections_refused"].as_u64() > Some(0));
    drop(unread);
}

#[test]
fn one_address_has_eight_idle_streams() {
    let peer = Setup::peer().start();
    let to = peer.listen();
    let open = |from: Ipv4Addr, turn: usize| {
        let mut stream = connect_from(from, to).expect("it accepts");
        stream.write_all(format!("6:q{turn}:nothing:127.0.0.1:5000:0\n").as_bytes()).expect("it reads");
        stream
    };
    let other = open(Ipv4Addr::new(127, 0, 6, 1), 100);
    let many: Vec<TcpStream> = (0..30).map(|turn| open(Ipv4Addr::new(127, 0, 6, 2), turn)).collect();
    let held = || many.iter().map(is_held).collect::<Vec<_>>();
    until("all but the last eight are closed", LIMIT, || {
        peer.status()["limited"]["streams_displaced"] == 22 && held().iter().filter(|held| **held).count() == 8
    });
    assert!(is_held(&other));
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
        assert_eq!(read_to_end(&mut stream).0, b"x");
    }
    assert!(watch.ran() < Duration::from_secs(5), "before the idle ones meet their deadline");
    until("the greedy one is cut short", LIMIT, || idle.iter().filter(|stream| is_held(stream)).count() <= 128);
}

#[test]
fn connections_that_are_over_leave_no_descriptor() {
    let peer = Setup::peer().shares("file.txt", "x").start();
    let before = peer.descriptors_for_others();
    for turn in 0..300 {
        let message: &[u8] = [&b"4:file.txt"[..], b"4:missing", b"5:", b"junk", b"6:id:x:127.0.0.1:1:0"][turn % 5];
        ask(peer.listen(), message, crate::harness::Framing::Fin);
    }
    until("all are closed", LIMIT, || peer.descriptors_for_others() <= before);
}

/// Everything that can wait, waiting at once: a spinning loop would show.
#[test]
fn whoever_waits_costs_no_processor() {
    let mute = Fake::serve(Reading::Whole, |_visit| pause(LIMIT * 3));
    let bootstrap = OldBootstrap::listing(&[mute.addr]);
    let setup = Setup::peer().joins(&[bootstrap.addr()]).set("max_workers", "4");
    let peer = large_file(setup).start();
    let to = peer.listen();
    peer.await_neighbour(mute.addr);
    // Uploads that nobody reads, some of whose readers half-closed, and as many that wait behind them.
    let mut stuck = Vec::new();
    for turn in 0..8 {
        let stream = request(Ipv4Addr::LOCALHOST, to);
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
    let before = peer.cpu_time();
    pause(Duration::from_secs(2));
    let used = peer.cpu_time() - before;
    assert!(used <= Duration::from_millis(100), "{used:?} in two seconds: it spins");
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
        assert_eq!(daemon.proc_status("Threads"), THREADS);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").count();
        assert_eq!(tasks as u64, THREADS);
        let (used, wakes) = (daemon.cpu_time(), daemon.proc_status("voluntary_ctxt_switches"));
        pause(Duration::from_secs(2));
        let (used, wakes) = (daemon.cpu_time() - used, daemon.proc_status("voluntary_ctxt_switches") - wakes);
        println!("{used:?} and {wakes} wake-ups in two seconds");
        assert!(used <= Duration::from_millis(10) && wakes <= 4, "{used:?} and {wakes} wake-ups in two seconds");
        let kib = daemon.proc_status("VmRSS");
        println!("resident: {kib} KiB");
        assert!(cfg!(debug_assertions) || kib < 8 << 10, "{kib} KiB");
    }
}

/// A peer that cannot accept connections, as where a security module refuses: the connection stays in the queue, and each further
/// attempt fails as well. With its address, which it could not be asked for, and a control client.
fn failing_to_accept() -> Option<(Daemon, SocketAddr, Control)> {
    // Those of the start and of this test before it succeed.
    let fault = ["accept4:error=EACCES:when=1000+"];
    let peer = Setup::peer().injecting("errors of accept(2) that last", None, &fault)?.start();
    let (to, mut control) = (peer.listen(), peer.control());
    control.call("status", Value::Null).expect("it is connected already");
    until("accepting fails", LIMIT, || {
        (0..32).for_each(|_| drop(TcpStream::connect(to).expect("the backlog takes it")));
        peer.log().contains("refused: Permission denied (os error 13) reason=accept")
    });
    Some((peer, to, control))
}

#[test]
fn a_daemon_that_cannot_accept_connections_hears_signals() {
    let Some((mut peer, ..)) = failing_to_accept() else { return };
    peer.stop_in_time(Daemon::end_injection);
}

#[test]
fn accepting_that_fails_each_time_hangs_nothing_and_is_tried_again() {
    let Some((mut peer, to, mut control)) = failing_to_accept() else { return };
    // The connections before it may still keep the daemon busy for a moment.
    until("it rests, and does not spin", LIMIT, || {
        let before = peer.cpu_time();
        pause(Duration::from_secs(1));
        peer.cpu_time() - before <= Duration::from_millis(100)
    });
    control.call("status", Value::Null).expect("the loop goes on");
    peer.end_injection();
    let mut last = TcpStream::connect(to).expect("the backlog takes it");
    last.write_all(&first_contact()).expect("it waits in the buffer");
    assert_eq!(read_to_end(&mut last), (b"p1\n".to_vec(), End::Fin), "it is accepted when the system lets it");
    assert_eq!(peer.stop().code, Some(0));
}

/// Linux takes the smaller one of what is asked for and of what the administrator allows.
#[test]
fn listeners_have_the_whole_backlog_of_the_system() {
    let peer = Setup::peer().start();
    let Ok(listed) = Command::new("ss").args(["-Hltn", &format!("sport = :{}", peer.listen().port())]).output() else {
        return not_tested("the backlog of a listener", "it takes ss(8)");
    };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let whole = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux has it");
    assert_eq!(listed.split_whitespace().nth(2), Some(whole.trim()), "{listed}");
}

/// One copy is shared by all requests for it: each of its own would be 16 MiB.
#[test]
fn metadata_that_nobody_reads_are_in_memory_once() {
    let setup = Setup::peer().set("max_workers", "300");
    std::fs::File::create(setup.share().join("large.bin")).and_then(|file| file.set_len(2 << 30)).expect("sparse");
    let peer = start_hashed(setup);
    let (to, before) = (peer.listen(), peer.proc_status("RssAnon"));
    let asking: Vec<TcpStream> = (1..=250)
        .map(|n| {
            let mut stream = connect_from(Ipv4Addr::new(127, 3, 1, n), to).expect("the backlog takes it");
            SockRef::from(&stream).set_recv_buffer_size(4096).expect("it can be small");
            stream.write_all(b"9:large.bin\n").expect("it waits in the buffer");
            stream
        })
        .collect();
    until("all are being answered", LIMIT, || {
        asking.iter().all(|stream| stream.peek(&mut [0]).is_ok_and(|there| there == 1))
    });
    let more = peer.proc_status("RssAnon").saturating_sub(before);
    assert!(more < 6 << 10, "{more} KiB more");
    assert!(peer.call("metrics", Value::Null)["connections"].as_u64() >= Some(250), "none is over");
}

#[test]
fn all_requests_of_a_crowd_are_served_however_few_descriptors_there_are() {
    let content = vec![7; 200_000];
    side_by_side([(48, 100), (256, 250)], |(descriptors, requesters)| {
        // Without one, its own registration at its own bootstrap node gives way to requesters.
        let bootstrap = OldBootstrap::listing(&[]);
        let setup = Setup::peer().descriptors_max(descriptors).joins(&[bootstrap.addr()]);
        let peer = setup.shares("wanted.bin", &content).start();
        let to = peer.listen();
        let from = (1..=requesters).map(|n| Ipv4Addr::new(127, 3, 0, n));
        let asking: Vec<TcpStream> = from
            .map(|from| {
                let mut stream = connect_from(from, to).expect("the backlog takes it");
                stream.write_all(b"4:wanted.bin\n").expect("it waits in the buffer");
                stream
            })
            .collect();
        peer.status();
        for (at, mut stream) in asking.into_iter().enumerate() {
            let (bytes, end) = read_to_end(&mut stream);
            assert_eq!((bytes.len(), end), (content.len(), End::Fin), "requester {at} of {descriptors} descriptors");
        }
        assert_eq!(peer.status()["limited"]["connections_displaced"], 0, "nobody lost anything");
    });
}

//! Requesters and control clients that keep sending, do not read or do not call do not delay others; and however the
//! daemon ends, a response that is not complete ends in RST.

use crate::harness::{Control, Daemon, End, LIMIT, Setup, Stopwatch, pause, read_to_end, until, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Larger than all socket buffers between the two.
const LARGE: u64 = 24 << 20;

fn sharing_large(max_workers: &str) -> Daemon {
    let setup = Setup::peer().set("max_workers", max_workers).shares("small", "small");
    let file = std::fs::File::create(setup.share().join("large")).expect("a fresh file");
    file.set_len(LARGE).expect("a sparse file");
    setup.start()
}

fn request(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("it accepts");
    stream.write_all(bytes).expect("it reads");
    stream
}

#[test]
fn a_requester_that_keeps_sending_does_not_delay_others() {
    let peer = sharing_large("16");
    let over = Arc::new(AtomicBool::new(false));
    let babblers: Vec<_> = (0..4)
        .map(|_| {
            let (to, over) = (peer.listen(), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut stream = request(to, b"4:small\n");
                    // Until the daemon closes the connection.
                    while !over.load(Ordering::Relaxed) && stream.write_all(&[b'x'; 4096]).is_ok() {}
                }
            })
        })
        .collect();
    let mut control = peer.control();
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let asked = Stopwatch::start();
        control.call("status", Value::Null).expect("it answers");
        slowest = slowest.max(asked.ran());
        pause(Duration::from_millis(5));
    }
    over.store(true, Ordering::Relaxed);
    babblers.into_iter().for_each(|babbler| babbler.join().expect("it only talks"));
    assert!(slowest < Duration::from_millis(500), "an answer took {slowest:?}");
}

/// Bytes that the kernel holds for a reader, of the connection between these ports: the field tx_queue of proc(5).
fn held_for(reader: u16, daemon: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let mut ends_in = |port: u16| fields.next().is_some_and(|field| field.ends_with(&format!(":{port:04X}")));
        ends_in(daemon) && ends_in(reader)
    };
    let (queued, _) = table.lines().find(ours)?.split_whitespace().nth(4)?.split_once(':')?;
    u64::from_str_radix(queued, 16).ok()
}

/// With a small send buffer it is soon known whether a reader reads at all.
#[test]
fn little_is_buffered_for_a_reader_that_does_not_read() {
    let peer = sharing_large("1");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&peer.listen().into()).expect("it accepts");
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"4:large\n").expect("it reads");
    let ports = (stream.local_addr().expect("it is bound").port(), peer.listen().port());
    until("something waits", LIMIT, || held_for(ports.0, ports.1).is_some_and(|bytes| bytes > 0));
    let little = || held_for(ports.0, ports.1).is_some_and(|bytes| bytes < 1 << 20);
    crate::harness::holds("it stays little", Duration::from_millis(500), little);
}

/// The kernel closes the sockets of a killed process, and sends FIN unless SO_LINGER says otherwise.
#[test]
fn waiting_requests_end_in_rst_when_the_daemon_is_killed() {
    let mut peer = sharing_large("1");
    let _first = request(peer.listen(), b"4:large\n");
    until("the first has the worker", LIMIT, || peer.status()["uploads_active"] == 1);
    let mut waiting = [request(peer.listen(), b"4:small\n"), request(peer.listen(), b"5:\n")];
    until("two wait", LIMIT, || peer.status()["commands_queued"] == 2);
    peer.end_by(Signal::SIGKILL);
    for stream in &mut waiting {
        assert_eq!(read_to_end(stream), (Vec::new(), End::Reset));
    }
}

#[test]
fn an_incomplete_request_ends_in_rst_when_the_daemon_leaves() {
    let mut peer = sharing_large("1");
    let mut beginning = request(peer.listen(), b"4:sma");
    // The answer to a later request shows that this one was read.
    assert_eq!(crate::harness::fetch(peer.listen(), b"small"), b"small");
    peer.stop();
    assert_eq!(read_to_end(&mut beginning), (Vec::new(), End::Reset));
}

#[test]
fn control_clients_beyond_the_limit_get_an_error() {
    let peer = Setup::peer().start();
    let mut clients: Vec<_> = (0..32).map(|_| peer.control()).collect();
    let is_answered = |client: &mut Control| {
        client.try_send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n").is_ok()
            && client.line().is_ok_and(|line| line.get("result").is_some())
    };
    // A client that is idle for 3 s is closed for another one. If this machine stalls for so long, all call again, and a
    // further one tries again.
    wait_for("a further one is told so", LIMIT, || {
        for client in &mut clients {
            if !is_answered(client) {
                *client = peer.control();
            }
        }
        let refusal = peer.control().line().ok()?;
        refusal["error"]["message"].as_str()?.contains("end some and try again").then_some(())
    });
    clients.pop();
    until("there is room again", LIMIT, || is_answered(&mut peer.control()));
}

#[test]
fn a_control_client_that_never_calls_is_disconnected() {
    let peer = Setup::peer().start();
    let mut caller = peer.control();
    caller.call("status", Value::Null).expect("it answers");
    let mut silent = peer.control();
    let end = silent.line().expect_err("nothing was asked");
    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "it is hung up on, and does not wait for nothing");
    caller.call("status", Value::Null).expect("who has called may stay");
}

//! What the loop relies on of Linux, each fact as a small experiment on loopback. Where one of these fails, the comments
//! in `src/driver` that cite it are wrong on this kernel.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use mio::net::TcpListener as MioListener;
use mio::{Events, Interest, Poll, Token};
use nix::sys::sendfile::sendfile64;
use socket2::{Domain, SockRef, Socket, Type};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

/// Long enough for loopback on a loaded machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

/// Reads until FIN or an error.
fn read_all(mut stream: &TcpStream) -> io::Result<usize> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)
}

#[test]
fn with_linger_zero_a_close_is_a_reset_and_without_it_a_fin() {
    let (near, far) = pair();
    SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    assert_eq!(read_all(&near).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (near, far) = pair();
    SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    (&far).write_all(b"whole").unwrap();
    SockRef::from(&far).set_linger(None).unwrap();
    drop(far);
    assert_eq!(read_all(&near).unwrap(), 5);
}

#[test]
fn bytes_left_unread_turn_a_close_into_a_reset() {
    let (near, far) = pair();
    (&near).write_all(b"a late newline").unwrap();
    far.peek(&mut [0]).unwrap();
    drop(far);
    assert_eq!(read_all(&near).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_half_closed_reader_still_gets_everything_and_then_fin() {
    let (near, far) = pair();
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&far).unwrap(), 0);
    (&far).write_all(&[7; 100_000]).unwrap();
    drop(far);
    assert_eq!(read_all(&near).unwrap(), 100_000);
}

#[test]
fn to_a_requester_that_has_fully_closed_the_first_write_succeeds_and_the_reset_comes_after_it() {
    let (near, far) = pair();
    drop(near);
    assert_eq!(read_all(&far).unwrap(), 0, "a close looks like a half-close");
    (&far).write_all(b"x").unwrap();
    let error = loop {
        // The reset takes one trip; until then SO_ERROR is clear.
        if let Some(error) = far.take_error().unwrap() {
            break error;
        }
        std::thread::yield_now();
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "after a FIN the reset reads as EPIPE");
}

#[test]
fn sendfile_returns_nothing_at_the_end_of_a_file_that_shrank() {
    let (_near, far) = pair();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[1; 5000]).unwrap();
    file.rewind().unwrap();
    file.set_len(1000).unwrap();
    let send = |file: &File| sendfile64(far.as_fd(), file.as_fd(), None, 5000).unwrap();
    assert_eq!(send(&file), 1000);
    assert_eq!(send(&file), 0);
}

#[test]
fn edge_triggered_epoll_tells_of_a_waiting_connection_once() {
    let mut poll = Poll::new().unwrap();
    let mut listener = MioListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    let _waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert_eq!(events.iter().count(), 1);
    // It was not accepted, as when no descriptor is free: nothing tells of it again.
    poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
    assert_eq!(events.iter().count(), 0);
    listener.accept().expect("it still waits for whoever remembers it");
}

#[test]
fn a_port_can_listen_and_be_connected_from_at_once() {
    let bound = |port| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
        socket
    };
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listening = bound(0);
    let port = listening.local_addr().unwrap().as_socket().unwrap().port();
    listening.listen(1).unwrap();
    let request = bound(port);
    request.connect(&peer.local_addr().unwrap().into()).unwrap();
    let (_, from) = peer.accept().unwrap();
    assert_eq!(from.port(), port);
    drop(request);
    TcpStream::connect(from).expect("the call-back reaches the listener");
}

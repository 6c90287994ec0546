//! Who asks and does not read holds a worker, or a turn under the upload limit: only for as long as nobody else waits.

use crate::harness::{
    Daemon, End, LARGE, LIMIT, Setup, Stopwatch, call_back_stream, connect_from, holds, pause, read_to_end, until,
};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A peer that shares a large file, a small one, and many more, whose list takes long.
fn sharer(setup: Setup) -> Daemon {
    let mut setup = setup.shares_large();
    for n in 0..2_000 {
        setup = setup.shares(format!("{n:0>200}"), "");
    }
    setup.start()
}

fn count(peer: &Daemon, key: &str) -> u64 {
    peer.status()["limited"][key].as_u64().expect("a number")
}

/// Says something from an address, with a small receive buffer, and reads nothing yet.
fn say(from: Ipv4Addr, to: SocketAddr, message: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("it can be small");
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into()).expect("all of 127/8 is here");
    socket.connect_timeout(&to.into(), LIMIT).expect("it accepts");
    let mut stream = TcpStream::from(socket);
    stream.write_all(message).expect("it reads");
    stream
}

/// Ends the readers, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reads about 4 KiB a second until it is over; how much that was.
fn read_slowly(mut stream: TcpStream, over: &AtomicBool) -> usize {
    let (mut part, mut bytes) = ([0; 1 << 10], 0);
    while !over.load(Ordering::SeqCst) {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => panic!("the honest reader is cut off after {bytes} bytes"),
            Ok(count) => bytes += count,
        }
        pause(Duration::from_millis(250));
    }
    bytes
}

#[test]
fn two_addresses_that_do_not_read_give_way_and_a_slow_reader_does_not() {
    let peer = sharer(Setup::peer().set("max_workers", "16"));
    let to = peer.listen();
    let over = AtomicBool::new(false);
    let range = format!("8:0:{LARGE}:large.bin\n");
    std::thread::scope(|scope| {
        let ends = Ends(&over);
        let slow = say(Ipv4Addr::new(127, 0, 6, 1), to, b"4:large.bin\n");
        let slow = scope.spawn(|| read_slowly(slow, &over));
        // One waits to be called back, the others ask for a file, a range, or the list of files.
        let called_back = call_back_stream(to, "large.bin", Duration::ZERO);
        let attack = |n: usize| {
            let from = Ipv4Addr::new(127, 0, 7, 1 + (n % 2) as u8);
            say(from, to, [&b"4:large.bin\n"[..], range.as_bytes(), b"5:p1\n"][n % 3])
        };
        let mut unread: Vec<TcpStream> = (0..20).map(attack).collect();
        unread.push(called_back);
        until("the workers for requests are taken", LIMIT, || peer.status()["commands_queued"].as_u64() > Some(5));
        let watch = Stopwatch::start();
        let ask = |last| {
            scope.spawn(move || {
                let mut stream = connect_from(Ipv4Addr::new(127, 0, 8, last), to).expect("it accepts");
                stream.write_all(b"4:small.txt\n").expect("it reads");
                read_to_end(&mut stream)
            })
        };
        let asking: Vec<_> = (1..=10).map(ask).collect();
        for asking in asking {
            assert_eq!(asking.join().expect("it ends"), (b"small".to_vec(), End::Fin));
        }
        println!("ten others are served after {:?}", watch.ran());
        assert!(watch.ran() < Duration::from_secs(16), "{:?}", watch.ran());
        let is_reset = |stream: &&TcpStream| matches!(SockRef::from(*stream).take_error(), Ok(Some(_)));
        let mut reset = 0;
        until("all that gave way are reset, and nothing else", LIMIT, || {
            // The system tells of each once.
            reset += unread.iter().filter(is_reset).count() as u64;
            reset >= 5 && reset == count(&peer, "responses_displaced")
        });
        drop(ends);
        assert!(slow.join().expect("it goes on") > 16 << 10);
    });
}

#[test]
fn readers_that_our_own_limit_slows_down_are_not_taken_for_slow() {
    let peer = sharer(Setup::peer().set("upload_limit", "2048"));
    let to = peer.listen();
    let readers: Vec<TcpStream> = (0..3).map(|_| say(Ipv4Addr::new(127, 0, 6, 1), to, b"4:large.bin\n")).collect();
    until("all turns are taken", LIMIT, || peer.status()["uploads_active"] == 3);
    let mut waiting = say(Ipv4Addr::new(127, 0, 8, 1), to, b"4:small.txt\n");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = Ends(&over);
        let take = |mut stream: TcpStream| {
            let over = &over;
            scope.spawn(move || {
                let mut part = [0; 1 << 12];
                while !over.load(Ordering::SeqCst) {
                    assert!(stream.read(&mut part).is_ok_and(|count| count > 0), "it is cut off");
                }
            })
        };
        let readers: Vec<_> = readers.into_iter().map(take).collect();
        holds("they keep their turns", Duration::from_secs(13), || count(&peer, "responses_displaced") == 0);
        drop(ends);
        readers.into_iter().for_each(|reader| reader.join().expect("it was sent something to the end"));
    });
    assert_eq!(read_to_end(&mut waiting), (b"small".to_vec(), End::Fin), "when they have gone");
}

#[test]
fn requests_that_wait_for_the_descriptor_of_their_file_are_not_taken_for_slow_readers() {
    let setup = Setup::peer().descriptors_max(48).set("max_workers", "8");
    // Readers of one file share its descriptor.
    let content = vec![7; 4 << 20];
    let peer = (1..=12).fold(setup, |setup, n| setup.shares(format!("{n}.bin"), &content)).start();
    let to = peer.listen();
    // All connections have their descriptors before the first file is opened: fewer are left than there are workers.
    let connections: Vec<_> = (1..=12).map(|last| say(Ipv4Addr::new(127, 0, 6, last), to, b"")).collect();
    // It has two listeners besides, and for moments a connection to its bootstrap node.
    until("they are accepted", LIMIT, || peer.descriptors_for_others() >= connections.len() + 2);
    let ask = |(n, mut stream): (usize, TcpStream)| {
        stream.write_all(format!("4:{n}.bin\n").as_bytes()).expect("it reads");
        stream.set_nonblocking(true).expect("it can be polled");
        (stream, 0)
    };
    let mut readers: Vec<(TcpStream, usize)> = (1..).zip(connections).map(ask).collect();
    until("others wait for a worker", LIMIT, || peer.status()["commands_queued"].as_u64() > Some(0));
    let mut part = [0; 1 << 10];
    // Others take the worker of a slow reader after 8 s.
    holds("nobody is cut off", Duration::from_secs(13), || {
        readers.iter_mut().all(|(stream, bytes)| match stream.read(&mut part) {
            Ok(count) => {
                *bytes += count;
                count > 0
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        })
    });
    let (served, status) = (readers.iter().filter(|(_, bytes)| *bytes > 0).count() as u64, peer.status());
    assert!(
        served > 0 && status["uploads_active"] == served && status["commands_queued"].as_u64() > Some(12 - 8),
        "some of those that have a worker wait for a descriptor: {served}, {status}"
    );
    assert_eq!(count(&peer, "responses_displaced"), 0);
}

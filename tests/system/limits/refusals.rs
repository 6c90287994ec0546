//! Bad input on the wire: ended, counted, named in the log, and never a stuck connection or a broken daemon.

use crate::harness::{
    Answer, Daemon, Dice, End, Framing, LIMIT, Setup, Stopwatch, THREADS, ask, connect_from, fetch, free_port, pause,
    read_to_end, until,
};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Peer and bootstrap node in one.
fn both() -> (Daemon, SocketAddr, SocketAddr) {
    let port = free_port();
    let serve = SocketAddr::from(([127, 0, 0, 1], port));
    let node = Setup::peer().serves(serve).shares("good", "good").start();
    let peer = node.listen();
    (node, peer, serve)
}

fn refused(node: &Daemon) -> u64 {
    node.status()["refused"].as_u64().expect("a count")
}

fn assert_refused(answer: &Answer, what: &[u8]) {
    let what = String::from_utf8_lossy(what);
    assert_eq!((answer.bytes.as_slice(), answer.end), (&b""[..], End::Reset), "{what:?} is refused");
}

#[test]
fn malformed_messages_are_refused_by_peer_and_bootstrap_alike() {
    let (node, peer, serve) = both();
    let malformed: &[&[u8]] = &[
        b"x",
        b"4",
        b"0",
        b":",
        b"::::",
        b"hello",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"-1:5",
        b"42:x",
        b"a:b",
        b"8:0:10:good",
        b"9:",
        b"9:a\x1b[31mb",
        b"8:0:1:",
        b"8:0:x:good",
        b" 4:good",
        b"4 :good",
        b"0:0",
        b"0:65536",
        b"0:-1",
        b"0:abc",
        b"0:",
        b"0:99999999999",
        b"2:0",
        b"2:65536",
        b"2:x",
        b"3:0",
        b"3:65536",
        b"3:",
        b"1:",
        b"1:x",
        b"1:-1",
        b"4:",
        b"4:a\x1b[31mb",
        b"4:a\0b",
        b"4:a\x7fb",
        b"6:",
        b"6:id",
        b"6:id:text:127.0.0.1:5",
        b"6:id:text:127.0.0.1:0:3",
        b"6:id:text:127.0.0.1:65536:3",
        b"6:id:text:nowhere:5000:3",
        b"6:id:text:127.0.0.1:5000:x",
        b"6:id:text:127.0.0.1:5000:",
        b"6::text:127.0.0.1:5000:1",
        b"6:id::127.0.0.1:5000:1",
        b"6:id:te\x01xt:127.0.0.1:5000:1",
        b"6:id:text:300.0.0.1:5000:1",
        b"7:",
        b"7:id:127.0.0.1:0:file",
        b"7:id:127.0.0.1:5000:",
        b"7:id:host:5000:file",
        b"7:id:127.0.0.1:99999:file",
        b"7::127.0.0.1:5000:file",
        b"7:id:127.0.0.1:5000:fi\x02le",
        b"\xff\xfe\xfd",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ];
    let before = refused(&node);
    for message in malformed {
        for to in [peer, serve] {
            assert_refused(&ask(to, message, Framing::Fin), message);
        }
    }
    assert_eq!(refused(&node) - before, 2 * malformed.len() as u64, "each is counted once");
    assert_eq!(fetch(peer, b"good"), b"good");
}

#[test]
fn the_log_names_the_reason_and_the_field() {
    let (node, _, serve) = both();
    ask(serve, b"0:65536", Framing::Fin);
    until("the refusal is in the log", LIMIT, || node.log().lines().any(|line| line.contains("port")));
    until("the sender is in the log", LIMIT, || node.log().contains("127.0.0.1:"));
}

#[test]
fn the_log_names_the_file_of_each_message_that_concerns_one() {
    let (node, peer, _) = both();
    for (at, message) in [
        "8:x:0:FILE",
        "8:0:x:FILE",
        "8:1:18446744073709551615:FILE",
        "8:0:0:FILE",
        "4:FILE",
        "4:FILE\u{1}",
        "9:FILE\u{1}",
        "7:id:127.0.0.1:0:FILE",
        "7::127.0.0.1:5000:FILE",
        "7:id:host:5000:FILE",
        "7:id:127.0.0.1:5000:FILE\tsize=x",
    ]
    .into_iter()
    .enumerate()
    {
        let file = format!("song {at}.ogg");
        let message = message.replace("FILE", &file);
        ask(peer, message.as_bytes(), Framing::Fin);
        let is_named = |log: String| log.lines().any(|line| line.contains(" refused: ") && line.contains(&file));
        until(&format!("{message:?} is in the log with its file"), LIMIT, || is_named(node.log()));
    }
}

#[test]
fn malformed_messages_are_refused_in_every_framing() {
    let (node, peer, _) = both();
    for framing in Framing::ALL {
        for message in [&b"x:y"[..], b"4:a\x01b", b"0:5000", b"1:10", b"2:5000", b"3:5000"] {
            assert_refused(&ask(peer, message, framing), message);
        }
    }
    // Nothing but an end of line is a malformed message, too.
    for message in [&b"\n"[..], b"\r\n", b"\0\n"] {
        assert_refused(&ask(peer, message, Framing::Silence), message);
    }
    assert_eq!(fetch(node.listen(), b"good"), b"good");
}

#[test]
fn over_four_kib_ends_the_connection_at_once() {
    let (node, peer, serve) = both();
    for to in [peer, serve] {
        for length in [4097, 5000, 70_000] {
            let mut stream = TcpStream::connect(to).expect("it accepts");
            let watch = Stopwatch::start();
            // No end of message follows: the length alone must end it.
            let _ = stream.write_all(&[b"4:", vec![b'a'; length - 2].as_slice()].concat());
            let (bytes, end) = read_to_end(&mut stream);
            assert_eq!((bytes.as_slice(), end), (&b""[..], End::Reset));
            assert!(watch.ran() < Duration::from_secs(5), "the length ends it, not the deadline");
        }
    }
    // The longest name that is allowed is heard out, whether or not it is shared.
    assert_refused(&ask(peer, &[b"4:", vec![b'a'; 3800].as_slice()].concat(), Framing::Fin), b"4:aaa");
    assert_eq!(fetch(node.listen(), b"good"), b"good");
}

#[test]
fn random_bytes_break_nothing() {
    let (node, peer, serve) = both();
    let mut dice = Dice::new();
    for turn in 0..400 {
        let length = dice.below(300) as usize;
        let mut message = dice.bytes(length);
        // Half of them begin as a message does.
        if turn % 2 == 0 {
            let code = b'0' + dice.below(10) as u8;
            message.splice(0..0, [code, b':']);
        }
        let mut stream = TcpStream::connect(if turn % 4 < 2 { peer } else { serve }).expect("it accepts");
        let _ = stream.write_all(&message);
        let _ = stream.shutdown(Shutdown::Write);
        let (answer, _) = read_to_end(&mut stream);
        assert!(answer.len() < 2000, "nothing to speak of is answered");
    }
    assert_eq!(fetch(peer, b"good"), b"good");
    assert_eq!(ask(serve, b"0:49000", Framing::Fin).end, End::Fin);
    assert_eq!(node.proc_status("Threads"), THREADS);
}

/// The slow ones: a connection that says nothing, and one that never comes to an end, against both listeners.
#[test]
fn a_message_not_complete_after_ten_seconds_ends_the_connection() {
    let (node, peer, serve) = both();
    let silent = |to: SocketAddr| {
        move || {
            let watch = Stopwatch::start();
            let mut stream = TcpStream::connect(to).expect("it accepts");
            let (bytes, _) = read_to_end(&mut stream);
            (bytes, watch.elapsed())
        }
    };
    let drip = |to: SocketAddr| {
        let watch = Stopwatch::start();
        let mut stream = TcpStream::connect(to).expect("it accepts");
        let mut message = b"4:".to_vec();
        message.extend([b'a'; 250]);
        for byte in message {
            let step = Stopwatch::start();
            if stream.write_all(&[byte]).is_err() || watch.elapsed() > Duration::from_secs(13) {
                break;
            }
            pause(Duration::from_millis(60));
            // 400 ms without a byte end a message, also where the machine stood still.
            if step.elapsed() > Duration::from_millis(380) {
                return None;
            }
        }
        Some((Vec::new(), watch.elapsed()))
    };
    let dripping =
        |to: SocketAddr| move || (0..10).find_map(|_| drip(to)).expect("the machine runs for ten seconds at a time");
    let runs = [
        std::thread::spawn(silent(peer)),
        std::thread::spawn(silent(serve)),
        std::thread::spawn(dripping(peer)),
        std::thread::spawn(dripping(serve)),
    ];
    for (turn, run) in runs.into_iter().enumerate() {
        let (bytes, took) = run.join().expect("it ends");
        assert!(bytes.is_empty());
        assert!((9_900..12_500).contains(&took.as_millis()), "connection {turn} ended after {took:?}");
    }
    assert_eq!(fetch(node.listen(), b"good"), b"good");
}

#[test]
fn a_connection_that_just_closes_is_no_fault() {
    let (node, peer, serve) = both();
    let before = refused(&node);
    for to in [peer, serve] {
        for _ in 0..20 {
            drop(TcpStream::connect(to).expect("it accepts"));
            crate::harness::reset(connect_from(Ipv4Addr::LOCALHOST, to).expect("it accepts"));
        }
    }
    assert_eq!(fetch(peer, b"good"), b"good");
    assert_eq!(refused(&node), before, "a probe of the port is no malformed message");
}

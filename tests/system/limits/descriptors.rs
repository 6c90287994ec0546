//! Which connection gets a descriptor, and which one gives its own up, when there are few.

use crate::harness::{
    Daemon, Delaying, End, LIMIT, OldBootstrap, Setup, await_hashed, connect_from, pause, read_to_end, reset,
    side_by_side, start_hashed, until,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Connections of others that a daemon accepts within [`DESCRIPTORS`], while one file is open.
const CONNECTIONS: u8 = 16;

const DESCRIPTORS: u32 = 48;

/// Shares files that are larger than what lies in buffers.
fn sharing(names: &[&str], bootstrap: &OldBootstrap) -> Daemon {
    let setup = Setup::peer().descriptors_max(DESCRIPTORS).joins(&[bootstrap.addr()]);
    for name in names {
        let file = std::fs::File::create(setup.share().join(name)).expect("a fresh file");
        file.set_len(32 << 20).expect("a sparse file");
    }
    setup.start()
}

/// Connects from an address of its own.
fn connect(peer: &Daemon, last: u8) -> TcpStream {
    let stream = connect_from(Ipv4Addr::new(127, 0, 9, last), peer.listen()).expect("it accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("not zero");
    stream
}

fn ask(mut stream: TcpStream, name: &str) -> TcpStream {
    stream.write_all(format!("4:{name}\n").as_bytes()).expect("it reads");
    stream
}

fn assert_begins(stream: &mut TcpStream, what: &str) {
    stream.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{what}: {error}"));
}

#[test]
fn a_request_whose_file_is_open_does_not_wait_behind_one_for_another_file() {
    let bootstrap = OldBootstrap::listing(&[]);
    let peer = sharing(&["all.bin", "one.bin", "two.bin"], &bootstrap);
    let connected: Vec<TcpStream> = (1..=3).map(|last| connect(&peer, last)).collect();
    let mut all: Vec<TcpStream> = (4..=CONNECTIONS).map(|last| ask(connect(&peer, last), "all.bin")).collect();
    all.iter_mut().for_each(|stream| assert_begins(stream, "they share a descriptor"));
    // Each address has its share: these wait for a descriptor, in this order.
    let names = ["one.bin", "two.bin", "one.bin"];
    let ask = |(queued, (stream, name))| {
        let stream = ask(stream, name);
        until("it waits", LIMIT, || peer.status()["commands_queued"] == queued);
        stream
    };
    let mut waiting: Vec<TcpStream> = (1..).zip(connected.into_iter().zip(names)).map(ask).collect();
    reset(all.swap_remove(0));
    assert_begins(&mut waiting[0], "it has the descriptor");
    assert_begins(&mut waiting[2], "it needs no other one");
    waiting[1].set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
    pause(Duration::from_millis(100));
    assert!(waiting[1].read(&mut [0]).is_err(), "there is no other one");
    assert_eq!(peer.status()["limited"]["connections_displaced"], 0);
    drop(all);
    waiting[1].set_read_timeout(Some(LIMIT)).expect("not zero");
    assert_begins(&mut waiting[1], "there is one again");
}

#[test]
fn the_control_client_that_was_idle_for_longest_gives_way_where_descriptors_are_few() {
    let bootstrap = OldBootstrap::listing(&[]);
    let peer = Setup::peer().descriptors_max(DESCRIPTORS).joins(&[bootstrap.addr()]).start();
    let stream = |last: u8| {
        let mut stream = connect(&peer, last);
        stream.write_all(b"6:id:nothing like it:127.0.0.1:5000:0\n").expect("it reads");
        stream
    };
    let streams: Vec<TcpStream> = (1..=CONNECTIONS).map(stream).collect();
    // Fewer than there are slots, and more than there are descriptors for.
    let call = |_| {
        let mut client = peer.control();
        client.call("status", Value::Null).expect("it is answered");
        client
    };
    let mut idle: Vec<_> = (0..20).map(call).collect();
    let said = idle[0].line().expect("it is told why").to_string();
    assert!(said.contains("this one was idle for longest"), "{said}");
    drop(streams);
}

/// Of 8 shares that are walked through at once, each would have a directory open, twice, and its top.
#[test]
fn all_shares_are_scanned_and_hashed_beside_a_crowd_however_few_descriptors_there_are() {
    const DIRECTORIES: usize = 6;
    side_by_side([(48, 60), (256, 250)], |(descriptors, requesters)| {
        let bootstrap = OldBootstrap::listing(&[]);
        let names = ["1", "2", "3", "4", "5", "6", "7"];
        let setup = Setup::peer().descriptors_max(descriptors).joins(&[bootstrap.addr()]).further_shares(names);
        let tops: Vec<_> =
            [setup.share()].into_iter().chain(names.map(|name| setup.home().join("data").join(name))).collect();
        let add = |file: &str| {
            for (top, directory) in
                tops.iter().flat_map(|top| (0..DIRECTORIES).map(move |n| (top, top.join(format!("d{n}")))))
            {
                std::fs::create_dir_all(&directory).expect("it can be made");
                std::fs::write(directory.join(file), format!("{file} {}", top.display()).repeat(1_000))
                    .expect("it can be written");
            }
        };
        add("known");
        let peer = start_hashed(setup);
        add("new");
        let Some(_delaying) = Delaying::calls(&peer, "getdents64", Duration::from_millis(30)) else { return };
        peer.call("rescan", Value::Null);
        let ask = |n: u8| {
            let share = names[usize::from(n) % names.len()];
            ask(
                connect_from(Ipv4Addr::new(127, 3, 1, n), peer.listen()).expect("the backlog takes it"),
                &format!("{share}/d{}/known", n % 6),
            )
        };
        let asking: Vec<TcpStream> = (1..=requesters).map(ask).collect();
        for (at, mut stream) in asking.into_iter().enumerate() {
            let (bytes, end) = read_to_end(&mut stream);
            assert!(
                bytes.starts_with(b"known /") && end == End::Fin,
                "requester {at} of {descriptors} descriptors: {end:?}"
            );
        }
        let (files, all) = (|| peer.pages("files", "files"), 2 * DIRECTORIES * tops.len());
        until("all are listed", 2 * LIMIT, || files().len() == all);
        await_hashed(&peer);
        assert!(files().iter().all(|row| row["b3"].is_string()));
        assert_eq!(peer.status()["limited"]["connections_displaced"], 0, "nobody lost anything");
        assert!(!peer.log().contains("no file descriptor is left"));
    });
}

//! Slow disks, and disks that hang, delay nothing but what is read from them or written to them (DESIGN, "Three ideas").

use crate::harness::{
    Daemon, Delaying, FIRST_CONTACT, LIMIT, OldBootstrap, Setup, Stopwatch, ask_from, connect_from, fetch, free_port,
    reset, start_hashed, until,
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// What waits for a disk. Not newfstatat, by which some versions of glibc make fstat(2): the loop calls that for a file of which a read
/// has just not waited, so that its inode is in memory.
const CALLS: &str = "openat,openat2,statx,pread64,getdents64,pwrite64,fsync,fdatasync,fallocate,ftruncate,unlink,unlinkat,\
                     rename,renameat2";

/// How long 99 of 100 calls, lists and files take at most, beside waiting for a processor. strace stops a daemon at each call that it
/// makes: one that is not optimised took 5 to 25 ms.
const P99_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 20 });

/// How long each call waits.
const DELAY: Duration = Duration::from_millis(500);

/// Drops a file from the page cache.
fn cool(daemon: &Daemon, name: &str) {
    let file = File::open(daemon.share().join(name)).expect("it is shared");
    file.sync_all().expect("it can be written");
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("this is only advice");
}

#[test]
fn a_slow_disk_delays_neither_calls_nor_lists_nor_what_is_in_the_page_cache() {
    let names: Vec<String> = (0..4).map(|n| format!("cold-{n}.bin")).collect();
    let small = vec![7; 100_000];
    let bootstrap = (Ipv4Addr::LOCALHOST, free_port()).into();
    let source = Setup::peer();
    File::create(source.share().join("large.bin")).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    let source = start_hashed(source);
    let setup = names.iter().fold(Setup::peer().serves(bootstrap), |setup, name| setup.shares(name, vec![1; MIB]));
    // With more than one arena glibc reads a file of /proc, once, in whatever thread first makes an arena smaller.
    let setup = setup.after(&["env", "MALLOC_ARENA_MAX=1"]);
    let mut peer = start_hashed(setup.shares("small.bin", &small));
    names.iter().for_each(|name| cool(&peer, name));
    let to = peer.listen();
    let Some(delaying) = Delaying::calls(&peer, CALLS, DELAY) else { return };
    let id = peer.begin_download(source.listen(), "large.bin");
    assert_eq!(fetch(to, b"small.bin"), small, "its descriptor is open now");
    let mut took: Vec<(Duration, &str)> = Vec::new();
    thread::scope(|scope| {
        let cold: Vec<_> = names.iter().map(|name| scope.spawn(move || fetch(to, name.as_bytes()).len())).collect();
        // The hashes come from the database in the state directory, or are computed.
        let described = scope.spawn(move || ask_from(Ipv4Addr::new(127, 0, 9, 30), to, b"9:cold-0.bin").bytes);
        let mut control = peer.control();
        control.call("rescan", Value::Null).expect("a rescan can be asked for");
        while cold.iter().any(|cold| !cold.is_finished()) {
            // A busy machine is no slow disk.
            let mut measure = |what, answer: &dyn Fn()| {
                let (starved, watch) = (delaying.starved(&peer), Stopwatch::start());
                answer();
                let starved = delaying.starved(&peer) - starved;
                // A machine that stands still lets everybody wait for a processor: it is not subtracted twice.
                took.push((watch.ran().min(watch.elapsed().saturating_sub(starved)), what));
            };
            measure("a call", &|| drop(peer.status()));
            measure("a list", &|| drop(ask_from(Ipv4Addr::LOCALHOST, bootstrap, b"1:3")));
            measure("a file", &|| assert_eq!(fetch(to, b"small.bin"), small));
        }
        cold.into_iter().for_each(|cold| assert_eq!(cold.join().expect("it is served"), MIB));
        assert!(described.join().expect("it is answered").starts_with(b"size=1048576\tb3="));
    });
    took.sort_unstable();
    let (p50, p99, longest) = (took[took.len() / 2].0, took[took.len() * 99 / 100].0, took[took.len() - 1]);
    println!("{} calls, lists and files: p50 {p50:?}, p99 {p99:?}, longest {longest:?}", took.len());
    until("the download goes on", LIMIT, || peer.download(id)["bytes_done"].as_u64() > Some(MIB as u64));
    assert!(took.len() >= 60 && longest.0 < DELAY, "none waits for the disk: {longest:?} of {}", took.len());
    assert!(p50 < Duration::from_millis(20) && p99 < P99_MAX, "{p99:?}");
    peer.stop_in_time(|_| drop(delaying));
}

#[test]
fn a_share_that_hangs_holds_up_neither_a_download_nor_the_stop() {
    let content = vec![3; 8 * MIB];
    let source = start_hashed(Setup::peer().shares("wanted.bin", &content));
    let mut peer = start_hashed((0..3).fold(Setup::peer(), |setup, n| setup.shares(format!("{n}.bin"), vec![1; MIB])));
    // Only the calls that the share needs and a download does not.
    let Some(delaying) = Delaying::calls(&peer, "getdents64,openat2", Duration::from_secs(30)) else { return };
    let to = peer.listen();
    let asking: Vec<_> = (0..3)
        .map(|n| {
            let mut stream = std::net::TcpStream::connect(to).expect("it listens");
            std::io::Write::write_all(&mut stream, format!("4:{n}.bin\n").as_bytes()).expect("it reads");
            stream
        })
        .collect();
    peer.control().call("rescan", Value::Null).expect("a rescan can be asked for");
    until("the requests are taken", LIMIT, || peer.status()["uploads_active"] == 3);
    let watch = Stopwatch::start();
    let id = peer.begin_download(source.listen(), "wanted.bin");
    peer.await_download(id, "done");
    assert!(watch.ran() < Duration::from_secs(10), "{:?}", watch.ran());
    peer.stop_in_time(|_| drop(delaying));
    drop(asking);
}

/// On a mount whose server hangs, closing a file waits for it.
#[test]
fn a_file_that_cannot_be_closed_does_not_hold_up_the_stop() {
    let mut peer = start_hashed(Setup::peer().shares("large.bin", vec![1; 32 * MIB]));
    let mut reader = connect_from(Ipv4Addr::new(127, 0, 9, 1), peer.listen()).expect("the backlog takes it");
    reader.write_all(b"4:large.bin\n").expect("it waits in the buffer");
    reader.read_exact(&mut [0]).expect("it is sent");
    let file = peer.share().join("large.bin");
    let Some(delaying) = Delaying::calls_on(&peer, "close", Duration::from_secs(30), Some(&file)) else { return };
    peer.stop_in_time(|_| drop(delaying));
}

/// What a file that nobody reads any more gives back is worth a moment: the job that closes it waits for the disk.
#[test]
fn nobody_is_displaced_for_a_descriptor_that_a_file_is_about_to_give_back() {
    let bootstrap = OldBootstrap::listing(&[]);
    let setup = Setup::peer().descriptors_max(48).joins(&[bootstrap.addr()]);
    let peer = setup.shares("cold.bin", vec![1; MIB]);
    File::create(peer.share().join("large.bin")).and_then(|file| file.set_len(32 << 20)).expect("a sparse file");
    let peer = start_hashed(peer);
    let to = peer.listen();
    let from = |last: u8, message: &[u8]| {
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 9, last), to).expect("the backlog takes it");
        stream.write_all(message).expect("it waits in the buffer");
        stream.set_read_timeout(Some(LIMIT)).expect("not zero");
        stream
    };
    // Streams that give way to others: all that are accepted but three, and one less for the second file.
    let idle: Vec<_> = (1..=13).map(|last| from(last, b"6:id:nothing like it:127.0.0.1:5000:0\n")).collect();
    let mut reader = from(20, b"4:large.bin\n");
    reader.read_exact(&mut [0]).expect("it is sent");
    cool(&peer, "cold.bin");
    let Some(_delaying) = Delaying::calls(&peer, "pread64", Duration::from_millis(700)) else { return };
    let mut cold = from(21, b"4:cold.bin\n");
    until("a job reads", LIMIT, || peer.status()["uploads_active"] == 2);
    // Its file waits behind that job.
    reset(reader);
    until("it is over", LIMIT, || peer.status()["uploads_active"] == 1);
    let _last = from(22, b"6:id:nothing like it:127.0.0.1:5000:0\n");
    let mut late = from(23, FIRST_CONTACT);
    late.read_exact(&mut [0]).expect("it is accepted");
    assert_eq!(peer.status()["limited"]["connections_displaced"], 0);
    cold.read_exact(&mut [0]).expect("it is sent");
    drop(idle);
}

/// The registry is copied and written while nothing else is done.
#[test]
fn a_registry_of_thousands_delays_the_stop_no_more_than_a_slow_disk_does() {
    let mut node = Setup::bootstrap().start();
    let to = node.bootstrap_addr();
    let networks = (0..80_u8).flat_map(|high| (1..=100_u8).map(move |low| Ipv4Addr::new(127, 9, high, low)));
    networks.for_each(|from| drop(ask_from(from, to, b"0:5000")));
    assert_eq!(node.call("bootstrap", json!({}))["registry"]["count"], 8_000);
    let Some(delaying) = Delaying::calls(&node, CALLS, DELAY) else { return };
    node.stop_in_time(|_| drop(delaying));
}

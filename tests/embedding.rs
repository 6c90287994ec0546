//! A program that runs nodes of its own, without `pyratectl` and without a control socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use pyrate::{Bootstrap, BootstrapAddr, Client, Config, DownloadState, Error, Fault, Handle, Hit, StartFault, What};
use socket2::{Domain, Socket, Type};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A bootstrap node and two peers, of which the first shares a file.
struct Network {
    scratch: TempDir,
    bootstrap: Handle,
    one: Handle,
    two: Handle,
}

impl Network {
    fn new(content: &[u8]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let bootstrap = bootstrap();
        for directory in ["one/share", "one/downloads", "two/share", "two/downloads"] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        share(&scratch.path().join("one/share/tide tables.bin"), content);
        let [one, two] = ["one", "two"].map(|home| {
            let peer = Client::new(config(&scratch.path().join(home), &bootstrap)).unwrap().spawn().unwrap();
            until("it is registered", || peer.status().unwrap().registered == 1);
            peer
        });
        until("the hash is known", || one.files().unwrap().all(|file| file.unwrap().b3.is_some()));
        until("a peer is known", || two.status().unwrap().peers > 0);
        Self { scratch, bootstrap, one, two }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn hit(&self) -> Hit {
        self.two.search("tide tables", LONG).unwrap().next().unwrap().unwrap()
    }

    fn addr_of_one(&self) -> SocketAddr {
        self.one.ready().unwrap().listen.unwrap()
    }
}

fn bootstrap() -> Handle {
    let serve = Some("127.0.0.1:0".parse().unwrap());
    Bootstrap::new(Config { bootstrap_serve: serve, ..Config::default() }).unwrap().spawn().unwrap()
}

fn config(home: &Path, bootstrap: &Handle) -> Config {
    let addr = bootstrap.ready().unwrap().bootstrap.unwrap();
    Config {
        bootstraps: vec![BootstrapAddr { host: addr.ip().to_string(), port: addr.port() }],
        listen_addr: Some(Ipv4Addr::LOCALHOST.into()),
        listen_port: 0,
        local_directory: home.join("share"),
        download_directory: Some(home.join("downloads")),
        ..Config::default()
    }
}

/// Creates a file that nothing has written to for a while.
fn share(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    set_back(path);
}

fn set_back(path: &Path) {
    let earlier = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().append(true).open(path).unwrap().set_modified(earlier).unwrap();
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("not within a minute: {what}");
}

/// Several groups.
fn content() -> Vec<u8> {
    (0..3_500_000u32).map(|n| (n / 7) as u8).collect()
}

#[test]
fn a_program_shares_searches_downloads_and_stops() {
    let content = content();
    let network = Network::new(&content);
    let shared: Vec<_> = network.one.files().unwrap().map(Result::unwrap).collect();
    let [file] = &shared[..] else { panic!("{shared:?}") };
    assert_eq!((file.name.to_str(), file.size), (Some("tide tables.bin"), Some(content.len() as u64)));

    let hits: Vec<Hit> = network.two.search("TIDE", LONG).unwrap().map(Result::unwrap).collect();
    let [hit] = &hits[..] else { panic!("{hits:?}") };
    assert_eq!((&hit.name, &hit.b3, &hit.sources[..]), (&file.name, &file.b3, &[network.addr_of_one()][..]));
    let listed: Vec<Hit> = network.two.list(network.addr_of_one()).unwrap().map(Result::unwrap).collect();
    assert_eq!(listed.iter().map(|hit| &hit.name).collect::<Vec<_>>(), [&file.name]);

    let states: Vec<_> = network.two.download(hit, None).unwrap().map(Result::unwrap).collect();
    let last = states.last().unwrap();
    assert_eq!((last.state, last.bytes, last.verified), (DownloadState::Done, content.len() as u64, true));
    assert!(fs::read(last.path.as_ref().unwrap()).unwrap() == content);
    assert_eq!(last.path, Some(network.path("two/downloads/tide tables.bin")));
    assert!(network.two.status().unwrap().bytes_down >= content.len() as u64, "with the hashes of groups");

    let Network { one, two, bootstrap, .. } = network;
    for node in [two, one, bootstrap] {
        let other = node.clone();
        node.stop().unwrap();
        assert_eq!(other.status(), Err(Error::Stopped));
        assert_eq!(other.search("tide", LONG).err(), Some(Error::Stopped));
        assert_eq!(other.download(What::Hit(1), None).err(), Some(Error::Stopped));
    }
}

#[test]
fn directories_and_links_are_downloaded() {
    let network = Network::new(b"high water at noon");
    fs::create_dir_all(network.path("one/share/tides/north")).unwrap();
    share(&network.path("one/share/tides/a"), b"one");
    share(&network.path("one/share/tides/north/b"), b"two, longer");
    until("they are shared", || network.one.rescan().unwrap() == 3);
    until("their hashes are known", || network.one.files().unwrap().all(|file| file.unwrap().b3.is_some()));

    for (what, place) in [("tides", "by name"), ("tides/", "by name with a slash")] {
        fs::create_dir(network.path(place)).unwrap();
        let what = What::Directory(network.addr_of_one(), what.into());
        let changes: Vec<_> =
            network.two.download(what, Some(&network.path(place))).unwrap().map(Result::unwrap).collect();
        let last = changes.last().unwrap();
        let files = last.directory.as_ref().unwrap();
        assert_eq!((files.files, files.done, files.missing, &files.missing_first[..]), (2, 2, 0, &[][..]));
        assert_eq!((last.state, last.bytes, last.verified), (DownloadState::Done, 14, true));
        assert_eq!(last.name, "tides/");
        let path = last.path.as_ref().unwrap();
        assert_eq!(path, &network.path(place).join("tides"));
        assert_eq!(fs::read(path.join("north/b")).unwrap(), b"two, longer");
    }

    for (name, size) in [("tide tables.bin", 18), ("tides/", 14)] {
        let link = network.one.link(name).unwrap();
        let to = network.path("by link");
        fs::create_dir_all(&to).unwrap();
        let done = network.two.download(What::Link(link), Some(&to)).unwrap().wait(Some(LONG)).unwrap();
        assert_eq!((done.size, done.verified, done.directory.is_some()), (Some(size), true, name.ends_with('/')));
    }
    assert_eq!(fs::read(network.path("by link/tides/a")).unwrap(), b"one");

    let missing = network.one.link("no such file");
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    for no_link in ["", "tides", "pyrate:b3=ab"] {
        let invalid = network.two.download(What::Link(no_link.into()), None).err();
        assert!(matches!(invalid, Some(Error::Invalid(_))), "{no_link}: {invalid:?}");
    }
    let gone = What::Directory(network.addr_of_one(), "no such directory".into());
    let gone = network.two.download(gone, None).unwrap().wait(Some(LONG));
    assert!(matches!(gone, Err(Error::Refused(_))), "{gone:?}");
}

#[test]
fn what_goes_wrong_can_be_told_apart() {
    let network = Network::new(b"high water at noon");
    let two = &network.two;
    assert_eq!(two.search("no such file", LONG).unwrap().next(), Some(Err(Error::NoHit)));
    assert!(matches!(two.search("", LONG), Err(Error::Invalid(_))));
    assert!(matches!(two.download(What::Hit(9_999), None), Err(Error::NotFound(_))));
    assert!(matches!(two.download(What::Content("x".into()), None), Err(Error::Invalid(_))));
    let download = |what: What, to: &Path| two.download(what, Some(to)).and_then(|mut file| file.wait(Some(LONG)));

    let missing = What::File(network.addr_of_one(), "another name".into());
    let refused = download(missing, &network.path("two/a"));
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");

    // Nobody listens there.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unlisted = two.list(gone).unwrap().next();
    assert!(matches!(unlisted, Some(Err(Error::Network(_)))), "{unlisted:?}");

    let hit = network.hit();
    fs::write(network.path("two/taken"), "something else").unwrap();
    let exists = download(What::from(&hit), &network.path("two/taken"));
    assert!(matches!(exists, Err(Error::Exists(_))), "{exists:?}");
    let no_directory = download(What::from(&hit), &network.path("two/nowhere/b"));
    assert!(matches!(no_directory, Err(Error::Disk(_))), "{no_directory:?}");

    let unknown = |digits: &str| What::Content(digits.repeat(32));
    let mut sought = two.download(unknown("ab"), None).unwrap();
    let late = sought.wait(Some(Duration::from_millis(50)));
    assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
    let elsewhere = two.download(unknown("ab"), Some(&network.path("two/c")));
    assert!(matches!(elsewhere, Err(Error::Exists(_))), "one download of it saves to another place: {elsewhere:?}");
    sought.cancel().unwrap();
    let mut same = two.download(unknown("cd"), None).unwrap();
    let stopped = thread::spawn(move || same.wait(None));
    network.two.clone().stop().unwrap();
    assert_eq!(stopped.join().unwrap(), Err(Error::Stopped));
}

#[test]
fn a_network_without_other_peers_is_told_from_one_without_the_file() {
    let (scratch, bootstrap) = (tempfile::tempdir().unwrap(), bootstrap());
    ["share", "downloads"].iter().for_each(|name| fs::create_dir(scratch.path().join(name)).unwrap());
    let alone = Client::new(config(scratch.path(), &bootstrap)).unwrap().spawn().unwrap();
    until("it is registered", || alone.status().unwrap().registered == 1);
    let end = alone.search("tide", LONG).unwrap().next();
    assert!(matches!(end, Some(Err(Error::Network(_)))), "{end:?}");
}

#[test]
fn channels_hand_over_what_the_iterators_give() {
    let network = Network::new(&content());
    let hits = network.two.search("tide", LONG).unwrap().channel();
    let hit = hits.recv().unwrap().unwrap();
    assert_eq!(hits.iter().count(), 0, "the channel ends with the search");
    let changes = network.two.download(&hit, None).unwrap().channel();
    assert_eq!(changes.iter().last().unwrap().unwrap().state, DownloadState::Done);
}

#[test]
fn the_thread_of_a_channel_ends_when_nobody_receives_any_more() {
    let network = Network::new(b"high water");
    let waiting = network.two.download(What::Content("ab".repeat(32)), None).unwrap().channel();
    // Nothing changes until it is tried again.
    while waiting.recv_timeout(Duration::from_secs(3)).is_ok() {}
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name == "pyrate-channel\n").count()
    };
    assert!(threads() > 0);
    drop(waiting);
    let ends = (0..400).any(|_| {
        thread::sleep(Duration::from_millis(20));
        threads() == 0
    });
    assert!(ends, "it stays until something changes");
}

#[test]
fn files_that_are_put_into_the_share_are_found_by_a_rescan() {
    let network = Network::new(b"high water");
    assert_eq!(network.one.status().unwrap().shared_files, 1);
    share(&network.path("one/share/another"), b"low water");
    until("both are shared", || network.one.rescan().unwrap() == 2);
    fs::remove_dir_all(network.path("one/share")).unwrap();
    assert!(matches!(network.one.rescan(), Err(Error::Disk(_))));
    assert!(matches!(network.one.status().unwrap().share_error, Some(Error::Disk(_))));
    let files: Vec<_> = network.one.files().unwrap().collect();
    assert!(matches!(&files[..], [Ok(_), Ok(_), Err(Error::Disk(_))]), "what was found before stays listed: {files:?}");
}

#[test]
fn more_downloads_are_begun_than_calls_may_be_in_progress_and_another_thread_cancels_one() {
    let network = Network::new(b"high water");
    let begin = |n: u32| {
        let what = What::Content(format!("{n:064x}"));
        network.two.download(what, Some(&network.path(&format!("two/{n}")))).unwrap()
    };
    let mut downloads: Vec<_> = (1..=40).map(begin).collect();
    let mut last = downloads.pop().unwrap();
    let same = begin(40);
    assert_eq!(same.id(), last.id());
    let cancelled = thread::spawn(move || last.wait(None));
    downloads.push(same);
    downloads.into_iter().for_each(|download| download.cancel().unwrap());
    assert_eq!(cancelled.join().unwrap(), Err(Error::Cancelled));
}

#[test]
fn too_many_calls_at_a_time_are_refused_and_one_that_only_waits_gives_way() {
    let followed = |network: &Network, n: u32| {
        let mut download = network.two.download(What::Content(format!("{n:064x}")), None).unwrap();
        // The second row is asked for, and the connection is kept for the next one.
        download.by_ref().take(2).for_each(|row| drop(row.unwrap()));
        download
    };
    // One that has waited for three seconds gives way already: all are to be begun within that time.
    let all_in_use = (0..10).find_map(|_| {
        let network = Network::new(b"high water");
        let downloads: Vec<_> = (1..=32).map(|n| followed(&network, n)).collect();
        matches!(network.two.status(), Err(Error::Busy(_))).then_some((network, downloads))
    });
    let (network, mut downloads) = all_in_use.expect("one more is refused");
    until("one gives way", || network.two.status().is_ok());
    let mut first = downloads.swap_remove(0);
    drop(downloads);
    until("the others are gone", || network.two.status().is_ok());
    network.two.download(What::Content(format!("{:064x}", 1)), None).unwrap().cancel().unwrap();
    assert_eq!(first.wait(Some(LONG)), Err(Error::Cancelled), "by another connection");
}

#[test]
fn a_node_ends_with_its_last_handle() {
    let (scratch, bootstrap) = (tempfile::tempdir().unwrap(), bootstrap());
    ["share", "downloads"].iter().for_each(|name| fs::create_dir(scratch.path().join(name)).unwrap());
    let client = Client::new(config(scratch.path(), &bootstrap)).unwrap();
    let (first, second) = (client.handle(), client.handle());
    let node = thread::spawn(move || client.start());
    first.ready().unwrap();
    drop(first);
    second.status().unwrap();
    drop(second);
    node.join().unwrap().unwrap();
}

/// Its environment has this in the process that has few descriptors.
const STARVING: &str = "PYRATE_TEST_STARVING";

/// A listener that finds no descriptor rests until one is free; without a control socket there is no other that it could be taken for.
#[test]
fn a_node_whose_descriptors_are_all_in_use_rests_and_serves_when_they_are_free() {
    if std::env::var_os(STARVING).is_some() {
        return starve();
    }
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 48 && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_node_whose_descriptors_are_all_in_use_rests_and_serves_when_they_are_free", "--nocapture"])
        .env(STARVING, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let to: SocketAddrV4 = told.find_map(|line| line.strip_prefix("listens on ")?.parse().ok()).unwrap();
    // Requests for what never comes to its end, one from each address.
    let waiting = || -> Vec<TcpStream> {
        let connect = |last: u8| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 7, last], 0)).into()).unwrap();
            socket.connect_timeout(&SocketAddr::from(to).into(), LONG).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.write_all(b"4:large.bin\n").unwrap();
            stream
        };
        (1..=120).map(connect).collect()
    };
    let asking = waiting();
    let used = || Duration::from(clock_getcpuclockid(Pid::from_raw(child.id() as i32)).unwrap().now().unwrap());
    // How many wait before and after each second, and the time of a processor that the node took in it. What was accepted, and the file
    // that it hashes, may keep it busy for a while.
    let mut seconds = Vec::new();
    let rests = (0..20).any(|_| {
        let (before, queued) = (used(), not_accepted(to));
        thread::sleep(Duration::from_secs(1));
        seconds.push((queued, not_accepted(to), used() - before));
        matches!(seconds.last(), Some((1.., 1.., used)) if *used <= Duration::from_millis(50))
    });
    assert!(rests, "it does not rest while others wait to be accepted: {seconds:?}");
    drop(asking);
    let mut late = TcpStream::connect(to).unwrap();
    late.write_all(b"4:large.bin\n").unwrap();
    late.set_read_timeout(Some(LONG)).unwrap();
    late.read_exact(&mut [0; 1000]).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// How many connections to this listener of the machine nobody has accepted yet: for one that listens, the length of its receive queue
/// (`proc_pid_net`(5), tcp).
fn not_accepted(listener: SocketAddrV4) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let addr = format!("{:08X}:{:04X}", u32::from_ne_bytes(listener.ip().octets()), listener.port());
    let listens = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, "0A", queues, ..] = fields[..] else { return None };
        let (_, waiting) = queues.split_once(':').filter(|_| local == addr)?;
        usize::from_str_radix(waiting, 16).ok()
    };
    table.lines().find_map(listens).unwrap()
}

/// Shares a large file until standard input ends.
fn starve() {
    let (scratch, bootstrap) = (tempfile::tempdir().unwrap(), bootstrap());
    ["share", "downloads"].iter().for_each(|name| fs::create_dir(scratch.path().join(name)).unwrap());
    let large = scratch.path().join("share/large.bin");
    share(&large, b"");
    File::options().write(true).open(&large).unwrap().set_len(64 << 20).unwrap();
    set_back(&large);
    let peer = Client::new(config(scratch.path(), &bootstrap)).unwrap().spawn().unwrap();
    until("it is shared", || peer.files().unwrap().flatten().any(|file| !file.being_written));
    println!("\nlistens on {}", peer.ready().unwrap().listen.unwrap());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    peer.stop().unwrap();
}

#[test]
fn a_node_that_has_failed_says_so_at_each_call() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = || Config { bootstrap_serve: taken.local_addr().ok(), ..Config::default() };
    let failed = Bootstrap::new(config()).unwrap().spawn();
    assert!(matches!(failed, Err(Fault::Start(StartFault::AddressInUse { .. }))), "{failed:?}");

    let bootstrap = Bootstrap::new(config()).unwrap();
    let handle = bootstrap.handle();
    let waits = thread::spawn({
        let handle = handle.clone();
        move || handle.status()
    });
    bootstrap.start().unwrap_err();
    assert!(matches!(waits.join().unwrap(), Err(Error::Failed(why)) if why.contains("in use")));
    assert!(matches!(handle.files(), Err(Error::Failed(_))));
    assert!(matches!(handle.stop(), Err(Error::Failed(_))));
}

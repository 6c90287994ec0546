//! A restart by a service manager that keeps sockets (systemd.service(5), FileDescriptorStoreMax=): listeners and uploads survive.

use super::{Home, PATIENCE, Running};
use nix::sys::signal::Signal;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

const SIZE: usize = 6 << 20;

pub(super) const CONTROL: &str = "kept-control";

/// A peer whose uploads take some seconds.
pub(super) struct Peer {
    pub(super) home: Home,
    addr: SocketAddr,
    content: Vec<u8>,
    workers: &'static str,
    listen_addr: &'static str,
    /// Further options.
    pub(super) options: Vec<String>,
}

/// What a service manager keeps.
pub(super) struct Store(Vec<(String, OwnedFd)>);

impl Peer {
    pub(super) fn new() -> Self {
        let home = Home::new();
        let content: Vec<u8> = (0..SIZE).map(|at| (at * 2_654_435_761) as u8).collect();
        fs::write(home.path("share/file"), &content).unwrap();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { home, addr, content, workers: "256", listen_addr: "127.0.0.1", options: vec![] }
    }

    fn arguments(&self) -> Vec<String> {
        let mut words = vec![];
        for (option, value) in [
            ("--listen-addr", self.listen_addr.to_owned()),
            ("--listen-port", self.addr.port().to_string()),
            ("--bootstraps", "127.0.0.1:9".to_owned()),
            ("--local-directory", self.home.word("share")),
            ("--upload-limit", "4MiB".to_owned()),
            ("--max-workers", self.workers.to_owned()),
            ("--hand-over", "true".to_owned()),
            ("--log-file", self.home.word("log")),
        ] {
            words.extend([option.to_owned(), value]);
        }
        words.extend(self.options.iter().cloned());
        words
    }

    pub(super) fn start(&self) -> Running {
        let arguments = self.arguments();
        self.home.start_any(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts it with what was kept, three sockets at most, and gives what it says before it is ready.
    pub(super) fn start_again(&self, store: Store) -> (Running, Vec<String>) {
        let names: Vec<String> = store.0.iter().map(|(name, _)| name.clone()).collect();
        let mut sockets = store.0.into_iter().map(|(_, socket)| Stdio::from(socket));
        let mut command = Command::new("sh");
        let script = "exec \"$@\" 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>/dev/null";
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_pyrated")]).args(self.arguments());
        command.env_clear().env("HOME", self.home.path("")).env("PYRATE_ALLOW_ROOT", "true");
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env("NOTIFY_SOCKET", self.home.path("again"));
        for set in [Command::stdin::<Stdio>, Command::stdout, Command::stderr] {
            set(&mut command, sockets.next().unwrap_or_else(Stdio::null));
        }
        assert!(sockets.next().is_none(), "{names:?}");
        let _ = fs::remove_file(self.home.path("again"));
        let ears = UnixDatagram::bind(self.home.path("again")).unwrap();
        ears.set_read_timeout(Some(PATIENCE)).unwrap();
        let running = Running { child: command.spawn().unwrap(), ears };
        let mut said = Vec::new();
        // With it are the sockets, which the service manager keeps until it is told otherwise.
        let mut keeping = Some(command);
        while said.last().is_none_or(|said: &String| !said.starts_with("READY=1")) {
            said.push(running.hear());
            keeping.take_if(|_| said.iter().any(|said| said.starts_with("FDSTOREREMOVE=1")));
        }
        (running, said)
    }

    /// Asks for the file, and reads its beginning.
    fn begin(&self) -> (TcpStream, Vec<u8>) {
        self.begin_with("file")
    }

    fn begin_with(&self, name: &str) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("4:{name}\n").as_bytes()).unwrap();
        let mut begun = vec![0; 300_000];
        stream.read_exact(&mut begun).unwrap();
        (stream, begun)
    }

    /// Waits until the daemon says that a request waits for a worker, or for a descriptor.
    fn await_waiting(&self) {
        let call = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n";
        let waits = || {
            let mut control = UnixStream::connect(self.home.path(".local/state/pyrate/control.sock")).unwrap();
            control.write_all(call).unwrap();
            let mut line = String::new();
            BufReader::new(control).read_line(&mut line).unwrap();
            line.contains("\"commands_queued\":1")
        };
        while !waits() {
            std::thread::yield_now();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path("log")).unwrap()
    }
}

impl Store {
    /// Ends a daemon in order, and keeps what it hands over.
    pub(super) fn of(mut running: Running) -> Self {
        running.signal(Signal::SIGTERM);
        let mut store = Self(Vec::new());
        loop {
            let is_over = running.child.try_wait().unwrap().is_some();
            let Some((text, sockets)) = running.hear_with_sockets() else {
                if is_over {
                    break;
                }
                continue;
            };
            let name = text.split_once("FDNAME=").and_then(|(_, rest)| rest.split_once('\n'));
            store.0.extend(sockets.into_iter().map(|socket| (name.unwrap().0.to_owned(), socket)));
            let is_watched = !text.contains("FDPOLL=0\n");
            assert_eq!(is_watched, !text.contains("kept-records"), "{text}");
        }
        assert_eq!(running.child.wait().unwrap().code(), Some(0));
        store
    }

    /// Without the file that the name of the control socket tells.
    pub(super) fn names(&self) -> Vec<&str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names.map(|name| if name.starts_with(CONTROL) { CONTROL } else { name }).collect()
    }

    /// Loses a socket: then the daemon makes another one.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(other, _)| !other.starts_with(name));
        self
    }
}

impl Running {
    /// The next thing that it tells within a moment, with the sockets that came along.
    fn hear_with_sockets(&self) -> Option<(String, Vec<OwnedFd>)> {
        self.ears.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let heard = recvmsg(&self.ears, &mut parts, &mut with, RecvFlags::CMSG_CLOEXEC).ok()?;
        let sockets = with.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => sockets.collect(),
            _ => Vec::new(),
        });
        let sockets = sockets.collect();
        Some((String::from_utf8(bytes[..heard.bytes].to_vec()).unwrap(), sockets))
    }
}

#[test]
fn an_upload_and_who_waits_at_the_listener_survive_a_restart() {
    let peer = Peer::new();
    let running = peer.start();
    let (mut stream, mut got) = peer.begin();
    let store = Store::of(running);
    assert_eq!(store.names(), ["kept-peer", CONTROL, "kept-records", "kept-upload"]);
    // Nobody runs, and nobody is refused.
    let mut early = TcpStream::connect(peer.addr).unwrap();
    early.write_all(b"5:\n").unwrap();
    let (running, said) = peer.start_again(store.without(CONTROL));
    for name in ["kept-peer", "kept-records", "kept-upload"] {
        assert!(said.contains(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n")), "{said:?}");
    }
    stream.read_to_end(&mut got).unwrap();
    assert!(got == peer.content, "{} bytes", got.len());
    let mut list = String::new();
    early.read_to_string(&mut list).unwrap();
    assert_eq!(list, "file\n");
    let log = peer.log();
    assert!(
        log.contains("uploads wait for the next start count=1")
            && log.contains("uploads of the run before go on count=1"),
        "{log}"
    );
    drop(running);
}

#[test]
fn a_request_that_waits_for_its_turn_survives_too() {
    // One worker: the second request waits for it.
    let peer = Peer { workers: "1", ..Peer::new() };
    let running = peer.start();
    let (mut first, mut got) = peer.begin();
    let mut waiting = TcpStream::connect(peer.addr).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    waiting.write_all(b"8:1:5000000:file\n").unwrap();
    peer.await_waiting();
    let store = Store::of(running);
    assert_eq!(store.names(), ["kept-peer", CONTROL, "kept-records", "kept-upload", "kept-upload"]);
    let (_running, _) = peer.start_again(store.without("kept-peer").without(CONTROL));
    first.read_to_end(&mut got).unwrap();
    assert!(got == peer.content, "{} bytes", got.len());
    let mut range = Vec::new();
    waiting.read_to_end(&mut range).unwrap();
    assert!(range == peer.content[1..5_000_001], "{} bytes", range.len());
}

#[test]
fn a_listener_that_the_configuration_wants_elsewhere_gives_its_port_up() {
    let mut peer = Peer::new();
    let running = peer.start();
    let (mut stream, mut got) = peer.begin();
    let store = Store::of(running);
    assert_eq!(store.names(), ["kept-peer", CONTROL, "kept-records", "kept-upload"]);
    // The port is the same: as long as anybody holds the listener at 127.0.0.1, it cannot be made.
    peer.listen_addr = "0.0.0.0";
    let (_running, said) = peer.start_again(store.without(CONTROL));
    assert!(said.last().is_some_and(|said| said.contains("0.0.0.0")), "{said:?}");
    stream.read_to_end(&mut got).unwrap();
    assert!(got == peer.content, "{} bytes", got.len());
}

#[test]
fn a_request_that_waits_for_a_descriptor_survives_too() {
    let peer = Peer::new();
    fs::write(peer.home.path("share/other"), &peer.content).unwrap();
    // One descriptor is for files, and one network has four connections.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 36; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pyrated")]).args(peer.arguments());
    command.env_clear().env("HOME", peer.home.path("")).env("PYRATE_ALLOW_ROOT", "true");
    let running = peer.home.start_by(command);
    let _uploads = [peer.begin(), peer.begin(), peer.begin()];
    let mut waiting = TcpStream::connect(peer.addr).unwrap();
    waiting.write_all(b"4:other\n").unwrap();
    peer.await_waiting();
    let store = Store::of(running);
    let kept = store.names().into_iter().filter(|name| *name == "kept-upload").count();
    assert_eq!(kept, 4, "{:?}", store.names());
}

#[test]
fn a_file_that_was_changed_meanwhile_is_broken_off() {
    let peer = Peer::new();
    let running = peer.start();
    let (mut stream, mut got) = peer.begin();
    let store = Store::of(running);
    fs::write(peer.home.path("share/file"), vec![7; SIZE]).unwrap();
    let (_running, _) = peer.start_again(store.without(CONTROL));
    let ended = stream.read_to_end(&mut got);
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(peer.content.starts_with(&got), "only bytes of the file that was asked for");
}

#[test]
fn the_rest_of_an_upload_never_comes_from_another_file() {
    let mut peer = Peer::new();
    fs::write(peer.home.path("share/other"), &peer.content).unwrap();
    let running = peer.start();
    let (mut first, mut others) = peer.begin_with("other");
    let (mut stream, mut got) = peer.begin();
    let mut store = Store::of(running);
    // Three sockets can be passed here. Without the listener the daemon makes another one.
    assert_eq!(store.names(), ["kept-peer", CONTROL, "kept-records", "kept-upload", "kept-upload"]);
    store.0.remove(0);
    // The next run shares a new file of this name, which has been there for long enough, and has one worker: the rest is
    // ordered after its first scan.
    fs::write(peer.home.path("new"), vec![7; SIZE]).unwrap();
    fs::rename(peer.home.path("new"), peer.home.path("share/file")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    peer.workers = "1";
    let (_running, _) = peer.start_again(store.without("kept-peer").without(CONTROL));
    first.read_to_end(&mut others).unwrap();
    assert!(others == peer.content, "{} bytes", others.len());
    let ended = stream.read_to_end(&mut got);
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(peer.content.starts_with(&got), "only bytes of the file that was asked for");
}

#[test]
fn a_daemon_that_is_killed_has_left_nothing() {
    let peer = Peer::new();
    let mut running = peer.start();
    let (mut stream, mut got) = peer.begin();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert!(std::iter::from_fn(|| running.hear_with_sockets()).all(|(text, _)| !text.contains("FDSTORE")));
    assert_eq!(stream.read_to_end(&mut got).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn an_upload_from_a_share_that_is_not_there_any_more_is_broken_off() {
    let mut peer = Peer::new();
    // What the main share has under this name is the same file.
    for directory in ["music", "share/music"] {
        fs::create_dir(peer.home.path(directory)).unwrap();
        fs::hard_link(peer.home.path("share/file"), peer.home.path(&format!("{directory}/song"))).unwrap();
    }
    let music = |name: &str| {
        vec!["--share".to_owned(), format!("[{{ path = '{}', name = '{name}' }}]", peer.home.word("music"))]
    };
    let (music, films) = (music("music"), music("films"));
    for (next, goes_on) in [(music.clone(), true), (films, false), (vec![], false)] {
        peer.options = music.clone();
        let running = peer.start();
        let (mut stream, mut got) = peer.begin_with("music/song");
        let store = Store::of(running);
        peer.options = next;
        let (_running, _) = peer.start_again(store.without(CONTROL));
        let ended = stream.read_to_end(&mut got);
        assert_eq!(ended.is_ok(), goes_on, "{:?}: {ended:?} after {} bytes", peer.options, got.len());
        assert!(peer.content.starts_with(&got));
    }
    assert!(peer.log().contains("not for their requesters any more"), "{}", peer.log());
}

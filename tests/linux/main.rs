//! What the loop relies on of Linux, each fact as a small experiment on loopback. Where one of these fails, the comments
//! in `src/driver` that cite it are wrong on this kernel.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use mio::net::{TcpListener as MioListener, TcpStream as MioStream};
use mio::{Events, Interest, Poll, Token};
use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::sendfile::sendfile64;
use socket2::{Domain, SockRef, Socket, Type};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

#[path = "../common/not_tested.rs"]
mod not_tested;
use not_tested::not_tested;

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

/// So `driver/net/listener` has all connections end in RST that were made since it has set that.
#[test]
fn an_accepted_connection_has_the_linger_that_its_listener_had_when_it_was_made() {
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let Ok(listener) = TcpListener::bind(address) else {
            not_tested("what connections inherit", &format!("{address} is not there"));
            continue;
        };
        let connect = || {
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            near.set_read_timeout(Some(PATIENCE)).unwrap();
            near
        };
        let of_last = connect();
        SockRef::from(&listener).set_linger(Some(Duration::ZERO)).unwrap();
        let of_this = connect();
        let lingers = [(); 2].map(|()| SockRef::from(&listener.accept().unwrap().0).linger().unwrap());
        assert_eq!(lingers, [None, Some(Duration::ZERO)], "the older one waited in the queue");
        assert_eq!(read_all(&of_last).unwrap(), 0);
        assert_eq!(read_all(&of_this).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
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
fn a_reset_without_a_fin_reads_as_such_whether_it_is_asked_for_or_met_by_a_write() {
    let error = |find: &dyn Fn(&TcpStream) -> Option<io::Error>| {
        let (near, far) = pair();
        (&far).write_all(b"x").unwrap();
        near.peek(&mut [0]).unwrap();
        drop(near);
        loop {
            if let Some(error) = find(&far) {
                return error.kind();
            }
            std::thread::yield_now();
        }
    };
    assert_eq!(error(&|far| far.take_error().unwrap()), ErrorKind::ConnectionReset);
    assert_eq!(error(&|mut far| far.write_all(b"y").err()), ErrorKind::ConnectionReset);
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

/// What a file holds at first.
static OLD: [u8; 32 << 10] = [1; 32 << 10];

/// Sends a file by sendfile(2), and waits until the receiving system has and has acknowledged all of it.
fn sent_and_unread(content: &[u8]) -> (TcpStream, TcpStream, File) {
    let (near, far) = pair();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    assert_eq!(sendfile64(far.as_fd(), file.as_fd(), None, content.len()).unwrap(), content.len());
    let mut arrived = vec![0; content.len()];
    while near.peek(&mut arrived).unwrap() < content.len() {
        std::thread::yield_now();
    }
    (near, far, file)
}

/// So uploads are copied: no check of the file by the sender, however late, covers what sendfile(2) has sent to a reader
/// on the same machine.
#[test]
fn what_sendfile_has_sent_changes_with_the_file_until_it_is_read() {
    let (mut near, far, file) = sent_and_unread(&OLD);
    file.write_all_at(&[2; OLD.len()], 0).unwrap();
    drop(far);
    let mut read = Vec::new();
    near.read_to_end(&mut read).unwrap();
    assert_eq!(read, [2; OLD.len()], "what was acknowledged before the write is not what was sent");
}

/// And no wait for as much as the buffers of both sides hold helps: a relay hands the pages on, from buffer to buffer.
#[test]
fn a_relay_that_splices_hands_on_pages_that_change_with_the_file() {
    let (near, far, file) = sent_and_unread(&OLD);
    let (mut beyond, relay) = pair();
    let (taken, given) = nix::unistd::pipe().unwrap();
    let hand_on = |from: &dyn AsFd, to: &dyn AsFd, count: usize| {
        splice(from.as_fd(), None, to.as_fd(), None, count, SpliceFFlags::empty()).unwrap()
    };
    let mut relayed = 0;
    while relayed < OLD.len() {
        let count = hand_on(&near, &given, OLD.len() - relayed);
        let mut rest = count;
        while rest > 0 {
            rest -= hand_on(&taken, &relay, rest);
        }
        relayed += count;
    }
    file.write_all_at(&[2; OLD.len()], 0).unwrap();
    drop((far, near, relay));
    let mut read = Vec::new();
    beyond.read_to_end(&mut read).unwrap();
    assert_eq!(read, [2; OLD.len()], "the relay had read all of it before the write");
}

/// So the driver registers an accepted connection only after a call on it has blocked, and misses nothing that has come meanwhile.
#[test]
fn edge_triggered_epoll_tells_what_a_connection_is_ready_for_as_it_is_registered() {
    type Change = fn(TcpStream) -> Option<TcpStream>;
    let bytes: Change = |mut near| near.write_all(b"come").map(|()| near).ok();
    let fin: Change = |near| near.shutdown(Shutdown::Write).map(|()| near).ok();
    let reset: Change = |near| {
        SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
        None
    };
    for change in [bytes, fin, reset] {
        let (near, far) = pair();
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let _near = change(near);
        // Without this, it might be ready only after it is registered.
        while far.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            std::thread::yield_now();
        }
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let mut far = MioStream::from_std(far);
        poll.registry().register(&mut far, Token(1), Interest::READABLE | Interest::WRITABLE).unwrap();
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        let told: Vec<_> = events.iter().map(|event| (event.is_readable(), event.is_writable())).collect();
        assert_eq!(told, [(true, true)], "in one event");
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "once");
    }
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

/// `driver/front/listener` relies on it: nobody else can connect between bind(2) and a later chmod(2).
#[test]
fn a_unix_socket_is_bound_with_no_wider_mode_than_its_descriptor_has() {
    use nix::sys::stat::{Mode, fchmod};
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o660, 0o666] {
        let path = scratch.path().join(format!("{mode:o}"));
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        fchmod(&socket, Mode::from_bits_truncate(mode)).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        // The umask of the test may take more away.
        let bound = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(bound & !mode, 0, "{bound:o} of {mode:o}");
        assert_eq!(bound & 0o600, 0o600, "{bound:o} of {mode:o}");
    }
}

/// What `store/share` relies on: preadv2 with RWF_NOWAIT reads what is in the page cache, says EAGAIN of what is not, and is not
/// supported where the filesystem cannot tell (tmpfs, NFS, FUSE).
#[test]
fn a_read_that_may_not_wait_brings_what_is_in_the_page_cache_and_nothing_else() {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let read = |file: &File| preadv2(file, &mut [io::IoSliceMut::new(&mut [0; 4096])], 0, ReadWriteFlags::NOWAIT);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[7; 1 << 20], 0).unwrap();
    file.sync_all().unwrap();
    match read(&file) {
        // It does not tell.
        Err(Errno::OPNOTSUPP) => return println!("not supported by the filesystem of temporary files"),
        outcome => assert_eq!(outcome, Ok(4096)),
    }
    assert_eq!(preadv2(&file, &mut [io::IoSliceMut::new(&mut [0])], 1 << 20, ReadWriteFlags::NOWAIT), Ok(0));
    // It is advice: a page that the kernel itself looks at just then stays.
    let forgets = |_| {
        std::thread::yield_now();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        read(&file) == Err(Errno::AGAIN)
    };
    assert!((0..10_000).any(forgets), "the page cache keeps it");
    file.read_exact_at(&mut [0; 4096], 0).unwrap();
    assert_eq!(read(&file), Ok(4096), "a read that waits has brought it");
}

/// For what no state announces: that nothing comes.
const SILENCE: Duration = Duration::from_secs(1);

/// Begins to connect from an interface, and waits for the outcome.
fn connect_over(interface: &str, to: SocketAddr, patience: Duration) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.connect_timeout(&to.into(), patience)
}

/// What `driver/interface` relies on: a socket that is bound to an interface uses no other. That a process without any rights may
/// bind one that was not bound before is tried by the same test in a process that has given up CAP_NET_RAW.
#[test]
fn a_socket_that_is_bound_to_an_interface_uses_no_other_and_that_takes_no_rights() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind_device(Some(b"lo")).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let port = listener.local_addr().unwrap().as_socket().unwrap().port();
    connect_over("lo", (Ipv4Addr::LOCALHOST, port).into(), PATIENCE).expect("over the loopback interface");
    // No packet to another machine can leave there, not even by the default route.
    let elsewhere = connect_over("lo", (Ipv4Addr::new(192, 0, 2, 200), 9).into(), SILENCE);
    assert!(elsewhere.is_err(), "{elsewhere:?}");
    assert_eq!(
        connect_over("missing-by-far", (Ipv4Addr::LOCALHOST, port).into(), PATIENCE).unwrap_err().raw_os_error(),
        Some(19)
    );
    let again = listener.bind_device(Some(b"lo"));
    if std::env::var_os("WITHOUT_RIGHTS").is_some() {
        assert_eq!(again.unwrap_err().kind(), ErrorKind::PermissionDenied, "it is bound for good");
        return;
    }
    let name = "a_socket_that_is_bound_to_an_interface_uses_no_other_and_that_takes_no_rights";
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw", "--no-new-privs"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", name]).env("WITHOUT_RIGHTS", "1");
    match command.output() {
        Ok(output) if output.stderr.starts_with(b"setpriv: ") => {
            not_tested("binding to an interface without rights", "setpriv(1) may not take rights away here")
        }
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => not_tested("binding to an interface without rights", &format!("setpriv(1): {error}")),
    }
}

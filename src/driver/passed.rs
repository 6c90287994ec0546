//! Sockets that the program was started with: the listeners of socket units, under the names of their `FileDescriptorName=`, and
//! what an earlier run has left with the service manager.

use super::interface::Interface;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Uid};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the peer's listener in a socket unit.
pub(crate) const PEER: &str = "peer";
/// The name of the bootstrap node's listener in a socket unit.
pub(crate) const BOOTSTRAP: &str = "bootstrap";

/// The name of the peer's listener, as an earlier run has left it.
pub(super) const KEPT_PEER: &str = "kept-peer";
/// The name of the bootstrap node's listener, as an earlier run has left it.
pub(super) const KEPT_BOOTSTRAP: &str = "kept-bootstrap";
/// The name of a connection on which an earlier run was sending a file.
pub(super) const KEPT_UPLOAD: &str = "kept-upload";
/// The name of the socket that brings what was being sent.
pub(super) const KEPT_RECORDS: &str = "kept-records";

/// The name of the listener for the metrics, as an earlier run has left it.
pub(super) const KEPT_METRICS: &str = "kept-metrics";
/// What the name of the control socket begins with, as an earlier run has left it. The device and the inode of its file follow.
const KEPT_CONTROL: &str = "kept-control-";

/// What the names of all begin with that an earlier run has left, also of a version that leaves more than this one.
pub(crate) const KEPT_PREFIX: &str = "kept-";

/// What an earlier run may have left, apart from the control socket.
const KEPT: [&str; 5] = [KEPT_PEER, KEPT_BOOTSTRAP, KEPT_METRICS, KEPT_UPLOAD, KEPT_RECORDS];

/// How often, and how soon, it is tried again to listen at an address that is about to be free.
const FREED_TRIES: u32 = 50;
const FREED_STEP: Duration = Duration::from_millis(20);

/// Sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    sockets: Vec<(&'static str, Socket)>,
    control: Option<KeptControl>,
    /// The names that the service manager is to forget.
    kept: Vec<String>,
    has_closed: bool,
}

/// The listening control socket of an earlier run.
#[derive(Debug)]
pub(super) struct KeptControl {
    pub(super) socket: Socket,
    pub(super) path: PathBuf,
    pub(super) made: FileId,
}

/// Device and inode of the file of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Whether this file is at a path.
    pub(super) fn is_at(self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|metadata| Self::of(&metadata) == self)
    }
}

/// The name under which the control socket is left, whose own address does not say whether its file is still there.
pub(super) fn kept_control_name(made: FileId) -> String {
    format!("{KEPT_CONTROL}{:x}-{:x}", made.device, made.inode)
}

fn kept_control_file(name: &str) -> Option<FileId> {
    let (device, inode) = name.strip_prefix(KEPT_CONTROL)?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(FileId { device: number(device)?, inode: number(inode)? })
}

impl Passed {
    /// Returns whether there was no socket of this name before.
    pub(crate) fn add(&mut self, name: &'static str, socket: Socket) -> bool {
        let is_first = self.sockets.iter().all(|(other, _)| *other != name);
        self.sockets.push((name, socket));
        is_first
    }

    /// An earlier run has left something under this name. `socket`: if it is one of a kind that is left.
    pub(crate) fn add_kept(&mut self, given: &str, socket: Option<Socket>) {
        if !self.kept.iter().any(|name| name == given) {
            self.kept.push(given.to_owned());
        }
        let Some(socket) = socket else { return };
        if let Some(name) = KEPT.into_iter().find(|name| *name == given) {
            self.sockets.push((name, socket));
        } else if let Some(made) = kept_control_file(given) {
            let path = socket.local_addr().ok().and_then(|addr| Some(addr.as_pathname()?.to_owned()));
            self.control = path.map(|path| KeptControl { socket, path, made }).or(self.control.take());
        }
    }

    /// The names of what an earlier run has left.
    pub(crate) fn kept(&self) -> &[String] {
        &self.kept
    }

    /// Keeps the control socket of an earlier run if a new one at `wanted` would be the same, or removes it. Before the process
    /// restricts itself to the directories of its configuration, in which the old path need not be.
    pub(crate) fn settle_control(&mut self, wanted: Option<&Path>) {
        let Some(KeptControl { socket, path, made }) = self.control.take() else { return };
        let ours = (Uid::effective().as_raw(), Gid::effective().as_raw());
        let maker = getsockopt(&socket, PeerCredentials).map(|maker| (maker.uid(), maker.gid()));
        let is_there = made.is_at(&path);
        let listens = socket.is_listener().is_ok_and(|listens| listens);
        if wanted == Some(&*path) && is_there && listens && maker == Ok(ours) {
            self.control = Some(KeptControl { socket, path, made });
        } else if is_there {
            // Fails where we may not write any more. Nobody listens there then.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The control socket that is kept.
    pub(super) fn kept_control(&mut self) -> Option<KeptControl> {
        self.control.take()
    }

    /// Closes the listeners that an earlier run has left for an address at which the configuration does not want them any
    /// more: another one may be wanted there.
    pub(super) fn close_unwanted(&mut self, wanted: &[(&str, Option<SocketAddr>, &Interface)]) {
        let before = self.sockets.len();
        self.sockets.retain(|(name, socket)| {
            let Some((_, wanted, interface)) = wanted.iter().find(|(other, ..)| other == name) else { return true };
            let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
            let listens = socket.is_listener().is_ok_and(|listens| listens);
            let is_right = bound.zip(*wanted).is_some_and(|(bound, wanted)| is_at(bound, wanted));
            listens && is_right && interface.has(socket)
        });
        self.has_closed |= self.sockets.len() < before;
    }

    /// Makes a listener. Where one was closed before, its address may be in use for a moment longer: a process that the service
    /// manager forks meanwhile holds it too, until it runs its program.
    pub(super) fn bind_after<T>(&self, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut tries = if self.has_closed { FREED_TRIES } else { 0 };
        loop {
            match bind() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(FREED_STEP);
                }
                outcome => return outcome,
            }
        }
    }

    /// Takes all sockets of a name.
    pub(super) fn take(&mut self, wanted: &str) -> Vec<Socket> {
        self.sockets.extract_if(.., |(name, _)| *name == wanted).map(|(_, socket)| socket).collect()
    }

    /// The listener that an earlier run has left, after [`close_unwanted`](Self::close_unwanted).
    pub(super) fn kept_listener(&mut self, name: &str) -> Option<Socket> {
        self.take(name).pop()
    }

    /// Takes the listener of a socket unit, if there is one, which must be what the configuration says: `addr`, whose port 0
    /// stands for any. `keys`: those that say so.
    /// Errors: What does not fit, in a sentence.
    pub(super) fn listener(
        &mut self,
        name: &str,
        addr: SocketAddr,
        keys: &str,
        interface: &Interface,
    ) -> Result<Option<Socket>, String> {
        let Some(at) = self.sockets.iter().position(|(other, _)| *other == name) else { return Ok(None) };
        let (name, socket) = self.sockets.swap_remove(at);
        if !socket.is_listener().is_ok_and(|listens| listens) {
            return Err(format!("the socket `{name}` does not listen: Accept=yes is not for this daemon"));
        }
        let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
        if !bound.is_some_and(|bound| is_at(bound, addr)) {
            let bound = bound.map_or_else(|| "no address".to_owned(), |bound| bound.to_string());
            return Err(format!("the socket `{name}` is at {bound}, and {keys} {addr}: give both the same address"));
        }
        if !interface.has(&socket) {
            let device = interface.name().unwrap_or_default();
            return Err(format!(
                "the socket `{name}` takes connections over any interface, and interface is {device}: set \
                 BindToDevice={device} in the socket unit"
            ));
        }
        Ok(Some(socket))
    }

    /// Errors: The first that the configuration has no use for, in a sentence.
    pub(super) fn must_be_used_up(&self) -> Result<(), String> {
        match self.sockets.iter().find(|(name, _)| !KEPT.contains(name)) {
            Some((name, _)) => Err(format!(
                "the socket `{name}` is passed, and this configuration has no {name}: disable the socket unit, or set {}",
                if *name == BOOTSTRAP { "bootstrap_serve" } else { "peer = true" }
            )),
            None => Ok(()),
        }
    }
}

/// Whether a socket is where the configuration says, whose port 0 stands for any.
fn is_at(bound: SocketAddr, addr: SocketAddr) -> bool {
    bound.ip() == addr.ip() && (bound.port() == addr.port() || addr.port() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    /// A socket that listens, and where.
    fn listening() -> (Socket, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        (listener.into(), addr)
    }

    #[test]
    fn a_listener_that_was_kept_is_taken_only_where_the_configuration_still_wants_it() {
        let any = Interface::default();
        let other = "127.0.0.2:1".parse().unwrap();
        let (socket, addr) = listening();
        let mut passed = Passed::default();
        for wanted in [Some(other), None] {
            passed.add_kept(KEPT_PEER, Some(socket.try_clone().unwrap()));
            assert_eq!(passed.kept(), [KEPT_PEER]);
            passed.close_unwanted(&[(KEPT_BOOTSTRAP, Some(addr), &any), (KEPT_PEER, wanted, &any)]);
            assert!(passed.kept_listener(KEPT_PEER).is_none());
        }
        for wanted in [addr, "127.0.0.1:0".parse().unwrap()] {
            passed.add_kept(KEPT_PEER, Some(socket.try_clone().unwrap()));
            passed.close_unwanted(&[(KEPT_BOOTSTRAP, None, &any), (KEPT_PEER, Some(wanted), &any)]);
            assert!(passed.kept_listener(KEPT_BOOTSTRAP).is_none());
            assert!(passed.kept_listener(KEPT_PEER).is_some());
        }
        assert!(passed.kept_listener(KEPT_PEER).is_none(), "it is taken once");
    }

    #[test]
    fn an_address_that_a_closed_listener_still_has_elsewhere_is_waited_for() {
        let (socket, addr) = listening();
        let mut passed = Passed::default();
        let bind = || TcpListener::bind(addr);
        assert_eq!(passed.bind_after(bind).unwrap_err().kind(), io::ErrorKind::AddrInUse, "of another program");
        passed.add_kept(KEPT_PEER, Some(socket.try_clone().unwrap()));
        passed.close_unwanted(&[(KEPT_PEER, None, &Interface::default())]);
        // What a process that was just forked has of it.
        let held = std::cell::Cell::new(Some(socket));
        let bound = passed.bind_after(|| bind().inspect_err(|_| drop(held.take())));
        assert!(bound.is_ok() && held.take().is_none());
    }

    #[test]
    fn the_control_socket_is_kept_only_while_its_file_is_where_the_configuration_wants_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let listening = || {
            let _ = std::fs::remove_file(&path);
            let socket = Socket::from(std::os::fd::OwnedFd::from(UnixListener::bind(&path).unwrap()));
            (socket, FileId::of(&std::fs::symlink_metadata(&path).unwrap()))
        };
        let settled = |socket: Socket, made: FileId, wanted: Option<&Path>| {
            let mut passed = Passed::default();
            passed.add_kept(&kept_control_name(made), Some(socket));
            assert_eq!(passed.kept(), [kept_control_name(made)]);
            passed.settle_control(wanted);
            passed.kept_control().is_some_and(|kept| kept.path == path && kept.made == made)
        };
        let (socket, made) = listening();
        assert!(settled(socket, made, Some(&path)) && path.exists());
        for wanted in [None, Some(Path::new("/elsewhere"))] {
            let (socket, made) = listening();
            assert!(!settled(socket, made, wanted) && !path.exists(), "{wanted:?}");
        }
        // The file of another process, which has made it anew.
        let (first, made) = listening();
        let held = std::fs::hard_link(&path, home.path().join("first"));
        held.unwrap();
        let (_other, _) = listening();
        assert!(!settled(first, made, Some(&path)) && path.exists());
    }

    #[test]
    fn what_does_not_listen_or_is_elsewhere_is_not_taken() {
        let any = Interface::default();
        let idle = || {
            let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            let addr = socket.local_addr().unwrap().as_socket().unwrap();
            (socket, addr)
        };
        let mut passed = Passed::default();
        let (socket, addr) = idle();
        passed.add_kept(KEPT_PEER, Some(socket));
        passed.close_unwanted(&[(KEPT_PEER, Some(addr), &any)]);
        assert!(passed.kept_listener(KEPT_PEER).is_none());
        let (socket, addr) = idle();
        passed.add(PEER, socket);
        assert!(passed.listener(PEER, addr, "", &any).unwrap_err().contains("does not listen"));
        passed.add(PEER, listening().0);
        let said = passed.listener(PEER, "127.0.0.2:1".parse().unwrap(), "listen is", &any).unwrap_err();
        assert!(said.contains("listen is 127.0.0.2:1: give both the same address"), "{said}");

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let socket = Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        let made = FileId::of(&std::fs::symlink_metadata(&path).unwrap());
        passed.add_kept(&kept_control_name(made), Some(socket));
        passed.settle_control(Some(&path));
        assert!(passed.kept_control().is_none() && !path.exists());
    }

    #[test]
    fn what_a_later_version_has_left_is_given_up() {
        let mut passed = Passed::default();
        for name in ["kept-something", "kept-control-1", "kept-control-1-g"] {
            passed.add_kept(name, Some(listening().0));
        }
        assert_eq!(passed.kept(), ["kept-something", "kept-control-1", "kept-control-1-g"]);
        assert!(passed.sockets.is_empty() && passed.kept_control().is_none());
    }

    #[test]
    fn only_what_a_socket_unit_passes_must_be_of_use() {
        let any = Interface::default();
        let mut passed = Passed::default();
        passed.add_kept(KEPT_UPLOAD, Some(listening().0));
        assert_eq!(passed.must_be_used_up(), Ok(()));
        let (socket, addr) = listening();
        assert!(passed.add(PEER, socket.try_clone().unwrap()) && !passed.add(PEER, socket));
        assert!(passed.must_be_used_up().unwrap_err().contains("set peer = true"));
        assert!(passed.listener(PEER, addr, "", &any).unwrap().is_some());
        assert!(passed.listener(BOOTSTRAP, addr, "", &any).unwrap().is_none());
    }

    #[test]
    fn a_listener_that_is_bound_to_no_interface_is_not_taken_where_one_is_configured() {
        let (socket, addr) = listening();
        let lo = Interface::new(Some("lo"));
        let mut passed = Passed::default();
        passed.add(PEER, socket.try_clone().unwrap());
        passed.add_kept(KEPT_PEER, Some(socket));
        passed.close_unwanted(&[(KEPT_PEER, Some(addr), &lo)]);
        assert!(passed.listener(PEER, addr, "", &lo).unwrap_err().contains("BindToDevice=lo"));
        assert!(passed.kept_listener(KEPT_PEER).is_none());
        let bound = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind_device(Some(b"lo")).unwrap();
        bound.bind(&addr.into()).or_else(|_| bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())).unwrap();
        bound.listen(1).unwrap();
        let addr = bound.local_addr().unwrap().as_socket().unwrap();
        passed.add(PEER, bound);
        assert!(passed.listener(PEER, addr, "", &lo).unwrap().is_some());
    }
}

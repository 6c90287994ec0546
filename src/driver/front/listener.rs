//! The listening control socket: a Unix socket for the users who may control the daemon.

use crate::control::{Problem, encode_error_without_id};
use crate::driver::passed::{FileId, KeptControl, kept_control_name};
use crate::store::check_writable_directory;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::Uid;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const SOCKET_MODE: u32 = 0o660;

/// Bytes of a socket path: `sun_path` has one more, for a final zero (unix(7)).
const PATH_BYTES_MAX: usize = 107;

const BACKLOG: i32 = 128;

/// The listening socket; removed from the filesystem when dropped, unless it is left to the next run.
#[derive(Debug)]
pub(crate) struct ControlListener {
    listener: UnixListener,
    path: PathBuf,
    /// Our socket: that of another daemon is not removed.
    made: FileId,
    is_left: bool,
}

#[derive(Debug)]
pub(crate) enum BindFault {
    /// A daemon accepts connections there.
    InUse,
    Io(io::Error),
}

impl From<io::Error> for BindFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ControlListener {
    /// Binds the socket with mode 0660, creating its directory (0700) if missing. Replaces a socket on which no daemon
    /// listens.
    pub(crate) fn bind(path: &Path, registry: &Registry, token: Token) -> Result<Self, BindFault> {
        remove_stale(path)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            std::fs::create_dir_all(directory)?;
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Linux gives the file the mode of the socket, less the umask: so nobody else can connect even now, and the umask, which
        // all threads of an embedding program share, need not be changed.
        fchmod(&socket, Mode::from_bits_truncate(SOCKET_MODE)).map_err(io::Error::from)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let made = FileId::of(&std::fs::symlink_metadata(path)?);
        Ok(Self::adopt(KeptControl { socket, path: path.to_owned(), made }, registry, token)?)
    }

    /// Takes a socket that is bound, and may be listening.
    pub(crate) fn adopt(kept: KeptControl, registry: &Registry, token: Token) -> io::Result<Self> {
        let KeptControl { socket, path, made } = kept;
        // Adds the bits that the umask has removed.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        // Of one that listens already, those who connect see from now on that this process is behind it.
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(OwnedFd::from(socket).into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, path, made, is_left: false })
    }

    /// The name under which it is left to the next run.
    pub(super) fn kept_name(&self) -> String {
        kept_control_name(self.made)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Leaves it and its file to the next run.
    pub(super) fn leave(mut self, registry: &Registry) {
        // The service manager holds it too, so that closing it does not end its registration.
        let _ = registry.deregister(&mut self.listener);
        self.is_left = true;
    }

    /// The next client, or the reason for the log why it was rejected.
    pub(crate) fn accept(&self) -> io::Result<Result<UnixStream, String>> {
        let (stream, _) = self.listener.accept()?;
        let client = getsockopt(&stream, PeerCredentials)?;
        let user = client.uid();
        if user == 0 || user == Uid::effective().as_raw() || self.admits_group_of(client.gid()) {
            return Ok(Ok(stream));
        }
        turn_away(stream, Problem::NotAdmitted { user });
        Ok(Err(format!("control client of user {user}, who is neither root, nor us, nor of our group")))
    }

    /// Whether a client with this primary group belongs to the group of the socket. Unless the mode was changed, the kernel
    /// has checked this at connect, with all groups of the client.
    fn admits_group_of(&self, primary: u32) -> bool {
        let admits =
            |m: std::fs::Metadata| FileId::of(&m) == self.made && (m.mode() & 0o002 == 0 || m.gid() == primary);
        std::fs::symlink_metadata(&self.path).is_ok_and(admits)
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        if !self.is_left && self.made.is_at(&self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Checks that a control socket can be created at a path. A daemon that listens there is no error.
pub(crate) fn check_control_socket(path: &Path) -> io::Result<()> {
    if SockAddr::unix(path).is_err() {
        let text = format!("{} bytes, where the path of a socket may have {PATH_BYTES_MAX}", path.as_os_str().len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(not_a_socket()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let in_directory = |error: io::Error| io::Error::new(error.kind(), format!("its directory: {error}"));
    path.parent().map_or(Ok(()), check_writable_directory).map_err(in_directory)
}

fn not_a_socket() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "something that is not a socket is there")
}

/// Removes a socket on which no process listens. Anything but a socket is an error.
fn remove_stale(path: &Path) -> Result<(), BindFault> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(not_a_socket().into());
    }
    // A connection that must not wait: with a stopped daemon and a full backlog it would for ever.
    match UnixStream::connect(path) {
        Ok(_) => Err(BindFault::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(std::fs::remove_file(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog, or a socket of another user: it is in use.
        Err(_) => Err(BindFault::InUse),
    }
}

/// Tells a client why it is turned away, as far as its socket takes that at once, and hangs up.
pub(crate) fn turn_away(mut stream: UnixStream, problem: Problem) {
    let _ = stream.write(&encode_error_without_id(&problem.into()));
}

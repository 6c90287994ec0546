//! The control socket: a Unix listener, and its clients, whose language is defined in `control`.
//!
//! Refuses clients that may not drive the daemon, lines that are no call, and clients that do not read.

use crate::control::{
    CallError, CallId, ExitCode, LineReader, REQUEST_BYTES_MAX, Request, decode_request, encode_error_without_id,
};
use crate::control::{Reply, encode_reply};
use crate::id::ClientId;
use crate::store::check_writable_directory;
use crate::time::Instant;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::Uid;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Control clients at once.
pub(in crate::driver) const CONTROL_CLIENTS_MAX: usize = 32;

/// Bytes that may wait for a client before it is dropped.
const CLIENT_BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// How long a client may take for its first call, and for each line once it has begun.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Lines of one client in one step, whether they are calls or not.
const LINES_PER_STEP_MAX: usize = 8;

/// Bytes read from a client at once.
const READ_BYTES: usize = 16 * 1024;

/// Such reads in one step: blank lines are none that count.
const READS_PER_STEP_MAX: usize = 4;

/// How long a client must have been idle to give way to another when there are [`CONTROL_CLIENTS_MAX`].
const IDLE_MIN: Duration = Duration::from_secs(3);

/// The mode of the socket: the daemon's user, and the group that owns it.
const SOCKET_MODE: u32 = 0o660;

/// Bytes of a path of a socket: `sun_path` has one more, for a final zero (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The listening socket; removed from the filesystem when dropped.
#[derive(Debug)]
pub(in crate::driver) struct ControlListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket that we made: another daemon's is not removed.
    made: (u64, u64),
}

/// Why the control socket cannot be had.
#[derive(Debug)]
pub(in crate::driver) enum BindFault {
    /// A daemon answers there.
    InUse,
    /// The system refuses.
    Io(io::Error),
}

impl From<io::Error> for BindFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ControlListener {
    /// Binds the socket with mode 0660, making its directory (0700) if missing. A socket that nobody answers is
    /// replaced.
    pub(in crate::driver) fn bind(path: &Path, registry: &Registry, token: Token) -> Result<Self, BindFault> {
        remove_stale(path)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            std::fs::create_dir_all(directory)?;
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Linux gives the file the mode that the socket has, less the umask: nobody else gets in from the first moment, and
        // the umask, which all threads of an embedding program share, is left alone.
        fchmod(&socket, Mode::from_bits_truncate(SOCKET_MODE)).map_err(io::Error::from)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let metadata = std::fs::symlink_metadata(path)?;
        let made = (metadata.dev(), metadata.ino());
        // What the umask has taken away.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(OwnedFd::from(socket).into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, path: path.to_owned(), made })
    }

    /// The next client that may connect; others are told that they may not, and turned away with a reason for the log.
    pub(in crate::driver) fn accept(&self) -> io::Result<Result<UnixStream, String>> {
        let (stream, _) = self.listener.accept()?;
        let client = getsockopt(&stream, PeerCredentials)?;
        let user = client.uid();
        if user == 0 || user == Uid::effective().as_raw() || self.admits_group_of(client.gid()) {
            return Ok(Ok(stream));
        }
        tell(
            stream,
            &format!("user {user} may not use this daemon: only root, its own user and the group of its socket may"),
        );
        Ok(Err(format!("control client of user {user}, who is neither root, nor us, nor of our group")))
    }

    /// Whether a client with this primary group belongs to the group of the socket. Unless somebody has changed the mode, the
    /// kernel has checked that when the client connected, with all groups that the client has now.
    fn admits_group_of(&self, primary: u32) -> bool {
        let admits =
            |m: std::fs::Metadata| (m.dev(), m.ino()) == self.made && (m.mode() & 0o002 == 0 || m.gid() == primary);
        std::fs::symlink_metadata(&self.path).is_ok_and(admits)
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.made);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a control socket can be made at a path. Another daemon may answer there.
///
/// # Errors
/// What would keep us from it.
pub fn check_control_socket(path: &Path) -> io::Result<()> {
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

/// Removes a socket that nobody listens on. Anything that is not a socket stays, and is an error.
fn remove_stale(path: &Path) -> Result<(), BindFault> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(not_a_socket().into());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(BindFault::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(std::fs::remove_file(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog, or a socket of someone else: somebody is there.
        Err(_) => Err(BindFault::InUse),
    }
}

/// Tells a client that there are too many, as far as its socket takes that at once, and hangs up.
pub(in crate::driver) fn turn_away(stream: UnixStream) {
    tell(stream, "too many control clients are connected; end some and try again");
}

fn tell(mut stream: UnixStream, message: &str) {
    let _ = stream.write(&encode_error_without_id(&CallError::new(ExitCode::Other, message)));
}

/// What a client is told that gives way to another.
fn gave_way() -> Vec<u8> {
    let message = "too many control clients are connected, and this one was idle for longest";
    encode_error_without_id(&CallError::new(ExitCode::Other, message))
}

/// A connected client.
#[derive(Debug)]
pub(in crate::driver) struct ControlClient {
    id: ClientId,
    stream: UnixStream,
    reader: LineReader,
    out: Vec<u8>,
    out_at: usize,
    readable: bool,
    writable: bool,
    fin: bool,
    /// Since when a whole call is awaited: the first one, or the end of one that has begun to come.
    awaited_since: Option<Instant>,
    /// When the last line came from it, or the last bytes went to it.
    active_at: Instant,
    /// Calls that are not answered yet.
    unanswered: usize,
}

/// What follows a step of a client.
#[derive(Debug)]
pub(in crate::driver) enum ClientStep {
    /// Nothing to do until readiness.
    Wait,
    /// The step's budget is used up.
    Again,
    /// Calls came in, in order; then go on.
    Calls(Vec<(CallId, Request)>),
    /// The client is gone, or must go: why, if that is worth a line in the log.
    End(Option<&'static str>),
}

impl ControlClient {
    /// Registers a client just accepted.
    pub(in crate::driver) fn register(
        id: ClientId,
        mut stream: UnixStream,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            id,
            stream,
            reader: LineReader::new(REQUEST_BYTES_MAX),
            out: Vec::new(),
            out_at: 0,
            readable: true,
            writable: true,
            fin: false,
            awaited_since: Some(now),
            active_at: now,
            unanswered: 0,
        })
    }

    pub(in crate::driver) fn id(&self) -> ClientId {
        self.id
    }

    /// When a client that sends no whole call is hung up on. One that has made its calls may stay as long as it likes.
    pub(in crate::driver) fn deadline(&self) -> Option<Instant> {
        self.awaited_since.map(|since| since + CALL_MAX)
    }

    /// Since when it has been idle, if it may give way to another client.
    pub(in crate::driver) fn idle_since(&self, now: Instant) -> Option<Instant> {
        let is_idle = self.unanswered == 0 && now.saturating_since(self.active_at) >= IDLE_MIN;
        is_idle.then_some(self.active_at)
    }

    /// Tells a client that gives way to another why it is hung up on, as far as its socket takes that at once.
    pub(in crate::driver) fn give_way(&mut self) {
        let _ = self.push(&gave_way()) && self.flush().is_ok();
    }

    /// Queues the answer to a call. `false` if the client does not read and must be dropped.
    pub(in crate::driver) fn push_reply(&mut self, line: &[u8]) -> bool {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.push(line)
    }

    /// Takes note of an event.
    pub(in crate::driver) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Queues a line. `false` if the client does not read and must be dropped.
    pub(in crate::driver) fn push(&mut self, line: &[u8]) -> bool {
        if self.out_at > 0 && self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
        }
        if self.out.len() - self.out_at + line.len() > CLIENT_BACKLOG_BYTES_MAX {
            return false;
        }
        if self.out_at >= READ_BYTES {
            self.out.drain(..self.out_at);
            self.out_at = 0;
        }
        self.out.extend_from_slice(line);
        true
    }

    /// Whether lines still wait to be read by the client.
    pub(in crate::driver) fn is_flushed(&self) -> bool {
        self.out_at == self.out.len()
    }

    /// Writes what waits and reads what came.
    pub(in crate::driver) fn advance(&mut self, scratch: &mut [u8], now: Instant) -> ClientStep {
        let waiting = self.out.len() - self.out_at;
        if self.flush().is_err() {
            return ClientStep::End(None);
        }
        if self.out.len() - self.out_at < waiting {
            self.active_at = now;
        }
        let (mut calls, mut lines, mut reads) = (Vec::new(), 0, 0);
        while lines < LINES_PER_STEP_MAX && reads < READS_PER_STEP_MAX {
            if let Some(line) = self.reader.next_line() {
                lines += 1;
                (self.awaited_since, self.active_at) = (None, now);
                match decode_request(&line) {
                    Ok(call) => calls.push(call),
                    Err((call, error)) => {
                        if !self.refuse(call, error) {
                            return ClientStep::End(Some("it does not read"));
                        }
                    }
                }
                continue;
            }
            if self.fin || !self.readable {
                break;
            }
            reads += 1;
            match self.stream.read(&mut scratch[..READ_BYTES]) {
                Ok(0) => self.fin = true,
                Ok(n) if self.reader.push(&scratch[..n]).is_err() => {
                    return ClientStep::End(Some("a line is too long"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return ClientStep::End(None),
            }
        }
        if !calls.is_empty() {
            self.unanswered += calls.len();
            return ClientStep::Calls(calls);
        }
        let is_through = lines < LINES_PER_STEP_MAX && reads < READS_PER_STEP_MAX;
        if self.reader.pending() > 0 && self.awaited_since.is_none() {
            self.awaited_since = Some(now);
        }
        match self.flush() {
            Ok(()) if !is_through => ClientStep::Again,
            Ok(()) if self.fin && self.is_flushed() => ClientStep::End(None),
            Ok(()) => ClientStep::Wait,
            Err(_) => ClientStep::End(None),
        }
    }

    /// Answers a line that is no call. `false` if the client does not read.
    fn refuse(&mut self, call: Option<CallId>, error: CallError) -> bool {
        let line = match call {
            Some(call) => encode_reply(&call, &Err::<Reply, CallError>(error)),
            None => encode_error_without_id(&error),
        };
        self.push(&line)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.writable && self.out_at < self.out.len() {
            match self.stream.write(&self.out[self.out_at..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.out_at += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

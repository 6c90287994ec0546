//! What the loop and the program that runs it know of each other.

use super::interface::Interface;
use super::net::RateLimits;
use super::passed::Passed;
use super::rate_orders::RateTimes;
use crate::control::{ReloadReply, SandboxReply, StatusReply};
use crate::node::NodeConfig;
use crate::store::StateDirectory;
use mio::Waker;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

#[derive(Debug)]
pub(crate) struct Settings {
    /// For the node; `listen` and `local_addrs` are filled in here.
    pub node: NodeConfig,
    /// Where the peer listens, port 0 for any; `None` for a bootstrap node alone.
    pub listen: Option<SocketAddr>,
    /// Where the bootstrap node listens, port 0 for any.
    pub bootstrap_serve: Option<SocketAddr>,
    /// The bootstrap node dials those who register.
    pub bootstrap_verify: bool,
    /// An address in use for the bootstrap node is no error: one is there already.
    pub bootstrap_optional: bool,
    /// What all TCP sockets are bound to.
    pub interface: Interface,
    pub share: PathBuf,
    /// Whether symbolic links in the share are followed.
    pub follow_symlinks: bool,
    /// Where users put files with links.
    pub watch_directory: Option<PathBuf>,
    /// Where peers, downloads, hashes and registrations are remembered.
    pub state: Option<StateDirectory>,
    pub control_socket: Option<PathBuf>,
    /// Where the metrics are served over HTTP.
    pub metrics_listen: Option<SocketAddr>,
    /// Sockets that the program was started with.
    pub passed: Passed,
    /// Bytes a second.
    pub limits: RateLimits,
    /// Those that precede them at times of the week.
    pub limit_times: RateTimes,
    /// Whether TERM, INT and HUP of the process are for this loop.
    pub signals: bool,
    /// For a run that can be repeated; from the system if absent.
    pub seed: Option<[u8; 32]>,
}

/// Where a loop can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The peer's listener.
    pub listen: Option<SocketAddr>,
    /// The bootstrap node's listener.
    pub bootstrap: Option<SocketAddr>,
    /// The control socket.
    pub control: Option<PathBuf>,
    /// Where the metrics are served over HTTP.
    pub metrics: Option<SocketAddr>,
}

/// What the loop needs of the program that runs it.
pub(crate) trait Host {
    /// Everything is bound; the first turn follows.
    fn ready(&mut self, facts: &Facts);
    /// Give the job that reopens the log and reads the configuration again.
    fn reload(&mut self) -> ReloadJob;
    /// That job has run. The error says what is wrong with which key.
    fn reloaded(&mut self) -> Result<Reload, String>;
    /// Change the log level. The error names the levels there are.
    fn set_log_level(&mut self, level: &str) -> Result<(), String>;
    /// The log, if it is a file, and those that this process wrote to before: they are never shared.
    fn log_files(&self) -> &[PathBuf] {
        &[]
    }
    /// Lines of the log that were not written.
    fn log_lines_lost(&self) -> u64 {
        0
    }
    /// How far the process is restricted to its own directories.
    fn sandbox(&self) -> SandboxReply {
        SandboxReply::default()
    }
    /// Whether there is a service manager that wants to hear from the loop; asked once, after [`Host::ready`].
    fn supervised(&self) -> Option<Supervised> {
        None
    }
    /// The loop turns, as it does in the time that [`Host::supervised`] names.
    fn alive(&mut self) {}
    /// What the loop does now: when the start is over, and every few seconds.
    fn report(&mut self, _: &Report) {}
    /// Whether listeners and running uploads are to be left to the next run.
    fn hands_over(&self) -> bool {
        false
    }
    /// Give sockets to the service manager, for the next run, under a name. `is_watched`: one that is broken may be dropped. Returns
    /// whether they were sent.
    fn hand_over(&mut self, _name: &str, _sockets: &[BorrowedFd<'_>], _is_watched: bool) -> bool {
        false
    }
    /// The loop begins to leave.
    fn leaving(&mut self);
}

/// How a program that has a service manager wants to hear from the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supervised {
    /// How often it wants to hear that the loop turns.
    pub alive_every: Option<Duration>,
}

/// What the loop does.
#[derive(Debug)]
pub(crate) struct Report {
    /// The share is being scanned for the first time.
    pub is_starting: bool,
    /// As far as the node knows it.
    pub status: StatusReply,
    /// Peers that are registered with our own bootstrap node.
    pub registered: Option<usize>,
    /// Bytes a second that are uploaded.
    pub up: u64,
    /// Bytes a second that are downloaded.
    pub down: u64,
}

/// Reads and checks a configuration. That may wait for a disk, so it runs beside the loop.
pub(crate) type ReloadJob = Box<dyn FnOnce() + Send>;

/// What a reloaded configuration says to a running loop.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    /// For the node.
    pub node: NodeConfig,
    /// Bytes a second.
    pub limits: RateLimits,
    /// Those that precede them at times of the week.
    pub limit_times: RateTimes,
    /// For whoever asked for the reload.
    pub report: ReloadReply,
}

/// Why a loop cannot start.
#[derive(Debug, Error)]
pub enum StartFault {
    /// Another program listens there.
    #[error("{what}: address {addr} is in use; {advice}")]
    AddressInUse {
        /// Which of our listeners.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the user can do.
        advice: &'static str,
    },
    /// Another daemon answers at the control socket.
    #[error(
        "another daemon answers at the control socket {}; `pyratectl stop` ends it, or control_socket names another path",
        path.display()
    )]
    ControlInUse {
        /// Which socket.
        path: PathBuf,
    },
    /// The service manager passes a socket that the configuration does not fit.
    #[error("socket activation: {0}")]
    Passed(String),
    /// The system refuses.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, with its path or address.
        what: String,
        /// What it said.
        error: io::Error,
    },
}

/// Reaches a loop from other threads.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    quit: Arc<AtomicBool>,
    waker: Arc<Waker>,
    /// Connections of this process that the loop has not admitted yet.
    guests: Arc<Mutex<Vec<UnixStream>>>,
}

impl Handle {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { quit: Arc::default(), waker, guests: Arc::default() }
    }

    pub(super) fn has_quit(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }

    /// Asks the loop to unregister and leave, as SIGTERM does. Returns at once.
    pub(crate) fn quit(&self) {
        self.quit.store(true, Ordering::Release);
        self.wake();
    }

    /// A connection to the loop, as that of a client of the control socket, which need not be there.
    /// Errors: if there is no descriptor.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).push(theirs);
        self.wake();
        Ok(ours)
    }

    pub(super) fn take_guests(&self) -> Vec<UnixStream> {
        std::mem::take(&mut *self.guests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self) {
        // Fails only when the loop is gone.
        let _ = self.waker.wake();
    }
}

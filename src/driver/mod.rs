//! The loop: one thread, one mio poll, every socket a nonblocking state machine.
//!
//! A turn (`turn`): wait for readiness or the next deadline; note who is ready; give each ready connection one bounded
//! step (`exchange`, `control`); fire timers; let the node, the scanner and the search do one slice; carry out what the
//! node ordered (`perform`). The loop decides nothing about the network: it tells the [`Node`] and the [`Bootstrap`]
//! what happened and does what they say.
//!
//! | file | job |
//! |---|---|
//! | `start` | bind, open, restore: everything that can fail before the first turn |
//! | `turn` | the loop itself |
//! | `accept` | letting connections and control clients in |
//! | `perform` | actions of the node and the bootstrap node |
//! | `calls` | the control calls that concern the process and not the node |
//! | `files` | share, scan, state files |
//! | `hashing` | the hashes of shared files, and their cache |
//! | `metadata` | the metadata of files on their way to peers |
//! | `parts` | part files: opening, checking, syncing, committing |
//! | `records` | the downloads remembered |
//! | `reloads` | reloads of the configuration |
//! | `streams` | connections to `p1` peers that stay open |
//! | `port_checks` | dials to those who register with our bootstrap node |
//! | `pace` | rate limits |
//! | `table`, `budget`, `timers` | connections, their descriptors and deadlines |
//! | `eviction` | which inbound connection gives way to another |
//! | `exchange`, `socket`, `listener` | TCP |
//! | `control`, `signals`, `helper` | the Unix socket, signals, the calls that block |
//! | `state` | state files that are written whole |
//! | `clock`, `logbook` | time, refusals |

mod clock;
mod disk;
mod front;
mod logbook;
mod net;
mod perform;
mod signals;
mod start;
mod turn;

pub use clock::wall_clock;
pub use disk::places::was_in_use;
pub use front::control::check_control_socket;
pub use net::listener::check_listen;
pub use net::pace::RateLimits;
pub use signals::survive_file_size_limit;

use crate::bootstrap::Bootstrap;
use crate::control::ReloadReply;
use crate::id::ClientId;
use crate::node::{Event, Node, NodeConfig};
use crate::store::{Scanner, ShareRoot, StateDirectory};
use crate::time::Instant;
use crate::timer::TimerWheel;
use mio::Waker;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// What a loop is started with.
#[derive(Debug)]
pub struct Settings {
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
    /// The directory shared.
    pub share: PathBuf,
    /// Where peers, downloads, hashes and registrations are remembered.
    pub state: Option<StateDirectory>,
    /// The control socket.
    pub control_socket: Option<PathBuf>,
    /// Bytes a second.
    pub limits: RateLimits,
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
}

/// What the loop needs of the program that runs it.
pub trait Host {
    /// Everything is bound; the first turn follows.
    fn ready(&mut self, facts: &Facts);
    /// Reopen the log, and give the job that reads the configuration again.
    fn reload(&mut self) -> ReloadJob;
    /// That job has run. The error says what is wrong with which key.
    fn reloaded(&mut self) -> Result<Reload, String>;
    /// Change the log level. The error names the levels there are.
    fn set_log_level(&mut self, level: &str) -> Result<(), String>;
    /// The log, if it is a file, and those that this process wrote to before: they are never shared.
    fn log_files(&self) -> &[PathBuf] {
        &[]
    }
    /// The loop begins to leave.
    fn leaving(&mut self);
}

/// Reads and checks a configuration. That may wait for a disk, so it runs beside the loop.
pub type ReloadJob = Box<dyn FnOnce() + Send>;

/// What a reloaded configuration says to a running loop.
#[derive(Debug, Clone)]
pub struct Reload {
    /// For the node.
    pub node: NodeConfig,
    /// Bytes a second.
    pub limits: RateLimits,
    /// For whoever asked for the reload.
    pub report: ReloadReply,
}

/// Why a loop cannot start.
#[derive(Debug, Error)]
pub enum StartFault {
    /// Somebody else listens there.
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
    #[error("another daemon answers at the control socket {}", path.display())]
    ControlInUse {
        /// Which socket.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, with its path or address.
        what: String,
        /// What it said.
        error: io::Error,
    },
}

/// Ends a loop from another thread.
#[derive(Debug, Clone)]
pub struct Handle {
    quit: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Handle {
    /// Asks the loop to unregister and leave, as SIGTERM does. Returns at once.
    pub fn quit(&self) {
        self.quit.store(true, Ordering::Release);
        // Fails only when the loop is gone.
        let _ = self.waker.wake();
    }
}

/// How far the loop is with leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The node says goodbye.
    Leaving,
    /// State files and control clients are served to the end.
    Flushing,
    Over,
}

/// The loop.
pub struct Driver {
    poll: mio::Poll,
    clock: clock::Clock,
    /// The time of this turn.
    now: Instant,
    timers: TimerWheel<net::timers::Timer>,
    table: net::table::Table,
    listeners: Vec<net::listener::Listener>,
    accept_timer_armed: bool,
    control: Option<front::control::ControlListener>,
    /// The control listener may have clients to accept.
    control_is_ready: bool,
    /// Since when there is no place for another control client.
    control_full_since: Option<Instant>,
    signals: Option<signals::Signals>,
    helpers: disk::jobs::Helpers,
    handle: Handle,
    host: Box<dyn Host>,
    facts: Facts,

    node: Node,
    bootstrap: Option<Bootstrap>,
    /// Events that carrying out an action brought about at once.
    inbox: VecDeque<Event>,
    phase: Phase,

    share_path: PathBuf,
    share: Option<ShareRoot>,
    scanner: Option<Scanner>,
    desk: disk::parts::Desk,
    removals: disk::removals::Removals,
    orphans: disk::orphans::Orphans,
    places: disk::places::Places,
    /// The running scan has found files.
    scan_found_files: bool,
    hashing: disk::hashing::Hashing,
    metadata: disk::metadata::MetadataBodies,
    streams: net::streams::Streams,
    pace: net::pace::Pace,
    state: Option<StateDirectory>,
    records: disk::records::Records,
    state_files: disk::state::StateFiles,
    reloads: front::reloads::Reloads,
    sync_timer_armed: bool,
    registry_saved: u64,
    registry_timer_armed: bool,

    scratch: Vec<u8>,
    logbook: logbook::Logbook,
    exchanges_accepted: u64,
    ports_checked: u64,
    clients_accepted: u64,
}

impl Driver {
    /// Where it can be reached.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Ends it from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    fn next_client(&mut self) -> ClientId {
        self.clients_accepted += 1;
        ClientId(self.clients_accepted)
    }
}

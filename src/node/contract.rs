//! Everything that goes into a [`Node`](super) and everything that comes out.
//!
//! | in | meaning |
//! |---|---|
//! | `handle(now, Event)` | something happened |
//! | `advance(now)` | call when `next_deadline()` has come |
//! | `work(now)` | one bounded slice of background work; call while `has_work()` |
//!
//! | out | meaning |
//! |---|---|
//! | `poll_action()` | the next thing to do, until `None` |
//! | `next_deadline()` | when to call `advance` at the latest |
//!
//! Every [`Action::Dial`], [`Action::Fetch`] and [`Action::CallBack`] is answered by exactly one [`Event::DialEnded`], every
//! [`Action::SendFile`] and [`Action::SendList`] by exactly one [`Event::ResponseEnded`], every
//! [`Action::OpenPart`] by one [`Event::PartOpened`], every [`Action::CommitPart`] by one [`Event::PartCommitted`],
//! every [`Action::Resolve`] by one [`Event::Resolved`]; also after [`Action::Abort`].

use crate::control::{self, CallId};
use crate::fault::{DialFault, DiskFault, ResolveFault};
use crate::id::{ClientId, ExchangeId, TransferId};
use crate::library::{ScanReport, ScannedFile};
use crate::name::FileName;
use crate::wire::{Listed, Message};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A bootstrap node as configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootstrapAddr {
    /// Host name or IP literal (IPv6 without brackets).
    pub host: String,
    /// TCP port; never 0.
    pub port: u16,
}

/// What a node is built from. The configuration keys of the same names are described in pyrated(1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Bootstrap nodes to register with, without repeats; any one suffices.
    pub bootstraps: Vec<BootstrapAddr>,
    /// Where the peer listener is really bound (never port 0).
    pub listen: SocketAddr,
    /// The address given to other peers; `None` means the local address that reaches a bootstrap node.
    pub advertise_addr: Option<IpAddr>,
    /// Addresses of this machine: an endpoint with one of them and our port is ourselves.
    pub local_addrs: Vec<IpAddr>,
    /// Time between keepalives.
    pub keepalive_refresh: Duration,
    /// Time between the end of a scan of the share and the next.
    pub filemonitor_refresh: Duration,
    /// Where downloads go unless the user names a place.
    pub download_directory: PathBuf,
    /// Commands in progress at once (uploads, listings sent, downloads, outgoing requests). At least 1.
    pub max_workers: usize,
    /// Downloads active at once. At least 1.
    pub max_downloads: usize,
    /// Neighbours searched. At least 1.
    pub max_peers: usize,
    /// TTL of the last ring of a search, and clamp on the searches of others.
    pub max_ttl: u8,
    /// False: this process is a bootstrap node only; the node then answers control calls and does nothing else.
    pub peer: bool,
}

/// What can happen to a node.
#[derive(Debug)]
pub enum Event {
    /// A message came in. The exchange stays open until the node says [`Action::Close`], [`Action::Refuse`],
    /// [`Action::SendList`] or [`Action::SendFile`], exactly one of which it does for each `Request`.
    ///
    /// A stream of searches or hits brings several `Request`s with the same exchange; `Close` ends each alone.
    Request {
        /// The connection.
        exchange: ExchangeId,
        /// Where the connection comes from; its port is usually not one that listens.
        from: SocketAddr,
        /// What was asked.
        message: Message,
    },
    /// The other side of an inbound exchange went away while the node still owed an answer.
    RequestGone {
        /// The connection, which no longer exists: no action may name it.
        exchange: ExchangeId,
    },
    /// A response ended: bytes sent when it went out whole.
    ResponseEnded {
        /// The connection, which no longer exists.
        exchange: ExchangeId,
        /// Payload bytes sent, or why it broke off.
        outcome: Result<u64, ResponseFault>,
    },
    /// Bytes of an upload went out since the last such event (progress; at most a few a second for each upload).
    ResponseProgress {
        /// The connection.
        exchange: ExchangeId,
        /// Payload bytes sent so far.
        bytes: u64,
    },
    /// An upload that counted as sent was reset before a byte was acknowledged, by a requester that had closed: it
    /// waits for the file on a connection that we make to it (PROTOCOL, "Old peers answer `4` by calling back").
    RequesterClosed {
        /// Where its request came from, which is where it listens now.
        requester: SocketAddr,
        /// What it asked for.
        name: FileName,
    },
    /// A dialled exchange is over.
    DialEnded {
        /// The connection, which no longer exists.
        exchange: ExchangeId,
        /// How it went.
        outcome: DialOutcome,
    },
    /// Some lines of a file list that we asked for, in order.
    ListBatch {
        /// The connection.
        exchange: ExchangeId,
        /// At most 1,000 lines.
        files: Vec<Listed>,
    },
    /// Bytes of a fetch were written since the last such event (progress; at most a few a second for each fetch).
    ///
    /// A fetch that wrote bytes and then breaks off says so once before its [`Event::DialEnded`]: a reset without a byte
    /// is a refusal, and one after some bytes is not.
    FetchProgress {
        /// The connection.
        exchange: ExchangeId,
        /// Bytes written to the part file so far.
        bytes: u64,
    },
    /// The part file of a download stands ready, or cannot.
    PartOpened {
        /// The download.
        download: TransferId,
        /// The path it will have when it is finished, as far as it is known now.
        outcome: Result<PathBuf, DiskFault>,
    },
    /// The part file was synced and renamed to its final name, or could not be.
    PartCommitted {
        /// The download.
        download: TransferId,
        /// The final path.
        outcome: Result<PathBuf, DiskFault>,
    },
    /// A host name was looked up.
    Resolved {
        /// As the order gave it.
        host: BootstrapAddr,
        /// At least one address, the resolver's preference first.
        outcome: Result<Vec<IpAddr>, ResolveFault>,
    },
    /// Some files that the running scan found. The node may hold them back to [`work`](super) on.
    Scanned {
        /// At most 1,000.
        files: Vec<ScannedFile>,
    },
    /// The scan is through.
    ScanEnded {
        /// How it went.
        report: ScanReport,
    },
    /// A call came in on the control socket. Answered by exactly one [`Action::Reply`].
    Call {
        /// Who calls.
        client: ClientId,
        /// The call, unique for this client.
        call: CallId,
        /// What is asked.
        request: control::Request,
    },
    /// A control client hung up or was dropped. Nothing may be sent to it any more.
    ClientGone {
        /// Who.
        client: ClientId,
    },
    /// The configuration was read anew; listeners keep their addresses until a restart.
    Reconfigure(Box<NodeConfig>),
    /// Unregister everywhere, end what is in progress and answer with [`Action::Left`].
    Leave,
}

/// Why a response broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseFault {
    /// The reader went away, or did not read for too long.
    #[error("the reader went away")]
    Gone,
    /// The file could not be read to its end.
    #[error("{0}")]
    Disk(#[from] DiskFault),
    /// The node gave the order to stop.
    #[error("stopped")]
    Aborted,
}

/// How a dialled exchange went: what it brought, or the fault that ended it.
pub type DialOutcome = Result<Dialled, DialFault>;

/// What a dialled exchange brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// Our address on this connection.
    pub local: SocketAddr,
    /// The response.
    pub response: Response,
}

/// The response of a dialled exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// [`Expect::Nothing`]: everything was sent, and the other side closed in order or kept silent.
    Delivered,
    /// [`Expect::PeerList`]: the peers, as given (repeats and ourselves included).
    PeerList(Vec<SocketAddr>),
    /// [`Expect::FileList`]: all lines came as [`Event::ListBatch`] before.
    FileList {
        /// The list was longer than we take; what came is its beginning.
        truncated: bool,
    },
    /// [`Action::Fetch`]: the connection ended in FIN after so many bytes, all of them written.
    File {
        /// Bytes.
        bytes: u64,
    },
}

/// What a dialled exchange waits for after its messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing but the end.
    Nothing,
    /// A peer list.
    PeerList,
    /// A list of files.
    FileList,
}

/// How a file is asked for (PROTOCOL, "Old peers answer `4` by calling back").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchForm {
    /// On the connection of the request.
    Direct,
    /// On a new connection that the peer makes to the port that the request came from.
    CallBack,
}

/// Where a download is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In this directory under this name, or ` (1)` and so on before the extension when that is taken.
    Suggested {
        /// Created if missing.
        directory: PathBuf,
        /// A [`safe component`](FileName::safe_component).
        name: FileName,
    },
    /// Exactly here: [`DiskFault::Exists`] when a file is there; inside it, under the name, when it is a directory.
    Exact {
        /// Absolute.
        path: PathBuf,
        /// A [`safe component`](FileName::safe_component), for a directory.
        name: FileName,
    },
}

/// What a node wants done.
#[derive(Debug)]
pub enum Action {
    /// Answer with the library's list, line by line, then FIN.
    SendList {
        /// The inbound exchange.
        exchange: ExchangeId,
        /// Add attributes to each line.
        attributes: bool,
    },
    /// Answer with the content of a shared file, then FIN; or RST if it cannot be read to its end.
    SendFile {
        /// The inbound exchange.
        exchange: ExchangeId,
        /// A name from the library.
        name: FileName,
    },
    /// Answer nothing: FIN, or wait for the stream's next message.
    Close {
        /// The inbound exchange.
        exchange: ExchangeId,
    },
    /// Refuse: RST. Logged and counted.
    Refuse {
        /// The inbound exchange.
        exchange: ExchangeId,
        /// Why.
        reason: Refusal,
    },
    /// Connect, send, half-close, and wait for what is expected. Several messages go out as a stream.
    Dial {
        /// The new exchange.
        exchange: ExchangeId,
        /// Where to.
        to: SocketAddr,
        /// At least one.
        messages: Vec<Message>,
        /// What to wait for.
        expect: Expect,
    },
    /// Ask a peer for a file and write what comes to the start of a part file that is open, which is emptied first.
    Fetch {
        /// The new exchange.
        exchange: ExchangeId,
        /// The part file.
        download: TransferId,
        /// The peer.
        to: SocketAddr,
        /// The name in the peer's share.
        name: FileName,
        /// How.
        form: FetchForm,
        /// The size that the source promised: one byte more ends the exchange with [`DialFault::TooLong`].
        size_max: Option<u64>,
    },
    /// Call a requester back and send it a file on the new connection. Ends as [`Response::Delivered`].
    CallBack {
        /// The new exchange.
        exchange: ExchangeId,
        /// The requester.
        to: SocketAddr,
        /// A name from the library.
        name: FileName,
    },
    /// Break an exchange off, in whatever state it is.
    Abort {
        /// Inbound or outbound.
        exchange: ExchangeId,
    },
    /// Look a host name up.
    Resolve {
        /// The bootstrap node.
        host: BootstrapAddr,
    },
    /// Scan the share from its beginning.
    StartScan,
    /// Create the part file of a download.
    OpenPart {
        /// The download.
        download: TransferId,
        /// Where it is to end.
        target: Target,
    },
    /// Sync the part file and give it its final name.
    CommitPart {
        /// The download.
        download: TransferId,
    },
    /// Remove the part file, if there is one.
    DropPart {
        /// The download.
        download: TransferId,
    },
    /// Answer a control call.
    Reply {
        /// Who called.
        client: ClientId,
        /// Which call.
        call: CallId,
        /// The answer.
        outcome: Result<control::Reply, control::CallError>,
    },
    /// Tell a control client something it subscribed to.
    Notify {
        /// Whom.
        client: ClientId,
        /// What.
        notice: std::rc::Rc<control::Notice>,
    },
    /// Remember these peers across restarts.
    RememberPeers(Vec<SocketAddr>),
    /// The node has unregistered everywhere, or as far as it could.
    Left,
}

/// Why a request of the network was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// The file is not in the library.
    #[error("no such file")]
    NoSuchFile,
    /// Too many requests wait already, or this one waited too long.
    #[error("busy")]
    Busy,
    /// A message for a bootstrap node came to a peer, or the other way round.
    #[error("wrong kind of node")]
    WrongNode,
    /// The node is leaving.
    #[error("leaving")]
    Leaving,
}

impl Refusal {
    /// One word for counters and the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoSuchFile => "no_such_file",
            Self::Busy => "busy",
            Self::WrongNode => "wrong_node",
            Self::Leaving => "leaving",
        }
    }
}

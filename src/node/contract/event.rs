//! The inputs of a node.

use super::transfer::{HashedFile, LookedAt, OpenedPart};
use super::{BootstrapAddr, NodeConfig};
use crate::content::{Manifest, ManifestText};
use crate::control::{self, CallId};
use crate::fault::{DialFault, DiskFault, ResolveFault, ResponseFault};
use crate::id::{ClientId, ContentHash, ExchangeId, TransferId};
use crate::library::{RecentFile, ScanReport, ScannedFile};
use crate::name::FileName;
use crate::part::{CheckedPart, CommittedPart};
use crate::wire::{Listed, ListedPeer, Message, SearchReport};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

#[derive(Debug)]
pub enum Event {
    /// A message came in. The node answers each `Request` with exactly one [`Action::Close`](super::Action::Close),
    /// [`Action::Refuse`](super::Action::Refuse) or action that sends a response.
    ///
    /// A stream of searches or hits causes several `Request`s with the same exchange; `Close` ends each.
    Request {
        exchange: ExchangeId,
        /// The source of the connection; usually not a listening port.
        from: SocketAddr,
        message: Message,
    },
    /// The peer closed an inbound exchange before its response.
    RequestGone {
        /// The connection, which no longer exists: no action may name it. Earlier actions are dropped.
        exchange: ExchangeId,
    },
    /// A response ended. If it failed, the last [`Event::ResponseProgress`] has the bytes sent.
    ResponseEnded {
        /// The connection, which no longer exists.
        exchange: ExchangeId,
        /// Payload bytes sent, or why it failed.
        outcome: Result<u64, ResponseFault>,
    },
    /// The progress of a response; at most a few times a second.
    ///
    /// It has steps: at first of at most [`UNSENT_FIRST_BYTES`](super::UNSENT_FIRST_BYTES), and of
    /// [`UNSENT_BYTES`](super::UNSENT_BYTES) after [`STEADY_BYTES`](super::STEADY_BYTES).
    ResponseProgress {
        exchange: ExchangeId,
        bytes: u64,
        /// Our rate limit, or our disk, holds it back, not its reader.
        held: bool,
    },
    /// A requester that had closed reset an upload before it acknowledged a byte: it waits for a call-back (PROTOCOL, "Old peers
    /// answer `4` by calling back").
    RequesterClosed {
        /// The source of its request, where it listens now.
        requester: SocketAddr,
        name: FileName,
        /// Bytes that were reported as sent, but not received.
        counted: u64,
    },
    /// The connection of an [`Action::CallBack`](super::Action::CallBack) is established. [`Event::ResponseProgress`] reports the
    /// bytes sent, also at the end, before its [`Event::DialEnded`].
    CallBackConnected {
        exchange: ExchangeId,
    },
    /// A dialled exchange is over.
    DialEnded {
        /// The connection, which no longer exists.
        exchange: ExchangeId,
        outcome: DialOutcome,
    },
    /// A peer reports the state of a search on our stream to it.
    SearchReport {
        peer: SocketAddr,
        /// The report, perhaps on an unknown search.
        report: SearchReport,
    },
    /// Our stream to a peer has ended: no further report comes on it.
    StreamEnded {
        peer: SocketAddr,
    },
    /// Lines of a requested file list, in order.
    ListBatch {
        exchange: ExchangeId,
        /// At most 1,000 lines.
        files: Vec<Listed>,
    },
    /// A fetch of [`Portion::Groups`](super::Portion::Groups) requests only the rest of its first group, after the beginning from
    /// an earlier one. Precedes all other events of the fetch.
    FetchResumed {
        exchange: ExchangeId,
        /// Bytes of the group that are not requested.
        bytes: u64,
    },
    /// Our rate limit, or our disk, holds a fetch back: more bytes have arrived than could be read. Repeated several times a second.
    FetchHeld {
        exchange: ExchangeId,
        /// By our disk.
        by_disk: bool,
    },
    /// The progress of a fetch; at most a few times a second.
    ///
    /// A fetch that received bytes reports them at least once before its [`Event::DialEnded`]: only a reset without a byte is a
    /// refusal.
    FetchProgress {
        exchange: ExchangeId,
        /// Bytes received so far.
        bytes: u64,
    },
    /// A group was received, verified, written and recorded in the journal. Precedes the [`Event::DialEnded`] of its fetch. Also
    /// reported for a group that another fetch verified meanwhile.
    GroupVerified {
        exchange: ExchangeId,
        group: u64,
    },
    /// As [`Event::GroupVerified`], after the [`Event::DialEnded`] of its fetch, which was broken off meanwhile.
    GroupWritten {
        download: TransferId,
        /// Of which content it is a group.
        b3: ContentHash,
        group: u64,
        /// The source that sent it.
        from: SocketAddr,
    },
    /// Whether a file can be created at the target of a download.
    TargetProbed {
        download: TransferId,
        /// The expected final path.
        outcome: DiskOutcome<PathBuf>,
    },
    /// Directories of a download were created.
    DirectoriesMade {
        download: TransferId,
        /// Those that something else is in the way of.
        outcome: DiskOutcome<Vec<FileName>>,
    },
    /// The watched directory has a manifest, which the next order of this client names.
    ManifestGiven {
        client: ClientId,
        manifest: Box<ManifestText>,
    },
    /// The manifest of a directory is on the disk, or could not be written.
    ManifestKept {
        download: TransferId,
        outcome: DiskOutcome<()>,
    },
    /// The manifest that was kept for a directory.
    ManifestRead {
        download: TransferId,
        /// [`DiskFault::Changed`](crate::fault::DiskFault::Changed) if it is damaged.
        outcome: DiskOutcome<Box<Manifest>>,
    },
    /// The part file of a download was opened, or opening failed.
    PartOpened {
        download: TransferId,
        outcome: DiskOutcome<OpenedPart>,
    },
    /// [`Action::SetOutline`](super::Action::SetOutline) or a sync failed. The part file stays open.
    PartFailed {
        download: TransferId,
        fault: DiskFault,
    },
    /// The number of orphans: part files that belong to no download. Replaces the earlier number.
    OrphansFound {
        /// Part files.
        files: u64,
        /// On the disk.
        bytes: u64,
    },
    /// The record of a download or wish is on the disk, or could not be written.
    Recorded {
        download: TransferId,
        /// The newest revision of this report; earlier ones are included.
        revision: u64,
        /// After an error it is retried, and reported again when it succeeds.
        outcome: DiskOutcome<()>,
    },
    /// The part file was hashed, or could not be.
    PartChecked {
        download: TransferId,
        /// Its hash and bad groups.
        outcome: DiskOutcome<CheckedPart>,
    },
    /// The part file was synced and renamed to its final name, or could not be: then it still exists, closed.
    PartCommitted {
        download: TransferId,
        outcome: DiskOutcome<CommittedPart>,
    },
    Hashed {
        /// Each of those that [`Action::HashFiles`](super::Action::HashFiles) named, once.
        files: Vec<HashedFile>,
    },
    Resolved {
        /// As ordered.
        host: BootstrapAddr,
        /// At least one address, the resolver's preference first.
        outcome: Result<Vec<IpAddr>, ResolveFault>,
    },
    /// Recently changed files that the running scan found.
    RecentFiles {
        /// At most 1,000.
        files: Vec<RecentFile>,
    },
    /// The files at names of the share.
    LookedAt {
        /// Each that [`Action::LookAt`](super::Action::LookAt) named, once.
        files: Vec<LookedAt>,
    },
    /// Files that the running scan found. The node processes them in slices of [`work`](super).
    Scanned {
        /// At most 1,000.
        files: Vec<ScannedFile>,
    },
    ScanEnded {
        report: ScanReport,
    },
    /// A call on the control socket. Answered by exactly one [`Action::Reply`](super::Action::Reply).
    Call {
        client: ClientId,
        /// The call, unique for this client.
        call: CallId,
        request: control::Request,
    },
    /// A control client is gone. Nothing may be sent to it any more.
    ClientGone {
        client: ClientId,
    },
    /// The configuration was reloaded; listeners keep their addresses until a restart.
    Reconfigure(Box<NodeConfig>),
    /// Unregister everywhere, end what is in progress and answer with [`Action::Left`](super::Action::Left).
    Leave,
}

/// How a dialled exchange went: what it brought, or the fault that ended it.
pub type DialOutcome = Result<Dialled, DialFault>;

/// The outcome of an order to the disk.
pub type DiskOutcome<T> = Result<T, DiskFault>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// Our address on this connection.
    pub local: SocketAddr,
    pub response: Response,
}

impl Dialled {
    /// Whether the peer has answered a first contact: it speaks part 2.
    pub(in crate::node) fn speaks_p1(&self) -> bool {
        self.response == Response::SpeaksP1
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// [`Expect::Nothing`](super::Expect::Nothing): everything was sent, and the peer sent FIN or nothing. Also
    /// [`Expect::FirstContact`](super::Expect::FirstContact) without the answer of a `p1` node.
    Delivered,
    /// [`Expect::FirstContact`](super::Expect::FirstContact): the peer speaks part 2.
    SpeaksP1,
    /// [`Expect::PeerList`](super::Expect::PeerList): the peers as listed, with repeats and ourselves.
    PeerList(Vec<ListedPeer>),
    /// [`Expect::FileList`](super::Expect::FileList): all lines came as [`Event::ListBatch`] before.
    FileList { truncated: bool },
    /// [`Action::Fetch`](super::Action::Fetch): the connection ended in FIN, perhaps early, or everything was received that was
    /// requested and not [trimmed](super::Action::Trim).
    File { bytes: u64 },
    /// [`Action::FetchMetadata`](super::Action::FetchMetadata): they are verified, and the outline of the part file.
    Metadata {
        b3: ContentHash,
        /// In bytes, unproven: see `Outline`.
        size: u64,
    },
    /// [`Expect::Manifest`](super::Expect::Manifest): it has the hash.
    Manifest(Box<Manifest>),
    /// [`Expect::FileInfo`](super::Expect::FileInfo): unproven. A refusal with a reason is [`DialFault::Declined`].
    FileInfo {
        b3: ContentHash,
        size: u64,
        /// Of a directory: how many files beneath it are not in the manifest yet.
        pending: u64,
    },
}

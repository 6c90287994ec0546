//! What can happen to a node.

use super::transfer::{HashedFile, LookedAt, OpenedPart};
use super::{BootstrapAddr, NodeConfig};
use crate::control::{self, CallId};
use crate::fault::{DialFault, DiskFault, ResolveFault, ResponseFault};
use crate::id::{ClientId, ContentHash, ExchangeId, TransferId};
use crate::library::{RecentFile, ScanReport, ScannedFile};
use crate::name::FileName;
use crate::part::{CheckedPart, CommittedPart};
use crate::wire::{Listed, ListedPeer, Message, SearchReport};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What can happen to a node.
#[derive(Debug)]
pub enum Event {
    /// A message came in. The exchange stays open until the node says [`Action::Close`](super::Action::Close), [`Action::Refuse`](super::Action::Refuse),
    /// [`Action::SendList`](super::Action::SendList) or [`Action::SendFile`](super::Action::SendFile), exactly one of which it does for each `Request`.
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
        /// The connection, which no longer exists: no action may name it. One that was given before is dropped.
        exchange: ExchangeId,
    },
    /// A response ended: bytes sent when it went out whole. When it broke off, the last [`Event::ResponseProgress`] before
    /// this tells how far it came.
    ResponseEnded {
        /// The connection, which no longer exists.
        exchange: ExchangeId,
        /// Payload bytes sent, or why it broke off.
        outcome: Result<u64, ResponseFault>,
    },
    /// Bytes of a response went out since the last such event (progress; at most a few a second for each response).
    ///
    /// What a reader takes shows in steps: at first of [`UNSENT_FIRST_BYTES`](super::UNSENT_FIRST_BYTES) at most, and of
    /// [`UNSENT_BYTES`](super::UNSENT_BYTES) when more than [`STEADY_BYTES`](super::STEADY_BYTES) have gone out.
    ResponseProgress {
        /// The connection.
        exchange: ExchangeId,
        /// Payload bytes sent so far.
        bytes: u64,
        /// Our limit holds it back, not its reader.
        held: bool,
    },
    /// An upload was reset before a byte was acknowledged, by a requester that had closed: it
    /// waits for the file on a connection that we make to it (PROTOCOL, "Old peers answer `4` by calling back").
    RequesterClosed {
        /// Where its request came from, which is where it listens now.
        requester: SocketAddr,
        /// What it asked for.
        name: FileName,
        /// Bytes of it that were told as sent, though the requester did not take them.
        counted: u64,
    },
    /// The connection of an [`Action::CallBack`](super::Action::CallBack) stands. [`Event::ResponseProgress`] tells what
    /// goes out on it, also at the end, before its [`Event::DialEnded`].
    CallBackStands {
        /// The connection.
        exchange: ExchangeId,
    },
    /// A dialled exchange is over.
    DialEnded {
        /// The connection, which no longer exists.
        exchange: ExchangeId,
        /// How it went.
        outcome: DialOutcome,
    },
    /// A peer says against the direction of our stream to it how a search stands.
    SearchReport {
        /// Whom the stream goes to.
        peer: SocketAddr,
        /// What it says; perhaps of a search that never was.
        report: SearchReport,
    },
    /// Our stream to a peer is over. What the peer did not say by now it does not say any more.
    StreamEnded {
        /// Whom it went to.
        peer: SocketAddr,
    },
    /// Some lines of a file list that we asked for, in order.
    ListBatch {
        /// The connection.
        exchange: ExchangeId,
        /// At most 1,000 lines.
        files: Vec<Listed>,
    },
    /// A fetch of [`Portion::Groups`](super::Portion::Groups) asks for less than all of its first group: an earlier one has
    /// brought the beginning. Comes before everything else of the fetch.
    FetchResumed {
        /// The connection.
        exchange: ExchangeId,
        /// Bytes of the group that do not come again.
        bytes: u64,
    },
    /// For some time now our limit has held a fetch back: more bytes were there than could be read. Told several times a
    /// second while it is so.
    FetchHeld {
        /// The connection.
        exchange: ExchangeId,
    },
    /// Bytes of a fetch came in since the last such event (progress; at most a few a second for each fetch).
    ///
    /// A fetch that brought bytes and then breaks off says so once before its [`Event::DialEnded`]: a reset without a byte
    /// is a refusal, and one after some bytes is not.
    FetchProgress {
        /// The connection.
        exchange: ExchangeId,
        /// Bytes received so far.
        bytes: u64,
    },
    /// A group came in whole, matches the outline, is written and entered in the journal. Comes before the
    /// [`Event::DialEnded`] of its fetch. A group that was verified meanwhile by another fetch is told as well.
    GroupVerified {
        /// The connection.
        exchange: ExchangeId,
        /// Which.
        group: u64,
    },
    /// A file can be made at the target of a download, or cannot.
    TargetProbed {
        /// The download.
        download: TransferId,
        /// The final path, as far as it is known now.
        outcome: DiskOutcome<PathBuf>,
    },
    /// The part file of a download stands ready, or cannot.
    PartOpened {
        /// The download.
        download: TransferId,
        /// How far it is.
        outcome: DiskOutcome<OpenedPart>,
    },
    /// [`Action::SetOutline`](super::Action::SetOutline) could not be carried out. The part file stays open.
    PartFailed {
        /// The download.
        download: TransferId,
        /// Why.
        fault: DiskFault,
    },
    /// So many part files were found that no download names; in the place of what was found before.
    OrphansFound {
        /// Part files.
        files: u64,
        /// That they take on the disk.
        bytes: u64,
    },
    /// What was to be remembered of a download is on the disk, or could not be written.
    Recorded {
        /// The download.
        download: TransferId,
        /// The newest that this tells of; what was ordered before it needs no report of its own.
        revision: u64,
        /// An error is not the end: it is tried again, and reported when it is done.
        outcome: DiskOutcome<()>,
    },
    /// The part file was read from end to end, or could not be.
    PartChecked {
        /// The download.
        download: TransferId,
        /// What it holds.
        outcome: DiskOutcome<CheckedPart>,
    },
    /// The part file was synced and renamed to its final name, or could not be: then it is there still, and closed.
    PartCommitted {
        /// The download.
        download: TransferId,
        /// Where the content stands now.
        outcome: DiskOutcome<CommittedPart>,
    },
    /// The hashes of some files.
    Hashed {
        /// Each of those that [`Action::HashFiles`](super::Action::HashFiles) named, once.
        files: Vec<HashedFile>,
    },
    /// A host name was looked up.
    Resolved {
        /// As the order gave it.
        host: BootstrapAddr,
        /// At least one address, the resolver's preference first.
        outcome: Result<Vec<IpAddr>, ResolveFault>,
    },
    /// Some files that the running scan found, and that were changed a short time ago.
    RecentFiles {
        /// At most 1,000.
        files: Vec<RecentFile>,
    },
    /// What stands at names of the share.
    LookedAt {
        /// Each that [`Action::LookAt`](super::Action::LookAt) named, once.
        files: Vec<LookedAt>,
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
    /// A call came in on the control socket. Answered by exactly one [`Action::Reply`](super::Action::Reply).
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
    /// The configuration was reloaded; listeners keep their addresses until a restart.
    Reconfigure(Box<NodeConfig>),
    /// Unregister everywhere, end what is in progress and answer with [`Action::Left`](super::Action::Left).
    Leave,
}

/// How a dialled exchange went: what it brought, or the fault that ended it.
pub type DialOutcome = Result<Dialled, DialFault>;

/// What an order to the disk came to.
pub type DiskOutcome<T> = Result<T, DiskFault>;

/// What a dialled exchange brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// Our address on this connection.
    pub local: SocketAddr,
    /// The response.
    pub response: Response,
}

impl Dialled {
    /// Whether the peer has answered a first contact: it speaks part 2.
    pub(in crate::node) fn speaks_p1(&self) -> bool {
        self.response == Response::SpeaksP1
    }
}

/// The response of a dialled exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// [`Expect::Nothing`](super::Expect::Nothing): everything was sent, and the other side closed in order or kept silent. Also [`Expect::FirstContact`](super::Expect::FirstContact) without the answer of a `p1` node.
    Delivered,
    /// [`Expect::FirstContact`](super::Expect::FirstContact): the peer says that it speaks part 2.
    SpeaksP1,
    /// [`Expect::PeerList`](super::Expect::PeerList): the peers, as given (repeats and ourselves included).
    PeerList(Vec<ListedPeer>),
    /// [`Expect::FileList`](super::Expect::FileList): all lines came as [`Event::ListBatch`] before.
    FileList {
        /// The list was longer than we take; what came is its beginning.
        truncated: bool,
    },
    /// [`Action::Fetch`](super::Action::Fetch): the connection ended in FIN, or everything asked for and not given up by [`Action::Trim`](super::Action::Trim)
    /// came. Fewer bytes than asked for are no fault here.
    File {
        /// Bytes received.
        bytes: u64,
    },
    /// [`Action::FetchMetadata`](super::Action::FetchMetadata): they prove themselves, and the part file has them as its outline.
    Metadata {
        /// The hash.
        b3: ContentHash,
        /// Bytes, as claimed: see `Outline`.
        size: u64,
    },
    /// [`Expect::FileInfo`](super::Expect::FileInfo): what the peer says it has. A refusal that says why is
    /// [`DialFault::Declined`].
    FileInfo {
        /// The hash, as claimed.
        b3: ContentHash,
        /// Bytes, as claimed.
        size: u64,
    },
}

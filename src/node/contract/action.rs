//! What a node wants done.

use super::BootstrapAddr;
use super::transfer::{DownloadRecord, RememberedPeers};
use crate::control::{self, CallId};
use crate::fault::Refusal;
use crate::id::{ClientId, ContentHash, ExchangeId, TransferId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::part::PartSpec;
use crate::wire::{Message, SearchReport};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

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
    /// Answer with a range of a shared file, then FIN; or RST if the file is another than this by now, or cannot be read.
    SendRange {
        /// The inbound exchange.
        exchange: ExchangeId,
        /// From the library.
        file: ScannedFile,
        /// First byte.
        offset: u64,
        /// Bytes; the range is inside the file.
        length: u64,
    },
    /// Answer with the metadata of a shared file, then FIN; or RST if they are not known.
    SendMetadata {
        /// The inbound exchange.
        exchange: ExchangeId,
        /// From the library.
        file: ScannedFile,
        /// Its hash.
        b3: ContentHash,
    },
    /// Answer a first contact, then FIN (PROTOCOL, part 2, First contact).
    AnswerFirstContact {
        /// The inbound exchange.
        exchange: ExchangeId,
    },
    /// Answer nothing: FIN, or wait for the stream's next message.
    Close {
        /// The inbound exchange.
        exchange: ExchangeId,
    },
    /// Say against the direction of a stream how a search stands that came on it. Left out if the connection is over, is no
    /// stream, or takes no more.
    Report {
        /// The inbound exchange, which was answered before and may be over.
        exchange: ExchangeId,
        /// What is said.
        report: SearchReport,
    },
    /// Refuse: RST; a metadata request that has a [`Refusal::told`] is answered by one line that says why, then FIN.
    /// Logged and counted.
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
        /// How long connecting may take.
        connect_max: Duration,
    },
    /// Send messages without a response to a `p1` peer, on a connection that stays open for further ones (PROTOCOL,
    /// Streams). Ends as [`Response::Delivered`](super::Response::Delivered) when the system has taken them.
    Stream {
        /// The new exchange.
        exchange: ExchangeId,
        /// Where to.
        to: SocketAddr,
        /// At least one.
        messages: Vec<Message>,
        /// How long connecting may take, if no connection is open.
        connect_max: Duration,
    },
    /// Ask a peer for a file, or for a part of it, and write what comes into a part file that is open. What an earlier
    /// fetch has brought of the first group is not asked for again ([`Event::FetchResumed`](super::Event::FetchResumed)).
    Fetch {
        /// The new exchange.
        exchange: ExchangeId,
        /// The part file.
        download: TransferId,
        /// The peer.
        to: SocketAddr,
        /// The name in the peer's share.
        name: FileName,
        /// The peer has not shown `p1`: it may answer on a connection of its own to the port that the request came from
        /// (PROTOCOL, "Old peers answer `4` by calling back"). Never with [`Portion::Groups`].
        may_call_back: bool,
        /// What of it.
        portion: Portion,
    },
    /// Let a fetch of [`Portion::Groups`] end before this group: somebody else fetches the rest. No effect on one that is
    /// over, or that is already in this group or beyond.
    Trim {
        /// The fetch.
        exchange: ExchangeId,
        /// The first group that it is not to bring.
        groups_end: u64,
    },
    /// Ask a `p1` peer for metadata (code 9), check them, and make them the outline of a part file that is open.
    FetchMetadata {
        /// The new exchange.
        exchange: ExchangeId,
        /// The part file.
        download: TransferId,
        /// The peer.
        to: SocketAddr,
        /// The name in the peer's share.
        name: FileName,
        /// The hash they must prove: [`DialFault::Corrupt`](crate::fault::DialFault::Corrupt) otherwise. `None` takes
        /// the peer's word.
        b3: Option<ContentHash>,
    },
    /// Call a requester back and send it a file on the new connection, which [`Event::CallBackStands`](super::Event::CallBackStands)
    /// tells of. Ends as [`Response::Delivered`](super::Response::Delivered).
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
    /// Tell what stands at these names of the share now. One such order is out at a time.
    LookAt {
        /// At most 128.
        names: Vec<FileName>,
    },
    /// Look whether a file can be made at the target of a download, which the user has named. Comes before the first
    /// [`Action::OpenPart`] of the download.
    ProbeTarget {
        /// The download.
        download: TransferId,
        /// What is to be made there; nothing is, but the directory for several files.
        spec: PartSpec,
        /// The content wanted, if it is known.
        b3: Option<ContentHash>,
        /// Bytes, as far as somebody has said.
        size: Option<u64>,
    },
    /// Create the part file of a download, or take up again the one that is there.
    OpenPart {
        /// The download.
        download: TransferId,
        /// Which part file.
        spec: PartSpec,
        /// The content wanted, if it is known: a part file of another is started again, and a file of this content that
        /// stands at the final name already ends the download.
        b3: Option<ContentHash>,
        /// Bytes, as far as somebody has said: room is looked for.
        size: Option<u64>,
    },
    /// Make a content of at most one group the outline of a part file that is open. Nothing is verified then.
    SetOutline {
        /// The download.
        download: TransferId,
        /// The hash.
        b3: ContentHash,
        /// Bytes, as claimed; at most [`GROUP_BYTES`](crate::content::GROUP_BYTES).
        size: u64,
    },
    /// Read an open part file from end to end and hash it, group by group: those that are not what the outline says are
    /// taken back out of the journal. No fetch writes to it meanwhile.
    CheckPart {
        /// The download.
        download: TransferId,
    },
    /// Sync an open part file, give it its final name and close it.
    CommitPart {
        /// The download.
        download: TransferId,
    },
    /// Close the part file, if it is open, and keep it for [`Action::OpenPart`].
    ClosePart {
        /// The download.
        download: TransferId,
    },
    /// Remove the part file and its journal, if there are any, open or not.
    DropPart {
        /// The download.
        download: TransferId,
        /// Which part file.
        spec: PartSpec,
    },
    /// Tell the hash of these files of the share: from the cache, or by reading them in the order given.
    HashFiles {
        /// At most 256. One batch is under way at a time, and beside it a file too large for one, which gives way to
        /// the batch.
        files: Vec<ScannedFile>,
    },
    /// Remember a download across restarts, in the place of what was remembered of it before. Reported by
    /// [`Event::Recorded`](super::Event::Recorded): once when it is on the disk, and before that whenever it could not be
    /// written; it is then tried again until it is written, or replaced.
    RememberDownload {
        /// What to remember.
        record: Box<DownloadRecord>,
        /// For the report. Of one download, each is greater than the one before.
        revision: u64,
    },
    /// Remember a download no more. Reported by [`Event::Recorded`](super::Event::Recorded) for the last revision.
    ForgetDownload {
        /// Which.
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
    RememberPeers(RememberedPeers),
    /// The node has unregistered everywhere, or as far as it could.
    Left,
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
    /// The first line of metadata: what the peer has under a name, or why it refuses (PROTOCOL, Refusals).
    FileInfo,
    /// A line that says that the peer speaks part 2, or nothing (PROTOCOL, part 2, First contact).
    FirstContact,
}

/// What of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Portion {
    /// All of it (code 4), with nothing to check it against: to the start of the part file, over what an earlier stream
    /// left there, which stays until it is passed.
    Stream {
        /// The size that the source promised: one byte more ends the exchange with
        /// [`DialFault::TooLong`](crate::fault::DialFault::TooLong).
        size_max: Option<u64>,
    },
    /// All of it (code 4), each group checked against the outline; those that are verified already are passed over.
    Whole,
    /// These groups of the outline (code 8), in order.
    Groups(Range<u64>),
}

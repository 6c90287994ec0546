//! The orders of a node to the loop.

use super::BootstrapAddr;
use super::transfer::{DownloadRecord, RememberedPeers};
use super::wish::WishRecord;
use crate::content::WrittenManifest;
use crate::control::{self, CallId};
use crate::fault::Refusal;
use crate::id::{ClientId, ContentHash, ExchangeId, TransferId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::part::PartSpec;
use crate::wire::{Message, SearchReport};
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// An order of a node to the loop.
#[derive(Debug)]
pub enum Action {
    SendList {
        exchange: ExchangeId,
        /// Who gets of the list what is for it.
        to: SocketAddr,
        attributes: bool,
    },
    /// Send a shared file, then FIN; or RST if it cannot be read to its end.
    SendFile {
        exchange: ExchangeId,
        to: SocketAddr,
        name: FileName,
    },
    /// Send a range of a shared file, then FIN; or RST if the file has changed, or cannot be read.
    SendRange {
        exchange: ExchangeId,
        file: ScannedFile,
        /// First byte.
        offset: u64,
        /// Bytes; the range is inside the file.
        length: u64,
    },
    /// Send the metadata of a shared file, then FIN; or RST if they are not known.
    SendMetadata {
        exchange: ExchangeId,
        file: ScannedFile,
        b3: ContentHash,
    },
    /// Send the metadata of a manifest, or a range of it, then FIN.
    SendManifest {
        exchange: ExchangeId,
        manifest: Rc<WrittenManifest>,
        /// A range that is inside it; `None` for its metadata.
        range: Option<Range<usize>>,
        /// Files beneath the directory that are not in it yet, which its metadata tell.
        pending: u64,
    },
    /// Answer a first contact, then FIN (PROTOCOL, part 2, First contact).
    AnswerFirstContact {
        exchange: ExchangeId,
    },
    /// Send no response: FIN, or wait for the stream's next message.
    Close {
        exchange: ExchangeId,
    },
    /// Report the state of a search on the stream on which it came. Dropped if the connection is over, is no stream, or accepts
    /// no more.
    Report {
        /// The inbound exchange, which was answered before and may be over.
        exchange: ExchangeId,
        report: SearchReport,
    },
    /// Refuse: RST, or for a metadata request with a [`Refusal::peer_reason`] one line with the reason, then FIN. Logged and
    /// counted.
    Refuse {
        exchange: ExchangeId,
        reason: Refusal,
    },
    /// Connect, send, half-close, and wait for the response. Several messages are sent as a stream.
    Dial {
        exchange: ExchangeId,
        to: SocketAddr,
        /// At least one.
        messages: Vec<Message>,
        expect: Expect,
        connect_max: Duration,
    },
    /// Send messages without a response to a `p1` peer, on a connection that stays open for further ones (PROTOCOL,
    /// Streams). Ends as [`Response::Delivered`](super::Response::Delivered) when they are written to the socket.
    Stream {
        exchange: ExchangeId,
        to: SocketAddr,
        /// At least one.
        messages: Vec<Message>,
        /// How long connecting may take, if no connection is open.
        connect_max: Duration,
    },
    /// Request a file or a part of it from a peer, and write it to an open part file. The beginning of the first group that an
    /// earlier fetch received is not requested again ([`Event::FetchResumed`](super::Event::FetchResumed)).
    Fetch {
        exchange: ExchangeId,
        download: TransferId,
        to: SocketAddr,
        /// The name in the peer's share.
        name: FileName,
        /// The peer has not shown `p1`: it may answer on a connection of its own to the port that the request came from
        /// (PROTOCOL, "Old peers answer `4` by calling back"). Never with [`Portion::Groups`].
        may_call_back: bool,
        portion: Portion,
    },
    /// Make a fetch of [`Portion::Groups`] end before this group. No effect on one that is over, or that has begun this group or
    /// a later one.
    Trim {
        exchange: ExchangeId,
        /// The first group that it does not fetch.
        groups_end: u64,
    },
    /// Request metadata from a `p1` peer (code 9), verify them, and make them the outline of an open part file.
    FetchMetadata {
        exchange: ExchangeId,
        download: TransferId,
        to: SocketAddr,
        /// The name in the peer's share.
        name: FileName,
        /// The hash that they must prove, or [`DialFault::Corrupt`](crate::fault::DialFault::Corrupt). `None` accepts any hash.
        b3: Option<ContentHash>,
    },
    /// Call a requester back and send it a file. [`Event::CallBackConnected`](super::Event::CallBackConnected) reports the
    /// connection. Ends as [`Response::Delivered`](super::Response::Delivered).
    CallBack {
        exchange: ExchangeId,
        to: SocketAddr,
        name: FileName,
    },
    /// End an exchange in any state.
    Abort {
        /// Inbound or outbound.
        exchange: ExchangeId,
    },
    Resolve {
        host: BootstrapAddr,
    },
    StartScan,
    /// Examine these names of the share. Only one such order is given at a time.
    LookAt {
        /// At most 128.
        names: Vec<FileName>,
    },
    /// Check whether a file can be created at the target of a download. Before the first [`Action::OpenPart`] of the download.
    ProbeTarget {
        download: TransferId,
        /// The target. Only the directory for several files is created.
        spec: PartSpec,
        b3: Option<ContentHash>,
        /// In bytes, if a source has reported it.
        size: Option<u64>,
    },
    /// Create directories of a download that have no file. Reported by
    /// [`Event::DirectoriesMade`](super::Event::DirectoriesMade).
    MakeDirectories {
        download: TransferId,
        /// Of the whole directory.
        spec: PartSpec,
        /// Beneath the directory that the target names.
        paths: Vec<FileName>,
    },
    /// Keep the manifest of a directory without a peer, read or drop it.
    Manifest {
        b3: ContentHash,
        order: ManifestOrder,
    },
    /// Create or resume the part file of a download.
    OpenPart {
        download: TransferId,
        spec: PartSpec,
        /// The content wanted, if it is known: a part file of another content starts again, and a file of this content at a
        /// final name completes the download.
        b3: Option<ContentHash>,
        /// In bytes, if a source has reported it: the reserve must stay free.
        size: Option<u64>,
    },
    /// Set the outline of an open part file for a content of at most one group. Nothing is verified then.
    SetOutline {
        download: TransferId,
        b3: ContentHash,
        /// In bytes, unproven; at most [`GROUP_BYTES`](crate::content::GROUP_BYTES).
        size: u64,
    },
    /// Check a whole open part file, group by group: groups that do not match the outline are removed from the journal. No fetch
    /// writes to it meanwhile.
    ///
    /// With an original, a part file without an outline first becomes a copy of this file of the share.
    CheckPart {
        download: TransferId,
        original: Option<Box<ScannedFile>>,
    },
    /// Sync an open part file, give it its final name and close it.
    CommitPart {
        download: TransferId,
    },
    /// Close the part file, if it is open, and keep it for [`Action::OpenPart`].
    ClosePart {
        download: TransferId,
    },
    /// Remove the part file and its journal, if they exist, open or not.
    DropPart {
        download: TransferId,
        spec: PartSpec,
    },
    /// Hash these files of the share: from the cache, or by reading them in order.
    HashFiles {
        /// At most 256. One batch is in progress at a time, and beside it one large file, which is hashed after the batch.
        files: Vec<ScannedFile>,
    },
    /// Save a record of a download, replacing the earlier one. Reported by [`Event::Recorded`](super::Event::Recorded): once
    /// when it is on the disk, and before that when it could not be written; it is then retried until it is written or replaced.
    RememberDownload {
        record: Box<DownloadRecord>,
        /// For the report. Increases for each download.
        revision: u64,
    },
    /// The next run needs nothing of a download but its events: keep those, or else remove the record. Reported by [`Event::Recorded`](super::Event::Recorded) for the last revision.
    ForgetDownload {
        download: TransferId,
    },
    /// Save a record of a wish, as [`RememberDownload`](Self::RememberDownload) does of a download. Ids of wishes and downloads
    /// are distinct.
    RememberWish {
        wish: TransferId,
        /// `None`: the next run needs nothing of it but its events.
        record: Option<Box<WishRecord>>,
        /// For the report. Increases for each wish.
        revision: u64,
    },
    /// Events of a download or wish up to this id are not kept any more: the records to come need not have them, and a record that has
    /// nothing else is to be removed.
    ForgetEvents {
        download: TransferId,
        up_to: u64,
    },
    /// Of events with smaller ids nothing is left for the next run, though records that were written have some.
    KeepEventsFrom {
        first: u64,
    },
    Reply {
        client: ClientId,
        call: CallId,
        outcome: Result<control::Reply, control::CallError>,
    },
    Notify {
        client: ClientId,
        notice: Rc<control::Notice>,
    },
    /// Save these peers.
    RememberPeers(RememberedPeers),
    /// The node has unregistered everywhere, as far as it could.
    Left,
}

/// What is to be done with a manifest in the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestOrder {
    /// Save it. Reported by [`Event::ManifestKept`](super::Event::ManifestKept).
    Keep { download: TransferId, text: Vec<u8> },
    /// Reported by [`Event::ManifestRead`](super::Event::ManifestRead).
    Read { download: TransferId },
    /// No directory needs it any more.
    Drop,
}

/// What a dialled exchange waits for after its messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Nothing,
    PeerList,
    FileList,
    /// The first line of metadata: size and hash of a file, or the reason of a refusal (PROTOCOL, Refusals).
    FileInfo,
    /// A manifest of this hash and size, which nobody has proved yet: all of it (code 8).
    Manifest {
        b3: ContentHash,
        size: u64,
    },
    /// The line of a peer that speaks part 2, or nothing (PROTOCOL, part 2, First contact).
    FirstContact,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Portion {
    /// All of it (code 4), unverified: written to the part file from its start.
    Stream {
        /// The size that the source reported: one byte more ends the exchange with
        /// [`DialFault::TooLong`](crate::fault::DialFault::TooLong).
        size_max: Option<u64>,
    },
    /// All of it (code 4), each group verified against the outline; verified ones are skipped.
    Whole,
    /// These groups of the outline (code 8), in order.
    Groups(Range<u64>),
}

//! The messages and the parts of responses, as values.

use crate::id::{ContentHash, QueryId};
use crate::name::FileName;
use std::net::SocketAddr;

/// One message (PROTOCOL, part 1, the table of codes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Code 0: list the sender, at its source address, as a peer.
    Register {
        /// Where the sender listens; never 0.
        port: u16,
        /// The sender speaks part 2.
        p1: bool,
    },
    /// Code 1: send a peer list.
    RequestPeerList {
        /// The most peers the sender wants; larger numbers on the wire are clamped to `u32::MAX`.
        peers_max: u32,
        /// The list is to say which peers speak part 2.
        p1: bool,
    },
    /// Code 2: take the sender off the list.
    Unregister {
        /// Where the sender listened; never 0.
        port: u16,
        /// The sender speaks part 2.
        p1: bool,
    },
    /// Code 3: the sender is still there.
    Keepalive {
        /// Where the sender listens; never 0.
        port: u16,
        /// The sender speaks part 2.
        p1: bool,
    },
    /// Code 4: send the file of this name.
    DownloadRequest {
        /// The name, exactly as the sender of the list or hit gave it.
        name: FileName,
    },
    /// Code 5: send the list of shared files.
    ListFiles {
        /// The sender asked with `5:p1` and takes attributes.
        p1: bool,
    },
    /// Code 6.
    Search(Search),
    /// Code 7.
    SearchResponse(SearchResponse),
    /// Code 6 for `FIRST_CONTACT_TEXT` with TTL 0: does the receiver speak part 2? (PROTOCOL,
    /// part 2, First contact). To a base program it is a search for what it lacks.
    FirstContact {
        /// Of the form that shows `p1`.
        id: QueryId,
        requester: SocketAddr,
    },
    /// Code 8: send these bytes of the file, and no others.
    RangeRequest {
        offset: u64,
        /// Bytes; `offset + length` does not overflow.
        length: u64,
        /// The name, exactly as the sender of the list or hit gave it.
        name: FileName,
    },
    /// Code 9: send size, hash and chaining values of the file.
    MetadataRequest {
        /// The name, exactly as the sender of the list or hit gave it.
        name: FileName,
    },
}

/// Code 6: who shares a file that matches?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Opaque; the same in every copy of this query.
    pub id: QueryId,
    /// The file string: not empty, no control bytes, may contain `:`.
    pub text: Box<[u8]>,
    /// Where hits are to be sent.
    pub requester: SocketAddr,
    /// How many more times it is forwarded. Larger numbers on the wire are clamped to 255.
    pub ttl: u8,
}

/// Code 7: a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResponse {
    /// The query that it answers.
    pub id: QueryId,
    /// The peer that shares the file.
    pub responder: SocketAddr,
    /// The file, with the attributes that a `p1` peer adds.
    pub file: Listed,
}

/// A peer as a line of a peer list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedPeer {
    pub addr: SocketAddr,
    /// It registered as one that speaks part 2. `false` means unknown: not every bootstrap node says so.
    pub p1: bool,
}

/// A file as a list line or a search response names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the peer's share.
    pub name: FileName,
    /// What a `p1` peer says of it; `None` from a base peer, whose lines carry no tab.
    pub attributes: Option<Attributes>,
}

/// What a `p1` node says of a file (PROTOCOL, part 2, Attributes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    pub size: Option<u64>,
    /// BLAKE3 of the content; `None` while unknown.
    pub b3: Option<ContentHash>,
    /// In a search response: the sender has more files that match than it sends.
    pub more: bool,
}

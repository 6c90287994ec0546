//! Messages, and the parts of responses.

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
        /// The list shall mark peers that speak part 2.
        p1: bool,
    },
    /// Code 2: remove the sender from the list.
    Unregister {
        /// Where the sender listened; never 0.
        port: u16,
        /// The sender speaks part 2.
        p1: bool,
    },
    /// Code 3: the sender still runs.
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
        /// The sender requests attributes, with `5:p1`.
        p1: bool,
    },
    /// Code 6.
    Search(Search),
    /// Code 7.
    SearchResponse(SearchResponse),
    /// Code 6 for `FIRST_CONTACT_TEXT` with TTL 0: does the receiver speak part 2? (PROTOCOL, part 2, First contact). A base
    /// program takes it for a search without hits.
    FirstContact {
        /// A `p1` ID.
        id: QueryId,
        requester: SocketAddr,
    },
    /// Code 8: send these bytes of the file.
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

/// Code 6: a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The same in every copy of this search.
    pub id: QueryId,
    /// The file string: not empty, no control bytes, may contain `:`.
    pub text: Box<[u8]>,
    pub requester: SocketAddr,
    /// How often it may still be forwarded. Larger numbers on the wire are clamped to 255.
    pub ttl: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResponse {
    pub id: QueryId,
    pub responder: SocketAddr,
    /// The file, with attributes from a `p1` peer.
    pub file: Listed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedPeer {
    pub addr: SocketAddr,
    /// It registered as a peer that speaks part 2. `false` means unknown: not every bootstrap node marks them.
    pub p1: bool,
}

/// A file in a list line or a search response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the peer's share.
    pub name: FileName,
    /// From a `p1` peer; `None` from a base peer, whose lines have no tab.
    pub attributes: Option<Attributes>,
}

/// The attributes of a file (PROTOCOL, part 2, Attributes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    pub size: Option<u64>,
    /// BLAKE3 of the content; `None` while unknown.
    pub b3: Option<ContentHash>,
    /// In a search response: the sender has more matching files than it sends.
    pub more: bool,
}

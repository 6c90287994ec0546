//! Notices: what a daemon reports to its control clients without a call.

use super::{CallError, DownloadRow, EventRow, HitRow, RawText, SourceRow};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Something happened: the `params` of a JSON-RPC notification `event`, and a line of `pyratectl events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Notice {
    /// A search goes out to a further ring.
    Ring {
        search: u32,
        ttl: u8,
        /// Neighbours that it is sent to.
        peers: u32,
    },
    /// A hit is new, or has a new source.
    Hit {
        search: u32,
        /// The row as it stands now.
        hit: HitRow,
    },
    /// A listing has progressed. Its rows are read with the `hits` call.
    Listing {
        search: u32,
        files: u64,
    },
    /// A search or listing is over; late hits may still come.
    SearchDone {
        search: u32,
        hits: u64,
        /// There were more hits than are remembered.
        truncated: bool,
        /// Why there are no hits, if that is known.
        error: Option<CallError>,
    },
    /// A wish has found a content that is new.
    WishFound {
        wish: u32,
        /// The name at the peer.
        name: RawText,
        size: Option<u64>,
        b3: Option<String>,
        peer: SocketAddr,
    },
    /// A download changed its state or made progress.
    Download {
        /// The row as it stands now.
        download: DownloadRow,
    },
    /// A source of a download failed, refused, or sent wrong bytes.
    SourceLost {
        download: u32,
        /// The source as it stands now.
        source: SourceRow,
    },
    /// The hashes of all files shared are known (again).
    Hashed {
        files: u64,
    },
    UploadStarted {
        to: SocketAddr,
        name: RawText,
    },
    UploadEnded {
        to: SocketAddr,
        name: RawText,
        bytes: u64,
        error: Option<String>,
    },
    /// A search of a peer came by that was not seen before. Of many at once, some are left out.
    PeerSearch {
        /// Who sent it to us.
        from: SocketAddr,
        /// Who gets the hits.
        requester: SocketAddr,
        /// The first 256 bytes of what is searched for.
        text: RawText,
        /// How many hops it may still go.
        ttl: u8,
    },
    /// We are on the list of a bootstrap node (again).
    Registered {
        /// `host:port` as configured.
        addr: String,
    },
    /// A bootstrap node does not answer.
    BootstrapLost {
        /// `host:port` as configured.
        addr: String,
        error: String,
        /// Seconds until the next attempt.
        retry_in_s: u64,
    },
    /// A peer answered for the first time, or again.
    PeerUp {
        addr: SocketAddr,
    },
    PeerDown {
        addr: SocketAddr,
    },
    /// A scan of the share progressed or ended.
    Scan(ScanNotice),
    Leaving,
    /// An event of the log. Only for clients that follow the log.
    #[serde(untagged)]
    Logged(EventRow),
}

/// How a scan of the share stands, or what it found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanNotice {
    /// Files seen so far, or shared now.
    pub files: u64,
    pub done: bool,
    /// Names left out because they hold control bytes or are too long.
    pub names_refused: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Directories left out because another filesystem is mounted there.
    #[serde(default)]
    pub other_mounts: u64,
    /// The first of these directories.
    #[serde(default)]
    pub mounts: Vec<RawText>,
    /// Why the share could not be read.
    #[serde(default)]
    pub error: Option<CallError>,
    /// Files that are not shared yet because they are being written.
    #[serde(default)]
    pub being_written: u64,
    /// All that is left out, but for these.
    #[serde(default)]
    pub left_out: u64,
}

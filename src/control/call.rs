//! Calls.

use super::{Linkable, RawText, UploadKey};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A call: the JSON-RPC `method` (snake_case) and its `params`.
///
/// A client that makes a call that starts work ([`Search`](Self::Search), [`List`](Self::List),
/// [`Download`](Self::Download), [`Rescan`](Self::Rescan)) receives the notices of that work from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
pub enum Request {
    Status,
    Peers,
    /// Begin a search. Answered by [`SearchStarted`](super::SearchStarted) at once; hits come as notices.
    Search {
        text: RawText,
        /// Most rows to remember for this search; 150 if absent.
        #[serde(default)]
        max: Option<u32>,
        /// TTL of the widest ring; `max_ttl` of the configuration if absent, and clamped to it.
        #[serde(default)]
        ttl: Option<u8>,
    },
    /// One page of the hits remembered.
    Hits {
        /// Of this search or listing alone, or of the last one ([`LAST_SEARCH`]); all if absent.
        #[serde(default)]
        search: Option<u32>,
        /// Rows with a greater id.
        #[serde(default)]
        after: u32,
    },
    /// One page of the searches and lists remembered.
    Searches {
        /// Rows with a greater id.
        #[serde(default)]
        after: u32,
    },
    /// Search for this again and again, at a small price, until it is ended. Answered by [`WishRow`](super::WishRow) when it is on
    /// the disk.
    Wish {
        text: RawText,
        /// Download what is found.
        #[serde(default)]
        download: bool,
        /// So many contents fulfil it; if absent 1 with `download`, else as many as are remembered.
        #[serde(default)]
        limit: Option<u32>,
    },
    /// One page of the wishes.
    Wishes {
        /// Rows with a greater id.
        #[serde(default)]
        after: u32,
    },
    /// Make what a wish has found hits of a search that is over. Answered by [`SearchStarted`](super::SearchStarted).
    WishHits {
        /// Of the wish.
        id: u32,
    },
    /// End wishes. Answered by [`UnwishedReply`](super::UnwishedReply) when they are gone from the disk.
    Unwish {
        /// Ids as users type them: `2,4-6`, `all`; whole ones only. Or the text of a wish.
        which: RawText,
    },
    /// Ask a peer for its list. Answered as [`Search`](Self::Search) is; the files become hits.
    List {
        peer: SocketAddr,
    },
    /// Forget a peer, until a list, a search or a user names it again.
    Forget {
        peer: SocketAddr,
    },
    Download {
        /// What; at least one.
        what: Vec<Selector>,
        /// Absolute path of a file or directory to save to; for several files only a directory.
        #[serde(default)]
        output: Option<RawText>,
    },
    /// One page of the downloads, newest last.
    Downloads {
        /// Rows with a greater id.
        #[serde(default)]
        after: u32,
    },
    /// One page of the files of a directory, whose rows `downloads` does not show. None once the directory is done.
    DirectoryFiles {
        /// Of the directory.
        id: u32,
        /// Rows with a greater id.
        #[serde(default)]
        after: u32,
    },
    /// Follow these downloads, as if this client had begun them. Of those that are not in the list any more, the rows say how they
    /// ended, as far as the event log has that.
    Follow {
        /// Download ids, as users type them; `all` stands for those that are unfinished.
        ids: String,
    },
    /// Stop downloads and keep what they have.
    Pause {
        ids: String,
    },
    /// Resume paused downloads; one that the disk stopped tries at once.
    Resume {
        ids: String,
    },
    /// Try again at once: downloads that wait for their sources, and those that failed. All sources are asked again.
    Retry {
        ids: String,
    },
    /// Stop downloads and remove their part files.
    Cancel {
        /// Download ids as users type them: `2,4-6`, `all`; whole ones only.
        ids: String,
    },
    /// Change when a queued download has its turn.
    Move {
        /// One download id.
        id: String,
        to: MoveTo,
    },
    /// Remove downloads that are over, and keep no data, from the list. Answered by [`ForgottenReply`](super::ForgottenReply).
    ForgetDownloads {
        /// Download ids as users type them: `2,4-6`, `all`; whole ones only.
        ids: String,
    },
    /// One page of the uploads in progress.
    Uploads {
        /// Rows after this one.
        #[serde(default)]
        after: Option<UploadKey>,
    },
    /// One page of what we share, by name.
    Files {
        /// Names after this one.
        #[serde(default)]
        after: Option<RawText>,
    },
    /// One page of the shares, by name.
    Shares {
        /// Names after this one.
        #[serde(default)]
        after: Option<RawText>,
    },
    /// One page of what is in the shared directory and not shared, by name.
    LeftOut {
        /// Names after this one.
        #[serde(default)]
        after: Option<RawText>,
    },
    /// A link to the content of a file. Answered by [`ContentLinkRow`](super::ContentLinkRow).
    Link {
        what: Linkable,
    },
    /// One page of the manifest of a directory. Answered by [`ManifestReply`](super::ManifestReply).
    Manifest {
        /// Whose directory; our own without.
        #[serde(default)]
        peer: Option<SocketAddr>,
        name: RawText,
        /// The hash that the first page has named, for the others.
        #[serde(default)]
        b3: Option<String>,
        /// Where the page begins.
        #[serde(default)]
        after: u64,
    },
    /// Give the next part of a manifest that an order is to name ([`Selector::Manifest`]). One for each client, and a part at 0 begins
    /// another.
    GiveManifest {
        /// Where the part begins, in bytes.
        #[serde(default)]
        after: u64,
        text: RawText,
    },
    /// Scan the share now. Answered at once; [`Notice::Scan`](super::Notice::Scan) follow until it is done.
    Rescan,
    /// The bootstrap links, and one page of the registry if we serve.
    Bootstrap {
        /// Registrations after this address.
        #[serde(default)]
        after: Option<SocketAddr>,
    },
    /// Change rate limits until the next start. Answered with those in force.
    Limit {
        /// Bytes a second, 0 for no limit; as it is if absent.
        #[serde(default)]
        down: Option<u64>,
        #[serde(default)]
        up: Option<u64>,
        /// Before that, go back to what the configuration says.
        #[serde(default)]
        reset: bool,
    },
    /// What a monitoring system reads.
    Metrics,
    /// Send every notice from now on.
    Events,
    /// One page of the event log. With the last page, each later event is sent as [`Notice::Logged`](super::Notice::Logged).
    EventLog {
        /// Events from this id on; `None` for none but later ones.
        #[serde(default)]
        since: Option<u64>,
    },
    /// Reload the configuration and reopen the log.
    Reload,
    /// Change the log level until the next start or reload.
    LogLevel {
        /// error, warn, info, debug or trace.
        level: String,
    },
    /// Shut down, as on SIGTERM.
    Stop,
}

/// Where a queued download is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveTo {
    Top,
    /// Before the one before it.
    Up,
    /// Behind the one behind it.
    Down,
    Bottom,
}

/// Stands for the search or listing that was begun last.
pub const LAST_SEARCH: u32 = 0;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// Hits, as users type their ids: `2,4-6`; `all` stands for those of the last search or list.
    Hits(String),
    /// A file of one peer by name; or a directory, with all that is beneath it, by a name that ends in `/`.
    File { peer: SocketAddr, name: RawText },
    /// A content, by the 64 hex digits of its BLAKE3: from the hits remembered, or else from the sources that a search
    /// finds.
    Content(String),
    /// A directory by the manifest that this client has given ([`Request::GiveManifest`]): its files from the sources that searches
    /// find.
    Manifest {
        /// Of the manifest, in hex.
        b3: String,
        /// Under which the directory is saved.
        name: RawText,
    },
    /// The same; nothing on the condition of a [`NewLink`](Self::NewLink).
    NewManifest {
        b3: String,
        name: RawText,
        /// In epoch seconds.
        since: u64,
    },
    /// A content by a link: from the peers that it names, the hits remembered, and the sources that a search finds.
    Link(String),
    /// The same; nothing if the list has a download of this content that was not cancelled, or the event log tells that one has
    /// begun since then.
    NewLink {
        link: String,
        /// In epoch seconds.
        since: u64,
    },
}

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
//! Every action that begins something is answered by exactly one event, also after [`Action::Abort`]:
//!
//! | action | event |
//! |---|---|
//! | [`Dial`](Action::Dial), [`Stream`](Action::Stream), [`Fetch`](Action::Fetch), [`FetchMetadata`](Action::FetchMetadata), [`CallBack`](Action::CallBack) | [`Event::DialEnded`] |
//! | [`SendFile`](Action::SendFile), [`SendRange`](Action::SendRange), [`SendMetadata`](Action::SendMetadata), [`SendList`](Action::SendList), [`AnswerFirstContact`](Action::AnswerFirstContact) | [`Event::ResponseEnded`] |
//! | [`ProbeTarget`](Action::ProbeTarget) | [`Event::TargetProbed`] |
//! | [`OpenPart`](Action::OpenPart) | [`Event::PartOpened`] |
//! | [`CheckPart`](Action::CheckPart) | [`Event::PartChecked`] |
//! | [`CommitPart`](Action::CommitPart) | [`Event::PartCommitted`] |
//! | [`RememberDownload`](Action::RememberDownload) | [`Event::Recorded`]; several of one download may have one in common |
//! | [`Resolve`](Action::Resolve) | [`Event::Resolved`] |
//! | [`LookAt`](Action::LookAt) | [`Event::LookedAt`] |
//! | [`HashFiles`](Action::HashFiles) | as many [`Event::Hashed`] as it takes to name each file once |
//!
//! The loop carries actions out in the order in which they come. What must come before what:
//!
//! | before | comes | so that |
//! |---|---|---|
//! | a call that changes downloads is answered | [`Event::Recorded`] of each change; or the row says that it is not on the disk | a restart forgets nothing that was accepted |
//! | [`OpenPart`](Action::OpenPart) | [`Event::Recorded`] of the download | no part file is left that no record names |
//! | [`DropPart`](Action::DropPart) of a download that is over | [`RememberDownload`](Action::RememberDownload), which says that it is | it does not come back without its part file |
//! | [`CheckPart`](Action::CheckPart), [`ClosePart`](Action::ClosePart), [`DropPart`](Action::DropPart) | [`Abort`](Action::Abort) of each fetch; a further one follows only [`Event::PartOpened`] or [`Event::PartChecked`] | nobody writes to the file meanwhile |
//! | [`CommitPart`](Action::CommitPart) | [`Event::PartChecked`] | what gets the final name is what was checked |
//! | [`Event::PartCommitted`], and the rename before it | the loop syncs the file before the rename, and the directory after it | a crash leaves no file that is not whole under its name |
//!
//! In debug builds the node looks now and then, and its tests after each event, whether its actions keep to this; of each
//! [`Abort`](Action::Abort) it looks only whether a fetch follows. The last row is the loop's, and the crash tests of `store` show it.

mod action;
mod event;
mod transfer;

pub use crate::fault::{Refusal, ResponseFault};
pub use crate::part::{CheckedPart, CommittedPart, PartSpec, Target};
pub use action::{Action, Expect, Portion};
pub use event::{DialOutcome, Dialled, DiskOutcome, Event, Response};
pub use transfer::{
    DownloadRecord, HashedFile, LookedAt, OpenedPart, RecordState, Remembered, RememberedPeers, SourceRecord,
};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a response after which its reader is known to take much: more may then wait in the socket for their way.
pub const STEADY_BYTES: u64 = 256 << 10;
/// Bytes that wait in the socket before that. Who takes little is then seen to take it.
pub const UNSENT_FIRST_BYTES: u32 = 16 << 10;
/// Bytes that wait in the socket after that.
pub const UNSENT_BYTES: u32 = 128 << 10;

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
    /// The share, for messages that name it.
    pub local_directory: PathBuf,
    /// Where downloads go unless the user names a place.
    pub download_directory: PathBuf,
    /// Commands in progress at once (uploads, listings sent, downloads, outgoing requests). At least 1.
    pub max_workers: usize,
    /// Downloads active at once. At least 1.
    pub max_downloads: usize,
    /// Bytes a second of all uploads together, 0 for no limit. The loop keeps to it; the node sends no more files at once
    /// than it allows for.
    pub upload_limit: u64,
    /// Bytes a second of all downloads together, 0 for no limit. The loop keeps to it; the node shows no rate above it.
    pub download_limit: u64,
    /// Neighbours searched. At least 1.
    pub max_peers: usize,
    /// TTL of the last ring of a search, and clamp on the searches of others.
    pub max_ttl: u8,
    /// False: this process is a bootstrap node only; the node then answers control calls and does nothing else.
    pub peer: bool,
}

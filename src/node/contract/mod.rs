//! The inputs and outputs of a [`Node`](super).
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
//! | [`SendFile`](Action::SendFile), [`SendRange`](Action::SendRange), [`SendMetadata`](Action::SendMetadata), [`SendManifest`](Action::SendManifest), [`SendList`](Action::SendList), [`AnswerFirstContact`](Action::AnswerFirstContact) | [`Event::ResponseEnded`] |
//! | [`ProbeTarget`](Action::ProbeTarget) | [`Event::TargetProbed`] |
//! | [`MakeDirectories`](Action::MakeDirectories) | [`Event::DirectoriesMade`] |
//! | [`Manifest`](Action::Manifest), to keep it | [`Event::ManifestKept`] |
//! | [`Manifest`](Action::Manifest), to read it | [`Event::ManifestRead`] |
//! | [`OpenPart`](Action::OpenPart) | [`Event::PartOpened`] |
//! | [`CheckPart`](Action::CheckPart) | [`Event::PartChecked`] |
//! | [`CommitPart`](Action::CommitPart) | [`Event::PartCommitted`] |
//! | [`RememberDownload`](Action::RememberDownload), [`RememberWish`](Action::RememberWish) | [`Event::Recorded`]; one may report several of one id |
//! | [`Resolve`](Action::Resolve) | [`Event::Resolved`] |
//! | [`LookAt`](Action::LookAt) | [`Event::LookedAt`] |
//! | [`HashFiles`](Action::HashFiles) | one or more [`Event::Hashed`], which name each file once |
//!
//! The loop executes actions in order. Required orders:
//!
//! | before | comes | so that |
//! |---|---|---|
//! | the reply to a call that changes downloads | [`Event::Recorded`] of each change; or the row shows that it is not on the disk | a restart loses no accepted change |
//! | [`Notify`](Action::Notify) of an event of the log, or a page with it | [`Event::Recorded`] of the record with it, which also has what the event tells | whoever has seen an event finds it again after a crash |
//! | [`RememberDownload`](Action::RememberDownload) of a directory without a peer | [`Event::ManifestKept`] | the next run finds its manifest |
//! | [`OpenPart`](Action::OpenPart) | [`Event::Recorded`] of the download | no part file is left without a record |
//! | [`DropPart`](Action::DropPart) of a download that is over | [`RememberDownload`](Action::RememberDownload) with this state | a restart does not restore it without its part file |
//! | [`CheckPart`](Action::CheckPart), [`ClosePart`](Action::ClosePart), [`DropPart`](Action::DropPart) | [`Abort`](Action::Abort) of each fetch; a further one follows only [`Event::PartOpened`] or [`Event::PartChecked`] | no fetch writes to the file meanwhile |
//! | [`CommitPart`](Action::CommitPart) | [`Event::PartChecked`] | only a checked file gets the final name |
//! | [`Event::PartCommitted`], and the rename before it | the loop syncs the file before the rename, and the directory after it | a crash leaves no incomplete file under the final name |
//!
//! Debug builds of the node check this at times, and its tests after each event; for [`Abort`](Action::Abort) only whether a
//! fetch follows. The crash tests of `store` check the last row.

mod action;
mod event;
mod transfer;
mod wish;

pub use crate::fault::{Refusal, ResponseFault};
pub use crate::part::{CheckedPart, CommittedPart, PartSpec, Target};
pub use action::{Action, Expect, ManifestOrder, Portion};
pub use event::{DialOutcome, Dialled, DiskOutcome, Event, Response};
pub use transfer::{
    DownloadRecord, HashedFile, LookedAt, OpenedPart, RecordKind, RecordState, Remembered, RememberedPeers,
    SourceRecord,
};
pub use wish::{FoundFile, FoundState, WishRecord};

use crate::audience::{Audiences, first_component};
use crate::name::FileName;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// After this many bytes of a response, more may wait in the socket.
pub const STEADY_BYTES: u64 = 256 << 10;
/// Bytes that may wait in the socket before that: few, so that the progress of a slow reader can be seen.
pub const UNSENT_FIRST_BYTES: u32 = 16 << 10;
/// Bytes that may wait in the socket after that.
pub const UNSENT_BYTES: u32 = 128 << 10;
/// A response whose requester takes nothing for so long is ended. Requests that wait behind it wait longer.
pub const RESPONSE_IDLE_MAX: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootstrapAddr {
    /// Host name or IP literal (IPv6 without brackets).
    pub host: String,
    /// TCP port; never 0.
    pub port: u16,
}

impl BootstrapAddr {
    /// Whether its host is a name or an address of the loopback device.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// A further share: its files have names that begin with its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareNamed {
    /// One component.
    pub name: FileName,
    /// `None`: it waits for the next start. Nothing else has its name meanwhile.
    pub path: Option<PathBuf>,
    /// Whether symbolic links in it are followed.
    pub follow_symlinks: bool,
}

/// The configuration of a node. pyrated.toml(5) describes the keys of the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Bootstrap nodes to register with, without repeats; any one suffices.
    pub bootstraps: Vec<BootstrapAddr>,
    /// The bound address of the peer listener (never port 0).
    pub listen: SocketAddr,
    /// The address for other peers; `None`: the local address of a connection to a bootstrap node.
    pub advertise_addr: Option<IpAddr>,
    /// Addresses of this machine: an endpoint with one of them and our port is ourselves.
    pub local_addrs: Vec<IpAddr>,
    pub keepalive_refresh: Duration,
    /// Time between the end of a scan of the share and the next.
    pub filemonitor_refresh: Duration,
    /// The share, for messages that name it.
    pub local_directory: PathBuf,
    /// The further shares.
    pub shares: Vec<ShareNamed>,
    /// For whom the shares are.
    pub audiences: Audiences,
    /// Where downloads are saved unless the user names another directory.
    pub download_directory: PathBuf,
    /// Commands in progress at once (uploads, listings sent, downloads, outgoing requests). At least 1. Exchanges with bootstrap
    /// nodes are not counted, and there is one at a time for each.
    pub max_workers: usize,
    /// Downloads active at once. At least 1.
    pub max_downloads: usize,
    /// Bytes a second of all uploads together, 0 for no limit. The loop enforces it; the node limits the files sent at once.
    pub upload_limit: u64,
    /// Bytes a second of all downloads together, 0 for no limit. The loop enforces it; the node shows no rate above it.
    pub download_limit: u64,
    /// Neighbours searched. At least 1.
    pub max_peers: usize,
    /// TTL of the last ring of a search, and maximum for the searches of others.
    pub max_ttl: u8,
    /// False: this process is a bootstrap node only; the node then only answers control calls.
    pub peer: bool,
}

impl NodeConfig {
    /// The name that a file at this path has in the share, if it is shared at all.
    pub(crate) fn shared_name(&self, path: &Path) -> Option<FileName> {
        let beneath = |directory: &Path| Some(path.strip_prefix(directory).ok()?.as_os_str().as_bytes());
        let in_further = |share: &ShareNamed| {
            let path = beneath(share.path.as_deref()?)?;
            FileName::from_bytes(&[share.name.as_bytes(), b"/", path].concat())
        };
        self.shares.iter().find_map(in_further).or_else(|| {
            let path = beneath(&self.local_directory)?;
            // What has the name of a further share here is left out.
            let is_taken = self.shares.iter().any(|share| share.name.as_bytes() == first_component(path));
            FileName::from_bytes(path).filter(|_| !is_taken)
        })
    }
}

/// What is shared otherwise than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ShareChanges {
    /// The names of shares beneath which there may be other files than before: those that are new or not there any more, or have another
    /// directory, or whose links are not followed any more.
    pub(crate) replaced: Vec<FileName>,
    /// Links of a share are followed that were not: a scan may find more.
    is_widened: bool,
}

impl ShareChanges {
    pub(crate) fn between(before: &[ShareNamed], after: &[ShareNamed]) -> Self {
        fn find<'a>(shares: &'a [ShareNamed], name: &FileName) -> Option<&'a ShareNamed> {
            shares.iter().find(|share| share.name == *name)
        }
        let names: BTreeSet<&FileName> = before.iter().chain(after).map(|share| &share.name).collect();
        let mut changes = Self::default();
        for name in names {
            match (find(before, name), find(after, name)) {
                (Some(was), Some(is)) if was == is => {}
                (Some(was), Some(is)) if was.path == is.path && is.follow_symlinks => changes.is_widened = true,
                _ => changes.replaced.push(name.clone()),
            }
        }
        changes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.replaced.is_empty() && !self.is_widened
    }

    /// Whether a file or directory of this name may be another one than before.
    pub(crate) fn replace(&self, name: &[u8]) -> bool {
        self.replaced.iter().any(|share| share.as_bytes() == first_component(name))
    }
}

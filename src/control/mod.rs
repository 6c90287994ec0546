//! The control socket's language: JSON-RPC 2.0, one object a line.
//!
//! Owns the types of calls, replies and notices, their framing, and the wording of what goes wrong. The daemon and `pyratectl`
//! share them, so that a field has one name. Knows no socket.

mod answer;
mod call;
mod content_link;
mod event_log;
mod exit;
mod file_rows;
mod frame;
mod hit_rows;
mod ids;
mod left_out;
mod limit_reply;
mod manifest;
mod metrics;
mod notice;
pub(crate) mod paths;
mod reload;
mod reply;
mod sandbox;
mod search_rows;
mod share_rows;
mod status_reply;
mod text;
mod upload_rows;
mod wish_rows;
mod wording;

pub use answer::Reply;
pub use call::{LAST_SEARCH, MoveTo, Request, Selector};
pub use content_link::{ContentLinkRow, Linkable};
pub use event_log::{EventKind, EventLogReply, EventRow, IdSpan};
pub use exit::{CallError, ExitCode};
pub use file_rows::{FileRow, FileRows};
pub(crate) use frame::{
    BAD_PARAMS, Incoming, LINE_BYTES_MAX, REQUEST_BYTES_MAX, decode_incoming, decode_request, encode_error_without_id,
    encode_notice, encode_reply, encode_request,
};
pub use hit_rows::{HitDirectory, HitRow, HitRows};
pub(crate) use ids::{IdForm, KnownIds, parse_ids, parse_ids_of_files, parse_ids_with_all};
pub use left_out::{LeftOutCounts, LeftOutReply, LeftOutRow};
pub use limit_reply::{LimitReply, LimitRow};
pub use manifest::ManifestReply;
pub(crate) use metrics::METRICS_MEDIA_TYPE;
pub use metrics::{MetricsReply, RegistryCounts, SpansBelow, SpansReply};
pub use notice::{Notice, ScanNotice};
pub use reload::{ChangedKey, ReloadReply, WaitingKey};
pub use reply::{
    BootstrapReply, ChecksReply, DirectoryPart, DownloadRow, DownloadState, DownloadsReply, FilesReply, ForgottenReply,
    HitsReply, LinkRow, LinkState, MissingRow, PeerRow, PeerSource, PeerState, RegistryPage, RegistryRow,
    SearchStarted, SourceRow, SourceState, WholeNames,
};
pub use sandbox::{SandboxReply, SandboxState};
pub use search_rows::{SearchRow, SearchesReply};
pub use share_rows::{ShareRow, ShareState, SharesReply};
pub use status_reply::{LimitedReply, ServedReply, StatusReply, TimesReply, WatchReply};
pub use text::RawText;
pub use upload_rows::{RangeRow, UploadKey, UploadRow, UploadState, UploadsReply};
pub use wish_rows::{UnwishedReply, WishRow, WishState, WishesReply};
#[cfg(test)]
pub(crate) use wording::tests::list;
pub(crate) use wording::{Problem, SourceFault, problems};

/// The usual port of a peer (PROTOCOL, part 1), which is used where none is given.
pub(crate) const PEER_PORT: u16 = 63_339;

use serde::{Deserialize, Serialize};

/// The ID of a call: the client's choice, a number or a short string, unique among its open calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CallId {
    Number(u64),
    /// At most 64 bytes.
    Text(String),
    /// None: a JSON-RPC notification, which is executed and never answered.
    Notification,
}

/// Most rows of one page of hits, files, downloads, uploads or registrations.
pub(crate) const PAGE_ROWS_MAX: u32 = 500;

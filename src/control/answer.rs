//! Answers.

use super::{
    BootstrapReply, ContentLinkRow, DownloadsReply, EventLogReply, FileRows, FilesReply, ForgottenReply, HitRows,
    HitsReply, LeftOutReply, LimitReply, ManifestReply, MetricsReply, PeerRow, ReloadReply, SearchStarted,
    SearchesReply, SharesReply, StatusReply, UnwishedReply, UploadsReply, WishRow, WishesReply,
};
use serde::Serialize;

/// The answer to a call. On the wire it is the bare value; which kind it is follows from the call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    Status(Box<StatusReply>),
    Peers(Vec<PeerRow>),
    SearchStarted(SearchStarted),
    Hits(HitsReply<HitRows>),
    Searches(SearchesReply),
    Wish(Box<WishRow>),
    Wishes(WishesReply),
    Unwished(UnwishedReply),
    /// To `download`, `downloads`, `follow`, `pause`, `resume`, `retry` and `cancel`.
    Downloads(DownloadsReply),
    /// To `forget_downloads`.
    Forgotten(ForgottenReply),
    Uploads(UploadsReply),
    Files(FilesReply<FileRows>),
    Shares(SharesReply),
    LeftOut(LeftOutReply),
    Link(ContentLinkRow),
    Manifest(ManifestReply),
    Limit(LimitReply),
    Bootstrap(BootstrapReply),
    Reload(ReloadReply),
    Metrics(Box<MetricsReply>),
    EventLog(EventLogReply),
    /// To all others: an empty object.
    Done {},
}

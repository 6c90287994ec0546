//! What answers are made of, with the field names that scripts rely on (pyratectl(1), OUTPUT).

use super::file_rows::FileRow;
use super::hit_rows::HitRow;
use super::{CallError, RawText};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkRow {
    /// `host:port` as configured.
    pub addr: String,
    pub state: LinkState,
    /// When it last answered, epoch seconds.
    pub last_ok: Option<u64>,
    /// Seconds until the next attempt, while one is waited for.
    pub retry_in_s: Option<u64>,
    /// What went wrong last, while not registered.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Its host name is being looked up.
    Resolving,
    /// A registration is on its way.
    Registering,
    /// We are on its list.
    Registered,
    /// The last attempt failed; another follows.
    Waiting,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerRow {
    pub addr: SocketAddr,
    pub source: PeerSource,
    pub state: PeerState,
    /// When it last answered or spoke, epoch seconds.
    pub last_seen: Option<u64>,
    /// It speaks `p1`: it has shown so, or a bootstrap node lists it so. `Some(false)` if it behaved as a base peer; `None`
    /// while nothing is known.
    pub p1: Option<bool>,
    /// It is among the neighbours that searches go to.
    pub neighbour: bool,
}

/// How a peer became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerSource {
    Bootstrap,
    /// Remembered from an earlier run.
    Memory,
    Hit,
    Search,
    User,
}

/// Whether a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    New,
    /// It answered the last time.
    Alive,
    /// It did not answer the last time.
    Failing,
}

/// A search or listing has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchStarted {
    /// For [`Request::Hits`](super::Request::Hits), and in the notices.
    pub search: u32,
    /// Set if a search finds files of exactly this name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_names: Option<WholeNames>,
}

/// Why a search does not look for parts of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WholeNames {
    /// Its words have less than three bytes together, without marks.
    TooShort,
    /// It has more words, phrases or patterns than peers take.
    TooLong,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitsReply<H = Vec<HitRow>> {
    /// By id.
    pub hits: H,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<u32>,
    /// The search or listing, or one of those on this page, found more than is remembered of it.
    #[serde(default)]
    pub truncated: bool,
}

/// The downloads that a call concerned, or one page of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DownloadsReply {
    /// By id.
    pub downloads: Vec<DownloadRow>,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<u32>,
    /// All downloads that the call concerned, ascending, also those without a place on this page; none for a page of all
    /// downloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
}

/// The downloads that were removed from the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForgottenReply {
    /// Their ids, ascending.
    pub forgotten: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DownloadRow {
    /// For `follow`, `pause`, `resume`, `retry` and `cancel`.
    pub id: u32,
    /// The name in the source's share.
    pub name: RawText,
    /// The final path; `None` until it is known.
    pub path: Option<RawText>,
    pub state: DownloadState,
    /// Bytes written: verified ones, if `b3` is known.
    pub bytes_done: u64,
    /// Bytes in all; `None` if no source gave a size.
    pub size: Option<u64>,
    /// Bytes per second over the last seconds; `None` while not active.
    pub rate: Option<u64>,
    /// BLAKE3 in hex; `None` if no source gave it.
    pub b3: Option<String>,
    /// The content equals a hash that was given for this download before its bytes came.
    pub verified: bool,
    pub sources: Vec<SocketAddr>,
    /// The same sources with what each has delivered.
    pub shares: Vec<SourceRow>,
    /// Seconds until it is done at this rate; `None` if that cannot be said.
    pub eta_s: Option<u64>,
    /// A file of the same content was there already; it was left as it is.
    pub already: bool,
    /// The file of the own share of which it is a copy, or is becoming one: nothing is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<Box<RawText>>,
    /// Why it failed or waits; its code is what `pyratectl download` exits with.
    pub error: Option<Box<super::CallError>>,
    /// Seconds until the next attempt, while [`Retrying`](DownloadState::Retrying).
    pub retry_in_s: Option<u64>,
    /// Why its state could not be written to the state directory, so that a restart will not know of it; `None` if it was
    /// written. The daemon tries again.
    #[serde(default)]
    pub not_remembered: Option<Box<super::CallError>>,
    /// Its place in the queue, from 1, while it is [`Queued`](DownloadState::Queued); `None` in notices.
    #[serde(default)]
    pub place: Option<u64>,
    /// Of a directory; then the fields above are those of all its files together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Box<DirectoryPart>>,
    /// Of a file of a directory: the id of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<u32>,
}

/// What the row of a directory has beside that of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectoryPart {
    /// The hash of the manifest that the peer has sent of it, in hex; `None` if it has sent none, or its files have changed since.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Files that the peer has listed beneath it.
    pub files: u64,
    pub files_done: u64,
    /// Files that could not be had until now.
    pub files_missing: u64,
    /// The first 100 of them.
    pub missing: Vec<MissingRow>,
    /// Files that the peer does not share yet, as far as it has said: it is still writing them, or has not looked for them.
    #[serde(default)]
    pub files_pending: u64,
}

/// A file of a directory that could not be had until now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MissingRow {
    /// The name in the share of the peer.
    pub name: RawText,
    pub error: Option<super::CallError>,
}

/// A source of a download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRow {
    pub addr: SocketAddr,
    /// What it does for the download.
    pub state: SourceState,
    /// Bytes of the content that came from it and count.
    pub bytes: u64,
    /// Bytes per second over the last seconds; `None` while nothing comes.
    pub rate: Option<u64>,
    /// What went wrong with it last.
    pub error: Option<String>,
}

/// What a source does for a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Not asked for anything now.
    Idle,
    /// Asked, or sending.
    Active,
    /// Asked later: it failed, or others that the user chose are asked first.
    Waiting,
    Refused,
    /// It sent wrong bytes, and is not asked for this content any more.
    Corrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// Waits for its turn.
    Queued,
    /// Bytes are coming, or are asked for.
    Active,
    /// All bytes are there; they are being synced and checked.
    Verifying,
    /// Stopped by the user or by the disk.
    Paused,
    /// No source answered; another attempt follows.
    Retrying,
    /// Under its final name.
    Done,
    /// Ended without a file.
    Failed,
    /// Ended by the user.
    Cancelled,
}

impl fmt::Display for DownloadState {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Active => "active",
            Self::Verifying => "verifying",
            Self::Paused => "paused",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// One page of what we share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilesReply<F = Vec<FileRow>> {
    /// By name.
    pub files: F,
    /// Ask for `after` this to go on; `None` at the end.
    pub next: Option<RawText>,
    /// As [`StatusReply::share_error`](super::StatusReply::share_error).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_error: Option<CallError>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootstrapReply {
    pub links: Vec<LinkRow>,
    /// What we serve; `None` if we do not.
    pub registry: Option<RegistryPage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryPage {
    /// By address.
    pub peers: Vec<RegistryRow>,
    pub count: u64,
    /// How many registered peers answer, if they are dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksReply>,
    /// Ask for `after` this to go on; `None` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SocketAddr>,
}

/// How many registered peers answered when the bootstrap node dialled them last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksReply {
    pub answered: u64,
    pub silent: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryRow {
    pub addr: SocketAddr,
    /// Seconds until its lease ends.
    pub expires_in_s: u64,
    /// Whether it answered when it was dialled last, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<bool>,
}

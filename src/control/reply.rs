//! What answers are made of, with the field names that scripts rely on (pyratectl(1), OUTPUT).

use super::file_rows::FileRow;
use super::hit_rows::HitRow;
use super::{CallError, RawText, SandboxReply};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    pub version: String,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Where the peer listener is bound; `None` for a bootstrap node alone.
    pub listen: Option<SocketAddr>,
    /// The endpoint that other peers are given; `None` while unknown.
    pub advertise: Option<SocketAddr>,
    pub bootstraps: Vec<LinkRow>,
    /// Known peers that have not failed.
    pub peers: u64,
    pub shared_files: u64,
    pub shared_bytes: u64,
    /// Why the last scan could not read the share; `None` if it could. What was found before stays shared.
    #[serde(default)]
    pub share_error: Option<CallError>,
    /// A scan of the share is running.
    pub scanning: bool,
    /// Files shared whose hash is not known yet.
    pub unhashed_files: u64,
    pub downloads_active: u64,
    pub downloads_queued: u64,
    /// Part files that no download of this daemon names.
    #[serde(default)]
    pub orphaned_parts: u64,
    /// Bytes that they take on the disk.
    #[serde(default)]
    pub orphaned_bytes: u64,
    pub uploads_active: u64,
    /// Commands that wait for a worker, or for a file descriptor.
    pub commands_queued: u64,
    /// Payload bytes downloaded since start.
    pub bytes_down: u64,
    /// Payload bytes uploaded since start.
    pub bytes_up: u64,
    /// Messages refused since start: malformed, oversize, unsuitable.
    pub refused: u64,
    /// What met a limit since start.
    #[serde(default)]
    pub limited: LimitedReply,
    /// Turns of the loop, from the moment it has something to do until it waits again.
    #[serde(default)]
    pub turns: TimesReply,
    /// Jobs of the worker threads: how long each waited before one ran it.
    #[serde(default)]
    pub job_waits: TimesReply,
    #[serde(default)]
    pub sandbox: SandboxReply,
    /// Our bootstrap node; `None` if none is served.
    #[serde(default)]
    pub registry: Option<ServedReply>,
}

/// The bootstrap node that this daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedReply {
    /// Where it is bound.
    pub listen: SocketAddr,
    /// Peers that are registered.
    pub count: u64,
}

/// How long something took, since start. A percentile is at most a sixteenth too high.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimesReply {
    pub count: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// What met a limit, counted since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitedReply {
    /// Searches of others seen before.
    pub searches_dropped: u64,
    /// Searches of others beyond what their network may send.
    pub searches_refused: u64,
    /// Copies of others' searches that were dropped because a queue was full.
    pub forwards_dropped: u64,
    /// Searches of others that we reported as done early, because the table of open searches was full.
    pub searches_ended_early: u64,
    /// Answers not looked for or not sent, because a queue was full or the quota of unproven requesters was used up.
    pub answers_dropped: u64,
    /// Answers not looked for because the network of the requester had used up its quota.
    pub answers_refused: u64,
    /// Answers with fewer hits than the requester had asked for, because many other answers were being sent.
    pub answers_cut: u64,
    /// Answers not sent, because a queue was full, to requesters that have not shown that they can be reached.
    pub stranger_answers_dropped: u64,
    /// Requests of peers that were dropped because a queue was full; the network with most requests loses its newest.
    pub requests_dropped: u64,
    /// Requesters that are not called back, for the same reason.
    pub call_backs_dropped: u64,
    /// Hits for a query that is not ours, or no longer.
    pub hits_unasked: u64,
    /// Announcements of newcomers that were not acted on, because their network or all of them had used up the quota.
    pub announcements_refused: u64,
    /// Known peers that were replaced by others.
    pub peers_displaced: u64,
    /// Neighbours replaced by peers of a list because they had not shown that they work as a peer.
    pub neighbours_replaced: u64,
    /// Records of what others did or asked for that were replaced by newer ones: searches seen, requesters and their rings,
    /// files to be hashed first, peers asked for their protocol version, runs of ranges, endpoints that have shown `p1`.
    pub records_displaced: u64,
    /// Hits beyond the share that their network has of the rows of a search.
    pub hits_over_share: u64,
    /// Hits, and files of a listing, for which the table of rows had no room.
    pub hits_dropped: u64,
    /// Rows of larger searches or listings that were removed for others.
    pub hits_displaced: u64,
    /// Sources of downloads that were replaced by another.
    pub sources_displaced: u64,
    /// Sources of downloads that were set aside because they delivered nothing while others might.
    pub sources_silent: u64,
    /// Sources of downloads that were excluded because they sent wrong data.
    pub sources_corrupt: u64,
    /// Downloads that gave up their place because they received next to nothing while others waited.
    pub downloads_crawling: u64,
    /// Connections from outside that were closed because others needed the descriptors.
    pub connections_displaced: u64,
    /// Connections from outside that were refused because their network had its share.
    pub connections_refused: u64,
    /// Responses to slow readers that were broken off because requests of networks with fewer waited.
    pub responses_displaced: u64,
    /// Idle streams that were closed because their network had too many.
    pub streams_displaced: u64,
    /// Requests for metadata that were refused as busy, because responses being sent filled the memory for metadata.
    pub metadata_refused: u64,
    /// Registrations with our bootstrap node that were replaced by a new one of the same network.
    pub registrations_displaced: u64,
    /// New registrations for which our bootstrap node had no room.
    pub registrations_refused: u64,
    /// Lines of our log that were not written, because the log was not taken in time or could not be written.
    pub log_lines_lost: u64,
}

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
    /// Why it failed or waits; its code is what `pyratectl download` exits with.
    pub error: Option<super::CallError>,
    /// Seconds until the next attempt, while [`Retrying`](DownloadState::Retrying).
    pub retry_in_s: Option<u64>,
    /// Why its state could not be written to the state directory, so that a restart will not know of it; `None` if it was
    /// written. The daemon tries again.
    #[serde(default)]
    pub not_remembered: Option<Box<super::CallError>>,
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
    /// As [`StatusReply::share_error`].
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

//! What `status` is answered with, with the field names that scripts rely on (pyratectl(1), OUTPUT).

use super::{CallError, LeftOutCounts, LimitReply, LinkRow, RawText, SandboxReply};
use serde::{Deserialize, Serialize};
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
    /// Why the last scan could not read a share, `local_directory` before the others; `None` if it could read all. What was found
    /// before stays shared.
    #[serde(default)]
    pub share_error: Option<CallError>,
    /// What is in the shared directory and not shared.
    #[serde(default)]
    pub left_out: LeftOutCounts,
    /// A scan of the share is running.
    pub scanning: bool,
    /// Files shared whose hash is not known yet.
    pub unhashed_files: u64,
    pub downloads_active: u64,
    pub downloads_queued: u64,
    /// Searches that repeat.
    #[serde(default)]
    pub wishes: u64,
    /// Part files that no download of this daemon names.
    #[serde(default)]
    pub orphaned_parts: u64,
    /// Bytes that they take on the disk.
    #[serde(default)]
    pub orphaned_bytes: u64,
    pub uploads_active: u64,
    /// Bytes a second that all downloads together keep to; 0 is no limit.
    #[serde(default)]
    pub download_limit: u64,
    /// The same of uploads.
    #[serde(default)]
    pub upload_limit: u64,
    /// Both, with why they hold and until when; `None` for a bootstrap node alone.
    #[serde(default)]
    pub limits: Option<LimitReply>,
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
    /// Jobs of the worker threads: how long each waited before one ran it, or before it was given up.
    #[serde(default)]
    pub job_waits: TimesReply,
    #[serde(default)]
    pub sandbox: SandboxReply,
    /// The watched directory; `None` if there is none.
    #[serde(default)]
    pub watch: Option<WatchReply>,
    /// Our bootstrap node; `None` if none is served.
    #[serde(default)]
    pub registry: Option<ServedReply>,
}

/// The directory where users put files with links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchReply {
    pub directory: RawText,
    /// Files since start whose downloads were begun.
    pub added: u64,
    /// Files since start that were set aside, as no links.
    pub failed: u64,
    /// Why it cannot be read now, or why the files in it have to wait; `None` if neither.
    pub error: Option<String>,
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

//! The bounds of directories that are downloaded as one ([`download`](crate::node::download)). Their files count towards
//! [`DOWNLOADS_MAX`](super::DOWNLOADS_MAX).

use std::time::Duration;

/// Directories remembered; beyond, the oldest that is over is forgotten.
pub(in crate::node) const DIRECTORIES_MAX: usize = 1_000;
/// Manifests that clients give in parts and have not ordered yet; beyond, the oldest is not kept.
pub(in crate::node) const MANIFESTS_GIVEN_MAX: usize = 4;
/// Searches a minute for files of directories without a peer, of all of them together.
pub(in crate::node) const MEMBER_SEARCHES_PER_MINUTE: u32 = 60;
/// How many of these searches may go out at once.
pub(in crate::node) const MEMBER_SEARCHES_BURST: u32 = 8;
/// Time between such searches, beyond those that go out at once.
pub(in crate::node) const MEMBER_SEARCH_SPACING: Duration = Duration::from_secs(1);
/// Files that are looked at for the next such search; beyond, the search goes on after [`MEMBER_SEARCH_SPACING`].
pub(in crate::node) const MEMBERS_LOOKED_AT_MAX: usize = if cfg!(test) { 64 } else { 1_000 };
/// The timer of such a file, which only makes sure that the timer of the searches runs. The searches follow their own order.
pub(in crate::node) const MEMBER_WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// Up to so much is added by chance, so that thousands of these timers do not end in one turn.
pub(in crate::node) const MEMBER_WAIT_SPREAD: Duration = Duration::from_secs(10 * 60);
/// Searches a minute for further sources of files of directories.
pub(in crate::node) const MEMBER_SEEKS_PER_MINUTE: u32 = 60;
/// How many of these searches may go out at once.
pub(in crate::node) const MEMBER_SEEKS_BURST: u32 = 16;
/// Places at peers that may have the files of a directory, as searches have found; peers that the user has named are not counted.
pub(in crate::node) const TREES_MAX: usize = 8;
/// Files to which such a peer is offered before one has come from it.
pub(in crate::node) const TREE_OFFERS_FIRST: u32 = 8;
/// Files more to which it is offered, for each file that it has sent or that a search has found there.
pub(in crate::node) const TREE_OFFERS_MORE: u32 = 2;
/// Empty directories that one order makes: each is synced.
pub(in crate::node) const DIRECTORIES_MADE_AT_ONCE: usize = 64;
/// Bytes of the manifests of shared directories that are kept; those that nobody asked for lately give way.
pub(in crate::node) const MANIFESTS_BYTES_MAX: usize = if cfg!(test) { 4 << 10 } else { 16 << 20 };
/// Directories of which manifests are asked for and not made yet. Beyond, the network that asks for most is refused.
pub(in crate::node) const MANIFESTS_ASKED_MAX: usize = 256;
/// Manifests that clients read page by page at once; beyond, the oldest is not kept.
pub(in crate::node) const MANIFESTS_READ_MAX: usize = 4;
/// Bytes of such a page, at most; a line is shorter.
pub(in crate::node) const MANIFEST_PAGE_BYTES: usize = 64 << 10;
/// Files and empty directories that one slice of work adds to a manifest: hashing each line takes about a microsecond.
pub(in crate::node) const MANIFEST_ENTRIES_PER_SLICE: usize = 256;
/// Directories within each other; what lies deeper is left out.
pub(in crate::node) const DIRECTORY_DEPTH_MAX: usize = 64;
/// Names of missing files that are shown of a directory.
pub(in crate::node) const DIRECTORY_NAMES_SHOWN: usize = 100;
/// Files that are not shared yet are counted so far for the answer to a request for a manifest.
pub(in crate::node) const PENDING_COUNT_MAX: usize = 1_000;
/// How often a peer is asked again for files that it does not share yet, with the waits of sources: for about five minutes. One
/// that is always being written, like a log, holds no download for ever.
pub(in crate::node) const PENDING_ASKS_MAX: u32 = 8;
/// First wait before the list is asked for again because files were refused; doubles.
pub(in crate::node) const DIRECTORY_RETRY_MIN: Duration = Duration::from_secs(60);
/// Longest such wait.
pub(in crate::node) const DIRECTORY_RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// The bytes of the names of all files of a directory.
pub(in crate::node) const DIRECTORY_LIST_BYTES_MAX: usize = 8 << 20;

/// The bytes of what the row of a directory says of files that are missing.
pub(in crate::node) const DIRECTORY_NAMES_BYTES_MAX: usize = 16 << 10;

//! The bounds of directories that are downloaded as one ([`download`](crate::node::download)). Their files count towards
//! [`DOWNLOADS_MAX`](super::DOWNLOADS_MAX).

use std::time::Duration;

/// Directories remembered; beyond, the oldest that is over is forgotten.
pub(in crate::node) const DIRECTORIES_MAX: usize = 1_000;
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
/// First wait before the list is asked for again because files were refused; doubles.
pub(in crate::node) const DIRECTORY_RETRY_MIN: Duration = Duration::from_secs(60);
/// Longest such wait.
pub(in crate::node) const DIRECTORY_RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// The bytes of the names of all files of a directory.
pub(in crate::node) const DIRECTORY_LIST_BYTES_MAX: usize = 8 << 20;

/// The bytes of what the row of a directory says of files that are missing.
pub(in crate::node) const DIRECTORY_NAMES_BYTES_MAX: usize = 16 << 10;

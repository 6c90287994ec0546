//! What a user wants of a directory.

use crate::content::ManifestText;
use crate::id::ContentHash;
use crate::name::FileName;
use std::net::SocketAddr;

/// A directory that a user wants.
#[derive(Debug)]
pub(super) struct DirectoryRequest {
    /// Ends in `/`.
    pub(super) name: FileName,
    /// `None` where the user has given the manifest.
    pub(super) peer: Option<SocketAddr>,
    /// Further peers that a link names, or that have what a search has found.
    pub(super) others: Vec<SocketAddr>,
    /// The hash of the manifest that a link names or that the user has given.
    pub(super) manifest: Option<ContentHash>,
    /// The manifest that the user has given.
    pub(super) text: Option<ManifestText>,
}

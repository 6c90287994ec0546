//! What a user wants to download.

use super::source::Source;
use crate::id::{ContentHash, HitId};
use crate::name::FileName;

/// Something that a user wants, as it was named.
#[derive(Debug)]
pub(super) enum Wanted {
    Hit(HitId),
    Named(Box<DownloadRequest>),
}

/// One file that a user wants.
#[derive(Debug)]
pub(super) struct DownloadRequest {
    pub(super) name: FileName,
    pub(super) size: Option<u64>,
    pub(super) b3: Option<ContentHash>,
    pub(super) sources: Vec<Source>,
}

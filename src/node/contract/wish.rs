//! Records of wishes, in actions and events.

use crate::control::{EventRow, RawText};
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use std::net::SocketAddr;
use std::rc::Rc;

/// The record of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WishRecord {
    pub id: TransferId,
    pub text: RawText,
    /// When it was made, epoch seconds.
    pub since: u64,
    /// What it finds is downloaded.
    pub download: bool,
    /// So many contents fulfil it, or so many downloads that are done, if what it finds is downloaded; `None` for no limit.
    pub limit: Option<u32>,
    /// In the order in which they were found.
    pub found: Vec<FoundFile>,
    /// What the event log has of it.
    pub events: Vec<Rc<EventRow>>,
}

/// A content that a wish has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// The name at the peer.
    pub name: FileName,
    /// In bytes, if the peer has reported it.
    pub size: Option<u64>,
    /// `None`: the peer did not report it. Then peer, name and size tell what it is.
    pub b3: Option<ContentHash>,
    /// The peer that offered it last.
    pub peer: SocketAddr,
    pub state: FoundState,
}

/// What has become of a content that a wish has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundState {
    /// It was reported.
    Reported,
    /// It is to be downloaded.
    Wanted,
    /// Its download has a record.
    Begun(TransferId),
    /// Its download is done.
    Done(TransferId),
    /// Its download has failed or was cancelled: another content may take its place.
    Failed(TransferId),
}

impl FoundState {
    /// The download that was begun.
    pub(in crate::node) fn download(self) -> Option<TransferId> {
        match self {
            Self::Reported | Self::Wanted => None,
            Self::Begun(id) | Self::Done(id) | Self::Failed(id) => Some(id),
        }
    }
}

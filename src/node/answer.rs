//! What a hit or a line of a list says, and whose word that is.

use crate::id::ContentHash;
use crate::wire::Listed;
use std::net::SocketAddr;

/// Who has told a name of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    /// The source itself, as far as the address of the connection shows; or the user has chosen the name.
    Source,
    /// Somebody else, who may have made it up.
    Others,
}

impl Teller {
    /// Who has told what came on a connection from this address about a source.
    pub(super) fn of(from: SocketAddr, source: SocketAddr) -> Self {
        if from.ip().to_canonical() == source.ip().to_canonical() { Self::Source } else { Self::Others }
    }
}

/// What a hit or a line of a list says: this peer offers this file.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) file: Listed,
    pub(super) responder: SocketAddr,
    /// Where the connection came from that brought it; of a list, whom it was asked of.
    pub(super) from: SocketAddr,
}

impl Answer {
    /// The content, if it is told.
    pub(super) fn b3(&self) -> Option<ContentHash> {
        self.file.attributes?.b3
    }
}

//! What one part of the node leaves to another: carried out before the event or timer that caused it is over, in the order in
//! which it came up.

use super::hit::Answer;
use super::open_searches::OpenId;
use super::speech::Speech;
use crate::id::{ExchangeId, TransferId};
use std::net::SocketAddr;

/// What one part of the node leaves to another.
#[derive(Debug)]
pub(super) enum Step {
    /// A peer list has come. `is_whole`: it names all peers, and is not the first of its link.
    Listed { is_whole: bool },
    /// A peer list that was asked for has come, or will not.
    ListEnded,
    /// Something else is known of what a peer speaks.
    SpeechChanged { peer: SocketAddr, before: Speech, after: Speech },
    /// A hit or a list offers a file. `sought`: the download for which it was looked for.
    Found { found: Answer, sought: Option<TransferId> },
    /// A download is finished, has failed or was cancelled.
    DownloadOver { id: TransferId },
    /// A response, or a file for a requester that is called back, has a worker.
    Granted { exchange: ExchangeId },
    /// A request gave its place in the queue to another.
    RequestDropped { exchange: ExchangeId },
    /// Hits gave their place in the queue to others; the search that waits for them to be sent.
    HitsDropped { open: Option<OpenId> },
}

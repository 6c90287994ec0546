//! What one part of the node leaves to another: carried out before the event or timer that caused it is over, in the order in
//! which it came up.

use crate::id::{ExchangeId, TransferId};
use crate::node::answer::Answer;
use crate::node::ids::OpenId;
use crate::node::speech::Speech;
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// What one part of the node leaves to another.
#[derive(Debug)]
pub(in crate::node) enum Step {
    /// A peer list has come. `is_whole`: it names all peers, and is not the first of its link.
    Listed { is_whole: bool },
    /// An exchange with a bootstrap node has ended, or its name is not known: a registration or a peer list has come, or will not.
    ErrandEnded,
    /// Something else is known of what a peer speaks.
    SpeechChanged { peer: SocketAddr, before: Speech, after: Speech },
    /// A hit or a list offers a file. `sought`: the download for which it was looked for.
    Found { found: Answer, sought: Option<TransferId> },
    /// A download is finished, has failed or was cancelled.
    DownloadOver { id: TransferId },
    /// Peers are to be asked for further sources of a download, once for each text; `on_sought` follows.
    Seek { download: TransferId, texts: Vec<Box<[u8]>>, is_stuck: bool },
    /// Messages that nothing answers have a worker.
    Send { exchange: ExchangeId, to: SocketAddr, messages: Vec<Message>, connect_max: Duration },
    /// A response, or a file for a requester that is called back, has a worker.
    Granted { exchange: ExchangeId },
    /// A request gave its place in the queue to another.
    RequestDropped { exchange: ExchangeId },
    /// Hits gave their place in the queue to others; the search that waits for them to be sent.
    HitsDropped { open: Option<OpenId> },
}

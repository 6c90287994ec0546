//! Steps from one machine to another, executed in order before the handling of the event or timer ends.

use crate::fault::Refusal;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::node::answer::Answer;
use crate::node::ids::OpenId;
use crate::node::speech::Speech;
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub(in crate::node) enum Step {
    /// A peer list came. `is_whole`: it is complete, and not the first of its link.
    Listed {
        is_whole: bool,
    },
    /// An exchange with a bootstrap node has ended, or resolving its name failed.
    LinkTaskEnded,
    SpeechChanged {
        peer: SocketAddr,
        before: Speech,
        after: Speech,
    },
    /// A hit or a list offers a file. `sought`: the download that searched for it.
    Found {
        found: Answer,
        sought: Option<TransferId>,
    },
    /// An answer to the search for a wish.
    WishAnswered {
        wish: TransferId,
        found: Answer,
    },
    /// A download is finished, has failed or was cancelled.
    DownloadOver {
        id: TransferId,
    },
    /// Nothing of the content of a download is there yet: if the own share has it, a copy is made.
    FindOwn {
        download: TransferId,
        b3: ContentHash,
    },
    /// Search for further sources of a download, once for each text; `on_sought` follows.
    Seek {
        download: TransferId,
        texts: Vec<Box<[u8]>>,
        is_stuck: bool,
    },
    /// Messages without a response have a worker.
    Send {
        exchange: ExchangeId,
        to: SocketAddr,
        messages: Vec<Message>,
        connect_max: Duration,
    },
    /// A response or a call-back has a worker.
    Granted {
        exchange: ExchangeId,
    },
    /// The manifest of a shared directory is made, or cannot be.
    ManifestMade {
        name: FileName,
        outcome: Result<(), Refusal>,
    },
    RequestDropped {
        exchange: ExchangeId,
    },
    /// Hits were displaced from the queue. `open`: the search that waits for their sending.
    HitsDropped {
        open: Option<OpenId>,
    },
}

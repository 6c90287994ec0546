//! What each deadline of the node is for.

use crate::id::{ExchangeId, SearchId, TransferId};
use crate::node::ids::{CallBackId, LinkId, OpenId, RunId};
use std::net::SocketAddr;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum NodeTimer {
    /// The next attempt of a bootstrap link, or its next keepalive.
    Link(LinkId),
    /// The next look at a peer list between keepalives.
    Refresh(LinkId),
    /// Good peers changed: remember them.
    RememberPeers,
    /// Claims of endpoints grow old.
    ExpirePeers,
    /// A ring that no neighbour was sent is over, or the peer lists that one needs have had their time.
    Ring(SearchId),
    /// Neighbours have had their time to say that they are done with a search.
    SearchPart(OpenId),
    /// A search has been over for so long that it takes no more hits.
    ForgetSearches,
    /// A neighbour may be sent a search of others that waits.
    Forward(SocketAddr),
    /// A request from the network waited for a worker.
    CommandWaited { exchange: ExchangeId },
    /// Requests wait: slow readers of networks that have more may give way.
    Displace,
    /// A requester that refused to be called back may listen by now.
    CallBack(CallBackId),
    /// A requester has waited long enough to be called back.
    CallBackOverdue(CallBackId),
    /// An upload waited for its turn under the limit.
    TurnWaited { exchange: ExchangeId },
    /// No range of an upload was asked for in a while.
    RangesIdle(RunId),
    /// The sources of a download can be asked again.
    Retry(TransferId),
    /// A download that fetches may have something better to do.
    Look(TransferId),
    /// The disk that stopped a download is tried again.
    Probe(TransferId),
    /// Downloads that come too slowly may have kept others waiting.
    Pace,
    /// Files that an error kept from being hashed are tried again.
    HashAgain,
    /// An answer has waited long enough for a record to be on the disk.
    RecordOverdue(u64),
    /// The next scan of the share.
    Rescan,
    /// The next look at files of the share that are not at rest.
    LookAtRecent,
    /// The bootstrap nodes had their time to hear that we go.
    LeaveDeadline,
}

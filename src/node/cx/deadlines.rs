//! The purposes of deadlines.

use super::subjects::Subject;
use crate::id::{ExchangeId, SearchId, TransferId};
use crate::node::ids::{CallBackId, LinkId, OpenId, RunId};
use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum NodeTimer {
    /// The next attempt of a bootstrap link, or its next keepalive.
    Link(LinkId),
    /// The next request of a peer list between keepalives.
    Refresh(LinkId),
    RememberPeers,
    ExpirePeers,
    /// A search continues: its ring was sent to nobody, or its wait for a registration or peer lists is over.
    Ring(SearchId),
    /// Neighbours have not reported the end of a search in time.
    SearchPart(OpenId),
    ForgetSearches,
    /// The budget of a neighbour allows another forwarded search.
    Forward(SocketAddr),
    CommandWaited {
        exchange: ExchangeId,
    },
    /// Requests wait: responses to slow readers may be displaced.
    Displace,
    CallBack(CallBackId),
    /// No further attempt of a call-back begins.
    CallBackOverdue(CallBackId),
    /// A request has waited too long for its turn under `upload_limit`.
    TurnWaited {
        exchange: ExchangeId,
    },
    /// No range of an upload was requested for a while.
    RangesIdle(RunId),
    /// Sources of a download can be tried again.
    Retry(TransferId),
    /// The peer of a directory is asked for its list again.
    Directory(TransferId),
    /// The next search for a file of a directory without a peer.
    MemberSearch,
    Look(TransferId),
    /// Try again the disk that stopped a download.
    Probe(TransferId),
    /// Slow downloads may give way to waiting ones.
    Pace,
    /// Hash files again that met a system error.
    HashAgain,
    /// A reply has waited too long for a record to be on the disk.
    RecordOverdue(u64),
    /// The next search for a wish.
    WishAsk,
    /// Wishes that have found something are saved.
    WishSave,
    /// A reply has waited too long for the record of a wish to be on the disk.
    WishOverdue(u64),
    Rescan,
    /// Examine files of the share that are not settled.
    LookAtRecent,
    /// A minute of log lines is over in which some were left out.
    LinesLeftOut(Subject),
    LeaveDeadline,
}

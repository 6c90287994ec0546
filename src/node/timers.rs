//! What each deadline of the node is for, and what happens when it has come.

use crate::id::{ExchangeId, SearchId, TransferId};
use crate::node::Node;
use crate::node::network::LinkId;
use crate::node::search::OpenId;
use std::net::SocketAddr;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeTimer {
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
    CallBack(crate::node::upload::CallBackId),
    /// A requester has waited long enough to be called back.
    CallBackOverdue(crate::node::upload::CallBackId),
    /// An upload waited for its turn under the limit.
    TurnWaited { exchange: ExchangeId },
    /// No range of an upload was asked for in a while.
    RangesIdle(crate::node::upload::RunId),
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

impl Node {
    pub(super) fn on_timer(&mut self, timer: NodeTimer) {
        if !self.cx.is_running() && timer != NodeTimer::LeaveDeadline {
            return;
        }
        match timer {
            NodeTimer::Link(link) => self.network.on_link_timer(&mut self.cx, link),
            NodeTimer::Refresh(link) => self.network.on_refresh_timer(&mut self.cx, link),
            NodeTimer::RememberPeers => self.network.remember_peers(&mut self.cx),
            NodeTimer::ExpirePeers => self.network.on_expire_peers(&mut self.cx),
            NodeTimer::Ring(search) => self.search.on_ring_timer(&mut self.cx, &mut self.network, search),
            NodeTimer::SearchPart(open) => self.search.on_part_timer(&mut self.cx, &mut self.network, open),
            NodeTimer::ForgetSearches => self.search.on_forget_timer(&mut self.cx),
            NodeTimer::Forward(neighbour) => self.search.on_forward_timer(&mut self.cx, &mut self.network, neighbour),
            NodeTimer::CommandWaited { exchange } => self.upload.on_command_waited(&mut self.cx, exchange),
            NodeTimer::Displace => {
                let of_turns = self.upload.shares_of_turns(&self.cx);
                self.cx.on_displace_timer(of_turns, self.upload.waiting_for_turns());
            }
            NodeTimer::CallBack(id) => self.upload.on_call_back_timer(&mut self.cx, id),
            NodeTimer::CallBackOverdue(id) => self.upload.on_call_back_overdue(&mut self.cx, id),
            NodeTimer::TurnWaited { exchange } => self.upload.on_turn_waited(&mut self.cx, exchange),
            NodeTimer::RangesIdle(run) => self.upload.on_run_idle(&mut self.cx, run),
            NodeTimer::Retry(download) => self.download.on_retry_timer(&mut self.cx, download),
            NodeTimer::Look(download) => self.download.on_look_timer(download),
            NodeTimer::Probe(download) => self.download.probe_disk(&mut self.cx, download),
            NodeTimer::Pace => self.download.on_pace_timer(&mut self.cx),
            NodeTimer::HashAgain => self.share.on_hash_again(&mut self.cx),
            NodeTimer::RecordOverdue(answer) => self.download.on_record_overdue(&mut self.cx, answer),
            NodeTimer::Rescan => self.share.start_scan(&mut self.cx),
            NodeTimer::LookAtRecent => self.share.look_at_recent(&mut self.cx),
            NodeTimer::LeaveDeadline => self.leave(),
        }
    }
}

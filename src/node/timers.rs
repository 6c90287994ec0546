//! What each deadline of the node is for, and what happens when it has come.

use super::membership::LinkId;
use super::open_searches::OpenId;
use super::{Node, Phase};
use crate::id::{ExchangeId, SearchId, TransferId};
use crate::time::Instant;
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
    CallBack(super::call_backs::CallBackId),
    /// A requester has waited long enough to be called back.
    CallBackOverdue(super::call_backs::CallBackId),
    /// An upload waited for its turn under the limit.
    TurnWaited { exchange: ExchangeId },
    /// No range of an upload was asked for in a while.
    RangesIdle(super::uploads::RunId),
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
    pub(super) fn on_timer(&mut self, now: Instant, timer: NodeTimer) {
        if !matches!(self.phase, Phase::Running) && timer != NodeTimer::LeaveDeadline {
            return;
        }
        match timer {
            NodeTimer::Link(link) => self.on_link_timer(now, link),
            NodeTimer::Refresh(link) => self.on_refresh_timer(now, link),
            NodeTimer::RememberPeers => self.remember_peers(now),
            NodeTimer::ExpirePeers => self.on_expire_peers(now),
            NodeTimer::Ring(search) => self.on_ring_timer(now, search),
            NodeTimer::SearchPart(open) => self.on_part_timer(now, open),
            NodeTimer::ForgetSearches => self.on_forget_timer(now),
            NodeTimer::Forward(neighbour) => self.on_forward_timer(now, neighbour),
            NodeTimer::CommandWaited { exchange } => self.on_command_waited(exchange),
            NodeTimer::Displace => {
                let of_turns = self.turns.shares(now, |exchange| self.workers.flow(exchange));
                self.on_displace_timer(now, of_turns, self.turns.waiting());
            }
            NodeTimer::CallBack(id) => self.on_call_back_timer(now, id),
            NodeTimer::CallBackOverdue(id) => self.on_call_back_overdue(id),
            NodeTimer::TurnWaited { exchange } => self.on_turn_waited(exchange),
            NodeTimer::RangesIdle(run) => self.on_run_idle(run),
            NodeTimer::Retry(download) => self.on_retry_timer(now, download),
            NodeTimer::Look(download) => self.downloads.touch(download),
            NodeTimer::Probe(download) => self.probe_disk(download),
            NodeTimer::Pace => self.on_pace_timer(now),
            NodeTimer::HashAgain => self.on_hash_again(now),
            NodeTimer::RecordOverdue(answer) => self.on_record_overdue(now, answer),
            NodeTimer::Rescan => self.start_scan(),
            NodeTimer::LookAtRecent => self.look_at_recent(now),
            NodeTimer::LeaveDeadline => self.leave(),
        }
    }
}

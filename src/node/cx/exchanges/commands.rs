//! What takes a worker, for whom, and how much of each kind may be in progress or wait at once.

use crate::node::contract::Action;
use crate::node::fair_queue::Sender;
use crate::node::limits::{
    FORWARDS_QUEUED_MAX, HITS_QUEUED_MAX, REQUESTS_QUEUED_MAX, REQUESTS_QUEUED_PER_NETWORK_MAX, STRANGER_DIALS_MAX,
    STRANGER_DIALS_QUEUED_MAX, WORKERS_KEPT_OF,
};
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// The queue is full: the command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) struct QueueFull;

/// Something that takes a worker from its start to the end of its exchange.
#[derive(Debug)]
pub(in crate::node) enum Command {
    /// An exchange of ours begins with this.
    Begin(Action),
    /// Messages that nothing answers are sent to a peer, as it takes them then: [`Step::Send`](crate::node::cx::Step::Send) follows.
    Send { to: SocketAddr, messages: Vec<Message>, connect_max: Duration },
    /// Something is sent to a peer that has asked for it: [`Step::Granted`](crate::node::cx::Step::Granted) follows.
    Respond,
}

/// Whose a command is; the first go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Rank {
    /// Our user's, bounded elsewhere: always taken.
    Fetch,
    /// Our user's.
    Own,
    /// Somebody else's.
    For(Kind, Sender),
}

impl Rank {
    /// What a peer waits for.
    pub(in crate::node) fn asked(from: SocketAddr) -> Self {
        Self::For(Kind::Request, Sender::own(from))
    }
}

/// What is done for others; the first go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Kind {
    /// A response, for which a peer waits.
    Request,
    /// Hits for a requester that is proven to be a peer.
    Hits,
    /// Hits for a requester that is not: it may be one that nobody can connect to.
    StrangerHits,
    /// Somebody else's search, sent on.
    Forward,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Request, Self::Hits, Self::StrangerHits, Self::Forward];

    /// How many may be in progress: of what nobody waits for, all kinds together half of the workers. Requests leave some to
    /// these, however many networks ask.
    pub(super) fn workers_max(self, workers_max: usize) -> usize {
        match self {
            // Of a few workers, each must be of use to those who are there.
            Self::Request if workers_max < WORKERS_KEPT_OF => workers_max,
            Self::Request => workers_max - workers_max / 4,
            Self::Hits => (workers_max / 4).max(1),
            Self::StrangerHits => (workers_max / 16).clamp(1, STRANGER_DIALS_MAX),
            Self::Forward => (workers_max * 3 / 16).max(1),
        }
    }

    /// How many of one network may be in progress: never all, so that another finds a free one.
    pub(super) fn workers_of_network_max(self, workers_max: usize) -> usize {
        match self {
            Self::Request if workers_max < WORKERS_KEPT_OF => workers_max,
            Self::Request => workers_max / 2,
            _ => self.workers_max(workers_max).div_ceil(2),
        }
    }

    /// How many may wait, in all and of one network.
    pub(super) fn queued_max(self) -> (usize, usize) {
        match self {
            Self::Request => (REQUESTS_QUEUED_MAX, REQUESTS_QUEUED_PER_NETWORK_MAX),
            Self::Hits => (HITS_QUEUED_MAX, HITS_QUEUED_MAX / 2),
            Self::StrangerHits => (STRANGER_DIALS_QUEUED_MAX, STRANGER_DIALS_QUEUED_MAX / 2),
            Self::Forward => (FORWARDS_QUEUED_MAX, FORWARDS_QUEUED_MAX),
        }
    }
}

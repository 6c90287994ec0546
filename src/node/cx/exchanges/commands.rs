//! Commands, their kinds and ranks, and the limits of each kind.

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

/// Takes a worker from its start to the end of its exchange.
#[derive(Debug)]
pub(in crate::node) enum Command {
    /// Begins an exchange with this action.
    Begin(Action),
    /// Sends messages without a response: [`Step::Send`](crate::node::cx::Step::Send) follows.
    Send { to: SocketAddr, messages: Vec<Message>, connect_max: Duration },
    /// Sends a response: [`Step::Granted`](crate::node::cx::Step::Granted) follows.
    Respond,
}

/// In order of priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Rank {
    /// For our user. Always accepted: their number is limited elsewhere.
    Fetch,
    Own,
    For(Kind, Sender),
}

impl Rank {
    pub(in crate::node) fn asked(from: SocketAddr) -> Self {
        Self::For(Kind::Request, Sender::own(from))
    }
}

/// Kinds of commands for others, in order of priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Kind {
    Request,
    /// Hits for a proven peer.
    Hits,
    /// Hits for an unproven requester, which may be unreachable.
    StrangerHits,
    Forward,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Request, Self::Hits, Self::StrangerHits, Self::Forward];

    /// How many may be in progress. All kinds but requests together get half of the workers; requests leave some to these.
    pub(super) fn workers_max(self, workers_max: usize) -> usize {
        match self {
            // With few workers, requests may use all of them.
            Self::Request if workers_max < WORKERS_KEPT_OF => workers_max,
            Self::Request => workers_max - workers_max / 4,
            Self::Hits => (workers_max / 4).max(1),
            Self::StrangerHits => (workers_max / 16).clamp(1, STRANGER_DIALS_MAX),
            Self::Forward => (workers_max * 3 / 16).max(1),
        }
    }

    /// How many of one network may be in progress: not all, so that another network finds a free one.
    pub(super) fn workers_of_network_max(self, workers_max: usize) -> usize {
        match self {
            Self::Request if workers_max < WORKERS_KEPT_OF => workers_max,
            Self::Request => workers_max / 2,
            _ => self.workers_max(workers_max).div_ceil(2),
        }
    }

    /// How many may wait, in total and of one network.
    pub(super) fn queued_max(self) -> (usize, usize) {
        match self {
            Self::Request => (REQUESTS_QUEUED_MAX, REQUESTS_QUEUED_PER_NETWORK_MAX),
            Self::Hits => (HITS_QUEUED_MAX, HITS_QUEUED_MAX / 2),
            Self::StrangerHits => (STRANGER_DIALS_QUEUED_MAX, STRANGER_DIALS_QUEUED_MAX / 2),
            Self::Forward => (FORWARDS_QUEUED_MAX, FORWARDS_QUEUED_MAX),
        }
    }
}

//! The state of the peer lists of one bootstrap node.

use crate::node::limits::{LIST_WAIT_MAX, REFRESH_MAX};
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, Default)]
pub(in crate::node) struct Lists {
    /// The request soon after the registration was scheduled, which lets peers that start together find each other.
    pub(super) second_request: bool,
    /// The last list marks `p1` peers.
    pub(super) marks_p1: bool,
    /// The last list had as many rows as requested: it may be a sample, without us.
    pub(in crate::node) is_sampled: bool,
    /// When we registered again because a list did not show us, and how many times in a row this did not help.
    pub(super) again: Option<(Instant, u32)>,
    pub(in crate::node) came_at: Option<Instant>,
    pub(super) requested_at: Option<Instant>,
    /// The last list did not come within [`LIST_WAIT_MAX`].
    pub(super) was_late: bool,
    /// The base peer on the last list that is assigned to us.
    pub(super) assigned: Option<SocketAddr>,
}

impl Lists {
    /// A request for a list has ended.
    pub(super) fn note_ended(&mut self, now: Instant, has_come: bool) {
        let in_time = self.requested_at.is_some_and(|at| now.saturating_since(at) <= LIST_WAIT_MAX);
        self.was_late = !(has_come && in_time);
    }

    /// Until when a search waits for the requested list. A bootstrap node that does not answer delays only one search.
    pub(in crate::node) fn awaited_until(&self) -> Option<Instant> {
        self.requested_at.filter(|_| !self.was_late).map(|at| at + LIST_WAIT_MAX)
    }

    /// Whether to register again, after a list that does not show us: twice at once, then with increasing delays, since the
    /// bootstrap node may list us under an address that we do not know.
    pub(super) fn registers_again(&mut self, now: Instant, wait_max: Duration) -> bool {
        let (at, in_vain) = match self.again {
            None => (None, 0),
            Some((at, times)) => (Some(at), times),
        };
        let wait = REFRESH_MAX.saturating_mul(1 << in_vain.saturating_sub(2).min(16)).min(wait_max);
        let due = in_vain < 2 || at.is_none_or(|at| now.saturating_since(at) >= wait);
        if due {
            self.again = Some((now, in_vain.saturating_add(1)));
        }
        due
    }
}

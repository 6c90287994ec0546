//! What a link knows from the lists of its bootstrap node.

use crate::node::limits::{LIST_WAIT_MAX, REFRESH_MAX};
use crate::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// What a link knows from the lists of its bootstrap node.
#[derive(Debug, Default)]
pub(in crate::node) struct Lists {
    /// The look soon after the registration was planned: peers that start together find each other with it.
    pub(super) second_look: bool,
    /// The last list says of its peers what they speak.
    pub(super) tells: bool,
    /// The last list had as many rows as were asked for: it may be a part, and need not show us.
    pub(super) sampled: bool,
    /// When we registered again because a list did not show us, and how many times in a row that was of no use.
    pub(super) again: Option<(Instant, u32)>,
    /// When the last list came.
    pub(super) came_at: Option<Instant>,
    /// When the last was asked for.
    pub(super) asked_at: Option<Instant>,
    /// The last that was asked for did not come within [`LIST_WAIT_MAX`].
    pub(super) was_late: bool,
    /// The base peer on the last list that is assigned to us.
    pub(super) assigned: Option<SocketAddr>,
}

impl Lists {
    /// When the last list came.
    pub(in crate::node) fn came_at(&self) -> Option<Instant> {
        self.came_at
    }

    /// Whether the last list may be a part.
    pub(in crate::node) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The base peer on it that is assigned to us.
    pub(super) fn assigned(&self) -> Option<SocketAddr> {
        self.assigned
    }

    /// A list is asked for.
    pub(super) fn note_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// The list that was asked for has come, or will not.
    pub(super) fn note_ended(&mut self, now: Instant, has_come: bool) {
        let in_time = self.asked_at.is_some_and(|at| now.saturating_since(at) <= LIST_WAIT_MAX);
        self.was_late = !(has_come && in_time);
    }

    /// Until when a search waits for the list that is on its way. A bootstrap node that is silent delays one search.
    pub(in crate::node) fn awaited_until(&self) -> Option<Instant> {
        self.asked_at.filter(|_| !self.was_late).map(|at| at + LIST_WAIT_MAX)
    }

    /// Of a link that has just registered.
    pub(super) fn begin(&mut self) {
        self.second_look = false;
    }

    /// Whether to register again, after a list that does not show us: at once twice, since the memory may be lost twice,
    /// then ever less often, for there may be a bootstrap node that lists us under an address which we do not know as ours.
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

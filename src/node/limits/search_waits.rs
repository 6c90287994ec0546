//! How long the end of a search is waited for ([`end`](crate::node::search::end)).

use std::time::Duration;

/// How much longer each hop waits for those behind it than the next one. The last ring, with a TTL of 7, waits
/// [`LAST_RING_WAIT`](super::LAST_RING_WAIT) so.
pub(in crate::node) const DONE_STEP: Duration = Duration::from_millis(200);
/// How much sooner than its sender gives us up we say that we are done.
pub(in crate::node) const DONE_MARGIN: Duration = Duration::from_millis(50);
/// How long after a wider copy of a search it is sent on again: the widest is the last of several, mostly.
pub(in crate::node) const WIDEN_DELAY: Duration = Duration::from_millis(100);
/// A copy with a TTL that is higher by one alone is sent on only if fewer hops were left.
pub(in crate::node) const WIDEN_BY_ONE_BELOW: u8 = 3;
/// Least time for a neighbour that is known to say so, and that may have many behind it.
pub(in crate::node) const PART_WAIT_FLOOR: Duration = Duration::from_millis(400);
/// How long a node has a search before it says to those that asked that it waits for others.
pub(in crate::node) const WAITS_AFTER: Duration = Duration::from_millis(20);
/// Least time for a neighbour to say anything of a search: more than [`WAITS_AFTER`] and what a busy machine takes.
pub(in crate::node) const WORD_WAIT_MIN: Duration = Duration::from_millis(100);
/// The same for one of which nothing was ever heard, which may be on another continent.
pub(in crate::node) const WORD_WAIT_FIRST: Duration = Duration::from_millis(250);
/// Least time for one that was given up again and again.
pub(in crate::node) const PART_WAIT_MIN: Duration = Duration::from_millis(50);
/// Least time for one that says so at once, or nothing, because the TTL ends there.
pub(in crate::node) const LEAF_WAIT_MIN: Duration = Duration::from_millis(30);
/// Least time for a base peer after it has taken a search.
pub(in crate::node) const BASE_WAIT_MIN: Duration = Duration::from_millis(100);
/// Time for a neighbour that fails, or is a mere claim.
pub(in crate::node) const UNPROVEN_PART_WAIT: Duration = Duration::from_millis(100);
/// What a neighbour is taken to need that was late with the first search that it was sent, at most.
pub(in crate::node) const LATE_FIRST: Duration = Duration::from_millis(200);
/// How long a ring waits for hits after all are done: a quarter of what they took, within these bounds.
pub(in crate::node) const RING_GRACE_MIN: Duration = Duration::from_millis(50);
/// Longest such wait, if no hits come.
pub(in crate::node) const RING_GRACE_MAX: Duration = Duration::from_millis(200);
/// As long as hits come, a ring waits on, up to this.
pub(in crate::node) const RING_GRACE_IN_ALL_MAX: Duration = Duration::from_millis(500);
/// Neighbours, present and past, of which it is remembered how long they take. More than there can be at once.
pub(in crate::node) const HABITS_KEPT_MAX: usize = 1_024;
/// Searches that a neighbour was late with of which it is remembered when it was asked: it may be late with several at once.
pub(in crate::node) const MISSED_KEPT: usize = 8;

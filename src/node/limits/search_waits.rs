//! How long the end of a search is waited for ([`end`](crate::node::search::end)).

use std::time::Duration;

/// How much longer each hop waits than the next one. So the last ring, with a TTL of 7, waits
/// [`LAST_RING_WAIT`](super::LAST_RING_WAIT).
pub(in crate::node) const DONE_STEP: Duration = Duration::from_millis(200);
/// We report the end this much before the sender gives us up.
pub(in crate::node) const DONE_MARGIN: Duration = Duration::from_millis(50);
/// Delay of forwarding after a wider copy of a search: often several come, the widest last.
pub(in crate::node) const WIDEN_DELAY: Duration = Duration::from_millis(100);
/// A copy whose TTL is higher by one is forwarded only if the first copy had fewer hops left than this.
pub(in crate::node) const WIDEN_BY_ONE_BELOW: u8 = 3;
/// Least time for a neighbour that reports its end, and may wait for many others.
pub(in crate::node) const PART_WAIT_FLOOR: Duration = Duration::from_millis(400);
/// After this time a node reports to the senders of a search that it waits for others.
pub(in crate::node) const WAITS_AFTER: Duration = Duration::from_millis(20);
/// Least time for the first report of a neighbour: more than [`WAITS_AFTER`] and the delay of a busy machine.
pub(in crate::node) const FIRST_REPORT_WAIT_MIN: Duration = Duration::from_millis(100);
/// The same for one that has never reported, which may be on another continent.
pub(in crate::node) const FIRST_REPORT_WAIT_UNKNOWN: Duration = Duration::from_millis(250);
/// Least time for one that was given up repeatedly.
pub(in crate::node) const PART_WAIT_MIN: Duration = Duration::from_millis(50);
/// Least time for one at which the TTL ends: it reports at once, or never.
pub(in crate::node) const LEAF_WAIT_MIN: Duration = Duration::from_millis(30);
/// Least time for a base peer after it has received a search.
pub(in crate::node) const BASE_WAIT_MIN: Duration = Duration::from_millis(100);
/// Time for an unproven neighbour.
pub(in crate::node) const UNPROVEN_PART_WAIT: Duration = Duration::from_millis(100);
/// The largest response time that is recorded of a neighbour that was late with its first search.
pub(in crate::node) const LATE_FIRST: Duration = Duration::from_millis(200);
/// How long a ring waits for hits after its end: a quarter of its duration, within these bounds.
pub(in crate::node) const RING_GRACE_MIN: Duration = Duration::from_millis(50);
/// The longest such wait, if no hits come.
pub(in crate::node) const RING_GRACE_MAX: Duration = Duration::from_millis(200);
/// The same while hits come.
pub(in crate::node) const RING_GRACE_IN_ALL_MAX: Duration = Duration::from_millis(500);
/// Present and past neighbours whose response times are recorded. More than there can be at once.
pub(in crate::node) const HABITS_KEPT_MAX: usize = 1_024;
/// Searches with which one neighbour was late that are recorded.
pub(in crate::node) const MISSED_KEPT: usize = 8;

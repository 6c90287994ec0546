//! Wishes: searches that repeat ([`wish`](crate::node::wish)), and what they may cost.
//!
//! All wishes together have one budget, however many there are: [`WISH_ASKS_PER_MINUTE`]. Each message goes to one peer, with
//! TTL 0, so that nobody forwards it. That is 240 messages an hour; one search with full TTL takes about seven for each peer
//! of the network.

use std::time::Duration;

pub(in crate::node) const WISHES_MAX: usize = 1_000;
/// Bytes of the text of a wish.
pub(in crate::node) const WISH_TEXT_BYTES_MAX: usize = 512;
/// Searches that all wishes together send in a minute.
pub(in crate::node) const WISH_ASKS_PER_MINUTE: u32 = 4;
/// Searches that they may send one after the other if few were sent before.
pub(in crate::node) const WISH_ASKS_BURST: u32 = 8;
/// Least time between two of these.
pub(in crate::node) const WISH_ASK_SPACING: Duration = Duration::from_millis(250);
/// At most so much is added at random to the time of the next one, so that nodes do not keep step with each other.
pub(in crate::node) const WISH_ASK_JITTER: Duration = Duration::from_secs(4);
/// Time from the beginning of a round to the next: in one round, a wish is sent to each peer that is known.
pub(in crate::node) const WISH_ROUND_MIN: Duration = Duration::from_secs(5 * 60);
/// If there is no peer to ask, or a download cannot begin: when that is tried again.
pub(in crate::node) const WISH_LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Contents that are remembered of one wish: then it is full, and is not searched for any more. Their events are in its record.
pub(in crate::node) const WISH_FOUND_MAX: usize = 500;
/// Of these, those of one network.
pub(in crate::node) const WISH_FOUND_OF_NETWORK_MAX: usize = 200;
/// Bytes that the contents found by one wish take, roughly, as events of its record.
pub(in crate::node) const WISH_FOUND_BYTES_MAX: usize = 256 << 10;
/// Contents that are found within this time are saved together.
pub(in crate::node) const WISH_SAVE_DELAY: Duration = Duration::from_millis(100);

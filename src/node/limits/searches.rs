//! Our own searches and listings.

/// Own searches and listings remembered.
pub(in crate::node) const SEARCHES_MAX: usize = 256;
/// Own searches and listings of which it is remembered what was asked for, also when they are over.
pub(in crate::node) const SEARCHES_REMEMBERED_MAX: usize = 1_000;
/// Hits that the filters of one search have dropped: further ones are not counted.
pub(in crate::node) const FILTERED_COUNTED_MAX: usize = 1_000;

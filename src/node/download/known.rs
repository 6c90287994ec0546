//! What is known of the content of a download.

use crate::content::{GROUP_BYTES, Groups, group_count, group_span};
use std::net::SocketAddr;

/// What is known of the content: the outline of the part file, and how much of it is there.
#[derive(Debug)]
pub(super) struct Content {
    /// Bytes, as far as [`Content::is_proved`].
    pub(super) size: u64,
    pub(super) verified: Groups,
    /// Who gave the outline.
    pub(super) giver: Option<SocketAddr>,
    /// The size is what a search or a listing told of the giver, and not what it has said itself.
    pub(super) is_told_by_others: bool,
}

impl Content {
    pub(super) fn new(size: u64, giver: SocketAddr) -> Self {
        Self { size, verified: Groups::none(group_count(size)), giver: Some(giver), is_told_by_others: false }
    }

    /// As it is in a part file that was begun earlier.
    pub(super) fn resumed(size: u64, verified: Groups) -> Self {
        Self { size, verified, giver: None, is_told_by_others: false }
    }

    /// Another outline of the same content, which contradicts no group that is verified: what is there stays.
    pub(super) fn replace_outline(&mut self, size: u64, giver: SocketAddr) {
        self.verified = self.verified.resized(group_count(size));
        (self.size, self.giver, self.is_told_by_others) = (size, Some(giver), false);
    }

    /// Whether the exact size is certain: only the last group can show it.
    pub(super) fn is_proved(&self) -> bool {
        self.verified.count().checked_sub(1).is_none_or(|last| self.verified.contains(last))
    }

    pub(super) fn bytes_of(&self, group: u64) -> u64 {
        let span = group_span(self.size, group);
        span.end - span.start
    }

    pub(super) fn bytes_verified(&self) -> u64 {
        let whole = self.verified.held().saturating_mul(GROUP_BYTES);
        let last = self.verified.count().saturating_sub(1);
        let short = if self.verified.contains(last) { GROUP_BYTES - self.bytes_of(last) } else { 0 };
        whole.saturating_sub(short)
    }
}

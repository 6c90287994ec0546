//! What is known of the content of a part file: nothing, an outline whose size is a claim, or one whose size is proved.

use crate::content::{GROUP_BYTES, Groups, group_count, group_span};
use std::net::SocketAddr;

/// An outline of the content, and which groups of it are there.
#[derive(Debug)]
pub(super) struct Content {
    size: u64,
    pub(super) verified: Groups,
    /// Who gave the outline.
    pub(super) giver: Option<SocketAddr>,
    /// The size is what a search or a listing told of the giver, and not what it has said itself.
    pub(super) is_told_by_others: bool,
}

impl Content {
    pub(super) fn new(size: u64, giver: SocketAddr, is_told_by_others: bool) -> Self {
        Self { size, verified: Groups::none(group_count(size)), giver: Some(giver), is_told_by_others }
    }

    /// Bytes: a claim, unless it is [`Known::Proved`].
    pub(super) fn size(&self) -> u64 {
        self.size
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

    /// Only the last group can show the exact size.
    fn proves_size(&self) -> bool {
        self.verified.count().checked_sub(1).is_none_or(|last| self.verified.contains(last))
    }
}

/// What is known of the content of a part file.
#[derive(Debug)]
pub(super) enum Known {
    /// It has no outline. Bytes of the longest stream in it.
    Nothing { streamed: u64 },
    /// An outline, whose size is a claim.
    Outline(Content),
    /// An outline whose size its last group has proved.
    Proved(Content),
}

impl Default for Known {
    fn default() -> Self {
        Self::Nothing { streamed: 0 }
    }
}

impl Known {
    pub(super) fn outline(content: Content) -> Self {
        if content.proves_size() { Self::Proved(content) } else { Self::Outline(content) }
    }

    /// As it is in a part file that was begun earlier.
    pub(super) fn resumed(size: u64, verified: Groups) -> Self {
        Self::outline(Content { size, verified, giver: None, is_told_by_others: false })
    }

    pub(super) fn content(&self) -> Option<&Content> {
        if let Self::Outline(content) | Self::Proved(content) = self { Some(content) } else { None }
    }

    pub(super) fn content_mut(&mut self) -> Option<&mut Content> {
        if let Self::Outline(content) | Self::Proved(content) = self { Some(content) } else { None }
    }

    /// Bytes of the longest stream, if nothing better is known.
    pub(super) fn streamed(&self) -> u64 {
        if let Self::Nothing { streamed } = self { *streamed } else { 0 }
    }

    pub(super) fn has_groups(&self) -> bool {
        self.content().is_some_and(|content| content.verified.held() > 0)
    }

    /// Takes an outline from who gave it. What another one of the same content has verified stays.
    pub(super) fn take_outline(&mut self, size: u64, giver: SocketAddr) {
        *self = match std::mem::take(self) {
            Self::Nothing { .. } => Self::outline(Content::new(size, giver, false)),
            Self::Outline(Content { verified, .. }) => {
                let verified = verified.resized(group_count(size));
                Self::outline(Content { verified, ..Content::new(size, giver, false) })
            }
            proved => proved,
        };
    }

    /// A group is there. Says whether it was not before.
    pub(super) fn add(&mut self, group: u64) -> bool {
        let is_new = self.content_mut().is_some_and(|content| content.verified.insert(group));
        *self = match std::mem::take(self) {
            Self::Outline(content) => Self::outline(content),
            other => other,
        };
        is_new
    }
}

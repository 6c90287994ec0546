//! The part file of a download, as the loop has it, and what is known of its content: nothing, an outline whose size is a
//! claim, or one whose size is proved.

use crate::content::{GROUP_BYTES, Groups, group_count, group_span};
use crate::id::ContentHash;
use crate::node::rate::Rate;
use crate::time::Instant;
use crate::timer::TimerId;
use std::net::SocketAddr;

/// What the loop has of the part file, and what is known of its content. Each order has one answer; what becomes of the
/// file then is for the life of its download to say. Changed by `change_part` alone.
#[derive(Debug)]
pub(super) enum PartFile {
    /// There is none.
    Absent,
    /// It is closed.
    Kept(Held),
    /// [`OpenPart`](crate::node::Action::OpenPart) is to be answered.
    Opening(Held),
    /// Sources are asked for what is missing.
    Open(Open),
    /// [`CheckPart`](crate::node::Action::CheckPart) is to be answered.
    Checking { known: Known, streamer: Option<SocketAddr> },
    /// The same, but its download was stopped meanwhile, and takes no notice of the answer.
    Ending(Known),
    /// [`CommitPart`](crate::node::Action::CommitPart) is to be answered.
    Committing { known: Known, found: Found },
}

/// What a part file that is not open is known to hold.
#[derive(Debug)]
pub(super) enum Held {
    /// So many bytes when an earlier run remembered it; it was not opened since.
    Recalled(u64),
    Known(Known),
    /// All of it, and it was checked; it could not get its final name.
    Checked(Known, Found),
}

/// A part file that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) known: Known,
    pub(super) rate: Rate,
    /// When it is looked at again even if nothing happens.
    pub(super) look: Option<(Instant, TimerId)>,
}

/// What a check has found in a part file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) b3: ContentHash,
    pub(super) size: u64,
    /// The content is that of a hash that was known.
    pub(super) verified: bool,
}

/// How fast a download comes, as far as others may have to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// It had so many bytes then.
    pub(super) since: Instant,
    pub(super) received: u64,
    /// Since when it has been too slow, if it is.
    pub(super) crawls_since: Option<Instant>,
}

impl Pace {
    /// Measures from here on.
    pub(super) fn begin(now: Instant, received: u64) -> Self {
        Self { since: now, received, crawls_since: None }
    }
}

impl Open {
    pub(super) fn new(now: Instant, received: u64, known: Known) -> Self {
        let mut rate = Rate::default();
        rate.start(now, received);
        Self { known, rate, look: None }
    }
}

/// What follows a fault of the disk.
#[derive(Debug, Default)]
pub(super) struct DiskState {
    /// Times in a row that the disk stopped the download.
    pub(super) failures: u32,
    /// What the user has ordered since the disk was last asked to open, check or commit the part file.
    ordered: Option<AfterFault>,
}

impl DiskState {
    /// What is cancelled stays so, and what is paused is resumed by `resume` alone.
    pub(super) fn order(&mut self, order: AfterFault) {
        self.ordered = match (self.ordered, order) {
            (Some(AfterFault::Cancel), _) => Some(AfterFault::Cancel),
            (Some(AfterFault::Pause), AfterFault::Retry) => Some(AfterFault::Pause),
            _ => Some(order),
        };
    }

    pub(super) fn take_order(&mut self) -> Option<AfterFault> {
        self.ordered.take()
    }

    /// The disk is asked again, after whatever was ordered.
    pub(super) fn forget_order(&mut self) {
        self.ordered = None;
    }
}

/// What is done when the answer that is awaited is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFault {
    /// The disk is tried again at once.
    Retry,
    /// The same, and one that was to be paused is not.
    Resume,
    Pause,
    Cancel,
}

impl PartFile {
    /// What is known of it; `None` if it was not opened since an earlier run.
    pub(super) fn known(&self) -> Option<&Known> {
        match self {
            Self::Absent | Self::Kept(Held::Recalled(_)) | Self::Opening(Held::Recalled(_)) => None,
            Self::Kept(Held::Known(known) | Held::Checked(known, _)) => Some(known),
            Self::Opening(Held::Known(known) | Held::Checked(known, _)) => Some(known),
            Self::Open(Open { known, .. }) | Self::Checking { known, .. } => Some(known),
            Self::Ending(known) | Self::Committing { known, .. } => Some(known),
        }
    }

    /// What it holds, when it is not open any more.
    pub(super) fn into_held(self) -> Held {
        match self {
            Self::Absent => Held::Known(Known::default()),
            Self::Kept(held) | Self::Opening(held) => held,
            Self::Open(Open { known, .. }) | Self::Checking { known, .. } => Held::Known(known),
            Self::Ending(known) => Held::Known(known),
            Self::Committing { known, found } => Held::Checked(known, found),
        }
    }

    pub(super) fn into_known(self) -> Known {
        match self.into_held() {
            Held::Known(known) | Held::Checked(known, _) => known,
            Held::Recalled(_) => Known::default(),
        }
    }

    /// What a check has found in it, unless it was opened since.
    pub(super) fn found(&self) -> Option<&Found> {
        match self {
            Self::Committing { found, .. } => Some(found),
            Self::Kept(Held::Checked(_, found)) | Self::Opening(Held::Checked(_, found)) => Some(found),
            _ => None,
        }
    }

    /// Whether an order for it is under way, whose answer its download awaits.
    pub(super) fn is_to_be_answered(&self) -> bool {
        matches!(self, Self::Opening(_)) || self.is_being_verified()
    }

    /// Whether all of it is there, and is being checked or synced.
    pub(super) fn is_being_verified(&self) -> bool {
        matches!(self, Self::Checking { .. } | Self::Committing { .. })
    }

    /// Whether an order is to be answered.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self, Self::Absent | Self::Kept(_) | Self::Open(_))
    }

    /// Whether it is worth keeping though its download has failed: verified groups do not come again by themselves.
    pub(super) fn is_worth_keeping(&self) -> bool {
        match self.known() {
            Some(known) => known.has_groups(),
            None => !matches!(self, Self::Absent),
        }
    }
}

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

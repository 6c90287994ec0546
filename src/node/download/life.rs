//! The life of a download: what it does, how far its part file is, and what belongs to each of these.
//!
//! | life | its part file is |
//! |---|---|
//! | active | ordered, open, checked or committed: that is how far the download is |
//! | done | gone: it has the final name |
//! | cancelled | gone, or busy, and goes when its order is answered |
//! | any other | gone, kept, or busy, and is closed (or goes, if not worth keeping) when its order is answered |

use super::known::Known;
use super::rate::Rate;
use crate::control::Problem;
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::time::Instant;
use crate::timer::TimerId;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a download does, changed by `set_life` alone. How far an active one is shows in its [`PartFile`].
#[derive(Debug)]
pub(super) enum Life {
    /// Waits for its turn. Why it had to wait before, if it did.
    Queued { waited: Option<Problem> },
    /// It has its turn, and counts towards `max_downloads`.
    Active,
    /// No source can be asked now.
    Waiting { until: Instant, timer: TimerId, why: Problem },
    /// The user has stopped it.
    Paused,
    /// The disk does not let it go on; it is tried again by the timer.
    Blocked { timer: TimerId, fault: DiskFault, why: Problem },
    /// Its file is there. `found`: its hash, if it was read; `verified`: that is the one that was known; `already`: it was
    /// there before.
    Done { path: PathBuf, size: u64, found: Option<ContentHash>, verified: bool, already: bool },
    /// `shown`: how far it had come.
    Failed { why: Problem, shown: Progress },
    /// By the user.
    Cancelled { shown: Progress },
}

/// Bytes that are there, and bytes of the whole, which are never fewer.
pub(super) type Progress = (u64, Option<u64>);

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
    /// Whether it comes fast enough for others to wait for it.
    pub(super) pace: Pace,
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
pub(super) enum Pace {
    /// It had so many bytes then.
    Measured { since: Instant, received: u64 },
    /// It was too slow over the last span, and had so many bytes at its end.
    Crawls { since: Instant, received: u64, began: Instant },
}

impl Pace {
    /// Measures from here on.
    pub(super) fn begin(now: Instant, received: u64) -> Self {
        Self::Measured { since: now, received }
    }
}

impl Life {
    /// Nothing will happen any more, unless the user has a failed one tried again.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. } | Self::Cancelled { .. })
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Whether the user may have it tried again.
    pub(super) fn may_be_retried(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Blocked { .. } | Self::Failed { .. })
    }

    pub(super) fn timer(&self) -> Option<TimerId> {
        match self {
            Self::Waiting { timer, .. } | Self::Blocked { timer, .. } => Some(*timer),
            _ => None,
        }
    }

    /// Why it waits, was stopped or has failed.
    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Queued { waited } => waited.as_ref(),
            Self::Waiting { why, .. } | Self::Blocked { why, .. } | Self::Failed { why, .. } => Some(why),
            Self::Active | Self::Paused | Self::Done { .. } | Self::Cancelled { .. } => None,
        }
    }
}

impl Open {
    pub(super) fn new(now: Instant, received: u64, known: Known) -> Self {
        let mut rate = Rate::default();
        rate.start(now, received);
        Self { known, rate, pace: Pace::begin(now, received), look: None }
    }
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

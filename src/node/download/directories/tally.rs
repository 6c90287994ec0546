//! What the members of a directory do, counted, so that no decision takes time for each of them.

use crate::control::{ExitCode, Problem};
use crate::node::download::state::Life;

/// What a member does, as far as its directory makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Queued,
    Active,
    /// For its sources.
    Waiting,
    Paused,
    /// The disk has stopped it.
    Blocked,
    Done,
    /// Its sources do not give it; they may later.
    Refused,
    /// There is something else in its place.
    Unsavable,
    Cancelled,
}

/// How many members do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    counts: [u64; Doing::Cancelled as usize + 1],
    /// Of the members that are done.
    pub(super) bytes: u64,
    /// Of these, those that no hash has proved, and those that were fetched.
    pub(super) unverified: u64,
    pub(super) fetched: u64,
}

impl Doing {
    pub(super) fn of(life: &Life) -> Self {
        match life {
            Life::Queued { .. } => Self::Queued,
            Life::Active => Self::Active,
            Life::Waiting { .. } => Self::Waiting,
            Life::Paused => Self::Paused,
            Life::Blocked { .. } => Self::Blocked,
            Life::Done { .. } => Self::Done,
            Life::Failed { why, .. } if is_unsavable(why) => Self::Unsavable,
            Life::Failed { .. } => Self::Refused,
            Life::Cancelled { .. } => Self::Cancelled,
        }
    }
}

fn is_unsavable(why: &Problem) -> bool {
    match why {
        Problem::CannotSave { .. } => true,
        Problem::Recalled { error } => error.code == i32::from(ExitCode::Exists as u8),
        _ => false,
    }
}

impl Tally {
    /// One member.
    pub(super) fn of(life: &Life) -> Self {
        let mut tally = Self::default();
        tally.counts[Doing::of(life) as usize] = 1;
        if let Life::Done { size, verified, already, .. } = life {
            (tally.bytes, tally.unverified, tally.fetched) = (*size, u64::from(!verified), u64::from(!already));
        }
        tally
    }

    pub(super) fn count(&self, doing: Doing) -> u64 {
        self.counts[doing as usize]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    pub(super) fn remove(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count = with(*count, other);
        }
        self.bytes = with(self.bytes, other.bytes);
        self.unverified = with(self.unverified, other.unverified);
        self.fetched = with(self.fetched, other.fetched);
    }
}

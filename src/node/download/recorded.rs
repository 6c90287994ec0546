//! What is known of the records of a download.

use crate::control::{CallError, Problem};
use crate::node::contract::RecordState;

/// What is known of the records of a download.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Of the last record ordered.
    pub(super) revision: u64,
    /// Of the last one that is on the disk.
    pub(super) durable: u64,
    /// A record of it has been on the disk, in this run or an earlier one.
    pub(super) accepted: bool,
    /// Why the last change is not on the disk, as far as that is known.
    pub(super) problem: Option<Problem>,
    /// What the last record says.
    pub(super) state: Option<(RecordState, Option<CallError>)>,
}

impl Recorded {
    /// As an earlier run remembered it.
    pub(super) fn recalled(state: RecordState, error: Option<CallError>) -> Self {
        Self { accepted: true, state: Some((state, error)), ..Self::default() }
    }
}

//! What is known of the records of a download.

use crate::control::{CallError, ExitCode};
use crate::fault::DiskFault;
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
    pub(super) trouble: Option<Trouble>,
    /// What the last record says.
    pub(super) state: Option<(RecordState, Option<CallError>)>,
}

/// Why the last change is not on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Failed(DiskFault),
    /// The disk has not answered in time: unknown.
    Overdue,
}

impl Recorded {
    /// As an earlier run remembered it.
    pub(super) fn recalled(state: RecordState, error: Option<CallError>) -> Self {
        Self { accepted: true, state: Some((state, error)), ..Self::default() }
    }

    /// Why a restart does not know how the download stands.
    pub(super) fn trouble(&self) -> Option<CallError> {
        Some(match self.trouble? {
            Trouble::Failed(fault) => {
                CallError::new(fault.into(), format!("{fault} (state directory); a restart loses this change"))
            }
            Trouble::Overdue => {
                CallError::new(ExitCode::FileIo, "the disk of the state directory does not answer in time")
            }
        })
    }
}

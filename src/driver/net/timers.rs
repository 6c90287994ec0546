//! What the loop's timer wheel carries. The node and the bootstrap node keep wheels of their own, in their own time.

use crate::driver::net::pace::Direction;

/// A deadline of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) enum Timer {
    /// When a connection must have moved on: message, answer, transfer, lingering.
    Connection(usize),
    /// When a listener that met the end of the descriptors tries again, should nothing have closed meanwhile.
    AcceptAgain,
    /// When the registry is to be saved, some seconds after it changed.
    SaveRegistry,
    /// When there are tokens for the transfers that wait for them.
    Pace(Direction),
    /// When what was verified, hashed or remembered lately is to be synced.
    Sync,
    /// When the log of downloads, which could not be written, is tried again.
    Records,
    /// When state files that could not be written are tried again.
    StateFiles,
    /// When part files that could not be removed are tried again.
    Removals,
    /// When part files that no download names are searched for again.
    Orphans,
    /// When leaving must be over.
    LeaveAnyway,
}

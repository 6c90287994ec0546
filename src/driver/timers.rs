//! What the loop's timer wheel carries. The node and the bootstrap node keep wheels of their own, in their own time.

/// A deadline of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// When a connection must have moved on: message, answer, transfer, lingering.
    Connection(usize),
    /// When a listener that met the end of the descriptors tries again, should nothing have closed meanwhile.
    AcceptAgain,
    /// When the registry is to be saved, some seconds after it changed.
    SaveRegistry,
    /// When leaving must be over.
    LeaveAnyway,
}

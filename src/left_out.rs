//! Why something in the shared directory is not shared.

use serde::{Deserialize, Serialize};

/// In JSON and in the tables, the reasons have these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// A symbolic link, and these are not followed.
    Symlink,
    /// Its name begins with a dot.
    Hidden,
    /// Its name has a control byte.
    ControlByte,
    /// Its path is longer than a name in a message.
    TooLong,
    Unreadable,
    /// A socket, a FIFO or a device.
    NotRegular,
    /// A directory where another filesystem is mounted.
    OtherMount,
    /// The state directory or a log of the daemon.
    Own,
    BeingWritten,
    /// A symbolic link to what is not there.
    Dangling,
    /// A symbolic link that leads to itself, or over more links than the system follows.
    Loop,
    /// It is shared under another name.
    SharedAlready,
    /// At the top of `local_directory`: a further share has this name.
    NameTaken,
    /// A symbolic link, or what is behind one, that the sandbox of the daemon forbids to read.
    OutsideSandbox,
    /// A symbolic link, or a directory behind one, beyond the number that is followed.
    TooMany,
}

impl LeftOutReason {
    /// Whether the log has a line of its own for what is left out for this reason.
    pub(crate) fn is_logged_alone(self) -> bool {
        matches!(self, Self::ControlByte | Self::TooLong | Self::Unreadable | Self::OtherMount)
    }
}

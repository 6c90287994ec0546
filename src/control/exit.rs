//! Exit codes of `pyratectl`, which are also the codes of errors on the control socket (pyratectl(1), EXIT STATUS).

use crate::fault::{DialFault, DiskFault};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The outcome of a command, as a number that scripts test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    Other = 1,
    TimedOut = 2,
    /// No hit, or no such id.
    NotFound = 3,
    Network = 6,
    Unfinished = 7,
    DiskFull = 9,
    /// A file of that name exists.
    Exists = 13,
    /// A file could not be read or written.
    FileIo = 17,
    /// The command line is wrong.
    Usage = 28,
    /// Every source is busy or gone.
    NoSource = 29,
    /// The content does not match its hash.
    Checksum = 32,
    /// No daemon answers at the control socket.
    NoDaemon = 69,
}

impl ExitCode {
    /// Each, ascending.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::Other,
        Self::TimedOut,
        Self::NotFound,
        Self::Network,
        Self::Unfinished,
        Self::DiskFull,
        Self::Exists,
        Self::FileIo,
        Self::Usage,
        Self::NoSource,
        Self::Checksum,
        Self::NoDaemon,
    ];
}

/// A call that failed: a code and a sentence for the user that says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{message}")]
pub struct CallError {
    /// An [`ExitCode`]; negative codes are JSON-RPC's own (-32700 parse error, -32600 invalid request, -32601 unknown
    /// method, -32602 bad parameters).
    pub code: i32,
    /// One line, escaped, no final full stop.
    pub message: String,
}

impl CallError {
    /// A failure with the code that `pyratectl` will exit with.
    pub(crate) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code: i32::from(code as u8), message: message.into() }
    }
}

impl From<DiskFault> for ExitCode {
    fn from(fault: DiskFault) -> Self {
        match fault {
            DiskFault::Full => Self::DiskFull,
            DiskFault::Exists => Self::Exists,
            _ => Self::FileIo,
        }
    }
}

impl From<DialFault> for ExitCode {
    fn from(fault: DialFault) -> Self {
        match fault {
            DialFault::Disk(fault) => fault.into(),
            DialFault::TimedOut => Self::TimedOut,
            DialFault::Corrupt => Self::Checksum,
            _ => Self::Network,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_becomes_the_code_that_scripts_test() {
        for (fault, code) in [
            (DialFault::Refused, 6),
            (DialFault::TimedOut, 2),
            (DialFault::Corrupt, 32),
            (DialFault::Disk(DiskFault::Full), 9),
            (DialFault::Disk(DiskFault::Exists), 13),
            (DialFault::Disk(DiskFault::ReadOnly), 17),
            (DialFault::Disk(DiskFault::Missing), 17),
            (DialFault::Disk(DiskFault::Changed), 17),
            (DialFault::Disk(DiskFault::TooLarge), 17),
            (DialFault::Disk(DiskFault::NotMounted), 17),
        ] {
            assert_eq!(ExitCode::from(fault) as u8, code, "{fault}");
        }
    }
}

//! What can go wrong with the program of `events --exec`.

use thiserror::Error;

/// Why it cannot be remembered how far a program came with the events.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum BadPosition {
    #[error("{0}")] Io(String),
    #[error("a directory; name a file in it")] NoFile,
    #[error("in use by another `pyratectl events --exec`; give each a file of its own with --state")] InUse,
    #[error("not one of 'events --exec'; name another, or remove it: without it, the next event is the first")] Content,
}

/// Why a program that was run for an event is run again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum ProgramFault {
    #[error("cannot be started: {0}")] NotStarted(&'static str),
    #[error("exited with {0}")] Exited(i32),
    #[error("was ended by {0}")] Killed(&'static str),
}

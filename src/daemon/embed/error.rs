//! Why a call of a handle fails.

use crate::control::{CallError, ExitCode, Problem};
use thiserror::Error;

/// Why a call of a [`Handle`](super::Handle) failed, or a download did. The text is what `pyratectl` shows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The node was asked to end, or has ended.
    #[error("the node has ended")]
    Stopped,
    /// The node has failed: it could not start, or its loop or thread broke.
    #[error("the node has failed: {0}")]
    Failed(String),
    /// There was no answer in time. Work that was begun goes on.
    #[error("{0}")]
    TimedOut(String),
    /// The search is over, and has found nothing.
    #[error("no file was found")]
    NoHit,
    /// There is no such hit, download or peer.
    #[error("{0}")]
    NotFound(String),
    /// Every source refuses the file, or does not have it any more.
    #[error("{0}")]
    Refused(String),
    /// Every source is busy or gone, or this node is busy.
    #[error("{0}")]
    Busy(String),
    /// No peer, or no bootstrap node, can be reached.
    #[error("{0}")]
    Network(String),
    /// The disk is full.
    #[error("{0}")]
    DiskFull(String),
    /// Another file has the name.
    #[error("{0}")]
    Exists(String),
    /// A file or directory cannot be read or written.
    #[error("{0}")]
    Disk(String),
    /// What the sources sent is not what was asked for.
    #[error("{0}")]
    Corrupt(String),
    /// The user has cancelled the download.
    #[error("the download was cancelled")]
    Cancelled,
    /// The user has paused the download.
    #[error("the download was paused")]
    Paused,
    /// An argument cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        if error == Problem::Leaving.into() {
            return Self::Stopped;
        }
        if error == Problem::TooManyClients.into() {
            return Self::Busy(error.message);
        }
        let CallError { code, message } = error;
        let known = ExitCode::ALL.into_iter().find(|known| *known as i32 == code);
        match known {
            Some(ExitCode::TimedOut) => Self::TimedOut(message),
            Some(ExitCode::NotFound) => Self::NotFound(message),
            Some(ExitCode::Network) => Self::Network(message),
            Some(ExitCode::DiskFull) => Self::DiskFull(message),
            Some(ExitCode::Exists) => Self::Exists(message),
            Some(ExitCode::FileIo) => Self::Disk(message),
            Some(ExitCode::Usage) => Self::Invalid(message),
            Some(ExitCode::NoSource) => Self::Busy(message),
            Some(ExitCode::Checksum) => Self::Corrupt(message),
            Some(ExitCode::Done | ExitCode::Other | ExitCode::Unfinished | ExitCode::NoDaemon) => Self::Other(message),
            // Of JSON-RPC: a parameter that the node does not take.
            None => Self::Invalid(message),
        }
    }
}

impl Error {
    /// Of a download, for which "not found" means that its sources do not give it.
    pub(super) fn of_download(error: CallError) -> Self {
        match Self::from(error) {
            Self::NotFound(message) => Self::Refused(message),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_becomes_the_error_that_says_the_same() {
        let error = |code: ExitCode| Error::from(CallError::new(code, "x"));
        let text = || "x".to_owned();
        assert_eq!(error(ExitCode::TimedOut), Error::TimedOut(text()));
        assert_eq!(error(ExitCode::NotFound), Error::NotFound(text()));
        assert_eq!(Error::of_download(CallError::new(ExitCode::NotFound, "x")), Error::Refused(text()));
        assert_eq!(error(ExitCode::NoSource), Error::Busy(text()));
        assert_eq!(error(ExitCode::Network), Error::Network(text()));
        assert_eq!(error(ExitCode::DiskFull), Error::DiskFull(text()));
        assert_eq!(error(ExitCode::Exists), Error::Exists(text()));
        assert_eq!(error(ExitCode::FileIo), Error::Disk(text()));
        assert_eq!(error(ExitCode::Checksum), Error::Corrupt(text()));
        assert_eq!(error(ExitCode::Usage), Error::Invalid(text()));
        assert_eq!(error(ExitCode::Other), Error::Other(text()));
        assert_eq!(Error::from(CallError { code: -32602, message: text() }), Error::Invalid(text()));
        assert_eq!(Error::from(CallError::from(Problem::Leaving)), Error::Stopped);
        assert!(matches!(Error::from(CallError::from(Problem::TooManyClients)), Error::Busy(_)));
    }
}

//! What the log lines are about that others cause.

use log::Level;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) enum Subject {
    /// A file was sent, or a part of it.
    Upload,
    /// An endpoint was found not to be a peer.
    NotAPeer,
    /// A source of a download was found to be wrong.
    BadSource,
    /// A source of a download has another file by now, or said so.
    ChangedSource,
    /// A source of a download was found.
    FoundSource,
    /// A requester was called back.
    CallBack,
    /// A message names an endpoint that cannot be a peer.
    BadEndpoint,
    /// A peer speaks another protocol than was known.
    Speech,
}

impl Subject {
    pub(super) fn level(self) -> Level {
        match self {
            Self::BadSource => Level::Warn,
            Self::Upload | Self::NotAPeer | Self::ChangedSource => Level::Info,
            Self::FoundSource | Self::CallBack | Self::BadEndpoint | Self::Speech => Level::Debug,
        }
    }

    /// As a field of the line about what was left out.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Upload => "uploads",
            Self::NotAPeer => "not_a_peer",
            Self::BadSource => "bad_sources",
            Self::ChangedSource => "changed_sources",
            Self::FoundSource => "sources",
            Self::CallBack => "call_backs",
            Self::BadEndpoint => "bad_endpoints",
            Self::Speech => "protocols",
        }
    }
}

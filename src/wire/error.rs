//! Errors of messages and lists.

use std::fmt;
use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum WireError {
    /// Longer than [`MESSAGE_BYTES_MAX`](super::MESSAGE_BYTES_MAX).
    #[error("the message is longer than 4096 bytes")]
    TooLong,
    /// Not complete within [`MESSAGE_DEADLINE`](super::MESSAGE_DEADLINE).
    #[error("the message did not end in time")]
    Incomplete,
    #[error("the message is empty")]
    Empty,
    /// Does not begin with a digit and `:`.
    #[error("the message does not begin with a code")]
    NoCode,
    #[error("code {0} is unknown")]
    UnknownCode(u8),
    #[error("the {0} is missing")]
    Missing(Field),
    #[error("the {0} is malformed")]
    Malformed(Field),
    /// A port is 0, above 65535 or no number.
    #[error("the {0} is not a port from 1 to 65535")]
    BadPort(Field),
    /// A peer list of more lines than [`PEER_LIST_PEERS_MAX`](super::PEER_LIST_PEERS_MAX), or of too many bytes.
    #[error("the peer list is too long")]
    PeerListTooLong,
    /// A peer list that has lines, but no well-formed one.
    #[error("the peer list holds no peer")]
    PeerListMalformed,
}

/// A field of a message (PROTOCOL, part 1, the table of codes; part 2, Attributes, and Ranges and metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Codes 0, 2 and 3.
    ListeningPort,
    /// Code 1.
    MaxPeers,
    /// Codes 4, 7, 8 and 9, and the lines of a file list.
    FileName,
    /// Codes 6 and 7.
    QueryId,
    /// Code 6.
    FileString,
    /// Code 6.
    RequestingIp,
    /// Code 6.
    RequestingPort,
    /// Code 6.
    Ttl,
    /// Code 7.
    RespondingIp,
    /// Code 7.
    RespondingPort,
    /// Code 8.
    Offset,
    /// Code 8.
    Length,
    /// After the file name.
    Size,
    /// After the file name.
    B3,
    /// After the file name.
    Attribute,
}

impl WireError {
    /// One word for counters and the log: the field that was refused, or the reason.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "message_too_long",
            Self::Incomplete => "message_incomplete",
            Self::Empty => "message_empty",
            Self::NoCode => "no_code",
            Self::UnknownCode(_) => "unknown_code",
            Self::Missing(field) | Self::Malformed(field) | Self::BadPort(field) => field.reason(),
            Self::PeerListTooLong => "peer_list_too_long",
            Self::PeerListMalformed => "peer_list_malformed",
        }
    }
}

impl Field {
    /// The value of this field that was parsed from these bytes, or what is wrong with them.
    pub(super) fn parsed<T>(self, bytes: &[u8], value: Option<T>) -> Result<T, WireError> {
        match value {
            Some(value) => Ok(value),
            None if bytes.is_empty() => Err(WireError::Missing(self)),
            None => Err(WireError::Malformed(self)),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::ListeningPort => "bad_listening_port",
            Self::MaxPeers => "bad_max_peers",
            Self::FileName => "bad_file_name",
            Self::QueryId => "bad_query_id",
            Self::FileString => "bad_file_string",
            Self::RequestingIp => "bad_requesting_ip",
            Self::RequestingPort => "bad_requesting_port",
            Self::Ttl => "bad_ttl",
            Self::RespondingIp => "bad_responding_ip",
            Self::RespondingPort => "bad_responding_port",
            Self::Offset => "bad_offset",
            Self::Length => "bad_length",
            Self::Size => "bad_size",
            Self::B3 => "bad_b3",
            Self::Attribute => "bad_attribute",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListeningPort => "listening port",
            Self::MaxPeers => "number of peers",
            Self::FileName => "file name",
            Self::QueryId => "query ID",
            Self::FileString => "file string",
            Self::RequestingIp => "requesting IP",
            Self::RequestingPort => "requesting port",
            Self::Ttl => "TTL",
            Self::RespondingIp => "responding IP",
            Self::RespondingPort => "responding port",
            Self::Offset => "offset",
            Self::Length => "length",
            Self::Size => "attribute size",
            Self::B3 => "attribute b3",
            Self::Attribute => "attribute",
        })
    }
}

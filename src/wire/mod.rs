//! Bytes to [`Message`]s and back: framing, decoding, peer lists, file lists, attributes, metadata (PROTOCOL, parts 1 and
//! 2).
//!
//! Owns every byte of the format. Refuses, with a named `WireError`, whatever the protocol does not allow, so that
//! other modules get values that they can trust. Knows no socket and no clock: how long to wait for a byte is a constant
//! here, the driver does the waiting.

mod attributes;
mod banner;
mod decode;
mod encode;
mod error;
mod first_contact;
mod framer;
mod lists;
mod message;
mod metadata;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use banner::other_program;
pub use decode::{decode, named_file};
pub(crate) use error::WireError;
pub(crate) use first_contact::{FIRST_CONTACT_ANSWER, FIRST_CONTACT_ANSWER_BYTES_MAX, FIRST_CONTACT_TEXT, says_p1};
pub(crate) use framer::{End, Framer};
pub use lists::{FileListReader, PeerListReader, encode_list_line, encode_peer_list, parse_listed};
pub use message::{Attributes, Listed, ListedPeer, Message, Search, SearchResponse};
pub(crate) use metadata::{FileInfoReader, MetadataFault, MetadataReader, encode_metadata, encode_refusal};
pub use report::{ReportReader, SearchDone, SearchReport};

use crate::name::FILE_NAME_BYTES_MAX;
use std::time::Duration;

/// Longest message, in bytes, without its terminator (PROTOCOL, Where a message ends).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Longest file string of a search, in bytes: as long as a file name may be, so that a search always fits a message
/// beside its other fields, also when it is forwarded.
pub(crate) const SEARCH_TEXT_BYTES_MAX: usize = FILE_NAME_BYTES_MAX;

/// A message without terminator is complete when, after at least one byte, so much time has passed without another
/// (PROTOCOL, Where a message ends).
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// The first message must be complete so much time after its connection opened (PROTOCOL, Where a message ends).
pub(crate) const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// A stream of messages that is idle for so long is closed (PROTOCOL, Streams).
pub(crate) const STREAM_IDLE_MAX: Duration = Duration::from_secs(60);

/// Most lines of a peer list that are read, blank and malformed ones included.
pub(crate) const PEER_LIST_PEERS_MAX: usize = 10_000;

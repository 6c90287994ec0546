//! The wire format: framing, messages, peer lists, file lists, attributes, metadata (PROTOCOL, parts 1 and 2).
//!
//! Refuses, with a named `WireError`, everything that the protocol does not allow, so that other modules get valid values.
//! Uses no socket and no clock: timeouts are constants here, and the driver waits.

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
pub(crate) use metadata::{
    FileInfo, FileInfoReader, MetadataFault, MetadataReader, encode_info, encode_metadata, encode_refusal,
};
pub use report::{ReportReader, SearchDone, SearchReport};

use crate::name::FILE_NAME_BYTES_MAX;
use std::time::Duration;

/// Bytes of a message without its terminator (PROTOCOL, Where a message ends).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Bytes of the file string of a search: as long as a file name may be, so that a search fits a message, also when it is
/// forwarded.
pub(crate) const SEARCH_TEXT_BYTES_MAX: usize = FILE_NAME_BYTES_MAX;

/// A message without terminator is complete when no byte has followed for this long (PROTOCOL, Where a message ends).
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// The first message must be complete this long after its connection opened (PROTOCOL, Where a message ends).
pub(crate) const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// A stream that is idle for this long is closed (PROTOCOL, Streams).
pub(crate) const STREAM_IDLE_MAX: Duration = Duration::from_secs(60);

/// Lines of a peer list that are read, including blank and malformed ones.
pub(crate) const PEER_LIST_PEERS_MAX: usize = 10_000;

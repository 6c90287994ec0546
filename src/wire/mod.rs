//! Bytes to [`Message`]s and back: framing, decoding, peer lists, file lists, attributes (PROTOCOL, parts 1 and 2).
//!
//! Owns every byte of the format. Refuses, with a named [`WireError`], whatever the protocol does not allow, so that
//! the rooms behind it work with values that they can trust. Knows no socket and no clock.

mod message;

pub use message::{Attributes, Listed, Message, Search, SearchResponse};

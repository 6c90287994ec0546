//! Encoding a [`Message`], and its properties by code (PROTOCOL, part 1, the table of codes).

use super::attributes;
use super::first_contact::FIRST_CONTACT_TEXT;
use super::message::{Message, Search, SearchResponse};
use crate::name::FileName;
use std::io::Write;

impl Message {
    /// The message without terminator: the half-close ends it or, in a stream, a `\n` that the driver adds.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        // Writing to a vector cannot fail.
        let _ = match self {
            Self::Register { port, p1 } | Self::Unregister { port, p1 } | Self::Keepalive { port, p1 } => {
                write!(out, "{}:{port}{}", self.code(), if *p1 { ":p1" } else { "" })
            }
            Self::RequestPeerList { peers_max, p1 } => write!(out, "1:{peers_max}{}", if *p1 { ":p1" } else { "" }),
            Self::DownloadRequest { name } => {
                out.extend_from_slice(b"4:");
                out.write_all(name.as_bytes())
            }
            Self::ListFiles { p1 } => out.write_all(if *p1 { b"5:p1" } else { b"5:" }),
            Self::Search(Search { id, text, requester, ttl }) => {
                out.extend_from_slice(b"6:");
                out.extend_from_slice(id.as_bytes());
                out.push(b':');
                out.extend_from_slice(text);
                // An endpoint prints as `IP:Port`, with an IPv6 address in brackets, as the protocol requires.
                write!(out, ":{requester}:{ttl}")
            }
            Self::FirstContact { id, requester } => {
                out.extend_from_slice(b"6:");
                out.extend_from_slice(id.as_bytes());
                out.push(b':');
                out.extend_from_slice(FIRST_CONTACT_TEXT);
                write!(out, ":{requester}:0")
            }
            Self::SearchResponse(SearchResponse { id, responder, file }) => {
                out.extend_from_slice(b"7:");
                out.extend_from_slice(id.as_bytes());
                let written = write!(out, ":{responder}:");
                attributes::append(&mut out, file);
                written
            }
            Self::RangeRequest { offset, length, name } => {
                let written = write!(out, "8:{offset}:{length}:");
                out.extend_from_slice(name.as_bytes());
                written
            }
            Self::MetadataRequest { name } => {
                out.extend_from_slice(b"9:");
                out.write_all(name.as_bytes())
            }
        };
        out
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Register { .. } => 0,
            Self::RequestPeerList { .. } => 1,
            Self::Unregister { .. } => 2,
            Self::Keepalive { .. } => 3,
            Self::DownloadRequest { .. } => 4,
            Self::ListFiles { .. } => 5,
            Self::Search(_) | Self::FirstContact { .. } => 6,
            Self::SearchResponse(_) => 7,
            Self::RangeRequest { .. } => 8,
            Self::MetadataRequest { .. } => 9,
        }
    }

    /// The file that a request is for (codes 4, 8 and 9).
    pub(crate) fn file(&self) -> Option<&FileName> {
        match self {
            Self::DownloadRequest { name } | Self::RangeRequest { name, .. } | Self::MetadataRequest { name } => {
                Some(name)
            }
            _ => None,
        }
    }

    /// Whether several such messages may follow one another on one connection (PROTOCOL, Streams).
    pub fn may_stream(&self) -> bool {
        matches!(self, Self::Search(_) | Self::SearchResponse(_))
    }
}

//! Links to contents: what one is made of, and the answer to `link`.

use super::RawText;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A file that a link is made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linkable {
    /// A file of our own share, or a directory by a name that ends in `/`.
    Shared { name: RawText },
    /// A hit: a file or a directory.
    Hit {
        id: u32,
        /// The source that the link names first, with the name that it has there.
        #[serde(default)]
        peer: Option<SocketAddr>,
    },
    /// A download.
    Download { id: u32 },
    /// A directory of a peer, whose name ends in `/`.
    Directory { peer: SocketAddr, name: RawText },
}

/// A link, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentLinkRow {
    /// `pyrate:b3=…&size=…&name=…&peer=…`
    pub link: String,
    /// BLAKE3 in hex.
    pub b3: String,
    pub size: Option<u64>,
    /// The name in the share of the first peer.
    pub name: RawText,
    pub peers: Vec<SocketAddr>,
    /// The address ranges of those it is shared with, of a file or directory of our own that is not for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<String>>,
}

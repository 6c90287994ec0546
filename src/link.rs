//! Links to contents, as `pyratectl link` prints them and `download` takes them:
//! `pyrate:b3=HASH&size=BYTES&name=NAME&peer=ADDRESS%3APORT`.
//!
//! Only the hash must be there. `peer` may stand several times: peers that are known to have the content. `name` is the whole name
//! that the first of them has for it, because a peer is asked for a file by that name; what is saved takes its last component.
//! Keys that are not known are ignored.

use crate::id::ContentHash;
use crate::name::{FILE_NAME_BYTES_MAX, FileName};
use std::fmt;
use std::net::SocketAddr;
use thiserror::Error;

/// What each link begins with, in either case (RFC 3986, 3.1).
pub(crate) const SCHEME: &str = "pyrate:";

/// Longest link, in bytes: one with the longest name, of which each byte is escaped, and all its peers fits.
pub(crate) const LINK_BYTES_MAX: usize = 16 << 10;

/// Most peers of a link: further ones are ignored.
pub(crate) const LINK_PEERS_MAX: usize = 16;

/// A content, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentLink {
    pub(crate) b3: ContentHash,
    pub(crate) size: Option<u64>,
    pub(crate) name: Option<FileName>,
    /// Distinct.
    pub(crate) peers: Vec<SocketAddr>,
}

/// Why a text is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum LinkFault {
    #[error("a link begins with {SCHEME}b3=")] NoScheme,
    #[error("a link has at most {LINK_BYTES_MAX} bytes")] TooLong,
    #[error("it has a blank or a control character; copy it again as a whole, and put it between quotes")] BadByte,
    #[error("% is followed by two hex digits")] BadEscape,
    #[error("{0}= is in it twice")] Twice(&'static str),
    #[error("it has no b3=HASH")] NoHash,
    #[error("b3= is followed by 64 hex digits")] BadHash,
    #[error("size= is followed by a number of bytes")] BadSize,
    #[error("name= is followed by the name of a file, which has no control characters and at most {FILE_NAME_BYTES_MAX} bytes")] BadName,
    #[error("peer= is followed by an address with a port, as 192.0.2.7:63339 or [2001:db8::7]:63339")] BadPeer,
}

impl ContentLink {
    /// Whether a text is meant as a link.
    pub(crate) fn is_meant(text: &[u8]) -> bool {
        text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()))
    }

    /// Whether it names a directory.
    pub(crate) fn is_of_directory(&self) -> bool {
        self.name.as_ref().is_some_and(FileName::is_directory)
    }

    /// Whether nobody can be asked for its directory: a search finds files by their hash, but no directories.
    pub(crate) fn lacks_peer(&self) -> bool {
        self.is_of_directory() && self.peers.is_empty()
    }

    /// Reads a link.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, LinkFault> {
        if !Self::is_meant(text) {
            return Err(LinkFault::NoScheme);
        }
        if text.len() > LINK_BYTES_MAX {
            return Err(LinkFault::TooLong);
        }
        if text.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return Err(LinkFault::BadByte);
        }
        let (mut b3, mut size, mut name, mut peers) = (None, None, None, Vec::new());
        for field in text[SCHEME.len()..].split(|&byte| byte == b'&') {
            let at = field.iter().position(|&byte| byte == b'=').unwrap_or(field.len());
            let (key, value) = (&field[..at], field.get(at + 1..).unwrap_or_default());
            match key {
                b"b3" => set(&mut b3, "b3", ContentHash::from_hex(&decoded(value)?).ok_or(LinkFault::BadHash)?)?,
                b"size" => set(&mut size, "size", number(&decoded(value)?).ok_or(LinkFault::BadSize)?)?,
                b"name" => set(&mut name, "name", FileName::from_bytes(&decoded(value)?).ok_or(LinkFault::BadName)?)?,
                b"peer" => {
                    let peer = endpoint(&decoded(value)?).ok_or(LinkFault::BadPeer)?;
                    if peers.len() < LINK_PEERS_MAX && !peers.contains(&peer) {
                        peers.push(peer);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { b3: b3.ok_or(LinkFault::NoHash)?, size, name, peers })
    }
}

impl fmt::Display for ContentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}b3={}", self.b3)?;
        self.size.iter().try_for_each(|size| write!(f, "&size={size}"))?;
        self.name.iter().try_for_each(|name| write!(f, "&name={}", Encoded(name.as_bytes())))?;
        let peers = self.peers.iter().take(LINK_PEERS_MAX);
        peers.map(SocketAddr::to_string).try_for_each(|peer| write!(f, "&peer={}", Encoded(peer.as_bytes())))
    }
}

/// Bytes with all that is not unreserved (RFC 3986, 2.3) as `%` and two hex digits.
struct Encoded<'a>(&'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                fmt::Write::write_char(f, char::from(byte))
            }
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

fn decoded(value: &[u8]) -> Result<Vec<u8>, LinkFault> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let (high, low) = digit(0).zip(digit(1)).ok_or(LinkFault::BadEscape)?;
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    Ok(bytes)
}

fn set<T>(place: &mut Option<T>, key: &'static str, value: T) -> Result<(), LinkFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(LinkFault::Twice(key)),
    }
}

/// Decimal digits alone: no sign, and no more than 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn endpoint(text: &[u8]) -> Option<SocketAddr> {
    str::from_utf8(text).ok()?.parse().ok().filter(|endpoint: &SocketAddr| endpoint.port() > 0)
}

#[cfg(test)]
mod tests;

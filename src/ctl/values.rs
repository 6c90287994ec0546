//! Arguments and values on the command line: they are bytes, and the parser takes Unicode, so each is encoded for it.

use super::clock::{date_s, epoch_s};
use super::wording::{Failure, NO_ADDRESS, WrongPeer};
use crate::control::{MoveTo, PEER_PORT};
use crate::name::unescaped;
use crate::network::ends_in_number;
use argh::FromArgValue;
use bytesize::ByteSize;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// The characters that stand for a byte each: the last 256 of Unicode's private use.
const BYTE_CHARS: std::ops::RangeInclusive<u32> = 0x10_ff00..=0x10_ffff;

/// Arguments as Unicode, reversibly: bytes that are not UTF-8 become private characters, and so does each byte of
/// those characters themselves.
pub(super) fn encode(argument: &OsString) -> String {
    let mut text = String::new();
    for chunk in argument.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if BYTE_CHARS.contains(&u32::from(c)) {
                text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(byte_char));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(byte_char));
    }
    text
}

/// The bytes that [`encode`] was given.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(*BYTE_CHARS.start()).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// What [`decode`] gives, for the system.
pub(super) fn decode_os(text: &str) -> OsString {
    OsString::from_vec(decode(text))
}

fn byte_char(byte: u8) -> char {
    char::from_u32(BYTE_CHARS.start() + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// A shell whose command lines can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    pub(super) const NAMES: [&str; 3] = ["bash", "zsh", "fish"];

    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [Self::Bash, Self::Zsh, Self::Fish];
        Self::NAMES.iter().zip(all).find_map(|(known, shell)| (*known == name).then_some(shell))
    }
}

/// What hits can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SortKey {
    Sources,
    Size,
    Name,
}

impl SortKey {
    pub(super) const NAMES: [&str; 3] = ["sources", "size", "name"];
}

/// Nobody reads a table that changes more often.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How much a daemon can log.
pub(super) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Bytes as the user typed them.
#[derive(Debug, PartialEq)]
pub(super) struct BytesArg(pub(super) Vec<u8>);

impl FromArgValue for BytesArg {
    fn from_arg_value(value: &str) -> Result<Self, String> {
        Ok(Self(decode(value)))
    }
}

/// A path as the user typed it; not empty.
#[derive(Debug, PartialEq)]
pub(super) struct PathArg(pub(super) PathBuf);

impl FromArgValue for PathArg {
    fn from_arg_value(value: &str) -> Result<Self, String> {
        if value.is_empty() { Err(Failure::EmptyPath.into()) } else { Ok(Self(decode_os(value).into())) }
    }
}

/// Reads `30s`, `1m 30s`, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| Failure::NotATime.into())
}

/// A time that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// Seconds since the epoch.
    Date(u64),
    Ago(Duration),
}

impl Since {
    pub(super) fn epoch_s(self) -> u64 {
        match self {
            Self::Date(epoch_s) => epoch_s,
            Self::Ago(span) => epoch_s().saturating_sub(span.as_secs()),
        }
    }
}

/// Reads `2026-11-27`, `2026-11-27T18:00`, or how long ago as [`duration`] does.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let date = date_s(text).map(Since::Date);
    let ago = || duration(text).ok().map(Since::Ago);
    date.or_else(ago).ok_or_else(|| Failure::NotSince.into())
}

/// Reads the id of an event.
pub(super) fn event_id(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| Failure::NotAnEventId.into())
}

/// Reads how often something is shown.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    duration(text).ok().filter(|span| *span >= INTERVAL_MIN).ok_or_else(|| Failure::NotAnInterval.into())
}

/// Reads how many hops a search may go.
pub(super) fn hops(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| Failure::NotHops.into())
}

/// Reads a whole number from 1 on.
pub(super) fn positive(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| Failure::NotPositive.into())
}

/// Reads an address or a host name, with a port or without. Blocks while the name is looked up.
pub(super) fn peer(text: &str) -> Result<SocketAddr, String> {
    let wrong = || Failure::NotAPeer(WrongPeer::Form);
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PEER_PORT));
    }
    if let Ok(peer) = text.parse::<SocketAddr>() {
        return if peer.port() > 0 { Ok(peer) } else { Err(wrong().into()) };
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        None => (text, PEER_PORT),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err(wrong().into());
    }
    if ends_in_number(host) {
        return Err(Failure::NotAPeer(WrongPeer::Number { host: host.into() }).into());
    }
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::NoLookup { host: host.into(), why: error.to_string() })?;
    let found: Vec<SocketAddr> = found.collect();
    // Peers listen at IPv4 addresses by default.
    found
        .iter()
        .find(|peer| peer.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| Failure::NoLookup { host: host.into(), why: NO_ADDRESS.into() }.into())
}

/// A name, also if the user has pasted it in escaped form.
pub(super) fn as_shown(name: Vec<u8>) -> Vec<u8> {
    unescaped(&name).unwrap_or(name)
}

/// Whether a text is meant as ids.
pub(super) fn is_ids(text: &str) -> bool {
    let is_number = |b: u8| b.is_ascii_digit() || b == b',' || b == b'-';
    text == "all"
        || !text.is_empty() && text.bytes().all(is_number)
        || text.starts_with("all,")
        || text.ends_with(",all")
}

/// What can be forgotten.
#[derive(Debug, PartialEq)]
pub(super) enum Forgettable {
    Peer(SocketAddr),
    /// Ids, as users type them.
    Downloads(String),
}

/// Reads what is to be forgotten. No number alone is a peer.
pub(super) fn forgettable(text: &str) -> Result<Forgettable, String> {
    if is_ids(text) {
        return Ok(Forgettable::Downloads(text.into()));
    }
    peer(text).map(Forgettable::Peer)
}

/// Reads `5MiB`, `5MiB/s` or a number of bytes.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").unwrap_or(text).parse::<ByteSize>();
    size.map(|size| size.0).map_err(|_| Failure::NotARate.into())
}

/// Where a queued download can be moved.
pub(super) const MOVES: [(&str, MoveTo); 4] =
    [("top", MoveTo::Top), ("up", MoveTo::Up), ("down", MoveTo::Down), ("bottom", MoveTo::Bottom)];

/// Reads one of [`MOVES`].
pub(super) fn move_to(text: &str) -> Result<MoveTo, String> {
    let found = MOVES.iter().find(|(word, _)| *word == text);
    found.map(|(_, to)| *to).ok_or_else(|| Failure::NotAMove.into())
}

/// Reads one of [`LEVELS`].
pub(super) fn level(text: &str) -> Result<String, String> {
    if LEVELS.contains(&text) { Ok(text.into()) } else { Err(Failure::NotALevel { known: LEVELS.join(", ") }.into()) }
}

/// Reads the name of a [`Shell`].
pub(super) fn shell(text: &str) -> Result<Shell, String> {
    Shell::named(text).ok_or_else(|| Failure::NotAShell { known: Shell::NAMES.join(", ") }.into())
}

/// Reads the name of a [`SortKey`].
pub(super) fn sort_key(text: &str) -> Result<SortKey, String> {
    let all = [SortKey::Sources, SortKey::Size, SortKey::Name];
    let found = SortKey::NAMES.iter().zip(all).find_map(|(name, key)| (*name == text).then_some(key));
    found.ok_or_else(|| Failure::NotASortKey { known: SortKey::NAMES.join(", ") }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive() {
        for bytes in [&b"plain"[..], b"caf\xe9/\xff", "é\u{10ffe9}\u{10ff00}é".as_bytes(), b"\xf4\x8f\xbe", b""] {
            let argument = OsString::from_vec(bytes.to_vec());
            assert_eq!(decode(&encode(&argument)), bytes);
            assert_eq!(decode_os(&encode(&argument)), argument);
        }
        assert_eq!(encode(&OsString::from("naïve ✓")), "naïve ✓");
    }
}

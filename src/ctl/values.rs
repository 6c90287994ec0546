//! Values on the command line, read from texts that [`argv`] encoded.

use super::argv;
use super::wording::{Failure, WrongPeer};
use crate::control::{PEER_PORT, RawText, Selector};
use crate::id::ContentHash;
use crate::name::unescaped;
use crate::network::ends_in_number;
use argh::FromArgValue;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

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

/// How much a daemon can log.
pub(super) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Bytes as the user typed them.
#[derive(Debug, PartialEq)]
pub(super) struct BytesArg(pub(super) Vec<u8>);

impl FromArgValue for BytesArg {
    fn from_arg_value(value: &str) -> Result<Self, String> {
        Ok(Self(argv::decode(value)))
    }
}

/// A path as the user typed it; not empty.
#[derive(Debug, PartialEq)]
pub(super) struct PathArg(pub(super) PathBuf);

impl FromArgValue for PathArg {
    fn from_arg_value(value: &str) -> Result<Self, String> {
        if value.is_empty() { Err(Failure::EmptyPath.into()) } else { Ok(Self(argv::decode_os(value).into())) }
    }
}

/// Reads `30s`, `1m 30s`, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| Failure::NotATime.into())
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
        .map_err(|error| Failure::NotAPeer(WrongPeer::Lookup { host: host.into(), error: error.to_string() }))?;
    let found: Vec<SocketAddr> = found.collect();
    // Peers listen at IPv4 addresses by default.
    found
        .iter()
        .find(|peer| peer.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| Failure::HostWithoutAddress { host: host.into() }.into())
}

/// A name, also if the user has pasted it in escaped form.
pub(super) fn as_shown(name: Vec<u8>) -> Vec<u8> {
    unescaped(&name).unwrap_or(name)
}

/// Reads one of [`LEVELS`].
pub(super) fn level(text: &str) -> Result<String, String> {
    if LEVELS.contains(&text) { Ok(text.into()) } else { Err(Failure::NotALevel { known: LEVELS.join(", ") }.into()) }
}

/// Reads the name of a [`Shell`].
pub(super) fn shell(text: &str) -> Result<Shell, String> {
    Shell::named(text).ok_or_else(|| Failure::NotAShell { known: Shell::NAMES.join(", ") }.into())
}

/// Reads what is to be downloaded.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    if let Some(hash) = text.strip_prefix("b3=") {
        return match ContentHash::from_hex(hash.as_bytes()) {
            Some(hash) => Ok(Selector::Content(hash.to_string())),
            None => Err(Failure::NotAHash.into()),
        };
    }
    if let Some((address, name)) = text.split_once('/') {
        if name.is_empty() {
            return Err(Failure::NoNameAfterPeer.into());
        }
        return Ok(Selector::File { peer: peer(address)?, name: RawText::new(as_shown(argv::decode(name))) });
    }
    if text == "all" || text.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'-') && !text.is_empty() {
        return Ok(Selector::Hits(text.into()));
    }
    Err(Failure::NothingToDownload.into())
}

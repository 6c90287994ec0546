//! The responses of codes 1 and 5: writing and reading peer lists and file lists.

use super::attributes;
use super::banner::other_program;
use super::decode::{ip_literal, number, strip_end};
use super::error::WireError;
use super::message::{Listed, ListedPeer};
use super::{MESSAGE_BYTES_MAX, PEER_LIST_PEERS_MAX};
use crate::fault::OtherProgram;
use crate::lines::Lines;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// An IPv6 literal, `,`, a port, `,p1`, and some room.
const PEER_LINE_BYTES_MAX: usize = 64;

const PEER_LIST_BYTES_MAX: usize = PEER_LIST_PEERS_MAX * PEER_LINE_BYTES_MAX;

/// As long as a name in a message may be.
const FILE_LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// The response to code 1: a line `IP,Port` for each peer, IPv6 addresses without brackets; `IP,Port,p1` for marked ones, which
/// only a `p1` requester gets.
pub fn encode_peer_list(peers: &[ListedPeer]) -> Vec<u8> {
    let mut out = Vec::with_capacity(peers.len() * 24);
    for ListedPeer { addr, p1 } in peers {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [first, others @ ..] = ip.octets();
                push_decimal(&mut out, first.into());
                for octet in others {
                    out.push(b'.');
                    push_decimal(&mut out, octet.into());
                }
            }
            // Writing to a vector cannot fail.
            IpAddr::V6(ip) => drop(write!(out, "{ip}")),
        }
        out.push(b',');
        push_decimal(&mut out, addr.port());
        out.extend_from_slice(if *p1 { b",p1\n" } else { b"\n" });
    }
    out
}

/// As `write!` would, which takes most of the time that a short list does.
fn push_decimal(out: &mut Vec<u8>, mut number: u16) {
    let mut digits = [0; 5];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[begin..]);
        }
    }
}

/// Adds one line of the response to code 5: the name, and attributes if the file has them.
pub fn encode_list_line(out: &mut Vec<u8>, file: &Listed) {
    attributes::append(out, file);
    out.push(b'\n');
}

/// Reads one line of a file list, with or without its end.
///
/// # Errors
///
/// Names the field that is malformed: the name, or an attribute.
pub fn parse_listed(line: &[u8]) -> Result<Listed, WireError> {
    attributes::parse(strip_end(line))
}

/// Reads the response to code 1 in pieces.
#[derive(Debug, Default)]
pub struct PeerListReader {
    lines: Lines,
    peers: Vec<ListedPeer>,
    bytes: usize,
    lines_read: usize,
    pub(super) malformed: u64,
    other: Option<OtherProgram>,
}

impl PeerListReader {
    /// Adds received bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::PeerListTooLong`] beyond the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > PEER_LIST_BYTES_MAX {
            return Err(WireError::PeerListTooLong);
        }
        self.lines.push(bytes);
        while let Some(line) = self.lines.next(PEER_LINE_BYTES_MAX) {
            self.lines_read += 1;
            if self.lines_read > PEER_LIST_PEERS_MAX {
                return Err(WireError::PeerListTooLong);
            }
            match line {
                Ok(line) if strip_end(line).is_empty() => {}
                Ok(line) => match peer(strip_end(line)) {
                    Some(peer) => self.peers.push(peer),
                    None => {
                        self.malformed += 1;
                        self.other = self.other.or_else(|| other_program(line));
                    }
                },
                Err(_) => self.malformed += 1,
            }
        }
        Ok(())
    }

    /// The other program that sent this, if it is recognised.
    pub(crate) fn other_program(&self) -> Option<OtherProgram> {
        self.other.filter(|_| self.peers.is_empty())
    }

    /// Ends a last line without `\n`.
    ///
    /// # Errors
    ///
    /// [`WireError::PeerListTooLong`] if it is beyond the limit.
    pub(crate) fn end_line(&mut self) -> Result<(), WireError> {
        if self.lines.has_begun() { self.push(b"\n") } else { Ok(()) }
    }

    /// All peers, in the order of the list, with repeats. A last line without `\n` counts if it is complete.
    ///
    /// # Errors
    ///
    /// [`WireError::PeerListMalformed`] if there were lines and none was well-formed; [`WireError::PeerListTooLong`] if
    /// the last line is beyond the limit.
    pub fn finish(mut self) -> Result<Vec<ListedPeer>, WireError> {
        self.end_line()?;
        match self.peers.is_empty() && self.malformed > 0 {
            true => Err(WireError::PeerListMalformed),
            false => Ok(self.peers),
        }
    }
}

/// `IP,Port`, or `IP,Port,p1`.
fn peer(line: &[u8]) -> Option<ListedPeer> {
    let (line, p1) = match line.strip_suffix(b",p1") {
        Some(line) => (line, true),
        None => (line, false),
    };
    let at = line.iter().rposition(|&b| b == b',')?;
    let port = u16::try_from(number(&line[at + 1..])?).ok().filter(|&port| port != 0)?;
    Some(ListedPeer { addr: SocketAddr::new(ip_literal(&line[..at])?, port), p1 })
}

/// Reads the response to code 5 in pieces.
///
/// Take all batches before pushing more bytes.
#[derive(Debug, Default)]
pub struct FileListReader {
    lines: Lines,
    pub(super) refused: u64,
    bytes: u64,
    files: u64,
    other: Option<OtherProgram>,
}

impl FileListReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.lines.push(bytes);
    }

    /// The next files, in order, at most `max`; empty if no complete line is left. Skips empty lines; skips and counts malformed
    /// ones.
    pub(crate) fn next_batch(&mut self, max: usize) -> Vec<Listed> {
        let mut batch = Vec::new();
        while batch.len() < max && self.other.is_none() {
            match self.lines.next(FILE_LINE_BYTES_MAX) {
                None => break,
                Some(Err(_)) => self.refused += 1,
                Some(Ok(line)) if strip_end(line).is_empty() => {}
                Some(Ok(line)) => {
                    if self.files + self.refused == 0 {
                        self.other = other_program(line);
                    }
                    match parse_listed(line) {
                        Ok(file) if self.other.is_none() => {
                            self.files += 1;
                            batch.push(file);
                        }
                        _ => self.refused += 1,
                    }
                }
            }
        }
        batch
    }

    /// The other program that sent this, recognised by the first line, or at the end of the list (`through`) because no line
    /// is a file.
    pub(crate) fn other_program(&self, through: bool) -> Option<OtherProgram> {
        self.other.or_else(|| (through && self.files == 0 && self.refused > 0).then_some(OtherProgram::Unknown))
    }

    /// The list is complete: a last line without `\n` counts, and is in the next batch.
    pub(crate) fn finish(&mut self) {
        if self.lines.has_begun() {
            self.lines.push(b"\n");
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

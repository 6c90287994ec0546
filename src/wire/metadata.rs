//! The response of code 9: a line of attributes, then the chaining values (PROTOCOL, Ranges and metadata).

use super::attributes::parse_size;
use crate::content::{ChainHasher, ChainingValue, ContentHasher, GROUP_LOG2, Outline, group_count};
use crate::fault::RefusalReason;
use crate::id::ContentHash;
use crate::name::has_control;
use std::io::Write;
use thiserror::Error;

/// 2 TiB: the values fill 64 MiB.
pub(crate) const METADATA_GROUPS_MAX: u64 = 1 << 21;

/// Ours have at most 132 bytes, the rest is for future keys.
const METADATA_LINE_BYTES_MAX: usize = 256;

const VALUE_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub(crate) enum MetadataFault {
    /// No line of `size`, `b3` and `group=20`, or fewer values than the size needs.
    #[error("the metadata are malformed")]
    Malformed,
    /// More than [`METADATA_GROUPS_MAX`] groups, or more bytes than the size needs.
    #[error("the metadata are too long")]
    TooLong,
    /// They do not prove the hash, or are of another content.
    #[error("the metadata do not prove the hash")]
    Corrupt,
    #[error("{0}")]
    Refused(RefusalReason),
}

/// A refusal of code 9 (PROTOCOL, Refusals).
pub(crate) fn encode_refusal(reason: RefusalReason) -> Vec<u8> {
    format!("refused={}\n", reason.word()).into_bytes()
}

/// The response to code 9. `chain`: from a [`ContentHasher`]; empty for a content of at most one group.
pub(crate) fn encode_metadata(size: u64, b3: ContentHash, chain: &[ChainingValue]) -> Vec<u8> {
    encode_info(FileInfo { size, b3, pending: 0 }, chain)
}

/// The response to code 9 for the manifest of a directory (PROTOCOL, Directories).
pub(crate) fn encode_info(info: FileInfo, chain: &[ChainingValue]) -> Vec<u8> {
    let FileInfo { size, b3, pending } = info;
    let mut out = Vec::with_capacity(METADATA_LINE_BYTES_MAX / 2 + chain.len() * VALUE_BYTES);
    // Writing to a vector cannot fail.
    let _ = write!(out, "size={size}\tb3={b3}\tgroup={GROUP_LOG2}");
    if pending > 0 {
        let _ = write!(out, "\tpending={pending}");
    }
    out.push(b'\n');
    chain.iter().for_each(|value| out.extend_from_slice(&value.0));
    out
}

/// What the first line of the response to code 9 says, unproven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileInfo {
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) b3: ContentHash,
    /// Of a manifest: how many files beneath the directory are not in it yet.
    pub(crate) pending: u64,
}

/// Reads and verifies the response to code 9 in pieces. Allocates only for received bytes.
#[derive(Debug)]
pub(crate) struct MetadataReader {
    wanted: Option<ContentHash>,
    bytes: u64,
    state: State,
}

/// Reads only the first line of the response to code 9, or the reason of a refusal.
#[derive(Debug, Default)]
pub(crate) struct FileInfoReader {
    line: Vec<u8>,
    bytes: u64,
}

impl FileInfoReader {
    /// Adds received bytes. Returns what the line says once it is complete.
    ///
    /// # Errors
    ///
    /// [`MetadataFault::Malformed`] or [`MetadataFault::Refused`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<FileInfo>, MetadataFault> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        take_line(&mut self.line, bytes)?.map(|_| parse_line(&self.line)).transpose()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[derive(Debug)]
enum State {
    Line(Vec<u8>),
    Values(Values),
    /// Complete and verified.
    Proved(Outline),
    Refused(MetadataFault),
}

/// The received chaining values of a content of two groups or more.
#[derive(Debug)]
struct Values {
    size: u64,
    b3: ContentHash,
    chain: Vec<ChainingValue>,
    hasher: ChainHasher,
    torn: Vec<u8>,
}

impl MetadataReader {
    /// `wanted`: the hash that the response must have.
    pub(crate) fn new(wanted: Option<ContentHash>) -> Self {
        Self { wanted, bytes: 0, state: State::Line(Vec::new()) }
    }

    /// Adds received bytes.
    ///
    /// # Errors
    ///
    /// As soon as the response is invalid, and at each further call.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), MetadataFault> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let state = std::mem::replace(&mut self.state, State::Refused(MetadataFault::Malformed));
        let next = match state {
            State::Line(line) => self.read_line(line, bytes),
            State::Values(values) => values.take(bytes),
            State::Proved(outline) if bytes.is_empty() => Ok(State::Proved(outline)),
            State::Proved(_) => Err(MetadataFault::TooLong),
            State::Refused(fault) => Err(fault),
        };
        match next {
            Ok(state) => {
                self.state = state;
                Ok(())
            }
            Err(fault) => {
                self.state = State::Refused(fault);
                Err(fault)
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The proven outline, at the end of the response.
    ///
    /// # Errors
    ///
    /// [`MetadataFault::Malformed`] if they are incomplete; otherwise as [`MetadataReader::push`].
    pub(crate) fn finish(self) -> Result<Outline, MetadataFault> {
        match self.state {
            State::Proved(outline) => Ok(outline),
            State::Refused(fault) => Err(fault),
            State::Line(_) | State::Values(_) => Err(MetadataFault::Malformed),
        }
    }

    /// Capacity for values.
    #[cfg(test)]
    pub(super) fn values_held(&self) -> usize {
        match &self.state {
            State::Values(values) => values.chain.capacity(),
            State::Proved(outline) => outline.chain().len(),
            State::Line(_) | State::Refused(_) => 0,
        }
    }

    fn read_line(&self, mut line: Vec<u8>, bytes: &[u8]) -> Result<State, MetadataFault> {
        let Some(values) = take_line(&mut line, bytes)? else { return Ok(State::Line(line)) };
        let FileInfo { size, b3, .. } = parse_line(&line)?;
        if self.wanted.is_some_and(|wanted| wanted != b3) {
            return Err(MetadataFault::Corrupt);
        }
        if group_count(size) > METADATA_GROUPS_MAX {
            return Err(MetadataFault::TooLong);
        }
        // An empty content has no group to verify: its hash is checked here.
        if size == 0 && b3 != ContentHasher::default().finish().0 {
            return Err(MetadataFault::Corrupt);
        }
        Values { size, b3, chain: Vec::new(), hasher: ChainHasher::default(), torn: Vec::new() }.take(values)
    }
}

impl Values {
    fn take(mut self, mut bytes: &[u8]) -> Result<State, MetadataFault> {
        let count = if group_count(self.size) > 1 { group_count(self.size) } else { 0 };
        while !bytes.is_empty() && self.hasher.count() < count {
            let (now, later) = bytes.split_at(bytes.len().min(VALUE_BYTES - self.torn.len()));
            self.torn.extend_from_slice(now);
            bytes = later;
            if let Ok(value) = <[u8; VALUE_BYTES]>::try_from(self.torn.as_slice()) {
                self.torn.clear();
                self.chain.push(ChainingValue(value));
                self.hasher.push(ChainingValue(value));
            }
        }
        if self.hasher.count() < count {
            return Ok(State::Values(self));
        }
        // Verified before further bytes are examined, so that the outcome does not depend on the pieces.
        let Self { size, b3, chain, hasher, .. } = self;
        let outline = Outline::proved(b3, size, chain, hasher).map_err(|_| MetadataFault::Corrupt)?;
        if bytes.is_empty() { Ok(State::Proved(outline)) } else { Err(MetadataFault::TooLong) }
    }
}

/// Adds bytes to a line. Once it is complete, returns the bytes after it.
fn take_line<'a>(line: &mut Vec<u8>, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, MetadataFault> {
    let newline = memchr::memchr(b'\n', bytes);
    let now = &bytes[..newline.unwrap_or(bytes.len())];
    if line.len() + now.len() > METADATA_LINE_BYTES_MAX {
        return Err(MetadataFault::Malformed);
    }
    line.extend_from_slice(now);
    Ok(newline.map(|at| &bytes[at + 1..]))
}

/// `size=…`, `b3=…` and `group=20`, or `refused=…`, separated by tabs, in any order. Unknown keys are ignored, and of a repeated
/// key the last value counts.
fn parse_line(line: &[u8]) -> Result<FileInfo, MetadataFault> {
    let (mut size, mut b3, mut group, mut refused, mut pending) = (None, None, None, None, 0);
    for piece in line.split(|&b| b == b'\t') {
        if has_control(piece) {
            return Err(MetadataFault::Malformed);
        }
        if let Some(digits) = piece.strip_prefix(b"size=") {
            size = Some(parse_size(digits).ok_or(MetadataFault::Malformed)?);
        } else if let Some(hex) = piece.strip_prefix(b"b3=") {
            b3 = Some(ContentHash::from_hex(hex).ok_or(MetadataFault::Malformed)?);
        } else if let Some(digits) = piece.strip_prefix(b"group=") {
            group = Some(parse_size(digits).ok_or(MetadataFault::Malformed)?);
        } else if let Some(digits) = piece.strip_prefix(b"pending=") {
            pending = parse_size(digits).ok_or(MetadataFault::Malformed)?;
        } else if let Some(word) = piece.strip_prefix(b"refused=") {
            refused = Some(RefusalReason::from_word(word));
        }
    }
    if let Some(reason) = refused {
        return Err(MetadataFault::Refused(reason));
    }
    let told = size.zip(b3).filter(|_| group == Some(u64::from(GROUP_LOG2))).ok_or(MetadataFault::Malformed);
    told.map(|(size, b3)| FileInfo { size, b3, pending })
}

//! A file name with the attributes of a `p1` node (PROTOCOL, part 2, Attributes): at the end of a code 7, and in a line of a
//! file list.

use super::error::{Field, WireError};
use super::message::{Attributes, Listed};
use crate::id::ContentHash;
use crate::name::{FileName, has_control};
use std::io::Write;

/// Reads a name and, after the first tab, its attributes. Ignores unknown keys and pieces without `=`; of a repeated key the
/// last value counts.
pub(super) fn parse(bytes: &[u8]) -> Result<Listed, WireError> {
    let (name, pieces) = split_at_tab(bytes);
    let name = parse_name(name)?;
    Ok(Listed { name, attributes: pieces.map(parse_pieces).transpose()? })
}

/// What precedes the first tab, and what follows it. Lists have a million lines: this takes a fourth of the time of a search byte
/// by byte.
fn split_at_tab(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'\t', bytes) {
        Some(tab) => (&bytes[..tab], Some(&bytes[tab + 1..])),
        None => (bytes, None),
    }
}

fn parse_pieces(pieces: &[u8]) -> Result<Attributes, WireError> {
    let mut known = Attributes::default();
    let mut rest = Some(pieces);
    while let Some(bytes) = rest {
        let (piece, others) = split_at_tab(bytes);
        rest = others;
        if has_control(piece) {
            return Err(WireError::Malformed(Field::Attribute));
        }
        if let Some(size) = piece.strip_prefix(b"size=") {
            known.size = Some(parse_size(size).ok_or(WireError::Malformed(Field::Size))?);
        } else if let Some(hex) = piece.strip_prefix(b"b3=") {
            known.b3 = Some(ContentHash::from_hex(hex).ok_or(WireError::Malformed(Field::B3))?);
        } else if piece.starts_with(b"more=") {
            known.more = piece == b"more=1";
        }
    }
    Ok(known)
}

pub(super) fn parse_name(bytes: &[u8]) -> Result<FileName, WireError> {
    Field::FileName.parsed(bytes, FileName::from_bytes(bytes))
}

/// Writes the name, and the attributes if there are any. A tab alone shows that we speak `p1` and know none.
pub(super) fn append(out: &mut Vec<u8>, file: &Listed) {
    out.extend_from_slice(file.name.as_bytes());
    let Some(Attributes { size, b3, more }) = file.attributes else { return };
    // Writing to a vector cannot fail.
    if let Some(size) = size {
        let _ = write!(out, "\tsize={size}");
    }
    if let Some(b3) = b3 {
        let _ = write!(out, "\tb3={b3}");
    }
    if more {
        out.extend_from_slice(b"\tmore=1");
    }
    if size.is_none() && b3.is_none() && !more {
        out.push(b'\t');
    }
}

/// A number of only digits that fits the type.
pub(super) fn parse_size(digits: &[u8]) -> Option<u64> {
    // `parse` alone would accept a sign.
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok()
}

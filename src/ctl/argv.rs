//! Arguments are bytes, and the parser takes Unicode.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

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

//! Names of files as the network gives them: bytes that are usually, but not surely, UTF-8.

use std::borrow::Borrow;
use std::fmt;

/// Longest file name on the wire, in bytes: what still fits a message of 4 KiB beside the other fields.
pub const FILE_NAME_BYTES_MAX: usize = 3800;

/// Longest single path component that common filesystems take, in bytes.
const COMPONENT_BYTES_MAX: usize = 255;

/// A shared file's name: the path relative to the share, components separated by `/`, without control bytes.
///
/// Holding one proves nothing about safety as a path: it may be absolute or contain `..`. Files are served by looking
/// it up in the library, and saved under [`FileName::safe_component`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<[u8]>);

impl FileName {
    /// Takes a name. `None` if it is empty, longer than [`FILE_NAME_BYTES_MAX`], or holds a control byte.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let good = !bytes.is_empty() && bytes.len() <= FILE_NAME_BYTES_MAX && !bytes.iter().copied().any(is_control);
        good.then(|| Self(bytes.into()))
    }

    /// The bytes as they stand on the wire and on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What follows the last `/`; empty if the name ends in one.
    pub fn last_component(&self) -> &[u8] {
        last_component(&self.0)
    }

    /// One component under which a file of this name may be saved in a directory: the last component, at most 255
    /// bytes, never hidden, never `.` or `..`, and with `_` for every mark that deceives the eye.
    pub fn safe_component(&self) -> FileName {
        let last = self.last_component();
        let mut safe: Vec<u8> = if last.first().is_none_or(|&b| b == b'.') { b"_".to_vec() } else { Vec::new() };
        for chunk in last.utf8_chunks() {
            let visible = |c: char| if is_deceptive(c) || c.is_control() { '_' } else { c };
            safe.extend(chunk.valid().chars().map(visible).collect::<String>().into_bytes());
            safe.extend_from_slice(chunk.invalid());
        }
        // Room for the affixes of a part file and for " (12)" before the extension.
        let room = COMPONENT_BYTES_MAX - 32;
        if safe.len() > room {
            let extension_at = safe.iter().rposition(|&b| b == b'.').filter(|&at| at > 0 && safe.len() - at <= 16);
            let extension = extension_at.map(|at| safe[at..].to_vec()).unwrap_or_default();
            let mut end = room - extension.len();
            // Do not cut a UTF-8 sequence in half.
            while end > 0 && safe[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            safe.truncate(end.max(1));
            safe.extend(extension);
        }
        FileName(safe.into())
    }
}

impl Borrow<[u8]> for FileName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for FileName {
    /// Escaped, as [`Escaped`] does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({self})")
    }
}

/// What follows the last `/` of a path.
pub fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// Whether a byte may not stand in a file name: C0 control bytes and DEL.
pub const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Bytes from the network made harmless for a terminal, a table or a log line.
///
/// Printable text stands as it is; control characters (C0, DEL, C1, and the marks that reorder or hide text), and bytes
/// that are not UTF-8, are shown as `\n`, `\t`, `\\`, `\x1b` or `\u{202e}`.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if c.is_control() || is_deceptive(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Marks that reorder, join or hide the text around them, or cannot be seen: bidirectional controls, zero-width and
/// blank letters, line and paragraph separators, annotation marks and tags.
const fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> FileName {
        FileName::from_bytes(bytes).unwrap()
    }

    #[test]
    fn control_bytes_and_lengths_are_refused() {
        for bad in [&b""[..], b"a\nb", b"a\0", b"\x1b[2J", b"a\x7f", &[b'a'; FILE_NAME_BYTES_MAX + 1]] {
            assert_eq!(FileName::from_bytes(bad), None);
        }
        assert!(FileName::from_bytes(b"caf\xe9:\xff").is_some());
    }

    #[test]
    fn a_safe_component_stays_in_its_directory() {
        for (given, safe) in [
            (&b"a/b.txt"[..], &b"b.txt"[..]),
            (b"../../etc/passwd", b"passwd"),
            (b"..", b"_.."),
            (b"a/.", b"_."),
            (b".bashrc", b"_.bashrc"),
            (b"/", b"_"),
            ("gnp\u{202e}.exe".as_bytes(), b"gnp_.exe"),
            (b"caf\xe9", b"caf\xe9"),
        ] {
            assert_eq!(name(given).safe_component().as_bytes(), safe);
        }
    }

    #[test]
    fn a_long_component_keeps_its_extension_and_its_characters_whole() {
        let long = name(&["é".repeat(300).as_bytes(), b".tar"].concat()).safe_component();
        assert!(long.as_bytes().len() <= 223 && long.as_bytes().ends_with(b".tar"));
        assert!(std::str::from_utf8(long.as_bytes()).is_ok());
    }

    #[test]
    fn escapes_reach_no_terminal() {
        assert_eq!(Escaped(b"a\x1b[31m\n\\\xff\tz").to_string(), "a\\x1b[31m\\n\\\\\\xff\\tz");
        assert_eq!(Escaped("gpj\u{202e}.exe\u{9b}".as_bytes()).to_string(), "gpj\\u{202e}.exe\\u{9b}");
        assert_eq!(Escaped("naïve ✓".as_bytes()).to_string(), "naïve ✓");
    }
}

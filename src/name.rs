//! Names of files as the network gives them: bytes that are usually, but not surely, UTF-8.

use std::borrow::Borrow;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest file name on the wire, in bytes: what still fits a message of 4 KiB beside the other fields.
pub(crate) const FILE_NAME_BYTES_MAX: usize = 3800;

/// Longest single path component that common filesystems take, in bytes.
pub(crate) const COMPONENT_BYTES_MAX: usize = 255;

/// Most bytes of an extension, with its dot: more is a sentence with a dot in it.
const EXTENSION_BYTES_MAX: usize = 16;

/// A shared file's name: the path relative to the share, components separated by `/`, without control bytes.
///
/// Holding one proves nothing about safety as a path: it may be absolute or contain `..`. Files are served by looking
/// it up in the library, and saved under `FileName::safe_component`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<[u8]>);

impl FileName {
    /// Takes a name. `None` if it is empty, longer than [`FILE_NAME_BYTES_MAX`], or holds a control byte.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let good = !bytes.is_empty() && bytes.len() <= FILE_NAME_BYTES_MAX && !has_control(bytes);
        good.then(|| Self(bytes.into()))
    }

    /// The bytes as they stand on the wire and on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name of a directory, with one `/` at its end; `None` if none can be called so.
    pub(crate) fn of_directory(bytes: &[u8]) -> Option<Self> {
        let trimmed = bytes.trim_ascii_end();
        let end = trimmed.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let path = bytes.get(..end).filter(|path| !path.is_empty())?;
        Self::from_bytes(&[path, b"/"].concat())
    }

    /// Whether it stands for a directory: it ends in `/`.
    pub(crate) fn is_directory(&self) -> bool {
        self.0.ends_with(b"/")
    }

    /// Whether it is that of a hidden file, or of one in a hidden directory: those are not shared.
    pub(crate) fn is_hidden(&self) -> bool {
        self.0.split(|byte| *byte == b'/').any(|component| component.starts_with(b"."))
    }

    /// What follows the last `/`; empty if the name ends in one.
    pub fn last_component(&self) -> &[u8] {
        last_component(&self.0)
    }

    /// One component under which a file of this name may be saved in a directory: the last component, at most 255
    /// bytes, never hidden, never `.` or `..`, and with `_` for characters that make the name look like another.
    pub(crate) fn safe_component(&self) -> FileName {
        let last = self.last_component();
        let mut safe: Vec<u8> = if last.first().is_none_or(|&b| b == b'.') { b"_".to_vec() } else { Vec::new() };
        for chunk in last.utf8_chunks() {
            safe.extend(without_danger(chunk.valid()).into_bytes());
            safe.extend_from_slice(chunk.invalid());
        }
        if safe.len() > COMPONENT_BYTES_MAX {
            let (stem, extension) = split_extension(&safe);
            safe = [cut(stem, COMPONENT_BYTES_MAX - extension.len()), extension].concat();
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
pub(crate) fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// A component as stem and extension: that begins with the last dot, or with the one before it in `.tar.gz` and the like. It
/// has at most 16 bytes, and may be empty.
pub(crate) fn split_extension(component: &[u8]) -> (&[u8], &[u8]) {
    let dot = component.iter().rposition(|&byte| byte == b'.');
    let Some(dot) = dot.filter(|&at| at > 0 && component.len() - at <= EXTENSION_BYTES_MAX) else {
        return (component, b"");
    };
    let (stem, _) = component.split_at(dot);
    let dot = stem.strip_suffix(b".tar").filter(|stem| !stem.is_empty()).map_or(dot, <[u8]>::len);
    component.split_at(dot)
}

/// At most so many bytes from the front, and no UTF-8 sequence cut in half.
pub(crate) fn cut(name: &[u8], bytes_max: usize) -> &[u8] {
    let mut end = name.len().min(bytes_max);
    while end > 0 && end < name.len() && name[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &name[..end]
}

/// Whether a byte may not stand in a file name: C0 control bytes and DEL.
pub(crate) const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Whether one of these bytes may not stand in a file name. Looks at all of them: that takes less time than to stop.
pub(crate) fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |is_found, &byte| is_found | is_control(byte))
}

/// Bytes from the network, escaped for a terminal, a table or a log line.
///
/// Printable text stands as it is; control characters (C0, DEL, C1, and the marks that reorder or hide text), and bytes
/// that are not UTF-8, are shown as `\n`, `\t`, `\\`, `\x1b` or `\u{202e}`.
#[derive(Clone, Copy)]
pub(crate) struct Escaped<'a>(pub &'a [u8]);

impl<'a> Escaped<'a> {
    pub(crate) fn path(path: &'a Path) -> Self {
        Self(path.as_os_str().as_bytes())
    }

    /// The same as `to_string`, in one piece if nothing is escaped, as of nearly all names: listings have a million of them.
    pub(crate) fn to_text(self) -> String {
        match std::str::from_utf8(self.0) {
            Ok(text) if stands_as_it_is(text) => text.to_owned(),
            _ => self.to_string(),
        }
    }
}

/// Whether a text is printable ASCII without `\\`. Looks at all of it: that takes less time than to stop.
fn stands_as_it_is(text: &str) -> bool {
    text.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~') & (byte != b'\\'))
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let valid = chunk.valid();
            if stands_as_it_is(valid) {
                f.write_str(valid)?;
            } else {
                valid.chars().try_for_each(|c| match c {
                    '\n' => f.write_str("\\n"),
                    '\t' => f.write_str("\\t"),
                    '\r' => f.write_str("\\r"),
                    '\\' => f.write_str("\\\\"),
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c)),
                    c if c.is_control() || is_deceptive(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
                    c => fmt::Write::write_char(f, c),
                })?;
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// The bytes that [`Escaped`] shows as this text; `None` if the text is no escaped name.
pub(crate) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let (&kind, after) = after.split_first()?;
        let digits = match kind {
            b'\\' => {
                bytes.push(b'\\');
                rest = after;
                continue;
            }
            b'x' => after.get(..2)?,
            b'u' => after.strip_prefix(b"{").and_then(|inner| inner.split(|&byte| byte == b'}').next())?,
            // No name holds what the others stand for.
            _ => return None,
        };
        let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if kind == b'x' {
            bytes.push(u8::try_from(code).ok()?);
            rest = &after[2..];
        } else {
            bytes.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after.get(digits.len() + 2..)?;
        }
    }
    (Escaped(&bytes).to_string().as_bytes() == text).then_some(bytes)
}

/// Characters that nobody sees, whatever the font: Default_Ignorable_Code_Point (Unicode 17, DerivedCoreProperties.txt). It
/// reserves ranges for the characters of this kind that may come, so that the list stays as it is.
pub(crate) const fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Line and paragraph separators, marks of annotations, and code points that never will be characters.
const fn is_unprintable(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}')
        || c as u32 & 0xfffe == 0xfffe
}

/// The characters of [`is_default_ignorable`] that are combining marks (general category Mn), most of them variation
/// selectors: they choose the form of the character before them.
const fn is_unseen_mark(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0100}'..='\u{e01ef}')
}

/// Marks that reorder, join or hide the text around them, or cannot be seen, but for those that only choose the form of a
/// character.
const fn is_deceptive(c: char) -> bool {
    let chooses_form = matches!(c, '\u{34f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    is_default_ignorable(c) && !chooses_form || is_unprintable(c)
}

/// A text with `_` for what must not stand in the name of a file that is saved: control characters, and those that reorder
/// the text around them or cannot be seen, by which a name looks like another. Joiners and combining marks stay, without
/// which many scripts and emoji are not written, and the tags of a flag.
fn without_danger(text: &str) -> String {
    let mut in_flag = false;
    let harmless = |c: char| {
        in_flag = c == FLAG || in_flag && matches!(c, '\u{e0020}'..='\u{e007f}');
        let is_needed = matches!(c, '\u{200c}'..='\u{200d}') || is_unseen_mark(c) || in_flag;
        let is_dangerous = c.is_control() || is_unprintable(c) || is_default_ignorable(c) && !is_needed;
        if is_dangerous { '_' } else { c }
    };
    text.chars().map(harmless).collect()
}

/// The emoji that tags after it make the flag of a region (UTS 51, ED-14a).
const FLAG: char = '\u{1f3f4}';

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

    fn name(bytes: &[u8]) -> FileName {
        FileName::from_bytes(bytes).unwrap()
    }

    #[test]
    fn a_text_that_stands_as_it_is_is_no_other_than_the_escaped_one() {
        for bytes in [&b""[..], b"a name", b"a\\b", b"a\tb", b"\x7f", b"\xff", "na\u{ef}ve \u{202e}".as_bytes()] {
            assert_eq!(Escaped(bytes).to_text(), Escaped(bytes).to_string());
        }
        assert_eq!(Escaped(b"a\\b\x7f").to_text(), "a\\\\b\\x7f");
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
    fn a_name_that_a_filesystem_takes_is_kept() {
        for kept in [
            "a".repeat(224),
            "é".repeat(127),
            "日".repeat(82) + ".tar.gz",
            "نمی\u{200c}خواهم.txt".into(),
            "👩\u{200d}🚀".into(),
            "❤\u{fe0f} 葛\u{e0100} \u{1820}\u{180b} x\u{34f}".into(),
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}.png".into(),
            "كتاب cafe\u{301} कि".into(),
        ] {
            assert_eq!(name(kept.as_bytes()).safe_component().as_bytes(), kept.as_bytes());
        }
        let deceptive = name("a\u{202e}b\u{2066}c\u{200f}d\u{85}e\u{feff}.txt".as_bytes());
        assert_eq!(deceptive.safe_component().as_bytes(), b"a_b_c_d_e_.txt");
    }

    #[test]
    fn a_saved_name_has_no_character_that_nobody_sees() {
        for unseen in "\u{ad}\u{61c}\u{115f}\u{180e}\u{200b}\u{2028}\u{2060}\u{2064}\u{3164}\u{feff}\u{fff9}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{fdd0}\u{1fffe}".chars() {
            let saved = name(format!("report{unseen}.txt").as_bytes()).safe_component();
            assert_eq!(saved.as_bytes(), b"report_.txt", "{:x}", u32::from(unseen));
            assert!(Escaped(unseen.to_string().as_bytes()).to_string().starts_with("\\u{"));
        }
    }

    /// These have a shape: they enclose the digits after them, stand for an abbreviation, or order hieroglyphs.
    const FORMAT_CHARACTERS_SEEN: [std::ops::RangeInclusive<char>; 8] = [
        '\u{600}'..='\u{605}',
        '\u{6dd}'..='\u{6dd}',
        '\u{70f}'..='\u{70f}',
        '\u{890}'..='\u{891}',
        '\u{8e2}'..='\u{8e2}',
        '\u{110bd}'..='\u{110bd}',
        '\u{110cd}'..='\u{110cd}',
        '\u{13430}'..='\u{1343f}',
    ];

    #[test]
    fn the_lists_agree_with_the_general_category() {
        for c in '\0'..=char::MAX {
            let is_seen = FORMAT_CHARACTERS_SEEN.iter().any(|seen| seen.contains(&c));
            let is_unseen = is_default_ignorable(c) || is_unprintable(c);
            match c.general_category() {
                GeneralCategory::Format => assert!(is_unseen != is_seen, "{:x}", u32::from(c)),
                GeneralCategory::NonspacingMark => assert!(is_unseen == is_unseen_mark(c), "{:x}", u32::from(c)),
                _ => assert!(!is_unseen_mark(c), "{:x}", u32::from(c)),
            }
        }
    }

    #[test]
    fn a_long_component_keeps_its_extension_and_its_characters_whole() {
        for (stem, extension) in [("é", ".tar"), ("日", ".tar.gz"), ("x", ".7z"), ("é", "")] {
            let long = name(&[stem.repeat(300).as_bytes(), extension.as_bytes()].concat()).safe_component();
            let bytes = long.as_bytes();
            assert!((253..=255).contains(&bytes.len()) && bytes.ends_with(extension.as_bytes()), "{long}");
            assert!(std::str::from_utf8(bytes).is_ok());
        }
        let hidden = name(&[b".".as_slice(), &[b'x'; 254]].concat()).safe_component();
        assert_eq!(hidden.as_bytes(), [b"_.".as_slice(), &[b'x'; 253]].concat());
    }

    #[test]
    fn an_extension_is_short_and_may_be_double() {
        for (stem, extension) in [
            ("a", ".tar.gz"),
            (".tar", ".gz"),
            ("a.b", ".txt"),
            (".bashrc", ""),
            ("v1. A sentence of words", ""),
            ("a", "."),
        ] {
            let whole = [stem, extension].concat();
            assert_eq!(split_extension(whole.as_bytes()), (stem.as_bytes(), extension.as_bytes()));
        }
    }

    #[test]
    fn what_is_shown_escaped_can_be_read_back() {
        for bytes in
            [&b"caf\xe9"[..], b"a\\b", b"\\\\x41", "gpj\u{202e}.exe\u{9b}".as_bytes(), "naïve ✓".as_bytes(), b""]
        {
            assert_eq!(unescaped(Escaped(bytes).to_string().as_bytes()).as_deref(), Some(bytes));
        }
        for text in
            [&b"a\\b"[..], b"\\x41", b"\\", b"\\x4", b"\\u{41}", b"\\u{202e", b"caf\xe9", b"\\u{110000}", b"\\X1b"]
        {
            assert_eq!(unescaped(text), None, "{}", Escaped(text));
        }
    }

    #[test]
    fn escapes_reach_no_terminal() {
        assert_eq!(Escaped(b"a\x1b[31m\n\\\xff\tz").to_string(), "a\\x1b[31m\\n\\\\\\xff\\tz");
        assert_eq!(Escaped("gpj\u{202e}.exe\u{9b}".as_bytes()).to_string(), "gpj\\u{202e}.exe\\u{9b}");
        assert_eq!(Escaped("naïve ✓".as_bytes()).to_string(), "naïve ✓");
    }
}

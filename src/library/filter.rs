//! Filters of a search: conditions on size, type and directories of a file (PROTOCOL, Filters).
//!
//! A filter has two forms. Users write `size:>10MiB`; a peer is sent [`ON_WIRE`] and the canonical form, in a place where peers
//! that know no filters see a word to exclude, which no name has: they answer for the words alone, and the requester filters.

use super::fold::{folded, words};
use crate::name::last_component;
use crate::suggest::closest;
use bytesize::ByteSize;
use memchr::memmem::Finder;
use std::ops::RangeInclusive;

/// Filters of one search.
pub(crate) const FILTERS_MAX: usize = 8;

/// What a filter begins with in the file string that peers are sent.
const ON_WIRE: &[u8] = b"-pyratefilter:";

/// Which extensions a type has. Part of the protocol: both sides of a search need the same table.
#[rustfmt::skip]
const TYPES: [(&str, &[&str]); 8] = [
    ("audio", &["aac", "ac3", "aif", "aiff", "alac", "amr", "ape", "au", "dff", "dsf", "flac", "m4a", "m4b", "mid", "midi", "mka",
        "mp2", "mp3", "mpc", "oga", "ogg", "opus", "ra", "wav", "wma", "wv"]),
    ("video", &["3gp", "asf", "avi", "divx", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogm", "ogv", "rm",
        "rmvb", "ts", "vob", "webm", "wmv"]),
    ("image", &["avif", "bmp", "gif", "heic", "ico", "jpeg", "jpg", "jxl", "png", "psd", "raw", "svg", "tif", "tiff", "webp",
        "xcf"]),
    ("text", &["adoc", "csv", "htm", "html", "json", "log", "md", "nfo", "org", "rst", "srt", "sub", "tex", "toml", "tsv", "txt",
        "vtt", "xml", "yaml", "yml"]),
    ("document", &["azw3", "chm", "djvu", "doc", "docx", "epub", "fb2", "mobi", "odp", "ods", "odt", "pdf", "ppt", "pptx", "ps",
        "rtf", "xls", "xlsx"]),
    ("archive", &["7z", "bz2", "cab", "cpio", "gz", "lz", "lz4", "lzma", "rar", "tar", "tbz2", "tgz", "txz", "xz", "z", "zip",
        "zst"]),
    ("iso", &["bin", "ccd", "cue", "dmg", "img", "iso", "mdf", "mds", "nrg", "qcow2", "toast", "vdi", "vhd", "vhdx", "vmdk"]),
    ("program", &["apk", "appimage", "bat", "com", "deb", "exe", "flatpak", "jar", "msi", "pkg", "rpm", "run", "sh", "snap"]),
];

/// The types that exist.
pub(crate) fn types() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(name, _)| *name)
}

/// Units of sizes that are hardly meant as words of names.
const UNITS: [&[u8]; 8] = [b"kb", b"mb", b"gb", b"tb", b"kib", b"mib", b"gib", b"tib"];

/// Why a word that begins as a filter is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FilterFault {
    Size,
    /// The word that is no type, and the type that was likely meant.
    Type(Vec<u8>, Option<&'static str>),
    Path,
    TooMany,
}

/// A condition on a file beside those on its name.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    test: Test,
    excludes: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Size(RangeInclusive<u64>),
    /// Places in [`TYPES`].
    Types(Vec<usize>),
    /// The directories contain these words in sequence.
    Path {
        words: Vec<u8>,
        finder: Box<Finder<'static>>,
    },
}

impl Filter {
    /// Whether a file with this folded path and size fits. A size that is not known fits no filter of sizes.
    pub(super) fn admits(&self, path: &[u8], size: Option<u64>) -> bool {
        let is_met = match &self.test {
            Test::Size(range) => match size {
                Some(size) => range.contains(&size),
                None => return false,
            },
            Test::Types(types) => {
                let extension = last_component(path).rsplitn(2, |byte| *byte == b'.').next().unwrap_or_default();
                types.iter().any(|at| TYPES[*at].1.iter().any(|known| known.as_bytes() == extension))
                    && last_component(path).contains(&b'.')
            }
            Test::Path { finder, .. } => {
                let directories = &path[..path.len() - last_component(path).len()];
                finder.find(&words(directories).collect::<Vec<_>>().join(&b' ')).is_some()
            }
        };
        is_met != self.excludes
    }

    /// Whether no file in any directory fits that has this folded name, whatever its size.
    pub(super) fn rules_out_name(&self, name: &[u8]) -> bool {
        matches!(self.test, Test::Types(_)) && !self.admits(name, None)
    }

    /// The words that the path of each file has which fits, also where a peer knows no filters.
    pub(super) fn words(&self) -> Option<&[u8]> {
        match &self.test {
            Test::Path { words, .. } if !self.excludes => Some(words),
            _ => None,
        }
    }

    /// The form for peers.
    pub(super) fn on_wire(&self) -> Vec<u8> {
        let mut text = ON_WIRE.to_vec();
        text.extend(self.excludes.then_some(b'!'));
        match &self.test {
            Test::Size(range) => {
                let end = Some(range.end()).filter(|end| **end < u64::MAX).map(u64::to_string);
                text.extend(format!("size:{}..{}", range.start(), end.unwrap_or_default()).bytes());
            }
            Test::Types(types) => {
                let names: Vec<&str> = types.iter().map(|at| TYPES[*at].0).collect();
                text.extend(format!("type:{}", names.join(",")).bytes());
            }
            Test::Path { words, .. } => {
                text.extend_from_slice(b"path:");
                // A blank would end the word.
                text.extend(words.iter().map(|byte| if *byte == b' ' { b'.' } else { *byte }));
            }
        }
        text
    }

    /// Reads what stands behind an optional exclusion, without it. `None`: this is no filter.
    fn read(text: &[u8], excludes: bool) -> Option<Result<Self, FilterFault>> {
        let (key, value) = text.split_at_checked(b"size:".len())?;
        let test = match &key.to_ascii_lowercase()[..] {
            b"size:" => read_range(value).map(Test::Size).ok_or(FilterFault::Size),
            b"type:" => read_types(value).map(Test::Types),
            b"path:" => {
                let words = words(&folded(value)).collect::<Vec<_>>().join(&b' ');
                let is_word = !words.is_empty() && !value.iter().any(|byte| matches!(byte, b'*' | b'?'));
                let finder = Box::new(Finder::new(&words).into_owned());
                is_word.then_some(Test::Path { words, finder }).ok_or(FilterFault::Path)
            }
            _ => return None,
        };
        Some(test.map(|test| Self { test, excludes }))
    }
}

/// The filter that a user's text begins with, and what follows; `None` if it begins with none.
pub(super) fn of_user(text: &[u8]) -> Option<(Result<Filter, FilterFault>, &[u8])> {
    let (excludes, bare) = text.strip_prefix(b"-").map_or((false, text), |bare| (true, bare));
    let end = bare.iter().position(u8::is_ascii_whitespace).unwrap_or(bare.len());
    // A phrase holds blanks.
    let phrase = |bare: &[u8]| {
        let (key, phrase) = bare.split_at_checked(b"path:\"".len())?;
        let is_phrase = key.eq_ignore_ascii_case(b"path:\"");
        let length = phrase.iter().position(|byte| *byte == b'"').filter(|_| is_phrase)?;
        Some(key.len() + length + 1)
    };
    let end = phrase(bare).unwrap_or(end);
    Some((Filter::read(&bare[..end], excludes)?, &bare[end..]))
}

/// The same in a file string of a peer. One that this version does not know is passed over: so more is found than is wanted.
pub(super) fn of_wire(text: &[u8]) -> Option<(Option<Filter>, &[u8])> {
    let rest = text.strip_prefix(ON_WIRE)?;
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (excludes, bare) = rest[..end].strip_prefix(b"!").map_or((false, &rest[..end]), |bare| (true, bare));
    Some((Filter::read(bare, excludes).and_then(Result::ok), &rest[end..]))
}

/// The first size in a user's text whose unit stands apart, as in `size:>10 MiB`: the unit would be a word of the names.
pub(crate) fn size_without_unit(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).peekable();
    let mut in_phrase = false;
    while let Some(word) = words.next() {
        let bare = word.strip_prefix(b"-").unwrap_or(word);
        let (key, value) = bare.split_at_checked(b"size:".len()).unwrap_or_default();
        let is_size = key.eq_ignore_ascii_case(b"size:")
            && value.last().is_some_and(u8::is_ascii_digit)
            && read_range(value).is_some();
        let unit = words.peek().filter(|next| UNITS.contains(&&next.to_ascii_lowercase()[..]));
        if let Some(unit) = unit.filter(|_| is_size && !in_phrase) {
            return Some((word, unit));
        }
        in_phrase ^= word.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
    }
    None
}

/// Reads `>10MiB`, `<=1G`, `1M..2M`, `1M..` or `..2M`: which sizes are meant.
fn read_range(text: &[u8]) -> Option<RangeInclusive<u64>> {
    let text = std::str::from_utf8(text).ok()?;
    let bytes = |text: &str| {
        let is_size = text.starts_with(|c: char| c.is_ascii_digit()) && text.is_ascii();
        text.parse::<ByteSize>().ok().filter(|_| is_size).map(|size| size.0)
    };
    if let Some((low, high)) = text.split_once("..") {
        let low_or = |none| if low.is_empty() { Some(none) } else { bytes(low) };
        let high_or = |none| if high.is_empty() { Some(none) } else { bytes(high) };
        let is_open = low.is_empty() && high.is_empty();
        let (low, high) = (low_or(0)?, high_or(u64::MAX)?);
        return (!is_open && low <= high).then_some(low..=high);
    }
    let (sign, size) = text.split_at(text.find(|c: char| !matches!(c, '<' | '>' | '='))?);
    let size = bytes(size)?;
    match sign {
        ">" => Some(size.checked_add(1)?..=u64::MAX),
        ">=" => Some(size..=u64::MAX),
        "<" => Some(0..=size.checked_sub(1)?),
        "<=" => Some(0..=size),
        _ => None,
    }
}

/// Reads `audio` or `audio,video`.
fn read_types(text: &[u8]) -> Result<Vec<usize>, FilterFault> {
    let place = |word: &[u8]| {
        let at = TYPES.iter().position(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        let nearest = || closest(&String::from_utf8_lossy(word).to_ascii_lowercase(), types());
        at.ok_or_else(|| FilterFault::Type(word.to_vec(), nearest()))
    };
    let mut types: Vec<usize> = text.split(|byte| *byte == b',').map(place).collect::<Result<_, _>>()?;
    // A peer may name each a thousand times, and every file is compared with all of them.
    types.sort_unstable();
    types.dedup();
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_named_again_costs_nothing() {
        let many = "iso,audio,".repeat(500) + "iso";
        assert_eq!(read_types(many.as_bytes()).unwrap().len(), 2);
    }

    fn user(text: &str) -> Filter {
        of_user(text.as_bytes()).unwrap().0.unwrap()
    }

    fn fault(text: &str) -> FilterFault {
        of_user(text.as_bytes()).unwrap().0.unwrap_err()
    }

    #[test]
    fn sizes_are_compared_or_in_a_range() {
        for (text, fits, fails) in [
            ("size:>10MiB", &[10_485_761, u64::MAX][..], &[0, 10_485_760][..]),
            ("size:>=1k", &[1_000], &[999]),
            ("SIZE:<1G", &[0, 999_999_999], &[1_000_000_000]),
            ("size:<=5", &[0, 5], &[6]),
            ("size:1M..2M", &[1_000_000, 2_000_000], &[999_999, 2_000_001]),
            ("size:1.5GiB..", &[1_610_612_736], &[1_610_612_735]),
            ("size:..7", &[0, 7], &[8]),
            ("-size:>5", &[0, 5], &[6]),
        ] {
            assert!(fits.iter().all(|size| user(text).admits(b"a", Some(*size))), "{text}");
            assert!(!fails.iter().any(|size| user(text).admits(b"a", Some(*size))), "{text}");
            assert!(!user(text).admits(b"a", None), "{text}");
        }
        for text in ["", "banana", ">", "10MiB", "=5", "..", "2M..1M", "<0", ">5x", "1M...2M", "<-5", ">5 MiB", "=>5"] {
            if text != ">5 MiB" {
                assert_eq!(fault(&format!("size:{text}")), FilterFault::Size, "{text}");
            }
        }
    }

    #[test]
    fn a_unit_that_stands_apart_from_its_size_is_found() {
        for (text, found) in [
            ("size:>10 MiB movie", Some(("size:>10", "MiB"))),
            ("a -SIZE:1..2   gb", Some(("-SIZE:1..2", "gb"))),
            ("\"so what\" size:<5 kib", Some(("size:<5", "kib"))),
            ("size:>10MiB MiB", None),
            ("size:>10 movie MiB", None),
            ("size:1.. MiB", None),
            ("size:10 MiB", None),
            ("\"a size:>10 MiB\"", None),
            ("oversize:>10 MiB", None),
            ("MiB size:>10", None),
        ] {
            let found = found.map(|(size, unit): (&str, &str)| (size.as_bytes(), unit.as_bytes()));
            assert_eq!(size_without_unit(text.as_bytes()), found, "{text}");
        }
    }

    #[test]
    fn types_are_told_by_the_extension() {
        assert!(user("type:audio").admits(b"a/b.ogg", None) && !user("type:audio").admits(b"a.ogg/b.mkv", None));
        assert!(!user("type:audio").admits(b"a/ogg", None) && !user("type:audio").admits(b"ogg", None));
        assert!(user("type:Audio,VIDEO").admits(b"b.mkv", None) && user("-type:audio").admits(b"b", None));
        assert!(user("type:archive").admits(b"x.tar.gz", None));
        assert_eq!(fault("type:foo"), FilterFault::Type(b"foo".to_vec(), None));
        assert_eq!(fault("type:audio,vidoe"), FilterFault::Type(b"vidoe".to_vec(), Some("video")));
        assert_eq!(fault("type:"), FilterFault::Type(Vec::new(), None));
        let mut all: Vec<&str> = TYPES.iter().flat_map(|(_, extensions)| extensions.iter().copied()).collect();
        let (count, is_sorted) = (all.len(), TYPES.iter().all(|(_, extensions)| extensions.is_sorted()));
        all.sort_unstable();
        all.dedup();
        assert!(is_sorted && all.len() == count, "each extension has one type");
    }

    #[test]
    fn the_manual_page_has_the_types() {
        let page = include_str!("../../contrib/man/pyratectl.1");
        for (name, extensions) in TYPES {
            let entry = page.split_once(&format!(".It Cm {name}\n")).expect(name).1;
            let words = entry.lines().take_while(|line| !line.starts_with('.')).flat_map(|line| line.split(' '));
            assert!(words.eq(extensions.iter().copied()), "{name}");
        }
    }

    #[test]
    fn a_path_is_that_of_the_directories() {
        assert!(user("path:Café").admits(b"music/cafe/x.ogg", None) && !user("path:cafe").admits(b"x/cafe.ogg", None));
        assert!(user("path:\"so what\"").admits(b"so-what/1.ogg", None));
        assert!(!user("path:\"so what\"").admits(b"so/and/what/1.ogg", None));
        assert!(user("-path:live").admits(b"studio/live.ogg", None) && !user("-path:live").admits(b"live/x", None));
        assert_eq!(of_user(b"path:\"so what\" x").unwrap().1, b" x");
        for text in ["path:", "path:*", "path:a?b", "path:\"\"", "path:-"] {
            assert_eq!(fault(text), FilterFault::Path, "{text}");
        }
        assert!(of_user(b"paths:x").is_none() && of_user(b"re:zero").is_none() && of_user(b"siz").is_none());
    }

    #[test]
    fn peers_read_what_users_wrote() {
        for (text, wire) in [
            ("size:>10MiB", "-pyratefilter:size:10485761.."),
            ("-size:..2k", "-pyratefilter:!size:0..2000"),
            ("type:VIDEO,iso", "-pyratefilter:type:video,iso"),
            ("-path:\"So, what\"", "-pyratefilter:!path:so.what"),
        ] {
            assert_eq!(String::from_utf8(user(text).on_wire()).unwrap(), wire);
            let (read, rest) = of_wire(wire.as_bytes()).unwrap();
            assert_eq!((read.unwrap().on_wire(), rest), (wire.into(), &b""[..]));
        }
        assert!(matches!(of_wire(b"-pyratefilter:colour:red x"), Some((None, b" x"))));
        assert!(of_wire(b"size:>10MiB").is_none() && of_wire(b"-pyratefilters").is_none());
    }
}

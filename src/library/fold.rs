//! Folding names and file strings for comparison (PROTOCOL, Matching): canonical decomposition, full case folding, and no
//! combining marks. Bytes that are not UTF-8 are unchanged.

use crate::name::is_default_ignorable;
use caseless::Caseless;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Characters below this one are looked up in a table; most of those above fold to themselves.
const TABLE_END: u32 = 0x3040;

/// The folded form of each character from U+0080 to [`TABLE_END`]: computing it for each name would be too slow.
struct Table {
    /// Where each form ends; it begins at the end of the one before.
    ends: Vec<u32>,
    text: Vec<u8>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { ends: Vec::new(), text: Vec::new() };
    for c in (0x80..TABLE_END).map(char::from_u32) {
        c.into_iter().for_each(|c| push_folded(&mut table.text, c));
        table.ends.push(u32::try_from(table.text.len()).unwrap_or(u32::MAX));
    }
    table
});

impl Table {
    fn folded(&self, c: u32) -> &[u8] {
        let at = (c - 0x80) as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }
}

pub(super) fn folded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    fold_into(&mut out, text);
    out
}

pub(super) fn fold_into(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    if text.is_ascii() {
        out.extend_from_slice(text);
        out[start..].make_ascii_lowercase();
        return;
    }
    for chunk in text.utf8_chunks() {
        let (valid, start) = (chunk.valid(), out.len());
        if !fold_alone(out, valid) {
            out.truncate(start);
            valid.nfc().for_each(|c| fold_char(out, &TABLE, c));
        }
        out.extend_from_slice(chunk.invalid());
    }
}

/// Folds each character by itself. False if one of them may be composed with another: then the caller drops the output.
fn fold_alone(out: &mut Vec<u8>, text: &str) -> bool {
    let (table, mut rest) = (&*TABLE, text);
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let start = out.len();
        out.extend_from_slice(&rest.as_bytes()[..ascii]);
        out[start..].make_ascii_lowercase();
        let mut others = rest[ascii..].chars();
        while let Some(c) = others.clone().next().filter(|c| !c.is_ascii()) {
            if is_composed_with_others(c) {
                return false;
            }
            fold_char(out, table, c);
            others.next();
        }
        rest = others.as_str();
    }
    true
}

/// Parts of a Hangul syllable, and the marks of voiced kana, which form one letter. And vowel signs of classes above those of
/// viramas, whose order among other marks makes no difference.
fn is_composed_with_others(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3099}'..='\u{309a}' | '\u{a960}'..='\u{a97f}' | '\u{d7b0}'..='\u{d7ff}'
        | '\u{c55}'..='\u{c56}' | '\u{e38}'..='\u{e39}' | '\u{eb8}'..='\u{eb9}' | '\u{f71}'..='\u{f81}')
}

fn fold_char(out: &mut Vec<u8>, table: &Table, c: char) {
    match u32::from(c) {
        0..0x80 => out.push(c.to_ascii_lowercase() as u8),
        code @ 0x80..TABLE_END => out.extend_from_slice(table.folded(code)),
        // Kana, ideographs and syllables of Yi and Hangul.
        TABLE_END..=0x3163 | 0x3165..=0xa63f | 0xac00..=0xd7a3 => {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        _ => push_folded(out, c),
    }
}

fn push_folded(out: &mut Vec<u8>, c: char) {
    // Marks are dropped before case folding, which would make a letter of the iota subscript.
    let bare = std::iter::once(c).nfd().filter(|&c| !is_dropped(c));
    let folded = bare.default_case_fold().nfd().filter(|&c| !is_dropped(c));
    folded.for_each(|c| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()));
}

/// Combining marks, and invisible characters. The marks of voiced kana (class 8) and viramas (class 9) are
/// letters to those who read them, as vowel signs are: most of class 0, and those of Telugu (84, 91), Thai (103), Lao (118)
/// and Tibetan (129 to 132).
fn is_dropped(c: char) -> bool {
    let is_mark = !matches!(canonical_combining_class(c), 0 | 8 | 9 | 84 | 91 | 103 | 118 | 129..=132);
    let encloses = matches!(c, '\u{488}'..='\u{489}' | '\u{1abe}' | '\u{20dd}'..='\u{20e0}' | '\u{20e2}'..='\u{20e4}'
        | '\u{a670}'..='\u{a672}');
    is_mark || encloses || is_default_ignorable(c)
}

/// The words of a folded text, separated by white space and punctuation.
pub(super) fn words(folded: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = folded;
    std::iter::from_fn(move || {
        let start = skip(rest, true);
        rest = &rest[start..];
        let end = skip(rest, false);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// The number of bytes at the beginning of a text that are separators, or are not. Bytes that are not UTF-8 are not.
fn skip(text: &[u8], separators: bool) -> usize {
    let mut skipped = 0;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_separator(c) != separators {
                return skipped;
            }
            skipped += c.len_utf8();
        }
        if separators && !chunk.invalid().is_empty() {
            return skipped;
        }
        skipped += chunk.invalid().len();
    }
    skipped
}

/// White space, punctuation, and characters used as an apostrophe or a slash.
pub(super) fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_whitespace()
            || c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '|' | '~');
    }
    matches!(c, '\u{b4}' | '\u{2bc}' | '\u{2044}' | '\u{2215}')
        || matches!(c.general_category_group(), GeneralCategoryGroup::Punctuation | GeneralCategoryGroup::Separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alike(a: &str, b: &str) -> bool {
        folded(a.as_bytes()) == folded(b.as_bytes())
    }

    #[test]
    fn forms_of_the_same_text_are_alike() {
        for (a, b) in [
            ("café", "cafe\u{301}"),
            ("Café", "CAFE"),
            ("Björk", "bjork"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδός"),
            ("Ελλάς", "ΕΛΛΆΣ"),
            ("İstanbul", "istanbul"),
            ("ᾳδω", "αδω"),
            ("ᾼδω", "αδω"),
            ("ΑΙ\u{345}ᾼ", "αια"),
            ("ΐ", "Ι"),
            ("ῼ\u{301}", "ω"),
            ("ŉ", "\u{2bc}N"),
            ("ǰ", "J"),
            ("مُحَمَّد", "محمد"),
            ("שָׁלוֹם", "שלום"),
            ("क\u{93c}", "क"),
            ("ก\u{e48}", "ก"),
            ("\u{e01}\u{e38}\u{e3a}", "\u{e01}\u{e3a}\u{e38}"),
            ("a\u{1d173}\u{fff0}", "a"),
            ("\u{212a}elvin \u{212b}", "kelvin a"),
            ("ﬁn", "FIN"),
            ("Việt Nam", "viet nam"),
            ("Ёлка", "елка"),
            ("한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
            ("ガ", "カ\u{3099}"),
            ("\u{f900}", "豈"),
            ("ＡＢ", "ａｂ"),
            ("❤\u{fe0f}", "❤"),
            ("soft\u{ad}hy\u{200b}phen", "softhyphen"),
            ("نمی\u{200c}خواهم", "نمیخواهم"),
        ] {
            assert!(alike(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("か", "が"),
            ("한", "하"),
            ("कि", "क"),
            ("कु", "क"),
            ("क\u{94d}", "क"),
            ("กุ", "ก"),
            ("ກູ", "ກ"),
            ("\u{f40}\u{f74}", "\u{f40}"),
            ("a", "b"),
            ("o", "ø"),
        ] {
            assert!(!alike(a, b), "{a} {b}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_unchanged_and_separate_nothing() {
        assert_eq!(folded(b"\xc9T\xc9"), b"\xc9t\xc9");
        assert_eq!(folded("É\u{301}".as_bytes()), b"e");
        assert_eq!(words(b"caf\xe9 x").collect::<Vec<_>>(), [&b"caf\xe9"[..], b"x"]);
    }

    #[test]
    fn words_are_separated_by_white_space_and_punctuation() {
        let of = |text: &str| words(text.as_bytes()).map(String::from_utf8_lossy).collect::<Vec<_>>().join("|");
        assert_eq!(of("ac/dc - don’t_stop!.ogg"), "ac|dc|don|t|stop|ogg");
        assert_eq!(of("「東京」・大阪　京都"), "東京|大阪|京都");
        assert_eq!(of("c++ rock`n´roll ❤"), "c++|rock|n|roll|❤");
        assert_eq!((of(""), of(" -.- ")), (String::new(), String::new()));
    }

    /// What [`fold_into`] computes, without its table and its shortcuts.
    fn slowly(text: &str) -> String {
        let folded = text.nfd().filter(|&c| !is_dropped(c)).default_case_fold().nfd();
        folded.filter(|&c| canonical_combining_class(c) == 0 && !is_dropped(c)).nfd().collect()
    }

    proptest! {
        #[test]
        fn texts_that_are_canonically_equal_are_alike(text in "\\PC{0,12}") {
            for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
                prop_assert_eq!(folded(form.as_bytes()), folded(text.as_bytes()));
            }
            let ours = String::from_utf8(folded(text.as_bytes())).unwrap();
            let ours: String = ours.nfd().filter(|&c| canonical_combining_class(c) == 0).collect();
            prop_assert_eq!(ours, slowly(&text));
        }
    }
}

//! Patterns of a file string: `*` matches any characters, `?` one.

use super::fold::{folded, words};
use crate::name::last_component;

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: Vec<u8>,
    /// The part of a name that has to match as a whole.
    whole: Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    /// The last component, or one of its words with or without the next character: the pattern has no word separator.
    Word,
    Component,
    /// The path, from the beginning of any component to its end.
    Path,
}

pub(super) fn is_pattern(text: &[u8]) -> bool {
    text.iter().copied().any(is_wild)
}

/// The parts of a pattern between its wild characters.
pub(super) fn literals(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| is_wild(byte)).filter(|part| !part.is_empty())
}

fn is_wild(byte: u8) -> bool {
    matches!(byte, b'*' | b'?')
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Self {
        let separates = |part: &[u8]| words(part).next() != Some(part);
        let whole = if text.contains(&b'/') {
            Whole::Path
        } else if literals(text).any(separates) {
            Whole::Component
        } else {
            Whole::Word
        };
        Self { text: folded(text), whole }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self.whole {
            Whole::Path => {
                let beginnings = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
                std::iter::once(0).chain(beginnings).any(|start| glob(&self.text, &path[start..]))
            }
            Whole::Component => glob(&self.text, last_component(path)),
            Whole::Word => {
                let name = last_component(path);
                let with_next = |word: &[u8]| {
                    let start = word.as_ptr().addr() - name.as_ptr().addr();
                    &name[start..start + word.len() + first_char_len(&name[start + word.len()..])]
                };
                glob(&self.text, name)
                    || words(name).any(|word| glob(&self.text, word) || glob(&self.text, with_next(word)))
            }
        }
    }
}

/// Whether the whole text matches. Takes time proportional to the product of the lengths at most.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // After a mismatch: continues after the last star, one character later than before.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(b'?') => {
                p += 1;
                t += first_char_len(&text[t..]);
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut retry {
                Some((after_star, from)) => {
                    *from += first_char_len(&text[*from..]);
                    (p, t) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Bytes of the first character; one if it is not UTF-8, none for an empty text.
fn first_char_len(text: &[u8]) -> usize {
    let continues = text.iter().skip(1).take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    text.first().map_or(0, |&first| if first >= 0xc0 { 1 + continues } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern.as_bytes()).matches(&folded(path.as_bytes()))
    }

    #[test]
    fn a_pattern_with_punctuation_matches_whole_names() {
        assert!(matches("*.ogg", "Music/Song.OGG"));
        assert!(!matches("*.ogg", "Music/Song.ogg.txt") && !matches("*.ogg", "x.ogg/song.mp3"));
        assert!(matches("track-??.*", "a/Track-07.flac") && !matches("track-??.*", "Track-7.flac"));
        assert!(matches("?.mp3", "é.mp3") && matches("?.mp3", "日.mp3") && !matches("?.mp3", "ab.mp3"));
    }

    #[test]
    fn a_pattern_of_a_word_matches_a_word_or_a_whole_name() {
        assert!(matches("symph*", "Beethoven/Fifth Symphony (live).flac"));
        assert!(matches("*phony", "Symphony.flac") && !matches("*phon", "Symphony.flac"));
        assert!(matches("track?", "track1.mp3") && !matches("track?", "track12.mp3"));
        assert!(matches("you?", "Who are you?.mp3") && matches("trac*mp3", "Track 1.mp3"));
        assert!(!matches("music?", "musical/a.mp3"), "a directory is no name");
    }

    #[test]
    fn a_pattern_with_a_slash_begins_at_a_component() {
        assert!(matches("live/*.ogg", "Music/Live/a.ogg") && matches("m*/*.ogg", "Music/Live/a.ogg"));
        assert!(!matches("ive/*.ogg", "Music/Live/a.ogg"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let text = "a".repeat(3_800);
        assert!(!glob("*a*a*a*a*a*a*a*a*a*b".as_bytes(), text.as_bytes()));
        assert!(glob(b"*a*", b"xa") && glob(b"", b"") && glob(b"**", b"") && !glob(b"?", b""));
        assert!(glob(b"?\xff?", b"\xe9\xff\xe9"));
    }
}

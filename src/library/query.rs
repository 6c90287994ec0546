//! A parsed file string (PROTOCOL, Matching).
//!
//! Quotes group a phrase, a leading `-` excludes, `*` and `?` make a pattern; all other words are terms. The
//! [plain](Query::plain) form omits operators that a base peer does not understand, so it finds at least as much.

use super::fold::{folded, words};
use super::pattern::{Pattern, is_pattern, literals};
use crate::id::ContentHash;
use memchr::memmem::Finder;

/// Different terms of a file string. One with more finds only files of exactly that name.
const QUERY_TERMS_MAX: usize = 128;

/// The same for phrases, patterns and exclusions.
const QUERY_CONDITIONS_MAX: usize = 32;

/// The same for the bytes of all patterns.
const QUERY_PATTERN_BYTES_MAX: usize = 256;

/// Bytes of all terms together: fewer would match nearly everything.
const QUERY_TERM_BYTES_MIN: usize = 3;

/// Matching this many bytes (of patterns times names) costs as much as examining a file.
const PATTERN_WORK_PER_ENTRY: usize = 256;

/// Which files a query can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Files that match, or have the content.
    Parts,
    /// Files of exactly this name: its terms have less than `QUERY_TERM_BYTES_MIN` bytes.
    TooShort,
    /// Files of exactly this name: it has too many terms, phrases or patterns.
    TooLong,
}

/// A further condition for a name with all terms.
#[derive(Debug, Clone)]
enum Test {
    Terms(Vec<Finder<'static>>),
    /// It contains these words in sequence, joined by one space.
    Phrase(Box<Finder<'static>>),
    Pattern(Pattern),
}

#[derive(Debug, Clone)]
struct Condition {
    test: Test,
    excludes: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Query {
    text: Box<[u8]>,
    folded: Box<[u8]>,
    /// Set if the text has more than plain terms.
    plain: Option<Box<[u8]>>,
    /// Folded and distinct, the longest and therefore rarest first.
    terms: Vec<Finder<'static>>,
    conditions: Vec<Condition>,
    pub(crate) content: Option<ContentHash>,
    pub(crate) reach: Reach,
}

impl Query {
    /// Parses a file string. Never fails: it may match nothing.
    ///
    /// Terms are separated by white space and punctuation; those separated by punctuation only must be in sequence. A string
    /// `b3=` with 64 hex digits searches for that content (PROTOCOL, Ranges and metadata) and is no term.
    pub(crate) fn parse(text: &[u8]) -> Query {
        let content = text.strip_prefix(b"b3=").and_then(ContentHash::from_hex);
        let mut parts = Parts::default();
        if content.is_none() {
            Tokens(text).for_each(|token| parts.add(&token));
        }
        let Parts { mut terms, conditions, plain, is_plain } = parts;
        let bytes: usize = terms.iter().map(Vec::len).sum();
        terms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        terms.dedup();
        let of_conditions: usize = conditions.iter().map(Condition::terms).sum();
        let patterns: usize = conditions.iter().map(Condition::pattern_bytes).sum();
        let reach = if content.is_some() {
            Reach::Parts
        } else if bytes < QUERY_TERM_BYTES_MIN {
            Reach::TooShort
        } else if terms.len() + of_conditions > QUERY_TERMS_MAX
            || conditions.len() > QUERY_CONDITIONS_MAX
            || patterns > QUERY_PATTERN_BYTES_MAX
        {
            Reach::TooLong
        } else {
            Reach::Parts
        };
        if reach != Reach::Parts {
            terms.clear();
        }
        Query {
            text: text.into(),
            folded: folded(text).into(),
            plain: (!is_plain).then(|| plain.join(&b' ').into()),
            terms: terms.iter().map(|term| finder(term)).collect(),
            conditions,
            content,
            reach,
        }
    }

    /// [`Query::plain`] of a text, for forwarding it.
    pub(crate) fn plain_form(text: &[u8]) -> Option<Box<[u8]>> {
        let may_be_more = text.iter().any(|byte| matches!(byte, b'"' | b'-' | b'*' | b'?'));
        if may_be_more { Self::parse(text).plain } else { None }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The words of the file string, for peers that do not know quotes, exclusions and patterns. `None` if it is plain itself.
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        self.plain.as_deref()
    }

    /// Whether a hit of a peer fulfils phrases, exclusions and patterns, which that peer may not support. A file of exactly this
    /// name is always accepted.
    pub(crate) fn admits(&self, name: &[u8]) -> bool {
        self.plain.is_none() || name == &*self.text || self.fulfils(&folded(name))
    }

    /// The rarest term, and the others. `None`: only exact matches count.
    pub(super) fn terms(&self) -> Option<(&Finder<'static>, &[Finder<'static>])> {
        self.terms.split_first()
    }

    pub(super) fn folded(&self) -> &[u8] {
        &self.folded
    }

    /// Whether a folded path that has all terms matches.
    pub(super) fn fulfils(&self, path: &[u8]) -> bool {
        self.conditions.iter().all(|condition| condition.is_met_by(path) != condition.excludes)
    }

    /// The cost of [`Self::fulfils`], in files examined.
    pub(super) fn entries_for(&self, path: &[u8]) -> usize {
        let patterns: usize = self.conditions.iter().map(Condition::pattern_bytes).sum();
        self.conditions.len() + path.len() * patterns / PATTERN_WORK_PER_ENTRY
    }
}

fn finder(needle: &[u8]) -> Finder<'static> {
    Finder::new(needle).into_owned()
}

impl Condition {
    fn is_met_by(&self, path: &[u8]) -> bool {
        match &self.test {
            Test::Terms(terms) => terms.iter().all(|term| term.find(path).is_some()),
            Test::Phrase(phrase) => phrase.find(&words(path).collect::<Vec<_>>().join(&b' ')).is_some(),
            Test::Pattern(pattern) => pattern.matches(path),
        }
    }

    fn terms(&self) -> usize {
        if let Test::Terms(terms) = &self.test { terms.len() } else { 0 }
    }

    fn pattern_bytes(&self) -> usize {
        if let Test::Pattern(pattern) = &self.test { pattern.len() } else { 0 }
    }
}

/// A word or a quoted phrase of a file string.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a [u8],
    excludes: bool,
    quoted: bool,
}

/// The tokens of the rest of a file string.
struct Tokens<'a>(&'a [u8]);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.0.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        let unquoted =
            |rest: &'a [u8]| rest.split_at(rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len()));
        let quoted = |rest: &'a [u8]| {
            let inner = rest.strip_prefix(b"\"")?;
            let end = inner.iter().position(|&byte| byte == b'"')?;
            words(&folded(&inner[..end])).next().is_some().then_some((&inner[..end], &inner[end + 1..]))
        };
        // Punctuation alone excludes nothing.
        let excluded = rest
            .strip_prefix(b"-")
            .filter(|after| quoted(after).is_some() || words(unquoted(after).0).next().is_some());
        let (text, excludes) = excluded.map_or((rest, false), |text| (text, true));
        let (text, after, quoted) = match quoted(text) {
            Some((text, after)) => (text, after, true),
            None => {
                let (text, after) = unquoted(text);
                (text, after, false)
            }
        };
        self.0 = after;
        Some(Token { text, excludes, quoted })
    }
}

/// The result of parsing the tokens of a file string.
struct Parts<'a> {
    terms: Vec<Vec<u8>>,
    conditions: Vec<Condition>,
    plain: Vec<&'a [u8]>,
    is_plain: bool,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self { terms: Vec::new(), conditions: Vec::new(), plain: Vec::new(), is_plain: true }
    }
}

impl<'a> Parts<'a> {
    fn add(&mut self, token: &Token<'a>) {
        let &Token { text, excludes, quoted } = token;
        let folded_text = folded(text);
        let is_pattern = !quoted && is_pattern(text);
        let phrase = || Test::Phrase(Box::new(finder(&words(&folded_text).collect::<Vec<_>>().join(&b' '))));
        let test = if quoted {
            Some(phrase())
        } else if is_pattern {
            Some(Test::Pattern(Pattern::new(text)))
        } else if excludes {
            Some(Test::Terms(words(&folded_text).map(finder).collect()))
        } else {
            None
        };
        self.is_plain &= test.is_none();
        let is_operator = test.is_some();
        self.conditions.extend(test.map(|test| Condition { test, excludes }));
        // `3.mp3` must not match a name with a 3 elsewhere, as in `mp3`.
        let is_joined = !is_operator && words(&folded_text).nth(1).is_some();
        if is_joined && self.conditions.len() < QUERY_CONDITIONS_MAX {
            self.conditions.push(Condition { test: phrase(), excludes: false });
        }
        if excludes {
            return;
        }
        if is_pattern {
            self.plain.extend(literals(text));
            literals(&folded_text).for_each(|part| self.terms.extend(words(part).map(<[u8]>::to_vec)));
        } else {
            self.plain.push(text);
            self.terms.extend(words(&folded_text).map(<[u8]>::to_vec));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &[u8]) -> Vec<Vec<u8>> {
        Query::parse(text).terms.iter().map(|finder| finder.needle().to_vec()).collect()
    }

    fn plain(text: &str) -> Option<String> {
        Query::parse(text.as_bytes()).plain().map(|plain| String::from_utf8_lossy(plain).into_owned())
    }

    #[test]
    fn terms_are_folded_and_the_longest_leads() {
        assert_eq!(terms(b" Of  GREAT\tthe of "), [&b"great"[..], b"the", b"of"]);
        assert_eq!(terms("ÄRGER".as_bytes()), [b"arger"]);
        assert_eq!(terms("İ\u{212a}Σς".as_bytes()), ["ikσσ".as_bytes()]);
        assert_eq!(terms(b"\xc9T\xc9"), [b"\xc9t\xc9"]);
    }

    #[test]
    fn punctuation_separates_terms() {
        assert_eq!(terms(b"AC/DC"), [b"ac", b"dc"]);
        assert_eq!(terms("don’t".as_bytes()), [&b"don"[..], b"t"]);
        assert_eq!(terms("one - two".as_bytes()), [b"one", b"two"]);
    }

    #[test]
    fn too_few_and_too_many_terms_match_only_exact_names() {
        for text in [&b""[..], b"  ", b"ab", b" a b ", b"*", b"-live", b"\"\"", b"?? -a", "ää".as_bytes()] {
            assert!(Query::parse(text).terms().is_none());
            assert_eq!(Query::parse(text).reach, Reach::TooShort);
        }
        assert_eq!(terms(b"a b c").len(), 3);
        let many = |of: &str| (0..=QUERY_TERMS_MAX).map(|n| format!("{of}{n} ")).collect::<String>();
        for text in [many(""), many("song -"), many("a*"), format!("song *{}", "x".repeat(QUERY_PATTERN_BYTES_MAX))] {
            assert!(Query::parse(text.as_bytes()).terms().is_none());
            assert_eq!(Query::parse(text.as_bytes()).reach, Reach::TooLong);
        }
    }

    #[test]
    fn a_content_hash_is_not_a_term() {
        let hex = "0123456789abcdefABCDEF".repeat(3);
        assert!(Query::parse(format!("b3={}", &hex[..64]).as_bytes()).terms().is_none());
        assert!(Query::parse(format!("b3={}", &hex[..63]).as_bytes()).terms().is_some());
        assert!(Query::parse(format!("b3={} x", &hex[..64]).as_bytes()).terms().is_some());
    }

    #[test]
    fn the_plain_form_has_only_words() {
        for text in ["song", "Café - Song.mp3", "AC/DC", "5\" disc", "rock\"n\"roll", "a - b", "--", "\"\" x"] {
            assert_eq!(plain(text), None, "{text}");
        }
        assert_eq!(plain("\"abbey road\" -live *.ogg").unwrap(), "abbey road .ogg");
        assert_eq!(plain("\"Who are you?.mp3\"").unwrap(), "Who are you?.mp3");
        assert_eq!(plain("jazz -\"so what\" -*.mp3 b?h").unwrap(), "jazz b h");
        assert_eq!(plain("-live").unwrap(), "");
    }

    #[test]
    fn conditions_are_met_or_not() {
        let admits = |query: &str, name: &str| Query::parse(query.as_bytes()).admits(name.as_bytes());
        assert!(admits("\"abbey road\"", "The Beatles/Abbey_Road/01.ogg"));
        assert!(!admits("\"abbey road\"", "Road to the Abbey.ogg"));
        assert!(admits("\"Café au\"", "x/cafe\u{301} - AU lait"));
        assert!(admits("song -live", "song.ogg") && !admits("song -LIVE", "Song (live).ogg"));
        assert!(!admits("song -\"de luxe\"", "song de-luxe") && admits("song -\"de luxe\"", "song luxe de"));
        assert!(admits("song -*.mp3", "song.ogg") && !admits("song -*.mp3", "song.mp3"));
        assert!(admits("-live", "-live"), "exactly this name");
        assert!(admits("other words.mp3", "song"), "plain words are left to those who answer");
    }
}

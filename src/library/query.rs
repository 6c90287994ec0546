//! A parsed file string (PROTOCOL, Matching).
//!
//! Quotes group a phrase, a leading `-` excludes, `*` and `?` make a pattern; all other words are terms. The
//! [plain](Query::plain) form omits operators that a base peer does not understand, so it finds at least as much.
//!
//! What users write may have [filters](super::filter) as well.

use super::filter::{FILTERS_MAX, Filter, FilterFault, of_user, of_wire};
use super::fold::{folded, words};
use super::pattern::{Pattern, is_pattern, literals};
use crate::id::ContentHash;
use crate::name::last_component;
use memchr::memmem::Finder;
use std::collections::BTreeSet;

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

/// What a hit is to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Fits,
    /// The name fits, and the filters leave the file out.
    Filtered,
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Without filters.
    text: Box<[u8]>,
    /// With filters as peers read them, if there are any.
    sent: Option<Box<[u8]>>,
    folded: Box<[u8]>,
    /// Set if the text has more than plain terms.
    plain: Option<Box<[u8]>>,
    /// Folded and distinct, the longest and therefore rarest first.
    terms: Vec<Finder<'static>>,
    conditions: Vec<Condition>,
    /// Whether the text has phrases, exclusions or patterns.
    has_operators: bool,
    filters: Vec<Filter>,
    pub(crate) content: Option<ContentHash>,
    pub(crate) reach: Reach,
}

impl Query {
    /// Parses a file string. Never fails: it may match nothing.
    ///
    /// Terms are separated by white space and punctuation; those separated by punctuation only must be in sequence. A string
    /// `b3=` with 64 hex digits searches for that content (PROTOCOL, Ranges and metadata) and is no term.
    pub(crate) fn parse(text: &[u8]) -> Query {
        let mut filters = Vec::new();
        let words = without_filters(text, |rest| {
            let (filter, after) = of_wire(rest)?;
            filters.extend(filter.filter(|_| filters.len() < FILTERS_MAX));
            Some(after)
        });
        Self::of_words(&words, filters)
    }

    /// Parses what a user wrote, with filters.
    ///
    /// # Errors
    ///
    /// The word that begins as a filter and is none, and why.
    pub(crate) fn of_user(text: &[u8]) -> Result<Query, (Vec<u8>, FilterFault)> {
        let (mut filters, mut wrong) = (Vec::new(), None);
        let words = without_filters(text, |rest| {
            let (filter, after) = of_user(rest)?;
            let filter =
                filter.and_then(|it| if filters.len() < FILTERS_MAX { Ok(it) } else { Err(FilterFault::TooMany) });
            match filter {
                Ok(filter) => filters.push(filter),
                Err(fault) => {
                    wrong.get_or_insert_with(|| (rest[..rest.len() - after.len()].to_vec(), fault));
                }
            }
            Some(after)
        });
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        // Peers that know no filters find what has at least the words of these.
        let of_paths: Vec<&[u8]> = filters.iter().filter_map(Filter::words).collect();
        let searched = [&[&words[..]], &of_paths[..]].concat().join(&b' ').trim_ascii().to_vec();
        let of_wire = filters.iter().map(Filter::on_wire);
        let sent = std::iter::once(searched.clone()).chain(of_wire).collect::<Vec<_>>().join(&b' ');
        let query = Self::of_words(&searched, filters);
        // A content has one size, and its peers are asked for its hash alone.
        let sent = (!query.filters.is_empty() && query.content.is_none()).then(|| sent.into());
        Ok(Query { text: words.into(), sent, ..query })
    }

    fn of_words(text: &[u8], filters: Vec<Filter>) -> Query {
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
            || conditions.len() + filters.len() > QUERY_CONDITIONS_MAX
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
            sent: None,
            folded: folded(text).into(),
            plain: (!is_plain || !filters.is_empty() && content.is_none()).then(|| plain.join(&b' ').into()),
            terms: terms.iter().map(|term| finder(term)).collect(),
            conditions,
            has_operators: !is_plain,
            filters,
            content,
            reach,
        }
    }

    /// [`Query::plain`] of a text, for forwarding it.
    pub(crate) fn plain_form(text: &[u8]) -> Option<Box<[u8]>> {
        let may_be_more = text.iter().any(|byte| matches!(byte, b'"' | b'-' | b'*' | b'?'));
        if may_be_more { Self::parse(text).plain } else { None }
    }

    /// What is searched for, without filters.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether another query is the same but for case, accents and blanks. Where only exact names are found, blanks count.
    pub(crate) fn finds_as(&self, other: &Self) -> bool {
        let words = |query: &Self| match query.reach {
            Reach::Parts => query
                .folded
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(&b' '),
            Reach::TooShort | Reach::TooLong => query.folded.to_vec(),
        };
        let filters = |query: &Self| query.filters.iter().map(Filter::on_wire).collect::<BTreeSet<_>>();
        self.content == other.content && words(self) == words(other) && filters(self) == filters(other)
    }

    /// Whether only files of exactly this name would be found, and the filters leave all of these out.
    pub(crate) fn finds_nothing(&self) -> bool {
        self.reach == Reach::TooShort && self.filters.iter().any(|filter| filter.rules_out_name(&self.folded))
    }

    /// What peers are sent that know operators.
    pub(crate) fn sent(&self) -> &[u8] {
        self.sent.as_deref().unwrap_or(&self.text)
    }

    pub(crate) fn has_filters(&self) -> bool {
        !self.filters.is_empty()
    }

    /// The words of the file string, for peers that do not know quotes, exclusions and patterns. `None` if it is plain itself.
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        self.plain.as_deref()
    }

    /// Whether a hit of a peer fulfils phrases, exclusions, patterns and filters, which that peer may not support. To a file of
    /// exactly this name only the filters apply.
    pub(crate) fn fit(&self, name: &[u8], size: Option<u64>) -> Fit {
        if !self.has_operators && self.filters.is_empty() {
            return Fit::Fits;
        }
        let folded = folded(name);
        if self.has_operators && name != &*self.text && !self.fulfils(&folded) {
            Fit::Other
        } else if self.passes(&folded, size) {
            Fit::Fits
        } else {
            Fit::Filtered
        }
    }

    /// Whether a peer should have answered with a file of this name and content, but for conditions and filters.
    pub(crate) fn is_answered_by(&self, name: &[u8], b3: Option<ContentHash>) -> bool {
        if self.content.is_some() {
            return self.content == b3;
        }
        let (folded_name, last) = (folded(name), last_component(name));
        let is_alike = || *folded_name == *self.folded || *folded(last) == *self.folded;
        let has_terms = || !self.terms.is_empty() && self.terms.iter().all(|term| term.find(&folded_name).is_some());
        name == &*self.text || last == &*self.text || is_alike() || has_terms()
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

    /// Whether the filters leave a file with this folded path in.
    pub(super) fn passes(&self, path: &[u8], size: Option<u64>) -> bool {
        self.filters.iter().all(|filter| filter.admits(path, size))
    }

    /// The cost of [`Self::fulfils`] and [`Self::passes`], in files examined.
    pub(super) fn entries_for(&self, path: &[u8]) -> usize {
        let patterns: usize = self.conditions.iter().map(Condition::pattern_bytes).sum();
        self.conditions.len() + self.filters.len() + path.len() * patterns / PATTERN_WORK_PER_ENTRY
    }
}

/// A text without the filters that it has. `take` gives what follows a filter that a text begins with.
fn without_filters<'a>(text: &'a [u8], mut take: impl FnMut(&'a [u8]) -> Option<&'a [u8]>) -> Vec<u8> {
    let (mut rest, mut kept, mut has_filters) = (text, Vec::new(), false);
    loop {
        if let Some(after) = take(rest.trim_ascii_start()) {
            (rest, has_filters) = (after, true);
            continue;
        }
        let mut tokens = Tokens(rest);
        if tokens.next().is_none() {
            break;
        }
        kept.push(rest[..rest.len() - tokens.0.len()].trim_ascii());
        rest = tokens.0;
    }
    if has_filters { kept.join(&b' ') } else { text.to_vec() }
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
mod tests;

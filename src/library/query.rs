//! A file string taken apart (PROTOCOL, Matching), and what "ignoring case" means.

use crate::id::ContentHash;
use memchr::memmem::Finder;

/// Most different terms of a file string. One with more is answered by files of exactly that name only.
pub const QUERY_TERMS_MAX: usize = 128;

/// Least bytes of all terms together: less would match nearly everything.
const TERM_BYTES_MIN: usize = 3;

/// A file string ready to be searched for.
#[derive(Debug, Clone)]
pub struct Query {
    text: Box<[u8]>,
    /// Folded, each once, the longest and therefore rarest first.
    terms: Vec<Finder<'static>>,
    content: Option<ContentHash>,
}

impl Query {
    /// Takes a file string apart. Never fails: one that can match nothing is a query too.
    ///
    /// Terms are separated by ASCII white space. A string `b3=` and 64 hex digits asks for that content (PROTOCOL, Ranges
    /// and metadata) and is not taken for a term.
    pub fn parse(text: &[u8]) -> Query {
        let parts = || text.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
        let mut terms: Vec<Vec<u8>> = Vec::new();
        let content = text.strip_prefix(b"b3=").and_then(ContentHash::from_hex);
        if content.is_none() && parts().map(<[u8]>::len).sum::<usize>() >= TERM_BYTES_MIN {
            terms.extend(parts().map(folded));
        }
        terms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        terms.dedup();
        if terms.len() > QUERY_TERMS_MAX {
            terms.clear();
        }
        let terms = terms.iter().map(|term| Finder::new(term).into_owned()).collect();
        Query { text: text.into(), terms, content }
    }

    /// The file string as it was given.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The content that is asked for, under whatever name.
    pub fn content(&self) -> Option<ContentHash> {
        self.content
    }

    /// The rarest term, and the others. `None`: only exact matches count.
    pub(super) fn terms(&self) -> Option<(&Finder<'static>, &[Finder<'static>])> {
        self.terms.split_first()
    }
}

/// Text as it is compared when case is ignored.
pub(super) fn folded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    fold_into(&mut out, text);
    out
}

/// Appends text in lower case: characters where it is UTF-8, one for one; other bytes stand as they are.
pub(super) fn fold_into(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    if text.is_ascii() {
        out.extend_from_slice(text);
        out[start..].make_ascii_lowercase();
        return;
    }
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii() {
                out.push(c.to_ascii_lowercase() as u8);
                continue;
            }
            // One letter has a lower case of two characters, of which the first is the letter.
            let lower = c.to_lowercase().next().unwrap_or(c);
            out.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &[u8]) -> Vec<Vec<u8>> {
        Query::parse(text).terms.iter().map(|finder| finder.needle().to_vec()).collect()
    }

    #[test]
    fn terms_are_folded_and_the_longest_leads() {
        assert_eq!(terms(b" Of  GREAT\tthe of "), [&b"great"[..], b"the", b"of"]);
        assert_eq!(terms("ÄRGER".as_bytes()), ["ärger".as_bytes()]);
        assert_eq!(terms("İ\u{212a}Σ".as_bytes()), ["ikσ".as_bytes()]);
        assert_eq!(terms(b"\xc9T\xc9"), [b"\xc9t\xc9"]);
    }

    #[test]
    fn too_little_and_too_much_have_no_terms() {
        for text in [&b""[..], b"  ", b"ab", b" a b "] {
            assert!(Query::parse(text).terms().is_none());
        }
        assert_eq!(terms(b"a b c").len(), 3);
        let many: String = (0..=QUERY_TERMS_MAX).map(|n| format!("{n} ")).collect();
        assert!(Query::parse(many.as_bytes()).terms().is_none());
    }

    #[test]
    fn a_content_hash_is_not_a_term() {
        let hex = "0123456789abcdefABCDEF".repeat(3);
        assert!(Query::parse(format!("b3={}", &hex[..64]).as_bytes()).terms().is_none());
        assert!(Query::parse(format!("b3={}", &hex[..63]).as_bytes()).terms().is_some());
        assert!(Query::parse(format!("b3={} x", &hex[..64]).as_bytes()).terms().is_some());
    }
}

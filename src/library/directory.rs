//! Which of the directories above a file the words of a search name.

use super::fold::folded;
use super::query::Query;
use crate::name::last_component;

impl Query {
    /// How much of the name of a hit is the directory that the search has found: up to and with a `/`. `None` if it has found the
    /// file alone.
    ///
    /// Words count that the path of the file has before its last component; they must be more than half of the words of the
    /// search. The directory is the uppermost one whose path has all of these. A path has a word where a search would find it.
    pub(crate) fn directory_of(&self, name: &[u8]) -> Option<usize> {
        let (first, others) = self.terms()?;
        let folded = folded(name);
        let above = &folded[..folded.len() - last_component(&folded).len()];
        // Where the path has all of a word for the first time.
        let end_of = |at: usize, word: &[u8]| at + word.len();
        let terms = std::iter::once(first).chain(others);
        let ends: Vec<usize> = terms.filter_map(|term| Some(end_of(term.find(above)?, term.needle()))).collect();
        if ends.len() * 2 <= others.len() + 1 {
            return None;
        }
        // No word has a slash, and folding neither takes nor adds one.
        let depth = above[..ends.into_iter().max()?].iter().filter(|byte| **byte == b'/').count();
        let mut slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.nth(depth).map(|(at, _)| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_uppermost_that_has_most_of_the_words() {
        for (text, name, directory) in [
            ("beatles", "music/The Beatles/Abbey Road/01.ogg", Some("music/The Beatles/")),
            ("abbey road beatles", "music/The Beatles/Abbey Road/CD 1/01.ogg", Some("music/The Beatles/Abbey Road/")),
            ("beatles abbey 01", "music/The Beatles/Abbey Road/01.ogg", Some("music/The Beatles/Abbey Road/")),
            ("beatles abbey", "music/The Beatles/Abbey Road.ogg", None),
            ("beatles abbey road ogg", "music/The Beatles/Abbey Road.ogg", None),
            ("beatles something", "music/The Beatles/Abbey Road/Something.ogg", None),
            ("beatles", "Beatles.ogg", None),
            ("music", "music/a.ogg", Some("music/")),
            ("music", "a music box/b/music/c", Some("a music box/")),
            ("e\u{301}te\u{301}", "Music/\u{c9}t\u{e9}/a", Some("Music/\u{c9}t\u{e9}/")),
            ("strasse", "Die Stra\u{df}e/a", Some("Die Stra\u{df}e/")),
            ("\"abbey road\"", "x/Abbey Road/a", Some("x/Abbey Road/")),
            ("beatles *.ogg", "Beatles/a.ogg", None),
            ("beatles -live", "Beatles/a.ogg", Some("Beatles/")),
            ("beatles size:>1k type:audio", "Beatles/a.ogg", Some("Beatles/")),
            ("path:beatles", "Beatles/a.ogg", Some("Beatles/")),
            ("beatles beatles something", "Beatles/something", None),
            ("beatles", "//Beatles//a", Some("//Beatles/")),
            ("beatles", "../Beatles/a", Some("../Beatles/")),
            ("beatles", "/", None),
            ("ab", "ab/c", None),
            ("Beatles/xyz.ogg", "Beatles/xyz.ogg", None),
        ] {
            let query = Query::of_user(text.as_bytes()).unwrap();
            let found = query.directory_of(name.as_bytes()).map(|end| &name[..end]);
            assert_eq!(found, directory, "{text} in {name}");
        }
        let content = Query::parse(format!("b3={}", "07".repeat(32)).as_bytes());
        assert_eq!(content.directory_of(b"b3=0707/a"), None);
        let query = Query::parse(b"beatles");
        assert_eq!(query.directory_of(b"\xff\xfe/Beatles\xff/\xff"), Some(b"\xff\xfe/Beatles\xff/".len()));
    }
}

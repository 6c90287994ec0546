//! The command line as bash and its line editor read it: words with their quotes, and what of the last one is replaced.

/// How characters are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    /// One by one, by backslashes.
    Each,
    /// A `'` is open.
    Single,
    /// A `"` is open.
    Double,
}

/// A command line up to the cursor.
#[derive(Debug)]
pub(super) struct Line {
    /// Without quotes. The last one is at the cursor, and may be empty.
    pub(super) words: Vec<String>,
    /// How much of the last word stays as it is, in bytes without quotes: bash replaces what follows the last unquoted character
    /// that breaks words, or the open quote.
    kept: usize,
    quote: Quote,
}

impl Line {
    /// Reads a line. `breaks` are the characters of `COMP_WORDBREAKS`.
    pub(super) fn read(text: &str, breaks: &str) -> Self {
        let mut line = Self { words: Vec::new(), kept: 0, quote: Quote::Each };
        let mut word: Option<String> = None;
        // What was kept before the open quote.
        let mut kept_outside = 0;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if line.quote == Quote::Each && c.is_ascii_whitespace() {
                line.words.extend(word.take());
                line.kept = 0;
                continue;
            }
            let word = word.get_or_insert_default();
            match (line.quote, c) {
                (Quote::Single, '\'') | (Quote::Double, '"') => (line.quote, line.kept) = (Quote::Each, kept_outside),
                (Quote::Each, '\'' | '"') => {
                    line.quote = if c == '"' { Quote::Double } else { Quote::Single };
                    (kept_outside, line.kept) = (line.kept, word.len());
                }
                (Quote::Each, '\\') => word.extend(chars.next()),
                (Quote::Double, '\\') => match chars.next() {
                    Some(quoted @ ('$' | '`' | '"' | '\\')) => word.push(quoted),
                    other => word.extend([Some('\\'), other].into_iter().flatten()),
                },
                _ => word.push(c),
            }
            if line.quote == Quote::Each && breaks.contains(c) && word.ends_with(c) {
                line.kept = word.len();
            }
        }
        line.words.push(word.unwrap_or_default());
        line
    }

    /// What a word that begins as the last one puts in its place; `None` if it cannot be quoted there.
    pub(super) fn replacement(&self, word: &str) -> Option<String> {
        let rest = word.get(self.kept..)?;
        match self.quote {
            // bash does not close a quote behind a character that looks like its end.
            Quote::Single if rest.ends_with('\'') => None,
            Quote::Double if rest.ends_with('"') => None,
            Quote::Single => Some(rest.replace('\'', "'\\''")),
            // The history would be searched for what follows it, and a backslash would stay.
            Quote::Double if rest.contains('!') => None,
            Quote::Double => Some(quoted(rest, |c| matches!(c, '$' | '`' | '"' | '\\'))),
            Quote::Each => Some(quoted(rest, |c| !c.is_alphanumeric() && !"_./:,@%+-=".contains(c))),
        }
    }
}

fn quoted(text: &str, is_special: impl Fn(char) -> bool) -> String {
    text.chars().flat_map(|c| is_special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: &str = " \t\n\"'><=;|&(:";

    fn replaced(line: &str, word: &str) -> Option<String> {
        Line::read(line, BREAKS).replacement(word)
    }

    #[test]
    fn words_are_read_without_their_quotes() {
        for (line, words) in [
            ("", &[""][..]),
            ("p ", &["p", ""]),
            ("p  pau", &["p", "pau"]),
            (r#"p a\ b 'c d'"e f"g "#, &["p", "a b", "c de fg", ""]),
            (r#"p "a\"\$\x"#, &["p", r#"a"$\x"#]),
            (r"p 'a\", &["p", r"a\"]),
            (r"p a\", &["p", "a"]),
            ("p $(x) `y`", &["p", "$(x)", "`y`"]),
            ("p ''", &["p", ""]),
        ] {
            assert_eq!(Line::read(line, BREAKS).words, words, "{line}");
        }
    }

    #[test]
    fn what_is_put_in_has_quotes_as_the_line_needs_them() {
        let name = "192.0.2.1:5/it's $x!";
        for (line, expected) in [
            ("p ", Some(r"192.0.2.1:5/it\'s\ \$x\!")),
            ("p 192.0", Some(r"192.0.2.1:5/it\'s\ \$x\!")),
            ("p 192.0.2.1:5/it", Some(r"5/it\'s\ \$x\!")),
            (r"p 192.0.2.1\:5/it", Some(r"192.0.2.1:5/it\'s\ \$x\!")),
            ("p '192.0.2.1:5/i", Some(r"192.0.2.1:5/it'\''s $x!")),
            ("p 192.0.2.1:5/'i", Some(r"it'\''s $x!")),
            ("p '192.0.2.1:'5/i", Some(r"192.0.2.1:5/it\'s\ \$x\!")),
            ("p 192.0.2.1:'5/i't", Some(r"5/it\'s\ \$x\!")),
            ("p \"192.0.2.1:5/i", None),
        ] {
            assert_eq!(replaced(line, name).as_deref(), expected, "{line}");
        }
        assert_eq!(replaced("p \"a", r#"a"$(b)`c`\"#).as_deref(), Some(r#"a\"\$(b)\`c\`\\"#));
        assert_eq!((replaced("p 'a", "a'"), replaced("p \"a", "a\"")), (None, None));
        assert_eq!(replaced("p --output=/t", "--output=/tmp").as_deref(), Some("/tmp"));
    }
}

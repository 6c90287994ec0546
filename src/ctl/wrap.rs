//! Lines for people, wrapped at words so that none is wider than the terminal. Tables are as wide as the terminal already,
//! and pass through as they are.

use console::measure_text_width;
use std::collections::VecDeque;

/// Longest title, in columns, below whose text further lines of that text begin.
const TITLE_WIDTH_MAX: usize = 20;

/// How far further lines of a text without a title are indented.
const INDENT: usize = 2;

/// Stands for a character that is wider than the terminal.
const NARROW: &str = "?";

/// A text whose lines are wrapped at so many columns; as it is where there is no terminal.
pub(super) fn wrapped(text: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|&width| width > 0) else { return text.into() };
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        if measure_text_width(line) <= width {
            lines.push(line.into());
        } else {
            wrap_line(line, width, &mut lines);
        }
    }
    lines.join("\n")
}

/// A title and a value that users copy: where they do not fit on one line, the value has a line of its own, if that helps.
pub(super) fn beside(title: &str, value: &str, width: Option<usize>) -> String {
    let (title_width, value_width) = (measure_text_width(title), measure_text_width(value));
    match width {
        Some(width) if title_width + value_width > width && value_width <= width => {
            let indent = " ".repeat(title_width.min(width - value_width));
            format!("{}\n{indent}{value}", title.trim_end())
        }
        _ => format!("{title}{value}"),
    }
}

fn wrap_line(line: &str, width: usize, lines: &mut Vec<String>) {
    let hang = hanging_indent(line, width);
    let mut pieces: VecDeque<Piece<'_>> = pieces(line).into();
    let mut current = String::new();
    while let Some(piece) = pieces.pop_front() {
        let piece_width = measure_text_width(piece.text);
        let gap = piece.gap.min(width);
        if measure_text_width(&current) + gap + piece_width <= width {
            current.extend([&" ".repeat(gap), piece.text]);
            continue;
        }
        if piece_width > width && piece.text.contains(' ') {
            let mut gap = piece.gap;
            let words = piece.text.split(' ').map(|text| Piece { gap: std::mem::replace(&mut gap, 1), text });
            for word in words.collect::<Vec<_>>().into_iter().rev() {
                pieces.push_front(word);
            }
            continue;
        }
        flush(&mut current, lines);
        if piece_width <= width {
            current = " ".repeat(hang.min(width - piece_width)) + piece.text;
        } else {
            // Without indentation, so that what is copied from the lines has no spaces in it.
            current = break_word(piece.text, width, lines);
        }
    }
    flush(&mut current, lines);
}

fn flush(line: &mut String, lines: &mut Vec<String>) {
    let text = std::mem::take(line);
    if !text.trim().is_empty() {
        lines.push(text.trim_end().into());
    }
}

/// Where further lines of this one begin: below its text, if a title stands before it, as far as that leaves half of the
/// terminal.
fn hanging_indent(line: &str, width: usize) -> usize {
    let lead = line.len() - line.trim_start_matches(' ').len();
    let rest = &line[lead..];
    let below_text = rest.find("  ").and_then(|end| {
        let is_title = end <= TITLE_WIDTH_MAX && (rest.starts_with('-') || !rest[..end].contains(' '));
        let gap = rest[end..].len() - rest[end..].trim_start_matches(' ').len();
        is_title.then(|| lead + measure_text_width(&rest[..end]) + gap)
    });
    let wanted = below_text.unwrap_or(if lead > 0 { lead } else { INDENT });
    if wanted <= width / 2 { wanted } else { INDENT.min(width / 8) }
}

/// A part of a line that is kept together if possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece<'a> {
    /// Spaces before it.
    gap: usize,
    text: &'a str,
}

/// The words of a line. Text between quotes or backticks, and a path, count as one word, so that they can be
/// copied.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), line);
    loop {
        let gap = rest.len() - rest.trim_start_matches(' ').len();
        rest = &rest[gap..];
        if rest.is_empty() {
            return pieces;
        }
        let (text, after) = rest.split_at(piece_end(rest));
        pieces.push(Piece { gap, text });
        rest = after;
    }
}

fn piece_end(text: &str) -> usize {
    let word_end = |from: usize| text[from..].find(' ').map_or(text.len(), |at| from + at);
    let inner = text.trim_start_matches(['(', '[']);
    let start = text.len() - inner.len();
    if let Some(mark @ ('\'' | '`' | '"')) = inner.chars().next() {
        let quoted = &inner[1..];
        let closes = |at: &usize| !quoted[at + 1..].starts_with(char::is_alphanumeric);
        let end = quoted.match_indices(mark).map(|(at, _)| at).find(closes);
        return end.map_or_else(|| word_end(0), |at| word_end(start + 1 + at));
    }
    if start > 0 && inner.starts_with("--") {
        // An option and its value, as in a line of usage.
        return inner.find(']').map_or_else(|| word_end(0), |at| word_end(start + at));
    }
    if inner.starts_with('/') {
        // It may have spaces in it: it ends where the sentence goes on.
        let ends = [": ", "; ", ", ", " ("].iter().filter_map(|end| text.find(end));
        return ends.min().map_or(text.len(), word_end);
    }
    word_end(0)
}

/// Puts all but the last part of a word that is wider than the terminal on lines, and returns that part.
fn break_word(word: &str, width: usize, lines: &mut Vec<String>) -> String {
    let mut part = String::new();
    for c in word.chars() {
        let mut bytes = [0; 4];
        let c = c.encode_utf8(&mut bytes);
        let c = if measure_text_width(c) > width { NARROW } else { c };
        part.push_str(c);
        // Characters may be wider or narrower together than each alone.
        if measure_text_width(&part) > width {
            part.truncate(part.len() - c.len());
            lines.push(std::mem::replace(&mut part, c.into()));
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(text: &str, width: usize, lines: &[&str]) {
        assert_eq!(wrapped(text, Some(width)), lines.join("\n"));
    }

    #[test]
    fn lines_break_between_words_and_only_where_they_are_too_wide() {
        shown("no peer is known", 16, &["no peer is known"]);
        shown("no peer is known", 15, &["no peer is", "  known"]);
        shown("one\n\ntwo words\n", 6, &["one", "", "two", " words", ""]);
        assert_eq!(wrapped("no peer is known", None), "no peer is known");
    }

    #[test]
    fn further_lines_stand_below_the_text_where_there_is_room() {
        shown("Peers      one two three", 22, &["Peers      one two", "           three"]);
        shown("  -o, --output    one two", 24, &["  -o, --output    one", "  two"]);
        shown("  -o, --output    one two three", 36, &["  -o, --output    one two three"]);
        shown("    Check   one two", 16, &["    Check   one", "  two"]);
        shown("Peers      one two", 9, &["Peers", " one two"]);
    }

    #[test]
    fn what_is_copied_stands_on_one_line_where_it_fits() {
        shown("it is at /a path/b; go on", 11, &["it is at", " /a path/b;", "  go on"]);
        shown("'pyratectl hits ID' shows", 20, &["'pyratectl hits ID'", "  shows"]);
        shown("say ('pyratectl hits 7') so", 20, &["say", "('pyratectl hits 7')", "  so"]);
        shown("so `pyratectl files` shows", 17, &["so", "`pyratectl files`", "  shows"]);
        shown("a file 'it's here.txt', done", 18, &["a file", "  'it's here.txt',", "  done"]);
        shown("        192.0.2.1:63339", 17, &["  192.0.2.1:63339"]);
        // It does not fit: between words, and of a word in parts that follow one another without spaces.
        shown("at /a path/bcdefghij", 6, &["at /a", "path/b", "cdefgh", "ij"]);
        shown("'pyratectl hits", 12, &["'pyratectl", "  hits"]);
        assert_eq!(beside("    Path  ", "/a b/c", Some(16)), "    Path  /a b/c");
        assert_eq!(beside("    Path  ", "/a b/c", Some(15)), "    Path\n         /a b/c");
        assert_eq!(beside("    Path  ", "/a b/c", Some(5)), "    Path  /a b/c");
        assert_eq!(beside("    Path  ", "/a b/c", None), "    Path  /a b/c");
    }

    #[test]
    fn an_option_stands_beside_its_value() {
        shown("Usage: x [--wait <time>] [--all]", 20, &["Usage: x", "  [--wait <time>]", "  [--all]"]);
        shown("[--wait <time>] y", 12, &["[--wait", "  <time>] y"]);
    }

    #[test]
    fn no_line_is_wider_than_any_terminal() {
        let text =
            "Listening  [2001:db8::1]:63339, known as 'a b c' at /日本 日本/❤\u{fe0f}: ok\n\n  --x    日本日本 it's";
        for width in 1..100 {
            let wrapped = wrapped(text, Some(width));
            assert!(wrapped.lines().all(|line| measure_text_width(line) <= width), "{width}: {wrapped}");
            let bare = |text: &str| text.replace([' ', '\n'], "");
            assert!(width < 2 || bare(&wrapped) == bare(text), "{width}: {wrapped}");
        }
    }
}

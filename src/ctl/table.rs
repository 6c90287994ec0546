//! Rows of text, aligned for people or separated by tabs for programs.

use console::measure_text_width;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Between two columns, in spaces.
const GAP: usize = 2;

/// The least that a column is cut to, in columns of the terminal: a narrow terminal wraps the rest.
const CUT_WIDTH_MIN: usize = 16;

/// How a row is highlighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Healthy, or finished.
    Good,
    /// Failed, or failing.
    Bad,
    /// Of little interest.
    Faint,
}

/// Properties of the terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// It shows colours, and they are wanted.
    pub(super) colour: bool,
    /// Columns of the terminal; `None` of what is no terminal, where nothing is cut.
    pub(super) width: Option<usize>,
    /// Only ASCII is added to what is shown.
    pub(super) ascii: bool,
}

impl Look {
    /// Stands for what was cut out.
    pub(super) fn ellipsis(self) -> &'static str {
        if self.ascii { "..." } else { "…" }
    }
}

/// Rows of as many cells as there are titles. The cells hold no control character: whoever fills them escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// A table with these columns. In [`aligned`](Self::aligned), a title that begins with `>` makes its column end at
    /// the right, and one that begins with `~` allows its cells to be cut.
    pub(super) fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, tone: Tone, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.titles.len());
        self.rows.push((tone, cells));
    }

    /// Removes those of these columns in which every cell is `empty`.
    pub(super) fn leave_out(&mut self, titles: &[&str], empty: &str) {
        for at in (0..self.titles.len()).rev() {
            if titles.contains(&self.titles[at]) && self.rows.iter().all(|(_, cells)| cells[at] == empty) {
                self.titles.remove(at);
                self.rows.iter_mut().for_each(|(_, cells)| drop(cells.remove(at)));
            }
        }
    }

    /// Columns one below the other, each as wide as its widest cell; nothing at all without rows. On a terminal that is
    /// too narrow, the widest of those columns that may be cut are cut, as far as is needed and sensible; if that does not
    /// do, the lines are cut at their end.
    pub(super) fn aligned(mut self, look: Look) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        for (at, width) in self.widths(look.width).into_iter().enumerate() {
            let cells: Vec<&str> = self.rows.iter().map(|(_, cells)| &*cells[at]).collect();
            let cells: Vec<String> = cut_column(&cells, width, look).into_iter().map(Cow::into_owned).collect();
            self.rows.iter_mut().zip(cells).for_each(|((_, row), cell)| row[at] = cell);
        }
        let columns = Columns { widths: self.widths(None), titles: self.titles.clone() };
        columns.header(look) + &self.rows_in(&columns, look)
    }

    /// Columns for these rows, and for further ones that are not known yet, for which they are at least so wide on a terminal:
    /// there a row that is moved to the right loses its end.
    pub(super) fn columns(&self, widths_min: &[usize], look: Look) -> Columns {
        let mut widths = self.widths(None);
        if look.width.is_some() {
            widths.iter_mut().zip(widths_min).for_each(|(width, &min)| *width = min.max(*width));
        }
        Columns::fitted(self.titles.clone(), widths, look)
    }

    pub(super) fn rows_in(&self, columns: &Columns, look: Look) -> String {
        self.rows.iter().map(|(tone, cells)| columns.row(*tone, cells, look)).collect()
    }

    /// How wide each column is to be.
    fn widths(&self, total_max: Option<usize>) -> Vec<usize> {
        let widest = |(at, title): (usize, &&str)| {
            let cells = self.rows.iter().map(|(_, cells)| width_of(&cells[at]));
            cells.fold(width_of(shown_title(title)), usize::max)
        };
        let mut widths: Vec<usize> = self.titles.iter().enumerate().map(widest).collect();
        let Some(total_max) = total_max else { return widths };
        let mut total = widths.iter().sum::<usize>() + widths.len().saturating_sub(1) * GAP;
        while total > total_max {
            let cuttable = widths.iter_mut().zip(&self.titles).filter(|(_, title)| title.starts_with('~'));
            let widest = cuttable.map(|(width, _)| width).max_by_key(|width| **width);
            match widest {
                Some(width) if *width > CUT_WIDTH_MIN => *width -= 1,
                _ => break,
            }
            total -= 1;
        }
        widths
    }

    /// Tab-separated values with a header line.
    pub(super) fn separated(&self) -> String {
        self.titles.join("\t") + "\n" + &self.separated_rows()
    }

    pub(super) fn separated_rows(&self) -> String {
        self.rows.iter().map(|(_, cells)| cells.join("\t") + "\n").collect()
    }
}

/// Columns, and how wide they are. A cell that is wider is cut on a terminal if its column may be cut; otherwise it moves the
/// rest of its own row only.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// As in [`Table::new`].
    titles: Vec<&'static str>,
    /// In columns of the terminal.
    widths: Vec<usize>,
}

impl Columns {
    /// For rows that are written before all are known: the last of those columns that may be cut is as wide as the terminal
    /// allows.
    pub(super) fn fitted(titles: Vec<&'static str>, mut widths: Vec<usize>, look: Look) -> Self {
        let cuttable = titles.iter().rposition(|title| title.starts_with('~'));
        if let (Some(total), Some(at)) = (look.width, cuttable) {
            let others = widths.iter().sum::<usize>() - widths[at] + widths.len().saturating_sub(1) * GAP;
            widths[at] = total.saturating_sub(others).max(CUT_WIDTH_MIN);
        }
        Self { titles, widths }
    }

    pub(super) fn header(&self, look: Look) -> String {
        let titles: Vec<&str> = self.titles.iter().map(|title| shown_title(title)).collect();
        styled(&self.side_by_side(&titles, look), TITLES_STYLE, look)
    }

    /// One row; the cells hold no control character. What makes it too wide is cut.
    pub(super) fn row(&self, tone: Tone, cells: &[String], look: Look) -> String {
        styled(&self.side_by_side(cells, look), tone.style(), look)
    }

    fn side_by_side<C: AsRef<str>>(&self, cells: &[C], look: Look) -> String {
        let mut line = String::new();
        for ((cell, title), &width) in cells.iter().zip(&self.titles).zip(&self.widths) {
            let may_be_cut = look.width.is_some() && title.starts_with('~');
            let cell = if may_be_cut { cut(cell.as_ref(), width, look) } else { cell.as_ref().into() };
            let fill = width.saturating_sub(width_of(&cell));
            let (before, after) = if title.starts_with('>') { (fill, GAP) } else { (0, fill + GAP) };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', after));
        }
        line
    }
}

/// How many columns of the terminal a text takes.
fn width_of(text: &str) -> usize {
    // Nearly all texts are printable ASCII, where nothing has to be looked up.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { text.len() } else { measure_text_width(text) }
}

/// The graphic rendition (ECMA-48) of the line of titles.
const TITLES_STYLE: &str = "1";

/// A line, cut at the width of the terminal, with its end.
fn styled(line: &str, style: &str, look: Look) -> String {
    let line = clip(line.trim_end(), look);
    if look.colour && !style.is_empty() { format!("\x1b[{style}m{line}\x1b[0m\n") } else { line.into_owned() + "\n" }
}

fn shown_title(title: &str) -> &str {
    title.trim_start_matches(['>', '~'])
}

/// How much of a cut text may be its end, in quarters, the best first: both ends of a name or path say more than its middle.
const TAIL_QUARTERS: [usize; 3] = [2, 3, 4];

/// The cells of a column, cut to a width so that different cells stay different if possible.
fn cut_column<'a>(cells: &[&'a str], width_max: usize, look: Look) -> Vec<Cow<'a, str>> {
    let mut shown: Vec<Cow<'a, str>> = cells.iter().map(|cell| cut(cell, width_max, look)).collect();
    let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, cell) in shown.iter().enumerate().filter(|(at, shown)| **shown != cells[*at]) {
        alike.entry(cell.to_string()).or_default().push(at);
    }
    for rows in alike.into_values().filter(|rows| rows.iter().any(|&at| cells[at] != cells[rows[0]])) {
        let differ = |cut: &dyn Fn(&'a str) -> Cow<'a, str>| {
            let texts: BTreeSet<&str> = rows.iter().map(|&at| cells[at]).collect();
            texts.iter().map(|text| cut(text)).collect::<BTreeSet<_>>().len() == texts.len()
        };
        let with_tail =
            TAIL_QUARTERS.into_iter().skip(1).find(|&tail| differ(&|text| cut_at(text, width_max, tail, look)));
        let same = rows.iter().map(|&at| common_prefix(cells[rows[0]], cells[at])).min().unwrap_or(0);
        for at in rows {
            shown[at] = match with_tail {
                Some(tail) => cut_at(cells[at], width_max, tail, look),
                None => cut_before(cells[at], same, width_max, look),
            };
        }
    }
    shown
}

/// A text with so much cut out of its middle that it takes at most so many columns.
fn cut(text: &str, width_max: usize, look: Look) -> Cow<'_, str> {
    cut_at(text, width_max, TAIL_QUARTERS[0], look)
}

fn cut_at(text: &str, width_max: usize, tail_quarters: usize, look: Look) -> Cow<'_, str> {
    if width_of(text) <= width_max {
        return text.into();
    }
    let ellipsis = fitting(look.ellipsis(), width_max);
    let room = width_max - width_of(ellipsis);
    let tail = room * tail_quarters / 4;
    let end = text.len() - bytes_within(text.chars().rev(), tail);
    format!("{}{ellipsis}{}", fitting(text, room - tail), &text[end..]).into()
}

/// A text from shortly before a place on, which others differ from there.
fn cut_before(text: &str, place: usize, width_max: usize, look: Look) -> Cow<'_, str> {
    let context = text[..place].char_indices().rev().nth(1).map_or(0, |(at, _)| at);
    let ellipsis = fitting(look.ellipsis(), width_max);
    let room = width_max - width_of(ellipsis);
    let rest = &text[context..];
    if width_of(rest) <= room {
        return format!("{ellipsis}{rest}").into();
    }
    let inner = room.saturating_sub(width_of(ellipsis));
    format!("{ellipsis}{}{ellipsis}", fitting(rest, inner)).into()
}

/// A line, cut at its end if it is wider than the terminal.
pub(super) fn clip(line: &str, look: Look) -> Cow<'_, str> {
    match look.width {
        Some(width) if width_of(line) > width => {
            let ellipsis = fitting(look.ellipsis(), width);
            format!("{}{ellipsis}", fitting(line, width - width_of(ellipsis))).into()
        }
        _ => line.into(),
    }
}

/// As much from the front as takes so many columns.
fn fitting(text: &str, width_max: usize) -> &str {
    &text[..bytes_within(text.chars(), width_max)]
}

fn bytes_within(chars: impl Iterator<Item = char>, width_max: usize) -> usize {
    let mut left = width_max;
    let fits = chars.take_while(|c| {
        let width = width_of(c.encode_utf8(&mut [0; 4]));
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    });
    fits.map(char::len_utf8).sum()
}

/// Bytes that two texts have in common at their beginning.
fn common_prefix(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).map(|(c, _)| c.len_utf8()).sum()
}

impl Tone {
    /// The parameter of the terminal's "select graphic rendition".
    fn style(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[">ID", "NAME", ">SIZE"]);
        table.push(Tone::Plain, vec!["7".into(), "héllo ✓".into(), "1 B".into()]);
        table.push(Tone::Bad, vec!["1234".into(), "日本".into(), "-".into()]);
        table
    }

    const PLAIN: Look = Look { colour: false, width: None, ascii: false };
    const COLOURED: Look = Look { colour: true, ..PLAIN };

    fn at(width: usize) -> Look {
        Look { width: Some(width), ..PLAIN }
    }

    #[test]
    fn columns_align_by_what_the_terminal_shows() {
        assert_eq!(sample().aligned(PLAIN), "  ID  NAME     SIZE\n   7  héllo ✓   1 B\n1234  日本        -\n");
    }

    #[test]
    fn colour_surrounds_whole_lines() {
        assert_eq!(
            sample().aligned(COLOURED),
            "\x1b[1m  ID  NAME     SIZE\x1b[0m\n   7  héllo ✓   1 B\n\x1b[31m1234  日本        -\x1b[0m\n"
        );
    }

    #[test]
    fn rows_that_come_one_by_one_align_where_they_can() {
        let columns = Columns { titles: vec![">ID", "NAME", ">SIZE"], widths: vec![3, 5, 4] };
        let row = |cells: [&str; 3]| columns.row(Tone::Plain, &cells.map(str::to_owned), PLAIN);
        assert_eq!(columns.header(PLAIN), " ID  NAME   SIZE\n");
        assert_eq!(columns.header(COLOURED), "\x1b[1m ID  NAME   SIZE\x1b[0m\n");
        assert_eq!(row(["7", "日本", "1 B"]), "  7  日本    1 B\n");
        assert_eq!(row(["1234", "longer", "-"]), "1234  longer     -\n");
        assert_eq!(row(["1", "", ""]), "  1\n");
    }

    #[test]
    fn a_very_long_cell_is_neither_cut_nor_wrapped_where_no_terminal_is() {
        let mut table = Table::new(&["~NAME", "X"]);
        table.push(Tone::Plain, vec!["n".repeat(15_000), "y".into()]);
        assert!(table.clone().aligned(PLAIN).ends_with(&format!("\n{}  y\n", "n".repeat(15_000))));
    }

    #[test]
    fn a_terminal_cuts_the_widest_of_what_may_be_cut_and_no_more_than_it_must() {
        let mut table = Table::new(&[">ID", "~NAME", "STATE", "~PATH"]);
        table.push(Tone::Plain, vec!["7".into(), "a".repeat(3800), "retrying".into(), "/short".into()]);
        table.push(Tone::Plain, vec!["8".into(), "日本".repeat(30) + ".iso", "done".into(), "/b/".repeat(40)]);
        for width in [60, 80, 200] {
            let text = table.clone().aligned(at(width));
            let widest = text.lines().map(measure_text_width).max().unwrap();
            // A character of two columns may leave one free.
            assert!((width - 1..=width).contains(&widest), "{widest} of {width}: {text}");
            assert!(text.contains("retrying") && text.contains("/short") && text.contains(".iso "), "{text}");
        }
        for width in 1..60 {
            for ascii in [false, true] {
                let text = table.clone().aligned(Look { colour: false, width: Some(width), ascii });
                assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}: {text}");
                assert_eq!((text.lines().count(), !ascii || !text.contains('…')), (3, true));
            }
        }
        // It fits: nothing is cut.
        let wide = table.clone().aligned(at(5000));
        assert_eq!(wide, table.clone().aligned(PLAIN));
    }

    #[test]
    fn a_row_on_its_own_is_as_wide_as_the_others_and_the_terminal() {
        let columns = |width| Columns::fitted(vec![">ID", "~NAME", ">SIZE"], vec![3, 10, 4], at(width));
        let row =
            |name: &str, width| columns(width).row(Tone::Plain, &["7".into(), name.into(), "1 B".into()], at(width));
        assert_eq!(row(&"x".repeat(50), 31), format!("  7  {}…{}   1 B\n", "x".repeat(10), "x".repeat(9)));
        assert_eq!(row("short", 31), format!("  7  short{}   1 B\n", " ".repeat(15)));
        for width in 1..40 {
            for line in [row(&"x".repeat(50), width), columns(width).header(at(width))] {
                assert!(measure_text_width(line.trim_end()) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn both_ends_of_what_is_cut_remain() {
        let cut = |text, width| cut(text, width, PLAIN).into_owned();
        assert_eq!(cut("a long name.iso", 15), "a long name.iso");
        assert_eq!(cut("a long name.iso", 10), "a lon….iso");
        assert_eq!(cut("日本日本日本", 8), "日本…本");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), String::new()));
        assert_eq!(cut("", 0), "");
        let ascii = Look { ascii: true, ..PLAIN };
        assert_eq!(super::cut("a long name.iso", 11, ascii), "a lo....iso");
        assert_eq!((super::cut("abcde", 4, ascii), super::cut("abcde", 2, ascii)), ("a...".into(), "..".into()));
    }

    #[test]
    fn rows_that_differ_look_different_where_they_are_cut() {
        let series = |middle: &str, end: &str| format!("A series of a very long name, {middle} and its episode {end}");
        for (names, width) in [
            ([series("one", "y 19.mkv"), series("one", "y 20.mkv"), series("one", "y 21.mkv")], 16),
            ([series("one", "y.mkv"), series("two", "y.mkv"), series("six", "y.mkv")], 20),
            ([series("one", "20.mkv"), series("two", "20.mkv"), series("two", "21.mkv")], 16),
        ] {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let cut = cut_column(&names, width, PLAIN);
            let distinct: BTreeSet<_> = cut.iter().collect();
            assert_eq!(distinct.len(), 3, "{cut:?}");
            assert!(cut.iter().all(|cell| measure_text_width(cell) <= width), "{cut:?}");
        }
        let same = ["n".repeat(40), "n".repeat(40)];
        let cut = cut_column(&[&same[0], &same[1]], 11, PLAIN);
        assert_eq!(cut[0], cut[1]);
    }

    #[test]
    fn a_column_that_says_nothing_may_be_left_out() {
        let mut table = sample();
        table.leave_out(&["NAME", ">SIZE"], "-");
        assert_eq!(table, sample());
        table.rows[0].1[2] = "-".into();
        table.leave_out(&["NAME", ">SIZE"], "-");
        assert_eq!(table.separated(), ">ID\tNAME\n7\théllo ✓\n1234\t日本\n");
    }

    #[test]
    fn nothing_is_nothing_for_people_and_a_header_for_programs() {
        let table = Table::new(&["id", "name"]);
        assert_eq!(table.clone().aligned(COLOURED), "");
        assert_eq!(table.separated(), "id\tname\n");
    }
}

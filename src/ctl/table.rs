//! Rows of text, aligned for people or separated by tabs for programs.

use comfy_table::{CellAlignment, ContentArrangement, Table as Aligned, presets};
use console::measure_text_width;
use std::borrow::Cow;

/// Between two columns, in spaces.
const GAP: u16 = 2;

/// The least that a column is cut to, in columns of the terminal: a narrow terminal wraps the rest.
const CUT_WIDTH_MIN: usize = 16;

/// Stands for what was cut out of a cell.
const CUT: &str = "…";

/// What a row is to catch the eye for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    Plain,
    /// It is well, or finished.
    Good,
    /// It is in trouble.
    Bad,
    /// It does not matter much.
    Faint,
}

/// What people read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// It shows colours, and they are wanted.
    pub(super) colour: bool,
    /// Columns of the terminal; `None` of what is no terminal, where nothing is cut.
    pub(super) width: Option<usize>,
}

/// A header and rows of the same length. The cells hold no control character: whoever fills them escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// A table with these columns. In [`aligned`](Self::aligned), a title that begins with `>` makes its column end at
    /// the right, and one that begins with `~` allows its cells to be cut.
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn push<const N: usize>(&mut self, tone: Tone, cells: [String; N]) {
        debug_assert_eq!(N, self.header.len());
        self.rows.push((tone, cells.into()));
    }

    /// Takes out those of these columns in which no row has anything but this.
    pub(super) fn leave_out(&mut self, titles: &[&str], empty: &str) {
        for at in (0..self.header.len()).rev() {
            if titles.contains(&self.header[at]) && self.rows.iter().all(|(_, cells)| cells[at] == empty) {
                self.header.remove(at);
                self.rows.iter_mut().for_each(|(_, cells)| drop(cells.remove(at)));
            }
        }
    }

    /// Columns one below the other, each as wide as its widest cell; nothing at all without rows. On a terminal that is
    /// too narrow, the widest of those columns that may be cut are cut, as far as is needed and sensible.
    pub(super) fn aligned(&self, look: Look) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths = self.widths(look.width);
        let mut table = Aligned::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.header.iter().map(|title| shown_title(title)).collect::<Vec<_>>());
        for (_, cells) in &self.rows {
            let cells = cells.iter().zip(&widths).map(|(cell, &width)| cut(cell, width));
            table.add_row(cells.collect::<Vec<_>>());
        }
        for (column, title) in table.column_iter_mut().zip(&self.header) {
            column.set_padding((0, GAP));
            if title.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let styles = std::iter::once("1").chain(self.rows.iter().map(|(tone, _)| tone.style()));
        let mut text = String::new();
        for (line, style) in table.lines().zip(styles) {
            let line = line.trim_end();
            if look.colour && !style.is_empty() {
                text.extend(["\x1b[", style, "m", line, "\x1b[0m\n"]);
            } else {
                text.extend([line, "\n"]);
            }
        }
        text
    }

    /// How wide each column is to be.
    fn widths(&self, total_max: Option<usize>) -> Vec<usize> {
        let widest = |at: usize| {
            let cells = self.rows.iter().map(|(_, cells)| measure_text_width(&cells[at]));
            cells.max().unwrap_or(0).max(measure_text_width(shown_title(self.header[at])))
        };
        let mut widths: Vec<usize> = (0..self.header.len()).map(widest).collect();
        let Some(total_max) = total_max else { return widths };
        let mut total = widths.iter().sum::<usize>() + widths.len().saturating_sub(1) * usize::from(GAP);
        while total > total_max {
            let cuttable = widths.iter_mut().zip(&self.header).filter(|(_, title)| title.starts_with('~'));
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
        let mut text = self.header.join("\t") + "\n";
        for (_, cells) in &self.rows {
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        text
    }
}

/// Columns of rows that are written one at a time, before the next is known: each is at least so wide, and a cell that
/// is wider moves the rest of its own row only.
pub(super) struct Columns<const N: usize> {
    /// As in [`Table::new`].
    pub(super) titles: [&'static str; N],
    /// In columns of the terminal.
    pub(super) widths: [usize; N],
}

impl<const N: usize> Columns<N> {
    /// The line of titles.
    pub(super) fn header(&self, look: Look) -> String {
        let line = self.row(&self.titles.map(|title| shown_title(title).to_owned()), look);
        if look.colour { format!("\x1b[1m{}\x1b[0m\n", line.trim_end()) } else { line }
    }

    /// One row; the cells hold no control character. What makes it too wide for the terminal is cut, where it may be.
    pub(super) fn row(&self, cells: &[String; N], look: Look) -> String {
        let others = |at: usize| {
            let cells = cells.iter().zip(self.widths).enumerate().filter(|(other, _)| *other != at);
            cells.map(|(_, (cell, width))| width.max(measure_text_width(cell)) + usize::from(GAP)).sum::<usize>()
        };
        let mut line = String::new();
        for (at, ((cell, title), width)) in cells.iter().zip(self.titles).zip(self.widths).enumerate() {
            let cell = match look.width {
                Some(total) if title.starts_with('~') => cut(cell, total.saturating_sub(others(at)).max(width)),
                _ => cell.into(),
            };
            let fill = " ".repeat(width.saturating_sub(measure_text_width(&cell)));
            let parts = if title.starts_with('>') { [&fill, &*cell] } else { [&*cell, &fill] };
            line.extend(parts);
            line.push_str(&" ".repeat(GAP.into()));
        }
        line.trim_end().to_owned() + "\n"
    }
}

fn shown_title(title: &str) -> &str {
    title.trim_start_matches(['>', '~'])
}

/// A text with so much cut out of its middle that it takes at most so many columns: both ends of a name or path tell
/// more than its middle does.
fn cut(text: &str, width_max: usize) -> Cow<'_, str> {
    if measure_text_width(text) <= width_max {
        return text.into();
    }
    let room = width_max.saturating_sub(measure_text_width(CUT));
    let width = |c: char| measure_text_width(c.encode_utf8(&mut [0; 4]));
    let end_of = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut left = room;
        let fits = chars.take_while(|&c| {
            let fits = width(c) <= left;
            left = left.saturating_sub(width(c));
            fits
        });
        fits.map(char::len_utf8).sum::<usize>()
    };
    let tail = end_of(&mut text.chars().rev(), room / 3);
    let head = end_of(&mut text.chars(), room - room / 3);
    format!("{}{CUT}{}", &text[..head], &text[text.len() - tail..]).into()
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
        table.push(Tone::Plain, ["7".into(), "héllo ✓".into(), "1 B".into()]);
        table.push(Tone::Bad, ["1234".into(), "日本".into(), "-".into()]);
        table
    }

    const PLAIN: Look = Look { colour: false, width: None };
    const COLOURED: Look = Look { colour: true, width: None };

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
        let columns = Columns { titles: [">ID", "NAME", ">SIZE"], widths: [3, 5, 4] };
        let row = |cells: [&str; 3]| columns.row(&cells.map(str::to_owned), PLAIN);
        assert_eq!(columns.header(PLAIN), " ID  NAME   SIZE\n");
        assert_eq!(columns.header(COLOURED), "\x1b[1m ID  NAME   SIZE\x1b[0m\n");
        assert_eq!(row(["7", "日本", "1 B"]), "  7  日本    1 B\n");
        assert_eq!(row(["1234", "longer", "-"]), "1234  longer     -\n");
        assert_eq!(row(["1", "", ""]), "  1\n");
    }

    #[test]
    fn a_very_long_cell_is_neither_cut_nor_wrapped_where_no_terminal_is() {
        let mut table = Table::new(&["~NAME", "X"]);
        table.push(Tone::Plain, ["n".repeat(15_000), "y".into()]);
        assert!(table.aligned(PLAIN).ends_with(&format!("\n{}  y\n", "n".repeat(15_000))));
    }

    #[test]
    fn a_terminal_cuts_the_widest_of_what_may_be_cut_and_no_more_than_it_must() {
        let mut table = Table::new(&[">ID", "~NAME", "STATE", "~PATH"]);
        table.push(Tone::Plain, ["7".into(), "a".repeat(3800), "retrying".into(), "/short".into()]);
        table.push(Tone::Plain, ["8".into(), "日本".repeat(30) + ".iso", "done".into(), "/b/".repeat(40)]);
        for width in [60, 80, 200] {
            let text = table.aligned(Look { colour: false, width: Some(width) });
            let widest = text.lines().map(measure_text_width).max().unwrap();
            // A character of two columns may leave one free.
            assert!((width - 1..=width).contains(&widest), "{widest} of {width}: {text}");
            assert!(text.contains("retrying") && text.contains("/short") && text.contains(".iso "), "{text}");
        }
        let narrow = table.aligned(Look { colour: false, width: Some(1) });
        assert_eq!(narrow.lines().nth(1).unwrap(), " 7  aaaaaaaaaa…aaaaa  retrying  /short");
        // It fits: nothing is cut.
        let wide = table.aligned(Look { colour: false, width: Some(5000) });
        assert_eq!(wide, table.aligned(PLAIN));
    }

    #[test]
    fn a_row_on_its_own_is_cut_to_the_terminal_but_not_below_its_columns() {
        let columns = Columns { titles: [">ID", "~NAME", ">SIZE"], widths: [3, 10, 4] };
        let row = |name: &str, width| {
            columns.row(&["7".into(), name.into(), "1 B".into()], Look { colour: false, width: Some(width) })
        };
        assert_eq!(row(&"x".repeat(50), 31), format!("  7  {}…{}   1 B\n", "x".repeat(13), "x".repeat(6)));
        assert_eq!(row(&"x".repeat(50), 1), format!("  7  {}…{}   1 B\n", "x".repeat(6), "x".repeat(3)));
        assert_eq!(row("short", 1), "  7  short        1 B\n");
    }

    #[test]
    fn both_ends_of_what_is_cut_remain() {
        assert_eq!(cut("a long name.iso", 15), "a long name.iso");
        assert_eq!(cut("a long name.iso", 10), "a long…iso");
        assert_eq!(cut("日本日本日本", 8), "日本…本");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), "…".into()));
        assert_eq!(cut("", 0), "");
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
        assert_eq!(table.aligned(COLOURED), "");
        assert_eq!(table.separated(), "id\tname\n");
    }
}

//! Rows of text, aligned for people or separated by tabs for programs.

use comfy_table::{CellAlignment, ContentArrangement, Table as Aligned, presets};

/// Between two columns, in spaces.
const GAP: u16 = 2;

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

/// A header and rows of the same length. The cells hold no control character: whoever fills them escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// A table with these columns. In [`aligned`](Self::aligned), a title that begins with `>` makes its column end at
    /// the right.
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn push<const N: usize>(&mut self, tone: Tone, cells: [String; N]) {
        debug_assert_eq!(N, self.header.len());
        self.rows.push((tone, cells.into()));
    }

    /// Columns one below the other, each as wide as its widest cell; nothing at all without rows.
    pub(super) fn aligned(&self, colour: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut table = Aligned::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.header.iter().map(|title| title.trim_start_matches('>')).collect::<Vec<_>>());
        for (_, cells) in &self.rows {
            table.add_row(cells.clone());
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
            if colour && !style.is_empty() {
                text.extend(["\x1b[", style, "m", line, "\x1b[0m\n"]);
            } else {
                text.extend([line, "\n"]);
            }
        }
        text
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
    pub(super) fn header(&self, colour: bool) -> String {
        let line = self.row(&self.titles.map(|title| title.trim_start_matches('>').to_owned()));
        if colour { format!("\x1b[1m{}\x1b[0m\n", line.trim_end()) } else { line }
    }

    /// One row; the cells hold no control character.
    pub(super) fn row(&self, cells: &[String; N]) -> String {
        let mut line = String::new();
        for ((cell, title), width) in cells.iter().zip(self.titles).zip(self.widths) {
            let fill = " ".repeat(width.saturating_sub(shown_width(cell)));
            let parts = if title.starts_with('>') { [&fill, cell] } else { [cell, &fill] };
            line.extend(parts.map(String::as_str));
            line.push_str(&" ".repeat(GAP.into()));
        }
        line.trim_end().to_owned() + "\n"
    }
}

/// How many columns of a terminal a text takes.
fn shown_width(text: &str) -> usize {
    let mut table = Aligned::new();
    table.add_row([text]);
    table.column_max_content_widths().first().copied().unwrap_or_default().into()
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

    #[test]
    fn columns_align_by_what_the_terminal_shows() {
        assert_eq!(sample().aligned(false), "  ID  NAME     SIZE\n   7  héllo ✓   1 B\n1234  日本        -\n");
    }

    #[test]
    fn colour_surrounds_whole_lines() {
        assert_eq!(
            sample().aligned(true),
            "\x1b[1m  ID  NAME     SIZE\x1b[0m\n   7  héllo ✓   1 B\n\x1b[31m1234  日本        -\x1b[0m\n"
        );
    }

    #[test]
    fn rows_that_come_one_by_one_align_where_they_can() {
        let columns = Columns { titles: [">ID", "NAME", ">SIZE"], widths: [3, 5, 4] };
        let row = |cells: [&str; 3]| columns.row(&cells.map(str::to_owned));
        assert_eq!(columns.header(false), " ID  NAME   SIZE\n");
        assert_eq!(columns.header(true), "\x1b[1m ID  NAME   SIZE\x1b[0m\n");
        assert_eq!(row(["7", "日本", "1 B"]), "  7  日本    1 B\n");
        assert_eq!(row(["1234", "longer", "-"]), "1234  longer     -\n");
        assert_eq!(row(["1", "", ""]), "  1\n");
    }

    #[test]
    fn a_very_long_cell_is_neither_cut_nor_wrapped() {
        let mut table = Table::new(&["NAME", "X"]);
        table.push(Tone::Plain, ["n".repeat(15_000), "y".into()]);
        assert!(table.aligned(false).ends_with(&format!("\n{}  y\n", "n".repeat(15_000))));
    }

    #[test]
    fn nothing_is_nothing_for_people_and_a_header_for_programs() {
        let table = Table::new(&["id", "name"]);
        assert_eq!(table.aligned(true), "");
        assert_eq!(table.separated(), "id\tname\n");
    }
}

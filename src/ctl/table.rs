//! Rows of text, aligned for people or separated by tabs for programs.

use console::measure_text_width;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Between two columns, in spaces.
const GAP: usize = 2;

/// The least that a column is cut to, in columns of the terminal: a narrow terminal wraps the rest.
const CUT_WIDTH_MIN: usize = 16;

/// How much of a column that may be cut is worth more than a whole column of less value.
const CUT_WIDTH_GOOD: usize = 20;

/// Cells without a value, as they are shown.
const SAY_NOTHING: [&str; 2] = ["-", ""];

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
    /// Titles of columns of less value than those that may be cut; the first is left out first.
    lesser: &'static [&'static str],
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// A table with these columns. In [`aligned`](Self::aligned), a title that begins with `>` makes its column end at
    /// the right, and one that begins with `~` allows its cells to be cut; so does one that begins with `/`, whose cells are
    /// paths: their directories are left out first.
    pub(super) fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), lesser: &[], rows: Vec::new() }
    }

    /// The same, in which a terminal that is too narrow leaves out these columns, the first of them first, before it cuts others
    /// to less than is good.
    pub(super) fn with_lesser(self, lesser: &'static [&'static str]) -> Self {
        Self { lesser, ..self }
    }

    pub(super) fn push(&mut self, tone: Tone, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.titles.len());
        self.rows.push((tone, cells));
    }

    /// Removes those of these columns in which every cell is `empty`.
    pub(super) fn leave_out(&mut self, titles: &[&str], empty: &str) {
        for at in (0..self.titles.len()).rev() {
            if titles.contains(&self.titles[at]) && self.rows.iter().all(|(_, cells)| cells[at] == empty) {
                self.remove(at);
            }
        }
    }

    fn remove(&mut self, column: usize) {
        self.titles.remove(column);
        self.rows.iter_mut().for_each(|(_, cells)| drop(cells.remove(column)));
    }

    /// Columns one below the other, each as wide as its widest cell; nothing at all without rows. On a terminal that is
    /// too narrow, directories of paths are left out; if that does not do, columns that say nothing as well; then those of less
    /// value; then the widest of those columns that may be cut are cut, as far as is needed and sensible; and at last the lines at
    /// their end.
    pub(super) fn aligned(mut self, look: Look) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        if let Some(width) = look.width {
            if total_of(&self.floors(look)) > width {
                let titled = self.titles.iter().filter(|title| !title.trim().is_empty());
                let titles: Vec<&str> = titled.copied().collect();
                SAY_NOTHING.iter().for_each(|empty| self.leave_out(&titles, empty));
            }
            let kept = self.kept(&self.floors(look), width);
            (0..self.titles.len()).rev().filter(|at| !kept.contains(at)).for_each(|at| self.remove(at));
        }
        for (at, width) in self.widths(look.width, look).into_iter().enumerate() {
            let cells: Vec<&str> = self.rows.iter().map(|(_, cells)| &*cells[at]).collect();
            let cells = cut_column(&cells, width, self.titles[at], look);
            let cells: Vec<String> = cells.into_iter().map(Cow::into_owned).collect();
            self.rows.iter_mut().zip(cells).for_each(|((_, row), cell)| row[at] = cell);
        }
        let columns = Columns { widths: self.widths(None, look), titles: self.titles.clone() };
        columns.header(look) + &self.rows_in(&columns, look)
    }

    /// Columns for these rows, and for further ones that are not known yet, for which they are at least so wide on a terminal:
    /// there a row that is moved to the right loses its end.
    pub(super) fn columns(&self, widths_min: &[usize], look: Look) -> Columns {
        let mut widths = self.widths(None, look);
        let Some(width) = look.width else { return Columns { titles: self.titles.clone(), widths } };
        widths.iter_mut().zip(widths_min).for_each(|(width, &min)| *width = min.max(*width));
        let kept = self.kept(&widths, width);
        let titles = kept.iter().map(|&at| self.titles[at]).collect();
        Columns::fitted(titles, kept.iter().map(|&at| widths[at]).collect(), look)
    }

    /// Which columns remain if those of less value are left out until of the others what is good is shown.
    fn kept(&self, widths: &[usize], total_max: usize) -> Vec<usize> {
        let good = |&at: &usize| match may_be_cut(self.titles[at]) {
            true => CUT_WIDTH_GOOD.min(widths[at]),
            false => widths[at],
        };
        let mut kept: Vec<usize> = (0..self.titles.len()).collect();
        for title in self.lesser {
            if total_of(&kept.iter().map(good).collect::<Vec<_>>()) > total_max {
                kept.retain(|&at| self.titles[at] != *title);
            }
        }
        kept
    }

    pub(super) fn rows_in(&self, columns: &Columns, look: Look) -> String {
        self.rows.iter().map(|(tone, cells)| columns.row(*tone, cells, look)).collect()
    }

    /// How wide each column is to be.
    fn widths(&self, total_max: Option<usize>, look: Look) -> Vec<usize> {
        let mut widths = self.widest(|_, cell| width_of(cell));
        let Some(total_max) = total_max else { return widths };
        let mut total = total_of(&widths);
        let floors = if total > total_max { self.floors(look) } else { widths.clone() };
        while total > total_max {
            // Directories first.
            let above = widths.iter_mut().zip(&floors).filter(|(width, floor)| **width > **floor);
            let Some((width, _)) = above.max_by_key(|(width, _)| **width) else { break };
            *width -= 1;
            total -= 1;
        }
        while total > total_max {
            let cuttable = widths.iter_mut().zip(&self.titles).filter(|(_, title)| may_be_cut(title));
            // A path is cut only while it is more than 1.5 times as wide as the widest other column.
            let weight = |width: usize, title: &str| if is_path(title) { 2 * width } else { 3 * width };
            let above_min = cuttable.filter(|(width, _)| **width > CUT_WIDTH_MIN);
            match above_min.max_by_key(|(width, title)| weight(**width, title)) {
                Some((width, _)) => *width -= 1,
                None => break,
            }
            total -= 1;
        }
        widths
    }

    /// How wide the columns are if paths have no directories.
    fn floors(&self, look: Look) -> Vec<usize> {
        self.widest(|title, cell| if is_path(title) { width_without_directories(cell, look) } else { width_of(cell) })
    }

    /// The widest cell of each column, or its title.
    fn widest(&self, width: impl Fn(&str, &str) -> usize) -> Vec<usize> {
        let widest = |(at, title): (usize, &&'static str)| {
            let cells = self.rows.iter().map(|(_, cells)| width(title, &cells[at]));
            cells.fold(width_of(shown_title(title)), usize::max)
        };
        self.titles.iter().enumerate().map(widest).collect()
    }

    /// Tab-separated values with a header line.
    pub(super) fn separated(&self) -> String {
        let rows: String = self.rows.iter().map(|(_, cells)| separated(cells)).collect();
        self.titles.join("\t") + "\n" + &rows
    }
}

/// A row as tab-separated values.
pub(super) fn separated(cells: &[String]) -> String {
    cells.join("\t") + "\n"
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
    /// For rows that are written before all are known: of those columns that may be cut, the first of paths, else the last gets
    /// what the others leave of the terminal. These are cut only if the whole is wider, and only as far as is needed and good.
    pub(super) fn fitted(titles: Vec<&'static str>, mut widths: Vec<usize>, look: Look) -> Self {
        let path = titles.iter().position(|title| is_path(title));
        let named = path.or_else(|| titles.iter().rposition(|title| may_be_cut(title)));
        if let (Some(total), Some(at)) = (look.width, named) {
            widths[at] = widths[at].max(CUT_WIDTH_GOOD);
            for other in (0..titles.len()).filter(|other| *other != at && may_be_cut(titles[*other])) {
                let excess = total_of(&widths).saturating_sub(total);
                widths[other] -= excess.min(widths[other].saturating_sub(CUT_WIDTH_GOOD));
            }
            let others = widths.iter().sum::<usize>() - widths[at] + widths.len().saturating_sub(1) * GAP;
            widths[at] = total.saturating_sub(others).max(CUT_WIDTH_MIN);
        }
        Self { titles, widths }
    }

    /// Whether it has a column of this title.
    pub(super) fn has(&self, title: &str) -> bool {
        self.titles.contains(&title)
    }

    pub(super) fn header(&self, look: Look) -> String {
        let titles: Vec<&str> = self.titles.iter().map(|title| shown_title(title)).collect();
        styled(self.side_by_side(&titles, look), TITLES_STYLE, look)
    }

    /// One row; the cells hold no control character. What makes it too wide is cut.
    pub(super) fn row(&self, tone: Tone, cells: &[String], look: Look) -> String {
        styled(self.side_by_side(cells, look), tone.style(), look)
    }

    fn side_by_side<C: AsRef<str>>(&self, cells: &[C], look: Look) -> String {
        let mut line =
            String::with_capacity(cells.iter().map(|cell| cell.as_ref().len()).sum::<usize>() + total_of(&self.widths));
        for ((cell, title), &width) in cells.iter().zip(&self.titles).zip(&self.widths) {
            let is_cut = look.width.is_some() && may_be_cut(title);
            let cell = if is_cut { cut_cell(cell.as_ref(), width, title, look) } else { cell.as_ref().into() };
            let fill = width.saturating_sub(width_of(&cell));
            let (before, after) = if title.starts_with('>') { (fill, GAP) } else { (0, fill + GAP) };
            pad(&mut line, before);
            line.push_str(&cell);
            pad(&mut line, after);
        }
        line
    }
}

/// Appends so many spaces.
fn pad(line: &mut String, mut count: usize) {
    const SPACES: &str = "                                ";
    while count > 0 {
        let piece = count.min(SPACES.len());
        line.push_str(&SPACES[..piece]);
        count -= piece;
    }
}

/// How many columns of the terminal a text takes.
pub(super) fn width_of(text: &str) -> usize {
    // Nearly all texts are printable ASCII, where nothing has to be looked up, and hashes are, up to where they are cut.
    let (plain, cut) = text.strip_suffix('…').map_or((text, 0), |plain| (plain, 1));
    let is_plain = plain.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~'));
    if is_plain { plain.len() + cut } else { measure_text_width(text) }
}

/// The graphic rendition (ECMA-48) of the line of titles.
const TITLES_STYLE: &str = "1";

/// A line, cut at the width of the terminal, with its end.
fn styled(mut line: String, style: &str, look: Look) -> String {
    line.truncate(line.trim_end().len());
    if let Cow::Owned(clipped) = clip(&line, look) {
        line = clipped;
    }
    if look.colour && !style.is_empty() {
        return format!("\x1b[{style}m{line}\x1b[0m\n");
    }
    line.push('\n');
    line
}

fn shown_title(title: &str) -> &str {
    title.trim_start_matches(['>', '~', '/'])
}

fn may_be_cut(title: &str) -> bool {
    title.starts_with(['~', '/'])
}

fn is_path(title: &str) -> bool {
    title.starts_with('/')
}

/// How wide a row is.
fn total_of(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + widths.len().saturating_sub(1) * GAP
}

/// Where the directories of a path end: at the slash before its last component, which is a directory itself if a slash ends it.
fn directories(path: &str) -> Option<usize> {
    path.strip_suffix('/').unwrap_or(path).rfind('/').filter(|end| *end > 0)
}

/// How wide a path is if its directories are left out, as far as that makes it shorter.
pub(super) fn width_without_directories(path: &str, look: Look) -> usize {
    match directories(path) {
        Some(end) => width_of(path).min(width_of(look.ellipsis()) + width_of(&path[end..])),
        None => width_of(path),
    }
}

/// How much of a cut text may be its end, in quarters, the best first: both ends of a name or path say more than its middle.
const TAIL_QUARTERS: [usize; 3] = [2, 3, 4];

/// The cells of a column, cut to a width so that different cells stay different if possible.
fn cut_column<'a>(cells: &[&'a str], width_max: usize, title: &str, look: Look) -> Vec<Cow<'a, str>> {
    let mut shown: Vec<Cow<'a, str>> = cells.iter().map(|cell| cut_cell(cell, width_max, title, look)).collect();
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

/// A cell of the column with this title, cut.
fn cut_cell<'a>(text: &'a str, width_max: usize, title: &str, look: Look) -> Cow<'a, str> {
    if is_path(title) { cut_path(text, width_max, look) } else { cut(text, width_max, look) }
}

/// A path without so many of its first directories that it takes at most so many columns. Its last component is cut if that
/// is too long alone.
pub(super) fn cut_path(text: &str, width_max: usize, look: Look) -> Cow<'_, str> {
    let Some(end) = directories(text).filter(|_| width_of(text) > width_max) else { return cut(text, width_max, look) };
    let room = width_max.saturating_sub(width_of(look.ellipsis()));
    let slashes = text.match_indices('/').map(|(at, _)| at).filter(|at| (1..=end).contains(at));
    match slashes.map(|at| &text[at..]).find(|rest| width_of(rest) <= room) {
        Some(rest) => format!("{}{rest}", look.ellipsis()).into(),
        None => cut(&text[end + 1..], width_max, look),
    }
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
mod tests;

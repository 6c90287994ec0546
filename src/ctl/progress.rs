//! Progress on the standard error: on a terminal a line or a bar that is redrawn in place, elsewhere only lines that stay.

use super::output;
use super::table::{Look, cut_path, width_of, width_without_directories};
use super::text::{count, or_unknown, size, span};
use super::wording::Remark;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// A line of text: the first form that fits a terminal, with the columns that it takes at least.
const LINE: [(usize, &str); 2] = [(2, "{spinner} {wide_msg}"), (1, "{spinner}")];

/// A share of a known number of bytes, in the same way; the first form is for a line that has room for the bar.
const BAR: [(usize, &str); 4] = [
    (20, "[{bar:12}] {percent:>3}% {wide_msg}"),
    (5, "{percent:>3}% {wide_msg}"),
    (4, "{percent:>3}%"),
    (1, "{spinner}"),
];

/// Rows of a terminal that the lines of single transfers leave to the total, the cursor and what was there before.
const ROWS_LEFT: usize = 4;

/// How a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Bytes that are there.
    pub(super) done: u64,
    /// Of so many; `None` when some size is unknown, of which no share can be told.
    pub(super) total: Option<u64>,
    /// Bytes a second; 0 when nothing comes.
    pub(super) rate: u64,
    /// What is there was checked against a hash.
    pub(super) verified: bool,
    /// Those that send.
    pub(super) sources: u64,
    /// What stands before the name, with the blanks between them: its state, or how many are done. No control character.
    pub(super) what: String,
    /// Empty for several together; no control character.
    pub(super) name: String,
}

/// A progress line, and above it those of single transfers, removed when this is dropped.
pub(super) struct Progress {
    /// `None` where the standard error is no terminal, or one that cannot redraw a line.
    bar: Option<ProgressBar>,
    each: Option<Each>,
    is_silent: bool,
}

/// The bars of single transfers, by the number of each.
struct Each {
    all: MultiProgress,
    bars: BTreeMap<u32, ProgressBar>,
}

impl Progress {
    /// Begins with an empty line.
    pub(super) fn new() -> Self {
        let bar = target().map(|target| ProgressBar::with_draw_target(None, target).with_style(style(&LINE)));
        Self { bar, each: None, is_silent: false }
    }

    /// As [`new`](Self::new), with room for the lines of several transfers.
    pub(super) fn of_several() -> Self {
        let Some(target) = target() else { return Self::new() };
        let all = MultiProgress::with_draw_target(target);
        let bar = all.add(ProgressBar::no_length().with_style(style(&LINE)));
        Self { bar: Some(bar), each: Some(Each { all, bars: BTreeMap::new() }), is_silent: false }
    }

    /// Shows nothing, now or later.
    pub(super) fn silent() -> Self {
        Self { bar: None, each: None, is_silent: true }
    }

    /// Shows a text, which the next one replaces. The text holds no control character.
    pub(super) fn say(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        }
    }

    pub(super) fn advance(&self, standing: Standing) {
        if let Some(bar) = &self.bar {
            draw(bar, &standing);
        }
    }

    /// Whether single transfers have lines of their own.
    pub(super) fn shows_each(&self) -> bool {
        self.each.is_some()
    }

    /// These transfers are in progress, and no others. Those without room on the terminal have no line.
    pub(super) fn advance_each(&mut self, transfers: impl Iterator<Item = (u32, Standing)>) {
        let (Some(each), Some(total)) = (&mut self.each, &self.bar) else { return };
        let room = output::error_rows().map_or(0, |rows| rows.saturating_sub(ROWS_LEFT));
        let shown: BTreeMap<u32, Standing> = transfers.take(room).collect();
        each.bars.retain(|id, bar| {
            let stays = shown.contains_key(id);
            if !stays {
                bar.finish_and_clear();
                each.all.remove(bar);
            }
            stays
        });
        for (id, standing) in shown {
            let new = || each.all.insert_before(total, ProgressBar::no_length());
            draw(each.bars.entry(id).or_insert_with(new), &standing);
        }
    }

    /// Runs something that writes to the terminal while the progress line is hidden.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match (&self.each, &self.bar) {
            (Some(each), _) => each.all.suspend(write),
            (None, Some(bar)) => bar.suspend(write),
            (None, None) => write(),
        }
    }

    /// A line that stays.
    pub(super) fn remark(&self, text: &Remark) {
        if !self.is_silent {
            self.aside(|| output::remark(text));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let single = self.each.iter().flat_map(|each| each.bars.values());
        single.chain(&self.bar).for_each(ProgressBar::finish_and_clear);
    }
}

/// The standard error, if lines can be drawn there. On a terminal that cannot redraw a line, nothing is drawn, and lines that
/// stay would be lost with it.
fn target() -> Option<ProgressDrawTarget> {
    let target = ProgressDrawTarget::stderr();
    (std::io::stderr().is_terminal() && !target.is_hidden()).then_some(target)
}

fn draw(bar: &ProgressBar, standing: &Standing) {
    let look = Look { colour: false, width: output::error_columns(), ascii: output::is_ascii_locale() };
    // Sizes become known, and of several downloads another may be unknown: the style is chosen again each time.
    let (form, message) = standing.fitted(look);
    // The message first: each of these calls redraws, and the old message may not fit the new form.
    bar.set_message(message);
    bar.set_style(style(form));
    match standing.total {
        Some(total) => bar.set_length(total),
        None => bar.unset_length(),
    }
    bar.set_position(standing.done);
    bar.tick();
}

fn style(forms: &[(usize, &'static str)]) -> ProgressStyle {
    let columns = output::error_columns().unwrap_or(usize::MAX);
    let template = forms.iter().find(|(columns_min, _)| *columns_min <= columns).map_or("", |(_, template)| template);
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.progress_chars("=> ");
    if output::is_ascii_locale() { style.tick_chars("-\\|/ ") } else { style }
}

impl Standing {
    /// The forms of a line from that on which leaves room for the name, and the message in it. On a narrow terminal, the bar goes
    /// first, then figures, the least useful first; what is cut at last is the name, which keeps its end.
    fn fitted(&self, look: Look) -> (&'static [(usize, &'static str)], String) {
        let forms: &[&'static [_]] = if self.total.is_some() { &[&BAR, &BAR[1..]] } else { &[&LINE] };
        let Some(columns) = look.width else { return (forms[0], self.line(&self.figures(), &self.name)) };
        let name_wanted = width_without_directories(&self.name, look).min(columns * 2 / 5);
        let all_figures = self.figures();
        let narrowest = forms[forms.len() - 1];
        let with_fewer = (0..all_figures.len()).rev().map(|count| (narrowest, &all_figures[..count]));
        for (form, figures) in forms.iter().map(|form| (*form, &all_figures[..])).chain(with_fewer) {
            let room = columns.checked_sub(form[0].0 + width_of(&self.line(figures, "")));
            if let Some(room) = room.filter(|room| *room >= name_wanted) {
                return (form, self.line(figures, &cut_path(&self.name, room, look)));
            }
        }
        let room = columns.saturating_sub(narrowest[0].0 + width_of(&self.what));
        (narrowest, self.line(&[], &cut_path(&self.name, room, look)))
    }

    /// What is there of what, how fast, how long it will take, and from how many: the most useful first.
    fn figures(&self) -> Vec<String> {
        let verified = if self.verified { " verified" } else { "" };
        let mut figures = vec![format!("{}/{}{verified}", size(self.done), or_unknown(self.total, size))];
        if self.rate > 0 {
            figures.push(format!("{}/s", size(self.rate)));
        }
        if let Some(left) = self.total.and_then(|total| total.saturating_sub(self.done).checked_div(self.rate)) {
            figures.push(span(left));
        }
        if self.sources > 0 {
            figures.push(count(self.sources, "source"));
        }
        figures
    }

    /// `2.0 MiB/10.0 MiB verified 6.7 MiB/s 1 s 3 sources  a.iso`.
    fn line(&self, figures: &[String], name: &str) -> String {
        let gap = if figures.is_empty() { "" } else { "  " };
        format!("{}{gap}{}{name}", figures.join(" "), self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn nothing() -> Standing {
        let (done, name) = (2 * MIB, "a".into());
        Standing { done, total: None, rate: 0, verified: false, sources: 0, what: String::new(), name }
    }

    #[test]
    fn the_standing_of_a_transfer_says_no_more_than_is_known() {
        let nothing = nothing();
        let known = Standing { total: Some(10 * MIB), ..nothing.clone() };
        let shown = |standing: &Standing| standing.fitted(Look::default()).1;
        assert_eq!(shown(&nothing), "2.0 MiB/-  a");
        assert_eq!(shown(&known), "2.0 MiB/10.0 MiB  a");
        assert_eq!(shown(&Standing { rate: MIB, sources: 1, ..nothing }), "2.0 MiB/- 1.0 MiB/s 1 source  a");
        assert_eq!(
            shown(&Standing { rate: MIB, sources: 3, verified: true, ..known.clone() }),
            "2.0 MiB/10.0 MiB verified 1.0 MiB/s 8 s 3 sources  a"
        );
        assert_eq!(shown(&Standing { done: 9, total: Some(5), rate: 1, ..known }), "9 B/5 B 1 B/s 0 s  a");
    }

    #[test]
    fn a_narrow_line_keeps_the_end_of_the_name_and_loses_the_bar_first() {
        let name = "music/abbey road/01 come together.ogg".to_owned();
        let total = Some(10 * MIB);
        let standing = Standing { total, rate: MIB, sources: 3, verified: true, name, ..nothing() };
        let shown = |width: usize| {
            let (forms, message) = standing.fitted(Look { width: Some(width), ..Look::default() });
            assert!(width_of(&message) + forms[0].0 <= width, "{width}: {message}");
            assert!(message.ends_with(".ogg"), "{width}: {message}");
            (forms.len() == BAR.len(), message)
        };
        let all = "2.0 MiB/10.0 MiB verified 1.0 MiB/s 8 s 3 sources  ";
        assert_eq!(shown(120), (true, format!("{all}music/abbey road/01 come together.ogg")));
        assert_eq!(shown(80), (false, format!("{all}…/01 come together.ogg")));
        assert_eq!(shown(60), (false, "2.0 MiB/10.0 MiB verified  …/01 come together.ogg".into()));
        assert_eq!(shown(30), (false, "…/01 come together.ogg".into()));
        assert_eq!(shown(20), (false, "01 come…her.ogg".into()));
        (15..130).for_each(|width| drop(shown(width)));
        let several = Standing { what: "0 of 2 finished".into(), name: String::new(), ..standing.clone() };
        assert!(several.fitted(Look { width: Some(60), ..Look::default() }).1.ends_with("  0 of 2 finished"));
    }
}

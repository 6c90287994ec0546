//! What the user sees on the standard error while something goes on: on a terminal one line redrawn in place, or a bar;
//! elsewhere nothing but lasting lines.

use super::output;
use super::text::{size, span};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// Something goes on, as long as this lives.
pub(super) struct Progress {
    /// `None` where the standard error is no terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A line that says what goes on.
    pub(super) fn line() -> Self {
        Self::new("{spinner} {wide_msg}")
    }

    /// A bar of bytes.
    pub(super) fn bar() -> Self {
        Self::new("[{bar:30}] {percent:>3}% {wide_msg}")
    }

    fn new(template: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style.progress_chars("=> "))
        });
        Self { bar }
    }

    /// Says how it stands; gone with the next such line. The text holds no control character.
    pub(super) fn say(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        }
    }

    /// Moves the bar; `total` is `None` when some size is unknown.
    pub(super) fn advance(&self, done: u64, total: Option<u64>, rate: u64, what: &str) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(total.unwrap_or(0));
        bar.set_position(if total.is_some() { done } else { 0 });
        let left = total.map(|total| total.saturating_sub(done)).and_then(|left| left.checked_div(rate));
        let left = left.map(|left| format!(", {} left", span(left))).unwrap_or_default();
        let total = total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
        self.say(format!("{}{total}, {}/s{left}  {what}", size(done), size(rate)));
    }

    /// A line that stays.
    pub(super) fn remark(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::remark(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

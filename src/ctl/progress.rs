//! What the user sees on the standard error while something goes on: on a terminal one line redrawn in place, or a bar;
//! elsewhere nothing but lasting lines.

use super::output;
use super::text::{or_unknown, size, span};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A line that says what goes on.
const LINE: &str = "{spinner} {wide_msg}";

/// A share of a known number of bytes.
const BAR: &str = "[{bar:20}] {percent:>3}% {wide_msg}";

/// Something goes on, as long as this lives.
pub(super) struct Progress {
    /// `None` where the standard error is no terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins with nothing to say yet.
    pub(super) fn new() -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style(LINE)));
        Self { bar }
    }

    /// Says how it stands; gone with the next such line. The text holds no control character.
    pub(super) fn say(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        }
    }

    /// Moves the bar; `total` is `None` when some size is unknown, of which no share can be told, `rate` 0 when nothing
    /// comes.
    pub(super) fn advance(&self, done: u64, total: Option<u64>, rate: u64, what: &str) {
        let Some(bar) = &self.bar else { return };
        // Sizes become known, and of several downloads another may be unknown: the style is chosen anew each time.
        match total {
            Some(total) => {
                bar.set_style(style(BAR));
                bar.set_length(total);
            }
            None => {
                bar.set_style(style(LINE));
                bar.unset_length();
            }
        }
        bar.set_position(done);
        self.say(standing(done, total, rate, what));
    }

    /// Does what writes to the terminal, with nothing of this in its way.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
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

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// `2.0 MiB/10.0 MiB 6.7 MiB/s 1s  a.iso`: what is there of what, how fast, how long it will take.
fn standing(done: u64, total: Option<u64>, rate: u64, what: &str) -> String {
    let mut text = format!("{}/{}", size(done), or_unknown(total, size));
    if rate > 0 {
        text += &format!(" {}/s", size(rate));
    }
    if let Some(left) = total.and_then(|total| total.saturating_sub(done).checked_div(rate)) {
        text += &format!(" {}", span(left));
    }
    format!("{text}  {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standing_of_a_transfer_says_no_more_than_is_known() {
        let mib = 1 << 20;
        assert_eq!(standing(2 * mib, Some(10 * mib), mib, "a"), "2.0 MiB/10.0 MiB 1.0 MiB/s 8s  a");
        assert_eq!(standing(2 * mib, Some(10 * mib), 0, "a"), "2.0 MiB/10.0 MiB  a");
        assert_eq!(standing(2 * mib, None, mib, "a"), "2.0 MiB/- 1.0 MiB/s  a");
        assert_eq!(standing(9, Some(5), 1, "a"), "9 B/5 B 1 B/s 0s  a");
    }
}

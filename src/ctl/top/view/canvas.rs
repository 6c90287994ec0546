//! Lines of text in an area, cut at its end. Nothing is drawn outside an area, however small it is.

use crate::ctl::table::{Look, Tone};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;
use ratatui::widgets::{Sparkline, Widget};

/// Bars where the locale has ASCII alone.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "+",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: "-",
    one_eighth: "_",
    empty: " ",
};

pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    look: Look,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, look: Look) -> Self {
        Self { buffer, look }
    }

    /// How tables for this area look: in one colour, since that of rows is a style here.
    pub(super) fn look(&self, area: Rect) -> Look {
        Look { colour: false, width: Some(usize::from(area.width)), ascii: self.look.ascii }
    }

    /// A plain line, so many below the first.
    pub(super) fn line(&mut self, area: Rect, below: u16, text: &str) -> u16 {
        self.put(area, below, text, Style::new())
    }

    /// A line of what matters most, such as a question.
    pub(super) fn strong(&mut self, area: Rect, text: &str) {
        self.put(area, 0, text, Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED));
    }

    pub(super) fn faint(&mut self, area: Rect, text: &str) {
        self.put(area, 0, text, Style::new().add_modifier(Modifier::DIM));
    }

    /// The name of a pane. Tells how many columns it took.
    pub(super) fn title(&mut self, area: Rect, text: &str, is_selected: bool) -> u16 {
        let style = Style::new().add_modifier(Modifier::BOLD);
        self.put(area, 0, text, if is_selected { style.add_modifier(Modifier::REVERSED) } else { style })
    }

    pub(super) fn header(&mut self, area: Rect, text: &str) {
        self.put(area, 0, text, Style::new().add_modifier(Modifier::UNDERLINED));
    }

    /// A row of a table.
    pub(super) fn row(&mut self, area: Rect, below: u16, text: &str, tone: Tone, is_selected: bool) {
        let style = match tone {
            Tone::Good if self.look.colour => Style::new().fg(Color::Green),
            Tone::Bad if self.look.colour => Style::new().fg(Color::Red),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            Tone::Plain | Tone::Good | Tone::Bad => Style::new(),
        };
        if !is_selected {
            self.put(area, below, text, style);
            return;
        }
        // The bar goes through the whole line.
        let style = style.add_modifier(Modifier::REVERSED);
        if below < area.height {
            self.buffer.set_style(Rect { y: area.y + below, height: 1, ..area }, style);
        }
        self.put(area, below, text, style);
    }

    /// The end of a line that is too long for its area. Tells where it ends, which is where a cursor may stand.
    pub(super) fn end_of(&mut self, area: Rect, text: &str) -> Option<u16> {
        let width = usize::from(area.width.checked_sub(1)?);
        let mut shown = text;
        while console::measure_text_width(shown) > width {
            let mut chars = shown.chars();
            chars.next()?;
            shown = chars.as_str();
        }
        let used = self.line(area, 0, shown);
        (area.height > 0).then_some(area.x + used)
    }

    /// Values as bars, of which the highest is as high as the line.
    pub(super) fn bars(&mut self, area: Rect, values: Vec<u64>) {
        let area = area.intersection(self.buffer.area);
        if area.is_empty() {
            return;
        }
        let style = if self.look.colour { Style::new().fg(Color::Cyan) } else { Style::new() };
        let set = if self.look.ascii { ASCII_BARS } else { bar::NINE_LEVELS };
        // What is little but something is seen.
        let max = values.iter().copied().max().unwrap_or(0).max(1);
        let least = max.div_ceil(8);
        let seen: Vec<u64> = values.into_iter().map(|value| if value > 0 { value.max(least) } else { 0 }).collect();
        Sparkline::default().data(seen).max(max).bar_set(set).style(style).render(area, self.buffer);
    }

    fn put(&mut self, area: Rect, below: u16, text: &str, style: Style) -> u16 {
        let area = area.intersection(self.buffer.area);
        if below >= area.height || area.width == 0 {
            return 0;
        }
        let (end, _) = self.buffer.set_stringn(area.x, area.y + below, text, usize::from(area.width), style);
        end - area.x
    }
}

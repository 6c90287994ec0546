//! The model as people see it, in a frame of any size.
//!
//! | file | shows |
//! |---|---|
//! | `head` | the node, rates, turns of its loop |
//! | `panes` | the lists |
//! | `canvas` | lines of text in an area, and their styles |

mod canvas;
mod head;
mod panes;

use super::model::{Mode, Model, Pane};
use crate::ctl::table::Look;
use crate::ctl::text::name;
use crate::ctl::wrap::wrapped;
use canvas::Canvas;
use ratatui::Frame;
use ratatui::layout::Rect;
use std::time::Duration;

/// A screen of this size has room for all panes beside each other.
const WIDE: (u16, u16) = (140, 36);

/// Keys, and what they do. A screen of few lines cuts the last ones.
const KEYS: [(&str, &str); 13] = [
    ("q, Ctrl-C", "quit; downloads continue in the daemon"),
    ("Up, Down, k, j", "select a row"),
    ("PgUp, PgDn, Home, End", "further"),
    ("Tab, Shift-Tab", "next pane, previous pane"),
    ("p", "pause the selected transfer"),
    ("r", "resume it"),
    ("t", "try it again: all its sources are asked at once"),
    ("c", "cancel it and remove its data, after a question"),
    ("/", "search the network"),
    ("Enter", "in Hits: download the selected one"),
    ("Esc", "give up what is being typed; remove the last message"),
    ("Ctrl-L", "draw the screen again"),
    ("Ctrl-Z", "back to the shell; fg returns"),
];

/// Lines of what was told last, on a screen that has room for them.
const MESSAGE_LINES_MAX: u16 = 3;

/// How many lines the parts around the panes have.
struct Lines {
    head: u16,
    tabs: u16,
    message: u16,
    keys: u16,
}

impl Lines {
    fn of(height: u16) -> Self {
        match height {
            0..=2 => Self { head: 0, tabs: 0, message: 0, keys: 0 },
            3..=4 => Self { head: 1, tabs: 0, message: 0, keys: 0 },
            5..=9 => Self { head: 1, tabs: 1, message: 1, keys: 0 },
            10..=14 => Self { head: 2, tabs: 1, message: 1, keys: 1 },
            _ => Self { head: 4, tabs: 1, message: 1, keys: 1 },
        }
    }
}

/// Draws the model as it is at this time.
pub(super) fn draw(frame: &mut Frame, model: &Model, look: Look, now: Duration) {
    let area = frame.area();
    let canvas = &mut Canvas::new(frame.buffer_mut(), look);
    let mut lines = Lines::of(area.height);
    let told = model.remark.as_ref().filter(|_| matches!(model.mode, Mode::Watching | Mode::Help));
    let told = told.map(|remark| wrapped(remark, Some(usize::from(area.width))));
    if let (Some(told), 15..) = (&told, area.height) {
        lines.message = u16::try_from(told.lines().count()).unwrap_or(u16::MAX).clamp(lines.message, MESSAGE_LINES_MAX);
    }
    let (mut rest, above) = (area, |rest: &mut Rect, height: u16| {
        let part = Rect { height: height.min(rest.height), ..*rest };
        rest.y += part.height;
        rest.height -= part.height;
        part
    });
    let head = above(&mut rest, lines.head);
    let tabs = above(&mut rest, lines.tabs);
    let body_height = rest.height.saturating_sub(lines.message + lines.keys);
    let body = above(&mut rest, body_height);
    let message = above(&mut rest, lines.message);
    let keys = above(&mut rest, lines.keys);
    head::draw(canvas, head, model);
    draw_tabs(canvas, tabs, model);
    let is_wide = area.width >= WIDE.0 && area.height >= WIDE.1;
    match model.mode {
        Mode::Help => draw_help(canvas, body),
        _ if is_wide => draw_all(canvas, body, model, now),
        _ => panes::draw(canvas, body, model, model.pane, now),
    }
    let at = draw_message(canvas, message, model, told.as_deref().unwrap_or_default());
    draw_keys(canvas, keys, model);
    if let Some(x) = at {
        frame.set_cursor_position((x, message.y));
    }
}

/// Transfers and searches or hits at the left, uploads and peers at the right.
fn draw_all(canvas: &mut Canvas, area: Rect, model: &Model, now: Duration) {
    let left = Rect { width: area.width * 3 / 5, ..area };
    let right = Rect { x: area.x + left.width + 2, width: area.width - left.width - 2, ..area };
    let split = |area: Rect, upper: u16| {
        [Rect { height: upper, ..area }, Rect { y: area.y + upper, height: area.height - upper, ..area }]
    };
    let has_hits = model.ours.is_some() && model.pane != Pane::Searches;
    let [transfers, found] = split(left, area.height * 3 / 5);
    let [uploads, peers] = split(right, area.height / 2);
    let found_pane = if has_hits || model.pane == Pane::Hits { Pane::Hits } else { Pane::Searches };
    for (area, pane) in
        [(transfers, Pane::Transfers), (found, found_pane), (uploads, Pane::Uploads), (peers, Pane::Peers)]
    {
        canvas.title(area, &tab(model, pane), pane == model.pane);
        panes::draw(canvas, Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area }, model, pane, now);
    }
}

fn tab(model: &Model, pane: Pane) -> String {
    let title = match pane {
        Pane::Transfers => "Transfers",
        Pane::Uploads => "Uploads",
        Pane::Peers => "Peers",
        Pane::Searches => "Searches",
        Pane::Hits => "Hits",
    };
    format!("{title} {}", model.len(pane))
}

fn draw_tabs(canvas: &mut Canvas, area: Rect, model: &Model) {
    let mut rest = area;
    for pane in Pane::ALL {
        let used = canvas.title(rest, &format!(" {} ", tab(model, pane)), pane == model.pane);
        rest.x += used.min(rest.width);
        rest.width -= used.min(rest.width);
    }
}

fn draw_help(canvas: &mut Canvas, area: Rect) {
    for (line, (keys, meaning)) in (0..).zip(KEYS) {
        canvas.line(area, line, &format!("  {keys:<23}{meaning}"));
    }
}

/// The question, what is being typed, or what was told last. Tells where the cursor belongs, if anywhere.
fn draw_message(canvas: &mut Canvas, area: Rect, model: &Model, told: &str) -> Option<u16> {
    match &model.mode {
        Mode::Typing(text) => {
            let shown = format!("Search: {}", name(text.as_bytes()));
            return canvas.end_of(area, &shown);
        }
        Mode::Confirming(id) => {
            let named = model.transfers.get(*id).map_or_else(String::new, |row| name(row.name.as_bytes()));
            canvas.strong(area, &format!("Cancel {id} and remove its data? y/n  {named}"));
        }
        Mode::Watching | Mode::Help => {
            for (below, line) in (0..area.height).zip(told.lines()) {
                canvas.line(area, below, line);
            }
        }
    }
    None
}

fn draw_keys(canvas: &mut Canvas, area: Rect, model: &Model) {
    let keys = match (&model.mode, model.pane) {
        (Mode::Typing(_), _) => "Enter search  Esc give up",
        (Mode::Confirming(_), _) => "y cancel it  any other key: leave it",
        (Mode::Help, _) => "any key closes this",
        (Mode::Watching, Pane::Transfers) => "q quit  ? help  / search  Tab pane  p pause  r resume  t retry  c cancel",
        (Mode::Watching, Pane::Hits) => "q quit  ? help  / search  Tab pane  Enter download",
        (Mode::Watching, _) => "q quit  ? help  / search  Tab pane",
    };
    canvas.faint(area, keys);
}

#[cfg(test)]
mod tests;

//! What keys do.

use super::{Mode, Model, OurSearch, Pane};
use crate::control::DownloadState;
use crate::ctl::rows::Order;
use crate::ctl::top::keys::Key;
use crate::ctl::wording::Remark;

/// Rows that a page is.
const PAGE_ROWS: usize = 10;

/// The longest text of a search that can be typed, in bytes: what a peer takes.
const TEXT_BYTES_MAX: usize = 3_800;

/// What a key asks the loop to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ctl::top) enum Ask {
    Quit,
    /// Let the shell have the terminal.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// Search for a text; what the daemon answers is told with this number.
    Search {
        nth: u32,
        text: String,
    },
    Order(Order, u32),
    /// Fetch the hit of this id.
    Download(u32),
}

impl Model {
    pub(in crate::ctl::top) fn on_key(&mut self, key: Key) -> Option<Ask> {
        match key {
            Key::Control('c') => return Some(Ask::Quit),
            Key::Control('z') => return Some(Ask::Suspend),
            Key::Control('l') => return Some(Ask::Redraw),
            _ => {}
        }
        match std::mem::replace(&mut self.mode, Mode::Watching) {
            Mode::Watching => self.watching(key),
            Mode::Typing(text) => self.typing(text, key),
            Mode::Confirming(id) => (key == Key::Char('y')).then_some(Ask::Order(Order::Cancel, id)),
            // Any key closes it.
            Mode::Help => None,
        }
    }

    fn watching(&mut self, key: Key) -> Option<Ask> {
        match key {
            Key::Char('q') => return Some(Ask::Quit),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Typing(String::new()),
            Key::Tab => self.turn_to(1),
            Key::BackTab => self.turn_to(Pane::ALL.len() - 1),
            Key::Up | Key::Char('k') => self.select(|at| at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(|at| at + 1),
            Key::PageUp => self.select(|at| at.saturating_sub(PAGE_ROWS)),
            Key::PageDown => self.select(|at| at + PAGE_ROWS),
            Key::Home | Key::Char('g') => self.select(|_| 0),
            Key::End | Key::Char('G') => self.select(|_| usize::MAX),
            Key::Escape => self.remark = None,
            Key::Enter if self.pane == Pane::Hits => {
                let hit = self.ours.as_ref().and_then(|ours| ours.rows().nth(self.selected(Pane::Hits)));
                return hit.map(|hit| Ask::Download(hit.id));
            }
            Key::Char(order @ ('p' | 'r' | 't' | 'c')) if self.pane == Pane::Transfers => {
                let transfer = self.transfer()?;
                let (id, state) = (transfer.id, transfer.state);
                self.chosen = Some(id);
                match order {
                    'c' if matches!(state, DownloadState::Done | DownloadState::Cancelled) => {
                        self.remark = Some(Remark::NothingToCancel { download: id }.to_string());
                    }
                    'p' => return Some(Ask::Order(Order::Pause, id)),
                    'r' => return Some(Ask::Order(Order::Resume, id)),
                    't' => return Some(Ask::Order(Order::Retry, id)),
                    _ => self.mode = Mode::Confirming(id),
                }
            }
            Key::Char('p' | 'r' | 't' | 'c') => self.remark = Some(Remark::OnlyForTransfers.to_string()),
            _ => {}
        }
        None
    }

    fn typing(&mut self, mut text: String, key: Key) -> Option<Ask> {
        match key {
            Key::Escape => return None,
            Key::Enter if text.trim().is_empty() => return None,
            Key::Enter => {
                self.searches_begun += 1;
                let nth = self.searches_begun;
                self.ours = Some(OurSearch::new(nth, text.clone()));
                self.pane = Pane::Hits;
                self.selected[Pane::Hits as usize] = 0;
                self.remark = None;
                return Some(Ask::Search { nth, text });
            }
            Key::Char(c) | Key::Pasted(c) if text.len() + c.len_utf8() <= TEXT_BYTES_MAX => text.push(c),
            Key::Backspace => drop(text.pop()),
            Key::Control('u') => text.clear(),
            _ => {}
        }
        self.mode = Mode::Typing(text);
        None
    }

    fn turn_to(&mut self, further: usize) {
        self.pane = Pane::ALL[(self.pane as usize + further) % Pane::ALL.len()];
    }

    fn select(&mut self, to: impl FnOnce(usize) -> usize) {
        let last = self.len(self.pane).saturating_sub(1);
        let selected = to(self.selected(self.pane)).min(last);
        self.selected[self.pane as usize] = selected;
        if self.pane == Pane::Transfers {
            self.chosen = self.transfers.ids().get(selected).copied();
        }
    }
}

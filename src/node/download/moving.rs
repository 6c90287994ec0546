//! Moving a queued download: before the first, behind the last, or to the place of its neighbour, which gets its own. So at
//! most two records change.

use super::DownloadMachine;
use super::remembering::Outcome;
use super::state::Life;
use super::turn_order::QueueKey;
use crate::control::{IdForm, MoveTo, Problem};
use crate::node::cx::Cx;

impl DownloadMachine {
    /// Moves a queued download. It is in its new place when the node answers, and the answer waits for the disk.
    pub(in crate::node) fn call_move(&mut self, cx: &mut Cx, id: &str, to: MoveTo) -> Result<Outcome, Problem> {
        let ids = self.read_ids(id, IdForm::Whole, |row| matches!(row.life(), Life::Queued { .. }), |_| false)?;
        let [id] = ids[..] else { return Err(Problem::MoveOne) };
        if let Some(state) = self.directories.state(id) {
            return Err(Problem::NotQueued { id: id.0, state });
        }
        let Some(row) = self.downloads.get(id) else { return Err(Problem::MoveOne) };
        if !matches!(row.life(), Life::Queued { .. }) {
            return Err(Problem::NotQueued { id: id.0, state: row.state() });
        }
        let key = row.queue_key(id);
        let before = self.downloads.queued.keys().take_while(|other| *other != key).last();
        let behind = self.downloads.queued.keys().rev().take_while(|other| *other != key).last();
        match (to, before, behind) {
            (MoveTo::Top, Some(_), _) => {
                let first = self.downloads.queued.keys().map(|(_, place, _)| place).min().unwrap_or(0);
                self.place_download(cx, key, (0, first.saturating_sub(1)));
            }
            (MoveTo::Bottom, _, Some(_)) => {
                let last = self.downloads.queued.keys().next_back().map_or(0, |last| last.0);
                self.place_download(cx, key, (last, self.downloads.queued.place_behind()));
            }
            (MoveTo::Up, Some(other), _) => self.swap_places(cx, other, key),
            (MoveTo::Down, _, Some(other)) => self.swap_places(cx, key, other),
            // It is there already.
            _ => {}
        }
        self.start_downloads(cx);
        Ok(Outcome::Rows(vec![id]))
    }

    /// `first` is next to `second`, and goes behind it.
    fn swap_places(&mut self, cx: &mut Cx, first: QueueKey, second: QueueKey) {
        if first.0 != second.0 {
            self.place_download(cx, second, (first.0, first.1));
            return self.place_download(cx, first, (second.0, second.1));
        }
        let (before, behind) = (first.1.min(second.1), first.1.max(second.1));
        // Of two in one place the older one is next.
        let behind = if before == behind { behind.saturating_add(1) } else { behind };
        self.place_download(cx, second, (first.0, before));
        self.place_download(cx, first, (first.0, behind));
    }

    /// `to`: how often it counts as having stood back, and its place among those that have as often.
    fn place_download(&mut self, cx: &mut Cx, key: QueueKey, to: (u32, i64)) {
        self.downloads.set_place(key, to);
        self.remember_download(cx, key.2);
    }
}

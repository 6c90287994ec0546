//! The downloads of what wishes have found: which are to begin, and what has become of them.

use super::state::Wish;
use super::{Others, WishMachine};
use crate::id::TransferId;
use crate::node::contract::{FoundFile, FoundState};
use crate::node::cx::Cx;
use crate::node::limits::{ORDER_DOWNLOADS_PER_SLICE, WISH_ASK_SPACING, WISH_LOOK_AGAIN};
use crate::node::network::Net;
use std::collections::{BTreeMap, BTreeSet};

/// A wish, and which of the contents that it has found.
type Place = (TransferId, usize);

#[derive(Default)]
pub(super) struct Downloading {
    /// Downloads that were begun for wishes and are not done, with the contents for which they were. One that has failed may
    /// be tried again.
    begun: BTreeMap<TransferId, BTreeSet<Place>>,
    /// Those of these contents whose download has no record yet.
    awaited: BTreeSet<Place>,
}

impl Downloading {
    fn insert(&mut self, download: TransferId, place: Place) {
        self.begun.entry(download).or_default().insert(place);
    }

    fn remove(&mut self, download: TransferId) {
        for place in self.begun.remove(&download).unwrap_or_default() {
            self.awaited.remove(&place);
        }
    }

    /// A wish has ended.
    pub(super) fn forget(&mut self, wish: TransferId) {
        self.awaited.retain(|(of, _)| *of != wish);
        self.begun.retain(|_, places| {
            places.retain(|(of, _)| *of != wish);
            !places.is_empty()
        });
    }

    pub(super) fn check_invariants(&self) {
        let places: BTreeSet<Place> = self.begun.values().flatten().copied().collect();
        assert!(self.awaited.is_subset(&places), "each content that awaits a record has a download");
        assert_eq!(
            places.len(),
            self.begun.values().map(BTreeSet::len).sum::<usize>(),
            "each content has one download"
        );
    }
}

impl WishMachine {
    /// Begins the downloads of contents whose record is on the disk, some at a time. If one cannot begin, none can: they are
    /// tried again.
    pub(super) fn begin_wanted(&mut self, others: &mut Others) {
        let wants = |wish: &Wish| wish.download && wish.is_accepted && wish.is_durable() && !wish.is_ending;
        let (mut left, mut refusal) = (ORDER_DOWNLOADS_PER_SLICE, None);
        let mut changed = Vec::new();
        for (&id, wish) in self.wishes.iter_mut().filter(|(_, wish)| wants(wish)) {
            let is_wanted = |(_, file): &(usize, &mut FoundFile)| file.state == FoundState::Wanted;
            for (at, file) in wish.found.iter_mut().enumerate().filter(is_wanted) {
                if self.downloading.awaited.contains(&(id, at)) {
                    continue;
                }
                if refusal.is_none() && left > 0 {
                    left -= 1;
                    let mut net = Net { cx: others.cx, network: others.network };
                    match others.download.begin_wished(&mut net, others.search, file) {
                        Ok(download) => {
                            self.downloading.insert(download, (id, at));
                            if others.download.is_remembered(download) == Some(true) {
                                file.state = FoundState::Begun(download);
                                changed.push(id);
                            } else {
                                self.downloading.awaited.insert((id, at));
                            }
                        }
                        Err(problem) => refusal = Some(problem),
                    }
                }
                if refusal.is_some() {
                    wish.problem.clone_from(&refusal);
                    break;
                }
                if left == 0 {
                    break;
                }
            }
        }
        others.download.start_downloads(others.cx);
        changed.into_iter().for_each(|id| self.save_soon(others.cx, id));
        if refusal.is_some() {
            self.plan_at(others.cx, others.cx.now + WISH_LOOK_AGAIN);
        } else if left == 0 {
            self.plan_at(others.cx, others.cx.now + WISH_ASK_SPACING);
        }
    }

    /// Takes up the downloads of a wish of an earlier run: what became of them may have been recorded when that was not.
    pub(super) fn recall_downloads(&mut self, others: &mut Others, id: TransferId) {
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        let mut is_changed = false;
        for (at, file) in wish.found.iter_mut().enumerate() {
            let (FoundState::Begun(download) | FoundState::Failed(download)) = file.state else { continue };
            let state = match (others.download.state_for_wish(others.cx, download), file.state) {
                (Some(state), _) => state,
                // It is over, and the event of its end was forgotten.
                (None, FoundState::Begun(_)) => FoundState::Done(download),
                (None, state) => state,
            };
            is_changed |= std::mem::replace(&mut file.state, state) != state;
            if state != FoundState::Done(download) {
                self.downloading.insert(download, (id, at));
            }
        }
        if is_changed {
            self.save_soon(others.cx, id);
        }
    }

    /// The record of a download is on the disk or could not be written, or the download is over.
    pub(in crate::node) fn on_download_changed(&mut self, others: &mut Others, download: TransferId) {
        let Some(places) = self.downloading.begun.get(&download) else { return };
        if others.download.is_remembered(download) == Some(false) {
            return;
        }
        let is_awaited = places.iter().any(|place| self.downloading.awaited.contains(place));
        match others.download.state_for_wish(others.cx, download) {
            Some(state) => self.note_download(others.cx, download, state),
            None if is_awaited => {
                // It was refused, and is begun again.
                self.downloading.remove(download);
                self.plan_at(others.cx, others.cx.now + WISH_LOOK_AGAIN);
            }
            None => {}
        }
    }

    fn note_download(&mut self, cx: &mut Cx, download: TransferId, state: FoundState) {
        for (id, at) in self.downloading.begun.get(&download).cloned().unwrap_or_default() {
            self.downloading.awaited.remove(&(id, at));
            let wish = self.wishes.get_mut(&id).filter(|wish| !wish.is_ending);
            let Some(file) = wish.and_then(|wish| wish.found.get_mut(at)) else { continue };
            if std::mem::replace(&mut file.state, state) == state {
                continue;
            }
            self.save_soon(cx, id);
            if matches!(state, FoundState::Failed(_)) {
                // Another content may take its place.
                self.plan_asking(cx);
            }
        }
        if matches!(state, FoundState::Done(_)) {
            self.downloading.remove(download);
        }
    }
}

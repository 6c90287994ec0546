//! Downloads that bring next to nothing must not keep others waiting: as long as one waits, they do not count among those
//! that may be active. It does not matter whether their sources are slow, or the disk that they are saved to: on one that hangs their
//! part files are not even opened, or not finished.
//!
//! They go on, with nothing lost. There are never more of them than downloads that may be active: beyond, the one that has
//! crawled for longest waits behind those that have not.

use super::DownloadMachine;
use super::part::Pace;
use super::source::Fetch;
use super::state::{Download, Life};
use super::table::Downloads;
use crate::id::TransferId;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{PACE_CHECK, PACE_SPAN, USEFUL_RATE};
use crate::time::Instant;

impl Download {
    /// Since when it brings next to nothing, if it does.
    pub(super) fn crawls_since(&self) -> Option<Instant> {
        self.pace.as_ref()?.crawls_since
    }

    /// Looks at what has come. What our own limit holds back says nothing; while an order for the part file is unanswered,
    /// nothing comes.
    fn measure_pace(&mut self, now: Instant) {
        let received = self.received;
        let is_limited = self.busy().any(|(_, fetch): (usize, &Fetch)| fetch.is_limited(now));
        let may_grow = self.open().is_some() || self.part().is_busy();
        let Some(pace) = self.pace.as_mut().filter(|_| may_grow) else { return };
        if is_limited {
            *pace = Pace::begin(now, received);
            return;
        }
        let span = now.saturating_since(pace.since);
        if span < PACE_SPAN {
            return;
        }
        let is_useful = received.saturating_sub(pace.received) >= USEFUL_RATE.saturating_mul(span.as_secs());
        if is_useful {
            *pace = Pace::begin(now, received);
            self.stood_back = 0;
        } else {
            *pace = Pace { since: now, received, crawls_since: pace.crawls_since.or(Some(now)) };
        }
    }
}

impl Downloads {
    /// Whether one more download may become active.
    pub(super) fn has_place(&self, cx: &Cx) -> bool {
        let most = Self::active_max(cx);
        self.active().saturating_sub(self.crawling().count().min(most)) < most
    }

    /// The active downloads that bring next to nothing.
    fn crawling(&self) -> impl Iterator<Item = (Instant, TransferId)> {
        self.active_ids().into_iter().filter_map(|id| Some((self.get(id)?.crawls_since()?, id)))
    }
}

impl DownloadMachine {
    /// A download waits for a place: those that have one are looked at from time to time.
    pub(super) fn watch_pace(&mut self, cx: &mut Cx) {
        if !std::mem::replace(&mut self.downloads.pace_is_watched, true) {
            cx.wheel.insert(cx.now + PACE_CHECK, NodeTimer::Pace);
        }
    }

    pub(in crate::node) fn on_pace_timer(&mut self, cx: &mut Cx) {
        self.downloads.pace_is_watched = false;
        if self.next_in_queue().is_none() {
            return;
        }
        for id in self.downloads.active_ids() {
            let Some(download) = self.downloads.get_mut(id) else { continue };
            let before = download.crawls_since();
            download.measure_pace(cx.now);
            if before.is_none() && download.crawls_since().is_some() {
                cx.counters.limited.downloads_crawling += 1;
            }
        }
        let most = Downloads::active_max(cx);
        let mut crawling: Vec<_> = self.downloads.crawling().collect();
        crawling.sort_unstable();
        let surplus = crawling.len().saturating_sub(most);
        // Of one that is verified all is there: what its check has read would be read again.
        let may_go = |id: &TransferId| self.downloads.get(*id).is_some_and(|download| !download.is_verifying());
        let going: Vec<TransferId> = crawling.into_iter().map(|(_, id)| id).filter(may_go).take(surplus).collect();
        for id in going {
            let Some(download) = self.downloads.get_mut(id) else { continue };
            download.stood_back = download.stood_back.saturating_add(1);
            self.set_life(cx, id, Life::Queued { waited: None });
        }
        self.start_downloads(cx);
    }
}

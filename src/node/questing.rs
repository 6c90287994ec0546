//! When a download looks for further sources: at its beginning if it has few, from time to time while it runs, and when
//! all that it has have failed.

use super::Node;
use super::download::{Aim, Download, State};
use super::limits::{SEEK_MAX, SEEK_MIN, SEEK_WAIT, SOURCES_ENOUGH};
use super::sources::Source;
use crate::id::TransferId;
use crate::time::Instant;

impl Node {
    /// A content is looked for as soon as it begins, and then from time to time.
    pub(super) fn seek_if_due(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.seek.next.is_none() && download.aim != Aim::Name {
            let few = download.sources.len() < SOURCES_ENOUGH;
            download.seek.next = Some(if few { now } else { now + SEEK_MIN });
        }
        if download.seek.next.is_some_and(|at| at <= now) {
            self.seek(now, id);
        }
    }

    /// All sources have failed for now: others are looked for, a name as well as a content.
    pub(super) fn seek_after_failure(&mut self, now: Instant, id: TransferId) {
        if self.downloads.get(id).is_some_and(|row| row.seek.next.is_none_or(|at| at <= now)) {
            self.seek(now, id);
        }
    }

    /// No source is left: when the search for others will have been answered; `None` if it was, or nobody is there to
    /// ask.
    pub(super) fn seek_before_the_end(&mut self, now: Instant, id: TransferId) -> Option<Instant> {
        let sought_at = self.downloads.get(id)?.seek.sought_at;
        match sought_at {
            Some(at) if now.saturating_since(at) < SEEK_MIN => Some(at + SEEK_WAIT).filter(|until| *until > now),
            _ => (self.seek(now, id) > 0).then_some(now + SEEK_WAIT),
        }
    }

    /// Asks the network once: for the content, or for the exact name. Of a content that nobody gives, now the one and now
    /// the other, since an old peer knows its files by name alone. Says how many neighbours were asked.
    fn seek(&mut self, now: Instant, id: TransferId) -> u32 {
        let Some(download) = self.downloads.get_mut(id) else { return 0 };
        let by_name = download.name.as_bytes().into();
        let text = match download.aim.b3() {
            Some(b3) if !download.seek.by_name => format!("b3={b3}").into_bytes().into(),
            _ => by_name,
        };
        let idle = download.busy().next().is_none();
        download.seek.by_name = idle && !download.seek.by_name;
        download.seek.sought_at = Some(now);
        download.seek.next = Some(now + download.seek.wait);
        download.seek.wait = (download.seek.wait * 2).min(SEEK_MAX);
        self.seek_sources(now, id, text)
    }

    /// A rest is over: back into the queue, if there is anybody to ask.
    pub(super) fn on_retry_timer(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        if !matches!(download.state(), State::Retrying { .. }) {
            return;
        }
        // A rest after a fault of the disk is none of the sources'.
        let all_lost = |row: &Download| row.sources.iter().all(Source::is_lost);
        if all_lost(download) { self.give_up(now, id) } else { self.requeue_download(now, id) }
    }
}

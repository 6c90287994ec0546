//! When a download looks for further sources: at its beginning if it has few, from time to time while it runs, and when
//! all that it has have failed.

use super::Node;
use super::download::{Aim, Download, State};
use super::limits::{SEEK_AGAIN, SEEK_MAX, SEEK_MIN, SEEK_WAIT, SOURCES_ENOUGH};
use super::sources::Source;
use crate::id::{ContentHash, TransferId};
use crate::time::Instant;

impl Node {
    /// A content is looked for as soon as it begins, and then from time to time.
    pub(super) fn seek_if_due(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.seek.next.is_none() && download.aim != Aim::Name {
            let few = download.sources.len() < SOURCES_ENOUGH;
            download.seek.next = Some(if few { now } else { now + SEEK_MIN });
        }
        if download.seek.next.is_none_or(|at| at > now) {
            return;
        }
        // Where all fail, whoever has the name may help.
        if download.sources.iter().all(|source| source.failures > 0) {
            self.seek_either(now, id);
        } else {
            let b3 = download.aim.b3();
            self.seek(now, id, b3);
        }
    }

    /// All sources have failed for now: others are looked for, a name as well as a content.
    pub(super) fn seek_after_failure(&mut self, now: Instant, id: TransferId) {
        if self.downloads.get(id).is_some_and(|row| row.seek.next.is_none_or(|at| at <= now)) {
            self.seek_either(now, id);
        }
    }

    /// No source is left: when the search for others will have been answered; `None` if it was, or nobody is there to
    /// ask.
    pub(super) fn seek_before_the_end(&mut self, now: Instant, id: TransferId) -> Option<Instant> {
        let sought_at = self.downloads.get(id)?.seek.sought_at;
        match sought_at {
            Some(at) if now.saturating_since(at) < SEEK_MIN => Some(at + SEEK_WAIT).filter(|until| *until > now),
            _ => (self.seek_either(now, id) > 0).then_some(now + SEEK_WAIT),
        }
    }

    /// Looks for a content that nobody gives now by its hash and now by its name, since an old peer knows its files by
    /// name alone. Says how many neighbours were asked.
    fn seek_either(&mut self, now: Instant, id: TransferId) -> u32 {
        let Some(download) = self.downloads.get_mut(id) else { return 0 };
        let b3 = download.aim.b3().filter(|_| !download.seek.by_name);
        download.seek.by_name = !download.seek.by_name;
        self.seek(now, id, b3)
    }

    /// Asks the network once, for this content or for the exact name. Says how many neighbours were asked.
    fn seek(&mut self, now: Instant, id: TransferId, b3: Option<ContentHash>) -> u32 {
        let Some(download) = self.downloads.get_mut(id) else { return 0 };
        let text = match b3 {
            Some(b3) => format!("b3={b3}").into_bytes().into(),
            None => download.name.as_bytes().into(),
        };
        download.seek.sought_at = Some(now);
        let asked = self.seek_sources(now, id, text);
        let Some(download) = self.downloads.get_mut(id) else { return asked };
        let wait = if asked > 0 { download.seek.wait } else { SEEK_AGAIN };
        download.seek.next = Some(now + wait);
        if asked > 0 {
            download.seek.wait = (wait * 2).min(SEEK_MAX);
        }
        asked
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

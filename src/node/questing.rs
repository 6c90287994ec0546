//! When a download looks for further sources: at its beginning if it has few, from time to time while it runs, and when
//! all that it has have failed.

use super::Node;
use super::download::{Aim, Download, State};
use super::limits::{
    SEEK_AGAIN, SEEK_MAX, SEEK_MIN, SEEK_NEWCOMERS_DOWNLOADS_MAX, SEEK_NEWCOMERS_MIN, SEEK_REFUSED_MIN, SEEK_STUCK_MIN,
    SEEK_WAIT, SOURCE_REST_MAX, SOURCE_REST_MIN, SOURCES_ENOUGH,
};
use super::sources::{Source, Standing};
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
        if download.seek.next.is_none_or(|at| at > now) {
            return;
        }
        self.seek(now, id);
    }

    /// All sources have failed for now: others are looked for, a name as well as a content; at once, if this is the first
    /// time since something came.
    pub(super) fn seek_after_failure(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_named = download.aim == Aim::Name;
        let seek = &mut download.seek;
        let lately = seek.sought_at.is_some_and(|at| now.saturating_since(at) < SEEK_REFUSED_MIN);
        let first = !std::mem::replace(&mut seek.by_name, true);
        if first && lately && !is_named {
            return self.seek_soon(now, id);
        }
        if first || download.seek.next.is_none_or(|at| at <= now) {
            self.seek(now, id);
        }
    }

    /// A source gives the content under none of the names that are known: it may have it under another by now, and so may
    /// others.
    pub(super) fn seek_soon(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.aim != Aim::Name) else { return };
        let seek = &mut download.seek;
        // The more searches have brought nothing to ask, the less another is worth.
        let wait = SEEK_REFUSED_MIN.saturating_mul(1 << seek.stuck.min(8)).min(SEEK_MIN);
        let soon = seek.sought_at.map_or(now, |at| now.max(at + wait));
        seek.next = Some(seek.next.map_or(soon, |next| next.min(soon)));
    }

    /// No source can be asked: looks for others if it is time to. When the next look is due, which is within the bounds of
    /// the other waits; `None` if only a name is known.
    pub(super) fn seek_while_stuck(&mut self, now: Instant, id: TransferId) -> Option<Instant> {
        self.downloads.get(id)?.aim.b3()?;
        self.seek_after_failure(now, id);
        let next = &mut self.downloads.get_mut(id)?.seek.next;
        // It may have been planned while there were sources to ask.
        *next = next.map(|at| at.min(now + SOURCE_REST_MAX));
        next.map(|at| at.max(now + SOURCE_REST_MIN))
    }

    /// No source is left: when the search for others will have been answered; `None` if it was, or nobody is there to
    /// ask.
    pub(super) fn seek_before_the_end(&mut self, now: Instant, id: TransferId) -> Option<Instant> {
        let seek = &mut self.downloads.get_mut(id)?.seek;
        let by_name = std::mem::replace(&mut seek.by_name, true);
        match seek.sought_at {
            Some(at) if by_name && now.saturating_since(at) < SEEK_MIN => {
                Some(at + SEEK_WAIT).filter(|until| *until > now)
            }
            _ => (self.seek(now, id) > 0).then_some(now + SEEK_WAIT),
        }
    }

    /// Who has lied must not make a download fail: others are looked for, from time to time. When the next search is due;
    /// `None` if no source has lied.
    pub(super) fn seek_despite_liars(&mut self, now: Instant, id: TransferId) -> Option<Instant> {
        let download = self.downloads.get(id)?;
        let has_liars = download.sources.iter().any(|source| matches!(source.standing, Standing::Corrupt));
        if !has_liars && !download.has_left_out() {
            return None;
        }
        if download.seek.next.is_none_or(|at| at <= now) {
            self.seek(now, id);
        }
        let next = self.downloads.get(id)?.seek.next;
        Some(next.unwrap_or(now).max(now + SOURCE_REST_MIN))
    }

    /// A list named peers for the first time: downloads that wait for a source look for one again, those first that have
    /// looked longest ago. One that has looked a moment ago waits until `SEEK_NEWCOMERS_MIN` is over.
    pub(super) fn seek_among_newcomers(&mut self, now: Instant) {
        if self.peers.newcomers().is_empty() {
            return;
        }
        let waits = |row: &Download| matches!(row.state(), State::Retrying { .. });
        let waiting = self.downloads.iter().filter(|(_, row)| waits(row));
        let mut waiting: Vec<_> = waiting.map(|(id, row)| (row.seek.sought_at, id)).collect();
        waiting.sort_unstable();
        for (sought_at, id) in waiting.into_iter().take(SEEK_NEWCOMERS_DOWNLOADS_MAX) {
            match sought_at.map(|at| at + SEEK_NEWCOMERS_MIN).filter(|at| *at > now) {
                Some(at) => self.seek_at(now, id, at),
                None => drop(self.seek(now, id)),
            }
        }
    }

    /// Has a download that waits for a source look for others at this time, if it would later.
    fn seek_at(&mut self, now: Instant, id: TransferId, at: Instant) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.seek.next = Some(download.seek.next.map_or(at, |next| next.min(at)));
        if matches!(download.state(), State::Retrying { until, .. } if until > at) {
            self.set_retrying(now, id, at);
        }
    }

    /// Asks the network once: for the content; and for the exact name if that is all that is known, or if nobody gives
    /// the content, since an old peer knows its files by name alone. Says how many neighbours were asked.
    pub(super) fn seek(&mut self, now: Instant, id: TransferId) -> u32 {
        let Some(download) = self.downloads.get_mut(id) else { return 0 };
        // Without a source its name is its hash, which is no file's.
        let (b3, by_name) = (download.aim.b3(), download.seek.by_name && !download.is_unsourced());
        let is_stuck = b3.is_some() && !download.is_unsourced() && download.is_stuck();
        if is_stuck && download.seek.stuck > 0 && !self.seeks.allow_stuck(now) {
            download.seek.next = Some(now + SEEK_AGAIN);
            return 0;
        }
        let name: Box<[u8]> = download.name.as_bytes().into();
        download.seek.sought_at = Some(now);
        let mut asked = 0;
        if let Some(b3) = b3 {
            asked = self.seek_sources(now, id, format!("b3={b3}").into_bytes().into());
        }
        if b3.is_none() || by_name {
            asked = asked.max(self.seek_sources(now, id, name));
        }
        let Some(download) = self.downloads.get_mut(id) else { return asked };
        let seek = &mut download.seek;
        if is_stuck && asked > 0 {
            seek.stuck = seek.stuck.saturating_add(1);
            seek.next = Some(now + self.dice.back_off(seek.stuck, SEEK_STUCK_MIN, SEEK_MIN));
            return asked;
        }
        let wait = if asked > 0 { seek.wait } else { SEEK_AGAIN };
        seek.next = Some(now + wait);
        if asked > 0 {
            seek.wait = (wait * 2).min(SEEK_MAX);
        }
        asked
    }

    /// A rest is over: back into the queue, if there is anybody to ask; otherwise the next search is due.
    pub(super) fn on_retry_timer(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        if !matches!(download.state(), State::Retrying { .. }) {
            return;
        }
        if download.is_unsourced() {
            return self.search_first(now, id);
        }
        // After a fault of the disk the sources need no rest.
        let can_be_asked = |source: &Source| match source.standing {
            Standing::Idle | Standing::Busy(_) => true,
            Standing::Reserve => download.needs_reserve(),
            Standing::Resting { until } => until <= now,
            Standing::Refused | Standing::Corrupt => false,
        };
        if download.sources.iter().any(can_be_asked) {
            return self.requeue_download(now, id);
        }
        match download.first_rest() {
            Some(until) => self.rest_download(now, id, until),
            None => self.give_up(now, id),
        }
    }
}

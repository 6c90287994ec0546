//! When a download looks for further sources: at its beginning if it has few, from time to time while it runs, and when
//! all that it has have failed.
//!
//! A download by hash of which no source is known searches before anything else, and is named after what the first source calls
//! the file. It is `retrying` until then, and has no part file, since that lies beside the final name. It never fails: only the
//! user ends it.

use super::DownloadMachine;
use super::source::{Source, Standing};
use super::state::{Download, Life, Outgoing, Want};
use crate::control::Problem;
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::contract::Target;
use crate::node::cx::{Cx, Step};
use crate::node::limits::{
    FIRST_SEARCH_SPACING, SEEK_AGAIN, SEEK_MAX, SEEK_MIN, SEEK_NEWCOMERS_DOWNLOADS_MAX, SEEK_NEWCOMERS_MIN,
    SEEK_REFUSED_MIN, SEEK_STUCK_MIN, SEEK_WAIT, SOURCE_REST_MAX, SOURCE_REST_MIN, SOURCES_ENOUGH, UNSOURCED_SEEK_MIN,
};
use crate::node::network::Net;
use crate::time::Instant;

/// The name of a content before any source has told one: its hash.
pub(in crate::node) fn name_of_hash(b3: ContentHash) -> Option<FileName> {
    FileName::from_bytes(b3.to_string().as_bytes())
}

impl DownloadMachine {
    /// A content is looked for as soon as it begins, and then from time to time.
    pub(super) fn seek_if_due(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.seek.next.is_none() && download.want != Want::Name {
            let few = download.sources.len() < SOURCES_ENOUGH;
            download.seek.next = Some(if few { cx.now } else { cx.now + SEEK_MIN });
        }
        if download.seek.next.is_none_or(|at| at > cx.now) {
            return;
        }
        self.seek(cx, id);
    }

    /// All sources have failed for now: others are looked for, a name as well as a content; at once, if this is the first
    /// time since something came.
    pub(super) fn seek_after_failure(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_named = download.want == Want::Name;
        let seek = &mut download.seek;
        let lately = seek.sought_at.is_some_and(|at| cx.now.saturating_since(at) < SEEK_REFUSED_MIN);
        let first = !std::mem::replace(&mut seek.by_name, true);
        if first && lately && !is_named {
            return self.seek_soon(cx, id);
        }
        if first || download.seek.next.is_none_or(|at| at <= cx.now) {
            self.seek(cx, id);
        }
    }

    /// A source gives the content under none of the names that are known: it may have it under another by now, and so may
    /// others.
    pub(super) fn seek_soon(&mut self, cx: &Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.want != Want::Name) else { return };
        let seek = &mut download.seek;
        // The more searches have brought nothing to ask, the less another is worth.
        let wait = SEEK_REFUSED_MIN.saturating_mul(1 << seek.stuck.min(8)).min(SEEK_MIN);
        let soon = seek.sought_at.map_or(cx.now, |at| cx.now.max(at + wait));
        seek.next = Some(seek.next.map_or(soon, |next| next.min(soon)));
    }

    /// No source can be asked: looks for others if it is time to. When the next look is due, which is within the bounds of
    /// the other waits; `None` if only a name is known.
    pub(super) fn seek_while_stuck(&mut self, cx: &mut Cx, id: TransferId) -> Option<Instant> {
        self.downloads.get(id)?.want.b3()?;
        self.seek_after_failure(cx, id);
        let next = &mut self.downloads.get_mut(id)?.seek.next;
        // It may have been planned while there were sources to ask.
        *next = next.map(|at| at.min(cx.now + SOURCE_REST_MAX));
        next.map(|at| at.max(cx.now + SOURCE_REST_MIN))
    }

    /// No source is left: when the search for others will have been answered; `None` if it was. If nobody is there to ask,
    /// [`on_sought`](Self::on_sought) ends the download.
    pub(super) fn seek_before_the_end(&mut self, cx: &mut Cx, id: TransferId) -> Option<Instant> {
        let seek = &mut self.downloads.get_mut(id)?.seek;
        let by_name = std::mem::replace(&mut seek.by_name, true);
        let is_recent = seek.sought_at.is_some_and(|at| cx.now.saturating_since(at) < SEEK_MIN);
        if seek.outgoing == Outgoing::None {
            if by_name && is_recent {
                return seek.answered_by.filter(|until| *until > cx.now);
            }
            self.seek(cx, id);
        }
        self.downloads.get_mut(id)?.seek.outgoing = Outgoing::Last;
        Some(cx.now + SEEK_WAIT)
    }

    /// Who has lied must not make a download fail: others are looked for, from time to time. When the next search is due;
    /// `None` if no source has lied.
    pub(super) fn seek_despite_liars(&mut self, cx: &mut Cx, id: TransferId) -> Option<Instant> {
        let download = self.downloads.get(id)?;
        let has_liars = download.sources.iter().any(|source| matches!(source.standing, Standing::Corrupt));
        if !has_liars && download.left_out.is_empty() {
            return None;
        }
        if download.seek.next.is_none_or(|at| at <= cx.now) {
            self.seek(cx, id);
        }
        let next = self.downloads.get(id)?.seek.next;
        Some(next.unwrap_or(cx.now).max(cx.now + SOURCE_REST_MIN))
    }

    /// A list named peers for the first time: downloads that wait for a source look for one again, those first that have
    /// looked longest ago. One that has looked a moment ago waits until `SEEK_NEWCOMERS_MIN` is over.
    pub(in crate::node) fn seek_among_newcomers(&mut self, net: &mut Net) {
        if net.network.peers().newcomers().is_empty() {
            return;
        }
        self.search_members_among_newcomers(net.cx);
        let waiting =
            self.downloads.iter().filter(|(_, row)| row.life().is_waiting() && !self.is_searched_in_turn(row));
        let mut waiting: Vec<_> = waiting.map(|(id, row)| (row.seek.sought_at, id)).collect();
        waiting.sort_unstable();
        for (sought_at, id) in waiting.into_iter().take(SEEK_NEWCOMERS_DOWNLOADS_MAX) {
            match sought_at.map(|at| at + SEEK_NEWCOMERS_MIN).filter(|at| *at > net.cx.now) {
                Some(at) => self.seek_at(net.cx, id, at),
                None => self.seek(net.cx, id),
            }
        }
    }

    /// Has a download that waits for a source look for others at this time, if it would later.
    fn seek_at(&mut self, cx: &mut Cx, id: TransferId, at: Instant) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.seek.next = Some(download.seek.next.map_or(at, |next| next.min(at)));
        if let Life::Waiting { until, why, .. } = download.life()
            && *until > at
        {
            let why = why.clone();
            self.set_waiting(cx, id, at, why);
        }
    }

    /// Asks the network once: for the content; and for the exact name if that is all that is known, or if nobody gives
    /// the content, since an old peer knows its files by name alone. [`on_sought`](Self::on_sought) follows, unless so many searches
    /// are not allowed.
    pub(super) fn seek(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_of_directory = download.directory.is_some() && download.want != Want::Name;
        if is_of_directory && !self.member_seeks.allow(cx.now, ()) {
            download.seek.next = Some(cx.now + SEEK_MIN);
            return;
        }
        self.send_search(cx, id);
    }

    /// Whether a download is searched for before anybody is asked for it.
    fn lacks_sources(&self, row: &Download) -> bool {
        row.is_unsourced() || self.is_searched_in_turn(row)
    }

    /// Sends the searches of [`seek`](Self::seek), which its caller has found to be allowed.
    pub(super) fn send_search(&mut self, cx: &mut Cx, id: TransferId) {
        let lacks_sources = self.downloads.get(id).is_some_and(|row| self.lacks_sources(row));
        let Some(download) = self.downloads.get_mut(id) else { return };
        // Without a source its name is its hash, or says where it is in a directory that the user has named: no peer need have
        // a file of that name.
        let (b3, by_name) = (download.want.b3(), download.seek.by_name && !lacks_sources);
        let is_stuck = b3.is_some() && !lacks_sources && download.is_stuck();
        download.seek.next = Some(cx.now + SEEK_AGAIN);
        if is_stuck && download.seek.stuck > 0 && !self.stuck_seeks.allow(cx.now, ()) {
            return;
        }
        let of_content = b3.map(|b3| format!("b3={b3}").into_bytes().into());
        let of_name = (b3.is_none() || by_name).then(|| download.name.as_bytes().into());
        (download.seek.sought_at, download.seek.outgoing) = (Some(cx.now), Outgoing::Sought);
        let texts = of_content.into_iter().chain(of_name).collect();
        cx.out.then(Step::Seek { download: id, texts, is_stuck });
    }

    /// So many neighbours were asked for sources.
    pub(in crate::node) fn on_sought(&mut self, cx: &mut Cx, id: TransferId, asked: u32, is_stuck: bool) {
        let lacks_sources = self.downloads.get(id).is_some_and(|row| self.lacks_sources(row));
        let Some(download) = self.downloads.get_mut(id) else { return };
        let seek = &mut download.seek;
        let is_last = std::mem::replace(&mut seek.outgoing, Outgoing::None) == Outgoing::Last;
        let provisional = cx.now + SEEK_AGAIN;
        let mut next = provisional;
        if asked > 0 {
            seek.answered_by = Some(cx.now + SEEK_WAIT);
            if is_stuck {
                seek.stuck = seek.stuck.saturating_add(1);
                next = cx.now + cx.rng.back_off(seek.stuck, SEEK_STUCK_MIN, SEEK_MIN);
            } else {
                next = cx.now + seek.wait;
                seek.wait = (seek.wait * 2).min(SEEK_MAX);
            }
        }
        // What was planned since for an earlier time stays.
        seek.next = Some(seek.next.filter(|planned| *planned != provisional).map_or(next, |planned| planned.min(next)));
        match download.life() {
            Life::Queued { .. } | Life::Waiting { .. } if lacks_sources => {
                self.await_first_source(cx, id, asked);
            }
            Life::Waiting { .. } if is_last && asked == 0 => self.give_up(cx, id),
            Life::Waiting { .. } if is_last => {
                download.log_milestone(id, &Life::Active);
                self.tell_download(cx, id);
            }
            // It was to wait for this search.
            Life::Waiting { until, why, .. } if *until == provisional => {
                let why = why.clone();
                self.set_waiting(cx, id, next.max(cx.now + SOURCE_REST_MIN), why);
            }
            _ => {}
        }
    }

    /// A rest is over: back into the queue, if there is anybody to ask; otherwise the next search is due.
    pub(in crate::node) fn on_retry_timer(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        if !download.life().is_waiting() {
            return;
        }
        if self.lacks_sources(download) {
            return self.search_first(cx, id);
        }
        // After a fault of the disk the sources need no rest.
        let can_be_asked = |source: &Source| match source.standing {
            Standing::Idle | Standing::Busy(_) => true,
            Standing::Reserve => download.needs_reserve(),
            Standing::Resting { until } => until <= cx.now,
            Standing::Refused | Standing::Corrupt => false,
        };
        if download.sources.iter().any(can_be_asked) {
            return self.requeue_download(cx, id);
        }
        match download.first_rest() {
            Some(until) => self.rest_download(cx, id, until),
            None => self.give_up(cx, id),
        }
    }

    /// Searches for the first source of each download that came into the queue without one.
    pub(super) fn search_unsourced(&mut self, cx: &mut Cx) {
        while let Some(id) = self.downloads.unsourced.pop_first() {
            let is_queued = |row: &Download| matches!(row.life(), Life::Queued { .. });
            if self.downloads.get(id).is_some_and(|row| is_queued(row) && row.is_unsourced()) {
                self.search_first(cx, id);
            }
        }
    }

    /// Searches for the first source of a download if it is time for that, and waits.
    pub(super) fn search_first(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        if self.is_searched_in_turn(download) {
            let why = download.life().problem().cloned().unwrap_or(Problem::SearchesSoon);
            return self.await_member_search(cx, id, why);
        }
        let at = match download.seek.next {
            Some(at) => at,
            None => self.downloads.first_search_at(cx.now, FIRST_SEARCH_SPACING),
        };
        if at <= cx.now {
            self.seek(cx, id);
            return;
        }
        if let Some(download) = self.downloads.get_mut(id) {
            download.seek.next = Some(at);
        }
        self.retry_unsourced(cx, id, Problem::SearchesSoon);
    }

    /// So many neighbours were asked for a first source of a download.
    pub(super) fn await_first_source(&mut self, cx: &mut Cx, id: TransferId, asked: u32) {
        let Some(Download { seek, .. }) = self.downloads.get_mut(id) else { return };
        if asked > 0 {
            // Sooner than for a download that has a source.
            let wait = seek.unsourced_wait;
            seek.next = Some(cx.now + wait);
            seek.unsourced_wait = (wait * 2).min(seek.wait);
        }
        let why = if asked > 0 { Problem::NoSourceYet { asked } } else { Problem::NobodyToAsk };
        self.retry_unsourced(cx, id, why);
    }

    fn retry_unsourced(&mut self, cx: &mut Cx, id: TransferId, why: Problem) {
        let Some(download) = self.downloads.get(id) else { return };
        if self.is_searched_in_turn(download) {
            return self.await_member_search(cx, id, why);
        }
        let until = download.seek.next.unwrap_or(cx.now + UNSOURCED_SEEK_MIN);
        self.set_waiting(cx, id, until, why);
    }
}

impl Download {
    /// Takes the name and the size that a source tells, if no source has told a name before.
    pub(super) fn adopt(&mut self, told: &FileName, size: Option<u64>) {
        let Want::Content(b3) = self.want else { return };
        if !self.is_unsourced() || name_of_hash(b3).as_ref() != Some(&self.name) {
            return;
        }
        self.name = told.clone();
        self.claimed_size = self.claimed_size.or(size);
        if let Target::Suggested { name, .. } | Target::Exact { name, .. } = &mut self.spec.target {
            *name = told.safe_component();
        }
        // In a directory it is another by that.
        self.path = None;
    }
}

//! Searches for files of directories without a peer: one file after the other, of each directory in turn, so many a minute however
//! many files there are. What is found for one is offered to others (`trees`).

use super::state::Directory;
use crate::control::Problem;
use crate::id::TransferId;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::download::DownloadMachine;
use crate::node::download::state::Download;
use crate::node::limits::{
    MEMBER_SEARCH_SPACING, MEMBER_WAIT_MAX, MEMBER_WAIT_SPREAD, MEMBERS_LOOKED_AT_MAX, SEEK_NEWCOMERS_MIN,
};
use crate::time::Instant;
use crate::timer::TimerId;
use std::ops::Bound;
use std::time::Duration;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct MemberSearches {
    timer: Option<(Instant, TimerId)>,
    /// No search is before this.
    not_before: Option<Instant>,
    /// The directory of which a file was searched for last.
    last: Option<TransferId>,
    /// When a list named peers for the first time.
    newcomers_at: Option<Instant>,
}

/// What a round over the files has come to.
enum Next {
    Due(TransferId, TransferId),
    /// None is due before this; `None` if none waits for a search.
    At(Option<Instant>),
    /// So many were looked at, up to this one of this directory, that the others are looked at later.
    Later(TransferId, TransferId),
}

impl DownloadMachine {
    /// Whether a download is a file of a directory without a peer, and nobody can be asked for it: only its turn has it searched
    /// for.
    pub(in crate::node::download) fn is_searched_in_turn(&self, row: &Download) -> bool {
        let directory = row.directory.and_then(|id| self.directories.get(id));
        directory.is_some_and(|directory| directory.awaits_turn(row))
    }

    /// No source of a download is left. Where a search is to find others in its turn, has it wait for that. Says whether that is
    /// so.
    pub(in crate::node::download) fn await_other_sources(&mut self, cx: &mut Cx, member: TransferId) -> bool {
        if !self.downloads.get(member).is_some_and(|row| self.is_searched_in_turn(row)) {
            return false;
        }
        self.await_member_search(cx, member, Problem::NoSourceLeft);
        self.start_downloads(cx);
        true
    }

    /// Has a member that nobody can be asked for wait until it is searched for.
    pub(in crate::node::download) fn await_member_search(&mut self, cx: &mut Cx, member: TransferId, why: Problem) {
        // This timer only makes sure that the timer of the searches runs.
        let wait = MEMBER_WAIT_MAX + Duration::from_millis(cx.rng.number() % MEMBER_WAIT_SPREAD.as_millis() as u64);
        self.set_waiting(cx, member, cx.now + wait, why);
        self.plan_member_search(cx, cx.now);
    }

    /// Peers came that may have what nobody had.
    pub(in crate::node::download) fn search_members_among_newcomers(&mut self, cx: &mut Cx) {
        self.directories.searches.newcomers_at = Some(cx.now);
        self.plan_member_search(cx, cx.now);
    }

    /// Has files searched for at this time, if none are earlier.
    fn plan_member_search(&mut self, cx: &mut Cx, at: Instant) {
        let searches = &mut self.directories.searches;
        let at = searches.not_before.map_or(at, |earliest| at.max(earliest));
        if searches.timer.is_some_and(|(planned, _)| planned <= at) {
            return;
        }
        let planned = searches.timer.replace((at, cx.wheel.insert(at, NodeTimer::MemberSearch)));
        cx.cancel_timer(planned.map(|(_, timer)| timer));
    }

    pub(in crate::node) fn on_member_search_timer(&mut self, cx: &mut Cx) {
        self.directories.searches.timer = None;
        loop {
            match self.next_member_search(cx.now) {
                Next::Due(id, member) => {
                    // Its turn stays: the next call begins with it.
                    if !self.member_searches.allow(cx.now, ()) {
                        break;
                    }
                    self.send_search(cx, member);
                    self.note_looked_at(id, member);
                }
                Next::Later(id, member) => {
                    self.note_looked_at(id, member);
                    break;
                }
                Next::At(next) => {
                    return next.map_or((), |at| self.plan_member_search(cx, at.max(cx.now + MEMBER_SEARCH_SPACING)));
                }
            }
        }
        let at = cx.now + MEMBER_SEARCH_SPACING;
        self.directories.searches.not_before = Some(at);
        self.plan_member_search(cx, at);
    }

    /// The next call begins with the directory after this one, and goes on behind this member of it.
    fn note_looked_at(&mut self, id: TransferId, member: TransferId) {
        self.directories.searches.last = Some(id);
        if let Some(directory) = self.directories.get_mut(id) {
            directory.looked_at = Some(member);
        }
    }

    fn next_member_search(&self, now: Instant) -> Next {
        let (mut first, mut left) = (None::<Instant>, MEMBERS_LOOKED_AT_MAX);
        let last = self.directories.searches.last.unwrap_or(TransferId(0));
        for (id, directory) in self.directories.iter_from(last).filter(|(_, row)| may_search(row)) {
            let after = directory.looked_at.unwrap_or(TransferId(0));
            let behind = directory.awaiting.range((Bound::Excluded(after), Bound::Unbounded));
            for &member in behind.chain(directory.awaiting.range(..=after)) {
                let due = self.downloads.get(member).and_then(|row| self.search_due(row, now));
                if due.is_some_and(|at| at <= now) {
                    return Next::Due(id, member);
                }
                first = first.into_iter().chain(due).min();
                left -= 1;
                if left == 0 {
                    return Next::Later(id, member);
                }
            }
        }
        Next::At(first)
    }

    /// When a member is to be searched for; `None` if somebody can be asked for it, or it does not wait.
    fn search_due(&self, row: &Download, now: Instant) -> Option<Instant> {
        if !row.has_nobody_to_ask() || !row.life().is_waiting() {
            return None;
        }
        let planned = row.seek.next.unwrap_or(now);
        let has_not_asked_newcomers = |at: &Instant| row.seek.sought_at.is_none_or(|sought| sought < *at);
        let newcomers = self.directories.searches.newcomers_at.filter(has_not_asked_newcomers);
        let among_newcomers =
            newcomers.map(|at| row.seek.sought_at.map_or(at, |sought| at.max(sought + SEEK_NEWCOMERS_MIN)));
        Some(among_newcomers.map_or(planned, |at| at.min(planned)))
    }
}

/// Whether files of a directory may be searched for.
fn may_search(directory: &Directory) -> bool {
    directory.is_searched_for() && !directory.is_over()
}

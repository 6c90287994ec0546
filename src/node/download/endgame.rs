//! How sources that are slow, or bring nothing, give way: to an idle source when there is no exchange for one more, or when
//! every group is there or asked for.

use super::names::Ask;
use super::part::Content;
use super::picker::Step;
use super::source::{Fetch, Source, Task};
use super::state::Download;
use crate::content::groups_span;
use crate::node::contract::Portion;
use crate::node::limits::{
    DUPLICATE_AFTER, FAILURES_RELIED_MAX, SLOW_AFTER, SLOW_ETA, SLOW_RATE, STALL_AFTER, STEAL_WORTH_MS,
};
use crate::time::Instant;
use std::cmp::Reverse;

impl Download {
    /// There is no exchange for one more source: one that has brought nothing gives its place to one that has delivered, or
    /// has failed no more often; a slow one to one that is faster, or whose speed nobody knows, which waits the longer the
    /// more often it has failed.
    pub(super) fn make_room(&self, now: Instant, idle: usize) -> Option<Step> {
        let other = &self.sources[idle];
        let gives_way = |(at, fetch): &(usize, &Fetch)| {
            let spent = fetch.tried_for(now);
            let speed = self.sources[*at].speed_now(now).unwrap_or(0);
            let holder = &self.sources[*at];
            let gives_nothing = !holder.has_delivered() && self.is_silent(now, *at, fetch);
            let is_better = match other.speed {
                _ if gives_nothing && (other.has_delivered() || other.failures <= holder.failures) => true,
                Some(theirs) => spent >= STALL_AFTER && theirs / 2 > speed,
                None => spent >= SLOW_AFTER.saturating_mul(1 << other.failures.min(16)),
            };
            // A stream that is broken off begins from the start later: only one that brings almost nothing is.
            let may_end = match fetch.task {
                Task::File(Portion::Groups(_)) => true,
                Task::File(Portion::Whole) => self.is_slow(now, *at, fetch),
                Task::Metadata | Task::Identify | Task::File(Portion::Stream { .. }) => false,
            };
            may_end && is_better
        };
        self.busy().find(gives_way).map(|(source, _)| Step::DropSlow { source })
    }

    /// Every group is there or asked for, and a source has nothing to do: it takes from the one that would be last.
    pub(super) fn end_game(&self, now: Instant, content: &Content) -> Option<Step> {
        let mut victims: Vec<(Reverse<u64>, usize)> = Vec::new();
        for (at, fetch) in self.busy() {
            if fetch.task.left().is_none() {
                continue;
            }
            if is_stalled(now, fetch) {
                return Some(Step::DropSlow { source: at });
            }
            victims.push((Reverse(self.finish_ms(now, content, at)), at));
        }
        victims.sort_unstable();
        let mut thieves: Vec<_> = self.sources.iter().enumerate().collect();
        let may_explore = self.may_explore(now);
        thieves.retain(|(_, source)| source.is_ready_for(Ask::Ranges) && (source.has_delivered() || may_explore));
        thieves.sort_by_key(|(at, source)| (!source.has_delivered(), source.failures, Reverse(source.speed), *at));
        let pairs = thieves.iter().flat_map(|(thief, _)| victims.iter().map(|victim| (*thief, *victim)));
        // Of two that have brought nothing, neither helps the other as long as a third one delivers.
        let is_delivered = self.is_delivered(now);
        let delivers = |at: usize| self.sources[at].has_delivered();
        let mut pairs = pairs.filter(|(thief, (_, victim))| !is_delivered || delivers(*thief) || delivers(*victim));
        pairs.find_map(|(thief, (Reverse(finish_ms), victim))| {
            let left = self.sources[victim].groups_left()?;
            match left.end.saturating_sub(left.start) {
                0 => None,
                1 => self.duplicate(now, content, victim, thief),
                _ if finish_ms < STEAL_WORTH_MS => None,
                _ => self.steal(now, victim, thief),
            }
        })
    }

    /// How long a source will take for what it is still to bring.
    pub(super) fn finish_ms(&self, now: Instant, content: &Content, at: usize) -> u64 {
        let source = &self.sources[at];
        let (Some(left), Some(fetch)) = (source.groups_left(), source.fetch()) else { return 0 };
        let span = groups_span(content.size(), left);
        let bytes = (span.end - span.start).saturating_sub(fetch.in_flight());
        let speed = source.speed_now(now).unwrap_or(0);
        bytes.saturating_mul(1_000).checked_div(speed).unwrap_or(u64::MAX)
    }

    /// Of the groups that the victim has not begun, the thief takes as many as it is fast; half, if that is not known.
    pub(super) fn steal(&self, now: Instant, victim: usize, thief: usize) -> Option<Step> {
        let left = self.sources[victim].groups_left()?;
        let waiting = left.end - left.start - 1;
        let take = match (self.sources[victim].speed_now(now), self.sources[thief].speed) {
            (Some(theirs), Some(ours)) if ours > 0 => {
                let take = u128::from(waiting) * u128::from(ours) / (u128::from(theirs) + u128::from(ours));
                u64::try_from(take).unwrap_or(waiting).max(u64::from(ours > theirs))
            }
            _ => waiting.div_ceil(2),
        };
        let groups = left.end - take.min(waiting)..left.end;
        (!groups.is_empty()).then_some(Step::Steal { victim, thief, groups })
    }

    /// The last group of a slow source is fetched by a fast one as well; and when two that are slow have it, one of them
    /// makes room.
    fn duplicate(&self, now: Instant, content: &Content, victim: usize, thief: usize) -> Option<Step> {
        let groups = self.sources[victim].groups_left()?.clone();
        let asked = |at: &usize| self.sources[*at].groups_left().is_some_and(|left| left.contains(&groups.start));
        let askers: Vec<usize> = (0..self.sources.len()).filter(asked).collect();
        let bytes = content.bytes_of(groups.start);
        let ours_ms = match self.sources[thief].speed {
            Some(speed) => bytes.saturating_mul(1_000).checked_div(speed).unwrap_or(u64::MAX),
            None => u64::try_from(STALL_AFTER.as_millis()).unwrap_or(u64::MAX) / 4,
        };
        // Those that have brought nothing at all do not keep one that has from a group.
        let delivers = |at: &usize| self.sources[*at].has_delivered();
        let is_first = askers.len() == 1 || delivers(&thief) && askers.iter().filter(|at| delivers(at)).count() <= 1;
        let patience = if is_first { DUPLICATE_AFTER } else { STALL_AFTER };
        let too_slow = |at: &usize| {
            let spent = self.sources[*at].fetch().map(|fetch| fetch.tried_for(now));
            let worth_ms = ours_ms.saturating_mul(2).saturating_add(STEAL_WORTH_MS);
            spent.is_some_and(|spent| spent >= patience) && self.finish_ms(now, content, *at) > worth_ms
        };
        if !askers.iter().all(too_slow) {
            return None;
        }
        match is_first {
            true => Some(Step::Ask { source: thief, task: Task::groups(groups) }),
            false => Some(Step::DropSlow { source: victim }),
        }
    }

    /// Breaks off what only this source was asked for, when it is stuck or very slow and another could do it.
    pub(super) fn relieve(&self, now: Instant, at: usize, fetch: &Fetch) -> Option<Step> {
        let stream = fetch.task.asks() == Ask::All;
        if is_stalled(now, fetch) {
            return self.sources.iter().any(Source::is_idle).then_some(Step::DropSlow { source: at });
        }
        if self.proves_too_slowly(now, at, fetch) {
            return Some(Step::DropSlow { source: at });
        }
        let (rate, spent) = (self.sources[at].speed_now(now).unwrap_or(0), fetch.tried_for(now));
        let may_relieve = |other: &Source| {
            // Who has failed must wait for the longer the more often it did: else two that take turns would never finish.
            let patience = if stream { SLOW_AFTER } else { STALL_AFTER }.saturating_mul(1 << other.failures.min(16));
            other.is_idle() && spent >= patience && other.speed.is_none_or(|speed| speed / 2 > rate)
        };
        let relieved = self.is_slow(now, at, fetch) && self.sources.iter().any(may_relieve);
        relieved.then_some(Step::DropSlow { source: at })
    }

    /// Whether what a source was asked for will take so long that it is not worth waiting for.
    fn is_slow(&self, now: Instant, at: usize, fetch: &Fetch) -> bool {
        let source = &self.sources[at];
        let rate = source.rate.per_second(now, source.received).unwrap_or(0);
        let size = source.size.or(self.content().map(Content::size));
        match size.filter(|_| fetch.task.asks() == Ask::All) {
            Some(size) => rate.saturating_mul(SLOW_ETA.as_secs()) < size.saturating_sub(fetch.received),
            None => rate < SLOW_RATE,
        }
    }

    /// Whether a source brings groups at a rate that others need not be asked beside it.
    pub(super) fn helps(&self, now: Instant, at: usize, fetch: &Fetch) -> bool {
        let groups = fetch.task.left().is_some();
        let tried = fetch.tried_for(now) >= SLOW_AFTER;
        let relied_on = self.sources[at].failures < FAILURES_RELIED_MAX;
        groups && relied_on && !is_stalled(now, fetch) && !(tried && self.is_slow(now, at, fetch))
    }
}

/// Whether nothing has come for long.
fn is_stalled(now: Instant, fetch: &Fetch) -> bool {
    now.saturating_since(fetch.progressed) >= STALL_AFTER
}

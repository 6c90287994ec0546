//! What a download does next: a decision, as a function of what is known of its content and of its sources.
//!
//! | known of the content | what is asked for |
//! |---|---|
//! | nothing, or only its hash | metadata, of a source that speaks `p1`; else all of it, as one stream that nothing checks |
//! | outline, whose size is a mere claim | its last group, of the source that gave the outline: that proves the size |
//! | outline, proved | runs of missing groups, of all `p1` sources at once; near the end, idle ones take from slow ones |
//! | everything | nothing: the part file is checked |
//!
//! How the outline is got and proved stands in [`proving`](crate::node::download::proving).
//!
//! Who has delivered comes first, and does not wait for those that have not: once some of these were found to bring
//! nothing, only a few are tried at once, unless nobody delivers.
//!
//! Refuses to ask a base source as long as one that speaks `p1` can be asked: a stream has no order of its own choosing.

use super::known::Content;
use super::names::Ask;
use super::source::{Fetch, Source, Standing, Task};
use super::state::Download;
use crate::content::{GROUP_BYTES, groups_span};
use crate::node::contract::Portion;
use crate::node::limits::{
    DUPLICATE_AFTER, EXPLORED_AT_ONCE, FAILURES_RELIED_MAX, HEDGE_AFTER, RANGE_GROUPS_FIRST, RANGE_GROUPS_MAX,
    RANGE_SPAN, SILENT_AFTER, SLOW_AFTER, SLOW_ETA, SLOW_RATE, STALL_AFTER, STEAL_WORTH_MS, USEFUL_RATE,
};
use crate::time::Instant;
use std::cmp::Reverse;
use std::ops::Range;

/// The next thing to do for a download. Sources are named by their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A first contact: whether a source of unknown protocol version speaks `p1`.
    MakeContact { source: usize },
    /// A source is asked for something; who refused what it offered, or sent other bytes, first for what it has.
    Ask { source: usize, task: Task },
    /// A content of at most one group needs no metadata: take a source's word for the size, until the group proves it.
    TakeSize { source: usize, size: u64 },
    /// The end of what one source is still to bring goes to another.
    Steal { victim: usize, thief: usize, groups: Range<u64> },
    /// Others wait for something to do: what this one was asked for is theirs.
    Relieve { source: usize },
    /// All of it is there.
    Check,
}

/// What a download is up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextStep {
    Do(Step),
    /// Sources are at work, and nothing else can be begun.
    Working,
    /// No source can be asked before this.
    Rest(Instant),
    /// No source can be asked at all.
    NoSources,
}

impl Download {
    /// What is to be done next. `room`: how many more exchanges it may begin.
    pub(super) fn next_step(&self, now: Instant, room: usize) -> NextStep {
        let contact = self.contact_due(now).map(|source| Step::MakeContact { source });
        let question = contact.or_else(|| self.doubted().map(|source| Step::Ask { source, task: Task::Identify }));
        let step = match self.content() {
            Some(content) if content.verified.is_full() => Some(Step::Check),
            _ if question.is_some() => question,
            Some(content) if self.has_proved_size() => self.step_by_groups(now, content, room),
            Some(content) => self.step_to_proof(now, room, content),
            None => self.step_to_outline(now, room),
        };
        if let Some(step) = step {
            return NextStep::Do(step);
        }
        if self.busy().next().is_some() || self.contact_awaited(now).is_some() {
            NextStep::Working
        } else {
            self.first_rest().map_or(NextStep::NoSources, NextStep::Rest)
        }
    }

    /// A source that is to say what it has before anything else.
    fn doubted(&self) -> Option<usize> {
        self.sources.iter().position(|source| matches!(source.standing, Standing::Idle) && source.doubt.is_some())
    }

    /// When to look again, even if nothing happens.
    pub(super) fn look_again_at(&self, now: Instant) -> Option<Instant> {
        let idle = self.sources.iter().any(Source::is_idle);
        let look = idle.then_some(now + crate::node::limits::LOOK_INTERVAL);
        self.first_rest().into_iter().chain(look).chain(self.seek.next).chain(self.contact_awaited(now)).min()
    }

    /// The source to ask first of those that fit: one that did not fail, then the fastest, then the first.
    pub(super) fn best(&self, fits: impl Fn(&Source) -> bool) -> Option<usize> {
        let rank = |at: &usize| {
            let source = &self.sources[*at];
            (source.failures, Reverse(source.speed), *at)
        };
        (0..self.sources.len()).filter(|at| fits(&self.sources[*at])).min_by_key(rank)
    }

    /// The source to ask for groups first: one that has delivered before one that has not.
    fn best_for_groups(&self, now: Instant) -> Option<usize> {
        let is_ready = |source: &Source| source.is_ready_for(Ask::Ranges);
        let proven = self.best(|source| source.has_delivered() && is_ready(source));
        proven.or_else(|| self.best(is_ready).filter(|_| self.may_explore(now)))
    }

    /// Whether one more source that has brought nothing yet may be tried. Those that were tried for a moment and brought little
    /// do not count any more, so that many of them do not keep the others waiting.
    fn may_explore(&self, now: Instant) -> bool {
        let (mut tried, mut failing) = (0, 0);
        for (at, source) in self.sources.iter().enumerate().filter(|(_, source)| !source.has_delivered()) {
            tried += usize::from(source.fetch().is_some_and(|fetch| !has_brought_little(now, fetch)));
            let is_silent = source.fetch().is_some_and(|fetch| self.is_silent(now, at, fetch));
            failing += usize::from(is_silent || source.failures > 0);
        }
        tried < EXPLORED_AT_ONCE || failing < EXPLORED_AT_ONCE || !self.is_delivered(now)
    }

    /// Whether a source that has delivered still does.
    fn is_delivered(&self, now: Instant) -> bool {
        self.busy().any(|(at, fetch)| self.sources[at].has_delivered() && !self.is_silent(now, at, fetch))
    }

    /// Whether a source brings nothing, or as good as nothing, after a time in which others would have begun.
    pub(super) fn is_silent(&self, now: Instant, at: usize, fetch: &Fetch) -> bool {
        let source = &self.sources[at];
        let brings = || source.rate.per_second(now, source.received).is_some_and(|rate| rate >= USEFUL_RATE);
        fetch.tried_for(now) >= SILENT_AFTER && (now.saturating_since(fetch.progressed) >= SILENT_AFTER || !brings())
    }

    pub(super) fn ask_for_whole(&self, now: Instant) -> Option<Step> {
        self.ask_for_all(now, |_| Portion::Whole)
    }

    /// Asks the best source for everything, once no answer to a first contact is waited for.
    pub(super) fn ask_for_all(&self, now: Instant, portion: impl Fn(&Source) -> Portion) -> Option<Step> {
        let source = self.best_streamer().filter(|_| self.contact_awaited(now).is_none())?;
        Some(Step::Ask { source, task: Task::File(portion(&self.sources[source])) })
    }

    /// The source to ask first for everything: the first in order of those that failed least.
    fn best_streamer(&self) -> Option<usize> {
        let idle = |at: &usize| self.sources[*at].is_idle();
        (0..self.sources.len()).filter(idle).min_by_key(|at| (self.sources[*at].failures, *at))
    }

    /// Whether others need not be asked for less while this one can be asked for more: not when it fails again and again,
    /// and another does not.
    pub(super) fn is_relied_on(&self, source: &Source) -> bool {
        let better = |other: &Source| other.is_idle() && other.failures < source.failures;
        source.failures < FAILURES_RELIED_MAX || !self.sources.iter().any(better)
    }

    fn step_by_groups(&self, now: Instant, content: &Content, room: usize) -> Option<Step> {
        if let Some(source) = self.best_for_groups(now) {
            if room == 0 {
                return self.make_room(now, source);
            }
            return match self.free_groups(now, content, source) {
                Some(groups) => Some(Step::Ask { source, task: Task::groups(groups) }),
                None => self.end_game(now, content),
            };
        }
        // Nobody else helps, or whoever does is stuck.
        let streams = |fetch: &Fetch| fetch.task == Task::File(Portion::Whole);
        if room == 0 || self.busy().any(|(at, fetch)| self.helps(now, at, fetch)) {
            return None;
        }
        match self.busy().find(|(_, fetch)| streams(fetch)) {
            Some((at, fetch)) => self.relieve(now, at, fetch),
            None => self.ask_for_whole(now),
        }
    }

    /// There is no exchange for one more source: one that has brought nothing gives its place to one that has delivered, or
    /// has failed no more often; a slow one to one that is faster, or whose speed nobody knows, which waits the longer the
    /// more often it has failed.
    fn make_room(&self, now: Instant, idle: usize) -> Option<Step> {
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
        self.busy().find(gives_way).map(|(source, _)| Step::Relieve { source })
    }

    /// The next run of groups that are missing and that nobody was asked for, as long as suits the source.
    fn free_groups(&self, now: Instant, content: &Content, source: usize) -> Option<Range<u64>> {
        let taken = |group: u64| self.sources.iter().filter_map(Source::groups_left).find(|left| left.contains(&group));
        let mut start = content.verified.first_missing(0)?;
        while let Some(left) = taken(start) {
            start = content.verified.first_missing(left.end)?;
        }
        let assigned: u64 = self.sources.iter().filter_map(Source::groups_left).map(|left| left.end - left.start).sum();
        let free = (content.verified.count() - content.verified.held()).saturating_sub(assigned);
        let speed = self.sources[source].speed_now(now).or(self.sources[source].speed);
        let suits = speed.map_or(RANGE_GROUPS_FIRST, |speed| speed.saturating_mul(RANGE_SPAN.as_secs()) / GROUP_BYTES);
        let helpers = self.sources.iter().filter(|source| source.groups_left().is_some()).count() as u64 + 1;
        let length = suits.clamp(1, RANGE_GROUPS_MAX).min(free.div_ceil(helpers).max(1));
        let end = start.saturating_add(length).min(content.verified.count());
        let ends_run = |group: &u64| content.verified.contains(*group) || taken(*group).is_some();
        let end = (start..end).find(ends_run).unwrap_or(end);
        Some(start..end)
    }

    /// Every group is there or asked for, and a source has nothing to do: it takes from the one that would be last.
    fn end_game(&self, now: Instant, content: &Content) -> Option<Step> {
        let mut victims: Vec<(Reverse<u64>, usize)> = Vec::new();
        for (at, fetch) in self.busy() {
            if fetch.task.left().is_none() {
                continue;
            }
            if is_stalled(now, fetch) {
                return Some(Step::Relieve { source: at });
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
    fn finish_ms(&self, now: Instant, content: &Content, at: usize) -> u64 {
        let source = &self.sources[at];
        let (Some(left), Some(fetch)) = (source.groups_left(), source.fetch()) else { return 0 };
        let span = groups_span(content.size(), left);
        let bytes = (span.end - span.start).saturating_sub(fetch.in_flight());
        let speed = source.speed_now(now).unwrap_or(0);
        bytes.saturating_mul(1_000).checked_div(speed).unwrap_or(u64::MAX)
    }

    /// Of the groups that the victim has not begun, the thief takes as many as it is fast; half, if that is not known.
    fn steal(&self, now: Instant, victim: usize, thief: usize) -> Option<Step> {
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
            false => Some(Step::Relieve { source: victim }),
        }
    }

    /// Takes a source off what it alone does, when it is stuck or hopelessly slow and another could do it.
    pub(super) fn relieve(&self, now: Instant, at: usize, fetch: &Fetch) -> Option<Step> {
        let stream = fetch.task.asks() == Ask::All;
        if is_stalled(now, fetch) {
            return self.sources.iter().any(Source::is_idle).then_some(Step::Relieve { source: at });
        }
        if self.proves_too_slowly(now, at, fetch) {
            return Some(Step::Relieve { source: at });
        }
        let (rate, spent) = (self.sources[at].speed_now(now).unwrap_or(0), fetch.tried_for(now));
        let may_relieve = |other: &Source| {
            // Who has failed must wait for the longer the more often it did: else two that take turns would never finish.
            let patience = if stream { SLOW_AFTER } else { STALL_AFTER }.saturating_mul(1 << other.failures.min(16));
            other.is_idle() && spent >= patience && other.speed.is_none_or(|speed| speed / 2 > rate)
        };
        let relieved = self.is_slow(now, at, fetch) && self.sources.iter().any(may_relieve);
        relieved.then_some(Step::Relieve { source: at })
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
    fn helps(&self, now: Instant, at: usize, fetch: &Fetch) -> bool {
        let groups = fetch.task.left().is_some();
        let tried = fetch.tried_for(now) >= SLOW_AFTER;
        let relied_on = self.sources[at].failures < FAILURES_RELIED_MAX;
        groups && relied_on && !is_stalled(now, fetch) && !(tried && self.is_slow(now, at, fetch))
    }
}

/// Whether nothing has come for a moment, or since it was asked less than is of use.
pub(super) fn has_brought_little(now: Instant, fetch: &Fetch) -> bool {
    let tried = fetch.tried_for(now);
    let useful = USEFUL_RATE.saturating_mul(tried.as_secs());
    now.saturating_since(fetch.progressed) >= HEDGE_AFTER || tried >= HEDGE_AFTER && fetch.received < useful
}

/// Whether nothing has come for long.
fn is_stalled(now: Instant, fetch: &Fetch) -> bool {
    now.saturating_since(fetch.progressed) >= STALL_AFTER
}

#[cfg(test)]
mod tests;

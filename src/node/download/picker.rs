//! What a download does next: [`next_step`](Download::next_step) decides, as a function of what is known of its content and of
//! its sources, and [`drive_downloads`](DownloadMachine::drive_downloads) has it done.
//!
//! | known of the content | what is asked for |
//! |---|---|
//! | nothing, or only its hash | metadata, of a source that speaks `p1`; else all of it, as one stream that nothing checks |
//! | outline, whose size is a mere claim | its last group, of the source that gave the outline: that proves the size |
//! | outline, proved | runs of missing groups, of all `p1` sources at once; near the end, idle ones take from slow ones |
//! | everything | nothing: the part file is checked |
//!
//! An outline is asked of one source. Where it brings nothing, further ones are asked beside it, ever more at once, and the
//! first outline ends the others; so sources that accept and say nothing cost seconds together, and not each. The last
//! group, which proves the size, is asked in the same way of all that claim this size. Metadata and groups are never on
//! their way at the same time, since groups are checked against the outline that they were asked for.
//!
//! Sources that have delivered come first, and do not wait for those that have not: once some of these were found to bring
//! nothing, only a few are tried at once, unless no source delivers. A base source is not asked as long as one that speaks
//! `p1` can be: a stream has no order of its own choosing.

use super::DownloadMachine;
use super::names::Ask;
use super::part::Content;
use super::source::{Fetch, Source, Standing, Task};
use super::state::Download;
use crate::content::{GROUP_BYTES, Outline, group_count};
use crate::control::SourceFault;
use crate::id::TransferId;
use crate::node::contract::Portion;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{
    EXPLORED_AT_ONCE, FAILURES_RELIED_MAX, HEDGE_AFTER, PROOF_AFTER, PROOF_ETA, RANGE_GROUPS_FIRST, RANGE_GROUPS_MAX,
    RANGE_SPAN, SILENT_AFTER, USEFUL_RATE,
};
use crate::node::network::Net;
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
    /// Break off what this source was asked for: an idle one can do it.
    DropSlow { source: usize },
    /// All of it is there.
    Check,
}

impl Step {
    /// For the log.
    fn word(&self) -> &'static str {
        match self {
            Self::MakeContact { .. } => "first_contact",
            Self::Ask { task, .. } => task.word(),
            Self::TakeSize { .. } => "take_size",
            Self::Steal { .. } => "steal",
            Self::DropSlow { .. } => "drop_slow",
            Self::Check => "check",
        }
    }
}

/// What [`next_step`](Download::next_step) has decided.
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

impl DownloadMachine {
    /// Takes the next steps of each download to which something has happened.
    pub(in crate::node) fn drive_downloads(&mut self, net: &mut Net) {
        while let Some(id) = self.downloads.next_dirty() {
            self.drive(net, id);
        }
    }

    fn drive(&mut self, net: &mut Net, id: TransferId) {
        if !net.cx.is_running() || !self.is_fetching(id) {
            return;
        }
        if self.learn_speech(net.network, id) {
            self.remember_download(net.cx, id);
        }
        self.wake_sources(net.cx, id);
        self.seek_if_due(net.cx, id);
        while self.is_fetching(id) {
            if let Some(download) = self.downloads.get_mut(id) {
                download.call_reserve();
            }
            let room = self.downloads.fetch_room(net.cx, id);
            let Some(download) = self.downloads.get(id) else { return };
            match download.next_step(net.cx.now, room) {
                NextStep::Do(step) => self.take_step(net, id, step),
                NextStep::Working => return self.plan_look(net.cx, id),
                NextStep::Rest(_) | NextStep::NoSources if self.excuse_sources(net.cx, id) => {}
                NextStep::Rest(until) => return self.rest_download(net.cx, id, until),
                NextStep::NoSources => return self.give_up(net.cx, id),
            }
        }
    }

    fn is_fetching(&self, id: TransferId) -> bool {
        self.downloads.get(id).is_some_and(|row| row.open().is_some())
    }

    /// Sources that have rested may be asked again; and who waits for a worker of ours is not to blame for it.
    fn wake_sources(&mut self, cx: &Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        for source in &mut download.sources {
            if matches!(source.standing, Standing::Resting { until } if until <= cx.now) {
                source.standing = Standing::Idle;
                source.names.forget_refusals();
            }
            if let Some(fetch) = source.fetch_mut().filter(|fetch| cx.exchanges.workers().is_queued(fetch.exchange)) {
                (fetch.began, fetch.progressed) = (cx.now, cx.now);
            }
        }
    }

    /// Sets the timer for the next look.
    fn plan_look(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let at = download.look_again_at(cx.now);
        let Some(open) = download.open_mut() else { return };
        if open.look.is_some_and(|(planned, _)| planned > cx.now && at.is_some_and(|at| planned <= at)) {
            return;
        }
        if let Some((_, timer)) = open.look.take() {
            cx.wheel.cancel(timer);
        }
        open.look = at.map(|at| (at, cx.wheel.insert(at, NodeTimer::Look(id))));
    }

    fn take_step(&mut self, net: &mut Net, id: TransferId, step: Step) {
        log::trace!(id = id.0, step = step.word(); "the next step of a download");
        match step {
            Step::MakeContact { source } => self.make_contact(net, id, source),
            Step::Ask { source, task } => self.ask(net.cx, id, source, task),
            Step::TakeSize { source, size } => self.take_size(net.cx, id, source, size),
            Step::Steal { victim, thief, groups } => self.steal(net.cx, id, victim, thief, groups),
            Step::DropSlow { source } => {
                net.cx.counters.limited.sources_silent += 1;
                self.break_off(net.cx, id, source);
                self.rest_source(net.cx, id, source, SourceFault::TooSlow);
            }
            Step::Check => self.check_part(net.cx, id, None),
        }
    }
}

impl Download {
    /// `room`: how many more exchanges it may begin.
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
    pub(super) fn may_explore(&self, now: Instant) -> bool {
        let (mut tried, mut failing) = (0, 0);
        for (at, source) in self.sources.iter().enumerate().filter(|(_, source)| !source.has_delivered()) {
            tried += usize::from(source.fetch().is_some_and(|fetch| !has_brought_little(now, fetch)));
            let is_silent = source.fetch().is_some_and(|fetch| self.is_silent(now, at, fetch));
            failing += usize::from(is_silent || source.failures > 0);
        }
        tried < EXPLORED_AT_ONCE || failing < EXPLORED_AT_ONCE || !self.is_delivered(now)
    }

    /// Whether a source that has delivered still does.
    pub(super) fn is_delivered(&self, now: Instant) -> bool {
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

    /// Whether this source may be asked for what others could be asked for as well: not after [`FAILURES_RELIED_MAX`] failures
    /// in a row, while an idle source has fewer.
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

    pub(super) fn step_to_outline(&self, now: Instant, room: usize) -> Option<Step> {
        if let Some((at, fetch)) = self.busy().find(|(_, fetch)| is_stream(fetch)) {
            return self.relieve(now, at, fetch);
        }
        if self.waits_for_identity(now) {
            return None;
        }
        let outline = self.ask_for_outline(&|source| source.is_ready_for(Ask::Metadata));
        if self.waits_for_outline() {
            return self.hedge(now, room, outline);
        }
        // The first in order: a user who names several has put them so.
        outline.or_else(|| self.ask_for_all(now, |source| Portion::Stream { size_max: source.size }))
    }

    /// Whether a source was asked a moment ago what it has: its answer may change what is wanted.
    fn waits_for_identity(&self, now: Instant) -> bool {
        let asked =
            |fetch: &Fetch| fetch.task == Task::Identify && now.saturating_since(fetch.progressed) < HEDGE_AFTER;
        self.busy().any(|(_, fetch)| asked(fetch))
    }

    /// Whether a source was asked for an outline.
    fn waits_for_outline(&self) -> bool {
        self.busy().any(|(_, fetch)| fetch.task == Task::Metadata)
    }

    /// A first or another outline, of whichever source fits best.
    fn ask_for_outline(&self, may_give: &dyn Fn(&Source) -> bool) -> Option<Step> {
        let (b3, is_begun) = (self.want.b3(), self.content().is_some_and(|content| content.verified.held() > 0));
        let claims_one_group = |source: &Source| {
            let size = source.size.filter(|size| group_count(*size) <= 1 && !is_begun)?;
            // No content but one is empty.
            Outline::new(b3?, size, Vec::new()).ok().filter(|_| source.is_ready_for(Ask::Ranges)).map(|_| size)
        };
        let may_give = |source: &Source| self.is_relied_on(source) && may_give(source);
        let claims = |source: &Source| self.is_relied_on(source) && claims_one_group(source).is_some();
        let source = self.best(|source| may_give(source) || claims(source))?;
        Some(match claims_one_group(&self.sources[source]) {
            Some(size) => Step::TakeSize { source, size },
            None => Step::Ask { source, task: Task::Metadata },
        })
    }

    pub(super) fn step_to_proof(&self, now: Instant, room: usize, content: &Content) -> Option<Step> {
        let last = content.verified.count().saturating_sub(1);
        let gave = |source: &Source| Some(source.addr) == content.giver;
        let is_ready = |source: &Source| source.is_ready_for(Ask::Ranges) && self.is_relied_on(source);
        let proof = |source: usize| Step::Ask { source, task: Task::groups(last..last + 1) };
        if let Some((at, fetch)) = self.busy().find(|(_, fetch)| is_stream(fetch)) {
            return self.relieve(now, at, fetch);
        }
        if self.waits_for_identity(now) {
            return None;
        }
        // Who says no to ranges cannot prove its word.
        let may_give =
            |source: &Source| !gave(source) && source.is_ready_for(Ask::Metadata) && source.is_ready_for(Ask::Ranges);
        if self.waits_for_outline() {
            return self.hedge(now, room, self.ask_for_outline(&may_give));
        }
        let claims = |source: &Source| source.size == Some(content.size()) && is_ready(source);
        if self.busy().any(|(_, fetch)| fetch.task.left().is_some()) {
            let beside = self.best(claims).map(proof);
            return self.hedge(now, room, beside).or_else(|| self.give_up_proof(now, &may_give));
        }
        if let Some(source) = self.best(|source| gave(source) && is_ready(source)) {
            return Some(proof(source));
        }
        self.ask_for_outline(&may_give).or_else(|| self.ask_for_whole(now))
    }

    /// Nobody is left who could prove the size beside those that were asked, and they bring nothing: one that fails less may
    /// give another outline.
    fn give_up_proof(&self, now: Instant, may_give: &dyn Fn(&Source) -> bool) -> Option<Step> {
        let asked: Vec<_> = self.busy().filter(|(_, fetch)| fetch.task.left().is_some()).collect();
        let fewest = asked.iter().map(|(at, _)| self.sources[*at].failures).min()?;
        let is_better = |source: &Source| may_give(source) && source.failures <= fewest;
        if asked.iter().all(|(at, fetch)| self.is_silent(now, *at, fetch)) && self.sources.iter().any(is_better) {
            return asked.first().map(|(at, _)| Step::DropSlow { source: *at });
        }
        asked.into_iter().find_map(|(at, fetch)| self.relieve(now, at, fetch))
    }

    /// What those that were asked for metadata or for the proof of the size do not bring is asked of a further source beside
    /// them, as `ask` says. At most one more than those that bring nothing is waited for; without room the longest silent
    /// one gives its place to a source that failed no more often.
    fn hedge(&self, now: Instant, room: usize, ask: Option<Step>) -> Option<Step> {
        let asked: Vec<_> = self.busy().filter(|(_, fetch)| fetch.task != Task::Identify).collect();
        let next = match &ask {
            Some(Step::Ask { source, .. } | Step::TakeSize { source, .. }) => Some(&self.sources[*source]),
            _ => None,
        };
        let Some(next) = next else {
            // Others may help in another way.
            let metadata = |fetch: &Fetch| fetch.task == Task::Metadata;
            return asked.iter().filter(|(_, fetch)| metadata(fetch)).find_map(|(at, f)| self.relieve(now, *at, f));
        };
        if room == 0 {
            let gives_way = |(at, fetch): &&(usize, &Fetch)| {
                self.is_silent(now, *at, fetch) && next.failures <= self.sources[*at].failures
            };
            let longest = asked.iter().filter(gives_way).min_by_key(|(_, fetch)| fetch.progressed);
            return longest.map(|(at, _)| Step::DropSlow { source: *at });
        }
        let is_quiet = |at: usize, fetch: &Fetch| has_brought_little(now, fetch) || self.is_silent(now, at, fetch);
        let quiet = asked.iter().filter(|(at, fetch)| is_quiet(*at, fetch)).count();
        let promising = asked.len() - quiet;
        // Where all are slow, one more for the same group is enough.
        let is_slow = asked.len() == 1 && asked.iter().any(|(at, fetch)| self.proves_slowly(now, *at, fetch));
        if is_slow || quiet > 0 && promising <= quiet { ask } else { None }
    }

    /// Whether all wait for the group that proves the size, from the source that happened to give the outline, though
    /// another may well be faster.
    fn proves_slowly(&self, now: Instant, at: usize, fetch: &Fetch) -> bool {
        let proves = fetch.task.left().is_some() && self.content().is_some() && !self.has_proved_size();
        if !proves || fetch.tried_for(now) < PROOF_AFTER {
            return false;
        }
        let rate = self.sources[at].rate.per_second(now, self.sources[at].received).unwrap_or(0);
        rate.saturating_mul(PROOF_ETA.as_secs()) < GROUP_BYTES.saturating_sub(fetch.in_flight())
    }

    /// Whether it proves the size so slowly that another source may as well begin with an outline of its own. Once for a
    /// download: where all are slow, changing about would only cost more.
    pub(super) fn proves_too_slowly(&self, now: Instant, at: usize, fetch: &Fetch) -> bool {
        let untried = |other: &Source| other.is_ready_for(Ask::Metadata) && other.is_ready_for(Ask::Ranges);
        self.proves_slowly(now, at, fetch)
            && self.busy().count() == 1
            && self.sources.iter().all(|source| source.failures == 0)
            && self.sources.iter().any(untried)
    }
}

/// Whether all of the file was asked for.
fn is_stream(fetch: &Fetch) -> bool {
    fetch.task.asks() == Ask::All
}

/// Whether nothing has come for a moment, or since it was asked less than is of use.
pub(super) fn has_brought_little(now: Instant, fetch: &Fetch) -> bool {
    let tried = fetch.tried_for(now);
    let useful = USEFUL_RATE.saturating_mul(tried.as_secs());
    now.saturating_since(fetch.progressed) >= HEDGE_AFTER || tried >= HEDGE_AFTER && fetch.received < useful
}

#[cfg(test)]
mod tests;

//! How a download gets an outline and has its size proved: steps of [`picker`](crate::node::download::picker) that come before any
//! group is fetched for its own sake.
//!
//! An outline is asked of one source. Where it brings nothing, further ones are asked beside it, ever more at once, and the
//! first outline ends the others; so sources that accept and say nothing cost seconds together, and not each. The last
//! group, which proves the size, is asked in the same way of all that claim this size. Metadata and groups are never on
//! their way at the same time, since groups are checked against the outline that they were asked for.

use super::known::Content;
use super::names::Ask;
use super::picker::{Step, has_brought_little};
use super::source::{Fetch, Source, Task};
use super::state::Download;
use crate::content::{GROUP_BYTES, Outline, group_count};
use crate::node::contract::Portion;
use crate::node::limits::{HEDGE_AFTER, PROOF_AFTER, PROOF_ETA};
use crate::time::Instant;

impl Download {
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
            return asked.first().map(|(at, _)| Step::Relieve { source: *at });
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
            return longest.map(|(at, _)| Step::Relieve { source: *at });
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

//! What the end of an exchange with a source means: for its download, and for the source.

use super::DownloadMachine;
use super::known::{Content, Known};
use super::names::Ask;
use super::source::{Charge, Doubt, Excuse, Fetch, Source, Standing, Task};
use super::state::{Download, Seek, Want};
use crate::control::{Notice, Problem, SourceFault};
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::id::{ContentHash, TransferId};
use crate::node::contract::{DialOutcome, Dialled, Portion, Response};
use crate::node::cx::{Cx, Topic};
use crate::node::limits::{BROUGHT_BYTES_MIN, BUSY_AFTER, SOURCE_REFUSALS_MAX, SOURCE_REST_MAX, SOURCE_REST_MIN};
use crate::node::network::NetworkMachine;
use crate::node::speech::Speech;
use crate::time::Instant;
use std::net::SocketAddr;

/// What an ended exchange means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FetchOutcome {
    /// It brought what it was asked for.
    Served,
    /// Metadata that prove themselves.
    Outline { b3: ContentHash, size: u64 },
    /// What it has under the name, as it says.
    Has { b3: ContentHash, size: u64 },
    /// A stream ended, and as far as can be known it is whole.
    Whole,
    /// It refused.
    Refused(SourceFault),
    /// It is out of reach, or broke off.
    Lost(SourceFault),
    /// It sent what cannot be right.
    Corrupt(SourceFault),
    /// A group that several exchanges brought is wrong: none of them is known to have lied.
    CorruptParts,
    /// Our own disk failed.
    Disk(DiskFault),
}

/// Judges the end of an exchange.
pub(super) fn judge(
    content: Option<&Content>,
    source: &Source,
    fetch: &Fetch,
    speech: Speech,
    outcome: DialOutcome,
) -> FetchOutcome {
    match (outcome, &fetch.task) {
        (Ok(Dialled { response: Response::Metadata { b3, size }, .. }), Task::Metadata) => {
            FetchOutcome::Outline { b3, size }
        }
        (Ok(Dialled { response: Response::FileInfo { b3, size }, .. }), Task::Identify) => {
            FetchOutcome::Has { b3, size }
        }
        (Ok(_), Task::Metadata | Task::Identify) => FetchOutcome::Lost(SourceFault::NoMetadata),
        (Ok(_), Task::File(Portion::Groups(left))) if left.is_empty() => FetchOutcome::Served,
        (Ok(_), Task::File(Portion::Groups(left))) => {
            FetchOutcome::Lost(SourceFault::StoppedEarly(left.end - left.start))
        }
        (Ok(_), Task::File(Portion::Whole | Portion::Stream { .. })) => judge_end(content, source, fetch, speech),
        (Err(fault), task) => judge_fault(fetch, task, fault),
    }
}

/// A stream ended in order. An end without a byte is a file only where a peer that speaks `p1` has said that it is empty:
/// base programs end so when they refuse.
fn judge_end(content: Option<&Content>, source: &Source, fetch: &Fetch, speech: Speech) -> FetchOutcome {
    let size = content.map(Content::size).or(source.size);
    let size_is_told = speech == Speech::P1 && size.is_some();
    match size {
        _ if fetch.received == 0 && !size_is_told => FetchOutcome::Refused(SourceFault::SentNothing),
        // Each group was checked when it came, and the download knows which are missing.
        Some(size) if size != fetch.received => {
            FetchOutcome::Lost(SourceFault::OtherSize { sent: fetch.received, size })
        }
        _ if content.is_some() => FetchOutcome::Served,
        _ => FetchOutcome::Whole,
    }
}

/// An exchange broke off. A reset without a byte is how a peer says no.
fn judge_fault(fetch: &Fetch, task: &Task, fault: DialFault) -> FetchOutcome {
    let lost = || FetchOutcome::Lost(fault.into());
    let checked = !task.is_stream();
    match fault {
        DialFault::Disk(fault) => FetchOutcome::Disk(fault),
        DialFault::Corrupt => FetchOutcome::Corrupt(fault.into()),
        DialFault::CorruptParts => FetchOutcome::CorruptParts,
        DialFault::TooLong | DialFault::Malformed if task.asks() == Ask::Metadata => {
            FetchOutcome::Refused(SourceFault::Refuses)
        }
        DialFault::TooLong if checked => FetchOutcome::Corrupt(fault.into()),
        DialFault::Declined(RefusalReason::Unknown) => FetchOutcome::Refused(fault.into()),
        DialFault::Declined(reason) => FetchOutcome::Refused(reason.into()),
        _ if fetch.received > 0 => lost(),
        DialFault::Reset => FetchOutcome::Refused(SourceFault::Refuses),
        _ => lost(),
    }
}

impl DownloadMachine {
    pub(super) fn apply_outcome(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        id: TransferId,
        at: usize,
        fetch: Fetch,
        outcome: FetchOutcome,
    ) {
        // It may have taken us for stalled, since we read so slowly. If that took some time, it may be asked again at once.
        let is_excused = fetch.is_held(cx.now) && cx.now.saturating_since(fetch.began) >= SOURCE_REST_MIN;
        let Fetch { task, name, began, received, .. } = fetch;
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        log::debug!("download {}: {task:?} of {}: {outcome:?}", id.0, source.addr);
        match outcome {
            FetchOutcome::Served => {
                source.forgive();
                download.seek.by_name = false;
                download.seek.stuck = 0;
            }
            FetchOutcome::Outline { b3, size } => {
                source.fault = None;
                self.take_outline(cx, id, at, b3, size);
            }
            FetchOutcome::Has { b3, size } => self.on_identified(cx, id, at, b3, size),
            FetchOutcome::Whole => {
                source.forgive();
                let streamer = source.addr;
                if let Some(open) = download.open_mut() {
                    // It is as long as this, however long another was before.
                    open.known = Known::Nothing { streamed: received };
                }
                self.check_part(cx, id, Some(streamer));
            }
            FetchOutcome::Refused(how) if task == Task::Identify => {
                self.on_unidentified(cx, network, id, at, how);
            }
            FetchOutcome::Refused(how) => {
                let charge = Charge::Refused { took: cx.now.saturating_since(began) };
                self.on_refused(cx, network, id, at, Doubt { task, name, charge }, how);
            }
            FetchOutcome::Lost(why) => {
                if task.is_stream() {
                    source.bytes = 0;
                }
                // What it brought of a group is kept: it may be slow, but it is not out of reach.
                if task.left().is_some() && received >= BROUGHT_BYTES_MIN {
                    (source.failures, source.silences) = (0, 0);
                }
                if !is_excused {
                    self.rest_source(cx, id, at, why);
                }
            }
            FetchOutcome::Corrupt(why) => {
                self.on_corrupt(cx, id, at, Doubt { task, name, charge: Charge::Corrupt(why) })
            }
            // It may be asked again at once: what was wrong is discarded, and its parts are not combined any more.
            FetchOutcome::CorruptParts => {}
            // Others may claim less.
            FetchOutcome::Disk(DiskFault::Full)
                if task == Task::Metadata && self.may_outline_come_from_another(id, at) =>
            {
                self.rest_source(cx, id, at, SourceFault::NoRoom);
            }
            FetchOutcome::Disk(fault) => self.on_disk_fault(cx, id, fault),
        }
    }

    /// A source that did not give the content says which one it has.
    fn on_identified(&mut self, cx: &mut Cx, id: TransferId, at: usize, b3: ContentHash, size: u64) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let want = download.want;
        let Some(doubt) = download.sources.get_mut(at).and_then(|source| source.doubt.take()) else { return };
        if want.b3().is_none_or(|wanted| wanted == b3) {
            return match &doubt.charge {
                // It had us wait for our turn, and none came.
                Charge::Refused { took } if *took >= BUSY_AFTER => {
                    self.rest_source(cx, id, at, RefusalReason::Busy.into());
                }
                Charge::Refused { .. } => self.believe_refusal(cx, id, at, doubt.task.asks(), SourceFault::Refuses),
                // It was asked for what somebody else has claimed.
                Charge::Corrupt(_) if download.says_another_size(at, size) => self.correct_size(cx, id, at, size),
                Charge::Corrupt(why) => {
                    if let Some(source) = download.sources.get_mut(at).filter(|it| it.excuse == Excuse::NotNeeded) {
                        source.excuse = Excuse::Due;
                    }
                    self.judge_corrupt(cx, id, at, &doubt.task, *why);
                }
                // It may be asked for the content: it has it.
                Charge::OtherByHit => {}
            };
        }
        let Some(source) = download.sources.get_mut(at) else { return };
        log::info!("download {}: {} has another content as {} by now", id.0, source.addr, doubt.name);
        let taught = matches!(want, Want::Learnt { from, .. } if from == source.addr);
        if taught && *doubt.name == download.name {
            return self.unlearn(cx, id, at);
        }
        source.names.disprove(&doubt.name);
        if source.names.name_for(Ask::All).is_none() {
            self.refuse_source(cx, id, at, SourceFault::NameOfAnother);
        }
        self.seek_soon(cx, id);
    }

    /// The source that said which content has the name says that it is another: the download begins again with that one.
    fn unlearn(&mut self, cx: &mut Cx, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.changes = source.changes.saturating_add(1);
        let changes = source.changes;
        if changes > SOURCE_REFUSALS_MAX {
            return self.condemn(cx, id, at, SourceFault::GivesNone);
        }
        // Nothing is under way from here on, so that places may change.
        self.stop_fetching(cx, id);
        self.downloads.change_sources(id, |download| {
            if let Some(teacher) = download.sources.get_mut(at).filter(|_| changes > 1) {
                let until = cx.now + cx.rng.back_off(changes - 1, SOURCE_REST_MIN, SOURCE_REST_MAX);
                teacher.standing = Standing::Resting { until };
                teacher.fault = Some(SourceFault::ChangesAgain);
            }
            // What the others did was about the content that it is no more.
            for source in &mut download.sources {
                match source.standing {
                    Standing::Refused => source.standing = Standing::Idle,
                    Standing::Corrupt if source.excuse == Excuse::Due => source.standing = Standing::Idle,
                    _ => {}
                }
                (source.size, source.bytes, source.excuse) = (None, 0, Excuse::NotNeeded);
            }
            download.return_to_chosen();
            download.claimed_size = None;
            if let Some(open) = download.open_mut() {
                open.known = Known::default();
            }
            download.seek = Seek::default();
        });
        self.remember_download(cx, id);
        self.restart_part(cx, id);
    }

    /// Leaves a source alone for a while.
    pub(super) fn rest_source(&mut self, cx: &mut Cx, id: TransferId, at: usize, why: SourceFault) {
        let Some(source) = self.downloads.source_mut(id, at) else { return };
        source.failures = source.failures.saturating_add(1);
        source.silences = source.silences.saturating_add(1);
        let until = cx.now + cx.rng.back_off(source.failures, SOURCE_REST_MIN, SOURCE_REST_MAX);
        source.standing = Standing::Resting { until };
        source.fault = Some(why);
        self.tell_source_lost(cx, id, at);
    }

    /// A source sent what cannot be right. One that speaks `p1` says first what it has: its file may have changed.
    fn on_corrupt(&mut self, cx: &mut Cx, id: TransferId, at: usize, doubt: Doubt) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_known = download.want.b3().is_some();
        let Some(source) = download.sources.get_mut(at) else { return };
        match doubt {
            doubt if is_known && source.p1 => source.doubt = Some(doubt),
            Doubt { task, charge: Charge::Corrupt(why), .. } => {
                self.judge_corrupt(cx, id, at, &task, why);
            }
            Doubt { charge: Charge::Refused { .. } | Charge::OtherByHit, .. } => {}
        }
    }

    /// Nobody can be asked now. Who has sent wrong bytes once and says that it has the content may be honest: its file may
    /// have been another for a while. It rests and is asked again; the next time that it does so it is left out for good.
    /// Says whether there is one.
    pub(super) fn excuse_sources(&mut self, cx: &mut Cx, id: TransferId) -> bool {
        let Some(download) = self.downloads.get(id) else { return false };
        let is_due = |source: &Source| matches!(source.standing, Standing::Corrupt) && source.excuse == Excuse::Due;
        let Some(at) = download.sources.iter().position(is_due) else { return false };
        if let Some(source) = self.downloads.source_mut(id, at) {
            source.excuse = Excuse::Used;
            let why = source.fault.unwrap_or(SourceFault::OtherContent);
            self.rest_source(cx, id, at, why);
        }
        true
    }

    /// Never asks a source for this content again.
    pub(super) fn condemn(&mut self, cx: &mut Cx, id: TransferId, at: usize, why: SourceFault) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        log::warn!("download {} of {}: {} is left out: {why}", id.0, download.name, source.addr);
        source.standing = Standing::Corrupt;
        source.fault = Some(why);
        cx.counters.limited.sources_corrupt += 1;
        self.tell_source_lost(cx, id, at);
    }

    /// Condemns the source at an address, if there is one.
    pub(super) fn blame(&mut self, cx: &mut Cx, id: TransferId, addr: Option<SocketAddr>, why: SourceFault) {
        if let Some(at) = self.source_at(id, addr) {
            self.condemn(cx, id, at, why);
        }
    }

    /// The stream that this source sent is of another content.
    pub(super) fn on_other_stream(&mut self, cx: &mut Cx, id: TransferId, addr: Option<SocketAddr>) {
        let Some(at) = self.source_at(id, addr) else { return };
        let source = self.downloads.source(id, at);
        let Some(name) = source.and_then(|source| source.names.iter().next()).cloned() else { return };
        let charge = Charge::Corrupt(SourceFault::OtherContent);
        self.on_corrupt(cx, id, at, Doubt { task: Task::Metadata, name, charge });
    }

    fn source_at(&self, id: TransferId, addr: Option<SocketAddr>) -> Option<usize> {
        self.downloads.get(id)?.sources.iter().position(|source| Some(source.addr) == addr)
    }

    pub(super) fn tell_source_lost(&mut self, cx: &mut Cx, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source(id, at) else { return };
        let notice = Notice::SourceLost { download: id.0, source: source.row(cx.now) };
        cx.notify(Topic::Download(id), || notice);
    }

    /// No source can be asked now: waits for the first that can be again.
    pub(super) fn rest_download(&mut self, cx: &mut Cx, id: TransferId, until: Instant) {
        self.seek_after_failure(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        let rests = |source: &&Source| matches!(source.standing, Standing::Resting { until: at } if at == until);
        let next_seek = download.seek.next.filter(|_| download.want != Want::Name);
        let blamed = download.sources.iter().find(rests).and_then(Source::blamed);
        let until = next_seek.map_or(until, |at| until.min(at.max(cx.now + SOURCE_REST_MIN)));
        self.set_waiting(cx, id, until, Problem::OutOfReach { blamed });
        self.start_downloads(cx);
    }

    /// Every source has said no or was left out. The end, if only a name is known, no search can bring another, and none of
    /// them has lied; a content is looked for until the user cancels it, and so is a name of which only liars are known.
    pub(super) fn give_up(&mut self, cx: &mut Cx, id: TransferId) {
        if let Some(why) = self.downloads.get(id).and_then(Download::not_there) {
            return self.fail_download(cx, id, why);
        }
        let hope = self.seek_while_stuck(cx, id).or_else(|| self.seek_before_the_end(cx, id));
        let hope = hope.or_else(|| self.seek_despite_liars(cx, id));
        let Some(download) = self.downloads.get_mut(id) else { return };
        let corrupt = download.sources.iter().any(|source| matches!(source.standing, Standing::Corrupt));
        let mut refused = download.sources.iter().filter(|source| matches!(source.standing, Standing::Refused));
        let blamed = refused.find_map(Source::blamed);
        let why = match (hope, corrupt) {
            (_, true) => Problem::AllCorrupt,
            (Some(_), false) if download.sources.is_empty() => Problem::NoSourceLeft,
            (Some(_), false) => Problem::Refused { blamed },
            (None, false) => Problem::RefusedForGood { blamed },
        };
        match hope {
            Some(until) => {
                self.set_waiting(cx, id, until, why);
                self.start_downloads(cx);
            }
            None => self.fail_download(cx, id, why),
        }
    }
}

//! The exchanges that bring a file: what is asked, what comes of it, and what the end of an exchange means (PROTOCOL, "How a
//! response ends", "Old peers answer `4` by calling back", Ranges and metadata).

use super::DownloadMachine;
use super::names::Ask;
use super::part::{Content, Known};
use super::source::{Charge, Doubt, Fetch, Source, Task};
use super::state::{Download, Want};
use crate::control::SourceFault;
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::node::contract::{Action, DialOutcome, Dialled, Expect, Portion, Response};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::{Command, Purpose, Rank};
use crate::node::limits::{BROUGHT_BYTES_MIN, CONNECT_MAX, PROGRESS_INTERVAL, SOURCE_REST_MIN};
use crate::node::network::Net;
use crate::node::speech::Speech;
use crate::wire::Message;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

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

impl FetchOutcome {
    /// For the log.
    fn word(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Outline { .. } => "metadata",
            Self::Has { .. } => "identified",
            Self::Whole => "whole",
            Self::Refused(_) => "refused",
            Self::Lost(_) => "lost",
            Self::Corrupt(_) => "corrupt",
            Self::CorruptParts => "corrupt_parts",
            Self::Disk(_) => "disk",
        }
    }

    fn error(&self) -> Option<String> {
        match self {
            Self::Refused(why) | Self::Lost(why) | Self::Corrupt(why) => Some(why.to_string()),
            Self::Disk(fault) => Some(fault.to_string()),
            _ => None,
        }
    }
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
        (Ok(Dialled { response: Response::FileInfo { b3, size, .. }, .. }), Task::Identify) => {
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
    /// Asks a source, by code 4, 8 or 9.
    pub(super) fn ask(&mut self, cx: &mut Cx, id: TransferId, at: usize, task: Task) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let b3 = download.want.b3();
        let brings =
            |start: u64| download.sources.iter().filter_map(Source::groups_left).any(|left| left.contains(&start));
        let twice = task.left().is_some_and(|groups| brings(groups.start));
        let Some(source) = download.sources.get_mut(at) else { return };
        let doubted = source.doubt.as_ref().map(|doubt| &doubt.name);
        let asked_under = doubted.or(source.names.name_for(task.asks())).or(source.names.iter().next());
        let Some(asked_under) = asked_under.map(Rc::clone) else { return };
        let (to, name) = (source.addr, FileName::clone(&asked_under));
        let exchange = cx.next_exchange(to, Purpose::Fetch);
        source.asked_at = Some(cx.now);
        source.rate.start(cx.now, source.received);
        if task.is_stream() {
            source.bytes = 0;
        }
        let action = match &task {
            Task::Metadata => Action::FetchMetadata { exchange, download: id, to, name, b3 },
            Task::Identify => {
                let messages = vec![Message::MetadataRequest { name }];
                Action::Dial { exchange, to, messages, expect: Expect::FileInfo, connect_max: CONNECT_MAX }
            }
            Task::File(portion) => {
                let may_call_back = !source.p1 && task.left().is_none();
                Action::Fetch { exchange, download: id, to, name, may_call_back, portion: portion.clone() }
            }
        };
        // `Rank::Fetch` is never refused.
        let _ = cx.submit(exchange, Command::Begin(action), Rank::Fetch);
        self.downloads.begin_fetch(id, at, Fetch::new(cx.now, exchange, task, twice, asked_under));
    }

    /// The outline of a content of one group is its hash; its size is what the source says, until the group proves it.
    pub(super) fn take_size(&mut self, cx: &mut Cx, id: TransferId, at: usize, size: u64) {
        self.stop_asking_for_outlines(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        let (Some(b3), Some(source)) = (download.want.b3(), download.sources.get(at)) else { return };
        let giver = source.addr;
        download.claimed_size = Some(size);
        if let Some(open) = download.open_mut() {
            open.known = Known::outline(Content::new(size, giver, true));
        }
        cx.out.act(Action::SetOutline { download: id, b3, size });
    }

    pub(super) fn steal(&mut self, cx: &mut Cx, id: TransferId, victim: usize, thief: usize, groups: Range<u64>) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(fetch) = download.sources.get_mut(victim).and_then(|source| source.fetch_mut()) else { return };
        let exchange = fetch.exchange;
        if let Some(left) = fetch.task.left_mut() {
            left.end = groups.start;
            if !cx.trim_waiting(exchange, groups.start) {
                cx.out.act(Action::Trim { exchange, groups_end: groups.start });
            }
        }
        self.ask(cx, id, thief, Task::groups(groups));
    }

    /// Of the first group, an earlier fetch has brought so many bytes. They are in no progress that is shown, as they are not
    /// verified, but they do not have to come again.
    pub(in crate::node) fn on_fetch_resumed(&mut self, exchange: ExchangeId, bytes: u64) {
        if let Some(fetch) = self.downloads.fetch_mut(exchange) {
            fetch.resumed = bytes;
        }
    }

    pub(in crate::node) fn on_fetch_held(&mut self, cx: &Cx, exchange: ExchangeId, by_disk: bool) {
        if let Some(fetch) = self.downloads.fetch_mut(exchange) {
            fetch.hold(cx.now, by_disk);
        }
    }

    /// Bytes came: counted, and told at most a few times a second.
    pub(in crate::node) fn on_fetch_progress(&mut self, cx: &mut Cx, exchange: ExchangeId, bytes: u64) {
        let Some((id, at)) = self.downloads.fetch_of(exchange) else { return };
        self.note_bytes(cx, id, at, bytes);
        self.tell_progress(cx, id);
    }

    fn tell_progress(&mut self, cx: &mut Cx, id: TransferId) {
        let due = |row: &Download| row.notified_at.is_none_or(|at| cx.now.saturating_since(at) >= PROGRESS_INTERVAL);
        if self.downloads.get(id).is_some_and(due) {
            self.tell_download(cx, id);
        }
    }

    /// Counts what the running exchange of a source has brought so far.
    fn note_bytes(&mut self, cx: &mut Cx, id: TransferId, at: usize, bytes: u64) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        let Some(fetch) = source.fetch_mut() else { return };
        let more = bytes.saturating_sub(fetch.received);
        if more == 0 {
            return;
        }
        fetch.received = bytes;
        fetch.progressed = cx.now;
        let streams = fetch.task.is_stream();
        source.received += more;
        source.rate.note(cx.now, source.received);
        if streams {
            source.bytes = bytes;
        }
        download.received += more;
        let received = download.received;
        if let Some(open) = download.open_mut() {
            open.rate.note(cx.now, received);
            if let Known::Nothing { streamed } = &mut open.known {
                *streamed = (*streamed).max(if streams { bytes } else { 0 });
            }
        }
        cx.counters.bytes_down += more;
    }

    /// A group is there.
    pub(in crate::node) fn on_group_verified(&mut self, cx: &mut Cx, exchange: ExchangeId, group: u64) {
        let Some((id, at)) = self.downloads.fetch_of(exchange) else { return };
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(known) = download.open_mut().map(|open| &mut open.known) else { return };
        let Some(bytes) = known.content().map(|content| content.bytes_of(group)) else { return };
        let new = known.add(group);
        let Some(source) = download.sources.get_mut(at) else { return };
        source.forgive();
        source.bytes += if new { bytes } else { 0 };
        let Some(fetch) = source.fetch_mut() else { return };
        fetch.progressed = cx.now;
        if let Some(left) = fetch.task.left_mut() {
            fetch.counted += bytes.saturating_sub(std::mem::take(&mut fetch.resumed));
            left.start = group + 1;
            left.end = left.end.max(left.start);
        }
        let received = fetch.received.max(fetch.counted);
        download.disk.failures = 0;
        if new {
            self.stop_needless(cx, id, Some(exchange));
        }
        self.note_bytes(cx, id, at, received);
        self.tell_progress(cx, id);
        self.downloads.mark_dirty(id);
    }

    /// A group is there though the fetch that brought it was broken off.
    pub(in crate::node) fn on_group_written(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        from: SocketAddr,
        (b3, group): (ContentHash, u64),
    ) {
        let Some(download) = self.downloads.get_mut(id).filter(|download| download.want.b3() == Some(b3)) else {
            return;
        };
        let Some(known) = download.open_mut().map(|open| &mut open.known) else { return };
        let bytes = known.content().map_or(0, |content| content.bytes_of(group));
        if !known.add(group) {
            return;
        }
        // It has brought this, whatever its fetch was broken off for.
        download.sources.iter_mut().filter(|source| source.addr == from).for_each(|source| source.bytes += bytes);
        self.stop_needless(cx, id, None);
        self.tell_progress(cx, id);
        self.downloads.mark_dirty(id);
    }

    /// Breaks off the other exchanges that are still to bring nothing but what is there by now.
    fn stop_needless(&mut self, cx: &mut Cx, id: TransferId, bringer: Option<ExchangeId>) {
        let Some(download) = self.downloads.get(id) else { return };
        let Some(content) = download.content() else { return };
        let is_there = |groups: &Range<u64>| {
            content.verified.first_missing(groups.start).is_none_or(|missing| missing >= groups.end)
        };
        let is_needless = |left: &Range<u64>| !left.is_empty() && is_there(left);
        let needless = |fetch: &Fetch| Some(fetch.exchange) != bringer && fetch.task.left().is_some_and(is_needless);
        let needless: Vec<_> = download.busy().filter(|(_, fetch)| needless(fetch)).map(|(at, _)| at).collect();
        needless.into_iter().for_each(|at| self.stop_fetch(cx, id, at));
    }

    /// Breaks off what is not needed any more. A source that has brought nothing, while another did, rests: it is not asked
    /// again at once.
    fn stop_fetch(&mut self, cx: &mut Cx, id: TransferId, at: usize) {
        let Some(download) = self.downloads.get(id) else { return };
        let is_silent = download.busy().any(|(busy, fetch)| {
            busy == at && download.is_silent(cx.now, at, fetch) && !cx.exchanges.workers().is_queued(fetch.exchange)
        });
        self.break_off(cx, id, at);
        if is_silent {
            cx.counters.limited.sources_silent += 1;
            self.rest_source(cx, id, at, SourceFault::BroughtNothing);
        }
    }

    /// An outline is there: what other sources were asked to say is not needed.
    fn stop_asking_for_outlines(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        let asked = download.busy().filter(|(_, fetch)| fetch.task == Task::Metadata);
        let asked: Vec<_> = asked.map(|(at, _)| at).collect();
        asked.into_iter().for_each(|at| self.stop_fetch(cx, id, at));
    }

    /// A source gave an outline that proves itself, but for the size.
    pub(super) fn take_outline(&mut self, cx: &mut Cx, id: TransferId, at: usize, b3: ContentHash, size: u64) {
        self.stop_asking_for_outlines(cx, id);
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        source.size = Some(size);
        let giver = source.addr;
        // The groups take the place of what a stream has left in the part file.
        download.claimed_size = Some(size);
        if let Some(open) = download.open_mut() {
            open.known.take_outline(size, giver);
        }
        log::debug!(id = id.0, peer:% = giver, b3:%, size; "a source has sent metadata");
        if download.want == Want::Name {
            // Who was found by the name alone is dropped.
            self.downloads.change_sources(id, |download| {
                download.keep_chosen();
                download.want = Want::NamedContent { b3, from: giver };
            });
            self.look_for_learnt_content(cx, id);
            self.offer_learnt_member(id);
        }
        self.remember_download(cx, id);
    }

    pub(in crate::node) fn on_fetch_ended(&mut self, net: &mut Net, exchange: ExchangeId, outcome: DialOutcome) {
        // Of one that was broken off, nothing is wanted any more.
        let Some((id, at)) = self.downloads.fetch_of(exchange) else { return };
        if let Ok(Dialled { response: Response::File { bytes }, .. }) = &outcome {
            self.note_bytes(net.cx, id, at, *bytes);
        }
        let Some(download) = self.downloads.get(id) else { return };
        let Some(source) = download.sources.get(at) else { return };
        let Some(fetch) = source.fetch() else { return };
        let speech = if source.p1 { Speech::P1 } else { net.network.peers().speech(source.addr) };
        let outcome = judge(download.content(), source, fetch, speech, outcome);
        let Some(fetch) = self.downloads.end_fetch(net.cx.now, id, at) else { return };
        self.apply_outcome(net, id, at, fetch, outcome);
        self.downloads.mark_dirty(id);
    }

    pub(super) fn apply_outcome(
        &mut self,
        net: &mut Net,
        id: TransferId,
        at: usize,
        fetch: Fetch,
        outcome: FetchOutcome,
    ) {
        // It may have taken us for stalled, since we read so slowly. If that took some time, it may be asked again at once.
        let is_excused = fetch.is_held(net.cx.now) && net.cx.now.saturating_since(fetch.began) >= SOURCE_REST_MIN;
        let Fetch { task, name, began, received, .. } = fetch;
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some(source) = download.sources.get_mut(at) else { return };
        let (asked_for, error) = (task.word(), outcome.error());
        log::debug!(id = id.0, peer:% = source.addr, asked_for, result = outcome.word(), error; "a request to a source has ended");
        match outcome {
            FetchOutcome::Served => {
                source.forgive();
                download.seek.by_name = false;
                download.seek.stuck = 0;
            }
            FetchOutcome::Outline { b3, size } => {
                source.fault = None;
                self.take_outline(net.cx, id, at, b3, size);
            }
            FetchOutcome::Has { b3, size } => self.on_identified(net.cx, id, at, b3, size),
            FetchOutcome::Whole => {
                source.forgive();
                let streamer = source.addr;
                if let Some(open) = download.open_mut() {
                    // It is as long as this, however long another was before.
                    open.known = Known::Nothing { streamed: received };
                }
                self.check_part(net.cx, id, Some(streamer));
            }
            FetchOutcome::Refused(how) if task == Task::Identify => {
                self.on_unidentified(net, id, at, how);
            }
            FetchOutcome::Refused(how) => {
                let charge = Charge::Refused { took: net.cx.now.saturating_since(began) };
                self.on_refused(net, id, at, Doubt { task, name, charge }, how);
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
                    self.rest_source(net.cx, id, at, why);
                }
            }
            FetchOutcome::Corrupt(why) => {
                self.on_corrupt(net.cx, id, at, Doubt { task, name, charge: Charge::Corrupt(why) })
            }
            // It may be asked again at once: what was wrong is discarded, and its parts are not combined any more.
            FetchOutcome::CorruptParts => {}
            // Others may claim less.
            FetchOutcome::Disk(DiskFault::Full)
                if task == Task::Metadata && self.may_outline_come_from_another(id, at) =>
            {
                self.rest_source(net.cx, id, at, SourceFault::NoRoom);
            }
            FetchOutcome::Disk(fault) => self.on_disk_fault(net.cx, id, fault),
        }
    }
}

//! How a download gets its bytes: what [`picker`](crate::node::download::picker) decides is carried out, and what comes of it is
//! taken down (PROTOCOL, "How a response ends", "Old peers answer `4` by calling back", Ranges and metadata).

use super::DownloadMachine;
use super::known::{Content, Known};
use super::outcome::judge;
use super::picker::{NextStep, Step};
use super::source::{Fetch, Source, Standing, Task};
use super::state::{Download, Want};
use crate::control::SourceFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::node::contract::{Action, DialOutcome, Dialled, Expect, Response};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{CONNECT_MAX, PROGRESS_INTERVAL};
use crate::node::network::NetworkMachine;
use crate::node::speech::Speech;
use crate::wire::Message;
use std::ops::Range;
use std::rc::Rc;

impl DownloadMachine {
    /// Looks at every download to which something has happened.
    pub(in crate::node) fn drive_downloads(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        while let Some(id) = self.downloads.next_dirty() {
            self.drive(cx, network, id);
        }
    }

    /// Does what is to be done next for a download, until nothing is.
    fn drive(&mut self, cx: &mut Cx, network: &mut NetworkMachine, id: TransferId) {
        if !cx.is_running() || !self.is_fetching(id) {
            return;
        }
        if self.learn_speech(network, id) {
            self.remember_download(cx, id);
        }
        self.wake_sources(cx, id);
        self.seek_if_due(cx, id);
        while self.is_fetching(id) {
            if let Some(download) = self.downloads.get_mut(id) {
                download.call_reserve();
            }
            let room = self.downloads.fetch_room(id, cx.config.max_workers);
            let Some(download) = self.downloads.get(id) else { return };
            match download.next_step(cx.now, room) {
                NextStep::Do(step) => self.take_step(cx, network, id, step),
                NextStep::Working => return self.plan_look(cx, id),
                NextStep::Rest(_) | NextStep::NoSources if self.excuse_sources(cx, id) => {}
                NextStep::Rest(until) => return self.rest_download(cx, id, until),
                NextStep::NoSources => return self.give_up(cx, id),
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

    /// Sees to it that the download is looked at again when its sources are worth it.
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

    fn take_step(&mut self, cx: &mut Cx, network: &NetworkMachine, id: TransferId, step: Step) {
        log::trace!("download {}: {step:?}", id.0);
        match step {
            Step::MakeContact { source } => self.make_contact(cx, network, id, source),
            Step::Ask { source, task } => self.ask(cx, id, source, task),
            Step::TakeSize { source, size } => self.take_size(cx, id, source, size),
            Step::Steal { victim, thief, groups } => self.steal(cx, id, victim, thief, groups),
            Step::Relieve { source } => {
                cx.counters.limited.sources_silent += 1;
                self.break_off(cx, id, source);
                self.rest_source(cx, id, source, SourceFault::TooSlow);
            }
            Step::Check => self.check_part(cx, id, None),
        }
    }

    /// Codes 4, 8 and 9.
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
        let exchange = cx.next_fetch(to);
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
        cx.dial_fetch(exchange, action);
        self.downloads.begin_fetch(id, at, Fetch::new(cx.now, exchange, task, twice, asked_under));
    }

    /// The outline of a content of one group is its hash; its size is what the source says, until the group proves it.
    fn take_size(&mut self, cx: &mut Cx, id: TransferId, at: usize, size: u64) {
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

    fn steal(&mut self, cx: &mut Cx, id: TransferId, victim: usize, thief: usize, groups: Range<u64>) {
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

    /// Our limit holds a fetch back, and not its source.
    pub(in crate::node) fn on_fetch_held(&mut self, cx: &Cx, exchange: ExchangeId) {
        if let Some(fetch) = self.downloads.fetch_mut(exchange) {
            fetch.hold(cx.now);
        }
    }

    /// Bytes came: counted, and told at most a few times a second.
    pub(in crate::node) fn on_fetch_progress(&mut self, cx: &mut Cx, exchange: ExchangeId, bytes: u64) {
        let Some((id, at)) = self.downloads.fetch_of(exchange) else { return };
        self.note_bytes(cx, id, at, bytes);
        self.tell_progress(cx, id);
    }

    fn tell_progress(&mut self, cx: &mut Cx, id: TransferId) {
        let due = |row: &Download| row.told.is_none_or(|at| cx.now.saturating_since(at) >= PROGRESS_INTERVAL);
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
        download.disk_failures = 0;
        if new {
            self.stop_needless(cx, id, exchange);
        }
        self.note_bytes(cx, id, at, received);
        self.tell_progress(cx, id);
        self.downloads.mark_dirty(id);
    }

    /// Breaks off the other exchanges that are still to bring nothing but what is there by now.
    fn stop_needless(&mut self, cx: &mut Cx, id: TransferId, bringer: ExchangeId) {
        let Some(download) = self.downloads.get(id) else { return };
        let Some(content) = download.content() else { return };
        let is_there = |groups: &Range<u64>| {
            content.verified.first_missing(groups.start).is_none_or(|missing| missing >= groups.end)
        };
        let is_needless = |left: &Range<u64>| !left.is_empty() && is_there(left);
        let needless = |fetch: &Fetch| fetch.exchange != bringer && fetch.task.left().is_some_and(is_needless);
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
        log::debug!("download {}: {giver} says that {b3} has {size} bytes", id.0);
        if download.want == Want::Name {
            self.downloads.learn(id, b3, giver);
        }
        self.remember_download(cx, id);
    }

    pub(in crate::node) fn on_fetch_ended(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        exchange: ExchangeId,
        outcome: DialOutcome,
    ) {
        // Of one that was broken off, nothing is wanted any more.
        let Some((id, at)) = self.downloads.fetch_of(exchange) else { return };
        if let Ok(Dialled { response: Response::File { bytes }, .. }) = &outcome {
            self.note_bytes(cx, id, at, *bytes);
        }
        let Some(download) = self.downloads.get(id) else { return };
        let Some(source) = download.sources.get(at) else { return };
        let Some(fetch) = source.fetch() else { return };
        let speech = if source.p1 { Speech::P1 } else { network.peers().speech(source.addr) };
        let outcome = judge(download.content(), source, fetch, speech, outcome);
        let Some(fetch) = self.downloads.end_fetch(cx.now, id, at) else { return };
        self.apply_outcome(cx, network, id, at, fetch, outcome);
        self.downloads.mark_dirty(id);
    }
}

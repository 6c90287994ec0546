//! The event log: what became of downloads, and what wishes have found, with ids that never repeat, for programs that must not miss an event.
//!
//! An event is on the disk in the record of its download: both are there after a crash, or neither. It is shown and sent
//! only when that record is on the disk and no earlier event is still to be written, so that whoever has seen an id has
//! seen, or can still ask for, all smaller ones. At a bound the oldest events are forgotten, of whatever download.

use super::{Cx, Rng, Topic};
use crate::control::{EventKind, EventLogReply, EventRow, IdSpan, Notice, PAGE_ROWS_MAX, Problem};
use crate::id::{ContentHash, TransferId};
use crate::node::contract::Action;
use crate::node::limits::PAGE_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Events that are kept.
pub(in crate::node) const EVENTS_MAX: usize = 20_000;

/// What these take on the disk, roughly at most.
const EVENTS_BYTES_MAX: usize = 8 << 20;

/// Events of one download: they share a record. Only a download that a user retries again and again has so many.
pub(in crate::node) const EVENTS_PER_DOWNLOAD_MAX: usize = 64;

/// What these take. Less than a record may have, which has sources beside its events.
const EVENT_BYTES_PER_DOWNLOAD_MAX: usize = 512 << 10;

/// What an event takes as JSON without its texts, roughly at most.
const EVENT_BYTES: usize = 400;

/// What the address of a peer takes in it, roughly at most.
const PEER_BYTES: usize = 50;

/// How much longer a byte that is not UTF-8 may get in JSON.
const BLOAT_MAX: usize = 6;

#[derive(Debug)]
pub(in crate::node) struct EventLog {
    /// Tells this log from one that was lost with a state directory.
    name: String,
    /// The last id given.
    last: u64,
    /// All events up to this id are on the disk, and were sent.
    sent: u64,
    /// All events with smaller ids are forgotten.
    kept_from: u64,
    kept: BTreeMap<u64, Kept>,
    bytes: usize,
    downloads: BTreeMap<TransferId, OfDownload>,
}

#[derive(Debug)]
struct Kept {
    event: Rc<EventRow>,
    download: TransferId,
    bytes: usize,
    awaits: Awaits,
}

/// What is to happen before an event is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// The next record of its download has to be ordered.
    Record,
    /// This revision of its download, or a later one, has to be written.
    Revision(u64),
    Nothing,
}

#[derive(Debug, Default)]
struct OfDownload {
    ids: BTreeSet<u64>,
    bytes: usize,
    /// A wish: `wish/state` limits its events.
    is_wish: bool,
}

impl EventLog {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        // Its own stream of numbers: the name is shown, and must tell nothing of the node's query IDs.
        let name = format!("{:08x}", Rng::new(seed.map(|byte| byte ^ 0x5a)).number() >> 32);
        Self { name, last: 0, sent: 0, kept_from: 0, kept: BTreeMap::new(), bytes: 0, downloads: BTreeMap::new() }
    }

    /// Takes up events of an earlier run.
    fn recall(&mut self, download: TransferId, events: Vec<Rc<EventRow>>) {
        for event in events {
            if event.id > self.last {
                (self.last, self.sent) = (event.id, event.id);
                self.name.clone_from(&event.log);
            }
            self.insert(download, event, Awaits::Nothing);
        }
    }

    fn insert(&mut self, download: TransferId, event: Rc<EventRow>, awaits: Awaits) {
        let (id, bytes) = (event.id, bytes_of(&event));
        let of_download = self.downloads.entry(download).or_default();
        of_download.ids.insert(id);
        of_download.is_wish |= event.event == EventKind::Wish;
        of_download.bytes += bytes;
        self.bytes += bytes;
        self.kept.insert(id, Kept { event, download, bytes, awaits });
    }

    fn remove(&mut self, id: u64) -> Option<TransferId> {
        let Kept { download, bytes, .. } = self.kept.remove(&id)?;
        self.bytes -= bytes;
        if let Some(of_download) = self.downloads.get_mut(&download) {
            of_download.ids.remove(&id);
            of_download.bytes -= bytes;
            if of_download.ids.is_empty() {
                self.downloads.remove(&download);
            }
        }
        Some(download)
    }

    /// Forgets the oldest events as long as there are too many. The newest event of each download that lost some.
    fn evict(&mut self, changed: TransferId) -> BTreeMap<TransferId, u64> {
        let mut evicted = BTreeMap::new();
        while let Some(id) = self.kept.keys().next().copied()
            && (id < self.kept_from || self.is_over_bound(changed))
        {
            evicted.extend(self.remove(id).map(|download| (download, id)));
            self.kept_from = self.kept_from.max(id + 1);
        }
        evicted
    }

    fn is_over_bound(&self, download: TransferId) -> bool {
        let crowded = self.downloads.get(&download).is_some_and(|of_download| {
            let is_crowded =
                of_download.ids.len() > EVENTS_PER_DOWNLOAD_MAX || of_download.bytes > EVENT_BYTES_PER_DOWNLOAD_MAX;
            is_crowded && !of_download.is_wish
        });
        // The newest always stays: the next run counts on from its id.
        self.kept.len() > 1 && (crowded || self.kept.len() > EVENTS_MAX || self.bytes > EVENTS_BYTES_MAX)
    }

    /// The events of a download, for its record.
    pub(in crate::node) fn of(&self, download: TransferId) -> Vec<Rc<EventRow>> {
        let ids = self.downloads.get(&download).into_iter().flat_map(|of_download| &of_download.ids);
        ids.filter_map(|id| Some(Rc::clone(&self.kept.get(id)?.event))).collect()
    }

    /// The downloads whose newest event is an end, ascending.
    pub(in crate::node) fn ended(&self) -> impl Iterator<Item = TransferId> {
        self.downloads.keys().copied().filter(|id| self.end_of(*id).is_some())
    }

    /// The end of a download, unless it has begun again since, or what has happened last is not on the disk yet.
    pub(in crate::node) fn end_of(&self, download: TransferId) -> Option<&EventRow> {
        let newest = self.downloads.get(&download)?.ids.last()?;
        let event = &self.kept.get(newest).filter(|_| *newest <= self.sent)?.event;
        matches!(event.event, EventKind::Done | EventKind::Failed | EventKind::Cancelled).then_some(event)
    }

    /// A record of a download with all its events is ordered.
    pub(in crate::node) fn on_record_ordered(&mut self, download: TransferId, revision: u64) {
        self.change(download, |awaits| match awaits {
            Awaits::Record => Awaits::Revision(revision),
            other => other,
        });
    }

    /// Whether a download has events that no record has that was ordered.
    pub(in crate::node) fn has_unrecorded(&self, download: TransferId) -> bool {
        let newest = self.downloads.get(&download).and_then(|of_download| of_download.ids.last());
        newest.and_then(|id| self.kept.get(id)).is_some_and(|kept| kept.awaits == Awaits::Record)
    }

    fn on_recorded(&mut self, download: TransferId, written: u64) {
        self.change(download, |awaits| match awaits {
            Awaits::Revision(revision) if revision <= written => Awaits::Nothing,
            other => other,
        });
    }

    fn change(&mut self, download: TransferId, change: impl Fn(Awaits) -> Awaits) {
        let Some(of_download) = self.downloads.get(&download) else { return };
        for id in &of_download.ids {
            if let Some(kept) = self.kept.get_mut(id) {
                kept.awaits = change(kept.awaits);
            }
        }
    }

    /// The next event that is on the disk and was not sent.
    fn next_to_send(&mut self) -> Option<Rc<EventRow>> {
        let (id, kept) = self.kept.range(self.sent + 1..).next()?;
        if kept.awaits != Awaits::Nothing {
            return None;
        }
        self.sent = *id;
        Some(Rc::clone(&kept.event))
    }

    /// Errors: If no event was sent that is as new.
    fn page(&self, since: Option<u64>) -> Result<EventLogReply, Problem> {
        let since = since.map_or(self.sent + 1, |since| since.max(1));
        if since > self.sent + 1 {
            return Err(Problem::NoSuchEvent { since, last: self.sent });
        }
        // All up to the newest may have been forgotten before they were written.
        let first_kept = self.kept.keys().next().copied().unwrap_or(self.last + 1).min(self.sent + 1);
        let gone = (since < first_kept).then(|| IdSpan { first: since, last: first_kept - 1 });
        let (mut events, mut next, mut bytes) = (Vec::new(), None, 0);
        for (id, kept) in self.kept.range(since..=self.sent.max(since)).filter(|(id, _)| **id <= self.sent) {
            bytes += kept.bytes;
            if events.len() >= PAGE_ROWS_MAX as usize || (bytes > PAGE_BYTES_MAX && !events.is_empty()) {
                next = Some(*id);
                break;
            }
            events.push(EventRow::clone(&kept.event));
        }
        Ok(EventLogReply { log: self.name.clone(), events, gone, next, last: self.sent })
    }

    pub(in crate::node) fn check_invariants(&self) {
        assert!(self.sent <= self.last && self.kept.len() <= EVENTS_MAX, "the event log is bounded");
    }
}

fn bytes_of(event: &EventRow) -> usize {
    let text = |text: &[u8]| if str::from_utf8(text).is_ok() { text.len() } else { text.len() * BLOAT_MAX };
    let path = event.path.as_ref().map_or(0, |path| text(path.as_bytes()));
    let error = event.error.as_ref().map_or(0, |error| error.message.len());
    EVENT_BYTES + text(event.name.as_bytes()) + path + error + event.peers.len() * PEER_BYTES
}

impl Cx {
    /// Logs an event of a download. Its next record has the event.
    pub(in crate::node) fn log_event(
        &mut self,
        download: TransferId,
        kind: EventKind,
        row: impl FnOnce(EventRow) -> EventRow,
    ) {
        let log = &mut self.event_log;
        log.last += 1;
        let time = self.wall.epoch_s(self.now);
        let event = row(EventRow::blank(kind, log.last, log.name.clone(), time));
        log.insert(download, Rc::new(event), Awaits::Record);
        self.evict_events(download);
    }

    /// Takes up events of an earlier run.
    pub(in crate::node) fn recall_events(&mut self, download: TransferId, events: Vec<Rc<EventRow>>) {
        self.event_log.recall(download, events);
    }

    /// Nothing of an earlier run is left that has a smaller id, whatever its records have.
    pub(in crate::node) fn recall_events_from(&mut self, id: u64) {
        self.event_log.kept_from = id;
    }

    /// Forgets events beyond the bounds, the oldest first.
    pub(in crate::node) fn evict_events(&mut self, changed: TransferId) {
        let before = self.event_log.kept_from;
        for (download, up_to) in self.event_log.evict(changed) {
            self.out.act(Action::ForgetEvents { download, up_to });
        }
        let first = self.event_log.kept_from;
        if first > before {
            self.out.act(Action::KeepEventsFrom { first });
        }
        self.send_events();
    }

    /// A download was not accepted after all: nobody has seen its events, nor will.
    pub(in crate::node) fn withdraw_events(&mut self, download: TransferId) {
        for event in self.event_log.of(download) {
            self.event_log.remove(event.id);
        }
        self.out.act(Action::ForgetEvents { download, up_to: u64::MAX });
        self.send_events();
    }

    /// The record of a download is on the disk.
    pub(in crate::node) fn on_events_recorded(&mut self, download: TransferId, revision: u64) {
        self.event_log.on_recorded(download, revision);
        self.send_events();
    }

    fn send_events(&mut self) {
        while let Some(event) = self.event_log.next_to_send() {
            self.notify(Topic::EventLog, || Notice::Logged(EventRow::clone(&event)));
        }
    }

    /// The contents of the downloads that have begun, and when, in epoch seconds; the oldest first.
    pub(in crate::node) fn downloads_begun(&self) -> impl Iterator<Item = (ContentHash, u64)> {
        let begun = self.event_log.kept.values().map(|kept| &kept.event).filter(|row| row.event == EventKind::Begun);
        begun.filter_map(|row| Some((ContentHash::from_hex(row.b3.as_ref()?.as_bytes())?, row.time)))
    }

    /// A page of the log. Errors: If no event is as new as that.
    pub(in crate::node) fn event_page(&self, since: Option<u64>) -> Result<EventLogReply, Problem> {
        self.event_log.page(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::RawText;

    fn event(id: u64, bytes: usize) -> Rc<EventRow> {
        let row = EventRow::blank(EventKind::Done, id, "log".into(), 0);
        Rc::new(EventRow { name: RawText::new(vec![b'x'; bytes]), ..row })
    }

    fn log(events: impl Iterator<Item = (u32, u64, usize)>) -> EventLog {
        let mut log = EventLog::new([0; 32]);
        for (download, id, bytes) in events {
            log.recall(TransferId(download), vec![event(id, bytes)]);
        }
        log
    }

    fn ids(log: &EventLog, since: u64) -> Vec<u64> {
        log.page(Some(since)).unwrap().events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn the_oldest_events_go_at_each_bound_and_the_log_says_which() {
        let mut many = log((1..=20_002).map(|id| (id as u32, id, 0)));
        let evicted = many.evict(TransferId(20_002));
        assert_eq!(evicted, BTreeMap::from([(TransferId(1), 1), (TransferId(2), 2)]));
        let page = many.page(Some(0)).unwrap();
        assert_eq!((page.gone, page.next), (Some(IdSpan { first: 1, last: 2 }), Some(503)));
        assert_eq!(many.page(Some(3)).unwrap().gone, None);

        let mut large = log((1..=9).map(|id| (id as u32, id, 1 << 20)));
        large.evict(TransferId(99));
        assert_eq!(large.page(Some(9)).unwrap().events.len(), 1);
        assert_eq!(large.kept.len(), 7, "eight take more than eight mebibytes with what is around them");

        // Of one download with too many, what is older goes too: nothing between two that are kept is missing, also in the next run,
        // where a record that was left as it is has an event that the log has forgotten.
        let of_one = (2..=66).map(|id| (7, id, 0));
        let mut crowded = log([(1, 1, 0)].into_iter().chain(of_one).chain([(2, 67, 0)]));
        let evicted = crowded.evict(TransferId(7));
        assert_eq!(evicted, BTreeMap::from([(TransferId(1), 1), (TransferId(7), 2)]));
        assert_eq!(ids(&crowded, 3), (3..=67).collect::<Vec<_>>());
        let mut next = log([(1, 1, 0)].into_iter().chain((3..=66).map(|id| (7, id, 0))).chain([(2, 67, 0)]));
        next.kept_from = crowded.kept_from;
        assert_eq!(next.evict(TransferId(0)), BTreeMap::from([(TransferId(1), 1)]));
        assert_eq!(next.page(Some(1)), crowded.page(Some(1)));
        assert_eq!(next.page(Some(1)).unwrap().gone, Some(IdSpan { first: 1, last: 2 }));

        let mut huge = log([(1, 1, 9 << 20)].into_iter());
        assert!(huge.evict(TransferId(1)).is_empty(), "the newest stays");
        huge.check_invariants();
        for log in [many, large, crowded, huge] {
            let bytes: usize = log.kept.values().map(|kept| kept.bytes).sum();
            let ids: usize = log.downloads.values().map(|of_download| of_download.ids.len()).sum();
            assert_eq!((bytes, ids), (log.bytes, log.kept.len()));
        }
    }

    #[test]
    fn an_event_is_sent_when_it_and_all_before_it_are_on_the_disk() {
        let mut log = log([(1, 1, 0)].into_iter());
        for (download, id) in [(2, 2), (3, 3)] {
            log.last = id;
            log.insert(TransferId(download), event(id, 0), Awaits::Record);
            log.on_record_ordered(TransferId(download), id);
        }
        log.on_recorded(TransferId(3), 3);
        assert_eq!(log.next_to_send().map(|event| event.id), None);
        assert_eq!(ids(&log, 1), [1]);
        log.on_recorded(TransferId(2), 1);
        assert_eq!(log.next_to_send().map(|event| event.id), None, "an older record does not have it");
        log.on_recorded(TransferId(2), 2);
        assert_eq!(log.next_to_send().map(|event| event.id), Some(2));
        assert_eq!(log.next_to_send().map(|event| event.id), Some(3));
        assert_eq!(ids(&log, 1), [1, 2, 3]);
        assert!(log.page(Some(4)).unwrap().events.is_empty());
        assert_eq!(log.page(Some(5)), Err(Problem::NoSuchEvent { since: 5, last: 3 }));
        log.check_invariants();
    }
}

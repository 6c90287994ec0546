//! The table of downloads: the queue, which of them are active, what finds them by their sources and contents, and the rows
//! that users see.

use super::rate_cap::RateCap;
use super::source::{Contact, Fetch, Source, Standing};
use super::state::{Download, Life};
use super::turn_order::{QueueKey, TurnOrder};
use crate::control::{DownloadRow, DownloadState};
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::node::cx::Cx;
use crate::node::limits::{DOWNLOADS_MAX, FETCH_RATE_MIN, FETCHES_MAX, FETCHES_PER_DOWNLOAD_MAX};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

#[derive(Default)]
pub(in crate::node) struct Downloads {
    rows: BTreeMap<TransferId, Download>,
    /// Those that wait for their turn, the next first.
    pub(super) queued: TurnOrder,
    active: BTreeSet<TransferId>,
    /// Those that are over, in the order in which they ended.
    finished: VecDeque<TransferId>,
    /// Files of directories that are over; they stay as long as their directory.
    ended_members: BTreeSet<TransferId>,
    /// Which unfinished downloads have this name of this peer as a source: several, if its content has changed.
    by_source: BTreeSet<(Rc<FileName>, SocketAddr, TransferId)>,
    /// Which unfinished downloads want this content: several, if some were asked for by name.
    by_content: BTreeSet<(ContentHash, TransferId)>,
    /// Which source of which download an exchange is with.
    pub(super) fetches: BTreeMap<ExchangeId, (TransferId, usize)>,
    /// Those to be looked at before the event is over.
    dirty: BTreeSet<TransferId>,
    /// Those that came into the queue without a source, and have not searched for one since.
    pub(super) unsourced: BTreeSet<TransferId>,
    /// When the next download that begins without a source may search.
    first_search_at: Option<Instant>,
    begun: u32,
    /// So many were there at the start: more than may be if their records come from elsewhere.
    recalled: usize,
    /// A look at how fast the active ones come is planned.
    pub(super) pace_is_watched: bool,
}

impl Downloads {
    pub(in crate::node) fn active(&self) -> usize {
        self.active.len()
    }

    /// Those in the queue, those that wait for their sources, and those that are paused.
    pub(in crate::node) fn waiting(&self) -> usize {
        self.rows.len() - self.active.len() - self.finished.len() - self.ended_members.len()
    }

    pub(in crate::node) fn count_by_state(&self) -> BTreeMap<DownloadState, u64> {
        let mut counts = BTreeMap::new();
        let files = self.rows.values().filter(|row| row.directory.is_none());
        files.for_each(|row| *counts.entry(row.state()).or_default() += 1);
        counts
    }

    pub(super) fn get(&self, id: TransferId) -> Option<&Download> {
        self.rows.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TransferId, &Download)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    pub(super) fn get_mut(&mut self, id: TransferId) -> Option<&mut Download> {
        self.rows.get_mut(&id)
    }

    /// With the files of directories.
    pub(in crate::node) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Those that users know: not of the files of directories.
    pub(in crate::node) fn ids(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().filter(|(_, row)| row.directory.is_none()).map(|(id, _)| id.0)
    }

    /// Ids of the active ones, ascending.
    pub(super) fn active_ids(&self) -> Vec<TransferId> {
        self.active.iter().copied().collect()
    }

    /// Rows after an id, ascending, but for the files of directories.
    pub(super) fn after(&self, cx: &Cx, after: TransferId) -> impl Iterator<Item = (u32, DownloadRow)> {
        let first = after.0.checked_add(1).map(TransferId);
        let places = self.queued.places();
        let rows = first.map(|first| self.rows.range(first..)).into_iter().flatten();
        let rows = rows.filter(|(_, row)| row.directory.is_none());
        let (now, cap) = (cx.now, self.rate_cap(cx));
        rows.map(move |(id, download)| {
            (id.0, DownloadRow { place: places.get(id).copied(), ..download.row(*id, now, cap) })
        })
    }

    pub(super) fn row(&self, cx: &Cx, id: TransferId) -> Option<DownloadRow> {
        Some(self.rows.get(&id)?.row(id, cx.now, self.rate_cap(cx)))
    }

    pub(super) fn rate_cap(&self, cx: &Cx) -> RateCap {
        let limit = cx.config.download_limit;
        let measuring = if limit > 0 { usize::MAX } else { 0 };
        let rates = self.active.iter().take(measuring).filter_map(|id| self.rows.get(id)?.measured_rate(cx.now));
        RateCap { limit, measured: rates.fold(0, u64::saturating_add) }
    }

    /// The unfinished downloads of a content, ascending.
    pub(super) fn of_content(&self, b3: ContentHash) -> impl Iterator<Item = (TransferId, &Download)> {
        let ids = self.by_content.range((b3, TransferId(0))..=(b3, TransferId(u32::MAX)));
        ids.filter_map(|(_, id)| Some((*id, self.rows.get(id)?)))
    }

    /// The unfinished downloads that have this name of this peer as a source, ascending.
    pub(super) fn of_source(
        &self,
        name: &Rc<FileName>,
        addr: SocketAddr,
    ) -> impl Iterator<Item = (TransferId, &Download)> {
        let key = |id| (Rc::clone(name), addr, TransferId(id));
        let ids = self.by_source.range(key(0)..=key(u32::MAX));
        ids.filter_map(|(_, _, id)| Some((*id, self.rows.get(id)?)))
    }

    /// Those that are over and whose part file nobody works on, in the order in which they ended: they give way to new ones.
    fn replaceable(&self) -> impl Iterator<Item = TransferId> {
        let is_busy = |id: &TransferId| self.rows.get(id).is_some_and(|row| row.part().is_busy());
        self.finished.iter().copied().filter(move |id| !is_busy(id))
    }

    /// Room for new rows, once those that are over have given way.
    pub(super) fn room(&self) -> usize {
        DOWNLOADS_MAX.saturating_sub(self.rows.len() - self.replaceable().count())
    }

    /// Whether there is room for so many. Looks at no more rows that are over than have to give way.
    pub(super) fn has_room(&self, files: usize) -> bool {
        let in_the_way = self.rows.len().saturating_add(files).saturating_sub(DOWNLOADS_MAX);
        in_the_way == 0 || self.replaceable().take(in_the_way).count() == in_the_way
    }

    /// All that an earlier run left are in the table, however many there are.
    pub(super) fn note_recalled(&mut self) {
        self.recalled = self.rows.len();
        let unfinished = self.waiting();
        if unfinished > DOWNLOADS_MAX {
            log::warn!(unfinished, max = DOWNLOADS_MAX; "more downloads are unfinished than may be; new ones are refused until fewer are");
        }
    }

    /// Ids up to this one were given.
    pub(in crate::node) fn note_given(&mut self, id: u32) {
        self.begun = self.begun.max(id);
    }

    /// A new id; `None` when all have been given.
    pub(in crate::node) fn next_id(&mut self) -> Option<TransferId> {
        self.begun = self.begun.checked_add(1)?;
        Some(TransferId(self.begun))
    }

    pub(super) fn insert(&mut self, id: TransferId, download: Download) {
        self.queued.note_place(download.place);
        if matches!(download.life(), Life::Queued { .. }) {
            self.queued.insert(download.queue_key(id));
            self.unsourced.extend(download.is_unsourced().then_some(id));
        }
        let is_over = download.life().is_over();
        self.rows.insert(id, download);
        if is_over {
            self.note_over(id);
        } else {
            self.index_sources(id);
        }
    }

    /// Gives a download in the queue another place, among those that have stood back as often.
    pub(super) fn set_place(&mut self, key: QueueKey, to: (u32, i64)) {
        let (.., id) = key;
        let Some(row) = self.rows.get_mut(&id) else { return };
        if self.queued.remove(&key) {
            (row.stood_back, row.place) = to;
            self.queued.insert(row.queue_key(id));
        }
    }

    fn note_over(&mut self, id: TransferId) {
        match self.rows.get(&id) {
            Some(row) if row.directory.is_some() => drop(self.ended_members.insert(id)),
            _ => self.finished.push_back(id),
        }
    }

    /// Takes a file of a directory that is over out of the table.
    pub(super) fn take_member(&mut self, id: TransferId) -> Option<Download> {
        self.ended_members.remove(&id).then(|| self.rows.remove(&id)).flatten()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= DOWNLOADS_MAX
    }

    /// Those that wait for their turn, the next first.
    pub(super) fn queue(&self) -> impl Iterator<Item = TransferId> {
        self.queued.keys().map(|(.., id)| id)
    }

    /// Takes the download out of the table that was over first, and whose part file nobody works on.
    pub(super) fn take_finished(&mut self) -> Option<(TransferId, Download)> {
        let id = self.replaceable().next()?;
        let at = self.finished.iter().position(|other| *other == id)?;
        self.finished.remove(at)?;
        Some((id, self.rows.remove(&id)?))
    }

    /// Takes downloads that are over out of the table.
    pub(super) fn remove_finished(&mut self, ids: &BTreeSet<TransferId>) {
        self.finished.retain(|id| !ids.contains(id));
        ids.iter().for_each(|id| drop(self.rows.remove(id)));
    }

    /// Takes a download that was not begun out of the table.
    pub(super) fn withdraw(&mut self, id: TransferId) {
        debug_assert!(
            self.rows.get(&id).is_none_or(|row| !matches!(row.life(), Life::Active) && !row.life().is_over())
        );
        self.unindex_sources(id);
        if let Some(row) = self.rows.get(&id) {
            self.queued.remove(&row.queue_key(id));
        }
        self.unsourced.remove(&id);
        self.dirty.remove(&id);
        self.rows.remove(&id);
    }

    /// Takes the names of the sources and the content of an unfinished download into the index.
    fn index_sources(&mut self, id: TransferId) {
        let Some(download) = self.rows.get(&id) else { return };
        self.by_source.extend(source_keys(id, download));
        self.by_content.extend(download.want.b3().map(|b3| (b3, id)));
    }

    /// Changes the sources of an unfinished download, or what it wants.
    pub(super) fn change_sources<R>(&mut self, id: TransferId, change: impl FnOnce(&mut Download) -> R) -> Option<R> {
        self.unindex_sources(id);
        let changed = self.rows.get_mut(&id).map(change);
        self.index_sources(id);
        changed
    }

    fn unindex_sources(&mut self, id: TransferId) {
        let Some(download) = self.rows.get(&id) else { return };
        for key in source_keys(id, download) {
            self.by_source.remove(&key);
        }
        if let Some(b3) = download.want.b3() {
            self.by_content.remove(&(b3, id));
        }
    }

    /// A peer does not speak `p1` after all: it is asked in the base protocol from its next request on. The downloads that
    /// change by it.
    pub(super) fn forget_p1(&mut self, peer: SocketAddr) -> Vec<TransferId> {
        let mut changed = Vec::new();
        for (id, row) in self.rows.iter_mut().filter(|(_, row)| !row.life().is_over()) {
            for source in row.sources.iter_mut().filter(|source| source.addr == peer && source.p1) {
                source.p1 = false;
                source.contact = Contact::Due;
                changed.push(*id);
            }
        }
        changed
    }

    /// Has the next steps of a download taken before the event is over.
    pub(in crate::node) fn mark_dirty(&mut self, id: TransferId) {
        self.dirty.insert(id);
    }

    pub(super) fn next_dirty(&mut self) -> Option<TransferId> {
        self.dirty.pop_first()
    }

    /// When a download that begins without a source may search.
    pub(super) fn first_search_at(&mut self, now: Instant, spacing: Duration) -> Instant {
        let at = self.first_search_at.map_or(now, |at| at.max(now));
        self.first_search_at = Some(at + spacing);
        at
    }

    /// Whose an exchange is, unless it was broken off.
    pub(super) fn fetch_of(&self, exchange: ExchangeId) -> Option<(TransferId, usize)> {
        self.fetches.get(&exchange).copied()
    }

    pub(super) fn fetch_mut(&mut self, exchange: ExchangeId) -> Option<&mut Fetch> {
        let (id, at) = self.fetch_of(exchange)?;
        self.source_mut(id, at)?.fetch_mut()
    }

    /// Exchanges that may share the limit without being so slow that the other side takes us for stalled; at least one.
    fn paced_max(cx: &Cx) -> usize {
        match cx.config.download_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit / FETCH_RATE_MIN).unwrap_or(usize::MAX).max(1),
        }
    }

    /// Downloads that may be active at once.
    pub(super) fn active_max(cx: &Cx) -> usize {
        cx.config.max_downloads.min(Self::paced_max(cx))
    }

    /// How many more exchanges a download may begin: its first always, others as far as all downloads have their share.
    pub(super) fn fetch_room(&self, cx: &Cx, id: TransferId) -> usize {
        let busy = self.rows.get(&id).map_or(0, |row| row.busy().count());
        let in_all = FETCHES_MAX.min(cx.config.max_workers / 2).min(Self::paced_max(cx)).max(1);
        let share = (in_all / self.active.len().max(1)).clamp(1, FETCHES_PER_DOWNLOAD_MAX);
        let room = share.saturating_sub(busy).min(in_all.saturating_sub(self.fetches.len()));
        if busy == 0 { room.max(1) } else { room }
    }

    pub(super) fn source(&self, id: TransferId, at: usize) -> Option<&Source> {
        self.rows.get(&id)?.sources.get(at)
    }

    pub(super) fn source_mut(&mut self, id: TransferId, at: usize) -> Option<&mut Source> {
        self.rows.get_mut(&id)?.sources.get_mut(at)
    }

    /// A source was asked.
    pub(super) fn begin_fetch(&mut self, id: TransferId, at: usize, fetch: Fetch) {
        let Some(source) = self.rows.get_mut(&id).and_then(|row| row.sources.get_mut(at)) else { return };
        self.fetches.insert(fetch.exchange, (id, at));
        source.standing = Standing::Busy(fetch);
    }

    /// An exchange is over, or broken off: its source is idle.
    pub(super) fn end_fetch(&mut self, now: Instant, id: TransferId, at: usize) -> Option<Fetch> {
        let source = self.rows.get_mut(&id)?.sources.get_mut(at)?;
        source.fetch()?;
        let Standing::Busy(fetch) = std::mem::replace(&mut source.standing, Standing::Idle) else { return None };
        source.learn_speed(now, &fetch);
        if self.fetches.len() >= FETCHES_MAX {
            // Others may have waited for this one to end.
            self.dirty.extend(self.active.iter().copied());
        }
        self.fetches.remove(&fetch.exchange);
        Some(fetch)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= DOWNLOADS_MAX.max(self.recalled), "the downloads are bounded");
        for (id, row) in &self.rows {
            assert_eq!(
                self.active.contains(id),
                matches!(row.life(), Life::Active),
                "{id:?} is listed as active when it is"
            );
            let queued = self.queued.contains(&row.queue_key(*id));
            assert_eq!(queued, matches!(row.life(), Life::Queued { .. }), "{id:?} is listed as queued when it is");
            row.check_invariants(*id);
        }
        let finished = self.rows.values().filter(|row| row.life().is_over()).count();
        assert_eq!(finished, self.finished.len() + self.ended_members.len(), "the finished downloads are listed");
        let indexed = self.by_source.iter().map(|(_, _, id)| id).chain(self.by_content.iter().map(|(_, id)| id));
        for id in indexed {
            assert!(self.rows.get(id).is_some_and(|row| !row.life().is_over()), "{id:?} is unfinished");
        }
        let busy: usize = self.rows.values().map(|row| row.busy().count()).sum();
        assert_eq!(busy, self.fetches.len(), "every exchange is with one source");
        for (exchange, (id, at)) in &self.fetches {
            let source = self.rows.get(id).and_then(|row| row.sources.get(*at));
            let fetch = source.and_then(Source::fetch);
            assert!(fetch.is_some_and(|fetch| fetch.exchange == *exchange), "{exchange:?} is with its source");
        }
    }

    /// Keeps the queue and the sets true. Returns the life that the download had.
    pub(super) fn set_life(&mut self, id: TransferId, life: Life) -> Option<Life> {
        let download = self.rows.get_mut(&id)?;
        let (is_queued, is_active) = (matches!(life, Life::Queued { .. }), matches!(life, Life::Active));
        let is_over = life.is_over();
        let old = download.replace_life(id, life);
        let (unsourced, key) = (download.is_unsourced(), download.queue_key(id));
        self.queued.remove(&key);
        let left = self.active.remove(&id) && !is_active;
        if is_queued {
            self.queued.insert(key);
            self.unsourced.extend(unsourced.then_some(id));
        }
        if is_active {
            self.active.insert(id);
        }
        if left {
            // The others may have more exchanges now.
            self.dirty.extend(self.active.iter().copied());
        }
        if is_over && !old.is_over() {
            self.note_over(id);
            self.unindex_sources(id);
        } else if old.is_over() && !is_over {
            if !self.ended_members.remove(&id) {
                self.finished.retain(|finished| *finished != id);
            }
            self.index_sources(id);
        }
        Some(old)
    }
}

/// The names of the sources of a download, for the index.
fn source_keys(id: TransferId, download: &Download) -> impl Iterator<Item = (Rc<FileName>, SocketAddr, TransferId)> {
    download
        .sources
        .iter()
        .flat_map(move |source| source.names.iter().map(move |name| (Rc::clone(name), source.addr, id)))
}

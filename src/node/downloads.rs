//! The downloads: the queue, the state of each, and the order in which they get their turn.
//!
//! Owns the table. How a download gets its bytes stands in [`fetching`](super::fetching), how users begin and end one
//! in [`ordering`](super::ordering).

use super::contract::{Action, FetchForm, Target};
use super::limits::{DOWNLOADS_MAX, RATE_SAMPLES_MAX, RATE_SPAN};
use super::membership::whole_seconds;
use super::subscriptions::Topic;
use super::{Node, NodeTimer, Phase};
use crate::control::{CallError, DownloadRow, DownloadState, Notice, RawText};
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::{Escaped, FileName};
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

/// One download.
pub(super) struct Download {
    pub(super) name: FileName,
    pub(super) size: Option<u64>,
    pub(super) b3: Option<ContentHash>,
    /// In the order in which they are asked.
    pub(super) sources: Vec<Source>,
    pub(super) target: Target,
    /// Its final path, as far as it is known.
    pub(super) path: Option<PathBuf>,
    state: State,
    pub(super) error: Option<CallError>,
    /// Written to the part file by the running or last fetch.
    pub(super) bytes: u64,
    pub(super) rate: Rate,
    /// Rounds through all sources that brought nothing.
    pub(super) rounds_failed: u32,
    pub(super) told: Option<Instant>,
}

/// Somebody who offers the file.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) addr: SocketAddr,
    /// What it calls the file.
    pub(super) name: Rc<FileName>,
    pub(super) verdict: Verdict,
}

/// What came of asking a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not asked in this round.
    Untried,
    /// It said no, and is not asked again.
    Refused,
    /// Out of reach, or it broke off: asked again in the next round. Why.
    Lost(String),
}

/// Where a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for its turn.
    Queued,
    /// Its part file is being made.
    Opening,
    /// A source was asked.
    Fetching {
        exchange: ExchangeId,
        source: usize,
        form: FetchForm,
    },
    /// All bytes are there; they are being synced.
    Verifying,
    /// Every source was asked in vain; the next round begins by the timer.
    Retrying {
        until: Instant,
        timer: TimerId,
    },
    Done,
    Failed,
    Cancelled,
}

impl State {
    /// Nothing will happen any more.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// It counts towards `max_downloads`, and has a part file.
    fn is_active(self) -> bool {
        matches!(self, Self::Opening | Self::Fetching { .. } | Self::Verifying)
    }
}

/// Bytes over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// A fetch begins at nothing.
    pub(super) fn start(&mut self, now: Instant) {
        self.0.clear();
        self.0.push_back((now, 0));
    }

    pub(super) fn note(&mut self, now: Instant, bytes: u64) {
        self.0.push_back((now, bytes));
        // The newest measurement from before the span is the one to measure against.
        while self.0.len() > RATE_SAMPLES_MAX || self.0.get(1).is_some_and(|(at, _)| *at + RATE_SPAN <= now) {
            self.0.pop_front();
        }
    }

    /// Bytes per second.
    fn per_second(&self, now: Instant, bytes: u64) -> Option<u64> {
        let (at, before) = self.0.front()?;
        let ms = now.saturating_since(*at).as_millis();
        let rate = (u128::from(bytes.saturating_sub(*before)) * 1_000).checked_div(ms)?;
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

impl Download {
    /// A new download, in the queue.
    pub(super) fn new(wish: super::ordering::Wish, target: Target) -> Self {
        let source = |(addr, name)| Source { addr, name, verdict: Verdict::Untried };
        Self {
            name: wish.name,
            size: wish.size,
            b3: wish.b3,
            sources: wish.sources.into_iter().map(source).collect(),
            target,
            path: None,
            state: State::Queued,
            error: None,
            bytes: 0,
            rate: Rate::default(),
            rounds_failed: 0,
            told: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Logs the states in which a download rests.
    fn log_milestone(&self, id: TransferId) {
        let (id, name) = (id.0, &self.name);
        let why = || self.error.as_ref().map_or("unknown", |error| error.message.as_str());
        match self.state {
            State::Done => match &self.path {
                Some(path) => log::info!("download {id} is done: {}", Escaped(path.as_os_str().as_bytes())),
                None => log::info!("download {id} is done: {name}"),
            },
            State::Failed => log::warn!("download {id} of {name} has failed: {}", why()),
            State::Retrying { .. } => log::warn!("download {id} of {name} waits: {}", why()),
            _ => {}
        }
    }

    fn row(&self, id: TransferId, now: Instant) -> DownloadRow {
        let (state, retry_at) = match self.state {
            State::Queued => (DownloadState::Queued, None),
            State::Opening | State::Fetching { .. } => (DownloadState::Active, None),
            State::Verifying => (DownloadState::Verifying, None),
            State::Retrying { until, .. } => (DownloadState::Retrying, Some(until)),
            State::Done => (DownloadState::Done, None),
            State::Failed => (DownloadState::Failed, None),
            State::Cancelled => (DownloadState::Cancelled, None),
        };
        let fetching = matches!(self.state, State::Fetching { .. });
        DownloadRow {
            id: id.0,
            name: RawText::new(self.name.as_bytes()),
            path: self.path.as_ref().map(|path| RawText::new(path.as_os_str().as_bytes())),
            state,
            bytes_done: self.bytes,
            size: self.size,
            rate: if fetching { self.rate.per_second(now, self.bytes) } else { None },
            b3: self.b3.map(|hash| hash.to_string()),
            verified: false,
            sources: self.sources.iter().map(|source| source.addr).collect(),
            shares: Vec::new(),
            eta_s: None,
            already: false,
            error: self.error.clone(),
            retry_in_s: retry_at.map(|at| whole_seconds(at.saturating_since(now))),
        }
    }
}

/// All downloads remembered.
#[derive(Default)]
pub(super) struct Downloads {
    rows: BTreeMap<TransferId, Download>,
    /// Those that wait for their turn; the oldest is next.
    queued: BTreeSet<TransferId>,
    active: BTreeSet<TransferId>,
    /// Those that are over, in the order in which they ended.
    finished: VecDeque<TransferId>,
    /// Which unfinished download fetches this name from this peer.
    by_source: BTreeMap<(Rc<FileName>, SocketAddr), TransferId>,
    begun: u32,
}

impl Downloads {
    pub(super) fn active(&self) -> usize {
        self.active.len()
    }

    /// Those in the queue, and those that wait for their sources.
    pub(super) fn waiting(&self) -> usize {
        self.rows.len() - self.active.len() - self.finished.len()
    }

    pub(super) fn get(&self, id: TransferId) -> Option<&Download> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TransferId) -> Option<&mut Download> {
        self.rows.get_mut(&id)
    }

    /// Ids of all, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.rows.keys().map(|id| id.0)
    }

    /// Ids of those that are not over, ascending.
    pub(super) fn unfinished_ids(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().filter(|(_, row)| !row.state.is_final()).map(|(id, _)| id.0)
    }

    /// Ids of the active ones, ascending.
    pub(super) fn active_ids(&self) -> Vec<TransferId> {
        self.active.iter().copied().collect()
    }

    /// Rows after an id, ascending.
    pub(super) fn after(&self, after: TransferId, now: Instant) -> impl Iterator<Item = (u32, DownloadRow)> {
        let first = after.0.checked_add(1).map(TransferId);
        let rows = first.map(|first| self.rows.range(first..)).into_iter().flatten();
        rows.map(move |(id, download)| (id.0, download.row(*id, now)))
    }

    pub(super) fn row(&self, id: TransferId, now: Instant) -> Option<DownloadRow> {
        Some(self.rows.get(&id)?.row(id, now))
    }

    /// The unfinished download that fetches one of these already.
    pub(super) fn already(&self, sources: &[(SocketAddr, Rc<FileName>)]) -> Option<TransferId> {
        sources.iter().find_map(|(addr, name)| self.by_source.get(&(Rc::clone(name), *addr)).copied())
    }

    /// Room for new rows, once the finished ones are forgotten.
    pub(super) fn room(&self) -> usize {
        DOWNLOADS_MAX - (self.rows.len() - self.finished.len())
    }

    /// Puts a download into the queue; forgets a finished one if need be. The caller has made sure of the room.
    pub(super) fn insert(&mut self, download: Download) -> TransferId {
        while self.rows.len() >= DOWNLOADS_MAX {
            let Some(oldest) = self.finished.pop_front() else { break };
            self.rows.remove(&oldest);
        }
        self.begun += 1;
        let id = TransferId(self.begun);
        for source in &download.sources {
            self.by_source.entry((Rc::clone(&source.name), source.addr)).or_insert(id);
        }
        self.queued.insert(id);
        self.rows.insert(id, download);
        id
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= DOWNLOADS_MAX, "the downloads are bounded");
        for id in &self.active {
            assert!(self.rows.get(id).is_some_and(|row| row.state.is_active()), "{id:?} is active");
        }
        for id in &self.queued {
            assert!(self.rows.get(id).is_some_and(|row| row.state == State::Queued), "{id:?} is queued");
        }
        let finished = self.rows.values().filter(|row| row.state.is_final()).count();
        assert_eq!(finished, self.finished.len(), "the finished downloads are listed");
        for id in self.by_source.values() {
            assert!(self.rows.get(id).is_some_and(|row| !row.state.is_final()), "{id:?} is unfinished");
        }
    }
}

impl Node {
    /// The one place where a download moves: keeps the queue and the sets true, and tells who follows.
    pub(super) fn set_download_state(&mut self, now: Instant, id: TransferId, state: State) {
        let Some(download) = self.downloads.rows.get_mut(&id) else { return };
        let old = std::mem::replace(&mut download.state, state);
        log::debug!("download {}: {old:?} -> {state:?}", id.0);
        download.log_milestone(id);
        if let State::Retrying { timer, .. } = old {
            self.wheel.cancel(timer);
        }
        if state == State::Opening {
            download.error = None;
        }
        self.downloads.queued.remove(&id);
        self.downloads.active.remove(&id);
        if state == State::Queued {
            self.downloads.queued.insert(id);
        }
        if state.is_active() {
            self.downloads.active.insert(id);
        }
        if state.is_final() {
            self.downloads.finished.push_back(id);
            for source in &download.sources {
                let key = (Rc::clone(&source.name), source.addr);
                if self.downloads.by_source.get(&key) == Some(&id) {
                    self.downloads.by_source.remove(&key);
                }
            }
        }
        self.tell_download(now, id);
        if state.is_final() {
            self.subscriptions.close(Topic::Download(id));
        }
    }

    /// Tells who follows a download how it stands.
    pub(super) fn tell_download(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.rows.get_mut(&id) else { return };
        download.told = Some(now);
        let row = download.row(id, now);
        self.notify(Topic::Download(id), || Notice::Download { download: row });
    }

    /// Gives the downloads that wait their turn, as far as there are places.
    pub(super) fn start_downloads(&mut self, now: Instant) {
        while matches!(self.phase, Phase::Running) && self.downloads.active.len() < self.config.max_downloads {
            let Some(id) = self.downloads.queued.first().copied() else { return };
            self.set_download_state(now, id, State::Opening);
            let Some(download) = self.downloads.get(id) else { return };
            self.actions.push_back(Action::OpenPart {
                download: id,
                spec: super::contract::PartSpec { target: download.target.clone(), token: 0 },
                b3: None,
                size: None,
            });
        }
    }

    /// A wait for the sources is over: back into the queue, where its age gives it its place.
    pub(super) fn on_retry_timer(&mut self, now: Instant, id: TransferId) {
        if matches!(self.downloads.get(id), Some(Download { state: State::Retrying { .. }, .. })) {
            self.set_download_state(now, id, State::Queued);
            self.start_downloads(now);
        }
    }

    /// Lets a round rest.
    pub(super) fn set_retrying(&mut self, now: Instant, id: TransferId, until: Instant) {
        let timer = self.wheel.insert(until, NodeTimer::Retry(id));
        self.set_download_state(now, id, State::Retrying { until, timer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_follows_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::from_ms(10_000));
        assert_eq!(rate.per_second(start, 0), None);
        rate.start(start);
        assert_eq!(rate.per_second(start, 0), None, "no time has passed");
        for second in 1..=10 {
            rate.note(start + Duration::from_secs(second), second * 1_000);
        }
        let then = start + Duration::from_secs(10);
        assert_eq!(rate.per_second(then, 10_000), Some(1_000));
        assert_eq!(rate.per_second(then + Duration::from_secs(3), 10_000), Some(500), "a stall lowers it");
        for ms in 0..1_000 {
            rate.note(then + Duration::from_millis(ms), 10_000);
        }
        assert!(rate.0.len() <= RATE_SAMPLES_MAX);
    }
}

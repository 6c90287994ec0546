//! What the panes list, each with a bound.

use crate::control::{DownloadRow, DownloadState, DownloadsReply, HitRow, RawText};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Uploads, and searches of peers, that are remembered.
pub(super) const REMEMBERED_MAX: usize = 256;

/// Hits of our search: as many as a daemon remembers of one.
const HITS_MAX: usize = 1_000;

/// The downloads of the daemon, those first that something happens to.
#[derive(Debug, Default)]
pub(in crate::ctl::top) struct Transfers {
    rows: BTreeMap<u32, DownloadRow>,
    order: Vec<u32>,
}

impl Transfers {
    /// Takes what the daemon says of one.
    pub(in crate::ctl::top) fn put(&mut self, row: DownloadRow) {
        self.rows.insert(row.id, row);
    }

    /// Takes a page of all, which begins after an id; what is not on it any more, the daemon has forgotten. Tells where
    /// the next page begins.
    pub(in crate::ctl::top) fn turn_page(&mut self, after: u32, page: DownloadsReply) -> u32 {
        let next = page.next.filter(|next| *next > after);
        let on_page: BTreeSet<u32> = page.downloads.iter().map(|row| row.id).collect();
        let covers = |id: u32| id > after && next.is_none_or(|next| id <= next);
        self.rows.retain(|id, _| !covers(*id) || on_page.contains(id));
        page.downloads.into_iter().for_each(|row| self.put(row));
        next.unwrap_or(0)
    }

    /// Orders the rows, of which some may have changed.
    pub(in crate::ctl::top) fn arrange(&mut self) {
        self.order.clear();
        self.order.extend(self.rows.keys());
        self.order.sort_by_cached_key(|id| self.rows.get(id).map(|row| (rank(row.state), place(row))));
    }

    /// As arranged last.
    pub(in crate::ctl::top) fn ids(&self) -> &[u32] {
        &self.order
    }

    pub(in crate::ctl::top) fn get(&self, id: u32) -> Option<&DownloadRow> {
        self.rows.get(&id)
    }

    pub(in crate::ctl::top) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn rank(state: DownloadState) -> u8 {
    match state {
        DownloadState::Active | DownloadState::Verifying => 0,
        DownloadState::Retrying => 1,
        DownloadState::Queued => 2,
        DownloadState::Paused => 3,
        DownloadState::Done | DownloadState::Failed | DownloadState::Cancelled => 4,
    }
}

/// Those that are over the newest first, the others as they were begun.
fn place(row: &DownloadRow) -> (u32, Reverse<u32>) {
    if rank(row.state) == 4 { (0, Reverse(row.id)) } else { (row.id, Reverse(0)) }
}

/// A search of a peer.
#[derive(Debug)]
pub(in crate::ctl::top) struct PeerSearch {
    pub(in crate::ctl::top) at: Duration,
    pub(in crate::ctl::top) from: SocketAddr,
    pub(in crate::ctl::top) requester: SocketAddr,
    pub(in crate::ctl::top) text: RawText,
    pub(in crate::ctl::top) ttl: u8,
}

/// The newest first.
#[derive(Debug, Default)]
pub(in crate::ctl::top) struct PeerSearches(VecDeque<PeerSearch>);

impl PeerSearches {
    pub(in crate::ctl::top) fn put(&mut self, search: PeerSearch) {
        self.0.truncate(REMEMBERED_MAX - 1);
        self.0.push_front(search);
    }

    pub(in crate::ctl::top) fn rows(&self) -> impl Iterator<Item = &PeerSearch> {
        self.0.iter()
    }

    pub(in crate::ctl::top) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How far our search is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ctl::top) enum Progress {
    /// Asked of the daemon.
    Begun,
    /// It has this number.
    Running(u32),
    /// It is over, but late hits may come.
    Over(u32),
}

/// Our search, and what it has found.
#[derive(Debug)]
pub(in crate::ctl::top) struct OurSearch {
    nth: u32,
    pub(in crate::ctl::top) text: String,
    pub(in crate::ctl::top) progress: Progress,
    hits: BTreeMap<u32, HitRow>,
}

impl OurSearch {
    /// The one of this number among those of the user, of which the daemon does not know.
    pub(in crate::ctl::top) fn new(nth: u32, text: String) -> Self {
        Self { nth, text, progress: Progress::Begun, hits: BTreeMap::new() }
    }

    /// Whether it is this one, which the daemon has not answered yet. Another may have been typed meanwhile.
    pub(in crate::ctl::top) fn is_begun(&self, nth: u32) -> bool {
        self.nth == nth && self.progress == Progress::Begun
    }

    pub(in crate::ctl::top) fn is(&self, search: u32) -> bool {
        matches!(self.progress, Progress::Running(ours) | Progress::Over(ours) if ours == search)
    }

    pub(in crate::ctl::top) fn put(&mut self, hit: HitRow) {
        if self.hits.len() < HITS_MAX || self.hits.contains_key(&hit.id) {
            self.hits.insert(hit.id, hit);
        }
    }

    /// By id.
    pub(in crate::ctl::top) fn rows(&self) -> impl Iterator<Item = &HitRow> {
        self.hits.values()
    }

    pub(in crate::ctl::top) fn len(&self) -> usize {
        self.hits.len()
    }
}

//! Uploads: those in progress, of which the daemon is asked page by page, and those that have ended while we looked.

use super::lists::REMEMBERED_MAX;
use crate::control::{RawText, UploadKey, UploadState, UploadsReply};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Uploads in progress that are shown: more than a daemon serves and has wait.
const IN_PROGRESS_MAX: usize = 8_192;

/// In the order of the daemon.
type Key = (SocketAddr, Vec<u8>);

#[derive(Debug)]
pub(in crate::ctl::top) struct Upload {
    pub(in crate::ctl::top) to: SocketAddr,
    pub(in crate::ctl::top) name: RawText,
    /// For how long before this view was begun it had been in progress; then when it began.
    began: (Duration, Duration),
    /// `None` until the daemon has told more than that it began.
    pub(in crate::ctl::top) bytes: Option<u64>,
    pub(in crate::ctl::top) rate: Option<u64>,
    pub(in crate::ctl::top) stage: Stage,
}

#[derive(Debug)]
pub(in crate::ctl::top) enum Stage {
    InProgress(UploadState),
    Ended { at: Duration, error: Option<String> },
}

impl Upload {
    /// How long it has lasted at this time.
    pub(in crate::ctl::top) fn lasted(&self, now: Duration) -> Duration {
        let until = if let Stage::Ended { at, .. } = self.stage { at } else { now };
        until.saturating_sub(self.began.1) + self.began.0
    }

    fn rank(&self) -> (Option<UploadState>, Duration, Reverse<Duration>) {
        match self.stage {
            Stage::InProgress(state) => (Some(state), self.began.0, Reverse(self.began.1)),
            Stage::Ended { .. } => (None, Duration::ZERO, Reverse(Duration::ZERO)),
        }
    }
}

#[derive(Debug, Default)]
pub(in crate::ctl::top) struct Uploads {
    in_progress: BTreeMap<Key, Upload>,
    /// The newest first.
    ended: VecDeque<Upload>,
    /// The next page begins after this one.
    after: Option<UploadKey>,
}

impl Uploads {
    /// After which row the next page is to begin.
    pub(in crate::ctl::top) fn after(&self) -> Option<UploadKey> {
        self.after.clone()
    }

    pub(in crate::ctl::top) fn begin(&mut self, now: Duration, to: SocketAddr, name: RawText) {
        if self.in_progress.len() < IN_PROGRESS_MAX {
            let stage = Stage::InProgress(UploadState::Sending);
            let key = (to, name.as_bytes().to_vec());
            let upload = Upload { to, name, began: (Duration::ZERO, now), bytes: None, rate: None, stage };
            self.in_progress.insert(key, upload);
        }
    }

    /// One that is not known is as new as its end.
    pub(in crate::ctl::top) fn end(
        &mut self,
        at: Duration,
        (to, name): (SocketAddr, RawText),
        bytes: u64,
        error: Option<String>,
    ) {
        let known = self.in_progress.remove(&(to, name.as_bytes().to_vec()));
        let began = known.map_or((Duration::ZERO, at), |upload| upload.began);
        self.ended.truncate(REMEMBERED_MAX - 1);
        let stage = Stage::Ended { at, error };
        self.ended.push_front(Upload { to, name, began, bytes: Some(bytes), rate: None, stage });
    }

    /// Takes the page that was asked for; what is not on it any more is over. `epoch_s` is the date now.
    pub(in crate::ctl::top) fn turn_page(&mut self, now: Duration, epoch_s: u64, page: UploadsReply) {
        let key = |key: &UploadKey| (key.to, key.name.as_bytes().to_vec());
        let (after, next) = (self.after.as_ref().map(key), page.next.as_ref().map(key));
        // No page comes again and again.
        let next = next.filter(|next| after.as_ref().is_none_or(|after| next > after));
        self.after = page.next.filter(|_| next.is_some());
        let on_page: BTreeSet<Key> = page.uploads.iter().map(|row| (row.to, row.name.as_bytes().to_vec())).collect();
        let covers =
            |key: &Key| after.as_ref().is_none_or(|after| key > after) && next.as_ref().is_none_or(|next| key <= next);
        self.in_progress.retain(|key, _| !covers(key) || on_page.contains(key));
        for row in page.uploads {
            let key = (row.to, row.name.as_bytes().to_vec());
            if self.in_progress.len() >= IN_PROGRESS_MAX && !self.in_progress.contains_key(&key) {
                continue;
            }
            let age = Duration::from_secs(epoch_s.saturating_sub(row.since));
            let began = (age.saturating_sub(now), now.saturating_sub(age));
            let (bytes, stage) = (Some(row.bytes_sent), Stage::InProgress(row.state));
            self.in_progress.insert(key, Upload { to: row.to, name: row.name, began, bytes, rate: row.rate, stage });
        }
    }

    /// Those in progress first: those that are sent, the newest first.
    pub(in crate::ctl::top) fn rows(&self) -> impl Iterator<Item = &Upload> {
        let mut rows: Vec<&Upload> = self.in_progress.values().collect();
        rows.sort_by_cached_key(|upload| upload.rank());
        rows.into_iter().chain(&self.ended)
    }

    pub(in crate::ctl::top) fn len(&self) -> usize {
        self.in_progress.len() + self.ended.len()
    }

    /// The daemon is another one: what was in progress is not any more.
    pub(in crate::ctl::top) fn forget_unfinished(&mut self) {
        self.in_progress.clear();
        self.after = None;
    }
}

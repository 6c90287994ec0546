//! Downloads as users see them.

use super::source::{Fetch, Task};
use super::state::{Download, State};
use crate::control::{DownloadRow, DownloadState, RawText};
use crate::id::TransferId;
use crate::node::network::whole_seconds;
use crate::time::Instant;
use std::os::unix::ffi::OsStrExt;

/// What may be shown of measured rates: bytes are counted when they are reported, so that what is measured may exceed
/// the limit for a moment, though what comes does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateCap {
    /// Bytes a second; 0 for no limit.
    pub(super) limit: u64,
    /// What was measured of all together.
    pub(super) measured: u64,
}

impl RateCap {
    /// So that all that are shown together stay within the limit.
    fn of(self, rate: u64) -> u64 {
        if self.limit == 0 || self.measured <= self.limit {
            return rate;
        }
        let share = u128::from(rate) * u128::from(self.limit) / u128::from(self.measured);
        u64::try_from(share).unwrap_or(rate)
    }
}

impl Download {
    /// Bytes per second, as measured, while it fetches.
    pub(super) fn measured_rate(&self, now: Instant) -> Option<u64> {
        if self.state() == State::Fetching { self.rate.per_second(now, self.received) } else { None }
    }

    /// How it stands now.
    pub(super) fn row(&self, id: TransferId, now: Instant, cap: RateCap) -> DownloadRow {
        let (state, retry_at) = match self.state() {
            State::Queued => (DownloadState::Queued, None),
            State::Opening | State::Fetching => (DownloadState::Active, None),
            State::Verifying => (DownloadState::Verifying, None),
            State::Retrying { until, .. } => (DownloadState::Retrying, Some(until)),
            State::Paused(_) => (DownloadState::Paused, None),
            State::Done => (DownloadState::Done, None),
            State::Failed => (DownloadState::Failed, None),
            State::Cancelled => (DownloadState::Cancelled, None),
        };
        let (bytes_done, size) = self.progress();
        let rate = self.measured_rate(now).map(|rate| cap.of(rate));
        let mut shares: Vec<_> = self.sources.iter().map(|source| source.row(now)).collect();
        let measured = shares.iter().filter_map(|share| share.rate).fold(0, u64::saturating_add);
        // Of what the download gets, if it is held back at all.
        let limit = if cap.limit == 0 { 0 } else { rate.unwrap_or(cap.limit).max(1) };
        let of_sources = RateCap { limit, measured };
        shares.iter_mut().for_each(|share| share.rate = share.rate.map(|rate| of_sources.of(rate)));
        DownloadRow {
            id: id.0,
            name: RawText::new(self.name.as_bytes()),
            path: self.path.as_ref().map(|path| RawText::new(path.as_os_str().as_bytes())),
            state,
            bytes_done,
            size,
            rate,
            b3: self.aim.b3().or(self.found).map(|hash| hash.to_string()),
            verified: self.verified,
            sources: self.sources.iter().map(|source| source.addr).collect(),
            shares,
            eta_s: self.eta_s(size, rate),
            already: self.already,
            error: self.error.clone(),
            retry_in_s: retry_at.map(|at| whole_seconds(at.saturating_since(now))),
            not_remembered: self.recorded.trouble().map(Box::new),
        }
    }

    /// Bytes that are there, and bytes of the whole, which are never fewer. Bytes are verified ones where they can be
    /// verified, else what the longest stream has brought.
    ///
    /// A stream may bring more than somebody has claimed of the file: then the size is unknown. The claim of the source
    /// that sends is the one that counts, and what an earlier stream has brought beyond it was of another file.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        match (&self.content, self.state()) {
            (_, State::Done) => (self.size.unwrap_or(self.streamed), self.size.or(Some(self.streamed))),
            (Some(content), _) => (content.bytes_verified(), Some(content.size)),
            (None, _) if self.recalled => (self.recalled_bytes, self.size.filter(|size| *size >= self.recalled_bytes)),
            (None, State::Verifying) => (self.streamed, Some(self.streamed)),
            (None, _) => {
                let (done, size) = match self.stream() {
                    Some((received, Some(size))) if self.streamed > size => (received, Some(size)),
                    Some((_, size)) => (self.streamed, size),
                    None => (self.streamed, self.size),
                };
                (done, size.filter(|size| *size >= done))
            }
        }
    }

    /// Seconds until it is done, if it goes on as in the last seconds.
    fn eta_s(&self, size: Option<u64>, rate: Option<u64>) -> Option<u64> {
        // What comes as a stream counts from its beginning, also where an earlier one got further.
        let done = match &self.content {
            Some(content) => content.bytes_verified() + self.bytes_in_flight(),
            None => self.stream()?.0,
        };
        Some(size?.saturating_sub(done).div_ceil(rate.filter(|rate| *rate > 0)?))
    }

    /// Bytes of groups that have begun to come in.
    fn bytes_in_flight(&self) -> u64 {
        let fetches = self.sources.iter().filter_map(|source| source.fetch());
        let groups = fetches.filter(|fetch| matches!(fetch.task, Task::Groups { twice: false, .. }));
        groups.map(Fetch::in_flight).sum()
    }

    /// The stream that is coming in: its bytes so far, and how many it will have as far as somebody has said.
    fn stream(&self) -> Option<(u64, Option<u64>)> {
        let mut fetches = self.sources.iter().filter_map(|source| Some((source, source.fetch()?)));
        let (source, fetch) = fetches.find(|(_, fetch)| fetch.task == Task::Stream)?;
        Some((fetch.received, source.size.or(self.size)))
    }
}

//! Downloads as users see them.

use super::DownloadMachine;
use super::rate_cap::RateCap;
use super::source::Fetch;
use super::state::{Download, Life};
use crate::control::{DownloadRow, RawText};
use crate::id::TransferId;
use crate::node::network::whole_seconds;
use crate::time::Instant;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl DownloadMachine {
    /// The path of the file of a download that is done.
    pub(in crate::node) fn saved_at(&self, id: TransferId) -> Option<&Path> {
        if let Life::Done { path, .. } = self.downloads.get(id)?.life() { Some(path) } else { None }
    }
}

impl Download {
    /// Bytes per second, as measured, while it fetches.
    pub(super) fn measured_rate(&self, now: Instant) -> Option<u64> {
        self.open()?.rate.per_second(now, self.received)
    }

    /// How it stands now.
    pub(super) fn row(&self, id: TransferId, now: Instant, cap: RateCap) -> DownloadRow {
        let retry_at = if let Life::Waiting { until, .. } = self.life() { Some(*until) } else { None };
        let checked = self.part().found();
        let (path, found, verified, already) = match self.life() {
            Life::Done { path, found, verified, already, .. } => (Some(path), *found, *verified, *already),
            _ => (self.path.as_ref(), checked.map(|it| it.b3), checked.is_some_and(|it| it.verified), false),
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
            path: path.map(|path| RawText::new(path.as_os_str().as_bytes())),
            state: self.state(),
            bytes_done,
            size,
            rate,
            b3: self.want.b3().or(found).map(|hash| hash.to_string()),
            verified,
            sources: self.sources.iter().map(|source| source.addr).collect(),
            shares,
            eta_s: self.eta_s(size, rate),
            already,
            copied_from: self.copied_from.as_ref().map(|name| Box::new(RawText::new(name.as_bytes()))),
            error: self.life().problem().cloned().map(|problem| Box::new(problem.into())),
            retry_in_s: retry_at.map(|at| whole_seconds(at.saturating_since(now))),
            not_remembered: self.recorded.problem.clone().map(|problem| Box::new(problem.into())),
            place: None,
            directory: None,
            part_of: self.directory.map(|id| id.0),
        }
    }

    /// Seconds until it is done, if it goes on as in the last seconds.
    fn eta_s(&self, size: Option<u64>, rate: Option<u64>) -> Option<u64> {
        // What comes as a stream counts from its beginning, also where an earlier one got further.
        let done = match self.content() {
            Some(content) => content.bytes_verified() + self.bytes_in_flight(),
            None => self.stream()?.0,
        };
        Some(size?.saturating_sub(done).div_ceil(rate.filter(|rate| *rate > 0)?))
    }

    /// Bytes of groups that have begun to come in.
    fn bytes_in_flight(&self) -> u64 {
        let fetches = self.sources.iter().filter_map(|source| source.fetch());
        let groups = fetches.filter(|fetch| fetch.task.left().is_some() && !fetch.twice);
        groups.map(Fetch::in_flight).sum()
    }
}

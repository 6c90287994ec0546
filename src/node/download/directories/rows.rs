//! Directories as users see them.

use super::state::{Directory, Stage, Summary};
use super::tally::Doing;
use crate::control::{
    DirectoryPart, DownloadRow, DownloadState, DownloadsReply, MissingRow, Problem, RawText, SourceRow, SourceState,
};
use crate::id::{ContentHash, TransferId};
use crate::link::LINK_PEERS_MAX;
use crate::name::FileName;
use crate::node::cx::Cx;
use crate::node::download::DownloadMachine;
use crate::node::download::orders::{download_bytes, page};
use crate::node::download::rate_cap::RateCap;
use crate::node::download::state::{Download, Life, NamedPlace};
use crate::node::limits::{DIRECTORY_NAMES_BYTES_MAX, DIRECTORY_NAMES_SHOWN, HIT_SOURCES_MAX};
use crate::node::network::whole_seconds;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;

/// What the rows of its members come to.
#[derive(Default)]
struct Sum {
    bytes: u64,
    /// `None` once one has none.
    size: Option<u64>,
    rate: Option<u64>,
    sources: BTreeSet<SocketAddr>,
    shares: BTreeMap<SocketAddr, SourceRow>,
    missing: Vec<MissingRow>,
    /// The first next attempt of a member that waits.
    retry_at: Option<Instant>,
    /// What the disk says of the first that it has stopped, or what the sources say of the first that waits.
    stopped: Option<Problem>,
    waits: Option<Problem>,
}

impl Sum {
    fn add(&mut self, directory: &Directory, member: &Download, now: Instant) {
        let (bytes, size) = member.progress();
        self.bytes = self.bytes.saturating_add(bytes);
        self.size = self.size.zip(size).map(|(sum, size)| sum.saturating_add(size));
        if self.sources.len() < HIT_SOURCES_MAX {
            self.sources.extend(member.sources.iter().map(|source| source.addr));
        }
        match member.life() {
            Life::Active => {
                let rate = member.measured_rate(now);
                self.rate = rate.map(|rate| self.rate.unwrap_or(0).saturating_add(rate)).or(self.rate);
                member.sources.iter().take(HIT_SOURCES_MAX).for_each(|source| self.add_share(source.row(now)));
            }
            Life::Waiting { until, why, .. } => {
                if !directory.awaits_turn(member) {
                    self.retry_at = Some(self.retry_at.map_or(*until, |at| at.min(*until)));
                }
                self.waits.get_or_insert_with(|| why.clone());
            }
            Life::Blocked { why, .. } => drop(self.stopped.get_or_insert_with(|| why.clone())),
            _ => {}
        }
        let is_missing = matches!(member.life(), Life::Waiting { .. } | Life::Blocked { .. } | Life::Failed { .. });
        if is_missing && self.missing.len() < DIRECTORY_NAMES_SHOWN {
            let error = member.life().problem().cloned().map(Into::into);
            self.missing.push(MissingRow { name: RawText::new(member.name.as_bytes()), error });
        }
    }

    /// What one source does for several members: the most active counts.
    fn add_share(&mut self, share: SourceRow) {
        if self.shares.len() >= HIT_SOURCES_MAX && !self.shares.contains_key(&share.addr) {
            return;
        }
        let sum = self.shares.entry(share.addr).or_insert_with(|| SourceRow { bytes: 0, rate: None, ..share.clone() });
        sum.bytes = sum.bytes.saturating_add(share.bytes);
        sum.rate = share.rate.map(|rate| sum.rate.unwrap_or(0).saturating_add(rate)).or(sum.rate);
        if rank(share.state) < rank(sum.state) {
            (sum.state, sum.error) = (share.state, share.error);
        }
    }
}

fn rank(state: SourceState) -> u8 {
    match state {
        SourceState::Active => 0,
        SourceState::Idle => 1,
        SourceState::Waiting => 2,
        SourceState::Refused => 3,
        SourceState::Corrupt => 4,
    }
}

impl DownloadMachine {
    /// All downloads after an id, as users see them: those of files with those of directories, without members.
    pub(in crate::node) fn call_downloads(&self, cx: &Cx, after: u32) -> DownloadsReply {
        let cap = self.downloads.rate_cap(cx);
        let directories = self.directories.iter().filter(|(id, _)| id.0 > after);
        let directories = directories.map(|(id, row)| (id.0, self.row_of_directory(id, row, cx.now, cap)));
        let (mut files, mut directories) =
            (self.downloads.after(cx, TransferId(after)).peekable(), directories.peekable());
        let rows = std::iter::from_fn(|| match (files.peek(), directories.peek()) {
            (Some((file, _)), Some((directory, _))) if file < directory => files.next(),
            (_, Some(_)) => directories.next(),
            (_, None) => files.next(),
        });
        let (downloads, next) = page(rows, download_bytes);
        DownloadsReply { downloads, next, ids: Vec::new() }
    }

    /// How many downloads there are in each state.
    pub(in crate::node) fn count_by_state(&self) -> BTreeMap<DownloadState, u64> {
        let mut counts = self.downloads.count_by_state();
        self.directories.iter().for_each(|(_, row)| *counts.entry(row.state()).or_default() += 1);
        counts
    }

    /// The members of a directory, by id.
    pub(in crate::node) fn call_directory_files(
        &self,
        cx: &Cx,
        id: u32,
        after: u32,
    ) -> Result<DownloadsReply, Problem> {
        let no_such = || Problem::NoSuchDownload { part: id.to_string() };
        let directory = self.directories.get(TransferId(id)).ok_or_else(no_such)?;
        let members: BTreeSet<TransferId> = directory.members.values().copied().filter(|id| id.0 > after).collect();
        let (now, cap) = (cx.now, self.downloads.rate_cap(cx));
        let rows = members.iter().filter_map(|id| Some((id.0, self.member_row(*id, now, cap)?)));
        let (downloads, next) = page(rows, download_bytes);
        Ok(DownloadsReply { downloads, next, ids: Vec::new() })
    }

    /// The row of a file of a directory.
    pub(in crate::node) fn row_of_member(&self, cx: &Cx, id: TransferId) -> Option<DownloadRow> {
        self.member_row(id, cx.now, self.downloads.rate_cap(cx))
    }

    fn member_row(&self, id: TransferId, now: Instant, cap: RateCap) -> Option<DownloadRow> {
        let member = self.downloads.get(id).filter(|row| row.directory.is_some())?;
        let row = member.row(id, now, cap);
        // Its timer does not say when its turn comes.
        let retry_in_s = row.retry_in_s.filter(|_| !self.is_searched_in_turn(member));
        Some(DownloadRow { retry_in_s, ..row })
    }

    /// The row of a download that is no member, or of a directory.
    pub(in crate::node) fn row(&self, cx: &Cx, id: TransferId) -> Option<DownloadRow> {
        match self.directories.get(id) {
            Some(row) => Some(self.row_of_directory(id, row, cx.now, self.downloads.rate_cap(cx))),
            None => self.downloads.row(cx, id),
        }
    }

    /// How many bytes came from each source of the files of a directory; `None` for a file.
    pub(in crate::node::download) fn bytes_of_directory(&self, id: TransferId) -> Option<BTreeMap<SocketAddr, u64>> {
        let directory = self.directories.get(id)?;
        let mut bytes = BTreeMap::new();
        let members = directory.members.values().filter_map(|id| self.downloads.get(*id));
        for source in members.flat_map(|member| &member.sources) {
            *bytes.entry(source.addr).or_default() += source.bytes;
        }
        Some(bytes)
    }

    fn sum(&self, directory: &Directory, now: Instant) -> Sum {
        let mut sum = Sum { size: directory.is_listed.then_some(0), ..Sum::default() };
        let members = directory.members.values().filter_map(|id| self.downloads.get(*id));
        members.for_each(|member| sum.add(directory, member, now));
        let left_out = |name: &FileName| MissingRow {
            name: RawText::new(name.as_bytes()),
            error: Some(Problem::NameLeftOut.into()),
        };
        sum.missing.extend(directory.left_out.first.iter().map(left_out));
        sum.missing.truncate(DIRECTORY_NAMES_SHOWN);
        let mut left = DIRECTORY_NAMES_BYTES_MAX;
        sum.missing.retain(|row| {
            let bytes = row.name.as_bytes().len() + row.error.as_ref().map_or(0, |error| error.message.len());
            let fits = bytes <= left;
            left -= if fits { bytes } else { 0 };
            fits
        });
        sum
    }

    /// What is shown of a directory once its members are released.
    pub(super) fn summary(&self, cx: &Cx, id: TransferId) -> Summary {
        let Some(directory) = self.directories.get(id) else { return Summary::default() };
        let (sum, files_done) = (self.sum(directory, cx.now), directory.tally.count(Doing::Done));
        Summary {
            files: directory.files() + directory.left_out.count,
            files_done,
            bytes_done: sum.bytes,
            size: sum.size,
            pending: directory.pending.lacking.files(),
            verified: directory.tally.unverified == 0 && files_done == directory.files(),
            already: directory.tally.fetched == 0 && files_done > 0 && files_done == directory.files(),
            sources: sum.sources.into_iter().collect(),
        }
    }

    pub(super) fn row_of_directory(&self, id: TransferId, row: &Directory, now: Instant, cap: RateCap) -> DownloadRow {
        let over = match row.stage() {
            Stage::Done(summary) | Stage::Cancelled(summary) => Some(summary),
            _ => None,
        };
        let sum = if over.is_none() { self.sum(row, now) } else { Sum::default() };
        let rate = sum.rate.map(|rate| cap.of(rate));
        let (bytes_done, size) = over.map_or((sum.bytes, sum.size), |over| (over.bytes_done, over.size));
        let (error, retry_at) = match row.stage() {
            Stage::Waiting { until, why, .. } => (Some(why), Some(sum.retry_at.map_or(*until, |at| at.min(*until)))),
            Stage::Failed { why } => (Some(why), None),
            Stage::Fetching if row.tally.count(Doing::Active) + row.tally.count(Doing::Queued) == 0 => {
                (sum.waits.as_ref().or(sum.stopped.as_ref()), sum.retry_at)
            }
            _ => (None, None),
        };
        let count = |doing| row.tally.count(doing);
        let missing = count(Doing::Waiting) + count(Doing::Blocked) + count(Doing::Refused) + count(Doing::Unsavable);
        // Until the files are members, the manifest says how many there are.
        let described = row.described.filter(|_| over.is_none() && !row.is_listed);
        let size = size.or(described.map(|described| described.bytes));
        let left = size.map(|size| size.saturating_sub(bytes_done));
        let part = DirectoryPart {
            manifest: row.described.map(|described| described.b3.to_string()),
            files: over
                .map_or(row.files() + row.left_out.count, |over| over.files)
                .max(described.map_or(0, |described| described.files)),
            files_done: over.map_or(count(Doing::Done), |over| over.files_done),
            files_missing: over.map_or(missing + row.left_out.count, |_| 0),
            missing: sum.missing,
            files_pending: over.map_or(row.pending.lacking.files(), |over| over.pending),
        };
        let path = (row.named_place == NamedPlace::Good).then(|| RawText::new(row.path().as_os_str().as_bytes()));
        DownloadRow {
            id: id.0,
            name: RawText::new(row.name.as_bytes()),
            path,
            state: row.state(),
            bytes_done,
            size,
            rate,
            b3: None,
            verified: over.is_some_and(|over| over.verified),
            sources: over.map_or_else(|| sum.sources.into_iter().collect(), |over| over.sources.clone()),
            shares: sum.shares.into_values().collect(),
            eta_s: left.zip(rate.filter(|rate| *rate > 0)).map(|(left, rate)| left.div_ceil(rate)),
            already: over.is_some_and(|over| over.already),
            copied_from: None,
            error: error.cloned().map(|problem| Box::new(problem.into())),
            retry_in_s: retry_at.map(|at| whole_seconds(at.saturating_since(now))),
            not_remembered: row.recorded.problem.clone().map(|problem| Box::new(problem.into())),
            place: None,
            directory: Some(Box::new(part)),
            part_of: None,
        }
    }

    /// Of a directory whose manifest is known: its name, the hash of that, and its peers.
    pub(in crate::node) fn described_directory(
        &self,
        id: TransferId,
    ) -> Option<(FileName, ContentHash, Vec<SocketAddr>)> {
        let directory = self.directories.get(id)?;
        let b3 = directory.wanted.or(directory.described.map(|described| described.b3))?;
        // Without the hash that was wanted, only the peer that was asked is known to have it.
        let others = directory.others.iter().copied().filter(|_| directory.wanted.is_some());
        let peers = directory.peer.into_iter().chain(others);
        Some((directory.name.clone(), b3, peers.take(LINK_PEERS_MAX).collect()))
    }

    /// The first member that does this, and why.
    pub(super) fn first_member(&self, id: TransferId, doing: Doing) -> Option<(RawText, Problem)> {
        let members = self.directories.get(id)?.members.values().filter_map(|id| self.downloads.get(*id));
        let mut members = members.filter(|member| Doing::of(member.life()) == doing);
        let member = members.next()?;
        Some((RawText::new(member.name.as_bytes()), member.life().problem()?.clone()))
    }
}

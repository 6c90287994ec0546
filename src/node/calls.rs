//! The calls of control clients: each is answered exactly once, from memory; work that it starts reports by notices. What
//! is to outlive a restart is answered when it is on the disk.

use super::contract::Action;
use super::endpoints::canonical;
use super::hit::Hit;
use super::ordering::{TEXT_BLOAT_MAX, page};
use super::orders::{Order, Outcome};
use super::subscriptions::Topic;
use super::{Node, Phase};
use crate::control::{
    BootstrapReply, CallError, CallId, ExitCode, FileRow, FilesReply, HitRow, HitsReply, LAST_SEARCH, PAGE_ROWS_MAX,
    RawText, Reply, Request, StatusReply,
};
use crate::id::{ClientId, ContentHash, HitId, SearchId};
use crate::name::{Escaped, FileName};
use crate::time::Instant;
use std::collections::BTreeSet;

/// What a call is answered with.
enum Answer {
    Now(Reply),
    /// The rows of the downloads concerned, as soon as the order is carried out and what it changed is remembered.
    Order(Order),
}

impl Node {
    pub(super) fn on_call(&mut self, now: Instant, client: ClientId, call: CallId, request: Request) {
        let before = self.actions.len();
        let outcome = match self.answer(now, client, request) {
            Ok(Answer::Order(order)) => self.take_order(now, client, &call, order),
            Ok(Answer::Now(reply)) => Some(Outcome::Reply(Ok(reply))),
            Err(error) => Some(Outcome::Reply(Err(error))),
        };
        // The answer goes out before the notices of the work that the call began, but after whatever is to outlive a
        // restart: what was accepted is not lost. What is forgotten keeps its place behind the removal of part files.
        let (kept, begun): (Vec<_>, Vec<_>) =
            self.actions.drain(before..).partition(|action| matches!(action, Action::RememberDownload { .. }));
        self.actions.extend(kept);
        if let Some(outcome) = outcome {
            self.reply(now, client, call, outcome);
        }
        self.actions.extend(begun);
    }

    fn answer(&mut self, now: Instant, client: ClientId, request: Request) -> Result<Answer, CallError> {
        let order = match &request {
            Request::Download { what, output } => {
                self.may_work()?;
                self.call_download(now, client, what, output.as_ref())
            }
            Request::Pause { ids } => self.call_pause(ids),
            Request::Resume { ids } => self.call_resume(ids),
            Request::Retry { ids } => self.call_retry(ids),
            Request::Cancel { ids } => self.call_cancel(ids),
            _ => return self.answer_at_once(now, client, request).map(Answer::Now),
        };
        order.map(Answer::Order)
    }

    fn answer_at_once(&mut self, now: Instant, client: ClientId, request: Request) -> Result<Reply, CallError> {
        match request {
            Request::Status => Ok(Reply::Status(Box::new(self.status(now)))),
            Request::Peers => {
                // So that the rows show the neighbours that the next search would ask.
                self.neighbours();
                Ok(Reply::Peers(self.peers.rows()))
            }
            Request::Search { text, max, ttl } => {
                self.may_work()?;
                self.call_search(now, client, text.as_bytes(), max, ttl).map(Reply::SearchStarted)
            }
            Request::Hits { search, after } => Ok(Reply::Hits(self.call_hits(now, search, after))),
            Request::List { peer } => {
                self.may_work()?;
                self.call_list(now, client, canonical(peer)).map(Reply::SearchStarted)
            }
            Request::Forget { peer } => self.call_forget(now, canonical(peer)).map(|()| Reply::Done {}),
            Request::Downloads { after } => Ok(Reply::Downloads(self.call_downloads(now, after))),
            Request::Follow { ids } => self.call_follow(now, client, &ids).map(Reply::Downloads),
            Request::Files { after } => self.call_files(after.as_ref()).map(Reply::Files),
            Request::Rescan => {
                self.may_work()?;
                self.call_rescan(client);
                Ok(Reply::Done {})
            }
            Request::Events => {
                self.subscriptions.subscribe(Topic::Events, client);
                Ok(Reply::Done {})
            }
            Request::Bootstrap { .. } => {
                Ok(Reply::Bootstrap(BootstrapReply { links: self.links(now), registry: None }))
            }
            Request::Download { .. }
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::Retry { .. }
            | Request::Cancel { .. }
            | Request::Reload
            | Request::LogLevel { .. }
            | Request::Stop => {
                // The daemon around this node answers the last three; orders were taken before.
                Err(CallError::new(ExitCode::Other, "this call is not for the node; no daemon runs around it"))
            }
        }
    }

    /// Refuses to begin work that this node will not do.
    fn may_work(&self) -> Result<(), CallError> {
        if !self.config.peer {
            let message = "this daemon is a bootstrap node only; set `peer = true` in its configuration and restart it";
            return Err(CallError::new(ExitCode::Other, message));
        }
        match self.phase {
            Phase::Running => Ok(()),
            _ => Err(CallError::new(ExitCode::Other, "the daemon is leaving; start it again first")),
        }
    }

    fn status(&self, now: Instant) -> StatusReply {
        let count = |n: usize| n as u64;
        StatusReply {
            version: env!("CARGO_PKG_VERSION").to_string(),
            uptime_s: now.saturating_since(self.started).as_secs(),
            listen: self.config.peer.then_some(self.config.listen),
            advertise: self.advertised(),
            bootstraps: self.links(now),
            peers: count(self.peers.count()),
            shared_files: self.library.len(),
            shared_bytes: self.library.bytes(),
            share_error: self.share_error(),
            scanning: self.scan.is_running(),
            unhashed_files: self.library.unhashed(),
            downloads_active: count(self.downloads.active()),
            downloads_queued: count(self.downloads.waiting()),
            orphaned_parts: self.orphans.0,
            orphaned_bytes: self.orphans.1,
            uploads_active: count(self.uploads.len()),
            commands_queued: count(self.workers.queued() + self.turns.waiting()),
            bytes_down: self.counters.bytes_down,
            bytes_up: self.counters.bytes_up,
            refused: self.counters.refused,
            limited: self.counters().limited,
        }
    }

    fn call_hits(&mut self, now: Instant, search: Option<u32>, after: u32) -> HitsReply {
        let search = search.map(|search| if search == LAST_SEARCH { self.last_search() } else { SearchId(search) });
        let row_of = |id, hit: &Hit| HitRow { truncated: self.is_truncated(hit.search()), ..hit.row(id) };
        let rows = self.hits.after(search, HitId(after)).map(|(id, hit)| (id.0, row_of(id, hit)));
        let bytes = |row: &HitRow| {
            let names: usize = row.names.iter().chain([&row.name]).map(|name| name.as_bytes().len() + 8).sum();
            200 + names * TEXT_BLOAT_MAX + row.sources.len() * 64
        };
        let (hits, next) = page(rows, bytes);
        let of_row = |row: &HitRow| self.hits.get(HitId(row.id)).map(Hit::search);
        let seen: BTreeSet<SearchId> = hits.iter().filter_map(of_row).chain(search).collect();
        let truncated = seen.iter().any(|search| self.is_truncated(*search));
        seen.into_iter().for_each(|search| self.hits.note_seen(now, search));
        HitsReply { hits, next, truncated }
    }

    fn call_files(&self, after: Option<&RawText>) -> Result<FilesReply, CallError> {
        let after = match after {
            None => None,
            Some(text) => Some(FileName::from_bytes(text.as_bytes()).ok_or_else(|| {
                let message = format!("\"{}\" is no file name to go on after", Escaped(text.as_bytes()));
                CallError::new(ExitCode::Usage, message)
            })?),
        };
        let rows_max = PAGE_ROWS_MAX as usize + 1;
        let row = |name: &FileName, size, b3: Option<ContentHash>, being_written| {
            let b3 = b3.map(|b3| b3.to_string());
            (name.clone(), FileRow { name: RawText::new(name.as_bytes()), size, b3, being_written })
        };
        let shared = self.library.list_after(after.as_ref(), rows_max);
        let shared = shared.iter().map(|(name, file)| row(name, Some(file.meta.size), file.b3, false));
        let unsettled = self.settling.after(after.as_ref(), rows_max);
        let mut rows: Vec<_> = shared.chain(unsettled.map(|(name, size)| row(name, size, None, true))).collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.truncate(rows_max);
        let (files, next) = page(rows.into_iter(), |row| 200 + row.name.as_bytes().len() * TEXT_BLOAT_MAX);
        let share_error = self.share_error();
        Ok(FilesReply { files, next: next.map(|name| RawText::new(name.as_bytes())), share_error })
    }
}

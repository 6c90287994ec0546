//! The calls of control clients: each is answered exactly once, from memory; work that it starts reports by notices. What
//! is to outlive a restart is answered when it is on the disk. Calls all other machines.

mod content_link;
mod directory_links;
mod manifest_pages;

pub(super) use directory_links::DirectoryLinks;

use super::Counters;
use super::cx::Cx;
use super::download::DownloadMachine;
use super::network::NetworkMachine;
use super::search::SearchMachine;
use super::share::ShareMachine;
use super::upload::UploadMachine;
use super::wish::{Others, WishMachine};
use crate::audience::{RANGE_BYTES_MAX, Requester};
use crate::control::{
    BootstrapReply, CallId, EventLogReply, FileRows, FilesReply, HitRow, HitRows, HitsReply, LAST_SEARCH, LeftOutReply,
    LeftOutRow, Problem, RawText, Reply, Request, SearchRow, SearchStarted, SearchesReply, SharesReply, StatusReply,
    UploadKey, UploadsReply, WishesReply,
};
use crate::id::{ClientId, HitId, SearchId};
use crate::name::FileName;
use crate::node::Phase;
use crate::node::cx::Topic;
use crate::node::download::{Command, Order, Outcome, TEXT_BLOAT_MAX, page};
use crate::node::network::{Net, canonical};
use crate::node::search::{HitRef, ListedFile};
use std::collections::BTreeSet;

/// What a call may use: all of the node.
pub(super) struct Calls<'a> {
    pub(super) cx: &'a mut Cx,
    pub(super) network: &'a mut NetworkMachine,
    pub(super) share: &'a mut ShareMachine,
    pub(super) search: &'a mut SearchMachine,
    pub(super) upload: &'a UploadMachine,
    pub(super) download: &'a mut DownloadMachine,
    pub(super) wish: &'a mut WishMachine,
    pub(super) directory_links: &'a mut DirectoryLinks,
    pub(super) counters: Counters,
}

/// What a call is answered with.
enum Answer {
    Now(Reply),
    /// The rows of the downloads concerned, as soon as the order is carried out and what it changed is remembered.
    Order(Order),
}

/// A row of `hits`.
enum HitOnPage<'a> {
    Hit(HitRow),
    /// With whether its list is truncated.
    Listed(ListedFile<'a>, bool),
}

impl HitOnPage<'_> {
    /// What it takes as JSON, at most, roughly.
    fn bytes(&self) -> usize {
        let name_bytes = |name: &[u8]| name.len() + 8;
        let (names, sources) = match self {
            Self::Hit(row) => {
                let names = row.names.iter().chain([&row.name]);
                (names.map(|name| name_bytes(name.as_bytes())).sum(), row.sources.len())
            }
            Self::Listed(file, _) => (2 * name_bytes(file.name), 1),
        };
        200 + names * TEXT_BLOAT_MAX + sources * 64
    }
}

impl Calls<'_> {
    /// What a call is answered with, if that is known by now.
    pub(in crate::node) fn on_call(&mut self, client: ClientId, call: &CallId, request: Request) -> Option<Outcome> {
        if let Request::Move { id, to } = &request {
            return Some(
                self.download.call_move(self.cx, id, *to).unwrap_or_else(|problem| Outcome::Reply(Err(problem))),
            );
        }
        if matches!(request, Request::Wish { .. } | Request::Unwish { .. }) {
            return self.on_wish(client, call, request).err().map(|problem| Outcome::Reply(Err(problem)));
        }
        if let Request::Link { what } = &request {
            match self.call_link_to_directory(client, call, what) {
                Ok(true) => return None,
                Ok(false) => {}
                Err(problem) => return Some(Outcome::Reply(Err(problem))),
            }
        }
        if let Request::Manifest { peer, name, b3, after } = &request {
            let page = self.call_manifest(client, call, (*peer, name), (b3.as_deref(), *after));
            return page.transpose().map(Outcome::Reply);
        }
        if let Request::GiveManifest { after, text } = &request {
            let taken =
                self.may_work().and_then(|()| self.download.call_give_manifest(client, *after, text.as_bytes()));
            return Some(Outcome::Reply(taken.map(|()| Reply::Done {})));
        }
        match self.answer(client, request) {
            Ok(Answer::Order(order)) => self.download.take_order(
                &mut Net { cx: self.cx, network: self.network },
                self.search,
                client,
                call,
                order,
            ),
            Ok(Answer::Now(reply)) => Some(Outcome::Reply(Ok(reply))),
            Err(problem) => Some(Outcome::Reply(Err(problem))),
        }
    }

    /// Is answered when the wishes are on the disk, or gone from it.
    fn on_wish(&mut self, client: ClientId, call: &CallId, request: Request) -> Result<(), Problem> {
        self.may_work()?;
        let Self { cx, network, share, search, download, wish, .. } = self;
        match request {
            Request::Wish { text, download: is_fetched, limit } => {
                let others = &mut Others { cx, network, share, search, download };
                wish.call_wish(others, (client, call), &text, (is_fetched, limit))
            }
            Request::Unwish { which } => wish.call_unwish(cx, (client, call), &which),
            _ => Err(Problem::NotForNode),
        }
    }

    fn answer(&mut self, client: ClientId, request: Request) -> Result<Answer, Problem> {
        let order = match &request {
            Request::Download { what, output } => {
                self.may_work()?;
                self.download.call_download(
                    &mut Net { cx: self.cx, network: self.network },
                    self.search,
                    client,
                    what,
                    output.as_ref(),
                )
            }
            Request::Pause { ids } => self.download.call_change(Command::Pause, ids),
            Request::Resume { ids } => self.download.call_change(Command::Resume, ids),
            Request::Retry { ids } => self.download.call_change(Command::Retry, ids),
            Request::Cancel { ids } => self.download.call_change(Command::Cancel, ids),
            Request::ForgetDownloads { ids } => self.download.call_forget(ids),
            _ => return self.answer_at_once(client, request).map(Answer::Now),
        };
        order.map(Answer::Order)
    }

    fn answer_at_once(&mut self, client: ClientId, request: Request) -> Result<Reply, Problem> {
        match request {
            Request::Status => Ok(Reply::Status(Box::new(self.status()))),
            Request::Peers => {
                // So that the rows show the neighbours that the next search would ask.
                self.network.neighbours(self.cx);
                Ok(Reply::Peers(self.network.peers().rows(self.cx.wall)))
            }
            Request::Search { text, max, ttl } => {
                self.may_work()?;
                let mut net = Net { cx: self.cx, network: self.network };
                self.search.call_search(&mut net, client, text.as_bytes(), max, ttl).map(Reply::SearchStarted)
            }
            Request::Hits { search, after } => Ok(Reply::Hits(self.call_hits(search, after))),
            Request::Searches { after } => Ok(Reply::Searches(self.call_searches(after))),
            Request::Wishes { after } => Ok(Reply::Wishes(self.call_wishes(after))),
            Request::WishHits { id } => self.call_wish_hits(id).map(Reply::SearchStarted),
            Request::List { peer } => {
                self.may_work()?;
                let mut net = Net { cx: self.cx, network: self.network };
                self.search.call_list(&mut net, client, canonical(peer)).map(Reply::SearchStarted)
            }
            Request::Forget { peer } => self.network.call_forget(self.cx, canonical(peer)).map(|()| Reply::Done {}),
            Request::Downloads { after } => Ok(Reply::Downloads(self.download.call_downloads(self.cx, after))),
            Request::DirectoryFiles { id, after } => {
                self.download.call_directory_files(self.cx, id, after).map(Reply::Downloads)
            }
            Request::Follow { ids } => self.download.call_follow(self.cx, client, &ids).map(Reply::Downloads),
            Request::Uploads { after } => Ok(Reply::Uploads(self.call_uploads(after.as_ref()))),
            Request::Files { after } => self.call_files(after.as_ref()).map(Reply::Files),
            Request::Shares { after } => Ok(Reply::Shares(self.call_shares(after.as_ref()))),
            Request::LeftOut { after } => Ok(Reply::LeftOut(self.call_left_out(after.as_ref()))),
            Request::Link { what } => self.call_link(&what).map(Reply::Link),
            Request::Rescan => {
                self.may_work()?;
                self.share.call_rescan(self.cx, client);
                Ok(Reply::Done {})
            }
            Request::Events => {
                self.cx.subscriptions.subscribe(Topic::Events, client);
                Ok(Reply::Done {})
            }
            Request::EventLog { since } => self.call_event_log(client, since).map(Reply::EventLog),
            Request::Bootstrap { .. } => Ok(Reply::Bootstrap(BootstrapReply {
                links: self.network.links(self.cx.now, self.cx.wall),
                registry: None,
            })),
            Request::Download { .. }
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::Retry { .. }
            | Request::Cancel { .. }
            | Request::Move { .. }
            | Request::GiveManifest { .. }
            | Request::Wish { .. }
            | Request::Unwish { .. }
            | Request::ForgetDownloads { .. }
            | Request::Manifest { .. }
            | Request::Limit { .. }
            | Request::Metrics
            | Request::Reload
            | Request::LogLevel { .. }
            | Request::Stop => {
                // The daemon around this node answers the last five; orders were taken before.
                Err(Problem::NotForNode)
            }
        }
    }

    fn call_uploads(&self, after: Option<&UploadKey>) -> UploadsReply {
        let mut reply = self.upload.call_uploads(self.cx, self.share, after);
        let peers = self.network.peers();
        reply.uploads.iter_mut().for_each(|row| row.peer = peers.listens_at(row.to));
        reply
    }

    /// Refuses to begin work that this node will not do.
    fn may_work(&self) -> Result<(), Problem> {
        if !self.cx.config.peer {
            return Err(Problem::BootstrapOnly);
        }
        match self.cx.phase {
            Phase::Running => Ok(()),
            _ => Err(Problem::Leaving),
        }
    }

    pub(in crate::node) fn status(&self) -> StatusReply {
        let count = |n: usize| n as u64;
        StatusReply {
            version: env!("CARGO_PKG_VERSION").to_string(),
            uptime_s: self.cx.now.saturating_since(self.cx.started).as_secs(),
            listen: self.cx.config.peer.then_some(self.cx.config.listen),
            advertise: self.network.advertised(self.cx),
            bootstraps: self.network.links(self.cx.now, self.cx.wall),
            peers: count(self.network.peers().count()),
            shared_files: self.share.library().len(),
            shared_bytes: self.share.library().bytes(),
            share_error: self.share.share_error(self.cx),
            left_out: self.share.left_out_counts(),
            scanning: self.share.is_scanning(),
            unhashed_files: self.share.library().unhashed(),
            downloads_active: count(self.download.downloads.active()),
            downloads_queued: count(self.download.downloads.waiting()),
            wishes: count(self.wish.count()),
            orphaned_parts: self.download.orphans.0,
            orphaned_bytes: self.download.orphans.1,
            limits: None,
            uploads_active: count(self.upload.active()),
            download_limit: self.cx.config.download_limit,
            upload_limit: self.cx.config.upload_limit,
            commands_queued: count(self.cx.exchanges.workers().queued() + self.upload.waiting_for_turns()),
            bytes_down: self.cx.counters.bytes_down,
            bytes_up: self.cx.counters.bytes_up,
            refused: self.cx.counters.refused,
            limited: self.counters.limited,
            // The loop knows them.
            turns: Default::default(),
            job_waits: Default::default(),
            sandbox: Default::default(),
            watch: None,
            registry: None,
        }
    }

    fn call_hits(&mut self, search: Option<u32>, after: u32) -> HitsReply<HitRows> {
        let search =
            search.map(|search| if search == LAST_SEARCH { self.search.last_search() } else { SearchId(search) });
        let machine = &*self.search;
        // Most rows are of the search of the row before.
        let mut last = None;
        let mut is_truncated = |search| match last {
            Some((of, is_truncated)) if of == search => is_truncated,
            _ => last.insert((search, machine.is_truncated(search))).1,
        };
        let rows = machine.hits().after(search, HitId(after)).map(|hit| {
            let truncated = is_truncated(hit.search());
            let row = match hit {
                HitRef::Hit(id, of_hit) => {
                    let search = Some(hit.search().0);
                    HitOnPage::Hit(HitRow { truncated, search, ..machine.hits().row_of(id, of_hit) })
                }
                HitRef::Listed(file) => HitOnPage::Listed(file, truncated),
            };
            (hit.id().0, (hit.search(), row))
        });
        let (rows, next) = page(rows, |(_, row)| row.bytes());
        let mut hits = HitRows::default();
        let mut seen = BTreeSet::from_iter(search);
        for (search, row) in rows {
            seen.insert(search);
            match row {
                HitOnPage::Hit(row) => hits.push(row),
                HitOnPage::Listed(file, truncated) => {
                    let of_list = (search.0, truncated);
                    hits.push_listed(file.id.0, file.name, (file.size, file.b3), file.peer, of_list);
                }
            }
        }
        let truncated = seen.iter().any(|search| machine.is_truncated(*search));
        seen.into_iter().for_each(|search| self.search.note_hits_seen(self.cx, search));
        HitsReply { hits, next, truncated }
    }

    fn call_searches(&self, after: u32) -> SearchesReply {
        let rows = self.search.remembered_after(self.cx, SearchId(after)).map(|row| (row.id, row));
        let text_bytes = |row: &SearchRow| row.text.as_ref().map_or(0, |text| text.as_bytes().len());
        let (searches, next) = page(rows, |row| 200 + text_bytes(row) * TEXT_BLOAT_MAX);
        SearchesReply { searches, next }
    }

    fn call_event_log(&mut self, client: ClientId, since: Option<u64>) -> Result<EventLogReply, Problem> {
        let page = self.cx.event_page(since)?;
        if page.next.is_none() {
            self.cx.subscriptions.subscribe(Topic::EventLog, client);
        }
        Ok(page)
    }

    fn call_wish_hits(&mut self, id: u32) -> Result<SearchStarted, Problem> {
        let Self { cx, network, share, search, download, wish, .. } = self;
        wish.call_wish_hits(&mut Others { cx, network, share, search, download }, id)
    }

    fn call_wishes(&self, after: u32) -> WishesReply {
        let rows = self.wish.rows_after(self.cx, after);
        let (wishes, next) = page(rows, |row| 300 + row.text.as_bytes().len() * TEXT_BLOAT_MAX);
        WishesReply { wishes, next }
    }

    fn call_files(&self, after: Option<&RawText>) -> Result<FilesReply<FileRows>, Problem> {
        let name = |text: &RawText| {
            FileName::from_bytes(text.as_bytes()).ok_or_else(|| Problem::NoNameToContinueAfter { name: text.clone() })
        };
        let after = after.map(name).transpose()?;
        let view = self.share.library().seen_by(Requester::Owner);
        let mut shared = view.files_after(after.as_ref().map_or(b"", FileName::as_bytes)).peekable();
        let mut unsettled = self.share.settling().after(after.as_ref()).peekable();
        let rows = std::iter::from_fn(|| {
            let is_shared = match (shared.peek(), unsettled.peek()) {
                (Some((name, _)), Some((other, _))) => *name <= other.as_bytes(),
                (shared, _) => shared.is_some(),
            };
            if is_shared {
                return shared.next().map(|(name, file)| (name, (name, Some(file.meta.size), file.b3, false)));
            }
            unsettled.next().map(|(name, size)| (name.as_bytes(), (name.as_bytes(), size, None, true)))
        });
        let audiences = Some(&self.cx.config.audiences).filter(|audiences| audiences.is_restricted());
        let of = |name: &[u8]| audiences.map(|audiences| audiences.of(name));
        let (rows, next) = page(rows, |(name, ..)| {
            200 + name.len() * TEXT_BLOAT_MAX + of(name).map_or(0, |audience| audience.len() * RANGE_BYTES_MAX)
        });
        let mut files = FileRows::default();
        for (name, size, b3, being_written) in rows {
            files.push(name, size, b3, being_written, of(name));
        }
        let share_error = self.share.share_error(self.cx);
        Ok(FilesReply { files, next: next.map(RawText::new), share_error })
    }

    fn call_shares(&self, after: Option<&RawText>) -> SharesReply {
        let rows = self.share.share_rows(self.cx).into_iter();
        let rows = rows.filter(|row| after.is_none_or(|after| row.name.as_bytes() > after.as_bytes()));
        let (shares, next) = page(rows.map(|row| (row.name.clone(), row)), |row| {
            let paths = row.path.as_ref().map_or(0, |path| 2 * path.as_bytes().len());
            400 + (row.name.as_bytes().len() * 2 + paths) * TEXT_BLOAT_MAX + row.audience.len() * RANGE_BYTES_MAX
        });
        SharesReply { shares, next }
    }

    fn call_left_out(&self, after: Option<&RawText>) -> LeftOutReply {
        let rows = self.share.left_out_after(after.map_or(b"", RawText::as_bytes)).map(|row| (row.0, row));
        let (rows, next) = page(rows, |(name, _)| 100 + name.len() * TEXT_BLOAT_MAX);
        LeftOutReply {
            left_out: rows.into_iter().map(|(name, reason)| LeftOutRow { name: RawText::new(name), reason }).collect(),
            next: next.map(RawText::new),
            unnamed: self.share.left_out_unnamed(),
            share_error: self.share.share_error(self.cx),
        }
    }
}

//! What users order: to begin downloads, from hits, names or contents; to follow, pause, resume, retry and cancel them; and
//! the pages on which they see them.

use super::DownloadMachine;
use super::life::Life;
use super::names::Names;
use super::orders::{Command, Order};
use super::request::{DownloadRequest, Wanted};
use super::source::Source;
use super::state::{Download, Want};
use super::unsourced::name_of_hash;
use crate::control::{
    DownloadRow, DownloadsReply, IdForm, PAGE_ROWS_MAX, PeerSource, Problem, RawText, Selector, parse_ids_with_all,
};
use crate::fault::DiskFault;
use crate::id::{ClientId, ContentHash, HitId, TransferId};
use crate::name::FileName;
use crate::node::answer::Teller;
use crate::node::contract::{PartSpec, Target};
use crate::node::cx::{Cx, Topic};
use crate::node::fair_queue::{FairQueue, Room, Sender};
use crate::node::limits::{DOWNLOADS_MAX, HIT_SOURCES_MAX, PAGE_BYTES_MAX};
use crate::node::network::NetworkMachine;
use crate::node::search::{Hit, SearchMachine};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

impl DownloadMachine {
    /// Begins downloads.
    pub(in crate::node) fn call_download(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        search: &SearchMachine,
        client: ClientId,
        what: &[Selector],
        output: Option<&RawText>,
    ) -> Result<Order, Problem> {
        let mut wanted = Vec::new();
        for selector in what {
            wanted.extend(self.read_selector(cx, network, search, selector)?);
            self.check_room(wanted.len())?;
        }
        if wanted.is_empty() {
            return Err(Problem::NothingNamed);
        }
        let output = output.map(read_output).transpose()?;
        if output.is_some() {
            // Of one call either everything is begun or nothing.
            let single = wanted.len() == 1;
            for wanted in &wanted {
                self.check_wanted(cx, search, wanted, output.as_deref(), single)?;
            }
        }
        Ok(Order::begin(client, wanted, output))
    }

    /// Begins one download of a call, or finds the one that is there; nothing if the hit has been forgotten meanwhile.
    pub(super) fn begin_download(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        search: &SearchMachine,
        wanted: Wanted,
        output: Option<&Path>,
        single: bool,
    ) -> Result<Option<TransferId>, Problem> {
        let request = match wanted {
            Wanted::Hit(id) => self.request_of_hit(search, id),
            Wanted::Named(request) => Some(*request),
        };
        let Some(request) = request else { return Ok(None) };
        self.check_room(1)?;
        let target = self.target(cx, &request.name, output, single);
        let begins = self.downloads.fulfilling(&request, &target).is_none();
        let id = self.find_or_create(cx, network, request, target).ok_or(Problem::NoIdLeft)?;
        if begins && output.is_some() {
            self.probe_target(cx, id);
        }
        Ok(Some(id))
    }

    /// Whether something that is wanted can go to the place that was named.
    fn check_wanted(
        &self,
        cx: &Cx,
        search: &SearchMachine,
        wanted: &Wanted,
        output: Option<&Path>,
        single: bool,
    ) -> Result<(), Problem> {
        let check = |request: &DownloadRequest| {
            self.downloads.check_place(request, &self.target(cx, &request.name, output, single))
        };
        match wanted {
            Wanted::Hit(id) => self.request_of_hit(search, *id).map_or(Ok(()), |request| check(&request)),
            Wanted::Named(request) => check(request),
        }
    }

    /// Whether so many downloads more may be unfinished.
    fn check_room(&self, files: usize) -> Result<(), Problem> {
        let room = self.downloads.room();
        if files <= room { Ok(()) } else { Err(Problem::TooManyDownloads { files, max: DOWNLOADS_MAX, room }) }
    }

    fn read_selector(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        search: &SearchMachine,
        selector: &Selector,
    ) -> Result<Vec<Wanted>, Problem> {
        match selector {
            Selector::Hits(ids) => {
                // All means all of the last search or list: who has looked for one thing does not want the other too.
                let last = search.hits().after(Some(search.last_search()), HitId(0)).map(|(id, _)| id.0);
                let ids = parse_ids_with_all(ids, IdForm::Beginnings, search.hits().ids(), last)?;
                if ids.is_empty() {
                    return Err(Problem::NoHits);
                }
                Ok(ids.into_iter().map(|id| Wanted::Hit(HitId(id))).collect())
            }
            Selector::File { peer, name } => {
                let peer = network.peer_of_user(cx, *peer)?;
                let name =
                    FileName::from_bytes(name.as_bytes()).ok_or_else(|| Problem::NoFileName { name: name.clone() })?;
                network.learn_peer(cx, peer, PeerSource::User);
                let sources = vec![Source::new(peer, Rc::new(name.clone()), None)];
                Ok(vec![Wanted::Named(Box::new(DownloadRequest { name, size: None, b3: None, sources }))])
            }
            Selector::Content(hex) => {
                let b3 = ContentHash::from_hex(hex.as_bytes()).ok_or(Problem::NotAHash)?;
                Ok(self
                    .request_of_content(cx, search, b3)
                    .map(|request| Wanted::Named(Box::new(request)))
                    .into_iter()
                    .collect())
            }
        }
    }

    /// The download that fulfils a request: a new one, unless the same file is fetched already.
    fn find_or_create(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        request: DownloadRequest,
        target: Target,
    ) -> Option<TransferId> {
        if let Some(id) = self.downloads.fulfilling(&request, &target) {
            // Of one content, whoever offers it is a source; of a name, they are those that were chosen.
            if request.b3.is_some() && self.downloads.get(id).is_some_and(|row| row.want.b3() == request.b3) {
                if let Some(row) = self.downloads.get_mut(id).filter(|_| !request.sources.is_empty()) {
                    row.adopt(&request.name, request.size);
                }
                self.add_sources(cx, network, id, request.sources);
            }
            return Some(id);
        }
        let token = (cx.rng.number() >> 32) as u32;
        let want = request.b3.map_or(Want::Name, Want::Content);
        let spec = PartSpec { target, token, filesystem: None };
        self.insert_download(cx, network, Download::new(request.name, spec, want, request.size, request.sources))
    }

    fn request_of_hit(&self, search: &SearchMachine, id: HitId) -> Option<DownloadRequest> {
        let hit = search.hits().get(id)?;
        let source =
            |(addr, name, _): (SocketAddr, &Rc<FileName>, Teller)| Source::new(addr, Rc::clone(name), hit.size());
        let sources = hit.offers().map(source).collect();
        Some(DownloadRequest { name: hit.name().clone(), size: hit.size(), b3: hit.b3(), sources })
    }

    /// A content under whatever names its hits have; without a hit it has no source yet, and is named by its hash.
    fn request_of_content(&mut self, cx: &mut Cx, search: &SearchMachine, b3: ContentHash) -> Option<DownloadRequest> {
        let first = search.hits().of_content(b3).next();
        let name = first.map_or_else(|| name_of_hash(b3), |hit| Some(hit.name().clone()))?;
        let size = first.and_then(Hit::size);
        // By networks: of the one that has most, the last gives its place to one of a network that has fewer.
        let (mut sources, mut places): (BTreeMap<u64, Source>, _) = (BTreeMap::new(), FairQueue::default());
        let (mut known, mut displaced): (BTreeMap<SocketAddr, u64>, u64) = Default::default();
        for (number, (hit, (addr, name, teller))) in (1..).zip(Self::offers_of_content(search, b3)) {
            if let Some(source) = known.get(&addr).and_then(|number| sources.get_mut(number)) {
                source.names.add(name, teller);
                continue;
            }
            match places.room_for(Sender::own(addr), HIT_SOURCES_MAX, HIT_SOURCES_MAX) {
                Room::Free => {}
                Room::InPlaceOf(other) => {
                    displaced += 1;
                    if let Some(other_source) = sources.remove(&other) {
                        known.remove(&other_source.addr);
                        places.remove(Sender::own(other_source.addr), other);
                    }
                }
                Room::None => {
                    displaced += 1;
                    continue;
                }
            }
            let names = Names::new(Rc::clone(name), teller);
            places.push(Sender::own(addr), number);
            known.insert(addr, number);
            sources.insert(number, Source { names, ..Source::new(addr, Rc::clone(name), hit.size()) });
        }
        cx.counters.limited.sources_displaced += displaced;
        let sources = sources.into_values().collect();
        Some(DownloadRequest { name, size, b3: Some(b3), sources })
    }

    /// Who offers a content, each with the hit that says so.
    fn offers_of_content(
        search: &SearchMachine,
        b3: ContentHash,
    ) -> impl Iterator<Item = (&Hit, (SocketAddr, &Rc<FileName>, Teller))> {
        search.hits().of_content(b3).flat_map(|hit| hit.offers().map(move |offer| (hit, offer)))
    }

    fn target(&self, cx: &Cx, name: &FileName, output: Option<&Path>, single: bool) -> Target {
        let name = name.safe_component();
        match output {
            Some(path) if single => Target::Exact { path: path.to_path_buf(), name },
            Some(path) => Target::Suggested { directory: path.to_path_buf(), name },
            None => Target::Suggested { directory: cx.config.download_directory.clone(), name },
        }
    }

    pub(super) fn downloads_reply(&self, cx: &Cx, ids: &[TransferId]) -> DownloadsReply {
        let ids: BTreeSet<TransferId> = ids.iter().copied().collect();
        let rows = ids.iter().filter_map(|id| Some((id.0, self.downloads.row(*id, cx.now)?)));
        let (downloads, next) = page(rows, download_bytes);
        DownloadsReply { downloads, next, ids: ids.iter().map(|id| id.0).collect() }
    }

    /// One page of all downloads.
    pub(in crate::node) fn call_downloads(&self, cx: &Cx, after: u32) -> DownloadsReply {
        let (downloads, next) = page(self.downloads.after(TransferId(after), cx.now), download_bytes);
        DownloadsReply { downloads, next, ids: Vec::new() }
    }
}

impl DownloadMachine {
    /// Tells a client of downloads from now on.
    pub(in crate::node) fn call_follow(
        &mut self,
        cx: &mut Cx,
        client: ClientId,
        ids: &str,
    ) -> Result<DownloadsReply, Problem> {
        let ids = self.read_ids(ids, IdForm::Beginnings, |life| !life.is_over())?;
        self.follow_downloads(cx, client, &ids);
        Ok(self.downloads_reply(cx, &ids))
    }

    pub(in crate::node) fn call_change(&self, command: Command, ids: &str) -> Result<Order, Problem> {
        let form = if command == Command::Retry { IdForm::Beginnings } else { IdForm::Whole };
        let applies = |life: &Life| match command {
            Command::Pause | Command::Cancel => !life.is_over(),
            Command::Resume => matches!(life, Life::Paused | Life::Blocked { .. }),
            Command::Retry => life.may_be_retried(),
        };
        Ok(Order::apply(command, self.read_ids(ids, form, applies)?))
    }

    /// Stops a download and keeps what it has. One that is about to get its final name ends well.
    pub(super) fn pause_download(&mut self, cx: &mut Cx, id: TransferId) {
        let may_stop =
            |row: &Download| !row.life().is_over() && !matches!(row.life(), Life::Paused) && !row.is_committing();
        if self.downloads.get(id).is_some_and(may_stop) {
            self.set_life(cx, id, Life::Paused);
        }
    }

    /// Lets a paused download go on.
    pub(super) fn resume_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        match download.life() {
            Life::Paused => self.set_life(cx, id, Life::Queued { waited: None }),
            Life::Blocked { fault, .. } => {
                if *fault == DiskFault::NotMounted {
                    // Another filesystem is in use there, and the user wants the download started again on it.
                    download.spec.filesystem = None;
                }
                self.probe_disk(cx, id);
            }
            _ => {}
        }
    }

    /// Has a download try again at once that waits for its sources or for the disk, or has failed. Every source is asked
    /// again, but for those that sent wrong bytes.
    pub(super) fn retry_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let is_fetching = download.open().is_some();
        if is_fetching || download.life().may_be_retried() {
            download.sources.iter_mut().for_each(Source::give_another_chance);
            download.checks_failed = 0;
        }
        match download.life() {
            Life::Waiting { .. } | Life::Failed { .. } => {
                // Whoever asks for another attempt wants others to be looked for as well.
                download.seek.next = Some(cx.now);
                download.seek.sought_at = None;
                download.seek.by_name = true;
                self.set_life(cx, id, Life::Queued { waited: None });
                self.probe_target_again(cx, id);
            }
            Life::Blocked { .. } => self.probe_disk(cx, id),
            Life::Active if is_fetching => self.downloads.mark_dirty(id),
            _ => {}
        }
    }

    /// Ends a download and removes its part file. One that is done stays as it is, and so does one that is about to get its
    /// final name.
    pub(super) fn cancel_download(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        let is_over = matches!(download.life(), Life::Done { .. } | Life::Cancelled { .. });
        if !is_over && !download.is_committing() {
            self.end_download(cx, id, |shown| Life::Cancelled { shown });
        }
    }

    /// Ids as users type them; `all` means those to which the order applies. There may be none: then all that is wanted is so
    /// already.
    fn read_ids(&self, ids: &str, form: IdForm, applies: impl Fn(&Life) -> bool) -> Result<Vec<TransferId>, Problem> {
        let ids = parse_ids_with_all(ids, form, self.downloads.ids(), self.downloads.ids_of(applies))?;
        Ok(ids.into_iter().map(TransferId).collect())
    }

    /// Reports these downloads to a client from now on, as far as they are unfinished.
    pub(super) fn follow_downloads(&mut self, cx: &mut Cx, client: ClientId, ids: &[TransferId]) {
        for &id in ids {
            if self.downloads.get(id).is_some_and(|row| !row.life().is_over()) {
                cx.subscriptions.subscribe(Topic::Download(id), client);
            }
        }
    }
}

/// What a row takes as a line of JSON, at most.
fn download_bytes(row: &DownloadRow) -> usize {
    let path = row.path.as_ref().map_or(0, |path| path.as_bytes().len());
    500 + (row.name.as_bytes().len() + path) * TEXT_BLOAT_MAX + row.sources.len() * (64 + SHARE_BYTES_MAX)
}

/// What a source's share takes as a line of JSON, at most, roughly.
const SHARE_BYTES_MAX: usize = 300;

/// How much longer a byte of a name may get in JSON: as hex beside its replacement character.
pub(in crate::node) const TEXT_BLOAT_MAX: usize = 6;

/// One page of rows with their ids: within the bounds of rows and bytes, and where to go on if there are more.
pub(in crate::node) fn page<K, R>(
    rows: impl Iterator<Item = (K, R)>,
    row_bytes: impl Fn(&R) -> usize,
) -> (Vec<R>, Option<K>) {
    let (mut taken, mut last, mut bytes) = (Vec::new(), None, 0);
    for (id, row) in rows {
        bytes += row_bytes(&row);
        let full = taken.len() >= PAGE_ROWS_MAX as usize || bytes > PAGE_BYTES_MAX;
        if full && last.is_some() {
            return (taken, last);
        }
        taken.push(row);
        last = Some(id);
    }
    (taken, None)
}

fn read_output(output: &RawText) -> Result<PathBuf, Problem> {
    let path = Path::new(OsStr::from_bytes(output.as_bytes()));
    if path.is_absolute() && !output.as_bytes().contains(&0) {
        return Ok(path.to_path_buf());
    }
    Err(Problem::NotAbsolute { path: output.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_bounds_and_says_where_to_go_on() {
        let rows = |n: u32| (1..=n).map(|id| (id, id));
        assert_eq!(page(rows(0), |_| 1), (vec![], None));
        assert_eq!(page(rows(500), |_| 1).1, None);
        let (first, next) = page(rows(501), |_| 1);
        assert_eq!((first.len(), next), (500, Some(500)));
        let (first, next) = page(rows(9), |_| PAGE_BYTES_MAX / 2);
        assert_eq!((first.len(), next), (2, Some(2)));
        let (first, next) = page(rows(3), |_| PAGE_BYTES_MAX + 1);
        assert_eq!((first.len(), next), (1, Some(1)), "a page is never empty while rows are left");
    }

    #[test]
    fn only_absolute_paths_are_taken() {
        assert!(read_output(&RawText::new(&b"/tmp/a"[..])).is_ok());
        for bad in [&b"a"[..], b"", b"./a", b"/a\0b"] {
            assert_eq!(read_output(&RawText::new(bad)), Err(Problem::NotAbsolute { path: RawText::new(bad) }));
        }
    }
}

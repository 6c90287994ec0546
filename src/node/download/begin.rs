//! How downloads begin: what a user has named, which unfinished download that is for, and whether the place that the user has
//! named with `-o` can be had.
//!
//! A hash is a stronger key than a name of a peer, and a size that is known is stronger than none:
//!
//! | the request has | it is for an unfinished download that |
//! |---|---|
//! | a hash | wants the same hash, whatever its sources call it |
//! | no hash | has one of the same names of the same peers as a source, unless both sizes are known and differ, the peer was found by that name alone, or it has said that it has another content under it |
//!
//! A request with a hash is never for a download that knows none: what that one brings may be anything.
//!
//! A place is looked at as soon as its download begins, also where the download waits in the queue. A bad one ends the
//! download at once.

use super::DownloadMachine;
use super::directory_request::DirectoryRequest;
use super::discovery::name_of_hash;
use super::names::Names;
use super::source::{Origin, Source};
use super::state::{Download, NamedPlace, Want};
use super::table::Downloads;
use crate::control::{KnownIds, PeerSource, Problem, RawText, Selector, parse_ids_of_files};
use crate::id::{ClientId, ContentHash, HitId, TransferId};
use crate::link::LINK_PEERS_MAX;
use crate::name::FileName;
use crate::node::answer::Teller;
use crate::node::contract::{Action, DiskOutcome, PartSpec, Target};
use crate::node::cx::Cx;
use crate::node::fair_queue::{FairQueue, Room, Sender};
use crate::node::limits::{CONTENT_HITS_MAX, DOWNLOADS_MAX, HIT_SOURCES_MAX};
use crate::node::network::Net;
use crate::node::search::{Hit, SearchMachine};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Something that a user wants, as it was named.
#[derive(Debug)]
pub(super) enum Wanted {
    Hit(HitId),
    Named(Box<DownloadRequest>),
    Directory(Box<DirectoryRequest>),
}

/// One file that a user wants.
#[derive(Debug)]
pub(super) struct DownloadRequest {
    pub(super) name: FileName,
    pub(super) size: Option<u64>,
    pub(super) b3: Option<ContentHash>,
    pub(super) sources: Vec<Source>,
}

impl DownloadMachine {
    /// Begins one download of a call, or finds the one that is there; nothing if the hit has been forgotten meanwhile.
    pub(super) fn begin_download(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
        wanted: Wanted,
        output: Option<&Path>,
        single: bool,
    ) -> Result<Option<TransferId>, Problem> {
        let request = match wanted {
            Wanted::Hit(id) => self.request_of_hit(search, id),
            Wanted::Named(request) => Some(*request),
            Wanted::Directory(request) => return self.begin_directory(net, *request, output).map(Some),
        };
        let Some(request) = request else { return Ok(None) };
        let target = self.target(net.cx, &request.name, output, single);
        let begins = self.downloads.fulfilling(&request, &target).is_none();
        if begins {
            self.check_room(1)?;
        }
        let id = self.find_or_create(net, request, target).ok_or(Problem::NoIdLeft)?;
        if begins && output.is_some() {
            self.probe_target(net.cx, id);
        }
        Ok(Some(id))
    }

    /// Whether something that is wanted can go to the place that was named.
    pub(super) fn check_wanted(
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
            // What is there already is found when its files are opened.
            Wanted::Directory(_) => Ok(()),
        }
    }

    /// Whether what is wanted may be unfinished as well. What is fetched already needs no room. `counted`: how many were looked
    /// at by earlier calls, and how many of these need room.
    pub(super) fn check_room_for(
        &self,
        search: &SearchMachine,
        wanted: &[Wanted],
        counted: &mut (usize, usize),
    ) -> Result<(), Problem> {
        if self.downloads.has_room(wanted.len()) {
            return Ok(());
        }
        let room = self.downloads.room();
        for wanted in &wanted[counted.0..] {
            counted.0 += 1;
            counted.1 += usize::from(!self.is_fetched(search, wanted));
            if counted.1 > room {
                break;
            }
        }
        if counted.1 <= room { Ok(()) } else { self.check_room(counted.1 + wanted.len() - counted.0) }
    }

    /// Whether there is an unfinished download that something wanted is for.
    fn is_fetched(&self, search: &SearchMachine, wanted: &Wanted) -> bool {
        let is_fetched = |request: &DownloadRequest| !self.downloads.all_fulfilling(request).is_empty();
        match wanted {
            Wanted::Hit(id) => self.request_of_hit(search, *id).is_some_and(|request| is_fetched(&request)),
            Wanted::Named(request) => is_fetched(request),
            Wanted::Directory(_) => false,
        }
    }

    /// Whether so many downloads more may be unfinished.
    pub(super) fn check_room(&self, files: usize) -> Result<(), Problem> {
        if self.downloads.has_room(files) {
            return Ok(());
        }
        Err(Problem::TooManyDownloads { files, max: DOWNLOADS_MAX, room: self.downloads.room() })
    }

    /// What a selector names. `known`: the ids of all hits.
    pub(super) fn read_selector(
        &mut self,
        net: &mut Net,
        search: &SearchMachine,
        (client, known): (ClientId, &KnownIds),
        selector: &Selector,
    ) -> Result<Vec<Wanted>, Problem> {
        match selector {
            Selector::Hits(ids) => {
                // All means all of the last search or list: who has looked for one thing does not want the other too.
                let last = search.hits().after(Some(search.last_search()), HitId(0)).map(|hit| hit.id().0);
                let is_directory = |id| search.hits().is_directory(HitId(id));
                let ids = parse_ids_of_files(ids, known, last, is_directory).map_err(Problem::of_hits)?;
                if ids.is_empty() {
                    return Err(Problem::NoHits);
                }
                Ok(ids.into_iter().map(|id| wanted_of_hit(search, HitId(id))).collect())
            }
            Selector::File { peer, name } => {
                let peer = net.network.peer_of_user(net.cx, *peer)?;
                if name.as_bytes().ends_with(b"/") {
                    return Ok(vec![Wanted::Directory(Box::new(self.read_directory(net, peer, name)?))]);
                }
                let name =
                    FileName::from_bytes(name.as_bytes()).ok_or_else(|| Problem::NoFileName { name: name.clone() })?;
                net.network.learn_peer(net.cx, peer, PeerSource::User);
                let sources = vec![Source::new(peer, Rc::new(name.clone()), None)];
                Ok(vec![Wanted::Named(Box::new(DownloadRequest { name, size: None, b3: None, sources }))])
            }
            Selector::Content(hex) => {
                let b3 = ContentHash::from_hex(hex.as_bytes()).ok_or(Problem::NotAHash)?;
                Ok(self
                    .request_of_content(net.cx, search, b3)
                    .map(|request| Wanted::Named(Box::new(request)))
                    .into_iter()
                    .collect())
            }
            Selector::Link(text) => Ok(self.read_link(net, search, text.as_bytes())?.into_iter().collect()),
            Selector::Manifest { b3, name } | Selector::NewManifest { b3, name, .. } => {
                Ok(vec![Wanted::Directory(Box::new(self.read_given_manifest(client, (b3, name))?))])
            }
            Selector::NewLink { link, .. } => {
                let wanted = self.read_link(net, search, link.as_bytes()).or_else(|problem| match problem {
                    Problem::BadLink(_) => Err(problem),
                    // Such as a directory of this node: other links in the watched directory are to begin nevertheless.
                    _ => {
                        log::warn!(link:%, error:% = problem; "a link begins nothing");
                        Ok(None)
                    }
                });
                Ok(wanted?.into_iter().collect())
            }
        }
    }

    /// The download that fulfils a request: a new one, unless the same file is fetched already.
    fn find_or_create(&mut self, net: &mut Net, request: DownloadRequest, target: Target) -> Option<TransferId> {
        if let Some(id) = self.downloads.fulfilling(&request, &target) {
            // Of one content, whoever offers it is a source; of a name, they are those that were chosen.
            if request.b3.is_some() && self.downloads.get(id).is_some_and(|row| row.want.b3() == request.b3) {
                if let Some(row) = self.downloads.get_mut(id).filter(|_| !request.sources.is_empty()) {
                    row.adopt(&request.name, request.size);
                }
                self.add_sources(net, id, request.sources);
            }
            return Some(id);
        }
        let token = (net.cx.rng.number() >> 32) as u32;
        let want = request.b3.map_or(Want::Name, Want::Content);
        let spec = PartSpec { target, token, filesystem: None };
        self.insert_download(net, Download::new(request.name, spec, want, request.size, request.sources))
    }

    fn request_of_hit(&self, search: &SearchMachine, id: HitId) -> Option<DownloadRequest> {
        let hit = search.hits().get(id)?;
        let source =
            |(addr, name, _): (SocketAddr, &Rc<FileName>, Teller)| Source::new(addr, Rc::clone(name), hit.size());
        let sources = hit.offers().map(source).collect();
        Some(DownloadRequest { name: hit.name().clone(), size: hit.size(), b3: hit.b3(), sources })
    }

    /// A content under whatever names its hits have; without a hit it has no source yet, and is named by its hash.
    pub(super) fn request_of_content(
        &mut self,
        cx: &mut Cx,
        search: &SearchMachine,
        b3: ContentHash,
    ) -> Option<DownloadRequest> {
        let hits: Vec<Cow<'_, Hit>> = search.hits().of_content(b3).take(CONTENT_HITS_MAX).collect();
        let first = hits.first();
        let name = first.map_or_else(|| name_of_hash(b3), |hit| Some(hit.name().clone()))?;
        let size = first.and_then(|hit| hit.size());
        // By networks: of the one that has most, the last gives its place to one of a network that has fewer.
        let (mut sources, mut places): (BTreeMap<u64, Source>, _) = (BTreeMap::new(), FairQueue::default());
        let (mut known, mut displaced): (BTreeMap<SocketAddr, u64>, u64) = Default::default();
        let offers = hits.iter().flat_map(|hit| hit.offers().map(move |offer| (hit, offer)));
        for (number, (hit, (addr, name, teller))) in (1..).zip(offers) {
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

    fn target(&self, cx: &Cx, name: &FileName, output: Option<&Path>, single: bool) -> Target {
        let name = name.safe_component();
        match output {
            Some(path) if single => Target::Exact { path: path.to_path_buf(), name },
            Some(path) => Target::Suggested { directory: path.to_path_buf(), name },
            None => Target::Suggested { directory: cx.config.download_directory.clone(), name },
        }
    }

    /// Has the disk asked whether a file can be made at the place that the user has named.
    pub(super) fn probe_target(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.named_place = NamedPlace::Probing;
        let (spec, b3, size) = (download.spec.clone(), download.want.b3(), download.size());
        cx.out.act(Action::ProbeTarget { download: id, spec, b3, size });
    }

    /// The user retries a download: the disk is asked again about a place that was bad.
    pub(super) fn probe_target_again(&mut self, cx: &mut Cx, id: TransferId) {
        if self.downloads.get(id).is_some_and(|row| row.named_place == NamedPlace::Bad) {
            self.probe_target(cx, id);
        }
    }

    /// A file can be made at the place, or cannot. An error that says nothing of the place is left to the part file, which
    /// meets it as well.
    pub(in crate::node) fn on_target_probed(&mut self, cx: &mut Cx, id: TransferId, outcome: DiskOutcome<PathBuf>) {
        if self.directories.contains(id) {
            return self.on_directory_probed(cx, id, outcome);
        }
        let probing = |row: &&mut Download| row.named_place == NamedPlace::Probing;
        let Some(download) = self.downloads.get_mut(id).filter(probing) else { return };
        let bad = outcome.as_ref().err().copied().filter(|fault| fault.rules_out_path());
        download.named_place = if bad.is_some() { NamedPlace::Bad } else { NamedPlace::Good };
        if download.life().is_over() {
            return;
        }
        if let Some(fault) = bad {
            let place = download.place();
            return self.fail_download(cx, id, Problem::CannotSave { place, fault });
        }
        if let Ok(path) = outcome {
            download.path.get_or_insert(path);
        }
        self.tell_download(cx, id);
    }
}

impl Downloads {
    /// The unfinished download that a request is for. Of several, one that saves to the target wanted.
    pub(super) fn fulfilling(&self, request: &DownloadRequest, target: &Target) -> Option<TransferId> {
        let found = self.all_fulfilling(request);
        let fits = found.iter().find(|(_, row)| row.saves_to(target));
        fits.or(found.first()).map(|(id, _)| *id)
    }

    /// Those that a request is for, the best first: of a name, those that know no hash either, then the newest, which knows
    /// the latest hash of that name.
    fn all_fulfilling(&self, request: &DownloadRequest) -> Vec<(TransferId, &Download)> {
        if let Some(b3) = request.b3 {
            return self.of_content(b3).filter(|(_, row)| row.directory.is_none()).collect();
        }
        let mut found: Vec<(TransferId, &Download)> = Vec::new();
        for wanted in &request.sources {
            for name in wanted.names.iter() {
                found.extend(self.of_source(name, wanted.addr).filter(|(_, row)| row.may_be(request, wanted)));
            }
        }
        found.sort_by_key(|(id, row)| (row.want != Want::Name, std::cmp::Reverse(*id)));
        found
    }

    /// Whether a place that the user named can be had.
    ///
    /// # Errors
    /// When an unfinished download fetches the same to another place, or something else to this one.
    pub(super) fn check_place(&self, request: &DownloadRequest, target: &Target) -> Result<(), Problem> {
        let found = self.all_fulfilling(request);
        if found.iter().any(|(_, row)| row.saves_to(target)) {
            return Ok(());
        }
        if let Some((id, row)) = found.first() {
            return Err(Problem::PlaceTaken { same_file: true, id: id.0, place: row.place() });
        }
        match self.iter().find(|(_, row)| row.directory.is_none() && !row.life().is_over() && row.occupies(target)) {
            Some((id, row)) => Err(Problem::PlaceTaken { same_file: false, id: id.0, place: row.place() }),
            None => Ok(()),
        }
    }
}

impl Download {
    /// Whether nothing says that what is wanted of a source, without a hash, is another file than this one.
    fn may_be(&self, request: &DownloadRequest, wanted: &Source) -> bool {
        if self.directory.is_some() {
            return false;
        }
        let same = self.sources.iter().find(|source| source.addr == wanted.addr);
        // Who was found by the name alone may have anything under it.
        let may_be_other = |source: &Source| source.origin == Origin::Name || source.names.has_disproved(&wanted.names);
        if same.is_some_and(may_be_other) {
            return false;
        }
        let size = same.and_then(|source| source.size).or(self.size());
        size.is_none() || request.size.is_none() || size == request.size
    }

    /// Where it saves to, as far as it is known.
    pub(super) fn place(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| self.spec.target.path())
    }

    /// Whether it saves its file to this target: under this path, or in this directory. Where the final path is not
    /// known yet, the directory decides.
    fn saves_to(&self, target: &Target) -> bool {
        let inside = |directory: &Path, path: &Path| path.parent() == Some(directory);
        match (target, &self.path, &self.spec.target) {
            (_, _, own) if own == target => true,
            // Only directories have such targets, and their files are no downloads of their own.
            (Target::Within { .. }, _, _) | (_, _, Target::Within { .. }) => false,
            (Target::Exact { path, .. }, Some(own), _) => own == path || inside(path, own),
            (Target::Suggested { directory, .. }, Some(own), _) => inside(directory, own),
            (Target::Exact { path, .. }, None, Target::Exact { path: own, .. }) => own == path || inside(path, own),
            (Target::Suggested { directory, .. }, None, Target::Exact { path: own, .. }) => {
                own == directory || inside(directory, own)
            }
            (
                Target::Exact { path: wanted, .. } | Target::Suggested { directory: wanted, .. },
                None,
                Target::Suggested { directory, .. },
            ) => wanted == directory,
        }
    }

    /// Whether a file at this target would be in the way of its own.
    fn occupies(&self, target: &Target) -> bool {
        let Target::Exact { path, name } = target else { return false };
        let is_there = |own: &PathBuf| own == path || *own == path.join(OsStr::from_bytes(name.as_bytes()));
        self.spec.target == *target || self.path.as_ref().is_some_and(is_there)
    }
}

/// A file, or a directory: the first of the peers that have it is asked what is beneath it.
fn wanted_of_hit(search: &SearchMachine, id: HitId) -> Wanted {
    let Some((name, peers)) = search.hits().directory(id) else { return Wanted::Hit(id) };
    let Some((&peer, others)) = peers.split_first() else { return Wanted::Hit(id) };
    let others = others.iter().copied().take(LINK_PEERS_MAX - 1).collect();
    let request = DirectoryRequest { name, peer: Some(peer), others, manifest: None, text: None };
    Wanted::Directory(Box::new(request))
}

pub(super) fn read_output(output: &RawText) -> Result<PathBuf, Problem> {
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
    fn only_absolute_paths_are_taken() {
        assert!(read_output(&RawText::new(&b"/tmp/a"[..])).is_ok());
        for bad in [&b"a"[..], b"", b"./a", b"/a\0b"] {
            assert_eq!(read_output(&RawText::new(bad)), Err(Problem::NotAbsolute { path: RawText::new(bad) }));
        }
    }
}

//! The lists of peers, as long as they come in the order of their names, which is that of our own nodes. Takes few bytes for each
//! file, since a peer may share a million.
//!
//! The files are kept in pages, whose rows have consecutive ids. If there is no room, an older list of the same peer loses pages
//! from its end, then lists that no user has seen for a while, the oldest first, then the largest, down to the size of the new one.

use super::hit::{Grouping, Hit, NotTaken};
use crate::id::{ContentHash, HitId, SearchId};
use crate::name::FileName;
use crate::node::answer::Answer;
use crate::node::limits::{HITS_SEEN_SPAN, LISTINGS_BYTES_MAX};
use crate::time::Instant;
use crate::wire::{Attributes, Listed};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;

/// Small in tests, so that few files make many pages.
const PAGE_FILES_MAX: usize = if cfg!(test) { 16 } else { 512 };

/// What a page takes beside its files.
const PAGE_BYTES: usize = size_of::<Page>() + 2 * size_of::<HitId>();

#[derive(Default)]
pub(super) struct Listings {
    /// By the id of the first row.
    pages: BTreeMap<HitId, Page>,
    lists: BTreeMap<SearchId, List>,
    bytes: usize,
    /// Rows of recently seen lists that were removed for others, since the start.
    pub(super) rows_cut: u64,
}

struct List {
    peer: SocketAddr,
    /// The ids of their first rows, ascending. Empty only if all were removed before the search was forgotten.
    pages: Vec<HitId>,
    rows: u64,
    bytes: usize,
    /// When it last grew or was shown.
    seen_at: Instant,
    /// It found more than its rows.
    is_cut: bool,
    /// Its search is forgotten: what `is_cut` says is wanted only as long as there are rows.
    is_forgotten: bool,
}

struct Page {
    search: SearchId,
    peer: SocketAddr,
    names: Vec<u8>,
    files: Vec<File>,
    /// The beginnings of the hashes: what a search for a content reads of all files.
    keys: Vec<u32>,
}

struct File {
    /// Where its name ends in the names; it begins at the end of the one before.
    end: u32,
    size: Option<u64>,
    b3: Option<ContentHash>,
}

/// A row.
#[derive(Clone, Copy)]
pub(in crate::node) struct ListedFile<'a> {
    pub(in crate::node) id: HitId,
    pub(in crate::node) search: SearchId,
    pub(in crate::node) peer: SocketAddr,
    pub(in crate::node) name: &'a [u8],
    pub(in crate::node) size: Option<u64>,
    pub(in crate::node) b3: Option<ContentHash>,
}

/// A row of a search or of a listing.
#[derive(Clone, Copy)]
pub(in crate::node) enum HitRef<'a> {
    Hit(HitId, &'a Hit),
    Listed(ListedFile<'a>),
}

impl HitRef<'_> {
    pub(in crate::node) fn id(&self) -> HitId {
        match self {
            Self::Hit(id, _) => *id,
            Self::Listed(listed) => listed.id,
        }
    }

    pub(in crate::node) fn search(&self) -> SearchId {
        match self {
            Self::Hit(_, hit) => hit.search(),
            Self::Listed(listed) => listed.search,
        }
    }
}

impl ListedFile<'_> {
    /// `None` if its name is none, which cannot be.
    pub(super) fn hit(&self) -> Option<Hit> {
        let attributes = Some(Attributes { size: self.size, b3: self.b3, more: false });
        let file = Listed { name: FileName::from_bytes(self.name)?, attributes };
        Some(Hit::new(self.search, Grouping::Name, Answer { file, responder: self.peer, from: self.peer }))
    }
}

impl Page {
    fn row(&self, first: HitId, at: usize) -> Option<ListedFile<'_>> {
        let file = self.files.get(at)?;
        let id = HitId(first.0 + at as u32);
        let &Page { search, peer, .. } = self;
        Some(ListedFile { id, search, peer, name: self.name(at), size: file.size, b3: file.b3 })
    }

    fn name(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.files[before].end);
        &self.names[start as usize..self.files[at].end as usize]
    }

    fn push(&mut self, name: &[u8], size: Option<u64>, b3: Option<ContentHash>) {
        self.names.extend_from_slice(name);
        self.files.push(File { end: self.names.len() as u32, size, b3 });
        self.keys.push(b3.map_or(0, key));
        if self.files.len() == PAGE_FILES_MAX {
            self.names.shrink_to_fit();
            self.files.shrink_to_fit();
            self.keys.shrink_to_fit();
        }
    }

    fn bytes(&self) -> usize {
        PAGE_BYTES + self.names.len() + self.files.len() * FILE_BYTES
    }
}

/// What a file takes beside its name.
const FILE_BYTES: usize = size_of::<File>() + size_of::<u32>();

impl Listings {
    /// Takes the next file of a list as the row `id`. `None` if it does not follow in the order of names, or if another peer told it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        search: SearchId,
        answer: &Answer,
        id: HitId,
        rows_max: u64,
    ) -> Option<Result<(), NotTaken>> {
        let (peer, name) = (answer.responder, answer.file.name.as_bytes());
        let list = self.lists.get(&search);
        let last = list.and_then(|list| list.pages.last());
        let last = last.and_then(|first| Some((*first, self.pages.get(first)?)));
        if let Some((_, page)) = last
            && (page.peer != peer || answer.from != peer || name <= page.name(page.files.len() - 1))
        {
            return None;
        }
        if list.is_some_and(|list| list.is_cut || list.rows >= rows_max) {
            return Some(self.refuse(search, NotTaken::Enough));
        }
        let goes_on = |first: HitId, page: &Page| {
            page.files.len() < PAGE_FILES_MAX && first.0.checked_add(page.files.len() as u32) == Some(id.0)
        };
        let open = last.filter(|(first, page)| goes_on(*first, page)).map(|(first, _)| first);
        let bytes = FILE_BYTES + name.len() + if open.is_none() { PAGE_BYTES } else { 0 };
        if !self.make_room(now, search, peer, bytes) {
            return Some(self.refuse(search, NotTaken::NoRoom));
        }
        let new = Page { search, peer, names: Vec::new(), files: Vec::new(), keys: Vec::new() };
        let page = self.pages.entry(open.unwrap_or(id)).or_insert(new);
        let Attributes { size, b3, .. } = answer.file.attributes.unwrap_or_default();
        page.push(name, size, b3);
        let new = List { peer, pages: Vec::new(), rows: 0, bytes: 0, seen_at: now, is_cut: false, is_forgotten: false };
        let list = self.lists.entry(search).or_insert(new);
        list.pages.extend(open.is_none().then_some(id));
        list.rows += 1;
        list.bytes += bytes;
        list.seen_at = now;
        self.bytes += bytes;
        Some(Ok(()))
    }

    /// Whether a list has a file of this name and size.
    pub(super) fn has(&self, search: SearchId, name: &[u8], size: Option<u64>) -> bool {
        let Some(list) = self.lists.get(&search) else { return false };
        let begins_by = |first: &HitId| self.pages.get(first).is_some_and(|page| page.name(0) <= name);
        let Some(at) = list.pages.partition_point(begins_by).checked_sub(1) else { return false };
        let Some(page) = self.pages.get(&list.pages[at]) else { return false };
        let (mut low, mut high) = (0, page.files.len());
        while low < high {
            let middle = low.midpoint(high);
            if page.name(middle) < name { low = middle + 1 } else { high = middle }
        }
        low < page.files.len() && page.name(low) == name && page.files[low].size == size
    }

    pub(super) fn count(&self, search: SearchId) -> u64 {
        self.lists.get(&search).map_or(0, |list| list.rows)
    }

    pub(super) fn is_cut(&self, search: SearchId) -> bool {
        self.lists.get(&search).is_some_and(|list| list.is_cut)
    }

    pub(super) fn note_seen(&mut self, now: Instant, search: SearchId) {
        self.lists.entry(search).and_modify(|list| list.seen_at = now);
    }

    /// The search of a list is forgotten. `is_cut`: it found more than its rows.
    pub(super) fn close(&mut self, search: SearchId, is_cut: bool) {
        let Some(list) = self.lists.get_mut(&search) else { return };
        list.is_cut |= is_cut;
        list.is_forgotten = true;
        if list.pages.is_empty() {
            self.lists.remove(&search);
        }
    }

    pub(super) fn get(&self, id: HitId) -> Option<ListedFile<'_>> {
        let (first, page) = self.pages.range(..=id).next_back()?;
        page.row(*first, (id.0 - first.0) as usize)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.pages.iter().flat_map(|(first, page)| first.0..first.0 + page.files.len() as u32)
    }

    pub(super) fn of_content(&self, b3: ContentHash) -> impl Iterator<Item = ListedFile<'_>> {
        self.pages.iter().flat_map(move |(first, page)| {
            let alike = page.keys.iter().enumerate().filter(move |(_, other)| **other == key(b3));
            alike.filter_map(|(at, _)| page.row(*first, at)).filter(move |row| row.b3 == Some(b3))
        })
    }

    /// The rows from an id on, of one list or of all, by id.
    pub(super) fn from(&self, search: Option<SearchId>, id: HitId) -> impl Iterator<Item = ListedFile<'_>> {
        let list = search.map(|search| self.lists.get(&search).map_or(&[][..], |list| &list.pages));
        let of_one = list.map(|pages| &pages[pages.partition_point(|first| *first <= id).saturating_sub(1)..]);
        let of_one = of_one.unwrap_or_default().iter().filter_map(|first| self.pages.get_key_value(first));
        let begun = self.pages.range(..=id).next_back().map_or(id, |(first, _)| *first);
        let range = (Bound::Included(begun), Bound::Unbounded);
        let of_all = search.is_none().then(|| self.pages.range(range)).into_iter().flatten();
        of_one.chain(of_all).flat_map(move |(first, page)| {
            let skipped = id.0.saturating_sub(first.0) as usize;
            (skipped..page.files.len()).filter_map(|at| page.row(*first, at))
        })
    }

    fn refuse(&mut self, search: SearchId, why: NotTaken) -> Result<(), NotTaken> {
        self.lists.entry(search).and_modify(|list| list.is_cut = true);
        Err(why)
    }

    /// Makes room for a list, at the cost of others: see the head of this module.
    fn make_room(&mut self, now: Instant, search: SearchId, peer: SocketAddr, bytes: usize) -> bool {
        while self.bytes + bytes > LISTINGS_BYTES_MAX {
            let size = self.lists.get(&search).map_or(0, |list| list.bytes) + bytes;
            let others = || self.lists.iter().filter(|(other, list)| **other != search && !list.pages.is_empty());
            let earlier = others().find(|(other, list)| **other < search && list.peer == peer);
            let unseen = others().filter(|(_, list)| list.seen_at + HITS_SEEN_SPAN <= now);
            let gone = earlier.or_else(|| unseen.min_by_key(|(_, list)| list.seen_at)).map(|(other, _)| *other);
            let largest = others().max_by_key(|(_, list)| list.bytes);
            let larger = largest.filter(|(_, list)| list.bytes > size).map(|(other, _)| *other);
            let Some(victim) = gone.or(larger) else { return false };
            let rows = self.forget_last_page(victim);
            self.rows_cut += if gone.is_none() { rows } else { 0 };
        }
        true
    }

    /// Removes the end of a list. Returns how many rows that were.
    fn forget_last_page(&mut self, search: SearchId) -> u64 {
        let Some(list) = self.lists.get_mut(&search) else { return 0 };
        let page = list.pages.pop().and_then(|first| self.pages.remove(&first));
        let (rows, bytes) = page.map_or((0, 0), |page| (page.files.len() as u64, page.bytes()));
        list.rows -= rows;
        list.bytes -= bytes;
        list.is_cut = true;
        self.bytes -= bytes;
        if list.pages.is_empty() && list.is_forgotten {
            self.lists.remove(&search);
        }
        rows
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.bytes <= LISTINGS_BYTES_MAX, "the listings are bounded");
        assert_eq!(self.bytes, self.pages.values().map(Page::bytes).sum::<usize>());
        assert_eq!(self.bytes, self.lists.values().map(|list| list.bytes).sum::<usize>());
        assert_eq!(self.pages.len(), self.lists.values().map(|list| list.pages.len()).sum::<usize>());
        let rows: usize = self.pages.values().map(|page| page.files.len()).sum();
        assert_eq!(rows as u64, self.lists.values().map(|list| list.rows).sum::<u64>());
        assert!(self.lists.values().all(|list| list.pages.is_sorted() && (list.is_cut || !list.pages.is_empty())));
    }
}

fn key(b3: ContentHash) -> u32 {
    let [a, b, c, d, ..] = b3.0;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;

//! The hits remembered: what searches and listings found, by id, until newer ones need the room.
//!
//! What the same search found of one content is one row, whatever its sources call it; of an unknown content, one row a
//! name. Refuses to take a name for a content.

use super::limits::{HIT_NAMES_MAX, HIT_ROW_NAMES_BYTES_MAX, HIT_SOURCES_MAX, HITS_BYTES_MAX, HITS_MAX};
use crate::control::{HitRow, RawText};
use crate::id::{ContentHash, HitId, SearchId};
use crate::name::FileName;
use crate::wire::{Attributes, Listed};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

/// What makes two answers the same hit: the content where it is known, else the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum HitKey {
    Content { search: SearchId, b3: ContentHash, size: Option<u64> },
    Name { search: SearchId, name: Rc<FileName>, size: Option<u64> },
}

/// How answers become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// Of a search: one row a content, or a name as long as its hash is not known.
    Content,
    /// Of a listing: one row a name, so that every file of the peer is to be seen.
    Name,
}

/// One hit: a content under all the names that its sources have for it, or a name alone.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    search: SearchId,
    size: Option<u64>,
    b3: Option<ContentHash>,
    /// What makes another answer the same row.
    grouping: Grouping,
    /// Each once; the first source's first. Never empty.
    names: Vec<Rc<FileName>>,
    /// Who offers it, and its name there, which is one of the names. No address twice; never empty.
    offers: Vec<(SocketAddr, Rc<FileName>)>,
}

impl Hit {
    /// The name in the first source's share.
    pub(super) fn name(&self) -> &FileName {
        &self.names[0]
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    pub(super) fn b3(&self) -> Option<ContentHash> {
        self.b3
    }

    /// Who offers it, and under what name.
    pub(super) fn offers(&self) -> impl Iterator<Item = (SocketAddr, &Rc<FileName>)> {
        self.offers.iter().map(|(addr, name)| (*addr, name))
    }

    /// Who offers it.
    pub(super) fn sources(&self) -> impl Iterator<Item = SocketAddr> {
        self.offers.iter().map(|(addr, _)| *addr)
    }

    fn key(&self) -> HitKey {
        let Self { search, size, .. } = *self;
        match self.b3.filter(|_| self.grouping == Grouping::Content) {
            Some(b3) => HitKey::Content { search, b3, size },
            None => HitKey::Name { search, name: Rc::clone(&self.names[0]), size },
        }
    }

    /// What it holds in memory, roughly.
    fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.as_bytes().len()).sum();
        names + self.offers.len() * size_of::<(SocketAddr, Rc<FileName>)>()
    }

    fn is_offered_by(&self, source: SocketAddr) -> bool {
        self.offers.iter().any(|(addr, _)| *addr == source)
    }

    /// Adds a source, or a further name that a source has for the content. Says whether that was new.
    fn add(&mut self, source: SocketAddr, name: &FileName) -> bool {
        let known = self.names.iter().find(|known| ***known == *name).cloned();
        let offered = self.is_offered_by(source);
        let names_max = if offered { HIT_NAMES_MAX } else { HIT_SOURCES_MAX };
        let nothing_new = offered && known.is_some();
        let full = known.is_none() && self.names.len() >= names_max || !offered && self.offers.len() >= HIT_SOURCES_MAX;
        if nothing_new || full {
            return false;
        }
        let name = known.unwrap_or_else(|| {
            let name = Rc::new(name.clone());
            self.names.push(Rc::clone(&name));
            name
        });
        if !offered {
            self.offers.push((source, name));
        }
        true
    }

    pub(super) fn row(&self, id: HitId) -> HitRow {
        let mut bytes_left = HIT_ROW_NAMES_BYTES_MAX;
        let fits = |name: &&Rc<FileName>| {
            let fits = name.as_bytes().len() <= bytes_left;
            bytes_left = bytes_left.saturating_sub(name.as_bytes().len());
            fits
        };
        HitRow {
            id: id.0,
            name: RawText::new(self.name().as_bytes()),
            names: self.names.iter().take(HIT_NAMES_MAX).take_while(fits).map(|n| RawText::new(n.as_bytes())).collect(),
            size: self.size,
            b3: self.b3.map(|hash| hash.to_string()),
            sources: self.sources().collect(),
        }
    }
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// A new row, or one that has a further source, a further name, or its hash now.
    Changed {
        row: HitId,
        new: bool,
        /// The row of a mere name that the source stood in before, and does not any more.
        left: Option<HitId>,
    },
    /// Nothing new.
    Known,
}

impl Taken {
    /// Whether there is one row more.
    pub(super) fn is_new(self) -> bool {
        matches!(self, Self::Changed { new: true, .. })
    }

    /// The rows that are others now.
    pub(super) fn rows(self) -> impl Iterator<Item = HitId> {
        let (row, left) = match self {
            Self::Changed { row, left, .. } => (Some(row), left),
            Self::Known => (None, None),
        };
        left.into_iter().chain(row)
    }
}

/// All rows. The map of keys is only ever asked for one key.
#[derive(Default)]
pub(super) struct Hits {
    rows: BTreeMap<HitId, Hit>,
    keys: HashMap<HitKey, HitId>,
    by_search: BTreeSet<(SearchId, HitId)>,
    by_content: BTreeSet<(ContentHash, HitId)>,
    bytes: usize,
    given: u32,
}

impl Hits {
    pub(super) fn get(&self, id: HitId) -> Option<&Hit> {
        self.rows.get(&id)
    }

    /// All ids, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.rows.keys().map(|id| id.0)
    }

    /// The hits of a content, by id.
    pub(super) fn of_content(&self, b3: ContentHash) -> impl Iterator<Item = &Hit> {
        let ids = self.by_content.range((b3, HitId(0))..=(b3, HitId(u32::MAX)));
        ids.filter_map(|(_, id)| self.rows.get(id))
    }

    /// The hits after an id: of one search, or all.
    pub(super) fn after(&self, search: Option<SearchId>, after: HitId) -> Box<dyn Iterator<Item = (HitId, &Hit)> + '_> {
        let Some(first) = after.0.checked_add(1).map(HitId) else { return Box::new(std::iter::empty()) };
        match search {
            None => Box::new(self.rows.range(first..).map(|(id, hit)| (*id, hit))),
            Some(search) => {
                let ids = self.by_search.range((search, first)..=(search, HitId(u32::MAX)));
                Box::new(ids.filter_map(|(_, id)| Some((*id, self.rows.get(id)?))))
            }
        }
    }

    /// Takes an answer, if it belongs to a row or `room` is left for another.
    pub(super) fn take(
        &mut self,
        search: SearchId,
        grouping: Grouping,
        file: Listed,
        source: SocketAddr,
        room: bool,
    ) -> Option<Taken> {
        let Attributes { size, b3 } = file.attributes.unwrap_or_default();
        let name = Rc::new(file.name);
        let offers = vec![(source, Rc::clone(&name))];
        let hit = Hit { search, size, b3, grouping, names: vec![Rc::clone(&name)], offers };
        let known = self.keys.get(&hit.key()).copied();
        // The same file may have come before its sender knew the hash.
        let learnt = b3.filter(|_| grouping == Grouping::Content);
        let named = learnt.and_then(|_| self.keys.get(&HitKey::Name { search, name: Rc::clone(&name), size }).copied());
        let named = named.filter(|id| self.rows.get(id).is_some_and(|row| row.is_offered_by(source)));
        let taken = match (known, named) {
            (Some(id), _) => self.grow(id, source, &name),
            (None, Some(id)) if self.is_only_source(id) => self.set_b3(id, b3),
            (None, _) => self.insert(hit, room)?,
        };
        match (taken, named) {
            (Taken::Changed { row, new, .. }, Some(id)) if self.leave(id, row, source) => {
                Some(Taken::Changed { row, new, left: Some(id) })
            }
            _ => Some(taken),
        }
    }

    fn insert(&mut self, hit: Hit, room: bool) -> Option<Taken> {
        if !room {
            return None;
        }
        self.given = self.given.checked_add(1)?;
        let id = HitId(self.given);
        self.bytes += hit.bytes();
        self.keys.insert(hit.key(), id);
        self.by_search.insert((hit.search, id));
        self.by_content.extend(hit.b3.map(|b3| (b3, id)));
        self.rows.insert(id, hit);
        while self.rows.len() > HITS_MAX || self.bytes > HITS_BYTES_MAX {
            self.forget_oldest();
        }
        Some(Taken::Changed { row: id, new: true, left: None })
    }

    /// Changes a row through `change`, which says whether it did; keeps the count of bytes true.
    fn change(&mut self, id: HitId, change: impl FnOnce(&mut Hit) -> bool) -> bool {
        let Some(hit) = self.rows.get_mut(&id) else { return false };
        self.bytes -= hit.bytes();
        let changed = change(hit);
        self.bytes += hit.bytes();
        changed
    }

    fn grow(&mut self, id: HitId, source: SocketAddr, name: &FileName) -> Taken {
        match self.change(id, |hit| hit.add(source, name)) {
            true => Taken::Changed { row: id, new: false, left: None },
            false => Taken::Known,
        }
    }

    fn is_only_source(&self, id: HitId) -> bool {
        self.rows.get(&id).is_some_and(|hit| hit.offers.len() == 1)
    }

    /// The only source of a name has found out its hash: the row goes on under the content.
    fn set_b3(&mut self, id: HitId, b3: Option<ContentHash>) -> Taken {
        let Some(hit) = self.rows.get_mut(&id) else { return Taken::Known };
        self.keys.remove(&hit.key());
        hit.b3 = b3;
        self.keys.insert(hit.key(), id);
        self.by_content.extend(b3.map(|b3| (b3, id)));
        Taken::Changed { row: id, new: false, left: None }
    }

    /// Takes a source that stands in `row` now out of the row of its mere name. A row without any source would be of no
    /// use, but users may have seen its id: it keeps its last one. Says whether the source has left.
    fn leave(&mut self, named: HitId, row: HitId, source: SocketAddr) -> bool {
        named != row
            && !self.is_only_source(named)
            && self.change(named, |hit| {
                hit.offers.retain(|(addr, _)| *addr != source);
                true
            })
    }

    fn forget_oldest(&mut self) {
        let Some((id, hit)) = self.rows.pop_first() else { return };
        self.bytes -= hit.bytes();
        self.keys.remove(&hit.key());
        self.by_search.remove(&(hit.search, id));
        if let Some(b3) = hit.b3 {
            self.by_content.remove(&(b3, id));
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= HITS_MAX && self.bytes <= HITS_BYTES_MAX, "the hits are bounded");
        assert_eq!(self.rows.len(), self.keys.len(), "each hit has one key");
        assert_eq!(self.rows.len(), self.by_search.len(), "each hit belongs to one search");
        assert!(self.by_content.len() <= self.rows.len(), "a hit has one content at most");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: SearchId = SearchId(1);

    fn source(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    fn file(name: &str, size: Option<u64>) -> Listed {
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        Listed { name, attributes: size.map(|size| Attributes { size: Some(size), b3: None }) }
    }

    /// A file of one byte with the content of this number.
    fn hashed(name: &str, content: u8) -> Listed {
        let attributes = Some(Attributes { size: Some(1), b3: Some(ContentHash([content; 32])) });
        Listed { attributes, ..file(name, None) }
    }

    fn new(row: u32) -> Option<Taken> {
        Some(Taken::Changed { row: HitId(row), new: true, left: None })
    }

    fn grown(row: u32) -> Option<Taken> {
        Some(Taken::Changed { row: HitId(row), new: false, left: None })
    }

    fn row(hits: &Hits, id: u32) -> HitRow {
        hits.check_invariants();
        hits.get(HitId(id)).unwrap().row(HitId(id))
    }

    fn names(row: &HitRow) -> Vec<&[u8]> {
        row.names.iter().map(RawText::as_bytes).collect()
    }

    #[test]
    fn answers_without_a_hash_gather_in_rows_by_name_and_size() {
        let mut hits = Hits::default();
        assert_eq!(hits.take(SEARCH, Grouping::Content, file("a", Some(1)), source(1), true), new(1));
        assert_eq!(hits.take(SEARCH, Grouping::Content, file("a", Some(1)), source(2), true), grown(1));
        assert_eq!(hits.take(SEARCH, Grouping::Content, file("a", Some(1)), source(2), true), Some(Taken::Known));
        assert_eq!(hits.take(SEARCH, Grouping::Content, file("a", None), source(3), true), new(2));
        assert_eq!(hits.take(SearchId(2), Grouping::Content, file("a", None), source(3), true), new(3));
        assert_eq!(hits.take(SEARCH, Grouping::Content, file("b", None), source(3), false), None);
        assert_eq!(hits.take(SEARCH, Grouping::Content, file("a", None), source(4), false), grown(2));
        let ids = |search, after| hits.after(search, HitId(after)).map(|(id, _)| id.0).collect::<Vec<_>>();
        assert_eq!(ids(None, 0), [1, 2, 3]);
        assert_eq!(ids(None, 2), [3]);
        assert_eq!(ids(Some(SEARCH), 0), [1, 2]);
        assert_eq!(ids(Some(SEARCH), 2), [0; 0]);
        assert_eq!(ids(None, u32::MAX), [0; 0]);
        hits.check_invariants();
    }

    #[test]
    fn a_content_is_one_row_with_all_its_names_and_each_source_keeps_its_own() {
        let mut hits = Hits::default();
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("a", 7), source(1), true), new(1));
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("b", 7), source(2), true), grown(1));
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("a", 7), source(3), true), grown(1));
        assert_eq!(
            hits.take(SEARCH, Grouping::Content, hashed("a", 8), source(3), true),
            new(2),
            "the name alone says nothing"
        );
        assert_eq!(
            hits.take(SEARCH, Grouping::Content, hashed("copy of a", 7), source(1), true),
            grown(1),
            "it has the content twice"
        );
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("b", 7), source(1), true), Some(Taken::Known));
        assert_eq!(hits.take(SearchId(2), Grouping::Content, hashed("a", 7), source(1), true), new(3));
        let shown = row(&hits, 1);
        assert_eq!(names(&shown), [&b"a"[..], b"b", b"copy of a"]);
        assert_eq!((shown.name, shown.sources), (RawText::new("a"), vec![source(1), source(2), source(3)]));
        assert_eq!(shown.b3, Some("07".repeat(32)));
        let hit = hits.get(HitId(1)).unwrap();
        let offers: Vec<_> = hit.offers().map(|(addr, name)| (addr, name.as_bytes())).collect();
        assert_eq!(offers, [(source(1), &b"a"[..]), (source(2), b"b"), (source(3), b"a")]);
        let found: Vec<_> = hits.of_content(ContentHash([7; 32])).map(|hit| hit.search).collect();
        assert_eq!(found, [SEARCH, SearchId(2)]);
        assert_eq!(hits.of_content(ContentHash([9; 32])).count(), 0);
    }

    #[test]
    fn a_hash_that_gets_known_later_takes_the_row_or_the_source_with_it() {
        let mut hits = Hits::default();
        hits.take(SEARCH, Grouping::Content, file("a", Some(1)), source(1), true);
        assert_eq!(
            hits.take(SEARCH, Grouping::Content, hashed("a", 7), source(1), false),
            grown(1),
            "it needs no room"
        );
        assert_eq!(row(&hits, 1).b3, Some("07".repeat(32)));
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("a", 7), source(1), true), Some(Taken::Known));

        // Of several sources of a name, the one that knows its hash goes to the row of its content.
        for n in 2..=4 {
            hits.take(SEARCH, Grouping::Content, file("a", Some(1)), source(n), true);
        }
        let moved = |row, new| Some(Taken::Changed { row: HitId(row), new, left: Some(HitId(2)) });
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("a", 7), source(2), true), moved(1, false));
        assert_eq!(
            hits.take(SEARCH, Grouping::Content, hashed("a", 8), source(3), false),
            None,
            "no room: it stays where it is"
        );
        assert_eq!(row(&hits, 2).sources, [source(3), source(4)]);
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("a", 8), source(3), true), moved(3, true));
        // The last one leaves no empty row behind under an id that a user may have seen.
        assert_eq!(hits.take(SEARCH, Grouping::Content, hashed("a", 7), source(4), true), grown(1));
        assert_eq!((row(&hits, 2).sources, row(&hits, 2).b3), (vec![source(4)], None));
        assert_eq!(row(&hits, 1).sources, [source(1), source(2), source(4)]);
    }

    #[test]
    fn sources_and_names_of_a_row_are_bounded() {
        let mut hits = Hits::default();
        for n in 1..=200 {
            hits.take(SEARCH, Grouping::Content, file("a", None), source(n), true);
            hits.take(SEARCH, Grouping::Content, hashed(&format!("name {n}"), 7), source(n), true);
            hits.take(SEARCH, Grouping::Content, hashed(&format!("{n}"), 8), source(1), true);
        }
        assert_eq!(row(&hits, 1).sources.len(), HIT_SOURCES_MAX);
        assert_eq!((row(&hits, 2).sources.len(), row(&hits, 2).names.len()), (HIT_SOURCES_MAX, HIT_NAMES_MAX));
        let last = hits.get(HitId(2)).unwrap().offers().last().unwrap();
        assert_eq!((last.0, last.1.as_bytes()), (source(64), &b"name 64"[..]), "each has its own name all the same");
        assert_eq!((row(&hits, 3).sources.len(), row(&hits, 3).names.len()), (1, HIT_NAMES_MAX));

        let long = "n".repeat(3_700);
        for n in 1..=10 {
            hits.take(SEARCH, Grouping::Content, hashed(&format!("{long}{n}"), 9), source(n), true);
        }
        assert_eq!(row(&hits, 4).names.len(), HIT_ROW_NAMES_BYTES_MAX / 3_701);
    }

    #[test]
    fn the_oldest_hits_give_way_to_many_long_names() {
        let mut hits = Hits::default();
        let long = "n".repeat(3_700);
        let rows = HITS_BYTES_MAX / 3_700 + 10;
        for n in 0..rows {
            let name = format!("{long}{n:06}");
            hits.take(
                SEARCH,
                Grouping::Content,
                if n == 0 { hashed(&name, 7) } else { file(&name, None) },
                source(1),
                true,
            );
        }
        hits.check_invariants();
        assert!(hits.get(HitId(1)).is_none());
        assert_eq!(hits.of_content(ContentHash([7; 32])).count(), 0);
        assert!(hits.get(HitId(rows as u32)).is_some());
    }

    #[test]
    fn a_listing_shows_every_name_though_the_contents_are_the_same() {
        let mut hits = Hits::default();
        for n in 0..3 {
            hits.take(SEARCH, Grouping::Name, hashed(&format!("copy {n}"), 7), source(1), true);
        }
        assert_eq!(hits.after(Some(SEARCH), HitId(0)).count(), 3);
        assert_eq!(hits.of_content(ContentHash([7; 32])).count(), 3, "each is found by its content");
        hits.check_invariants();
    }
}

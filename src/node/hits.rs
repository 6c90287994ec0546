//! The hits remembered: what searches and listings found, by id, until newer ones need the room.

use super::limits::{HIT_SOURCES_MAX, HITS_BYTES_MAX, HITS_MAX};
use crate::control::{HitRow, RawText};
use crate::id::{ContentHash, HitId, SearchId};
use crate::name::FileName;
use crate::wire::Listed;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

/// What makes two answers the same hit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HitKey {
    search: SearchId,
    name: FileName,
    size: Option<u64>,
    b3: Option<ContentHash>,
}

/// One hit.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    key: Rc<HitKey>,
    sources: Vec<SocketAddr>,
}

impl Hit {
    pub(super) fn name(&self) -> &FileName {
        &self.key.name
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.key.size
    }

    pub(super) fn b3(&self) -> Option<ContentHash> {
        self.key.b3
    }

    pub(super) fn sources(&self) -> &[SocketAddr] {
        &self.sources
    }

    /// What it holds in memory, roughly.
    fn bytes(&self) -> usize {
        self.key.name.as_bytes().len() + self.sources.len() * size_of::<SocketAddr>()
    }

    pub(super) fn row(&self, id: HitId) -> HitRow {
        HitRow {
            id: id.0,
            name: RawText::new(self.key.name.as_bytes()),
            names: vec![RawText::new(self.key.name.as_bytes())],
            size: self.key.size,
            b3: self.key.b3.map(|hash| hash.to_string()),
            sources: self.sources.clone(),
        }
    }
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// A new row.
    New(HitId),
    /// A further source of a row.
    Source(HitId),
    /// Nothing new.
    Known,
}

/// All rows. The map of keys is only ever asked for one key.
#[derive(Default)]
pub(super) struct Hits {
    rows: BTreeMap<HitId, Hit>,
    keys: HashMap<Rc<HitKey>, HitId>,
    by_search: BTreeSet<(SearchId, HitId)>,
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
        self.rows.values().filter(move |hit| hit.key.b3 == Some(b3))
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
    pub(super) fn take(&mut self, search: SearchId, file: Listed, source: SocketAddr, room: bool) -> Option<Taken> {
        let attributes = file.attributes.unwrap_or_default();
        let key = HitKey { search, name: file.name, size: attributes.size, b3: attributes.b3 };
        if let Some(&id) = self.keys.get(&key) {
            return Some(self.add_source(id, source));
        }
        if !room {
            return None;
        }
        self.given = self.given.checked_add(1)?;
        let (id, key) = (HitId(self.given), Rc::new(key));
        let hit = Hit { key: Rc::clone(&key), sources: vec![source] };
        self.bytes += hit.bytes();
        self.rows.insert(id, hit);
        self.keys.insert(key, id);
        self.by_search.insert((search, id));
        while self.rows.len() > HITS_MAX || self.bytes > HITS_BYTES_MAX {
            self.forget_oldest();
        }
        Some(Taken::New(id))
    }

    fn add_source(&mut self, id: HitId, source: SocketAddr) -> Taken {
        let Some(hit) = self.rows.get_mut(&id) else { return Taken::Known };
        if hit.sources.contains(&source) || hit.sources.len() >= HIT_SOURCES_MAX {
            return Taken::Known;
        }
        hit.sources.push(source);
        self.bytes += size_of::<SocketAddr>();
        Taken::Source(id)
    }

    fn forget_oldest(&mut self) {
        let Some((id, hit)) = self.rows.pop_first() else { return };
        self.bytes -= hit.bytes();
        self.keys.remove(&hit.key);
        self.by_search.remove(&(hit.key.search, id));
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= HITS_MAX && self.bytes <= HITS_BYTES_MAX, "the hits are bounded");
        assert_eq!(self.rows.len(), self.keys.len(), "each hit has one key");
        assert_eq!(self.rows.len(), self.by_search.len(), "each hit belongs to one search");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Attributes;

    fn source(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    fn file(name: &str, size: Option<u64>) -> Listed {
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        Listed { name, attributes: size.map(|size| Attributes { size: Some(size), b3: None }) }
    }

    #[test]
    fn answers_gather_in_rows_by_name_and_size() {
        let mut hits = Hits::default();
        let search = SearchId(1);
        assert_eq!(hits.take(search, file("a", Some(1)), source(1), true), Some(Taken::New(HitId(1))));
        assert_eq!(hits.take(search, file("a", Some(1)), source(2), true), Some(Taken::Source(HitId(1))));
        assert_eq!(hits.take(search, file("a", Some(1)), source(2), true), Some(Taken::Known));
        assert_eq!(hits.take(search, file("a", None), source(3), true), Some(Taken::New(HitId(2))));
        assert_eq!(hits.take(SearchId(2), file("a", None), source(3), true), Some(Taken::New(HitId(3))));
        assert_eq!(hits.take(search, file("b", None), source(3), false), None);
        assert_eq!(hits.take(search, file("a", None), source(4), false), Some(Taken::Source(HitId(2))));
        let ids = |search, after| hits.after(search, HitId(after)).map(|(id, _)| id.0).collect::<Vec<_>>();
        assert_eq!(ids(None, 0), [1, 2, 3]);
        assert_eq!(ids(None, 2), [3]);
        assert_eq!(ids(Some(search), 0), [1, 2]);
        assert_eq!(ids(Some(search), 2), [0; 0]);
        assert_eq!(ids(None, u32::MAX), [0; 0]);
        hits.check_invariants();
    }

    #[test]
    fn sources_of_a_row_are_bounded() {
        let mut hits = Hits::default();
        for n in 1..=200 {
            hits.take(SearchId(1), file("a", None), source(n), true);
        }
        assert_eq!(hits.get(HitId(1)).unwrap().sources().len(), HIT_SOURCES_MAX);
    }

    #[test]
    fn the_oldest_hits_give_way_to_many_long_names() {
        let mut hits = Hits::default();
        let long = "n".repeat(3_700);
        let rows = HITS_BYTES_MAX / 3_700 + 10;
        for n in 0..rows {
            hits.take(SearchId(1), file(&format!("{long}{n:06}"), None), source(1), true);
        }
        hits.check_invariants();
        assert!(hits.get(HitId(1)).is_none());
        assert!(hits.get(HitId(rows as u32)).is_some());
    }
}

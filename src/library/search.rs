//! A search in progress. First, by index: files of the content, if the query has a hash; the file of exactly the name; files
//! with that last component, or one that is equal when folded. Then a walk over all names for the terms, leaf by leaf.
//!
//! The library may change between two steps, and so may what the requester sees of it. A file that exists from
//! beginning to end is found, and one that was removed is not among the hits after the last step.

use super::Shared;
use super::fold::{fold_into, folded};
use super::leaf::Leaf;
use super::query::Query;
use super::view::View;
use crate::name::{FileName, last_component};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Between folded names. No name contains it, so no term matches across two.
const SEPARATOR: u8 = b'\n';

#[derive(Debug)]
enum Phase {
    /// Files of the content, in leaves with higher numbers than this.
    Contents {
        after: Option<u32>,
    },
    FullName,
    /// Files with the last component, in leaves with higher numbers than this.
    Components {
        after: Option<u32>,
    },
    /// Files with all terms, from the first name after this one.
    Terms {
        after: Vec<u8>,
    },
    Ended,
}

/// A search in progress, with the hits so far.
#[derive(Debug)]
pub(crate) struct SearchCursor {
    query: Query,
    hits_max: usize,
    phase: Phase,
    /// The first by name.
    contents: BTreeMap<FileName, Shared>,
    full: Option<(FileName, Shared)>,
    /// With exactly the last component. The first by name.
    components: BTreeMap<FileName, Shared>,
    /// With a path or last component that is equal when folded. The first by name.
    alike: BTreeMap<FileName, Shared>,
    terms: Vec<(FileName, Shared)>,
    /// The first file that only the filters leave out.
    filtered: Option<(FileName, Shared)>,
    scratch: Folded,
}

impl SearchCursor {
    /// For at most `hits_max` files (PROTOCOL, Matching).
    pub(crate) fn new(query: Query, hits_max: usize) -> Self {
        Self {
            phase: if query.content.is_some() { Phase::Contents { after: None } } else { Phase::FullName },
            query,
            hits_max,
            contents: BTreeMap::new(),
            full: None,
            components: BTreeMap::new(),
            alike: BTreeMap::new(),
            terms: Vec::new(),
            filtered: None,
            scratch: Folded::default(),
        }
    }

    /// The hits, after the last [`View::search_step`]: by content, exact name, last component,
    /// folded, and by terms; each kind by name. Without any, a file that only the filters leave out, if there is one: so the
    /// requester, which filters as well, learns that there is something (PROTOCOL, Filters).
    pub(crate) fn into_hits(self) -> Vec<(FileName, Shared)> {
        let exact = self.contents.into_iter().chain(self.full).chain(self.components);
        let mut hits: Vec<_> = exact.chain(self.alike).chain(self.terms).take(self.hits_max).collect();
        if hits.is_empty() {
            hits.extend(self.filtered);
        }
        hits
    }

    /// Examines about `entries_max` files. True while more is left.
    pub(super) fn step(&mut self, view: View<'_>, entries_max: usize) -> bool {
        let mut entries_left = entries_max.max(1);
        loop {
            if self.is_settled() {
                self.drop_removed(view);
                // If a file was removed, the walk continues for another.
                if self.is_settled() {
                    self.phase = Phase::Ended;
                    return false;
                }
            }
            if entries_left == 0 {
                return true;
            }
            let visited = match &self.phase {
                Phase::Contents { after } => self.search_content(view, *after),
                Phase::FullName => self.look_up(view),
                Phase::Components { after } => self.search_component(view, *after),
                Phase::Terms { .. } => self.search_terms(view),
                Phase::Ended => 0,
            };
            entries_left = entries_left.saturating_sub(visited.max(1));
        }
    }

    fn hits(&self) -> usize {
        self.better_than_components() + self.components.len() + self.alike.len() + self.terms.len()
    }

    fn better_than_components(&self) -> usize {
        self.contents.len() + usize::from(self.full.is_some())
    }

    /// Whether a further step would change nothing. All files of the content, and with the last component, must be examined,
    /// to know the first.
    fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Contents { .. } => self.hits_max == 0,
            Phase::FullName | Phase::Components { .. } => self.better_than_components() >= self.hits_max,
            Phase::Terms { .. } => self.hits() >= self.hits_max,
            Phase::Ended => true,
        }
    }

    fn search_content(&mut self, view: View<'_>, after: Option<u32>) -> usize {
        let next = self.query.content.and_then(|b3| Some((b3, view.leaf_of_content(b3, after)?)));
        let Some((b3, (id, leaf))) = next else {
            self.phase = Phase::FullName;
            return 1;
        };
        let mut from = 0;
        while let Some(at) = leaf.find_content(b3, from) {
            if view.admits(leaf.name(at)) {
                insert_if_among_first(&mut self.contents, leaf, at, self.hits_max);
            }
            from = at + 1;
        }
        self.phase = Phase::Contents { after: Some(id) };
        leaf.len()
    }

    fn look_up(&mut self, view: View<'_>) -> usize {
        let name = FileName::from_bytes(self.query.text());
        let name = name.filter(|name| !self.contents.contains_key(name));
        let full = name.and_then(|name| view.get(name.as_bytes()).map(|shared| (name, shared)));
        match full {
            Some((name, shared)) if !self.query.passes(self.query.folded(), Some(shared.meta.size)) => {
                self.filtered.get_or_insert((name, shared));
            }
            full => self.full = full,
        }
        self.phase = Phase::Components { after: None };
        1
    }

    fn search_component(&mut self, view: View<'_>, after: Option<u32>) -> usize {
        let text = self.query.text();
        let component = last_component(text);
        let next = if component.is_empty() { None } else { view.leaf_of_component(component, after) };
        let Some((id, leaf)) = next else {
            let has_terms = self.query.terms().is_some();
            self.phase = if has_terms { Phase::Terms { after: Vec::new() } } else { Phase::Ended };
            return 1;
        };
        let room = self.hits_max.saturating_sub(self.better_than_components());
        let (alike, of_path) = (self.query.folded(), text.contains(&b'/'));
        for at in 0..leaf.len() {
            let name = leaf.name(at);
            let last = last_component(name);
            if name == text || self.contents.contains_key(name) || !view.admits(name) {
                continue;
            }
            let among = if last == text {
                &mut self.components
            } else if folded(if of_path { name } else { last }) == alike {
                &mut self.alike
            } else {
                continue;
            };
            if !self.query.has_filters() || self.query.passes(&folded(name), Some(leaf.shared(at).meta.size)) {
                insert_if_among_first(among, leaf, at, room);
            } else if self.filtered.is_none() {
                self.filtered = leaf.row(at);
            }
        }
        self.phase = Phase::Components { after: Some(id) };
        leaf.len()
    }

    fn search_terms(&mut self, view: View<'_>) -> usize {
        let Phase::Terms { after } = &mut self.phase else { return 0 };
        let next = view.first(Bound::Excluded(after));
        let (Some((leaf, start)), Some((first, others))) = (next, self.query.terms()) else {
            self.phase = Phase::Ended;
            return 1;
        };
        self.scratch.fill(leaf, start);
        let better_hits = self.components.len() + self.alike.len() + usize::from(self.full.is_some());
        let (mut position, mut reached, mut entries) = (0, leaf.len(), 0);
        while let Some(found) = first.find(&self.scratch.text[position..]) {
            let (at, name) = self.scratch.name_at(position + found);
            position = self.scratch.ends[at];
            let row = start + at;
            let is_known = |name: &[u8]| {
                self.components.contains_key(name)
                    || self.alike.contains_key(name)
                    || self.full.as_ref().is_some_and(|(full, _)| full.as_bytes() == name)
            };
            let is_wanted = others.iter().all(|term| term.find(name).is_some()) && view.admits(leaf.name(row));
            if !is_wanted || is_known(leaf.name(row)) {
                continue;
            }
            entries += self.query.entries_for(name);
            if !self.query.fulfils(name) {
                continue;
            }
            if !self.query.passes(name, Some(leaf.shared(row).meta.size)) {
                if self.filtered.is_none() {
                    self.filtered = leaf.row(row);
                }
            } else {
                self.terms.extend(leaf.row(row));
                if better_hits + self.terms.len() >= self.hits_max {
                    reached = row + 1;
                    break;
                }
            }
        }
        after.clear();
        after.extend_from_slice(leaf.name(reached - 1));
        reached - start + entries
    }

    /// Drops hits whose files were removed, and updates the others.
    fn drop_removed(&mut self, view: View<'_>) {
        let still_there = |name: &FileName, shared: &mut Shared| match view.get(name.as_bytes()) {
            Some(now) => {
                *shared = now;
                true
            }
            None => false,
        };
        let (wanted, text) = (self.query.content, self.query.text());
        self.contents
            .retain(|name, shared| still_there(name, shared) && (shared.b3 == wanted || name.last_component() == text));
        self.full.take_if(|(name, shared)| !still_there(name, shared));
        self.components.retain(still_there);
        self.alike.retain(still_there);
        self.terms.retain_mut(|(name, shared)| still_there(name, shared));
        self.filtered.take_if(|(name, shared)| !still_there(name, shared));
    }
}

/// Adds a file if it is among the first `room` by name; drops the last one for it.
fn insert_if_among_first(first: &mut BTreeMap<FileName, Shared>, leaf: &Leaf, at: usize, room: usize) {
    if first.len() >= room && first.last_key_value().is_none_or(|(last, _)| leaf.name(at) >= last.as_bytes()) {
        return;
    }
    first.extend(leaf.row(at));
    if first.len() > room {
        first.pop_last();
    }
}

/// The folded names of a leaf; reused for each leaf.
#[derive(Debug, Default)]
struct Folded {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Folded {
    fn fill(&mut self, leaf: &Leaf, start: usize) {
        self.text.clear();
        self.ends.clear();
        for at in start..leaf.len() {
            fold_into(&mut self.text, leaf.name(at));
            self.text.push(SEPARATOR);
            self.ends.push(self.text.len());
        }
    }

    /// The index of the name at a position in the text, and the name.
    fn name_at(&self, position: usize) -> (usize, &[u8]) {
        let at = self.ends.partition_point(|&end| end <= position);
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        (at, &self.text[start..self.ends[at] - 1])
    }
}

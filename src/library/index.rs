//! The leaves of the index, found by name and by the last component of a name.
//!
//! Everything hangs in balanced trees: a hash table would be faster by a little and would now and then stop the loop
//! to copy itself.

use super::FileMeta;
use super::leaf::{Leaf, component_hash};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The leaf that takes names below every key. It is never removed, so that every name has a leaf.
const FIRST_LEAF: u32 = 0;

/// The files in order of name, in leaves.
#[derive(Debug)]
pub(super) struct Index {
    leaves: BTreeMap<u32, Leaf>,
    /// The least name that a leaf takes, and the leaf.
    order: BTreeMap<Box<[u8]>, u32>,
    /// Hash of a last component, and a leaf that holds such a file.
    components: BTreeSet<(u32, u32)>,
    /// Leaf numbers count up: a file that moves while a search walks over leaves by number moves ahead of it.
    leaf_next: u32,
}

/// What [`Index::sweep_leaf`] did.
#[derive(Debug)]
pub(super) struct Swept {
    /// The key of the leaf.
    pub(super) key: Box<[u8]>,
    /// Files looked at; at least 1.
    pub(super) visited: usize,
    /// Files removed.
    pub(super) files: u64,
    /// Bytes that these had.
    pub(super) bytes: u128,
}

impl Index {
    /// An index of nothing.
    pub(super) fn new() -> Self {
        Self {
            leaves: BTreeMap::from([(FIRST_LEAF, Leaf::default())]),
            order: BTreeMap::from([(Box::default(), FIRST_LEAF)]),
            components: BTreeSet::new(),
            leaf_next: FIRST_LEAF + 1,
        }
    }

    /// The file of this name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&FileMeta> {
        let leaf = self.leaves.get(&self.leaf_of(name))?;
        leaf.find(name).ok().map(|at| leaf.meta(at))
    }

    /// Adds a file, or updates it and returns what it was before.
    pub(super) fn upsert(&mut self, name: &[u8], meta: FileMeta, seen: u32) -> Option<FileMeta> {
        let id = self.leaf_of(name);
        let leaf = self.leaves.get_mut(&id)?;
        match leaf.find(name) {
            Ok(at) => Some(leaf.update(at, meta, seen)),
            Err(at) => {
                leaf.insert(at, name, meta, seen);
                self.components.insert((component_hash(name), id));
                if leaf.is_overfull() {
                    let upper = leaf.split(at);
                    self.add_leaf(id, upper);
                }
                None
            }
        }
    }

    /// Takes a file out.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<FileMeta> {
        let id = self.leaf_of(name);
        let leaf = self.leaves.get_mut(&id)?;
        let meta = leaf.remove(leaf.find(name).ok()?);
        self.forget_components(id, [component_hash(name)].into_iter());
        if self.leaves.get(&id).is_some_and(|leaf| leaf.len() == 0) {
            let key = self.order.range::<[u8], _>((Bound::Unbounded, Bound::Included(name))).next_back();
            if let Some(key) = key.map(|(key, _)| key.clone()) {
                self.drop_leaf(&key, id);
            }
        }
        Some(meta)
    }

    /// The leaf that holds the first name after `after`, and that name's place in it. The empty name is before all.
    pub(super) fn leaf_after(&self, after: &[u8]) -> Option<(&Leaf, usize)> {
        let here = self.leaves.get(&self.leaf_of(after))?;
        let start = here.find(after).map_or_else(|at| at, |at| at + 1);
        if start < here.len() {
            return Some((here, start));
        }
        // No leaf but the first is ever empty, so the next one begins with the next name.
        let (_, id) = self.order.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded)).next()?;
        self.leaves.get(id).map(|leaf| (leaf, 0))
    }

    /// The next leaf, by number after `after`, that may hold files of this last component.
    pub(super) fn leaf_of_component(&self, component: &[u8], after: Option<u32>) -> Option<(u32, &Leaf)> {
        let hash = component_hash(component);
        let from = after.map_or(Bound::Included((hash, 0)), |id| Bound::Excluded((hash, id)));
        let (_, id) = self.components.range((from, Bound::Included((hash, u32::MAX)))).next()?;
        self.leaves.get(id).map(|leaf| (*id, leaf))
    }

    /// Removes what the scan `seen` did not see from the first leaf that stands beyond `from`; `None` if none does.
    pub(super) fn sweep_leaf(&mut self, from: Bound<Box<[u8]>>, seen: u32) -> Option<Swept> {
        let from = from.as_ref().map(|key| &**key);
        let (key, &id) = self.order.range::<[u8], _>((from, Bound::Unbounded)).next()?;
        let key = key.clone();
        let leaf = self.leaves.get_mut(&id)?;
        let visited = leaf.len().max(1);
        let removed = leaf.remove_unseen(seen);
        let empty = leaf.len() == 0;
        let bytes = removed.iter().map(|(_, meta)| u128::from(meta.size)).sum();
        if !removed.is_empty() {
            self.forget_components(id, removed.iter().map(|(hash, _)| *hash));
        }
        if empty {
            self.drop_leaf(&key, id);
        }
        Some(Swept { key, visited, files: removed.len() as u64, bytes })
    }

    /// The number of the leaf that holds this name, or would.
    fn leaf_of(&self, name: &[u8]) -> u32 {
        let mut below = self.order.range::<[u8], _>((Bound::Unbounded, Bound::Included(name)));
        below.next_back().map_or(FIRST_LEAF, |(_, id)| *id)
    }

    /// Enters the upper part of the leaf `id`, which has just been split.
    fn add_leaf(&mut self, id: u32, upper: Leaf) {
        while self.leaves.contains_key(&self.leaf_next) {
            self.leaf_next = self.leaf_next.wrapping_add(1);
        }
        let upper_id = self.leaf_next;
        self.leaf_next = self.leaf_next.wrapping_add(1);
        self.components.extend(upper.component_hashes().map(|hash| (hash, upper_id)));
        self.order.insert(upper.name(0).into(), upper_id);
        let moved: Vec<u32> = upper.component_hashes().collect();
        self.leaves.insert(upper_id, upper);
        self.forget_components(id, moved.into_iter());
    }

    /// Takes these components out of those known to stand in a leaf, except where another of its files has the same.
    fn forget_components(&mut self, id: u32, gone: impl Iterator<Item = u32>) {
        for hash in gone {
            self.components.remove(&(hash, id));
        }
        if let Some(leaf) = self.leaves.get(&id) {
            self.components.extend(leaf.component_hashes().map(|hash| (hash, id)));
        }
    }

    /// Removes a leaf that has become empty, except the first.
    fn drop_leaf(&mut self, key: &[u8], id: u32) {
        if id != FIRST_LEAF {
            self.order.remove(key);
            self.leaves.remove(&id);
        }
    }

    /// Panics if the tables contradict each other or a bound is broken.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut components = BTreeSet::new();
        assert_eq!(self.leaves.len(), self.order.len());
        for (key, id) in &self.order {
            let leaf = &self.leaves[id];
            assert!(leaf.len() > 0 || *id == FIRST_LEAF);
            assert!(!leaf.is_overfull());
            assert!((0..leaf.len()).all(|at| leaf.name(at) >= &**key));
            names.extend((0..leaf.len()).map(|at| leaf.name(at)));
            components.extend(leaf.component_hashes().map(|hash| (hash, *id)));
        }
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(components, self.components);
    }
}

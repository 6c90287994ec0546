//! The leaves of the index, found by name, by the last component of a name, and by content.
//!
//! All tables are balanced trees: a hash table would block the loop at times to copy itself.

use super::leaf::{Hash, Leaf, component_hash, content_key};
use super::{ScannedFile, Shared, Unseen};
use crate::id::ContentHash;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The leaf for names below every key. It is never removed, so that every name has a leaf.
const FIRST_LEAF: u32 = 0;

#[derive(Debug)]
pub(super) struct Index {
    leaves: BTreeMap<u32, Leaf>,
    /// Leaves by their least possible name.
    order: BTreeMap<Box<[u8]>, u32>,
    /// Hash of a last component, and a leaf with such a file.
    components: BTreeSet<(u32, u32)>,
    /// The beginning of a content's hash, and a leaf with such a file.
    contents: BTreeSet<(u32, u32)>,
    /// Leaf numbers increase: a file that moves to another leaf is ahead of a search that walks by number.
    leaf_next: u32,
}

#[derive(Debug)]
pub(super) struct Swept {
    pub(super) key: Box<[u8]>,
    /// Files examined; at least 1.
    pub(super) visited: usize,
    pub(super) files: u64,
    pub(super) hashed: u64,
    pub(super) bytes: u128,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            leaves: BTreeMap::from([(FIRST_LEAF, Leaf::default())]),
            order: BTreeMap::from([(Box::default(), FIRST_LEAF)]),
            components: BTreeSet::new(),
            contents: BTreeSet::new(),
            leaf_next: FIRST_LEAF + 1,
        }
    }
}

impl Index {
    pub(super) fn get(&self, name: &[u8]) -> Option<Shared> {
        let leaf = self.leaves.get(&self.leaf_of(name))?;
        leaf.find(name).ok().map(|at| leaf.shared(at))
    }

    /// Adds a file, or updates it and returns the old one. Keeps its hash if the metadata are the same.
    pub(super) fn upsert(&mut self, file: &ScannedFile, seen: u32) -> Option<Shared> {
        let (name, meta) = (file.name.as_bytes(), file.meta);
        let id = self.leaf_of(name);
        let leaf = self.leaves.get_mut(&id)?;
        match leaf.find(name) {
            Ok(at) => {
                let before = leaf.update(at, file, seen);
                if before.meta != meta {
                    self.forget_contents(id, before.b3);
                }
                Some(before)
            }
            Err(at) => {
                leaf.insert(at, file, seen);
                self.components.insert((component_hash(name), id));
                if leaf.is_overfull() {
                    let upper = leaf.split(at);
                    self.add_leaf(id, upper);
                }
                None
            }
        }
    }

    /// Sets the state of a file's hash, and returns the old file, unless it has changed. A known hash is only replaced by
    /// another.
    pub(super) fn set_hash(&mut self, file: &ScannedFile, hash: Hash) -> Option<Shared> {
        let name = file.name.as_bytes();
        let id = self.leaf_of(name);
        let leaf = self.leaves.get_mut(&id)?;
        let at = leaf.find(name).ok()?;
        let before = leaf.shared(at);
        if before.meta != file.meta || (before.b3.is_some() && hash.known().is_none()) {
            return None;
        }
        leaf.set_hash(at, hash);
        self.forget_contents(id, before.b3);
        self.contents.extend(hash.known().map(|b3| (content_key(b3), id)));
        Some(before)
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Shared> {
        let id = self.leaf_of(name);
        let leaf = self.leaves.get_mut(&id)?;
        let removed = leaf.remove(leaf.find(name).ok()?);
        self.forget_components(id, [component_hash(name)].into_iter());
        self.forget_contents(id, removed.b3);
        if self.leaves.get(&id).is_some_and(|leaf| leaf.len() == 0) {
            let key = self.order.range::<[u8], _>((Bound::Unbounded, Bound::Included(name))).next_back();
            if let Some(key) = key.map(|(key, _)| key.clone()) {
                self.drop_leaf(&key, id);
            }
        }
        Some(removed)
    }

    /// The leaves with names from a bound on, in order, and the index of the first such name in each.
    pub(super) fn leaves_from(&self, from: Bound<&[u8]>) -> impl Iterator<Item = (&Leaf, usize)> {
        let (name, is_after) = match from {
            Bound::Unbounded => (&b""[..], false),
            Bound::Included(name) => (name, false),
            Bound::Excluded(name) => (name, true),
        };
        let here = self.leaves.get(&self.leaf_of(name));
        let here = here.map(|leaf| (leaf, leaf.find(name).map_or_else(|at| at, |at| at + usize::from(is_after))));
        let beyond = self.order.range::<[u8], _>((Bound::Excluded(name), Bound::Unbounded));
        let beyond = beyond.filter_map(|(_, id)| self.leaves.get(id).map(|leaf| (leaf, 0)));
        here.into_iter().chain(beyond).filter(|(leaf, start)| *start < leaf.len())
    }

    /// The leaf of the first name from a bound on, and its index there.
    pub(super) fn leaf_from(&self, from: Bound<&[u8]>) -> Option<(&Leaf, usize)> {
        // No leaf but the first is ever empty: at most two are examined.
        self.leaves_from(from).next()
    }

    /// The first name that has this first component. What has it as whole name, and what is beneath it, are not side by side.
    pub(super) fn first_of(&self, share: &[u8]) -> Option<&[u8]> {
        let from = |name: &[u8]| self.leaf_from(Bound::Included(name)).map(|(leaf, at)| leaf.name(at));
        let beneath = [share, b"/"].concat();
        let whole = from(share).filter(|name| *name == share);
        whole.or_else(|| from(&beneath).filter(|name| name.starts_with(&beneath)))
    }

    /// The next leaf, by number after `after`, that may have files with this last component.
    pub(super) fn leaf_of_component(&self, component: &[u8], after: Option<u32>) -> Option<(u32, &Leaf)> {
        self.leaf_of_key(&self.components, component_hash(component), after)
    }

    /// The next leaf, by number after `after`, that may have files of this content.
    pub(super) fn leaf_of_content(&self, b3: ContentHash, after: Option<u32>) -> Option<(u32, &Leaf)> {
        self.leaf_of_key(&self.contents, content_key(b3), after)
    }

    /// The leaf of a file of this content with a name that is wanted, and its index there.
    pub(super) fn find_content(&self, b3: ContentHash, wants: impl Fn(&[u8]) -> bool) -> Option<(&Leaf, usize)> {
        let mut after = None;
        while let Some((id, leaf)) = self.leaf_of_content(b3, after) {
            let mut from = 0;
            while let Some(at) = leaf.find_content(b3, from) {
                if wants(leaf.name(at)) {
                    return Some((leaf, at));
                }
                from = at + 1;
            }
            after = Some(id);
        }
        None
    }

    fn leaf_of_key(&self, table: &BTreeSet<(u32, u32)>, key: u32, after: Option<u32>) -> Option<(u32, &Leaf)> {
        let from = after.map_or(Bound::Included((key, 0)), |id| Bound::Excluded((key, id)));
        let (_, id) = table.range((from, Bound::Included((key, u32::MAX)))).next()?;
        self.leaves.get(id).map(|leaf| (*id, leaf))
    }

    /// Removes files that the scan `seen` did not find from the first leaf after `from`; `None` if there is none.
    pub(super) fn sweep_leaf(&mut self, from: Bound<Box<[u8]>>, seen: u32, unseen: &Unseen) -> Option<Swept> {
        let from = from.as_ref().map(|key| &**key);
        let (key, &id) = self.order.range::<[u8], _>((from, Bound::Unbounded)).next()?;
        let key = key.clone();
        self.remove_where(key, id, |leaf| leaf.remove_unseen(seen, unseen))
    }

    /// Removes files from the leaf of a name, as far as their names are chosen.
    pub(super) fn remove_from_leaf(&mut self, name: &[u8], is_gone: impl Fn(&[u8]) -> bool) -> Option<Swept> {
        let (key, &id) = self.order.range::<[u8], _>((Bound::Unbounded, Bound::Included(name))).next_back()?;
        let key = key.clone();
        self.remove_where(key, id, |leaf| leaf.remove_where(|leaf, at| is_gone(leaf.name(at))))
    }

    fn remove_where(
        &mut self,
        key: Box<[u8]>,
        id: u32,
        remove: impl FnOnce(&mut Leaf) -> Vec<(u32, Shared)>,
    ) -> Option<Swept> {
        let leaf = self.leaves.get_mut(&id)?;
        let visited = leaf.len().max(1);
        let removed = remove(leaf);
        let empty = leaf.len() == 0;
        let bytes = removed.iter().map(|(_, file)| u128::from(file.meta.size)).sum();
        let hashed = removed.iter().filter(|(_, file)| file.b3.is_some()).count() as u64;
        if !removed.is_empty() {
            self.forget_components(id, removed.iter().map(|(hash, _)| *hash));
            self.forget_contents(id, removed.iter().filter_map(|(_, file)| file.b3));
        }
        if empty {
            self.drop_leaf(&key, id);
        }
        Some(Swept { key, visited, files: removed.len() as u64, hashed, bytes })
    }

    fn leaf_of(&self, name: &[u8]) -> u32 {
        let mut below = self.order.range::<[u8], _>((Bound::Unbounded, Bound::Included(name)));
        below.next_back().map_or(FIRST_LEAF, |(_, id)| *id)
    }

    /// Adds the upper part of the leaf `id`, which has just been split.
    fn add_leaf(&mut self, id: u32, upper: Leaf) {
        while self.leaves.contains_key(&self.leaf_next) {
            self.leaf_next = self.leaf_next.wrapping_add(1);
        }
        let upper_id = self.leaf_next;
        self.leaf_next = self.leaf_next.wrapping_add(1);
        self.components.extend(upper.component_hashes().map(|hash| (hash, upper_id)));
        self.order.insert(upper.name(0).into(), upper_id);
        let moved: Vec<u32> = upper.component_hashes().collect();
        let moved_contents: Vec<ContentHash> = upper.contents().collect();
        self.contents.extend(moved_contents.iter().map(|b3| (content_key(*b3), upper_id)));
        self.leaves.insert(upper_id, upper);
        self.forget_components(id, moved.into_iter());
        self.forget_contents(id, moved_contents);
    }

    /// Removes these last components from a leaf, unless another of its files has the same.
    fn forget_components(&mut self, id: u32, gone: impl Iterator<Item = u32>) {
        for hash in gone {
            self.components.remove(&(hash, id));
        }
        if let Some(leaf) = self.leaves.get(&id) {
            self.components.extend(leaf.component_hashes().map(|hash| (hash, id)));
        }
    }

    /// Removes these contents from a leaf, unless another of its files has the same key.
    fn forget_contents(&mut self, id: u32, gone: impl IntoIterator<Item = ContentHash>) {
        let Some(leaf) = self.leaves.get(&id) else { return };
        for key in gone.into_iter().map(content_key) {
            if !leaf.contents().any(|b3| content_key(b3) == key) {
                self.contents.remove(&(key, id));
            }
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
        let (mut components, mut contents) = (BTreeSet::new(), BTreeSet::new());
        assert_eq!(self.leaves.len(), self.order.len());
        for (key, id) in &self.order {
            let leaf = &self.leaves[id];
            assert!(leaf.len() > 0 || *id == FIRST_LEAF);
            assert!(!leaf.is_overfull());
            assert!((0..leaf.len()).all(|at| leaf.name(at) >= &**key));
            names.extend((0..leaf.len()).map(|at| leaf.name(at)));
            components.extend(leaf.component_hashes().map(|hash| (hash, *id)));
            contents.extend(leaf.contents().map(|b3| (content_key(b3), *id)));
            assert_eq!(leaf.first_wanted, (0..leaf.len()).filter_map(|at| leaf.wanted(at)).min());
        }
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(components, self.components);
        assert_eq!(contents, self.contents);
    }
}

//! Choosing the files to be hashed next: the best of all without a hash, in one walk in slices, leaf by leaf. Skips leaves
//! without a file that would be chosen.
//!
//! The library may change between two steps: [`Library::set_b3`](super::Library::set_b3) ignores the hash of a changed file.

use super::index::Index;
use super::leaf::{Leaf, Rank, rank};
use super::{FileMeta, ScannedFile};
use crate::name::FileName;
use std::collections::BinaryHeap;
use std::ops::Bound;

#[derive(Debug)]
enum Walk {
    /// Names after this one are next.
    After(Vec<u8>),
    Ended,
}

#[derive(Debug)]
pub(crate) struct Gather {
    files_max: usize,
    walk: Walk,
    /// The worst on top. Of equal rank the first by name is better.
    best: BinaryHeap<(Rank, FileName, FileMeta, bool)>,
}

impl Gather {
    /// For at most `files_max` files without a hash: the smallest first, where sizes between two powers of two are equal, and
    /// among these the newest.
    pub(crate) fn new(files_max: usize) -> Self {
        let walk = if files_max == 0 { Walk::Ended } else { Walk::After(Vec::new()) };
        Self { files_max, walk, best: BinaryHeap::new() }
    }

    /// The files, the best first, after the last [`Library::gather_step`](super::Library::gather_step).
    pub(crate) fn into_files(self) -> Vec<ScannedFile> {
        self.best
            .into_sorted_vec()
            .into_iter()
            .map(|(_, name, meta, executable)| ScannedFile { name, meta, executable })
            .collect()
    }

    /// Examines about `entries_max` files. True while more is left.
    pub(super) fn step(&mut self, index: &Index, entries_max: usize) -> bool {
        let Walk::After(after) = std::mem::replace(&mut self.walk, Walk::Ended) else { return false };
        let mut entries_left = entries_max.max(1);
        for (leaf, start) in index.leaves_from(Bound::Excluded(&after)) {
            let visited = match leaf.first_wanted {
                Some(rank) if self.takes(rank) => self.take_from(leaf, start),
                _ => 1,
            };
            entries_left = entries_left.saturating_sub(visited);
            if entries_left == 0 {
                self.walk = Walk::After(leaf.name(leaf.len() - 1).to_vec());
                return true;
            }
        }
        false
    }

    /// Whether a file of this rank is among the best, if its name comes after those of all files so far.
    fn takes(&self, rank: Rank) -> bool {
        self.best.len() < self.files_max || self.best.peek().is_some_and(|(worst, ..)| rank < *worst)
    }

    fn take_from(&mut self, leaf: &Leaf, start: usize) -> usize {
        for at in start..leaf.len() {
            if !leaf.wanted(at).is_some_and(|rank| self.takes(rank)) {
                continue;
            }
            let Some((name, shared)) = leaf.row(at) else { continue };
            self.best.push((rank(&shared.meta), name, shared.meta, shared.executable));
            if self.best.len() > self.files_max {
                self.best.pop();
            }
        }
        leaf.len() - start
    }
}

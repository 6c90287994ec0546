//! A leaf: a short run of files in order of name. The names stand one after another in a single text, so that a search
//! reads memory from front to back instead of following a pointer for each file.

use super::FileMeta;
use crate::name::{FileName, last_component};
use std::hash::{DefaultHasher, Hasher};

/// Most files in a leaf. Tests take little ones, so that few files make many leaves.
pub(super) const LEAF_ENTRIES_MAX: usize = if cfg!(test) { 4 } else { 128 };

/// Most bytes of names in a leaf that holds more than one file.
const LEAF_TEXT_BYTES_MAX: usize = 16 * 1024;

/// What is kept of a file beside its name.
#[derive(Debug, Clone, Copy)]
struct Entry {
    meta: FileMeta,
    /// Where its name ends in the text; it begins where the one before ends.
    end: u32,
    /// The scan that last saw it.
    seen: u32,
}

/// A run of files in order of name.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    entries: Vec<Entry>,
    text: Vec<u8>,
}

impl Leaf {
    /// Files held.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name at a place below [`Leaf::len`].
    pub(super) fn name(&self, at: usize) -> &[u8] {
        &self.text[self.start(at)..self.entries[at].end as usize]
    }

    /// What is known of the file at a place below [`Leaf::len`].
    pub(super) fn meta(&self, at: usize) -> &FileMeta {
        &self.entries[at].meta
    }

    /// Name and meta at a place, as callers outside keep them.
    pub(super) fn row(&self, at: usize) -> Option<(FileName, FileMeta)> {
        FileName::from_bytes(self.name(at)).map(|name| (name, *self.meta(at)))
    }

    /// Where the name stands, or where it would.
    pub(super) fn find(&self, name: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Puts a new meta in the place of the old one, which it returns.
    pub(super) fn update(&mut self, at: usize, meta: FileMeta, seen: u32) -> FileMeta {
        let entry = &mut self.entries[at];
        entry.seen = seen;
        std::mem::replace(&mut entry.meta, meta)
    }

    /// Inserts a file at the place that [`Leaf::find`] told.
    pub(super) fn insert(&mut self, at: usize, name: &[u8], meta: FileMeta, seen: u32) {
        reserve_by_quarters(&mut self.entries, 1);
        reserve_by_quarters(&mut self.text, name.len());
        let start = self.start(at);
        self.text.splice(start..start, name.iter().copied());
        self.entries.insert(at, Entry { meta, end: offset(start), seen });
        for entry in &mut self.entries[at..] {
            entry.end += offset(name.len());
        }
    }

    /// Takes a file out.
    pub(super) fn remove(&mut self, at: usize) -> FileMeta {
        let (start, end) = (self.start(at), self.entries[at].end as usize);
        self.text.drain(start..end);
        let removed = self.entries.remove(at);
        for entry in &mut self.entries[at..] {
            entry.end -= offset(end - start);
        }
        removed.meta
    }

    /// Whether the leaf is to be split.
    pub(super) fn is_overfull(&self) -> bool {
        self.len() > LEAF_ENTRIES_MAX || (self.len() > 1 && self.text.len() > LEAF_TEXT_BYTES_MAX)
    }

    /// Cuts the leaf in two after an insertion at `inserted_at`, and returns the upper part. Both parts hold a file.
    ///
    /// Directories that list in order, or in reverse, leave full leaves behind: there the cut is beside the newcomer.
    pub(super) fn split(&mut self, inserted_at: usize) -> Leaf {
        let last = self.len() - 1;
        let cut = match inserted_at {
            0 => 1,
            at if at == last => last,
            _ => self.len() / 2,
        };
        let start = self.start(cut);
        let mut upper = Leaf { entries: self.entries.split_off(cut), text: self.text.split_off(start) };
        for entry in &mut upper.entries {
            entry.end -= offset(start);
        }
        self.shrink();
        upper.shrink();
        upper
    }

    /// Removes what the scan `seen` did not see, and returns it in order.
    pub(super) fn remove_unseen(&mut self, seen: u32) -> Vec<(u32, FileMeta)> {
        if self.entries.iter().all(|entry| entry.seen == seen) {
            return Vec::new();
        }
        let mut removed = Vec::new();
        let mut kept = Leaf::default();
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.seen == seen {
                kept.text.extend_from_slice(self.name(at));
                kept.entries.push(Entry { end: offset(kept.text.len()), ..*entry });
            } else {
                removed.push((component_hash(self.name(at)), entry.meta));
            }
        }
        kept.shrink();
        *self = kept;
        removed
    }

    /// The hashes of all last components, repeats included.
    pub(super) fn component_hashes(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|at| component_hash(self.name(at)))
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.entries[before].end as usize)
    }

    fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.text.shrink_to_fit();
    }
}

/// The hash under which a name is found by its last component. Equal components have equal hashes; that different ones
/// may too is for the reader to sort out.
pub(super) fn component_hash(name: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(last_component(name));
    hasher.finish() as u32
}

/// An offset into a leaf's text, which the bounds of a leaf and of a name keep far below 4 GiB.
fn offset(bytes: usize) -> u32 {
    debug_assert!(u32::try_from(bytes).is_ok());
    bytes as u32
}

/// Makes room in steps of a quarter: doubling would leave a third of the index empty.
fn reserve_by_quarters<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 4));
    }
}

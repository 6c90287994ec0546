//! A leaf: a short run of files by name. The names are stored in a single text, so that a search reads memory sequentially.

use super::fold::folded;
use super::{FileMeta, ScannedFile, Shared, Unseen};
use crate::id::ContentHash;
use crate::name::{FILE_NAME_BYTES_MAX, FileName, last_component};
use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hasher};

/// Small in tests, so that few files make many leaves.
pub(super) const LEAF_ENTRIES_MAX: usize = if cfg!(test) { 4 } else { 128 };

/// Bytes of names in a leaf with more than one file.
const LEAF_TEXT_BYTES_MAX: usize = 16 * 1024;

/// Capacity for entries grows by this number.
const ENTRIES_STEP: usize = 16;

/// Capacity for names grows by this number.
const TEXT_STEP_BYTES: usize = 256;

// The text of a leaf exceeds the limit by one name at most before the leaf is split: offsets fit 16 bits, which keeps entries small.
const _: () = assert!(LEAF_TEXT_BYTES_MAX + FILE_NAME_BYTES_MAX <= u16::MAX as usize);

/// A file without its name: 80 bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    meta: FileMeta,
    hash: Hash,
    /// The scan that last saw it.
    seen: u32,
    /// Where its name ends in the text; it begins at the end of the one before.
    end: u16,
    executable: bool,
}

// A share may have millions of files.
const _: () = assert!(size_of::<Entry>() == 80);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    /// Unknown: the file is to be hashed.
    Wanted,
    /// Unknown, and reading failed: not retried before the next scan.
    Unhashable,
    /// The hash of the file with these metadata.
    Known(ContentHash),
}

impl Hash {
    pub(super) fn known(self) -> Option<ContentHash> {
        match self {
            Self::Known(b3) => Some(b3),
            Self::Wanted | Self::Unhashable => None,
        }
    }
}

/// The order of hashing, least first: by power of two of the size, so that many hashes are known soon, then the newest, which
/// are most likely to be requested.
pub(super) type Rank = (u32, Reverse<i64>);

#[derive(Debug, Default)]
pub(super) struct Leaf {
    entries: Vec<Entry>,
    text: Vec<u8>,
    /// The least rank of a file to be hashed, so that a search for these can skip the leaf.
    pub(super) first_wanted: Option<Rank>,
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// `at` must be below [`Leaf::len`].
    pub(super) fn name(&self, at: usize) -> &[u8] {
        &self.text[self.start(at)..usize::from(self.entries[at].end)]
    }

    /// `at` must be below [`Leaf::len`].
    pub(super) fn shared(&self, at: usize) -> Shared {
        self.entries[at].shared()
    }

    pub(super) fn row(&self, at: usize) -> Option<(FileName, Shared)> {
        FileName::from_bytes(self.name(at)).map(|name| (name, self.shared(at)))
    }

    /// The rank of a file, if it is to be hashed.
    pub(super) fn wanted(&self, at: usize) -> Option<Rank> {
        self.entries[at].wanted()
    }

    /// The index of the first file of this content from `from` on.
    pub(super) fn find_content(&self, b3: ContentHash, from: usize) -> Option<usize> {
        let found = self.entries.iter().skip(from).position(|entry| entry.hash == Hash::Known(b3))?;
        Some(from + found)
    }

    /// The index of a name, or where it is to be inserted.
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

    /// Sets the metadata of a file, and returns the old file. Keeps its hash if the metadata are the same.
    pub(super) fn update(&mut self, at: usize, file: &ScannedFile, seen: u32) -> Shared {
        let meta = file.meta;
        let entry = &mut self.entries[at];
        let before = entry.shared();
        entry.seen = seen;
        entry.executable = file.executable;
        if entry.meta != meta || entry.hash == Hash::Unhashable {
            entry.meta = meta;
            self.set_hash(at, Hash::Wanted);
        }
        before
    }

    pub(super) fn set_hash(&mut self, at: usize, hash: Hash) {
        self.entries[at].hash = hash;
        self.rank();
    }

    /// Inserts a file at the index from [`Leaf::find`].
    pub(super) fn insert(&mut self, at: usize, file: &ScannedFile, seen: u32) {
        let name = file.name.as_bytes();
        reserve_in_steps(&mut self.entries, 1, ENTRIES_STEP);
        reserve_in_steps(&mut self.text, name.len(), TEXT_STEP_BYTES);
        let start = self.start(at);
        self.text.splice(start..start, name.iter().copied());
        let (meta, executable) = (file.meta, file.executable);
        let entry = Entry { meta, hash: Hash::Wanted, seen, end: offset(start), executable };
        self.first_wanted = self.first_wanted.into_iter().chain(entry.wanted()).min();
        self.entries.insert(at, entry);
        for entry in &mut self.entries[at..] {
            entry.end += offset(name.len());
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Shared {
        let (start, end) = (self.start(at), usize::from(self.entries[at].end));
        self.text.drain(start..end);
        let removed = self.entries.remove(at);
        for entry in &mut self.entries[at..] {
            entry.end -= offset(end - start);
        }
        self.rank();
        removed.shared()
    }

    pub(super) fn is_overfull(&self) -> bool {
        self.len() > LEAF_ENTRIES_MAX || (self.len() > 1 && self.text.len() > LEAF_TEXT_BYTES_MAX)
    }

    /// Splits the leaf after an insertion at `inserted_at`, and returns the upper part. No part is empty.
    ///
    /// After an insertion at an end the split is beside the new file: so sorted directories fill their leaves.
    pub(super) fn split(&mut self, inserted_at: usize) -> Leaf {
        let last = self.len() - 1;
        let cut = match inserted_at {
            0 => 1,
            at if at == last => last,
            _ => self.len() / 2,
        };
        let start = self.start(cut);
        let mut upper =
            Leaf { entries: self.entries.split_off(cut), text: self.text.split_off(start), first_wanted: None };
        for entry in &mut upper.entries {
            entry.end -= offset(start);
        }
        for part in [&mut *self, &mut upper] {
            part.shrink();
            part.rank();
        }
        upper
    }

    /// Removes files that the scan `seen` did not find, and returns them in order, but for those that it could not see.
    pub(super) fn remove_unseen(&mut self, seen: u32, unseen: &Unseen) -> Vec<(u32, Shared)> {
        if self.entries.iter().all(|entry| entry.seen == seen) {
            return Vec::new();
        }
        self.remove_where(|leaf, at| leaf.entries[at].seen != seen && !unseen.has(leaf.name(at)))
    }

    /// Removes files, and returns them in order.
    pub(super) fn remove_where(&mut self, is_gone: impl Fn(&Leaf, usize) -> bool) -> Vec<(u32, Shared)> {
        let mut removed = Vec::new();
        let mut kept = Leaf::default();
        for (at, entry) in self.entries.iter().enumerate() {
            if is_gone(self, at) {
                removed.push((component_hash(self.name(at)), entry.shared()));
            } else {
                kept.text.extend_from_slice(self.name(at));
                kept.entries.push(Entry { end: offset(kept.text.len()), ..*entry });
            }
        }
        kept.shrink();
        kept.rank();
        *self = kept;
        removed
    }

    /// The hashes of all last components, with repeats.
    pub(super) fn component_hashes(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|at| component_hash(self.name(at)))
    }

    /// All known contents, with repeats.
    pub(super) fn contents(&self) -> impl Iterator<Item = ContentHash> + '_ {
        self.entries.iter().filter_map(|entry| entry.hash.known())
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| usize::from(self.entries[before].end))
    }

    fn rank(&mut self) {
        self.first_wanted = self.entries.iter().filter_map(Entry::wanted).min();
    }

    fn shrink(&mut self) {
        self.entries.shrink_to(self.entries.len().next_multiple_of(ENTRIES_STEP));
        self.text.shrink_to(self.text.len().next_multiple_of(TEXT_STEP_BYTES));
    }
}

impl Entry {
    fn shared(&self) -> Shared {
        Shared { meta: self.meta, b3: self.hash.known(), executable: self.executable }
    }

    fn wanted(&self) -> Option<Rank> {
        (self.hash == Hash::Wanted).then(|| rank(&self.meta))
    }
}

pub(super) fn rank(meta: &FileMeta) -> Rank {
    (u64::BITS - meta.size.leading_zeros(), Reverse(meta.mtime_ns))
}

/// The hash of a name's folded last component. Different ones may have equal hashes, so the caller compares the names.
pub(super) fn component_hash(name: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&folded(last_component(name)));
    hasher.finish() as u32
}

pub(super) fn content_key(b3: ContentHash) -> u32 {
    let [a, b, c, d, ..] = b3.0;
    u32::from_be_bytes([a, b, c, d])
}

fn offset(bytes: usize) -> u16 {
    debug_assert!(u16::try_from(bytes).is_ok());
    bytes as u16
}

/// Grows in steps: doubling would leave a third of the index empty, and odd sizes would fragment the heap.
fn reserve_in_steps<T>(vec: &mut Vec<T>, more: usize, step: usize) {
    if vec.capacity() - vec.len() < more {
        let room = (vec.len() + more).next_multiple_of(step);
        vec.reserve_exact(room - vec.len());
    }
}

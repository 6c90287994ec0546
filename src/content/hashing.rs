//! Bytes to chaining values and hashes, in pieces of any size.

use super::{ChainingValue, GROUP_BYTES, group_count};
use crate::id::ContentHash;
use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The result of hashing one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    /// Of a group among others.
    Chaining(ChainingValue),
    /// Of the only group of a file.
    Content(ContentHash),
}

#[derive(Debug, Clone)]
pub(crate) struct GroupHasher {
    hasher: Hasher,
    alone: bool,
}

impl GroupHasher {
    /// For one group of a file of `size` bytes.
    pub(crate) fn new(size: u64, group: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.set_input_offset(group.saturating_mul(GROUP_BYTES));
        Self { hasher, alone: group_count(size) <= 1 }
    }

    /// Takes the next bytes: in all at most [`GROUP_BYTES`].
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The result; at least one byte was taken, or the file is empty.
    pub(crate) fn finish(self) -> Digest {
        if self.alone {
            Digest::Content(ContentHash(*self.hasher.finalize().as_bytes()))
        } else {
            Digest::Chaining(ChainingValue(self.hasher.finalize_non_root()))
        }
    }
}

/// Merges the chaining values of a file of two groups or more into its hash. It keeps one value for each level of the tree,
/// so that a list of any length is verified while it is received.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChainHasher {
    /// Of whole subtrees, the largest first.
    stack: Vec<[u8; 32]>,
    pushed: u64,
}

impl ChainHasher {
    /// Takes the value of the next group.
    pub(crate) fn push(&mut self, value: ChainingValue) {
        // A subtree may be closed only when another group follows it, since the root is merged in a way of its own.
        let mut whole = self.pushed;
        while whole > 0 && whole & 1 == 0 {
            self.merge();
            whole >>= 1;
        }
        self.stack.push(value.0);
        self.pushed += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.pushed
    }

    /// The hash; `None` for fewer than two values.
    pub(crate) fn finish(mut self) -> Option<ContentHash> {
        while self.stack.len() > 2 {
            self.merge();
        }
        let [left, right] = self.stack.as_slice() else { return None };
        Some(ContentHash(*merge_subtrees_root(left, right, Mode::Hash).as_bytes()))
    }

    fn merge(&mut self) {
        if let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) {
            self.stack.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }
}

/// Hashes a whole file whose size need not be known, and keeps the chaining values.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContentHasher {
    group: Hasher,
    in_group: u64,
    size: u64,
    chain: Vec<ChainingValue>,
}

impl ContentHasher {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.in_group == GROUP_BYTES {
                self.close_group();
            }
            let room = usize::try_from(GROUP_BYTES - self.in_group).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.group.update(now);
            self.in_group += now.len() as u64;
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The hash, and the chaining values of the groups if there are at least two.
    pub(crate) fn finish(mut self) -> (ContentHash, Vec<ChainingValue>) {
        if self.chain.is_empty() {
            return (ContentHash(*self.group.finalize().as_bytes()), Vec::new());
        }
        self.chain.push(ChainingValue(self.group.finalize_non_root()));
        let mut chain = ChainHasher::default();
        self.chain.iter().for_each(|value| chain.push(*value));
        let hash = chain.finish().unwrap_or(ContentHash([0; 32]));
        (hash, self.chain)
    }

    /// Ends a group that is followed by another.
    fn close_group(&mut self) {
        self.chain.push(ChainingValue(self.group.finalize_non_root()));
        self.group = Hasher::new();
        self.group.set_input_offset(self.size);
        self.in_group = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::group_span;
    use super::*;

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8 ^ (at >> 13) as u8).collect()
    }

    fn hash(bytes: &[u8]) -> ContentHash {
        ContentHash(*blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn pieces_of_any_size_give_the_hash_of_the_whole() {
        let sizes = [0, 1, 1024, GROUP_BYTES - 1, GROUP_BYTES, GROUP_BYTES + 1, 2 * GROUP_BYTES, 5 * GROUP_BYTES + 7];
        for size in sizes {
            let bytes = content(size);
            for piece in [65_537, GROUP_BYTES as usize, 3 * GROUP_BYTES as usize] {
                let mut hasher = ContentHasher::default();
                bytes.chunks(piece).for_each(|bytes| hasher.update(bytes));
                assert_eq!(hasher.size(), size);
                let (found, chain) = hasher.finish();
                assert_eq!(found, hash(&bytes), "{size} in pieces of {piece}");
                assert_eq!(chain.len() as u64, if group_count(size) > 1 { group_count(size) } else { 0 });
            }
        }
    }

    #[test]
    fn groups_hashed_alone_give_the_same_chain_in_any_number() {
        for count in 1..=17 {
            let bytes = content(count * GROUP_BYTES - 5);
            let size = bytes.len() as u64;
            let mut chain = ChainHasher::default();
            for group in 0..count {
                let span = group_span(size, group);
                let mut hasher = GroupHasher::new(size, group);
                hasher.update(&bytes[span.start as usize..span.end as usize]);
                match hasher.finish() {
                    Digest::Chaining(value) => chain.push(value),
                    Digest::Content(found) => assert_eq!((found, count), (hash(&bytes), 1)),
                }
            }
            let expected = (count > 1).then(|| hash(&bytes));
            assert_eq!(chain.finish(), expected, "{count} groups");
        }
    }
}

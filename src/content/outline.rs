//! A content as its hash and chaining values prove it.

use super::{ChainHasher, ChainingValue, Digest, group_count};
use crate::id::ContentHash;
use thiserror::Error;

/// Why metadata prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OutlineFault {
    /// Not one value for each group of the size.
    #[error("the number of chaining values does not fit the size")]
    Count,
    /// Merged, they give another hash.
    #[error("the chaining values do not give the hash")]
    Hash,
}

/// A content's hash, its size, and the chaining values that let each group be checked alone.
///
/// The values are proved by the hash. The size is proved only as far as the number of groups: the exact size is a claim
/// until the last group was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    b3: ContentHash,
    size: u64,
    chain: Vec<ChainingValue>,
}

impl Outline {
    /// Takes the chaining values of a content: none for one of at most one group, else one for each.
    ///
    /// # Errors
    /// If they do not fit the size or do not give the hash. Takes 0.1 us a value: long lists are better proved as they
    /// come in, by a [`ChainHasher`], and then taken by [`Outline::proved`].
    pub fn new(b3: ContentHash, size: u64, chain: Vec<ChainingValue>) -> Result<Self, OutlineFault> {
        let mut hasher = ChainHasher::default();
        chain.iter().for_each(|value| hasher.push(*value));
        Self::proved(b3, size, chain, hasher)
    }

    /// Takes chaining values that `hasher` took one by one.
    ///
    /// # Errors
    /// As [`Outline::new`].
    pub fn proved(
        b3: ContentHash,
        size: u64,
        chain: Vec<ChainingValue>,
        hasher: ChainHasher,
    ) -> Result<Self, OutlineFault> {
        let expected = if group_count(size) > 1 { group_count(size) } else { 0 };
        if chain.len() as u64 != expected || hasher.len() != expected {
            return Err(OutlineFault::Count);
        }
        if expected > 0 && hasher.finish() != Some(b3) {
            return Err(OutlineFault::Hash);
        }
        Ok(Self { b3, size, chain })
    }

    /// The hash of the whole.
    pub fn b3(&self) -> ContentHash {
        self.b3
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Groups.
    pub fn group_count(&self) -> u64 {
        group_count(self.size)
    }

    /// The chaining values; none for a content of at most one group.
    pub fn chain(&self) -> &[ChainingValue] {
        &self.chain
    }

    /// What a group's bytes must come to; `None` beyond the last group.
    pub fn expected(&self, group: u64) -> Option<Digest> {
        if group >= self.group_count() {
            return None;
        }
        if self.group_count() == 1 {
            return Some(Digest::Content(self.b3));
        }
        let value = self.chain.get(usize::try_from(group).ok()?)?;
        Some(Digest::Chaining(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ContentHasher, GROUP_BYTES};
    use super::*;

    #[test]
    fn an_outline_takes_only_values_that_give_its_hash() {
        let mut hasher = ContentHasher::default();
        hasher.update(&vec![7; 3 * GROUP_BYTES as usize - 1]);
        let (b3, chain) = hasher.finish();
        let size = 3 * GROUP_BYTES - 1;
        let outline = Outline::new(b3, size, chain.clone()).unwrap();
        assert_eq!(outline.expected(2), Some(Digest::Chaining(chain[2])));
        assert_eq!(outline.expected(3), None);
        assert_eq!(Outline::new(b3, 3 * GROUP_BYTES + 1, chain.clone()), Err(OutlineFault::Count));
        assert_eq!(Outline::new(b3, size, Vec::new()), Err(OutlineFault::Count));
        let mut swapped = chain;
        swapped.swap(0, 2);
        assert_eq!(Outline::new(b3, size, swapped), Err(OutlineFault::Hash));
    }

    #[test]
    fn a_small_content_is_checked_by_its_hash_alone() {
        let b3 = ContentHash(*blake3::hash(b"small").as_bytes());
        let outline = Outline::new(b3, 5, Vec::new()).unwrap();
        assert_eq!(outline.expected(0), Some(Digest::Content(b3)));
        assert_eq!(Outline::new(b3, 0, Vec::new()).unwrap().expected(0), None);
    }
}

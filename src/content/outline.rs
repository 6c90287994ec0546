//! A content as its hash and chaining values prove it.

use super::{ChainHasher, ChainingValue, Digest, group_count, group_span};
use crate::id::ContentHash;
use thiserror::Error;

/// Why chaining values are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum OutlineFault {
    /// The size needs another number of values.
    #[error("the number of chaining values does not fit the size")]
    Count,
    /// Merged, they give another hash.
    #[error("the chaining values do not give the hash")]
    Hash,
}

/// A content's hash, its size, and the chaining values that let each group be checked alone.
///
/// The values are nodes of the hash tree, so a group that matches one holds the right bytes whatever else is claimed.
/// Whether each value is that of a whole group, and therefore the size, stays unproved until the last group was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    b3: ContentHash,
    size: u64,
    chain: Vec<ChainingValue>,
}

impl Outline {
    /// Takes the chaining values of a content: none for one of at most one group, else one for each.
    ///
    /// # Errors
    /// If they do not fit the size or do not give the hash. Takes 0.1 us a value: verify long lists while they
    /// are received, by a [`ChainHasher`], and pass that to [`Outline::proved`].
    pub(crate) fn new(b3: ContentHash, size: u64, chain: Vec<ChainingValue>) -> Result<Self, OutlineFault> {
        let mut hasher = ChainHasher::default();
        chain.iter().for_each(|value| hasher.push(*value));
        Self::proved(b3, size, chain, hasher)
    }

    /// Takes chaining values that `hasher` took one by one.
    ///
    /// # Errors
    /// As [`Outline::new`].
    pub(crate) fn proved(
        b3: ContentHash,
        size: u64,
        chain: Vec<ChainingValue>,
        hasher: ChainHasher,
    ) -> Result<Self, OutlineFault> {
        let expected = if group_count(size) > 1 { group_count(size) } else { 0 };
        if chain.len() as u64 != expected || hasher.count() != expected {
            return Err(OutlineFault::Count);
        }
        let proved = match size {
            0 => b3.0 == *blake3::hash(b"").as_bytes(),
            _ => expected == 0 || hasher.finish() == Some(b3),
        };
        if !proved {
            return Err(OutlineFault::Hash);
        }
        Ok(Self { b3, size, chain })
    }

    pub(crate) fn b3(&self) -> ContentHash {
        self.b3
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn group_count(&self) -> u64 {
        group_count(self.size)
    }

    /// The chaining values; none for a content of at most one group.
    pub(crate) fn chain(&self) -> &[ChainingValue] {
        &self.chain
    }

    /// Whether another outline of the same hash says the same of a group: its place, its length, and what its bytes must
    /// come to.
    pub(crate) fn agrees_on(&self, other: &Self, group: u64) -> bool {
        let of = |outline: &Self| (group_span(outline.size, group), outline.expected(group));
        self.b3 == other.b3 && self.expected(group).is_some() && of(self) == of(other)
    }

    /// What a group's bytes must come to; `None` beyond the last group.
    pub(crate) fn expected(&self, group: u64) -> Option<Digest> {
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
    use blake3::hazmat::{Mode, merge_subtrees_non_root};

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

    /// Inner nodes of the tree give the hash as well: the list alone proves no size.
    #[test]
    fn outlines_of_other_sizes_agree_on_the_groups_that_they_share() {
        let mut hasher = ContentHasher::default();
        hasher.update(&vec![7; 4 * GROUP_BYTES as usize]);
        let (b3, chain) = hasher.finish();
        let truth = Outline::new(b3, 4 * GROUP_BYTES, chain.clone()).unwrap();
        let right = merge_subtrees_non_root(&chain[2].0, &chain[3].0, Mode::Hash);
        let values = vec![chain[0], chain[1], ChainingValue(right)];
        let lie = Outline::new(b3, 2 * GROUP_BYTES + 5, values).unwrap();
        let agreed = |one: &Outline, other: &Outline| (0..5).filter(|at| one.agrees_on(other, *at)).collect::<Vec<_>>();
        assert_eq!((agreed(&truth, &lie), agreed(&lie, &truth)), (vec![0, 1], vec![0, 1]));
        assert_eq!(agreed(&truth, &Outline::new(b3, 4 * GROUP_BYTES - 1, chain).unwrap()), [0, 1, 2]);
        assert_eq!(agreed(&truth, &Outline::new(b3, 5, Vec::new()).unwrap()), [0u64; 0]);
    }

    #[test]
    fn a_small_content_is_checked_by_its_hash_alone() {
        let b3 = ContentHash(*blake3::hash(b"small").as_bytes());
        let outline = Outline::new(b3, 5, Vec::new()).unwrap();
        assert_eq!(outline.expected(0), Some(Digest::Content(b3)));
        assert_eq!(Outline::new(b3, 0, Vec::new()), Err(OutlineFault::Hash), "it is not empty");
        let nothing = ContentHash(*blake3::hash(b"").as_bytes());
        assert_eq!(Outline::new(nothing, 0, Vec::new()).unwrap().expected(0), None);
    }
}

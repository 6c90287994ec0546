//! A set of groups of one content.

/// A set of groups, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    words: Vec<u64>,
    count: u64,
    held: u64,
}

impl Groups {
    pub fn none(count: u64) -> Self {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], count, held: 0 }
    }

    /// The same groups of a content of `count` groups; groups beyond it are dropped.
    pub(crate) fn resized(&self, count: u64) -> Self {
        let mut resized = Self::none(count);
        for group in self.iter() {
            resized.insert(group);
        }
        resized
    }

    /// The groups of the content that are not in the set.
    pub(crate) fn complement(&self) -> Self {
        let mut others = Self::none(self.count);
        let mut next = self.first_missing(0);
        while let Some(group) = next {
            others.insert(group);
            next = self.first_missing(group + 1);
        }
        others
    }

    /// The groups in the set, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.count).filter(|group| self.contains(*group))
    }

    /// Groups that the content has.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Groups in the set.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Whether every group is in the set.
    pub(crate) fn is_full(&self) -> bool {
        self.held == self.count
    }

    /// Whether a group is in the set.
    pub(crate) fn contains(&self, group: u64) -> bool {
        group < self.count && self.words[(group / 64) as usize] & bit(group) != 0
    }

    /// Adds a group. True if it was new; a group beyond the content is not added.
    pub fn insert(&mut self, group: u64) -> bool {
        let new = group < self.count && !self.contains(group);
        if new {
            self.words[(group / 64) as usize] |= bit(group);
            self.held += 1;
        }
        new
    }

    /// Removes a group. True if it was in the set.
    pub(crate) fn remove(&mut self, group: u64) -> bool {
        let was = self.contains(group);
        if was {
            self.words[(group / 64) as usize] &= !bit(group);
            self.held -= 1;
        }
        was
    }

    /// The first group from `from` on that is not in the set. Looks at 64 groups at once.
    pub(crate) fn first_missing(&self, from: u64) -> Option<u64> {
        let mut group = from;
        while group < self.count {
            let absent = !self.words[(group / 64) as usize] & (u64::MAX << (group % 64));
            if absent != 0 {
                let found = group / 64 * 64 + u64::from(absent.trailing_zeros());
                return (found < self.count).then_some(found);
            }
            group = (group / 64 + 1) * 64;
        }
        None
    }
}

const fn bit(group: u64) -> u64 {
    1 << (group % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_and_finds_what_is_missing() {
        for count in [0, 1, 63, 64, 65, 200] {
            let mut groups = Groups::none(count);
            assert_eq!(groups.first_missing(0), (count > 0).then_some(0));
            assert!(!groups.insert(count), "beyond the content");
            for group in 0..count {
                assert!(groups.insert(group) && !groups.insert(group));
                assert_eq!(groups.held(), group + 1);
                assert_eq!(groups.first_missing(0), (group + 1 < count).then_some(group + 1));
            }
            assert!(groups.is_full());
            assert_eq!(groups.held(), count);
            if count > 2 {
                assert!(groups.remove(count - 2) && !groups.remove(count - 2));
                assert_eq!(groups.first_missing(0), Some(count - 2));
                assert_eq!(groups.first_missing(count - 1), None);
                assert!(groups.iter().eq((0..count).filter(|group| *group != count - 2)));
                assert!(groups.complement().iter().eq([count - 2]));
                let (fewer, more) = (groups.resized(count - 1), groups.resized(count + 100));
                assert!(fewer.iter().eq(0..count - 2) && fewer.count() == count - 1);
                assert!(more.iter().eq(groups.iter()) && more.held() == groups.held());
            }
        }
    }
}

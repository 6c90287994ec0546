//! What bytes are in this world: a content is a number and a size, and its hash says both, so that whoever reads a hash
//! knows what it stands for. No byte is ever made.

use crate::random::Random;
use pyrate::content::{GROUP_BYTES, group_count, group_span};
use pyrate::id::ContentHash;

/// Odd, so that multiplying by it loses nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Marks the hashes of this world.
const MARK: [u8; 8] = *b"contents";

/// The content of a file, as far as this world looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    /// The same for the same bytes. Of two sizes of one number, the smaller is the beginning of the larger.
    pub(crate) id: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl Content {
    /// The hash that `b3sum` would print. All empty files have the same.
    pub(crate) fn b3(self) -> ContentHash {
        let id = if self.size == 0 { 0 } else { self.id };
        let mut bytes = [0; 32];
        let words = [(id ^ self.size.rotate_left(32)).wrapping_mul(SPREAD), id, self.size, u64::from_le_bytes(MARK)];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ContentHash(bytes)
    }

    /// The content that a hash stands for; `None` of one that was made up.
    pub(crate) fn of(b3: ContentHash) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(b3.0.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let content = Self { id: word(1)?, size: word(2)? };
        (content.b3() == b3).then_some(content)
    }

    /// Other bytes in the same number.
    pub(crate) fn spoilt(self) -> Self {
        Self { id: !self.id, size: self.size }
    }

    pub(crate) fn same_as(self, other: Self) -> bool {
        self.b3() == other.b3()
    }
}

/// What a part file knows of the content that it is to hold: what the metadata prove, and what they claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) b3: ContentHash,
    /// Bytes as claimed; the number of groups is proved.
    pub(crate) size: u64,
}

impl Outline {
    /// Whether chaining values of this content, with a size that somebody claims, prove the hash. Of a file that is said to
    /// have one group there are none, and nothing is proved before the group has come.
    pub(crate) fn proves(b3: ContentHash, content: Content, size: u64) -> bool {
        let groups = group_count(size);
        groups == 1 || (content.b3() == b3 && groups == group_count(content.size))
    }

    pub(crate) fn groups(self) -> u64 {
        group_count(self.size)
    }

    /// Whether these bytes, beginning at `from` in `content`, are what the group's chaining value says; or what the hash
    /// says, of the only group that there is said to be.
    pub(crate) fn is_right(self, group: u64, content: Content, from: u64) -> bool {
        let span = group_span(self.size, group);
        Content::of(self.b3).is_some_and(|truth| {
            group_count(truth.size) == self.groups()
                && group_span(truth.size, group) == span
                && (truth.id, span.start) == (content.id, from)
                && span.end <= content.size
        })
    }
}

/// Which of its groups a sender spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoils {
    Nothing,
    /// Every so many-th group.
    OneIn(u64),
    /// All from this byte of the file on.
    From(u64),
}

impl Spoils {
    pub(crate) fn group(self, group: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::OneIn(n) => group % n == n - 1,
            Self::From(byte) => (group + 1) * GROUP_BYTES > byte,
        }
    }

    /// Whether some of the first bytes are spoilt.
    pub(crate) fn beginning(self, bytes: u64) -> bool {
        bytes > 0 && (0..group_count(bytes)).any(|group| self.group(group))
    }
}

/// A content that no other file has.
pub(crate) fn fresh_content(random: &mut Random) -> Content {
    Content { id: random.number(), size: random.below(50_000_000) }
}

//! What a file's bytes are, beyond its name: groups of 1 MiB, the chaining value of each, and the BLAKE3 hash that they
//! give when merged (PROTOCOL, part 2, Ranges and metadata; the BLAKE3 paper, 2.1 and 2.5).
//!
//! Every module may use it: pure functions of bytes, without file or socket.
//!
//! | file | holds |
//! |---|---|
//! | `hashing` | bytes to chaining values and hashes, in pieces of any size |
//! | `outline` | a content as its hash and chaining values prove it |
//! | `groups` | a set of groups |
//! | `manifest` | what is beneath a directory, as a content of its own |

mod groups;
mod hashing;
mod manifest;
mod outline;

pub use groups::Groups;
pub(crate) use hashing::{ChainHasher, ContentHasher, Digest, GroupHasher};
pub use manifest::{
    EntryKind, LineFault, MANIFEST_BYTES_MAX, MANIFEST_DEPTH_MAX, MANIFEST_ENTRIES_MAX, Manifest, ManifestEntry,
    ManifestFault, ManifestReader, ManifestText, ManifestWriter, WrittenManifest,
};
pub(crate) use outline::Outline;

use std::ops::Range;

/// log2 of [`GROUP_BYTES`], as metadata name it.
pub(crate) const GROUP_LOG2: u8 = 20;

/// Bytes of a group; the last group of a file may be shorter.
pub const GROUP_BYTES: u64 = 1 << GROUP_LOG2;

/// The hash of a subtree that is not the whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChainingValue(pub [u8; 32]);

/// Groups of a file of `size` bytes; 0 for an empty one.
pub const fn group_count(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES)
}

/// The bytes of a group within a file of `size` bytes; empty for a group beyond it.
pub fn group_span(size: u64, group: u64) -> Range<u64> {
    let start = group.saturating_mul(GROUP_BYTES).min(size);
    start..start.saturating_add(GROUP_BYTES).min(size)
}

/// The bytes of a run of groups within a file of `size` bytes.
pub fn groups_span(size: u64, groups: &Range<u64>) -> Range<u64> {
    let start = group_span(size, groups.start).start;
    start..group_span(size, groups.end).start.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_a_file_without_gap() {
        for (size, count) in [(0, 0), (1, 1), (GROUP_BYTES, 1), (GROUP_BYTES + 1, 2), (5 * GROUP_BYTES - 1, 5)] {
            assert_eq!(group_count(size), count);
            let mut at = 0;
            for group in 0..count {
                let span = group_span(size, group);
                assert_eq!(span.start, at);
                assert!(span.end > span.start);
                at = span.end;
            }
            assert_eq!(at, size);
            assert_eq!(groups_span(size, &(0..count)), 0..size);
            assert!(group_span(size, count).is_empty() && group_span(size, u64::MAX).is_empty());
        }
        assert_eq!(groups_span(5 * GROUP_BYTES - 1, &(1..5)), GROUP_BYTES..5 * GROUP_BYTES - 1);
        assert!(groups_span(9, &Range { start: 3, end: 2 }).is_empty());
    }
}

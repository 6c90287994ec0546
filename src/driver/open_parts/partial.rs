//! Partial groups: the bytes of a group whose fetch ended early are kept in memory, and the next fetch that begins with the
//! group requests only the rest.
//!
//! They are not verified; only a whole group can be. If a group from several exchanges does not match its hash, it is
//! unknown which of them sent the wrong bytes. So no source is banned: the bytes are discarded and the whole group is
//! requested again. A source that sent a wrong group alone is banned.
//!
//! A source that lies must neither stop a download nor bring others under suspicion. After a mismatch, none of its senders is
//! combined with others again in this download: only the same peer continues its partial groups. If even these do not
//! match, nothing of this peer is kept any more. So each source can spoil at most one group for each other source.

use crate::content::Outline;
use crate::id::{ContentHash, TransferId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Bytes kept of all downloads together.
const PARTIAL_BYTES_MAX: usize = 16 << 20;

/// The cost of a partial group beside its bytes, which bounds their number.
const PARTIAL_COST_BYTES: usize = 4 << 10;

/// Senders of mismatches that are recorded.
const SUSPECTS_MAX: usize = 1_024;

/// Hash and size of a content.
type ContentKey = (ContentHash, u64);

/// The first bytes of a group, at least one and not all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartialGroup {
    pub(crate) download: TransferId,
    content: ContentKey,
    pub(crate) group: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) senders: BTreeSet<SocketAddr>,
    /// Who sent the last of them.
    sender: SocketAddr,
}

impl PartialGroup {
    pub(crate) fn new(
        download: TransferId,
        outline: &Outline,
        group: u64,
        bytes: Vec<u8>,
        earlier: BTreeSet<SocketAddr>,
        sender: SocketAddr,
    ) -> Self {
        let mut senders = earlier;
        senders.insert(sender);
        Self { download, content: key(outline), group, bytes, senders, sender }
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn cost(&self) -> usize {
        self.bytes.len() + PARTIAL_COST_BYTES
    }

    /// Whether it belongs to this content of a download.
    pub(crate) fn is_of(&self, download: TransferId, outline: &Outline) -> bool {
        self.download == download && self.content == key(outline)
    }
}

fn key(outline: &Outline) -> ContentKey {
    (outline.b3(), outline.size())
}

#[derive(Debug, Default)]
pub(crate) enum Remains {
    #[default]
    Nothing,
    Partial(PartialGroup),
    /// A group that these peers sent together does not match its hash.
    Mismatch {
        download: TransferId,
        senders: BTreeSet<SocketAddr>,
    },
}

/// How far a sender of a mismatch is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Only the same peer continues its partial groups.
    Alone,
    /// Its partial groups are not kept.
    Never,
}

#[derive(Debug, Default)]
pub(crate) struct PartialGroups {
    /// In the order in which they were kept.
    kept: VecDeque<PartialGroup>,
    suspects: BTreeMap<(TransferId, SocketAddr), Trust>,
}

impl PartialGroups {
    /// Keeps a partial group, unless a longer one is kept already. If there is no room, the peer that uses most of it loses its
    /// oldest partial group.
    pub(crate) fn keep(&mut self, mut partial: PartialGroup) {
        if !self.may_keep(&partial) {
            return;
        }
        let rival = |kept: &PartialGroup| {
            let same = (kept.download, kept.content, kept.group) == (partial.download, partial.content, partial.group);
            same && (kept.senders == partial.senders || (self.is_shared(kept) && self.is_shared(&partial)))
        };
        if let Some(at) = self.kept.iter().position(rival) {
            if self.kept.get(at).is_some_and(|kept| kept.len() >= partial.len()) {
                return;
            }
            self.kept.remove(at);
        }
        partial.bytes.shrink_to_fit();
        self.kept.push_back(partial);
        while self.kept.iter().map(PartialGroup::cost).sum::<usize>() > PARTIAL_BYTES_MAX {
            self.give_way();
        }
    }

    fn give_way(&mut self) {
        let mut costs: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for partial in &self.kept {
            *costs.entry(partial.sender).or_default() += partial.cost();
        }
        let most = costs.into_iter().max_by_key(|(_, cost)| *cost).map(|(sender, _)| sender);
        let oldest = self.kept.iter().position(|partial| Some(partial.sender) == most);
        oldest.and_then(|at| self.kept.remove(at));
    }

    /// Removes and returns the longest beginning of a group that this peer may continue. Discards partial groups of other
    /// contents of the download.
    pub(crate) fn take(
        &mut self,
        download: TransferId,
        outline: &Outline,
        group: u64,
        by: SocketAddr,
    ) -> Option<PartialGroup> {
        self.kept.retain(|kept| kept.download != download || kept.is_of(download, outline));
        let fits = |kept: &PartialGroup| {
            let by_itself = kept.senders.iter().all(|sender| *sender == by);
            let is_shared = self.is_shared(kept) && self.trust(download, by).is_none();
            kept.download == download && kept.group == group && (by_itself || is_shared)
        };
        let fitting = self.kept.iter().enumerate().filter(|(_, kept)| fits(kept));
        let (at, _) = fitting.max_by_key(|(_, kept)| kept.len())?;
        self.kept.remove(at)
    }

    /// A group was verified.
    pub(crate) fn discard(&mut self, download: TransferId, group: u64) {
        self.kept.retain(|kept| kept.download != download || kept.group != group);
    }

    /// A download has ended or starts again.
    pub(crate) fn forget(&mut self, download: TransferId) {
        self.kept.retain(|kept| kept.download != download);
        self.suspects.retain(|(of, _), _| *of != download);
    }

    /// A group that these peers sent together does not match its hash.
    pub(crate) fn suspect(&mut self, download: TransferId, senders: &BTreeSet<SocketAddr>) {
        let trust = if senders.len() > 1 { Trust::Alone } else { Trust::Never };
        for sender in senders {
            self.suspects.insert((download, *sender), trust);
        }
        while self.suspects.len() > SUSPECTS_MAX {
            self.suspects.pop_first();
        }
        let kept = std::mem::take(&mut self.kept);
        self.kept = kept.into_iter().filter(|kept| self.may_keep(kept)).collect();
    }

    fn trust(&self, download: TransferId, peer: SocketAddr) -> Option<Trust> {
        self.suspects.get(&(download, peer)).copied()
    }

    /// Whether any peer that is not suspected may continue it.
    fn is_shared(&self, partial: &PartialGroup) -> bool {
        partial.senders.iter().all(|sender| self.trust(partial.download, *sender).is_none())
    }

    /// Whether any peer may continue it.
    fn may_keep(&self, partial: &PartialGroup) -> bool {
        let alone = partial.senders.len() == 1 && self.trust(partial.download, partial.sender) != Some(Trust::Never);
        alone || self.is_shared(partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::GROUP_BYTES;

    const DOWNLOAD: TransferId = TransferId(1);

    fn outline(size: u64) -> Outline {
        Outline::new(ContentHash([7; 32]), size, Vec::new()).unwrap()
    }

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, n], 1))
    }

    fn partial(group: u64, len: usize, earlier: &[u8], sender: u8) -> PartialGroup {
        let earlier = earlier.iter().map(|n| peer(*n)).collect();
        PartialGroup::new(DOWNLOAD, &outline(GROUP_BYTES), group, vec![1; len], earlier, peer(sender))
    }

    fn take(partials: &mut PartialGroups, group: u64, by: u8) -> Option<u64> {
        partials.take(DOWNLOAD, &outline(GROUP_BYTES), group, peer(by)).map(|partial| partial.len())
    }

    #[test]
    fn the_longest_beginning_is_kept_and_continued_by_any_peer() {
        let mut partials = PartialGroups::default();
        for (len, sender) in [(100, 1), (300, 2), (200, 3)] {
            partials.keep(partial(0, len, &[], sender));
        }
        partials.keep(partial(1, 7, &[], 1));
        assert_eq!(partials.kept.len(), 2, "one for each group");
        assert_eq!(take(&mut partials, 0, 4), Some(300));
        assert_eq!(take(&mut partials, 0, 4), None, "two fetches of a group do not both continue it");
        partials.discard(DOWNLOAD, 1);
        assert_eq!(take(&mut partials, 1, 4), None);
    }

    #[test]
    fn partial_groups_are_dropped_with_their_content_or_download() {
        let mut partials = PartialGroups::default();
        partials.keep(partial(0, 100, &[], 1));
        let other = partials.take(DOWNLOAD, &outline(5_000), 0, peer(1));
        assert_eq!((other, partials.kept.len()), (None, 0), "the size is another");
        partials.keep(partial(0, 100, &[], 1));
        partials.suspect(DOWNLOAD, &[peer(2), peer(3)].into());
        partials.forget(DOWNLOAD);
        assert!(partials.kept.is_empty() && partials.suspects.is_empty());
    }

    #[test]
    fn after_a_mismatch_each_peer_continues_its_own_alone() {
        let mut partials = PartialGroups::default();
        partials.keep(partial(5, 50, &[1], 2));
        partials.suspect(DOWNLOAD, &[peer(1), peer(2)].into());
        assert!(partials.kept.is_empty(), "a shared beginning of suspects is dropped");
        partials.keep(partial(0, 900, &[], 1));
        partials.keep(partial(0, 100, &[], 2));
        assert_eq!(take(&mut partials, 0, 3), None);
        assert_eq!(take(&mut partials, 0, 2), Some(100), "however much another has left");
        assert_eq!(take(&mut partials, 0, 1), Some(900));
        partials.keep(partial(0, 100, &[], 3));
        assert_eq!(take(&mut partials, 0, 1), None, "nor does it continue what others left");
        // Its own parts did not match each other.
        partials.keep(partial(0, 900, &[], 1));
        partials.suspect(DOWNLOAD, &[peer(1)].into());
        assert_eq!(take(&mut partials, 0, 1), None);
        partials.keep(partial(0, 900, &[], 1));
        assert_eq!(take(&mut partials, 0, 1), None);
    }

    #[test]
    fn the_memory_is_bounded_and_a_peer_that_leaves_much_displaces_only_itself() {
        let mut partials = PartialGroups::default();
        partials.keep(partial(0, 100_000, &[], 1));
        for group in 1..100 {
            partials.keep(partial(group, GROUP_BYTES as usize - 1, &[], 2));
            assert!(partials.kept.iter().map(|partial| partial.bytes.len()).sum::<usize>() <= PARTIAL_BYTES_MAX);
        }
        assert_eq!(take(&mut partials, 0, 3), Some(100_000));
        assert_eq!(take(&mut partials, 1, 3), None, "the oldest of the other one gave way");
        assert!(take(&mut partials, 99, 3).is_some());
        for group in 0..10_000 {
            partials.keep(partial(group, 1, &[], 2));
        }
        assert!(partials.kept.len() <= PARTIAL_BYTES_MAX / PARTIAL_COST_BYTES);
    }
}

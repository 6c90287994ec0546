//! What is on its way to the disks, by the filesystems of the part files: while one of them hangs, downloads to the others go on.

use crate::id::{FilesystemId, TransferId};
use std::collections::BTreeMap;

/// Above this on its way to one filesystem, no exchange begins with another group for it. More may be on its way: each has the rest of
/// its group, and one more.
const ONE_BYTES_MAX: usize = 32 << 20;

/// Above this in all, the same for each filesystem that has more than [`ONE_BYTES_MIN`]. More than one alone can have on its way.
const ALL_BYTES_MAX: usize = 48 << 20;

/// So much each filesystem may always have on its way, however many hang.
const ONE_BYTES_MIN: usize = 4 << 20;

#[derive(Default)]
pub(super) struct OnWay {
    /// By download, with what its part file is on; `None` for one that is not open.
    downloads: BTreeMap<TransferId, (Option<FilesystemId>, usize)>,
    filesystems: BTreeMap<Option<FilesystemId>, usize>,
    all: usize,
}

impl OnWay {
    pub(super) fn add(&mut self, download: TransferId, filesystem: Option<FilesystemId>, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (filesystem, of_download) = self.downloads.entry(download).or_insert((filesystem, 0));
        *of_download += bytes;
        *self.filesystems.entry(*filesystem).or_default() += bytes;
        self.all += bytes;
    }

    /// Something was written, or has failed.
    pub(super) fn remove(&mut self, download: TransferId, bytes: usize) {
        let Some((filesystem, of_download)) = self.downloads.get_mut(&download) else { return };
        let filesystem = *filesystem;
        *of_download = of_download.saturating_sub(bytes);
        if *of_download == 0 {
            self.downloads.remove(&download);
        }
        if let Some(of_filesystem) = self.filesystems.get_mut(&filesystem) {
            *of_filesystem = of_filesystem.saturating_sub(bytes);
            if *of_filesystem == 0 {
                self.filesystems.remove(&filesystem);
            }
        }
        self.all = self.all.saturating_sub(bytes);
    }

    /// Whether so much is on its way to a filesystem that exchanges must wait.
    pub(super) fn is_behind(&self, filesystem: Option<FilesystemId>) -> bool {
        let bytes = self.filesystems.get(&filesystem).copied().unwrap_or(0);
        bytes > ONE_BYTES_MAX || self.all > ALL_BYTES_MAX && bytes > ONE_BYTES_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(number: u64) -> Option<FilesystemId> {
        Some(FilesystemId { kind: 1, number })
    }

    #[test]
    fn filesystems_that_are_behind_delay_no_other_and_all_together_are_bounded() {
        let (mut on_way, mut last) = (OnWay::default(), 0);
        let mut fill = |on_way: &mut OnWay, filesystem| {
            let mut added = Vec::new();
            while !on_way.is_behind(filesystem) {
                last += 1;
                on_way.add(TransferId(last), filesystem, 1 << 20);
                added.push(TransferId(last));
            }
            added
        };
        let first = fill(&mut on_way, on(1));
        assert_eq!(first.len(), 33);
        assert_eq!(fill(&mut on_way, on(2)).len(), 16, "both together are at their limit");
        assert_eq!(fill(&mut on_way, on(3)).len(), 5);
        assert_eq!(fill(&mut on_way, on(4)).len(), 5);
        on_way.remove(first[0], 1 << 20);
        assert!(on_way.is_behind(on(1)) && on_way.is_behind(on(4)));
        first.iter().for_each(|download| on_way.remove(*download, 1 << 20));
        assert!((1..=4).all(|number| !on_way.is_behind(on(number))));
    }

    #[test]
    fn what_is_written_is_taken_off_where_it_was_added() {
        let mut on_way = OnWay::default();
        on_way.add(TransferId(1), on(1), 20 << 20);
        on_way.add(TransferId(1), None, 20 << 20);
        assert!(on_way.is_behind(on(1)) && !on_way.is_behind(None));
        on_way.remove(TransferId(1), 40 << 20);
        on_way.remove(TransferId(1), 1);
        assert!(on_way.downloads.is_empty() && on_way.filesystems.is_empty() && on_way.all == 0);
    }
}

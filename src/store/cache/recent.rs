//! Entries that are not written yet, oldest first.

use super::record::{Batch, Key, PendingFix, Record, key};
use std::collections::BTreeMap;

/// Beyond, the oldest entries are dropped.
const RECENT_ENTRIES_MAX: usize = 65_536;

/// The same; but a single entry may be larger.
const RECENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Entries of a batch, and as many fixes.
const BATCH_ENTRIES_MAX: usize = 4096;

/// A batch of this size takes no further entry.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Entries by key and by age.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: BTreeMap<Key, (i64, Record)>,
    order: BTreeMap<i64, Key>,
    bytes: usize,
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&self, wanted: &Key) -> Option<&Record> {
        self.records.get(wanted).map(|(_, record)| record)
    }

    /// Adds the newest, replacing the entry of its inode.
    pub(super) fn put(&mut self, record: Record) {
        self.remove(&key(&record.meta));
        let place = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
        self.insert(place, record);
        self.keep_bounds();
    }

    /// The oldest entries, and as many fixes as fit beside them.
    pub(super) fn take_batch(&mut self, fixes: &mut BTreeMap<Key, PendingFix>) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.records.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(record) = self.pop_oldest() else { break };
            bytes += record.bytes();
            batch.records.push(record);
        }
        batch.records.sort_unstable_by_key(|record| key(&record.meta));
        while batch.fixes.len() < BATCH_ENTRIES_MAX {
            let Some(entry) = fixes.pop_first() else { break };
            batch.fixes.push(entry);
        }
        batch
    }

    /// Takes back a batch that could not be written, as the oldest entries; newer entries of the same inodes stay.
    pub(super) fn take_back(&mut self, batch: &Batch) {
        for record in &batch.records {
            if !self.records.contains_key(&key(&record.meta)) {
                let place = self.order.first_key_value().map_or(0, |(first, _)| first - 1);
                self.insert(place, record.clone());
            }
        }
        self.keep_bounds();
    }

    fn insert(&mut self, place: i64, record: Record) {
        self.bytes += record.bytes();
        self.order.insert(place, key(&record.meta));
        self.records.insert(key(&record.meta), (place, record));
    }

    fn remove(&mut self, wanted: &Key) -> Option<Record> {
        let (place, record) = self.records.remove(wanted)?;
        self.order.remove(&place);
        self.bytes -= record.bytes();
        Some(record)
    }

    fn pop_oldest(&mut self) -> Option<Record> {
        let oldest = *self.order.first_key_value()?.1;
        self.remove(&oldest)
    }

    fn keep_bounds(&mut self) {
        while self.len() > RECENT_ENTRIES_MAX || (self.bytes > RECENT_BYTES_MAX && self.len() > 1) {
            self.pop_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ChainingValue;
    use crate::id::ContentHash;
    use crate::library::FileMeta;

    fn record(inode: u64, groups: usize) -> Record {
        let meta = FileMeta { inode, ..FileMeta::default() };
        Record { meta, b3: ContentHash([0; 32]), chain: vec![ChainingValue([0; 32]); groups] }
    }

    #[test]
    fn the_oldest_entries_are_dropped() {
        let mut recent = Recent::default();
        for inode in 0..RECENT_ENTRIES_MAX as u64 + 10 {
            recent.put(record(inode, 0));
        }
        assert_eq!(recent.len(), RECENT_ENTRIES_MAX);
        assert!(recent.get(&(0, 9)).is_none() && recent.get(&(0, 10)).is_some());
        // Added again it is among the newest, and counts once.
        recent.put(record(10, 0));
        recent.put(record(1 << 40, 0));
        assert_eq!(recent.len(), RECENT_ENTRIES_MAX);
        assert!(recent.get(&(0, 10)).is_some() && recent.get(&(0, 11)).is_none());
    }

    #[test]
    fn memory_is_bounded_but_for_a_single_file_that_is_larger() {
        let mut recent = Recent::default();
        let groups = RECENT_BYTES_MAX / 32 / 4;
        for inode in 0..20 {
            recent.put(record(inode, groups));
            assert!(recent.bytes <= RECENT_BYTES_MAX);
        }
        assert_eq!(recent.len(), 3);
        recent.put(record(100, groups * 5));
        assert_eq!(recent.len(), 1);
        recent.put(record(101, 0));
        assert!(recent.len() == 1 && recent.get(&(0, 101)).is_some());
        recent.pop_oldest();
        assert_eq!(recent.bytes, 0);
    }

    #[test]
    fn a_batch_is_bounded_and_can_be_taken_back() {
        let mut recent = Recent::default();
        for inode in (0..10_000).rev() {
            recent.put(record(inode, 0));
        }
        let mut fixes: BTreeMap<Key, PendingFix> = (0..5000).map(|inode| ((1, inode), PendingFix::Seen)).collect();
        let batch = recent.take_batch(&mut fixes);
        assert_eq!((batch.records.len(), batch.fixes.len(), fixes.len()), (4096, 4096, 904));
        assert_eq!(batch.get(&(0, 9_999)).unwrap().meta.inode, 9_999, "the oldest");
        assert!(batch.get(&(0, 0)).is_none());
        // Entries added meanwhile are newer than those taken back.
        let newer = FileMeta { inode: 9_999, size: 5, ..FileMeta::default() };
        recent.put(Record { meta: newer, ..record(9_999, 0) });
        recent.take_back(&batch);
        assert_eq!(recent.len(), 10_000);
        assert_eq!(recent.get(&(0, 9_999)).unwrap().meta.size, 5);
        let again = recent.take_batch(&mut fixes);
        assert!(again.get(&(0, 9_998)).is_some() && again.get(&(0, 9_999)).is_none() && again.get(&(0, 0)).is_none());

        let mut large = Recent::default();
        (0..100).for_each(|inode| large.put(record(inode, BATCH_BYTES_MAX / 32 / 10)));
        assert_eq!(large.take_batch(&mut fixes).records.len(), 10);
    }
}

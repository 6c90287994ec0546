//! An entry, its checksum, and a batch of entries.

use crate::content::ChainingValue;
use crate::id::ContentHash;
use crate::library::FileMeta;

/// Filesystem and inode: one entry for each.
pub(super) type Key = (u64, u64);

/// `device` is the number of the filesystem here.
pub(super) fn key(file: &FileMeta) -> Key {
    (file.device, file.inode)
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// The file to which the hash belongs.
    pub(super) meta: FileMeta,
    pub(super) b3: ContentHash,
    /// If it has two or more groups.
    pub(super) chain: Vec<ChainingValue>,
}

impl Record {
    pub(super) fn is_of(&self, file: &FileMeta) -> bool {
        self.meta == *file
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.chain.len() * size_of::<ChainingValue>()
    }
}

/// A change of an entry besides new content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingFix {
    /// It was looked up in this run.
    Seen,
    /// Its checksum does not match.
    Remove,
}

/// What one [`FlushJob`](super::FlushJob) writes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// By key; none has a record.
    pub(super) fixes: Vec<(Key, PendingFix)>,
}

impl Batch {
    pub(super) fn get(&self, wanted: &Key) -> Option<&Record> {
        let at = self.records.binary_search_by_key(wanted, |record| key(&record.meta)).ok()?;
        self.records.get(at)
    }
}

/// The first 8 bytes of a hash of an entry.
pub(super) fn checksum(file: &FileMeta, b3: &ContentHash, chain: &[u8]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    let times = [file.mtime_ns.cast_unsigned(), file.ctime_ns.cast_unsigned()];
    for field in [file.device, file.inode, file.size].into_iter().chain(times) {
        hasher.update(&field.to_le_bytes());
    }
    hasher.update(&b3.0);
    hasher.update(chain);
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    i64::from_le_bytes(first)
}

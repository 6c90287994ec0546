//! An entry, its checksum, and entries on their way to the disk.

use crate::content::ChainingValue;
use crate::id::ContentHash;
use crate::library::FileMeta;

/// Filesystem and inode: one entry for each, since a file that changed has no use for what it was.
pub(super) type Key = (u64, u64);

/// By what a file is found. In here `device` is the number of the filesystem.
pub(super) fn key(file: &FileMeta) -> Key {
    (file.device, file.inode)
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// While it has this identity.
    pub(super) meta: FileMeta,
    pub(super) b3: ContentHash,
    /// Of its groups, if it has two or more.
    pub(super) chain: Vec<ChainingValue>,
}

impl Record {
    pub(super) fn is_of(&self, file: &FileMeta) -> bool {
        self.meta == *file
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.chain.len() * size_of::<ChainingValue>()
    }
}

/// What an entry of the database needs besides new content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingFix {
    /// It was looked up in this run.
    Seen,
    /// It is not what was written.
    Remove,
}

/// What one [`FlushJob`](super::FlushJob) writes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// By key; of none of the records.
    pub(super) fixes: Vec<(Key, PendingFix)>,
}

impl Batch {
    pub(super) fn get(&self, wanted: &Key) -> Option<&Record> {
        let at = self.records.binary_search_by_key(wanted, |record| key(&record.meta)).ok()?;
        self.records.get(at)
    }
}

/// A checksum that shows whether an entry was altered: the first 8 bytes of a hash.
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

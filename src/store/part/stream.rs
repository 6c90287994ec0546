//! A stream from its start, unverified: how much of it is written, and the hash of what the file has of it, which is computed while more is
//! received, a piece after each sync.

use super::sync::{READ_BYTES, SyncDue};
use crate::content::{ContentHasher, Groups};
use crate::fault::DiskFault;
use crate::store::disk;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A sync is due after this many bytes.
const UNSYNCED_BYTES_DUE: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) len: u64,
    pub(super) no_groups: Groups,
    /// Of the bytes that were read again; `None` if it is lost, or a job has it.
    hasher: Option<Box<ContentHasher>>,
    loss: Loss,
}

/// Whether a sync of a stream has failed: some of its bytes may be in the page cache only, and another sync would not tell. Each stream has
/// its own, by which the job of an earlier one in the same file is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Loss(Arc<AtomicBool>);

impl Loss {
    pub(super) fn has_happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Stream {
    pub(super) fn begin() -> Self {
        let (no_groups, loss) = (Groups::default(), Loss::default());
        Self { len: 0, no_groups, hasher: Some(Box::default()), loss }
    }

    pub(super) fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Never with the rest: after a crash a stream starts again.
    pub(super) fn sync_due(&self) -> SyncDue {
        let hashed = self.hasher.as_ref().map(|hasher| hasher.size());
        match hashed.is_some_and(|hashed| self.len - hashed >= UNSYNCED_BYTES_DUE) {
            true => SyncDue::Now,
            false => SyncDue::Not,
        }
    }

    /// `None` if none is due, or there is no descriptor for it.
    pub(super) fn sync_job(&mut self, part: &File) -> Option<StreamSync> {
        if self.sync_due() != SyncDue::Now {
            return None;
        }
        let part = part.try_clone().ok()?;
        let (hasher, loss) = (self.hasher.take()?, self.loss.clone());
        Some(StreamSync { part, end: self.len, hasher, loss })
    }

    /// Ignores the result of a job for an earlier stream.
    pub(super) fn synced(&mut self, synced: StreamSynced) {
        if Arc::ptr_eq(&self.loss.0, &synced.loss.0) {
            self.hasher = synced.hasher;
        }
    }

    /// What was hashed so far, for the check of the whole.
    pub(super) fn take_hasher(&mut self) -> Box<ContentHasher> {
        self.hasher.take().unwrap_or_default()
    }
}

/// Syncs the beginning of a stream, and hashes it as the file has it. Waits for the disk.
#[derive(Debug)]
pub(crate) struct StreamSync {
    part: File,
    /// Bytes of the stream that were written when it was made.
    end: u64,
    hasher: Box<ContentHasher>,
    loss: Loss,
}

impl StreamSync {
    /// Errors: as the system reports them, if the data could not be synced.
    pub(super) fn run(self) -> Result<StreamSynced, DiskFault> {
        let Self { part, end, mut hasher, loss } = self;
        disk::sync(&part).inspect_err(|_| loss.0.store(true, Ordering::Release))?;
        // What cannot be read is left to the check of the whole file.
        let is_read = hash_to(&part, &mut hasher, end).is_ok();
        Ok(StreamSynced { hasher: is_read.then_some(hasher), loss })
    }
}

#[derive(Debug)]
pub(crate) struct StreamSynced {
    hasher: Option<Box<ContentHasher>>,
    loss: Loss,
}

fn hash_to(part: &File, hasher: &mut ContentHasher, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    while hasher.size() < end {
        let bytes = usize::try_from(end - hasher.size()).unwrap_or(READ_BYTES).min(READ_BYTES);
        part.read_exact_at(&mut buffer[..bytes], hasher.size())?;
        hasher.update(&buffer[..bytes]);
    }
    Ok(())
}

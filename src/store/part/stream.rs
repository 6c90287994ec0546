//! A part file without an outline: the beginning of a stream, unverified. While more is written, jobs sync what there is, and hash it as
//! the file has it then, so that little is left when the stream ends.

use super::sync::{Job, SyncContent, SyncDue, SyncJob, Synced};
use crate::content::{ContentHasher, Groups};
use std::fs::File;

/// A sync is due after this many bytes.
const UNSYNCED_BYTES_DUE: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Stream {
    len: u64,
    no_groups: Groups,
    /// How much of it was given to jobs.
    given: u64,
    /// Of the beginning that was read after it was synced. `None` if a job has it, or has lost it.
    hasher: Option<Box<ContentHasher>>,
    /// A sync of this stream, or of what the file had before.
    job: Option<Job>,
}

impl Default for Stream {
    fn default() -> Self {
        Self::after(None)
    }
}

impl Stream {
    /// Follows the groups of a content, which have [left](super::ledger::Ledger::leave_job) a job: if that fails, it may have lost what the
    /// stream has written meanwhile, and the next sync succeeds.
    pub(super) fn after(earlier: Option<Job>) -> Self {
        Self { len: 0, no_groups: Groups::default(), given: 0, hasher: Some(Box::default()), job: earlier }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn no_groups(&self) -> &Groups {
        &self.no_groups
    }

    /// The job that is running, or has failed. If it has lost data, no later sync says so.
    pub(super) fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    pub(super) fn restart(&mut self) {
        *self = Self::after(self.job.take());
    }

    /// So many bytes were appended.
    pub(super) fn grow(&mut self, count: u64) {
        self.len += count;
    }

    /// As [`PartFile::sync_due`](super::PartFile::sync_due).
    pub(super) fn sync_due(&self) -> SyncDue {
        let is_free = self.job.as_ref().is_none_or(|job| job.is_over() && !job.has_lost_data());
        if is_free && self.len - self.given >= UNSYNCED_BYTES_DUE { SyncDue::Now } else { SyncDue::Not }
    }

    /// As [`PartFile::sync_job`](super::PartFile::sync_job). `None` also if there is no descriptor for it.
    pub(super) fn sync_job(&mut self, part: &File) -> Option<SyncJob> {
        if self.sync_due() == SyncDue::Not {
            return None;
        }
        let part = part.try_clone().ok()?;
        self.given = self.len;
        let job = Job::new(0, 0);
        self.job = Some(job.clone());
        Some(SyncJob { part, content: SyncContent::Stream { hasher: self.hasher.take(), end: self.len }, job })
    }

    /// Takes the result of a job.
    pub(super) fn synced(&mut self, synced: Synced) {
        // A job of groups may have come to its end though their data were found to be lost meanwhile.
        if synced.job.has_lost_data() || self.job.take_if(|job| job.is(&synced.job)).is_none() {
            return;
        }
        // If the stream has started again meanwhile, the hash is of other bytes, and there is a new one.
        self.hasher = self.hasher.take().or(synced.hasher);
    }

    /// For the check, which hashes the rest; all, if what was hashed is not known.
    pub(super) fn take_hasher(&mut self) -> Box<ContentHasher> {
        self.hasher.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(job: Job) -> Synced {
        Synced { allocation: None, rechecked: Vec::new(), hasher: None, job }
    }

    fn is_due(stream: &Stream) -> bool {
        stream.sync_due() == SyncDue::Now
    }

    #[test]
    fn a_job_that_ended_or_was_dropped_makes_room_for_another_unless_data_were_lost() {
        let begin = |job: &Job| {
            let mut stream = Stream::after(Some(job.clone()));
            stream.grow(UNSYNCED_BYTES_DUE);
            assert!(!is_due(&stream), "a job of what the file had before is running");
            stream
        };
        let job = Job::new(0, 0);
        let mut stream = begin(&job);
        stream.synced(ended(job));
        assert!(is_due(&stream));

        let job = Job::new(0, 0);
        let stream = begin(&job);
        drop(job);
        assert!(is_due(&stream), "it was dropped");

        let job = Job::new(0, 0);
        let mut stream = begin(&job);
        job.lose_data();
        stream.synced(ended(job));
        assert!(!is_due(&stream) && stream.job().is_some_and(Job::has_lost_data), "another sync would succeed");
    }
}

//! The groups of a part file with an outline: which are verified, in memory and in the journal, and which are synced.

use super::journal::{Journal, Loaded, Record};
use super::sync::{Allocation, GroupsSync, Job, SyncContent, SyncDue, SyncJob, Synced, group_digest};
use crate::content::{Groups, Outline, group_span};
use crate::fault::DiskFault;
use crate::store::disk::{self, BLOCK_BYTES, fault};
use crate::store::place::Place;
use nix::libc::EIO;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// A sync is due after this many groups.
const UNSYNCED_GROUPS_DUE: usize = 16;

#[derive(Debug)]
pub(super) struct Ledger {
    outline: Arc<Outline>,
    verified: Groups,
    /// Verified groups that were read from the file again, and were right, after they were synced.
    rechecked: Groups,
    /// Verified groups that were recorded after the last mark, in the order of their records.
    unsynced: Vec<u64>,
    /// Groups that a failed sync may have lost: until they are written again, their bytes may be in the page cache only.
    lost_by_disk: Groups,
    /// A content of one group needs none: it is there, or it is not, as its hash says.
    journal: Option<Journal>,
    /// The journal and its name are synced, if there is one.
    journal_is_durable: bool,
    /// The journal has groups that are not verified any more, since it could not be replaced. It gets no mark: groups before
    /// a mark are not hashed when the journal is resumed.
    journal_is_stale: bool,
    allocation: Allocation,
    job: Option<Job>,
    /// Groups have ceased to be verified since this was last taken.
    has_shrunk: bool,
}

impl Ledger {
    /// Begins a journal without verified groups, and gives the part file the outline's size.
    /// Errors: as the system reports them; then the part file may have this size.
    pub(super) fn begin(place: &Place, part: &File, outline: Arc<Outline>) -> Result<Self, DiskFault> {
        let verified = Groups::none(outline.group_count());
        if !needs_journal(&outline) {
            disk::set_len(part, outline.size())?;
            return Ok(Self::new(outline, verified, None, Allocation::Unneeded));
        }
        let journal = Journal::create(place, disk::inode(part)?, &outline, &verified)?;
        let journal = install_resized(journal, place, part, &outline)?;
        let new = Self::new(outline, verified, Some(journal), Allocation::Wanted);
        Ok(Self { journal_is_durable: false, ..new })
    }

    /// Whether this outline differs in a verified group.
    pub(super) fn contradicts(&self, outline: &Outline) -> bool {
        self.verified.iter().any(|group| !self.outline.agrees_on(outline, group))
    }

    /// Takes another outline of the same content, which [contradicts](Ledger::contradicts) no verified group: all stay verified.
    /// A crash may restore the old journal, which does no harm: since the part file has another size, each group is hashed.
    /// Errors: as the system reports them; then the old outline stays, but the part file may have the other size.
    pub(super) fn replace_outline(
        &mut self,
        place: &Place,
        part: &File,
        outline: Arc<Outline>,
    ) -> Result<(), DiskFault> {
        self.reap_failed_sync(place, part);
        let journal = match self.make_journal(place, part, &outline)? {
            Some(journal) => Some(install_resized(journal, place, part, &outline)?),
            None => {
                disk::set_len(part, outline.size())?;
                place.remove_journals()?;
                None
            }
        };
        self.verified = self.verified.resized(outline.group_count());
        self.rechecked = Groups::none(outline.group_count());
        self.lost_by_disk = self.lost_by_disk.resized(outline.group_count());
        self.allocation = if journal.is_some() { Allocation::Wanted } else { Allocation::Unneeded };
        self.outline = outline;
        self.take_journal(journal);
        Ok(())
    }

    /// Resumes from a journal: syncs everything, hashes the groups whose data may be lost, and replaces the journal by a compact
    /// one. Waits for the disk.
    pub(super) fn resume(place: &Place, part: &File, loaded: Loaded) -> Result<Self, DiskFault> {
        let Loaded { inode, outline, mut verified, unsynced } = loaded;
        if part.metadata()?.len() != outline.size() {
            disk::set_len(part, outline.size())?;
        }
        disk::sync(part)?;
        for group in unsynced {
            // An earlier sync may have failed: then the bytes may be in the page cache only, and this sync succeeds without them.
            disk::forget_cached(part, group_span(outline.size(), group));
            if !is_right(part, &outline, group)? {
                verified.remove(group);
            }
        }
        let journal = Journal::create(place, inode, &outline, &verified)?;
        disk::sync(journal.file())?;
        journal.install(place)?;
        disk::sync_directory(place.directory()).map_err(fault)?;
        let taken = part.metadata()?.blocks().saturating_mul(BLOCK_BYTES);
        let allocation = if taken >= outline.size() { Allocation::Done } else { Allocation::Wanted };
        Ok(Self::new(outline, verified, Some(journal), allocation))
    }

    /// Begins with all groups, if the part file has them as it is on the disk; else there is none. For what needs no journal.
    /// Waits for the disk.
    pub(super) fn recover(part: &File, outline: Arc<Outline>) -> io::Result<Option<Self>> {
        disk::sync(part)?;
        let verified = Groups::none(outline.group_count()).complement();
        for group in verified.iter() {
            // As in `resume`.
            disk::forget_cached(part, group_span(outline.size(), group));
            if !is_right(part, &outline, group)? {
                return Ok(None);
            }
        }
        Ok(Some(Self::new(outline, verified, None, Allocation::Unneeded)))
    }

    fn new(outline: Arc<Outline>, verified: Groups, journal: Option<Journal>, allocation: Allocation) -> Self {
        let none = Groups::none(outline.group_count());
        Self {
            outline,
            verified,
            rechecked: none.clone(),
            unsynced: Vec::new(),
            lost_by_disk: none,
            journal,
            journal_is_durable: true,
            journal_is_stale: false,
            allocation,
            job: None,
            has_shrunk: false,
        }
    }

    /// Follows the ledger of another content, which has [left](Ledger::leave_job) a job: if it fails, it may have lost what this
    /// ledger has written meanwhile, and the next sync succeeds.
    pub(super) fn after(mut self, earlier: Option<Job>) -> Self {
        self.job = earlier.map(Job::for_nothing);
        self
    }

    /// Before another ledger begins: the job that syncs the file, which says so if earlier ones have lost something.
    pub(super) fn leave_job(&mut self) -> Option<Job> {
        if self.lost_by_disk.held() > 0 {
            self.job.get_or_insert_with(|| Job::new(0, 0)).lose_data();
        }
        self.job.take()
    }

    pub(super) fn outline(&self) -> &Arc<Outline> {
        &self.outline
    }

    pub(super) fn verified(&self) -> &Groups {
        &self.verified
    }

    pub(super) fn is_rechecked(&self, group: u64) -> bool {
        self.rechecked.contains(group)
    }

    pub(super) fn is_allocated(&self) -> bool {
        self.allocation == Allocation::Done
    }

    /// As [`PartFile::write_group`](super::PartFile::write_group).
    pub(super) fn write_group(
        &mut self,
        place: &Place,
        part: &File,
        group: u64,
        bytes: &[u8],
    ) -> Result<bool, DiskFault> {
        let span = group_span(self.outline.size(), group);
        if span.is_empty() || span.end - span.start != bytes.len() as u64 {
            return Err(fault(nix::errno::Errno::EINVAL));
        }
        self.reap_failed_sync(place, part);
        if self.verified.contains(group) {
            return Ok(false);
        }
        disk::write_at(part, bytes, span.start)?;
        self.lost_by_disk.remove(group);
        self.record(&[group])?;
        Ok(true)
    }

    fn record(&mut self, groups: &[u64]) -> Result<(), DiskFault> {
        if let Some(journal) = &mut self.journal {
            let records: Vec<Record> = groups.iter().map(|&group| Record::Group(group)).collect();
            journal.append(&records)?;
        }
        self.unsynced.extend(groups.iter().filter(|group| self.verified.insert(**group)));
        Ok(())
    }

    /// Replaces the journal by one without these groups. Even if that fails, they are not verified any more.
    fn unverify(&mut self, place: &Place, part: &File, groups: &[u64]) -> Result<(), DiskFault> {
        let mut any = false;
        for &group in groups {
            any |= self.verified.remove(group);
            self.rechecked.remove(group);
        }
        if !any {
            return Ok(());
        }
        self.has_shrunk = true;
        if let Some(job) = &mut self.job {
            let covered = self.unsynced.iter().take(job.covered);
            job.covered = covered.filter(|group| self.verified.contains(**group)).count();
        }
        self.unsynced.retain(|group| self.verified.contains(*group));
        self.journal_is_stale = true;
        self.renew_journal(place, part)
    }

    /// Replaces the journal by one of the verified groups.
    fn renew_journal(&mut self, place: &Place, part: &File) -> Result<(), DiskFault> {
        let journal = self.make_journal(place, part, &self.outline)?;
        if let Some(journal) = &journal {
            journal.install(place)?;
        }
        self.take_journal(journal);
        Ok(())
    }

    /// Writes and syncs a journal of the verified groups, with an outline of this content; none for one group.
    fn make_journal(&self, place: &Place, part: &File, outline: &Outline) -> Result<Option<Journal>, DiskFault> {
        if !needs_journal(outline) {
            return Ok(None);
        }
        let mut base = self.verified.resized(outline.group_count());
        for group in &self.unsynced {
            base.remove(*group);
        }
        let mut journal = Journal::create(place, disk::inode(part)?, outline, &base)?;
        let records: Vec<Record> = self.unsynced.iter().map(|group| Record::Group(*group)).collect();
        // Synced before it gets its name: power loss may keep the name and lose the content.
        let written = journal.append(&records).and_then(|()| disk::sync(journal.file()));
        if let Err(error) = written {
            place.replace_journal(|journal| journal.discard());
            return Err(error.into());
        }
        Ok(Some(journal))
    }

    fn take_journal(&mut self, journal: Option<Journal>) {
        (self.journal_is_durable, self.journal_is_stale) = (journal.is_none(), false);
        self.journal = journal;
        if let Some(job) = &mut self.job {
            // It still syncs the data of these groups, which the new journal records first, but the old journal.
            (job.records, job.is_for_journal) = (job.covered as u64, false);
        }
    }

    /// As [`PartFile::take_shrunk`](super::PartFile::take_shrunk).
    pub(super) fn take_shrunk(&mut self) -> bool {
        std::mem::take(&mut self.has_shrunk)
    }

    /// As [`PartFile::sync_due`](super::PartFile::sync_due).
    pub(super) fn sync_due(&self) -> SyncDue {
        if self.journal.is_none() {
            // It is synced when it gets its name.
            return SyncDue::Not;
        }
        let is_now = self.unsynced.len() >= UNSYNCED_GROUPS_DUE || self.wants_space() || !self.journal_is_durable;
        match is_now {
            true => SyncDue::Now,
            false if self.unsynced.is_empty() => SyncDue::Not,
            false => SyncDue::WithRest,
        }
    }

    fn wants_space(&self) -> bool {
        self.allocation == Allocation::Wanted && self.outline.size() > 0
    }

    /// As [`PartFile::sync_job`](super::PartFile::sync_job). `None` also if there is no descriptor for it.
    pub(super) fn sync_job(&mut self, place: &Place, part: &File, rest: bool) -> Option<SyncJob> {
        self.reap_failed_sync(place, part);
        let is_due = match self.sync_due() {
            SyncDue::Not => false,
            SyncDue::WithRest => rest,
            SyncDue::Now => true,
        };
        if self.job.is_some() || !is_due {
            return None;
        }
        let directory = if self.journal_is_durable { None } else { Some(Arc::clone(&place.directory)) };
        let allocate = self.wants_space().then(|| self.outline.size());
        let of = self.journal.as_ref()?;
        let (part, journal) = (part.try_clone().ok()?, Arc::clone(of.file()));
        let job = Job::new(self.unsynced.len(), of.records);
        self.job = Some(job.clone());
        let (outline, groups) = (Arc::clone(&self.outline), self.unsynced.clone());
        let content = SyncContent::Groups(GroupsSync { journal, directory, allocate, outline, groups });
        Some(SyncJob { part, content, job })
    }

    /// Records the result of a job. Ignores one for an earlier outline.
    /// Errors: as the system reports them; then the groups are synced again.
    pub(super) fn synced(&mut self, synced: Synced) -> Result<(), DiskFault> {
        // Data of this file was lost: the next call handles this job as failed.
        if synced.job.has_lost_data() {
            return Ok(());
        }
        let Some(job) = self.job.take_if(|job| job.is(&synced.job)) else { return Ok(()) };
        self.journal_is_durable |= job.is_for_journal;
        // One that covers nothing may be of another content.
        let is_verified = |group: &&u64| job.covered > 0 && self.verified.contains(**group);
        synced.rechecked.iter().filter(is_verified).for_each(|group| _ = self.rechecked.insert(*group));
        // The space of an earlier outline has another size.
        if let Some(allocation) = synced.allocation.filter(|_| job.is_for_journal) {
            self.allocation = allocation;
        }
        // With a stale journal they are synced again, once there is a new one.
        if job.covered > 0 && !self.journal_is_stale {
            if let Some(journal) = &mut self.journal {
                journal.append(&[Record::Mark(job.records)])?;
            }
            self.unsynced.drain(..job.covered);
        }
        Ok(())
    }

    /// Handles a job that failed. If data could not be synced, they are lost: another sync would succeed without having
    /// written them. These may be any that no earlier sync has written: groups that were written after the job was made, and
    /// bytes that are in no verified group, such as those of a stream.
    pub(super) fn reap_failed_sync(&mut self, place: &Place, part: &File) {
        if self.journal_is_stale {
            // Retried with each call.
            let _ = self.renew_journal(place, part);
        }
        let Some(job) = self.job.take_if(|job| job.is_over()) else { return };
        if job.has_lost_data() {
            let lost = self.unsynced.clone();
            // If this fails, the groups of the old journal are hashed when it is opened.
            let _ = self.unverify(place, part, &lost);
            self.lost_by_disk = self.verified.complement();
        }
    }

    pub(super) fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    /// Records the result of a check: all groups but `bad` match the outline. Returns the groups that are not verified, in order.
    /// Errors: as the system reports them. Then the bad ones are not verified either.
    pub(super) fn checked(&mut self, place: &Place, part: &File, bad: &BTreeSet<u64>) -> Result<Vec<u64>, DiskFault> {
        self.reap_failed_sync(place, part);
        let bad: BTreeSet<u64> = bad.iter().copied().chain(self.lost_by_disk.iter()).collect();
        let bad: Vec<u64> = bad.into_iter().collect();
        self.unverify(place, part, &bad)?;
        let mut good = Vec::new();
        let mut next = self.verified.first_missing(0);
        while let Some(group) = next {
            if bad.binary_search(&group).is_err() {
                good.push(group);
            }
            next = self.verified.first_missing(group + 1);
        }
        if !good.is_empty() {
            self.record(&good)?;
        }
        Ok(bad)
    }
}

/// Whether there may be some groups without others.
pub(super) fn needs_journal(outline: &Outline) -> bool {
    outline.group_count() > 1
}

/// Gives a part file the size of an outline, and replaces its journal.
/// Errors: as the system reports them; then the old journal stays, but the part file may have the size.
fn install_resized(journal: Journal, place: &Place, part: &File, outline: &Outline) -> Result<Journal, DiskFault> {
    if let Err(error) = disk::set_len(part, outline.size()) {
        place.replace_journal(|journal| journal.discard());
        return Err(error.into());
    }
    journal.install(place)?;
    Ok(journal)
}

/// Whether a group matches the outline. One beyond the end of the file, or on a bad sector, does not.
/// Errors: as the system reports them: then this is unknown.
fn is_right(part: &File, outline: &Outline, group: u64) -> io::Result<bool> {
    match disk::readable().and_then(|()| group_digest(part, outline, group)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        // The group is written again, which makes disks replace the sector.
        Err(error) if error.raw_os_error() == Some(EIO) => Ok(false),
        found => Ok(outline.expected(group) == Some(found?)),
    }
}

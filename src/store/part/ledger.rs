//! A part file with an outline: which of its groups count, in memory and in the journal, and which of them are synced.

use super::journal::{Journal, Loaded, Record};
use super::sync::{Allocation, Job, SyncJob, Synced};
use crate::content::{Digest, GROUP_BYTES, GroupHasher, Groups, Outline, group_span};
use crate::fault::DiskFault;
use crate::store::disk::{self, BLOCK_BYTES, fault};
use crate::store::place::Place;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

/// So many groups are written before a sync is due.
const UNSYNCED_GROUPS_DUE: usize = 16;

/// The groups of a part file with an outline.
#[derive(Debug)]
pub(super) struct Ledger {
    outline: Arc<Outline>,
    verified: Groups,
    /// Verified groups that were recorded after the last mark, in the order of their records.
    unsynced: Vec<u64>,
    /// Groups that a failed sync may have lost: what reads right may be in the page cache alone, until it is written again.
    lost_by_disk: BTreeSet<u64>,
    journal: Journal,
    /// The journal and its name are synced.
    journal_is_durable: bool,
    /// The journal has groups that do not count any more, since no other one could be put in its place. No mark goes into it:
    /// what lies before a mark is not hashed when the journal is resumed.
    journal_is_stale: bool,
    allocation: Allocation,
    job: Option<Job>,
}

impl Ledger {
    /// Begins a journal without verified groups, where there is none, and gives the part file the outline's size.
    /// Errors: as the system reports them; then the part file may have got its size.
    pub(super) fn begin(place: &Place, part: &File, outline: Arc<Outline>) -> Result<Self, DiskFault> {
        let verified = Groups::none(outline.group_count());
        let journal = Journal::create(place, disk::inode(part)?, &outline, &verified)?;
        install_resized(journal, place, part, &outline)
            .map(|journal| Self::new(outline, verified, journal, false, Allocation::Wanted))
    }

    /// Whether a group that counts is not what this outline says of it.
    pub(super) fn contradicts(&self, outline: &Outline) -> bool {
        self.verified.iter().any(|group| !self.outline.agrees_on(outline, group))
    }

    /// Takes another outline of the same content, which [contradicts](Ledger::contradicts) no group that counts: all of
    /// them still count. A crash may bring the old journal back, which does no harm: the part file has another size, so
    /// that each group is hashed.
    /// Errors: as the system reports them; then the old one stands, but the part file may have got the other size.
    pub(super) fn replace_outline(
        &mut self,
        place: &Place,
        part: &File,
        outline: Arc<Outline>,
    ) -> Result<(), DiskFault> {
        self.reap_failed_sync(place, part);
        let journal = install_resized(self.make_journal(place, part, &outline)?, place, part, &outline)?;
        self.verified = self.verified.resized(outline.group_count());
        (self.outline, self.allocation) = (outline, Allocation::Wanted);
        self.take_journal(journal);
        Ok(())
    }

    /// Resumes from a journal of this part file. Groups whose data power loss may have taken are hashed first; then
    /// everything is synced, and a compact journal replaces the old one. Waits for the disk.
    pub(super) fn resume(place: &Place, part: &File, loaded: Loaded) -> Result<Self, DiskFault> {
        let Loaded { inode, outline, mut verified, unsynced } = loaded;
        if part.metadata()?.len() != outline.size() {
            disk::set_len(part, outline.size())?;
        }
        for group in unsynced {
            if !is_right(part, &outline, group)? {
                verified.remove(group);
            }
        }
        disk::sync(part)?;
        let journal = Journal::create(place, inode, &outline, &verified)?;
        disk::sync(journal.file())?;
        journal.install(place)?;
        disk::sync_directory(place.directory()).map_err(fault)?;
        let taken = part.metadata()?.blocks().saturating_mul(BLOCK_BYTES);
        let allocation = if taken >= outline.size() { Allocation::Done } else { Allocation::Wanted };
        Ok(Self::new(outline, verified, journal, true, allocation))
    }

    fn new(
        outline: Arc<Outline>,
        verified: Groups,
        journal: Journal,
        journal_is_durable: bool,
        allocation: Allocation,
    ) -> Self {
        let (unsynced, lost_by_disk) = (Vec::new(), BTreeSet::new());
        Self {
            outline,
            verified,
            unsynced,
            lost_by_disk,
            journal,
            journal_is_durable,
            journal_is_stale: false,
            allocation,
            job: None,
        }
    }

    pub(super) fn outline(&self) -> &Arc<Outline> {
        &self.outline
    }

    /// The groups that count.
    pub(super) fn verified(&self) -> &Groups {
        &self.verified
    }

    /// Whether space was set aside for all of it.
    pub(super) fn is_allocated(&self) -> bool {
        self.allocation == Allocation::Done
    }

    /// Writes a group that was checked, and then its record. False: it counts already.
    /// Errors: as the system reports them; `EINVAL` for bytes that are not as many as the group has.
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
        self.lost_by_disk.remove(&group);
        self.record(&[group])?;
        Ok(true)
    }

    /// Records groups whose data were written.
    fn record(&mut self, groups: &[u64]) -> Result<(), DiskFault> {
        let records: Vec<Record> = groups.iter().map(|&group| Record::Group(group)).collect();
        self.journal.append(&records)?;
        self.unsynced.extend(groups.iter().filter(|group| self.verified.insert(**group)));
        Ok(())
    }

    /// Begins a journal without these groups. They no longer count, even if that fails.
    fn unverify(&mut self, place: &Place, part: &File, groups: &[u64]) -> Result<(), DiskFault> {
        let mut any = false;
        for &group in groups {
            any |= self.verified.remove(group);
        }
        if !any {
            return Ok(());
        }
        if let Some(job) = &mut self.job {
            let covered = self.unsynced.iter().take(job.covered);
            job.covered = covered.filter(|group| self.verified.contains(**group)).count();
        }
        self.unsynced.retain(|group| self.verified.contains(*group));
        self.journal_is_stale = true;
        self.renew_journal(place, part)
    }

    /// Puts a journal of what counts in the place of the present one.
    fn renew_journal(&mut self, place: &Place, part: &File) -> Result<(), DiskFault> {
        let journal = self.make_journal(place, part, &self.outline)?;
        journal.install(place)?;
        self.take_journal(journal);
        Ok(())
    }

    /// Writes and syncs a journal of what counts, under an outline of this content.
    fn make_journal(&self, place: &Place, part: &File, outline: &Outline) -> Result<Journal, DiskFault> {
        let mut base = self.verified.resized(outline.group_count());
        for group in &self.unsynced {
            base.remove(*group);
        }
        let mut journal = Journal::create(place, disk::inode(part)?, outline, &base)?;
        let records: Vec<Record> = self.unsynced.iter().map(|group| Record::Group(*group)).collect();
        // Before it takes the name of one that is on the disk: power loss may keep the name and lose what it holds.
        let written = journal.append(&records).and_then(|()| disk::sync(journal.file()));
        if let Err(error) = written {
            place.replace_journal(|journal| journal.discard());
            return Err(error.into());
        }
        Ok(journal)
    }

    /// Uses a journal that was made and installed.
    fn take_journal(&mut self, journal: Journal) {
        self.journal = journal;
        (self.journal_is_durable, self.journal_is_stale) = (false, false);
        if let Some(job) = &mut self.job {
            // It still syncs the data of these groups, which the new journal records first; the journal that it syncs
            // is the old one.
            (job.records, job.is_for_journal) = (job.covered as u64, false);
        }
    }

    /// Makes a job that brings to the disk what is not there yet: when enough waits for it, or, if `rest`, anything.
    /// `None` also when no descriptor is left for it.
    pub(super) fn sync_job(&mut self, place: &Place, part: &File, rest: bool) -> Option<SyncJob> {
        self.reap_failed_sync(place, part);
        let wants_space = self.allocation == Allocation::Wanted && self.outline.size() > 0;
        let due = if rest { !self.unsynced.is_empty() } else { self.unsynced.len() >= UNSYNCED_GROUPS_DUE };
        if self.job.is_some() || !(due || wants_space || !self.journal_is_durable) {
            return None;
        }
        let directory = if self.journal_is_durable { None } else { Some(place.directory().try_clone_to_owned().ok()?) };
        let allocate = wants_space.then(|| self.outline.size());
        let (part, journal) = (part.try_clone().ok()?, self.journal.file().try_clone().ok()?);
        let job = Job::new(self.unsynced.len(), self.journal.records());
        self.job = Some(job.clone());
        Some(SyncJob { part, journal, directory, allocate, job })
    }

    /// Enters what a job brought; one that was made for an earlier outline brings nothing.
    /// Errors: as the system reports them; then the groups are synced once more.
    pub(super) fn synced(&mut self, synced: Synced) -> Result<(), DiskFault> {
        let Some(job) = self.job.take_if(|job| job.is(&synced.job)) else { return Ok(()) };
        self.journal_is_durable |= job.is_for_journal;
        // Space for an earlier outline is not what this one needs.
        if let Some(allocation) = synced.allocation.filter(|_| job.is_for_journal) {
            self.allocation = allocation;
        }
        // Under a stale journal they are synced again, once there is another one.
        if job.covered > 0 && !self.journal_is_stale {
            self.journal.append(&[Record::Mark(job.records)])?;
            self.unsynced.drain(..job.covered);
        }
        Ok(())
    }

    /// Learns that a job ended without success. If it was the data that could not be synced, they are lost: the next
    /// attempt would succeed without having written them.
    pub(super) fn reap_failed_sync(&mut self, place: &Place, part: &File) {
        if self.journal_is_stale {
            // It is tried again with each call.
            let _ = self.renew_journal(place, part);
        }
        let Some(job) = self.job.take_if(|job| job.is_over()) else { return };
        if job.has_lost_data() {
            let lost = self.unsynced[..job.covered].to_vec();
            self.lost_by_disk.extend(&lost);
            // The journal is on the same disk, and may not be replaced now. What it still says is hashed when it is opened.
            let _ = self.unverify(place, part, &lost);
        }
    }

    pub(super) fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    /// Enters what a reading of all groups has found: `bad` are not what the outline says, the others are. Returns the
    /// groups that do not count, ascending.
    /// Errors: as the system reports them. The bad ones no longer count then either.
    pub(super) fn checked(&mut self, place: &Place, part: &File, bad: &BTreeSet<u64>) -> Result<Vec<u64>, DiskFault> {
        self.reap_failed_sync(place, part);
        let bad: Vec<u64> = bad.union(&self.lost_by_disk).copied().collect();
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

/// Gives a part file the size of an outline, and puts a journal of it in the place of the one that stands there.
/// Errors: as the system reports them; then the old journal stands, but the part file may have got the size.
fn install_resized(journal: Journal, place: &Place, part: &File, outline: &Outline) -> Result<Journal, DiskFault> {
    if let Err(error) = disk::set_len(part, outline.size()) {
        place.replace_journal(|journal| journal.discard());
        return Err(error.into());
    }
    journal.install(place)?;
    Ok(journal)
}

/// Whether a group holds what the outline says. One that the file is too short for does not.
/// Errors: as the system reports them: then it may hold it.
fn is_right(part: &File, outline: &Outline, group: u64) -> io::Result<bool> {
    let span = group_span(outline.size(), group);
    let mut bytes = vec![0; usize::try_from((span.end - span.start).min(GROUP_BYTES)).unwrap_or(0)];
    match part.read_exact_at(&mut bytes, span.start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        outcome => outcome?,
    }
    let mut hasher = GroupHasher::new(outline.size(), group);
    hasher.update(&bytes);
    let found: Digest = hasher.finish();
    Ok(outline.expected(group) == Some(found))
}

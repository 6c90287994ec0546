//! The hashes of shared files, for one batch of the node at a time, those of each share for themselves; and the writing of the cache.

use super::hash_work::{FlushEnded, HashWork, SharedCache, is_of, lost, missing};
use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use crate::driver::cx::Cx;
use crate::fault::DiskFault;
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::node::Event;
use crate::node::contract::HashedFile;
use crate::store::{FLUSH_ENTRIES_USUAL, HashCache, ShareRoot, Volume, Volumes};
use crate::time::Instant;
use log::warn;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Files of one job. With those that it has opened already, these are the files of one [`Event::Hashed`].
const FILES_PER_JOB: usize = 62;

/// How soon new hashes are written.
const FLUSH_DELAY: Duration = Duration::from_secs(2);

/// How soon a failed write of the cache is tried again.
const FLUSH_AGAIN: Duration = Duration::from_secs(30);

pub(super) struct Hashing {
    cache: SharedCache,
    at_end: AtEnd,
    /// The filesystems that scans have entered.
    volumes: Arc<Volumes>,
    /// Shares with files to be hashed, by their directories.
    shares: BTreeMap<Arc<Path>, OfShare>,
    /// Shares whose files are hashed at once: some are open from job to job.
    at_once_max: usize,
    /// Entries of the cache to be written, as far as is known.
    pending: usize,
    /// The last attempt to write the cache failed, and was logged.
    flush_failed: bool,
    pub(super) flush_at: Option<Instant>,
}

/// What is to be hashed in one share.
#[derive(Default)]
struct OfShare {
    files: VecDeque<ScannedFile>,
    work: Work,
    /// Shares that were replaced while the job had files of them.
    replaced: Vec<FileName>,
}

impl OfShare {
    fn is_away(&self) -> bool {
        matches!(self.work, Work::Away(_))
    }

    fn has_work(&self) -> bool {
        match &self.work {
            Work::Away(_) => true,
            Work::Here(work) => !self.files.is_empty() || work.has_work(),
        }
    }
}

enum Work {
    Here(Box<HashWork>),
    /// With a job, which was given these files.
    Away(Vec<ScannedFile>),
}

impl Default for Work {
    fn default() -> Self {
        Self::Here(Box::default())
    }
}

/// The cache, when the daemon leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Open,
    Closing,
    Closed,
}

impl Hashing {
    /// Hashes files of so many shares at once.
    pub(super) fn new(cache: HashCache, at_once_max: usize) -> Self {
        Self {
            cache: SharedCache::new(cache),
            at_end: AtEnd::Open,
            volumes: Arc::default(),
            shares: BTreeMap::new(),
            at_once_max,
            pending: 0,
            flush_failed: false,
            flush_at: None,
        }
    }

    /// Has the cache closed by a job. Returns whether that is done.
    pub(super) fn close(&mut self, jobs: &mut Jobs) -> bool {
        if self.at_end == AtEnd::Open {
            self.at_end = AtEnd::Closing;
            let (cache, volumes) = (self.cache.clone(), Arc::clone(&self.volumes));
            jobs.submit(
                (Lane::State, Key::CloseHashes),
                |()| Done::HashesClosed,
                (),
                move || {
                    // Entries that came since the last batch.
                    cache.flush(&volumes);
                    cache.lock(&volumes).close();
                },
            );
        }
        self.is_closed()
    }

    pub(super) fn on_closed(&mut self) {
        self.at_end = AtEnd::Closed;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.at_end == AtEnd::Closed
    }

    pub(super) fn volumes(&self) -> &Arc<Volumes> {
        &self.volumes
    }

    pub(super) fn note_volume(&mut self, device: u64, volume: Volume) {
        Arc::make_mut(&mut self.volumes).note(device, volume);
    }

    pub(super) fn cache(&self) -> SharedCache {
        self.cache.clone()
    }

    pub(super) fn take(&mut self, files: Vec<ScannedFile>, share: &Arc<ShareRoot>, jobs: &mut Jobs) {
        for file in files {
            let directory = share.directory_of(&file.name);
            self.shares.entry(Arc::clone(directory)).or_default().files.push_back(file);
        }
        self.begin_next(None, share, jobs);
    }

    /// Other files than before have the names of these shares: what was ordered of them is not read any more, and reported as missing.
    pub(super) fn forget(&mut self, replaced: &[FileName], cx: &mut Cx) {
        for of in self.shares.values_mut() {
            let files = std::mem::take(&mut of.files);
            let (gone, kept): (VecDeque<_>, _) = files.into_iter().partition(|file| is_of(replaced, file));
            of.files = kept;
            if !gone.is_empty() {
                cx.out.event(Event::Hashed { files: gone.into_iter().map(missing).collect() });
            }
            if let Work::Away(_) = of.work {
                of.replaced.extend(replaced.iter().cloned());
            }
        }
    }

    /// Goes on with shares in turn, those behind `last` first, as far as there are descriptors for that.
    fn begin_next(&mut self, last: Option<&Arc<Path>>, share: &Arc<ShareRoot>, jobs: &mut Jobs) {
        self.shares.retain(|_, of| of.has_work());
        let here = self.shares.iter().filter(|(_, of)| !of.is_away());
        let mut here: Vec<Arc<Path>> = here.map(|(directory, _)| Arc::clone(directory)).collect();
        let more = self.at_once_max.saturating_sub(self.shares.len() - here.len());
        let behind = here.partition_point(|directory| last.is_some_and(|last| directory <= last));
        here.rotate_left(behind);
        here.iter().take(more).for_each(|directory| self.go_on(directory, share, jobs));
    }

    fn go_on(&mut self, directory: &Arc<Path>, share: &Arc<ShareRoot>, jobs: &mut Jobs) {
        let Some(of) = self.shares.get_mut(directory) else { return };
        let Work::Here(work) = &mut of.work else { return };
        while work.files.len() < FILES_PER_JOB
            && let Some(file) = of.files.pop_front()
        {
            work.files.push_back(file);
        }
        let (unknown, work) = (work.unknown(), std::mem::take(work));
        of.work = Work::Away(unknown);
        let (cache, volumes, share) = (self.cache.clone(), Arc::clone(&self.volumes), Arc::clone(share));
        let (others, clock, of_share) = (!of.files.is_empty(), jobs.clock(), Arc::clone(directory));
        let key = (Lane::Scan, Key::Hash(Arc::clone(directory)));
        let done = move |work| Done::HashStepped(Arc::clone(&of_share), work);
        jobs.submit_on(Some(directory), key, done, Err(DiskFault::Internal), move || {
            Ok(work.go_on(&share, (&cache, &volumes), others, clock))
        });
    }

    pub(super) fn on_stepped(
        &mut self,
        (directory, work): (&Arc<Path>, Result<Box<HashWork>, DiskFault>),
        share: &Arc<ShareRoot>,
        jobs: &mut Jobs,
        cx: &mut Cx,
    ) {
        let Some(of) = self.shares.get_mut(directory) else { return jobs.drop_beside(directory, work) };
        // Also of a job that was lost: the next one has files of the shares that are there now.
        let replaced = std::mem::take(&mut of.replaced);
        let mut keeps_place = false;
        let files = match (work, std::mem::take(&mut of.work)) {
            (Ok(mut work), _) => {
                let unwanted = work.forget(&replaced);
                if !unwanted.is_empty() {
                    jobs.drop_beside(directory, unwanted);
                }
                let files = std::mem::take(&mut work.done);
                self.pending = work.pending;
                keeps_place = work.has_open_files();
                of.work = Work::Here(work);
                files
            }
            (Err(fault), Work::Away(files)) => {
                let failed = |file| HashedFile { file, outcome: Err(fault) };
                files.into_iter().map(failed).collect()
            }
            (Err(_), Work::Here(_)) => Vec::new(),
        };
        if !files.is_empty() {
            cx.out.event(Event::Hashed { files });
        }
        if self.pending > 0 && !self.flush_failed {
            self.flush_at.get_or_insert(cx.now + FLUSH_DELAY);
            if self.pending >= FLUSH_ENTRIES_USUAL {
                self.flush(jobs);
            }
        }
        if keeps_place {
            self.go_on(directory, share, jobs);
        }
        self.begin_next(Some(directory), share, jobs);
    }

    pub(super) fn flush(&mut self, jobs: &mut Jobs) {
        self.flush_at = None;
        let (cache, volumes) = (self.cache.clone(), Arc::clone(&self.volumes));
        let lost = FlushEnded { outcome: Err(lost()), pending: self.pending };
        jobs.submit((Lane::State, Key::Hashes), Done::HashesFlushed, lost, move || cache.flush(&volumes));
    }

    pub(super) fn on_flushed(&mut self, FlushEnded { outcome, pending }: FlushEnded, now: Instant) {
        self.pending = pending;
        let failed = match outcome {
            Ok(note) => {
                if let Some(note) = note {
                    warn!("{note}");
                }
                false
            }
            Err(fault) => {
                if !self.flush_failed {
                    warn!("cannot write the hash cache, files will be hashed again after a restart: {fault}");
                }
                true
            }
        };
        self.flush_failed = failed;
        if pending > 0 {
            self.flush_at.get_or_insert(now + if failed { FLUSH_AGAIN } else { FLUSH_DELAY });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock::Clock;
    use crate::driver::cx::Phase;
    use crate::library::FileMeta;
    use mio::{Poll, Token, Waker};

    #[test]
    fn so_many_shares_are_hashed_at_once_and_each_has_its_turn() {
        let poll = Poll::new().unwrap();
        let mut jobs =
            Jobs::start(&Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()), Clock::start(), (3, 1)).unwrap();
        let (now, phase, scratch) = (Instant::from_ms(0), Phase::Running, Default::default());
        let mut cx = Cx { now, phase, scratch, reads: Default::default(), out: Default::default() };
        let name = |text: String| FileName::from_bytes(text.as_bytes()).unwrap();
        let names = ["a", "b", "c"];
        let named =
            |share: &str| (name(share.into()), Arc::new(ShareRoot::at(Path::new(&format!("/nowhere/{share}")))));
        let share = Arc::new(ShareRoot::at(Path::new("/nowhere")).with(names.map(named).into()));
        let meta = FileMeta { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1, device: 1 };
        let files = |share: &'static str| (0..FILES_PER_JOB + 1).map(move |n| name(format!("{share}/{n}")));
        let files = names.into_iter().flat_map(files).map(|name| ScannedFile { name, meta, executable: false });
        let mut hashing = Hashing::new(HashCache::open(None).unwrap().0, 1);
        hashing.take(files.collect(), &share, &mut jobs);
        let mut turns = Vec::new();
        loop {
            let away = hashing.shares.iter().filter(|(_, of)| of.is_away()).map(|(at, _)| Arc::clone(at));
            let away: Vec<Arc<Path>> = away.collect();
            let [at] = &away[..] else { break assert!(away.is_empty() && hashing.shares.is_empty(), "{away:?}") };
            turns.push(at.to_str().unwrap().replace("/nowhere/", ""));
            hashing.on_stepped((at, Ok(Box::default())), &share, &mut jobs, &mut cx);
        }
        assert_eq!(turns, ["a", "b", "c", "a", "b", "c"]);
    }

    /// The next job has files of the share that has the name now.
    #[test]
    fn a_job_that_was_lost_leaves_nothing_of_a_share_that_was_replaced() {
        let poll = Poll::new().unwrap();
        let mut jobs =
            Jobs::start(&Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()), Clock::start(), (1, 8)).unwrap();
        let (now, phase, scratch) = (Instant::from_ms(0), Phase::Running, Default::default());
        let mut cx = Cx { now, phase, scratch, reads: Default::default(), out: Default::default() };
        let mut hashing = Hashing::new(HashCache::open(None).unwrap().0, 8);
        let name = |text: &[u8]| FileName::from_bytes(text).unwrap();
        let meta = FileMeta { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1, device: 1 };
        let (share, at) = (Arc::new(ShareRoot::at(Path::new("/nowhere"))), Path::new("/nowhere").into());
        let file = |text: &[u8]| ScannedFile { name: name(text), meta, executable: false };
        hashing.take(vec![file(b"music/a")], &share, &mut jobs);
        hashing.forget(&[name(b"music")], &mut cx);
        hashing.take(vec![file(b"music/b")], &share, &mut jobs);
        hashing.on_stepped((&at, Err(DiskFault::NoAnswer)), &share, &mut jobs, &mut cx);
        assert!(hashing.shares[&at].replaced.is_empty());
    }
}

//! Giving part files that are complete their final names. Those on one filesystem that wait for their turn there are named by one
//! job, which syncs each directory once.

use super::Disk;
use super::job::{Committed, Done, Key, Lane, NamedParts, Outcome};
use super::jobs::Jobs;
use crate::driver::cx::Cx;
use crate::driver::net::Net;
use crate::fault::DiskFault;
use crate::id::{FilesystemId, TransferId};
use crate::node::Event;
use crate::store::{PartFile, commit_all};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Part files that one job names: a stop waits for it.
const COMMITS_AT_ONCE_MAX: usize = 64;

type Waiting = Vec<(TransferId, PartFile)>;

/// The part files that wait for their final names, by filesystem. Workers take them out.
#[derive(Default)]
pub(super) struct Commits {
    waiting: BTreeMap<FilesystemId, Arc<Mutex<Waiting>>>,
}

impl Commits {
    fn add(&mut self, download: TransferId, part: PartFile, jobs: &mut Jobs) {
        let filesystem = part.filesystem;
        lock(self.waiting.entry(filesystem).or_default()).push((download, part));
        self.submit(filesystem, jobs);
    }

    /// Has a job take what waits when its turn comes. One that waits already is replaced, and keeps its turn.
    fn submit(&mut self, filesystem: FilesystemId, jobs: &mut Jobs) {
        let Some(waiting) = self.waiting.get(&filesystem).cloned() else { return };
        let taken = NamedParts::default();
        let notes = Arc::clone(&taken);
        let done = move |outcomes| Done::Committed(Committed { filesystem, taken: Arc::clone(&notes), outcomes });
        jobs.submit((Lane::Sync, Key::Commits(filesystem)), done, Vec::new(), move || commit(&waiting, &taken));
    }

    /// A job has ended: what it has left is for another one.
    fn on_ended(&mut self, ended: Committed, jobs: &mut Jobs) -> Vec<(TransferId, Outcome)> {
        let Committed { filesystem, taken, outcomes } = ended;
        if self.waiting.get(&filesystem).is_some_and(|waiting| lock(waiting).is_empty()) {
            self.waiting.remove(&filesystem);
        }
        self.submit(filesystem, jobs);
        let outcomes = outcomes.into_iter().chain(std::iter::repeat(Err(DiskFault::Internal)));
        lock(&taken).iter().copied().zip(outcomes).collect()
    }
}

fn commit(waiting: &Mutex<Waiting>, taken: &Mutex<Vec<TransferId>>) -> Vec<Outcome> {
    let parts: Vec<_> = {
        let mut waiting = lock(waiting);
        let count = waiting.len().min(COMMITS_AT_ONCE_MAX);
        waiting.drain(..count).collect()
    };
    lock(taken).extend(parts.iter().map(|(download, _)| *download));
    commit_all(parts.into_iter().map(|(_, part)| part.commit()).collect())
}

fn lock<T>(parts: &Mutex<T>) -> MutexGuard<'_, T> {
    parts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    pub(super) fn commit_part(&mut self, download: TransferId, cx: &mut Cx) {
        self.parts.open.forget_partials(download);
        let Some((part, permit)) = self.parts.take(download) else {
            return cx.out.event(Event::PartCommitted { download, outcome: Err(DiskFault::Missing) });
        };
        // After a job on it has panicked nobody knows what it is.
        let Some(part) = part.into_file() else {
            return cx.out.event(Event::PartCommitted { download, outcome: Err(DiskFault::Other(0)) });
        };
        self.parts.set_busy(download, permit);
        self.commits.add(download, part, &mut self.jobs);
    }

    pub(super) fn on_committed(&mut self, ended: Committed, net: &mut Net, cx: &mut Cx) {
        for (download, outcome) in self.commits.on_ended(ended, &mut self.jobs) {
            self.end_job(download, Some(Event::PartCommitted { download, outcome }), net, cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock::Clock;
    use crate::driver::disk::job::Device;
    use crate::part::{CommittedPart, PartSpec, Target};
    use crate::store::{PartOpened, PartRequest};
    use mio::{Poll, Token, Waker};
    use std::path::Path;
    use std::sync::mpsc;

    fn opened(directory: &Path, number: u32) -> PartFile {
        let name = crate::name::FileName::from_bytes(b"unused").unwrap();
        let target = Target::Exact { path: directory.join(number.to_string()), name };
        let spec = PartSpec { target, token: number, filesystem: None };
        let request = PartRequest { spec, b3: None, size: None, known: Arc::default() };
        let Ok(PartOpened::Ready(mut part)) = request.open() else { panic!("it is not there") };
        part.append(b"content").unwrap();
        part
    }

    fn next(jobs: &mut Jobs) -> Done {
        loop {
            match jobs.poll() {
                Some(done) => return done,
                None => std::thread::yield_now(),
            }
        }
    }

    fn committed(commits: &mut Commits, jobs: &mut Jobs) -> Vec<(TransferId, Outcome)> {
        let Done::Committed(ended) = next(jobs) else { panic!("nothing else was submitted") };
        commits.on_ended(ended, jobs)
    }

    /// Holds the worker of a filesystem until the sender is dropped.
    fn hold(jobs: &mut Jobs, filesystem: FilesystemId) -> mpsc::Sender<()> {
        let (held, hold) = mpsc::channel::<()>();
        let download = TransferId(1000);
        jobs.set_device(download, Some(Device::Filesystem(filesystem)));
        let done = move |()| Done::PartClosed(download);
        jobs.submit((Lane::Sync, Key::Part(download)), done, (), move || _ = hold.recv());
        held
    }

    #[test]
    fn what_waits_for_one_filesystem_is_named_by_one_job() {
        let scratch = tempfile::tempdir().unwrap();
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut jobs = Jobs::start(&waker, Clock::start(), (1, 1)).unwrap();
        let mut commits = Commits::default();
        let count = COMMITS_AT_ONCE_MAX as u32 + 3;
        let parts: Vec<PartFile> = (0..count).map(|number| opened(scratch.path(), number)).collect();
        let held = hold(&mut jobs, parts[0].filesystem);
        for (number, part) in (0..).zip(parts) {
            commits.add(TransferId(number), part, &mut jobs);
        }
        assert!(jobs.poll().is_none(), "one at a time works on a filesystem");
        drop(held);
        assert!(matches!(next(&mut jobs), Done::PartClosed(_)));
        let first = committed(&mut commits, &mut jobs);
        let rest = committed(&mut commits, &mut jobs);
        assert_eq!((first.len(), rest.len()), (COMMITS_AT_ONCE_MAX, 3));
        for (number, (download, outcome)) in (0..).zip(first.into_iter().chain(rest)) {
            let path = scratch.path().join(number.to_string());
            assert_eq!((download, outcome), (TransferId(number), Ok(CommittedPart { path, already: false })));
        }
        while !commits.waiting.is_empty() {
            assert!(committed(&mut commits, &mut jobs).is_empty(), "the last one had nothing left");
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), count as usize);
    }

    #[test]
    fn those_that_a_lost_job_had_have_failed_and_the_others_are_named() {
        let scratch = tempfile::tempdir().unwrap();
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut jobs = Jobs::start(&waker, Clock::start(), (1, 1)).unwrap();
        let mut commits = Commits::default();
        let part = opened(scratch.path(), 3);
        let filesystem = part.filesystem;
        let held = hold(&mut jobs, filesystem);
        commits.add(TransferId(3), part, &mut jobs);
        let taken = NamedParts::new(vec![TransferId(1), TransferId(2)].into());
        let lost = commits.on_ended(Committed { filesystem, taken, outcomes: Vec::new() }, &mut jobs);
        let fault = || Err(DiskFault::Internal);
        assert_eq!(lost, [(TransferId(1), fault()), (TransferId(2), fault())]);
        drop(held);
        assert!(matches!(next(&mut jobs), Done::PartClosed(_)));
        let named = committed(&mut commits, &mut jobs);
        assert!(matches!(named[..], [(TransferId(3), Ok(_))]), "{named:?}");
    }
}

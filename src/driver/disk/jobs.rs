//! Calls that Linux offers in no nonblocking form, each in a short-lived thread that reports through the waker:
//! getaddrinfo for the name of a bootstrap node; fsync, allocation, opening part files, writing the hash cache; and the check
//! of a configuration, which looks at directories.
//!
//! Nothing else may run here. Without a job there is no helper thread. One job of each key runs at a time, and a waiting job
//! is replaced by a newer one with its key.

use crate::control::TimesReply;
use crate::driver::clock::Clock;
use crate::driver::histogram::Histogram;
use crate::fault::{DiskFault, ResolveFault};
use crate::id::TransferId;
use crate::node::contract::BootstrapAddr;
use crate::part::CommittedPart;
use crate::store::{CacheFault, Flushed, LogDone, Orphan, OrphansFound, PartOpened, Synced};
use mio::Waker;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) enum Done {
    Resolved(BootstrapAddr, Result<Vec<IpAddr>, ResolveFault>),
    TargetProbed(TransferId, Result<PathBuf, DiskFault>),
    PartOpened(TransferId, Result<PartOpened, DiskFault>),
    PartRemoved(TransferId, Result<(), DiskFault>),
    /// A part file was allocated, and its verified groups synced.
    PartSynced(TransferId, Result<Synced, DiskFault>),
    /// A finished download was synced and renamed.
    Committed(TransferId, Result<CommittedPart, DiskFault>),
    OrphansFound(OrphansFound),
    /// Orphans without data.
    OrphansRemoved(Vec<(Orphan, io::Result<()>)>),
    HashesFlushed(Result<Flushed, CacheFault>),
    /// The log of downloads was synced or rewritten.
    LogMaintained(io::Result<LogDone>),
    /// A state file was written: its name and content.
    Written(&'static str, Arc<[u8]>, Result<(), DiskFault>),
    /// The configuration was read and checked; the host has the outcome.
    ConfigurationRead,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Host(BootstrapAddr),
    Part(TransferId),
    /// A state file that is written whole.
    File(&'static str),
    Hashes,
    Log,
    Orphans,
    OrphansRemoved,
    Configuration,
}

/// Lanes run independently: a lookup that hangs delays no sync, and a sync no opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Lookup,
    Open,
    Sync,
    /// The log of downloads: replies to users wait for it.
    Log,
    /// Orphans: nothing waits for them.
    Search,
    Reload,
}

impl Lane {
    fn running_max(self) -> usize {
        match self {
            Self::Lookup => 4,
            Self::Open | Self::Sync => 2,
            Self::Log | Self::Search | Self::Reload => 1,
        }
    }
}

struct Job {
    key: Key,
    work: Box<dyn FnOnce() -> Done + Send>,
    /// Reported if the work panics.
    lost: Done,
    /// When it was submitted, by [`Clock::fine`].
    submitted: Duration,
}

/// Running and waiting jobs. Their number is bounded: lookups by the bootstrap nodes, openings and syncs by the downloads in
/// progress and the state files.
pub(super) struct Jobs {
    running: BTreeMap<Key, Lane>,
    /// Waiting jobs, those of each lane in order of submission.
    waiting: BTreeMap<(Lane, u64), Job>,
    /// The place of the waiting job of a key.
    places: BTreeMap<Key, (Lane, u64)>,
    submitted: u64,
    sender: Sender<(Key, Done)>,
    receiver: Receiver<(Key, Done)>,
    waker: Arc<Waker>,
    clock: Clock,
    /// How long jobs waited.
    waits: Histogram,
}

impl Jobs {
    pub(super) fn new(waker: Arc<Waker>, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel();
        let (running, waiting, places) = Default::default();
        Self { running, waiting, places, submitted: 0, sender, receiver, waker, clock, waits: Histogram::default() }
    }

    /// Runs a job as soon as a thread is free. It ends in exactly one [`Done`], made by `done` from its result, or from `lost`
    /// if it panics.
    pub(super) fn submit<T>(
        &mut self,
        (lane, key): (Lane, Key),
        done: impl Fn(T) -> Done + Send + 'static,
        lost: T,
        work: impl FnOnce() -> T + Send + 'static,
    ) {
        let lost = done(lost);
        let work = Box::new(move || done(work()));
        let job = Job { key: key.clone(), lost, work, submitted: self.clock.fine() };
        self.submitted += 1;
        let place = *self.places.entry(key).or_insert((lane, self.submitted));
        self.waiting.insert(place, job);
        self.start_waiting(place.0);
    }

    pub(super) fn poll(&mut self) -> Option<Done> {
        let (key, done) = self.receiver.try_recv().ok()?;
        let lanes = [self.running.remove(&key), self.places.get(&key).map(|(lane, _)| *lane)];
        lanes.into_iter().flatten().for_each(|lane| self.start_waiting(lane));
        Some(done)
    }

    /// How long jobs waited before they ran.
    pub(super) fn waits(&self) -> TimesReply {
        self.waits.reply()
    }

    /// Whether a file is still to be synced, opened or removed.
    pub(super) fn is_syncing(&self) -> bool {
        let mut lanes = self.running.values().chain(self.waiting.keys().map(|(lane, _)| lane));
        lanes.any(|lane| matches!(lane, Lane::Open | Lane::Sync | Lane::Log))
    }

    fn start_waiting(&mut self, lane: Lane) {
        while self.running.values().filter(|running| **running == lane).count() < lane.running_max() {
            let mut waiting = self.waiting.range((lane, 0)..=(lane, u64::MAX));
            let Some(place) = waiting.find(|(_, job)| !self.running.contains_key(&job.key)).map(|(place, _)| *place)
            else {
                return;
            };
            let Some(job) = self.waiting.remove(&place) else { return };
            self.places.remove(&job.key);
            self.running.insert(job.key.clone(), lane);
            self.waits.record(self.clock.fine().saturating_sub(job.submitted));
            spawn(job, self.sender.clone(), Arc::clone(&self.waker));
        }
    }
}

/// Runs one job in a thread of its own, or inline if spawning fails.
fn spawn(job: Job, sender: Sender<(Key, Done)>, waker: Arc<Waker>) {
    let Job { key, work, lost, .. } = job;
    let report = Report { done: Some((key, lost)), sender, waker };
    let task = Arc::new(Mutex::new(Some((report, work))));
    let shared = Arc::clone(&task);
    let run = move || {
        let task = shared.lock().ok().and_then(|mut task| task.take());
        if let Some((mut report, work)) = task {
            let done = work();
            report.done = report.done.take().map(|(key, _)| (key, done));
        }
    };
    let inline = run.clone();
    if thread::Builder::new().name("pyrate-helper".into()).spawn(run).is_err() {
        inline();
    }
}

/// Reports the end of a job when dropped, so also if the job panics.
struct Report {
    done: Option<(Key, Done)>,
    sender: Sender<(Key, Done)>,
    waker: Arc<Waker>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // Fails only if the loop has ended.
            let _ = self.sender.send(done);
        }
        let _ = self.waker.wake();
    }
}

pub(super) fn resolve(host: &BootstrapAddr) -> Result<Vec<IpAddr>, ResolveFault> {
    let found =
        (host.host.as_str(), host.port).to_socket_addrs().map_err(|error| ResolveFault::Lookup(error.to_string()))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|endpoint| endpoint.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(ResolveFault::NoAddress) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    struct Loop {
        poll: Poll,
        jobs: Jobs,
    }

    impl Loop {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let jobs = Jobs::new(Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()), Clock::start());
            Self { poll, jobs }
        }

        fn wait(&mut self) -> Done {
            let mut events = Events::with_capacity(4);
            loop {
                if let Some(done) = self.jobs.poll() {
                    return done;
                }
                self.poll.poll(&mut events, None).unwrap();
            }
        }

        /// Submits a job that writes a state file; its bytes identify it in the result.
        fn write(&mut self, file: &'static str, bytes: &'static [u8], work: impl FnOnce() + Send + 'static) {
            let done = move |outcome| Done::Written(file, bytes.into(), outcome);
            let work = move || {
                work();
                Ok(())
            };
            self.jobs.submit((Lane::Sync, Key::File(file)), done, Err(DiskFault::Other(0)), work);
        }
    }

    #[test]
    fn a_lookup_wakes_the_loop() {
        let mut rig = Loop::new();
        let host = BootstrapAddr { host: "localhost".into(), port: 1 };
        let (asked, looked_up) = (host.clone(), host.clone());
        let done = move |outcome| Done::Resolved(asked.clone(), outcome);
        let lost = Err(ResolveFault::Lost);
        rig.jobs.submit((Lane::Lookup, Key::Host(host.clone())), done, lost, move || resolve(&looked_up));
        let Done::Resolved(asked, Ok(addresses)) = rig.wait() else { panic!("localhost was not found") };
        assert_eq!(asked, host);
        assert!(addresses.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn one_job_of_a_key_runs_at_a_time_and_the_newest_waiting_one_next() {
        let mut rig = Loop::new();
        let (go, waits) = mpsc::channel();
        rig.write("peers", b"1", move || waits.recv().unwrap());
        rig.write("peers", b"2", || unreachable!("a newer one replaces it"));
        rig.write("places", b"3", || {});
        rig.write("peers", b"4", || {});
        let mut written = Vec::new();
        for _ in 0..3 {
            let Done::Written(_, bytes, Ok(())) = rig.wait() else { panic!("it was written") };
            written.push(bytes[0]);
            if bytes[0] == b'3' {
                go.send(()).unwrap();
            }
        }
        assert_eq!(written, *b"314");
        assert!(!rig.jobs.is_syncing() && rig.jobs.poll().is_none());
        assert_eq!(rig.jobs.waits().count, 3, "of those that ran");
    }

    #[test]
    fn a_job_that_panics_is_reported_as_lost_and_the_next_one_runs() {
        let mut rig = Loop::new();
        rig.write("peers", b"1", || panic!("on purpose"));
        rig.write("peers", b"2", || {});
        assert!(matches!(rig.wait(), Done::Written(_, bytes, Err(DiskFault::Other(0))) if *bytes == *b"1"));
        assert!(matches!(rig.wait(), Done::Written(_, bytes, Ok(())) if *bytes == *b"2"));
        assert!(!rig.jobs.is_syncing());
    }
}

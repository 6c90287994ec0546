//! The calls that Linux offers in no nonblocking form, each in a short-lived thread that reports through the waker:
//! getaddrinfo for the name of a bootstrap node, and what waits for a disk to have written: fsync, allocation, the
//! opening of part files, the batches of the hash cache; and the check of a configuration, which looks at directories.
//!
//! Nothing else may run here. While nothing of the kind is under way the process has one thread.

use mio::Waker;
use std::collections::VecDeque;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::driver::ReloadJob;
use crate::fault::{DiskFault, ResolveFault};
use crate::id::TransferId;
use crate::node::contract::BootstrapAddr;
use crate::store::{
    CacheFault, CommitJob, Committed, FlushJob, Flushed, LogDone, LogJob, Orphan, OrphanSearch, OrphansFound,
    PartOpened, PartRequest, SyncJob, Synced, WriteJob,
};
use std::io;

/// Host names looked up at once.
const LOOKUPS_MAX: usize = 4;

/// Part files opened at once: one may have to be compared with a large file.
const OPENINGS_MAX: usize = 2;

/// Files synced at once.
const SYNCS_MAX: usize = 2;

/// A call that blocks.
pub(in crate::driver) enum Job {
    /// Look a host name up.
    Resolve(BootstrapAddr),
    /// Look whether a file can be made at a place.
    ProbeTarget(TransferId, PartRequest),
    /// Create a part file, or take it up again.
    OpenPart(TransferId, PartRequest),
    /// Remove a part file that is not open.
    RemovePart(TransferId, PartRequest),
    /// Allocate a part file, and sync what was verified.
    SyncPart(TransferId, SyncJob),
    /// Sync and rename a finished download.
    Commit(TransferId, CommitJob),
    /// Search for part files that no download names.
    FindOrphans(OrphanSearch),
    /// Remove those that hold no data, when the wall clock shows this.
    RemoveOrphans(Vec<Orphan>, i64),
    /// Write hashes to the cache.
    FlushHashes(FlushJob),
    /// Sync or rewrite the log of downloads.
    MaintainLog(LogJob),
    /// Write a state file atomically.
    Write(&'static str, WriteJob),
    /// Read and check the configuration.
    Reload(ReloadJob),
}

/// What a job brought.
pub(in crate::driver) enum Done {
    /// Of [`Job::Resolve`].
    Resolved(BootstrapAddr, Result<Vec<IpAddr>, ResolveFault>),
    /// Of [`Job::ProbeTarget`].
    TargetProbed(TransferId, Result<PathBuf, DiskFault>),
    /// Of [`Job::OpenPart`].
    PartOpened(TransferId, Result<PartOpened, DiskFault>),
    /// Of [`Job::RemovePart`].
    PartRemoved(TransferId, Result<(), DiskFault>),
    /// Of [`Job::SyncPart`].
    PartSynced(TransferId, Result<Synced, DiskFault>),
    /// Of [`Job::Commit`].
    Committed(TransferId, Result<Committed, DiskFault>),
    /// Of [`Job::FindOrphans`].
    OrphansFound(OrphansFound),
    /// Of [`Job::RemoveOrphans`].
    OrphansRemoved(Vec<(Orphan, io::Result<()>)>),
    /// Of [`Job::FlushHashes`].
    HashesFlushed(Result<Flushed, CacheFault>),
    /// Of [`Job::MaintainLog`].
    LogMaintained(io::Result<LogDone>),
    /// Of [`Job::Write`]: the file's name, and what was to be written.
    Written(&'static str, Arc<[u8]>, Result<(), DiskFault>),
    /// Of [`Job::Reload`]; the host has the outcome.
    ConfigurationRead,
}

/// Which jobs run beside which: a lookup that hangs delays no sync, and a sync no opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lookup,
    Open,
    Sync,
    /// Answers to users wait for it.
    Log,
    /// Nobody waits for it.
    Search,
    Reload,
}

impl Job {
    fn kind(&self) -> Kind {
        match self {
            Self::Resolve(_) => Kind::Lookup,
            Self::ProbeTarget(..) | Self::OpenPart(..) | Self::RemovePart(..) => Kind::Open,
            Self::MaintainLog(_) => Kind::Log,
            Self::FindOrphans(_) | Self::RemoveOrphans(..) => Kind::Search,
            Self::Reload(_) => Kind::Reload,
            _ => Kind::Sync,
        }
    }
}

impl Done {
    fn kind(&self) -> Kind {
        match self {
            Self::Resolved(..) => Kind::Lookup,
            Self::TargetProbed(..) | Self::PartOpened(..) | Self::PartRemoved(..) => Kind::Open,
            Self::LogMaintained(_) => Kind::Log,
            Self::OrphansFound(_) | Self::OrphansRemoved(_) => Kind::Search,
            Self::ConfigurationRead => Kind::Reload,
            _ => Kind::Sync,
        }
    }
}

/// One kind of job: how many run, and which wait.
struct Lane {
    running: usize,
    running_max: usize,
    waiting: VecDeque<Job>,
}

impl Lane {
    fn new(running_max: usize) -> Self {
        Self { running: 0, running_max, waiting: VecDeque::new() }
    }
}

/// The helper threads.
///
/// Bounded: lookups by the number of bootstrap nodes, openings and syncs by the downloads in progress and the state
/// files; those beyond the threads wait in order.
pub(in crate::driver) struct Helpers {
    lookups: Lane,
    openings: Lane,
    syncs: Lane,
    log: Lane,
    searches: Lane,
    reloads: Lane,
    sender: Sender<Done>,
    receiver: Receiver<Done>,
    waker: Arc<Waker>,
}

impl Helpers {
    pub(in crate::driver) fn new(waker: Arc<Waker>) -> Self {
        let (sender, receiver) = mpsc::channel();
        let (lookups, openings, syncs) = (Lane::new(LOOKUPS_MAX), Lane::new(OPENINGS_MAX), Lane::new(SYNCS_MAX));
        // The log makes one job at a time, and so do reloads.
        let (log, searches, reloads) = (Lane::new(1), Lane::new(1), Lane::new(1));
        Self { lookups, openings, syncs, log, searches, reloads, sender, receiver, waker }
    }

    /// Runs a job as soon as a thread is free.
    pub(in crate::driver) fn submit(&mut self, job: Job) {
        self.lane(job.kind()).waiting.push_back(job);
        self.start_waiting();
    }

    /// The next job that is through.
    pub(in crate::driver) fn poll(&mut self) -> Option<Done> {
        let done = self.receiver.try_recv().ok()?;
        let lane = self.lane(done.kind());
        lane.running = lane.running.saturating_sub(1);
        self.start_waiting();
        Some(done)
    }

    /// Whether a file is still to be synced, opened or removed.
    pub(in crate::driver) fn is_syncing(&self) -> bool {
        [&self.openings, &self.syncs, &self.log].into_iter().any(|lane| lane.running > 0 || !lane.waiting.is_empty())
    }

    fn lane(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Lookup => &mut self.lookups,
            Kind::Open => &mut self.openings,
            Kind::Sync => &mut self.syncs,
            Kind::Log => &mut self.log,
            Kind::Search => &mut self.searches,
            Kind::Reload => &mut self.reloads,
        }
    }

    fn start_waiting(&mut self) {
        let Self { lookups, openings, syncs, log, searches, reloads, .. } = self;
        for lane in [lookups, openings, syncs, log, searches, reloads] {
            while lane.running < lane.running_max {
                let Some(job) = lane.waiting.pop_front() else { break };
                lane.running += 1;
                spawn(job, self.sender.clone(), Arc::clone(&self.waker));
            }
        }
    }
}

/// Runs one job in a thread of its own; without a thread to be had it runs here, late rather than never.
fn spawn(job: Job, sender: Sender<Done>, waker: Arc<Waker>) {
    let slot = Arc::new(std::sync::Mutex::new(Some(job)));
    let shared = Arc::clone(&slot);
    let report = move || {
        let job = shared.lock().ok().and_then(|mut job| job.take());
        if let Some(job) = job {
            // The receiver lives as long as the loop: a failure means that the process ends.
            let _ = sender.send(run(job));
            let _ = waker.wake();
        }
    };
    let inline = report.clone();
    if thread::Builder::new().name("pyrate-helper".into()).spawn(report).is_err() {
        inline();
    }
}

fn run(job: Job) -> Done {
    match job {
        Job::Resolve(host) => {
            let outcome = resolve(&host);
            Done::Resolved(host, outcome)
        }
        Job::ProbeTarget(download, request) => Done::TargetProbed(download, request.probe()),
        Job::OpenPart(download, request) => Done::PartOpened(download, open_part(request)),
        Job::RemovePart(download, request) => Done::PartRemoved(download, request.remove()),
        Job::SyncPart(download, job) => Done::PartSynced(download, job.run()),
        Job::Commit(download, job) => Done::Committed(download, job.run()),
        Job::FindOrphans(search) => Done::OrphansFound(search.run()),
        Job::RemoveOrphans(orphans, wall_ns) => {
            let remove = |orphan: Orphan| {
                let outcome = orphan.remove(wall_ns);
                (orphan, outcome)
            };
            Done::OrphansRemoved(orphans.into_iter().map(remove).collect())
        }
        Job::FlushHashes(job) => Done::HashesFlushed(job.run()),
        Job::MaintainLog(job) => Done::LogMaintained(job.run()),
        Job::Write(file, job) => {
            let bytes = job.bytes();
            Done::Written(file, bytes, job.run().map_err(DiskFault::from))
        }
        Job::Reload(job) => {
            job();
            Done::ConfigurationRead
        }
    }
}

/// Opens a part file. What its journal proves of a content that the download does not know of, as when the record of it
/// was lost, is of no use: it is begun anew.
fn open_part(request: PartRequest) -> Result<PartOpened, DiskFault> {
    match request.clone().open()? {
        PartOpened::Ready(part) if request.b3.is_none() && part.outline().is_some() => {
            part.discard();
            request.open()
        }
        opened => Ok(opened),
    }
}

fn resolve(host: &BootstrapAddr) -> Result<Vec<IpAddr>, ResolveFault> {
    let found = (host.host.as_str(), host.port).to_socket_addrs().map_err(|error| ResolveFault(error.to_string()))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for endpoint in found {
        if !addresses.contains(&endpoint.ip()) {
            addresses.push(endpoint.ip());
        }
    }
    if addresses.is_empty() { Err(ResolveFault("no address".into())) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    #[test]
    fn a_lookup_wakes_the_loop() {
        let mut poll = Poll::new().unwrap();
        let mut helpers = Helpers::new(Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let host = BootstrapAddr { host: "localhost".into(), port: 1 };
        helpers.submit(Job::Resolve(host.clone()));
        let mut events = Events::with_capacity(4);
        let done = loop {
            poll.poll(&mut events, None).unwrap();
            if let Some(done) = helpers.poll() {
                break done;
            }
        };
        let Done::Resolved(asked, Ok(addresses)) = done else { panic!("localhost was not found") };
        assert_eq!(asked, host);
        assert!(addresses.iter().all(IpAddr::is_loopback));
    }
}

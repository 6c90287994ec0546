//! The calls that Linux offers in no nonblocking form, each in a short-lived thread that reports through the waker:
//! getaddrinfo for the name of a bootstrap node, and fsync for a finished download or a state file.
//!
//! Nothing else may run here. While nothing of the kind is under way the process has one thread.

use mio::Waker;
use std::collections::VecDeque;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::fault::{DiskFault, ResolveFault};
use crate::id::TransferId;
use crate::node::contract::BootstrapAddr;
use crate::store::{CommitJob, Committed, WriteJob};

/// Host names looked up at once.
const LOOKUPS_MAX: usize = 4;

/// Files synced at once.
const SYNCS_MAX: usize = 2;

/// A call that blocks.
pub(super) enum Job {
    /// Look a host name up.
    Resolve(BootstrapAddr),
    /// Sync and rename a finished download.
    Commit(TransferId, CommitJob),
    /// Write a state file atomically.
    Write(&'static str, WriteJob),
}

/// What a job brought.
pub(super) enum Done {
    /// Of [`Job::Resolve`].
    Resolved(BootstrapAddr, Result<Vec<IpAddr>, ResolveFault>),
    /// Of [`Job::Commit`].
    Committed(TransferId, Result<Committed, DiskFault>),
    /// Of [`Job::Write`]: the file's name.
    Written(&'static str, Result<(), DiskFault>),
}

impl Done {
    fn was_lookup(&self) -> bool {
        matches!(self, Self::Resolved(..))
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
/// Bounded: lookups by the number of bootstrap nodes, syncs by the downloads that end and the two state files; those
/// beyond the threads wait in order. A lookup that hangs delays no sync.
pub(super) struct Helpers {
    lookups: Lane,
    syncs: Lane,
    sender: Sender<Done>,
    receiver: Receiver<Done>,
    waker: Arc<Waker>,
}

impl Helpers {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { lookups: Lane::new(LOOKUPS_MAX), syncs: Lane::new(SYNCS_MAX), sender, receiver, waker }
    }

    /// Runs a job as soon as a thread is free.
    pub(super) fn submit(&mut self, job: Job) {
        let lane = if matches!(job, Job::Resolve(_)) { &mut self.lookups } else { &mut self.syncs };
        lane.waiting.push_back(job);
        self.start_waiting();
    }

    /// The next job that is through.
    pub(super) fn poll(&mut self) -> Option<Done> {
        let done = self.receiver.try_recv().ok()?;
        let lane = if done.was_lookup() { &mut self.lookups } else { &mut self.syncs };
        lane.running = lane.running.saturating_sub(1);
        self.start_waiting();
        Some(done)
    }

    /// Whether a file is still to be synced.
    pub(super) fn is_syncing(&self) -> bool {
        self.syncs.running > 0 || !self.syncs.waiting.is_empty()
    }

    fn start_waiting(&mut self) {
        for lane in [&mut self.lookups, &mut self.syncs] {
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
        Job::Commit(download, job) => Done::Committed(download, job.run()),
        Job::Write(file, job) => Done::Written(file, job.run().map_err(DiskFault::from)),
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

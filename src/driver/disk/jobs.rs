//! The jobs that wait for a disk or for a name server, and the threads that run them: one or two for each [`Lane`],
//! made at the start and named after it. One job of each key runs at a time, a waiting job is replaced by a newer one with its
//! key, and the loop gives each thread the next job when the last one has ended.

use super::job::{Device, Done, Ended, Job, Key, Lane};
use super::workers::{Tools, Workers};
use crate::driver::StartFault;
use crate::driver::clock::Clock;
use crate::driver::histogram::Histogram;
use crate::driver::interface::Interface;
use crate::fault::ResolveFault;
use crate::id::TransferId;
use crate::node::contract::BootstrapAddr;
use crate::time::Instant;
use mio::Waker;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Workers that read shares for peers, and those that scan and hash them. Each waiting thread takes some KiB.
const SHARE_WORKERS_MAX: usize = 8;

/// After this long without an answer something hangs. A disk that stood still has spun up by then, and all jobs that are given up give
/// way after some calls.
const ANSWER_MAX: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(20) };

/// Running and waiting jobs. Their number is bounded: lookups by the bootstrap nodes, openings and syncs by the downloads in
/// progress and the state files, those of the share by the connections and descriptors.
pub(super) struct Jobs {
    running: BTreeMap<Key, Running>,
    /// Waiting jobs, those of each lane in order of submission, and their results if they are lost.
    waiting: BTreeMap<(Lane, u64), (Job, Done)>,
    /// The place of the waiting job of a key.
    places: BTreeMap<Key, (Lane, u64)>,
    submitted: u64,
    /// What the part files of downloads are on.
    devices: BTreeMap<TransferId, Device>,
    workers: BTreeMap<Lane, Workers>,
    /// The results of jobs that were given up.
    given_up: VecDeque<Done>,
    ended: Receiver<Ended>,
    /// What each worker has.
    tools: Tools,
    /// How long jobs waited.
    waits: Histogram,
}

struct Running {
    lane: Lane,
    on: Option<Device>,
    /// By [`Clock::fine`].
    since: Duration,
    /// The result if the job is lost; `None` if it was given up.
    lost: Option<Done>,
}

impl Jobs {
    /// Starts the threads, for so many shares.
    /// Errors: as the system reports that a thread cannot be created, with its name.
    pub(super) fn start(waker: &Arc<Waker>, clock: Clock, shares: usize) -> Result<Self, StartFault> {
        let (running, waiting, places, devices, given_up) = Default::default();
        let (report, ended) = mpsc::channel();
        let tools = Tools { report, waker: Arc::clone(waker), clock };
        let (workers, waits) =
            (Lane::ALL.into_iter().map(|lane| (lane, Workers::default())).collect(), Histogram::default());
        let mut jobs = Self { running, waiting, places, submitted: 0, devices, workers, given_up, ended, tools, waits };
        Lane::ALL.into_iter().try_for_each(|lane| jobs.hire(lane, lane.workers()))?;
        jobs.hire_for_shares(shares)?;
        Ok(jobs)
    }

    /// Has a worker for each share, as far as there may be so many: those that hang hold one each, and none is left for the others
    /// only if as many hang at once as there are workers. Errors: as [`Jobs::start`].
    pub(super) fn hire_for_shares(&mut self, shares: usize) -> Result<(), StartFault> {
        // What is running may be for a share that was replaced.
        let held = |lane| self.running.values().filter(|running| running.lane == lane).count();
        let [read, scanned] = [Lane::Share, Lane::Scan].map(held);
        self.hire(Lane::Share, (shares + read).min(SHARE_WORKERS_MAX))?;
        self.hire(Lane::Scan, (shares + scanned).min(SHARE_WORKERS_MAX))
    }

    /// Starts threads of a lane, until there are so many.
    fn hire(&mut self, lane: Lane, count: usize) -> Result<(), StartFault> {
        let Some(workers) = self.workers.get_mut(&lane).filter(|workers| workers.count < count) else { return Ok(()) };
        // Signals are for the threads of the program. One for a file that meets a limit on its size becomes an error.
        let fault = |error| StartFault::Io { what: "cannot block signals".into(), error };
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(|errno| fault(errno.into()))?;
        let hired = (workers.count..count).try_for_each(|_| workers.add(lane, &self.tools));
        mask.thread_set_mask().map_err(|errno| fault(errno.into()))?;
        hired
    }

    /// Runs a job as soon as a worker of its lane is free. It ends in exactly one [`Done`], made by `done` from its result, or from
    /// `lost` if it panics, or is given up.
    pub(super) fn submit<T>(
        &mut self,
        (lane, key): (Lane, Key),
        done: impl Fn(T) -> Done + Send + 'static,
        lost: T,
        work: impl FnOnce() -> T + Send + 'static,
    ) {
        self.submit_on(None, (lane, key), done, lost, work);
    }

    /// Submits a job that waits for a share.
    pub(super) fn submit_on<T>(
        &mut self,
        share: Option<&Arc<Path>>,
        (lane, key): (Lane, Key),
        done: impl Fn(T) -> Done + Send + 'static,
        lost: T,
        work: impl FnOnce() -> T + Send + 'static,
    ) {
        let lost = done(lost);
        let work = Box::new(move || done(work()));
        let on = share.map(|share| Device::Directory(Arc::clone(share)));
        let job = Job { key: key.clone(), on, work, submitted: self.tools.clock.fine() };
        self.submitted += 1;
        let place = *self.places.entry(key).or_insert((lane, self.submitted));
        self.waiting.insert(place, (job, lost));
        self.start_waiting(place.0);
        self.give_up_waiting(lane);
    }

    /// Takes a waiting job back, which then has no [`Done`]. Returns whether there was one; one that runs goes on.
    pub(super) fn withdraw(&mut self, key: &Key) -> bool {
        self.places.remove(key).and_then(|place| self.waiting.remove(&place)).is_some()
    }

    pub(super) fn poll(&mut self) -> Option<Done> {
        if let Some(done) = self.given_up.pop_front() {
            return Some(done);
        }
        loop {
            let Ended { key, done, waited } = self.ended.try_recv().ok()?;
            self.waits.record(waited);
            let ran = self.running.remove(&key);
            let lanes = [ran.as_ref().map(|ran| ran.lane), self.places.get(&key).map(|(lane, _)| *lane)];
            lanes.into_iter().flatten().for_each(|lane| self.start_waiting(lane));
            // One that was given up has had its result.
            if let Some(lost) = ran.and_then(|ran| ran.lost) {
                return Some(done.unwrap_or(lost));
            }
        }
    }

    /// When the next job is given up, unless it ends before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let clock = self.tools.clock;
        let since =
            self.running.iter().filter(|(key, job)| key.is_given_up() && job.lost.is_some()).map(|(_, job)| job.since);
        since.min().map(|since| clock.now() + (since + ANSWER_MAX).saturating_sub(clock.fine()))
    }

    /// Gives up the jobs that have run for so long that something hangs, and those that wait for the same.
    pub(super) fn give_up_overdue(&mut self) {
        let now = self.tools.clock.fine();
        for (_, job) in self.running.iter_mut().filter(|(key, job)| key.is_given_up() && job.since + ANSWER_MAX <= now)
        {
            self.given_up.extend(job.lost.take());
        }
        [Lane::Share, Lane::Scan].into_iter().for_each(|lane| self.give_up_waiting(lane));
    }

    /// Gives up the jobs that wait for one that was given up.
    fn give_up_waiting(&mut self, lane: Lane) {
        let held = |on: Option<&Device>| {
            on.is_some()
                && self.running.values().any(|job| job.lane == lane && job.lost.is_none() && job.on.as_ref() == on)
        };
        let waiting = self.waiting.range((lane, 0)..=(lane, u64::MAX));
        let waiting = waiting.filter(|(_, (job, _))| job.key.is_given_up() && held(job.on.as_ref()));
        let given_up: Vec<_> = waiting.map(|(place, _)| *place).collect();
        for place in given_up {
            let Some((job, lost)) = self.waiting.remove(&place) else { continue };
            self.places.remove(&job.key);
            self.given_up.push_back(lost);
        }
        if !self.given_up.is_empty() {
            // They are polled as the others.
            let _ = self.tools.waker.wake();
        }
    }

    /// Notes what the part file of a download is on, while no job works on it; or forgets that.
    pub(super) fn set_device(&mut self, download: TransferId, device: Option<Device>) {
        match device {
            Some(device) => drop(self.devices.insert(download, device)),
            None => drop(self.devices.remove(&download)),
        }
    }

    /// For jobs that give way after a time.
    pub(super) fn clock(&self) -> Clock {
        self.tools.clock
    }

    /// How long jobs waited before they ran.
    pub(super) fn waits(&self) -> &Histogram {
        &self.waits
    }

    /// How many jobs wait for a worker, by the name of its thread.
    pub(super) fn waiting_by_thread(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Lane::ALL
            .into_iter()
            .map(|lane| (lane.thread_name(), self.waiting.range((lane, 0)..=(lane, u64::MAX)).count() as u64))
    }

    /// Whether there are jobs that a stop waits for.
    pub(super) fn is_syncing(&self) -> bool {
        let running = self.running.values().map(|job| job.lane);
        let mut lanes = running.chain(self.waiting.keys().map(|(lane, _)| *lane));
        lanes.any(|lane| lane.is_awaited())
    }

    fn start_waiting(&mut self, lane: Lane) {
        while self.running.values().filter(|job| job.lane == lane).count() < self.workers[&lane].count {
            let mut waiting = self.waiting.range((lane, 0)..=(lane, u64::MAX));
            let Some(place) = waiting.find(|(_, (job, _))| self.may_run(lane, job)).map(|(place, _)| *place) else {
                return;
            };
            let Some((job, lost)) = self.waiting.remove(&place) else { return };
            self.places.remove(&job.key);
            let (on, since) = (self.device_of(&job).cloned(), self.tools.clock.fine());
            self.running.insert(job.key.clone(), Running { lane, on, since, lost: Some(lost) });
            self.workers[&lane].give(job);
        }
    }

    /// Whether no job of its key runs, nor one of the lane on the same device.
    fn may_run(&self, lane: Lane, job: &Job) -> bool {
        let device = self.device_of(job);
        let is_same = |running: &Running| running.lane == lane && running.on.as_ref() == device;
        let is_busy = lane.is_by_device() && self.running.values().any(is_same);
        !is_busy && !self.running.contains_key(&job.key)
    }

    fn device_of<'j>(&'j self, job: &'j Job) -> Option<&'j Device> {
        job.on.as_ref().or_else(|| self.devices.get(&job.key.download()?))
    }
}

pub(super) fn resolve(host: &BootstrapAddr, interface: &Interface) -> Result<Vec<IpAddr>, ResolveFault> {
    if let Some(found) = interface.resolve(&host.host) {
        return found;
    }
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
mod tests;

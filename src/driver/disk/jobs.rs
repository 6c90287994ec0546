//! The jobs that wait for a disk or for a name server, and the threads that run them. Each [`Lane`] has threads of its own, named after
//! it: one or two, and in the lanes of shares one for each share, and more while some hang. One job of each key runs at a time, a
//! waiting job is replaced by a newer one with its key, and the loop gives each thread the next job when the last one has ended.

use super::job::{Device, Done, Ended, Job, Key, Lane};
use super::workers::{Tools, Workers};
use crate::driver::StartFault;
use crate::driver::clock::Clock;
use crate::driver::histogram::Histogram;
use crate::driver::interface::Interface;
use crate::driver::with_signals_blocked;
use crate::fault::ResolveFault;
use crate::id::TransferId;
use crate::node::contract::BootstrapAddr;
use crate::time::Instant;
use log::warn;
use mio::Waker;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::ops::{Bound, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Most threads that read shares for peers. Each takes some KiB while it waits.
const SHARE_WORKERS_MAX: usize = 8;

/// There are so many of them for each share that is scanned or hashed at once. Each takes a descriptor while it opens a file.
const READERS_PER_SHARE_AT_WORK: usize = 2;

/// Threads of a lane, with those in whose place others work since their jobs hang. Enough for one for each share.
const THREADS_MAX: usize = if cfg!(test) { 20 } else { 72 };

/// A job that takes longer hangs, as far as can be known. A disk that stood still has spun up by then, and each job that may be given up ends within some
/// calls otherwise.
const ANSWER_MAX: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(20) };

/// Running and waiting jobs. Their number is bounded: lookups by the bootstrap nodes, openings and syncs by the downloads in
/// progress and the state files, those of the share by the connections and descriptors.
pub(super) struct Jobs {
    running: BTreeMap<Key, RunningJob>,
    /// Waiting jobs, those of each lane in order of submission, and their results if they are lost.
    waiting: BTreeMap<Place, (Job, Done)>,
    /// The place of the waiting job of a key.
    places: BTreeMap<Key, Place>,
    submitted: u64,
    /// Things that were dropped by jobs.
    dropped: u64,
    /// What the part files of downloads are on.
    devices: BTreeMap<TransferId, Device>,
    workers: BTreeMap<Lane, Workers>,
    shares: usize,
    /// Shares that are scanned at once, and hashed.
    shares_at_work_max: usize,
    /// The results of jobs that were given up.
    given_up: VecDeque<Done>,
    ended: Receiver<Ended>,
    /// What each worker has.
    tools: Tools,
    /// How long jobs waited that ran, and those that did not since they were given up.
    waits: Histogram,
}

/// Where a job waits: in its lane, among those for the same share, in order of submission.
type Place = (Lane, Option<Device>, u64);

struct RunningJob {
    lane: Lane,
    on: Option<Device>,
    /// By [`Clock::fine`].
    since: Duration,
    /// How long it had waited then.
    waited: Duration,
    /// It hangs, as far as can be known.
    is_overdue: bool,
    /// Descriptors that it may hold without a permit.
    descriptors: usize,
    /// The result if the job is lost; `None` if it was given up.
    lost: Option<Done>,
    /// What is to be heard of its end if it was given up.
    late: Option<Done>,
}

impl Jobs {
    /// Starts the threads, for so many shares, of which so many are scanned at once, and hashed.
    /// Errors: as the system reports that a thread cannot be created, with its name.
    pub(super) fn start(
        waker: &Arc<Waker>,
        clock: Clock,
        (shares, shares_at_work_max): (usize, usize),
    ) -> Result<Self, StartFault> {
        let (running, waiting, places, devices, given_up) = Default::default();
        let (report, ended) = mpsc::channel();
        let tools = Tools { report, waker: Arc::clone(waker), clock };
        let (workers, waits) =
            (Lane::ALL.into_iter().map(|lane| (lane, Workers::default())).collect(), Histogram::default());
        let (submitted, dropped) = (0, 0);
        let mut jobs = Self {
            running,
            waiting,
            places,
            submitted,
            dropped,
            devices,
            workers,
            shares,
            shares_at_work_max,
            given_up,
            ended,
            tools,
            waits,
        };
        Lane::ALL.into_iter().try_for_each(|lane| jobs.hire(lane, lane.workers()))?;
        jobs.hire_for_shares(shares)?;
        Ok(jobs)
    }

    /// Has a worker for each share, as far as there may be so many. One whose job is overdue does not count: another takes its place.
    /// Errors: as [`Jobs::start`].
    pub(super) fn hire_for_shares(&mut self, shares: usize) -> Result<(), StartFault> {
        self.shares = shares;
        [Lane::Share, Lane::Scan].into_iter().try_for_each(|lane| {
            // Running jobs may be for shares that were replaced, and keep their workers.
            let held = self.running.values().filter(|running| running.lane == lane).count();
            self.hire(lane, (shares + held).min(self.workers_max(lane)))
        })
    }

    /// Most threads of a lane, beside those whose jobs hang.
    fn workers_max(&self, lane: Lane) -> usize {
        match lane {
            Lane::Share => (READERS_PER_SHARE_AT_WORK * self.shares_at_work_max).min(SHARE_WORKERS_MAX),
            Lane::Scan => self.shares_at_work_max,
            lane => lane.workers(),
        }
    }

    /// Starts threads of a lane, until there are so many.
    fn hire(&mut self, lane: Lane, count: usize) -> Result<(), StartFault> {
        let Some(workers) = self.workers.get_mut(&lane).filter(|workers| workers.count < count) else { return Ok(()) };
        let hired = with_signals_blocked(|| (workers.count..count).try_for_each(|_| workers.add(lane, &self.tools)));
        hired.map_err(|error| StartFault::Io { what: "cannot block signals".into(), error })?
    }

    /// Runs a job as soon as a worker of its lane is free. It ends in exactly one [`Done`], made by `done` from its result, or from
    /// `lost` if it panics, or is given up ([`Done::unanswered`]); in none if a newer job with its key replaces it, or it is withdrawn.
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
        let on = share.map(|share| Device::Directory(Arc::clone(share))).or_else(|| key.device());
        let job = Job { key: key.clone(), on, work, submitted: self.tools.clock.fine() };
        self.submitted += 1;
        let place = self.places.entry(key).or_insert((lane, job.on.clone(), self.submitted)).clone();
        self.waiting.insert(place, (job, lost));
        self.start_waiting(lane);
        self.give_up_waiting(lane);
    }

    /// Takes a waiting job back, which then has no [`Done`]. Returns whether there was one; one that runs goes on.
    pub(super) fn withdraw(&mut self, key: &Key) -> bool {
        self.places.remove(key).and_then(|place| self.waiting.remove(&place)).is_some()
    }

    /// Drops something of a share with which nothing is to be done any more. It may hold open files, and closing them may wait.
    pub(super) fn drop_beside<T: Send + 'static>(&mut self, share: &Arc<Path>, unwanted: T) {
        self.dropped += 1;
        let place = (Lane::Scan, Key::Drop(self.dropped));
        self.submit_on(Some(share), place, |()| Done::Dropped, (), move || drop(unwanted));
    }

    pub(super) fn poll(&mut self) -> Option<Done> {
        if let Some(done) = self.given_up.pop_front() {
            return Some(done);
        }
        loop {
            let Ended { key, done, waited } = self.ended.try_recv().ok()?;
            let ran = self.running.remove(&key);
            // Of one that was given up this is counted; and nothing waits for what is dropped.
            if ran.as_ref().is_some_and(|ran| ran.lost.is_some()) && !matches!(key, Key::Drop(_)) {
                self.waits.record(waited);
            }
            let lanes = [ran.as_ref().map(|ran| ran.lane), self.places.get(&key).map(|(lane, ..)| *lane)];
            lanes.into_iter().flatten().for_each(|lane| self.start_waiting(lane));
            match ran {
                Some(RunningJob { lost: Some(lost), .. }) => match done.unwrap_or(lost) {
                    Done::Dropped => {}
                    done => return Some(done),
                },
                // One that was given up has had its result.
                Some(RunningJob { on, late, .. }) => {
                    if let Some(Device::Directory(share)) = on {
                        self.drop_beside(&share, done);
                    }
                    if late.is_some() {
                        return late;
                    }
                }
                None => {}
            }
        }
    }

    /// After the last turn. What was not run and not taken stays as it is: it may hold open files of a disk that does not answer.
    pub(super) fn end(mut self) {
        std::mem::forget(std::mem::take(&mut self.waiting));
        self.ended.try_iter().for_each(std::mem::forget);
    }

    /// When the next job is overdue, unless it ends before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let clock = self.tools.clock;
        let watched = self.running.values().filter(|job| job.lane.replaces_hung() && !job.is_overdue);
        let since = watched.map(|job| job.since).min();
        since.map(|since| clock.now() + (since + ANSWER_MAX).saturating_sub(clock.fine()))
    }

    /// Finds the jobs that have run for so long that something hangs. Others work in place of their threads; what can be given up is,
    /// with what waits for the same share.
    pub(super) fn give_up_overdue(&mut self) {
        let now = self.tools.clock.fine();
        for lane in Lane::ALL.into_iter().filter(|lane| lane.replaces_hung()) {
            let is_late = |job: &RunningJob| job.lane == lane && !job.is_overdue && job.since + ANSWER_MAX <= now;
            let mut is_any_late = false;
            for (key, job) in self.running.iter_mut().filter(|(_, job)| is_late(job)) {
                (job.is_overdue, is_any_late) = (true, true);
                if key.is_given_up() {
                    self.waits.record(job.waited);
                    job.late = job.lost.as_ref().and_then(Done::late);
                    self.given_up.extend(job.lost.take().map(Done::unanswered));
                }
            }
            if is_any_late {
                self.replace_overdue(lane);
                self.give_up_waiting(lane);
            }
        }
    }

    /// Starts threads in place of those whose jobs are overdue.
    fn replace_overdue(&mut self, lane: Lane) {
        let overdue = self.running.values().filter(|job| job.lane == lane && job.is_overdue).count();
        let usual = self.workers_max(lane).min(if lane.is_of_shares() { self.shares } else { usize::MAX });
        if let Err(fault) = self.hire(lane, (usual + overdue).min(THREADS_MAX)) {
            warn!("a disk hangs, and jobs for other disks may wait for it: {fault}");
        }
        self.start_waiting(lane);
    }

    /// Gives up the jobs that wait for a share of which a job is overdue; and, when all threads hang, those that wait for any of them.
    fn give_up_waiting(&mut self, lane: Lane) {
        let of_lane = self.running.values().filter(|job| job.lane == lane);
        let are_all_overdue = of_lane.clone().filter(|job| job.is_overdue).count() >= self.workers[&lane].count;
        let overdue: BTreeSet<Device> = of_lane.filter(|job| job.is_overdue).filter_map(|job| job.on.clone()).collect();
        let is_hopeless = |(_, on, _): &Place| match on {
            Some(share) => overdue.contains(share),
            None => are_all_overdue,
        };
        let waiting = self.waiting.range((lane, None, 0)..).take_while(|((of, ..), _)| *of == lane);
        let given_up = waiting.filter(|(place, (job, _))| job.key.is_given_up() && is_hopeless(place));
        let given_up: Vec<Place> = given_up.map(|(place, _)| place.clone()).collect();
        let mut unwanted = Vec::new();
        for place in given_up {
            let Some((job, lost)) = self.waiting.remove(&place) else { continue };
            self.places.remove(&job.key);
            self.waits.record(self.tools.clock.fine().saturating_sub(job.submitted));
            self.given_up.push_back(lost.unanswered());
            if let Some(Device::Directory(share)) = job.on.clone().filter(|_| job.key.holds_open_files()) {
                unwanted.push((share, job));
            }
        }
        // After all are given up: it gives up what waits as well.
        unwanted.into_iter().for_each(|(share, job)| self.drop_beside(&share, job));
        if !self.given_up.is_empty() {
            // They are polled as the others.
            let _ = self.tools.waker.wake();
        }
    }

    /// Descriptors that jobs hold which hang, beyond those with a permit; and what is to be dropped and waits for such a job.
    pub(super) fn descriptors_of_hung(&self) -> usize {
        let overdue = || self.running.values().filter(|job| job.is_overdue);
        let held: usize = overdue().map(|job| job.descriptors).sum();
        let scans = overdue().filter(|job| job.lane == Lane::Scan).filter_map(|job| job.on.clone());
        let waiting = scans.flat_map(|share| self.waiting.range(of_device(Lane::Scan, Some(share))));
        let unwanted = waiting.filter(|(_, (job, _))| matches!(job.key, Key::Drop(_)));
        held + unwanted.map(|(_, (_, lost))| lost.descriptors()).sum::<usize>()
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

    /// How long jobs waited before they ran, or were given up.
    pub(super) fn waits(&self) -> &Histogram {
        &self.waits
    }

    /// How many jobs wait for a worker, by the name of its thread.
    pub(super) fn waiting_by_thread(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |lane| self.waiting.keys().filter(|(of, ..)| *of == lane).count() as u64;
        Lane::ALL.into_iter().map(move |lane| (lane.thread_name(), count(lane)))
    }

    /// Whether there are jobs that a stop waits for.
    pub(super) fn is_syncing(&self) -> bool {
        let running = self.running.values().map(|job| job.lane);
        let mut lanes = running.chain(self.waiting.keys().map(|(lane, ..)| *lane));
        lanes.any(|lane| lane.is_awaited())
    }

    fn start_waiting(&mut self, lane: Lane) {
        while self.running.values().filter(|job| job.lane == lane).count() < self.workers[&lane].count {
            let Some(place) = self.next_to_run(lane) else { return };
            let Some((job, lost)) = self.waiting.remove(&place) else { return };
            self.places.remove(&job.key);
            let (on, since) = (self.device_of(&job).cloned(), self.tools.clock.fine());
            let (is_overdue, descriptors, waited) = (false, lost.descriptors(), since.saturating_sub(job.submitted));
            let running = RunningJob { lane, on, since, waited, is_overdue, descriptors, lost: Some(lost), late: None };
            self.running.insert(job.key.clone(), running);
            self.workers[&lane].give(job);
        }
    }

    /// The first job of a lane that may run. Of those that wait for the same share only the first is looked at: there may be one for
    /// each connection.
    fn next_to_run(&self, lane: Lane) -> Option<Place> {
        let mut next: Option<Place> = None;
        let mut from = Bound::Included((lane, None, 0));
        while let Some(((_, on, _), _)) =
            self.waiting.range((from, Bound::Unbounded)).next().filter(|((of, ..), _)| *of == lane)
        {
            let mut waiting = self.waiting.range(of_device(lane, on.clone()));
            let may_run = |(_, (job, _)): &(&Place, &(Job, Done))| self.may_run(lane, job);
            let first = if on.is_some() { waiting.next().filter(may_run) } else { waiting.find(may_run) };
            let is_earlier = |place: &&Place| next.as_ref().is_none_or(|next| place.2 < next.2);
            if let Some(place) = first.map(|(place, _)| place).filter(is_earlier) {
                next = Some(place.clone());
            }
            from = Bound::Excluded((lane, on.clone(), u64::MAX));
        }
        next
    }

    /// Whether no job of its key runs, nor one of the lane on the same device.
    fn may_run(&self, lane: Lane, job: &Job) -> bool {
        let device = self.device_of(job);
        let is_same = |running: &RunningJob| running.lane == lane && running.on.as_ref() == device;
        let is_busy = lane.is_by_device() && self.running.values().any(is_same);
        !is_busy && !self.running.contains_key(&job.key)
    }

    fn device_of<'j>(&'j self, job: &'j Job) -> Option<&'j Device> {
        job.on.as_ref().or_else(|| self.devices.get(&job.key.download()?))
    }
}

/// The places in a lane of those that wait for the same share; `None` for those that wait for none.
fn of_device(lane: Lane, on: Option<Device>) -> RangeInclusive<Place> {
    (lane, on.clone(), 0)..=(lane, on, u64::MAX)
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

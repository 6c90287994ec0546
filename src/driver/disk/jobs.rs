//! The jobs that wait for a disk or for a name server, and the threads that run them: one or two for each [`Lane`],
//! made at the start and named after it. One job of each key runs at a time, a waiting job is replaced by a newer one with its
//! key, and the loop gives each thread the next job when the last one has ended.

use super::job::{Device, Done, Ended, Job, Key, Lane};
use crate::driver::StartFault;
use crate::driver::clock::Clock;
use crate::driver::histogram::Histogram;
use crate::driver::interface::Interface;
use crate::fault::ResolveFault;
use crate::id::TransferId;
use crate::node::contract::BootstrapAddr;
use log::error;
use mio::Waker;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Workers that read shares for peers. Each waiting thread takes some KiB.
const SHARE_WORKERS_MAX: usize = 8;

/// Running and waiting jobs. Their number is bounded: lookups by the bootstrap nodes, openings and syncs by the downloads in
/// progress and the state files, those of the share by the connections and descriptors.
pub(super) struct Jobs {
    running: BTreeMap<Key, (Lane, Option<Device>)>,
    /// Waiting jobs, those of each lane in order of submission.
    waiting: BTreeMap<(Lane, u64), Job>,
    /// The place of the waiting job of a key.
    places: BTreeMap<Key, (Lane, u64)>,
    submitted: u64,
    /// What the part files of downloads are on.
    devices: BTreeMap<TransferId, Device>,
    workers: BTreeMap<Lane, Workers>,
    ended: Receiver<Ended>,
    /// What each worker has.
    tools: Tools,
    /// How long jobs waited.
    waits: Histogram,
}

impl Jobs {
    /// Starts the threads, for so many shares.
    /// Errors: as the system reports that a thread cannot be created, with its name.
    pub(super) fn start(waker: &Arc<Waker>, clock: Clock, shares: usize) -> Result<Self, StartFault> {
        let (running, waiting, places, devices) = Default::default();
        let (report, ended) = mpsc::channel();
        let tools = Tools { report, waker: Arc::clone(waker), clock };
        let (workers, waits) =
            (Lane::ALL.into_iter().map(|lane| (lane, Workers::default())).collect(), Histogram::default());
        let mut jobs = Self { running, waiting, places, submitted: 0, devices, workers, ended, tools, waits };
        Lane::ALL.into_iter().try_for_each(|lane| jobs.hire(lane, lane.workers()))?;
        jobs.hire_for_shares(shares)?;
        Ok(jobs)
    }

    /// Has a worker for each share, as far as there may be so many: those that hang hold one each, and none is left for the others
    /// only if as many hang at once as there are workers. Errors: as [`Jobs::start`].
    pub(super) fn hire_for_shares(&mut self, shares: usize) -> Result<(), StartFault> {
        // What is running may be for a share that was replaced.
        let held = self.running.values().filter(|(lane, _)| *lane == Lane::Share).count();
        self.hire(Lane::Share, (shares + held).min(SHARE_WORKERS_MAX))
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
    /// `lost` if it panics.
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
        let job = Job { key: key.clone(), on, lost, work, submitted: self.tools.clock.fine() };
        self.submitted += 1;
        let place = *self.places.entry(key).or_insert((lane, self.submitted));
        self.waiting.insert(place, job);
        self.start_waiting(place.0);
    }

    /// Takes a waiting job back, which then has no [`Done`]. Returns whether there was one; one that runs goes on.
    pub(super) fn withdraw(&mut self, key: &Key) -> bool {
        self.places.remove(key).and_then(|place| self.waiting.remove(&place)).is_some()
    }

    pub(super) fn poll(&mut self) -> Option<Done> {
        let Ended { key, done, waited } = self.ended.try_recv().ok()?;
        self.waits.record(waited);
        let ran = self.running.remove(&key).map(|(lane, _)| lane);
        let lanes = [ran, self.places.get(&key).map(|(lane, _)| *lane)];
        lanes.into_iter().flatten().for_each(|lane| self.start_waiting(lane));
        Some(done)
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
        let running = self.running.values().map(|(lane, _)| lane);
        let mut lanes = running.chain(self.waiting.keys().map(|(lane, _)| lane));
        lanes.any(|lane| lane.is_awaited())
    }

    fn start_waiting(&mut self, lane: Lane) {
        while self.running.values().filter(|(running, _)| *running == lane).count() < self.workers[&lane].count {
            let mut waiting = self.waiting.range((lane, 0)..=(lane, u64::MAX));
            let Some(place) = waiting.find(|(_, job)| self.may_run(lane, job)).map(|(place, _)| *place) else {
                return;
            };
            let Some(job) = self.waiting.remove(&place) else { return };
            self.places.remove(&job.key);
            let device = self.device_of(&job).cloned();
            self.running.insert(job.key.clone(), (lane, device));
            self.workers[&lane].give(job);
        }
    }

    /// Whether no job of its key runs, nor one of the lane on the same device.
    fn may_run(&self, lane: Lane, job: &Job) -> bool {
        let device = self.device_of(job);
        let is_same = |(running, on): &(Lane, Option<Device>)| *running == lane && on.as_ref() == device;
        let is_busy = lane.is_by_device() && self.running.values().any(is_same);
        !is_busy && !self.running.contains_key(&job.key)
    }

    fn device_of<'j>(&'j self, job: &'j Job) -> Option<&'j Device> {
        job.on.as_ref().or_else(|| self.devices.get(&job.key.download()?))
    }
}

/// The threads of a lane.
struct Workers {
    /// They take their jobs from here. They end when it is dropped, each after the jobs that it was given.
    queue: Sender<Job>,
    jobs: Arc<Mutex<Receiver<Job>>>,
    count: usize,
}

impl Default for Workers {
    fn default() -> Self {
        let (queue, jobs) = mpsc::channel();
        Self { queue, jobs: Arc::new(Mutex::new(jobs)), count: 0 }
    }
}

impl Workers {
    fn add(&mut self, lane: Lane, tools: &Tools) -> Result<(), StartFault> {
        let name = lane.thread_name();
        let worker = Worker { jobs: Arc::clone(&self.jobs), tools: tools.clone() };
        let thread = thread::Builder::new().name(name.into()).spawn(move || worker.run());
        thread.map_err(|error| StartFault::Io { what: format!("cannot create the thread {name}"), error })?;
        self.count += 1;
        Ok(())
    }

    fn give(&self, job: Job) {
        // Fails only if no thread is left, and these outlive the sender.
        let _ = self.queue.send(job);
    }
}

#[derive(Clone)]
struct Tools {
    report: Sender<Ended>,
    waker: Arc<Waker>,
    clock: Clock,
}

struct Worker {
    jobs: Arc<Mutex<Receiver<Job>>>,
    tools: Tools,
}

impl Worker {
    fn run(self) {
        let Tools { report, waker, clock } = &self.tools;
        while let Some(job) = self.next() {
            let Job { key, work, lost, submitted, .. } = job;
            let waited = clock.fine().saturating_sub(submitted);
            let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                error!("internal error: the job '{key}' panicked; what it was to do has failed");
                lost
            });
            // Fail only if the loop has ended.
            let _ = report.send(Ended { key, done, waited });
            let _ = waker.wake();
        }
    }

    fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
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
mod tests {
    use super::super::state_content::StateContent;
    use super::*;
    use crate::fault::DiskFault;
    use crate::id::ExchangeId;
    use mio::{Events, Poll, Token};
    use std::sync::mpsc;

    struct Loop {
        poll: Poll,
        jobs: Jobs,
    }

    impl Loop {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let jobs =
                Jobs::start(&Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()), Clock::start(), 1).unwrap();
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
        fn write(
            &mut self,
            lane: Lane,
            file: &'static str,
            bytes: &'static [u8],
            work: impl FnOnce() + Send + 'static,
        ) {
            let done = move |outcome| Done::Written(file, Arc::new(StateContent::Text(bytes.into())), outcome);
            let work = move || {
                work();
                Ok(())
            };
            self.jobs.submit((lane, Key::File(file)), done, Err(DiskFault::Other(0)), work);
        }
    }

    #[test]
    fn a_lookup_wakes_the_loop() {
        let mut rig = Loop::new();
        let host = BootstrapAddr { host: "localhost".into(), port: 1 };
        let (asked, looked_up) = (host.clone(), host.clone());
        let done = move |outcome| Done::Resolved(asked.clone(), outcome);
        let lost = Err(ResolveFault::Lost);
        rig.jobs.submit((Lane::Names, Key::Host(host.clone())), done, lost, move || {
            resolve(&looked_up, &Interface::default())
        });
        let Done::Resolved(asked, Ok(addresses)) = rig.wait() else { panic!("localhost was not found") };
        assert_eq!(asked, host);
        assert!(addresses.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn one_job_of_a_key_runs_at_a_time_and_the_newest_waiting_one_next() {
        let mut rig = Loop::new();
        let (go, waits) = mpsc::channel();
        rig.write(Lane::State, "peers", b"1", move || waits.recv().unwrap());
        rig.write(Lane::State, "peers", b"2", || unreachable!("a newer one replaces it"));
        rig.write(Lane::Sync, "places", b"3", || {});
        rig.write(Lane::State, "peers", b"4", || {});
        let mut written = Vec::new();
        for _ in 0..3 {
            let Done::Written(_, content, Ok(())) = rig.wait() else { panic!("it was written") };
            written.extend_from_slice(&content.encoded());
            if written.ends_with(b"3") {
                go.send(()).unwrap();
            }
        }
        assert_eq!(written, *b"314");
        assert!(!rig.jobs.is_syncing() && rig.jobs.poll().is_none());
        assert_eq!(rig.jobs.waits().reply().count, 3, "of those that ran");
    }

    /// A directory of downloads that hangs holds up no other, and its own part files are written in order.
    #[test]
    fn each_device_with_part_files_has_one_worker_of_a_lane() {
        let mut rig = Loop::new();
        for (download, directory) in [(1, "/hangs"), (2, "/hangs"), (3, "/works")] {
            rig.jobs.set_device(TransferId(download), Some(Device::Directory(Path::new(directory).into())));
        }
        let (go, waits) = mpsc::channel::<()>();
        let mut write = |download, number, work: Box<dyn FnOnce() + Send>| {
            let done = move |()| Done::PartClosed(TransferId(10 * download + number as u32));
            rig.jobs.submit((Lane::Parts, Key::Write(TransferId(download), number)), done, (), work);
        };
        write(1, 1, Box::new(move || waits.recv().unwrap()));
        write(1, 2, Box::new(|| {}));
        write(2, 1, Box::new(|| {}));
        write(3, 1, Box::new(|| {}));
        write(3, 2, Box::new(|| {}));
        let mut ended = Vec::new();
        for _ in 0..5 {
            let Done::PartClosed(TransferId(which)) = rig.wait() else { panic!("it was submitted") };
            ended.push(which);
            if which == 32 {
                go.send(()).unwrap();
            }
        }
        assert_eq!(ended, [31, 32, 11, 12, 21]);
    }

    /// Shares that hang hold up no other, as long as there is a worker for each.
    #[test]
    fn each_share_has_one_worker_and_further_ones_come_with_further_shares() {
        let mut rig = Loop::new();
        let (go, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let mut submitted = 0;
        let mut read = |jobs: &mut Jobs, share: &str, hangs: bool| {
            submitted += 1;
            let (share, waits, which) = (Path::new(share).into(), hangs.then(|| Arc::clone(&waits)), submitted);
            let done = move |()| Done::PartClosed(TransferId(which));
            let place = (Lane::Share, Key::ReadShared(ExchangeId::Inbound(which.into())));
            jobs.submit_on(Some(&share), place, done, (), move || {
                waits.into_iter().for_each(|waits| waits.lock().unwrap().recv().unwrap());
            });
        };
        let ended = |rig: &mut Loop| {
            let Done::PartClosed(TransferId(which)) = rig.wait() else { panic!("it was submitted") };
            which
        };
        rig.jobs.hire_for_shares(3).unwrap();
        read(&mut rig.jobs, "/hangs", true);
        read(&mut rig.jobs, "/hangs", false);
        read(&mut rig.jobs, "/hangs too", true);
        read(&mut rig.jobs, "/works", false);
        assert_eq!(ended(&mut rig), 4);
        rig.jobs.hire_for_shares(1).unwrap();
        assert_eq!(rig.jobs.workers[&Lane::Share].count, 3, "both that run may be of shares that were replaced");
        rig.jobs.hire_for_shares(usize::MAX / 2).unwrap();
        assert_eq!(rig.jobs.workers[&Lane::Share].count, SHARE_WORKERS_MAX);
        go.send(()).unwrap();
        go.send(()).unwrap();
        let mut rest = [ended(&mut rig), ended(&mut rig), ended(&mut rig)];
        rest.sort_unstable();
        assert_eq!(rest, [1, 2, 3]);
    }

    #[test]
    fn a_job_that_panics_is_reported_as_lost_and_the_next_one_runs() {
        let mut rig = Loop::new();
        rig.write(Lane::State, "peers", b"1", || panic!("on purpose"));
        rig.write(Lane::State, "peers", b"2", || {});
        assert!(
            matches!(rig.wait(), Done::Written(_, content, Err(DiskFault::Other(0))) if *content.encoded() == *b"1")
        );
        assert!(matches!(rig.wait(), Done::Written(_, content, Ok(())) if *content.encoded() == *b"2"));
        assert!(!rig.jobs.is_syncing());
    }
}

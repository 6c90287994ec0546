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
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

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
    /// The threads of each lane take their jobs from here. They end when it is dropped, each after the jobs that it was given.
    queues: BTreeMap<Lane, Sender<Job>>,
    ended: Receiver<Ended>,
    clock: Clock,
    /// How long jobs waited.
    waits: Histogram,
}

impl Jobs {
    /// Starts the threads.
    /// Errors: as the system reports that a thread cannot be created, with its name.
    pub(super) fn start(waker: &Arc<Waker>, clock: Clock) -> Result<Self, StartFault> {
        let (running, waiting, places, devices) = Default::default();
        let (report, ended) = mpsc::channel();
        // Signals are for the threads of the program. One for a file that meets a limit on its size becomes an error.
        let fault = |error| StartFault::Io { what: "cannot block signals".into(), error };
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(|errno| fault(errno.into()))?;
        let queues: Result<_, StartFault> =
            Lane::ALL.into_iter().map(|lane| Ok((lane, start_workers(lane, &report, waker, clock)?))).collect();
        mask.thread_set_mask().map_err(|errno| fault(errno.into()))?;
        let (queues, waits) = (queues?, Histogram::default());
        Ok(Self { running, waiting, places, submitted: 0, devices, queues, ended, clock, waits })
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
        let lost = done(lost);
        let work = Box::new(move || done(work()));
        let job = Job { key: key.clone(), lost, work, submitted: self.clock.fine() };
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
        self.clock
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
        while self.running.values().filter(|(running, _)| *running == lane).count() < lane.workers() {
            let mut waiting = self.waiting.range((lane, 0)..=(lane, u64::MAX));
            let Some(place) = waiting.find(|(_, job)| self.may_run(lane, &job.key)).map(|(place, _)| *place) else {
                return;
            };
            let Some(job) = self.waiting.remove(&place) else { return };
            self.places.remove(&job.key);
            let device = job.key.download().and_then(|download| self.devices.get(&download).cloned());
            self.running.insert(job.key.clone(), (lane, device));
            // Fails only if no thread is left, and these outlive the sender.
            let _ = self.queues[&lane].send(job);
        }
    }

    /// Whether no job of this key runs, nor one of the lane on the same device.
    fn may_run(&self, lane: Lane, key: &Key) -> bool {
        let Some(download) = key.download() else { return !self.running.contains_key(key) };
        let device = self.devices.get(&download);
        let is_busy = self
            .running
            .iter()
            .any(|(other, (running, on))| *running == lane && other.download().is_some() && on.as_ref() == device);
        !is_busy && !self.running.contains_key(key)
    }
}

/// Starts the threads of a lane; the way to give them jobs.
fn start_workers(
    lane: Lane,
    report: &Sender<Ended>,
    waker: &Arc<Waker>,
    clock: Clock,
) -> Result<Sender<Job>, StartFault> {
    let (queue, jobs) = mpsc::channel();
    let jobs = Arc::new(Mutex::new(jobs));
    let name = lane.thread_name();
    for _ in 0..lane.workers() {
        let worker = Worker { jobs: Arc::clone(&jobs), report: report.clone(), waker: Arc::clone(waker), clock };
        let thread = thread::Builder::new().name(name.into()).spawn(move || worker.run());
        thread.map_err(|error| StartFault::Io { what: format!("cannot create the thread {name}"), error })?;
    }
    Ok(queue)
}

struct Worker {
    jobs: Arc<Mutex<Receiver<Job>>>,
    report: Sender<Ended>,
    waker: Arc<Waker>,
    clock: Clock,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            let Job { key, work, lost, submitted } = job;
            let waited = self.clock.fine().saturating_sub(submitted);
            let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                error!("internal error: the job '{key}' panicked; what it was to do has failed");
                lost
            });
            // Fail only if the loop has ended.
            let _ = self.report.send(Ended { key, done, waited });
            let _ = self.waker.wake();
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
    use mio::{Events, Poll, Token};
    use std::sync::mpsc;

    struct Loop {
        poll: Poll,
        jobs: Jobs,
    }

    impl Loop {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let jobs = Jobs::start(&Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()), Clock::start()).unwrap();
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
            rig.jobs.set_device(TransferId(download), Some(Device::Directory(directory.into())));
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

//! The threads for calls that Linux offers in no nonblocking form: one for each [`Lane`], and two for names, made at the start and named
//! after it. The loop gives each the next job when the last one has ended (see [`jobs`](super::jobs)).

use super::job::{Ended, Job, Lane};
use crate::driver::StartFault;
use crate::driver::clock::Clock;
use log::error;
use mio::Waker;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub(super) struct Workers {
    queues: BTreeMap<Lane, Sender<Job>>,
    ended: Receiver<Ended>,
}

impl Workers {
    /// Starts the threads. They end when this is dropped, each after the jobs that it was given.
    /// Errors: as the system reports that a thread cannot be created, with its name.
    pub(super) fn start(waker: &Arc<Waker>, clock: Clock) -> Result<Self, StartFault> {
        // Signals are for the threads of the program. One for a file that meets a limit on its size becomes an error.
        let fault = |error| StartFault::Io { what: "cannot block signals".into(), error };
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(|errno| fault(errno.into()))?;
        let workers = Self::start_masked(waker, clock);
        mask.thread_set_mask().map_err(|errno| fault(errno.into()))?;
        workers
    }

    fn start_masked(waker: &Arc<Waker>, clock: Clock) -> Result<Self, StartFault> {
        let (report, ended) = mpsc::channel();
        let mut queues = BTreeMap::new();
        for lane in Lane::ALL {
            let (queue, jobs) = mpsc::channel();
            let jobs = Arc::new(Mutex::new(jobs));
            for _ in 0..lane.workers() {
                let worker =
                    Worker { jobs: Arc::clone(&jobs), report: report.clone(), waker: Arc::clone(waker), clock };
                let name = lane.thread_name();
                let thread = thread::Builder::new().name(name.into()).spawn(move || worker.run());
                let what = || format!("cannot create the thread {name}");
                thread.map_err(|error| StartFault::Io { what: what(), error })?;
            }
            queues.insert(lane, queue);
        }
        Ok(Self { queues, ended })
    }

    pub(super) fn give(&self, lane: Lane, job: Job) {
        // Fails only if no thread is left, and these outlive this.
        let _ = self.queues[&lane].send(job);
    }

    pub(super) fn poll(&self) -> Option<Ended> {
        self.ended.try_recv().ok()
    }
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

//! The threads that run jobs.

use super::job::{Ended, Job, Lane};
use crate::driver::StartFault;
use crate::driver::clock::Clock;
use log::error;
use mio::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The threads of a lane.
pub(super) struct Workers {
    /// They take their jobs from here. They end when it is dropped, each after the jobs that it was given.
    queue: Sender<Job>,
    jobs: Arc<Mutex<Receiver<Job>>>,
    pub(super) count: usize,
}

impl Default for Workers {
    fn default() -> Self {
        let (queue, jobs) = mpsc::channel();
        Self { queue, jobs: Arc::new(Mutex::new(jobs)), count: 0 }
    }
}

impl Workers {
    pub(super) fn add(&mut self, lane: Lane, tools: &Tools) -> Result<(), StartFault> {
        let name = lane.thread_name();
        let worker = Worker { jobs: Arc::clone(&self.jobs), tools: tools.clone() };
        let thread = thread::Builder::new().name(name.into()).spawn(move || worker.run());
        thread.map_err(|error| StartFault::Io { what: format!("cannot create the thread {name}"), error })?;
        self.count += 1;
        Ok(())
    }

    pub(super) fn give(&self, job: Job) {
        // Fails only if no thread is left, and these outlive the sender.
        let _ = self.queue.send(job);
    }
}

#[derive(Clone)]
pub(super) struct Tools {
    pub(super) report: Sender<Ended>,
    pub(super) waker: Arc<Waker>,
    pub(super) clock: Clock,
}

struct Worker {
    jobs: Arc<Mutex<Receiver<Job>>>,
    tools: Tools,
}

impl Worker {
    fn run(self) {
        let Tools { report, waker, clock } = &self.tools;
        while let Some(job) = self.next() {
            let Job { key, work, submitted, .. } = job;
            let waited = clock.fine().saturating_sub(submitted);
            let done = catch_unwind(AssertUnwindSafe(work));
            if done.is_err() {
                error!("internal error: the job '{key}' panicked; what it was to do has failed");
            }
            let done = done.ok();
            // Fail only if the loop has ended.
            let _ = report.send(Ended { key, done, waited });
            let _ = waker.wake();
        }
    }

    fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }
}

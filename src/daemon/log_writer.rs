//! The thread that writes the log, and the lines on their way to it.
//!
//! The output may be a pipe that nobody reads, or on a disk that is full or does not answer: only this thread waits for it, and
//! it does not hold the lock meanwhile. A line is lost when the buffer has no room for it, or when it cannot be written. Lost
//! lines are counted, and the log says in their place how many are missing.

use super::log_output::Output;
use crate::driver::with_signals_blocked;
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes of lines that wait for the writer. It may have as many again that it is writing.
const LOG_BUFFER_BYTES_MAX: usize = 512 << 10;

/// After this long without room in the output the writer looks whether another one has taken its place.
const OUTPUT_WAIT_MS: u16 = 200;

const THREAD_NAME: &str = "pyrate-log";

/// The lines that wait.
#[derive(Default)]
struct Queue {
    /// Each with its newline.
    text: Vec<u8>,
    /// The output of what follows this many bytes of the text.
    switch: Option<(usize, Output)>,
    /// Lines after the text for which there was no room.
    lost: u64,
    /// The writer may have lines that it has not written yet.
    is_writing: bool,
}

/// What the writer takes at once: another output, lines for it, and how many are missing after them.
type Batch = (Option<Output>, Vec<u8>, u64);

impl Queue {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.lost == 0 && self.switch.is_none()
    }

    /// Adds a line, or counts it as lost and returns false. When one is lost, so are those that follow until the writer has taken
    /// the text: a shorter line must not stand before the report of the loss.
    fn push(&mut self, line: &str) -> bool {
        let fits = self.lost == 0 && self.text.len() + line.len() < LOG_BUFFER_BYTES_MAX;
        if fits {
            self.text.reserve(line.len() + 1);
            self.text.extend_from_slice(line.as_bytes());
            self.text.push(b'\n');
        } else {
            self.lost += 1;
        }
        fits
    }

    /// Lines from now on are for another output. It takes the place of one that is not used yet, so that open files do not add up.
    fn switch(&mut self, output: Output) {
        let at = self.switch.take().map_or(self.text.len(), |(at, _)| at);
        self.switch = Some((at, output));
    }

    fn take(&mut self) -> Batch {
        if let Some((at @ 1.., _)) = &mut self.switch {
            let rest = self.text.split_off(mem::take(at));
            return (None, mem::replace(&mut self.text, rest), 0);
        }
        let output = self.switch.take().map(|(_, output)| output);
        (output, mem::take(&mut self.text), mem::take(&mut self.lost))
    }
}

#[derive(Default)]
struct SharedQueue {
    queue: Mutex<Queue>,
    /// The empty queue has got something, or all of it is written.
    changed: Condvar,
    lines_lost: AtomicU64,
}

impl SharedQueue {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next batch. The one before it is written.
    fn next(&self) -> Batch {
        let mut queue = self.queue();
        queue.is_writing = false;
        if queue.is_empty() {
            self.changed.notify_all();
        }
        queue = self.changed.wait_while(queue, |queue| queue.is_empty()).unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        queue.take()
    }

    /// Changes the queue, and wakes the writer if it waits.
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue();
        let waits = queue.is_empty() && !queue.is_writing;
        let changed = change(&mut queue);
        drop(queue);
        if waits {
            self.changed.notify_all();
        }
        changed
    }
}

/// A handle to the thread, which lives as long as the process.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<SharedQueue>);

impl LogWriter {
    /// Starts the thread.
    pub(super) fn start(output: Output, form: Box<Form>) -> io::Result<Self> {
        let shared = Arc::new(SharedQueue::default());
        let writer = WriterThread { shared: Arc::clone(&shared), output, form, lost: 0, cause: None, is_torn: false };
        let spawned =
            with_signals_blocked(|| thread::Builder::new().name(THREAD_NAME.into()).spawn(move || writer.run()))?;
        match spawned {
            Ok(_) => Ok(Self(shared)),
            Err(error) => Err(io::Error::new(error.kind(), format!("cannot create the thread {THREAD_NAME}: {error}"))),
        }
    }

    /// Adds a line, which has no newline. Does not wait for the output.
    pub(super) fn push(&self, line: &str) {
        if !self.0.change(|queue| queue.push(line)) {
            self.0.lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines from now on are written to another output.
    pub(super) fn switch(&self, output: Output) {
        self.0.change(|queue| queue.switch(output));
    }

    /// Waits until all is written, at most so long.
    pub(super) fn settle(&self, wait_max: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.queue(), wait_max, is_busy));
    }

    /// Lines lost since the start.
    pub(super) fn lines_lost(&self) -> u64 {
        self.0.lines_lost.load(Ordering::Relaxed)
    }
}

/// Makes a line of the log, for standard error or not, from a message about lost lines.
type Form = dyn Fn(bool, &fmt::Arguments<'_>) -> String + Send;

struct WriterThread {
    shared: Arc<SharedQueue>,
    output: Output,
    form: Box<Form>,
    /// Lines lost that the log does not tell of yet.
    lost: u64,
    /// Why they could not be written; `None` if there was no room for them.
    cause: Option<Errno>,
    /// The last line was not written to its end. It counts as lost.
    is_torn: bool,
}

impl WriterThread {
    fn run(mut self) {
        loop {
            let (output, text, lost) = self.shared.next();
            if let Some(output) = output {
                self.output = output;
                self.is_torn = false;
            }
            if !text.is_empty() {
                let written = if self.report_loss() { self.put(&text) } else { 0 };
                let missing = text[written..].iter().filter(|&&byte| byte == b'\n').count() as u64;
                self.shared.lines_lost.fetch_add(missing, Ordering::Relaxed);
                self.lost += missing;
            }
            if lost > 0 {
                self.lost += lost;
                self.report_loss();
            }
        }
    }

    /// Writes how many lines are missing here, if some are. False if that cannot be written either.
    fn report_loss(&mut self) -> bool {
        if self.lost == 0 {
            return true;
        }
        let lines = if self.lost == 1 { "line" } else { "lines" };
        let cause = self.cause.map(|errno| io::Error::from(errno).to_string());
        let cause = cause.as_deref().unwrap_or("the log was not taken in time");
        let line = (self.form)(self.output.is_stderr(), &format_args!("{} log {lines} lost: {cause}", self.lost));
        let text = format!("{}{line}\n", if self.is_torn { "\n" } else { "" });
        let is_told = self.put(text.as_bytes()) == text.len();
        if is_told {
            (self.lost, self.cause) = (0, None);
        }
        is_told
    }

    /// Writes text, however long that takes, unless it fails or another output is to be used. The bytes that were written.
    fn put(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while written < text.len() {
            match self.output.write(&text[written..], OUTPUT_WAIT_MS) {
                Ok(bytes) => written += bytes,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if self.shared.queue().switch.is_none() => {}
                Err(errno) => {
                    self.cause = Some(errno).filter(|&errno| errno != Errno::EAGAIN);
                    break;
                }
            }
        }
        if written > 0 {
            self.is_torn = text[written - 1] != b'\n';
        }
        written
    }
}

#[cfg(test)]
mod tests;

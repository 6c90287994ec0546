//! The signals that end `events --exec`, SIGINT, SIGTERM and SIGHUP, and the one that tells of the end of a program, SIGCHLD.

use super::super::clock::Deadline;
use super::super::wording::Failure;
use crate::control::CallError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::Duration;

pub(super) struct Ends {
    signals: SignalFd,
    /// How often the end was asked for.
    asked: Cell<usize>,
}

impl Ends {
    /// From now on these signals end no program, but a wait.
    pub(super) fn watch() -> Result<Self, CallError> {
        let watch = || {
            let mut signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD]);
            // Under nohup(1) it ends nothing. A signal that is blocked would come though it is ignored.
            if !is_ignored(Signal::SIGHUP) {
                signals.add(Signal::SIGHUP);
            }
            signals.thread_block()?;
            SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        };
        let signals = watch().map_err(|error: nix::Error| Failure::CannotWatch { error: error.to_string() })?;
        Ok(Self { signals, asked: Cell::new(0) })
    }

    /// Whether the end was asked for, until now or within this time.
    pub(super) fn came_within(&self, span: Duration) -> bool {
        let until = Deadline::after(span);
        loop {
            self.take();
            let left = until.left().unwrap_or_default();
            if self.asked.get() > 0 || left.is_zero() {
                return self.asked.get() > 0;
            }
            self.wait(left);
        }
    }

    /// Whether the end was asked for again.
    pub(super) fn is_urgent(&self) -> bool {
        self.take();
        self.asked.get() > 1
    }

    /// Waits for any of the signals, at most so long. A wait may end early.
    pub(super) fn wait(&self, span: Duration) {
        let mut waited_for = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        // Rounded up, so that a deadline has passed afterwards.
        let span = span.saturating_add(Duration::from_millis(1));
        let _ = poll(&mut waited_for, PollTimeout::try_from(span).unwrap_or(PollTimeout::MAX));
    }

    fn take(&self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let asked = match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => 0,
                // The terminal is gone: nobody can ask again.
                Ok(Signal::SIGHUP) => 2,
                _ => 1,
            };
            self.asked.set(self.asked.get() + asked);
        }
    }
}

/// Whether this process ignores a signal, as far as the system tells.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as u64 - 1)) != 0)
}

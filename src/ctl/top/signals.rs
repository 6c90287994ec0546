//! Signals, which the loop reads instead of being interrupted by them.

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

const WATCHED: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

pub(super) struct Signals(SignalFd);

impl Signals {
    pub(super) fn watch() -> io::Result<Self> {
        let watched: SigSet = WATCHED.into_iter().collect();
        watched.thread_block()?;
        Ok(Self(SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// One that came.
    pub(super) fn next(&self) -> Option<Signal> {
        let signal = self.0.read_signal().ok()??;
        Signal::try_from(i32::try_from(signal.ssi_signo).ok()?).ok()
    }

    /// Does what this signal does to a program that does not watch it: ends it, or stops it until it is continued.
    pub(super) fn obey(&self, signal: Signal) {
        let signals = SigSet::from(signal);
        // None of these fails for a signal that exists.
        let _ = signals.thread_unblock();
        let _ = raise(signal);
        let _ = signals.thread_block();
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

//! Signals as readable events: signalfd through nix.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// TERM or INT.
    Leave,
    /// HUP.
    Reload,
}

/// Keeps a file that meets a limit on its size (`ulimit -f`) from ending the process: in this thread, and in those that
/// it starts later, the write fails with `EFBIG`.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGXFSZ);
    Ok(mask.thread_block()?)
}

/// Makes threads to which no signal goes: signals are for those of the program, and TERM would end the process if it came to one that
/// does not block it. A write that meets a limit on the size of its file becomes an error.
///
/// # Errors
/// As the system reports that signals cannot be blocked.
pub(crate) fn with_signals_blocked<T>(make: impl FnOnce() -> T) -> io::Result<T> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let made = make();
    mask.thread_set_mask()?;
    Ok(made)
}

/// TERM, INT and HUP of this process, blocked and read instead.
#[derive(Debug)]
pub(super) struct Signals {
    descriptor: SignalFd,
    is_ready: bool,
}

impl Signals {
    /// Blocks the signals in this thread, and in those that it starts later.
    pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let descriptor = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        registry.register(&mut SourceFd(&descriptor.as_fd().as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { descriptor, is_ready: true })
    }

    pub(super) fn on_ready(&mut self) {
        self.is_ready = true;
    }

    pub(super) fn poll(&mut self) -> Option<Asked> {
        while self.is_ready {
            let Some(signal) = self.descriptor.read_signal().ok().flatten() else {
                self.is_ready = false;
                break;
            };
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGHUP)) => return Some(Asked::Reload),
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => return Some(Asked::Leave),
                _ => {}
            }
        }
        None
    }
}

//! Disks that are slow or hang: system calls of a running daemon that are delayed.

use super::{Daemon, LIMIT, clean_command, not_tested, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Delays calls of a running daemon.
pub(crate) struct Delaying(Child);

impl Delaying {
    /// `None` where there is no strace; that is said aloud.
    pub(crate) fn calls(of: &Daemon, calls: &str, delay: Duration) -> Option<Self> {
        Self::calls_on(of, calls, delay, None::<&Path>)
    }

    /// Only those that concern one of these files.
    pub(crate) fn calls_on(
        of: &Daemon,
        calls: &str,
        delay: Duration,
        files: impl IntoIterator<Item: AsRef<OsStr>>,
    ) -> Option<Self> {
        let tasks = || fs::read_dir(format!("/proc/{}/task", of.pid())).expect("it runs").count();
        let is_traced = |task: &fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0")
        };
        let traced = || {
            let tasks = fs::read_dir(format!("/proc/{}/task", of.pid())).expect("it runs");
            tasks.flatten().filter(is_traced).count()
        };
        let mut strace = clean_command("strace", of.home());
        let inject = format!("inject={calls}:delay_enter={}ms", delay.as_millis());
        strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &of.pid().to_string(), "-e", &format!("trace={calls}")]);
        for file in files {
            strace.arg("-P").arg(file);
        }
        let Ok(mut child) = strace.args(["-e", &inject]).stderr(Stdio::null()).spawn() else {
            not_tested("a disk that is slow", "strace(1) does not run here");
            return None;
        };
        until("it is traced, or cannot be", LIMIT, || {
            traced() == tasks() || child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        if traced() < tasks() {
            not_tested("a disk that is slow", "strace(1) may not trace here");
            return None;
        }
        Some(Self(child))
    }

    /// How long the loop of the daemon, what delays it and this thread have waited for a processor, in all.
    pub(crate) fn starved(&self, daemon: &Daemon) -> Duration {
        let (daemon, tracer) = (daemon.pid(), self.0.id());
        let of = [format!("/proc/{daemon}/task/{daemon}"), format!("/proc/{tracer}"), "/proc/thread-self".to_owned()];
        let waited = of.iter().map(|of| {
            let times = fs::read_to_string(format!("{of}/schedstat")).unwrap_or_default();
            times.split(' ').nth(1).and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(waited.sum())
    }
}

impl Drop for Delaying {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

//! The program of `events --exec`: it has the event as variables of its environment, and as a line of JSON on its standard input.

use super::super::clock::Deadline;
use super::super::wording::{Failure, ProgramFault};
use super::ends::Ends;
use crate::control::{CallError, EventRow, paths};
use crate::name::Escaped;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, pipe2};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What the name of each variable of an event begins with.
const PREFIX: &str = "PYRATE_EVENT_";

/// Where the C library looks for a program if PATH is not set.
const SEARCH_PATH: &str = "/bin:/usr/bin";

/// For how long a program runs before that is reported; then again each time that it has run for twice as long.
const REPORT_AFTER: Duration = Duration::from_secs(60);

/// How long a program that is to end at once may take for that, before it is killed.
const END_WAIT: Duration = Duration::from_secs(2);

/// Between two looks whether what such a program has left is gone.
const GROUP_CHECKED_AFTER: Duration = Duration::from_millis(10);

/// What is reported of a program that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It has run for so long.
    Runs(Duration),
    /// The end was asked for, and waits for the program.
    Ending,
}

pub(super) struct Program {
    path: PathBuf,
    name: CString,
    /// The environment without the event.
    environment: Vec<CString>,
    report_after: Duration,
}

impl Program {
    /// `socket`: that of the daemon, for a program that runs `pyratectl`.
    pub(super) fn new(path: PathBuf, socket: Option<&Path>) -> Result<Self, CallError> {
        let no_text = || Failure::NoProgram { path: path.clone() };
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| no_text())?;
        let named = |variable: &OsStr| socket.is_some() && variable == paths::SOCKET_VARIABLE;
        let of_events = |variable: &OsStr| variable.as_bytes().starts_with(PREFIX.as_bytes());
        let inherited = std::env::vars_os().filter(|(variable, _)| !named(variable) && !of_events(variable));
        let mut environment: Vec<_> =
            inherited.filter_map(|(variable, value)| assign(variable.as_bytes(), value.as_bytes())).collect();
        environment.extend(socket.and_then(|socket| {
            let socket = std::path::absolute(socket).ok()?;
            assign(paths::SOCKET_VARIABLE.as_bytes(), socket.as_os_str().as_bytes())
        }));
        Ok(Self { path, name, environment, report_after: REPORT_AFTER })
    }

    /// As people read it.
    pub(super) fn shown(&self) -> String {
        Escaped::path(&self.path).to_string()
    }

    /// Why it cannot be started as things are, if that is so.
    pub(super) fn why_not_found(&self) -> Option<&'static str> {
        let search_path = std::env::var_os("PATH").unwrap_or_else(|| SEARCH_PATH.into());
        let places: Vec<PathBuf> = match self.path.as_os_str().as_bytes().contains(&b'/') {
            true => vec![self.path.clone()],
            false => std::env::split_paths(&search_path).map(|directory| directory.join(&self.path)).collect(),
        };
        let fault = |place: &PathBuf| match access(place, AccessFlags::X_OK) {
            Ok(()) if place.is_dir() => Some(Errno::EISDIR),
            checked => checked.err(),
        };
        let faults: Option<Vec<Errno>> = places.iter().map(fault).collect();
        let faults = faults?;
        let told = faults.iter().find(|errno| **errno != Errno::ENOENT);
        Some(told.unwrap_or(&Errno::ENOENT).desc())
    }

    /// Runs it to its end; what is to be reported meanwhile goes to `tell`. The inner error says why it did not succeed.
    /// Errors: If this machine can start no program.
    pub(super) fn run(
        &self,
        event: &EventRow,
        ends: &Ends,
        tell: &mut impl FnMut(Told),
    ) -> Result<Result<(), ProgramFault>, CallError> {
        let broken = |errno: Errno| Failure::CannotStart { error: errno.to_string() };
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(broken)?;
        let mut actions = PosixSpawnFileActions::init().map_err(broken)?;
        actions.add_dup2(read.as_raw_fd(), 0).map_err(broken)?;
        let mut attributes = PosixSpawnAttr::init().map_err(broken)?;
        // Signals are blocked here, and this program ignores SIGPIPE; others expect neither.
        attributes.set_sigmask(&SigSet::empty()).map_err(broken)?;
        attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE)).map_err(broken)?;
        // A group of its own: Ctrl-C at a terminal reaches this process alone, and what the program has started is ended with it.
        attributes.set_pgroup(Pid::from_raw(0)).map_err(broken)?;
        let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
        attributes.set_flags(flags).map_err(broken)?;
        let mut environment = self.environment.clone();
        environment.extend(variables(event));
        let child = match posix_spawnp(&self.name, &actions, &attributes, &[&self.name], &environment) {
            Ok(child) => child,
            Err(errno) => return Ok(Err(ProgramFault::NotStarted(errno.desc()))),
        };
        drop(read);
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        // A program that does not read needs nothing of it. A pipe has room for a line: nothing waits.
        let _ = File::from(write).write_all(&line);
        Ok(self.wait_for(child, ends, tell).map_err(broken)?)
    }
}

impl Program {
    /// The inner error says why it did not succeed. The outer one is that nothing can be known of it, as where SIGCHLD is ignored.
    fn wait_for(
        &self,
        child: Pid,
        ends: &Ends,
        tell: &mut impl FnMut(Told),
    ) -> Result<Result<(), ProgramFault>, Errno> {
        let (mut waited, mut report) = (self.report_after, Deadline::after(self.report_after));
        let (mut is_ending, mut kill_at) = (false, None);
        loop {
            let ended = match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, 0)) => Some(Ok(())),
                Ok(WaitStatus::Exited(_, code)) => Some(Err(ProgramFault::Exited(code))),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(Err(ProgramFault::Killed(signal.as_str()))),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(errno) => return Err(errno),
            };
            if let Some(ended) = ended {
                kill_at.into_iter().for_each(|at| end_group(child, at));
                return Ok(ended);
            }
            if ends.came_within(Duration::ZERO) && !is_ending {
                is_ending = true;
                tell(Told::Ending);
            }
            if ends.is_urgent() {
                let is_late = kill_at.is_some_and(|at: Deadline| at.has_passed());
                let signal = if is_late { Signal::SIGKILL } else { Signal::SIGTERM };
                if is_late || kill_at.is_none() {
                    // If it is gone, the next turn of the loop sees that.
                    let _ = killpg(child, signal);
                    // One that was stopped, as by a read from the terminal, gets it then.
                    let _ = killpg(child, Signal::SIGCONT);
                    kill_at = Some(Deadline::after(END_WAIT));
                }
            }
            if report.has_passed() {
                tell(Told::Runs(waited));
                report = Deadline::after(waited);
                waited = waited.saturating_mul(2);
            }
            let left = report.left().unwrap_or_default();
            ends.wait(kill_at.and_then(|at| at.left()).map_or(left, |of_kill| of_kill.min(left)));
        }
    }
}

/// Waits until no process is left of a group that has got SIGTERM. Kills at this time those that are.
fn end_group(group: Pid, at: Deadline) {
    // Only the children of this process report their end. When none is left the number may be that of another group.
    while killpg(group, None).is_ok() {
        if at.has_passed() {
            let _ = killpg(group, Signal::SIGKILL);
            return;
        }
        thread::sleep(GROUP_CHECKED_AFTER);
    }
}

/// `None` for what cannot stand in an environment.
fn assign(variable: &[u8], value: &[u8]) -> Option<CString> {
    CString::new([variable, b"=", value].concat()).ok()
}

/// What is not known is empty, so that a script may name it.
fn variables(event: &EventRow) -> Vec<CString> {
    let text = |text: Option<String>| text.unwrap_or_default().into_bytes();
    let number = |number: Option<u64>| text(number.map(|number| number.to_string()));
    let pairs = [
        ("KIND", event.event.to_string().into_bytes()),
        ("ID", number(Some(event.id))),
        ("LOG", event.log.clone().into_bytes()),
        ("TIME", number(Some(event.time))),
        ("DOWNLOAD", number(event.download.map(u64::from))),
        ("NAME", event.name.as_bytes().to_vec()),
        ("PATH", event.path.as_ref().map_or(Vec::new(), |path| path.as_bytes().to_vec())),
        ("SIZE", number(event.size)),
        ("B3", text(event.b3.clone())),
        ("VERIFIED", text(Some(event.verified.to_string()))),
        ("STATE", text(event.state.map(|state| state.to_string()))),
        ("WISH", number(event.wish.map(u64::from))),
        ("PEERS", text(Some(event.peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))),
        ("ERROR", text(event.error.as_ref().map(|error| error.message.clone()))),
    ];
    let assigned = pairs.iter().filter_map(|(name, value)| assign(format!("{PREFIX}{name}").as_bytes(), value));
    assigned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::EventKind;

    #[test]
    fn a_program_that_runs_for_long_is_reported_each_time_it_has_run_twice_as_long() {
        let ends = Ends::watch().unwrap();
        let directory = tempfile::tempdir().unwrap();
        // It ends when it was reported twice.
        let script = directory.path().join("hook");
        let end = directory.path().join("end");
        std::fs::write(&script, format!("#!/bin/sh\nuntil [ -e {} ]; do sleep 0.01; done\n", end.display())).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let first = Duration::from_millis(20);
        let program = Program { report_after: first, ..Program::new(script, None).unwrap() };
        let mut told = Vec::new();
        let event = EventRow::blank(EventKind::Done, 7, "log".into(), 0);
        let mut tell = |what| {
            told.push(what);
            if told.len() == 2 {
                std::fs::write(&end, "").unwrap();
            }
        };
        assert_eq!(program.run(&event, &ends, &mut tell).unwrap(), Ok(()));
        assert_eq!(told[..2], [Told::Runs(first), Told::Runs(first * 2)]);
    }
}

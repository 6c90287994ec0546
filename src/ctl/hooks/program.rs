//! The program of `events --exec`: it has the event as variables of its environment, and as a line of JSON on its standard input.

use super::super::wording::{Failure, ProgramFault};
use crate::control::{CallError, EventRow, paths};
use crate::name::Escaped;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the name of each variable of an event begins with.
const PREFIX: &str = "PYRATE_EVENT_";

pub(super) struct Program {
    path: PathBuf,
    name: CString,
    /// The environment without the event.
    environment: Vec<CString>,
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
        Ok(Self { path, name, environment })
    }

    /// As people read it.
    pub(super) fn shown(&self) -> String {
        Escaped::path(&self.path).to_string()
    }

    /// Runs it to its end. The inner error says why it did not succeed.
    /// Errors: If this machine can start no program.
    pub(super) fn run(&self, event: &EventRow) -> Result<Result<(), ProgramFault>, CallError> {
        let broken = |errno: Errno| Failure::CannotStart { error: errno.to_string() };
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(broken)?;
        let mut actions = PosixSpawnFileActions::init().map_err(broken)?;
        actions.add_dup2(read.as_raw_fd(), 0).map_err(broken)?;
        let mut attributes = PosixSpawnAttr::init().map_err(broken)?;
        // Signals are blocked here, and this program ignores SIGPIPE; others expect neither.
        attributes.set_sigmask(&SigSet::empty()).map_err(broken)?;
        attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE)).map_err(broken)?;
        let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
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
        Ok(wait_for(child).map_err(broken)?)
    }
}

/// The inner error says why it did not succeed. The outer one is that nothing can be known of it, as where SIGCHLD is ignored.
fn wait_for(child: Pid) -> Result<Result<(), ProgramFault>, Errno> {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => return Ok(Ok(())),
            Ok(WaitStatus::Exited(_, code)) => return Ok(Err(ProgramFault::Exited(code))),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Err(ProgramFault::Killed(signal.as_str()))),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
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

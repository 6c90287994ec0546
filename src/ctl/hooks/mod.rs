//! `events --exec`: a program that is run once for each event of the log (pyratectl(1), EVENTS).
//!
//! How far it came is on the disk (`position`) after the program has succeeded, and only then: whatever is killed when, no event is
//! missing, and one that is repeated has the same id. A program that fails is run again until it succeeds, since the events after
//! one that is left out could not be told from those that were done. Waits end with SIGTERM and Ctrl-C; a program that runs is
//! waited for first, until a second signal.

mod ends;
mod position;
mod program;

use super::clock::Deadline;
use super::connection::{Connection, Heard};
use super::locate;
use super::output::remark;
use super::wording::{Failure, Remark};
use crate::control::{CallError, EventLogReply, EventRow, ExitCode, Notice, Request};
use ends::Ends;
use position::{Position, PositionFile};
use program::{Program, Told};
use std::path::PathBuf;
use std::time::Duration;

/// The wait after the first failure of the program. Each further one is twice as long.
const RUN_AGAIN_MIN: Duration = Duration::from_secs(1);

const RUN_AGAIN_MAX: Duration = Duration::from_secs(5 * 60);

/// The wait before the first attempt to find the daemon again. Each further one is twice as long.
const CONNECT_AGAIN_MIN: Duration = Duration::from_millis(50);

const CONNECT_AGAIN_MAX: Duration = Duration::from_secs(5);

/// What the user wants.
pub(super) struct Wanted {
    pub(super) program: PathBuf,
    /// Where to begin if nothing was remembered; `None` for the events to come.
    pub(super) since: Option<u64>,
    /// Where it is remembered how far it came.
    pub(super) state: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    /// For one answer.
    pub(super) timeout: Duration,
}

struct Hook {
    program: Program,
    since: Option<u64>,
    position: PositionFile,
    socket: Option<PathBuf>,
    timeout: Duration,
    ends: Ends,
    /// Why the daemon was last said to be out of reach; `None` while it is in reach.
    waits: Option<String>,
}

/// Why work stops.
enum Stop {
    /// The user wants it.
    Asked,
    /// The daemon is out of reach.
    Lost(CallError),
    Failed(CallError),
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn run(wanted: Wanted) -> Result<ExitCode, CallError> {
    let ends = Ends::watch()?;
    let position = PositionFile::open(wanted.state)?;
    let program = Program::new(wanted.program, wanted.socket.as_deref())?;
    if let Some(why) = program.why_not_found() {
        remark(Remark::NoSuchProgram { program: program.shown(), why: why.into() });
    }
    let Wanted { since, socket, timeout, .. } = wanted;
    Hook { program, since, position, socket, timeout, ends, waits: None }.run()
}

impl Hook {
    fn run(mut self) -> Result<ExitCode, CallError> {
        let mut wait = CONNECT_AGAIN_MIN;
        loop {
            match self.follow() {
                Stop::Asked => return Ok(ExitCode::Done),
                Stop::Failed(error) => return Err(error),
                Stop::Lost(error) => {
                    if self.waits.is_none() {
                        wait = CONNECT_AGAIN_MIN;
                    }
                    if self.waits.as_ref() != Some(&error.message) {
                        remark(Remark::WaitsForDaemon { why: error.message.clone() });
                        self.waits = Some(error.message);
                    }
                    if self.ends.came_within(wait) {
                        return Ok(ExitCode::Done);
                    }
                    wait = wait.saturating_mul(2).min(CONNECT_AGAIN_MAX);
                }
            }
        }
    }

    /// Works on the events of one connection, until it ends.
    fn follow(&mut self) -> Stop {
        let connected = locate::connect(self.socket.as_deref(), self.timeout).and_then(|mut connection| {
            connection.watch_ends()?;
            Ok(connection)
        });
        match connected {
            Ok(connection) => match (Following { hook: self, connection }).work() {
                Ok(never) => match never {},
                Err(stop) => stop,
            },
            Err(error) => Stop::Lost(error),
        }
    }

    /// Runs the program until it succeeds, and remembers that it did.
    fn deal_with(&mut self, event: &EventRow) -> Result<(), Stop> {
        let mut wait = RUN_AGAIN_MIN;
        let mut tell = |told| {
            let (program, id) = (self.program.shown(), event.id);
            remark(match told {
                Told::Runs(span) => Remark::ProgramRuns { program, id, span },
                Told::Ending => Remark::EndsAfterProgram { program, id },
            });
        };
        while let Err(why) = self.program.run(event, &self.ends, &mut tell)? {
            if self.ends.is_urgent() {
                return Err(Stop::Asked);
            }
            let is_ending = self.ends.came_within(Duration::ZERO);
            let again = (!is_ending).then_some(wait);
            remark(Remark::ProgramFailed { program: self.program.shown(), id: event.id, why, again });
            if is_ending || self.ends.came_within(wait) {
                return Err(Stop::Asked);
            }
            wait = wait.saturating_mul(2).min(RUN_AGAIN_MAX);
        }
        // The program has succeeded: saving that is tried again, and not the program.
        let mut wait = RUN_AGAIN_MIN;
        while let Err(error) = self.position.save(Position { log: event.log.clone(), done: event.id }) {
            if self.ends.came_within(Duration::ZERO) {
                return Err(Stop::Failed(error));
            }
            remark(Remark::PositionNotSaved { why: error.message.clone(), wait });
            if self.ends.came_within(wait) {
                return Err(Stop::Failed(error));
            }
            wait = wait.saturating_mul(2).min(RUN_AGAIN_MAX);
        }
        if self.ends.came_within(Duration::ZERO) { Err(Stop::Asked) } else { Ok(()) }
    }
}

/// A value that does not exist.
enum Never {}

struct Following<'a> {
    hook: &'a mut Hook,
    connection: Connection,
}

impl Following<'_> {
    /// Deals with the events that are kept, and then with each new one.
    fn work(&mut self) -> Result<Never, Stop> {
        let mut since = match self.hook.position.get() {
            Some(position) => Some(position.done + 1),
            None => self.hook.since,
        };
        loop {
            let page = match self.page(since) {
                Err(Stop::Failed(error))
                    if error.code == ExitCode::NotFound as i32 && self.hook.position.get().is_some() =>
                {
                    since = self.begin_again();
                    continue;
                }
                page => page?,
            };
            if self.hook.waits.take().is_some() {
                remark(Remark::FoundDaemon);
            }
            match self.hook.position.get() {
                Some(position) if position.log != page.log => {
                    since = self.begin_again();
                    continue;
                }
                Some(_) => {}
                None => {
                    let done = since.map_or(page.last, |since| since.saturating_sub(1));
                    self.hook.position.save(Position { log: page.log.clone(), done })?;
                }
            }
            if let Some(gone) = page.gone {
                remark(Remark::EventsGone { first: gone.first, last: gone.last });
            }
            for event in &page.events {
                self.hook.deal_with(event)?;
            }
            match page.next {
                Some(next) => since = Some(next),
                None => break,
            }
        }
        loop {
            match self.connection.next(Deadline::NEVER).map_err(Stop::Lost)? {
                Heard::Notice(Notice::Logged(event)) => self.hook.deal_with(&event)?,
                Heard::Notice(_) | Heard::Unknown(_) | Heard::Deadline => {}
                Heard::Interrupted => return Err(Stop::Asked),
                Heard::Ended => return Err(Stop::Lost(self.connection.hung_up())),
            }
        }
    }

    /// The daemon lost its state directory: ids began again.
    fn begin_again(&mut self) -> Option<u64> {
        remark(Remark::OtherLog);
        self.hook.position.forget();
        Some(1)
    }

    fn page(&mut self, since: Option<u64>) -> Result<EventLogReply, Stop> {
        self.connection.call(&Request::EventLog { since }, self.hook.timeout).map_err(|error| {
            if error == Failure::Interrupted.into() {
                // A signal ends a call, too.
                Stop::Asked
            } else if error.code == ExitCode::NotFound as i32 {
                Stop::Failed(error)
            } else {
                // Whatever it is, another daemon may know better, or this one later.
                Stop::Lost(error)
            }
        })
    }
}

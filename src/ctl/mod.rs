//! The client of the control socket, `pyratectl` (pyratectl(1)).
//!
//! | file | owns |
//! |---|---|
//! | `args`, `values` | the commands, their options and arguments |
//! | `command_line`, `usage` | the command line, read; commands and options as a table; what is wrong with it |
//! | `completion` | what a shell completes |
//! | `locate`, `connection` | finding the daemon; calls, notices, deadlines, Ctrl-C |
//! | `found` | hits and searches: their order, and why there are none |
//! | `query` | commands that need one call, or all pages of one |
//! | `work` | searches and scans: commands that follow what the daemon reports |
//! | `listing` | the list of a peer, shown while it arrives |
//! | `download` | downloads: begun, followed, and given orders |
//! | `event_log`, `hooks` | following the event log; running a program for each of its events |
//! | `history` | downloads that are over, from the event log |
//! | `watch` | what a command shows, again and again |
//! | `top` | the live view |
//! | `queue` | the list of downloads, and forgetting those that are over |
//! | `link`, `manifest` | links to contents; the manifests of directories |
//! | `named`, `place` | what an argument names, of the own share or of a peer; where downloads are saved |
//! | `compare` | a file of a peer for a place that has one already |
//! | `wishes` | searches that repeat |
//! | `content` | a downloaded file on the standard output |
//! | `rows`, `table`, `text`, `wrap` | replies as people and programs read them |
//! | `output`, `progress` | the standard output, and the standard error |
//! | `wording` | what goes wrong in the client, and what it remarks |
//!
//! Knows nothing of the network and decides nothing about it: what a daemon answers is shown as it is, except that
//! control characters never reach the terminal. Unknown answers are refused, unknown notices are passed over.

mod args;
mod clock;
mod command_line;
mod compare;
mod completion;
mod connection;
mod content;
mod download;
mod event_log;
mod found;
mod given;
mod history;
mod hooks;
mod link;
mod listing;
mod locate;
mod manifest;
mod named;
mod output;
mod place;
mod progress;
mod query;
mod queue;
mod rows;
mod table;
mod text;
mod top;
mod usage;
mod values;
mod watch;
mod wishes;
mod wording;
mod work;
mod wrap;

use crate::control::{BAD_PARAMS, CallError, ExitCode, Request};
use args::{Command, Events};
use command_line::{Early, Form, Options};
use connection::Connection;
use download::Voice;
use output::{Output, remark};
use rows::Order;
use serde::de::DeserializeOwned;
use std::process;
use std::time::Duration;
use wording::{Failure, Remark};

/// Columns of help, also where it goes to a file or a pipe.
const HELP_WIDTH_MAX: usize = 80;

/// Runs `pyratectl` with the arguments of this process, and gives the code to exit with.
pub fn main() -> process::ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == completion::OPTION) {
        completion::complete(&arguments[1..]);
        return process::ExitCode::SUCCESS;
    }
    let code = match command_line::parse(&arguments) {
        Ok(options) => run(options),
        Err(Early::Told(text)) => tell(&text),
        Err(Early::Usage { message, json, command }) => {
            fail(Failure::CommandLine(message), json);
            remark(Remark::Help { command });
            ExitCode::Usage
        }
        Err(Early::Failed { failure, json }) => fail(failure, json),
    };
    process::ExitCode::from(code as u8)
}

/// A command that is being executed.
struct Session {
    connection: Connection,
    output: Output,
    /// For one answer.
    timeout: Duration,
    /// For downloads to end.
    follow_timeout: Option<Duration>,
}

impl Session {
    fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, CallError> {
        self.connection.call(request, self.timeout)
    }

    /// Explains the mark of rows without a hash to people, if there are such rows.
    fn remark_unverified(&self, any: bool) {
        if any && self.output.is_text() {
            remark(Remark::Unverified);
        }
    }
}

fn run(options: Options) -> ExitCode {
    let output = Output::new(options.form);
    match obey(options, output) {
        Ok(code) => code,
        Err(error) => {
            output.show_error(&error);
            exit_code(error.code)
        }
    }
}

fn obey(options: Options, output: Output) -> Result<ExitCode, CallError> {
    let Options { socket, timeout, follow_timeout, command, form } = options;
    if let Command::Top(_) = command {
        top::check(form)?;
    }
    if let Command::Events(Events { since, exec: Some(program), state }) = command {
        let state = state.map(|path| path.0);
        return hooks::run(hooks::Wanted { program: program.0, since, state, socket, timeout });
    }
    if command.watch().is_some() {
        watch::check(form)?;
    }
    let session = || -> Result<Session, CallError> {
        let connection = locate::connect(socket.as_deref(), timeout)?;
        Ok(Session { connection, output, timeout, follow_timeout })
    };
    match command {
        Command::Status(status) => query::status(&mut session()?, status.verbose),
        Command::Peers(peers) => query::peers(&mut session()?, &peers),
        Command::Search(search) => work::search(&mut session()?, &search),
        Command::Hits(hits) => found::hits(&mut session()?, &hits),
        Command::Searches(_) => found::searches(&mut session()?),
        Command::Wish(wish) => wishes::wish(&mut session()?, &wish),
        Command::Wishes(asked) => wishes::wishes(&mut session()?, &asked),
        Command::Unwish(unwish) => wishes::unwish(&mut session()?, &unwish),
        Command::List(list) => listing::list(&mut session()?, list.peer),
        Command::Forget(forget) => queue::forget(&mut session()?, &forget),
        Command::Download(download) => download::download(&mut session()?, download),
        Command::Downloads(downloads) => queue::downloads(&mut session()?, &downloads),
        Command::History(history) => history::history(&mut session()?, &history),
        Command::Follow(follow) => download::follow_again(&mut session()?, &follow.ids, Voice::Loud),
        Command::Wait(wait) => download::follow_again(&mut session()?, &wait.ids, Voice::Silent),
        Command::Move(order) => download::move_queued(&mut session()?, order),
        Command::Pause(pause) => download::order(&mut session()?, Order::Pause, &pause.ids),
        Command::Resume(resume) => download::order(&mut session()?, Order::Resume, &resume.ids),
        Command::Retry(retry) => download::order(&mut session()?, Order::Retry, &retry.ids),
        Command::Cancel(cancel) => download::order(&mut session()?, Order::Cancel, &cancel.ids),
        Command::Uploads(uploads) => query::uploads(&mut session()?, &uploads),
        Command::Limit(limit) => query::limit(&mut session()?, &limit),
        Command::Files(files) if files.left_out => query::left_out(&mut session()?),
        Command::Files(_) => query::files(&mut session()?),
        Command::Shares(_) => query::shares(&mut session()?),
        Command::Link(wanted) => link::link(&mut session()?, &wanted),
        Command::Manifest(wanted) => manifest::manifest(&mut session()?, &wanted),
        Command::Rescan(_) => work::rescan(&mut session()?),
        Command::Top(_) => top::top(&mut session()?),
        Command::Bootstrap(_) => query::bootstrap(&mut session()?),
        Command::Metrics(_) => query::metrics(&mut session()?),
        Command::Events(Events { since: Some(since), .. }) => event_log::follow(&mut session()?, since),
        Command::Events(_) => query::events(&mut session()?),
        Command::Reload(_) => query::reload(&mut session()?),
        Command::LogLevel(log) => query::order(&mut session()?, &Request::LogLevel { level: log.level }),
        Command::Stop(_) => query::stop(&mut session()?),
        // Needs no daemon.
        Command::Completions(completions) => {
            output.write_lines(completion::script(completions.shell)).map(|_| ExitCode::Done)
        }
    }
}

/// Says why no command is run.
fn fail(failure: Failure, json: bool) -> ExitCode {
    let error = CallError::from(failure);
    Output::new(if json { Form::Json } else { Form::Text }).show_error(&error);
    exit_code(error.code)
}

/// Prints what was asked for instead of a command.
fn tell(text: &str) -> ExitCode {
    let output = Output::new(Form::Text);
    let width = output.look().width.map_or(HELP_WIDTH_MAX, |width| width.min(HELP_WIDTH_MAX));
    let written = output.write(&wrap::wrapped(text, Some(width)));
    written.map_or_else(|error| exit_code(error.code), |_| ExitCode::Done)
}

/// The exit code for an error of the daemon: its own, or for one of JSON-RPC what it means for the user.
fn exit_code(code: i32) -> ExitCode {
    match code {
        BAD_PARAMS => ExitCode::Usage,
        // An error is none that says all is well.
        _ => ExitCode::ALL[1..].iter().copied().find(|known| *known as i32 == code).unwrap_or(ExitCode::Other),
    }
}

//! The command line of `pyratectl` (pyratectl(1)), read.

use super::args::{Command, Line, Status, commands};
use super::argv;
use super::arrange::arrange;
use super::wording::Failure;
use crate::name::Escaped;
use argh::FromArgs;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long a daemon may take for an answer unless the user says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How the results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Tables for people.
    Text,
    /// Tab-separated values with a header.
    Terse,
    /// One JSON document, or one a line.
    Json,
}

#[derive(Debug, PartialEq)]
pub(super) struct Options {
    /// Given with `--socket`.
    pub(super) socket: Option<PathBuf>,
    pub(super) form: Form,
    /// The wait for one answer.
    pub(super) timeout: Duration,
    /// The wait for downloads to end; `None` unless the user gave one.
    pub(super) follow_timeout: Option<Duration>,
    pub(super) command: Command,
}

/// Why no command is run.
#[derive(Debug, PartialEq)]
pub(super) enum Early {
    /// Help or version: for the standard output, and the program succeeds.
    Told(String),
    /// A usage error, in one or more lines.
    Usage {
        message: String,
        /// `--json` was asked for.
        json: bool,
    },
}

/// Reads the arguments after the program's name.
pub(super) fn parse(arguments: &[OsString]) -> Result<Options, Early> {
    let commands = commands();
    let arguments = arrange(&commands, arguments.iter().map(argv::encode).collect());
    let json = arguments.iter().take_while(|a| *a != "--").any(|a| a == "--json");
    let usage = |message: &str| Early::Usage { message: shown(message), json };
    if let Some(unknown) = commands.unknown(&arguments) {
        return Err(Early::Usage { message: unknown.into(), json });
    }
    let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let line = Line::from_args(&["pyratectl"], &borrowed).map_err(|early| match early.status {
        Ok(()) => Early::Told(early.output),
        Err(()) => usage(&early.output),
    })?;
    if line.version {
        return Err(Early::Told(format!("pyratectl {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let form = match (line.json, line.terse) {
        (true, true) => return Err(usage(&String::from(Failure::BothForms))),
        (true, false) => Form::Json,
        (false, true) => Form::Terse,
        (false, false) => Form::Text,
    };
    let command = line.command.unwrap_or(Command::Status(Status { verbose: false }));
    let no_id = |ids: &[String], command| ids.is_empty().then_some(Failure::NoId { command });
    let missing = match &command {
        Command::Search(search) => search.text.is_empty().then_some(Failure::NoText),
        Command::Download(download) => download.what.is_empty().then_some(Failure::NothingNamed),
        Command::Pause(order) => no_id(&order.ids, "pause"),
        Command::Resume(order) => no_id(&order.ids, "resume"),
        Command::Retry(order) => no_id(&order.ids, "retry"),
        Command::Cancel(order) => no_id(&order.ids, "cancel"),
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(usage(&String::from(missing)));
    }
    Ok(Options {
        socket: line.socket.map(|path| path.0),
        form,
        timeout: line.timeout.unwrap_or(TIMEOUT),
        follow_timeout: line.timeout,
        command,
    })
}

/// A message of the parser, with the user's bytes escaped.
fn shown(message: &str) -> String {
    message.trim().lines().map(|line| Escaped(&argv::decode(line)).to_string()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;

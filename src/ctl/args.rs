//! The command line of `pyratectl` (pyratectl(1)).

use super::argv;
use super::arrange::arrange;
use super::commands::Commands;
use super::values::{BytesArg, PathArg, Shell, duration, level, peer, positive, selector, shell};
use super::wording::Failure;
use crate::control::Selector;
use crate::name::Escaped;
use argh::{ArgsInfo, FromArgs};
use std::ffi::OsString;
use std::net::SocketAddr;
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

/// What the parser knows of the commands, as data.
pub(super) fn commands() -> Commands {
    Commands::new(Line::get_args_info())
}

/// A message of the parser, with the user's bytes escaped.
fn shown(message: &str) -> String {
    message.trim().lines().map(|line| Escaped(&argv::decode(line)).to_string()).collect::<Vec<_>>().join("\n")
}

/// Talk to the Pyrate daemon of this machine: look around, search, download.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help"),
    note = "'pyratectl help COMMAND' explains a command. Without a command: status. Options of the program may also stand after the command.",
    note = "The socket is --socket, else $PYRATE_CONTROL_SOCKET, else the first that answers of
control_socket in ~/.config/pyrate/pyrated.toml or /etc/pyrate/pyrated.toml, $XDG_RUNTIME_DIR/pyrate/control.sock,
~/.local/state/pyrate/control.sock and /run/pyrate/control.sock.",
    error_code(0, "done"),
    error_code(1, "anything else"),
    error_code(2, "timed out"),
    error_code(3, "no hit or no such id"),
    error_code(6, "network"),
    error_code(7, "unfinished downloads remain"),
    error_code(9, "disk full"),
    error_code(13, "the file exists"),
    error_code(17, "file input/output"),
    error_code(28, "usage"),
    error_code(29, "every source is busy or gone"),
    error_code(32, "checksum"),
    error_code(69, "no daemon there")
)]
struct Line {
    /// control socket of the daemon
    #[argh(option, arg_name = "path")]
    socket: Option<PathArg>,

    /// print one JSON document, or for events one a line
    #[argh(switch)]
    json: bool,

    /// print tab-separated values with a header line
    #[argh(switch)]
    terse: bool,

    /// how long to wait for an answer (30s), as 30s, 2m or a number of seconds; also limits how long a download
    /// is followed, which has no limit otherwise
    #[argh(option, arg_name = "time", from_str_fn(duration))]
    timeout: Option<Duration>,

    /// print the version
    #[argh(switch, short = 'V')]
    version: bool,

    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand)]
pub(super) enum Command {
    Status(Status),
    Peers(Peers),
    Search(Search),
    Hits(Hits),
    List(List),
    Forget(Forget),
    Download(Download),
    Downloads(Downloads),
    Pause(Pause),
    Resume(Resume),
    Retry(Retry),
    Cancel(Cancel),
    Files(Files),
    Rescan(Rescan),
    Bootstrap(Bootstrap),
    Metrics(Metrics),
    Events(Events),
    Reload(Reload),
    LogLevel(LogLevel),
    Stop(Stop),
    Completions(Completions),
}

/// node, bootstrap links, peers, share and transfers at a glance
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub(super) struct Status {
    /// also show what met a limit, and how long turns of the loop took and jobs waited
    #[argh(switch, short = 'v')]
    pub(super) verbose: bool,
}

/// known peers
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "peers", help_triggers("-h", "--help"))]
pub(super) struct Peers {}

/// ask the network for files and print the hits, grouped by content
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "search", help_triggers("-h", "--help"))]
pub(super) struct Search {
    /// a file name, or words that occur in its path; "a phrase", -word and *.ogg narrow the search
    #[argh(positional, arg_name = "TEXT")]
    pub(super) text: Vec<BytesArg>,

    /// how long to wait for hits (5s); 0 returns at once, and hits shows them later
    #[argh(option, arg_name = "time", default = "Duration::from_secs(5)", from_str_fn(duration))]
    pub(super) wait: Duration,

    /// most rows to remember (150)
    #[argh(option, arg_name = "rows", default = "150", from_str_fn(positive))]
    pub(super) max: u32,

    /// how many hops the search may go (max_ttl of the daemon)
    #[argh(option, arg_name = "hops")]
    pub(super) ttl: Option<u8>,
}

/// the hits still remembered; of those named, all names and sources
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "hits", help_triggers("-h", "--help"))]
pub(super) struct Hits {
    /// ids of hits: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// what a peer shares; the files become hits, which have ids
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
pub(super) struct List {
    /// address or host name, and perhaps a port, as 192.0.2.7, localhost:63340 or [2001:db8::7]:63339
    #[argh(positional, arg_name = "PEER", from_str_fn(peer))]
    pub(super) peer: SocketAddr,
}

/// forget a mistyped peer; it comes back if a peer list names it
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "forget", help_triggers("-h", "--help"))]
pub(super) struct Forget {
    /// address and port, as peers shows them
    #[argh(positional, arg_name = "PEER", from_str_fn(peer))]
    pub(super) peer: SocketAddr,
}

/// fetch files; interrupting leaves them running in the daemon
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "download", help_triggers("-h", "--help"))]
pub(super) struct Download {
    /// ids of hits (7, 2,4-6, all), PEER/NAME, or b3=HASH
    #[argh(positional, arg_name = "WHAT", from_str_fn(selector))]
    pub(super) what: Vec<Selector>,

    /// file or directory to save to; dir/ is made if it is missing, and - is the standard output
    #[argh(option, short = 'o', arg_name = "path")]
    pub(super) output: Option<PathArg>,

    /// print the ids of the downloads and return
    #[argh(switch)]
    pub(super) detach: bool,
}

/// the queue of downloads; of those named, all that is known, with their sources
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "downloads", help_triggers("-h", "--help"))]
pub(super) struct Downloads {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// stop downloads and keep their data
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "pause", help_triggers("-h", "--help"))]
pub(super) struct Pause {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// resume paused downloads
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "resume", help_triggers("-h", "--help"))]
pub(super) struct Resume {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// ask all sources again at once, also for downloads that failed
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "retry", help_triggers("-h", "--help"))]
pub(super) struct Retry {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// stop downloads and remove their data
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "cancel", help_triggers("-h", "--help"))]
pub(super) struct Cancel {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// what this node shares
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "files", help_triggers("-h", "--help"))]
pub(super) struct Files {}

/// scan the shared directory now, and wait until that is done
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "rescan", help_triggers("-h", "--help"))]
pub(super) struct Rescan {}

/// state of each bootstrap node, and the registry if this one serves
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "bootstrap", help_triggers("-h", "--help"))]
pub(super) struct Bootstrap {}

/// counters and times of the daemon, as text for Prometheus
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "metrics", help_triggers("-h", "--help"))]
pub(super) struct Metrics {}

/// every event as a line of JSON, until interrupted
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "events", help_triggers("-h", "--help"))]
pub(super) struct Events {}

/// have the daemon reload its configuration and reopen its log
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "reload", help_triggers("-h", "--help"))]
pub(super) struct Reload {}

/// change what the daemon logs, until its next start or reload
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "log-level", help_triggers("-h", "--help"))]
pub(super) struct LogLevel {
    /// error, warn, info, debug or trace
    #[argh(positional, arg_name = "LEVEL", from_str_fn(level))]
    pub(super) level: String,
}

/// have the daemon unregister, save its state and exit; wait until it has
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "stop", help_triggers("-h", "--help"))]
pub(super) struct Stop {}

/// print what makes a shell complete command lines of pyratectl; pyratectl(1) says where to put it
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "completions", help_triggers("-h", "--help"))]
pub(super) struct Completions {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL", from_str_fn(shell))]
    pub(super) shell: Shell,
}

#[cfg(test)]
mod tests;

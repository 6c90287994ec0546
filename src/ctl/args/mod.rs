//! The commands of `pyratectl` with their options, as the parser reads them and `--help` shows them (pyratectl(1)).

/// A command that follows downloads: what it exits with is explained alike.
macro_rules! follows_downloads {
    ($(#[$doc:meta])* argh($($argh:tt)*) struct $name:ident { $($fields:tt)* }) => {
        $(#[$doc])*
        #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
        #[argh(
            subcommand,
            help_triggers("-h", "--help"),
            note = "Of several downloads, the first that did not end well gives the code.",
            error_code(0, "done"),
            error_code(1, "cancelled, or failed for another reason"),
            error_code(2, "not over in the time of --timeout; it continues in the daemon"),
            error_code(3, "no such id, or no such file"),
            error_code(6, "no peer could be reached"),
            error_code(7, "interrupted, or paused by the user"),
            error_code(9, "disk full"),
            error_code(13, "the file exists"),
            error_code(17, "a file could not be read or written"),
            error_code(29, "every source is busy or gone"),
            error_code(32, "the content does not match its hash"),
            error_code(69, "no daemon there"),
            $($argh)*
        )]
        pub(in crate::ctl) struct $name { $($fields)* }
    };
}

mod downloads;
mod history;
mod link;
mod manifest;
mod node;
mod queue;
mod search;
mod wishes;

#[cfg(test)]
pub(super) use downloads::selector;
pub(super) use downloads::{Cancel, Download, Downloads, Pause, Resume, Retry};
pub(super) use history::History;
pub(super) use link::Link;
pub(super) use manifest::Manifest;
pub(super) use node::{
    Bootstrap, Completions, Events, Files, LogLevel, Metrics, Peers, Reload, Rescan, Shares, Status, Stop, Top,
};
pub(super) use queue::{Follow, Forget, Limit, Move, Uploads, Wait};
pub(super) use search::{Hits, List, Search, Searches};
pub(super) use wishes::{Unwish, Wish, Wishes};

use super::values::{PathArg, duration};
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// Talk to the Pyrate daemon of this machine: look around, search, download.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help"),
    note = "`pyratectl help COMMAND` explains a command. Without a command: status.
Options of the program may also stand after the command.",
    note = "The socket is --socket, else $PYRATE_CONTROL_SOCKET, else the first that
answers of control_socket in ~/.config/pyrate/pyrated.toml or
/etc/pyrate/pyrated.toml, $XDG_RUNTIME_DIR/pyrate/control.sock,
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
pub(in crate::ctl) struct Line {
    /// control socket of the daemon
    #[argh(option, arg_name = "path")]
    pub(in crate::ctl) socket: Option<PathArg>,

    /// print one JSON document, or for events one a line
    #[argh(switch)]
    pub(in crate::ctl) json: bool,

    /// print tab-separated values with a header line
    #[argh(switch)]
    pub(in crate::ctl) terse: bool,

    /// how long to wait for an answer (30s), as 30s, 2m or a number of seconds; also limits how long a download
    /// is followed, which has no limit otherwise
    #[argh(option, arg_name = "time", from_str_fn(duration))]
    pub(in crate::ctl) timeout: Option<Duration>,

    /// print the version
    #[argh(switch, short = 'V')]
    pub(in crate::ctl) version: bool,

    #[argh(subcommand)]
    pub(in crate::ctl) command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand)]
pub(in crate::ctl) enum Command {
    Status(Status),
    Peers(Peers),
    Search(Search),
    Hits(Hits),
    Searches(Searches),
    Wish(Wish),
    Wishes(Wishes),
    Unwish(Unwish),
    List(List),
    Forget(Forget),
    Download(Download),
    Downloads(Downloads),
    History(History),
    Follow(Follow),
    Wait(Wait),
    Move(Move),
    Pause(Pause),
    Resume(Resume),
    Retry(Retry),
    Cancel(Cancel),
    Uploads(Uploads),
    Limit(Limit),
    Files(Files),
    Shares(Shares),
    Link(Link),
    Manifest(Manifest),
    Rescan(Rescan),
    Bootstrap(Bootstrap),
    Top(Top),
    Metrics(Metrics),
    Events(Events),
    Reload(Reload),
    LogLevel(LogLevel),
    Stop(Stop),
    Completions(Completions),
}

impl Command {
    /// How often the command is to show what it shows, if it is asked for more than once.
    pub(in crate::ctl) fn watch(&self) -> Option<Duration> {
        match self {
            Self::Peers(peers) => peers.watch,
            Self::Downloads(downloads) => downloads.watch,
            Self::Uploads(uploads) => uploads.watch,
            _ => None,
        }
    }
}

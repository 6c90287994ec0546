//! The commands of `pyratectl` with their options, as the parser reads them and `--help` shows them (pyratectl(1)).

use super::commands::Commands;
use super::values::{BytesArg, PathArg, Shell, duration, level, peer, positive, selector, shell};
use crate::control::Selector;
use argh::{ArgsInfo, FromArgs};
use std::net::SocketAddr;
use std::time::Duration;

/// What the parser knows of the commands, as data.
pub(super) fn commands() -> Commands {
    Commands::new(Line::get_args_info())
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
pub(super) struct Line {
    /// control socket of the daemon
    #[argh(option, arg_name = "path")]
    pub(super) socket: Option<PathArg>,

    /// print one JSON document, or for events one a line
    #[argh(switch)]
    pub(super) json: bool,

    /// print tab-separated values with a header line
    #[argh(switch)]
    pub(super) terse: bool,

    /// how long to wait for an answer (30s), as 30s, 2m or a number of seconds; also limits how long a download
    /// is followed, which has no limit otherwise
    #[argh(option, arg_name = "time", from_str_fn(duration))]
    pub(super) timeout: Option<Duration>,

    /// print the version
    #[argh(switch, short = 'V')]
    pub(super) version: bool,

    #[argh(subcommand)]
    pub(super) command: Option<Command>,
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
    Top(Top),
    Metrics(Metrics),
    Events(Events),
    Reload(Reload),
    LogLevel(LogLevel),
    Stop(Stop),
    Completions(Completions),
}

/// node, bootstrap links, peers, share and transfers at a glance
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "status",
    help_triggers("-h", "--help"),
    note = "Lines:
  Listening   the address where other peers reach this node
  Bootstrap   a bootstrap node, and whether this node is registered with it
  Serving     the bootstrap node that this daemon serves, and how many peers are registered there
  Peers       how many are known
  Sharing     files and bytes in the share
  Downloads   those in progress, those waiting for a turn, and what was received since start
  Orphans     part files that no download of this daemon names
  Uploads     those in progress, and what was sent since start
  Waiting     commands that wait for a free worker (max_workers)
  Sandbox     whether the daemon is restricted to its directories
  Refused     messages of others that were malformed, too long or unsuitable
  Limited     with -v: what met a limit, and how often
  Turns       with -v: turns of the loop, and how long half, 99%, 99.9% and all of them took at most
  Job waits   with -v: the same for jobs that waited for a disk or a name server"
)]
pub(super) struct Status {
    /// also show what met a limit, and how long turns of the loop took and jobs waited
    #[argh(switch, short = 'v')]
    pub(super) verbose: bool,
}

/// known peers
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "peers",
    help_triggers("-h", "--help"),
    note = "Columns:
  SOURCE      how the peer became known: from a bootstrap node, memory (an earlier run), a hit, a search or the user
  STATE       new (not asked yet), alive, or failing (did not answer the last time)
  LAST SEEN   when it last answered or spoke
  P1          whether it speaks p1, the newer part of the protocol (hashes, parts of files); - while that is not known
  SEARCHED    whether the searches of this node go to it"
)]
pub(super) struct Peers {}

/// ask the network for files and print the hits, grouped by content
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "search",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for download; ids are valid until the hits are forgotten or the daemon stops
  NAME        the name at the first source; (+2 names) counts further ones
  SIZE        - where no source gave it
  SOURCES     how many peers have it
  HASH        the beginning of its BLAKE3; unverified where no source gave one",
    error_code(3, "no hit")
)]
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
#[argh(
    subcommand,
    name = "hits",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for download; ids are valid until the hits are forgotten or the daemon stops
  NAME        the name at the first source; (+2 names) counts further ones
  SIZE        - where no source gave it
  SOURCES     how many peers have it
  HASH        the beginning of its BLAKE3; unverified where no source gave one",
    error_code(3, "no hit or no such id")
)]
pub(super) struct Hits {
    /// ids of hits: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// what a peer shares; the files become hits, which have ids
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "list",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for download; ids are valid until the hits are forgotten or the daemon stops
  NAME        the name in the peer's share
  SIZE        - where the peer gave none
  HASH        the beginning of its BLAKE3; unverified where the peer gave none"
)]
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
#[argh(
    subcommand,
    name = "downloads",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for pause, resume, retry and cancel
  STATE       queued, active, verifying, paused, retrying, done, failed or cancelled
  DONE        how much is there, of the size if that is known
  RATE, ETA   bytes a second, and the time left at this rate
  CHECK       verified against a hash that was known before; pending until it is complete; unverified without one
  REMARK      where it was saved, or what it waits for
Columns of the sources of those named:
  STATE       idle, active, waiting, refused, or corrupt (sent wrong bytes)
  BYTES       what it has delivered
  SHARE       the same as a part of all",
    error_code(3, "no such id")
)]
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
#[argh(
    subcommand,
    name = "files",
    help_triggers("-h", "--help"),
    note = "Columns:
  HASH        the beginning of its BLAKE3; - while it is not computed yet; being written: not shared yet"
)]
pub(super) struct Files {}

/// scan the shared directory now, and wait until that is done
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "rescan", help_triggers("-h", "--help"))]
pub(super) struct Rescan {}

/// state of each bootstrap node, and the registry if this one serves
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "bootstrap",
    help_triggers("-h", "--help"),
    note = "Columns:
  STATE         registered, or what is waited for
  LAST ANSWER   when the bootstrap node last answered
  NEXT ATTEMPT  when it is asked again after a failure
  REMARK        why it failed
Columns of the registry:
  PEER          the address with which a peer has registered
  EXPIRES       when it is removed unless it registers again"
)]
pub(super) struct Bootstrap {}

/// live view of transfers, peers, searches and rates; ? shows the keys
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "top", help_triggers("-h", "--help"))]
pub(super) struct Top {}

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
#[argh(
    subcommand,
    name = "reload",
    help_triggers("-h", "--help"),
    note = "Columns:
  KEY         a key whose value has changed, or will at the next start
  WAS         its value before the reload
  IN FORCE    its value now
  NEXT START  its value after a restart"
)]
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

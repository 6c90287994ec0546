//! Commands about the daemon, its peers and its share.

use crate::ctl::values::{PathArg, Shell, event_id, interval, level, shell};
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// node, bootstrap links, peers, share and transfers at a glance
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "status",
    help_triggers("-h", "--help"),
    note = "Lines:
  Listening   the address where other peers reach this node
  Bootstrap   a bootstrap node, and whether this node is registered with it
  Serving     the bootstrap node that this daemon is, and the peers registered there
  Peers       how many are known
  Sharing     files and bytes in the share
  Left out    what is in the shared directory and not shared, by reason
  Downloads   those in progress, those waiting for a turn, and bytes received since start
  Orphans     part files that no download of this daemon names
  Wishes      searches that repeat, if there are any
  Watching    the directory where links are looked for, and what became of the files there
  Uploads     those in progress, and what was sent since start
  Limits      bytes a second of all downloads and of all uploads, if limited
  Waiting     commands that wait for a free worker (max_workers)
  Sandbox     whether the daemon is restricted to its directories
  Refused     messages of others that were malformed, too long or unsuitable
  Limited     with -v: what met a limit, and how often
  Turns       with -v: turns of the loop, and how long half, 99%, 99.9% and all of them took at most
  Job waits   with -v: the same for jobs that waited for a disk or name server"
)]
pub(in crate::ctl) struct Status {
    /// also show what met a limit, and how long turns of the loop took and jobs waited
    #[argh(switch, short = 'v')]
    pub(in crate::ctl) verbose: bool,
}

/// known peers
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "peers",
    help_triggers("-h", "--help"),
    note = "Columns:
  SOURCE      how the peer became known: from a bootstrap node, memory (an earlier run), a hit, a search or the user
  STATE       new (not asked yet), alive, or failing (gave no answer last time)
  LAST SEEN   when it last answered or spoke
  P1          whether it speaks p1, the newer part of the protocol (hashes, parts of files); - while that is not known
  SEARCHED    whether the searches of this node go to it"
)]
pub(in crate::ctl) struct Peers {
    /// show them again and again, at this interval; with --json a document a line
    #[argh(option, arg_name = "time", from_str_fn(interval))]
    pub(in crate::ctl) watch: Option<Duration>,
}

/// what this node shares, or what is in its share and left out
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "files",
    help_triggers("-h", "--help"),
    note = "Columns:
  HASH        the beginning of its BLAKE3; - while it is not computed yet; being written: not shared yet
Columns with --left-out:
  REASON      why it is not shared"
)]
pub(in crate::ctl) struct Files {
    /// what is in the shared directory and not shared, and why
    #[argh(switch)]
    pub(in crate::ctl) left_out: bool,
}

/// the shares: what each is, for whom, and whether it can be read
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "shares",
    help_triggers("-h", "--help"),
    note = "Columns:
  NAME        what the names of its files begin with; - for local_directory, whose files have no name before theirs
  FILES       what the last scan has found there, and in SIZE the bytes of these files
  STATE       shared, scanning (for the first time), unreadable (what was found before stays shared), or waiting (for the
              next start of the daemon)
  AUDIENCE    for which addresses it is"
)]
pub(in crate::ctl) struct Shares {}

/// scan the shared directory now, and wait until that is done
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "rescan", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Rescan {}

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
pub(in crate::ctl) struct Bootstrap {}

/// live view of transfers, peers, searches and rates; ? shows the keys
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "top", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Top {}

/// counters and times of the daemon, as text for Prometheus
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "metrics", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Metrics {}

/// every event as a line of JSON, until interrupted
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "events", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Events {
    /// only events of the log, as JSON with ids: those kept from this id on (0 for all), then each new one; with --exec, the first
    /// event to run the program for
    #[argh(option, arg_name = "id", from_str_fn(event_id))]
    pub(in crate::ctl) since: Option<u64>,

    /// run this program once for each new event of the log, one after the other, until it succeeds; it has the event as JSON on its
    /// standard input, and as variables (PYRATE_EVENT_KIND, PYRATE_EVENT_PATH, and others)
    #[argh(option, arg_name = "path")]
    pub(in crate::ctl) exec: Option<PathArg>,

    /// where --exec remembers how far it came (~/.local/state/pyrate/hooks)
    #[argh(option, arg_name = "path")]
    pub(in crate::ctl) state: Option<PathArg>,
}

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
pub(in crate::ctl) struct Reload {}

/// change what the daemon logs, until its next start or reload
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "log-level", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct LogLevel {
    /// error, warn, info, debug or trace
    #[argh(positional, arg_name = "LEVEL", from_str_fn(level))]
    pub(in crate::ctl) level: String,
}

/// have the daemon unregister, save its state and exit; wait until it has
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "stop", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Stop {}

/// print code for a shell that completes command lines; see pyratectl(1)
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "completions", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Completions {
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL", from_str_fn(shell))]
    pub(in crate::ctl) shell: Shell,
}

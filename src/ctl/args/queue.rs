//! Commands that manage the queue of downloads, and the transfers in progress.

use crate::control::MoveTo;
use crate::ctl::values::{Forgettable, forgettable, interval, move_to, rate};
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

follows_downloads! {
    /// follow downloads as download does; interrupting leaves them running
    argh(name = "follow")
    struct Follow {
        /// ids of downloads: 7, 2,4-6, all
        #[argh(positional, arg_name = "ID")]
        pub(in crate::ctl) ids: Vec<String>,
    }
}

follows_downloads! {
    /// wait silently until downloads are over or paused; exits as download does
    argh(name = "wait")
    struct Wait {
        /// ids of downloads: 7, 2,4-6, all
        #[argh(positional, arg_name = "ID")]
        pub(in crate::ctl) ids: Vec<String>,
    }
}

/// change when a queued download gets its turn
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "move", help_triggers("-h", "--help"), error_code(3, "no such id"))]
pub(in crate::ctl) struct Move {
    /// id of a queued download
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) id: String,

    /// top, up, down or bottom
    #[argh(positional, arg_name = "TO", from_str_fn(move_to))]
    pub(in crate::ctl) to: MoveTo,
}

/// forget downloads that are over, or a mistyped peer
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "forget",
    help_triggers("-h", "--help"),
    error_code(3, "no such id"),
    error_code(7, "a download is not over, or has failed and keeps its data")
)]
pub(in crate::ctl) struct Forget {
    /// ids of downloads (7, 2,4-6, all), or a peer, with address and port as peers shows it
    #[argh(positional, arg_name = "WHAT", from_str_fn(forgettable))]
    pub(in crate::ctl) what: Vec<Forgettable>,

    /// all downloads that are over and keep no data
    #[argh(switch)]
    pub(in crate::ctl) finished: bool,
}

/// show the rate limits in force, or change them until the next start of the daemon
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "limit", help_triggers("-h", "--help"))]
pub(in crate::ctl) struct Limit {
    /// bytes a second that all downloads together may take, as 5MiB; 0 is no limit
    #[argh(option, arg_name = "rate", from_str_fn(rate))]
    pub(in crate::ctl) down: Option<u64>,

    /// bytes a second that all uploads together may take
    #[argh(option, arg_name = "rate", from_str_fn(rate))]
    pub(in crate::ctl) up: Option<u64>,

    /// go back to what the configuration says
    #[argh(switch)]
    pub(in crate::ctl) reset: bool,
}

/// uploads in progress: who fetches what, and how fast
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "uploads",
    help_triggers("-h", "--help"),
    note = "Columns:
  TO          the peer that fetches the file, as peers shows it; its IP address alone if no peer or several are known there
  STATE       sending; waiting for its turn (upload_limit) or for a worker (max_workers); idle between two parts of the file; or connecting, to an old peer that is called back
  SENT        bytes sent so far, in all
  RATE        bytes a second
  TIME        since it began, or began to wait"
)]
pub(in crate::ctl) struct Uploads {
    /// show them again and again, at this interval; with --json a document a line
    #[argh(option, arg_name = "time", from_str_fn(interval))]
    pub(in crate::ctl) watch: Option<Duration>,
}

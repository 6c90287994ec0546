//! Commands that manage the queue of downloads, and the transfers in progress.

use argh::{ArgsInfo, FromArgs};

/// uploads in progress: who fetches what, and how fast
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "uploads",
    help_triggers("-h", "--help"),
    note = "Columns:
  TO          the peer that fetches the file
  STATE       sending; waiting for its turn (upload_limit) or for a worker (max_workers); idle between two parts of
              the file; or connecting, to an old peer that is called back
  SENT        bytes sent so far, in all
  RATE        bytes a second
  TIME        since it began, or began to wait"
)]
pub(in crate::ctl) struct Uploads {}

//! The command that looks back at downloads.

use crate::ctl::values::{Since, positive, since};
use argh::{ArgsInfo, FromArgs};

/// downloads that are over, the newest last; also those that have left the list
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "history",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          of the download, as follow takes it
  FINISHED    when it ended, by the clock of this machine
  RESULT      done, failed or cancelled
  SIZE        - where no source gave it
  RATE        bytes a second from its beginning to its end, waiting included
  FROM        the peer that most came from; (+2) counts further ones
  HASH        the beginning of its BLAKE3
  FILE        where it was saved; else its name at the source
  REMARK      why it failed, or the file of the own share of which it is a copy"
)]
pub(in crate::ctl) struct History {
    /// what ended since then: 2026-11-27, 2026-11-27T18:00, or so long ago, as 7d or 12h
    #[argh(option, arg_name = "time", from_str_fn(since))]
    pub(in crate::ctl) since: Option<Since>,

    /// show at most this many, the newest
    #[argh(option, short = 'n', arg_name = "count", from_str_fn(positive))]
    pub(in crate::ctl) number: Option<u32>,
}

//! Commands for wishes: searches that repeat.

use crate::ctl::values::{BytesArg, positive};
use argh::{ArgsInfo, FromArgs};

/// search for files again and again, at a small price, until they are found
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "wish",
    help_triggers("-h", "--help"),
    note = "The daemon asks one peer at a time, also after a restart. `wishes` shows what was
found; `events` reports it. The text is that of search, filters included.",
    error_code(13, "there is such a wish")
)]
pub(in crate::ctl) struct Wish {
    /// words, as for search
    #[argh(positional, arg_name = "TEXT")]
    pub(in crate::ctl) text: Vec<BytesArg>,

    /// download what is found
    #[argh(switch)]
    pub(in crate::ctl) download: bool,

    /// stop after this many contents are found, or downloaded with --download (then 1, else 500)
    #[argh(option, arg_name = "contents", from_str_fn(positive))]
    pub(in crate::ctl) limit: Option<u32>,
}

/// the wishes; or what one has found, as hits, which have ids for download
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "wishes",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for wishes and unwish
  STATE       looking; downloading, as many as --limit says; fulfilled, as so many were found, or are downloaded with
              --download; or full, as more cannot be remembered
  FOUND       contents found
  BEGUN       of these, contents whose download was begun
  DONE        of these, contents whose download is done
  ASKED       when a peer was asked last
  NEXT        when one is asked next, about
  WISH        what is searched for, and why its download cannot begin",
    error_code(3, "no such wish, or it has found nothing yet")
)]
pub(in crate::ctl) struct Wishes {
    /// id of a wish
    #[argh(positional, arg_name = "ID", from_str_fn(positive))]
    pub(in crate::ctl) id: Option<u32>,
}

/// end wishes; downloads that they have begun go on
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "unwish", help_triggers("-h", "--help"), error_code(3, "no such wish"))]
pub(in crate::ctl) struct Unwish {
    /// ids of wishes (7, 2,4-6, all), or the text of one
    #[argh(positional, arg_name = "WISH")]
    pub(in crate::ctl) which: Vec<BytesArg>,
}

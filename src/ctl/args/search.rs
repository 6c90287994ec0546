//! Commands that look for files.

use crate::ctl::values::{BytesArg, duration, peer, positive};
use argh::{ArgsInfo, FromArgs};
use std::net::SocketAddr;
use std::time::Duration;

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
pub(in crate::ctl) struct Search {
    /// a file name, or words that occur in its path; "a phrase", -word and *.ogg narrow the search
    #[argh(positional, arg_name = "TEXT")]
    pub(in crate::ctl) text: Vec<BytesArg>,

    /// how long to wait for hits (5s); 0 returns at once, and hits shows them later
    #[argh(option, arg_name = "time", default = "Duration::from_secs(5)", from_str_fn(duration))]
    pub(in crate::ctl) wait: Duration,

    /// most rows to remember (150)
    #[argh(option, arg_name = "rows", default = "150", from_str_fn(positive))]
    pub(in crate::ctl) max: u32,

    /// how many hops the search may go (max_ttl of the daemon)
    #[argh(option, arg_name = "hops")]
    pub(in crate::ctl) ttl: Option<u8>,
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
pub(in crate::ctl) struct Hits {
    /// ids of hits: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) ids: Vec<String>,
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
pub(in crate::ctl) struct List {
    /// address or host name, and perhaps a port, as 192.0.2.7, localhost:63340 or [2001:db8::7]:63339
    #[argh(positional, arg_name = "PEER", from_str_fn(peer))]
    pub(in crate::ctl) peer: SocketAddr,
}

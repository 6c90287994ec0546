//! Commands that look for files.

use crate::ctl::values::{BytesArg, SortKey, duration, hops, peer, positive, sort_key};
use argh::{ArgsInfo, FromArgs};
use std::net::SocketAddr;
use std::time::Duration;

/// A command that shows hits: the columns are explained alike.
macro_rules! shows_hits {
    ($(#[$doc:meta])* argh($($argh:tt)*) struct $name:ident { $($fields:tt)* }) => {
        $(#[$doc])*
        #[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
        #[argh(
            subcommand,
            help_triggers("-h", "--help"),
            note = "Columns:
  ID          for download; valid until forgotten or until the daemon stops
  NAME        the name at the first source; (+2 names) counts further ones
  SIZE        - where no source gave it; of a directory, that of the files found in it
  SOURCES     how many peers have it
  HASH        the beginning of its BLAKE3; unverified where no source gave one; of a directory, how many files were found in it
  SEARCH      with hits --all, the search or list that found it, as searches numbers it",
            $($argh)*
        )]
        pub(in crate::ctl) struct $name { $($fields)* }
    };
}

shows_hits! {
    /// ask the network for files and print the hits, grouped by content
    argh(
        name = "search",
        note = "Filters in the text: size:>10MiB, size:<1G, size:1M..2M; path:WORD for a
directory; type:audio, video, image, text, document, archive, iso or program.
A - before one means the opposite. Quote < and > from the shell.",
        error_code(3, "no hit")
    )
    struct Search {
        /// a file name, or words that occur in its path; "a phrase", -word, *.ogg and filters narrow the search
        #[argh(positional, arg_name = "TEXT")]
        pub(in crate::ctl) text: Vec<BytesArg>,

        /// how long to wait for hits (5s); 0 returns at once, and hits shows them later
        #[argh(option, arg_name = "time", default = "Duration::from_secs(5)", from_str_fn(duration))]
        pub(in crate::ctl) wait: Duration,

        /// most rows to remember (150)
        #[argh(option, arg_name = "rows", default = "150", from_str_fn(positive))]
        pub(in crate::ctl) max: u32,

        /// how many hops the search may go (max_ttl of the daemon)
        #[argh(option, arg_name = "hops", from_str_fn(hops))]
        pub(in crate::ctl) ttl: Option<u8>,

        /// order of the hits: sources (most first), size (largest first) or name; as they came unless given
        #[argh(option, arg_name = "key", from_str_fn(sort_key))]
        pub(in crate::ctl) sort: Option<SortKey>,

        /// the opposite order
        #[argh(switch)]
        pub(in crate::ctl) reverse: bool,
    }
}

shows_hits! {
    /// the hits of the last search or list; of those named, all names and sources
    argh(name = "hits", error_code(3, "no hit, no such id or no such search"))
    struct Hits {
        /// ids of hits, of any search: 7, 2,4-6, all
        #[argh(positional, arg_name = "ID")]
        pub(in crate::ctl) ids: Vec<String>,

        /// all hits that are remembered
        #[argh(switch)]
        pub(in crate::ctl) all: bool,

        /// those of this search or list, as searches numbers it
        #[argh(option, arg_name = "number", from_str_fn(positive))]
        pub(in crate::ctl) search: Option<u32>,

        /// order of the hits: sources (most first), size (largest first) or name; as they came unless given
        #[argh(option, arg_name = "key", from_str_fn(sort_key))]
        pub(in crate::ctl) sort: Option<SortKey>,

        /// the opposite order
        #[argh(switch)]
        pub(in crate::ctl) reverse: bool,
    }
}

/// the searches and lists that are remembered
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "searches",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for hits --search
  HITS        how many are remembered; + where it found more
  DROPPED     how many its filters have dropped
  AGE         when it was begun
  STATE       running or over
  SEARCH      what was searched for, or whose list it is"
)]
pub(in crate::ctl) struct Searches {}

/// what a peer shares; the files become hits, which have ids
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "list",
    help_triggers("-h", "--help"),
    note = "Columns:
  ID          for download; valid until forgotten or until the daemon stops
  NAME        the name in the peer's share
  SIZE        - where the peer gave none
  HASH        the beginning of its BLAKE3; unverified where the peer gave none"
)]
pub(in crate::ctl) struct List {
    /// address or host name, and perhaps a port, as 192.0.2.7, localhost:63340 or [2001:db8::7]:63339
    #[argh(positional, arg_name = "PEER", from_str_fn(peer))]
    pub(in crate::ctl) peer: SocketAddr,
}

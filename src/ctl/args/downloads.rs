//! Commands that fetch files.

use crate::control::{RawText, Selector};
use crate::ctl::values::{PathArg, as_shown, decode, interval, peer};
use crate::ctl::wording::Failure;
use crate::id::ContentHash;
use crate::link::ContentLink;
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

follows_downloads! {
    /// fetch files; interrupting leaves them running in the daemon
    argh(name = "download")
    struct Download {
        /// ids of hits (7, 2,4-6, all), PEER/NAME, PEER/DIR/, b3=HASH, or links (pyrate:b3=...)
        #[argh(positional, arg_name = "WHAT", from_str_fn(selector))]
        pub(in crate::ctl) what: Vec<Selector>,

        /// file or directory to save to; dir/ is made if it is missing, and - is the standard output
        #[argh(option, short = 'o', arg_name = "path")]
        pub(in crate::ctl) output: Option<PathArg>,

        /// a saved manifest of a directory, which is fetched from whoever has its files, and saved under the name of the file
        /// without its extension
        #[argh(option, arg_name = "file")]
        pub(in crate::ctl) manifest: Option<PathArg>,

        /// print the ids of the downloads and return
        #[argh(switch)]
        pub(in crate::ctl) detach: bool,
    }
}

/// Reads what is to be downloaded.
pub(in crate::ctl) fn selector(text: &str) -> Result<Selector, String> {
    if let Some(hash) = text.strip_prefix("b3=") {
        return match ContentHash::from_hex(hash.as_bytes()) {
            Some(hash) => Ok(Selector::Content(hash.to_string())),
            None => Err(Failure::NotAHash.into()),
        };
    }
    let bytes = decode(text);
    if ContentLink::is_meant(&bytes) {
        return match ContentLink::parse(&bytes) {
            Ok(link) if link.lacks_peer() => Err(Failure::LinkWithoutPeer.into()),
            // Written again: a name in it may have bytes that are not UTF-8.
            Ok(link) => Ok(Selector::Link(link.to_string())),
            Err(fault) => Err(Failure::BadLink(fault).into()),
        };
    }
    if let Some((address, name)) = text.split_once('/') {
        if name.is_empty() {
            return Err(Failure::NoNameAfterPeer { peer: address.into() }.into());
        }
        return Ok(Selector::File { peer: peer(address)?, name: RawText::new(as_shown(decode(name))) });
    }
    if text == "all" || text.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'-') && !text.is_empty() {
        return Ok(Selector::Hits(text.into()));
    }
    Err(Failure::NothingToDownload.into())
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
pub(in crate::ctl) struct Downloads {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) ids: Vec<String>,

    /// those that are fetched or verified now
    #[argh(switch)]
    pub(in crate::ctl) active: bool,

    /// those that have failed
    #[argh(switch)]
    pub(in crate::ctl) failed: bool,

    /// those that are over: done, failed or cancelled
    #[argh(switch)]
    pub(in crate::ctl) finished: bool,

    /// show them again and again, at this interval; with --json a document a line
    #[argh(option, arg_name = "time", from_str_fn(interval))]
    pub(in crate::ctl) watch: Option<Duration>,
}

/// stop downloads and keep their data
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "pause", help_triggers("-h", "--help"), error_code(3, "no such id"))]
pub(in crate::ctl) struct Pause {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) ids: Vec<String>,
}

/// resume paused downloads
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "resume", help_triggers("-h", "--help"), error_code(3, "no such id"))]
pub(in crate::ctl) struct Resume {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) ids: Vec<String>,
}

/// ask all sources again at once, also for downloads that failed
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "retry", help_triggers("-h", "--help"), error_code(3, "no such id"))]
pub(in crate::ctl) struct Retry {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) ids: Vec<String>,
}

/// stop downloads and remove their data
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "cancel", help_triggers("-h", "--help"), error_code(3, "no such id"))]
pub(in crate::ctl) struct Cancel {
    /// ids of downloads: 7, 2,4-6, all
    #[argh(positional, arg_name = "ID")]
    pub(in crate::ctl) ids: Vec<String>,
}

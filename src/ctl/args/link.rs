//! The command that makes links.

use crate::ctl::values::BytesArg;
use argh::{ArgsInfo, FromArgs};

/// links to contents, for others to download: pyrate:b3=...
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "link",
    help_triggers("-h", "--help"),
    error_code(3, "no such file or id, or no hash of it is known")
)]
pub(in crate::ctl) struct Link {
    /// files of the own share, as files shows them, or directories (DIR/); ids of hits (7, 2,4-6, all), PEER/NAME, PEER/DIR/, or
    /// b3=HASH; ./NAME is always one of the own share
    #[argh(positional, arg_name = "WHAT")]
    pub(in crate::ctl) what: Vec<BytesArg>,

    /// the ids are those of downloads
    #[argh(switch)]
    pub(in crate::ctl) downloads: bool,
}

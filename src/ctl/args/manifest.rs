//! The command that prints manifests.

use crate::ctl::values::{BytesArg, PathArg};
use argh::{ArgsInfo, FromArgs};

/// the manifest of a directory: its files with their sizes and hashes, and its empty directories
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "manifest",
    help_triggers("-h", "--help"),
    note = "It is printed as it is, with --json and --terse too: its hash is that of these bytes.",
    error_code(3, "no such directory or id, or the peer gives no manifest"),
    error_code(13, "the file exists")
)]
pub(in crate::ctl) struct Manifest {
    /// a directory of the own share, or of a peer: PEER/DIR/; or the id of a hit that is a directory; ./DIR/ is always one of the
    /// own share
    #[argh(positional, arg_name = "DIR")]
    pub(in crate::ctl) directory: BytesArg,

    /// write it to this file, which must not exist, instead of the standard output
    #[argh(option, short = 'o', arg_name = "path")]
    pub(in crate::ctl) output: Option<PathArg>,
}

//! What the stories are told with: real daemons, raw exchanges, and small independent peers of the old kind.
//!
//! Nothing here uses the library: the programs are black boxes behind TCP, the control socket and their files.

mod clock;
mod contents;
mod control;
mod ctl;
mod daemon;
mod disk;
mod fake;
mod files;
mod old;
mod wire;

pub(crate) use clock::{LIMIT, Stopwatch, holds, pause, until, wait_for};
pub(crate) use contents::{assert_holds, is_unfinished, path_of};
pub(crate) use control::Control;
pub(crate) use ctl::pyratectl;
pub(crate) use daemon::{Daemon, Setup, clean_command, free_port, run_pyrated};
pub(crate) use disk::Disk;
pub(crate) use fake::{Fake, Reading, Visit};
pub(crate) use files::{Dice, relative_files};
pub(crate) use old::{OldBootstrap, call_back_download, old_peer};
pub(crate) use wire::{
    Answer, End, Framing, ask, ask_from, connect_from, deliver, fetch, fetch_reset, lines, read_to_end, reset,
};

//! What the tests have in common: real daemons, raw exchanges, and small independent peers of the old kind.
//!
//! Nothing here uses the library: the programs are black boxes behind TCP, the control socket and their files.

mod clock;
mod content;
mod control;
mod ctl;
mod daemon;
mod delaying;
mod disk;
mod fake;
mod files;
mod lies;
#[path = "../../common/not_tested.rs"]
mod not_tested;
mod old;
mod p1;
mod parts;
mod process;
mod setup;
mod tmux;
mod wire;
mod workers;

pub(crate) use clock::{LIMIT, Stopwatch, holds, pause, side_by_side, until, wait_for};
pub(crate) use content::{
    GROUP, assert_verified, await_hashed, begin_hit, chaining_values, content_hash, find_content, merged, metadata,
    metadata_of, saved, share_of, start_among, start_hashed,
};
pub(crate) use control::Control;
pub(crate) use ctl::{Outcome, pyratectl};
pub(crate) use daemon::{Daemon, THREADS};
pub(crate) use delaying::Delaying;
pub(crate) use disk::Disk;
pub(crate) use fake::{Fake, Reading, Unaccepting, Visit};
pub(crate) use files::{Dice, relative_files};
pub(crate) use lies::{Role, Vice};
pub(crate) use not_tested::not_tested;
pub(crate) use old::{
    OldBootstrap, call_back_download, call_back_download_early, call_back_stream, connect_to_be_called_back, old_peer,
    take_call_back,
};
pub(crate) use p1::{Connection, Manners, P1Peer, search_fields};
pub(crate) use parts::{assert_holds, is_unfinished, path_of};
pub(crate) use process::{clean_command, free_port, run_pyrated};
pub(crate) use setup::Setup;
pub(crate) use tmux::Tmux;
pub(crate) use wire::{
    Answer, End, FIRST_CONTACT, Framing, ask, ask_from, connect_from, deliver, fetch, fetch_reset, lines, read_to_end,
    reset,
};
pub(crate) use workers::{LARGE, await_queued, finish, has_begun, request};

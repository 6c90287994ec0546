//! Further shares, audiences, and the interface.

use super::{Change, Runs};
use crate::harness::{Setup, fetch_reset};

/// Another share, which has a file.
pub(super) fn shares(key: &str) -> Runs {
    let setup = Setup::peer();
    let music = setup.home().join("music");
    std::fs::create_dir(&music).expect("a fresh directory");
    std::fs::write(music.join("song"), "x").expect("a fresh file");
    let change = Change::of(key, "[]", format!("[{{ path = '{}', name = 'music' }}]", music.display()));
    let mut peer = change.start(setup);
    change.reload(&mut peer);
    peer.rescan();
    let runs = Runs::after_if(peer.status()["shared_files"] != 0);
    change.assert_reported(&mut peer, runs);
    runs
}

/// The share is for others.
pub(super) fn audience(key: &str) -> Runs {
    let change = Change::of(key, "'all'", "['192.0.2.1', 'fd00::/8']");
    let mut peer = change.start(Setup::peer().shares("a", "a"));
    change.reload(&mut peer);
    let runs = Runs::after_if(fetch_reset(peer.listen(), b"a"));
    change.assert_reported(&mut peer, runs);
    runs
}

/// Listeners stay where they are.
pub(super) fn interface(key: &str) -> Runs {
    let change = Change::of(key, "''", "'lo'");
    let mut peer = change.start(Setup::peer());
    change.reload(&mut peer);
    change.assert_reported(&mut peer, Runs::Before);
    Runs::Before
}

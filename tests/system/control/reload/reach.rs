//! The keys of what the daemon reaches beside its share.

use super::{Change, Runs, quoted};
use crate::harness::Setup;

/// What is done with links: that which is found by a scan shows it.
pub(super) fn links(key: &str) -> Runs {
    let setup = Setup::peer();
    std::os::unix::fs::symlink(setup.home(), setup.share().join("link")).expect("a link");
    let change = Change::of(key, "false", "true");
    let mut peer = change.start(setup);
    change.reload(&mut peer);
    peer.rescan();
    let runs = Runs::after_if(peer.status()["left_out"]["symlink"] != 1);
    change.assert_reported(&mut peer, runs);
    runs
}

/// The keys of the sandbox, in which the daemon has been since its start.
pub(super) fn sandbox(key: &str) -> Runs {
    let setup = Setup::peer();
    let other = setup.home().join("other");
    std::fs::create_dir(&other).expect("a fresh directory");
    let (setup, change) = match key {
        "sandbox" => (setup, Change::of(key, "false", "true")),
        _ => (
            setup.set("sandbox", "true").set("follow_symlinks", "true"),
            Change::of(key, "[]", format!("[{}]", quoted(other.display()))),
        ),
    };
    let mut peer = change.start(setup);
    let before = peer.status()["sandbox"].clone();
    change.reload(&mut peer);
    let runs = Runs::after_if(peer.status()["sandbox"] != before);
    change.assert_reported(&mut peer, runs);
    runs
}

//! Contents that the share has already: copied, and not fetched.

use crate::harness::{
    Daemon, Dice, Disk, Manners, P1Peer, Setup, Vice, assert_verified, await_hashed, begin_hit, find_content,
    pyratectl, relative_files, start_among,
};
use serde_json::{Value, json};

const SIZE: usize = (40 << 20) + 12_345;

/// A peer that offers a content and sends no byte of it.
fn miser(content: &[u8]) -> P1Peer {
    let manners =
        Manners { ranges: Vice::Refuses, metadata: Vice::Refuses, files: Vice::Refuses, ..Manners::default() };
    P1Peer::sharing("theirs.bin", content, manners)
}

/// Downloads the content to its end.
fn download(asker: &Daemon, content: &[u8]) -> Value {
    await_hashed(asker);
    let id = begin_hit(asker, &find_content(asker, "theirs", content, 1));
    asker.await_download(id, "done")
}

fn assert_copied(asker: &Daemon, source: &P1Peer, content: &[u8]) {
    let done = download(asker, content);
    assert_verified(&done, content);
    assert_eq!((&done["copied_from"], &done["already"]), (&json!("own/ours.bin"), &json!(false)), "{done}");
    assert_eq!(asker.status()["bytes_down"], 0);
    assert!(source.asked("8").is_empty() && source.asked("9").is_empty() && source.asked("4").is_empty());
    assert_eq!(relative_files(&asker.downloads_directory()).len(), 1, "nothing else is left");
}

#[test]
fn a_content_of_the_share_is_copied_though_its_only_source_sends_nothing() {
    let content = Dice::new().bytes(SIZE);
    let source = miser(&content);
    let (_bootstrap, asker) = start_among(Setup::peer().shares("own/ours.bin", &content), &[source.addr]);
    assert_copied(&asker, &source, &content);
    let shown = pyratectl(&asker, ["downloads", "1"]);
    assert!(shown.stdout.contains("from own/ours.bin"), "{}", shown.stdout);
}

/// A file is what its hash says at each rescan, as far as its metadata tell; what is copied is read.
#[test]
fn a_file_of_the_share_that_has_changed_is_not_copied() {
    let content = Dice::new().bytes(3 << 20);
    let source = P1Peer::sharing("theirs.bin", &content, Manners::default());
    let setup = Setup::peer().shares("own/ours.bin", &content);
    let (_bootstrap, asker) = start_among(setup, &[source.addr]);
    await_hashed(&asker);
    let row = find_content(&asker, "theirs", &content, 1);
    std::fs::write(asker.share().join("own/ours.bin"), b"changed").expect("it is ours");
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    assert_verified(&done, &content);
    assert!(done.get("copied_from").is_none(), "{done}");
}

#[test]
fn a_copy_on_btrfs_takes_no_blocks() {
    takes_no_blocks("btrfs");
}

#[test]
fn a_copy_on_xfs_takes_no_blocks() {
    takes_no_blocks("xfs");
}

fn takes_no_blocks(kind: &str) {
    let Some(disk) = Disk::of_kind(kind, &format!("a copy on {kind} that takes no blocks")) else { return };
    let content = Dice::new().bytes(SIZE);
    let (share, downloads) = (disk.path().join("share"), disk.path().join("downloads"));
    std::fs::create_dir_all(share.join("own")).expect("a fresh filesystem");
    std::fs::create_dir(&downloads).expect("a fresh filesystem");
    std::fs::write(share.join("own/ours.bin"), &content).expect("there is room");
    let source = miser(&content);
    let setup = Setup::peer().set("local_directory", &format!("'{}'", share.display()));
    let setup = setup.set("download_directory", &format!("'{}'", downloads.display()));
    let (_bootstrap, asker) = start_among(setup, &[source.addr]);
    await_hashed(&asker);
    nix::unistd::sync();
    let before = disk.free();
    let done = download(&asker, &content);
    assert_verified(&done, &content);
    nix::unistd::sync();
    let taken = before.saturating_sub(disk.free());
    assert!(taken < 4 << 20, "{taken} bytes were taken for a copy of {SIZE}");
    assert_eq!(asker.status()["bytes_down"], 0);
}

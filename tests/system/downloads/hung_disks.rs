//! A directory that hangs holds the downloads to it, and no others.

use crate::harness::{Delaying, Disk, LIMIT, Setup, assert_holds, holds, pyratectl, start_hashed, until, wait_for};
use std::time::Duration;

/// Longer than any test.
const HANGS: Duration = Duration::from_secs(600);

/// Those that wait for their disk give up their places after a minute.
#[test]
fn downloads_to_a_directory_that_hangs_keep_no_other_waiting() {
    let Some(disk) = Disk::of_kib("a disk that hangs", 64 << 10) else { return };
    let names: Vec<String> = (0..6).map(|n| format!("{n}.bin")).collect();
    let source = names.iter().fold(Setup::peer(), |setup, name| setup.shares(name, name.repeat(100_000)));
    let source = start_hashed(source);
    let asker = Setup::peer().set("download_directory", &format!("'{}'", disk.path().display()));
    let asker = asker.set("max_downloads", "5").start();
    let Some(_delaying) = Delaying::calls_on(&asker, "openat,openat2,statx,newfstatat", HANGS, [disk.path()]) else {
        return;
    };
    let held: Vec<u64> = names[..5].iter().map(|name| asker.begin_download(source.listen(), name)).collect();
    let states = || held.iter().map(|id| asker.download(*id)["state"].clone()).collect::<Vec<_>>();
    until("they have their places", LIMIT, || states().iter().all(|state| state == "active"));
    let elsewhere = asker.home().join("elsewhere.bin");
    let of = format!("{}/5.bin", source.listen());
    let run = pyratectl(&asker, ["--json", "download", "--detach", &of, "-o", elsewhere.to_str().expect("text")]);
    assert_eq!(run.code, 0, "{run:?}");
    let id = run.json()[0]["id"].as_u64().expect("an id");
    holds("it waits for a place", Duration::from_secs(2), || asker.download(id)["state"] == "queued");
    wait_for("it is done though they wait", 4 * LIMIT, || (asker.download(id)["state"] == "done").then_some(()));
    assert_holds(&elsewhere, names[5].repeat(100_000).as_bytes());
    assert!(states().iter().all(|state| state == "active"), "they still wait for their disk");
}

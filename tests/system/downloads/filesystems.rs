//! Filesystems as they are: without exclusive names, without a size, with limits, with errors, and not always mounted.

use crate::harness::{
    Daemon, Dice, Disk, LIMIT, Setup, assert_holds, await_hashed, holds, is_unfinished, path_of, pyratectl,
    relative_files, side_by_side, until, wait_for,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A disk is tried again after a quarter of a minute.
const PATIENCE: Duration = LIMIT.saturating_mul(3);

fn source(name: &str, content: &[u8]) -> Daemon {
    let source = Setup::peer().shares(name, content).start();
    await_hashed(&source);
    source
}

fn saves_to(directory: &Path) -> Setup {
    Setup::peer().set("download_directory", &format!("'{}'", directory.display()))
}

fn begin(asker: &Daemon, source: &Daemon) -> u64 {
    asker.begin_hits(&asker.list(source.listen()))[0]
}

fn await_paused(asker: &Daemon, id: u64, told: &str) {
    let row = asker.await_download(id, "paused");
    assert_eq!(row["error"]["code"], 17, "{row}");
    assert!(row["error"]["message"].as_str().is_some_and(|text| text.contains(told)), "{row}");
}

fn await_done(asker: &Daemon, id: u64) -> PathBuf {
    path_of(&wait_for("it ends by itself", PATIENCE, || {
        let row = asker.download(id);
        assert!(row["state"] != "failed" && row["state"] != "cancelled", "{row}");
        (row["state"] == "done").then_some(row)
    }))
}

#[test]
fn a_download_gets_its_name_without_exclusive_renames_and_hard_links() {
    let faults = ["renameat2:error=EINVAL", "linkat:error=EPERM"];
    let Some(setup) = Setup::peer().injecting("a filesystem without exclusive names", None, &faults) else { return };
    let content = Dice::new().bytes(3 * MIB);
    let source = source("file.bin", &content);
    let asker = setup.start();
    std::fs::write(asker.downloads_directory().join("file.bin"), b"taken").expect("a fresh name");
    let id = begin(&asker, &source);
    let path = await_done(&asker, id);
    assert_eq!(path, asker.downloads_directory().join("file (1).bin"));
    assert_holds(&path, &content);
    assert_holds(&asker.downloads_directory().join("file.bin"), b"taken");
    assert!(asker.injected() >= 2, "both calls have failed");
    until("nothing else is left", LIMIT, || relative_files(&asker.downloads_directory()).len() == 2);
}

#[test]
fn a_filesystem_that_reports_no_size_does_not_count_as_full() {
    let Some(disk) = Disk::without_size("a filesystem of unknown size") else { return };
    let content = Dice::new().bytes(3 * MIB);
    let source = source("file.bin", &content);
    let asker = saves_to(disk.path()).start();
    let id = begin(&asker, &source);
    assert_holds(&await_done(&asker, id), &content);
}

#[test]
fn a_limit_on_the_size_of_files_pauses_a_download_and_does_not_end_the_daemon() {
    let content = Dice::new().bytes(6 * MIB);
    let large = source("large.bin", &content);
    let small = source("small.bin", b"small");
    let asker = Setup::peer().file_bytes_max(4 * MIB as u64).start();
    let id = begin(&asker, &large);
    await_paused(&asker, id, "ulimit -f");
    let id = begin(&asker, &small);
    assert_holds(&await_done(&asker, id), b"small");
}

#[test]
fn other_filesystems_in_the_share_are_left_out_and_reported() {
    let Some(disk) = Disk::of_kib("other mounts in the share are named", 64) else { return };
    std::fs::write(disk.path().join("there"), b"x").expect("there is room");
    let daemon = Setup::peer().shares("sub/usb/here", b"x").shares("file", b"x").start();
    disk.bind(&daemon.share().join("sub/usb"));
    let run = pyratectl(&daemon, ["--json", "rescan"]);
    assert!(Disk::unmount(&daemon.share().join("sub/usb")));
    let found = run.json();
    assert_eq!((&found["other_mounts"], &found["files"]), (&1.into(), &1.into()), "{found}");
    assert_eq!(found["mounts"][0], "sub/usb");
    daemon.await_log("mounted in the share and left out count=1 names=sub/usb");
    assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 2);
}

#[test]
fn a_share_that_cannot_be_read_is_reported_and_stays_listed() {
    let daemon = Setup::peer().shares("file", b"x").start();
    let away = daemon.home().join("away");
    std::fs::rename(daemon.share(), &away).expect("it can be moved");
    let run = pyratectl(&daemon, ["rescan"]);
    assert_eq!(run.code, 17, "{run:?}");
    assert!(run.stderr.contains("no such file or directory"), "{run:?}");
    assert_eq!(daemon.status()["shared_files"], 1);
    std::fs::rename(away, daemon.share()).expect("it can be moved");
    assert_eq!(pyratectl(&daemon, ["rescan"]).code, 0);
}

#[test]
fn an_error_while_the_share_is_read_is_reported_and_files_stay_shared() {
    let mut daemon = Setup::peer().set("filemonitor_refresh", "'1h'").shares("sub/file", b"x").start();
    assert_eq!(daemon.stop().code, Some(0));
    let share = daemon.share();
    let what = "an error while the share is read";
    for (path, fault) in [(share.clone(), "getdents64:error=EIO"), (share.clone(), "openat:error=EACCES")] {
        if !daemon.inject(what, Some(&path), &[fault]) {
            return;
        }
        daemon.start_again();
        let run = pyratectl(&daemon, ["rescan"]);
        let named = run.stderr.contains(&format!("cannot read the share '{}': ", share.display()));
        assert!(run.code == 17 && named, "{fault}: {run:?}");
        daemon.end_injection();
        assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 1, "{fault}");
        assert_eq!(daemon.stop().code, Some(0));
    }
}

#[test]
fn filesystems_of_an_idle_daemon_can_be_unmounted() {
    let Some(disk) = Disk::of_kib("an idle daemon keeps no filesystem busy", 1 << 10) else { return };
    std::fs::write(disk.path().join("one"), b"1").expect("there is room");
    let place = format!("'{}'", disk.path().display());
    let daemon = Setup::peer().set("local_directory", &place).set("download_directory", &place).start();
    await_hashed(&daemon);
    let there = std::fs::read_link(format!("/proc/{}/cwd", daemon.pid())).expect("it runs");
    assert_eq!(there, Path::new("/"));
    until("it can be unmounted", LIMIT, || Disk::unmount(disk.path()));
    let Some(other) = Disk::of_kib("another disk", 1 << 10) else { return };
    std::fs::write(other.path().join("two"), b"2").expect("there is room");
    std::fs::write(other.path().join("three"), b"3").expect("there is room");
    other.bind(disk.path());
    assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 2);
    await_hashed(&daemon);
    until("that can be unmounted as well", LIMIT, || Disk::unmount(disk.path()));
}

/// A download of which some bytes are in a directory, and the daemon that has it, stopped.
fn begun_in(directory: &Path, source: &Daemon) -> (Daemon, u64) {
    let mut asker = saves_to(directory).set("download_limit", "2000000").start();
    let id = begin(&asker, source);
    asker.await_bytes(id, 2 * MIB as u64);
    asker.reconfigure("download_limit", "0");
    assert_eq!(asker.stop().code, Some(0));
    (asker, id)
}

#[test]
fn a_download_waits_for_its_filesystem_and_does_not_start_again_without_it() {
    let Some(disk) = Disk::of_kib("a download waits for its filesystem", 32 << 10) else { return };
    let content = Dice::new().bytes(8 * MIB);
    let source = source("file.bin", &content);
    let mount = tempfile::tempdir().expect("a scratch directory");
    for (below, told) in [("", "is it mounted?"), ("sub", "no such file or directory")] {
        disk.bind(mount.path());
        let directory = mount.path().join(below);
        std::fs::create_dir_all(&directory).expect("a fresh directory");
        let (mut asker, id) = begun_in(&directory, &source);
        let before = source.status()["bytes_up"].as_u64().expect("a number");
        until("it can be unmounted", LIMIT, || Disk::unmount(mount.path()));
        asker.start_again();
        await_paused(&asker, id, told);
        holds("it stays so", Duration::from_millis(300), || asker.download(id)["state"] == "paused");
        assert_eq!(std::fs::read_dir(mount.path()).expect("the mount point").count(), 0, "nothing is made there");
        disk.bind(mount.path());
        assert_eq!(pyratectl(&asker, ["resume", &id.to_string()]).code, 0);
        let path = await_done(&asker, id);
        assert_holds(&path, &content);
        let fetched = source.status()["bytes_up"].as_u64().expect("a number") - before;
        assert!(fetched <= 7 * MIB as u64, "what was there is not fetched again: {fetched}");
        std::fs::remove_file(path).expect("it is there");
        until("the directory is left", LIMIT, || Disk::unmount(mount.path()));
    }
}

#[test]
fn an_empty_mount_point_is_neither_an_empty_share_nor_a_place_for_downloads() {
    let Some(disk) = Disk::of_kib("an empty mount point", 32 << 10) else { return };
    let source = source("other.bin", b"other");
    let mount = tempfile::tempdir().expect("a scratch directory");
    disk.bind(mount.path());
    std::fs::write(mount.path().join("file"), "shared").expect("there is room");
    let place = format!("'{}'", mount.path().display());
    let setup = Setup::peer().set("local_directory", &place).set("download_directory", &place);
    let mut daemon = setup.set("filemonitor_refresh", "'1h'").start();
    assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 1);
    assert_eq!(daemon.stop().code, Some(0));
    until("it can be unmounted", LIMIT, || Disk::unmount(mount.path()));

    daemon.start_again();
    let told = "is it mounted?";
    let run = pyratectl(&daemon, ["rescan"]);
    assert!(
        run.code == 17 && run.stderr.contains(told) && run.stderr.contains(&*mount.path().to_string_lossy()),
        "{run:?}"
    );
    let status = daemon.status();
    assert!(status["share_error"]["message"].as_str().is_some_and(|text| text.contains(told)), "{status}");
    assert!(pyratectl(&daemon, ["files"]).stderr.contains(told));
    daemon.await_log(told);
    let id = begin(&daemon, &source);
    await_paused(&daemon, id, told);
    assert_eq!(std::fs::read_dir(mount.path()).expect("the mount point").count(), 0, "nothing is made there");

    disk.bind(mount.path());
    assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 1);
    assert!(daemon.status()["share_error"].is_null());
    assert_eq!(pyratectl(&daemon, ["resume", "all"]).code, 0);
    assert_holds(&await_done(&daemon, id), b"other");
    until("it can be unmounted again", LIMIT, || Disk::unmount(mount.path()));
    // Whoever goes on without the disk puts a file there.
    assert_eq!(pyratectl(&daemon, ["rescan"]).code, 17);
    std::fs::write(mount.path().join("new"), "shared").expect("a fresh file");
    assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 1);
    assert_eq!(daemon.stop().code, Some(0));
    // Another disk at the same place is another disk.
    std::fs::remove_file(mount.path().join("new")).expect("it is there");
    let Some(other) = Disk::of_kib("an empty disk", 1 << 10) else { return };
    other.bind(mount.path());
    daemon.start_again();
    let run = pyratectl(&daemon, ["--json", "rescan"]);
    assert!(Disk::unmount(mount.path()));
    assert_eq!((run.code, &run.json()["files"]), (0, &0.into()), "{run:?}");
}

#[test]
fn files_of_an_unmounted_disk_are_dropped_when_another_is_mounted_in_its_place() {
    let Some(disk) = Disk::of_kib("another disk at the same place", 1 << 10) else { return };
    let Some(other) = Disk::without_size("another disk at the same place") else { return };
    let mount = tempfile::tempdir().expect("a scratch directory");
    disk.bind(mount.path());
    std::fs::write(mount.path().join("file"), "shared").expect("there is room");
    let setup = Setup::peer().set("local_directory", &format!("'{}'", mount.path().display()));
    let mut daemon = setup.start();
    assert_eq!(pyratectl(&daemon, ["--json", "rescan"]).json()["files"], 1);
    assert_eq!(daemon.stop().code, Some(0));
    until("it can be unmounted", LIMIT, || Disk::unmount(mount.path()));
    other.bind(mount.path());
    daemon.start_again();
    let run = pyratectl(&daemon, ["--json", "rescan"]);
    until("it can be unmounted as well", LIMIT, || Disk::unmount(mount.path()));
    assert_eq!((run.code, &run.json()["files"]), (0, &0.into()), "{run:?}");
}

#[test]
fn a_cancelled_download_leaves_nothing_on_a_disk_that_is_mounted_later() {
    let Some(disk) = Disk::of_kib("a cancelled download on a disk that is not mounted", 32 << 10) else { return };
    let content = Dice::new().bytes(8 * MIB);
    let source = source("file.bin", &content);
    let mount = tempfile::tempdir().expect("a scratch directory");
    disk.bind(mount.path());
    let (mut asker, id) = begun_in(mount.path(), &source);
    until("it can be unmounted", LIMIT, || Disk::unmount(mount.path()));
    asker.start_again();
    assert_eq!(pyratectl(&asker, ["cancel", &id.to_string()]).code, 0);
    until("it is told", LIMIT, || asker.log().contains("cannot remove the part file of a download, trying again id=1"));
    disk.bind(mount.path());
    let unfinished = || relative_files(mount.path()).iter().any(|name| is_unfinished(name));
    assert!(unfinished());
    until("it is removed in the same run", PATIENCE, || !unfinished());
    until("that is told", LIMIT, || asker.log().contains("the part file of a download is removed id=1"));
    asker.stop();
    asker.start_again();
    assert!(asker.rows().is_empty());
    until("it can be unmounted in the end", LIMIT, || Disk::unmount(mount.path()));
}

#[test]
fn a_part_file_with_another_inode_is_hashed_instead_of_fetched_again() {
    let content = Dice::new().bytes(8 * MIB);
    let source = source("file.bin", &content);
    let directory = tempfile::tempdir().expect("a scratch directory");
    let (mut asker, id) = begun_in(directory.path(), &source);
    let before = source.status()["bytes_up"].as_u64().expect("a number");
    // As FAT, exFAT and FUSE number files again at every mount.
    let part = relative_files(directory.path()).into_iter().find(|name| name.ends_with(b".pyrate-part"));
    let part = directory.path().join(OsStr::from_bytes(&part.expect("it is there")));
    let copy = directory.path().join("copy");
    std::fs::copy(&part, &copy).expect("it can be copied");
    std::fs::rename(&copy, &part).expect("it can be renamed");
    asker.start_again();
    assert_holds(&await_done(&asker, id), &content);
    let fetched = source.status()["bytes_up"].as_u64().expect("a number") - before;
    assert!(fetched <= 7 * MIB as u64, "what was there is not fetched again: {fetched}");
    assert!(!relative_files(directory.path()).into_iter().any(|name| is_unfinished(&name)));
}

#[test]
fn a_file_that_failed_to_open_once_is_hashed_soon() {
    let what = "a file that cannot be opened once";
    // Each is one of the calls that open the share, its directory and the file.
    side_by_side(3..=6, |when| {
        let fault = format!("openat2:error=EIO:when={when}");
        let Some(setup) = Setup::peer().injecting(what, None, &[&fault]) else { return };
        let daemon = setup.set("filemonitor_refresh", "'5s'").shares("file", b"content").start_scanning();
        until("it is shared with its hash", PATIENCE, || {
            let status = daemon.status();
            status["shared_files"] == 1 && status["unhashed_files"] == 0 && daemon.injected() == 1
        });
    });
}

#[test]
fn a_hash_cache_that_failed_to_be_read_once_is_kept() {
    let mut daemon = Setup::peer().shares("file", Dice::new().bytes(MIB)).start();
    await_hashed(&daemon);
    assert_eq!(daemon.stop().code, Some(0));
    let cache = daemon.home().join("state/hashes");
    let mut failed = 0;
    for when in 1..=4 {
        let fault = format!("pread64:error=EIO:when={when}");
        if !daemon.inject("a hash cache that cannot be read once", Some(&cache), &[&fault]) {
            return;
        }
        daemon.start_again();
        await_hashed(&daemon);
        assert_eq!(daemon.stop().code, Some(0));
        assert!(!cache.with_file_name("hashes.damaged").exists(), "read {when}: {}", daemon.log());
        failed += daemon.injected();
    }
    assert!(failed > 0, "some reads have failed");
    daemon.inject_nothing();
    daemon.start_again();
    await_hashed(&daemon);
}

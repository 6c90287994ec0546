//! A disk that is full, read-only or gone pauses the downloads to it, with the cause, and nothing else. They resume
//! automatically when the disk can be written again (pyrated(8), DOWNLOADS).

use crate::harness::{
    Daemon, Dice, Disk, Fake, LIMIT, Reading, Setup, assert_holds, await_hashed, holds, is_unfinished, path_of,
    pyratectl, relative_files, until, wait_for,
};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A disk is tried again after a quarter of a minute, then half a minute.
const PATIENCE: Duration = LIMIT.saturating_mul(3);

/// A source that has hashed these files.
fn source(files: &[(&str, &[u8])]) -> Daemon {
    let source = files.iter().fold(Setup::peer(), |setup, (name, bytes)| setup.shares(name, bytes)).start();
    await_hashed(&source);
    source
}

/// Limits the upload rate of a source.
fn limit(source: &mut Daemon, upload_limit: u64) {
    source.reconfigure("upload_limit", &upload_limit.to_string());
    source.call("reload", Value::Null);
}

/// A daemon whose downloads go to a directory.
fn saves_to(directory: &Path) -> Setup {
    Setup::peer().set("download_directory", &format!("'{}'", directory.display()))
}

fn hit(asker: &Daemon, source: &Daemon, name: &str) -> Value {
    let hits = asker.list(source.listen());
    hits.into_iter().find(|hit| hit["name"] == name).expect("it is listed")
}

/// Waits until a download is paused for a cause with this code; gives its row.
fn await_stopped(asker: &Daemon, id: u64, code: u64) -> Value {
    let row = asker.await_download(id, "paused");
    assert_eq!(row["error"]["code"], code, "{row}");
    row
}

/// Waits until a download is done without any order.
fn await_done_by_itself(asker: &Daemon, id: u64) -> Value {
    let row = wait_for("it goes on by itself, and ends", PATIENCE, || {
        let row = asker.download(id);
        assert!(row["state"] != "failed" && row["state"] != "cancelled", "{row}");
        (row["state"] == "done").then_some(row)
    });
    assert!(row["error"].is_null(), "{row}");
    row
}

/// Retries a download that the disk has paused until it is done.
fn retry_until_done(asker: &Daemon, id: u64) -> Value {
    wait_for("it is done after all", LIMIT, || {
        let row = asker.download(id);
        assert!(row["state"] != "failed" && row["state"] != "cancelled", "{row}");
        if row["state"] == "paused" {
            asker.call("retry", json!({ "ids": id.to_string() }));
        }
        (row["state"] == "done").then_some(row)
    })
}

fn unfinished(directory: &Path) -> usize {
    relative_files(directory).into_iter().filter(|name| is_unfinished(name)).count()
}

#[test]
fn a_full_disk_pauses_one_download_until_there_is_room() {
    let Some(disk) = Disk::of_kib("a full disk stops one download", 32 << 10) else { return };
    let mut dice = Dice::new();
    let (large, other) = (dice.bytes(12 * MIB), dice.bytes(3 * MIB));
    let source = source(&[("large.bin", &large), ("other.bin", &other)]);
    let asker = saves_to(disk.path()).start();
    let filler = disk.fill(25 * MIB);
    let hit_of = |name: &str| hit(&asker, &source, name)["id"].to_string();
    let run = pyratectl(&asker, ["--json", "download", &hit_of("large.bin")]);
    assert_eq!(run.code, 9, "{run:?}");
    let row = &run.json()[0];
    assert_eq!((&row["state"], &row["error"]["code"]), (&"paused".into(), &9.into()), "{row}");
    let id = row["id"].as_u64().expect("an id");
    let told = pyratectl(&asker, ["downloads"]);
    assert!(told.stdout.contains("paused") && told.stdout.contains("resumes automatically"), "{told:?}");
    // Others continue: on another disk, and on this one if they are small enough.
    let elsewhere = asker.downloads_directory().join("other.bin");
    let run = pyratectl(&asker, ["download", &hit_of("other.bin"), "-o", elsewhere.to_str().expect("text")]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_holds(&elsewhere, &other);
    let run = pyratectl(&asker, ["download", &hit_of("other.bin")]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_holds(&disk.path().join("other.bin"), &other);
    assert_eq!(asker.download(id)["state"], "paused");
    std::fs::remove_file(filler).expect("it is there");
    let done = await_done_by_itself(&asker, id);
    assert_eq!(done["verified"], true, "{done}");
    assert_holds(&path_of(&done), &large);
    assert_eq!(unfinished(disk.path()), 0);
}

#[test]
fn resume_and_retry_check_a_full_disk_at_once() {
    let Some(disk) = Disk::of_kib("resume looks at a full disk at once", 16 << 10) else { return };
    let content = Dice::new().bytes(8 * MIB);
    let source = source(&[("file.bin", &content)]);
    let asker = saves_to(disk.path()).start();
    let filler = disk.fill(12 * MIB);
    let id = asker.begin_hits(&[hit(&asker, &source, "file.bin")])[0];
    await_stopped(&asker, id, 9);
    for word in ["resume", "retry"] {
        assert_eq!(pyratectl(&asker, [word, "all"]).code, 0);
        until("it has tried in vain", LIMIT, || asker.download(id)["state"] == "paused");
        await_stopped(&asker, id, 9);
    }
    std::fs::remove_file(filler).expect("it is there");
    assert_eq!(pyratectl(&asker, ["resume", &id.to_string()]).code, 0);
    let done = wait_for("it goes on at once", Duration::from_secs(10), || {
        Some(asker.download(id)).filter(|row| row["state"] == "done")
    });
    assert_holds(&path_of(&done), &content);
}

#[test]
fn a_reserve_is_left_free() {
    let Some(disk) = Disk::of_kib("a reserve is left free", 32 << 10) else { return };
    let reserve = disk.total() / 100;
    let (almost, fits) = ((disk.total() - reserve / 2) as usize, (disk.total() - 2 * reserve) as usize);
    let mut dice = Dice::new();
    let (too_large, large) = (dice.bytes(almost), dice.bytes(fits));
    let source = source(&[("too large.bin", &too_large), ("large.bin", &large)]);
    let asker = saves_to(disk.path()).start();
    let refused = asker.begin_hits(&[hit(&asker, &source, "too large.bin")])[0];
    await_stopped(&asker, refused, 9);
    assert!(disk.free() > disk.total() / 2, "nothing was taken for what cannot be: {}", disk.free());
    let id = asker.begin_hits(&[hit(&asker, &source, "large.bin")])[0];
    assert_holds(&path_of(&asker.await_download(id, "done")), &large);
    assert!(disk.free() >= reserve, "{} of {reserve}", disk.free());
    assert_eq!(asker.download(refused)["state"], "paused");
    asker.call("cancel", json!({ "ids": "all" }));
    until("nothing of it is left", LIMIT, || unfinished(disk.path()) == 0);
}

#[test]
fn a_stream_of_unknown_size_is_paused_when_the_disk_is_full() {
    let Some(disk) = Disk::of_kib("a stream stops when the disk is full", 20 << 10) else { return };
    let content = Dice::new().bytes(24 * MIB);
    let sent = content.clone();
    let base = Fake::serve(Reading::Whole, move |mut visit| {
        let _ = visit.stream.write_all(&sent);
    });
    let asker = saves_to(disk.path()).start();
    let id = asker.begin_download(base.addr, "stream.bin");
    await_stopped(&asker, id, 9);
    disk.resize_kib(64 << 10);
    assert_holds(&path_of(&retry_until_done(&asker, id)), &content);
    assert_eq!(unfinished(disk.path()), 0);
}

#[test]
fn a_read_only_disk_pauses_a_download_until_it_is_writable() {
    let Some(disk) = Disk::of_kib("a read-only disk stops a download", 64 << 10) else { return };
    let content = Dice::new().bytes(20 * MIB);
    let mut source = source(&[("file.bin", &content), ("other.bin", b"other")]);
    limit(&mut source, 4_000_000);
    let asker = saves_to(disk.path()).start();
    let id = asker.begin_hits(&[hit(&asker, &source, "file.bin")])[0];
    let kept = asker.await_bytes(id, 2 * MIB as u64)["bytes_done"].as_u64();
    // A disk with files open for writing cannot be remounted; a paused download has none open.
    asker.call("pause", json!({ "ids": "all" }));
    asker.await_download(id, "paused");
    until("its files are closed", LIMIT, || disk_is_idle(&asker, &disk));
    disk.remount("ro");
    asker.call("resume", json!({ "ids": id.to_string() }));
    wait_for("it is stopped", LIMIT, || {
        Some(asker.download(id)).filter(|row| row["state"] == "paused" && row["error"]["code"] == 17)
    });
    let run = pyratectl(&asker, ["download", &hit(&asker, &source, "other.bin")["id"].to_string()]);
    assert_eq!(run.code, 17, "{run:?}");
    limit(&mut source, 0);
    disk.remount("rw");
    let done = await_done_by_itself(&asker, id);
    assert_holds(&path_of(&done), &content);
    until("the other is done as well", PATIENCE, || disk.path().join("other.bin").exists());
    assert!(kept >= Some(2 * MIB as u64) && source.status()["bytes_up"].as_u64() < Some(24 * MIB as u64));
}

/// Whether a daemon has no file of a disk open.
fn disk_is_idle(daemon: &Daemon, disk: &Disk) -> bool {
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs");
    let paths = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    !paths.into_iter().any(|path| path.starts_with(disk.path()))
}

#[test]
fn a_part_file_that_cannot_be_removed_is_removed_when_the_disk_is_writable() {
    let Some(disk) = Disk::of_kib("a part file on a read-only disk", 32 << 10) else { return };
    let mut source = source(&[("file.bin", &Dice::new().bytes(20 * MIB))]);
    limit(&mut source, 4_000_000);
    let mut asker = saves_to(disk.path()).start();
    let id = asker.begin_hits(&[hit(&asker, &source, "file.bin")])[0];
    asker.await_bytes(id, 2 * MIB as u64);
    asker.call("pause", json!({ "ids": "all" }));
    asker.await_download(id, "paused");
    until("its files are closed", LIMIT, || disk_is_idle(&asker, &disk));
    disk.remount("ro");
    assert_eq!(pyratectl(&asker, ["cancel", &id.to_string()]).code, 0);
    let told = "cannot remove the part file of a download, trying again id=1 error=\"the filesystem is read-only\"";
    until("it is told", LIMIT, || asker.log().contains(told));
    // Its record stays until then, so that the next start tries it as well.
    asker.end_by(nix::sys::signal::Signal::SIGKILL);
    asker.start_again();
    until("it is told again", LIMIT, || asker.log().matches(told).count() == 2);
    disk.remount("rw");
    until("it is removed in the same run", PATIENCE, || unfinished(disk.path()) == 0);
    until("and told to be", LIMIT, || asker.log().contains("the part file of a download is removed id=1"));
    assert_eq!(asker.log().matches(told).count(), 2, "each failure is told once");
}

#[test]
fn a_removed_directory_pauses_a_download_until_it_is_back() {
    let content = Dice::new().bytes(16 * MIB);
    let mut source = source(&[("file.bin", &content)]);
    limit(&mut source, 4_000_000);
    let setup = Setup::peer();
    let above = setup.home().join("above");
    let directory = above.join("downloads");
    std::fs::create_dir_all(&directory).expect("a fresh directory");
    let asker = setup.set("download_directory", &format!("'{}'", directory.display())).start();
    let id = asker.begin_hits(&[hit(&asker, &source, "file.bin")])[0];
    asker.await_bytes(id, 2 * MIB as u64);
    std::fs::remove_dir_all(&above).expect("it is there");
    // No directory can be created where there is a file.
    std::fs::write(&above, "in the way").expect("it is gone");
    limit(&mut source, 0);
    let row = await_stopped(&asker, id, 17);
    assert!(row["error"]["message"].as_str().is_some_and(|text| text.contains("resumes automatically")), "{row}");
    holds("it stays so while the cause does", Duration::from_millis(500), || asker.download(id)["state"] == "paused");
    std::fs::remove_file(&above).expect("it is there");
    std::fs::create_dir_all(&directory).expect("a fresh directory");
    let done = await_done_by_itself(&asker, id);
    assert_eq!((path_of(&done), &done["verified"]), (directory.join("file.bin"), &true.into()));
    assert_holds(&path_of(&done), &content);
}

#[test]
fn no_finished_file_goes_to_a_directory_that_was_moved_away() {
    let content = Dice::new().bytes(8 * MIB);
    let mut source = source(&[("file.bin", &content)]);
    limit(&mut source, 4_000_000);
    let asker = Setup::peer().start();
    let id = asker.begin_hits(&[hit(&asker, &source, "file.bin")])[0];
    asker.await_bytes(id, MIB as u64);
    let moved = asker.home().join("moved");
    std::fs::rename(asker.downloads_directory(), &moved).expect("it can be moved");
    limit(&mut source, 0);
    await_stopped(&asker, id, 17);
    assert!(!asker.downloads_directory().exists(), "a directory that is missing is not made");
    std::fs::create_dir(asker.downloads_directory()).expect("it is not there");
    let done = retry_until_done(&asker, id);
    assert_holds(&path_of(&done), &content);
    assert_eq!(path_of(&done), asker.downloads_directory().join("file.bin"), "where the user was told");
}

#[test]
fn nothing_is_written_where_a_disk_was_unmounted() {
    let Some(disk) = Disk::of_kib("an unmounted disk is not written past", 64 << 10) else { return };
    let content = Dice::new().bytes(8 * MIB);
    let mut source = source(&[("file.bin", &content)]);
    limit(&mut source, 4_000_000);
    let directory = disk.path().join("downloads");
    std::fs::create_dir(&directory).expect("a fresh directory");
    let asker = saves_to(&directory).start();
    let id = asker.begin_hits(&[hit(&asker, &source, "file.bin")])[0];
    asker.await_bytes(id, MIB as u64);
    let place = disk.path().to_owned();
    let status = std::process::Command::new("umount").arg("-l").arg(&place).status().expect("it can be run");
    assert!(status.success());
    limit(&mut source, 0);
    let row = await_stopped(&asker, id, 17);
    assert!(row["error"]["message"].as_str().is_some_and(|text| text.contains("when it is there")), "{row}");
    assert_eq!(std::fs::read_dir(&place).expect("the mount point").count(), 0, "nothing is made beneath it");
}

//! Part files that no download names: what holds data is left and reported, what holds none is removed, and what another
//! daemon uses is left alone (pyrated(8), DOWNLOADS).

use crate::harness::{
    Daemon, Dice, LIMIT, Setup, assert_holds, await_hashed, is_unfinished, not_tested, path_of, pyratectl,
    relative_files, until,
};
use std::fs::File;
use std::path::Path;

const MIB: usize = 1 << 20;

fn source(content: &[u8], upload_limit: u64) -> Daemon {
    let mut source = Setup::peer().shares("file.bin", content).start();
    await_hashed(&source);
    source.reconfigure("upload_limit", &upload_limit.to_string());
    source.call("reload", serde_json::Value::Null);
    source
}

fn begin(asker: &Daemon, source: &Daemon) -> u64 {
    asker.begin_hits(&asker.list(source.listen()))[0]
}

fn unfinished(directory: &Path) -> usize {
    relative_files(directory).iter().filter(|name| is_unfinished(name)).count()
}

fn count(daemon: &Daemon) -> Option<u64> {
    daemon.status()["orphaned_parts"].as_u64()
}

#[test]
fn after_the_loss_of_the_state_directory_its_part_files_are_reported_and_left() {
    let content = Dice::new().bytes(8 * MIB);
    let source = source(&content, 2_000_000);
    let mut asker = Setup::peer().start();
    let id = begin(&asker, &source);
    asker.await_bytes(id, MIB as u64);
    assert_eq!(asker.stop().code, Some(0));
    asker.start_again();
    asker.await_bytes(id, MIB as u64);
    assert_eq!(asker.stop().code, Some(0));
    assert!(!asker.log().contains("belongs to no download"), "a part file with a record is nobody's orphan");
    let downloads = asker.downloads_directory();
    let parts = unfinished(&downloads);
    let state = asker.home().join("state");
    std::fs::remove_dir_all(&state).expect("it is there");
    std::fs::create_dir(&state).expect("it is gone");
    asker.start_again();
    until("it is counted", LIMIT, || count(&asker) == Some(1));
    assert!(asker.status()["orphaned_bytes"].as_u64() >= Some(MIB as u64));
    asker.await_log("belongs to no download of this daemon");
    let log = asker.log();
    let line = log.lines().find(|line| line.contains("belongs to no download of this daemon")).expect("it is told");
    assert!(line.contains(&format!("{}/.file.bin.", downloads.display())), "{line}");
    assert!(line.contains(" of 8 groups of a file"), "{line}");
    let shown = pyratectl(&asker, ["status"]).stdout;
    assert!(shown.contains("Orphans    1 part file of no download here"), "{shown}");
    assert_eq!(unfinished(&downloads), parts, "what holds data is for the user to remove");
    assert_eq!(asker.stop().code, Some(0));
    for name in relative_files(&downloads) {
        std::fs::remove_file(downloads.join(String::from_utf8(name).expect("text"))).expect("it is there");
    }
    asker.start_again();
    let id = begin(&asker, &source);
    asker.await_bytes(id, 1);
    assert_eq!(count(&asker), Some(0), "what a download uses is counted no more");
}

#[test]
fn a_part_file_without_data_is_removed_when_no_download_names_it() {
    let mut daemon = Setup::peer().start();
    assert_eq!(daemon.stop().code, Some(0));
    let part = daemon.downloads_directory().join(".a.0badcafe.pyrate-part");
    let journal = daemon.downloads_directory().join(".a.0badcafe.pyrate-journal");
    let file = File::create(&part).expect("a fresh file");
    let keep = nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
    if let Err(errno) = nix::fcntl::fallocate(&file, keep, 0, 4 << 20) {
        not_tested("an orphan with space set aside", &format!("fallocate(2) fails here: {errno}"));
    }
    std::fs::write(&journal, "torn").expect("a fresh file");
    let other = daemon.downloads_directory().join(".b.0badcafd.pyrate-part");
    File::create(&other).expect("a fresh file");
    // While somebody has it open, it is theirs.
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).expect("nobody has it");
    daemon.start_again();
    until("what nobody has open is removed", LIMIT, || !other.exists());
    assert_eq!(daemon.stop().code, Some(0));
    assert!(part.exists() && journal.exists());
    drop(lock);
    daemon.start_again();
    until("both are removed", LIMIT, || unfinished(&daemon.downloads_directory()) == 0);
    until("that is told", LIMIT, || daemon.log().contains("no download names it, and it held no data"));
    assert_eq!(count(&daemon), Some(0));
}

#[test]
fn two_daemons_with_one_directory_leave_each_other_alone() {
    let content = Dice::new().bytes(8 * MIB);
    let mut source = source(&content, 2_000_000);
    let first = Setup::peer().start();
    let shared = first.downloads_directory();
    let id = begin(&first, &source);
    first.await_bytes(id, MIB as u64);
    let mut second = Setup::peer().set("download_directory", &format!("'{}'", shared.display())).start();
    let other = begin(&second, &source);
    second.await_bytes(other, MIB as u64);
    assert_eq!(count(&second), Some(0), "what the first has open is nobody's orphan");
    // One that rests is not locked: it is counted, and not touched.
    assert_eq!(pyratectl(&first, ["pause", "all"]).code, 0);
    let kept = first.await_download(id, "paused")["bytes_done"].as_u64();
    assert_eq!(second.stop().code, Some(0));
    second.start_again();
    until("it is counted", LIMIT, || count(&second) == Some(1));
    assert_eq!(pyratectl(&second, ["pause", "all"]).code, 0);
    second.await_download(other, "paused");
    source.reconfigure("upload_limit", "0");
    source.call("reload", serde_json::Value::Null);
    let before = source.status()["bytes_up"].as_u64();
    assert_eq!(pyratectl(&first, ["resume", "all"]).code, 0);
    let done = first.await_download(id, "done");
    assert_holds(&path_of(&done), &content);
    let fetched = source.status()["bytes_up"].as_u64().unwrap_or(0) - before.unwrap_or(0);
    assert!(fetched + kept.unwrap_or(0) <= 9 * MIB as u64, "it went on where it stood: {fetched}");
}

//! Downloads continue after an orderly stop, each in the state that it had (pyrated(8), DOWNLOADS).

use crate::harness::{
    Daemon, Dice, LIMIT, Setup, assert_holds, await_hashed, free_port, holds, is_unfinished, path_of, relative_files,
    until,
};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A source that sends slowly.
fn source(files: &[(&str, &[u8])]) -> Daemon {
    let setup = files.iter().fold(Setup::peer(), |setup, (name, bytes)| setup.shares(name, bytes));
    let port = free_port().to_string();
    let source = setup.set("upload_limit", &(4 * MIB).to_string()).set("listen_port", &port).start();
    await_hashed(&source);
    source
}

fn let_it_flow(source: &mut Daemon) {
    source.reconfigure("upload_limit", "0");
    source.call("reload", Value::Null);
}

fn begin(asker: &Daemon, source: &Daemon, names: &[&str]) -> Vec<u64> {
    let hits = asker.list(source.listen());
    let hit = |name: &&str| hits.iter().find(|hit| hit["name"] == **name).expect("it is listed").clone();
    asker.begin_hits(&names.iter().map(hit).collect::<Vec<_>>())
}

fn unfinished(daemon: &Daemon) -> Vec<Vec<u8>> {
    relative_files(&daemon.downloads_directory()).into_iter().filter(|name| is_unfinished(name)).collect()
}

#[test]
fn states_order_and_verified_bytes_survive_a_restart() {
    let mut dice = Dice::new();
    let contents: Vec<Vec<u8>> = (0..4).map(|_| dice.bytes(12 * MIB)).collect();
    let names = ["active.bin", "paused.bin", "second.bin", "third.bin"];
    let files: Vec<(&str, &[u8])> = names.iter().copied().zip(contents.iter().map(Vec::as_slice)).collect();
    let mut source = source(&files);
    let mut asker = Setup::peer().set("max_downloads", "1").start();
    let ids = begin(&asker, &source, &names);
    let before = asker.await_bytes(ids[0], 2 * MIB as u64)["bytes_done"].as_u64();
    asker.call("pause", serde_json::json!({ "ids": ids[1].to_string() }));
    let parts = unfinished(&asker);
    assert_eq!(asker.stop().code, Some(0));
    assert_eq!(unfinished(&asker), parts, "the part file waits");
    asker.start_again();
    let rows = asker.rows();
    assert!(rows.iter().map(|row| row["id"].as_u64().expect("an id")).eq(ids.iter().copied()), "{rows:?}");
    for (row, name) in rows.iter().zip(names) {
        assert_eq!((&row["name"], row["size"].as_u64()), (&name.into(), Some(12 * MIB as u64)));
    }
    let states = || asker.rows().iter().map(|row| row["state"].as_str().expect("text").to_owned()).collect::<Vec<_>>();
    assert_eq!(states(), ["active", "paused", "queued", "queued"]);
    until("its part file is taken up", LIMIT, || !asker.download(ids[0])["path"].is_null());
    assert!(asker.download(ids[0])["bytes_done"].as_u64() >= before, "what was verified stays");
    let_it_flow(&mut source);
    for place in [0, 2, 3] {
        let done = asker.await_download(ids[place], "done");
        assert_eq!(done["verified"], true, "{done}");
        assert_holds(&path_of(&done), &contents[place]);
    }
    assert_eq!(asker.download(ids[1])["state"], "paused", "nobody resumed it");
    assert!(source.status()["bytes_up"].as_u64() < Some(3 * 12 * MIB as u64 + 4 * MIB as u64), "little came twice");
    asker.call("resume", serde_json::json!({ "ids": "all" }));
    assert_holds(&path_of(&asker.await_download(ids[1], "done")), &contents[1]);
}

#[test]
fn a_paused_download_keeps_its_groups_over_a_restart() {
    let content = Dice::new().bytes(16 * MIB);
    let source = source(&[("file.bin", &content)]);
    let mut asker = Setup::peer().start();
    let id = begin(&asker, &source, &["file.bin"])[0];
    asker.await_bytes(id, 3 * MIB as u64);
    asker.call("pause", serde_json::json!({ "ids": "all" }));
    let before = asker.await_download(id, "paused")["bytes_done"].as_u64().expect("a number");
    until("its sends are over", LIMIT, || source.status()["uploads_active"] == 0);
    asker.stop();
    asker.start_again();
    let sent = source.status()["bytes_up"].as_u64();
    holds("nothing is asked for", Duration::from_millis(300), || {
        asker.download(id)["state"] == "paused" && source.status()["bytes_up"].as_u64() == sent
    });
    asker.call("resume", serde_json::json!({ "ids": "all" }));
    until("it is taken up", LIMIT, || asker.download(id)["bytes_done"].as_u64() >= Some(before));
    assert_holds(&path_of(&asker.await_download(id, "done")), &content);
    assert!(unfinished(&asker).is_empty());
}

#[test]
fn a_part_file_is_allocated_to_its_size_at_the_start() {
    let content = Dice::new().bytes(20 * MIB);
    let source = source(&[("file.bin", &content)]);
    let asker = Setup::peer().start();
    let id = begin(&asker, &source, &["file.bin"])[0];
    asker.await_bytes(id, MIB as u64);
    let blocks = || {
        let sizes = unfinished(&asker).into_iter().map(|name| {
            let path = asker.downloads_directory().join(String::from_utf8(name).expect("text"));
            std::fs::metadata(path).map_or((0, 0), |found| (found.len(), found.blocks() * 512))
        });
        sizes.max().expect("a part file")
    };
    until("it is allocated to its size", LIMIT, || blocks().1 >= 20 * MIB as u64);
    assert_eq!(blocks().0, 20 * MIB as u64);
    assert!(asker.download(id)["bytes_done"].as_u64() < Some(20 * MIB as u64), "and not because it is finished");
}

#[test]
fn without_its_state_directory_a_daemon_leaves_part_files_and_downloads_again() {
    let content = Dice::new().bytes(12 * MIB);
    let mut source = source(&[("file.bin", &content)]);
    let mut asker = Setup::peer().start();
    let id = begin(&asker, &source, &["file.bin"])[0];
    asker.await_bytes(id, MIB as u64);
    asker.stop();
    let parts = unfinished(&asker);
    let state = asker.home().join("state");
    std::fs::remove_dir_all(&state).expect("it is there");
    std::fs::create_dir(&state).expect("it is gone");
    asker.start_again();
    assert!(asker.rows().is_empty(), "nothing is known of it");
    assert_eq!(unfinished(&asker), parts, "what nobody knows is nobody's to remove");
    let_it_flow(&mut source);
    let id = begin(&asker, &source, &["file.bin"])[0];
    let done = asker.await_download(id, "done");
    assert_eq!(path_of(&done), asker.downloads_directory().join("file.bin"));
    assert_holds(&path_of(&done), &content);
}

#[test]
fn a_daemon_starts_with_a_damaged_state_directory() {
    let content = Dice::new().bytes(3 * MIB);
    let mut source = source(&[("file.bin", &content)]);
    let mut asker = Setup::peer().shares("mine.bin", "mine").start();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let kept = asker.begin_download(nowhere, "kept.bin");
    let lost = asker.begin_download(nowhere, "lost.bin");
    asker.end_by(nix::sys::signal::Signal::SIGKILL);
    // The log of downloads lost its end, from the middle of the first record of the second download on, and the rest of the
    // directory is garbage.
    for entry in std::fs::read_dir(asker.home().join("state")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() && path.ends_with("downloads") {
            let bytes = std::fs::read(&path).expect("it can be read");
            let torn = bytes.windows(8).position(|part| part == b"lost.bin").expect("it was accepted");
            std::fs::write(&path, &bytes[..torn]).expect("it can be written");
        } else if path.is_file() {
            std::fs::write(&path, "garbage\0garbage").expect("it can be written");
        }
    }
    asker.start_again();
    let ids: Vec<u64> = asker.rows().iter().filter_map(|row| row["id"].as_u64()).collect();
    assert_eq!(ids, [kept], "a record that was torn off is no record");
    await_hashed(&asker);
    let_it_flow(&mut source);
    let id = begin(&asker, &source, &["file.bin"])[0];
    assert!(id > kept, "{id} after {kept} and {lost}");
    assert_holds(&path_of(&asker.await_download(id, "done")), &content);
}

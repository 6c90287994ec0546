//! A directory is one download, over kills, hostile lists and orders (pyratectl(1), `download`).

use crate::harness::{
    Daemon, Dice, Fake, LIMIT, Manners, P1Peer, Reading, Setup, await_hashed, pause, pyratectl, relative_files, until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Files beneath `music/live/` at a source, and one beside it.
fn source(dice: &mut Dice, files: usize, bytes: usize) -> (Daemon, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut contents = BTreeMap::new();
    let mut setup = Setup::peer().shares("music/other.bin", "not this one");
    for number in 0..files {
        let name = format!("{}/{number:02}.bin", ["one", "two/deep", "three"][number % 3]);
        // Few are larger than a group.
        let content = dice.bytes(if number % 7 == 0 { bytes } else { bytes / 100 });
        setup = setup.shares(format!("music/live/{name}"), &content);
        contents.insert(format!("live/{name}").into_bytes(), content);
    }
    let source = setup.start();
    await_hashed(&source);
    (source, contents)
}

fn assert_saved(asker: &Daemon, contents: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let root = asker.downloads_directory();
    assert_eq!(relative_files(&root), contents.keys().cloned().collect());
    for (name, content) in contents {
        let path = root.join(std::str::from_utf8(name).expect("our names are text"));
        assert!(std::fs::read(&path).expect("it is there") == *content, "{}", path.display());
    }
}

fn of(source: &Daemon, directory: &str) -> String {
    format!("{}/{directory}", source.listen())
}

#[test]
fn a_directory_is_one_download() {
    let (source, contents) = source(&mut Dice::new(), 20, 3 << 20);
    let asker = Setup::peer().start();
    let run = pyratectl(&asker, ["--json", "download", &of(&source, "music/live/")]);
    assert_eq!(run.code, 0, "{run:?}");
    let rows = run.json();
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    let row = &rows[0];
    assert_eq!((&row["state"], &row["verified"], &row["already"]), (&json!("done"), &json!(true), &json!(false)));
    assert_eq!((&row["directory"]["files"], &row["directory"]["files_done"]), (&json!(20), &json!(20)));
    let bytes: usize = contents.values().map(Vec::len).sum();
    assert_eq!((&row["bytes_done"], &row["size"]), (&json!(bytes), &json!(bytes)));
    assert_eq!(row["path"], asker.downloads_directory().join("live").to_str().expect("a path in UTF-8"));
    assert_saved(&asker, &contents);
    assert_eq!(asker.pages("downloads", "downloads").len(), 1);
    // Again: all of it is there.
    let again = pyratectl(&asker, ["--json", "download", &of(&source, "music/live/")]).json();
    assert_eq!((&again[0]["state"], &again[0]["already"]), (&json!("done"), &json!(true)));
    let missing = pyratectl(&asker, ["download", &of(&source, "music/dead/")]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.stderr.contains("shares nothing beneath"), "{missing:?}");
}

#[test]
fn kills_in_the_middle_lose_nothing_and_report_one_end() {
    let mut dice = Dice::replayed_by("PYRATE_CRASH_SEED");
    let (mut source, contents) = source(&mut dice, 30, 4 << 20);
    source.stop();
    source.reconfigure("upload_limit", &(4 << 20).to_string());
    source.start_again();
    await_hashed(&source);
    let mut asker = Setup::peer().start();
    let id = asker.begin_download(source.listen(), "music/live/");
    let mut done_before = 0;
    for _ in 0..8 {
        pause(Duration::from_millis(dice.below(400)));
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
        let rows = asker.pages("downloads", "downloads");
        if rows.is_empty() {
            break;
        }
        assert_eq!((rows.len(), &rows[0]["id"]), (1, &json!(id)), "{rows:?}");
        let done = rows[0]["directory"]["files_done"].as_u64().expect("a number");
        assert!(done >= done_before, "files that were there are forgotten: {rows:?}");
        done_before = done;
    }
    let mut control = asker.control();
    control.call("events", json!({})).expect("events are sent");
    source.reconfigure("upload_limit", "0");
    source.call("reload", Value::Null);
    let mut ends = 0;
    let is_over = !asker.pages("downloads", "downloads").iter().any(|row| row["state"] != "done");
    while ends == 0 && !is_over {
        ends += control.notice("the directory is done", |notice| {
            let row = &notice["download"];
            assert!(row.is_null() || row["id"] == id, "nobody hears of its files: {notice}");
            (row["state"] == "done").then_some(1)
        });
    }
    let row = asker.await_download(id, "done");
    assert_eq!(row["verified"], true, "{row}");
    assert_saved(&asker, &contents);
    until("nothing is remembered of it", LIMIT, || {
        asker.stop();
        asker.start_again();
        asker.pages("downloads", "downloads").is_empty()
    });
}

#[test]
fn orders_act_on_all_of_it() {
    let (mut source, contents) = source(&mut Dice::new(), 12, 4 << 20);
    source.stop();
    source.reconfigure("upload_limit", &(1 << 20).to_string());
    source.start_again();
    let mut asker = Setup::peer().start();
    let elsewhere = asker.home().join("elsewhere");
    let place = format!("{}/", elsewhere.display());
    let begun = pyratectl(&asker, ["--json", "download", "--detach", "-o", &place, &of(&source, "music/live/")]);
    assert_eq!(begun.code, 0, "{begun:?}");
    let id = begun.json()[0]["id"].as_u64().expect("an id");
    assert_eq!(begun.json()[0]["path"], format!("{place}live"));
    until("bytes come", LIMIT, || asker.download(id)["bytes_done"].as_u64() > Some(0));
    let paused = pyratectl(&asker, ["--json", "pause", &id.to_string()]).json();
    assert_eq!((&paused[0]["state"], paused.as_array().map(Vec::len)), (&json!("paused"), Some(1)));
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    assert_eq!(asker.download(id)["state"], "paused");
    let shown = pyratectl(&asker, ["--json", "downloads", &id.to_string()]).json();
    let files: Vec<&Value> = shown.as_array().expect("rows").iter().filter(|row| row["part_of"] == id).collect();
    assert_eq!(files.len(), contents.len(), "{shown}");
    assert!(files.iter().all(|row| row["state"] == "paused" || row["state"] == "done"), "{shown}");
    let told = pyratectl(&asker, ["downloads", &id.to_string()]);
    assert!(told.stdout.contains("of 12 files"), "{told:?}");
    pyratectl(&asker, ["resume", &id.to_string()]);
    until("it goes on", LIMIT, || asker.download(id)["state"] == "active");
    pyratectl(&asker, ["cancel", &id.to_string()]);
    assert_eq!(asker.download(id)["state"], "cancelled");
    let is_part = |name: &Vec<u8>| name.windows(11).any(|part| part == b"pyrate-part");
    until("its part files go", LIMIT, || !relative_files(&elsewhere).iter().any(is_part));
    until("it is forgotten", LIMIT, || {
        asker.stop();
        asker.start_again();
        asker.pages("downloads", "downloads").is_empty()
    });
}

#[test]
fn a_hostile_list_writes_nothing_outside_of_the_directory() {
    let list = "d/good\nd/../../escaped\nd//etc/escaped\nd/x\nd/x/y\nd/\n../escaped\n/escaped\nd/.\nd/..\n";
    let peer = Fake::serve(Reading::Whole, move |mut visit| {
        let answer = if visit.message.starts_with(b"5:") { list.as_bytes() } else { b"bytes" };
        let _ = visit.stream.write_all(answer);
    });
    let asker = Setup::peer().start();
    let elsewhere = asker.home().join("outside");
    std::fs::create_dir(&elsewhere).expect("a directory");
    std::os::unix::fs::symlink(&elsewhere, asker.downloads_directory().join("link")).expect("a link");
    let run = pyratectl(&asker, ["--json", "download", &format!("{}/d/", peer.addr)]);
    assert_eq!(run.code, 17, "{run:?}");
    let row = &run.json()[0];
    assert_eq!((&row["state"], &row["directory"]["files_done"]), (&json!("failed"), &json!(2)), "{row}");
    let saved = relative_files(&asker.downloads_directory());
    let expected = [&b"d/good"[..], b"d/x"].map(<[u8]>::to_vec);
    assert!(expected.iter().all(|name| saved.contains(name)), "{saved:?}");
    assert!(!saved.iter().any(|name| name.ends_with(b"escaped")), "{saved:?}");
    assert!(!asker.home().join("escaped").exists());
    // A link of the user's in the place of the directory is not followed.
    let linked = Fake::serve(Reading::Whole, |mut visit| {
        let answer: &[u8] = if visit.message.starts_with(b"5:") { b"link/a\n" } else { b"bytes" };
        let _ = visit.stream.write_all(answer);
    });
    let id = asker.begin_download(linked.addr, "link/");
    let stopped = asker.await_download(id, "paused");
    assert_eq!(stopped["error"]["code"], 17, "{stopped}");
    assert!(relative_files(&elsewhere).is_empty());
}

/// The same tree in the share of each: an executable file, empty directories, a few bytes.
fn tree_source(limit: &str) -> Daemon {
    let setup = Setup::peer().set("upload_limit", limit);
    let mut setup = setup.shares("tree/bin/run", "#!/bin/sh\n").shares("tree/docs/a.txt", "text");
    for number in 0..6 {
        setup = setup.shares(format!("tree/data/{number}"), vec![number; 200_000]);
    }
    let source = setup.start();
    let tree = source.share().join("tree");
    std::fs::create_dir_all(tree.join("empty/within")).expect("a directory");
    std::fs::set_permissions(tree.join("bin/run"), Permissions::from_mode(0o755)).expect("it is ours");
    until("all is shared again", LIMIT, || {
        source.rescan();
        source.status()["shared_files"] == 8
    });
    await_hashed(&source);
    source
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o111 != 0
}

fn manifest_of(row: &Value) -> String {
    row["directory"]["manifest"].as_str().unwrap_or_else(|| panic!("no manifest: {row}")).to_owned()
}

#[test]
fn a_manifest_keeps_the_executable_bit_and_empty_directories() {
    let (source, other) = (tree_source("0"), tree_source("0"));
    let asker = Setup::peer().start();
    let row = &pyratectl(&asker, ["--json", "download", &of(&source, "tree/")]).json()[0];
    assert_eq!((&row["state"], &row["directory"]["files"]), (&json!("done"), &json!(8)), "{row}");
    let saved = asker.downloads_directory().join("tree");
    assert!(saved.join("empty/within").is_dir());
    assert!(is_executable(&saved.join("bin/run")) && !is_executable(&saved.join("docs/a.txt")));
    let again = Setup::peer().start();
    let of_other = &pyratectl(&again, ["--json", "download", &of(&other, "tree/")]).json()[0];
    assert_eq!(manifest_of(row), manifest_of(of_other), "the same tree has the same manifest");
    let empty = &pyratectl(&asker, ["--json", "download", &of(&source, "tree/empty/within/")]).json()[0];
    assert_eq!((&empty["state"], &empty["directory"]["files"]), (&json!("done"), &json!(0)), "{empty}");
    assert!(asker.downloads_directory().join("within").is_dir());
    let missing = pyratectl(&asker, ["download", &of(&source, "tree/none/")]);
    assert_eq!(missing.code, 3, "{missing:?}");
}

#[test]
fn what_the_manifest_says_survives_a_kill_without_the_peer() {
    let source = tree_source("204800");
    let mut asker = Setup::peer().start();
    let id = asker.begin_download(source.listen(), "tree/");
    until("the files are known and some bytes are there", LIMIT, || {
        let row = asker.download(id);
        row["state"] == "active" && row["directory"]["manifest"].is_string() && row["bytes_done"].as_u64() > Some(0)
    });
    let before = manifest_of(&asker.download(id));
    source.signal(Signal::SIGSTOP);
    for _ in 0..3 {
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
    }
    let row = asker.download(id);
    assert_eq!((manifest_of(&row), &row["directory"]["files"]), (before, &json!(8)), "{row}");
    source.signal(Signal::SIGCONT);
    asker.await_download(id, "done");
    let saved = asker.downloads_directory().join("tree");
    assert!(saved.join("empty/within").is_dir() && is_executable(&saved.join("bin/run")));
}

#[test]
fn what_a_peer_is_still_writing_is_fetched_before_the_directory_is_done() {
    let source = Setup::peer().shares("d/one", "1").start();
    await_hashed(&source);
    let growing = source.share().join("d/growing");
    let (stop, stopped) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut file = File::create(&growing).expect("a file");
        while stopped.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
            file.write_all(b"more").expect("room");
        }
        std::fs::read(&growing).expect("it is there")
    });
    until("the file is found", LIMIT, || {
        source.rescan();
        source.status()["left_out"]["being_written"] == 1
    });
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.listen(), "d/");
    until("all else is there", LIMIT, || {
        let row = asker.download(id);
        assert_ne!(row["state"], "done", "{row}");
        row["state"] == "retrying" && row["directory"]["files_pending"] == 1
    });
    let row = asker.download(id);
    let said = row["error"]["message"].as_str().unwrap_or_default();
    assert!(
        row["directory"]["files_done"] == 1 && said.contains("still writing, or looking for, 1 other file"),
        "{row}"
    );
    drop(stop);
    let written = writer.join().expect("it is written");
    let done = asker.await_download(id, "done");
    assert_eq!((&done["directory"]["files"], &done["directory"]["files_pending"]), (&json!(2), &json!(0)), "{done}");
    assert!(std::fs::read(asker.downloads_directory().join("d/growing")).expect("it is there") == written);
}

#[test]
fn a_p1_peer_without_manifests_is_asked_for_its_list() {
    let peer = P1Peer::sharing("tree/a.bin", b"content", Manners::default());
    let asker = Setup::peer().start();
    let row = &pyratectl(&asker, ["--json", "download", &format!("{}/tree/", peer.addr)]).json()[0];
    assert_eq!((&row["state"], &row["verified"]), (&json!("done"), &json!(true)), "{row}");
    assert_eq!(row["directory"]["manifest"], Value::Null);
    assert_eq!(peer.asked("9:"), ["9:tree/"], "{:?}", peer.asked(""));
    assert_eq!(peer.asked("5:p1").len(), 1);
}

#[test]
fn a_manifest_is_printed_by_its_owner_and_by_whoever_asks_a_peer() {
    let source = tree_source("0");
    let asker = Setup::peer().start();
    let own = pyratectl(&source, ["manifest", "tree/"]);
    let asked = pyratectl(&asker, ["manifest", &of(&source, "tree/")]);
    assert_eq!((own.code, asked.code), (0, 0), "{own:?} {asked:?}");
    assert_eq!(own.stdout, asked.stdout);
    assert!(own.stdout.contains("\nd empty/within\n") && own.stdout.ends_with("\nend 9\n"), "{own:?}");
    let row = &pyratectl(&asker, ["--json", "download", &of(&source, "tree/")]).json()[0];
    assert_eq!(manifest_of(row), blake3::hash(own.stdout.as_bytes()).to_string());
    let missing = pyratectl(&asker, ["manifest", &of(&source, "none/")]);
    assert_eq!(missing.code, 3, "{missing:?}");
}

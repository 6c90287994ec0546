//! Directories by a saved manifest, without a peer (pyratectl(1), `download --manifest`).

use crate::harness::{Daemon, Dice, LIMIT, Setup, await_hashed, pause, pyratectl, relative_files, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

type Contents = BTreeMap<String, Vec<u8>>;

/// So many files, by their paths in the directory.
fn contents(dice: &mut Dice, files: usize, bytes: usize) -> Contents {
    let path = |number: usize| format!("{}/{number:02}.bin", ["one", "two/deep", "three"][number % 3]);
    (0..files).map(|number| (path(number), dice.bytes(bytes))).collect()
}

/// A peer that shares some of the files beneath this name.
fn sharing(at: &[SocketAddr], beneath: &str, contents: &Contents, which: impl Fn(usize) -> bool) -> Daemon {
    let files = contents.iter().enumerate().filter(|(number, _)| which(*number));
    let setup = files
        .fold(Setup::peer().joins(at), |setup, (_, (path, content))| setup.shares(format!("{beneath}{path}"), content));
    let peer = setup.start();
    await_hashed(&peer);
    peer
}

/// The manifest of all files, saved by a peer that is gone.
fn saved(contents: &Contents) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().expect("a directory");
    let maker = sharing(&[], "anywhere/", contents, |_| true);
    let file = scratch.path().join("live.manifest");
    until("the manifest is made", LIMIT, || {
        let run = pyratectl(&maker, ["manifest", "anywhere/", "-o", file.to_str().expect("UTF-8")]);
        run.code == 0
    });
    (scratch, file)
}

fn assert_saved(root: &Path, contents: &Contents) {
    assert_eq!(relative_files(root), contents.keys().map(|path| path.clone().into_bytes()).collect());
    for (path, content) in contents {
        assert!(fs::read(root.join(path)).expect("it is there") == *content, "{path}");
    }
}

fn kept(asker: &Daemon) -> usize {
    let names = fs::read_dir(asker.home().join("state")).expect("the state directory").flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with("manifest-")).count()
}

/// The events of the log: what, of which download, and which name.
fn events(asker: &Daemon) -> Vec<(Value, Value, Value)> {
    let log = asker.call("event_log", json!({ "since": 0 }));
    let events = log["events"].as_array().expect("events").iter();
    events.map(|event| (event["event"].clone(), event["download"].clone(), event["name"].clone())).collect()
}

#[test]
fn files_come_from_peers_that_have_some_of_them_over_kills() {
    let mut dice = Dice::replayed_by("PYRATE_CRASH_SEED");
    let contents = contents(&mut dice, 24, 400_000);
    let (_scratch, file) = saved(&contents);
    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let sources = [
        sharing(&at, "mine/live/", &contents, |number| number < 14),
        sharing(&at, "", &contents, |number| number >= 10),
    ];
    let mut asker = Setup::peer().joins(&at).start();
    sources.iter().for_each(|source| asker.await_neighbour(source.listen()));
    let file = file.to_str().expect("UTF-8");
    let begun = pyratectl(&asker, ["--json", "download", "--detach", "--manifest", file]);
    assert_eq!(begun.code, 0, "{begun:?}");
    let begun = begun.json();
    let id = begun[0]["id"].as_u64().expect("an id");
    assert_eq!((&begun[0]["name"], &begun[0]["directory"]["files"]), (&json!("live/"), &json!(24)));
    assert_eq!(kept(&asker), 1);
    for _ in 0..4 {
        pause(Duration::from_millis(dice.below(500)));
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
    }
    until("it is done", LIMIT, || asker.pages("downloads", "downloads").iter().all(|row| row["state"] == "done"));
    assert_saved(&asker.downloads_directory().join("live"), &contents);
    until("its end is on the disk", LIMIT, || events(&asker).len() > 1);
    let event = |what: &str| (json!(what), json!(id), json!("live/"));
    assert_eq!(events(&asker), [event("begun"), event("done")], "each once");
    until("its manifest is not kept any longer", LIMIT, || kept(&asker) == 0);
}

#[test]
fn a_directory_says_what_is_missing_and_is_done_when_somebody_has_it() {
    let contents = contents(&mut Dice::new(), 5, 2_000);
    let (_scratch, file) = saved(&contents);
    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let some = sharing(&at, "x/", &contents, |number| number != 2);
    let asker = Setup::peer().joins(&at).start();
    asker.await_neighbour(some.listen());
    let file = file.to_str().expect("UTF-8");
    let begun = pyratectl(&asker, ["download", "--detach", "--manifest", file]);
    assert_eq!(begun.code, 0, "{begun:?}");
    until("all others are there", LIMIT, || asker.download(1)["directory"]["files_done"] == 4);
    until("it waits", LIMIT, || asker.download(1)["state"] == "retrying");
    let shown = pyratectl(&asker, ["--json", "downloads", "1"]).json();
    let missing = contents.keys().nth(2).expect("five files");
    assert_eq!(shown[0]["directory"]["missing"][0]["name"], format!("live/{missing}"), "{shown}");
    assert_eq!((&shown[0]["directory"]["files_done"], &shown[0]["state"]), (&json!(4), &json!("retrying")));
    let _other = sharing(&at, "y/", &contents, |number| number == 2);
    asker.await_download(1, "done");
    assert_saved(&asker.downloads_directory().join("live"), &contents);
}

#[test]
fn a_manifest_in_the_watched_directory_begins_once_over_kills() {
    let contents = contents(&mut Dice::new(), 6, 2_000);
    let (_scratch, file) = saved(&contents);
    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let source = sharing(&at, "x/", &contents, |_| true);
    let setup = Setup::peer().joins(&at);
    let directory = setup.home().join("watched");
    fs::create_dir(&directory).expect("a directory");
    let setup = setup.set("watch_directory", &format!("'{}'", directory.display())).set("sandbox", "true");
    let mut asker = setup.start();
    asker.await_neighbour(source.listen());
    let put = |name: &str| fs::copy(&file, directory.join(name)).expect("a copy");
    put("Live 99.manifest");
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    let until_there = |name: &str| until(name, LIMIT, || directory.join(name).exists());
    until_there("Live 99.manifest.added");
    until("it is done", LIMIT, || asker.pages("downloads", "downloads").iter().all(|row| row["state"] == "done"));
    assert_saved(&asker.downloads_directory().join("Live 99"), &contents);
    // It comes again while its download is in the list.
    fs::rename(directory.join("Live 99.manifest.added"), directory.join("Live 99.manifest")).expect("a rename");
    until_there("Live 99.manifest.added");
    until("its end is on the disk", LIMIT, || events(&asker).len() > 1);
    let names: Vec<Value> = events(&asker).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(names, [json!("begun"), json!("done")], "once");
    let text = fs::read(&file).expect("the manifest");
    fs::write(directory.join("cut.pyrate"), &text[..text.len() - 6]).expect("a file");
    until_there("cut.pyrate.failed");
    asker.await_log("not a manifest that can be taken: the manifest ends before its last line");
}

//! Files arrive whole, under a safe name, and never replace another (PROTOCOL, code 4; pyratectl(1), `download`).

use crate::harness::{Daemon, Dice, End, Fake, Framing, LIMIT, Reading, Setup, ask, fetch, relative_files, until};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A source and a daemon that fetches from it; they know each other only by endpoint.
fn pair(source: Setup) -> (Daemon, Daemon) {
    (source.start(), Setup::peer().start())
}

fn path_of(row: &Value) -> PathBuf {
    row["path"].as_str().expect("a path in UTF-8").into()
}

/// Downloads a file by name to its end; gives the content.
fn download(asker: &Daemon, source: &Daemon, name: &str) -> Vec<u8> {
    let done = asker.await_download(asker.begin_download(source.listen(), name), "done");
    std::fs::read(path_of(&done)).expect("the file is there")
}

fn names_in(daemon: &Daemon) -> Vec<Vec<u8>> {
    relative_files(&daemon.downloads_directory()).into_iter().collect()
}

#[test]
fn small_and_empty_files_arrive() {
    let (source, asker) = pair(Setup::peer().shares("dir/small.txt", "small").shares("empty.txt", ""));
    assert_eq!(download(&asker, &source, "dir/small.txt"), b"small");
    assert_eq!(download(&asker, &source, "empty.txt"), b"");
    assert_eq!(names_in(&asker), [b"empty.txt".to_vec(), b"small.txt".to_vec()]);
    let id = asker.begin_download(source.listen(), "dir/small.txt");
    let done = asker.await_download(id, "done");
    assert_eq!((&done["bytes_done"], &done["name"]), (&json!(5), &json!("dir/small.txt")));
    assert!(done["error"].is_null() && done["rate"].is_null() && done["retry_in_s"].is_null(), "{done}");
    assert_eq!(done["sources"], json!([source.listen()]));
}

#[test]
fn a_large_file_arrives_unchanged() {
    let mut dice = Dice::new();
    let content = dice.bytes(64 << 20);
    let (source, asker) = pair(Setup::peer().shares("large.bin", &content));
    assert!(download(&asker, &source, "large.bin") == content);
    assert_eq!(names_in(&asker), [b"large.bin".to_vec()], "nothing else is left");
    // The metadata of 64 groups come to 2 KiB.
    let is_all = |bytes: &Value| bytes.as_u64().is_some_and(|bytes| (64 << 20..(64 << 20) + 4_096).contains(&bytes));
    assert!(is_all(&asker.status()["bytes_down"]), "{}", asker.status());
    until("the source knows that it is over", LIMIT, || source.status()["uploads_active"] == 0);
    assert!(is_all(&source.status()["bytes_up"]), "{}", source.status());
}

#[test]
fn names_of_every_kind_arrive() {
    let names = ["with  spaces .txt", "naïve ✓ 文件.txt", "a:b:c", "-dash", "quote\"'\\", "100%.txt"];
    let setup = names.iter().fold(Setup::peer(), |setup, name| setup.shares(name, name));
    let (source, asker) = pair(setup);
    for name in names {
        assert_eq!(download(&asker, &source, name), name.as_bytes());
        assert!(asker.downloads_directory().join(name).exists(), "{name}");
    }
}

#[test]
fn a_name_that_is_not_utf8_arrives() {
    let name = b"caf\xe9 \xff.txt";
    let (source, asker) = pair(Setup::peer().shares(name, "bytes"));
    let raw = json!({ "text": "caf\u{fffd} \u{fffd}.txt", "hex": "636166e920ff2e747874" });
    let begun =
        asker.call("download", json!({ "what": [{ "file": { "peer": source.listen(), "name": raw } }] }))["downloads"]
            [0]
        .clone();
    assert_eq!(begun["name"], raw, "names keep their bytes");
    let done = asker.await_download(begun["id"].as_u64().expect("an id"), "done");
    assert_eq!(done["path"]["hex"].as_str().map(|hex| hex.ends_with("636166e920ff2e747874")), Some(true));
    assert_eq!(names_in(&asker), [name.to_vec()]);
    assert_eq!(fetch(source.listen(), name), b"bytes");
}

#[test]
fn a_download_never_replaces_a_file() {
    let (source, asker) = pair(Setup::peer().shares("report.tar", "new").shares("plain", "new"));
    let taken = asker.downloads_directory();
    std::fs::write(taken.join("report.tar"), "mine").expect("it can be written");
    std::fs::create_dir(taken.join("plain")).expect("a directory of that name");
    assert_eq!(download(&asker, &source, "report.tar"), b"new");
    source.add_file("report.tar", "newer");
    source.rescan();
    assert_eq!(download(&asker, &source, "report.tar"), b"newer");
    assert_eq!(download(&asker, &source, "plain"), b"new");
    assert_eq!(std::fs::read(taken.join("report.tar")).expect("it is there"), b"mine");
    assert!(names_in(&asker).contains(&b"report (1).tar".to_vec()), "{:?}", names_in(&asker));
    assert!(names_in(&asker).contains(&b"report (2).tar".to_vec()), "{:?}", names_in(&asker));
    assert!(names_in(&asker).contains(&b"plain (1)".to_vec()), "{:?}", names_in(&asker));
}

#[test]
fn an_exact_path_is_taken_or_refused() {
    let (source, asker) = pair(Setup::peer().shares("file.txt", "content"));
    let what = json!([{ "file": { "peer": source.listen(), "name": "file.txt" } }]);
    let begin = |output: PathBuf| {
        let begun = asker.control().call("download", json!({ "what": what, "output": output.to_str() }));
        begun.map(|reply| reply["downloads"][0]["id"].as_u64().expect("an id"))
    };
    let path = asker.home().join("exactly here.dat");
    let done = asker.await_download(begin(path.clone()).expect("it begins"), "done");
    assert_eq!(path_of(&done), path);
    assert_eq!(std::fs::read(&path).expect("the file"), b"content");
    // There is a file now: the request is refused at once, or the download fails, with the same code.
    std::fs::write(&path, "mine").expect("it can be written");
    let code = match begin(path.clone()) {
        Err(failure) => failure.code,
        Ok(id) => asker.await_download(id, "failed")["error"]["code"].as_i64().expect("a code"),
    };
    assert_eq!(code, 13);
    assert_eq!(std::fs::read(&path).expect("the file"), b"mine");
    // A directory takes the file under its own name.
    let directory = asker.home().join("into");
    std::fs::create_dir(&directory).expect("a fresh directory");
    let done = asker.await_download(begin(directory.clone()).expect("it begins"), "done");
    assert_eq!(path_of(&done), directory.join("file.txt"));
    assert!(relative_files(asker.home()).iter().all(|name| !name.ends_with(b".part")), "no part file is left");
}

#[test]
fn a_name_from_the_network_cannot_leave_the_directory() {
    // It sends the same bytes for any name.
    let source = Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(b"evil");
    });
    let asker = Setup::peer().start();
    // State files may be written at any time.
    let files = || relative_files(asker.home()).iter().filter(|name| !name.starts_with(b"state/")).count();
    let before = files();
    for (name, saved) in [
        ("../../escape.txt", "escape.txt"),
        ("/etc/absolute.txt", "absolute.txt"),
        ("a/..", "_.."),
        (".bashrc", "_.bashrc"),
        ("deep/.ssh/.authorized_keys", "_.authorized_keys"),
    ] {
        let done = asker.await_download(asker.begin_download(source.addr, name), "done");
        assert_eq!(path_of(&done), asker.downloads_directory().join(saved), "{name}");
    }
    assert_eq!(names_in(&asker).len(), 5);
    assert_eq!(files(), before + 5, "nothing was written elsewhere");
    assert!(!std::path::Path::new("/etc/absolute.txt").exists());
}

#[test]
fn a_name_with_control_bytes_is_refused_and_begins_no_download() {
    let asker = Setup::peer().start();
    for name in ["a\u{1b}[2Jb", "a\nb", "a\0b", ""] {
        let what = json!([{ "file": { "peer": "127.0.0.1:9999", "name": name } }]);
        let failure = asker.control().call("download", json!({ "what": what })).expect_err("it is refused");
        assert!(!failure.message.contains(['\u{1b}', '\n', '\0']), "{failure:?}");
    }
    assert!(asker.pages("downloads", "downloads").is_empty());
}

#[test]
fn a_listing_gives_hits_with_ids_that_can_be_downloaded() {
    let (source, asker) = pair(Setup::peer().shares("one.txt", "1").shares("dir/two.txt", "22"));
    let mut control = asker.control();
    let begun = control.call("list", json!({ "peer": source.listen() })).expect("it begins");
    control.notice("the listing is through", |notice| {
        (notice["event"] == "search_done" && notice["search"] == begun["search"]).then(|| {
            assert!(notice["error"].is_null(), "{notice}");
            assert_eq!((&notice["hits"], &notice["truncated"]), (&json!(2), &json!(false)));
        })
    });
    let page = control.call("hits", json!({ "search": begun["search"] })).expect("hits");
    let rows = page["hits"].as_array().expect("rows");
    let mut seen: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| (row["name"].as_str().expect("text"), row["size"].as_u64().expect("a p1 peer tells sizes")))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [("dir/two.txt", 2), ("one.txt", 1)]);
    let ids: Vec<String> = rows.iter().map(|row| row["id"].to_string()).collect();
    let begun = control.call("download", json!({ "what": [{ "hits": ids.join(",") }] })).expect("both begin");
    assert_eq!(begun["downloads"].as_array().map(Vec::len), Some(2));
    for row in begun["downloads"].as_array().expect("rows") {
        let done = asker.await_download(row["id"].as_u64().expect("an id"), "done");
        assert_eq!(done["size"].as_u64(), done["bytes_done"].as_u64());
    }
}

#[test]
fn a_list_of_thousands_of_files_is_complete() {
    let path = |turn| format!("d{}/file {turn}", turn % 7);
    let setup = (0..2500).fold(Setup::peer(), |setup, turn| setup.shares(path(turn), turn.to_string()));
    let (source, asker) = pair(setup);
    let answer = ask(source.listen(), b"5:", Framing::Fin);
    assert_eq!((crate::harness::lines(&answer.bytes).len(), answer.end), (2500, End::Fin));
    let mut control = asker.control();
    let begun = control.call("list", json!({ "peer": source.listen() })).expect("it begins");
    let done = control.notice("the listing is through", |notice| {
        (notice["event"] == "search_done" && notice["search"] == begun["search"]).then(|| notice.clone())
    });
    assert_eq!(done["hits"], 2500, "{done}");
    assert_eq!(asker.pages("hits", "hits").len(), 2500, "page by page");
}

#[test]
fn what_was_downloaded_into_the_share_is_shared() {
    let source = Setup::peer().shares("passed on.txt", "content").start();
    let setup = Setup::peer();
    let share = format!("'{}'", setup.share().display());
    let asker = setup.set("download_directory", &share).start();
    assert_eq!(download(&asker, &source, "passed on.txt"), b"content");
    asker.rescan();
    assert_eq!(fetch(asker.listen(), b"passed on.txt"), b"content");
}

#[test]
fn a_finished_file_is_not_executable() {
    let (source, asker) = pair(Setup::peer().shares("run.sh", "#!/bin/sh"));
    let done = asker.await_download(asker.begin_download(source.listen(), "run.sh"), "done");
    let mode = std::fs::metadata(path_of(&done)).expect("the file").mode();
    assert_eq!(mode & 0o7111, 0, "{mode:o}");
}

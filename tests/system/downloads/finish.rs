//! The final name of a content that was fetched by its hash: no file is replaced, and no content is stored twice
//! (pyratectl(1), `download`).

use crate::harness::{
    Daemon, Dice, LIMIT, Setup, assert_holds, await_hashed, path_of, pyratectl, relative_files, until,
};
use std::os::unix::fs::MetadataExt;

const MIB: usize = 1 << 20;

/// A source that has hashed this file, a daemon that has listed it, and the hit.
fn found(name: &str, content: &[u8]) -> (Daemon, Daemon, String) {
    let source = Setup::peer().shares(name, content).start();
    await_hashed(&source);
    let asker = Setup::peer().start();
    let hits = asker.list(source.listen());
    assert!(hits[0]["b3"].is_string(), "{hits:?}");
    let hit = hits[0]["id"].to_string();
    (source, asker, hit)
}

fn names_in(daemon: &Daemon) -> Vec<Vec<u8>> {
    relative_files(&daemon.downloads_directory()).into_iter().collect()
}

#[test]
fn a_number_is_added_to_a_name_that_another_content_has() {
    for size in [0, 5, MIB, 3 * MIB + 1] {
        let content = Dice::new().bytes(size);
        let (_source, asker, hit) = found("report.tar", &content);
        let mine = asker.downloads_directory().join("report.tar");
        // Of the same size: only its bytes are different.
        std::fs::write(&mine, vec![b'm'; size.max(1)]).expect("it can be written");
        let run = pyratectl(&asker, ["--json", "download", &hit]);
        assert_eq!(run.code, 0, "{run:?}");
        let row = &run.json()[0];
        assert_eq!((&row["state"], &row["verified"], &row["already"]), (&"done".into(), &true.into(), &false.into()));
        assert_eq!(path_of(row), asker.downloads_directory().join("report (1).tar"));
        assert_holds(&path_of(row), &content);
        assert_holds(&mine, &vec![b'm'; size.max(1)]);
        assert_eq!(names_in(&asker).len(), 2, "{:?}", names_in(&asker));
    }
}

#[test]
fn a_file_that_has_the_content_already_is_not_touched_and_nothing_is_fetched() {
    for size in [7, MIB, 2 * MIB + 3] {
        let content = Dice::new().bytes(size);
        let (source, asker, hit) = found("report.tar", &content);
        let there = asker.downloads_directory().join("report.tar");
        std::fs::write(&there, &content).expect("it can be written");
        let before = std::fs::metadata(&there).expect("it is there");
        let run = pyratectl(&asker, ["download", &hit]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stderr.contains("already have it"), "{run:?}");
        let after = std::fs::metadata(&there).expect("it is there");
        let facts = |of: &std::fs::Metadata| (of.ino(), of.mtime(), of.mtime_nsec(), of.ctime_nsec(), of.len());
        assert_eq!(facts(&before), facts(&after), "it was not touched");
        assert_eq!(names_in(&asker), [b"report.tar".to_vec()]);
        assert_eq!(source.status()["bytes_up"], 0, "and nothing was fetched");
        let row = &asker.rows()[0];
        assert_eq!((&row["already"], &row["verified"]), (&true.into(), &true.into()), "{row}");
    }
}

/// What a name stands for is known when its source has told: then it is as with a hash.
#[test]
fn a_name_whose_content_is_there_already_is_fetched_once() {
    let content = Dice::new().bytes(3 * MIB + 1);
    let (source, asker, _) = found("report.tar", &content);
    let name = format!("{}/report.tar", source.listen());
    for turn in 0..3 {
        let run = pyratectl(&asker, ["--json", "download", &name]);
        assert_eq!((run.code, &run.json()[0]["already"]), (0, &(turn > 0).into()), "{run:?}");
        assert_eq!(names_in(&asker), [b"report.tar".to_vec()]);
        let sent = source.status()["bytes_up"].as_u64().expect("a number");
        assert!(sent < 4 * MIB as u64, "{sent} bytes were sent by download {turn}");
    }
}

#[test]
fn a_file_with_a_number_that_has_the_content_already_is_found() {
    let content = Dice::new().bytes(100_000);
    let (_source, asker, hit) = found("report.tar", &content);
    std::fs::write(asker.downloads_directory().join("report.tar"), "mine").expect("it can be written");
    for turn in 0..3 {
        let run = pyratectl(&asker, ["--json", "download", &hit]);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(run.json()[0]["already"], turn > 0, "{run:?}");
        assert_eq!(names_in(&asker).len(), 2, "{:?}", names_in(&asker));
    }
}

#[test]
fn an_exact_path_that_is_taken_is_an_error() {
    let content = Dice::new().bytes(MIB + 5);
    let (_source, asker, hit) = found("report.tar", &content);
    let exact = asker.home().join("exact.tar");
    std::fs::write(&exact, "mine").expect("it can be written");
    let run = pyratectl(&asker, ["download", &hit, "-o", exact.to_str().expect("text")]);
    assert_eq!(run.code, 13, "{run:?}");
    assert_holds(&exact, b"mine");
    // As the error message advises.
    std::fs::remove_file(&exact).expect("it is there");
    let id = asker.rows()[0]["id"].as_u64().expect("an id");
    let run = pyratectl(&asker, ["retry", &id.to_string()]);
    assert_eq!(run.code, 0, "{run:?}");
    let done = asker.await_download(id, "done");
    assert_eq!(path_of(&done), exact);
    assert_holds(&exact, &content);
    let hidden = relative_files(asker.home()).into_iter().filter(|name| name.starts_with(b".")).count();
    assert_eq!(hidden, 0, "no part file is left beside it");
}

#[test]
fn an_exact_path_that_has_the_content_already_is_a_success() {
    let content = Dice::new().bytes(MIB + 5);
    let (source, asker, hit) = found("report.tar", &content);
    let exact = asker.home().join("exact.tar");
    std::fs::write(&exact, &content).expect("it can be written");
    let of_peer = format!("{}/report.tar", source.listen());
    for what in [&hit, &of_peer] {
        let run = pyratectl(&asker, ["download", what, "-o", exact.to_str().expect("text")]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stderr.contains("already have it"), "{run:?}");
        assert_holds(&exact, &content);
    }
    assert_eq!(source.status()["bytes_up"], 0, "nothing was fetched");
    std::fs::write(&exact, vec![b'm'; content.len()]).expect("it can be written");
    let run = pyratectl(&asker, ["download", &of_peer, "-o", exact.to_str().expect("text")]);
    assert_eq!(run.code, 13, "{run:?}");
}

#[test]
fn a_file_that_is_saved_in_the_share_is_shared_before_the_next_scan() {
    let content = Dice::new().bytes(MIB + 5);
    let source = Setup::peer().shares("dir/report.tar", &content).start();
    await_hashed(&source);
    let setup = Setup::peer().shares("mine", "m").set("filemonitor_refresh", "'1h'");
    let share = format!("'{}'", setup.share().display());
    let asker = setup.set("download_directory", &share).start();
    await_hashed(&asker);
    let run = pyratectl(&asker, ["download", &format!("{}/dir/", source.listen())]);
    assert_eq!(run.code, 0, "{run:?}");
    await_hashed(&asker);
    let names = |daemon: &Daemon| -> Vec<String> {
        daemon.pages("files", "files").iter().map(|row| row["name"].as_str().expect("text").to_owned()).collect()
    };
    until("the file is shared", LIMIT, || names(&asker).len() > 1);
    assert_eq!(names(&asker), ["dir/report.tar", "mine"]);
}

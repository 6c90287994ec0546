//! Which download a request is for, and where that is saved (pyratectl(1), `download`).

use crate::harness::{
    Daemon, Dice, Fake, GROUP, Reading, Setup, assert_verified, await_hashed, begin_hit, content_hash, find_content,
    pyratectl, relative_files, start_among, start_hashed,
};
use serde_json::json;

/// A source with a large file that it sends slowly, and a daemon that has begun to download it as download 1.
fn slow_download() -> (impl Sized, Daemon, Daemon, Vec<u8>) {
    let content = Dice::new().bytes(3 * GROUP);
    let source = start_hashed(Setup::peer().shares("a.bin", &content).set("upload_limit", "'64KiB'"));
    let (bootstrap, asker) = start_among(Setup::peer(), &[source.listen()]);
    assert_eq!(begin_hit(&asker, &find_content(&asker, "a.bin", &content, 1)), 1);
    (bootstrap, source, asker, content)
}

/// The source has replaced the file during a download, so that its name stands for another content.
#[test]
fn another_hash_of_the_same_name_is_another_download() {
    let (_bootstrap, source, asker, _) = slow_download();
    source.add_file("a.bin", "twelve bytes");
    source.rescan();
    // An earlier search would find the file without its hash.
    await_hashed(&source);
    let hit = find_content(&asker, "a.bin", b"twelve bytes", 1);
    let id = begin_hit(&asker, &hit);
    assert_ne!(id, 1);
    assert_verified(&asker.await_download(id, "done"), b"twelve bytes");
    let by_hash = format!("b3={}", content_hash(b"twelve bytes"));
    let again = asker.home().join("again");
    let run = pyratectl(&asker, ["download", &by_hash, "-o", again.to_str().expect("text"), "--json"]);
    assert_eq!((run.code, &run.json()[0]["size"]), (0, &json!(12)), "{run:?}");
    assert_ne!(asker.download(1)["state"], "done");
}

/// One download at a time: the others are queued, but a bad path does not wait for their turn.
#[test]
fn a_bad_output_path_fails_at_once_and_is_named() {
    let source = Setup::peer().shares("a", "first").shares("b", "second").set("upload_limit", "'1KiB'").start();
    let asker = Setup::peer().set("max_downloads", "1").start();
    let home = asker.home();
    std::fs::write(home.join("file"), "mine").expect("it can be written");
    let stalled = Fake::serve(Reading::Whole, |_visit| {
        loop {
            std::thread::park();
        }
    });
    asker.begin_download(stalled.addr, "busy");
    asker.await_download(1, "active");
    let what = format!("{}/b", source.listen());
    for (place, code) in [("missing/x", 17), ("file/x", 17), ("file", 13), ("file/", 17)] {
        for detach in [&[][..], &["--detach"]] {
            let path = format!("{}/{place}", home.display());
            let arguments = [&["download", what.as_str(), "-o", path.as_str(), "--json"][..], detach].concat();
            let run = pyratectl(&asker, arguments);
            assert_eq!((run.code, &run.json()[0]["state"]), (code, &json!("failed")), "{place}: {run:?}");
            let message = run.json()[0]["error"]["message"].clone();
            assert!(message.as_str().is_some_and(|text| text.contains(path.trim_end_matches('/'))), "{message}");
        }
    }
    assert!(asker.pages("downloads", "downloads").iter().all(|row| row["state"] != "paused"));
    assert_eq!(std::fs::read(home.join("file")).expect("the file"), b"mine");
    // A download with a good path is queued, and shows that path.
    let path = home.join("good");
    let path = path.to_str().expect("a path in UTF-8");
    let run = pyratectl(&asker, ["download", &what, "-o", path, "--detach", "--json"]);
    let row = &run.json()[0];
    assert_eq!((run.code, &row["state"], &row["path"]), (0, &json!("queued"), &json!(path)), "{run:?}");
}

/// Without a search by the user: the download searches.
#[test]
fn a_content_is_found_by_its_hash_alone() {
    let content = Dice::new().bytes(2 * GROUP + 5);
    let source = start_hashed(Setup::peer().shares("dir/a.bin", &content));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.listen()]);
    let run = pyratectl(&asker, ["download", &format!("b3={}", content_hash(&content)), "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let done = &run.json()[0];
    assert_verified(done, &content);
    assert_eq!(done["name"], "dir/a.bin");
    assert_eq!(done["path"].as_str(), asker.downloads_directory().join("a.bin").to_str());
}

#[test]
fn a_content_without_a_source_is_searched_for_also_after_a_restart() {
    let content = Dice::new().bytes(GROUP);
    let bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let mut asker = Setup::peer().joins(&[at]).start();
    let wanted = format!("b3={}", content_hash(&content));
    let path = asker.home().join("got.bin");
    let run = pyratectl(&asker, ["--timeout", "1s", "download", &wanted, "-o", path.to_str().expect("text")]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("no source is known, and no neighbour to ask"), "{run:?}");
    assert_eq!(asker.download(1)["state"], "retrying");
    asker.stop();
    asker.start_again();
    let source = start_hashed(Setup::peer().joins(&[at]).shares("its name", &content));
    asker.await_neighbour(source.listen());
    // So that the test does not wait for the next attempt.
    asker.call("retry", json!({ "ids": "1" }));
    let done = asker.await_download(1, "done");
    assert_verified(&done, &content);
    assert!(done["path"].as_str().is_some_and(|path| path.ends_with("/got.bin")), "{done}");
}

#[test]
fn a_content_in_progress_is_not_saved_to_a_second_place() {
    let (_bootstrap, _source, asker, content) = slow_download();
    let hit = find_content(&asker, "a.bin", &content, 1)["id"].to_string();
    let by_hash = format!("b3={}", content_hash(&content));
    let (file, directory) = (asker.home().join("elsewhere"), asker.home().join("made/"));
    for (what, place) in [(&hit, &file), (&by_hash, &file), (&hit, &directory)] {
        let place = place.to_str().expect("a path in UTF-8");
        let run = pyratectl(&asker, ["download", what, "-o", place]);
        assert_eq!(run.code, 13, "{run:?}");
        let path = asker.downloads_directory().join("a.bin");
        assert!(run.stderr.contains("download 1 ") && run.stderr.contains(path.to_str().expect("text")), "{run:?}");
    }
    assert_eq!(asker.pages("downloads", "downloads").len(), 1);
    assert!(!relative_files(asker.home()).iter().any(|name| name.starts_with(b"made") || *name == b"elsewhere"));
    // The directory that it is saved to anyway is no second place.
    let here = asker.downloads_directory();
    let run = pyratectl(&asker, ["download", &hit, "--detach", "--json", "-o", here.to_str().expect("text")]);
    assert_eq!((run.code, &run.json()[0]["id"]), (0, &json!(1)), "{run:?}");
    asker.call("cancel", json!({ "ids": "1" }));
}

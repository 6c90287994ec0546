//! What a user asks for: which download it is, and where it is saved (pyratectl(1), `download`).

use crate::harness::{
    Daemon, Dice, GROUP, Setup, assert_verified, begin_hit, content_hash, find_content, pyratectl, relative_files,
    start_among, start_hashed,
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

/// The source has replaced a file under a download: its name does not stand for the old content any more.
#[test]
fn another_hash_of_the_same_name_is_another_download() {
    let (_bootstrap, source, asker, _) = slow_download();
    source.add_file("a.bin", "twelve bytes");
    source.rescan();
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
    // Where it is saved anyway it is the same download.
    let here = asker.downloads_directory();
    let run = pyratectl(&asker, ["download", &hit, "--detach", "--json", "-o", here.to_str().expect("text")]);
    assert_eq!((run.code, &run.json()[0]["id"]), (0, &json!(1)), "{run:?}");
    asker.call("cancel", json!({ "ids": "1" }));
}

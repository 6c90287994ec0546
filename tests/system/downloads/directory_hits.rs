//! Directories that a search has found, by the ids of their hits (pyratectl(1), `search`).

use crate::harness::{
    Daemon, Dice, Framing, LIMIT, Manners, P1Peer, Setup, await_hashed, deliver, pause, pyratectl, relative_files,
    search_fields, start_among, until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A bootstrap node, a peer that shares so many files in `music/Live 1999/` and one beside it, and a peer that knows it.
fn with_files(dice: &mut Dice, files: usize, bytes: usize) -> ([Daemon; 3], BTreeMap<Vec<u8>, Vec<u8>>) {
    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let mut contents = BTreeMap::new();
    let mut setup = Setup::peer().joins(&at).shares("music/Live at home.bin", "not in it");
    for number in 0..files {
        let (name, content) = (format!("CD {}/{number:02}.bin", number % 2 + 1), dice.bytes(bytes));
        setup = setup.shares(format!("music/Live 1999/{name}"), &content);
        contents.insert(format!("Live 1999/{name}").into_bytes(), content);
    }
    let source = setup.start();
    await_hashed(&source);
    let asker = Setup::peer().joins(&at).start();
    asker.await_neighbour(source.listen());
    ([bootstrap, source, asker], contents)
}

/// The hit that is a directory with so many files.
fn directory_of(rows: &[Value], files: usize) -> Option<&Value> {
    rows.iter().find(|row| row["directory"]["files"] == files)
}

#[test]
fn a_directory_that_was_found_is_one_download_over_kills() {
    let mut dice = Dice::replayed_by("PYRATE_CRASH_SEED");
    let ([_bootstrap, mut source, mut asker], contents) = with_files(&mut dice, 10, 1 << 20);
    let rows = asker.search_until("live", |rows| directory_of(rows, 10).is_some());
    let hit = directory_of(&rows, 10).expect("it is there");
    assert_eq!((&hit["name"], &hit["sources"]), (&json!("music/Live 1999/"), &json!([source.listen()])));
    assert_eq!((&hit["directory"]["bytes"], &hit["size"], &hit["b3"]), (&json!(10 << 20), &Value::Null, &Value::Null));
    assert_eq!(rows.len(), 12, "its files, the one beside it, and the directory: {rows:?}");
    let id = hit["id"].to_string();
    let link = pyratectl(&asker, ["link", &id]).stdout;
    assert!(link.contains("name=music%2FLive%201999%2F&peer="), "{link}");
    assert_eq!(link, pyratectl(&asker, ["link", &format!("{}/music/Live 1999/", source.listen())]).stdout);

    source.reconfigure("upload_limit", &(4 << 20).to_string());
    source.call("reload", Value::Null);
    let begun = pyratectl(&asker, ["--json", "download", "--detach", &id]).json();
    assert_eq!((begun.as_array().map(Vec::len), &begun[0]["name"]), (Some(1), &json!("music/Live 1999/")));
    let id = begun[0]["id"].as_u64().expect("an id");
    for _ in 0..4 {
        pause(Duration::from_millis(dice.below(500)));
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
    }
    until("it is done", LIMIT, || asker.pages("downloads", "downloads").iter().all(|row| row["state"] == "done"));
    let mut log = Value::Null;
    until("its end is on the disk", LIMIT, || {
        log = asker.call("event_log", json!({ "since": 0 }));
        log["events"].as_array().is_some_and(|events| events.len() > 1)
    });
    let events = log["events"].as_array().expect("events").iter();
    let events: Vec<_> = events.map(|event| (&event["event"], &event["download"], &event["name"])).collect();
    let (id, name) = (json!(id), json!("music/Live 1999/"));
    assert_eq!(events, [(&json!("begun"), &id, &name), (&json!("done"), &id, &name)], "each once");
    let root = asker.downloads_directory();
    assert_eq!(relative_files(&root), contents.keys().cloned().collect());
    for (name, content) in contents {
        let path = root.join(std::str::from_utf8(&name).expect("our names are text"));
        assert!(std::fs::read(&path).expect("it is there") == content, "{}", path.display());
    }
}

#[test]
fn a_peer_of_it_is_killed_and_the_other_sends_the_rest() {
    let mut dice = Dice::replayed_by("PYRATE_CRASH_SEED");
    let ([bootstrap, source, asker], contents) = with_files(&mut dice, 20, 1 << 20);
    let mut other = Setup::peer().joins(&[bootstrap.bootstrap_addr()]);
    for (name, content) in &contents {
        other = other.shares(format!("music/{}", std::str::from_utf8(name).expect("our names are text")), content);
    }
    let other = other.start();
    await_hashed(&other);
    asker.await_neighbour(other.listen());
    let both = |row: &Value| row["sources"].as_array().is_some_and(|sources| sources.len() == 2);
    let rows = asker.search_until("live", |rows| directory_of(rows, 20).is_some_and(both));
    let hit = directory_of(&rows, 20).expect("it is there");
    let mut sources = [source, other];
    for source in &mut sources {
        source.reconfigure("upload_limit", &(4 << 20).to_string());
        source.call("reload", Value::Null);
    }
    let first = sources.iter_mut().find(|source| hit["sources"][0] == json!(source.listen())).expect("one of them");
    let begun = pyratectl(&asker, ["--json", "download", "--detach", &hit["id"].to_string()]).json();
    let row = || asker.pages("downloads", "downloads").remove(0);
    assert_eq!(begun[0]["id"], row()["id"]);
    until("some of it is there", LIMIT, || row()["bytes_done"].as_u64() > Some(0));
    pause(Duration::from_millis(dice.below(1500)));
    first.end_by(Signal::SIGKILL);
    until("it is done", LIMIT, || row()["state"] == "done");
    assert_eq!((&row()["verified"], &row()["directory"]["files_done"]), (&json!(true), &json!(20)));
    let root = asker.downloads_directory();
    for (name, content) in contents {
        let path = root.join(std::str::from_utf8(&name).expect("our names are text"));
        assert!(std::fs::read(&path).expect("it is there") == content, "{}", path.display());
    }
}

#[test]
fn its_manifest_comes_from_its_peer() {
    let ([_bootstrap, mut source, asker], _) = with_files(&mut Dice::new(), 3, 1000);
    let rows = asker.search_until("live", |rows| directory_of(rows, 3).is_some());
    let id = directory_of(&rows, 3).expect("it is there")["id"].to_string();
    let place = asker.downloads_directory().join("live.manifest");
    let place = place.to_str().expect("a path in UTF-8");
    let own = pyratectl(&source, ["manifest", "music/Live 1999/"]);
    let asked = pyratectl(&asker, ["manifest", &id, "-o", place]);
    assert_eq!((own.code, asked.code), (0, 0), "{own:?} {asked:?}");
    assert_eq!(std::fs::read_to_string(place).expect("it is there"), own.stdout);
    let begun = pyratectl(&asker, ["--json", "download", "--manifest", place]).json();
    assert_eq!((&begun[0]["state"], &begun[0]["directory"]["files"]), (&json!("done"), &json!(3)), "{begun}");
    let file = rows.iter().find(|row| row["directory"].is_null()).expect("a file");
    assert_eq!(pyratectl(&asker, ["manifest", &file["id"].to_string()]).code, 28);
    source.end_by(Signal::SIGKILL);
    let failed = pyratectl(&asker, ["manifest", &id]);
    assert!(failed.code == 6 && failed.stderr.contains("connection refused"), "{failed:?}");
}

#[test]
fn all_fetches_the_files_that_were_found_and_none_twice() {
    let ([_bootstrap, _source, asker], contents) = with_files(&mut Dice::new(), 4, 1000);
    asker.search_until("live", |rows| directory_of(rows, 4).is_some());
    let rows = pyratectl(&asker, ["--json", "download", "all"]).json();
    let rows = rows.as_array().expect("rows").clone();
    assert_eq!(rows.len(), contents.len() + 1, "{rows:?}");
    assert!(rows.iter().all(|row| row["directory"].is_null() && row["state"] == "done"), "{rows:?}");
}

#[test]
fn a_directory_of_a_base_peer_is_found_and_taken_from_its_list() {
    let peer = P1Peer::sharing("tree/a.bin", b"one", Manners { base: true, hashed: false, ..Manners::default() });
    peer.add("tree/b.bin", b"two");
    peer.add("tree/sub/c.bin", b"three");
    peer.add("other.bin", b"not in it");
    let (_bootstrap, asker) = start_among(Setup::peer(), &[peer.addr]);
    let begun = asker.call("search", json!({ "text": "tree" }));
    until("it is asked", LIMIT, || !peer.asked("6:").is_empty());
    let (query, ..) = search_fields(&peer.asked("6:")[0]).expect("a search");
    for name in ["tree/a.bin", "tree/b.bin", "tree/sub/c.bin"] {
        let hit = format!("7:{query}:127.0.0.1:{}:{name}", peer.addr.port());
        deliver(asker.listen(), hit.as_bytes(), Framing::Fin);
    }
    let mut rows = Vec::new();
    until("all are hits", LIMIT, || {
        let page = asker.call("hits", json!({ "search": begun["search"] }));
        rows = page["hits"].as_array().expect("rows").clone();
        directory_of(&rows, 3).is_some()
    });
    let hit = directory_of(&rows, 3).expect("it is there");
    assert_eq!((&hit["name"], &hit["directory"]["bytes"]), (&json!("tree/"), &Value::Null));
    let row = &pyratectl(&asker, ["--json", "download", &hit["id"].to_string()]).json()[0];
    assert_eq!((&row["state"], &row["directory"]["files"]), (&json!("done"), &json!(3)), "{row}");
    let saved = relative_files(&asker.downloads_directory());
    assert_eq!(saved, ["tree/a.bin", "tree/b.bin", "tree/sub/c.bin"].map(|name| name.as_bytes().to_vec()).into());
    assert!(peer.asked("9:").is_empty(), "{:?}", peer.asked(""));
}

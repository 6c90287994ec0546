//! Several shares: names, one that is missing, and nothing twice.

use crate::harness::{
    Answer, Daemon, Framing, LIMIT, Setup, ask, await_hashed, fetch, fetch_reset, lines, pyratectl, relative_files,
    run_pyrated, until,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn listed(peer: SocketAddr) -> BTreeSet<String> {
    let Answer { bytes, .. } = ask(peer, b"5:", Framing::Fin);
    lines(&bytes).into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Makes a directory with a file in it.
fn directory(path: &Path, file: &str, content: &str) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::write(path.join(file), content).unwrap();
}

fn table(path: &Path, name: &str, more: &str) -> String {
    format!("{{ path = '{}', name = '{name}'{more} }}", path.display())
}

#[test]
fn the_files_of_each_share_have_its_name_and_one_that_is_missing_harms_no_other() {
    let setup = Setup::peer().shares("a", "a").shares("music/hidden by the name", "x");
    let (home, share) = (setup.home().to_owned(), setup.share());
    let [music, films] = ["data/music", "data/films"].map(|path| home.join(path));
    directory(&music, "song", "la la");
    directory(&films, "film", "a film");
    symlink("../data/films", share.join("to films")).unwrap();
    symlink("../films/film", music.join("same film")).unwrap();
    symlink("../../share", music.join("all")).unwrap();
    symlink("../more", music.join("more")).unwrap();
    directory(&home.join("data/more"), "b", "b");
    let tables = [table(&music, "music", ", follow_symlinks = true"), table(&films, "my films", "")];
    let peer = setup.set("share", &format!("[{}]", tables.join(", "))).set("follow_symlinks", "true").start();
    let all = names(&["a", "music/song", "music/more/b", "my films/film"]);
    assert_eq!(listed(peer.listen()), all);
    assert_eq!(fetch(peer.listen(), b"music/song"), b"la la");
    assert_eq!(fetch(peer.listen(), b"music/more/b"), b"b");
    assert_eq!(fetch(peer.listen(), b"my films/film"), b"a film");
    assert_eq!(fetch(peer.listen(), b"a"), b"a");
    for name in
        ["music/hidden by the name", "my films/../music/song", "music/", "music//song", "music/all/a", "to films/film"]
    {
        assert!(fetch_reset(peer.listen(), name.as_bytes()), "{name}");
    }
    let left_out = pyratectl(&peer, ["files", "--left-out"]).stdout;
    let taken = |line: &str| line.starts_with("music ") && line.ends_with("a further share has this name");
    assert!(left_out.lines().any(taken), "{left_out}");
    for name in ["music/all", "music/same film", "to films"] {
        assert!(
            left_out.lines().any(|line| line.starts_with(name) && line.contains("shared under another name")),
            "{left_out}"
        );
    }
    until("all are hashed", LIMIT, || peer.status()["unhashed_files"] == 0);

    std::fs::rename(&films, home.join("unmounted")).unwrap();
    std::fs::write(share.join("new"), "new").unwrap();
    std::fs::remove_file(music.join("song")).unwrap();
    peer.rescan();
    assert_eq!(
        listed(peer.listen()),
        names(&["a", "new", "music/more/b", "my films/film"]),
        "a missing share keeps its files"
    );
    assert!(fetch_reset(peer.listen(), b"my films/film"));
    std::fs::rename(home.join("unmounted"), &films).unwrap();
    std::fs::rename(&share, home.join("unmounted")).unwrap();
    std::fs::write(films.join("other"), "other").unwrap();
    std::fs::remove_file(films.join("film")).unwrap();
    peer.rescan();
    let without = names(&["a", "new", "music/more/b", "my films/other"]);
    assert_eq!(listed(peer.listen()), without, "the one without a name too");
    assert_eq!(fetch(peer.listen(), b"my films/other"), b"other");
}

/// The rows of `shares`: name, state and number of files.
fn rows(peer: &Daemon) -> Vec<(String, String, Option<u64>)> {
    let run = pyratectl(peer, ["shares", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let rows: Vec<Value> = serde_json::from_str(&run.stdout).expect("a list of shares");
    let text = |row: &Value, key: &str| row[key].as_str().expect("a text").to_owned();
    rows.iter().map(|row| (text(row, "name"), text(row, "state"), row["files"].as_u64())).collect()
}

/// A further share that cannot be read is told as `local_directory` is.
#[test]
fn a_further_share_that_vanishes_is_told_wherever_shares_are() {
    let setup = Setup::peer().shares("a", "a");
    let [music, films] = ["music", "films"].map(|path| setup.home().join(path));
    ["one", "two"].iter().for_each(|file| directory(&music, file, "la la"));
    directory(&films, "film", "a film");
    let tables = [table(&music, "music", ", audience = ['10.0.0.0/8']"), table(&films, "films", "")];
    let mut peer = setup.set("share", &format!("[{}]", tables.join(", "))).start();
    let shared = |name: &str, files| (name.to_owned(), "shared".to_owned(), Some(files));
    until("all are scanned", LIMIT, || rows(&peer) == [shared("", 1), shared("films", 1), shared("music", 2)]);
    let run = pyratectl(&peer, ["shares"]);
    assert!(run.code == 0 && run.stderr.is_empty() && run.stdout.contains("10.0.0.0/8"), "{run:?}");

    std::fs::rename(&music, peer.home().join("unmounted")).unwrap();
    let told = |rest: &str| {
        format!("cannot read the share \"music\", '{}': no such file or directory; {rest}", music.display())
    };
    let kept = told("its files found before stay listed");
    let run = pyratectl(&peer, ["rescan"]);
    assert!(run.code == 17 && run.stderr.contains(&kept), "{run:?}");
    for command in ["status", "files", "shares"] {
        let run = pyratectl(&peer, [command]);
        assert!(run.code == 0 && (run.stdout + &run.stderr).contains(&kept), "{command}");
    }
    peer.await_log(&kept);
    assert_eq!(peer.status()["share_error"]["code"], 17);
    let unreadable = |files| ("music".to_owned(), "unreadable".to_owned(), files);
    assert_eq!(rows(&peer), [shared("", 1), shared("films", 1), unreadable(Some(2))]);

    peer.stop();
    peer.start_again();
    until("the others are scanned", LIMIT, || rows(&peer)[..2] == [shared("", 1), shared("films", 1)]);
    assert_eq!(rows(&peer)[2], unreadable(None));
    assert_eq!(peer.status()["share_error"]["message"], told("nothing of it is shared until it can be read"));

    std::fs::rename(peer.home().join("unmounted"), &music).unwrap();
    assert_eq!(pyratectl(&peer, ["rescan"]).code, 0);
    assert_eq!(rows(&peer)[2], shared("music", 2));
    assert!(peer.status()["share_error"].is_null());
}

#[test]
fn a_directory_of_a_share_is_downloaded_with_its_empty_directories_and_executable_files() {
    let setup = Setup::peer().shares("a", "a").shares("music/hidden by the name", "x");
    let music = setup.home().join("data/music");
    directory(&music.join("live"), "song", "la la");
    directory(&music, "play", "#!/bin/sh\n");
    std::fs::set_permissions(music.join("play"), Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(music.join("live/to come")).unwrap();
    std::fs::create_dir(setup.share().join("music/empty")).unwrap();
    let source = setup.set("share", &format!("[{}]", table(&music, "music", ""))).start();
    await_hashed(&source);
    let asker = Setup::peer().start();
    for (name, files) in [("music/", 2), ("music/live/", 1), ("music/live/to come/", 0)] {
        let of = format!("{}/{name}", source.listen());
        let row = &pyratectl(&asker, ["--json", "download", &of]).json()[0];
        assert_eq!((&row["state"], &row["directory"]["files"]), (&json!("done"), &json!(files)), "{row}");
    }
    let saved = asker.downloads_directory().join("music");
    let of = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<BTreeSet<_>>();
    assert_eq!(relative_files(&saved), of(&["live/song", "play"]));
    assert!(saved.join("live/to come").is_dir() && !saved.join("empty").exists());
    let is_executable = |name: &str| std::fs::metadata(saved.join(name)).unwrap().permissions().mode() & 0o100 != 0;
    assert!(is_executable("play") && !is_executable("live/song"));
    let hidden = format!("{}/music/empty/", source.listen());
    assert_eq!(pyratectl(&asker, ["download", &hidden]).code, 3);
}

#[test]
fn shares_inside_of_each_other_and_missing_ones_are_refused_by_a_check() {
    for (path, name, problem) in [
        (
            "share/sub",
            "sub",
            "are the same, or one is inside of the other; nothing is shared twice: name another directory",
        ),
        ("", "all", "are the same, or one is inside of the other"),
        ("missing", "missing", "no such directory; create it"),
        ("state", "state", "it is the state directory too, which is never shared"),
    ] {
        let setup = Setup::peer().shares("sub/file", "x");
        let table = table(&setup.home().join(path), name, "");
        let setup = setup.set("share", &format!("[{table}]"));
        let config = setup.write_config().display().to_string();
        let (code, said) = run_pyrated(["--config", &config, "--check"]);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(": share: ") && said.contains(problem), "{path}: {said}");
    }
}

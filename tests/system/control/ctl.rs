//! `pyratectl` against real daemons: what scripts see (pyratectl(1)).

use crate::harness::{Daemon, Dice, Fake, LIMIT, Reading, Setup, content_hash, free_port, pyratectl, until};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A bootstrap node, a source and an asker that know each other.
fn network(source: Setup) -> (Daemon, Daemon, Daemon) {
    let bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let source = source.joins(&[at]).start();
    let asker = Setup::peer().joins(&[at]).start();
    asker.await_neighbour(source.listen());
    (bootstrap, source, asker)
}

#[test]
fn a_newcomers_session() {
    let (bootstrap, source, asker) = network(Setup::peer().shares("talks/hello world.txt", "hello"));
    let status = pyratectl(&asker, ["status", "--json"]);
    assert_eq!((status.code, &status.json()["listen"]), (0, &json!(asker.listen())), "{status:?}");
    let peers = pyratectl(&asker, ["peers", "--json"]);
    assert_eq!((peers.code, &peers.json()[0]["addr"]), (0, &json!(source.listen())));
    let found = pyratectl(&asker, ["search", "hello", "world", "--wait", "3s", "--json"]);
    let hits = found.json();
    assert_eq!(found.code, 0, "{found:?}");
    assert_eq!((&hits[0]["name"], &hits[0]["size"]), (&json!("talks/hello world.txt"), &json!(5)));
    let again = pyratectl(&asker, ["hits", "--json"]);
    assert_eq!((again.code, again.json()), (0, hits.clone()));
    let fetched = pyratectl(&asker, ["download", &hits[0]["id"].to_string(), "--json"]);
    assert_eq!(fetched.code, 0, "{fetched:?}");
    assert_eq!(std::fs::read(asker.downloads_directory().join("hello world.txt")).expect("the file"), b"hello");
    let all = pyratectl(&asker, ["downloads", "--json"]);
    assert_eq!((all.code, &all.json()[0]["state"]), (0, &json!("done")));
    let files = pyratectl(&source, ["files", "--json"]);
    assert_eq!(files.json()[0]["name"], "talks/hello world.txt");
    let served = pyratectl(&bootstrap, ["bootstrap", "--json"]);
    assert_eq!((served.code, &served.json()["registry"]["count"]), (0, &json!(2)));
}

#[test]
fn a_search_matches_what_people_see() {
    let names = ["Cafe\u{301} Björk.ogg", "café live.ogg", "ac-dc.mp3", "ΟΔΟΣ.txt"];
    let setup = names.iter().fold(Setup::peer(), |setup, name| setup.shares(name, *name));
    let (_bootstrap, _source, asker) = network(setup);
    let found = |words: &[&str]| {
        let run = pyratectl(&asker, [&["search", "--wait", "10s", "--ttl", "1", "--json"], words].concat());
        assert_eq!(run.code, 0, "{words:?} {run:?}");
        let rows = run.json();
        let mut names: Vec<String> = rows.as_array().expect("rows").iter().map(|row| row["name"].to_string()).collect();
        names.sort();
        names
    };
    let quoted = |names: &[&str]| names.iter().map(|name| json!(name).to_string()).collect::<Vec<_>>();
    assert_eq!(found(&["café"]), quoted(&names[..2]));
    assert_eq!(found(&["BJORK"]), quoted(&names[..1]));
    assert_eq!(found(&["cafe", "-live"]), quoted(&names[..1]));
    assert_eq!(found(&["\"cafe live\""]), quoted(&names[1..2]));
    assert_eq!(found(&["AC/DC"]), quoted(&names[2..3]));
    assert_eq!(found(&["οδός"]), quoted(&names[3..]));
    assert_eq!(found(&["*.mp3"]), quoted(&names[2..3]));
    let short = pyratectl(&asker, ["search", "a", "--wait", "0"]);
    assert!(short.code == 0 && short.stderr.contains("'a' is too short"), "{short:?}");
    let none = pyratectl(&asker, ["search", "-live"]);
    assert!(none.code == 28 && none.stderr.contains("needs a word"), "{none:?}");
}

#[test]
fn a_download_goes_into_a_directory_that_it_makes_or_to_the_standard_output() {
    let source = Setup::peer().shares("dir/a.txt", "some text\n").shares("b", "b").start();
    let asker = Setup::peer().start();
    let wanted = format!("{}/dir/a.txt", source.listen());
    let made = asker.home().join("made/deep/");
    let run = pyratectl(&asker, [OsStr::new("download"), wanted.as_ref(), "-o".as_ref(), made.as_os_str()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(std::fs::read(made.join("a.txt")).expect("the file"), b"some text\n");

    let other = format!("{}/b", source.listen());
    let piped = pyratectl(&asker, ["download", &other, "-o", "-"]);
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "b"), "{piped:?}");
    let again = pyratectl(&asker, ["download", &other, "-o", "-"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "b"), "what is there already: {again:?}");
    let missing = pyratectl(&asker, ["download", &format!("{}/none", source.listen()), "-o", "-"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (3, ""), "{missing:?}");
    let several = pyratectl(&asker, ["download", &wanted, &other, "-o", "-"]);
    assert_eq!((several.code, several.stdout.as_str()), (28, ""), "{several:?}");
}

#[test]
fn no_command_means_status() {
    let peer = Setup::peer().start();
    let bare = pyratectl(&peer, ["--json"]);
    assert_eq!((bare.code, &bare.json()["listen"]), (0, &json!(peer.listen())), "{bare:?}");
    let text = pyratectl(&peer, [] as [&str; 0]);
    assert!(text.code == 0 && text.stdout.contains(&peer.listen().to_string()), "{text:?}");
}

#[test]
fn a_list_and_a_download_by_peer_and_name() {
    let source = Setup::peer().shares("a/b c.txt", "abc").shares("other", "x").start();
    let asker = Setup::peer().start();
    let at = source.listen().to_string();
    let listed = pyratectl(&asker, ["list", &at, "--json"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let mut names: Vec<String> =
        listed.json().as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("text").into()).collect();
    names.sort();
    assert_eq!(names, ["a/b c.txt", "other"]);
    let target = asker.home().join("target.txt");
    let wanted = format!("{at}/a/b c.txt");
    let run = || pyratectl(&asker, [OsStr::new("download"), wanted.as_ref(), "-o".as_ref(), target.as_os_str()]);
    let first = run();
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(std::fs::read(&target).expect("the file"), b"abc");
    std::fs::write(&target, "mine").expect("it can be written");
    let second = run();
    assert_eq!(second.code, 13, "{second:?}");
    assert_eq!(std::fs::read(&target).expect("the file"), b"mine");
}

#[test]
fn a_download_of_bytes_that_are_no_text() {
    let name = b"caf\xe9.txt";
    let mut dice = Dice::new();
    let content = dice.bytes(100_000);
    let source = Setup::peer().shares(name, &content).start();
    let asker = Setup::peer().start();
    let mut wanted = format!("{}/", source.listen()).into_bytes();
    wanted.extend_from_slice(name);
    let run = pyratectl(&asker, [OsString::from("download"), OsString::from_vec(wanted)]);
    assert_eq!(run.code, 0, "{run:?}");
    let path = asker.downloads_directory().join(OsStr::from_bytes(name));
    assert!(std::fs::read(path).expect("the file") == content);
    let shown = pyratectl(&source, ["files"]);
    assert!(shown.stdout.contains("caf\\xe9.txt"), "{shown:?}");
}

#[test]
fn exit_codes_tell_what_happened() {
    let (_bootstrap, source, asker) = network(Setup::peer().shares("file.txt", "x"));
    let nothing = pyratectl(&asker, ["search", "no such file anywhere", "--wait", "1s"]);
    assert_eq!(nothing.code, 3, "{nothing:?}");
    let missing = pyratectl(&asker, ["download", &format!("{}/missing.txt", source.listen())]);
    assert_eq!(missing.code, 3, "{missing:?}");
    let unknown = pyratectl(&asker, ["download", "999"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    let usage = pyratectl(&asker, ["frobnicate"]);
    assert_eq!(usage.code, 28, "{usage:?}");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let waiting = pyratectl(&asker, ["--timeout", "2s", "download", &format!("{nowhere}/nobody has it.txt")]);
    assert_eq!(waiting.code, 2, "{waiting:?}");
    let goes_on = asker.pages("downloads", "downloads");
    let row = goes_on.iter().find(|row| row["sources"] == json!([nowhere])).expect("it is remembered");
    assert!(row["state"] == "retrying" || row["state"] == "active", "the download goes on: {row}");
    let unreachable = pyratectl(&asker, ["list", &nowhere.to_string()]);
    assert_eq!(unreachable.code, 6, "{unreachable:?}");
}

#[test]
fn no_daemon_is_told_with_the_socket_and_what_to_do() {
    let mut peer = Setup::peer().start();
    peer.stop();
    let run = pyratectl(&peer, ["status"]);
    assert_eq!(run.code, 69, "{run:?}");
    assert!(run.stderr.contains("control.sock") && run.stderr.contains("pyrated"), "{run:?}");
    let json = pyratectl(&peer, ["status", "--json"]);
    assert_eq!((json.code, &json.json()["error"]["code"]), (69, &json!(69)), "errors are JSON, too");
}

#[test]
fn a_detached_download_goes_on_without_us() {
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let open = std::sync::Arc::clone(&gate);
    let source = Fake::serve(Reading::Whole, move |mut visit| {
        until("the gate opens", LIMIT, || open.load(std::sync::atomic::Ordering::SeqCst));
        let _ = visit.stream.write_all(b"content");
    });
    let asker = Setup::peer().start();
    let run = pyratectl(&asker, ["download", "--detach", "--json", &format!("{}/file.txt", source.addr)]);
    assert_eq!(run.code, 0, "{run:?}");
    gate.store(true, std::sync::atomic::Ordering::SeqCst);
    let id = asker.pages("downloads", "downloads")[0]["id"].as_u64().expect("an id");
    asker.await_download(id, "done");
}

#[test]
fn nasty_names_reach_no_terminal() {
    // A base peer whose list holds what a terminal would obey.
    let source = Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all("plain.txt\nti\u{9b}31mtle\nrev\u{202e}txt.exe\nsp\u{200b}ace\n".as_bytes());
    });
    let asker = Setup::peer().start();
    for arguments in [&["list"][..], &["--terse", "list"]] {
        let at = source.addr.to_string();
        let run = pyratectl(&asker, arguments.iter().copied().chain([at.as_str()]));
        assert_eq!(run.code, 0, "{run:?}");
        let dangerous = |c: char| (c.is_control() && c != '\n' && c != '\t') || "\u{202e}\u{200b}".contains(c);
        assert!(!run.stdout.contains(dangerous) && !run.stderr.contains(dangerous), "{run:?}");
        assert!(run.stdout.contains("\\u{202e}"), "they are shown escaped: {run:?}");
    }
}

#[test]
fn terse_tables_are_tab_separated() {
    let setup = Setup::peer().shares("a.txt", "1").shares("b with space.txt", "22");
    let unhashed = std::fs::File::create(setup.share().join("c")).expect("a fresh file");
    unhashed.set_len(1 << 40).expect("a sparse file");
    let peer = setup.start();
    until("the small ones are hashed", LIMIT, || peer.status()["unhashed_files"] == 1);
    let run = pyratectl(&peer, ["--terse", "files"]);
    assert_eq!(run.code, 0, "{run:?}");
    let rows: Vec<Vec<&str>> = run.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 4, "a header and three rows: {run:?}");
    let name = rows[0].iter().position(|column| *column == "name").expect("a column of names");
    let size = rows[0].iter().position(|column| *column == "size").expect("a column of sizes");
    let b3 = rows[0].iter().position(|column| *column == "b3").expect("a column of hashes");
    assert_eq!((rows[1][name], rows[1][size], rows[1][b3]), ("a.txt", "1", &content_hash(b"1")[..]));
    assert_eq!((rows[2][name], rows[2][size]), ("b with space.txt", "2"), "two bytes");
    assert_eq!((rows[3][name], rows[3][size], rows[3][b3]), ("c", "1099511627776", "-"), "unknown is -");
}

#[test]
fn rescan_reload_log_level_cancel_and_stop() {
    let mut peer = Setup::peer().start();
    peer.add_file("new.txt", "x");
    let rescan = pyratectl(&peer, ["rescan"]);
    assert_eq!(rescan.code, 0, "{rescan:?}");
    until("the new file is shared", LIMIT, || peer.status()["shared_files"] == 1);
    for arguments in [&["reload"][..], &["log-level", "trace"]] {
        let run = pyratectl(&peer, arguments);
        assert_eq!(run.code, 0, "{arguments:?} {run:?}");
    }
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let id = peer.begin_download(nowhere, "never.txt");
    let cancel = pyratectl(&peer, ["cancel", &id.to_string()]);
    assert_eq!(cancel.code, 0, "{cancel:?}");
    peer.await_download(id, "cancelled");
    let watch = crate::harness::Stopwatch::start();
    let stop = pyratectl(&peer, ["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", peer.pid())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "it has gone, but for what its parent has to take: {stat}");
    assert_eq!(peer.wait_end(watch).code, Some(0));
}

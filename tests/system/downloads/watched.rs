//! The watched directory: files with links, each begun once, over kills and hostile files (pyrated(8), WATCHED DIRECTORY).

use crate::harness::{Daemon, Dice, LIMIT, Setup, await_hashed, pyratectl, until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A daemon that watches a directory beside its share.
fn watching() -> (Daemon, PathBuf) {
    let setup = Setup::peer();
    let directory = setup.home().join("watched");
    fs::create_dir(&directory).expect("a directory");
    let setup = setup.set("watch_directory", &format!("'{}'", directory.display())).set("sandbox", "true");
    (setup.start(), directory)
}

/// A source, and links to its files.
fn source(contents: &[(&str, &[u8])]) -> (Daemon, Vec<String>) {
    let setup = contents.iter().fold(Setup::peer(), |setup, (name, content)| setup.shares(name, content));
    let source = setup.start();
    await_hashed(&source);
    let names = contents.iter().map(|(name, _)| format!("./{name}"));
    let run = pyratectl(&source, ["link".to_owned()].into_iter().chain(names));
    assert_eq!(run.code, 0, "{run:?}");
    let links = run.stdout.lines().map(str::to_owned).collect();
    (source, links)
}

/// Puts a file there as a program does that moves it when it is complete.
fn put(directory: &Path, name: &str, content: &str) {
    let beside = directory.join(format!(".{name}.tmp"));
    fs::write(&beside, content).expect("the directory can be written to");
    fs::rename(beside, directory.join(name)).expect("a rename");
}

fn until_there(path: &Path) {
    until(&format!("{} is there", path.display()), LIMIT, || path.symlink_metadata().is_ok());
}

#[test]
fn links_are_downloaded_and_their_file_is_renamed() {
    let content = Dice::new().bytes(3 << 20);
    let (_source, links) = source(&[("dir/a b.bin", &content), ("b.txt", b"short")]);
    let (asker, directory) = watching();
    put(&directory, "two.pyrate", &format!("# two\n\n{}\r\n{}\n", links[0], links[1]));
    until_there(&directory.join("two.pyrate.added"));
    for id in 1..=2 {
        asker.await_download(id, "done");
    }
    assert!(fs::read(asker.downloads_directory().join("a b.bin")).expect("it is there") == content);
    // What a program writes and closes is taken as well. It begins nothing again.
    fs::write(directory.join("again.pyrate"), &links[1]).expect("it can be written");
    until_there(&directory.join("again.pyrate.added"));
    assert_eq!(asker.pages("downloads", "downloads").len(), 2);
    let watch = &asker.status()["watch"];
    assert_eq!((&watch["added"], &watch["failed"], &watch["error"]), (&json!(2), &json!(0), &json!(null)));
    let shown = pyratectl(&asker, ["status"]).stdout;
    assert!(shown.contains(&format!("Watching   {}, 2 files added, 0 set aside\n", directory.display())), "{shown}");
}

#[test]
fn a_bad_file_begins_nothing_and_is_set_aside_with_the_reason_in_the_log() {
    let (_source, links) = source(&[("a.txt", b"a")]);
    let (asker, directory) = watching();
    put(&directory, "bad.pyrate", &format!("{}\npyrate:b3=12\n", links[0]));
    until_there(&directory.join("bad.pyrate.failed"));
    asker.await_log("line 2: b3= is followed by 64 hex digits");
    symlink("/etc/passwd", directory.join("x.pyrate")).expect("a link");
    fs::rename(directory.join("x.pyrate"), directory.join("link.pyrate")).expect("a rename");
    fs::create_dir(directory.join("d")).expect("a directory");
    fs::rename(directory.join("d"), directory.join("directory.pyrate")).expect("a rename");
    nix::unistd::mkfifo(&directory.join("f"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    fs::rename(directory.join("f"), directory.join("fifo.pyrate")).expect("a rename");
    put(&directory, "good.pyrate", &links[0]);
    until_there(&directory.join("good.pyrate.added"));
    for name in ["link", "directory", "fifo"] {
        assert!(directory.join(format!("{name}.pyrate")).symlink_metadata().is_ok(), "{name}");
    }
    assert_eq!((&asker.status()["watch"]["failed"], asker.pages("downloads", "downloads").len()), (&json!(1), 1));
}

#[test]
fn over_kills_each_link_is_begun_once() {
    let names: Vec<String> = (0..12).map(|number| format!("{number}.txt")).collect();
    let contents: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let (_source, links) = source(&contents);
    let (mut asker, directory) = watching();
    for (name, link) in names.iter().zip(&links) {
        put(&directory, &format!("{name}.pyrate"), link);
        // Between any two of its steps.
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
    }
    for name in &names {
        until_there(&directory.join(format!("{name}.pyrate.added")));
    }
    // Those that are done are in the list until a restart.
    let log = asker.call("event_log", json!({ "since": 0 }));
    let events = log["events"].as_array().expect("events").iter();
    let mut begun: Vec<String> = events
        .filter(|event| event["event"] == "begun")
        .map(|event| event["name"].as_str().expect("a name").to_owned())
        .collect();
    begun.sort();
    let mut wanted = names.clone();
    wanted.sort();
    assert_eq!(begun, wanted);
}

/// A kill after the record and before the rename leaves a file that is older than the download of its link.
#[test]
fn what_is_done_and_was_not_renamed_before_a_kill_is_not_begun_again() {
    let (_source, links) = source(&[("a.txt", b"content")]);
    let (mut asker, directory) = watching();
    let elsewhere = directory.with_extension("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    asker.reconfigure("watch_directory", &format!("'{}'", elsewhere.display()));
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    put(&directory, "a.pyrate", &links[0]);
    let run = pyratectl(&asker, ["download", "--detach", &links[0]]);
    assert_eq!(run.code, 0, "{run:?}");
    asker.await_download(1, "done");
    asker.reconfigure("watch_directory", &format!("'{}'", directory.display()));
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    until_there(&directory.join("a.pyrate.added"));
    let log = asker.call("event_log", json!({ "since": 0 }));
    let begun = log["events"].as_array().expect("events").iter().filter(|event| event["event"] == "begun").count();
    assert_eq!(begun, 1, "{log}");
}

#[test]
fn a_watched_directory_that_cannot_be_used_is_a_bad_configuration() {
    let setup = Setup::peer().set("watch_directory", "'/nonexistent/watched'");
    let run = setup.command().arg("--check").output().expect("pyrated can be run");
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(
        run.status.code() == Some(78) && told.contains("watch_directory") && told.contains("no such directory"),
        "{told}"
    );
}

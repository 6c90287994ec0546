//! A source moves, renames or deletes copies of a file while it is downloaded by its hash: the download continues with what
//! is left (PROTOCOL, Finding other sources).

use crate::harness::{
    Daemon, Dice, GROUP, Setup, assert_verified, await_hashed, begin_hit, find_content, free_port, pyratectl,
    start_among,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// What happens, in words, and how to do that to the source and the daemon that downloads.
type Disturbance = (&'static str, fn(&mut Daemon, &mut Daemon));

/// A download of a content that its source has under two names, with some of it there, is disturbed, and ends verified.
fn ends_verified_though(disturb: impl Fn(&mut Daemon, &mut Daemon)) {
    let content = Dice::new().bytes(8 * GROUP);
    let port = free_port().to_string();
    let setup = Setup::peer().shares("a/film.mkv", &content).shares("copy of film.mkv", &content);
    let setup = setup.set("upload_limit", "'2MiB'").set("filemonitor_refresh", "'1s'").set("listen_port", &port);
    let mut source = setup.start();
    await_hashed(&source);
    let (_bootstrap, mut asker) = start_among(Setup::peer(), &[source.listen()]);
    let id = begin_hit(&asker, &find_content(&asker, "film", &content, 1));
    asker.await_bytes(id, GROUP as u64);
    disturb(&mut source, &mut asker);
    source.reconfigure("upload_limit", "0");
    source.call("reload", Value::Null);
    assert_verified(&asker.await_download(id, "done"), &content);
}

fn rename(source: &Daemon, from: &str, to: &str) {
    let to = source.share().join(to);
    fs::create_dir_all(to.parent().expect("below the share")).expect("a directory");
    fs::rename(source.share().join(from), to).expect("it can be renamed");
}

fn delete_file(source: &Daemon, name: &str) {
    fs::remove_file(source.share().join(name)).expect("it is there");
}

fn move_both(source: &Daemon) {
    rename(source, "a/film.mkv", "b/film.mkv");
    rename(source, "copy of film.mkv", "another name.avi");
}

fn restart(daemon: &mut Daemon) {
    assert_eq!(daemon.stop().code, Some(0));
    daemon.start_again();
}

/// All at once, since each waits some seconds for its source to be asked again and for a search.
#[test]
fn a_download_continues_while_its_source_moves_and_deletes_copies() {
    let disturbances: [Disturbance; 6] = [
        ("one copy is deleted", |source, _| delete_file(source, "a/film.mkv")),
        ("the other copy is deleted", |source, _| delete_file(source, "copy of film.mkv")),
        ("all copies are moved", |source, _| move_both(source)),
        ("all copies are moved, and the source restarts", |source, _| {
            move_both(source);
            restart(source);
        }),
        ("all copies are moved, and the daemon that downloads restarts", |source, asker| {
            move_both(source);
            restart(asker);
        }),
        ("one copy is moved and another file of that size put there; the other is deleted", |source, _| {
            rename(source, "a/film.mkv", "b/film.mkv");
            source.add_file("a/film.mkv", vec![7; 8 * GROUP]);
            delete_file(source, "copy of film.mkv");
        }),
    ];
    std::thread::scope(|scope| {
        for (what, disturb) in disturbances {
            scope.spawn(move || {
                println!("{what}");
                ends_verified_though(disturb);
            });
        }
    });
}

#[test]
fn all_means_every_hit_of_the_last_list_and_no_other() {
    const MANY: usize = 1_100;
    let other = Setup::peer().shares("of another list", "x").start();
    let source = (0..MANY).fold(Setup::peer(), |setup, n| setup.shares(format!("file {n}"), n.to_string())).start();
    let asker = Setup::peer().start();
    asker.list(other.listen());
    asker.list(source.listen());
    let run = pyratectl(&asker, ["download", "all", "--detach"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let names: BTreeSet<String> =
        asker.rows().iter().map(|row| row["name"].as_str().expect("text").to_owned()).collect();
    assert!(names.len() == MANY && !names.contains("of another list"), "{} downloads", names.len());
}

//! Orders of users for downloads: pause, resume, retry and cancel, and the ids that they take (pyratectl(1)).

use crate::harness::{
    Daemon, Dice, Fake, LIMIT, Reading, Setup, Stopwatch, assert_holds, await_hashed, free_port, is_unfinished,
    path_of, pause, pyratectl, relative_files, until,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// The slowest at which these tests still see bytes come.
const SLOW: &str = "400000";

/// Bytes of a file of these tests.
const FILE_BYTES: usize = 1_500_000;

/// A source of these files that sends slowly, until it is told otherwise, and a daemon that has begun to download them.
fn begun(names: &[&str], slots: u32) -> (Daemon, Daemon, Vec<u64>, Vec<Vec<u8>>) {
    let mut dice = Dice::new();
    let contents: Vec<Vec<u8>> = names.iter().map(|_| dice.bytes(FILE_BYTES)).collect();
    let shared = names.iter().zip(&contents).fold(Setup::peer(), |setup, (name, bytes)| setup.shares(name, bytes));
    let source = shared.set("upload_limit", SLOW).start();
    await_hashed(&source);
    let asker = Setup::peer().set("max_downloads", &slots.to_string()).start();
    let hits = asker.list(source.listen());
    let in_order: Vec<Value> =
        names.iter().map(|name| hits.iter().find(|hit| hit["name"] == *name).expect("it is listed").clone()).collect();
    let ids = asker.begin_hits(&in_order);
    (source, asker, ids, contents)
}

/// An endpoint where nobody is.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The states of these downloads.
fn states(daemon: &Daemon, ids: &[u64]) -> Vec<String> {
    ids.iter().map(|id| daemon.download(*id)["state"].as_str().expect("a state").to_owned()).collect()
}

fn await_states(daemon: &Daemon, ids: &[u64], wanted: &[&str]) {
    until(&format!("{ids:?} are {wanted:?}"), LIMIT, || states(daemon, ids) == wanted);
}

/// Runs `pyratectl` with an order and fails unless it exits with this code.
fn order(daemon: &Daemon, words: &[&str], code: i32) -> String {
    let run = pyratectl(daemon, words);
    assert_eq!(run.code, code, "{words:?}: {run:?}");
    run.stdout
}

#[test]
fn who_follows_a_download_gets_the_exit_code_of_a_pause_or_cancel_by_others() {
    let (_source, asker, ids, _) = begun(&["a.bin", "b.bin"], 2);
    thread::scope(|scope| {
        for (id, word, code) in [(ids[0], "pause", 7), (ids[1], "cancel", 1)] {
            let asker = &asker;
            let hit = id.to_string();
            // A request for the same file follows the same download.
            let follower = scope.spawn(move || pyratectl(asker, ["download", hit.as_str()]));
            until("it is followed", LIMIT, || asker.call("status", Value::Null)["downloads_active"].as_u64() > Some(0));
            pause(Duration::from_millis(200));
            order(asker, &[word, &id.to_string()], 0);
            let run = follower.join().expect("it ran");
            assert_eq!(run.code, code, "{word}: {run:?}");
        }
    });
}

#[test]
fn retry_does_not_wait_for_the_next_attempt() {
    let mut dice = Dice::new();
    let content = dice.bytes(FILE_BYTES);
    let port = free_port();
    let asker = Setup::peer().start();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let id = asker.begin_download(addr, "late.bin");
    // Each failure makes the wait longer, and `retry` ends it.
    for _ in 0..4 {
        let waiting = asker.await_download(id, "retrying");
        assert_eq!(waiting["error"]["code"], 29, "{waiting}");
        let text = order(&asker, &["downloads"], 0);
        assert!(text.contains("retry in "), "{text}");
        order(&asker, &["retry", &id.to_string()], 0);
    }
    let waiting = asker.await_download(id, "retrying");
    assert!(waiting["retry_in_s"].as_u64() >= Some(1), "{waiting}");
    let source = Setup::peer().set("listen_port", &port.to_string()).shares("late.bin", &content).start();
    let watch = Stopwatch::start();
    order(&asker, &["retry", "all"], 0);
    let done = asker.await_download(id, "done");
    assert!(watch.ran() < Duration::from_secs(3), "{:?}", watch.ran());
    assert_holds(&path_of(&done), &content);
    assert_eq!(done["sources"], json!([source.listen()]));
}

#[test]
fn cancel_removes_part_files() {
    let (_source, asker, ids, _) = begun(&["a.bin", "b.bin", "c.bin"], 2);
    let unfinished =
        || relative_files(&asker.downloads_directory()).into_iter().filter(|name| is_unfinished(name)).count();
    asker.await_bytes(ids[0], 1);
    assert!(unfinished() >= 2, "a part file and its journal");
    order(&asker, &["pause", &ids[1].to_string()], 0);
    order(&asker, &["cancel", &ids[0].to_string()], 0);
    await_states(&asker, &ids, &["cancelled", "paused", "active"]);
    order(&asker, &["cancel", "all"], 0);
    await_states(&asker, &ids, &["cancelled", "cancelled", "cancelled"]);
    until("nothing is left", LIMIT, || relative_files(&asker.downloads_directory()).is_empty());
    order(&asker, &["cancel", "all"], 0);
}

#[test]
fn ids_may_be_numbers_ranges_and_unique_beginnings() {
    let asker = Setup::peer().set("max_downloads", "1").start();
    let silent = Fake::serve(Reading::Whole, |_visit| pause(LIMIT));
    let ids: Vec<u64> = (1..=22).map(|turn| asker.begin_download(silent.addr, &format!("file {turn}"))).collect();
    assert!(ids.iter().copied().eq(1..=22), "{ids:?}");
    let paused = || {
        let rows = asker.rows().into_iter().filter(|row| row["state"] == "paused");
        rows.map(|row| row["id"].as_u64().expect("an id")).collect::<Vec<_>>()
    };
    order(&asker, &["pause", "2,4-6,20-99"], 0);
    assert_eq!(paused(), [2, 4, 5, 6, 20, 21, 22], "an exact id wins over a beginning");
    order(&asker, &["resume", "all"], 0);
    order(&asker, &["cancel", "1-9"], 0);
    // Downloads that are over are not remembered over a restart.
    let mut asker = asker;
    asker.stop();
    asker.start_again();
    assert_eq!(asker.rows().len(), 13, "from 10 to 22");
    order(&asker, &["cancel", "20-21"], 0);
    asker.stop();
    asker.start_again();
    let shown = order(&asker, &["downloads", "2"], 0);
    assert!(shown.contains("file 22"), "the only one that begins so: {shown}");
    order(&asker, &["downloads", "1"], 28);
    for word in ["pause", "resume", "cancel"] {
        order(&asker, &[word, "2"], 3);
    }
    assert_ne!(asker.download(22)["state"], "cancelled", "what destroys takes whole ids");
    order(&asker, &["pause", "1x"], 28);
    order(&asker, &["pause", "30-20"], 28);
    for word in ["pause", "resume", "retry", "cancel"] {
        order(&asker, &[word, "7"], 3);
        order(&asker, &[word, "23-99"], 3);
    }
    order(&asker, &["cancel", "all"], 0);
    assert!(asker.begin_download(nowhere(), "new") > 22, "no id is given again");
}

//! Downloads and orders that were accepted survive a restart. What cannot be written to the state directory is refused, or
//! the answer says that a restart loses it (pyrated(8), DOWNLOADS).

use crate::harness::{
    Daemon, Dice, Disk, Fake, GROUP, LIMIT, Reading, Setup, await_hashed, is_unfinished, pause, pyratectl,
    relative_files, until, wait_for,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// A base peer that begins to send whatever is asked for, and never ends.
fn endless() -> Fake {
    Fake::serve(Reading::Whole, |mut visit| {
        while visit.message.starts_with(b"4:") && visit.stream.write_all(&[7; 512]).is_ok() {
            pause(Duration::from_millis(20));
        }
    })
}

fn kill(daemon: &mut Daemon) {
    daemon.end_by(Signal::SIGKILL);
    daemon.start_again();
}

fn unfinished_files(daemon: &Daemon) -> usize {
    relative_files(&daemon.downloads_directory()).iter().filter(|name| is_unfinished(name)).count()
}

#[test]
fn on_a_full_disk_a_download_is_refused_and_an_order_says_that_a_restart_loses_it() {
    let Some(disk) = Disk::of_kib("a state directory on a full disk", 1024) else { return };
    let state = disk.path().join("state");
    let mut asker = Setup::peer().set("state_directory", &format!("'{}'", state.display())).start();
    let source = endless();
    // A record that is longer than what a file that is there may still have free.
    let long = |byte: char| format!("{}/{}", source.addr, byte.to_string().repeat(3_000));
    assert_eq!(pyratectl(&asker, ["download", "--detach", &long('a')]).code, 0);
    asker.await_bytes(1, 1);
    let filler = disk.fill(usize::try_from(disk.free()).unwrap());

    let run = pyratectl(&asker, ["download", "--json", "--detach", &long('b')]);
    assert_eq!((run.code, &run.json()["error"]["code"]), (9, &json!(9)), "{run:?}");
    assert!(run.stderr.contains("the disk is full (state directory)"), "{run:?}");
    assert_eq!((asker.rows().len(), unfinished_files(&asker)), (1, 1), "nothing of it is left");

    let run = pyratectl(&asker, ["pause", "--json", "1"]);
    assert_eq!((run.code, &run.json()[0]["state"]), (9, &json!("paused")), "{run:?}");
    assert_eq!(run.json()[0]["not_remembered"]["code"], 9, "{run:?}");
    assert!(run.stderr.contains("download 1 is not remembered: the disk is full"), "{run:?}");

    std::fs::remove_file(filler).unwrap();
    until("it is remembered after all", LIMIT, || asker.download(1)["not_remembered"].is_null());
    let before = asker.download(1);
    kill(&mut asker);
    let after = asker.download(1);
    assert_eq!((&after["state"], &after["bytes_done"]), (&json!("paused"), &before["bytes_done"]), "{after}");

    // A cancel that was answered does not come back either.
    assert_eq!(pyratectl(&asker, ["cancel", "1"]).code, 0);
    kill(&mut asker);
    assert!(asker.rows().is_empty());
    until("its part file is gone", LIMIT, || unfinished_files(&asker) == 0);
}

#[test]
fn a_failed_and_a_paused_download_are_unchanged_after_a_restart() {
    let content = Dice::new().bytes(4 * GROUP);
    let limit = (GROUP / 2).to_string();
    let mut source = Setup::peer().shares("a.bin", &content).shares("b.bin", &content[1..]).set("upload_limit", &limit);
    source = source.set("listen_port", &crate::harness::free_port().to_string());
    let mut source = source.start();
    await_hashed(&source);
    let mut asker = Setup::peer().start();
    let hits = asker.list(source.listen());
    let id = |name: &str| hits.iter().find(|hit| hit["name"] == name).expect("it is listed")["id"].to_string();
    let taken = asker.downloads_directory().join("taken");
    asker.call("download", json!({ "what": [{ "hits": id("a.bin") }], "output": taken }));
    asker.call("download", json!({ "what": [{ "hits": id("b.bin") }] }));
    asker.await_bytes(2, GROUP as u64);
    asker.call("pause", json!({ "ids": "2" }));
    std::fs::write(&taken, b"the user's").unwrap();
    source.reconfigure("upload_limit", "0");
    source.call("reload", Value::Null);
    let failed = asker.await_download(1, "failed");
    let paused = asker.await_download(2, "paused");
    until("the failure is on the disk", LIMIT, || {
        let log = asker.call("event_log", json!({ "since": 0 }));
        let events = log["events"].as_array().expect("events");
        events.iter().any(|event| (&event["event"], &event["download"]) == (&json!("failed"), &json!(1)))
    });
    assert_eq!((&failed["error"]["code"], &failed["bytes_done"]), (&json!(13), &json!(content.len())), "{failed}");
    assert!(paused["bytes_done"].as_u64() >= Some(GROUP as u64), "{paused}");

    for orderly in [false, true] {
        if orderly {
            asker.stop();
            asker.start_again();
        } else {
            kill(&mut asker);
        }
        for before in [&failed, &paused] {
            let id = before["id"].as_u64().unwrap();
            until("its part file is read again", LIMIT, || asker.download(id)["bytes_done"] == before["bytes_done"]);
            let after = asker.download(id);
            for key in ["state", "error", "bytes_done", "size", "b3", "name"] {
                assert_eq!(after[key], before[key], "{key}: {after}, and it was {before}");
            }
        }
    }
    // The kept groups are used.
    std::fs::remove_file(&taken).unwrap();
    asker.call("retry", json!({ "ids": "1" }));
    asker.await_download(1, "done");
    assert!(std::fs::read(&taken).unwrap() == content);
}

#[test]
fn a_download_of_more_files_than_a_page_holds_follows_these_and_no_others() {
    let names: Vec<String> = (0..150).map(|number| format!("{number:03}{}", "n".repeat(150))).collect();
    let shares = |setup: Setup, name: &String| setup.shares(name, name);
    let source = names.iter().fold(Setup::peer(), shares).start();
    await_hashed(&source);
    let asker = Setup::peer().start();
    asker.list(source.listen());
    let mut hits = asker.pages("hits", "hits");
    assert_eq!(hits.len(), names.len());
    hits.sort_by_key(|hit| hit["id"].as_u64());
    let ids = |range: std::ops::Range<usize>| format!("{}-{}", hits[range.start]["id"], hits[range.end - 1]["id"]);
    // Some of the files are there already, and the downloads of another client do not end.
    let other = endless();
    let others: Vec<u64> = (0..4).map(|n| asker.begin_download(other.addr, &format!("other {n}"))).collect();
    let first = pyratectl(&asker, ["download", "--json", "--detach", &ids(145..150)]);
    assert_eq!(first.json().as_array().map(Vec::len), Some(5), "{first:?}");
    let run = pyratectl(&asker, ["download", "--json", "--timeout", "60s", &ids(0..150)]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rows = run.json().as_array().cloned().expect("rows");
    assert!(rows.iter().all(|row| row["state"] == "done" && !others.contains(&row["id"].as_u64().unwrap())));
    let mut found: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert!(found.iter().copied().eq(names.iter().map(String::as_str)), "{} rows", found.len());
    let still = wait_for("the others go on", LIMIT, || {
        let rows = asker.rows();
        let going = rows.iter().filter(|row| row["state"] == "active").count();
        (going == others.len()).then_some(going)
    });
    assert_eq!(still, others.len());
}

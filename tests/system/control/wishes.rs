//! Wishes over restarts and kills (pyratectl(1), `wish`).

use crate::harness::{Daemon, Dice, LIMIT, Setup, await_hashed, free_port, pause, pyratectl, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const KILLS: usize = 12;

fn wishes(daemon: &Daemon) -> Vec<Value> {
    pyratectl(daemon, ["wishes", "--json"]).json().as_array().expect("rows").clone()
}

/// The names that events of the log tell of wishes.
fn reported(daemon: &Daemon) -> Vec<String> {
    let log = daemon.call("event_log", json!({"since": 1}));
    let of_wishes = log["events"].as_array().expect("rows").iter().filter(|event| event["event"] == "wish");
    of_wishes.map(|event| event["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn over_kills_each_content_is_found_once_and_what_is_wished_for_is_downloaded() {
    let mut dice = Dice::replayed_by("PYRATE_WISH_SEED");
    let port = |setup: Setup| setup.set("listen_port", &free_port().to_string());
    let source = port(Setup::peer().shares("blue train 0.mp3", b"0")).start();
    await_hashed(&source);
    let mut asker = port(Setup::peer()).start();
    asker.list(source.listen());
    let run = pyratectl(&asker, ["wish", "blue", "train", "type:audio"]);
    assert_eq!((run.code, &run.stdout[..]), (0, "wish 1: blue train type:audio\n"), "{run:?}");
    let again = pyratectl(&asker, ["wish", "blue train type:audio"]);
    assert!(again.code == 13 && again.stderr.contains("is wish 1 already"), "{again:?}");
    let mut names = vec!["blue train 0.mp3".to_owned()];
    for kill in 1..=KILLS {
        until("the wish has found all", LIMIT, || wishes(&asker)[0]["found"].as_u64() == Some(names.len() as u64));
        let name = format!("blue train {kill}.mp3");
        source.add_file(&name, kill.to_string());
        source.rescan();
        await_hashed(&source);
        names.push(name);
        if kill % 2 == 0 {
            // Killed while the peer answers.
            asker.list(source.listen());
            pause(Duration::from_millis(dice.below(500)));
        }
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
        asker.list(source.listen());
    }
    until("the wish has found all", LIMIT, || wishes(&asker)[0]["found"].as_u64() == Some(names.len() as u64));
    until("all are on the disk", LIMIT, || reported(&asker).len() >= names.len());
    let mut told = reported(&asker);
    told.sort();
    names.sort();
    assert_eq!(told, names);
    let hits = pyratectl(&asker, ["wishes", "1", "--json"]).json();
    assert_eq!(hits.as_array().map(Vec::len), Some(names.len()), "{hits}");

    let run = pyratectl(&asker, ["wish", "green", "--download"]);
    assert_eq!(run.code, 0, "{run:?}");
    let id = wishes(&asker)[1]["id"].clone();
    source.add_file("green.txt", "the wished for");
    source.rescan();
    await_hashed(&source);
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    asker.list(source.listen());
    until("it is downloaded", LIMIT, || {
        std::fs::read(asker.downloads_directory().join("green.txt")).is_ok_and(|bytes| bytes == b"the wished for")
    });
    until("that is on the disk", LIMIT, || wishes(&asker)[1]["begun"] == 1);
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    // The download may have ended after its last record: then the next run learns it.
    until("the wish is over", LIMIT, || wishes(&asker)[1]["state"] == "fulfilled");
    assert_eq!((&wishes(&asker)[1]["done"], &wishes(&asker)[1]["failed"]), (&json!(1), &json!(0)));
    let run = pyratectl(&asker, ["unwish", &id.to_string(), "1"]);
    assert_eq!(run.code, 0, "{run:?}");
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    assert!(wishes(&asker).is_empty());
    assert_eq!(reported(&asker).len(), names.len() + 1, "the events stay");
    assert_eq!(pyratectl(&asker, ["unwish", "1"]).code, 3);
}

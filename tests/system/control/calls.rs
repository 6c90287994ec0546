//! The shape of every call's answer (pyratectl(1), OUTPUT).

use crate::harness::{Daemon, LIMIT, OldBootstrap, Setup, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Fails unless an object has these keys (others may stand beside them).
fn assert_keys(object: &Value, keys: &[&str]) {
    let has: BTreeSet<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in keys {
        assert!(has.contains(key), "{key} is missing in {object}");
    }
}

const STATUS_KEYS: &[&str] = &[
    "version",
    "uptime_s",
    "listen",
    "advertise",
    "bootstraps",
    "peers",
    "shared_files",
    "shared_bytes",
    "downloads_active",
    "uploads_active",
    "bytes_down",
    "bytes_up",
];
const DOWNLOAD_KEYS: &[&str] =
    &["id", "name", "path", "state", "bytes_done", "size", "rate", "b3", "verified", "sources", "error", "retry_in_s"];

/// A bootstrap node, a source and an asker that know each other.
fn network() -> (Daemon, Daemon, Daemon) {
    let bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let source = Setup::peer().joins(&[at]).shares("shape.txt", "shape").start();
    until("the source is registered", LIMIT, || source.status()["bootstraps"][0]["state"] == "registered");
    let asker = Setup::peer().joins(&[at]).start();
    asker.await_neighbour(source.listen());
    (bootstrap, source, asker)
}

#[test]
fn status() {
    let (bootstrap, source, asker) = network();
    let status = source.status();
    assert_keys(&status, STATUS_KEYS);
    assert_eq!((&status["shared_files"], &status["shared_bytes"]), (&json!(1), &json!(5)));
    assert_eq!(status["advertise"], status["listen"]);
    let link = &status["bootstraps"][0];
    assert_keys(link, &["addr", "state", "last_ok"]);
    assert_eq!((&link["addr"], &link["state"]), (&json!(bootstrap.bootstrap_addr()), &json!("registered")));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let last_ok = link["last_ok"].as_u64().expect("epoch seconds");
    assert!(now.abs_diff(last_ok) < 60, "{last_ok} is about {now}");
    assert!(asker.status()["peers"].as_u64() >= Some(1));
    assert!(status["uptime_s"].as_u64() < Some(60));
}

#[test]
fn status_tells_how_long_turns_took_and_jobs_waited() {
    let peer = Setup::peer().shares("hashed.txt", "hashed").start();
    until("the hash is known, and saved by a job", LIMIT, || {
        let status = peer.status();
        let in_order = |times: &Value| {
            let [count, p50, p99, p999, max] =
                ["count", "p50_us", "p99_us", "p999_us", "max_us"].map(|key| times[key].as_u64().expect("a number"));
            assert!(p50 <= p99 && p99 <= p999 && p999 <= max, "{times}");
            count
        };
        assert!(in_order(&status["turns"]) > 0, "the call itself was read in a turn");
        in_order(&status["job_waits"]) > 0
    });
}

#[test]
fn peers() {
    let (_bootstrap, source, asker) = network();
    let rows = asker.call("peers", Value::Null);
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "never itself: {rows}");
    assert_keys(&rows[0], &["addr", "source", "state", "last_seen", "p1"]);
    assert_eq!((&rows[0]["addr"], &rows[0]["source"]), (&json!(source.listen()), &json!("bootstrap")));
}

#[test]
fn search_hits_and_downloads() {
    let (_bootstrap, source, asker) = network();
    let rows = asker.search_until("shape", |rows| !rows.is_empty());
    assert_keys(&rows[0], &["id", "name", "size", "b3", "sources"]);
    assert_eq!((&rows[0]["name"], &rows[0]["size"]), (&json!("shape.txt"), &json!(5)));
    assert_eq!(rows[0]["sources"], json!([source.listen()]));
    assert_eq!(asker.pages("hits", "hits"), rows, "the hits are remembered");
    let begun = asker.call("download", json!({ "what": [{ "hits": "all" }] }));
    assert_keys(&begun["downloads"][0], DOWNLOAD_KEYS);
    let id = begun["downloads"][0]["id"].as_u64().expect("an id");
    let done = asker.await_download(id, "done");
    assert_keys(&done, DOWNLOAD_KEYS);
    assert_eq!((&done["size"], &done["bytes_done"], &done["state"]), (&json!(5), &json!(5), &json!("done")));
    let followed = asker.call("follow", json!({ "ids": id.to_string() }));
    assert_eq!(followed["downloads"], json!([done]));
}

#[test]
fn bootstrap() {
    let (bootstrap, source, asker) = network();
    let served = bootstrap.call("bootstrap", Value::Null);
    assert_eq!((&served["links"], &served["registry"]["count"]), (&json!([]), &json!(2)));
    let mut expected = [source.listen().to_string(), asker.listen().to_string()];
    expected.sort();
    let rows = served["registry"]["peers"].as_array().expect("rows").clone();
    let mut seen: Vec<&str> = rows.iter().map(|row| row["addr"].as_str().expect("an endpoint")).collect();
    seen.sort_unstable();
    assert_eq!(seen, expected);
    let linked = source.call("bootstrap", Value::Null);
    assert!(linked["registry"].is_null());
    assert_eq!(linked["links"], source.status()["bootstraps"]);
}

#[test]
fn calls_that_only_do_something() {
    let peer = Setup::peer().start();
    for (method, params) in [
        ("events", Value::Null),
        ("log_level", json!({ "level": "trace" })),
        ("rescan", Value::Null),
        ("stop", Value::Null),
    ] {
        assert_eq!(peer.call(method, params), json!({}), "{method}");
        if method == "log_level" {
            let report = peer.call("reload", Value::Null);
            assert_keys(&report, &["file", "changed", "waiting", "remarks"]);
            assert_keys(&report["changed"][0], &["key", "was", "in_force"]);
        }
    }
}

#[test]
fn mistakes_are_named() {
    let peer = Setup::peer().start();
    let mut control = peer.control();
    for (method, params, code) in [
        ("no_such_method", Value::Null, -32601),
        ("search", Value::Null, -32602),
        ("search", json!({ "text": 5 }), -32602),
        ("search", json!([]), -32602),
        ("list", json!({ "peer": "not an endpoint" }), -32602),
        ("download", json!({ "what": "everything" }), -32602),
        ("download", json!({ "what": [{ "hits": "77" }] }), 3),
        ("cancel", json!({ "ids": "77" }), 3),
        ("follow", json!({ "ids": "77" }), 3),
    ] {
        let failure = control.call(method, params.clone()).expect_err("a mistake");
        assert_eq!(failure.code, code, "{method} {params}: {failure:?}");
        assert!(!failure.message.is_empty());
    }
    for (method, params) in [
        ("log_level", json!({ "level": "loud" })),
        ("cancel", json!({ "ids": "x-y" })),
        ("download", json!({ "what": [] })),
        ("download", json!({ "what": [{ "content": "zz" }] })),
        ("download", json!({ "what": [{ "file": { "peer": "127.0.0.1:1", "name": "x" } }], "output": "relative" })),
    ] {
        control.call(method, params.clone()).expect_err(&format!("{method} {params} is a mistake"));
    }
    assert_eq!(control.call("status", json!({})).expect("an answer")["version"], peer.status()["version"]);
}

#[test]
fn events_are_sent_to_whoever_asked() {
    let bootstrap = OldBootstrap::listing(&[]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("file.txt", "content").start();
    let (mut listener, mut other) = (peer.control(), peer.control());
    listener.call("events", Value::Null).expect("it listens");
    assert_eq!(crate::harness::fetch(peer.listen(), b"file.txt"), b"content");
    let started =
        listener.notice("the upload began", |notice| (notice["event"] == "upload_started").then(|| notice.clone()));
    assert_eq!(started["name"], "file.txt");
    let ended =
        listener.notice("the upload ended", |notice| (notice["event"] == "upload_ended").then(|| notice.clone()));
    assert_eq!((&ended["bytes"], &ended["error"]), (&json!(7), &Value::Null));
    assert_eq!(started["to"], ended["to"]);
    other.call("status", Value::Null).expect("an answer");
    other.call("rescan", Value::Null).expect("an answer");
    // The first notice that the other client sees is of its own work.
    let first = other.notice("its scan", |notice| Some(notice["event"].clone()));
    assert_eq!(first, "scan");
}

#[test]
fn who_leaves_is_told_of() {
    let mut peer = Setup::peer().start();
    let mut listener = peer.control();
    listener.call("events", Value::Null).expect("it listens");
    let watch = crate::harness::Stopwatch::start();
    assert_eq!(peer.call("stop", Value::Null), json!({}));
    listener.notice("it leaves", |notice| (notice["event"] == "leaving").then_some(()));
    assert_eq!(peer.wait_end(watch).code, Some(0));
}

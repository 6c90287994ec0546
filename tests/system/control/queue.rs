//! The commands that manage the queue of downloads and show the transfers, with real programs.

use crate::harness::{LIMIT, Setup, free_port, path_of, pyratectl, wait_for};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn uploads_show_who_fetches_what_and_how_fast() {
    let source = Setup::peer().shares("a.bin", vec![1; 1 << 20]).set("upload_limit", "'40KiB'").start();
    let none = pyratectl(&source, ["uploads"]);
    assert!(none.code == 0 && none.stderr.contains("no peer fetches anything"), "{none:?}");
    let asker = Setup::peer().start();
    asker.begin_download(source.listen(), "a.bin");
    let row = wait_for("an upload with its rate", LIMIT, || {
        let run = pyratectl(&source, ["uploads", "--json"]);
        assert_eq!(run.code, 0, "{run:?}");
        run.json().as_array().expect("rows").iter().find(|row| row["rate"].as_u64() > Some(0)).cloned()
    });
    assert_eq!((&row["name"], &row["size"], &row["state"]), (&json!("a.bin"), &json!(1 << 20), &json!("sending")));
    assert!(row["bytes_sent"].as_u64() > Some(0) && row["rate"].as_u64() <= Some(80 << 10), "{row}");
    assert!(row["to"].as_str().expect("an address").starts_with("127.0.0.1:"), "{row}");
    let text = pyratectl(&source, ["uploads"]);
    assert!(text.stdout.contains("a.bin") && text.stdout.contains("KiB/s"), "{text:?}");
}

#[test]
fn what_is_forgotten_is_gone_after_a_crash_and_its_file_stays() {
    let source = Setup::peer().shares("a.bin", "a").start();
    let mut asker = Setup::peer().start();
    let done = asker.begin_download(source.listen(), "a.bin");
    let row = asker.await_download(done, "done");
    let failed = asker.begin_download(source.listen(), "missing.bin");
    asker.await_download(failed, "failed");
    let waits = asker.begin_download(format!("127.0.0.1:{}", free_port()).parse().expect("an endpoint"), "b");
    asker.await_download(waits, "retrying");
    let shown = |options: &[&str]| {
        let run = pyratectl(&asker, [&["downloads", "--json"], options].concat());
        let rows = run.json();
        rows.as_array().expect("rows").iter().map(|row| row["id"].as_u64().expect("an id")).collect::<Vec<_>>()
    };
    assert_eq!((shown(&["--finished"]), shown(&["--failed"])), (vec![done, failed], vec![failed]));
    let refused = pyratectl(&asker, ["forget", &waits.to_string()]);
    assert!(refused.code == 7 && refused.stderr.contains(&format!("pyratectl cancel {waits}")), "{refused:?}");
    let forgotten = pyratectl(&asker, ["forget", "--finished", "--json"]);
    assert_eq!((forgotten.code, forgotten.json()), (0, json!({"forgotten": [done, failed]})), "{forgotten:?}");
    assert_eq!(shown(&[]), [waits]);
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    let ids: Vec<_> = asker.pages("downloads", "downloads").iter().map(|row| row["id"].as_u64()).collect();
    assert_eq!(ids, [Some(waits)]);
    assert_eq!(std::fs::read(path_of(&row)).expect("the file"), b"a");
}

#[test]
fn a_detached_download_is_followed_or_waited_for_also_when_it_is_over() {
    let source = Setup::peer().shares("a.bin", vec![1; 300_000]).set("upload_limit", "'150KiB'").start();
    let asker = Setup::peer().start();
    let wanted = format!("{}/a.bin", source.listen());
    let begun = pyratectl(&asker, ["download", &wanted, "--detach", "--json"]);
    let id = begun.json()[0]["id"].to_string();
    let waited = pyratectl(&asker, ["wait", &id, "--timeout", "500ms"]);
    assert_eq!((waited.code, waited.stderr.as_str()), (2, ""), "it is slow");
    let followed = pyratectl(&asker, ["follow", &id, "--json"]);
    assert_eq!((followed.code, &followed.json()[0]["state"]), (0, &json!("done")), "{followed:?}");
    assert!(followed.stderr.contains(&format!("{id} done: a.bin: ")), "{followed:?}");
    let again = pyratectl(&asker, ["wait", &id]);
    assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (0, "", ""));
    let missing = format!("{}/none", source.listen());
    let begun = pyratectl(&asker, ["download", &missing, "--detach", "--json"]);
    let failed = pyratectl(&asker, ["wait", &begun.json()[0]["id"].to_string()]);
    assert_eq!((failed.code, failed.stderr.as_str()), (3, ""), "the code of download");
}

#[test]
fn a_restart_does_not_change_what_a_download_that_is_waited_for_has_come_to() {
    let source = Setup::peer().shares("a.bin", "a").shares("b.bin", vec![1; 300_000]);
    let source = source.set("upload_limit", "'10KiB'").start();
    let mut asker = Setup::peer().start();
    let done = asker.begin_download(source.listen(), "a.bin");
    let path = asker.await_download(done, "done")["path"].clone();
    let cancelled = asker.begin_download(source.listen(), "b.bin");
    assert_eq!(pyratectl(&asker, ["cancel", &cancelled.to_string()]).code, 0);
    let failed = asker.begin_download(source.listen(), "missing.bin");
    asker.await_download(failed, "failed");
    assert_eq!(pyratectl(&asker, ["forget", &failed.to_string()]).code, 0);
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    assert_eq!(asker.pages("downloads", "downloads").len(), 0, "the list has none of them");
    for (id, code, state) in [(done, 0, "done"), (cancelled, 1, "cancelled"), (failed, 3, "failed")] {
        let waited = pyratectl(&asker, ["wait", &id.to_string(), "--json"]);
        assert_eq!((waited.code, &waited.json()[0]["state"]), (code, &json!(state)), "{waited:?}");
        let followed = pyratectl(&asker, ["follow", &id.to_string()]);
        assert!(followed.code == code && followed.stderr.contains(&format!("{id} {state}: ")), "{followed:?}");
    }
    assert_eq!(pyratectl(&asker, ["wait", &done.to_string(), "--json"]).json()[0]["path"], path);
    let unknown = pyratectl(&asker, ["wait", "77"]);
    assert!(unknown.code == 3 && unknown.stderr.contains("no such id: 77"), "{unknown:?}");
}

#[test]
fn the_order_of_the_queue_is_changed_and_outlives_a_crash() {
    let source = Setup::peer().shares("a.bin", vec![1; 1 << 20]).shares("b", "b").shares("c", "c");
    let source = source.set("upload_limit", "'40KiB'").start();
    let mut asker = Setup::peer().set("max_downloads", "1").start();
    let ids = ["a.bin", "b", "c"].map(|name| asker.begin_download(source.listen(), name));
    asker.await_download(ids[0], "active");
    let moved = pyratectl(&asker, ["move", &ids[2].to_string(), "up"]);
    assert_eq!((moved.code, moved.stdout), (0, format!("{} is number 1 in the queue: c\n", ids[2])));
    let refused = pyratectl(&asker, ["move", &ids[0].to_string(), "top"]);
    assert!(refused.code == 1 && refused.stderr.contains("is active"), "{refused:?}");
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    let places = ids.map(|id| asker.pages("downloads", "downloads").iter().find(|row| row["id"] == id).cloned());
    let places = places.map(|row| row.expect("a row")["place"].as_u64());
    assert_eq!(places, [None, Some(2), Some(1)]);
    pyratectl(&asker, ["pause", &ids[0].to_string()]);
    asker.await_download(ids[2], "done");
}

#[test]
fn rate_limits_are_changed_at_once_and_until_restart() {
    let source = Setup::peer().shares("a.bin", vec![1; 2 << 20]).set("upload_limit", "'40KiB'");
    let mut source = source.start();
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.listen(), "a.bin");
    asker.await_download(id, "active");
    let changed = pyratectl(&source, ["limit", "--up", "0", "--down", "3MiB", "--json"]);
    let up = json!({"in_force": 0, "configured": 40 << 10, "until_restart": true, "when": null, "until": null,
        "then": null});
    assert_eq!((changed.code, &changed.json()["up"]), (0, &up), "{changed:?}");
    // At 40 KiB a second this takes 50 s, longer than is waited.
    asker.await_download(id, "done");
    source.reconfigure("upload_limit", "'50KiB'");
    source.call("reload", serde_json::Value::Null);
    let status = source.status();
    assert_eq!(
        (&status["upload_limit"], &status["download_limit"]),
        (&json!(0), &json!(3 << 20)),
        "also over a reload"
    );
    let reset = pyratectl(&source, ["limit", "--reset"]);
    assert_eq!((reset.code, reset.stdout.as_str()), (0, "Down  no limit\nUp    50.0 KiB/s\n"));
    pyratectl(&source, ["limit", "--up", "7MiB"]);
    source.stop();
    source.start_again();
    assert_eq!(source.status()["upload_limit"], 50 << 10);
}

#[test]
fn limits_by_the_time_of_the_week_are_in_force_at_once_and_from_a_reload_and_an_order_precedes_them() {
    let always = "[{ when = '00:00-24:00', upload_limit = '40KiB' }]";
    let source = Setup::peer().shares("a.bin", vec![1; 2 << 20]).set("limit", always);
    let mut source = source.start();
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.listen(), "a.bin");
    asker.await_download(id, "active");
    assert_eq!(source.status()["upload_limit"], 40 << 10);
    let shown = pyratectl(&source, ["limit"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "Down  no limit\nUp    40.0 KiB/s (00:00-24:00)\n"));
    let ordered = pyratectl(&source, ["limit", "--up", "50KiB", "--json"]);
    let up = json!({"in_force": 50 << 10, "configured": 40 << 10, "until_restart": true, "when": "00:00-24:00",
        "until": null, "then": null});
    assert_eq!((ordered.code, &ordered.json()["up"]), (0, &up), "{ordered:?}");
    assert_eq!(source.status()["limits"]["up"], up);
    pyratectl(&source, ["limit", "--reset"]);
    source.reconfigure("limit", "[{ when = 'Mon-Sun', upload_limit = 0 }]");
    source.call("reload", serde_json::Value::Null);
    // At 40 KiB a second this takes 50 s, longer than is waited.
    asker.await_download(id, "done");
}

#[test]
fn the_history_has_what_was_forgotten_and_outlives_a_crash() {
    let source = Setup::peer().shares("a.bin", vec![1; 300_000]).start();
    let mut asker = Setup::peer().start();
    let done = asker.begin_download(source.listen(), "a.bin");
    let row = asker.await_download(done, "done");
    let failed = asker.begin_download(source.listen(), "missing.bin");
    asker.await_download(failed, "failed");
    let forgotten = pyratectl(&asker, ["forget", "--finished"]);
    assert_eq!(forgotten.code, 0, "{forgotten:?}");
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    assert!(asker.pages("downloads", "downloads").is_empty());
    let history = pyratectl(&asker, ["history", "--json"]).json();
    let rows = history.as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{history}");
    let (first, second) = (&rows[0], &rows[1]);
    assert_eq!((&first["result"], &first["path"], &first["b3"]), (&json!("done"), &row["path"], &row["b3"]));
    assert_eq!((&first["size"], &first["peers"]), (&json!(300_000), &json!([source.listen()])));
    assert!(first["begun"].as_u64() <= first["finished"].as_u64() && first["rate"].as_u64() > Some(0), "{first}");
    assert_eq!(
        (&second["result"], &second["name"], &second["peers"]),
        (&json!("failed"), &json!("missing.bin"), &json!([]))
    );
    assert!(second["error"]["code"].is_u64() && second["begun"].is_u64(), "{second}");
}

//! The queue: what is shown of it, orders to it, and how a download that is followed may end.

use super::fake::{Fake, Talk, download, forms, hit, run, run_alone, source, with};
use serde_json::{Value, json};
use std::fs;

fn changed(row: Value) -> Value {
    json!({"event": "download", "download": row})
}

fn error(code: i32, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

#[test]
fn downloads_say_where_they_stand() {
    fn script(talk: &mut Talk) {
        let refused = error(6, "connection refused");
        let several = json!([source("192.0.2.1:63339", "active", 512), source("[::1]:5", "corrupt", 0)]);
        talk.answer(
            "downloads",
            json!({"downloads": [
            with(download(1, "a", "active", 512), json!({"rate": 1024, "eta_s": 125, "b3": "ab", "shares": several})),
            with(download(2, "b", "done", 2048), json!({"path": "/d/b", "verified": true, "b3": "ab"})),
            with(download(3, "c", "done", 2048), json!({"path": "/d/c\u{7}", "shares": [], "sources": []})),
        ], "next": 3}),
        );
        assert_eq!(talk.expect("downloads"), json!({"after": 3}));
        let retrying = with(download(4, "d", "retrying", 0), json!({"retry_in_s": 42, "size": null}));
        talk.reply(json!({"downloads": [
            with(retrying, refused.clone()),
            with(with(download(5, "e", "failed", 0), refused), json!({"size": 0})),
            with(download(6, "f", "paused", 1024), error(9, "the disk is full")),
            with(download(7, "g", "paused", 1024), json!({"b3": "ab"})),
            with(download(8, "h", "done", 2048), json!({"path": "/d/h", "verified": true, "already": true})),
            with(download(9, "i", "done", 2048), json!({"path": "/d/i", "verified": true, "copied_from": "x/j"})),
        ], "next": null}));
    }
    let [text, terse, json] = forms(&["downloads"], script);
    text.gives(
        0,
        "ID  NAME  STATE     DONE     SIZE       RATE        ETA  CHECK       REMARK\n \
          1  a     active     25%  2.0 KiB  1.0 KiB/s  2 min 5 s  pending     -\n \
          2  b     done      100%  2.0 KiB          -          -  verified    /d/b\n \
          3  c     done      100%  2.0 KiB          -          -  unverified  /d/c\\x07\n \
          4  d     retrying   0 B        -          -          -  unverified  retry in 42 s: connection refused\n \
          5  e     failed      0%      0 B          -          -  -           connection refused\n \
          6  f     paused     50%  2.0 KiB          -          -  unverified  the disk is full\n \
          7  g     paused     50%  2.0 KiB          -          -  pending     by the user; `pyratectl resume 7` resumes it\n \
          8  h     done      100%  2.0 KiB          -          -  verified    already have it: /d/h\n \
          9  i     done      100%  2.0 KiB          -          -  verified    /d/i, copied from x/j\n",
    );
    let one = "192.0.2.1:63339";
    terse.gives(
        0,
        &format!(
            "id\tname\tpath\tstate\tbytes_done\tsize\trate\tb3\tverified\tsources\terror\tretry_in_s\teta_s\talready\t\
             shares\tplace\tcopied_from\n\
             1\ta\t-\tactive\t512\t2048\t1024\tab\tfalse\t{one}\t-\t-\t125\tfalse\t{one}=active:512 [::1]:5=corrupt:0\t-\t-\n\
             2\tb\t/d/b\tdone\t2048\t2048\t-\tab\ttrue\t{one}\t-\t-\t-\tfalse\t{one}=active:2048\t-\t-\n\
             3\tc\t/d/c\\x07\tdone\t2048\t2048\t-\t-\tfalse\t-\t-\t-\t-\tfalse\t-\t-\t-\n\
             4\td\t-\tretrying\t0\t-\t-\t-\tfalse\t{one}\tconnection refused\t42\t-\tfalse\t{one}=active:0\t-\t-\n\
             5\te\t-\tfailed\t0\t0\t-\t-\tfalse\t{one}\tconnection refused\t-\t-\tfalse\t{one}=active:0\t-\t-\n\
             6\tf\t-\tpaused\t1024\t2048\t-\t-\tfalse\t{one}\tthe disk is full\t-\t-\tfalse\t{one}=active:1024\t-\t-\n\
             7\tg\t-\tpaused\t1024\t2048\t-\tab\tfalse\t{one}\t-\t-\t-\tfalse\t{one}=active:1024\t-\t-\n\
             8\th\t/d/h\tdone\t2048\t2048\t-\t-\ttrue\t{one}\t-\t-\t-\ttrue\t{one}=active:2048\t-\t-\n\
             9\ti\t/d/i\tdone\t2048\t2048\t-\t-\ttrue\t{one}\t-\t-\t-\tfalse\t{one}=active:2048\t-\tx/j\n"
        ),
    );
    let json = json.json();
    assert_eq!(json[4]["error"], json!({"code": 6, "message": "connection refused"}));
    assert_eq!((&json[3]["rate"], &json[3]["eta_s"], &json[7]["already"]), (&Value::Null, &Value::Null, &json!(true)));
    assert_eq!(json[0]["shares"][1], source("[::1]:5", "corrupt", 0));
}

#[test]
fn while_nothing_comes_nothing_is_said_of_how_fast() {
    let script = |talk: &mut Talk| {
        talk.answer("downloads", json!({"downloads": [download(1, "a", "queued", 0)], "next": null}));
    };
    let wanted =
        "ID  NAME  STATE   DONE     SIZE  CHECK       REMARK\n 1  a     queued    0%  2.0 KiB  unverified  -\n";
    run(&["downloads"], script).gives(0, wanted);
}

#[test]
fn a_download_that_is_named_is_shown_with_its_sources_and_their_shares() {
    fn script(talk: &mut Talk) {
        let b3 = "ab".repeat(32);
        let shares = json!([
            with(source("192.0.2.1:63339", "active", 1536), json!({"rate": 1024})),
            with(source("[::1]:5", "corrupt", 0), json!({"error": "wrong bytes"})),
            with(source("192.0.2.2:5", "waiting", 512), json!({"error": "timed out\u{1b}"})),
        ]);
        let row = with(
            download(1, "a", "active", 2048),
            json!({"size": 8192, "rate": 1024, "eta_s": 6, "b3": b3,
            "path": "/d/a", "shares": shares, "sources": ["192.0.2.1:63339", "[::1]:5", "192.0.2.2:5", "192.0.2.9:1"]}),
        );
        let done = with(download(12, "b", "done", 2048), json!({"path": "/d/b", "shares": [], "sources": []}));
        talk.answer("downloads", json!({"downloads": [row, download(7, "c", "active", 0), done], "next": null}));
    }
    let [text, terse, json] = forms(&["downloads", "12", "1"], script);
    text.gives(
        0,
        &format!(
            "12  b\n    State   done, 100% of 2.0 KiB\n    Check   unverified: no hash was known\n    \
             Path    /d/b\n    no source is known\n\n\
             1  a\n    State   active, 25% of 8.0 KiB, 1.0 KiB/s, 6 s left\n    \
             Check   pending: it is checked against its hash\n    Hash    {}\n    Path    /d/a\n    \
             SOURCE           STATE      BYTES  SHARE       RATE  REMARK\n    \
             192.0.2.1:63339  active   1.5 KiB    75%  1.0 KiB/s  -\n    \
             [::1]:5          corrupt      0 B     0%          -  sent wrong bytes; it is not asked for this content \
             any more\n    \
             192.0.2.2:5      waiting    512 B    25%          -  timed out\\x1b\n    \
             192.0.2.9:1      -              -      -          -  -\n",
            "ab".repeat(32)
        ),
    );
    assert_eq!(terse.out.lines().map(|line| &line[..2]).collect::<Vec<_>>(), ["id", "12", "1\t"]);
    assert_eq!(json.json()[1]["shares"].as_array().unwrap().len(), 3);
    run(&["downloads", "2-5"], script).says(3, "no such ids: 2-5");
    run(&["downloads", "x"], script).says(28, "not an id: 'x'");
    assert_eq!(run(&["downloads", "all", "--json"], script).json().as_array().unwrap().len(), 3);
}

#[test]
fn all_of_nothing_is_no_missing_id() {
    fn no_download(talk: &mut Talk) {
        talk.answer("downloads", json!({"downloads": [], "next": null}));
    }
    fn no_hit(talk: &mut Talk) {
        talk.answer("hits", json!({"hits": [], "next": null}));
    }
    for ids in [&[][..], &["all"], &["all,all"]] {
        run(&[&["downloads"], ids].concat(), no_download)
            .says(0, "no download is remembered; `pyratectl download` begins one\n");
        run(&[&["downloads", "--json"], ids].concat(), no_download).gives(0, "[]\n");
        // That there is no hit has a code of its own, however it is asked for.
        run(&[&["hits"], ids].concat(), no_hit).says(3, "no hit is remembered");
        run(&[&["hits", "--json"], ids].concat(), no_hit).gives(3, "[]\n");
    }
    run(&["downloads", "all,7"], no_download).says(3, "no such id: 7");
}

#[test]
fn orders_join_their_ids_and_tell_what_became_of_each() {
    fn rows() -> Value {
        json!([
            with(download(1, "a\u{1b}", "paused", 1024), json!({})),
            download(2, "b", "queued", 0),
            download(3, "c", "active", 0),
            with(download(4, "d", "retrying", 0), json!({"retry_in_s": 5})),
            download(5, "e", "verifying", 2048),
            with(download(6, "f", "done", 2048), json!({"path": "/d/f"})),
            with(download(7, "g", "failed", 0), error(3, "every source refused it")),
            download(8, "h", "cancelled", 0),
            with(download(9, "i", "paused", 0), error(17, "the filesystem is read-only")),
        ])
    }
    let common = "6 is done already: f: /d/f\n";
    for (order, told) in [
        (
            "pause",
            "1 paused: a\\x1b, 50% is kept\n2 is still queued: b\n3 is still active: c\n4 is still retrying: d\n\
             5 is unchanged: e; all bytes are there, and are being checked\n{common}\
             7 has failed: g: every source refused it; `pyratectl retry 7` tries it again\n\
             8 was cancelled: h; `pyratectl download` starts it again\n9 paused: i, 0% is kept\n",
        ),
        (
            "resume",
            "1 is still paused: a\\x1b: by the user; `pyratectl resume 1` resumes it\n\
             2 queued: b; waits for its turn\n3 continues: c\n4 waits for its sources: d: retry in 5 s\n5 continues: e\n\
             {common}7 has failed: g: every source refused it; `pyratectl retry 7` tries it again\n\
             8 was cancelled: h; `pyratectl download` starts it again\n\
             9 is still paused: i: the filesystem is read-only\n",
        ),
        (
            "retry",
            "1 is still paused: a\\x1b: by the user; `pyratectl resume 1` resumes it\n\
             2 queued: b; waits for its turn\n3 continues: c\n4 waits for its sources: d: retry in 5 s\n5 continues: e\n\
             {common}7 has failed: g: every source refused it\n\
             8 was cancelled: h; `pyratectl download` starts it again\n\
             9 is still paused: i: the filesystem is read-only\n",
        ),
        (
            "cancel",
            "1 is still paused: a\\x1b\n2 is still queued: b\n3 is still active: c\n4 is still retrying: d\n\
             5 is unchanged: e; all bytes are there, and are being checked\n{common}\
             7 has failed: g: every source refused it\n8 cancelled: h; its data is removed\n\
             9 is still paused: i\n",
        ),
    ] {
        let script = move |talk: &mut Talk| {
            assert_eq!(talk.expect(order), json!({"ids": "2,4-6,all"}));
            talk.reply(json!({"downloads": rows(), "next": null}));
        };
        run(&[order, "2", "4-6,all"], script).gives(0, &told.replace("{common}", common));
        let terse = run(&[order, "2", "4-6", "all", "--terse"], script);
        assert_eq!((terse.code, terse.out.lines().count()), (0, 10), "{terse:?}");
        assert!(terse.out.starts_with("id\tname\tpath\tstate\t"), "{terse:?}");
        assert_eq!(run(&["--json", order, "2", "4-6", "all"], script).json(), rows());
    }
}

#[test]
fn an_order_for_what_is_not_there_says_so() {
    for order in ["pause", "resume", "retry", "cancel"] {
        let run = run(&[order, "9", "--json"], move |talk| {
            talk.expect(order);
            talk.fail(3, "no such id: 9");
        });
        run.says(3, "pyratectl: no such id: 9\n");
        assert_eq!(run.json()["error"]["code"], 3);
    }
}

#[test]
fn an_order_for_more_than_a_page_tells_of_all_that_it_concerned() {
    for ids in ["2,4-6", "all"] {
        let ordered = run(&["cancel", ids, "--terse"], move |talk| {
            let first = download(2, "a", "cancelled", 0);
            talk.answer("cancel", json!({"downloads": [first], "next": 2, "ids": [2, 4, 5]}));
            assert_eq!(talk.expect("downloads"), json!({"after": 3}));
            talk.reply(json!({"downloads": [download(4, "c", "cancelled", 0)], "next": 4}));
            assert_eq!(talk.expect("downloads"), json!({"after": 4}));
            talk.reply(json!({"downloads": [
                download(5, "d", "done", 0), download(6, "e", "cancelled", 0),
            ], "next": null}));
        });
        assert_eq!(ordered.out.lines().skip(1).map(|line| &line[..2]).collect::<Vec<_>>(), ["2\t", "4\t", "5\t"]);
    }
}

#[test]
fn what_a_restart_does_not_know_of_is_told_and_is_the_code() {
    let lost = |state: &str| {
        let why = json!({"code": 9, "message": "the disk is full (state directory)"});
        with(download(1, "a", state, 1024), json!({"not_remembered": why}))
    };
    let ordered = move |talk: &mut Talk, method: &str, state: &str| {
        talk.answer(method, json!({"downloads": [lost(state), download(2, "b", state, 0)], "next": null}));
    };
    let told = "pyratectl: download 1 is not remembered: the disk is full (state directory)\n";
    let paused = run(&["pause", "1,2", "--json"], move |talk| ordered(talk, "pause", "paused"));
    paused.says(9, told);
    assert_eq!(paused.json()[0]["not_remembered"]["code"], 9);
    assert_eq!(paused.json()[1]["not_remembered"], json!(null));
    run(&["cancel", "1,2"], move |talk| ordered(talk, "cancel", "cancelled")).says(9, told);
    run(&["download", "1,2", "--detach"], move |talk| ordered(talk, "download", "queued")).says(9, told);
    // What came in came in.
    run(&["download", "1,2"], move |talk| ordered(talk, "download", "done")).says(0, told);
    let listed = run(&["downloads"], move |talk| ordered(talk, "downloads", "queued"));
    assert!(listed.out.contains("not remembered: the disk is full (state directory)"), "{listed:?}");
}

/// Follows one download to this row; gives the run.
fn followed(last: Value) -> super::fake::Run {
    run(&["download", "1"], move |talk| {
        talk.answer("download", json!({"downloads": [download(1, "a", "active", 0)], "next": null}));
        talk.notice(changed(last));
        talk.until_hangup();
    })
}

#[test]
fn a_download_that_the_disk_stops_ends_with_the_code_of_the_disk_and_goes_on_by_itself() {
    for (code, message) in [(9, "the disk is full"), (17, "the filesystem is read-only")] {
        let run = followed(with(download(1, "a", "paused", 1024), error(code, message)));
        run.says(code, &format!("1 paused: a: {message}\n"));
    }
}

#[test]
fn a_download_that_a_user_pauses_is_unfinished_and_the_way_on_is_told() {
    let plain = download(1, "a", "paused", 1024);
    followed(plain.clone()).says(7, "1 paused: a: by the user; `pyratectl resume 1` resumes it\n");
    // What went wrong before is not why it does not go on.
    followed(with(plain, error(6, "connection refused"))).says(7, "1 paused: a: by the user;");
}

#[test]
fn a_content_that_is_there_already_is_a_success() {
    let done = with(download(1, "a", "done", 2048), json!({"path": "/d/a (1)", "verified": true, "already": true}));
    let run = followed(done.clone());
    run.says(0, "1 done: a: already have it: /d/a (1)\n");
    assert!(run.out.contains("verified  already have it: /d/a (1)\n"), "{run:?}");
    assert!(!run.err.contains("unverified"), "{run:?}");
}

#[test]
fn a_content_that_is_shared_here_says_where_it_was_copied_from() {
    let done =
        with(download(1, "a", "done", 2048), json!({"path": "/d/a", "verified": true, "copied_from": "b\u{7}/c"}));
    let run = followed(done);
    run.says(0, "1 done: a: /d/a, copied from b\\x07/c\n");
}

#[test]
fn what_a_download_ends_with_is_the_code_of_its_error() {
    for (code, message) in [
        (3, "every source refused it"),
        (13, "a file of that name exists already"),
        (29, "every source is busy or gone"),
        (32, "what came is not what its hash says"),
    ] {
        let run = followed(with(download(1, "a", "failed", 0), error(code, message)));
        run.says(code, &format!("1 failed: a: {message}\n"));
    }
}

#[test]
fn lost_sources_are_lines_and_each_is_told_once() {
    let run = run(&["download", "1,2", "--json"], |talk| {
        let (one, two, three) = ("10.0.0.1:63339", "10.0.0.2:63339", "10.0.0.3:63339");
        let shares = json!([source(one, "active", 1), source(two, "idle", 0), source(three, "active", 7)]);
        let row = with(download(1, "a", "active", 8), json!({"shares": shares, "sources": [one, two, three]}));
        talk.answer("download", json!({"downloads": [row, download(2, "b", "active", 0)], "next": null}));
        let lost =
            |download: u32, source: Value| json!({"event": "source_lost", "download": download, "source": source});
        talk.notice(lost(1, source(three, "corrupt", 0)));
        let refused = with(source("192.0.2.1:63339", "waiting", 0), json!({"error": "connection refused"}));
        talk.notice(lost(2, refused.clone()));
        talk.notice(lost(2, refused));
        // Of a download of another client.
        talk.notice(lost(9, source(one, "corrupt", 0)));
        for (id, name) in [(1, "a"), (2, "b")] {
            talk.notice(changed(with(download(id, name, "done", 2048), json!({"path": "/d", "verified": true}))));
        }
        talk.until_hangup();
    });
    assert_eq!(
        run.err,
        "1 active: a\n2 active: b\n\
         1: 10.0.0.3:63339 sent wrong bytes; continuing with 2 others\n\
         2: 192.0.2.1:63339 failed: connection refused; it is asked again later\n\
         1 done: a: /d\n2 done: b: /d\n"
    );
    assert_eq!((run.code, run.json().as_array().unwrap().len()), (0, 2));
}

#[test]
fn a_directory_does_not_go_into_a_file_however_that_is_written() {
    let fake = Fake::new();
    std::fs::write(fake.directory().join("plain"), "").unwrap();
    for place in ["plain", "plain/", "plain//"] {
        let mut command = fake.command(&["download", "192.0.2.1:5/dir/", "-o", place]);
        command.env("PYRATE_CONTROL_SOCKET", fake.socket());
        let listener = std::os::unix::net::UnixListener::bind(fake.socket()).unwrap();
        let run = super::fake::finish(command.spawn().unwrap());
        run.says(28, "and 'plain' is a file; name another path with `-o`");
        drop(listener);
        std::fs::remove_file(fake.socket()).unwrap();
    }
}

#[test]
fn what_names_nothing_is_told_what_to_name() {
    run_alone(&["download", "192.0.2.1:5/"])
        .says(28, "no name follows the peer 192.0.2.1:5; `pyratectl list 192.0.2.1:5`");
    run_alone(&["download", "-"]).says(28, "no option \"-\" of download");
    run_alone(&["move"]).says(28, "move needs an ID");
}

#[test]
fn a_file_of_a_peer_for_a_place_with_a_file_is_named_by_its_hash_if_the_peer_tells_one() {
    const PEER: &str = "192.0.2.7:63339";
    let b3 = "ab".repeat(32);
    let listed = json!([
        with(hit(8, "d/a", Some(4), &["192.0.2.8:63339"]), json!({"b3": b3})),
        with(hit(9, "d/a", Some(5), &[PEER]), json!({"b3": b3})),
    ]);
    let unhashed = json!([hit(9, "d/a", Some(5), &[PEER])]);
    let of_peer = json!([{"file": {"peer": PEER, "name": "d/a"}}]);
    for (output, rows, what) in [
        ("there", Some(&listed), json!([{"hits": "9"}])),
        ("directory", Some(&listed), json!([{"hits": "9"}])),
        ("there", Some(&unhashed), of_peer.clone()),
        ("new", None, of_peer),
    ] {
        let fake = Fake::new();
        fs::create_dir(fake.directory().join("directory")).unwrap();
        ["there", "directory/a"].iter().for_each(|path| fs::write(fake.directory().join(path), "there").unwrap());
        let rows = rows.cloned();
        let run = fake.run(&["download", "--terse", "-o", output, &format!("{PEER}/d/a")], move |talk| {
            if let Some(rows) = rows {
                assert_eq!(talk.answer("list", json!({"search": 5})), json!({ "peer": PEER }));
                let end = json!({"event": "search_done", "search": 5, "hits": 1, "truncated": false, "error": null});
                talk.notice(end);
                assert_eq!(talk.answer("hits", json!({"hits": rows, "next": null}))["search"], 5);
            }
            let done = with(download(1, "a", "done", 5), json!({"path": "/x/a", "already": true}));
            assert_eq!(talk.answer("download", json!({"downloads": [done], "next": null}))["what"], what);
            talk.until_hangup();
        });
        assert_eq!(run.code, 0, "{output}: {run:?}");
    }
}

//! Downloads that are followed until they are settled.

use super::fake::{self, Fake, Talk, download, finish, hit, raw_argument, run, source, wait_for, with};
use super::follows::{changed, interrupt};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};

#[test]
fn a_download_is_followed_with_a_line_for_each_state() {
    fn script(talk: &mut Talk) {
        let params = talk.expect("download");
        assert_eq!(params["what"], json!([{"hits": "2,4-6"}, {"content": "ab".repeat(32)}]));
        assert!(
            params["output"].as_str().unwrap().ends_with("/to/x/")
                && params["output"].as_str().unwrap().starts_with('/')
        );
        // Older than the answer, so not to be believed.
        talk.notice(changed(download(1, "a\u{1b}", "failed", 0)));
        talk.reply(json!({"downloads": [download(1, "a\u{1b}", "queued", 0), download(2, "b", "queued", 0)],
            "next": null}));
        let error = json!({"code": 29, "message": "every source is busy"});
        let shares = json!([source("[::1]:5", "waiting", 0), source("192.0.2.1:63339", "idle", 2048)]);
        for row in [
            download(1, "a\u{1b}", "active", 0),
            with(download(1, "a\u{1b}", "active", 1024), json!({"rate": 512})),
            with(download(2, "b", "retrying", 0), json!({"error": error, "retry_in_s": 5})),
            download(9, "of another client", "failed", 0),
            download(1, "a\u{1b}", "verifying", 2048),
            with(download(1, "a\u{1b}", "done", 2048), json!({"path": "/to/x/a", "verified": true})),
            download(2, "b", "active", 0),
            with(download(2, "b", "done", 2048), json!({"path": "/to/x/b", "shares": shares})),
        ] {
            talk.notice(changed(row));
        }
        talk.until_hangup();
    }
    let hash = format!("b3={}", "AB".repeat(32));
    let arguments = ["download", "2,4-6", &hash, "-o", "to/x/"];
    let text = run(&arguments, script);
    text.gives(
        0,
        "ID  NAME   STATE  DONE     SIZE  CHECK       REMARK\n \
          1  a\\x1b  done   100%  2.0 KiB  verified    /to/x/a\n \
          2  b      done   100%  2.0 KiB  unverified  /to/x/b\n",
    );
    assert_eq!(
        text.err,
        "1 queued: a\\x1b\n2 queued: b\n1 active: a\\x1b\n2 retrying: b: retry in 5 s: every source is busy\n\
         1 verifying: a\\x1b\n1 done: a\\x1b: /to/x/a\n2 active: b\n\
         2 done: b: /to/x/b (unverified: no hash was known; all of it is from 192.0.2.1:63339)\n"
    );
    let json = run(&[&arguments[..], &["--json"]].concat(), script);
    assert_eq!(json.err, text.err);
    assert_eq!(json.json()[0]["path"], "/to/x/a");
    assert_eq!(json.json().as_array().unwrap().len(), 2);
    Fake::new().in_pieces(1).run(&arguments, script).gives(0, &text.out);
}

#[test]
fn a_detached_download_prints_its_ids_and_returns() {
    let begun = |talk: &mut Talk| {
        let params = talk.expect("download");
        assert_eq!(params["what"], json!([{"file": {"peer": "192.0.2.1:5", "name": "a/b:c"}}]));
        assert_eq!(params["output"], Value::Null);
        talk.reply(json!({"downloads": [download(31, "a/b:c", "queued", 0)], "next": null}));
    };
    let arguments = ["download", "--detach", "192.0.2.1:5/a/b:c"];
    let text = run(&arguments, begun);
    assert!(text.out.contains("31  a/b:c  queued"), "{text:?}");
    assert_eq!((text.code, text.err.as_str()), (0, ""));
    assert_eq!(run(&[&arguments[..], &["--json"]].concat(), begun).json()[0]["id"], 31);
}

#[test]
fn a_name_that_is_not_utf_8_is_asked_for_byte_by_byte() {
    let fake = Fake::new();
    let mut command = fake.command_here(&["download", "--detach", "--terse"]);
    command.arg(raw_argument(b"192.0.2.1:5/caf\xe9"));
    let run = fake.run_command(command, |talk| {
        assert_eq!(talk.expect("download")["what"][0]["file"]["name"]["hex"], "636166e9");
        let raw = json!({"text": "caf\u{fffd}", "hex": "636166e9"});
        talk.reply(json!({"downloads": [with(download(1, "", "queued", 0), json!({"name": raw}))], "next": null}));
    });
    assert!(run.out.contains("\n1\tcaf\\xe9\t-\tqueued\t"), "{run:?}");
}

#[test]
fn a_failed_download_gives_its_code() {
    for code in [3, 6, 9, 13, 17, 29, 32] {
        let run = run(&["download", "1-3", "--json"], move |talk| {
            talk.answer(
                "download",
                json!({"downloads": [
                download(1, "a", "active", 0), download(2, "b", "active", 0), download(3, "c", "active", 0),
            ], "next": null}),
            );
            let error = |code: i32| json!({"error": {"code": code, "message": "that is why"}});
            talk.notice(changed(with(download(3, "c", "failed", 0), error(1))));
            talk.notice(changed(with(download(2, "b", "failed", 0), error(code))));
            talk.notice(changed(download(1, "a", "done", 2048)));
            talk.until_hangup();
        });
        run.says(code, "2 failed: b: that is why\n");
        assert_eq!(run.json().as_array().unwrap().len(), 3);
    }
}

#[test]
fn downloads_that_end_without_a_file_of_their_own_accord_are_no_success() {
    for (state, code) in [("cancelled", 1), ("paused", 7), ("failed", 1)] {
        run(&["download", "1"], move |talk| {
            talk.answer("download", json!({"downloads": [download(1, "a", "active", 0)], "next": null}));
            talk.notice(changed(download(1, "a", state, 0)));
            talk.until_hangup();
        })
        .says(code, state);
    }
}

#[test]
fn a_followed_download_is_bounded_only_by_a_timeout_that_the_user_gives() {
    let run = run(&["download", "1,2", "--timeout", "200ms", "--json"], |talk| {
        talk.answer(
            "download",
            json!({"downloads": [
            download(1, "a", "done", 2048), download(2, "b", "active", 0),
        ], "next": null}),
        );
        talk.until_hangup();
    });
    run.says(2, "`pyratectl pause 2` or `pyratectl cancel 2`");
    assert_eq!(run.json()[1]["state"], "active");
}

#[test]
fn an_interrupted_download_goes_on_in_the_daemon() {
    let fake = Fake::new();
    let daemon = fake.serve(|talk| {
        talk.answer("download", json!({"downloads": [download(5, "a", "active", 0)], "next": null}));
        talk.until_hangup();
    });
    let mut child = fake.command_here(&["download", "1", "--terse"]).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert_eq!(line, "5 active: a\n");
    interrupt(child.id());
    let run = finish(child);
    wait_for(daemon);
    line.clear();
    err.read_to_string(&mut line).unwrap();
    assert!(line.contains("continue in the daemon") && line.contains("`pyratectl cancel 5`"), "{line}");
    assert_eq!((run.code, run.out.lines().count()), (7, 2));
}

#[test]
fn several_files_go_only_where_a_directory_is_or_is_to_be_made() {
    let hits = |talk: &mut Talk| {
        let rows = [4, 5, 70].map(|id| hit(id, "a", None, &[]));
        talk.answer("hits", json!({"hits": rows, "next": null}));
    };
    let begun = |talk: &mut Talk| {
        let row = download(1, "a", "queued", 0);
        talk.answer("download", json!({"downloads": [row], "next": null}))["output"].clone()
    };
    let prepared = || {
        let fake = Fake::new();
        std::fs::write(fake.directory().join("file"), "").unwrap();
        std::fs::create_dir(fake.directory().join("directory")).unwrap();
        fake
    };
    // A range or a list may stand for one file that is remembered, which only the hits tell.
    for what in ["all", "4-9", "4,5", "7,4"] {
        for path in ["new", "file", "file/", "file/x"] {
            let run = prepared().run(&["download", what, "-o", path, "--detach"], move |talk| {
                hits(talk);
                talk.until_hangup();
            });
            let why = if path == "new" { "'new' is not one; 'new/'" } else { "'file' is a file; name another path" };
            run.says(28, &format!("several files go into a directory, and {why}"));
        }
    }
    prepared().run(&["download", "4", "7", "-o", "new", "--detach"], Talk::until_hangup).says(28, "is not one");
    for what in ["5-6", "6-9", "9,9"] {
        prepared()
            .run(&["download", what, "-o", "new", "--detach"], move |talk| {
                hits(talk);
                begun(talk);
            })
            .says(0, "");
    }
    for what in ["4", "7"] {
        prepared()
            .run(&["download", what, "-o", "new", "--detach"], move |talk| {
                hits(talk);
                if what == "7" {
                    // Of those after it none is it: it is the beginning of one among all.
                    hits(talk);
                }
                begun(talk);
            })
            .says(0, "");
    }
    for (what, path) in [("all", "new/"), ("all", "directory"), ("4-9", "directory/"), ("all", ".")] {
        prepared()
            .run(&["download", what, "-o", path, "--detach"], move |talk| {
                let output = begun(talk);
                let output = output.as_str().unwrap();
                assert!(output.starts_with('/') && (path == "." || output.ends_with(path)), "{path}: {output}");
            })
            .says(0, "");
    }
}

#[test]
fn a_download_of_many_pages_is_just_what_was_asked_for() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("download")["what"], json!([{"hits": "all"}]));
        // The last of them is new; the others are in progress from before, among downloads of somebody else.
        talk.reply(json!({"downloads": [download(2, "b", "active", 0)], "next": 2, "ids": [2, 4, 5, 9, 12, 30]}));
        assert_eq!(talk.expect("downloads"), json!({"after": 3}));
        let rows = json!([download(4, "d", "done", 0), download(6, "x", "active", 0), download(8, "y", "failed", 0)]);
        talk.reply(json!({"downloads": rows, "next": 8}));
        assert_eq!(talk.expect("downloads"), json!({"after": 8}));
        let rows = json!([download(9, "i", "active", 0), download(10, "z", "active", 0)]);
        talk.reply(json!({"downloads": rows, "next": 10}));
        assert_eq!(talk.expect("downloads"), json!({"after": 11}));
        let rows = json!([download(30, "n", "done", 0), download(31, "v", "active", 0)]);
        talk.reply(json!({"downloads": rows, "next": null}));
    }
    let shown = |run: &fake::Run| {
        let ids = run.out.lines().skip(1).map(|line| line.split('\t').next().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let detached = run(&["download", "all", "--detach", "--terse"], script);
    assert_eq!(shown(&detached), ["2", "4", "9", "30"]);
    let followed = run(&["download", "all", "--terse"], |talk| {
        script(talk);
        // What is to come of others does not keep it.
        talk.notice(changed(download(9, "i", "done", 2048)));
        talk.notice(changed(download(2, "b", "done", 2048)));
    });
    assert_eq!((followed.code, shown(&followed)), (0, ["2", "4", "9", "30"].map(str::to_owned).to_vec()));
}

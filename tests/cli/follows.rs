//! Commands that begin work and follow what the daemon reports of it.

use super::fake::{self, Fake, Talk, finish, hit, raw_argument, run, wait_for, with};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn search_done(search: u32, hits: u64) -> Value {
    json!({"event": "search_done", "search": search, "hits": hits, "truncated": false, "error": null})
}

pub(crate) fn changed(row: Value) -> Value {
    json!({"event": "download", "download": row})
}

#[test]
fn a_search_ends_as_soon_as_it_is_over_and_brought_something() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("search"), json!({"text": "free books", "max": 150, "ttl": null}));
        talk.reply(json!({"search": 7}));
        talk.notice(json!({"event": "ring", "search": 7, "ttl": 1, "peers": 2}));
        talk.notice(search_done(6, 9));
        talk.notice(json!({"event": "hit", "search": 7, "hit": hit(3, "a", None, &["192.0.2.1:5"])}));
        talk.notice(search_done(7, 0));
        talk.notice(json!({"event": "hit", "search": 7, "hit": hit(3, "a", Some(5), &["192.0.2.1:5", "192.0.2.2:5"])}));
        talk.notice(search_done(7, 1));
        assert_eq!(talk.expect("hits"), json!({"search": 7, "after": 0}));
        talk.reply(json!({"hits": [hit(3, "a", Some(5), &["192.0.2.1:5", "192.0.2.2:5"])], "next": null}));
    }
    let arguments = ["search", "free", "books", "--wait", "1h"];
    run(&arguments, script).gives(0, "ID  NAME  SIZE  SOURCES  HASH\n 3  a      5 B        2  unverified\n");
    let pieces = Fake::new().in_pieces(3).run(&["--json", "search", "free", "books", "--wait", "1h"], script);
    assert_eq!(pieces.json()[0]["sources"], json!(["192.0.2.1:5", "192.0.2.2:5"]));
}

#[test]
fn a_search_that_brings_nothing_waits_to_the_end_and_is_code_3() {
    fn script(talk: &mut Talk) {
        let params = talk.answer("search", json!({"search": 1}));
        assert_eq!((&params["max"], &params["ttl"]), (&json!(3), &json!(2)));
        talk.notice(search_done(1, 0));
        talk.answer("hits", json!({"hits": [], "next": null}));
    }
    let arguments = ["search", "x\u{7}", "--wait", "20ms", "--max", "3", "--ttl", "2"];
    let text = run(&arguments, script);
    text.gives(3, "");
    text.says(3, "no hit for 'x\\x07'; fewer or shorter words find more, `pyratectl peers` shows who is asked\n");
    run(&[&arguments[..], &["--json"]].concat(), script).gives(3, "[]\n");
}

#[test]
fn a_search_of_which_nothing_is_waited_for_returns_at_once() {
    let script = |talk: &mut Talk| drop(talk.answer("search", json!({"search": 1})));
    let text = run(&["search", "x", "--wait", "0"], script);
    text.gives(0, "");
    text.says(0, "`pyratectl hits` shows");
    run(&["search", "x", "--wait", "0", "--json"], script).gives(0, "[]\n");
}

#[test]
fn a_search_that_cannot_be_made_says_why() {
    fn script(talk: &mut Talk) {
        talk.answer("search", json!({"search": 1}));
        let error = json!({"code": 6, "message": "no neighbour to ask"});
        talk.notice(with(search_done(1, 0), json!({"error": error})));
        talk.answer("hits", json!({"hits": [], "next": null}));
    }
    let arguments = ["--json", "search", "x", "--wait", "1h"];
    let run = run(&arguments, script);
    run.says(6, "no neighbour to ask");
    assert_eq!(run.json(), json!({"error": {"code": 6, "message": "no neighbour to ask"}}));
}

#[test]
fn a_search_says_that_there_was_more_and_takes_any_bytes() {
    let fake = Fake::new();
    let mut command = fake.command_here(&["search", "--wait", "1h"]);
    command.arg(raw_argument(b"caf\xe9"));
    let run = fake.run_command(command, |talk| {
        assert_eq!(talk.answer("search", json!({"search": 1}))["text"]["hex"], "636166e9");
        talk.notice(with(search_done(1, 1), json!({"truncated": true})));
        talk.answer("hits", json!({"hits": [hit(1, "a", None, &[])], "next": null}));
    });
    run.says(0, "more hits than are remembered");
}

#[test]
fn rows_that_were_dropped_before_they_were_read_are_told_of() {
    fn page() -> Value {
        json!({"hits": [hit(1, "a", None, &["10.0.0.1:5"])], "next": null, "truncated": true})
    }
    run(&["hits"], |talk| drop(talk.answer("hits", page()))).says(0, "found more hits than are remembered");
    run(&["search", "a"], |talk| {
        talk.answer("search", json!({"search": 1}));
        talk.notice(search_done(1, 1));
        talk.answer("hits", page());
    })
    .says(0, "more hits than are remembered");
    run(&["list", "10.0.0.1:5"], |talk| {
        talk.answer("list", json!({"search": 1}));
        talk.notice(search_done(1, 1));
        talk.answer("hits", page());
    })
    .says(0, "more files than are remembered");
}

#[test]
fn an_interrupted_search_shows_what_has_come() {
    let fake = Fake::new();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let daemon = fake.serve(move |talk| {
        talk.answer("search", json!({"search": 1}));
        // More than the socket holds: when all of it is sent, the answer before it was read.
        (0..20_000).for_each(|_| talk.notice(json!({"event": "ring", "search": 1, "ttl": 1, "peers": 2})));
        begun.send(()).unwrap();
        talk.answer("hits", json!({"hits": [hit(1, "a", None, &[])], "next": null}));
    });
    let child = fake.command_here(&["--terse", "search", "x", "--wait", "1h"]).spawn().unwrap();
    has_begun.recv_timeout(fake::PATIENCE).unwrap();
    interrupt(child.id());
    let run = finish(child);
    wait_for(daemon);
    assert_eq!((run.code, run.out.lines().count()), (0, 2), "{run:?}");
}

pub(crate) fn interrupt(child: u32) {
    kill(Pid::from_raw(child.try_into().unwrap()), Signal::SIGINT).unwrap();
}

#[test]
fn a_list_is_read_page_by_page_when_it_is_complete() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("list"), json!({"peer": "[2001:db8::1]:5"}));
        talk.reply(json!({"search": 2}));
        talk.notice(json!({"event": "listing", "search": 2, "files": 1000}));
        talk.notice(search_done(1, 5));
        talk.notice(with(search_done(2, 3), json!({"truncated": true})));
        for (after, next) in [(0, json!(1)), (1, json!(2)), (2, Value::Null)] {
            assert_eq!(talk.expect("hits"), json!({"search": 2, "after": after}));
            let row = hit(after + 1, &format!("f{after}"), Some(10), &["[2001:db8::1]:5"]);
            let b3 = if after == 1 { json!("abc") } else { Value::Null };
            talk.reply(json!({"hits": [with(row, json!({"b3": b3}))], "next": next}));
        }
    }
    let text = run(&["list", "[2001:db8::1]:5"], script);
    text.gives(
        0,
        "ID  NAME  SIZE  HASH\n 1  f0    10 B  unverified\n 2  f1    10 B  abc\n 3  f2    10 B  unverified\n",
    );
    text.says(0, "unverified: no source gave a hash");
    text.says(0, "more files than are remembered");
    run(&["list", "[2001:db8::1]:5", "--terse"], script)
        .gives(0, "id\tname\tsize\tb3\n1\tf0\t10\t-\n2\tf1\t10\tabc\n3\tf2\t10\t-\n");
    assert_eq!(
        run(&["list", "[2001:db8::1]:5", "--json"], script).json()[2],
        json!({"id": 3, "name": "f2", "size": 10, "b3": null})
    );
}

#[test]
fn a_list_that_fails_says_why_and_one_that_breaks_off_shows_its_beginning() {
    fn script(talk: &mut Talk, rows: Value) {
        talk.answer("list", json!({"search": 2}));
        let error = json!({"code": 6, "message": "connection refused"});
        talk.notice(with(search_done(2, 0), json!({"error": error})));
        talk.answer("hits", json!({"hits": rows, "next": null}));
    }
    let none = run(&["list", "192.0.2.1:5", "--json"], |talk| script(talk, json!([])));
    none.says(6, "connection refused");
    assert_eq!(none.json()["error"]["code"], 6);
    let some = run(&["list", "192.0.2.1:5", "--json"], |talk| script(talk, json!([hit(1, "a", None, &[])])));
    some.says(6, "the list is incomplete: connection refused");
    assert_eq!(some.json().as_array().unwrap().len(), 1);
    run(&["list", "192.0.2.1:5", "--json"], |talk| {
        talk.answer("list", json!({"search": 2}));
        talk.notice(search_done(2, 0));
        talk.answer("hits", json!({"hits": [], "next": null}));
    })
    .gives(0, "[]\n");
}

#[test]
fn a_rescan_is_followed_to_its_end() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.answer("rescan", json!({})), Value::Null);
        let scan = json!({"event": "scan", "files": 10, "done": false, "names_refused": 0, "unreadable": 0});
        talk.notice(scan.clone());
        talk.notice(with(scan, json!({"files": 12, "done": true, "names_refused": 1, "unreadable": 2})));
    }
    run(&["rescan"], script).gives(0, "12 files shared; 1 name left out: control bytes, or too long; 2 unreadable\n");
    run(&["rescan", "--terse"], script).gives(0, "files\tnames_refused\tunreadable\tother_mounts\n12\t1\t2\t0\n");
    let json = r#"{"files":12,"names_refused":1,"unreadable":2,"other_mounts":0,"mounts":[]}"#;
    run(&["rescan", "--json"], script).gives(0, &format!("{json}\n"));
}

#[test]
fn a_rescan_counts_files_that_are_being_written() {
    let script = |talk: &mut Talk| {
        talk.answer("rescan", json!({}));
        let scan = json!({"event": "scan", "files": 3, "done": true, "names_refused": 0, "unreadable": 0});
        talk.notice(with(scan, json!({"being_written": 1})));
    };
    run(&["rescan"], script).gives(0, "3 files shared; 1 file is being written\n");
    assert_eq!(run(&["rescan", "--json"], script).json()["being_written"], 1);
}

#[test]
fn a_rescan_names_other_filesystems_and_fails_when_the_share_cannot_be_read() {
    fn script(talk: &mut Talk) {
        talk.answer("rescan", json!({}));
        let scan = json!({"event": "scan", "files": 3, "done": true, "names_refused": 0, "unreadable": 0});
        talk.notice(with(scan, json!({"other_mounts": 3, "mounts": ["usb\u{1b}", "disk/two"]})));
    }
    let told = "3 files shared; 3 other filesystems mounted in the share left out: usb\\x1b, disk/two, ...\n";
    run(&["rescan"], script).gives(0, told);
    let failing = |talk: &mut Talk| {
        talk.answer("rescan", json!({}));
        let error = json!({"code": 17, "message": "the shared directory cannot be read: permission denied"});
        let scan = json!({"event": "scan", "files": 1, "done": true, "names_refused": 0, "unreadable": 0});
        talk.notice(with(scan, json!({ "error": error })));
    };
    run(&["rescan"], failing).says(17, "permission denied");
}

#[test]
fn work_of_which_nothing_is_heard_is_given_up() {
    for (command, method, told) in
        [(&["rescan"][..], "rescan", "no end of the scan"), (&["list", "192.0.2.1:5"], "list", "no list from")]
    {
        let run = run(&[command, &["--timeout", "100ms"]].concat(), |talk| {
            talk.answer(method, json!({"search": 1}));
            talk.until_hangup();
        });
        run.says(2, told);
    }
}

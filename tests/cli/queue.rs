//! Commands that manage the queue of downloads, and show the transfers in progress.

use super::fake::{Fake, Talk, download, finish, forms, run, run_alone, with};
use super::follows::{changed, interrupt};
use super::queries::LATER_S;
use super::terminal::Screen;
use serde_json::{Value, json};

/// A row of an upload.
pub(crate) fn upload(to: &str, name: &str, state: &str) -> Value {
    json!({"to": to, "name": name, "state": state, "connections": 2, "bytes_sent": 1536, "size": 2048, "rate": 512,
        "since": LATER_S, "range": {"offset": 1024, "length": 512}})
}

#[test]
fn uploads_are_a_table_of_who_fetches_what() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("uploads"), json!({"after": null}));
        let next = json!({"to": "192.0.2.1:5", "name": "a\u{1b}b"});
        let known = with(upload("192.0.2.1:5", "a\u{1b}b", "sending"), json!({"peer": "192.0.2.1:63339"}));
        talk.reply(json!({"uploads": [known], "next": next}));
        assert_eq!(talk.expect("uploads"), json!({"after": next}));
        let waiting = json!({"to": "[2001:db8::1]:5", "name": "c", "state": "waiting", "connections": 0, "bytes_sent": 0,
            "size": null, "rate": null, "since": LATER_S, "range": null});
        talk.reply(json!({"uploads": [waiting], "next": null}));
    }
    let [text, terse, json] = forms(&["uploads"], script);
    text.gives(
        0,
        "TO               NAME    STATE       SENT     SIZE     RATE  TIME\n\
         192.0.2.1:63339  a\\x1bb  sending  1.5 KiB  2.0 KiB  512 B/s   0 s\n\
         2001:db8::1      c       waiting      0 B        -        -   0 s\n",
    );
    terse.gives(
        0,
        "to\tname\tstate\tconnections\tbytes_sent\tsize\trate\tsince\trange\tpeer\n\
         192.0.2.1:5\ta\\x1bb\tsending\t2\t1536\t2048\t512\t4102444800\t1024+512\t192.0.2.1:63339\n\
         [2001:db8::1]:5\tc\twaiting\t0\t0\t-\t-\t4102444800\t-\t-\n",
    );
    assert_eq!(json.json()[1]["range"], Value::Null);
    assert_eq!(json.json()[0]["range"], json!({"offset": 1024, "length": 512}));
}

#[test]
fn without_an_upload_people_are_told_and_programs_see_it() {
    let none = |talk: &mut Talk| drop(talk.answer("uploads", json!({"uploads": [], "next": null})));
    let text = run(&["uploads"], none);
    text.gives(0, "");
    text.says(0, "no peer fetches anything now; `pyratectl files` shows what is shared\n");
    run(&["uploads", "--json"], none).gives(0, "[]\n");
    // A daemon that repeats its page is not asked forever.
    let again = run(&["uploads", "--terse"], |talk| {
        let page =
            || json!({"uploads": [upload("192.0.2.1:5", "a", "idle")], "next": {"to": "192.0.2.1:5", "name": "a"}});
        talk.answer("uploads", page());
        talk.answer("uploads", page());
        talk.until_hangup();
    });
    assert_eq!((again.code, again.out.lines().count()), (0, 3));
}

#[test]
fn downloads_in_some_states_are_shown_alone() {
    fn script(talk: &mut Talk) {
        let states = ["queued", "active", "verifying", "paused", "retrying", "done", "failed", "cancelled"];
        let rows: Vec<_> = (1..).zip(states).map(|(id, state)| download(id, "a", state, 0)).collect();
        talk.answer("downloads", json!({"downloads": rows, "next": null}));
    }
    for (options, ids) in [
        (&["--active"][..], json!([2, 3])),
        (&["--failed"], json!([7])),
        (&["--finished"], json!([6, 7, 8])),
        (&["--active", "--failed"], json!([2, 3, 7])),
    ] {
        let rows = run(&[&["downloads", "--json"], options].concat(), script).json();
        let shown: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
        assert_eq!(json!(shown), ids, "{options:?}");
    }
    let none = run(&["downloads", "--failed"], |talk| {
        talk.answer("downloads", json!({"downloads": [download(1, "a", "done", 0)], "next": null}));
    });
    none.gives(0, "");
    none.says(0, "no download is in such a state; `pyratectl downloads` shows all\n");
    run_alone(&["downloads", "3", "--failed"])
        .says(28, "downloads takes IDs, or --active, --failed and --finished, not both");
}

#[test]
fn downloads_are_forgotten_by_their_ids_and_a_peer_by_its_address() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("forget_downloads"), json!({"ids": "2,4-6,9,all"}));
        talk.reply(json!({"forgotten": [2, 4, 5, 9]}));
    }
    let [text, terse, json] = forms(&["forget", "2,4-6", "9", "--finished"], script);
    text.gives(0, "forgotten: 2,4-5,9\n");
    terse.gives(0, "forgotten\n2\n4\n5\n9\n");
    json.gives(0, "{\"forgotten\":[2,4,5,9]}\n");
    for arguments in [["forget", "--finished"], ["forget", "all"]] {
        let none = run(&arguments, |talk| {
            assert_eq!(talk.answer("forget_downloads", json!({"forgotten": []})), json!({"ids": "all"}));
        });
        none.gives(0, "");
        none.says(0, "nothing to forget: ");
    }
    run(&["forget", "192.0.2.7"], |talk| {
        assert_eq!(talk.answer("forget", json!({})), json!({"peer": "192.0.2.7:63339"}));
    })
    .gives(0, "");
    let refused = run(&["forget", "7", "--json"], |talk| {
        talk.expect("forget_downloads");
        talk.fail(7, "download 7 is active; `pyratectl cancel 7` ends it first");
    });
    refused.says(7, "download 7 is active");
    run_alone(&["forget"]).says(28, "forget needs an ID, --finished or a PEER");
    for arguments in [&["forget", "192.0.2.7", "7"][..], &["forget", "192.0.2.7", "--finished"]] {
        run(arguments, |talk| talk.until_hangup()).says(28, "forget takes one PEER and nothing else");
    }
    run_alone(&["forget", "x,y"]).says(28, "a peer is an address or host name");
}

#[test]
fn a_download_that_was_begun_before_is_followed_as_download_does() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("follow"), json!({"ids": "3,4-5,9"}));
        let done = with(download(3, "a", "done", 2048), json!({"path": "/d/a", "verified": true}));
        talk.reply(json!({"downloads": [done, download(9, "b", "active", 0)], "next": null, "ids": [3, 9]}));
        talk.notice(changed(with(download(9, "b", "failed", 0), json!({"error": {"code": 32, "message": "no"}}))));
        talk.until_hangup();
    }
    let followed = run(&["follow", "3,4-5", "9"], script);
    assert_eq!(followed.err, "3 done: a: /d/a\n9 active: b\n9 failed: b: no\n");
    assert!(followed.code == 32 && followed.out.contains(" 9  b     failed"), "{followed:?}");
    let waited = run(&["wait", "3,4-5", "9"], script);
    assert_eq!((waited.code, waited.out.as_str(), waited.err.as_str()), (32, "", ""));
    let waited = run(&["wait", "3,4-5", "9", "--json"], script);
    assert_eq!((waited.code, waited.json()[1]["state"].as_str(), waited.err.as_str()), (32, Some("failed"), ""));
}

#[test]
fn what_is_over_or_missing_is_not_waited_for() {
    for (state, code) in [("done", 0), ("cancelled", 1), ("paused", 7)] {
        for command in ["follow", "wait"] {
            let over = run(&[command, "1"], move |talk| {
                talk.answer("follow", json!({"downloads": [download(1, "a", state, 0)], "next": null, "ids": [1]}));
                talk.until_hangup();
            });
            assert_eq!((over.code, over.err.is_empty()), (code, command == "wait"), "{over:?}");
        }
    }
    let missing = |talk: &mut Talk| {
        talk.expect("follow");
        talk.fail(3, "no such id: 7");
    };
    run(&["wait", "7"], missing).says(3, "no such id: 7");
    let none = |talk: &mut Talk| drop(talk.answer("follow", json!({"downloads": [], "next": null})));
    run(&["follow", "all"], none).says(0, "nothing to follow: no download is unfinished");
    assert_eq!(run(&["wait", "all"], none).err, "");
    run_alone(&["wait"]).says(28, "wait needs an ID");
}

#[test]
fn downloads_that_the_answer_had_no_place_for_are_asked_for_again() {
    fn script(talk: &mut Talk) {
        let over = |id, state| with(download(id, "a", state, 2048), json!({"path": format!("/d/{id}")}));
        assert_eq!(talk.expect("follow"), json!({"ids": "1-4"}));
        talk.reply(json!({"downloads": [over(1, "done")], "next": 1, "ids": [1, 2, 4]}));
        assert_eq!(talk.expect("follow"), json!({"ids": "2,4"}));
        talk.reply(json!({"downloads": [over(2, "done")], "next": 2, "ids": [2, 4]}));
        assert_eq!(talk.expect("follow"), json!({"ids": "4"}));
        talk.reply(json!({"downloads": [over(4, "cancelled")], "next": null, "ids": [4]}));
        talk.until_hangup();
    }
    let waited = run(&["wait", "1-4", "--json"], script);
    let paths: Vec<_> = waited.json().as_array().unwrap().iter().map(|row| row["path"].clone()).collect();
    assert_eq!((waited.code, paths), (1, vec![json!("/d/1"), json!("/d/2"), json!("/d/4")]));
    run(&["wait", "1-4"], script).gives(1, "");
}

#[test]
fn a_wait_ends_with_its_time_and_with_an_interrupt_and_says_nothing() {
    let active = |talk: &mut Talk| {
        talk.answer("follow", json!({"downloads": [download(1, "a", "active", 0)], "next": null, "ids": [1]}));
        talk.until_hangup();
    };
    let late = run(&["wait", "1", "--timeout", "100ms"], active);
    assert_eq!((late.code, late.out.as_str(), late.err.as_str()), (2, "", ""));
    run(&["follow", "1", "--timeout", "100ms"], active).says(2, "unfinished downloads continue in the daemon");
    let fake = Fake::new();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let daemon = fake.serve(move |talk| {
        talk.answer("follow", json!({"downloads": [download(1, "a", "active", 0)], "next": null, "ids": [1]}));
        // More than the socket holds: when all of it is sent, the answer before it was read.
        (0..20_000).for_each(|_| talk.notice(changed(download(1, "a", "active", 0))));
        begun.send(()).unwrap();
        talk.until_gone();
    });
    let child = fake.command_here(&["wait", "1"]).spawn().unwrap();
    has_begun.recv_timeout(super::fake::PATIENCE).unwrap();
    interrupt(child.id());
    let run = finish(child);
    super::fake::wait_for(daemon);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (7, "", ""));
}

#[test]
fn a_queued_download_is_moved_and_shows_its_place() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("move"), json!({"id": "7", "to": "top"}));
        let row = with(download(7, "a", "queued", 0), json!({"place": 1}));
        talk.reply(json!({"downloads": [row], "next": null, "ids": [7]}));
    }
    let [text, terse, json] = forms(&["move", "7", "top"], script);
    text.gives(0, "7 is number 1 in the queue: a\n");
    assert!(terse.out.ends_with("\tplace\tcopied_from\n7\ta\t-\tqueued\t0\t2048\t-\t-\tfalse\t192.0.2.1:63339\t-\t-\t-\tfalse\t192.0.2.1:63339=active:0\t1\t-\n"), "{terse:?}");
    assert_eq!(json.json()[0]["place"], 1);
    let shown = run(&["downloads"], |talk| {
        let row = with(download(7, "a", "queued", 0), json!({"place": 12}));
        talk.answer("downloads", json!({"downloads": [row], "next": null}));
    });
    assert!(shown.out.ends_with("unverified  number 12 in the queue\n"), "{shown:?}");
    run_alone(&["move", "7", "first"]).says(28, "a download is moved to the top, up, down or to the bottom");
    assert_eq!(run_alone(&["move", "7"]).code, 28);
}

/// Limits of which that of downloads was ordered, with what is configured.
pub(crate) fn limits(down: u64, configured: u64) -> Value {
    let row = |in_force: u64, configured: u64| {
        json!({"in_force": in_force, "configured": configured, "until_restart": in_force != configured,
            "when": null, "until": null, "then": null})
    };
    json!({"down": row(down, configured), "up": row(0, 0)})
}

#[test]
fn rate_limits_are_shown_and_changed() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("limit"), json!({"down": 5 << 20, "up": 0, "reset": false}));
        talk.reply(limits(5 << 20, 1 << 20));
    }
    let [text, terse, json] = forms(&["limit", "--down", "5MiB/s", "--up=0"], script);
    text.gives(0, "Down  5.0 MiB/s until the daemon is restarted; configured: 1.0 MiB/s\nUp    no limit\n");
    let header =
        "down\tdown_configured\tup\tup_configured\tdown_when\tdown_until\tdown_then\tup_when\tup_until\tup_then";
    terse.gives(0, &format!("{header}\n5242880\t1048576\t0\t0\t-\t-\t-\t-\t-\t-\n"));
    assert_eq!(json.json(), limits(5 << 20, 1 << 20));
    run(&["limit"], |talk| {
        assert_eq!(talk.answer("limit", limits(0, 0)), json!({"down": null, "up": null, "reset": false}));
    })
    .gives(0, "Down  no limit\nUp    no limit\n");
    run(&["limit", "--reset"], |talk| {
        assert_eq!(talk.answer("limit", limits(0, 0)), json!({"down": null, "up": null, "reset": true}));
    })
    .gives(0, "Down  no limit\nUp    no limit\n");
    for wrong in ["fast", "-1", "", "5 parsecs"] {
        run_alone(&["limit", &format!("--up={wrong}")]).says(28, "a rate is a number of bytes a second");
    }
}

/// 1 January 2100 in UTC, which is the time zone of the tests.
const FAR_S: u64 = 4_102_444_800;

#[test]
fn limits_by_the_time_of_the_week_say_why_they_hold_and_until_when() {
    let timed = json!({"in_force": 1 << 20, "configured": 1 << 20, "until_restart": false,
        "when": "Mon-Fri 08:00-18:00", "until": FAR_S, "then": 0});
    let shown = |down: Value, up: Value| {
        run(&["limit"], move |talk| drop(talk.answer("limit", with(limits(0, 0), json!({"down": down, "up": up}))))).out
    };
    let ordered = with(timed.clone(), json!({"in_force": 5 << 20, "until_restart": true}));
    assert_eq!(
        shown(timed.clone(), ordered),
        "Down  1.0 MiB/s until 2100-01-01 00:00 (Mon-Fri 08:00-18:00), then no limit\n\
         Up    5.0 MiB/s until the daemon is restarted; configured: 1.0 MiB/s until 2100-01-01 00:00 \
         (Mon-Fri 08:00-18:00), then no limit\n"
    );
    let before = with(limits(0, 0)["up"].clone(), json!({"until": FAR_S, "then": 1 << 20}));
    let always = with(timed, json!({"until": null, "then": null}));
    assert_eq!(
        shown(before, always),
        "Down  no limit until 2100-01-01 00:00, then 1.0 MiB/s\nUp    1.0 MiB/s (Mon-Fri 08:00-18:00)\n"
    );
}

/// Thirty downloads, of which two become active, and all are done at the end.
fn thirty(talk: &mut Talk) {
    talk.expect("download");
    let rows: Vec<_> = (1..=30).map(|id| download(id, &format!("file {id}"), "queued", 0)).collect();
    talk.reply(json!({"downloads": rows, "next": null, "ids": (1..=30).collect::<Vec<_>>()}));
    for id in [1, 2] {
        talk.notice(changed(with(download(id, &format!("file {id}"), "active", 1024), json!({"rate": 512}))));
    }
    for id in 1..=30 {
        talk.notice(changed(with(download(id, &format!("file {id}"), "done", 2048), json!({"verified": true}))));
    }
    talk.until_hangup();
}

#[test]
fn many_queued_downloads_are_told_in_one_line() {
    let run = run(&["download", "1-30"], thirty);
    let lines: Vec<&str> = run.err.lines().collect();
    assert_eq!(lines[..3], ["30 downloads queued: 1-30", "1 active: file 1", "2 active: file 2"], "{run:?}");
    assert_eq!((run.code, lines.len(), lines[3]), (0, 33, "1 done: file 1"));
}

#[test]
fn at_a_terminal_each_active_download_has_a_bar_above_the_total() {
    let fake = Fake::new();
    let (mut screen, terminal) = Screen::of_columns(80);
    let (seen, has_seen) = std::sync::mpsc::channel::<()>();
    let daemon = fake.serve(move |talk| {
        talk.expect("download");
        let rows: Vec<_> = (1..=30).map(|id| download(id, &format!("file {id}"), "queued", 0)).collect();
        talk.reply(json!({"downloads": rows, "next": null, "ids": (1..=30).collect::<Vec<_>>()}));
        for id in [1, 2] {
            talk.notice(changed(with(download(id, &format!("file {id}"), "active", 1024), json!({"rate": 512}))));
        }
        has_seen.recv_timeout(super::fake::PATIENCE).unwrap();
        for id in 1..=30 {
            talk.notice(changed(with(download(id, &format!("file {id}"), "done", 2048), json!({"verified": true}))));
        }
        talk.until_hangup();
    });
    let mut command = fake.command_here(&["download", "1-30"]);
    command.env("TERM", "xterm").stderr(terminal);
    let child = command.spawn().unwrap();
    drop(command);
    screen.shows("30 downloads queued: 1-30");
    screen.shows("2 s 1 source  file 1");
    screen.shows("2 s 1 source  file 2");
    seen.send(()).unwrap();
    let run = finish(child);
    super::fake::wait_for(daemon);
    let drawn = screen.all();
    assert_eq!(run.code, 0);
    assert!(drawn.contains("0 of 30 finished"), "{drawn:?}");
    assert!(!drawn.contains("1 active: ") && !drawn.contains("3 queued: "), "{drawn:?}");
    assert!(drawn.contains("30 done: file 30"), "{drawn:?}");
}

#[test]
fn detached_downloads_print_their_ids_however_many_they_are() {
    let run = run(&["download", "1-700", "--detach", "--json"], |talk| {
        talk.expect("download");
        let row = |id: u32| download(id, "a", "queued", 0);
        let (first, ids) = ((1..=500).map(row).collect::<Vec<_>>(), (1..=700).collect::<Vec<_>>());
        talk.reply(json!({"downloads": first, "next": 500, "ids": ids}));
        assert_eq!(talk.expect("downloads"), json!({"after": 500}));
        talk.reply(json!({"downloads": (501..=700).map(row).collect::<Vec<_>>(), "next": null}));
    });
    let rows = run.json();
    assert_eq!((run.code, rows.as_array().unwrap().len(), &rows[699]["id"]), (0, 700, &json!(700)));
}

//! Whatever is printed for people is wrapped or cut at the width of their terminal, and nowhere else.

use super::fake::{Fake, Talk, download, finish, hit, source, wait_for, with};
use super::searches::row;
use super::status::status;
use super::terminal::Screen;
use console::{measure_text_width, strip_ansi_codes};
use serde_json::json;

/// A path with spaces in it, as users copy it.
const PATH: &str = "/home/ann/Some Music/Two Words.ogg";

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A command, and what the daemon says to it.
type Case = (&'static [&'static str], fn(&mut Talk));

const CASES: [Case; 19] = [
    (&["status"], |talk| {
        let error = json!({"code": 17, "message": format!("cannot read '{PATH}': permission denied")});
        talk.answer("status", with(status(), json!({"share_error": error, "commands_queued": 3})));
    }),
    (&["peers"], |talk| {
        let peer = json!({"addr": "[2001:db8::1]:63339", "source": "bootstrap", "state": "new", "last_seen": null,
            "p1": null, "neighbour": false});
        talk.answer("peers", json!([peer]));
    }),
    (&["peers"], |talk| drop(talk.answer("peers", json!([])))),
    (&["hits", "7"], |talk| {
        let row = with(hit(7, "Two Words", Some(5), &["192.0.2.1:63339"]), json!({"names": ["Two Words", PATH]}));
        talk.answer("hits", json!({"hits": [with(row, json!({"b3": HASH}))], "next": null}));
    }),
    (&["hits", "7"], |talk| {
        talk.answer("hits", json!({"hits": [hit(7, "a", None, &["[2001:db8::1]:63339"])], "next": null}));
    }),
    (&["hits"], |talk| {
        let hits = [hit(7, "Two Words", None, &["192.0.2.1:63339"])];
        talk.answer("hits", json!({"hits": hits, "next": null, "truncated": true}));
    }),
    (&["search", "two words"], |talk| {
        talk.answer("search", json!({"search": 7, "whole_names": "too_short"}));
        let row = hit(3, "Two Words", Some(5), &["192.0.2.1:63339"]);
        talk.notice(json!({"event": "hit", "search": 7, "hit": row}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 1, "truncated": true, "error": null}));
        talk.answer("hits", json!({"hits": [row], "next": null}));
    }),
    (&["search", "two words"], |talk| {
        talk.answer("search", json!({"search": 7}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 0, "truncated": false, "error": null}));
        talk.answer("hits", json!({"hits": [], "next": null}));
        talk.answer("searches", json!({"searches": [row(7, "two words", 0)], "next": null}));
        talk.answer("status", with(status(), json!({"peers": 0})));
    }),
    (&["searches"], |talk| {
        let searches = [with(row(7, PATH, 0), json!({"filtered": 3})), row(8, "two words", 7)];
        talk.answer("searches", json!({"searches": searches, "next": null}));
    }),
    (&["list", "192.0.2.1"], |talk| {
        talk.answer("list", json!({"search": 7}));
        let error = json!({"code": 6, "message": "192.0.2.1:63339 closed the connection"});
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 1, "truncated": false, "error": error}));
        talk.answer("hits", json!({"hits": [hit(3, "Two Words", Some(5), &["192.0.2.1:63339"])], "next": null}));
    }),
    (&["download", "7"], |talk| {
        let row = with(download(7, "Two Words.ogg", "active", 5), json!({"rate": 512}));
        talk.answer("download", json!({"downloads": [row], "next": null}));
        let lost = source("192.0.2.1:63339", "corrupt", 5);
        talk.notice(json!({"event": "source_lost", "download": 7, "source": lost}));
        let row = with(row, json!({"state": "done", "bytes_done": 2048, "path": PATH}));
        talk.notice(json!({"event": "download", "download": row}));
    }),
    (&["downloads", "7"], |talk| {
        let row = with(download(7, "Two Words.ogg", "done", 2048), json!({"path": PATH, "b3": HASH, "already": true}));
        talk.answer("downloads", json!({"downloads": [row], "next": null}));
    }),
    (&["cancel", "all"], |talk| {
        let error = json!({"code": 17, "message": format!("cannot write '{PATH}': the disk is full")});
        let row = with(download(7, "Two Words.ogg", "paused", 5), json!({"not_remembered": error}));
        talk.answer("cancel", json!({"downloads": [row], "ids": [7], "next": null}));
    }),
    (&["files"], |talk| {
        let error = json!({"code": 17, "message": format!("cannot read '{PATH}': permission denied")});
        talk.answer("files", json!({"files": [], "next": null, "share_error": error}));
    }),
    (&["rescan"], |talk| {
        talk.answer("rescan", json!({}));
        talk.notice(json!({"event": "scan", "files": 7, "done": true, "names_refused": 1, "unreadable": 2,
            "other_mounts": 3, "mounts": ["Some Music"], "error": null, "being_written": 1}));
    }),
    (&["bootstrap"], |talk| {
        let peer = json!({"addr": "192.0.2.1:63339", "expires_in_s": 7});
        let registry = json!({"peers": [peer], "count": 1, "next": null, "checks": {"answered": 1, "silent": 2}});
        talk.answer("bootstrap", json!({"links": [], "registry": registry}));
    }),
    (&["reload"], |talk| {
        let waiting = json!({"key": "local_directory", "in_force": PATH, "next_start": "/srv/Some Music"});
        let remarks = ["keepalive_refresh is 10m: bootstrap nodes drop a peer that was silent for 10m"];
        talk.answer("reload", json!({"file": PATH, "changed": [], "waiting": [waiting], "remarks": remarks}));
    }),
    (&["stop"], |talk| {
        talk.expect("stop");
        talk.fail(1, &format!("cannot save to '{PATH}': the disk is full; make room, and try again"));
    }),
    (&["pause", "nonsense", "'"], |talk| {
        talk.expect("pause");
        talk.fail(28, "not an id: 'nonsense'; ids are numbers, as 7 or 2,4-6, or all");
    }),
];

/// What a command prints on a terminal of so many columns, results and remarks.
pub(crate) fn on_terminal(columns: u16, arguments: &[&str], script: Option<fn(&mut Talk)>) -> String {
    let fake = Fake::new();
    let (screen, terminal) = Screen::of_columns(columns);
    let mut command = fake.command_here(arguments);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    command.stderr(terminal.try_clone().unwrap()).stdout(terminal);
    let daemon = script.map(|script| {
        fake.serve(move |talk| {
            script(talk);
            talk.until_hangup();
        })
    });
    let child = command.spawn().unwrap();
    // It holds the terminal open, too.
    drop(command);
    finish(child);
    daemon.into_iter().for_each(wait_for);
    screen.all()
}

#[track_caller]
fn assert_fits(text: &str, columns: u16, arguments: &[&str]) {
    let lines = text.split(['\r', '\n']).map(|line| strip_ansi_codes(line).into_owned());
    for line in lines {
        assert!(measure_text_width(&line) <= columns.into(), "{arguments:?} at {columns}: {line:?} in {text:?}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [1, 2, 3, 4, 5, 7, 12, 19, 20, 33, 40, 61, 80] {
        for (arguments, script) in CASES {
            let text = on_terminal(columns, arguments, Some(script));
            assert_fits(&text, columns, arguments);
            assert!(!text.is_empty());
        }
        for arguments in [&["--help"][..], &["search", "--help"], &["status"], &["download", "x"], &["-V"], &["frob"]] {
            assert_fits(&on_terminal(columns, arguments, None), columns, arguments);
        }
    }
}

#[test]
fn what_users_copy_stands_on_one_line_where_it_fits() {
    // The rows of these are cut, as those of all tables are.
    for (arguments, script) in
        CASES.into_iter().filter(|(arguments, _)| !["reload", "searches"].contains(&arguments[0]))
    {
        let whole = on_terminal(400, arguments, Some(script));
        let narrow = on_terminal(40, arguments, Some(script));
        for value in [PATH, "`pyratectl hits ID`", "192.0.2.1:63339", "boot.example:21168"] {
            assert_eq!(whole.contains(value), narrow.contains(value), "{arguments:?}: {narrow}");
        }
    }
}

#[test]
fn lines_go_on_below_their_text() {
    let (status, script) = CASES[0];
    let text = on_terminal(40, status, Some(script));
    let wanted =
        "Bootstrap  10.0.0.1:1 waiting:\r\n           connection refused, next\r\n           attempt in 1 min 30 s\r\n";
    assert!(text.contains(wanted), "{text}");
}

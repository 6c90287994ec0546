//! Listings of many pages are written as the pages come.

use crate::fake::{Fake, PATIENCE, Run, Talk, finish, forms, run, wait_for, with};
use crate::follows::interrupt;
use crate::terminal::Screen;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A file that is shared.
fn file(name: &str) -> Value {
    json!({"name": name, "size": 3, "b3": null})
}

/// A file of a peer.
fn listed(id: u32, name: &str) -> Value {
    json!({"id": id, "name": name, "size": 3, "b3": HASH})
}

fn next_line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}

#[test]
fn the_columns_of_the_first_page_are_those_of_all() {
    let [text, terse, json] = forms(&["files"], |talk| {
        talk.answer("files", json!({"files": [file("ab"), file("c")], "next": "c"}));
        talk.answer("files", json!({"files": [file("longer"), file("x")], "next": "x"}));
        talk.answer("files", json!({"files": [file("z")], "next": null}));
    });
    text.gives(0, "NAME  SIZE  HASH\nab     3 B  -\nc      3 B  -\nlonger   3 B  -\nx      3 B  -\nz      3 B  -\n");
    let rows = ["ab", "c", "longer", "x", "z"];
    terse.gives(0, &format!("name\tsize\tb3\n{}", rows.map(|name| format!("{name}\t3\t-\n")).concat()));
    let rows = rows.map(|name| format!(r#"{{"name":"{name}","size":3,"b3":null}}"#));
    json.gives(0, &format!("[{}]\n", rows.join(",")));
}

/// A list of two pages on a terminal of 80 columns, without colours.
fn on_terminal(command: &[&str], script: impl FnOnce(&mut Talk) + Send + 'static) -> String {
    let fake = Fake::new();
    let (screen, terminal) = Screen::of_columns(80);
    let mut command = fake.command_here(command);
    command.env("NO_COLOR", "1").stdout(terminal);
    // The command holds the terminal open until it is dropped.
    let run = fake.run_command(command, script);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    screen.all()
}

#[test]
fn later_rows_have_room_for_what_is_not_cut() {
    let long = "n".repeat(100);
    let (name, being_written) = (long.clone(), with(file(&long), json!({"size": 1_047_552, "being_written": true})));
    let shown = on_terminal(&["files"], move |talk| {
        talk.answer("files", json!({"files": [file("a")], "next": "a"}));
        talk.answer("files", json!({"files": [being_written], "next": null}));
    });
    let line = |name: &str, size, hash| format!("{name:<53}  {size:>10}  {hash}\r\n");
    let cut = format!("{}…{}", "n".repeat(26), "n".repeat(26));
    let rows = line("a", "3 B", "-") + &line(&cut, "1023.0 KiB", "being written");
    assert_eq!(shown, line("NAME", "SIZE", "HASH") + &rows);

    let shown = on_terminal(&["list", "192.0.2.1:5"], move |talk| {
        talk.answer("list", json!({"search": 7}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 2, "truncated": false, "error": null}));
        talk.answer("hits", json!({"hits": [listed(1, "a")], "next": 1}));
        let later = with(listed(123_456, &name), json!({"size": 1_047_552}));
        talk.answer("hits", json!({"hits": [later], "next": null}));
    });
    let line = |id, name: &str, size, hash| format!("{id:>6}  {name:<45}  {size:>10}  {hash}\r\n");
    let cut = format!("{}…{}", "n".repeat(22), "n".repeat(22));
    let rows = line("1", "a", "3 B", "012345678…") + &line("123456", &cut, "1023.0 KiB", "012345678…");
    assert_eq!(shown, line("ID", "NAME", "SIZE", "HASH") + &rows);
}

#[test]
fn a_reader_that_has_enough_ends_a_list_without_end() {
    for form in ["files", "--json", "--terse"] {
        let fake = Fake::new();
        let daemon = fake.serve(|talk: &mut Talk| {
            let rows: Vec<_> = (0..500).map(|number| file(&format!("{number:030}"))).collect();
            let mut next = 0;
            while talk.expect_or_hangup("files").is_some() {
                next += 1;
                talk.reply(json!({"files": rows, "next": next.to_string()}));
            }
        });
        let mut child = fake.command_here(&[form, "files"][usize::from(form == "files")..]).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // One document of JSON is one line, which has no end here.
        let begun =
            if form == "--json" { out.fill_buf().unwrap().len() } else { out.read_line(&mut String::new()).unwrap() };
        assert!(begun > 0);
        drop(out);
        let run = finish(child);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        wait_for(daemon);
    }
}

#[test]
fn the_time_that_a_reader_takes_is_not_the_daemons() {
    let fake = Fake::new();
    // Each page is more than a pipe holds.
    let rows: Vec<_> = (0..500).map(|number| file(&format!("{number:0>200}"))).collect();
    let daemon = fake.serve(move |talk| {
        for next in [json!("a"), json!("b"), json!("c"), json!(null)] {
            talk.answer("files", json!({"files": rows, "next": next}));
        }
    });
    let mut child = fake.command_here(&["--timeout", "1s", "--terse", "files"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(out.lines().count(), 4 * 500);
    let run = finish(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    wait_for(daemon);
}

#[test]
fn an_interrupt_that_is_meant_for_a_pager_does_not_cut_a_list() {
    let fake = Fake::new();
    let (interrupted, goes_on) = mpsc::channel();
    let daemon = fake.serve(move |talk| {
        talk.answer("list", json!({"search": 7}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 2, "truncated": false, "error": null}));
        talk.answer("hits", json!({"hits": [listed(1, "a")], "next": 1}));
        talk.expect("hits");
        goes_on.recv_timeout(PATIENCE).unwrap();
        talk.reply(json!({"hits": [listed(2, "b")], "next": null}));
    });
    let mut child = fake.command_here(&["--terse", "list", "192.0.2.1:5"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for line in ["id\tname\tsize\tb3\n".to_owned(), format!("1\ta\t3\t{HASH}\n")] {
        assert_eq!(next_line(&mut out), line);
    }
    interrupt(child.id());
    interrupted.send(()).unwrap();
    assert_eq!(next_line(&mut out), format!("2\tb\t3\t{HASH}\n"));
    let run = finish(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    wait_for(daemon);
}

/// So many files of a list have come.
fn have_come(files: u64) -> Value {
    json!({"event": "listing", "search": 7, "files": files})
}

#[test]
fn full_pages_of_a_list_are_shown_while_it_comes() {
    let fake = Fake::new();
    let (seen, goes_on) = mpsc::channel();
    let daemon = fake.serve(move |talk| {
        let asked = |talk: &mut Talk, after| assert_eq!(talk.expect("hits"), json!({"search": 7, "after": after}));
        talk.answer("list", json!({"search": 7}));
        talk.notice(have_come(500));
        talk.notice(have_come(501));
        asked(talk, 0);
        talk.reply(json!({"hits": [listed(1, "a")], "next": 1}));
        goes_on.recv_timeout(PATIENCE).expect("the first page is shown before the list is over");
        asked(talk, 1);
        // Less than a page is not shown: asked for again when there is more.
        talk.reply(json!({"hits": [listed(2, "b")], "next": null}));
        talk.notice(have_come(501));
        talk.notice(have_come(502));
        asked(talk, 1);
        talk.reply(json!({"hits": [listed(2, "b"), listed(3, "c")], "next": 3}));
        asked(talk, 3);
        // It is over before the answer, which is therefore all of the rest.
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 4, "truncated": false, "error": null}));
        talk.reply(json!({"hits": [listed(4, "d")], "next": null}));
    });
    let mut child = fake.command_here(&["--terse", "list", "192.0.2.1:5"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for line in ["id\tname\tsize\tb3\n".to_owned(), format!("1\ta\t3\t{HASH}\n")] {
        assert_eq!(next_line(&mut out), line);
    }
    seen.send(()).unwrap();
    let rest: Vec<String> = out.lines().map(|line| line.unwrap()).collect();
    assert_eq!(rest, ["2\tb", "3\tc", "4\td"].map(|row| format!("{row}\t3\t{HASH}")));
    let run = finish(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    wait_for(daemon);
}

#[test]
fn a_list_that_ends_amid_its_rows_shows_them_and_says_why() {
    let begun = |talk: &mut Talk| {
        talk.answer("list", json!({"search": 7}));
        talk.notice(have_come(1000));
        talk.answer("hits", json!({"hits": [listed(1, "a")], "next": 1}));
        talk.expect("hits");
    };
    let row = format!(r#"{{"id":1,"name":"a","size":3,"b3":"{HASH}"}}"#);
    // The peer is gone: what came of its list is whole.
    let run = run(&["--json", "list", "192.0.2.1:5"], move |talk| {
        begun(talk);
        let error = json!({"code": 6, "message": "the peer hung up"});
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 1, "truncated": false, "error": error}));
        talk.reply(json!({"hits": [], "next": null}));
    });
    run.gives(6, &format!("[{row}]\n"));
    run.says(6, "the list is incomplete: the peer hung up");
    // Nothing is heard of it any more: the document does not look whole.
    let late = crate::fake::run(&["--json", "--timeout", "100ms", "list", "192.0.2.1:5"], move |talk| {
        begun(talk);
        talk.reply(json!({"hits": [], "next": null}));
        talk.until_hangup();
    });
    late.says(2, "no list from 192.0.2.1:5");
    let (rows, error) = late.out.split_once('\n').unwrap();
    assert_eq!(rows, format!("[{row}"));
    assert!(error.contains("no list from"), "{error}");
}

/// Runs with a standard output that nobody reads.
fn run_unread(arguments: &[&str], script: impl FnOnce(&mut Talk) + Send + 'static) -> Run {
    let fake = Fake::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = fake.command_here(arguments);
    command.stdout(writer);
    fake.run_command(command, script)
}

#[test]
fn what_is_known_at_the_end_is_told_though_nobody_reads_the_rows() {
    let error = json!({"code": 17, "message": "cannot read the share"});
    let page = |next: Value| json!({"files": [file("a")], "next": next, "share_error": error});
    let (last, first) = (page(json!(null)), page(json!("a")));
    run_unread(&["files"], |talk| drop(talk.answer("files", last))).says(0, "cannot read the share");
    let run = run_unread(&["files"], |talk| {
        talk.answer("files", first);
        talk.until_gone();
    });
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    for next in [json!(null), json!(1)] {
        let run = run_unread(&["list", "192.0.2.1:5"], move |talk| {
            talk.answer("list", json!({"search": 7}));
            let error = json!({"code": 6, "message": "the peer hung up"});
            talk.notice(json!({"event": "search_done", "search": 7, "hits": 1, "truncated": false, "error": error}));
            talk.answer("hits", json!({"hits": [listed(1, "a")], "next": next}));
            talk.until_gone();
        });
        run.says(6, "the list is incomplete: the peer hung up");
    }
}

#[test]
fn a_list_that_comes_slowly_ends_when_its_reader_has_gone() {
    let fake = Fake::new();
    let (shown, goes_on) = mpsc::channel();
    let daemon = fake.serve(move |talk| {
        talk.answer("list", json!({"search": 7}));
        talk.notice(have_come(501));
        talk.answer("hits", json!({"hits": [listed(1, "a")], "next": 1}));
        talk.answer("hits", json!({"hits": [], "next": null}));
        goes_on.recv_timeout(PATIENCE).expect("the first page");
        // There is no second page: the list is neither over nor silent.
        while talk.try_notice(&have_come(501)) {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let mut child = fake.command_here(&["--terse", "list", "192.0.2.1:5"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(next_line(&mut out), "id\tname\tsize\tb3\n");
    drop(out);
    shown.send(()).unwrap();
    wait_for(daemon);
    let run = finish(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

/// What the daemon does after the first page, and the code and the message for it.
type Failure = (fn(&mut Talk), i32, &'static str);

#[test]
fn a_document_that_cannot_be_finished_does_not_look_whole() {
    let hangs_up = |talk: &mut Talk| {
        talk.answer("files", json!({"files": [file("a")], "next": "a"}));
        talk.expect("files");
    };
    let fails = |talk: &mut Talk| {
        talk.answer("files", json!({"files": [file("a")], "next": "a"}));
        talk.expect("files");
        talk.fail(17, "cannot read the index");
    };
    // The next call is too long to be sent to a daemon that does not read.
    let reads_nothing = |talk: &mut Talk| {
        talk.answer("files", json!({"files": [file("a")], "next": "n".repeat(900_000)}));
        talk.notices_until_hangup(&json!({"event": "ring", "search": 1, "ttl": 1, "peers": 2}));
    };
    let scripts: [Failure; 3] =
        [(hangs_up, 69, "hung up"), (fails, 17, "cannot read the index"), (reads_nothing, 2, "did not answer within")];
    for (script, code, told) in scripts {
        let run = |form: &[&str]| run(&[form, &["--timeout", "1s", "files"]].concat(), script);
        let json = run(&["--json"]);
        json.says(code, told);
        let (rows, error) = json.out.split_once('\n').unwrap();
        assert_eq!(rows, r#"[{"name":"a","size":3,"b3":null}"#);
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["error"]["code"], code);
        assert!(json.err.contains(error["error"]["message"].as_str().unwrap()), "{json:?}");
        let text = run(&[]);
        text.gives(code, "NAME  SIZE  HASH\na      3 B  -\n");
        text.says(code, told);
        run(&["--terse"]).gives(code, "name\tsize\tb3\na\t3\t-\n");
    }
}

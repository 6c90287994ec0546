//! What somebody at a terminal sees: hits as they come, and progress that says no more than is known.

use super::fake::{Fake, PATIENCE, Talk, download, finish, hit, run, source, wait_for, with};
use nix::pty::{Winsize, openpty};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;

/// A terminal that keeps what is written to it.
pub(crate) struct Screen {
    text: String,
    more: mpsc::Receiver<String>,
}

impl Screen {
    /// A terminal of the usual size, and the side of it that programs write to.
    fn new() -> (Self, OwnedFd) {
        Self::of_columns(80)
    }

    pub(crate) fn of_columns(columns: u16) -> (Self, OwnedFd) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        (Self::reading(pty.master), pty.slave)
    }

    /// What programs write to the terminal of this side.
    pub(crate) fn reading(master: OwnedFd) -> Self {
        let mut master = File::from(master);
        let (sender, more) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails as soon as no program has the terminal open.
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                if sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { text: String::new(), more }
    }

    /// What stands there by now.
    pub(crate) fn so_far(&mut self) -> &str {
        self.text.extend(self.more.try_iter());
        &self.text
    }

    /// Waits until this stands there.
    #[track_caller]
    pub(crate) fn shows(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let more = self.more.recv_timeout(PATIENCE);
            self.text += &more.unwrap_or_else(|_| panic!("{wanted:?} does not come: {:?}", self.text));
        }
    }

    /// Everything that was written, once no program has it open.
    pub(crate) fn all(mut self) -> String {
        while let Ok(more) = self.more.recv_timeout(PATIENCE) {
            self.text += &more;
        }
        self.text
    }
}

#[test]
fn a_hit_is_shown_when_it_comes() {
    let fake = Fake::new();
    let (seen, has_seen) = mpsc::channel();
    let daemon = fake.serve(move |talk| {
        talk.answer("search", json!({"search": 7}));
        let evil = "a\u{1b}[31m.txt";
        talk.notice(json!({"event": "hit", "search": 7, "hit": hit(3, evil, None, &["192.0.2.1:5"])}));
        has_seen.recv_timeout(PATIENCE).unwrap();
        let known = hit(3, evil, Some(5), &["192.0.2.1:5", "192.0.2.2:5"]);
        let long = with(
            hit(12, &"x".repeat(3800), Some(2048), &["[2001:db8::1]:5", "192.0.2.2:5"]),
            json!({"b3": "0123456789abcdef".repeat(4), "names": ["x".repeat(3800), "y", "z"]}),
        );
        talk.notice(json!({"event": "hit", "search": 7, "hit": known}));
        talk.notice(json!({"event": "hit", "search": 7, "hit": long}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 3, "truncated": false, "error": null}));
        // One came between the last notice and the answer.
        let late = hit(13, "late", None, &["192.0.2.1:5"]);
        talk.answer("hits", json!({"hits": [known, long, late], "next": null}));
    });
    let (mut screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["search", "x", "--wait", "1h"]);
    command.env("NO_COLOR", "1").stdout(terminal);
    let child = command.spawn().unwrap();
    // It holds the terminal open, too.
    drop(command);
    screen.shows("unverified\r\n");
    seen.send(()).unwrap();
    let run = finish(child);
    wait_for(daemon);
    let line =
        |id, name: &str, size, sources, hash| format!("{id:>5}  {name:<40}  {size:>10}  {sources:>7}  {hash}\r\n");
    // Not a row is wider than the terminal.
    let cut = format!("{}…{} (+2 names)", "x".repeat(20), "x".repeat(8));
    let header = line("ID", "NAME", "SIZE", "SOURCES", "HASH");
    let long = line("12", &cut, "2.0 KiB", "2", "012345678…");
    // What was learned of the first hit meanwhile is shown at the end.
    assert_eq!(
        screen.all(),
        header.clone()
            + &line("3", "a\\x1b[31m.txt", "-", "1", "unverified")
            + &long
            + "\r\x1b[3A\x1b[J"
            + &header
            + &line("3", "a\\x1b[31m.txt", "5 B", "2", "unverified")
            + &long
            + &line("13", "late", "-", "1", "unverified")
    );
    assert_eq!(
        (run.code, run.err.as_str()),
        (
            0,
            "unverified: no source gave a hash, so that what is downloaded cannot be checked\n\
             3 hits; `pyratectl hits ID` shows all names and sources of one\n"
        )
    );
}

#[test]
fn a_search_without_hits_shows_nothing_but_that() {
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["search", "x", "--wait", "10ms"]);
    command.stdout(terminal);
    let run = fake.run_command(command, |talk| {
        talk.answer("search", json!({"search": 1}));
        talk.answer("hits", json!({"hits": [], "next": null}));
    });
    run.says(3, "no hit for 'x'; fewer or shorter words find more, `pyratectl peers` shows who is asked\n");
    assert_eq!((run.err.lines().count(), screen.all().as_str()), (1, ""));
}

#[test]
fn hits_that_are_to_be_sorted_stand_in_that_order_at_the_end() {
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["search", "x", "--wait", "1h", "--sort", "size"]);
    command.stdout(terminal).env("TERM", "xterm");
    let run = fake.run_command(command, |talk| {
        talk.answer("search", json!({"search": 1}));
        let rows = [hit(3, "small", Some(5), &["192.0.2.1:5"]), hit(4, "large", Some(9), &["192.0.2.1:5"])];
        rows.iter().for_each(|row| talk.notice(json!({"event": "hit", "search": 1, "hit": row})));
        talk.notice(json!({"event": "search_done", "search": 1, "hits": 2, "truncated": false, "error": null}));
        talk.answer("hits", json!({"hits": rows, "next": null}));
    });
    assert_eq!(run.code, 0);
    let text = screen.all();
    let at_end = text.rsplit_once("\u{1b}[J").unwrap().1;
    assert!(at_end.find("large").unwrap() < at_end.find("small").unwrap(), "{text}");
}

#[test]
fn programs_that_ask_for_a_form_get_one_table_also_at_a_terminal() {
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["search", "x", "--wait", "1h", "--terse"]);
    command.stdout(terminal);
    let run = fake.run_command(command, |talk| {
        talk.answer("search", json!({"search": 1}));
        let row = hit(3, "a", None, &["192.0.2.1:5"]);
        talk.notice(json!({"event": "hit", "search": 1, "hit": row}));
        talk.notice(json!({"event": "search_done", "search": 1, "hits": 1, "truncated": false, "error": null}));
        talk.answer("hits", json!({"hits": [with(row, json!({"size": 5}))], "next": null}));
    });
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(
        screen.all(),
        "id\tname\tsize\tb3\tsources\tnames\tfiles\tbytes\r\n3\ta\t5\t-\t192.0.2.1:5\ta\t-\t-\r\n"
    );
}

#[test]
fn a_terminal_that_cannot_redraw_shows_each_state_and_an_ascii_locale_ascii() {
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["download", "1", "--json"]);
    command.env("TERM", "dumb").env("LC_ALL", "C").stderr(terminal);
    let run = fake.run_command(command, |talk| {
        talk.answer("download", json!({"downloads": [download(1, "a", "active", 0)], "next": null}));
        talk.notice(json!({"event": "download", "download": download(1, "a", "retrying", 9)}));
        let row = with(download(1, "a", "done", 2048), json!({"path": "/d/a", "verified": true}));
        talk.notice(json!({"event": "download", "download": row}));
        talk.until_hangup();
    });
    assert_eq!(run.code, 0);
    let shown = screen.all();
    assert!(["1 active: a", "1 retrying: a", "1 done: a: /d/a"].iter().all(|state| shown.contains(state)), "{shown:?}");

    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let (errors, other) = Screen::new();
    let mut command = fake.command_here(&["search", "x", "--wait", "1h"]);
    command.env("TERM", "xterm").env("LC_ALL", "POSIX").env("NO_COLOR", "1").stdout(terminal).stderr(other);
    let run = fake.run_command(command, |talk| {
        talk.answer("search", json!({"search": 1}));
        let row = with(hit(3, &"x".repeat(99), Some(5), &["192.0.2.1:5"]), json!({"b3": "0123456789abcdef".repeat(4)}));
        talk.notice(json!({"event": "hit", "search": 1, "hit": row}));
        talk.notice(json!({"event": "search_done", "search": 1, "hits": 1, "truncated": false, "error": null}));
        talk.answer("hits", json!({"hits": [row], "next": null}));
    });
    assert_eq!(run.code, 0);
    let (shown, progress) = (screen.all(), errors.all());
    assert!(shown.contains("xx...xx") && shown.contains("0123456...") && shown.is_ascii(), "{shown:?}");
    assert!(progress.contains("searching") && progress.is_ascii(), "{progress:?}");
}

#[test]
fn a_share_is_shown_only_of_a_size_that_is_known() {
    for (size, shown, not_shown) in
        [(json!(null), "1.0 KiB/- 512 B/s 1 source  a", "%"), (json!(2048), " 50% 1.0 KiB/2.0 KiB 512 B/s 2 s", "/-")]
    {
        let fake = Fake::new();
        let (screen, terminal) = Screen::new();
        let (screen, wanted) = (std::sync::Arc::new(std::sync::Mutex::new(screen)), shown);
        let watched = std::sync::Arc::clone(&screen);
        let mut command = fake.command_here(&["download", "1", "--json"]);
        command.env("TERM", "xterm").stderr(terminal);
        let run = fake.run_command(command, move |talk| {
            let row = with(download(1, "a", "active", 0), json!({"size": size}));
            talk.answer("download", json!({"downloads": [row], "next": null}));
            let row = with(row, json!({"bytes_done": 1024, "rate": 512}));
            talk.notice(json!({"event": "download", "download": row}));
            watched.lock().unwrap().shows(wanted);
            let row = with(row, json!({"state": "done", "path": "/d/a"}));
            talk.notice(json!({"event": "download", "download": row}));
            talk.until_hangup();
        });
        assert_eq!(run.code, 0);
        let screen = std::sync::Arc::into_inner(screen).unwrap().into_inner().unwrap().all();
        assert!(!screen.contains(not_shown), "{screen:?}");
    }
}

#[test]
fn a_bar_tells_verified_bytes_and_how_many_send_them_and_gives_way_to_lines() {
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let screen = std::sync::Arc::new(std::sync::Mutex::new(screen));
    let watched = std::sync::Arc::clone(&screen);
    let mut command = fake.command_here(&["download", "1", "--json"]);
    command.env("TERM", "xterm").stderr(terminal);
    let run = fake.run_command(command, move |talk| {
        let (one, two) = ("192.0.2.1:5", "192.0.2.2:5");
        let shares = json!([source(one, "active", 1024), source(two, "active", 0)]);
        let row = with(download(1, "a", "active", 1024), json!({"b3": "ab", "rate": 512, "shares": shares}));
        talk.answer("download", json!({"downloads": [row], "next": null}));
        watched.lock().unwrap().shows("1.0 KiB/2.0 KiB verified 512 B/s 2 s 2 sources");
        talk.notice(json!({"event": "source_lost", "download": 1, "source": source(two, "corrupt", 0)}));
        watched.lock().unwrap().shows("1: 192.0.2.2:5 sent wrong bytes; continuing with 1 other");
        talk.notice(json!({"event": "download", "download": with(row, json!({"state": "done", "verified": true}))}));
        talk.until_hangup();
    });
    assert_eq!(run.code, 0);
    drop(std::sync::Arc::into_inner(screen).unwrap().into_inner().unwrap().all());
}

#[test]
fn a_name_of_any_length_leaves_a_table_on_the_terminal_and_nowhere_else() {
    let row = |id, name: &str| {
        with(download(id, name, "done", 2048), json!({"path": format!("/d/{name}"), "verified": true}))
    };
    let script = move |talk: &mut Talk| {
        let rows = [row(1, &"n".repeat(3800)), row(2, "short")];
        talk.answer("downloads", json!({"downloads": rows, "next": null}));
    };
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["downloads"]);
    command.env("NO_COLOR", "1").stdout(terminal);
    assert_eq!(fake.run_command(command, script).code, 0);
    let shown = screen.all();
    assert_eq!(shown.lines().map(|line| line.chars().count()).max(), Some(80), "{shown}");
    assert!(shown.contains("n…n") && shown.contains("/d/n") && shown.contains("/d/short"), "{shown}");

    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["downloads", "--terse"]);
    command.stdout(terminal);
    assert_eq!(fake.run_command(command, script).code, 0);
    assert!(screen.all().contains(&format!("1\t{0}\t/d/{0}\tdone", "n".repeat(3800))));
    let piped = run(&["downloads"], script);
    assert!(piped.out.contains(&"n".repeat(3800)) && !piped.out.contains('…'));
}

#[test]
fn a_live_view_ends_where_the_daemon_is_of_another_version_and_gives_the_terminal_back() {
    let fake = Fake::new();
    let (screen, terminal) = Screen::new();
    let mut command = fake.command_here(&["top"]);
    command.env("TERM", "xterm").stdin(terminal.try_clone().unwrap()).stdout(terminal);
    let run = fake.run_command(command, |talk| {
        talk.answer("events", json!({}));
        talk.answer("peers", json!([]));
        talk.answer("metrics", json!({"of": "another version"}));
        talk.until_gone();
    });
    run.says(1, "is no daemon of this version: unexpected answer: ");
    let shown = screen.all();
    let place = |wanted: &str| shown.find(wanted).unwrap_or_else(|| panic!("{wanted:?}: {shown:?}"));
    assert!(place("\x1b[?1049h") < place("no download is remembered") && place("remembered") < place("\x1b[?1049l"));
}

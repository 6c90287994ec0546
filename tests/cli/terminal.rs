//! What somebody at a terminal sees: hits as they come, and progress that says no more than is known.

use super::fake::{Fake, PATIENCE, download, finish, hit, wait_for, with};
use nix::pty::{Winsize, openpty};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

/// A terminal that keeps what is written to it.
struct Screen {
    text: String,
    more: mpsc::Receiver<String>,
}

impl Screen {
    /// A terminal, and the side of it that programs write to.
    fn new() -> (Self, Stdio) {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let mut master = File::from(pty.master);
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
        (Self { text: String::new(), more }, pty.slave.into())
    }

    /// Waits until this stands there.
    #[track_caller]
    fn shows(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let more = self.more.recv_timeout(PATIENCE);
            self.text += &more.unwrap_or_else(|_| panic!("{wanted:?} does not come: {:?}", self.text));
        }
    }

    /// Everything that was written, once no program has it open.
    fn all(mut self) -> String {
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
        let long = hit(12, &"x".repeat(50), Some(2048), &["[2001:db8::1]:5", "192.0.2.2:5"]);
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
    screen.shows("192.0.2.1:5\r\n");
    seen.send(()).unwrap();
    let run = finish(child);
    wait_for(daemon);
    let line = |id, name: &str, size, source| format!("{id:>4}  {name:<36}  {size:>10}  {source}\r\n");
    assert_eq!(
        screen.all(),
        line("ID", "NAME", "SIZE", "SOURCES")
            + &line("3", "a\\x1b[31m.txt", "-", "192.0.2.1:5")
            + &line("12", &"x".repeat(50), "2.0 KiB", "[2001:db8::1]:5 +1")
            + &line("13", "late", "-", "192.0.2.1:5")
    );
    assert_eq!((run.code, run.err.as_str()), (0, "3 hits; 'pyratectl hits' shows all their sources\n"));
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
    run.says(3, "no hit for 'x'\n");
    assert_eq!((run.err.lines().count(), screen.all().as_str()), (1, ""));
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
    assert_eq!(screen.all(), "id\tname\tsize\tb3\tsources\r\n3\ta\t5\t-\t192.0.2.1:5\r\n");
}

#[test]
fn a_share_is_shown_only_of_a_size_that_is_known() {
    for (size, shown, not_shown) in
        [(json!(null), "1.0 KiB/- 512 B/s  a", "%"), (json!(2048), " 50% 1.0 KiB/2.0", "/-")]
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

//! What somebody at a terminal sees: progress that says no more than is known.

use super::fake::{Fake, PATIENCE, download, with};
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

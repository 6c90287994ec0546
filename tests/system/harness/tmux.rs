//! A shell in a terminal of tmux(1), of which a test sees the screen and presses the keys.

use super::{LIMIT, clean_command, not_tested, until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Ended when dropped. A failing test prints its screen.
pub(crate) struct Tmux {
    home: PathBuf,
}

impl Tmux {
    /// A terminal of this size, whose files are in this directory. `None` where there is no tmux; that is said aloud.
    pub(crate) fn new(what: &str, home: &Path, columns: u16, rows: u16) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            not_tested(what, "tmux is not installed");
            return None;
        }
        let tmux = Self { home: home.to_owned() };
        let size = [columns, rows].map(|size| size.to_string());
        let shell = "env PS1='ready: ' LC_ALL=C.UTF-8 TERM=screen-256color sh -i";
        tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], shell]);
        tmux.run(&["set-option", "-g", "status", "off"]);
        // Without the line of status, which took one.
        tmux.resize(columns, rows);
        tmux.shows("ready:");
        Some(tmux)
    }

    /// Types a line and Enter.
    pub(crate) fn line(&self, text: &str) {
        self.text(text);
        self.keys(&["Enter"]);
    }

    pub(crate) fn text(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
    }

    /// Presses keys by their names in tmux.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    pub(crate) fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits until this stands on the screen.
    #[track_caller]
    pub(crate) fn shows(&self, wanted: &str) {
        self.becomes(wanted, |screen| screen.contains(wanted));
    }

    /// Waits until this holds for the screen.
    #[track_caller]
    pub(crate) fn becomes(&self, what: &str, holds: impl Fn(&str) -> bool) {
        until(&format!("{what} on the screen"), LIMIT, || holds(&self.screen()));
    }

    /// Whether a program shows the alternate screen.
    pub(crate) fn is_alternate(&self) -> bool {
        self.run(&["display-message", "-p", "#{alternate_on}"]).trim() == "1"
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = clean_command("tmux", &self.home);
        command.env("LC_ALL", "C.UTF-8").arg("-S").arg(self.home.join("tmux")).args(arguments);
        let output = command.output().expect("tmux can be run");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("its output is text")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let socket = self.home.join("tmux");
        let run = |arguments: &[&str]| {
            let output = clean_command("tmux", &self.home).arg("-S").arg(&socket).args(arguments).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        if std::thread::panicking() {
            eprintln!("--- the screen\n{}", run(&["capture-pane", "-p"]));
        }
        run(&["kill-server"]);
    }
}

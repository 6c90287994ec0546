//! `pyratectl top` in a terminal: what its screen shows, what its keys do, and that the terminal is given back.

use crate::harness::{Daemon, LIMIT, Setup, Stopwatch, Tmux, clean_command, pause, until};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Duration;

/// A terminal with a shell, in the home of a daemon.
fn terminal(what: &str, daemon: &Daemon) -> Option<Tmux> {
    Tmux::new(what, daemon.home(), 80, 24)
}

/// Types the command that shows the daemon, and waits for its screen. Its process is in the file `pid`, its code is told at the end, and
/// the modes of the terminal before and after it are in the files `before` and `after`.
fn begin(tmux: &Tmux, daemon: &Daemon) {
    let program = format!("{} --socket {}", env!("CARGO_BIN_EXE_pyratectl"), daemon.socket().display());
    let script = format!(
        "clear; stty -a >before; sh -c 'echo $$ >pid; exec {program} top'; echo \"code=$?\"; stty -a >after; echo over\n"
    );
    fs::write(daemon.home().join("begin"), script).expect("the home can be written");
    tmux.line(&format!("cd {}; . ./begin", daemon.home().display()));
    tmux.shows(&format!("Pyrate 0.1.0  {}", daemon.listen()));
    assert!(tmux.is_alternate());
}

/// Waits for the end, which gives the terminal back.
#[track_caller]
fn ended(tmux: &Tmux, daemon: &Daemon, code: u8) {
    tmux.shows(&format!("code={code}\n"));
    tmux.shows("over");
    assert!(!tmux.is_alternate());
    let modes = ["before", "after"].map(|file| fs::read_to_string(daemon.home().join(file)).expect("stty ran"));
    assert_eq!(modes[0], modes[1]);
    for file in ["before", "after", "pid"] {
        fs::remove_file(daemon.home().join(file)).expect("it is there");
    }
}

#[test]
fn a_search_a_download_and_orders_to_it_by_keys_at_any_size() {
    let bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let song =
        Setup::peer().shares("songs/evil\u{202e}日本 shanty.ogg", vec![7; 4 << 20]).set("upload_limit", "'40KiB'");
    let source = song.joins(&[at]).start();
    let asker = Setup::peer().joins(&[at]).start();
    asker.await_neighbour(source.listen());
    let Some(tmux) = terminal("top by keys", &asker) else { return };
    begin(&tmux, &asker);
    tmux.shows("registered");
    tmux.becomes("turns, whose line is not cut", |screen| {
        screen.lines().any(|line| line.starts_with("Turns  p50") && line.contains("longest ") && !line.contains("from"))
    });
    tmux.text("/");
    tmux.text("shanty");
    tmux.shows("Search: shanty");
    tmux.keys(&["Enter"]);
    tmux.shows("evil\\u{202e}日本 shanty.ogg");
    tmux.keys(&["Enter", "Tab"]);
    tmux.becomes("an active download with its source", |screen| {
        screen.contains("active") && screen.contains("KiB/s") && screen.contains(&source.listen().to_string())
    });
    let id = asker.pages("downloads", "downloads")[0]["id"].as_u64().expect("an id");
    let first = |state: &str| {
        tmux.becomes(state, |screen| {
            screen.lines().any(|line| line.starts_with(&format!("  {id}  ")) && line.contains(state))
        });
    };
    first("active");
    tmux.text("p");
    first("paused");
    assert_eq!(asker.download(id)["state"], "paused");
    tmux.text("r");
    first("active");

    tmux.resize(200, 60);
    tmux.becomes("all panes", |screen| {
        ["Transfers 1", "Uploads 0", "Peers 1", "SEARCHED", "Hits 1", "SOURCES"].iter().all(|it| screen.contains(it))
            && screen.lines().count() == 60
    });
    for (columns, rows) in [(1, 1), (20, 5), (500, 3), (2, 100), (80, 24)] {
        tmux.resize(columns, rows);
    }
    first("active");

    tmux.text("c");
    tmux.shows(&format!("Cancel {id} and remove its data? y/n"));
    tmux.text("n");
    tmux.becomes("no question", |screen| !screen.contains("Cancel"));
    assert_eq!(asker.download(id)["state"], "active");
    tmux.text("cy");
    tmux.shows(&format!("{id} cancelled: "));
    assert_eq!(asker.download(id)["state"], "cancelled");
    tmux.text("?");
    tmux.shows("back to the shell");
    tmux.shows("cancel it and remove its data, after a question\n");
    tmux.text("xq");
    ended(&tmux, &asker, 0);
}

#[test]
fn what_peers_search_and_fetch_passes_by() {
    let source = Setup::peer().shares("a.bin", vec![1; 1 << 20]).set("upload_limit", "'40KiB'").start();
    let asker = Setup::peer().start();
    let Some(tmux) = terminal("searches and uploads in top", &source) else { return };
    // So that they know each other.
    asker.begin_download(source.listen(), "a.bin");
    until("the upload has begun", LIMIT, || source.status()["uploads_active"] != 0);
    begin(&tmux, &source);
    asker.await_neighbour(source.listen());
    asker.call("search", serde_json::json!({ "text": "sea shanties" }));
    tmux.becomes("a search", |screen| screen.contains("Searches ") && !screen.contains("Searches 0"));
    tmux.keys(&["Tab"]);
    tmux.becomes("the upload, which began before, and its rate", |screen| {
        screen.contains("a.bin") && screen.contains("sending") && screen.contains("KiB/s")
    });
    tmux.keys(&["Tab"]);
    tmux.shows(&asker.listen().to_string());
    tmux.keys(&["Tab"]);
    tmux.becomes("the search", |screen| {
        screen.contains("sea shanties") && screen.contains(&asker.listen().to_string())
    });
    tmux.keys(&["C-c"]);
    ended(&tmux, &source, 0);
}

#[test]
fn a_daemon_that_is_gone_is_waited_for_and_told_at_the_end() {
    let mut daemon = Setup::peer().set("listen_port", "0").start();
    let Some(tmux) = terminal("top and a daemon that is killed", &daemon) else { return };
    begin(&tmux, &daemon);
    daemon.end_by(Signal::SIGKILL);
    // It is wrapped: up to its last words.
    tmux.becomes("the whole of why", |screen| {
        let head = screen.lines().take(4).map(str::trim).collect::<Vec<_>>().join(" ");
        let said = ["its log may tell why", "`systemctl start pyrated`", "try again, or restart it"];
        head.starts_with("The daemon is gone; waiting for it: ") && said.iter().any(|end| head.contains(end))
    });
    tmux.text("/x");
    tmux.keys(&["Enter"]);
    tmux.shows("the daemon is gone: nothing was done");
    daemon.start_again();
    tmux.shows(&format!("Pyrate 0.1.0  {}", daemon.listen()));
    daemon.stop();
    tmux.shows("The daemon is gone");
    tmux.text("q");
    tmux.shows("pyratectl: the daemon at ");
    ended(&tmux, &daemon, 69);
}

#[test]
fn a_daemon_that_does_not_answer_is_told_and_keys_still_work() {
    let daemon = Setup::peer().start();
    let Some(tmux) = terminal("top and a daemon that is stopped", &daemon) else { return };
    begin(&tmux, &daemon);
    daemon.signal(Signal::SIGSTOP);
    tmux.shows("The daemon has not answered for ");
    tmux.text("?");
    tmux.shows("back to the shell");
    daemon.signal(Signal::SIGCONT);
    tmux.becomes("the node", |screen| screen.starts_with("Pyrate"));
    tmux.text("xq");
    ended(&tmux, &daemon, 0);
}

/// The terminal is not its controlling one, so that no signal tells it of the end. The terminal answers no question either: with C-l,
/// everything is drawn again.
#[test]
fn without_its_terminal_the_program_ends() {
    let daemon = Setup::peer().start();
    for keys in [&b""[..], b"\x0c"] {
        // Not by openpty(3), whose descriptors each program inherits that is begun meanwhile.
        let mut terminal = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
        let path = ptsname_r(&terminal).expect("it has a name");
        let other_side = || {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&path).expect("it is ours")
        };
        let sized = Command::new("stty").args(["rows", "24", "cols", "80"]).stdin(other_side()).status();
        assert!(sized.expect("stty can be run").success());
        let mut command = clean_command(env!("CARGO_BIN_EXE_pyratectl"), daemon.home());
        command.env("TERM", "xterm").arg("--socket").arg(daemon.socket()).arg("top");
        command.stdin(other_side()).stdout(other_side()).stderr(other_side());
        let mut child = command.spawn().expect("it runs");
        drop(command);
        let (mut shown, mut part) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&shown).contains("Pyrate") {
            let count = terminal.read(&mut part).expect("it draws");
            shown.extend_from_slice(&part[..count]);
        }
        if !keys.is_empty() {
            terminal.write_all(keys).expect("it reads");
            assert!(terminal.read(&mut part).expect("it draws again") > 0);
        }
        drop(terminal);
        let watch = Stopwatch::start();
        while child.try_wait().expect("our own child").is_none() && watch.ran() < LIMIT {
            pause(Duration::from_millis(10));
        }
        let ended = child.try_wait().expect("our own child");
        let _ = child.kill();
        assert!(ended.is_some(), "it still runs after {:?}", String::from_utf8_lossy(keys));
    }
}

#[test]
fn the_terminal_is_given_back_to_whatever_ends_or_stops_the_program() {
    let daemon = Setup::peer().start();
    let Some(tmux) = terminal("top and signals", &daemon) else { return };
    let signal = |signal: Signal| {
        let pid = fs::read_to_string(daemon.home().join("pid")).expect("it was begun");
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    };
    for (by, code) in
        [(Signal::SIGINT, 0), (Signal::SIGTERM, 128 + 15), (Signal::SIGHUP, 128 + 1), (Signal::SIGQUIT, 128 + 3)]
    {
        begin(&tmux, &daemon);
        signal(by);
        ended(&tmux, &daemon, code);
    }
    // Stopped by its key, by a signal that it sees, and by one that it does not see.
    begin(&tmux, &daemon);
    tmux.keys(&["C-z"]);
    until("the shell has the terminal", LIMIT, || !tmux.is_alternate());
    tmux.line("fg");
    until("the screen is back", LIMIT, || tmux.is_alternate());
    tmux.becomes("the node", |screen| screen.starts_with("Pyrate"));
    signal(Signal::SIGTSTP);
    until("the shell has the terminal", LIMIT, || !tmux.is_alternate());
    tmux.line("fg");
    until("the screen is back", LIMIT, || tmux.is_alternate());
    signal(Signal::SIGSTOP);
    tmux.becomes("the shell", |screen| screen.contains("(signal)"));
    // Nobody has set the modes of the terminal back: a line ends as it does in raw mode.
    tmux.text("fg");
    tmux.keys(&["C-j"]);
    tmux.becomes("the node", |screen| screen.starts_with("Pyrate") && !screen.contains("(signal)"));
    tmux.text("q");
    until("the shell has the terminal", LIMIT, || !tmux.is_alternate());
    tmux.line("clear; stty -a >after; echo over");
    tmux.shows("over");
    let modes = ["before", "after"].map(|file| fs::read_to_string(daemon.home().join(file)).expect("stty ran"));
    assert_eq!(modes[0], modes[1]);
    // Where it cannot draw, it does not begin.
    let program = env!("CARGO_BIN_EXE_pyratectl");
    tmux.line(&format!("clear; TERM=dumb {program} top; echo code=$?"));
    tmux.becomes("the refusal", |screen| screen.contains("TERM is 'dumb'") && screen.contains("code=28\n"));
}

//! Completion in the real shells, with names that would do harm if a shell took them for more than text.

#![allow(clippy::disallowed_methods, reason = "the time that a user waits for a shell is that of the clock")]

use super::fake::{Fake, PATIENCE, Run, download, finish, hit, run_alone, wait_for, with};
use super::not_tested::not_tested;
use super::terminal::Screen;
use nix::pty::openpty;
use serde_json::{Value, json};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PEER: &str = "127.0.0.1:63340";

/// What a run that completes may take, as its users notice it.
const RUN_MAX: Duration = Duration::from_millis(50);

/// How long completion waits for the daemon. Unless it is set, an answer that comes late is left out.
const WAIT_VARIABLE: &str = "PYRATECTL_COMPLETION_WAIT";

/// Names after two digits, by which each is asked for.
const HOSTILE: [&str; 17] = [
    "Drunken Sailor.txt",
    "it's",
    "say \"hi\"",
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a&touch pwned|touch pwned",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "back\\slash\\",
    "bang!touch!!",
    "$HOME ${HOME} %s ^a^b",
    "~ {a,b} *.txt [a-z]? #c",
    "(a) <b >c =d:e",
    "é ü \u{a0}\u{3000}x",
    "a\u{202e}b",
    " x -- -y  ",
];

/// As `pyratectl` shows it, and takes it.
fn shown(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\u{202e}', "\\u{202e}")
}

/// A daemon with downloads in each state, a peer, and hits with hostile names.
fn daemon(fake: &Fake) {
    let named = |(at, name): (usize, &&str)| hit(at as u32 + 1, &format!("{at:02}{name}"), Some(5), &[PEER]);
    let mut hits: Vec<Value> = HOSTILE.iter().enumerate().map(named).collect();
    // No name of a file has these bytes, and there is no way to type them.
    hits.push(hit(90, "90\ntouch pwned\n", None, &[PEER]));
    hits.push(hit(91, "91\r\ttouch pwned", None, &[PEER]));
    hits.push(hit(92, "elsewhere", None, &["192.0.2.9:5"]));
    let states = [(1, "active"), (2, "paused"), (3, "failed"), (4, "done"), (5, "retrying"), (6, "cancelled")];
    let downloads = states.map(|(id, state)| download(id, "a\tb\x1b[31m", state, 0));
    let peer = json!({"addr": PEER, "source": "user", "state": "alive", "last_seen": 1, "p1": true, "neighbour": true});
    fake.serve_all(json!({
        "hits": {"hits": hits, "next": null},
        "downloads": {"downloads": downloads, "next": null},
        "peers": [peer],
    }));
}

/// Whether a shell is installed; says so if not.
fn has(shell: &str) -> bool {
    let runs = Command::new(shell).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = runs.is_ok_and(|status| status.success());
    if !there {
        not_tested(&format!("completion in {shell}"), &format!("{shell} is not installed"));
    }
    there
}

/// The script for a shell, as a file that it finds by the name that it expects.
fn install(fake: &Fake, shell: &str, file: &str) {
    let script = run_alone(&["completions", shell]);
    assert_eq!((script.code, script.err.as_str()), (0, ""));
    fs::write(fake.directory().join(file), script.out).unwrap();
}

/// What is offered in zsh, with all that the daemon says: a word in each line, and after it what it stands for.
pub(crate) fn offered_in_zsh(fake: &Fake, typed: &[&str]) -> Vec<String> {
    let mut command = fake.command_here(&[&["--complete", "zsh"], typed].concat());
    let mut shown = lines(finish(command.env(WAIT_VARIABLE, long_wait()).spawn().unwrap()));
    assert_eq!(shown.remove(0), "words");
    shown
}

/// The words alone.
fn words_in_zsh(fake: &Fake, typed: &[&str]) -> Vec<String> {
    offered_in_zsh(fake, typed).iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// Longer than the answers of a daemon take on a busy machine.
fn long_wait() -> String {
    format!("{}s", PATIENCE.as_secs())
}

/// A shell in the directory of the socket; there it finds a `pyratectl` that completes, and waits for all that the daemon says, and
/// otherwise writes down its arguments.
fn shell(fake: &Fake, program: &str, arguments: &[&str]) -> Command {
    let directory = fake.directory().display();
    let stand_in = fake.directory().join("pyratectl");
    let real = env!("CARGO_BIN_EXE_pyratectl");
    let text = format!(
        r#"#!/bin/sh
        if [ "$1" != --complete ]; then
            printf '%s\n' "$#:$*" >>'{directory}/taken'
            exit
        fi
        exec '{real}' "$@"
        "#
    );
    fs::write(&stand_in, text).unwrap();
    fs::set_permissions(&stand_in, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(fake.directory());
    for (name, value) in [("LC_ALL", "C.UTF-8"), ("TERM", "dumb"), ("HISTFILE", "/dev/null")] {
        command.env(name, value);
    }
    command.env("HOME", fake.directory()).env("PATH", format!("{directory}:/usr/bin:/bin"));
    command.env("PYRATE_CONTROL_SOCKET", fake.socket());
    command.env(WAIT_VARIABLE, long_wait());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Types lines at an interactive shell, each when the one before has been executed, and gives what `pyratectl` was given.
fn typed(fake: &Fake, mut command: Command, setup: &str, lines: &[String]) -> Vec<String> {
    let pty = openpty(None, None).unwrap();
    let mut keyboard = File::from(pty.master.try_clone().unwrap());
    let mut screen = Screen::reading(pty.master);
    let terminal = || pty.slave.try_clone().unwrap();
    let mut child = command.stdin(terminal()).stdout(terminal()).stderr(terminal()).spawn().unwrap();
    writeln!(keyboard, "{setup}; echo ready-$((40 + 2))").unwrap();
    screen.shows("ready-42");
    let file = fake.directory().join("taken");
    let taken = || fs::read_to_string(&file).unwrap_or_default();
    for (at, line) in lines.iter().enumerate() {
        write!(keyboard, "pyratectl download {line}\t\r").unwrap();
        let until = Instant::now() + PATIENCE;
        while taken().lines().count() <= at {
            assert!(Instant::now() < until, "{line:?} was not executed: {:?}", screen.so_far());
            thread::sleep(Duration::from_millis(5));
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    taken().lines().map(str::to_owned).collect()
}

/// Completes paths, and each hostile name without quotes and inside both kinds, at a prompt, and executes the line.
fn lines_are_completed(fake: &Fake, command: Command, setup: &str, may_refuse: fn(&str, &str) -> bool) {
    fs::write(fake.directory().join("only this"), "").unwrap();
    let mut lines = vec!["1 -o on".to_owned(), "1 --output=on".to_owned()];
    let mut expected = vec!["4:download 1 -o only this".to_owned(), "3:download 1 --output=only this".to_owned()];
    for quote in ["", "'", "\""] {
        for (at, name) in HOSTILE.iter().enumerate().filter(|(_, name)| !may_refuse(quote, name)) {
            lines.push(format!("{quote}{PEER}/{at:02}"));
            expected.push(format!("2:download {PEER}/{at:02}{}", shown(name)));
        }
    }
    let taken = typed(fake, command, setup, &lines);
    for ((line, taken), expected) in lines.iter().zip(&taken).zip(&expected) {
        assert_eq!(taken, expected, "{line}");
    }
    assert_eq!(taken.len(), expected.len());
    assert!(!fake.directory().join("pwned").exists());
}

/// What is offered for lines, as all shells must.
fn offers(candidates: impl Fn(&str) -> Vec<String>) {
    for (line, expected) in [
        ("pau", &["pause"][..]),
        ("help res", &["resume", "rescan"]),
        ("pause ", &["all", "1", "5"]),
        ("resume ", &["all", "2"]),
        ("retry ", &["all", "3", "5"]),
        ("cancel ", &["all", "1", "2", "3", "5"]),
        ("downloads ", &["all", "1", "2", "3", "4", "5", "6"]),
        ("pause 1,", &["1,5"]),
        ("download 9", &["9", "90", "91", "92"]),
        ("list 12", &[PEER]),
        ("download --det", &["--detach"]),
        ("hits --ter", &["--terse"]),
        ("log-level d", &["debug"]),
        ("completions ", &["bash", "zsh", "fish"]),
    ] {
        assert_eq!(candidates(line), expected, "{line}");
    }
}

fn lines(run: Run) -> Vec<String> {
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    run.out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    if !has("bash") {
        return;
    }
    let fake = Fake::new();
    daemon(&fake);
    install(&fake, "bash", "script");
    offers(|line| {
        let call = "source ./script; COMP_LINE=\"pyratectl $1\"; COMP_POINT=${#COMP_LINE}; COMP_WORDBREAKS=$' \\t\\n:='
            compopt() { :; }; _pyratectl; printf '%s' \"${COMPREPLY[@]/%/$'\\n'}\"";
        lines(finish(shell(&fake, "bash", &["--norc", "-c", call, "bash", line]).spawn().unwrap()))
    });
    // Between double quotes there is no way to write a `!`, and no quote is closed behind one in the name.
    let refused =
        |quote: &str, name: &str| quote == "\"" && name.contains('!') || !quote.is_empty() && name.ends_with(quote);
    let command = shell(&fake, "setsid", &["-c", "bash", "--norc", "--noprofile", "-i"]);
    lines_are_completed(&fake, command, "source ./script; set -H", refused);
}

#[test]
fn zsh_completes() {
    if !has("zsh") {
        return;
    }
    let fake = Fake::new();
    daemon(&fake);
    install(&fake, "zsh", "_pyratectl");
    let setup = "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D";
    let command = shell(&fake, "setsid", &["-c", "zsh", "-f", "-i"]);
    lines_are_completed(&fake, command, setup, |_, _| false);
}

#[test]
fn fish_completes() {
    if !has("fish") {
        return;
    }
    let fake = Fake::new();
    daemon(&fake);
    install(&fake, "fish", "pyratectl.fish");
    let fish = |text: &str, line: &str| {
        let text = format!("source ./pyratectl.fish; {text}");
        lines(finish(shell(&fake, "fish", &["--no-config", "-c", &text, line]).spawn().unwrap()))
    };
    let offered = |line: &str| -> Vec<String> {
        let lines = fish("complete -C \"pyratectl $argv[1]\"", line);
        lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    offers(offered);
    fs::write(fake.directory().join("only this"), "").unwrap();
    assert_eq!(offered("download 1 -o on"), ["only this"]);
    assert_eq!(offered("download 1 --output=on"), ["--output=only this"]);
    // fish quotes what it puts into the line.
    let evaluated = "for found in (complete -C \"pyratectl download $argv[1]\" --escape)
        eval 'printf %s\\\\n ' (string split -f 1 \\t -- $found)
    end";
    for (at, name) in HOSTILE.iter().enumerate() {
        let begun = format!("{PEER}/{at:02}");
        for quote in ["", "'", "\""] {
            assert_eq!(offered(&format!("download {quote}{begun}")), [begun.clone() + &shown(name)], "{quote}");
        }
        assert_eq!(fish(evaluated, &begun), [begun.clone() + &shown(name)]);
    }
    assert!(!fake.directory().join("pwned").exists());
}

#[test]
fn paths_are_left_to_the_shell() {
    for (shell, line) in [("zsh", &["download", "1", "-o", ""][..]), ("fish", &["--socket=/t"])] {
        run_alone(&[&["--complete", shell], line].concat()).gives(0, "files\n");
    }
    run_alone(&["--complete", "bash", " =", "pyratectl download 1 --output=/t"]).gives(0, "files\n");
}

#[test]
fn no_name_with_a_control_byte_is_offered() {
    let fake = Fake::new();
    daemon(&fake);
    let names = words_in_zsh(&fake, &["download", &format!("{PEER}/")]);
    let expected: Vec<String> =
        HOSTILE.iter().enumerate().map(|(at, name)| format!("{PEER}/{at:02}{}", shown(name))).collect();
    assert_eq!(names, expected);
}

#[test]
fn directories_of_a_peer_are_offered_before_what_is_in_them() {
    let fake = Fake::new();
    let names = ["music/live/a.flac", "music/b.flac", "c"];
    let hits: Vec<Value> = (1..).zip(names).map(|(id, name)| hit(id, name, Some(5), &[PEER])).collect();
    fake.serve_all(json!({ "hits": { "hits": hits, "next": null } }));
    let offered = words_in_zsh(&fake, &["download", &format!("{PEER}/")]);
    let expected = [&["music/", "music/live/"], &names[..]].concat();
    assert_eq!(offered, expected.iter().map(|name| format!("{PEER}/{name}")).collect::<Vec<_>>());
}

#[test]
fn files_of_the_share_are_offered_where_a_link_is_made() {
    let fake = Fake::new();
    let file = |name: &str, b3: Value| json!({"name": name, "size": 5, "b3": b3});
    let files = [file("7", json!("ab")), file("dir/a b", json!("ab")), file("dir/new", json!(null))];
    fake.serve_all(json!({ "files": {"files": files, "next": null}, "hits": {"hits": [], "next": null} }));
    let mut offered = words_in_zsh(&fake, &["link", ""]);
    offered.sort();
    assert_eq!(offered, ["./7", "all", "dir/", "dir/a b"]);
}

#[test]
fn downloads_that_a_link_can_be_made_for_are_offered() {
    let fake = Fake::new();
    let directory =
        |manifest: Value| json!({"manifest": manifest, "files": 2, "files_done": 1, "files_missing": 0, "missing": []});
    let row = |id: u32, b3: Value, directory: Value| {
        with(download(id, "a", "done", 0), json!({ "b3": b3, "directory": directory }))
    };
    let rows = [
        row(1, json!("ab"), Value::Null),
        row(2, Value::Null, Value::Null),
        row(3, Value::Null, directory(json!("cd"))),
        row(4, Value::Null, directory(Value::Null)),
    ];
    fake.serve_all(json!({ "downloads": {"downloads": rows, "next": null} }));
    let mut offered = words_in_zsh(&fake, &["link", "--downloads", ""]);
    offered.sort();
    assert_eq!(offered, ["1", "3", "all"]);
}

#[test]
fn the_wait_for_the_daemon_can_be_set() {
    for (wait, offered) in [("30s", "words\nall\n1\tactive, a\n"), ("soon", "words\nall\n")] {
        let fake = Fake::new();
        let daemon = fake.serve(|talk| {
            // On a busy machine it may be gone before it has asked.
            let Some(_) = talk.expect_or_hangup("downloads") else { return };
            // A late answer.
            thread::sleep(10 * RUN_MAX);
            talk.reply(json!({"downloads": [download(1, "a", "active", 0)], "next": null}));
            talk.until_gone();
        });
        let mut command = fake.command_here(&["--complete", "zsh", "pause", ""]);
        finish(command.env(WAIT_VARIABLE, wait).spawn().unwrap()).gives(0, offered);
        wait_for(daemon);
    }
}

/// The least time that a run takes, of several on a busy machine, and what it writes each time.
fn timed(fake: &Fake, expected: &str) {
    let mut least = Duration::MAX;
    for _ in 0..50 {
        let begun = Instant::now();
        let run = finish(fake.command_here(&["--complete", "fish", "pause", ""]).spawn().unwrap());
        least = least.min(begun.elapsed());
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, expected, ""));
        if least <= RUN_MAX {
            return;
        }
    }
    panic!("a run that completes took {least:?} or more");
}

#[test]
fn without_an_answer_completion_is_quick_and_silent() {
    const KNOWN_ALONE: &str = "words\nall\n";
    // No daemon.
    timed(&Fake::new(), KNOWN_ALONE);
    // One that hangs: it accepts nothing, the kernel does.
    let hung = Fake::new();
    let _listener = UnixListener::bind(hung.socket()).unwrap();
    timed(&hung, KNOWN_ALONE);
    // One that is not ours.
    let other = Fake::new();
    other.serve_all(json!({"downloads": {"downloads": 7}}));
    timed(&other, KNOWN_ALONE);
    for arguments in [&["--complete"][..], &["--complete", "csh", "x"], &["--complete", "bash"], &["--complete", "zsh"]]
    {
        run_alone(arguments).gives(0, "");
    }
}

#[test]
fn scripts_are_printed_for_known_shells() {
    for (shell, script) in [
        ("bash", include_str!("../../contrib/completions/pyratectl.bash")),
        ("zsh", include_str!("../../contrib/completions/_pyratectl")),
        ("fish", include_str!("../../contrib/completions/pyratectl.fish")),
    ] {
        run_alone(&["completions", shell]).gives(0, script);
    }
    run_alone(&["completions", "csh"]).says(28, "a shell is one of bash, zsh, fish");
}

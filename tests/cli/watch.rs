//! `--watch`: a terminal that is redrawn, and documents of JSON.

use super::fake::{Fake, PATIENCE, Talk, download, finish, run, run_alone, wait_for};
use super::follows::interrupt;
use super::terminal::Screen;
use console::measure_text_width;
use nix::pty::{Winsize, openpty};
use nix::sys::termios::tcgetattr;
use serde_json::{Value, json};
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::mpsc;

fn page(names: &[&str]) -> Value {
    let rows: Vec<Value> = names.iter().zip(1..).map(|(name, id)| download(id, name, "active", 5)).collect();
    json!({"downloads": rows, "next": null})
}

#[test]
fn a_terminal_is_redrawn_in_place_until_ctrl_c_and_is_as_before() {
    let fake = Fake::new();
    let size = Winsize { ws_row: 5, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let (before, kept) = (tcgetattr(&pty.slave).unwrap(), pty.slave.try_clone().unwrap());
    let mut screen = Screen::reading(pty.master);
    let (drawn, is_drawn) = mpsc::channel();
    let daemon = fake.serve(move |talk| {
        talk.answer("downloads", page(&["one.iso"]));
        talk.answer("downloads", page(&["one.iso", "two.iso", "three.iso", "four.iso", "five.iso"]));
        // The third is due, but does not come: Ctrl-C ends that wait.
        talk.expect("downloads");
        drawn.send(()).unwrap();
        talk.until_hangup();
    });
    let mut command = fake.command_here(&["downloads", "--watch", "100ms"]);
    command.env("TERM", "xterm").stdout(pty.slave);
    let child = command.spawn().unwrap();
    drop(command);
    is_drawn.recv_timeout(PATIENCE).unwrap();
    interrupt(child.id());
    assert_eq!(finish(child).code, 0);
    wait_for(daemon);
    // Two lines are replaced by as many as the terminal has, but one.
    screen.shows("\u{1b}[2A\u{1b}[J");
    screen.shows("and 3 further lines");
    assert_eq!(tcgetattr(&kept).unwrap(), before);
    drop(kept);
    let text = screen.all();
    assert!(!text.contains("three.iso") && text.contains("two.iso"), "{text}");
}

#[test]
fn a_terminal_that_changes_its_size_is_drawn_anew_at_once() {
    let fake = Fake::new();
    let (mut screen, terminal) = Screen::of_columns(80);
    let resized = File::from(terminal.try_clone().unwrap());
    let daemon = fake.serve(|talk| {
        let path = format!("{}end.iso", "long/".repeat(12));
        talk.answer("downloads", page(&[&path]));
        talk.until_hangup();
    });
    let mut command = fake.command_here(&["downloads", "--watch", "1h"]);
    command.env("TERM", "xterm").stdout(terminal);
    let child = command.spawn().unwrap();
    drop(command);
    screen.shows("end.iso");
    let stty = Command::new("stty").args(["cols", "40"]).stdin(Stdio::from(resized)).status().unwrap();
    assert!(stty.success());
    screen.shows("\u{1b}[H\u{1b}[2J");
    interrupt(child.id());
    assert_eq!(finish(child).code, 0);
    wait_for(daemon);
    let text = screen.all();
    let anew = text.rsplit_once("\u{1b}[2J").unwrap().1;
    assert!(anew.lines().all(|line| measure_text_width(line) <= 40) && anew.contains("end.iso"), "{anew}");
}

#[test]
fn programs_get_a_document_a_line() {
    fn script(talk: &mut Talk) {
        talk.answer("peers", json!([]));
        let peer = json!({"addr": "192.0.2.1:5", "source": "user", "state": "new", "last_seen": 1, "p1": true, "neighbour": true});
        talk.answer("peers", json!([peer]));
        talk.expect("peers");
    }
    let run = run(&["peers", "--watch", "100ms", "--json"], script);
    assert_eq!((run.code, run.out.lines().count()), (69, 3), "the daemon has gone: {run:?}");
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0], &lines[1][0]["addr"], &lines[2]["error"]["code"]),
        (&json!([]), &json!("192.0.2.1:5"), &json!(69))
    );
}

#[test]
fn what_cannot_be_redrawn_is_refused_with_a_reason() {
    for (arguments, why) in [
        (&["peers", "--watch", "2s"][..], "the standard output is none; with --json it prints a document each time"),
        (&["peers", "--watch", "2s", "--terse"], "--terse asks for a form that programs read"),
        (&["downloads", "--watch", "0"], "--watch takes a time of 100ms or more, as 2s"),
        (&["downloads", "--watch", "soon"], "--watch takes a time of 100ms or more, as 2s"),
        (&["status", "--watch", "2s"], "no option \"--watch\" of status"),
    ] {
        run_alone(arguments).says(28, why);
    }
    let (screen, terminal) = Screen::of_columns(200);
    let fake = Fake::new();
    let mut command = fake.command_here(&["peers", "--watch", "2s"]);
    command.env("TERM", "dumb").stdout(terminal);
    let child = command.spawn().unwrap();
    drop(command);
    let run = finish(child);
    run.says(28, "TERM is 'dumb'");
    assert_eq!(screen.all(), "");
}

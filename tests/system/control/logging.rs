//! A log that nobody reads, or that cannot be written: lines are lost and counted, and the daemon serves (pyrated(8), LOG).

use crate::harness::{Daemon, Disk, Framing, LIMIT, Setup, Stopwatch, ask, fetch, holds, until, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// TERM is to be over in 5 s.
const END_MAX: Duration = Duration::from_secs(5);

const LEVEL_LINE: &str = "log level is info until the next start or reload";

/// Messages that are refused, with a name that takes four bytes of the log for each of its own.
fn malformed(turn: usize) -> Vec<u8> {
    let start: &[u8] = [&b"9:"[..], b"8:x:1:", b"8:0:y:", b"8:0:0:"][turn % 4];
    [start, &[0xfe; 3700]].concat()
}

fn assert_serves(daemon: &Daemon) {
    let peer = daemon.listen();
    for turn in 0..60 {
        // Fails if nothing comes back.
        ask(peer, &malformed(turn), Framing::Fin);
    }
    assert_eq!(fetch(peer, b"file"), b"content");
}

/// Has the daemon log so many lines that are alike.
fn log_lines(daemon: &Daemon, count: usize) {
    let mut control = daemon.control();
    for _ in 0..count {
        control.call("log_level", json!({ "level": "info" })).expect("it logs that");
    }
}

fn lines_lost(daemon: &Daemon) -> u64 {
    daemon.status()["limited"]["log_lines_lost"].as_u64().expect("a count")
}

/// How many lines a line of the log says are missing.
fn told_lost(line: &str) -> Option<u64> {
    let (number, _) = line.split_once(" daemon: ")?.1.split_once(" log line")?;
    number.parse().ok()
}

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().expect("a pipe")
}

/// The lines of a pipe, as they come.
fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(reader).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

#[test]
fn a_pipe_that_nobody_reads_holds_nothing_up_and_is_told_what_it_has_missed() {
    let (reader, writer) = pipe();
    let mut daemon = Setup::peer().logs_to(writer).set("log_level", "'info'").shares("file", "content").start();
    assert_serves(&daemon);
    let count = 8_000;
    log_lines(&daemon, count);
    let lost = lines_lost(&daemon);
    assert!(lost > 0);
    let lines = lines(reader);
    let (mut seen, mut told) = (0, 0);
    while seen + told < count as u64 {
        let line = lines.recv_timeout(LIMIT).expect("each line is there, or told to be missing");
        seen += u64::from(line.ends_with(LEVEL_LINE));
        let missing = told_lost(&line);
        assert!(missing.is_none() || line.ends_with(" log lines lost: the log was not taken in time"), "{line}");
        told += missing.unwrap_or(0);
    }
    assert_eq!((seen + told, told), (count as u64, lost));
    assert_eq!(lines_lost(&daemon), lost, "there is room again");
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0));
    let last: Vec<String> = (0..2).map(|_| lines.recv_timeout(LIMIT).expect("the last lines")).collect();
    assert!(last[0].ends_with("driver: leaving (signal)") && last[1].ends_with("daemon: left"), "{last:?}");
}

#[test]
fn a_reload_gives_up_no_line_that_standard_error_has_not_taken_yet() {
    let (_reader, writer) = pipe();
    let daemon = Setup::peer().logs_to(writer).set("log_level", "'info'").start();
    // More than the pipe takes, and less than the buffer.
    log_lines(&daemon, 3_000);
    assert_eq!(lines_lost(&daemon), 0);
    daemon.call("reload", Value::Null);
    log_lines(&daemon, 1);
    holds("none is lost", Duration::from_millis(500), || lines_lost(&daemon) == 0);
}

#[test]
fn a_daemon_whose_log_nobody_reads_ends_in_time() {
    let (_reader, writer) = pipe();
    let mut daemon = Setup::peer().logs_to(writer).set("log_level", "'info'").shares("file", "content").start();
    assert_serves(&daemon);
    log_lines(&daemon, 2_000);
    let ended = daemon.stop();
    assert!(ended.code == Some(0) && ended.took < END_MAX, "{ended:?}");
}

#[test]
fn a_standard_error_whose_reader_is_gone_loses_lines_alone() {
    let (reader, writer) = pipe();
    let mut daemon = Setup::peer().logs_to(writer).set("log_level", "'info'").shares("file", "content").start();
    drop(reader);
    assert_serves(&daemon);
    until("they are counted", LIMIT, || lines_lost(&daemon) > 0);
    let log = format!("'{}'", daemon.home().join("log").display());
    daemon.reconfigure("log_file", &log);
    daemon.call("reload", Value::Null);
    daemon.await_log("configuration reloaded");
    let lost = lines_lost(&daemon);
    assert!(daemon.log().contains(&format!(" warn  daemon: {lost} log lines lost: Broken pipe (os error 32)\n")));
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_full_disk_loses_lines_alone_and_they_are_told_when_there_is_room() {
    let Some(disk) = Disk::of_kib("a full disk of the log", 256) else { return };
    let log = disk.path().join("log");
    let setup = Setup::peer().set("log_file", &format!("'{}'", log.display())).set("log_level", "'info'");
    let daemon = setup.shares("file", "content").start();
    let filler = disk.fill(disk.free() as usize - 8192);
    let mut logged = 1_000;
    log_lines(&daemon, logged);
    assert_eq!(fetch(daemon.listen(), b"file"), b"content");
    until("they are counted", LIMIT, || lines_lost(&daemon) > 500);
    std::fs::remove_file(filler).expect("it is there");
    let said = || std::fs::read_to_string(&log).expect("it is there");
    until("the loss is told with the next line that there is room for", LIMIT, || {
        log_lines(&daemon, 1);
        logged += 1;
        said().contains("lost: No space left on device (os error 28)\n")
    });
    let seen = || said().lines().filter(|line| line.ends_with(LEVEL_LINE)).count();
    let told: u64 = said().lines().filter_map(told_lost).sum();
    assert_eq!(told, lines_lost(&daemon));
    // A line of which only the newline was not written counts as lost.
    let whole = logged - told as usize..=logged + 1 - told as usize;
    until("each line is there, or told to be missing", LIMIT, || whole.contains(&seen()));
    // One that was written in part is not joined with the next one.
    assert!(said().lines().all(|line| line.matches("Z ").count() <= 1), "{}", said());
}

#[test]
fn a_disk_that_fails_loses_lines_alone() {
    let setup = Setup::peer().set("log_level", "'info'").shares("file", "content");
    let log = setup.home().join("log");
    let failing = setup.injecting("a log on a disk that fails", Some(&log), &["write:error=EIO"]);
    let Some(setup) = failing else { return };
    let daemon = setup.start();
    assert_serves(&daemon);
    until("they are counted", LIMIT, || lines_lost(&daemon) > 0);
    assert_eq!(daemon.log(), "");
    daemon.end_injection();
    log_lines(&daemon, 1);
    daemon.await_log(LEVEL_LINE);
    let lost = lines_lost(&daemon);
    let first = daemon.log().lines().next().map(str::to_owned).expect("a line");
    // A call that strace holds when it is ended fails as one that does not exist.
    let reasons = ["Input/output error (os error 5)", "Function not implemented (os error 38)"];
    let told = reasons.map(|reason| format!("{lost} log lines lost: {reason}"));
    assert!(told.iter().any(|told| first.ends_with(told)), "{first}");
}

#[test]
fn a_slow_disk_of_the_log_delays_no_answer() {
    let setup = Setup::peer().set("log_level", "'info'").shares("file", "content");
    let log = setup.home().join("log");
    let slow = setup.injecting("a log on a slow disk", Some(&log), &["write:delay_enter=500ms"]);
    let Some(setup) = slow else { return };
    let daemon = setup.start();
    let watch = Stopwatch::start();
    log_lines(&daemon, 40);
    assert_serves(&daemon);
    let took = watch.ran();
    println!("{took:?} for 60 lines");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(lines_lost(&daemon), 0);
}

/// A line may be on its way to the disk when the file is renamed.
#[test]
fn when_a_reload_is_over_nothing_is_written_to_the_file_before() {
    let setup = Setup::peer().set("log_level", "'info'");
    let (log, rotated) = (setup.home().join("log"), setup.home().join("log.1"));
    let slow = setup.injecting("a log that is rotated on a slow disk", Some(&log), &["write:delay_enter=300ms"]);
    let Some(setup) = slow else { return };
    let daemon = setup.start();
    daemon.await_log("control socket");
    log_lines(&daemon, 1);
    std::fs::rename(&log, &rotated).expect("it is there");
    daemon.call("reload", Value::Null);
    let length = || std::fs::metadata(&rotated).expect("it is there").len();
    let before = length();
    holds("the old file stays as it is", Duration::from_millis(600), || length() == before);
    daemon.await_log("configuration reloaded");
}

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe();
    let flags = |flags| nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).expect("it is open");
    flags(nix::fcntl::OFlag::O_NONBLOCK);
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    flags(nix::fcntl::OFlag::empty());
    (reader, writer)
}

/// How a daemon ends that cannot start; one that does not end in time is killed.
fn end_of(setup: &Setup, stderr: impl Into<Stdio>) -> ExitStatus {
    let mut child = setup.command().stderr(stderr).spawn().expect("it can be run");
    let watch = Stopwatch::start();
    wait_for("it has ended", LIMIT, || {
        if watch.ran() > END_MAX {
            let _ = child.kill();
        }
        child.try_wait().expect("our own child")
    })
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for in_file in [false, true] {
        let (_reader, writer) = full_pipe();
        let setup = Setup::peer().set("listen_port", &port);
        let setup = if in_file { setup } else { setup.set("log_file", "'stderr'") };
        let status = end_of(&setup, writer);
        assert_eq!(status.code(), Some(75), "{status}, the log a file: {in_file}");
    }
}

#[test]
fn what_ends_a_start_is_said_after_the_log() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for in_file in [false, true] {
        let setup = Setup::peer().set("listen_port", &port);
        let setup = if in_file { setup } else { setup.set("log_file", "'stderr'") };
        let output = setup.command().stderr(Stdio::piped()).output().expect("pyrated can be run");
        assert_eq!(output.status.code(), Some(75));
        let said = String::from_utf8(output.stderr).expect("text");
        let (log, complaints): (Vec<&str>, _) = said.lines().partition(|line| !line.starts_with("pyrated: "));
        assert!(complaints.len() == 1 && complaints[0].contains("in use"), "{said}");
        assert!(said.ends_with(&format!("{}\n", complaints[0])) && log.is_empty() == in_file, "{said}");
        let file = std::fs::read_to_string(setup.home().join("log")).unwrap_or_default();
        let is_logged = file.lines().last().is_some_and(|line| line.contains(" error daemon: peer: address"));
        assert_eq!(is_logged, in_file, "{file}");
    }
}

#[test]
fn a_thread_that_cannot_be_created_fails_the_start_by_name() {
    // In the order in which they are made. One looks at each of the five paths of the configuration.
    let threads = [
        (1, "", "pyrate-probe"),
        (6, "the log: ", "pyrate-log"),
        (7, "", "pyrate-names"),
        (9, "", "pyrate-reload"),
        (19, "", "pyrate-state"),
    ];
    for (turn, what, thread) in threads {
        let faults = ["clone3", "clone"].map(|call| format!("{call}:error=EAGAIN:when={turn}"));
        let faults = faults.each_ref().map(String::as_str);
        let Some(setup) = Setup::peer().injecting("a thread that cannot be created", None, &faults) else { return };
        let (mut reader, writer) = pipe();
        let status = end_of(&setup, writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("text");
        let expected = format!(
            "pyrated: {what}cannot create the thread {thread}: Resource temporarily unavailable (os error 11)\n"
        );
        assert_eq!((status.code(), said), (Some(1), expected));
    }
}

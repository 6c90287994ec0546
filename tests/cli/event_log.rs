//! The event log as lines, and a program that is run for each event.

use super::fake::{Fake, Run, finish, run, run_alone, wait_for, with};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// An event of download 7.
pub(crate) fn event(id: u64, kind: &str, name: &str) -> Value {
    let state = if kind == "begun" { "queued" } else { kind };
    json!({
        "event": kind, "id": id, "log": "0123abcd", "time": 1_700_000_000, "download": 7, "name": name,
        "path": null, "size": 5, "b3": null, "verified": false, "state": state, "error": null, "peers": [],
    })
}

fn page(events: &[Value], gone: Value, next: Value, last: u64) -> Value {
    json!({"log": "0123abcd", "events": events, "gone": gone, "next": next, "last": last})
}

#[test]
fn what_is_not_kept_any_more_is_said_first_and_then_come_the_kept_events_and_the_new_ones() {
    let run = run(&["events", "--since", "3"], |talk| {
        let gone = json!({"first": 3, "last": 5});
        let params = talk.answer("event_log", page(&[event(6, "begun", "a")], gone, json!(7), 8));
        assert_eq!(params, json!({"since": 3}));
        let params = talk.answer("event_log", page(&[event(7, "done", "a\u{9b}")], Value::Null, Value::Null, 8));
        assert_eq!(params, json!({"since": 7}));
        talk.notice(event(8, "failed", "b"));
        talk.notice(json!({"event": "leaving"}));
    });
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(lines[0], json!({"event": "gone", "first": 3, "last": 5}));
    assert_eq!(lines[1..], [event(6, "begun", "a"), event(7, "done", "a\u{9b}"), event(8, "failed", "b")]);
    assert!(!run.out.contains('\u{9b}'), "it would reach the terminal");
}

#[test]
fn an_id_that_is_none_and_options_that_need_others_are_refused() {
    run_alone(&["events", "--since", "x"]).says(28, "an event id is a whole number");
    run_alone(&["events", "--state", "/tmp/x"]).says(28, "name a program with --exec");
    run_alone(&["events", "--exec", ""]).says(28, "a path is not empty");
    run(&["events", "--since", "9"], |talk| {
        talk.expect("event_log");
        talk.fail(3, "no event has the id 9 yet");
    })
    .says(3, "no event has the id 9 yet");
    run(&["events", "--since", "9"], |talk| drop(talk.answer("event_log", page(&[], Value::Null, Value::Null, 8))))
        .says(69, "hung up");
}

/// A program in the directory of a fake.
fn program(directory: &Path, script: &str) -> String {
    let path = directory.join("hook");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not so in time: {what}");
}

/// Where it is remembered how far it came.
fn position(path: &Path) -> Value {
    fs::read(path).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
}

fn done(id: u64) -> Value {
    json!({"log": "0123abcd", "done": id})
}

fn ask_to_end(client: &Child) {
    kill(Pid::from_raw(client.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
}

/// Ends the client as a service manager does.
fn end(client: Child, daemon: mpsc::Receiver<()>) -> Run {
    ask_to_end(&client);
    let run = finish(client);
    wait_for(daemon);
    run
}

#[test]
fn a_program_is_run_for_each_new_event_until_it_succeeds_and_the_next_run_goes_on_there() {
    let fake = Fake::new();
    let state = fake.directory().join("new/state");
    let hook = program(
        fake.directory(),
        "echo \"$PYRATE_EVENT_ID $PYRATE_EVENT_KIND $PYRATE_EVENT_NAME [$PYRATE_EVENT_PATH]\" >>runs\n\
         cat >>lines\n[ \"$PYRATE_EVENT_ID\" != 5 ] || [ -e tried ] || { touch tried; exit 3; }",
    );
    let arguments = ["events", "--exec", &hook, "--state", state.to_str().unwrap()];
    let daemon = fake.serve(|talk| {
        let params = talk.answer("event_log", page(&[], Value::Null, Value::Null, 4));
        assert_eq!(params, json!({"since": null}), "with the events to come");
        talk.notice(event(5, "done", "a  b"));
        talk.notice(event(6, "failed", "$(x)"));
        talk.until_gone();
    });
    let client = fake.command_here(&arguments).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    until("both are done", || position(&state) == done(6));
    let second = finish(fake.command_here(&arguments).spawn().unwrap());
    second.says(17, "in use by another `pyratectl events --exec`");
    let run = end(client, daemon);
    run.says(0, "event 5: ");
    assert!(run.err.contains("hook exited with 3; it is run again in 1s") && run.out.is_empty(), "{run:?}");
    let read = |name: &str| fs::read_to_string(fake.directory().join(name)).unwrap();
    assert_eq!(read("runs"), "5 done a  b []\n5 done a  b []\n6 failed $(x) []\n");
    let last: Value = serde_json::from_str(read("lines").lines().last().unwrap()).unwrap();
    assert_eq!(last, event(6, "failed", "$(x)"));

    // Whatever --since says now.
    let next = Fake::new();
    let daemon = next.serve(|talk| {
        let gone = json!({"first": 7, "last": 8});
        let params = talk.answer("event_log", page(&[event(9, "done", "c")], gone, Value::Null, 9));
        assert_eq!(params, json!({"since": 7}));
        talk.until_gone();
    });
    let mut command = next.command_here(&[&arguments[..], &["--since", "1"]].concat());
    let client = command.current_dir(fake.directory()).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    until("it is done", || position(&state) == done(9));
    end(client, daemon).says(0, "the events 7 to 8 are not kept any more: the program was not run for them");
}

#[test]
fn a_program_is_run_for_what_a_wish_has_found() {
    let fake = Fake::new();
    let state = fake.directory().join("state");
    let variables =
        ["KIND", "WISH", "PEERS", "NAME", "DOWNLOAD", "STATE"].map(|name| format!("[$PYRATE_EVENT_{name}]"));
    let hook = program(fake.directory(), &format!("echo \"{}\" >>runs", variables.join(" ")));
    let arguments = ["events", "--exec", &hook, "--state", state.to_str().unwrap()];
    let daemon = fake.serve(|talk| {
        talk.answer("event_log", page(&[], Value::Null, Value::Null, 4));
        let peers = json!(["192.0.2.1:63339", "[2001:db8::1]:5"]);
        let found = json!({"wish": 9, "peers": peers, "download": null, "state": null});
        talk.notice(with(event(5, "wish", "blue train.ogg"), found));
        talk.until_gone();
    });
    let client = fake.command_here(&arguments).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    until("it is done", || position(&state) == done(5));
    end(client, daemon).says(0, "");
    let runs = fs::read_to_string(fake.directory().join("runs")).unwrap();
    assert_eq!(runs, "[wish] [9] [192.0.2.1:63339 [2001:db8::1]:5] [blue train.ogg] [] []\n");
}

#[test]
fn a_log_that_begins_again_is_followed_from_its_beginning() {
    let fake = Fake::new();
    let state = fake.directory().join("state");
    fs::write(&state, r#"{"log": "another", "done": 2}"#).unwrap();
    let hook = fake.directory().join("hook");
    fs::write(&hook, "#!/bin/cat /proc/self/status\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = fake.serve(|talk| {
        assert_eq!(talk.answer("event_log", page(&[event(3, "done", "c")], Value::Null, Value::Null, 3))["since"], 3);
        let events: Vec<Value> = (1..=3).map(|id| event(id, "done", "c")).collect();
        assert_eq!(talk.answer("event_log", page(&events, Value::Null, Value::Null, 3))["since"], 1);
        talk.until_gone();
    });
    let arguments = ["events", "--exec", hook.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let client = fake.command_here(&arguments).spawn().unwrap();
    until("all are done", || position(&state) == done(3));
    let run = end(client, daemon);
    run.says(0, "the daemon has lost the event log");
    let of_program = |key: &str| {
        let digits = run.out.lines().find_map(|line| line.strip_prefix(key)).expect(key).trim();
        u64::from_str_radix(digits, 16).unwrap()
    };
    let sigpipe = 1 << (Signal::SIGPIPE as u64 - 1);
    assert_eq!((of_program("SigBlk:"), of_program("SigIgn:") & sigpipe), (0, 0), "as a shell starts it");
}

#[test]
fn a_daemon_that_is_not_there_is_waited_for_and_a_program_that_runs_is_not_cut_off() {
    let fake = Fake::new();
    let state: PathBuf = fake.directory().join("state");
    let hook = program(fake.directory(), "touch begun; while [ ! -e go ]; do sleep 0.01; done");
    let arguments = ["events", "--exec", &hook, "--state", state.to_str().unwrap()];
    // The child of one that was killed has not become its program yet.
    let file = fs::File::create(fake.directory().join("state.lock")).unwrap();
    let before = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let client = fake.command_here(&arguments).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(before);
    std::thread::sleep(Duration::from_millis(300));
    let daemon = fake.serve(|talk| {
        talk.answer("event_log", page(&[], Value::Null, Value::Null, 0));
        talk.notice(event(1, "done", "a"));
        talk.notice(event(2, "done", "b"));
        talk.until_gone();
    });
    until("the program runs", || fake.directory().join("begun").exists());
    ask_to_end(&client);
    fs::write(fake.directory().join("go"), "").unwrap();
    let run = finish(client);
    wait_for(daemon);
    run.says(0, "waiting for it");
    assert!(run.err.contains("the daemon answers again"), "{run:?}");
    assert_eq!(position(&state), done(1), "the next one waits for the next run");
}

#[test]
fn a_state_file_that_is_none_is_left_alone() {
    let fake = Fake::new();
    let state = fake.directory().join("state");
    fs::write(&state, "my diary").unwrap();
    let arguments = ["events", "--exec", "true", "--state", state.to_str().unwrap()];
    finish(fake.command_here(&arguments).spawn().unwrap()).says(17, "not one of 'events --exec'");
    assert_eq!(fs::read(&state).unwrap(), b"my diary");
}

/// The process that wrote its number into a file.
fn process(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    text.strip_suffix('\n')?.parse().ok().map(Pid::from_raw)
}

/// Whether a process has ended, be it that nothing has waited for it yet.
fn has_ended(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_err() || stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

#[test]
fn a_program_that_hangs_is_told_of_and_ended_by_a_second_signal_with_all_that_it_started_and_its_event_is_not_done() {
    for script in [
        "sh -c 'echo $$ >process; exec sleep 1000'\nexit 0",
        // It ends by SIGKILL alone.
        "trap '' TERM\necho $$ >process\nwhile :; do sleep 1; done",
        // And so does what it has started.
        "sh -c 'trap : TERM; echo $$ >process; while :; do sleep 1; done'\nexit 0",
    ] {
        let fake = Fake::new();
        let state = fake.directory().join("state");
        let hook = program(fake.directory(), script);
        let daemon = fake.serve(|talk| {
            talk.answer("event_log", page(&[event(5, "done", "a")], Value::Null, Value::Null, 5));
            talk.until_gone();
        });
        let arguments = ["events", "--exec", &hook, "--since", "0", "--state", state.to_str().unwrap()];
        let mut client = fake.command_here(&arguments).env("PATH", "/usr/bin:/bin").spawn().unwrap();
        let file = fake.directory().join("process");
        until("the program runs", || process(&file).is_some());
        let of_program = process(&file).unwrap();
        let group_of_client = getpgid(Some(Pid::from_raw(client.id().try_into().unwrap()))).unwrap();
        assert_ne!(getpgid(Some(of_program)).unwrap(), group_of_client, "Ctrl-C would reach the program");
        ask_to_end(&client);
        let mut told = std::io::BufReader::new(client.stderr.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut told, &mut line).unwrap();
        assert!(line.contains("hook is done with event 5; another signal ends the program at once"), "{line}");
        ask_to_end(&client);
        let mut ended = None;
        for _ in 0..3_000 {
            ended = ended.or(client.try_wait().unwrap());
            if ended.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(ended.expect("it ends").code(), Some(0));
        wait_for(daemon);
        until("nothing of the program is left", || has_ended(of_program));
        assert_eq!(position(&state)["done"], 0, "the next run repeats the event");
    }
}

/// A command, begun by env(1) with an option about signals: this process may have been begun with others.
fn with_signals(command: &Command, option: &str) -> Command {
    let mut wrapped = Command::new("env");
    wrapped.arg(option).arg(command.get_program()).args(command.get_args()).env_clear().env("PATH", "/usr/bin:/bin");
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    wrapped
}

#[test]
fn a_terminal_that_is_closed_ends_nothing_under_nohup() {
    let fake = Fake::new();
    let state = fake.directory().join("state");
    let hook = program(fake.directory(), "touch begun; while [ ! -e go ]; do sleep 0.01; done");
    let daemon = fake.serve(|talk| {
        talk.answer("event_log", page(&[event(5, "done", "a")], Value::Null, Value::Null, 5));
        talk.until_gone();
    });
    let arguments = ["events", "--exec", &hook, "--since", "0", "--state", state.to_str().unwrap()];
    let client = with_signals(&fake.command_here(&arguments), "--ignore-signal=HUP").spawn().unwrap();
    until("the program runs", || fake.directory().join("begun").exists());
    kill(Pid::from_raw(client.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    fs::write(fake.directory().join("go"), "").unwrap();
    until("its event is done", || position(&state) == done(5));
    assert_eq!(end(client, daemon).code, 0);
}

/// The program may be stopped, as by a read from the terminal.
#[test]
fn a_terminal_that_is_closed_ends_the_program_at_once() {
    for script in ["echo $$ >process; exec sleep 1000", "echo $$ >process; kill -STOP $$; exec sleep 1000"] {
        let fake = Fake::new();
        let state = fake.directory().join("state");
        let hook = program(fake.directory(), script);
        let daemon = fake.serve(|talk| {
            talk.answer("event_log", page(&[event(5, "done", "a")], Value::Null, Value::Null, 5));
            talk.until_gone();
        });
        let arguments = ["events", "--exec", &hook, "--since", "0", "--state", state.to_str().unwrap()];
        let client = with_signals(&fake.command_here(&arguments), "--default-signal=HUP").spawn().unwrap();
        let file = fake.directory().join("process");
        until("the program runs", || process(&file).is_some());
        kill(Pid::from_raw(client.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
        assert_eq!(finish(client).code, 0);
        wait_for(daemon);
        until("the program has ended", || has_ended(process(&file).unwrap()));
        assert_eq!(position(&state)["done"], 0, "the next run repeats the event");
    }
}

#[test]
fn what_fails_after_the_end_was_asked_for_is_not_said_to_be_tried_again() {
    for (code, no_state, exits_with, told) in
        [(3, false, 0, "hook exited with 3; the next run repeats the event"), (0, true, 17, "the state file '")]
    {
        let fake = Fake::new();
        let state = fake.directory().join("state");
        let script = format!("touch begun; while [ ! -e go ]; do sleep 0.01; done; exit {code}");
        let hook = program(fake.directory(), &script);
        let daemon = fake.serve(|talk| {
            talk.answer("event_log", page(&[event(5, "done", "a")], Value::Null, Value::Null, 5));
            talk.until_gone();
        });
        let arguments = ["events", "--exec", &hook, "--since", "0", "--state", state.to_str().unwrap()];
        let client = fake.command_here(&arguments).env("PATH", "/usr/bin:/bin").spawn().unwrap();
        until("the program runs", || fake.directory().join("begun").exists());
        if no_state {
            // Nothing can be saved any more.
            fs::create_dir(fake.directory().join("state.new")).unwrap();
        }
        ask_to_end(&client);
        fs::write(fake.directory().join("go"), "").unwrap();
        let run = finish(client);
        wait_for(daemon);
        run.says(exits_with, told);
        assert!(!run.err.contains("again in"), "{run:?}");
    }
}

#[test]
fn a_program_is_found_if_no_search_path_is_set() {
    let fake = Fake::new();
    let state = fake.directory().join("state");
    let daemon = fake.serve(|talk| {
        talk.answer("event_log", page(&[event(5, "done", "a")], Value::Null, Value::Null, 5));
        talk.until_gone();
    });
    let arguments = ["events", "--exec", "true", "--since", "0", "--state", state.to_str().unwrap()];
    let client = fake.command_here(&arguments).env_remove("PATH").spawn().unwrap();
    until("it is done", || position(&state) == done(5));
    let run = end(client, daemon);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn a_program_that_is_not_there_is_told_of_at_the_start() {
    for (name, path) in [("/no/such/program", "/bin"), ("no-such-program", "/usr/bin:/bin"), ("/tmp", "/bin")] {
        let fake = Fake::new();
        let state = fake.directory().join("state");
        let daemon = fake.serve(|talk| {
            talk.answer("event_log", page(&[], Value::Null, Value::Null, 4));
            talk.until_gone();
        });
        let arguments = ["events", "--exec", name, "--state", state.to_str().unwrap()];
        let client = fake.command_here(&arguments).env("PATH", path).spawn().unwrap();
        until("it is ready", || position(&state) == done(4));
        let run = end(client, daemon);
        assert!(run.err.starts_with(&format!("{name} cannot be run: ")), "{run:?}");
    }
}

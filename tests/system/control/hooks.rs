//! `events --exec` over kills of the daemon and of itself (pyratectl(1), Hooks).

use crate::harness::{Daemon, Dice, LIMIT, Setup, Stopwatch, await_hashed, clean_command, free_port, pause};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Kills, unless `PYRATE_HOOK_KILLS` says how many. Most are of the client, which starts faster.
const KILLS: u64 = 150;

/// Of so many kills one is of the daemon.
const KILLS_PER_DAEMON: u64 = 6;

fn start_hooks(daemon: &Daemon, hook: &Path) -> Child {
    let mut command = clean_command(env!("CARGO_BIN_EXE_pyratectl"), daemon.home());
    command.arg("--socket").arg(daemon.socket()).args(["events", "--since", "0", "--exec"]).arg(hook);
    command.arg("--state").arg(daemon.home().join("hook-state"));
    let log = File::options().create(true).append(true).open(daemon.home().join("hook-log")).expect("a log");
    command.stdout(Stdio::null()).stderr(log).spawn().expect("pyratectl can be run")
}

/// What the program has written so far: id, kind, name.
fn runs(seen: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(seen).unwrap_or_default();
    let lines = text.lines().map(|line| line.split_once(' ').expect("an id and what it tells"));
    lines.map(|(id, told)| (id.parse().expect("an id"), told.to_owned())).collect()
}

/// Waits until a program that has just been started handles the end of its work (proc_pid_status(5)).
fn await_handling_of_term(child: &Child) {
    let watch = Stopwatch::start();
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        let mask = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a mask of signals");
            u64::from_str_radix(line.trim(), 16).expect("a mask of signals")
        };
        if (mask("SigBlk:") | mask("SigCgt:")) & 1 << (Signal::SIGTERM as u64 - 1) != 0 {
            return;
        }
        assert!(watch.ran() < LIMIT, "{status}");
        pause(Duration::from_millis(2));
    }
}

#[test]
fn over_kills_of_either_side_no_event_is_missing_and_repeats_have_the_same_id() {
    let kills = std::env::var("PYRATE_HOOK_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let mut dice = Dice::replayed_by("PYRATE_HOOK_SEED");
    let names: Vec<String> = (0..=kills / 3).map(|n| format!("{n:04}.bin")).collect();
    let shares = |setup: Setup, name: &String| setup.shares(name, name.as_bytes());
    let source = names.iter().fold(Setup::peer(), shares).set("listen_port", &free_port().to_string()).start();
    await_hashed(&source);
    let mut asker = Setup::peer().set("listen_port", &free_port().to_string()).start();
    let hook = asker.home().join("hook");
    let seen = asker.home().join("seen");
    let script =
        format!("#!/bin/sh\necho \"$PYRATE_EVENT_ID $PYRATE_EVENT_KIND $PYRATE_EVENT_NAME\" >>'{}'\n", seen.display());
    fs::write(&hook, script).expect("a program");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let mut hooks = start_hooks(&asker, &hook);
    let mut names_left = names.iter();
    for kill in 0..kills {
        if kill % 3 == 0
            && let Some(name) = names_left.next()
        {
            asker.begin_download(source.listen(), name);
        }
        pause(Duration::from_millis(dice.below(30)));
        if dice.below(KILLS_PER_DAEMON) == 0 {
            asker.end_by(Signal::SIGKILL);
            pause(Duration::from_millis(dice.below(10)));
            asker.start_again();
        } else {
            hooks.kill().expect("our own child");
            hooks.wait().expect("our own child");
            hooks = start_hooks(&asker, &hook);
        }
    }
    let begun: Vec<&String> = names.iter().take(names.len() - names_left.len()).collect();
    let wanted: BTreeSet<String> =
        begun.iter().flat_map(|name| ["begun", "done"].map(|kind| format!("{kind} {name}"))).collect();
    let watch = Stopwatch::start();
    loop {
        let told: BTreeSet<String> = runs(&seen).into_iter().map(|(_, told)| told).collect();
        if told == wanted {
            break;
        }
        let missing: Vec<_> = wanted.symmetric_difference(&told).collect();
        assert!(
            watch.ran() < LIMIT * 4,
            "{missing:?} in {:?}; {:?}",
            fs::read_to_string(asker.home().join("hook-log")),
            asker.call("event_log", json!({"since": 1}))
        );
        pause(Duration::from_millis(20));
    }
    let mut by_id: BTreeMap<u64, String> = BTreeMap::new();
    for (id, told) in runs(&seen) {
        let before = by_id.entry(id).or_insert_with(|| told.clone());
        assert_eq!(*before, told, "event {id}");
    }
    assert_eq!(by_id.len(), wanted.len(), "no event has two ids: {by_id:?}");
    let log = asker.call("event_log", json!({"since": 1}));
    let first: Vec<u64> =
        log["events"].as_array().expect("rows").iter().filter_map(|event| event["id"].as_u64()).collect();
    assert!(by_id.keys().zip(&first).all(|(ours, theirs)| ours == theirs) && log["gone"] == Value::Null, "{first:?}");
    // The last kill may have been a moment ago.
    await_handling_of_term(&hooks);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(hooks.id().try_into().expect("a pid")), Signal::SIGTERM)
        .expect("it runs");
    assert_eq!(hooks.wait().expect("our own child").code(), Some(0));
}

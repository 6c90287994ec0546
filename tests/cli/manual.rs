//! The manual page names everything that the program takes.

use super::fake::{download, hit, run_alone, with};
use super::queries::{metrics, reloaded};
use super::status::status;
use pyrate::control::{HitRow, Notice, RawText, SourceRow, SourceState};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../contrib/man/pyratectl.1");

/// The first words of the indented lines of a section of a help text.
fn entries(help: &str, section: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1).take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .flat_map(|line| {
            let names = line.trim().split("  ").next().unwrap().to_owned();
            names.split(", ").map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether the page has a macro line for this, dashes written as mdoc wants them.
fn is_described(name: &str) -> bool {
    let wanted = match name.strip_prefix("--") {
        Some(long) => format!("Fl -{}", long.replace('-', "\\-")),
        None => name.strip_prefix('-').map_or_else(|| format!("Ic {name}"), |short| format!("Fl {short}")),
    };
    let tagged = PAGE.lines().filter(|line| line.starts_with(".It "));
    tagged.map(|line| line.to_owned() + " ").any(|line| line.contains(&format!(" {wanted} ")))
}

#[test]
fn each_command_and_each_option_is_in_the_manual_page() {
    let help = run_alone(&["--help"]).out;
    let commands = entries(&help, "Commands:");
    assert_eq!(commands.len(), 21, "{commands:?}");
    let mut names = entries(&help, "Options:");
    for command in &commands {
        names.extend(entries(&run_alone(&[command, "--help"]).out, "Options:"));
    }
    names.sort();
    names.dedup();
    assert!(names.contains(&"--detach".into()) && names.contains(&"-o".into()), "{names:?}");
    for name in commands.iter().chain(&names) {
        assert!(is_described(name), "{name} is not in the manual page");
    }
}

/// The text from the entry of this command to the next entry, in the list of keys or in that of events.
fn entry(name: &str) -> String {
    let lists = PAGE.split_once(".Sh OUTPUT").unwrap().1.split_once(".Sh ENVIRONMENT").unwrap().0;
    let of_this = |line: &&str| {
        let named = line.strip_prefix(".It Cm ").unwrap_or_default();
        named.split(" , ").any(|word| word == name)
    };
    let mut lines = lists.lines().skip_while(|line| !of_this(line));
    assert!(lines.next().is_some(), "{name} has no entry in the manual page");
    lines.take_while(|line| !line.starts_with(".It ") && *line != ".El").collect::<Vec<_>>().join(" ")
}

/// All keys of objects in a value, but not those below these.
fn keys(value: &Value, not_below: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                if !not_below.contains(&key.as_str()) {
                    found.extend(keys(value, not_below));
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| found.extend(keys(value, not_below))),
        _ => {}
    }
    found
}

fn assert_described(name: &str, keys: impl IntoIterator<Item = String>) {
    let entry = entry(name);
    let words: BTreeSet<&str> = entry.split([' ', ',', '(', ')', ';']).collect();
    for key in keys {
        assert!(words.contains(key.as_str()), "{key} of {name} is not in the manual page: {entry}");
    }
}

#[test]
fn each_key_of_json_is_in_the_manual_page() {
    let error = json!({"error": {"code": 6, "message": "no"}});
    let peer = json!({"addr": "b:1", "source": "user", "state": "new", "last_seen": 1, "p1": true, "neighbour": true});
    let row = hit(1, "a", None, &[]);
    for (name, value) in [
        ("status", status()),
        ("peers", peer),
        ("search", row.clone()),
        ("hits", row),
        ("list", json!({"id": 1, "name": "a", "size": 1, "b3": "ab"})),
        ("download", with(download(1, "a", "failed", 0), error.clone())),
        ("downloads", with(download(1, "a", "failed", 0), error)),
        ("files", json!({"name": "a", "size": 1, "b3": "ab", "being_written": true})),
        (
            "rescan",
            json!({"files": 1, "names_refused": 0, "unreadable": 0, "other_mounts": 0, "mounts": [], "being_written": 1}),
        ),
        ("reload", json!(reloaded())),
        ("bootstrap", json!({"links": [], "registry": {"peers": [{"addr": "b:1", "expires_in_s": 1}], "count": 1}})),
    ] {
        assert_described(name, keys(&value, &[]));
    }
    assert_described("metrics", keys(&metrics(), &["status", "downloads", "refusals", "jobs_waiting"]));
}

/// One of each event.
fn notices() -> Vec<Notice> {
    let addr = "192.0.2.1:5".parse().unwrap();
    let (name, text) = (RawText::new("a"), || String::from("b:1"));
    let download = serde_json::from_value(download(1, "a", "active", 0)).unwrap();
    let hit =
        HitRow { id: 1, name: name.clone(), names: vec![], size: None, b3: None, sources: vec![], truncated: false };
    let source = SourceRow { addr, state: SourceState::Corrupt, bytes: 0, rate: None, error: None };
    vec![
        Notice::Ring { search: 1, ttl: 1, peers: 1 },
        Notice::Hit { search: 1, hit },
        Notice::Listing { search: 1, files: 1 },
        Notice::SearchDone { search: 1, hits: 1, truncated: false, error: None },
        Notice::Download { download },
        Notice::SourceLost { download: 1, source },
        Notice::Hashed { files: 1 },
        Notice::UploadStarted { to: addr, name: name.clone() },
        Notice::UploadEnded { to: addr, name, bytes: 1, error: None },
        Notice::Registered { addr: text() },
        Notice::BootstrapLost { addr: text(), error: text(), retry_in_s: 1 },
        Notice::PeerUp { addr },
        Notice::PeerDown { addr },
        Notice::Scan {
            files: 1,
            done: true,
            names_refused: 0,
            unreadable: 0,
            other_mounts: 0,
            mounts: vec![],
            error: None,
            being_written: 0,
        },
        Notice::Leaving,
    ]
}

#[test]
fn each_event_is_in_the_manual_page() {
    for notice in notices() {
        let value = serde_json::to_value(&notice).unwrap();
        let name = value["event"].as_str().unwrap();
        // What a hit or a download is stands above.
        let mut keys = keys(&value, &["hit", "download"]);
        keys.remove("event");
        assert_described(name, keys);
    }
}

#[test]
fn each_exit_code_is_in_the_manual_page() {
    let help = run_alone(&["--help"]).out;
    let codes = entries(&help, "Error codes:");
    assert_eq!(codes.len(), 13, "{codes:?}");
    for code in codes {
        let number = code.split(' ').next().unwrap();
        assert!(PAGE.lines().any(|line| line == format!(".It {number}")), "exit code {number} is not in the page");
    }
}

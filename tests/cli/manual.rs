//! The manual page names everything that the program takes.

use super::fake::{Fake, download, finish, hit, run_alone, with};
use super::queries::{metrics, reloaded};
use super::queue::{limits, upload};
use super::status::status;
use super::wishes::wish;
use pyrate::control::{ExitCode, HitDirectory, HitRow, Notice, RawText, ScanNotice, SourceRow, SourceState};
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

/// The commands, as the help lists them, which begins with itself.
fn commands() -> Vec<String> {
    let mut listed = entries(&run_alone(&["--help"]).out, "Commands:");
    assert_eq!(listed.remove(0), "help");
    listed
}

#[test]
fn each_command_and_each_option_is_in_the_manual_page() {
    let commands = commands();
    assert_eq!(commands.len(), 35, "{commands:?}");
    let mut names = entries(&run_alone(&["--help"]).out, "Options:");
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

#[test]
fn the_manual_page_shows_each_command_with_its_arguments() {
    for command in commands() {
        let help = run_alone(&[&command, "--help"]).out;
        let line = PAGE
            .lines()
            .find(|line| *line == format!(".It Ic {command}") || line.starts_with(&format!(".It Ic {command} ")));
        let line = line.unwrap_or_else(|| panic!("{command} has no entry")).to_owned() + " ";
        for argument in entries(&help, "Positional Arguments:") {
            assert!(line.contains(&format!(" Ar {} ", argument.to_lowercase())), "{argument} is not in {line}");
        }
        // One of the two names of an option.
        let options =
            help.lines().skip_while(|line| *line != "Options:").skip(1).filter(|line| line.starts_with("  -"));
        for option in options.filter(|option| !option.contains("--help")) {
            let names = option.trim().split("  ").next().unwrap().split(", ");
            let mut written = names.map(|name| format!(" Fl {} ", name.strip_prefix('-').unwrap()));
            assert!(written.any(|name| line.contains(&name)), "{option} is not in {line}");
        }
    }
}

#[test]
fn help_is_the_same_however_it_is_asked_for() {
    let general = run_alone(&["--help"]);
    assert_eq!(general.code, 0);
    for asked in [&["-h"][..], &["help"], &["help", "help"], &["--json", "help"]] {
        run_alone(asked).gives(0, &general.out);
    }
    for command in commands() {
        let help = run_alone(&[&command, "--help"]);
        assert!(help.code == 0 && help.out.starts_with(&format!("Usage: pyratectl {command}")), "{help:?}");
        for asked in [["help", &command], [&command, "-h"], ["--help", &command]] {
            run_alone(&asked).gives(0, &help.out);
        }
    }
    let version = concat!("pyratectl ", env!("CARGO_PKG_VERSION"), "\n");
    for asked in [&["-V"][..], &["--version"], &["status", "-V"]] {
        run_alone(asked).gives(0, version);
    }
}

#[test]
fn no_line_of_help_is_wider_than_a_usual_terminal() {
    for command in commands().iter().map(String::as_str).chain(["help"]) {
        let help = run_alone(&["help", command]).out;
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{command}: {wide:#?}");
    }
}

#[test]
fn the_help_of_what_follows_downloads_has_their_codes() {
    let codes_in = |text: &str, begin: &str| -> BTreeSet<u8> {
        let (_, section) = text.split_once(begin).unwrap();
        section.lines().map_while(|line| line.trim().split(' ').next()?.parse().ok()).collect()
    };
    let general = codes_in(&run_alone(&["help"]).out, "Error codes:\n");
    for command in ["download", "follow", "wait"] {
        let codes = codes_in(&run_alone(&["help", command]).out, "Error codes:\n");
        assert_eq!(
            codes,
            general.iter().copied().filter(|code| *code != 28).collect(),
            "{command}: that of usage is general"
        );
    }
}

#[test]
fn a_misspelt_word_is_an_error_of_usage_with_a_suggestion() {
    run_alone(&["dowload", "3"]).says(28, "pyratectl: no command \"dowload\"; did you mean \"download\"?\n");
    let run = run_alone(&["--json", "download", "3", "--detahc"]);
    let message = "no option \"--detahc\" of download; did you mean \"--detach\"?";
    assert_eq!((run.code, run.json()), (28, json!({"error": {"code": 28, "message": message}})));
}

/// What is shown is run against a daemon with these results; each title must begin a line of the notes in the help, or stand in
/// one with others.
fn titles_are_explained(command: &[&str], results: Value, titles: impl Fn(&str) -> Vec<String>) {
    let fake = Fake::new();
    fake.serve_all(results);
    let shown = finish(fake.command_here(command).spawn().unwrap()).out;
    let help = run_alone(&[command[0], "--help"]).out;
    let notes: Vec<&str> = help.split_once("Notes:").unwrap_or(("", "")).1.lines().collect();
    let found = titles(&shown);
    assert!(!found.is_empty(), "{shown}");
    for title in found {
        let is_explained = notes.iter().any(|line| {
            let explained = line.trim_start().split("  ").next().unwrap_or_default();
            explained.split(", ").any(|word| word == title)
        });
        assert!(is_explained, "{title} of {command:?} is not explained in its help");
    }
}

#[test]
fn the_help_explains_titles_and_columns() {
    let obvious = ["NAME", "SIZE", "ADDRESS", "BOOTSTRAP", "SOURCE"];
    let split = |line: &str| -> Vec<String> {
        let titles = line.split("  ").map(str::trim).filter(|title| !title.is_empty());
        titles.filter(|title| !obvious.contains(title)).map(str::to_owned).collect()
    };
    let headers = |shown: &str| -> Vec<String> {
        let is_header = |line: &&str| line.len() > 4 && !line.contains(|c: char| c.is_ascii_lowercase());
        shown.lines().filter(is_header).flat_map(split).collect()
    };
    let lines = |shown: &str| -> Vec<String> {
        // The first line is that of the daemon itself.
        shown.lines().skip(1).map(|line| line.split("  ").next().unwrap().to_owned()).collect()
    };
    let peer =
        json!({"addr": "192.0.2.1:5", "source": "user", "state": "new", "last_seen": 1, "p1": true, "neighbour": true});
    let hits = json!({"hits": [hit(1, "a", None, &[])], "next": null});
    let row = with(
        download(1, "a", "active", 1),
        json!({"rate": 5, "eta_s": 5, "b3": "ab", "error": {"code": 6, "message": "no"}}),
    );
    let downloads = json!({"downloads": {"downloads": [row], "next": null}});
    let link = json!({"addr": "b:1", "state": "registered", "last_ok": 1, "retry_in_s": null, "error": null});
    let registry = json!({"links": [link], "registry": {"peers": [{"addr": "192.0.2.1:5", "expires_in_s": 1}], "count": 1, "next": null}});
    let mut busy = with(
        status(),
        json!({"commands_queued": 3, "upload_limit": 5, "registry": {"listen": "0.0.0.0:21168", "count": 1}, "sandbox": {"state": "on", "abi": 6},
            "left_out": {"hidden": 1}}),
    );
    busy["share_error"] = Value::Null;
    titles_are_explained(&["status", "-v"], json!({"status": busy}), lines);
    titles_are_explained(&["peers"], json!({"peers": [peer]}), headers);
    titles_are_explained(&["hits"], json!({"hits": hits}), headers);
    titles_are_explained(&["search", "a", "--wait", "0"], json!({"search": {"search": 1}, "hits": hits}), |_| {
        ["ID", "SOURCES", "HASH"].map(str::to_owned).into()
    });
    let search = json!({"id": 1, "text": "a", "peer": null, "hits": 1, "age_s": 1, "running": true, "truncated": false,
        "filtered": 1});
    titles_are_explained(&["searches"], json!({"searches": {"searches": [search], "next": null}}), headers);
    titles_are_explained(&["wishes"], json!({"wishes": {"wishes": [wish(1, "a")], "next": null}}), headers);
    titles_are_explained(&["list", "192.0.2.1"], json!({}), |_| ["ID", "HASH"].map(str::to_owned).into());
    titles_are_explained(&["downloads"], downloads.clone(), headers);
    titles_are_explained(&["downloads", "1"], downloads, headers);
    let ended = json!({"event_log": {"log": "0123abcd", "events": [super::history::ended()], "gone": null, "next": null, "last": 1}});
    titles_are_explained(&["history"], ended, headers);
    let uploads = json!({"uploads": [upload("192.0.2.1:5", "a", "sending")], "next": null});
    titles_are_explained(&["uploads"], json!({"uploads": uploads}), headers);
    titles_are_explained(
        &["files"],
        json!({"files": {"files": [{"name": "a", "size": 1, "b3": null}], "next": null}}),
        headers,
    );
    titles_are_explained(
        &["files", "--left-out"],
        json!({"left_out": {"left_out": [{"name": "a", "reason": "hidden"}], "next": null}}),
        headers,
    );
    titles_are_explained(&["bootstrap"], json!({"bootstrap": registry}), headers);
    titles_are_explained(&["reload"], json!({"reload": reloaded()}), headers);
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
        ("search", with(row.clone(), json!({"search": 1}))),
        ("hits", row),
        (
            "searches",
            json!({"id": 1, "text": "a", "peer": null, "hits": 1, "age_s": 1, "running": true, "truncated": false, "filtered": 1}),
        ),
        ("wish", wish(1, "a")),
        ("wishes", wish(1, "a")),
        ("unwish", json!({"unwished": [1]})),
        ("list", json!({"id": 1, "name": "a", "size": 1, "b3": "ab"})),
        ("download", with(download(1, "a", "failed", 0), error.clone())),
        ("downloads", with(download(1, "a", "failed", 0), error)),
        ("uploads", with(upload("192.0.2.1:5", "a", "sending"), json!({"peer": "192.0.2.1:63339"}))),
        ("forget", json!({"forgotten": [1]})),
        ("history", with(super::history::row(), json!({"copied_from": "b"}))),
        ("limit", limits(5 << 20, 0)),
        ("files", json!({"name": "a", "size": 1, "b3": "ab", "being_written": true, "audience": ["all"]})),
        ("shares", super::shares::share("a", "unreadable")),
        (
            "rescan",
            json!({"files": 1, "names_refused": 0, "unreadable": 0, "other_mounts": 0, "mounts": [], "being_written": 1,
                "left_out": 1}),
        ),
        ("reload", json!(reloaded())),
        ("bootstrap", json!({"links": [], "registry": {"peers": [{"addr": "b:1", "expires_in_s": 1}], "count": 1}})),
    ] {
        assert_described(name, keys(&value, &[]));
    }
    assert_described("metrics", keys(&metrics(), &["status", "downloads", "refusals", "jobs_waiting"]));
}

/// One of each event of the log.
fn logged() -> impl Iterator<Item = Notice> {
    ["begun", "done", "failed", "cancelled"].into_iter().map(|kind| {
        let event = super::event_log::event(1, kind, "a");
        serde_json::from_value(event).unwrap()
    })
}

/// One of each event.
fn notices() -> Vec<Notice> {
    let addr = "192.0.2.1:5".parse().unwrap();
    let (name, text) = (RawText::new("a"), || String::from("b:1"));
    let download = serde_json::from_value(download(1, "a", "active", 0)).unwrap();
    let directory = Some(HitDirectory { files: 1, bytes: None });
    let (names, sources) = (vec![], vec![]);
    let (truncated, search) = (false, None);
    let hit = HitRow { id: 1, name: name.clone(), names, size: None, b3: None, sources, truncated, directory, search };
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
        Notice::UploadEnded { to: addr, name: name.clone(), bytes: 1, error: None },
        Notice::PeerSearch { from: addr, requester: addr, text: name, ttl: 1 },
        Notice::Registered { addr: text() },
        Notice::BootstrapLost { addr: text(), error: text(), retry_in_s: 1 },
        Notice::PeerUp { addr },
        Notice::PeerDown { addr },
        Notice::Scan(ScanNotice { files: 1, done: true, ..ScanNotice::default() }),
        Notice::Leaving,
    ]
    .into_iter()
    .chain(logged())
    .collect()
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
    let numbers: Vec<String> = codes.iter().map(|code| code.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(numbers, ExitCode::ALL.map(|code| (code as u8).to_string()));
    for number in numbers {
        assert!(PAGE.lines().any(|line| line == format!(".It {number}")), "exit code {number} is not in the page");
    }
}

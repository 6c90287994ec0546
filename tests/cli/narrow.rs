//! On narrow terminals, each row of each table and each bar has its name, or the end of it.

use super::event_log::event;
use super::fake::{Talk, download, hit, source, with};
use super::follows::changed;
use super::queue::upload;
use super::searches::row as search;
use super::widths::on_terminal;
use super::wishes::wish;
use console::strip_ansi_codes;
use serde_json::{Value, json};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const NAMES: [&str; 3] = [
    "Music/The Beatles/Abbey Road (Remastered)/01 Come Together.ogg",
    "Series/A Series of a Very Long Name/Season 1/A Series of a Very Long Name, Episode 17.mkv",
    "iso/debian-13.2.0-amd64-netinst.iso",
];

/// What is to be seen of each name at least.
const ENDS: [&str; 3] = ["her.ogg", "17.mkv", "nst.iso"];

fn page(key: &str, rows: impl IntoIterator<Item = Value>) -> Value {
    json!({key: rows.into_iter().collect::<Vec<_>>(), "next": null})
}

/// One is active, one has failed, and one is done.
fn downloads() -> Value {
    let error = json!({"code": 17, "message": "cannot save to '/srv/films': the disk is full; choose another path"});
    let active = json!({"rate": 10_000_000, "eta_s": 3599, "size": 9_000_000_000_u64});
    let done = json!({"path": format!("/home/ann/Downloads/{}", NAMES[2]), "verified": true});
    let rows = [
        with(download(1001, NAMES[0], "active", 4_000_000_000), active),
        with(download(1002, NAMES[1], "failed", 5), json!({"error": error})),
        with(download(1003, NAMES[2], "done", 2048), done),
    ];
    page("downloads", rows)
}

fn history() -> Value {
    let ended = |(at, name): (usize, &str)| {
        let kind = ["done", "failed", "cancelled"][at];
        let error = json!({"code": 17, "message": "cannot save: the disk is full"});
        let more = json!({"download": 1000 + at, "b3": HASH, "size": 9_000_000_000_u64,
            "peers": ["198.51.100.200:63339", "192.0.2.2:63339"], "error": if at == 1 { error } else { Value::Null }});
        with(event(4 + at as u64, kind, name), more)
    };
    let events: Vec<_> = NAMES.into_iter().enumerate().map(ended).collect();
    json!({"log": "0123abcd", "events": events, "gone": null, "next": null, "last": 6})
}

fn hits() -> Vec<Value> {
    let addr = "[2001:db8:1234:5678::1]:63339";
    let row = |(at, name): (usize, &&str)| {
        with(hit(1000 + at as u32, name, Some(9_000_000_000), &[addr]), json!({ "b3": HASH }))
    };
    NAMES.iter().enumerate().map(row).collect()
}

fn files() -> Value {
    let audience = json!(["192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"]);
    let row = |name| json!({"name": name, "size": 9_000_000_000_u64, "b3": HASH, "audience": audience});
    page("files", NAMES.map(row))
}

/// A command, and what the daemon says to it.
type Case = (&'static [&'static str], fn(&mut Talk));

const TABLES: [Case; 9] = [
    (&["downloads"], |talk| drop(talk.answer("downloads", downloads()))),
    (&["history"], |talk| drop(talk.answer("event_log", history()))),
    (&["hits"], |talk| drop(talk.answer("hits", page("hits", hits())))),
    (&["search", "a"], |talk| {
        talk.answer("search", json!({"search": 7}));
        hits().into_iter().for_each(|hit| talk.notice(json!({"event": "hit", "search": 7, "hit": hit})));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 3, "truncated": false, "error": null}));
        talk.answer("hits", page("hits", hits()));
    }),
    (&["list", "192.0.2.1"], |talk| {
        talk.answer("list", json!({"search": 7}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 3, "truncated": false, "error": null}));
        talk.answer("hits", page("hits", hits()));
    }),
    (&["files"], |talk| drop(talk.answer("files", files()))),
    (&["files", "--left-out"], |talk| {
        let rows = NAMES.map(|name| json!({"name": name, "reason": "unreadable"}));
        talk.answer("left_out", page("left_out", rows));
    }),
    (&["uploads"], |talk| {
        let row = |name| with(upload("192.0.2.123:50123", name, "sending"), json!({"size": 9_000_000_000_u64}));
        talk.answer("uploads", page("uploads", NAMES.map(row)));
    }),
    (&["searches"], |talk| {
        let row = |name: &str| with(search(7, name, 12), json!({"filtered": 3, "age_s": 3599}));
        talk.answer("searches", page("searches", NAMES.map(row)));
    }),
];

const WISHES: Case = (&["wishes"], |talk| {
    let row = |name: &str| with(wish(7, name), json!({"download": true}));
    talk.answer("wishes", page("wishes", NAMES.map(row)));
});

const COLUMNS: [u16; 2] = [80, 60];

#[test]
fn each_row_has_the_end_of_its_name() {
    for columns in COLUMNS {
        for (arguments, script) in TABLES.into_iter().chain([WISHES]) {
            let text = on_terminal(columns, arguments, Some(script));
            for end in ENDS {
                let has_end = text.lines().any(|line| line.contains(end));
                assert!(has_end, "{arguments:?} at {columns} without {end:?}:\n{text}");
            }
        }
    }
}

#[test]
fn names_and_reasons_are_worth_more_than_other_columns() {
    let row = |text: &str, end: &str| text.lines().find(|line| line.contains(end)).unwrap().to_owned();
    for columns in COLUMNS {
        let (arguments, script) = TABLES[0];
        let text = on_terminal(columns, arguments, Some(script));
        assert!(text.contains("REMARK") && row(&text, ENDS[1]).contains("cannot"), "{text}");
        assert!(text.contains("STATE") && text.contains("DONE"), "{text}");
        let (arguments, script) = TABLES[1];
        let text = on_terminal(columns, arguments, Some(script));
        assert!(text.contains("FILE") && text.contains("REMARK") && row(&text, ENDS[1]).contains("cannot"), "{text}");
    }
    let text = on_terminal(80, TABLES[0].0, Some(TABLES[0].1));
    assert!(!text.contains("CHECK") && row(&text, ENDS[0]).contains("MiB/s"), "{text}");
}

#[test]
fn whether_downloads_are_checked_gives_way_to_their_sizes() {
    let script = |talk: &mut Talk| {
        let more = json!({"rate": 10_000_000, "eta_s": 3599, "size": 9_000_000_000_u64, "b3": HASH});
        let row = with(download(1, "q1.bin", "active", 4_000_000_000), more);
        talk.answer("downloads", page("downloads", [row]));
    };
    let shown = [90, 80, 70, 60, 50].map(|columns| {
        let text = on_terminal(columns, &["downloads"], Some(script));
        (text.contains("SIZE"), text.contains("CHECK"))
    });
    assert!(shown.contains(&(true, false)) && !shown.contains(&(false, true)), "{shown:?}");
}

/// Downloads in progress, with all that their lines tell.
fn active(id: u32, name: &str) -> Value {
    let shares = json!([source("192.0.2.1:63339", "active", 5), source("192.0.2.2:63339", "active", 5)]);
    let more = json!({"size": 9_000_000_000_u64, "rate": 10_000_000, "b3": HASH, "shares": shares});
    with(download(id, name, "active", 4_000_000_000), more)
}

fn follow(talk: &mut Talk, names: &[&str]) {
    let rows: Vec<_> = (1..).zip(names).map(|(id, name)| active(id, name)).collect();
    talk.answer("follow", page("downloads", rows));
    for (id, name) in (1..).zip(names) {
        talk.notice(changed(with(active(id, name), json!({"bytes_done": 5_000_000_000_u64}))));
    }
    for (id, name) in (1..).zip(names) {
        talk.notice(changed(with(download(id, name, "done", 2048), json!({"verified": true}))));
    }
}

#[test]
fn each_bar_has_the_end_of_its_name_and_the_total_its_count() {
    for columns in COLUMNS {
        for (names, script) in [
            (&NAMES[..1], (|talk| follow(talk, &NAMES[..1])) as fn(&mut Talk)),
            (&NAMES[1..2], |talk| follow(talk, &NAMES[1..2])),
            (&NAMES[..2], |talk| follow(talk, &NAMES[..2])),
        ] {
            let text = on_terminal(columns, &["follow", "all"], Some(script));
            let text = strip_ansi_codes(&text).into_owned();
            let bars: Vec<&str> = text.split(['\r', '\n']).filter(|line| line.contains("GiB/")).collect();
            let (of_one, of_all) = (ENDS.iter().zip(NAMES), format!("of {} finished", names.len()));
            for (end, _) in of_one.filter(|(_, name)| names.contains(name)) {
                assert!(bars.iter().any(|bar| bar.contains(end)), "{columns} without {end:?}: {text:?}");
            }
            let is_named = |bar: &&str| ENDS.iter().any(|end| bar.contains(end)) || bar.contains(&of_all);
            assert!(bars.iter().all(is_named), "{columns}: {bars:?}");
        }
    }
}
